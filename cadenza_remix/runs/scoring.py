"""Score enhanced folders against clean stems: one record per song and listener, and the challenge's table from them."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cadenza_remix.atomic import check_writable
from cadenza_remix.audio.io import load_audio, load_stems, read_scaled_flac
from cadenza_remix.audio.signal import EARS, STEMS, Audio
from cadenza_remix.challenge.metadata import Segment, SongSegments
from cadenza_remix.challenge.naming import (
    ENHANCED_FOLDER,
    SUBMISSION_FOLDER,
    channel_name,
    scale_path,
    stem_path,
    stem_paths,
)
from cadenza_remix.challenge.pairs import Pair, make_pairs
from cadenza_remix.challenge.scores import PairScore
from cadenza_remix.challenge.scoring import PairMetrics, mixture_as_stems, score_pair
from cadenza_remix.challenge.seeding import song_rng
from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.remix import enhance_stems, load_chain
from cadenza_remix.runs.pool import Failure, run_units
from cadenza_remix.runs.progress import NoProgress, Progress
from cadenza_remix.runs.records import Record, digest, file_digest, finished
from cadenza_remix.runs.songs import SongFile, find_references, references_digest

SCORE_VERSION = 1
"""Part of every key: raise it when the same files give other scores."""


@dataclass(frozen=True)
class ScoreReport:
    """Records of the scored pairs in the order of the pairs, how many were found done, and failures."""

    records: tuple[Record, ...]
    n_found: int
    failures: tuple[Failure, ...]

    @property
    def rows(self) -> list[PairScore]:
        """Return the rows of the challenge's ``scores.csv``."""
        return [PairScore(r.results["song"], r.results["listener"], r.results["haaqi"]) for r in self.records]


def enhanced_root(folder: str | Path) -> Path:
    """Return the folder that holds one folder per listener: ``folder`` itself, or the one so named below it."""
    root = Path(folder)
    if not root.is_dir():
        raise InputError("folder is missing", where=root, expected=f"a folder with {ENHANCED_FOLDER}/")
    for name in (ENHANCED_FOLDER, SUBMISSION_FOLDER):
        if (root / name).is_dir():
            return enhanced_root(root / name)
    return root


def find_pairs(root: Path, listeners: Mapping[str, Listener]) -> list[Pair]:
    """Return the pairs that lie in a folder of enhanced signals, songs outermost, as the challenge orders them.

    Raises
    ------
    InputError
        There are none, or a folder names a listener who is not in ``listeners``.
    """
    found = [(listener.name, song.name) for listener in _folders(root) for song in _folders(listener)]
    if not found:
        raise InputError("holds no enhanced signals", where=root, expected="<listener>/<song>/<listener>_<song>_*.flac")
    for listener, _ in found:
        if listener not in listeners:
            raise unknown_name("listener", listener, listeners, where=root / listener)
    order = {listener: index for index, listener in enumerate(listeners)}
    return sorted(
        (Pair(song, listener) for listener, song in found), key=lambda pair: (pair.song, order[pair.listener])
    )


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]


