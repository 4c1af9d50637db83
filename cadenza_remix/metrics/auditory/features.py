"""What HAAQI compares once both signals have passed the ear: envelope cepstra and long-term spectra."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy
import scipy.fft
from numpy.typing import NDArray

_AUDIBLE_DB = 2.5
_N_CEPSTRA = 6
_ENVELOPE_RATE_HZ = 250.0
_MODULATION_EDGES_HZ = (20.0, 32.0, 50.0, 80.0)
_MODULATION_TAPS = 129
_SMALL = 1e-30


def audible_segments(smooth_reference: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices of envelope segments whose loudness over all channels is more than 2.5 dB above threshold."""
    loudness_db = 20.0 * np.log10(np.mean(10.0 ** (smooth_reference / 20.0), axis=0))
    return np.flatnonzero(loudness_db > _AUDIBLE_DB)


def cepstral_correlation(
    smooth_reference: NDArray[np.float64], smooth_processed: NDArray[np.float64], audible: NDArray[np.int64]
) -> float:
    """Correlate mel cepstra over time at modulation rates from 20 to 125 Hz (the four upper of Kates's eight bands).

    Parameters
    ----------
    smooth_reference, smooth_processed : arrays of shape (n_channels, n_segments)
        Envelopes in dB above threshold at 250 Hz.
    audible : array of int
        The segments to use; 0 is returned when there are fewer than two.

    Returns
    -------
    float
        Mean |correlation| over four modulation bands and the cepstra 2 to 6.
    """
    if len(audible) <= 1:
        return 0.0
    basis = _cepstral_basis(len(smooth_reference))
    reference = _modulation_bands(_product(basis, smooth_reference[:, audible]))
    processed = _modulation_bands(_product(basis, smooth_processed[:, audible]))
    power_x, power_y = np.sum(reference**2, axis=-1), np.sum(processed**2, axis=-1)
    product = np.sum(reference * processed, axis=-1)
    enough = (power_x >= _SMALL) & (power_y >= _SMALL)
    correlation = np.zeros_like(product)
    correlation[enough] = np.abs(product[enough]) / np.sqrt(power_x[enough] * power_y[enough])
    return float(correlation.mean())


def _product(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply matrices without BLAS, whose own threads would burn more time than they save."""
    return np.einsum("ij,jk->ik", first, second)


@lru_cache(maxsize=1)
def _cepstral_basis(n_channels: int) -> NDArray[np.float64]:
    """Return half-cosines 2 to 6 over the channels, of unit norm; the first, a constant, is not used."""
    order = np.arange(1, _N_CEPSTRA)[:, np.newaxis]
    basis = np.cos(order * np.arange(n_channels) * np.pi / (n_channels - 1))
    return basis / np.linalg.norm(basis, axis=1, keepdims=True)


@lru_cache(maxsize=1)
def _modulation_filters() -> NDArray[np.float64]:
    """Return linear-phase FIR filters for 20-32, 32-50, 50-80 and 80-125 Hz, shape (4, 1, taps)."""
    edges = _MODULATION_EDGES_HZ
    bands = [
        scipy.signal.firwin(_MODULATION_TAPS, band, window="hann", pass_zero="bandpass", fs=_ENVELOPE_RATE_HZ)
        for band in itertools.pairwise(edges)
    ]
    top = scipy.signal.firwin(_MODULATION_TAPS, edges[-1], window="hann", pass_zero="highpass", fs=_ENVELOPE_RATE_HZ)
    return np.stack([*bands, top])[:, np.newaxis]


def _modulation_bands(cepstra: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filter each cepstrum (cepstra, segments) into each modulation band, delay taken out, without its mean."""
    n_segments = cepstra.shape[1]
    size = scipy.fft.next_fast_len(n_segments + _MODULATION_TAPS - 1, real=True)
    centred = cepstra - cepstra.mean(axis=1, keepdims=True)
    spectrum = scipy.fft.rfft(centred, size) * scipy.fft.rfft(_modulation_filters(), size)
    delay = _MODULATION_TAPS // 2
    bands = scipy.fft.irfft(spectrum, size)[..., delay : delay + n_segments]
    return bands - bands.mean(axis=-1, keepdims=True)


@dataclass(frozen=True)
class SpectrumMatch:
    """``loudness`` and ``balance``, each from 0 (different) to 1 (the same)."""

    loudness: float
    balance: float


def spectrum_match(reference_db: NDArray[np.float64], processed_db: NDArray[np.float64]) -> SpectrumMatch:
    """Compare long-term spectra in dB above threshold (Moore & Tan 2004), overall loudness taken out.

    ``loudness``: spread of the differences between channels; ``balance``: of the differences relative to their sum.
    """
    reference, processed = 10.0 ** (reference_db / 20.0), 10.0 ** (processed_db / 20.0)
    reference /= reference.sum()
    processed /= processed.sum()
    difference = reference - processed
    spread = len(reference) * np.std(difference)
    relative_spread = len(reference) * np.std(difference / (reference + processed))
    return SpectrumMatch(
        loudness=float(np.clip(1.0 - spread / 2.5, 0.0, 1.0)),
        balance=float(np.clip(1.0 - relative_spread / 25.0, 0.0, 1.0)),
    )
