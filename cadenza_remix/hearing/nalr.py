"""NAL-R: the linear gain that an audiogram asks for, as a linear-phase FIR filter.

Prescription: Byrne & Dillon (1986), "The National Acoustic Laboratories' (NAL) new procedure for selecting the gain and
frequency response of a hearing aid", Ear and Hearing 7(4). The filter is designed as pyclarity 0.9.0 designs it
(frequency sampling on a grid of 513 points, Hamming window), so that taps agree to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.units import db_to_lin

NALR_FREQUENCIES_HZ = np.array([250.0, 500.0, 1000.0, 2000.0, 4000.0, 6000.0])
_CORRECTION_DB = np.array([-17.0, -8.0, 1.0, -1.0, -2.0, -2.0])
_GRID_POINTS = 513
_MAX_ORDER = 512


@dataclass(frozen=True)
class NalrSettings:
    """``order``: even order of the filter at the rate of the music; 220 at 44.1 kHz is the challenge's."""

    order: int = 220

    def __post_init__(self) -> None:
        _check_order(self.order)


def nalr_gains_db(audiogram: Audiogram) -> NDArray[np.float64]:
    """Return the prescribed insertion gains at ``NALR_FREQUENCIES_HZ``.

    Gain = X + 0.31 * loss + correction, with X = 0.05 * (loss at 500 Hz + 1 kHz + 2 kHz) up to a sum of 180 dB and
    rising by 0.116 per dB above (the extension for severe losses as pyclarity has it); never below 0 dB. An ear without
    any loss gets no gain at all.

    Returns
    -------
    array of shape (6,), dB
    """
    loss_db_hl = audiogram.levels_at(NALR_FREQUENCIES_HZ)
    if loss_db_hl.max() <= 0:
        return np.zeros_like(NALR_FREQUENCIES_HZ)
    three_frequency_sum = loss_db_hl[1:4].sum()
    common_db = 0.05 * min(three_frequency_sum, 180.0) + 0.116 * max(three_frequency_sum - 180.0, 0.0)
    return np.maximum(common_db + 0.31 * loss_db_hl + _CORRECTION_DB, 0.0)


def nalr_fir(audiogram: Audiogram, *, sample_rate: int, order: int = 220) -> NDArray[np.float64]:
    """Design the NAL-R filter for one ear.

    Parameters
    ----------
    audiogram : Audiogram
    sample_rate : int
        In Hz, more than 12 kHz: the prescription reaches to 6 kHz.
    order : int
        Even, at most 512.

    Returns
    -------
    array of shape (order + 1,)
        Symmetric taps; the delay is ``order / 2`` samples.

    Raises
    ------
    InputError
        Odd or too large order, too low sample rate.
    """
    _check_order(order)
    nyquist_hz = 0.5 * sample_rate
    if nyquist_hz <= NALR_FREQUENCIES_HZ[-1]:
        raise InputError("sample rate too low for NAL-R", expected="more than 12000 Hz", found=f"{sample_rate} Hz")
    if audiogram.levels_at(NALR_FREQUENCIES_HZ).max() <= 0:
        return np.eye(1, order + 1, order // 2)[0]
    gains_db = nalr_gains_db(audiogram)
    knots_hz = np.concatenate(([0.0], NALR_FREQUENCIES_HZ, [nyquist_hz]))
    knots_db = np.concatenate((gains_db[:1], gains_db, gains_db[-1:]))
    normalised = np.arange(order + 1) / order
    gains_lin = db_to_lin(np.interp(nyquist_hz * normalised, knots_hz, knots_db))
    return _frequency_sampling_fir(normalised, gains_lin)


def apply_fir(samples: NDArray[np.float64], fir: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filter along time with a symmetric FIR, its delay taken out and the length kept.

    Parameters
    ----------
    samples : array of shape (n_samples,) or (n_samples, n_channels)
    fir : array of shape (order + 1,), order even
    """
    taps = fir if samples.ndim == 1 else fir[:, np.newaxis]
    delay = (len(fir) - 1) // 2
    filtered = scipy.signal.oaconvolve(np.asarray(samples, dtype=np.float64), taps, mode="full", axes=0)
    return filtered[delay : delay + len(samples)]


def _frequency_sampling_fir(normalised: NDArray[np.float64], gains_lin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Window the inverse transform of gains that run linearly between knots (``normalised``: 0 to 1 = Nyquist).

    The knots fall on grid indices as MATLAB's ``fir2`` and its port in pyclarity place them: knot i ends at
    ``floor(f_i * 513) - 1`` and the next stretch begins one point later.
    """
    last = np.floor(normalised[1:] * _GRID_POINTS).astype(int) - 1
    first = np.concatenate(([0], last[:-1] + 1))
    grid = np.arange(_GRID_POINTS)
    stretch = np.searchsorted(last, grid)
    span = np.maximum(last - first, 1)[stretch]
    fraction = (grid - first[stretch]) / span
    response = (1.0 - fraction) * gains_lin[stretch] + fraction * gains_lin[stretch + 1]
    n_taps = len(normalised)
    phase = np.exp(-0.5j * np.pi * (n_taps - 1) * grid / (_GRID_POINTS - 1))
    # irfft takes the response at Nyquist as real, which the linear phase makes it: n_taps - 1 is even.
    impulse = np.fft.irfft(response * phase, 2 * (_GRID_POINTS - 1))
    return impulse[:n_taps] * scipy.signal.windows.hamming(n_taps)


def _check_order(order: int) -> None:
    if not isinstance(order, (int, np.integer)) or isinstance(order, bool):
        raise InputError("wrong order", where="nalr", expected="a whole number", found=repr(order))
    if order % 2 or not 2 <= order <= _MAX_ORDER:
        raise InputError("wrong order", where="nalr", expected=f"an even number from 2 to {_MAX_ORDER}", found=order)
