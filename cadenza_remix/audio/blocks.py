"""Music block by block: what is read and written piece after piece, so that its length costs no memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.signal import Audio

#: A piece of stereo music, float32 of shape (n_samples, 2), full scale 1.0.
Block = NDArray[np.float32]
#: The same piece of every stem, all of one length.
StemBlock = Mapping[str, Block]


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
    """

    audio: Audio
    block_length: int | None = None

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
