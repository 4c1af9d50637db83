"""What one listener can hear of a song, and what each version is made from: the run's files, or a chain at work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.io import STEM_MP4_STREAMS, is_stem_mp4
from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.challenge.naming import channel_name, scale_path
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.listen.library import Library, RoomSong, System
from cadenza_remix.listen.live import LiveChains, Passage, StemFile
from cadenza_remix.listen.passages import read_passage
from cadenza_remix.runs.finished import FinishedRun

UNPROCESSED = "Unprocessed"
REMIXES = "Remixes"
CLEAN_REMIXES = "Remixes of clean stems"
CLEAN = "Clean stems"
SEPARATED = "Separated stems"
ENHANCED = "Enhanced stems"


@dataclass(frozen=True)
class Version:
    """One thing to hear of a song: from ``start_s`` to ``end_s`` of it; outside there is silence."""

    id: str
    label: str
    group: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Offer:
    """A version that can be made.

    Parameters
    ----------
    version : Version
    passage : Passage
        Makes any passage of it.
    files : callable
        Returns all files that a passage is made from; raises InputError where one is not there.
    is_for_listener : bool
        Whether it is another one for another listener.
    """

    version: Version
    passage: Passage
    files: Callable[[], tuple[Path, ...]]
    is_for_listener: bool


def offers(library: Library, song: RoomSong, listener: Listener) -> Iterator[Offer]:
    """Yield every version that one listener can hear of a song, group by group."""
    whole = (0.0, song.duration_s)
    sources = song.sources
    if sources.mixture is not None:
        yield _of_file(Version("mixture", "Mixture", UNPROCESSED, *whole), sources.mixture, is_for_listener=False)
    for system in library.systems:
        offer = _remix(library.live, system, song, listener)
        if offer is not None:
            yield offer
    if sources.references is not None:
        clean = _clean_stems(sources.references)
        for system in library.systems:
            if system.chain is not None:
                version = Version(f"remix:clean:{system.name}", f"{system.name}, clean stems", CLEAN_REMIXES, *whole)
                yield _live(version, clean, partial(library.live.remix, clean, listener, system.chain))
        for stem, file in clean.items():
            yield _of_stem(Version(f"clean:{stem}", f"{stem}, clean", CLEAN, *whole), file)
    for ending, label, kept in _kept_stems(library, song):
        for stem, file in _stems_in(kept).items():
            yield _of_stem(Version(f"separated:{stem}{ending}", f"{stem}, {label}", SEPARATED, *whole), file)
    for system in library.systems:
        yield from _ear_stems(library.live, system, song, listener)


def _of_file(version: Version, file: Path, *, is_for_listener: bool) -> Offer:
    """Offer what a file holds, which begins where the version does."""
    return Offer(version, partial(_file, file, version.start_s), lambda: (file,), is_for_listener)


def _of_stem(version: Version, stem: StemFile) -> Offer:
    return Offer(version, stem.passage, lambda: (stem.file(),), is_for_listener=False)


def _live(version: Version, stems: Mapping[str, StemFile], passage: Passage) -> Offer:
    """Offer what a chain makes of stems."""
    return Offer(version, passage, lambda: tuple(stem.file() for stem in stems.values()), is_for_listener=True)


def _remix(live: LiveChains, system: System, song: RoomSong, listener: Listener) -> Offer | None:
    version_id, label = f"remix:{system.name}", system.name
    run, pair = system.run, Pair(song.name, listener.id)
    if run is not None and _is_of_run(run, song, listener):
        file = run.remix_file(pair)
        if file is not None:
            start_s, end_s = (run.segments_s(pair) or {}).get("subjective", (0.0, song.duration_s))
            return _of_file(Version(version_id, label, REMIXES, start_s, end_s), file, is_for_listener=True)
    kept = _stems_for(system, song)
    if kept is None or system.chain is None:
        return None
    version = Version(version_id, label, REMIXES, 0.0, song.duration_s)
    stems = _stems_in(kept)
    return _live(version, stems, partial(live.remix, stems, listener, system.chain))


def _ear_stems(live: LiveChains, system: System, song: RoomSong, listener: Listener) -> Iterator[Offer]:
    run, pair = system.run, Pair(song.name, listener.id)
    is_of_run = run is not None and _is_of_run(run, song, listener)
    kept = _stems_for(system, song)
    for stem in STEMS:
        for ear in EARS:
            channel = channel_name(ear, stem)
            version_id, label = f"stem:{system.name}:{channel}", f"{system.name}: {stem}, {ear} ear"
            file = run.stem_file(pair, ear, stem) if run is not None and is_of_run else None
            if run is not None and file is not None:
                start_s, end_s = (run.segments_s(pair) or {}).get("objective", (0.0, song.duration_s))
                yield _of_ear_file(Version(version_id, label, ENHANCED, start_s, end_s), file, EARS.index(ear))
            elif kept is not None and system.chain is not None:
                version = Version(version_id, label, ENHANCED, 0.0, song.duration_s)
                stems = _stems_in(kept)
                yield _live(version, stems, partial(live.stem, stems, listener, system.chain, channel))


def _of_ear_file(version: Version, file: Path, column: int) -> Offer:
    passage = partial(_ear_file, file, column, version.start_s)
    return Offer(version, passage, lambda: (file, scale_path(file)), is_for_listener=True)


def _is_of_run(run: FinishedRun, song: RoomSong, listener: Listener) -> bool:
    """Tell whether a run enhanced this song for this very listener, not for another one of the same id."""
    return (
        not song.is_upload
        and run.listeners.get(listener.id) == listener
        and Pair(song.name, listener.id) in run.enhanced
    )


def _stems_for(system: System, song: RoomSong) -> Path | None:
    """Return the separated stems that go into a system: its own run's, of an upload the upload's."""
    if song.is_upload or system.run is None:
        return song.sources.kept_stems
    source = system.run.sources.get(song.name)
    return source.kept_stems if source is not None else None


def _kept_stems(library: Library, song: RoomSong) -> Iterator[tuple[str, str, Path]]:
    """Yield the end of the id, the label and the folder of each set of separated stems; the first has a plain id."""
    found: dict[Path, tuple[str, str]] = {}
    if song.sources.kept_stems is not None:
        found[song.sources.kept_stems] = ("", song.sources.separator or "separated")
    for system in () if song.is_upload else library.systems:
        source = system.run.sources.get(song.name) if system.run is not None else None
        if source is not None and source.kept_stems is not None and source.kept_stems not in found:
            found[source.kept_stems] = (f":{system.name}", f"{source.separator or 'separated'} ({system.name})")
    for folder, (ending, label) in found.items():
        yield ending, label, folder


def _file(path: Path, begins_s: float, first: int, n_samples: int) -> NDArray[np.float32]:
    return read_passage(path, first, n_samples, begins_s=begins_s)


def _ear_file(path: Path, column: int, begins_s: float, first: int, n_samples: int) -> NDArray[np.float32]:
    """Return a stem of one ear in that ear's channel: what the other ear gets is another file."""
    samples = read_passage(path, first, n_samples, begins_s=begins_s)
    samples = samples * np.float32(_scale_of(path))
    samples[:, 1 - column] = 0.0
    return samples


def _scale_of(path: Path) -> float:
    scale_file = scale_path(path)
    with suppress(OSError, ValueError):
        scale = float(scale_file.read_text(encoding="utf-8"))
        if 0 <= scale < math.inf:
            return scale
    raise InputError("scale file holds no scale", where=scale_file, expected="the peak as text, 0 or more")


def _clean_stems(references: Path) -> dict[str, StemFile]:
    if is_stem_mp4(references):
        return {stem: StemFile(references, STEM_MP4_STREAMS.index(stem)) for stem in STEMS}
    return _stems_in(references)


def _stems_in(folder: Path) -> dict[str, StemFile]:
    return {stem: StemFile(folder / stem) for stem in STEMS}
