"""Songs that a user names by files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cadenza_remix.audio.io import AUDIO_SUFFIXES, song_name
from cadenza_remix.challenge.naming import check_name
from cadenza_remix.errors import InputError
from cadenza_remix.runs.outputs import record_path, results_folder
from cadenza_remix.runs.songs import SongFile

_MAGIC = "*?["
_KNOWN = ", ".join(suffix[1:] for suffix in AUDIO_SUFFIXES)


def collect_songs(given: Iterable[str | Path], *, out: str | Path) -> list[SongFile]:
    """Turn files, folders and patterns into songs, in the order given; those of a folder or pattern by name.

    A folder with a ``mixture`` file is one song (MUSDB18-HQ's layout, whose stems are no songs); any other stands for
    all audio in it and in the folders below. What a former run wrote to ``out`` is left out of folders and patterns.
    Unlike `cadenza_remix.runs.songs.find_songs`, two songs may have one name: their outputs decide.

    Parameters
    ----------
    given : iterable of str or Path
        A pattern may hold ``*``, ``?``, ``[...]`` and ``**``.
    out : Path
        The folder of the results.

    Raises
    ------
    InputError
        Something is missing or is no audio, or a folder or pattern holds none.
    """
    songs: dict[Path, SongFile] = {}
    out = results_folder(out)
    for name in given:
        if not str(name):
            raise InputError("a song has no name", expected="an audio file, a folder or a pattern", found="''")
        try:
            files = _files(Path(name), out)
        except OSError as error:
            raise InputError("cannot be read", where=name, found=error.strerror) from error
        for path in files:
            song = SongFile(check_name(song_name(path), "song", where=path), path)
            songs.setdefault(path.resolve(), song)
    return list(songs.values())


def _files(path: Path, out: Path) -> list[Path]:
    if path.is_dir():
        return _or_refuse(list(_in_folder(path, out)), path, "folder holds no audio")
    if path.exists():
        if not _is_audio(path):
            found = path.suffix or "no suffix"
            raise InputError("unknown kind of audio file", where=path, expected=_KNOWN, found=found)
        return [path]
    if not any(letter in str(path) for letter in _MAGIC):
        raise InputError("file is missing", where=path, expected="an audio file, a folder or a pattern")
    files: list[Path] = []
    # Unlike pathlib's, these patterns leave out what is hidden.
    for match in map(Path, sorted(glob.glob(str(path), recursive=True))):  # noqa: PTH207
        if match.is_dir():
            # A pattern that goes down by itself (**) names each folder and each file in it.
            files += [] if "**" in str(path) else _in_folder(match, out)
        elif _is_audio(match) and not _is_output(match, out):
            files.append(match)
    return _or_refuse(files, path, "no audio has a name like this")


def _or_refuse(files: list[Path], path: Path, problem: str) -> list[Path]:
    if not files:
        raise InputError(problem, where=path, expected=f"files of {_KNOWN}")
    return files


def _in_folder(folder: Path, out: Path) -> Iterator[Path]:
    """Yield the songs in a folder and below; what is hidden and what a former run wrote is left out."""
    for name, folders, files in os.walk(folder):
        here = Path(name)
        audio = sorted(here / file for file in files if not file.startswith(".") and _is_audio(here / file))
        mixtures = [path for path in audio if path.stem == "mixture"]
        if mixtures:
            folders.clear()
            yield mixtures[0]
            continue
        folders[:] = sorted(below for below in folders if not below.startswith("."))
        yield from (path for path in audio if not _is_output(path, out))


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES


def _is_output(path: Path, out: Path) -> bool:
    """Tell whether a former run wrote this file."""
    try:
        return record_path(out.resolve(), path.resolve()).is_file()
    except ValueError:  # it does not lie below the folder of results
        return False
