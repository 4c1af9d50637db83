"""A song as a stream of frames: cut into pieces as it comes, and put together again as the pieces are done.

The layout is that of `cadenza_remix.separation.stft.Stft`: one frame of zeros before the song, zeros behind it up to
whole hops. Memory holds a piece at a time, so a song may have any length; pieces lie at the same places whatever the
blocks in which the song arrives, so the result is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.blocks import Block
from cadenza_remix.separation.stft import Stft


@dataclass(frozen=True)
class FramePiece:
    """The samples of some frames in a row.

    Parameters
    ----------
    samples : array of shape (n_channels, n)
        Of frames ``first - n_before`` to ``last + n_after`` (exclusive).
    first, last : int
        The frames that the piece is for; the others are context.
    n_before, n_after : int
        Frames of context.
    """

    samples: NDArray[np.float32]
    first: int
    last: int
    n_before: int = 0
    n_after: int = 0


class FrameReader:
    """Cuts a song into pieces of equally many frames.

    Parameters
    ----------
    blocks : iterable of arrays of shape (n_samples, n_channels)
        The song.
    stft : Stft
        The frames.
    n_frames : int
        Frames of a piece.
    n_context : int
        Frames before and after a piece to give along, as far as there are any.
    whole_pieces : bool
        Fill the last piece up with frames of zeros, instead of ending it with the song's last frame.

    Attributes
    ----------
    n_samples : int or None
        Length of the song; known once its end has been read, and by then every piece but the last few is out.
    """

    def __init__(
        self, blocks: Iterable[Block], stft: Stft, *, n_frames: int, n_context: int = 0, whole_pieces: bool = False
    ) -> None:
        self.n_samples: int | None = None
        self._blocks = iter(blocks)
        self._stft = stft
        self._n_frames = n_frames
        self._n_context = n_context
        self._whole_pieces = whole_pieces
        self._parts: list[NDArray[np.float32]] = []
        self._start = 0  # where in the padded layout the parts begin
        self._end = 0
        self._n_read = 0

    def __iter__(self) -> Iterator[FramePiece]:
        hop, frame = self._stft.hop_length, self._stft.frame_length
        first = 0
        while True:
            last = first + self._n_frames
            self._fill((last + self._n_context - 1) * hop + frame)
            n_all = None if self.n_samples is None else self._stft.n_frames(self.n_samples)
            if n_all is not None and (first >= n_all or not self.n_samples):
                return
            if n_all is not None and not self._whole_pieces:
                last = min(last, n_all)
            n_before = min(self._n_context, first)
            n_after = self._n_context if n_all is None else max(0, min(self._n_context, n_all - last))
            begin, end = (first - n_before) * hop, (last + n_after - 1) * hop + frame
            yield FramePiece(self._cut(begin, end), first, last, n_before, n_after)
            first = last

    def _fill(self, end: int) -> None:
        """Read on until the padded layout reaches ``end``, or to the song's end."""
        while self._end < end and self.n_samples is None:
            block = next(self._blocks, None)
            if block is None:
                self.n_samples = self._n_read
                return
            if not self._parts and not self._n_read:
                self._append(np.zeros((block.shape[1], self._stft.frame_length), dtype=np.float32))
            self._n_read += len(block)
            self._append(block.T)

    def _append(self, samples: NDArray[np.float32]) -> None:
        self._parts.append(samples)
        self._end += samples.shape[1]

    def _cut(self, begin: int, end: int) -> NDArray[np.float32]:
        """Return a stretch of the padded layout, and forget what lies before it."""
        parts, position = [], self._start
        piece = np.zeros((self._parts[0].shape[0], end - begin), dtype=np.float32)
        for part in self._parts:
            stop = position + part.shape[1]
            if stop > begin:
                parts.append(part)
                low, high = max(position, begin), min(stop, end)
                if low < high:
                    piece[:, low - begin : high - begin] = part[:, low - position : high - position]
            else:
                self._start = stop
            position = stop
        self._parts = parts or self._parts[-1:]
        if not parts:
            self._start = position - self._parts[0].shape[1]
        return piece


def stitched(pieces: Iterable[NDArray[np.float32]], reader: FrameReader, stft: Stft) -> Iterator[NDArray[np.float32]]:
    """Add the overlaps of pieces in a row and take the zeros around the song away.

    Parameters
    ----------
    pieces : iterable of arrays of shape (..., n)
        The synthesis (see `Stft.synthesise`) of the pieces that ``reader`` gave, context left out, in their order.
        They may be changed.
    reader : FrameReader
        Where the pieces came from; tells where the song ends.

    Yields
    ------
    array of shape (..., n_samples)
        Together as long as the song.
    """
    overlap = stft.frame_length - stft.hop_length
    position, tail = -stft.frame_length, None
    for piece in pieces:
        if tail is not None:
            piece[..., :overlap] += tail
        tail = piece[..., piece.shape[-1] - overlap :].copy()
        n_done = piece.shape[-1] - overlap
        end = n_done if reader.n_samples is None else min(n_done, reader.n_samples - position)
        begin = max(0, -position)
        if begin < end:
            yield piece[..., begin:end]
        position += n_done
