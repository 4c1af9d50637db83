"""The challenge's results file ``scores.csv``: one row for each song and listener.

A row holds the mean of eight HAAQI values and the eight themselves. A file is always written whole, from records that
are kept elsewhere; nothing is ever appended to it.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cadenza_remix.atomic import write_text
from cadenza_remix.challenge.naming import channel_name
from cadenza_remix.challenge.pairs import SCORING_CHANNELS, Pair, check_batch
from cadenza_remix.errors import InputError

SCORE_CHANNELS = tuple(
    channel_name(ear, stem) for stem in ("bass", "drums", "other", "vocals") for ear in ("left", "right")
)
SCORE_COLUMNS = ("song", "listener", "score", *SCORE_CHANNELS)

_SUM_ORDER = tuple(channel_name(ear, stem) for ear, stem in SCORING_CHANNELS)
_BATCH_FILE = re.compile(r"scores_(\d+)-(\d+)\.csv")
_MEAN_TOLERANCE = 1e-9  # a mean of eight doubles is good to 1e-15; anything more is a row that was edited


@dataclass(frozen=True)
class PairScore:
    """The eight HAAQI values of one song made for one listener.

    Parameters
    ----------
    song, listener : str
    haaqi : mapping of str to float
        A value for each of :data:`SCORE_CHANNELS` and nothing else, all finite.

    Raises
    ------
    InputError
        A channel is missing, unknown or not a finite number.
    """

    song: str
    listener: str
    haaqi: Mapping[str, float]

    def __post_init__(self) -> None:
        where = f"scores of {self.song!r} for {self.listener}"
        odd = sorted(set(SCORE_CHANNELS) ^ set(self.haaqi))
        if odd:
            raise InputError(
                "wrong channels", where=where, expected=", ".join(SCORE_CHANNELS), found=f"odd: {', '.join(odd)}"
            )
        values = {channel: float(self.haaqi[channel]) for channel in SCORE_CHANNELS}
        for channel, value in values.items():
            if not math.isfinite(value):
                raise InputError("not a score", where=f"{where}: {channel}", expected="a finite number", found=value)
        object.__setattr__(self, "haaqi", values)

    @property
    def pair(self) -> Pair:
        return Pair(self.song, self.listener)

    @property
    def score(self) -> float:
        """The plain mean of the eight, summed in the challenge's scoring order so that the last digit agrees too."""
        return float(np.mean([self.haaqi[channel] for channel in _SUM_ORDER]))


def scores_file_name(batch: int = 0, batch_size: int = 1) -> str:
    """Return the name of a batch's results file; ``batch`` counts from 0, the file name from 1.

    Examples
    --------
    >>> scores_file_name(), scores_file_name(0, 4)
    ('scores.csv', 'scores_1-4.csv')
    """
    check_batch(batch, batch_size)
    return "scores.csv" if batch_size == 1 else f"scores_{batch + 1}-{batch_size}.csv"


def write_scores(path: str | Path, rows: Iterable[PairScore], *, pairs: Sequence[Pair] | None = None) -> None:
    """Write a results file whole, with every digit of the scores.

    Parameters
    ----------
    path : str or Path
    rows : iterable of PairScore
        In any order.
    pairs : sequence of Pair, optional
        What the file must hold, in this order: the challenge's. Without it rows are sorted by song and listener.

    Raises
    ------
    InputError
        A pair stands twice; with ``pairs``, one is missing or was not asked for.
    OutputError
        The file cannot be written.
    """
    ordered = _in_order(rows, pairs, where=str(path))
    buffer = io.StringIO()
    writer = csv.writer(
        buffer, lineterminator="\r\n"
    )  # as the challenge's own files, so that they compare byte by byte
    writer.writerow(SCORE_COLUMNS)
    for row in ordered:
        writer.writerow([row.song, row.listener, repr(row.score), *(repr(row.haaqi[name]) for name in SCORE_CHANNELS)])
    write_text(path, buffer.getvalue())


