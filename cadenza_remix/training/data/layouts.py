"""Where the songs of a data set lie: each layout finds names, splits and files, without opening any audio file.

Every layout gives the same `FoundSong`; what the files hold is asked by `datasets.open_dataset`, which refuses a set
with faults, and by `describing.describe`, which tells them.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cadenza_remix.audio.io import AUDIO_SUFFIXES, STEM_MP4_STREAMS, is_stem_mp4
from cadenza_remix.audio.signal import STEMS
from cadenza_remix.errors import InputError
from cadenza_remix.training.data.musdb import cad1_split
from cadenza_remix.training.data.songs import MIXTURE, StemFile

SPLITS = ("train", "valid", "test")
SPLIT_FOLDERS = {"train": "train", "valid": "valid", "validation": "valid", "test": "test"}
"""Folders at the top of a set that stand for a split."""


@dataclass(frozen=True)
class FoundSong:
    """A song by its files, none of which was opened yet.

    Parameters
    ----------
    name, split : str
    stems : mapping of str to tuple of StemFile
    mixture : StemFile or None
    missing : mapping of str to Path
        Stems (or ``mixture``) that the layout prescribes, with the file that is not there.
    announced_s : float or None
        How long a list says that the song is.
    """

    name: str
    split: str
    stems: Mapping[str, tuple[StemFile, ...]]
    mixture: StemFile | None
    missing: Mapping[str, Path] = field(default_factory=dict)
    announced_s: float | None = None


@dataclass(frozen=True)
class Layout:
    """One way in which data sets lie on disk.

    Parameters
    ----------
    name : str
    looks_like : str
        What it looks like, for messages.
    is_at : callable
        Tells whether a path has this layout.
    find : callable
        Returns the songs of a path, sorted by name.
    has_one_length : bool
        Whether stems of clearly different lengths are a fault: in these sets all files of a song are equally long.
    """

    name: str
    looks_like: str
    is_at: Callable[[Path], bool] = field(repr=False)
    find: Callable[[Path], list[FoundSong]] = field(repr=False)
    has_one_length: bool = True


def audio_file(folder: Path, name: str) -> Path | None:
    """Return ``name`` with the first readable suffix of which there is a file, or None."""
    candidates = (folder / f"{name}{suffix}" for suffix in AUDIO_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name, without hidden ones."""
    return sorted(path for path in _entries(folder) if path.is_dir())


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from (path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise InputError("cannot be read", where=folder, expected="a folder", found=error.strerror) from error


def _song_of_named_files(name: str, split: str, stems_folder: Path, mixture_folder: Path) -> FoundSong:
    """Return a song whose stems are files named vocals, drums, bass and other."""
    stems, missing = {}, {}
    for stem in STEMS:
        path = audio_file(stems_folder, stem)
        if path is None:
            missing[stem] = stems_folder / f"{stem}.wav"
        else:
            stems[stem] = (StemFile(path),)
    mixture = audio_file(mixture_folder, MIXTURE)
    if mixture is None:
        missing[MIXTURE] = mixture_folder / f"{MIXTURE}.wav"
    return FoundSong(name, split, stems, StemFile(mixture) if mixture else None, missing)


# --- MUSDB18-HQ ---------------------------------------------------------------------------------------------------


def _musdb_root(path: Path) -> Path:
    below = path / "audio" / "musdb18hq"
    return below if below.is_dir() else path


def _is_musdb18hq(path: Path) -> bool:
    root = _musdb_root(path)
    songs = (song for split in ("train", "test") for song in folders_in(root / split))
    return any(all((song / f"{name}.wav").is_file() for name in (MIXTURE, *STEMS)) for song in songs)


def _find_musdb18hq(path: Path) -> list[FoundSong]:
    root = _musdb_root(path)
    split_of = cad1_split(root)
    return [
        _song_of_named_files(song.name, split_of(song.name, folder), song, song)
        for folder in ("train", "test")
        for song in folders_in(root / folder)
    ]


# --- MUSDB18 ------------------------------------------------------------------------------------------------------


def _stem_mp4s(folder: Path) -> list[Path]:
    return sorted(path for path in _entries(folder) if is_stem_mp4(path) and path.is_file())


def _is_musdb18(path: Path) -> bool:
    return any(_stem_mp4s(path / split) for split in ("train", "test"))


def _find_musdb18(path: Path) -> list[FoundSong]:
    split_of = cad1_split(path)
    songs = []
    for folder in ("train", "test"):
        for file in _stem_mp4s(path / folder):
            name = file.name[: -len(".stem.mp4")]
            stems = {stem: (StemFile(file, STEM_MP4_STREAMS.index(stem)),) for stem in STEMS}
            songs.append(FoundSong(name, split_of(name, folder), stems, StemFile(file)))
    return songs


# --- DSD100 -------------------------------------------------------------------------------------------------------

_DSD_SPLITS = {"Dev": "train", "Test": "test"}


def _is_dsd100(path: Path) -> bool:
    return any((path / "Sources" / folder).is_dir() for folder in _DSD_SPLITS) and (path / "Mixtures").is_dir()


def _find_dsd100(path: Path) -> list[FoundSong]:
    songs = []
    for folder, split in _DSD_SPLITS.items():
        sources, mixtures = path / "Sources" / folder, path / "Mixtures" / folder
        names = sorted({song.name for kind in (sources, mixtures) for song in folders_in(kind)})
        songs += [_song_of_named_files(name, split, sources / name, mixtures / name) for name in names]
    return songs


# --- Spleeter's CSV -----------------------------------------------------------------------------------------------

_MIX_COLUMN, _PATH_SUFFIX, _DURATION_COLUMN = "mix_path", "_path", "duration"
_NO_NAMES = {MIXTURE, "mix"}
_MAX_DURATION_S = 1e6


def _is_spleeter_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and path.is_file()


def _find_spleeter_csv(path: Path) -> list[FoundSong]:
    split = next((split for part, split in SPLIT_FOLDERS.items() if part in path.stem.lower()), "train")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or [])
            instruments = [name.removesuffix(_PATH_SUFFIX) for name in columns if name.endswith(_PATH_SUFFIX)]
            instruments = [name for name in instruments if f"{name}{_PATH_SUFFIX}" != _MIX_COLUMN]
            if _MIX_COLUMN not in columns or not instruments:
                expected = f"{_MIX_COLUMN}, <instrument>{_PATH_SUFFIX}, ..., {_DURATION_COLUMN}"
                found = ", ".join(columns) or "an empty file"
                raise InputError("columns are missing", where=path, expected=expected, found=found)
            rows = [_csv_song(path, reader.line_num, row, instruments, split) for row in reader]
    except OSError as error:
        raise InputError("cannot be read", where=path, expected="a CSV file", found=error.strerror) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError("cannot be read", where=path, expected="CSV in UTF-8", found=error) from error
    return sorted(rows, key=lambda song: song.name)


