"""Music block by block: what is read and written piece after piece, so that its length costs no memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError

#: A piece of stereo music, float32 of shape (n_samples, 2), full scale 1.0.
Block = NDArray[np.float32]
#: The same piece of every stem, all of one length.
StemBlock = Mapping[str, Block]
#: Samples above this (full scale is 1.0) are no music; squared and summed they would leave the range of float32.
LOUDEST = 1e6


class BlockSource(Protocol):
    """Stereo music that can be read from its beginning any number of times.

    Attributes
    ----------
    name : str
        Where it comes from, for messages.
    sample_rate : int
        In Hz, of the blocks.
    duration_s : float or None
        About how long it is, for progress only; None where nobody knows.
    """

    @property
    def name(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def duration_s(self) -> float | None: ...

    def blocks(self) -> Iterator[Block]:
        """Read from the beginning: pieces of any length above zero, in order, each checked (finite numbers).

        Raises
        ------
        InputError
            It cannot be read to its end, or holds what is no audio.
        """
        ...


@dataclass(frozen=True)
class AudioBlocks:
    """Music in memory as a source of blocks; mono is given as two equal channels.

    Parameters
    ----------
    audio : Audio
        Mono or stereo.
    block_length : int, optional
        In samples; the whole at once by default.

    Raises
    ------
    InputError
        This is no audio, or no length.
    """

    audio: Audio
    block_length: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.audio, Audio):
            raise InputError("no audio", expected="an Audio, from load_audio", found=type(self.audio).__name__)
        length = self.block_length
        if length is not None and (not isinstance(length, Integral) or isinstance(length, bool) or length < 1):
            raise InputError("wrong block length", expected="a whole number of samples, 1 or more", found=repr(length))

    @property
    def name(self) -> str:
        return self.audio.name

    @property
    def sample_rate(self) -> int:
        return self.audio.sample_rate

    @property
    def duration_s(self) -> float:
        return self.audio.duration_s

    def blocks(self) -> Iterator[Block]:
        samples = self.audio.stereo().samples
        step = self.block_length or len(samples)
        for first in range(0, len(samples), step):
            yield samples[first : first + step]


def checked_blocks(source: BlockSource) -> Iterator[Block]:
    """Read a source and refuse what is no stereo music.

    Parameters
    ----------
    source : BlockSource

    Yields
    ------
    array of shape (n_samples, 2)
        Each block in float32; empty ones are left out.

    Raises
    ------
    InputError
        A block is of another shape or kind, or has samples that are not finite or beyond `LOUDEST`.
    """
    for block in source.blocks():
        if not isinstance(block, np.ndarray):
            raise _wrong_block(source, "a float32 array of shape (n_samples, 2)", type(block).__name__)
        if block.ndim != 2 or block.shape[1] != 2:
            raise _wrong_block(source, "an array of shape (n_samples, 2)", f"shape {block.shape}")
        if block.dtype.kind != "f":
            raise _wrong_block(source, "floats of full scale 1.0", block.dtype)
        if not len(block):
            continue
        # Both are NaN where any sample is: two passes over the samples and no copy.
        lowest, highest = float(block.min()), float(block.max())
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            raise InputError(
                "samples are not finite", where=source.name, expected="finite numbers", found="NaN or infinity"
            )
        peak = max(-lowest, highest)
        if peak > LOUDEST:
            raise InputError(
                "level is no music's (full scale is 1.0)",
                where=source.name,
                expected=f"samples up to {LOUDEST:g}",
                found=f"{peak:.3g}",
            )
        yield block.astype(np.float32, copy=False)


def _wrong_block(source: BlockSource, expected: str, found: object) -> InputError:
    return InputError("a block of the source is no stereo music", where=source.name, expected=expected, found=found)
