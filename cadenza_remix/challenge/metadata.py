"""Read the challenge's lists of songs and of evaluation segments.

Listeners are read by :mod:`cadenza_remix.hearing.audiogram`, since they are no matter of the challenge alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cadenza_remix.challenge.naming import check_name
from cadenza_remix.errors import InputError

SPLITS = ("train", "valid", "validation", "test")
"""The splits that a song list may name; validation songs lie in the folder of the training songs."""

MAX_TIME_S = 1e6
"""No segment lies later in a song."""
_DURATION_TOLERANCE_S = 0.05  # room for times that were rounded to a tenth of a second


@dataclass(frozen=True)
class SongEntry:
    """One song of a song list.

    Parameters
    ----------
    name : str
        Artist and title, at the same time the name of the song's folder.
    split : str
        One of :data:`SPLITS`.
    genre, source, license : str
        Empty where the list does not say.
    """

    name: str
    split: str
    genre: str = ""
    source: str = ""
    license: str = ""


@dataclass(frozen=True)
class Segment:
    """A passage of a song, in seconds from its start."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class SongSegments:
    """The passages of a song that an entry hands in: one to be scored (the stems), one to be heard (the remix)."""

    objective: Segment
    subjective: Segment


def load_songs(path: str | Path) -> list[SongEntry]:
    """Read a song list such as ``musdb18.valid.json``: a JSON list of objects with "Track Name" and "Split".

    "Genre", "Source" and "License" may be missing or null; other keys are left alone.

    Raises
    ------
    InputError
        The file cannot be read or is no such list; a field is missing or of the wrong type; a song stands twice; the
        split is none of :data:`SPLITS`; the name cannot be a folder.
    """
    items = _load_json(path)
    if not isinstance(items, list):
        raise InputError("wrong contents", where=path, expected="a list of songs", found=_kind(items))
    if not items:
        raise InputError("no songs", where=path, expected="at least one song", found="an empty list")
    songs: dict[str, SongEntry] = {}
    for number, item in enumerate(items):
        song = _read_song(item, f"{path}: [{number}]")
        if song.name in songs:
            raise InputError("song listed twice", where=path, expected="each song once", found=repr(song.name))
        songs[song.name] = song
    return list(songs.values())


def load_segments(path: str | Path) -> dict[str, SongSegments]:
    """Read the evaluation segments such as ``musdb18.segments.test.json``.

    A JSON object: song -> ``{"objective_evaluation": {"start", "end", "duration"}, "subjective_evaluation": {...}}``,
    in seconds. "start" and "end" count. "duration" may be missing; where it is given it must be their difference, to
    a twentieth of a second.

    Raises
    ------
    InputError
        The file cannot be read or has another structure; a time is missing, no finite number or negative; a segment
        does not end after it starts; a song stands twice.
    """
    table = _load_json(path)
    if not isinstance(table, dict):
        raise InputError("wrong contents", where=path, expected="an object of songs", found=_kind(table))
    if not table:
        raise InputError("no songs", where=path, expected="at least one song", found="an empty object")
    segments = {}
    for song, entry in table.items():
        where = f"{path}: {song}"
        check_name(song, "song", where=path)
        segments[song] = SongSegments(
            objective=_read_segment(entry, "objective_evaluation", where),
            subjective=_read_segment(entry, "subjective_evaluation", where),
        )
    return segments


def segments_of(songs: Iterable[SongEntry], segments: dict[str, SongSegments]) -> dict[str, SongSegments]:
    """Return the segments of the given songs only; an InputError names the songs that have none."""
    names = [song.name for song in songs]
    missing = [name for name in names if name not in segments]
    if missing:
        raise InputError(
            f"no evaluation segments for {len(missing)} of {len(names)} songs",
            expected="segments for every song",
            found=f"none for {missing[0]!r}",
        )
    return {name: segments[name] for name in names}


def song_folder(music_dir: str | Path, entry: SongEntry) -> Path:
    """Return the folder of a song in MUSDB18-HQ's layout: below ``test`` for test songs, else below ``train``."""
    return Path(music_dir) / ("test" if entry.split == "test" else "train") / check_name(entry.name, "song")


def _read_song(item: Any, where: str) -> SongEntry:
    if not isinstance(item, dict):
        raise InputError("wrong contents", where=where, expected="an object with a song's fields", found=_kind(item))
    for field in ("Track Name", "Split"):
        if field not in item:
            raise InputError(f'field "{field}" is missing', where=where, found=", ".join(map(str, item)) or "no fields")
        if not isinstance(item[field], str):
            raise InputError("wrong type", where=f"{where}: {field}", expected="text", found=_kind(item[field]))
    name, split = check_name(item["Track Name"], "song", where=where), item["Split"]
    if split not in SPLITS:
        raise InputError(
            "unknown split", where=f"{where}: Split", expected="one of " + ", ".join(SPLITS), found=repr(split)
        )
    notes = {}
    for field in ("Genre", "Source", "License"):
        value = item.get(field)
        if value is not None and not isinstance(value, str):
            raise InputError("wrong type", where=f"{where}: {field}", expected="text", found=_kind(value))
        notes[field.lower()] = value or ""
    return SongEntry(name=name, split=split, **notes)


def _read_segment(entry: Any, field: str, where: str) -> Segment:
    if not isinstance(entry, dict) or field not in entry:
        found = ", ".join(map(str, entry)) if isinstance(entry, dict) else _kind(entry)
        raise InputError(f'field "{field}" is missing', where=where, found=found or "no fields")
    where = f"{where}: {field}"
    times = entry[field]
    if not isinstance(times, dict):
        raise InputError("wrong contents", where=where, expected="start, end and duration", found=_kind(times))
    start_s, end_s = _read_seconds(times, "start", where), _read_seconds(times, "end", where)
    if start_s >= end_s:
        raise InputError("empty segment", where=where, expected="start before end", found=f"{start_s:g} to {end_s:g} s")
    if "duration" in times:
        duration_s = _read_seconds(times, "duration", where)
        if abs(duration_s - (end_s - start_s)) > _DURATION_TOLERANCE_S:
            raise InputError(
                "duration contradicts start and end",
                where=where,
                expected=f"{end_s - start_s:g} s",
                found=f"{duration_s:g} s",
            )
    return Segment(start_s, end_s)


def _read_seconds(times: dict[str, Any], field: str, where: str) -> float:
    where = f"{where}: {field}"
    if field not in times:
        raise InputError("time is missing", where=where, expected="seconds", found=", ".join(times) or "no fields")
    value = times[field]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError("wrong type", where=where, expected="seconds as a number", found=_kind(value))
    if not 0 <= value <= MAX_TIME_S:
        raise InputError("wrong time", where=where, expected=f"0 to {MAX_TIME_S:g} seconds", found=str(value)[:40])
    return float(value)


def _load_json(path: str | Path) -> Any:
    def without_duplicates(items: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key, value in items:
            if key in table:
                raise InputError("name stands twice", where=path, expected="each name once", found=repr(key))
            table[key] = value
        return table

    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=path) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", where=path, expected="JSON", found=f"byte {error.start}") from error
    try:
        return json.loads(text, object_pairs_hook=without_duplicates)
    except json.JSONDecodeError as error:
        raise InputError(
            "broken JSON", where=path, found=f"{error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise InputError("broken JSON", where=path, found=str(error)) from error
    except RecursionError as error:
        raise InputError("broken JSON", where=path, found="nested too deeply") from error


def _kind(value: Any) -> str:
    """Name a JSON value's type as its reader knows it."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