def _csv_song(path: Path, line: int, row: Mapping[str, str | None], instruments: list[str], split: str) -> FoundSong:
    where = f"{path}, line {line}"

    def cell(column: str) -> Path:
        if not row.get(column):
            raise InputError("no path", where=where, expected=f"a path in column {column}", found="nothing")
        return path.parent / str(row[column])

    mixture = cell(_MIX_COLUMN)
    stems, missing = {}, {}
    for name in instruments:
        file = cell(f"{name}{_PATH_SUFFIX}")
        if file.is_file():
            stems[name] = (StemFile(file),)
        else:
            missing[name] = file
    if not mixture.is_file():
        missing[MIXTURE] = mixture
    song = mixture.parent.name if mixture.stem.lower() in _NO_NAMES else mixture.stem
    length = (row.get(_DURATION_COLUMN) or "").strip()
    try:
        announced_s = float(length) if length else None
    except ValueError:
        announced_s = -1.0
    if announced_s is not None and not 0 <= announced_s <= _MAX_DURATION_S:
        raise InputError("wrong duration", where=where, expected="seconds", found=repr(length))
    found_mixture = StemFile(mixture) if mixture.is_file() else None
    return FoundSong(song, split, stems, found_mixture, missing, announced_s)


# --- any folder ---------------------------------------------------------------------------------------------------


