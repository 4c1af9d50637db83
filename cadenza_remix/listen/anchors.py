"""Anchors of listening tests: low-pass versions of the reference as ITU-R BS.1534-3 defines them.

The recommendation's low-range anchor is cut at 3.5 kHz: ripple in the passband at most 0.1 dB, at least 25 dB less at
4 kHz and at least 50 dB less at 4.5 kHz. The mid-range anchor of 7 kHz, and any other, takes the same in proportion.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError

LOW_ANCHOR_HZ = 3500.0
MID_ANCHOR_HZ = 7000.0

_STOP_RATIO = 4000.0 / LOW_ANCHOR_HZ
"""Where the filter has reached its full attenuation, in units of the cutoff: already where 25 dB would do."""
_ATTENUATION_DB = 60.0


def low_pass_anchor(audio: Audio, cutoff_hz: float) -> Audio:
    """Return the anchor: what lies below the cutoff, unchanged in level and time.

    A FIR with linear phase (Kaiser window, ripple below 0.01 dB, 60 dB less from 8/7 of the cutoff on), whose delay is
    taken out.

    Parameters
    ----------
    audio : Audio
        Mono or stereo, any rate.
    cutoff_hz : float
        End of the passband.

    Returns
    -------
    Audio
        As many samples and channels at the same rate.

    Raises
    ------
    InputError
        The cutoff is not positive, or 8/7 of it is not below half the sample rate: nothing would be cut.
    """
    if not (np.isfinite(cutoff_hz) and 0 < cutoff_hz * _STOP_RATIO < audio.sample_rate / 2):
        expected = f"more than 0 and less than {audio.sample_rate / 2 / _STOP_RATIO:g} Hz at {audio.sample_rate} Hz"
        raise InputError("wrong cutoff of an anchor", where=audio.name, expected=expected, found=cutoff_hz)
    taps = _taps(float(cutoff_hz), audio.sample_rate)
    samples = scipy.signal.oaconvolve(audio.samples.astype(np.float64), taps[:, np.newaxis], mode="full", axes=0)
    first = len(taps) // 2  # the delay of an odd number of symmetric taps
    return Audio(samples[first : first + audio.n_samples], audio.sample_rate, f"{audio.name} below {cutoff_hz:g} Hz")


@functools.lru_cache(maxsize=16)
def _taps(cutoff_hz: float, sample_rate: int) -> NDArray[np.float64]:
    stop_hz = cutoff_hz * _STOP_RATIO
    n_taps, beta = scipy.signal.kaiserord(_ATTENUATION_DB, (stop_hz - cutoff_hz) / (sample_rate / 2))
    taps = scipy.signal.firwin(n_taps | 1, (cutoff_hz + stop_hz) / 2, window=("kaiser", beta), fs=sample_rate)
    taps.flags.writeable = False
    return taps