def read_scores(path: str | Path) -> list[PairScore]:
    """Read a results file, ours or the organisers'.

    Raises
    ------
    InputError
        The file cannot be read; the header is not :data:`SCORE_COLUMNS`; a row has too few or too many fields, a value
        that is no finite number, or a score that is not the mean of its eight; a pair stands twice.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file, strict=True) if line]
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError("not a results file", where=path, expected="CSV in UTF-8", found=str(error)) from error
    if not lines or tuple(lines[0]) != SCORE_COLUMNS:
        found = ",".join(lines[0]) if lines else "an empty file"
        raise InputError("wrong header", where=path, expected=",".join(SCORE_COLUMNS), found=found)
    rows = [_read_row(fields, f"{path}: row {number}") for number, fields in enumerate(lines[1:], start=1)]
    return _in_order(rows, [row.pair for row in rows], where=str(path))


def merge_scores(paths: Iterable[str | Path], *, pairs: Sequence[Pair] | None = None) -> list[PairScore]:
    """Join the results files of all batches.

    Parameters
    ----------
    paths : iterable of str or Path
        All of ``scores_1-n.csv`` to ``scores_n-n.csv``.
    pairs : sequence of Pair, optional
        What they must hold together; the rows come back in this order.

    Returns
    -------
    list of PairScore
        In the order of ``pairs``; without it, in the order of a run without batches.

    Raises
    ------
    InputError
        A batch or a pair is missing (it is named), stands twice or was not asked for; a file is no results file.
    """
    files = [Path(path) for path in paths]
    batches = _complete_batches(files)
    if pairs is not None:
        return _in_order([row for file in files for row in read_scores(file)], pairs, where=", ".join(map(str, files)))
    # Batch i holds pairs i, i + n, i + 2n, ...: dealing the rows out in turn restores the order before batching.
    decks = [read_scores(batches[number]) for number in sorted(batches)]
    dealt = [deck[turn] for turn in range(max(map(len, decks))) for deck in decks if turn < len(deck)]
    return _in_order(dealt, [row.pair for row in dealt], where=", ".join(map(str, files)))


def _complete_batches(files: Sequence[Path]) -> dict[int, Path]:
    """Return the files by batch number after proving that every batch is there once."""
    batches: dict[int, Path] = {}
    totals: dict[int, Path] = {}
    for file in files:
        match = _BATCH_FILE.fullmatch(file.name)
        if match is None:
            raise InputError(
                "not a batch's results file", where=file, expected="scores_<batch>-<batches>.csv", found=file.name
            )
        number, total = int(match[1]), int(match[2])
        totals[total] = file
        if number in batches:
            raise InputError("batch given twice", where=file, expected="each batch once", found=batches[number])
        batches[number] = file
    if len(totals) != 1:
        found = ", ".join(f"{total} batches ({file.name})" for total, file in sorted(totals.items()))
        raise InputError("results of different runs", expected="batches of one run", found=found or "no files")
    total = next(iter(totals))
    missing = [f"scores_{number}-{total}.csv" for number in range(1, total + 1) if number not in batches]
    missing += [str(batches[number]) for number in sorted(batches) if not 1 <= number <= total]
    missing += [str(batches[number]) for number in sorted(batches) if not batches[number].is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {total} batches are missing",
            expected=f"1-{total} to {total}-{total}",
            found=f"no {', '.join(missing)}",
        )
    return batches


def _in_order(rows: Iterable[PairScore], pairs: Sequence[Pair] | None, *, where: str) -> list[PairScore]:
    table: dict[Pair, PairScore] = {}
    for row in rows:
        if row.pair in table:
            raise InputError(
                "pair scored twice", where=where, expected="each song and listener once", found=_named([row.pair])
            )
        table[row.pair] = row
    if pairs is None:
        return [table[pair] for pair in sorted(table)]
    wanted = [Pair(*pair) for pair in pairs]
    missing = [pair for pair in wanted if pair not in table]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(wanted)} scores are missing", where=where, found=f"none for {_named(missing)}"
        )
    extra = sorted(set(table) - set(wanted))
    if extra:
        raise InputError(f"{len(extra)} scores were not asked for", where=where, found=_named(extra))
    return [table[pair] for pair in wanted]


def _named(pairs: Sequence[Pair], most: int = 3) -> str:
    names = "; ".join(f"{pair.song!r} for {pair.listener}" for pair in pairs[:most])
    return names + (f" and {len(pairs) - most} more" if len(pairs) > most else "")


def _read_row(fields: list[str], where: str) -> PairScore:
    if len(fields) != len(SCORE_COLUMNS):
        raise InputError("wrong number of fields", where=where, expected=len(SCORE_COLUMNS), found=len(fields))
    numbers = {}
    for column, text in zip(SCORE_COLUMNS[2:], fields[2:], strict=True):
        try:
            numbers[column] = float(text)
        except ValueError:
            numbers[column] = math.nan
        if not math.isfinite(numbers[column]):
            raise InputError("not a score", where=f"{where}: {column}", expected="a finite number", found=repr(text))
    score = numbers.pop("score")
    row = PairScore(fields[0], fields[1], numbers)
    if not abs(row.score - score) <= _MEAN_TOLERANCE:
        raise InputError("score is not the mean of its eight", where=where, expected=f"{row.score:.6f}", found=score)
    return row
