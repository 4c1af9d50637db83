"""The tables of a set of scores: the challenge's, a tidy one, and means with confidence intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cadenza_remix.challenge.metadata import SongEntry
from cadenza_remix.challenge.scores import PairScore, write_scores
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.report.statistics import summarise, write_statistics_csv
from cadenza_remix.report.tidy import tidy_frame, write_tidy_csv
from cadenza_remix.runs.records import Record

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ScoreTables:
    """The tables as frames, and the files in which they lie."""

    tidy: pd.DataFrame
    statistics: pd.DataFrame
    written: tuple[Path, ...]


def write_score_tables(
    records: Iterable[Record],
    out_file: Path,
    *,
    listeners: Mapping[str, Listener],
    songs: Sequence[SongEntry] | None = None,
) -> ScoreTables:
    """Write ``X.csv``, ``X_tidy.csv`` and ``X_summary.csv``.

    Parameters
    ----------
    records : iterable of Record
        Of scored pairs, in the order that the challenge's table shall have.
    out_file : Path
        The challenge's table; the others go beside it.
    listeners : mapping of str to Listener
    songs : sequence of SongEntry, optional
        For their genres.

    Raises
    ------
    OutputError
        A table cannot be written.
    """
    records = list(records)
    rows = [PairScore(r.results["song"], r.results["listener"], r.results["haaqi"]) for r in records]
    tidy = tidy_frame([record.results for record in records])
    statistics = summarise(tidy, listeners=dict(listeners), songs=songs)
    written = (out_file, beside(out_file, "_tidy.csv"), beside(out_file, "_summary.csv"))
    write_scores(out_file, rows, pairs=[row.pair for row in rows])
    write_tidy_csv(tidy, written[1])
    write_statistics_csv(statistics, written[2])
    return ScoreTables(tidy, statistics, written)


def beside(out_file: Path, ending: str) -> Path:
    """Return the name of a table that belongs to another: ``scores.csv`` and ``_tidy.csv`` give ``scores_tidy.csv``."""
    return out_file.with_name(out_file.stem + ending)
