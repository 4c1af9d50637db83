"""Resampling along time."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from cadenza_remix.audio.signal import Audio


def resample(audio: Audio, sample_rate: int) -> Audio:
    """Return the audio at another sample rate (soxr, quality HQ: the challenge's resampler).

    The first axis is time by construction of `Audio`, so channels are never mixed.
    """
    if sample_rate == audio.sample_rate:
        return audio
    return Audio(resample_samples(audio.samples, audio.sample_rate, sample_rate), sample_rate, audio.name)


def resample_samples(samples: NDArray[np.floating], orig_rate: int, target_rate: int) -> NDArray[np.floating]:
    """Resample an array of shape (n_samples,) or (n_samples, n_channels) along its first axis, keeping its dtype."""
    if orig_rate == target_rate:
        return samples
    return np.asarray(soxr.resample(samples, orig_rate, target_rate, quality="HQ"))
