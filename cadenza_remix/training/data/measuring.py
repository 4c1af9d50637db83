"""Levels, silence, activity and spectra of audio that comes block by block, in memory that hardly grows with it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.units import lin_to_db

SILENCE_DBFS = -60.0
"""A window of 0.1 s below this RMS counts as silent: far below music, far above the noise of 16 bits."""
FULL_SCALE = 32767 / 32768
"""A sample of this magnitude or more counts as clipped: the largest number that 16 bits have."""
BAND_CENTRES_HZ = tuple(1000.0 * 2 ** (number / 3) for number in range(-14, 13))
"""Third octaves from 40 Hz to 16 kHz."""
_WINDOWS_PER_S = 10
_BLOCK_S = 6
_FFT_LENGTH = 4096


@dataclass(frozen=True)
class Measurements:
    """What was measured in one signal; levels in dB relative to full scale (RMS 1 is 0 dBFS).

    Parameters
    ----------
    n_samples : int
    energy : float
        Sum of the squares over both channels.
    rms_dbfs, peak_dbfs : float
        Minus infinity for silence.
    silence_share : float
        Of windows of 0.1 s, those below `SILENCE_DBFS`.
    n_clipped : int
        Samples at full scale or beyond, over both channels.
    activity_dbfs : float32 array
        RMS of each second.
    bands_dbfs : float64 array
        Mean level in each of the third octaves `BAND_CENTRES_HZ`; NaN above half the sample rate.
    """

    n_samples: int
    energy: float
    rms_dbfs: float
    peak_dbfs: float
    silence_share: float
    n_clipped: int
    activity_dbfs: NDArray[np.float32]
    bands_dbfs: NDArray[np.float64]


def block_length(sample_rate: int) -> int:
    """Return the length of the blocks that a `Meter` takes, in samples: a whole number of its windows, about 6 s."""
    return _window_length(sample_rate) * _WINDOWS_PER_S * _BLOCK_S


class Meter:
    """Measures a stereo signal given in blocks of `block_length`, of which only the last may be shorter."""

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._n_samples = self._n_clipped = 0
        self._energy = self._peak = 0.0
        self._windows: list[NDArray[np.float64]] = []
        self._spectrum = np.zeros(_FFT_LENGTH // 2 + 1)

    def add(self, block: NDArray[np.float32]) -> None:
        """Measure one more block, shape (n, 2)."""
        peak = max(float(block.max(initial=0.0)), -float(block.min(initial=0.0)))
        self._peak = max(self._peak, peak)
        if peak >= FULL_SCALE:
            self._n_clipped += int(np.count_nonzero(np.abs(block) >= FULL_SCALE))
        windows = _sums(np.square(block).reshape(-1), 2 * _window_length(self._sample_rate))
        self._windows.append(windows)
        self._energy += float(windows.sum())
        self._n_samples += len(block)
        self._spectrum += _power_spectrum(block)

    def result(self) -> Measurements:
        """Return what was measured so far."""
        windows = np.concatenate(self._windows) if self._windows else np.zeros(0)
        n_values = 2 * max(self._n_samples, 1)
        window_rms = _rms_of_pieces(windows, self._n_samples, _window_length(self._sample_rate))
        second = _window_length(self._sample_rate) * _WINDOWS_PER_S
        seconds = _rms_of_pieces(_sums(windows, _WINDOWS_PER_S), self._n_samples, second)
        bands = _band_matrix(self._sample_rate) @ (self._spectrum / n_values)
        bands[_band_matrix(self._sample_rate).sum(axis=1) == 0] = np.nan
        return Measurements(
            n_samples=self._n_samples,
            energy=self._energy,
            rms_dbfs=float(lin_to_db(np.sqrt(self._energy / n_values))),
            peak_dbfs=float(lin_to_db(self._peak)),
            silence_share=float(np.mean(lin_to_db(window_rms) < SILENCE_DBFS)) if len(windows) else 1.0,
            n_clipped=self._n_clipped,
            activity_dbfs=lin_to_db(seconds).astype(np.float32),
            bands_dbfs=lin_to_db(np.sqrt(bands)),
        )


def _window_length(sample_rate: int) -> int:
    return max(round(sample_rate / _WINDOWS_PER_S), 1)


def _sums(values: NDArray[np.floating], length: int) -> NDArray[np.float64]:
    """Return the sums of successive pieces, the last one perhaps shorter."""
    if not len(values):
        return np.zeros(0)
    return np.add.reduceat(values, np.arange(0, len(values), length), dtype=np.float64)


def _rms_of_pieces(energies: NDArray[np.float64], n_samples: int, length: int) -> NDArray[np.float64]:
    n_values = np.full(len(energies), 2.0 * length)
    if len(energies):
        n_values[-1] = 2.0 * (n_samples - (len(energies) - 1) * length)
    return np.sqrt(energies / n_values)


def _power_spectrum(block: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the energy of a block in each bin of a real FFT, over both channels (Parseval: the sum is the energy)."""
    from scipy import fft

    n_frames = -(-len(block) // _FFT_LENGTH)
    padded = np.zeros((n_frames * _FFT_LENGTH, 2), dtype=np.float32)
    padded[: len(block)] = block
    window = _hann()
    # Left + i right in one transform: the powers of a bin and of its negative add up to twice those of both channels.
    frames = padded.view(np.complex64).reshape(n_frames, _FFT_LENGTH) * window
    spectrum = fft.fft(frames, axis=-1, overwrite_x=True).view(np.float32)
    both = np.square(spectrum, out=spectrum).sum(axis=0).reshape(_FFT_LENGTH, 2).sum(axis=1, dtype=np.float64)
    energy = both[: _FFT_LENGTH // 2 + 1].copy()
    energy[1:-1] += both[: _FFT_LENGTH // 2 : -1]
    # The window takes so much of a steady signal's energy away.
    return energy / (_FFT_LENGTH * float(np.mean(np.square(window, dtype=np.float64))))


@functools.cache
def _hann() -> NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT_LENGTH) / _FFT_LENGTH)).astype(np.float32)


@functools.lru_cache(maxsize=16)
def _band_matrix(sample_rate: int) -> NDArray[np.float64]:
    """Return how much of each bin lies in each band, shape (n_bands, n_bins); none in bands above half the rate."""
    width = sample_rate / _FFT_LENGTH
    low = (np.arange(_FFT_LENGTH // 2 + 1) - 0.5) * width
    centres = np.array(BAND_CENTRES_HZ)[:, None]
    lower, upper = centres * 2 ** (-1 / 6), centres * 2 ** (1 / 6)
    overlap = np.minimum(low + width, upper) - np.maximum(low, lower)
    return np.where(upper <= sample_rate / 2, np.clip(overlap, 0.0, None) / width, 0.0)
