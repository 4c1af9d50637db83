"""The noise of the auditory threshold from a pool that is always the same.

A pool of normal numbers is made once per process from a fixed seed. Each channel of either signal reads it from a place
of its own, so that no two of them meet the same number at the same time: places are 0.68 s apart, far more than any lag
at which signals are compared. Long signals go round the pool, which lasts 43.7 s.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.compiled import compiled

POOL_SIZE = 1 << 20
"""Normal numbers in the pool; 4 MB."""

_SEED = 20_150_907
_N_ROWS = 64


class FixedNoise:
    """Noise that depends on nothing but the row and the sample; takes the place of ``NormalStream``."""

    def add_row(self, row: int, out: NDArray[np.float32], n_draws: int, gain: float) -> None:
        """Add the first ``len(out)`` numbers of a row, times ``gain``, to ``out``."""
        pool, factor = _pool(), np.float32(gain)
        position, done = row % _N_ROWS * (POOL_SIZE // _N_ROWS), 0
        while done < len(out):
            taken = pool[position : position + len(out) - done]
            _add_scaled(taken, factor, out[done : done + len(taken)])
            position, done = 0, done + len(taken)

    def skip(self, n_draws: int) -> None:
        """Do nothing: no number depends on how many were drawn before."""

    def finish(self) -> None:
        """Do nothing: no generator has been used."""


@lru_cache(maxsize=1)
def _pool() -> NDArray[np.float32]:
    """Return the pool; NumPy guarantees the numbers of this generator for all its versions."""
    pool = np.random.RandomState(_SEED).standard_normal(POOL_SIZE).astype(np.float32)
    pool.flags.writeable = False
    return pool


@compiled()
def _add_scaled(values, gain, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] += gain * values[i]
