"""The versions of a song that one listener can hear, and the rendering of any passage of them.

What a run wrote for a listener is played from its files. For everybody else (another audiogram, an own song) the stems
of the passage go through the chain on the spot, with as much before and after as the filters and the compressor reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.io import STEM_MP4_STREAMS, is_stem_mp4
from cadenza_remix.audio.signal import EARS, MUSIC_SAMPLE_RATE, STEMS, Audio
from cadenza_remix.challenge.naming import channel_name, scale_path
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.hearing.loss_simulation import hear_as
from cadenza_remix.listen.library import Library, RoomSong, System, UnknownIdError
from cadenza_remix.listen.live import SIMULATION_REACH, LiveChains, Passage, StemFile
from cadenza_remix.listen.passages import read_passage
from cadenza_remix.runs.finished import FinishedRun, SongSources

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


def versions_of(library: Library, song: RoomSong, listener: Listener) -> list[Version]:
    """Return what one listener can hear of a song, group by group."""
    return [version for version, _ in _offers(library, song, listener)]


def render(
    library: Library,
    song: RoomSong,
    version_id: str,
    listener: Listener,
    *,
    start_s: float,
    duration_s: float,
    simulator: str | None = None,
) -> Audio:
    """Return a passage of a version as one listener gets it.

    Parameters
    ----------
    library : Library
    song : RoomSong
    version_id : str
        Of `versions_of`.
    listener : Listener
        Whose audiograms the remix is made for, and whose hearing is simulated.
    start_s, duration_s : float
        From the song's beginning; what lies outside the version is silence.
    simulator : str, optional
        A name of `cadenza_remix.hearing.loss_simulation.simulator_names`: as this listener hears it.

    Returns
    -------
    Audio
        Stereo, 44.1 kHz, ``round(duration_s * 44100)`` samples; enhanced stems may lie over full scale.

    Raises
    ------
    UnknownIdError
        The listener cannot hear such a version of this song.
    InputError
        No length, or a file cannot be read.
    """
    first, n_samples = round(start_s * MUSIC_SAMPLE_RATE), round(duration_s * MUSIC_SAMPLE_RATE)
    if first < 0 or n_samples < 1:
        raise InputError(
            "wrong passage", expected="start_s of at least 0, duration_s above 0", found=f"{start_s:g}, {duration_s:g}"
        )
    passage = dict(_offered(library, song, listener)).get(version_id)
    if passage is None:
        raise UnknownIdError(f"unknown version {version_id!r}", where=song.name, expected="one that the server lists")
    name = f"{song.name}: {version_id}"
    if simulator is None:
        return Audio(passage(first, n_samples), MUSIC_SAMPLE_RATE, name)
    before = min(first, SIMULATION_REACH)
    wide = Audio(passage(first - before, before + n_samples + SIMULATION_REACH), MUSIC_SAMPLE_RATE, name)
    heard = hear_as(wide, listener, simulator=simulator)
    return Audio(heard.samples[before : before + n_samples], MUSIC_SAMPLE_RATE, name)


def warm_up(library: Library, *, is_over: Callable[[], bool] = lambda: False) -> None:
    """Make a moment of mixture and remixes, so that the first visitor does not wait for what is loaded and compiled.

    ``is_over`` is asked before each version whether to leave it at that.
    """
    listener = library.standard_listeners[0]
    for song in library.songs[:1]:
        for version_id, passage in _offered(library, song, listener):
            if not is_over() and version_id.startswith(("mixture", "remix:")):
                passage(0, MUSIC_SAMPLE_RATE // 10)


def _offered(library: Library, song: RoomSong, listener: Listener) -> Iterator[tuple[str, Passage]]:
    for version, passage in _offers(library, song, listener):
        yield version.id, passage


def _offers(library: Library, song: RoomSong, listener: Listener) -> Iterator[tuple[Version, Passage]]:
    """Yield every version that can be made, with what makes it."""
    whole = (0.0, song.duration_s)
    sources = song.sources
    if sources.mixture is not None:
        yield Version("mixture", "Mixture", UNPROCESSED, *whole), partial(_file, sources.mixture)
    for system in library.systems:
        offer = _remix(library.live, system, song, listener)
        if offer is not None:
            yield offer
    if sources.references is not None:
        for system in library.systems:
            if system.chain is not None:
                version = Version(f"remix:clean:{system.name}", f"{system.name}, clean stems", CLEAN_REMIXES, *whole)
                yield version, partial(library.live.remix, _clean_stems(sources), listener, system.chain)
        for stem, file in _clean_stems(sources).items():
            yield Version(f"clean:{stem}", f"{stem}, clean", CLEAN, *whole), file.passage
    for ending, label, kept in _kept_stems(library, song):
        for stem, file in _stems_in(kept).items():
            yield Version(f"separated:{stem}{ending}", f"{stem}, {label}", SEPARATED, *whole), file.passage
    for system in library.systems:
        yield from _ear_stems(library.live, system, song, listener)


def _remix(live: LiveChains, system: System, song: RoomSong, listener: Listener) -> tuple[Version, Passage] | None:
    version_id, label = f"remix:{system.name}", system.name
    run, pair = system.run, Pair(song.name, listener.id)
    if run is not None and _is_of_run(run, song, listener):
        file = run.remix_file(pair)
        if file is not None:
            start_s, end_s = (run.segments_s(pair) or {}).get("subjective", (0.0, song.duration_s))
            return Version(version_id, label, REMIXES, start_s, end_s), partial(_file, file, begins_s=start_s)
    kept = _stems_for(system, song)
    if kept is None or system.chain is None:
        return None
    version = Version(version_id, label, REMIXES, 0.0, song.duration_s)
    return version, partial(live.remix, _stems_in(kept), listener, system.chain)


def _ear_stems(
    live: LiveChains, system: System, song: RoomSong, listener: Listener
) -> Iterator[tuple[Version, Passage]]:
    run, pair = system.run, Pair(song.name, listener.id)
    is_of_run = run is not None and _is_of_run(run, song, listener)
    kept = _stems_for(system, song)
    for stem in STEMS:
        for ear in EARS:
            channel = channel_name(ear, stem)
            start_s, end_s = 0.0, song.duration_s
            file = run.stem_file(pair, ear, stem) if run is not None and is_of_run else None
            passage: Passage
            if run is not None and file is not None:
                start_s, end_s = (run.segments_s(pair) or {}).get("objective", (start_s, end_s))
                passage = partial(_ear_file, file, EARS.index(ear), start_s)
            elif kept is not None and system.chain is not None:
                passage = partial(live.stem, _stems_in(kept), listener, system.chain, channel)
            else:
                continue
            label = f"{system.name}: {stem}, {ear} ear"
            yield Version(f"stem:{system.name}:{channel}", label, ENHANCED, start_s, end_s), passage


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


def _file(path: Path, first: int, n_samples: int, *, begins_s: float = 0.0) -> NDArray[np.float32]:
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


def _clean_stems(sources: SongSources) -> dict[str, StemFile]:
    assert sources.references is not None
    if is_stem_mp4(sources.references):
        return {stem: StemFile(sources.references, STEM_MP4_STREAMS.index(stem)) for stem in STEMS}
    return _stems_in(sources.references)


def _stems_in(folder: Path) -> dict[str, StemFile]:
    return {stem: StemFile(folder / stem) for stem in STEMS}
