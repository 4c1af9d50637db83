"""Large arrays that scores on one thread use one after the other.

The system hands out fresh memory as zeros, page by page, which took a tenth of the time of a score. What is kept
is only memory: every array is written before it is read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_KEPT = 80_000_000
"""Values; 320 MB for each thread that scores, enough for 30 s of audio."""


_LINE = 64
"""Bytes of a cache line. Vectors that lie across two lines are slow to read, and slower to read after a write."""


def aligned_empty(size: int, dtype: type[np.float32] | type[np.float64]) -> NDArray[Any]:
    """Return an array that begins with a cache line; its contents mean nothing."""
    n_bytes = size * np.dtype(dtype).itemsize
    room = np.empty(n_bytes + _LINE, dtype=np.uint8)
    first = -room.ctypes.data % _LINE
    return room[first : first + n_bytes].view(dtype)


class Scratch:
    """Hands out float32 arrays that are valid until it is opened again."""

    def __init__(self) -> None:
        self._kept: list[NDArray[np.float32]] = []
        self._given = 0

    def empty(self, size: int) -> NDArray[np.float32]:
        """Return an array whose contents mean nothing."""
        if self._given < len(self._kept) and len(self._kept[self._given]) >= size:
            block = self._kept[self._given]
        else:
            block = aligned_empty(size, np.float32)
            self._kept[self._given : self._given + 1] = [block]
        self._given += 1
        return block[:size]

    def close(self) -> None:
        """Make everything available again, and let go of it where it is too much to keep."""
        self._given = 0
        if sum(map(len, self._kept)) > _MOST_KEPT:
            self._kept.clear()


class _OfThread(threading.local):
    scratch: Scratch | None = None


_of_thread = _OfThread()


@contextmanager
def thread_scratch() -> Iterator[Scratch]:
    """Lend this thread's scratch arrays; whoever asks inside gets others."""
    scratch, _of_thread.scratch = _of_thread.scratch or Scratch(), None
    try:
        yield scratch
    finally:
        scratch.close()
        _of_thread.scratch = scratch
