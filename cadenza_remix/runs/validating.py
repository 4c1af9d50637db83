"""Everything that is wrong with an entry, found in one walk through all its files: names, forms, and what they hold."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cadenza_remix.audio.io import find_audio, load_audio, load_stems
from cadenza_remix.audio.signal import Audio
from cadenza_remix.challenge.checks.files import Fault, check_pair
from cadenza_remix.challenge.checks.plausibility import implausible
from cadenza_remix.challenge.checks.song_reference import PlausibilityReference, prepare_reference
from cadenza_remix.challenge.checks.structure import file_names, present_pairs, structure_faults
from cadenza_remix.challenge.metadata import Segment, SongSegments
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.challenge.tree import EnhancedTree
from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.runs.pool import run_units
from cadenza_remix.runs.progress import NoProgress, Progress
from cadenza_remix.runs.songs import find_references

_KEPT_SONGS = 2


@dataclass(frozen=True)
class ValidationReport:
    """The faults of an entry in a fixed order, and the pairs that can be scored: complete, with no fault of their own.

    ``faults``: names first, then references, then pair by pair.
    """

    faults: tuple[Fault, ...]
    pairs_ok: tuple[Pair, ...]

    @property
    def n_pairs_ok(self) -> int:
        return len(self.pairs_ok)


def validate_entry(
    tree: EnhancedTree,
    *,
    pairs: Sequence[Pair] | None = None,
    references: str | Path | None = None,
    listeners: Mapping[str, Listener] | None = None,
    segments: Mapping[str, SongSegments] | None = None,
    partial: bool = False,
    remix: bool = True,
    known_good: Collection[Pair] = (),
    tolerated: Collection[str] = (),
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> ValidationReport:
    """Decode an entry to its end and return all of its faults.

    Parameters
    ----------
    tree : EnhancedTree
        From `open_tree`.
    pairs : sequence of Pair, optional
        What the entry must hold; without it, whatever pairs there are.
    references : path, optional
        Folder of clean stems, found by the song's name; a ``mixture`` beside them is used where there is one. Without
        it, form and names alone are checked.
    listeners : mapping of str to Listener, optional
        Needed with ``references``.
    segments : mapping of str to SongSegments, optional
        Test mode: stems are as long as a song's objective segment, the remix as its subjective one. Otherwise both are
        as long as the references, where they are given.
    partial : bool
        Pairs of which there is nothing are no fault.
    remix : bool
        A pair without its remix is incomplete; otherwise nobody looks whether there is one.
    known_good : collection of Pair
        Pairs whose files were in order before and have not changed: they are not decoded again.
    tolerated : collection of str
        Kinds of faults that are told and do not keep a pair from being scored.

    Raises
    ------
    InputError
        Listeners or segments that are needed are not given; without ``pairs``: the entry holds none.
    """
    progress = progress or NoProgress()
    expected = list(pairs) if pairs is not None else _pairs_there(tree, listeners)
    _check_arguments(expected, references, listeners, segments)
    faults = structure_faults(tree, expected, partial=partial, remix=remix)
    present = present_pairs(tree, expected)
    place = {song: index for index, song in enumerate(dict.fromkeys(pair.song for pair in present))}
    unknown = [pair for pair in present if pair not in known_good]
    in_order = sorted(unknown, key=lambda pair: place[pair.song])  # the pairs of a song one after the other
    songs = _Songs(references, segments)
    progress.start("validate", len(in_order))

    def work(pair: Pair) -> tuple[Fault, ...]:
        try:
            song = songs.get(pair.song)
            found = _faults_of(tree, pair, song, listeners or {}, segments, remix=remix)
        finally:
            progress.advance("validate")
        return found

    results, failures = run_units(in_order, work, n_workers=n_workers, name=lambda pair: f"{pair.listener}/{pair.song}")
    if failures:  # a fault of the entry is no failure of a unit
        raise failures[0].error
    of_pair = dict.fromkeys(present, ()) | dict(zip(in_order, results, strict=True))
    faults += [songs.faults[song] for song in dict.fromkeys(pair.song for pair in expected) if song in songs.faults]
    faults += [fault for pair in present for fault in of_pair[pair]]

    def is_ok(pair: Pair) -> bool:
        refused = [fault for fault in of_pair[pair] if fault.kind not in tolerated]
        return _is_ok(pair, tree, refused, songs, remix)

    return ValidationReport(tuple(faults), tuple(p for p in present if is_ok(p)))


def _pairs_there(tree: EnhancedTree, listeners: Mapping[str, Listener] | None) -> list[Pair]:
    """Return the pairs that a tree holds; folders of listeners whom nobody knows are left to be told as faults."""
    pairs = [pair for pair in tree.pairs(listeners or ()) if listeners is None or pair.listener in listeners]
    if not pairs:
        expected = "<listener>/<song>/<listener>_<song>_*.flac"
        raise InputError("holds no enhanced signals", where=tree.where, expected=expected)
    return pairs


def _check_arguments(
    pairs: Sequence[Pair],
    references: str | Path | None,
    listeners: Mapping[str, Listener] | None,
    segments: Mapping[str, SongSegments] | None,
) -> None:
    if references is not None and listeners is None:
        raise InputError("references without listeners", where="validate", expected="both, or neither")
    for pair in pairs:
        if segments is not None and pair.song not in segments:
            raise InputError("no expected duration", where="segments", expected=repr(pair.song))
        if listeners is not None and pair.listener not in listeners:
            raise unknown_name("listener", pair.listener, listeners)


def _faults_of(
    tree: EnhancedTree,
    pair: Pair,
    song: _Song,
    listeners: Mapping[str, Listener],
    segments: Mapping[str, SongSegments] | None,
    *,
    remix: bool,
) -> tuple[Fault, ...]:
    stem_s = remix_s = song.duration_s
    if segments is not None and not song.is_faulty:
        stem_s = segments[pair.song].objective.duration_s
        remix_s = segments[pair.song].subjective.duration_s
    checked = check_pair(tree, pair, stem_s=stem_s, remix_s=remix_s, remix=remix)
    if song.reference is None:
        return checked.faults
    return (*checked.faults, *implausible(pair, checked, song.reference, listeners[pair.listener]))


def _is_ok(pair: Pair, tree: EnhancedTree, faults: Sequence[Fault], songs: _Songs, remix: bool) -> bool:
    complete = all(name in tree for name in file_names(pair, remix=remix))
    return complete and not faults and pair.song not in songs.faults


@dataclass(frozen=True, eq=False)
class _Song:
    """What the pairs of one song are compared with; nothing without references."""

    reference: PlausibilityReference | None = None
    duration_s: float | None = None
    is_faulty: bool = False


class _Songs:
    """The references of the songs that are being looked at, each prepared once, and the faults of those that cannot."""

    def __init__(self, folder: str | Path | None, segments: Mapping[str, SongSegments] | None) -> None:
        self.faults: dict[str, Fault] = {}
        self._folder = folder
        self._segments = segments
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Song] = OrderedDict()

    def get(self, song: str) -> _Song:
        if self._folder is None:
            return _Song()
        with self._lock:  # the pairs of one song all wait for it anyway
            if song not in self._kept:
                while len(self._kept) >= _KEPT_SONGS:
                    self._kept.popitem(last=False)
                try:
                    self._kept[song] = self._load(self._folder, song)
                except InputError as error:
                    self.faults[song] = Fault(song, "no usable references", found=str(error), kind="reference")
                    self._kept[song] = _Song(is_faulty=True)
            return self._kept[song]

    def _load(self, folder: str | Path, song: str) -> _Song:
        path = find_references(folder, song)
        segment = self._segments[song].objective if self._segments is not None else None
        stems = {stem: _cut(audio, segment) for stem, audio in load_stems(path).items()}
        duration_s = next(iter(stems.values())).duration_s
        mixture = _load_mixture(path)
        return _Song(prepare_reference(stems, mixture and _cut(mixture, segment)), duration_s)


def _load_mixture(path: Path) -> Audio | None:
    """Return the mixture beside the stems, or None where there is none: their sum then."""
    if path.is_file():
        return load_audio(path)
    try:
        file = find_audio(path, "mixture")
    except InputError:
        return None
    return load_audio(file)


def _cut(audio: Audio, segment: Segment | None) -> Audio:
    return audio if segment is None else audio.excerpt(segment.start_s, segment.end_s)
