"""Pack an entry for the challenge, and check one before it is sent.

A submission is ``submission_<TEAM>.zip`` with one folder ``evaluation`` at its top and the tree of
:mod:`cadenza_remix.challenge.naming` below it.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cadenza_remix.atomic import atomic_path
from cadenza_remix.challenge.metadata import SongEntry, SongSegments
from cadenza_remix.challenge.naming import (
    REMIX_SAMPLE_RATE,
    STEM_SAMPLE_RATE,
    SUBMISSION_FOLDER,
    check_name,
    pair_paths,
    remix_path,
    scale_path,
    stem_paths,
)
from cadenza_remix.challenge.pairs import Pair, make_pairs
from cadenza_remix.errors import InputError

DURATION_TOLERANCE_S = 0.02
"""How far a duration may be off: rounding to whole samples, and the 5 ms tail that an untrimmed NAL-R filter leaves."""

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold: equal entries give equal files
_BLOCK_FRAMES = 1 << 20


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a submission.

    Parameters
    ----------
    path : str
        The file concerned, below the folder ``evaluation``.
    problem : str
    expected, found : str
        Empty where the problem says all.
    """

    path: str
    problem: str
    expected: str = ""
    found: str = ""

    def __str__(self) -> str:
        details = [f"{word} {value}" for word, value in (("expected", self.expected), ("found", self.found)) if value]
        return f"{self.path}: {self.problem}" + (": " + ", ".join(details) if details else "")


@dataclass(frozen=True)
class _Tree:
    """The files of a submission by their path below ``evaluation``, wherever they lie."""

    names: tuple[str, ...]
    read: Callable[[str], bytes]
    outside: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()


