"""The noise of the auditory threshold: NumPy's legacy normal numbers, drawn several times as fast.

``numpy.random.RandomState.standard_normal`` makes pairs of normals by the polar method from the Mersenne Twister
MT19937 (Matsumoto & Nishimura 1998). The same numbers come out here, to single precision, straight into the arrays
that need them, and the generator is left exactly where NumPy would have left it.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.compiled import compiled
from cadenza_remix.errors import InputError
from cadenza_remix.metrics.auditory.arithmetic import log2

_N = 624
_TO_SQUARE = 2.0**-52
_MINUS_TWO_LN2 = np.float32(-2.0 * math.log(2.0))


class ThresholdNoise(Protocol):
    """Where the model's noise comes from: rows of normal numbers, those of the reference first."""

    def add_row(self, row: int, out: NDArray[np.float32], n_draws: int, gain: float) -> None: ...

    def skip(self, n_draws: int) -> None: ...

    def finish(self) -> None: ...


class NormalStream:
    """Normal numbers in the order of NumPy's legacy generator.

    Parameters
    ----------
    rng : numpy.random.RandomState or None
        None stands for NumPy's global legacy generator. A generator that does not run on MT19937 is asked directly,
        which is slower.

    Notes
    -----
    ``finish`` hands the state back. Until then the generator itself has not moved.
    """

    def __init__(self, rng: np.random.RandomState | None) -> None:
        if rng is not None and not isinstance(rng, np.random.RandomState):
            raise InputError(
                "wrong kind of generator", where="rng", expected="numpy.random.RandomState or None", found=type(rng)
            )
        self._source: Any = np.random if rng is None else rng
        self._state: dict[str, Any] = self._source.get_state(legacy=False)
        self._fast = self._state["bit_generator"] == "MT19937"
        if self._fast:
            self._key = np.array(self._state["state"]["key"], dtype=np.uint32)
            self._cursor = np.array([self._state["state"]["pos"], self._state["has_gauss"]], dtype=np.int64)
            self._kept = float(self._state["gauss"])

    def add_row(self, row: int, out: NDArray[np.float32], n_draws: int, gain: float) -> None:
        """Draw ``n_draws`` normals and add the first ``len(out)`` of them, times ``gain``, to ``out``.

        Rows are drawn in the order in which they are asked for, whatever their number.
        """
        if not self._fast:
            out += gain * self._source.standard_normal(n_draws)[: len(out)]
            return
        if n_draws == 0:
            return
        start = int(self._cursor[1])
        if start:
            out[:1] += gain * self._kept
            self._cursor[1], self._kept = 0, 0.0
        pair = np.zeros(2)
        _add_normals(self._key, self._cursor, n_draws - start, np.float32(gain), out[start:], pair)
        if self._cursor[1]:
            self._kept = _second_of_pair(float(pair[0]), float(pair[1]))

    def skip(self, n_draws: int) -> None:
        """Draw normals that nobody needs."""
        self.add_row(0, np.empty(0, dtype=np.float32), n_draws, 0.0)

    def finish(self) -> None:
        """Leave the generator where drawing from it would have left it."""
        if self._fast:
            self._state["state"] = {"key": self._key, "pos": int(self._cursor[0])}
            self._state["has_gauss"], self._state["gauss"] = int(self._cursor[1]), self._kept
            self._source.set_state(self._state)


def _second_of_pair(x1: float, x2: float) -> float:
    """Return the number that NumPy keeps for later, with the C library's logarithm as NumPy has it."""
    radius = x1 * x1 + x2 * x2
    return math.sqrt(-2.0 * math.log(radius) / radius) * x1


@compiled()
def _twist(key):  # type: ignore[no-untyped-def]
    """Make the next 624 words of the Mersenne Twister's state."""
    for i in range(_N - 397):
        y = (key[i] & np.uint32(0x80000000)) | (key[i + 1] & np.uint32(0x7FFFFFFF))
        key[i] = key[i + 397] ^ (y >> np.uint32(1)) ^ ((y & np.uint32(1)) * np.uint32(0x9908B0DF))
    for i in range(_N - 397, _N - 1):
        y = (key[i] & np.uint32(0x80000000)) | (key[i + 1] & np.uint32(0x7FFFFFFF))
        key[i] = key[i - 227] ^ (y >> np.uint32(1)) ^ ((y & np.uint32(1)) * np.uint32(0x9908B0DF))
    y = (key[_N - 1] & np.uint32(0x80000000)) | (key[0] & np.uint32(0x7FFFFFFF))
    key[_N - 1] = key[396] ^ (y >> np.uint32(1)) ^ ((y & np.uint32(1)) * np.uint32(0x9908B0DF))


