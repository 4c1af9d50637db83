"""A passage of an audio file on the grid of the song: the same samples wherever the passage begins.

Files of other rates are read from a place where both grids meet (10 ms apart for the challenge's 32 kHz), with a margin
for the resampler's filter, so that two passages of one file agree on the samples they share, and a file that holds only
a part of its song lies where that part lies.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.reading import file_properties
from cadenza_remix.audio.resample import resample_samples
from cadenza_remix.audio.seeking import read_excerpt
from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE
from cadenza_remix.errors import InputError

_MARGIN_S = 0.05
"""Longer than the resampler's filter reaches."""


def read_passage(
    path: Path, first: int, n_samples: int, *, begins_s: float = 0.0, stream_index: int = 0
) -> NDArray[np.float32]:
    """Return a passage in stereo at 44.1 kHz; what the file does not hold is silence.

    Parameters
    ----------
    path : Path
    first, n_samples : int
        In samples at 44.1 kHz from the song's beginning; ``first`` may be negative.
    begins_s : float
        Where in the song the file begins.
    stream_index : int
        Which of the audio streams of an MP4.

    Returns
    -------
    float32 array, shape (n_samples, 2)

    Raises
    ------
    InputError
        The file cannot be read as audio, or has more than two channels.
    """
    rate = file_properties(path, stream_index=stream_index).sample_rate
    # The file's first sample in samples of its own rate from the song's beginning, as the stages cut it.
    offset = int(begins_s * rate)
    step = rate // math.gcd(rate, MUSIC_SAMPLE_RATE)
    margin = _MARGIN_S if rate != MUSIC_SAMPLE_RATE else 0.0
    begin = math.floor((first / MUSIC_SAMPLE_RATE - margin) * rate / step) * step
    end = math.ceil(((first + n_samples) / MUSIC_SAMPLE_RATE + margin) * rate)
    samples = _read(path, begin - offset, end - begin, stream_index)
    resampled = resample_samples(samples, rate, MUSIC_SAMPLE_RATE)
    skipped = first - begin * MUSIC_SAMPLE_RATE // rate  # exact: the grids meet at `begin`
    passage = resampled[skipped : skipped + n_samples]
    return passage if len(passage) == n_samples else _extended(passage, n_samples)


def _read(path: Path, start: int, n_samples: int, stream_index: int) -> NDArray[np.float32]:
    """Read samples at the file's own rate in stereo, silence before its beginning and after its end."""
    samples = np.zeros((n_samples, 2), dtype=np.float32)
    n_before = min(max(0, -start), n_samples)
    if n_before < n_samples:
        found = read_excerpt(path, start + n_before, n_samples - n_before, stream_index=stream_index)
        if found.shape[1] not in (1, 2):
            raise InputError("wrong number of channels", where=path, expected="1 or 2", found=found.shape[1])
        samples[n_before : n_before + len(found)] = found  # one channel goes to both ears
    return samples


def _extended(passage: NDArray[np.float32], n_samples: int) -> NDArray[np.float32]:
    whole = np.zeros((n_samples, 2), dtype=np.float32)
    whole[: len(passage)] = passage
    return whole
