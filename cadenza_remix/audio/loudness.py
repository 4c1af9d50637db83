"""Loudness and true peak as ITU-R BS.1770-5 measures them, and the gain that brings music to a loudness.

Conventions: loudness in LUFS (K-weighted, gated; the filters' coefficients follow the recommendation at every sample
rate), true peak in dBTP (dB of full scale, four times oversampled). A single channel counts as one channel: the same
samples in two channels are 3.01 LU louder. Silence is minus infinity, never an error or a warning.
"""

from __future__ import annotations

import math

import numpy as np
import soxr

from cadenza_remix.audio.resample import resample
from cadenza_remix.audio.signal import Audio
from cadenza_remix.units import lin_to_db

GATING_BLOCK_S = 0.4
"""Length of the blocks whose loudness is gated; each begins a quarter of this after the one before."""
_STEPS_PER_BLOCK = 4
# Below this rate the shelf of the K-weighting (1.7 kHz) would come too near half the rate.
_LOWEST_RATE, _RATE_INSTEAD = 16_000, 48_000
_OVERSAMPLING = 4
_BLOCK_LENGTH = 1 << 16


def integrated_lufs(audio: Audio) -> float:
    """Return the integrated loudness of the whole audio in LUFS (ITU-R BS.1770-5, by pyloudnorm).

    What remains after the last whole step of 0.1 s is not measured. Audio shorter than a gating block of 0.4 s, for
    which the recommendation defines nothing, is taken as one block: then only the absolute gate is at work.

    Parameters
    ----------
    audio : Audio
        Mono or stereo, any rate; below 16 kHz it is first resampled to 48 kHz.

    Returns
    -------
    float
        Minus infinity for silence, and where nothing is louder than the absolute gate of -70 LUFS.

    Examples
    --------
    >>> integrated_lufs(Audio(np.zeros((44100, 2)), 44100))
    -inf
    """
    if not audio.samples.any():
        return -math.inf
    if audio.sample_rate < _LOWEST_RATE:
        audio = resample(audio, _RATE_INSTEAD)
    from pyloudnorm import Meter

    rate = audio.sample_rate
    samples = audio.samples.astype(np.float64)
    step_s = GATING_BLOCK_S / _STEPS_PER_BLOCK
    n_steps = int(audio.n_samples / (step_s * rate) + 1e-9)
    if n_steps < _STEPS_PER_BLOCK:
        meter = Meter(rate, filter_class="DeMan", block_size=audio.n_samples / rate, overlap=0.0)
        # One sample more: pyloudnorm refuses what is shorter than a block, be it by a rounding error.
        samples = np.concatenate([samples, np.zeros((1, audio.n_channels))])
    else:
        # "DeMan" has the recommendation's own coefficients; pyloudnorm's default differs from them.
        meter = Meter(rate, filter_class="DeMan", block_size=GATING_BLOCK_S)
        # pyloudnorm rounds the number of blocks: the last one could lie half outside.
        samples = samples[: math.ceil(n_steps * step_s * rate - 1e-6)]
    return float(meter.integrated_loudness(samples))


def true_peak_dbtp(audio: Audio) -> float:
    """Return the highest true peak of all channels in dBTP (ITU-R BS.1770-5, annex 2).

    Oversampled four times by soxr, block by block; never below the highest sample. Beyond its ends the audio counts as
    silence: a cut through a loud passage overshoots a little, as it does when it is played.

    Parameters
    ----------
    audio : Audio

    Returns
    -------
    float
        Minus infinity for silence.
    """
    rate = audio.sample_rate
    stream = soxr.ResampleStream(rate, _OVERSAMPLING * rate, audio.n_channels, dtype="float32", quality="VHQ")
    peak = 0.0
    for first in range(0, audio.n_samples, _BLOCK_LENGTH):
        block = audio.samples[first : first + _BLOCK_LENGTH]
        over = stream.resample_chunk(block, last=first + _BLOCK_LENGTH >= audio.n_samples)
        peak = max(peak, float(np.abs(block).max()), float(np.abs(over).max(initial=0.0)))
    return float(lin_to_db(peak))


def loudness_gain_db(audio: Audio, *, target_lufs: float | None, max_peak_dbfs: float) -> float:
    """Return the gain in dB that brings audio to a loudness, as far as its true peak allows.

    Parameters
    ----------
    audio : Audio
    target_lufs : float or None
        None leaves the loudness as it is; then only the peak counts.
    max_peak_dbfs : float
        With the gain, no true peak is above this: a louder target is not reached.

    Returns
    -------
    float
        Finite. Audio without a loudness (silence, or all of it below the gate) is never raised.
    """
    loudness, peak = integrated_lufs(audio), true_peak_dbtp(audio)
    wanted = 0.0 if target_lufs is None or not math.isfinite(loudness) else target_lufs - loudness
    return min(wanted, max_peak_dbfs - peak)