@compiled()
def _temper(key, words):  # type: ignore[no-untyped-def]
    """Turn words of the state into random words."""
    for i in range(len(key)):
        y = key[i]
        y ^= y >> np.uint32(11)
        y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
        y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
        y ^= y >> np.uint32(18)
        words[i] = y


@compiled()
def _points(words, x1, x2, radius):  # type: ignore[no-untyped-def]
    """Turn fours of words into points of the square from -1 to 1, and their squared distance from the origin."""
    for j in range(len(x1)):
        a = np.float64(words[4 * j] >> np.uint32(5)) * 67108864.0 + np.float64(words[4 * j + 1] >> np.uint32(6))
        b = np.float64(words[4 * j + 2] >> np.uint32(5)) * 67108864.0 + np.float64(words[4 * j + 3] >> np.uint32(6))
        x = a * _TO_SQUARE - 1.0
        y = b * _TO_SQUARE - 1.0
        x1[j] = x
        x2[j] = y
        radius[j] = x * x + y * y


@compiled()
def _normals(x1, x2, radius, gain, pairs, inside):  # type: ignore[no-untyped-def]
    """Write two normals for every point, and whether it lies inside the circle; outside they mean nothing."""
    for j in range(len(radius)):
        square = np.float32(radius[j])
        scale = gain * np.float32(math.sqrt(_MINUS_TWO_LN2 * log2(square) / square))
        pairs[2 * j] = scale * np.float32(x2[j])
        pairs[2 * j + 1] = scale * np.float32(x1[j])
        inside[j] = 1 if 0.0 < radius[j] < 1.0 else 0


@compiled()
def _select(pairs, inside, selected):  # type: ignore[no-untyped-def]
    """Move the pairs (two float32 seen as one number) inside the circle together; return how many there are."""
    accepted = np.uint64(0)
    for j in range(len(inside)):
        selected[accepted] = pairs[j]
        accepted += np.uint64(inside[j])
    return np.int64(accepted)


@compiled()
def _place_of(inside, wanted):  # type: ignore[no-untyped-def]
    """Return which point is the ``wanted``-th inside the circle."""
    for j in range(len(inside)):
        wanted -= inside[j]
        if wanted == 0:
            return j
    return len(inside)


@compiled()
def _add(values, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] += values[i]


@compiled()
def _add_normals(key, cursor, n_draws, gain, out, pair):  # type: ignore[no-untyped-def]
    """Draw; ``cursor`` (position, is one kept) moves; ``pair`` takes the last point where one number is kept."""
    words = np.empty(_N + 4, np.uint32)
    x1, x2 = np.empty(_N // 4 + 1), np.empty(_N // 4 + 1)
    radius, inside = np.empty(_N // 4 + 1), np.empty(_N // 4 + 1, np.int64)
    pairs, selected = np.empty(_N // 4 + 1), np.empty(_N // 4 + 2)
    normals = selected.view(np.float32)
    position, carried, drawn = cursor[0], 0, 0
    while drawn < n_draws:
        if position == _N:
            _twist(key)
            position = 0
        n_words = carried + _N - position
        n_points = n_words // 4
        _temper(key[position:], words[carried:])
        _points(words, x1[:n_points], x2, radius)
        _normals(x1, x2, radius[:n_points], gain, pairs.view(np.float32), inside)
        accepted = _select(pairs, inside[:n_points], selected)
        wanted = (n_draws - drawn + 1) // 2
        if accepted >= wanted:
            last = _place_of(inside, wanted)
            position += 4 * (last + 1) - carried
            accepted = wanted
            if (n_draws - drawn) % 2:
                cursor[1] = 1
                pair[0], pair[1] = x1[last], x2[last]
        else:
            words[: n_words - 4 * n_points] = words[4 * n_points : n_words].copy()
            carried = n_words - 4 * n_points
            position = _N
        _add(normals, out[drawn : drawn + 2 * accepted])
        drawn += 2 * accepted
    cursor[0] = position