def score_pairs(
    enhanced: str | Path,
    *,
    references: str | Path,
    listeners: Mapping[str, Listener],
    pairs: Sequence[Pair] | None = None,
    segments: Mapping[str, SongSegments] | None = None,
    records: Path | None = None,
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> ScoreReport:
    """Score every pair of a folder of enhanced signals.

    Parameters
    ----------
    enhanced : path
        A folder with ``enhanced_signals/``, or that folder itself; in it
        ``<listener>/<song>/<listener>_<song>_<ear>_<stem>.flac``.
    references : path
        Folder of clean stems, found by the song's name (see `find_references`).
    listeners : mapping of str to Listener
        Matched by id.
    pairs : sequence of Pair, optional
        Only these; all that are found otherwise.
    segments : mapping of str to SongSegments, optional
        Test mode: the references are cut to each song's objective segment.
    records : Path, optional
        Where records lie; ``records/score`` beside ``enhanced_signals`` by default.

    Returns
    -------
    ScoreReport
    """
    root = enhanced_root(enhanced)
    pairs = list(pairs) if pairs is not None else find_pairs(root, listeners)
    return _score_all(
        pairs,
        lambda pair: _enhanced_digest(root, pair),
        lambda pair: _read_enhanced(root, pair),
        references=references,
        listeners=listeners,
        segments=segments,
        records=records or root.parent / "records" / "score",
        n_workers=n_workers,
        progress=progress or NoProgress(),
    )


def score_mixtures(
    songs: Sequence[SongFile],
    *,
    references: str | Path,
    listeners: Mapping[str, Listener],
    records: Path,
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> ScoreReport:
    """Score what doing nothing gives: the unprocessed mixture in place of each stem, for every song and listener."""
    by_name = {song.name: song for song in songs}
    return _score_all(
        make_pairs(by_name, listeners),
        lambda pair: digest("mixture", file_digest(by_name[pair.song].path)),
        lambda pair: mixture_as_stems(load_audio(by_name[pair.song].path)),
        references=references,
        listeners=listeners,
        segments=None,
        records=records,
        n_workers=n_workers,
        progress=progress or NoProgress(),
    )


def score_clean_stems(
    songs: Sequence[SongFile],
    *,
    references: str | Path,
    listeners: Mapping[str, Listener],
    records: Path,
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> ScoreReport:
    """Score what a perfect separation would give: the clean stems with each listener's NAL-R."""
    baseline = load_chain("baseline")

    def read(pair: Pair) -> Mapping[str, Audio]:
        return enhance_stems(
            load_stems(find_references(references, pair.song)), listeners[pair.listener], baseline
        ).stems

    return _score_all(
        make_pairs([song.name for song in songs], listeners),
        lambda pair: digest("clean", baseline.to_dict()),
        read,
        references=references,
        listeners=listeners,
        segments=None,
        records=records,
        n_workers=n_workers,
        progress=progress or NoProgress(),
    )


def _score_all(
    pairs: Sequence[Pair],
    digest_of: Callable[[Pair], str],
    read: Callable[[Pair], Mapping[str, Audio]],
    *,
    references: str | Path,
    listeners: Mapping[str, Listener],
    segments: Mapping[str, SongSegments] | None,
    records: Path,
    n_workers: int | None,
    progress: Progress,
) -> ScoreReport:
    for pair in pairs:
        if pair.listener not in listeners:
            raise unknown_name("listener", pair.listener, listeners)
        if segments is not None and pair.song not in segments:
            raise InputError("song has no segments", where=pair.song, expected="an entry in the segments file")
    clean = {song: find_references(references, song) for song in dict.fromkeys(pair.song for pair in pairs)}
    check_writable(records)
    cache = _References()
    progress.start("score", len(pairs))

    def work(pair: Pair) -> tuple[Record, bool]:
        path = records / pair.listener / f"{pair.song}.json"
        segment = segments[pair.song].objective if segments else None
        settings = _settings(listeners[pair.listener], clean[pair.song], segment, digest_of(pair))
        key = digest("score", pair.song, pair.listener, settings)
        record = finished(path, key, records)
        is_found = record is not None
        if record is None:
            stems = cache.get(clean[pair.song], segment)
            metrics = score_pair(stems, read(pair), listeners[pair.listener], rng=song_rng(pair.song))
            name = f"score {pair.song} for {pair.listener}"
            record = Record(name, key, settings, {}, _results(pair, metrics))
            record.write(path)
        progress.advance("score")
        return record, is_found

    done, failures = run_units(
        pairs, work, n_workers=n_workers, name=lambda pair: f"score {pair.song} for {pair.listener}"
    )
    return ScoreReport(tuple(record for record, _ in done), sum(found for _, found in done), tuple(failures))


def _settings(listener: Listener, clean: Path, segment: Segment | None, processed: str) -> dict[str, object]:
    """Return everything that the scores of a pair depend on."""
    ears = {ear: listener.ear(ear) for ear in EARS}
    return {
        "version": SCORE_VERSION,
        "processed": processed,
        "references": references_digest(clean),
        "audiograms": {ear: [a.frequencies_hz.tolist(), a.levels_db_hl.tolist()] for ear, a in ears.items()},
        "segment_s": [segment.start_s, segment.end_s] if segment else None,
        "seeding": "cad1",
    }


def _results(pair: Pair, metrics: PairMetrics) -> dict[str, object]:
    """Return the numbers of a pair as JSON can hold them: a ratio without a finite value becomes null."""
    haaqi = dict(metrics.haaqi)
    row = PairScore(pair.song, pair.listener, haaqi)
    ratios = {
        name: {channel: value if math.isfinite(value) else None for channel, value in values.items()}
        for name, values in (("snr_db", metrics.snr_db), ("sdr_db", metrics.sdr_db))
    }
    return {"song": pair.song, "listener": pair.listener, "score": row.score, "haaqi": dict(row.haaqi), **ratios}


def _read_enhanced(root: Path, pair: Pair) -> dict[str, Audio]:
    return {
        channel_name(ear, stem): read_scaled_flac(stem_path(root, pair.listener, pair.song, ear, stem))
        for ear in EARS
        for stem in STEMS
    }


def _enhanced_digest(root: Path, pair: Pair) -> str:
    """Return a digest of the bytes of the eight stems and their scale files."""
    parts = []
    for path in stem_paths(root, pair.listener, pair.song):
        if not path.is_file():
            raise InputError("file is missing", where=path, expected="a stem of this song and listener")
        scale = scale_path(path)
        parts.append([file_digest(path), file_digest(scale) if scale.is_file() else None])
    return digest(parts)


class _References:
    """The clean stems of the last two songs, shared by the threads that score their listeners."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stems: OrderedDict[tuple[Path, Segment | None], dict[str, Audio]] = OrderedDict()

    def get(self, path: Path, segment: Segment | None) -> dict[str, Audio]:
        with self._lock:
            if (path, segment) not in self._stems:
                stems = load_stems(path)
                if segment is not None:
                    stems = {stem: audio.excerpt(segment.start_s, segment.end_s) for stem, audio in stems.items()}
                self._stems[path, segment] = stems
                while len(self._stems) > 2:
                    self._stems.popitem(last=False)
            return self._stems[path, segment]
