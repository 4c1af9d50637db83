"""Before the ear: both signals to 24 kHz, cut to one length, aligned roughly, and trimmed of silence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray

from cadenza_remix.metrics.auditory.filters import MODEL_RATE

_MODEL_KHZ = MODEL_RATE // 1000
_MATCHED_BAND_KHZ = 21
_EARLY_SAMPLES = 48
_SILENCE = 0.001


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
        self._conjugate = scipy.fft.rfft(reference - reference.mean(), self._size).conj()

    def delay(self, processed: NDArray[np.floating]) -> int:
        """Return by how many samples ``processed`` is to be taken early.

        The lag of the largest |cross-covariance|, less 2 ms that leave room for dispersion.
        """
        spectrum = scipy.fft.rfft(processed - processed.mean(), self._size)
        spectrum *= self._conjugate
        by_lag = scipy.fft.irfft(spectrum, self._size, overwrite_x=True)
        np.abs(by_lag, out=by_lag)
        late, early = by_lag[: self._n], by_lag[self._size - self._n + 1 :]
        # Of two lags that are equal the definition takes the larger, hence the search from behind.
        latest = self._n - 1 - int(np.argmax(late[::-1]))
        if early.size and early.max() > late[latest]:
            return -1 - int(np.argmax(early[::-1])) - _EARLY_SAMPLES
        return latest - _EARLY_SAMPLES


def take_early(samples: NDArray[np.floating], delay: int, span: Span) -> NDArray[np.float64]:
    """Return ``samples[i + delay]`` for each i of the span, zero outside the samples."""
    taken = np.zeros(len(span))
    first = min(max(span.first + delay, 0), len(samples))
    last = min(max(span.last + delay, first), len(samples))
    at = first - delay - span.first
    if last > first:
        taken[at : at + last - first] = samples[first:last]
    return taken
