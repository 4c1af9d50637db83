"""Levels in third-octave bands.

Bands are those of IEC 61260-1 (base ten): centres ``1000 * 10 ** (k / 10)`` Hz, edges a twentieth of a decade to either
side. Energies come from the mean power spectrum (Welch's method: Hann windows of 0.25 s, half overlapping, so that
frames of every sample rate begin at the same times); a bin that lies across an edge is shared out. These are means over
time for looking at, not the filters of a sound level meter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadenza_remix.errors import InputError
from cadenza_remix.units import lin_to_db

BAND_CENTRES_HZ = np.power(10.0, 3.0 + np.arange(-13, 12) / 10.0)
"""Exact centres of the bands from 50 Hz to 12.5 kHz."""
NOMINAL_HZ = (
    50, 63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600, 2000, 2500, 3150, 4000, 5000, 6300,
    8000, 10000, 12500,
)  # fmt: skip
"""What the bands are called."""

_HALF_BAND = 10.0**0.05
_FRAME_S = 0.25
_FRAMES_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class BandLevels:
    """Levels or gains of third-octave bands.

    Parameters
    ----------
    frequencies_hz : array of shape (n_bands,)
        Exact centres.
    levels_db : array of shape (n_bands,)
        NaN where the signal held too little to tell.
    """

    frequencies_hz: NDArray[np.float64]
    levels_db: NDArray[np.float64]

    def __init__(self, frequencies_hz: ArrayLike, levels_db: ArrayLike) -> None:
        frequencies, levels = (np.array(values, dtype=np.float64) for values in (frequencies_hz, levels_db))
        if frequencies.ndim != 1 or frequencies.shape != levels.shape:
            found = f"shapes {frequencies.shape} and {levels.shape}"
            raise InputError("wrong shape of band levels", expected="one level for each band", found=found)
        for name, values in (("frequencies_hz", frequencies), ("levels_db", levels)):
            values.flags.writeable = False
            object.__setattr__(self, name, values)

    def at(self, frequencies_hz: ArrayLike) -> NDArray[np.float64]:
        """Return the levels of the bands in which these frequencies lie; NaN outside all of them."""
        wanted = np.atleast_1d(np.asarray(frequencies_hz, dtype=np.float64))
        found = np.full(wanted.shape, np.nan)
        for centre_hz, level_db in zip(self.frequencies_hz, self.levels_db, strict=True):
            found[(wanted >= centre_hz / _HALF_BAND) & (wanted < centre_hz * _HALF_BAND)] = level_db
        return found


EarLevels = Mapping[str, BandLevels]
"""`BandLevels` by ear."""


def bands_below(sample_rate: int) -> NDArray[np.float64]:
    """Return the centres of the bands that lie whole below 0.47 times a sample rate: what resamplers leave alone."""
    upper_edges_hz = BAND_CENTRES_HZ * _HALF_BAND
    return BAND_CENTRES_HZ[upper_edges_hz <= 0.47 * sample_rate]


def band_energies(samples: NDArray[np.floating], sample_rate: int) -> NDArray[np.float64]:
    """Return the mean square of each channel in each band of `bands_below`.

    Parameters
    ----------
    samples : array of shape (n_samples, n_channels)
        Any length; worked through in pieces.
    sample_rate : int

    Returns
    -------
    array of shape (n_bands, n_channels)
        Full scale is 1: the band of a sine of amplitude 1 holds 0.5.
    """
    frame = round(_FRAME_S * sample_rate)
    hop = frame // 2
    window = np.hanning(frame + 1)[:-1].astype(np.float32)
    weights = _band_weights(frame, sample_rate)
    n_samples, n_channels = samples.shape
    n_frames = 1 + -(-n_samples // hop)
    energies = np.zeros((len(weights), n_channels))
    for channel in range(n_channels):
        for first in range(0, n_frames, _FRAMES_AT_ONCE):
            count = min(_FRAMES_AT_ONCE, n_frames - first)
            piece = _padded(samples[:, channel], (first - 1) * hop, (count - 1) * hop + frame)
            frames = np.lib.stride_tricks.sliding_window_view(piece, frame)[::hop] * window
            power = np.square(np.abs(np.fft.rfft(frames, axis=1))).sum(axis=0, dtype=np.float64)
            energies[:, channel] += weights @ power
    # A frame's one-sided spectrum holds frame / 2 times its energy; every sample lies in frames of this weight in all.
    total_weight = float(np.square(window, dtype=np.float64).sum()) / hop
    return energies * 2.0 / (frame * total_weight * max(n_samples, 1))


def levels_db(energies: ArrayLike) -> NDArray[np.float64]:
    """Return energies (mean squares) in dB; zero gives minus infinity."""
    return lin_to_db(np.sqrt(np.asarray(energies, dtype=np.float64)))


def mean_levels(levels: Sequence[BandLevels]) -> BandLevels:
    """Return the mean over several measurements, in dB, of those in which a band could be told.

    Raises
    ------
    InputError
        None at all, or of different bands.
    """
    if not levels or any(not np.array_equal(one.frequencies_hz, levels[0].frequencies_hz) for one in levels):
        raise InputError("no mean of band levels", expected="at least one, all of the same bands", found=len(levels))
    stacked = np.array([one.levels_db for one in levels])
    told = np.isfinite(stacked)
    sums, counts = np.where(told, stacked, 0.0).sum(axis=0), told.sum(axis=0)
    return BandLevels(levels[0].frequencies_hz, np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))


def _padded(channel: NDArray[np.floating], first: int, count: int) -> NDArray[np.float32]:
    """Return ``count`` samples from ``first`` on, silence where there are none."""
    piece = np.zeros(count, dtype=np.float32)
    start, end = max(first, 0), min(first + count, len(channel))
    if start < end:
        piece[start - first : end - first] = channel[start:end]
    return piece


@lru_cache(maxsize=8)
def _band_weights(frame: int, sample_rate: int) -> NDArray[np.float64]:
    """Return which share of each bin of the spectrum belongs to each band: shape (n_bands, n_bins)."""
    step_hz = sample_rate / frame
    low_hz = (np.arange(frame // 2 + 1) - 0.5) * step_hz
    centres = bands_below(sample_rate)[:, np.newaxis]
    inside = np.minimum(low_hz + step_hz, centres * _HALF_BAND) - np.maximum(low_hz, centres / _HALF_BAND)
    return np.clip(inside / step_hz, 0.0, 1.0)
