"""Comparing signals by their short-time spectra, through a filter that is fitted.

A signal's *share* of a source is the part of its energy that one filter makes from the source (Bendat & Piersol,
"Random Data", on the coherent output power): 1 for the same signal behind any gain, polarity or equaliser, near 0 for
another.
Spectra have the shape (frame, bin), at 24 kHz.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from cadenza_remix.audio.signal import STEM_SAMPLE_RATE
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.hearing.nalr import nalr_fir

Spectra = NDArray[np.complex64]

_FRAME, _HOP = 1024, 512
_OCTAVES_HZ = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
_TRACE, _NOTHING = 1e-10, 1e-30


def spectra_of(samples: NDArray[np.float32]) -> Spectra:
    """Return Hann-windowed spectra, shape (frame, bin)."""
    padded = samples if samples.size >= _FRAME else np.pad(samples, (0, _FRAME - samples.size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / _FRAME)).astype(np.float32)
    return np.ascontiguousarray(fft.rfft(frames * window, axis=1), dtype=np.complex64)


def energy_of(spectra: Spectra) -> float:
    """Return the energy of all frames and bins, for ratios of two."""
    return float(np.vdot(spectra, spectra).real)


def _powers(spectra: Spectra) -> NDArray[np.float32]:
    """Return the energy of each bin."""
    parts = spectra.view(np.float32)  # real and imaginary in turn
    return np.einsum("tk,tk->k", parts, parts).reshape(-1, 2).sum(axis=1)


def nalr_gains(audiogram: Audiogram) -> NDArray[np.float32]:
    """Return the gain of NAL-R at the bins of the spectra."""
    response = fft.rfft(nalr_fir(audiogram, sample_rate=STEM_SAMPLE_RATE), _FRAME)
    return np.abs(np.asarray(response)).astype(np.float32)


def share_of(source: Spectra, signal: Spectra, *, gain_may_change: bool = False) -> float:
    """Return which part of a signal's energy one filter makes from the source, 0 to 1.

    With ``gain_may_change`` the filter is followed by a gain of each frame, as of a slow compressor.
    """
    energy = energy_of(signal)
    if energy == 0:
        return 0.0
    cross = np.einsum("tf,tf->f", source.conj(), signal)
    power = _powers(source)
    floor = _TRACE * float(power.max()) + _NOTHING
    if not gain_may_change:
        return float(np.sum(np.abs(cross) ** 2 / (power + floor), dtype=np.float64)) / energy
    made = source * (cross / (power + floor))
    product = np.einsum("tf,tf->t", made.conj(), signal).real
    of_frame = np.einsum("tk,tk->t", made.view(np.float32), made.view(np.float32))
    floor = _TRACE * float(of_frame.max()) + _NOTHING
    return float(np.sum(product**2 / (of_frame + floor))) / energy


def unevenness_db(mixture: Spectra, signal: Spectra, nalr: NDArray[np.float32]) -> float:
    """Return the range of the filter's gains over octaves, beyond NAL-R or beyond a plain gain, whichever is less."""
    power = _powers(mixture).astype(np.float64)
    made = np.abs(np.einsum("tf,tf->f", mixture.conj(), signal)) ** 2 / (power + _NOTHING)
    bins = np.searchsorted(fft.rfftfreq(_FRAME, 1 / STEM_SAMPLE_RATE), _OCTAVES_HZ)
    band_power, band_made = (np.add.reduceat(values, bins)[:-1] for values in (power, made))
    prescribed = np.add.reduceat(power * nalr**2, bins)[:-1]
    heard = band_power > 1e-4 * band_power.max()
    ranges = [np.ptp(10 * np.log10((band_made / of)[heard] + 1e-12)) for of in (band_power, prescribed)]
    return float(min(ranges))
