"""Resampling along time, of whole signals and block by block; both give the same samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from cadenza_remix.audio.blocks import Block, BlockSource
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError

_QUALITY = "HQ"


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
    return np.asarray(soxr.resample(samples, orig_rate, target_rate, quality=_QUALITY))


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]],
    orig_rate: int,
    target_rate: int,
    *,
    n_samples: Callable[[], int] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Resample float32 blocks of shape (n, n_channels) one after another: what `resample_samples` gives for the whole.

    Parameters
    ----------
    blocks : iterable of array
        Any lengths; the result does not depend on them.
    orig_rate, target_rate : int
        In Hz.
    n_samples : callable, optional
        Asked after the last block for the exact length to give out: what is beyond is cut, what is short is filled by
        going on with silence. Without it the length is the rounded ``n * target_rate / orig_rate``.
    """
    if orig_rate == target_rate:
        yield from blocks
        return
    stream = None
    n_channels = n_given = 0
    for block in blocks:
        if stream is None:
            n_channels = block.shape[1]
            stream = soxr.ResampleStream(orig_rate, target_rate, n_channels, dtype="float32", quality=_QUALITY)
        resampled = stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        if len(resampled):
            n_given += len(resampled)
            yield resampled
    if stream is None:
        return
    if n_samples is None:
        silence = np.zeros((0, n_channels), dtype=np.float32)
    else:  # a little silence more than one sample of the slower rate, so that there is always enough to cut from
        silence = np.zeros((2 + 2 * orig_rate // target_rate, n_channels), dtype=np.float32)
    rest = stream.resample_chunk(silence, last=True)
    if n_samples is not None:
        # The blocks give at most what was put in so far, less the filter's delay: all that is to cut is in the rest.
        rest = rest[: max(0, n_samples() - n_given)]
    if len(rest):
        yield rest


@dataclass(frozen=True)
class ResampledBlocks:
    """A source of blocks at another rate."""

    source: BlockSource
    sample_rate: int

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def duration_s(self) -> float | None:
        return self.source.duration_s

    def blocks(self) -> Iterator[Block]:
        empty = True
        for block in resample_blocks(self.source.blocks(), self.source.sample_rate, self.sample_rate):
            empty = False
            yield block
        if empty:
            expected = f"at least one sample at {self.sample_rate} Hz"
            raise InputError("is too short", where=self.name, expected=expected)
