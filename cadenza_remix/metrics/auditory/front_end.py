"""Before the ear: both signals to 24 kHz, cut to one length, aligned roughly, and trimmed of silence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
import scipy.fft
from numpy.typing import NDArray

from cadenza_remix.metrics.auditory.filters import MODEL_RATE

_MODEL_KHZ = MODEL_RATE // 1000
_MATCHED_BAND_KHZ = 21
_EARLY_SAMPLES = 48
_SILENCE = 0.001
_DOUBT = 2e-6
_MOST_CANDIDATES = 64


def to_model_rate(samples: NDArray[np.floating], sample_rate: float) -> NDArray[np.floating]:
    """Resample to 24 kHz, the rate taken in whole kHz as the metric defines it, at equal RMS.

    When the rate falls, RMS is compared below 10.5 kHz, where both rates have content.
    """
    rate_khz = int(np.round(sample_rate / 1000))
    if rate_khz == _MODEL_KHZ:
        return samples
    resampled = scipy.signal.resample_poly(samples, _MODEL_KHZ, rate_khz)
    before, after = samples, resampled
    if rate_khz > _MODEL_KHZ:
        before, after = _matched_band(samples, rate_khz), _matched_band(resampled, _MODEL_KHZ)
    rms_before, rms_after = np.sqrt(np.mean(before**2)), np.sqrt(np.mean(after**2))
    if rms_after == 0:
        return resampled
    return (rms_before / rms_after) * resampled


def _matched_band(samples: NDArray[np.floating], rate_khz: int) -> NDArray[np.floating]:
    b, a = scipy.signal.cheby2(7, 30, _MATCHED_BAND_KHZ / rate_khz)
    return scipy.signal.lfilter(b, a, samples)


@dataclass(frozen=True, eq=False)
class Span:
    """The samples ``first`` to ``last`` (exclusive) in which the reference is not silent."""

    first: int
    last: int

    @classmethod
    def of(cls, reference: NDArray[np.floating]) -> Span:
        """Find the span where the reference rises above a thousandth of its peak (60 dB below); there must be one."""
        magnitude = np.abs(reference)
        loud = np.flatnonzero(magnitude > _SILENCE * magnitude.max())
        return cls(int(loud[0]), int(loud[-1]) + 1)

    def __len__(self) -> int:
        return self.last - self.first


class BroadbandTarget:
    """The whole reference at 24 kHz, ready to have signals of its length aligned to it roughly."""

    def __init__(self, reference: NDArray[np.floating]) -> None:
        self._n = len(reference)
        self._size = scipy.fft.next_fast_len(2 * self._n - 1, real=True)
        self._centred = reference - reference.mean()
        self._conjugate = scipy.fft.rfft(self._centred.astype(np.float32), self._size).conj()

    @property
    def n_bytes(self) -> int:
        return self._centred.nbytes + self._conjugate.nbytes

    def delay(self, processed: NDArray[np.floating]) -> int:
        """Return by how many samples ``processed`` is to be taken early.

        The lag of the largest |cross-covariance|, less 2 ms that leave room for dispersion; of equal ones the larger
        lag. Transforms are in single precision; where they leave a doubt between lags, sums are computed directly.
        """
        centred = processed - processed.mean()
        spectrum = scipy.fft.rfft(centred.astype(np.float32), self._size)
        spectrum *= self._conjugate
        by_lag = np.abs(scipy.fft.irfft(spectrum, self._size, overwrite_x=True))
        doubt = _DOUBT * np.sqrt(_sum_of_products(self._centred, self._centred) * _sum_of_products(centred, centred))
        lags = np.flatnonzero(by_lag >= by_lag.max() - doubt)
        if len(lags) > _MOST_CANDIDATES:
            exact = scipy.fft.rfft(centred, self._size) * scipy.fft.rfft(self._centred, self._size).conj()
            by_lag = np.abs(scipy.fft.irfft(exact, self._size, overwrite_x=True))
            lags = np.flatnonzero(by_lag == by_lag.max())
        lags = np.sort(np.where(lags < self._n, lags, lags - self._size))[::-1]
        if 1 < len(lags) <= _MOST_CANDIDATES:
            lags = lags[np.argmax([abs(self._covariance(centred, int(lag))) for lag in lags])]
        return int(lags.flat[0]) - _EARLY_SAMPLES

    def _covariance(self, centred: NDArray[np.floating], lag: int) -> float:
        n = self._n
        return _sum_of_products(self._centred[max(0, -lag) : n - max(0, lag)], centred[max(0, lag) : n - max(0, -lag)])


def _sum_of_products(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the inner product without BLAS, whose own threads would burn more time than they save."""
    return float(np.einsum("i,i->", first, second, dtype=np.float64))


def take_early(samples: NDArray[np.floating], delay: int, span: Span) -> NDArray[np.float64]:
    """Return ``samples[i + delay]`` for each i of the span, zero outside the samples."""
    taken = np.zeros(len(span))
    first = min(max(span.first + delay, 0), len(samples))
    last = min(max(span.last + delay, first), len(samples))
    at = first - delay - span.first
    if last > first:
        taken[at : at + last - first] = samples[first:last]
    return taken
