"""Which song is made and scored for which listener, in which order, and in which batch.

The order is the challenge's: all listeners of the first song, then all of the second. Batches take every n-th pair, so
that they can be run anywhere and merged without gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cadenza_remix.audio.signal import EARS
from cadenza_remix.challenge.metadata import SongEntry
from cadenza_remix.challenge.naming import check_name
from cadenza_remix.errors import InputError

SCORING_STEMS = ("drums", "bass", "other", "vocals")
"""The order in which the challenge scores the stems of a pair after seeding its noise once."""

SCORING_CHANNELS = tuple((ear, stem) for stem in SCORING_STEMS for ear in EARS)
"""The eight ``(ear, stem)`` in scoring order: of each stem the left ear first."""

SMALL_TEST_STEP = 15
"""A small test takes every fifteenth pair."""


class Pair(NamedTuple):
    """One song for one listener: the unit that is enhanced and scored."""

    song: str
    listener: str


def make_pairs(
    songs: Iterable[str | SongEntry], listener_ids: Iterable[str], *, small_test: bool = False
) -> list[Pair]:
    """Return every song with every listener, songs outermost.

    Parameters
    ----------
    songs : iterable of str or SongEntry
    listener_ids : iterable of str
        For example the dictionary of listeners itself.
    small_test : bool
        Keep only every fifteenth pair.

    Raises
    ------
    InputError
        A song or listener is named twice, its name cannot be a folder, or there is none.

    Examples
    --------
    >>> make_pairs(["one", "two"], ["L1"])
    [Pair(song='one', listener='L1'), Pair(song='two', listener='L1')]
    """
    song_names = _distinct("song", [song.name if isinstance(song, SongEntry) else song for song in songs])
    listener_names = _distinct("listener", list(listener_ids))
    pairs = [Pair(song, listener) for song in song_names for listener in listener_names]
    return pairs[::SMALL_TEST_STEP] if small_test else pairs


def batch_of(pairs: Sequence[Pair], batch: int, batch_size: int) -> list[Pair]:
    """Return one batch of the pairs: ``pairs[batch::batch_size]``.

    Parameters
    ----------
    pairs : sequence of Pair
    batch : int
        Index of the batch, from 0.
    batch_size : int
        How many batches there are (the challenge's name for it), not how large one is.

    Raises
    ------
    InputError
        The index does not lie in ``0 <= batch < batch_size``.
    """
    check_batch(batch, batch_size)
    return list(pairs[batch::batch_size])


def check_batch(batch: int, batch_size: int) -> None:
    """Raise an InputError unless both are whole numbers and ``0 <= batch < batch_size``."""
    for name, value in (("batch_size", batch_size), ("batch", batch)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError("wrong type", where=name, expected="a whole number", found=repr(value))
    if batch_size < 1:
        raise InputError(
            "no batches", where="batch_size", expected="the number of batches, at least 1", found=batch_size
        )
    if not 0 <= batch < batch_size:
        raise InputError("no such batch", where="batch", expected=f"0 to {batch_size - 1}", found=batch)


def _distinct(kind: str, names: list[str]) -> list[str]:
    if not names:
        raise InputError(f"no {kind} to work on", expected=f"at least one {kind}")
    seen: set[str] = set()
    for name in names:
        check_name(name, kind)
        if name in seen:
            raise InputError(f"{kind} named twice", expected=f"each {kind} once", found=repr(name))
        seen.add(name)
    return names
