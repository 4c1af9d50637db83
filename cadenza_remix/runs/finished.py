"""What a run left on disk, found again: its pairs, listeners, scores, and the files to look at and listen to.

Records hold no paths (equal inputs give equal bytes), so the files of a song are looked for where the commands put
them: kept stems beside the enhanced signals, clean stems and mixtures where the run's settings, the demo's folder or
the caller say.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cadenza_remix.audio.io import find_audio, is_stem_mp4
from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.challenge.naming import ENHANCED_FOLDER, remix_path, stem_path
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram, Listener
from cadenza_remix.remix import Chain, chain_from
from cadenza_remix.runs.records import Record, read_record
from cadenza_remix.runs.shards.config import RunConfig, load_run_config
from cadenza_remix.runs.shards.folder import RunFolder
from cadenza_remix.runs.songs import SongFile, find_references, find_songs

UNPROCESSED = "mixture"
UPPER_BOUND = "clean"
"""Score folders of the demo in which no chain was at work: they are listed first and last."""

_EXPECTED = "a folder of enhance, run or demo, or a table of score with its records"


@dataclass(frozen=True)
class SongSources:
    """Where a song's own audio lies; None for what was not found.

    ``mixture``: audio file; ``references``: folder or stem.mp4 with the clean stems; ``kept_stems``: folder with the
    separated ``vocals.wav``, ``drums.wav``, ``bass.wav``, ``other.wav`` (stereo, float); ``separator``: what made them.
    """

    mixture: Path | None = None
    references: Path | None = None
    kept_stems: Path | None = None
    separator: str | None = None


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """One system's results: one chain with one separator, over songs and listeners.

    Parameters
    ----------
    name : str
        The folder's name, or what the caller calls it.
    folder : Path
        Absolute.
    pairs : tuple of Pair
        Those enhanced or scored; by song, then listener.
    listeners : mapping of str to Listener
        With the audiograms that the records hold; every listener of ``pairs``.
    enhanced, scored : mapping of Pair to Record
        Records of the two stages; see `cadenza_remix.runs.enhancing` and `cadenza_remix.runs.scoring`.
    sources : mapping of str to SongSources
        By song; every song of ``pairs``.
    damaged : tuple of Path
        Records that cannot be read: their pairs, or kept stems, are left out.
    """

    name: str
    folder: Path
    pairs: tuple[Pair, ...]
    listeners: Mapping[str, Listener]
    enhanced: Mapping[Pair, Record]
    scored: Mapping[Pair, Record]
    sources: Mapping[str, SongSources] = field(default_factory=dict)
    damaged: tuple[Path, ...] = ()

    @property
    def songs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(pair.song for pair in self.pairs))

    @property
    def chain(self) -> Chain | None:
        """The chain by which the pairs were enhanced; None where no record tells."""
        for record in self.enhanced.values():
            settings = dict(record.settings["chain"])
            return chain_from(settings, name=str(settings.get("name", "custom")), where=str(self.folder))
        return None

    @property
    def separators(self) -> tuple[str, ...]:
        """Names of the separators that made the kept stems."""
        found = (source.separator for source in self.sources.values())
        return tuple(dict.fromkeys(name for name in found if name))

    def remix_file(self, pair: Pair) -> Path | None:
        """Return the remix of a pair (FLAC, stereo, 32 kHz), None when it is not there."""
        return _there(remix_path(self.folder / ENHANCED_FOLDER, pair.listener, pair.song))

    def stem_file(self, pair: Pair, ear: str, stem: str) -> Path | None:
        """Return an enhanced stem of one ear (FLAC, mono, 24 kHz, for `read_scaled_flac`), None when it is missing."""
        return _there(stem_path(self.folder / ENHANCED_FOLDER, pair.listener, pair.song, ear, stem))

    def segments_s(self, pair: Pair) -> Mapping[str, tuple[float, float]] | None:
        """Return what of the song the files of a pair hold, in seconds: ``objective`` (stems), ``subjective`` (remix).

        None: the whole song.
        """
        record = self.enhanced.get(pair)
        cut = record.settings.get("segments_s") if record is not None else None
        return {name: (float(start), float(end)) for name, (start, end) in cut.items()} if cut else None


def find_runs(
    path: str | Path,
    *,
    name: str | None = None,
    references: str | Path | None = None,
    music: Iterable[str | Path] = (),
    scores: str | Path | None = None,
) -> list[FinishedRun]:
    """Find what lies in a folder: one run, or those of its sub-folders, as the demo leaves them.

    Parameters
    ----------
    path : path
        A folder that ``enhance``, ``run``, a recipe or ``demo`` wrote; or a ``scores.csv`` of ``score`` with its folder
        of records beside it (scores only).
    name : str, optional
        What to call it; several runs in one folder are called ``name/<sub-folder>``.
    references : path, optional
        Folder of clean stems (with ``mixture.wav`` beside them); what the run itself says by default.
    music : iterable of paths, optional
        Mixtures: audio files, or folders that hold ``mixture.wav``.
    scores : path, optional
        A table of ``score`` that belongs to this run, where it lies elsewhere.

    Returns
    -------
    list of FinishedRun
        At least one; the demo's ``mixture`` first and ``clean`` last.

    Raises
    ------
    InputError
        There is nothing, or nothing that these commands wrote.
    """
    path = Path(path)
    try:
        path.lstat()
        path = path.resolve()
    except OSError as error:
        problem = "not found" if error.errno in (errno.ENOENT, errno.ENOTDIR) else f"cannot be read: {error.strerror}"
        raise InputError(problem, where=path, expected=_EXPECTED) from error
    songs = {song.name: song.path for song in find_songs(music)}
    if path.is_file():
        return [_scored_table(path, name or path.stem, references, songs)]
    if _is_run(path):
        found = [path]
    else:
        found = sorted(filter(_is_run, path.iterdir()), key=lambda sub: (_rank(sub.name), sub.name))
    if not found:
        raise InputError(f"holds no results{_elsewhere(path)}", where=path, expected=_EXPECTED, found=_named(path))
    if scores is not None and len(found) > 1:
        raise InputError("several runs, one table", where=path, expected="one run", found=_named(path))
    return [_read_run(sub, _run_name(path, sub, name), references, songs, scores) for sub in found]


def find_all_runs(
    paths: Sequence[str | Path], *, references: str | Path | None = None, music: Iterable[str | Path] = ()
) -> list[FinishedRun]:
    """Find the runs of several folders; where two would have one name, each is called by its folder as well.

    Parameters
    ----------
    paths, references, music
        As for `find_runs`.

    Raises
    ------
    InputError
        As `find_runs`; a folder is given twice.
    """
    music = list(music)
    found = [find_runs(path, references=references, music=music) for path in paths]
    names = [run.name for runs in found for run in runs]
    if len(set(names)) < len(names):
        called = _told_apart([Path(path).resolve() for path in paths])
        found = [
            find_runs(path, name=name, references=references, music=music)
            for path, name in zip(paths, called, strict=True)
        ]
    return [run for runs in found for run in runs]


def _told_apart(folders: Sequence[Path]) -> list[str]:
    """Return as much of the ends of these paths as it takes to tell them apart."""
    for n_parts in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-n_parts:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    twice = next(folder for number, folder in enumerate(folders) if folder in folders[:number])
    raise InputError("given twice", where=twice, expected="each folder once")


def _elsewhere(folder: Path) -> str:
    """Say where results lie that somebody may have meant: one folder down, or up."""
    below = (sub for sub in sorted(folder.iterdir()) if sub.is_dir() and any(map(_is_run, sub.iterdir())))
    above = (parent for parent in list(folder.parents)[:3] if _is_run(parent))
    meant = next(itertools.chain(below, above), None)
    return f" (did you mean {meant}?)" if meant is not None else ""


def _is_run(folder: Path) -> bool:
    return folder.is_dir() and any((folder / "records" / stage).is_dir() for stage in ("enhance", "score"))


def _rank(name: str) -> int:
    return (name != UNPROCESSED) + (name == UPPER_BOUND)


def _run_name(path: Path, sub: Path, name: str | None) -> str:
    if sub == path:
        return name or path.name
    return f"{name}/{sub.name}" if name else sub.name


def _named(folder: Path) -> str:
    names = sorted(entry.name for entry in itertools.islice(folder.iterdir(), 50))
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "") if names else "an empty folder"


def _scored_table(table: Path, name: str, references: str | Path | None, songs: Mapping[str, Path]) -> FinishedRun:
    damaged: list[Path] = []
    scored = _records(_records_beside(table), damaged)
    if not scored:
        raise InputError("has no records beside it", where=table, expected=f"{_records_beside(table).name}/")
    return _assembled(name, table.parent, {}, scored, references, songs, None, damaged)


def _records_beside(table: Path) -> Path:
    return table.with_name(f"{table.stem}_records")


def _read_run(
    folder: Path, name: str, references: str | Path | None, songs: Mapping[str, Path], scores: str | Path | None
) -> FinishedRun:
    damaged: list[Path] = []
    enhanced = _records(folder / "records" / "enhance", damaged)
    places = [folder / "records" / "score", *sorted(folder.glob("*_records"))]
    if scores is not None:
        places = [_records_beside(Path(scores))]
    scored = next((found for place in places if (found := _records(place, damaged))), {})
    if scores is not None and not scored:
        raise InputError("has no records beside it", where=scores, expected=f"{places[0].name}/")
    if not enhanced and not scored:
        raise InputError("holds no finished pair", where=folder, expected="records of pairs below records/")
    return _assembled(name, folder, enhanced, scored, references, songs, _config_of(folder), damaged)


def _records(folder: Path, damaged: list[Path]) -> dict[Pair, Record]:
    """Return the records of a stage by pair; what cannot be read is a pair that is not done, and noted."""
    found = {}
    for path in sorted(folder.glob("*/*.json")):
        record = read_record(path)
        if record is not None and _audiograms(record):
            found[Pair(path.stem, path.parent.name)] = record
        else:
            damaged.append(path)
    return found


def _config_of(folder: Path) -> RunConfig | None:
    path = RunFolder(folder).config
    if not path.is_file():
        return None
    with suppress(InputError):  # paths of another machine: the run can be looked at all the same
        return load_run_config(path)
    return None


def _assembled(
    name: str,
    folder: Path,
    enhanced: Mapping[Pair, Record],
    scored: Mapping[Pair, Record],
    references: str | Path | None,
    songs: Mapping[str, Path],
    config: RunConfig | None,
    damaged: list[Path],
) -> FinishedRun:
    pairs = tuple(sorted({*enhanced, *scored}))
    listeners = {}
    for pair in pairs:
        if pair.listener not in listeners:
            listeners[pair.listener] = _listener(pair.listener, enhanced.get(pair) or scored[pair])
    places = _reference_places(folder, references, config)
    mixtures = {**_config_songs(config), **songs}
    keys = {pair.song: record.settings.get("stems") for pair, record in enhanced.items()}
    sources = {song: _sources(song, folder, places, mixtures, keys.get(song)) for song in {p.song for p in pairs}}
    damaged += [
        record
        for song in sources
        for record in _stem_records(folder, song)
        if record.exists() and not read_record(record)
    ]
    return FinishedRun(name, folder, pairs, listeners, enhanced, scored, sources, tuple(damaged))


def _audiograms(record: Record) -> Mapping[str, Any] | None:
    value = record.settings.get("audiograms")
    return value if isinstance(value, Mapping) and all(ear in value for ear in EARS) else None


def _listener(name: str, record: Record) -> Listener:
    audiograms = _audiograms(record) or {}
    ears = {ear: Audiogram(*audiograms[ear], name=f"record of {name}: {ear}") for ear in EARS}
    return Listener(name, ears["left"], ears["right"])


def _reference_places(folder: Path, given: str | Path | None, config: RunConfig | None) -> list[Path]:
    if given is not None:
        if not Path(given).is_dir():
            raise InputError("folder of references is missing", where=given, expected="a folder with the clean stems")
        return [Path(given)]
    places = [config.references, config.music] if config is not None else []
    places += [folder / "references", folder.parent / "references"]
    return [place for place in places if place is not None and place.is_dir()]


def _config_songs(config: RunConfig | None) -> dict[str, Path]:
    """Return the mixtures that a run's settings name as files (patterns are not looked at)."""
    songs: dict[str, Path] = {}
    for given in config.songs if config is not None and config.song_list is None else ():
        with suppress(InputError):
            songs.update((song.name, song.path) for song in find_songs([given]))
    return songs


def _sources(
    song: str, folder: Path, places: list[Path], mixtures: Mapping[str, Path], demix_key: object
) -> SongSources:
    clean = None
    for place in places:
        with suppress(InputError):
            clean = find_references(place, song)
            break
    mixture = mixtures.get(song)
    if mixture is None and clean is not None:
        if is_stem_mp4(clean):
            mixture = clean
        else:
            with suppress(InputError):
                mixture = find_audio(clean, "mixture")
    for record_path in _stem_records(folder, song):
        kept, record = record_path.parent, read_record(record_path)
        if record is not None and record.key == demix_key and all((kept / f"{stem}.wav").is_file() for stem in STEMS):
            return SongSources(mixture, clean, kept, str(record.settings.get("separator")))
    return SongSources(mixture, clean)


def _stem_records(folder: Path, song: str) -> tuple[Path, ...]:
    """Return where the record of a song's kept stems may lie."""
    return tuple(place / "stems" / song / "record.json" for place in (folder, folder.parent))


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None


def song_file(song: str, source: SongSources) -> SongFile | None:
    """Return the mixture of a song in the form that the stages take, None where it was not found."""
    return SongFile(song, source.mixture) if source.mixture is not None else None
