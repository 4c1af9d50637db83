"""Scoring one pair: from files to a record, here or in another process."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cadenza_remix.audio.io import load_stems
from cadenza_remix.audio.signal import EARS
from cadenza_remix.challenge.metadata import Segment, SongSegments
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.challenge.scorers import ear_scorer
from cadenza_remix.challenge.scores import PairScore
from cadenza_remix.challenge.scoring import PairMetrics, PairReferences, score_pair
from cadenza_remix.errors import CadenzaError, InputError
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.runs.records import Record, digest, finished, read_record
from cadenza_remix.runs.songs import references_digest
from cadenza_remix.runs.sources import ProcessedSource

SCORE_VERSION = 2
"""Part of every key: raise it when the same files give other scores."""

_COMPARED = {
    "scorer": "scorers",
    "noise": "noise",
    "segment_s": "segments",
    "references": "references",
    "audiograms": "audiograms",
}


@dataclass(frozen=True, eq=False)
class ScoreJob:
    """All that scoring a pair needs; it can be sent to another process.

    ``references``: the clean stems of each song (folder or file) that has any; ``segments``: in test mode, what of them
    counts; ``records``: the folder of the records; ``scorer``, ``noise``: see `cadenza_remix.challenge.scorers`.
    """

    source: ProcessedSource
    references_folder: Path
    references: Mapping[str, Path]
    listeners: Mapping[str, Listener]
    segments: Mapping[str, SongSegments] | None
    records: Path
    scorer: str = "builtin"
    noise: str = "legacy"
    _shelf: _ReferenceShelf = field(default_factory=lambda: _ReferenceShelf(), repr=False)

    def find(self, pair: Pair) -> Record | None:
        """Return the record of a pair that has been scored from these very inputs, otherwise None."""
        path = self._path(pair)
        if pair.song not in self.references:
            return None
        if read_record(path) is None:  # nothing to compare with: then the files need not be read
            return None
        try:
            record = finished(path, self._key(pair)[0], self.records)
        except CadenzaError:
            return None
        return record if record is not None and _is_whole(record, pair) else None

    def __call__(self, pair: Pair) -> Record:
        """Score a pair and write its record."""
        key, settings = self._key(pair)
        clean = self._shelf.get(self.references[pair.song], self._segment(pair))
        metrics = score_pair(
            clean,
            self.source.read(pair),
            self.listeners[pair.listener],
            haaqi_of=ear_scorer(pair.song, scorer=self.scorer, noise=self.noise),
        )
        record = Record(unit_name(pair), key, settings, {}, _results(pair, metrics))
        record.write(self._path(pair))
        return record

    def _path(self, pair: Pair) -> Path:
        return self.records / pair.listener / f"{pair.song}.json"

    def _segment(self, pair: Pair) -> Segment | None:
        return self.segments[pair.song].objective if self.segments else None

    def _key(self, pair: Pair) -> tuple[str, dict[str, object]]:
        """Return the key of a pair, and everything that its scores depend on in readable form."""
        listener, segment = self.listeners[pair.listener], self._segment(pair)
        ears = {ear: listener.ear(ear) for ear in EARS}
        settings: dict[str, object] = {
            "version": SCORE_VERSION,
            "processed": self.source.digest(pair),
            "references": references_digest(self.references[pair.song]),
            "audiograms": {ear: [a.frequencies_hz.tolist(), a.levels_db_hl.tolist()] for ear, a in ears.items()},
            "segment_s": [segment.start_s, segment.end_s] if segment else None,
            "seeding": "cad1",
            "scorer": self.scorer,
            "noise": self.noise,
        }
        return digest("score", pair.song, pair.listener, settings), settings


def differing_settings(records: Iterable[Record], *, scores_file: Path) -> list[str]:
    """Return in what the settings of scores differ from those of another results file, as far as its records are there.

    ``scores_file``: the ``scores.csv`` or ``scores_tidy.csv`` of a run of ours; of others nothing is known.
    """
    folders = (
        scores_file.with_name(scores_file.stem.removesuffix("_tidy") + "_records"),
        scores_file.parent / "records" / "score",
    )
    found = set()
    for record in records:
        name = Path(record.results["listener"]) / f"{record.results['song']}.json"
        for other in filter(None, (read_record(folder / name) for folder in folders)):
            found |= {title for key, title in _COMPARED.items() if record.settings.get(key) != other.settings.get(key)}
            break
    return [title for title in _COMPARED.values() if title in found]


class _ReferenceShelf:
    """The clean stems of the last two songs, shared by the threads that score their listeners."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._references: OrderedDict[tuple[Path, Segment | None], PairReferences] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_ReferenceShelf, ())  # a worker begins with an empty one

    def get(self, path: Path, segment: Segment | None) -> PairReferences:
        with self._lock:
            if (path, segment) not in self._references:
                stems = load_stems(path)
                if segment is not None:
                    stems = {stem: audio.excerpt(segment.start_s, segment.end_s) for stem, audio in stems.items()}
                self._references[path, segment] = PairReferences.from_stems(stems)
                while len(self._references) > 2:
                    self._references.popitem(last=False)
            return self._references[path, segment]


def _is_whole(record: Record, pair: Pair) -> bool:
    """Tell whether the results of a record are what `_results` makes for this pair: files can be damaged, or edited."""
    results = record.results
    try:
        row = PairScore(results["song"], results["listener"], results["haaqi"])
        ratios = [results[name][channel] for name in ("snr_db", "sdr_db") for channel in row.haaqi]
        numbers = all(value is None or (type(value) is float and math.isfinite(value)) for value in ratios)
        return numbers and row.pair == pair and row.score == results["score"]
    except (InputError, KeyError, TypeError, ValueError):
        return False


def unit_name(pair: Pair) -> str:
    """Return what messages call the scoring of a pair."""
    return f"score {pair.song} for {pair.listener}"


def _results(pair: Pair, metrics: PairMetrics) -> dict[str, object]:
    """Return the numbers of a pair as JSON can hold them: a ratio without a finite value becomes null."""
    haaqi = dict(metrics.haaqi)
    row = PairScore(pair.song, pair.listener, haaqi)
    ratios = {
        name: {channel: value if math.isfinite(value) else None for channel, value in values.items()}
        for name, values in (("snr_db", metrics.snr_db), ("sdr_db", metrics.sdr_db))
    }
    return {"song": pair.song, "listener": pair.listener, "score": row.score, "haaqi": dict(row.haaqi), **ratios}
