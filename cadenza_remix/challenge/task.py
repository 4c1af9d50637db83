"""What one run of the challenge's task has to work on, read from its metadata files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cadenza_remix.challenge.metadata import SongEntry, SongSegments, load_segments, load_songs, segments_of
from cadenza_remix.challenge.pairs import Pair, batch_of, make_pairs
from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.audiogram import Listener, load_listeners

MODES = ("valid", "test")
"""``valid``: whole songs are handed in and scored; ``test``: one segment for the stems, another for the remix."""


@dataclass(frozen=True)
class Task:
    """Songs, listeners, and which of them go together in this run.

    ``songs``: the whole list; ``all_pairs``: every pair of all batches, in the challenge's order; ``pairs``: those of
    this batch; ``segments``: by song, in test mode.
    """

    songs: tuple[SongEntry, ...]
    listeners: Mapping[str, Listener]
    all_pairs: tuple[Pair, ...]
    pairs: tuple[Pair, ...]
    segments: Mapping[str, SongSegments] | None = None

    @property
    def batch_songs(self) -> list[SongEntry]:
        """Return the songs that this batch needs."""
        names = {pair.song for pair in self.pairs}
        return [song for song in self.songs if song.name in names]


def load_task(
    *,
    mode: str,
    music_file: str | Path,
    listeners_file: str | Path,
    segments_file: str | Path | None = None,
    batch: int = 0,
    batch_size: int = 1,
    small_test: bool = False,
) -> Task:
    """Read the metadata of a run.

    Parameters
    ----------
    mode : {'valid', 'test'}
    music_file : path
        A song list such as ``musdb18.valid.json``.
    listeners_file : path
    segments_file : path, optional
        Needed in test mode, not read otherwise.
    batch, batch_size : int
        Take pairs ``batch``, ``batch + batch_size``, ... of the whole list.
    small_test : bool
        Make the whole list of every fifteenth pair only.

    Raises
    ------
    InputError
        The mode or the batch does not exist; a file is missing or wrong; a song has no segments.
    """
    if mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    if not isinstance(small_test, bool):
        raise InputError("wrong type", where="small_test", expected="true or false", found=repr(small_test))
    songs = load_songs(music_file)
    listeners = load_listeners(listeners_file)
    pairs = make_pairs(songs, listeners, small_test=small_test)
    return Task(
        songs=tuple(songs),
        listeners=listeners,
        all_pairs=tuple(pairs),
        pairs=tuple(batch_of(pairs, batch, batch_size)),
        segments=_read_segments(songs, segments_file) if mode == "test" else None,
    )


def experiment_folder(*, mode: str, separator: str, chain: str, apply_compressor: bool | None = None) -> Path:
    """Return the folder that a recipe names after what it does, in characters that every file system takes.

    Examples
    --------
    >>> experiment_folder(mode="valid", separator="spleeter:4stems", chain="chains/mine.yaml").name
    'exp_valid_spleeter-4stems_mine'
    """
    compressor = {None: "", True: "_compressed", False: "_uncompressed"}[apply_compressor]
    return Path(f"exp_{mode}_{separator.replace(':', '-')}_{Path(chain).stem}{compressor}")


def _read_segments(songs: Sequence[SongEntry], segments_file: str | Path | None) -> dict[str, SongSegments]:
    if segments_file is None:
        raise InputError("test mode needs segments", where="segments_file", expected="musdb18.segments.test.json")
    return segments_of(songs, load_segments(segments_file))
