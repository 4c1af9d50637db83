"""Songs on disk: their names, and their clean stems found by name."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cadenza_remix.audio.io import AUDIO_SUFFIXES, find_audio, song_name
from cadenza_remix.audio.signal import STEMS
from cadenza_remix.challenge.naming import check_name
from cadenza_remix.errors import InputError
from cadenza_remix.runs.records import digest, file_digest


@dataclass(frozen=True)
class SongFile:
    """A song to be worked on: the name under which its results lie, and the file of its mixture."""

    name: str
    path: Path


def find_songs(paths: Iterable[str | Path]) -> list[SongFile]:
    """Turn files and folders given by a user into songs.

    A file is a song named after itself (``mixture.wav`` after its folder); a folder with a ``mixture`` file is one song
    (MUSDB18-HQ's layout).

    Raises
    ------
    InputError
        A path is missing or is no audio, or two songs have one name: their results would overwrite each other.
    """
    songs: dict[str, SongFile] = {}
    for given in paths:
        path = Path(given)
        if path.is_dir():
            path = find_audio(path, "mixture")
        elif not path.exists():
            raise InputError("file is missing", where=path, expected="an audio file or a folder with mixture.wav")
        elif path.suffix.lower() not in AUDIO_SUFFIXES:
            expected = ", ".join(suffix[1:] for suffix in AUDIO_SUFFIXES)
            raise InputError(
                "unknown kind of audio file", where=path, expected=expected, found=path.suffix or "no suffix"
            )
        name = check_name(song_name(path), "song", where=path)
        if name in songs and songs[name].path.resolve() != path.resolve():
            raise InputError(
                f"two songs are named {name!r}", where=path, expected="different names", found=songs[name].path
            )
        songs[name] = SongFile(name, path)
    return list(songs.values())


def find_references(folder: str | Path, song: str) -> Path:
    """Find the clean stems of a song by its name.

    Looks in ``folder`` for ``<song>/`` (with vocals, drums, bass, other in it), ``<song>.stem.mp4``, and the same below
    ``train/`` and ``test/``.

    Raises
    ------
    InputError
        There are none.
    """
    root = Path(folder)
    for base in (root, root / "test", root / "train"):
        candidate = base / song
        if candidate.is_dir() and any((candidate / f"vocals{suffix}").exists() for suffix in AUDIO_SUFFIXES):
            return candidate
        mp4 = base / f"{song}.stem.mp4"
        if mp4.is_file():
            return mp4
    if not root.is_dir():
        raise InputError("folder of references is missing", where=root, expected="a folder with the clean stems")
    raise InputError(f"no references for {song!r}", where=root, expected=f"{song}/vocals.wav, ... or {song}.stem.mp4")


def references_digest(path: Path) -> str:
    """Return a digest of the bytes of a song's clean stems (kept as long as the files do not change)."""
    stats = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files_of_references(path))
    return _digest_of(stats)


def first_file(path: Path) -> Path:
    """Return one of the files that hold a song's clean stems: they are equally long."""
    return files_of_references(path)[0]


def files_of_references(path: Path) -> list[Path]:
    """Return the files that hold a song's clean stems (``path`` as `find_references` gives it)."""
    return [path] if path.is_file() else [find_audio(path, stem) for stem in STEMS]


@functools.lru_cache(maxsize=256)
def _digest_of(stats: tuple[tuple[str, int, int], ...]) -> str:
    return digest([file_digest(Path(name)) for name, _, _ in stats])