def _audio_in(folder: Path) -> list[Path]:
    return sorted(path for path in _entries(folder) if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())


def _find_in_folder(path: Path) -> list[FoundSong]:
    songs = list(_descend(path, path))
    return sorted(songs, key=lambda song: song.name)


def _descend(root: Path, folder: Path) -> Iterator[FoundSong]:
    files = _audio_in(folder)
    below = folders_in(folder)
    # As MoisesDB has it: a folder per stem, whose files are summed.
    stem_folders = [child for child in below if child.name.lower() in STEMS and _audio_in(child)]
    if stem_folders:
        stem_folders = [child for child in below if _audio_in(child)]
    if files or stem_folders:
        yield _song_of_folder(root, folder, files, stem_folders)
    for child in below:
        is_way_back = child.is_symlink() and folder.resolve().is_relative_to(child.resolve())
        if child not in stem_folders and not is_way_back:
            yield from _descend(root, child)


def _song_of_folder(root: Path, folder: Path, files: list[Path], stem_folders: list[Path]) -> FoundSong:
    parts = folder.relative_to(root).parts
    split = "train"
    if len(parts) > 1 and parts[0].lower() in SPLIT_FOLDERS:
        split, parts = SPLIT_FOLDERS[parts[0].lower()], parts[1:]
    name = "/".join(parts) or folder.resolve().name
    stems: dict[str, tuple[StemFile, ...]] = {}
    mixture = None
    for path in files:
        if is_stem_mp4(path):
            raise InputError("holds five stems", where=path, expected="one stem per file (layout musdb18 reads these)")
        if path.stem.lower() == MIXTURE and mixture is None:
            mixture = StemFile(path)
        elif path.stem in stems or path.stem.lower() == MIXTURE:
            first = stems[path.stem][0] if path.stem in stems else mixture
            raise InputError(f"two files of {path.stem}", where=path, expected="one file for each stem", found=first)
        else:
            stems[path.stem] = (StemFile(path),)
    for child in stem_folders:
        stems[child.name] = (*stems.get(child.name, ()), *map(StemFile, _audio_in(child)))
    missing = {} if stems else {"stem": folder / "<stem>.wav"}
    return FoundSong(name, split, stems, mixture, missing)


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "musdb18hq",
            "[audio/musdb18hq/]{train,test}/<Song>/{mixture,vocals,drums,bass,other}.wav",
            _is_musdb18hq,
            _find_musdb18hq,
        ),
        Layout("musdb18", "{train,test}/<Song>.stem.mp4", _is_musdb18, _find_musdb18),
        Layout(
            "dsd100",
            "Mixtures/{Dev,Test}/<Song>/mixture.wav with Sources/{Dev,Test}/<Song>/{vocals,drums,bass,other}.wav",
            _is_dsd100,
            _find_dsd100,
        ),
        Layout(
            "spleeter-csv",
            f"a CSV file with {_MIX_COLUMN}, <instrument>{_PATH_SUFFIX}, {_DURATION_COLUMN}",
            _is_spleeter_csv,
            _find_spleeter_csv,
            has_one_length=False,
        ),
        Layout(
            "folder",
            "folders of songs with a file for each stem",
            lambda path: path.is_dir() and next(_descend(path, path), None) is not None,
            _find_in_folder,
            has_one_length=False,
        ),
    )
}
"""In the order in which they are tried."""