def pack_submission(
    enhanced_root: str | Path,
    out_dir: str | Path,
    team: str,
    *,
    songs: Iterable[str | SongEntry] | None = None,
    listener_ids: Iterable[str] | None = None,
) -> Path:
    """Write ``submission_<TEAM>.zip`` from a folder of enhanced signals.

    The file appears whole or not at all, and the same signals give the same bytes. FLAC does not shrink, so nothing is
    compressed again. Hidden files stay out.

    Parameters
    ----------
    enhanced_root : str or Path
        The folder ``enhanced_signals``; a folder ``evaluation`` inside it is taken instead where there is one.
    out_dir : str or Path
        Made as needed.
    team : str
        The team's identifier.
    songs, listener_ids : iterable, optional
        What the submission must hold, given together. Without them: whatever pairs the folder holds.

    Returns
    -------
    Path
        The zip file.

    Raises
    ------
    InputError
        There is no such folder, files are missing from it, or some do not belong to a submission.
    OutputError
        The zip file cannot be written.
    """
    check_name(team, "team")
    tree = _folder_tree(Path(enhanced_root))
    pairs = _pairs_of(songs, listener_ids) or _pairs_in(tree)
    wanted = {name: None for pair in pairs for name in _names_of(pair)}
    faults = list(_tree_faults(tree, wanted))
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(f"not a complete entry: {faults[0]}{more}", where=enhanced_root)
    target = Path(out_dir) / f"submission_{team}.zip"
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(wanted):
            entry = zipfile.ZipInfo(f"{SUBMISSION_FOLDER}/{name}", date_time=_ZIP_EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            try:
                contents = tree.read(name)
            except OSError as error:  # told apart from a failure to write
                raise InputError(f"cannot be read: {error.strerror or error}", where=name) from error
            archive.writestr(entry, contents)
    return target


def validate_submission(
    path: str | Path,
    songs: Iterable[str | SongEntry],
    listener_ids: Iterable[str],
    *,
    segments: Mapping[str, SongSegments] | None = None,
    duration_tolerance_s: float = DURATION_TOLERANCE_S,
    on_pair: Callable[[Pair], object] | None = None,
) -> list[Fault]:
    """Return everything that is wrong with a submission; an empty list when nothing is.

    Every file is decoded to its end, in place: a zip file is not unpacked.

    Parameters
    ----------
    path : str or Path
        A submission's zip file, or the folder from which it would be packed.
    songs, listener_ids : iterable
        What it must hold: every song for every listener.
    segments : mapping of song to SongSegments, optional
        How long files must be: the stems as long as the objective segment, the remix as the subjective one. For whole
        songs give segments from 0 to the song's end.
    duration_tolerance_s : float
    on_pair : callable, optional
        Called with each pair before it is looked at, for a progress bar.

    Raises
    ------
    InputError
        There is nothing at ``path``, or it is neither a folder nor a zip file.
    """
    pairs = make_pairs(songs, listener_ids)
    tree = _open_tree(Path(path))
    faults = list(_tree_faults(tree, {name: None for pair in pairs for name in _names_of(pair)}))
    present = set(tree.names)
    for pair in pairs:
        if on_pair is not None:
            on_pair(pair)
        song_segments = segments.get(pair.song) if segments is not None else None
        if segments is not None and song_segments is None:
            raise InputError("no expected duration", where="segments", expected=repr(pair.song))
        stem_s = song_segments.objective.duration_s if song_segments else None
        remix_s = song_segments.subjective.duration_s if song_segments else None
        for stem in stem_paths("", pair.listener, pair.song):
            if stem.as_posix() in present:
                faults += _audio_faults(tree, stem.as_posix(), STEM_SAMPLE_RATE, 1, stem_s, duration_tolerance_s)
            if scale_path(stem).as_posix() in present:
                faults += _scale_faults(tree, scale_path(stem).as_posix())
        remix = remix_path("", pair.listener, pair.song).as_posix()
        if remix in present:
            faults += _audio_faults(tree, remix, REMIX_SAMPLE_RATE, 2, remix_s, duration_tolerance_s)
    return faults


def _tree_faults(tree: _Tree, wanted: Mapping[str, None]) -> Iterator[Fault]:
    present = set(tree.names)
    yield from (Fault(name, "missing") for name in wanted if name not in present)
    yield from (Fault(name, "does not belong to the submission") for name in tree.names if name not in wanted)
    yield from (Fault(name, "lies outside the folder", expected=f"{SUBMISSION_FOLDER}/...") for name in tree.outside)
    yield from (Fault(name, "stands twice in the zip file") for name in tree.twice)


def _audio_faults(
    tree: _Tree, name: str, sample_rate: int, n_channels: int, duration_s: float | None, tolerance_s: float
) -> Iterator[Fault]:
    import soundfile  # only here: names, pairs and scores are read without it

    try:
        with soundfile.SoundFile(io.BytesIO(tree.read(name))) as file:
            kind, rate, channels = f"{file.format} {file.subtype}", file.samplerate, file.channels
            announced, decoded = file.frames, sum(len(block) for block in file.blocks(_BLOCK_FRAMES, dtype="int16"))
    except (soundfile.LibsndfileError, OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        yield Fault(name, "cannot be decoded", found=" ".join(str(error).split()))
        return
    if kind != "FLAC PCM_16":
        yield Fault(name, "wrong format", expected="FLAC PCM_16", found=kind)
    if rate != sample_rate:
        yield Fault(name, "wrong sample rate", expected=f"{sample_rate} Hz", found=f"{rate} Hz")
    if channels != n_channels:
        yield Fault(name, "wrong number of channels", expected=str(n_channels), found=str(channels))
    if decoded == 0:
        yield Fault(name, "holds no samples")
    elif announced != decoded:
        yield Fault(name, "is cut short", expected=f"{announced} samples", found=str(decoded))
    elif duration_s is not None and abs(decoded / rate - duration_s) > tolerance_s:
        yield Fault(name, "wrong duration", expected=f"{duration_s:.3f} s", found=f"{decoded / rate:.3f} s")


def _scale_faults(tree: _Tree, name: str) -> Iterator[Fault]:
    expected = "one finite number, 0 or more"  # 0 stands beside a silent stem
    try:
        text = tree.read(name).decode("utf-8")
        value = float(text)
    except UnicodeDecodeError:
        yield Fault(name, "not a scale", expected, "bytes that are no text")
    except ValueError:
        yield Fault(name, "not a scale", expected, repr(text[:40]))
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        yield Fault(name, "cannot be read", found=" ".join(str(error).split()))
    else:
        if not (math.isfinite(value) and value >= 0):
            yield Fault(name, "not a scale", expected, repr(text[:40]))


def _names_of(pair: Pair) -> Iterator[str]:
    return (path.as_posix() for path in pair_paths("", pair.listener, pair.song))


def _pairs_of(songs: Iterable[str | SongEntry] | None, listener_ids: Iterable[str] | None) -> list[Pair]:
    if songs is None and listener_ids is None:
        return []
    if songs is None or listener_ids is None:
        raise InputError("songs and listeners go together", expected="both or neither", found="one of them")
    return make_pairs(songs, listener_ids)


def _pairs_in(tree: _Tree) -> list[Pair]:
    """Return the pairs that a folder's sub-folders name."""
    parts = (name.split("/") for name in tree.names)
    pairs = {Pair(song=folders[1], listener=folders[0]) for folders in parts if len(folders) > 2}
    if not pairs:
        raise InputError(
            "no enhanced signals to pack", expected="<listener>/<song>/*.flac", found=f"{len(tree.names)} files"
        )
    return sorted(pairs)


def _open_tree(path: Path) -> _Tree:
    if path.is_dir():
        return _folder_tree(path)
    if not path.exists():
        raise InputError("not found", where=path, expected="a submission's zip file or folder")
    return _zip_tree(path)


def _folder_tree(path: Path) -> _Tree:
    if not path.is_dir():
        raise InputError("not a folder", where=path, expected="the folder of enhanced signals")
    inner = path / SUBMISSION_FOLDER
    root = inner if inner.is_dir() else path
    files = (file.relative_to(root) for file in root.rglob("*") if not file.is_dir())
    names = sorted(file.as_posix() for file in files if not file.name.startswith("."))
    return _Tree(tuple(names), lambda name: (root / name).read_bytes())


def _zip_tree(path: Path) -> _Tree:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError("not a readable zip file", where=path, found=str(error)) from error
    prefix = f"{SUBMISSION_FOLDER}/"
    inside: dict[str, None] = {}
    outside, twice = [], []
    for entry in archive.infolist():
        name = entry.filename.removeprefix("./")
        if entry.is_dir():
            continue
        if not name.startswith(prefix):
            outside.append(name)
        elif name.removeprefix(prefix) in inside:
            twice.append(name.removeprefix(prefix))
        else:
            inside[name.removeprefix(prefix)] = None
    return _Tree(tuple(inside), lambda name: archive.read(prefix + name), tuple(outside), tuple(twice))
