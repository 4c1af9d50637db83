"""Scores as a tidy table: one row per song, listener, ear, stem and metric.

All statistics and comparisons start from this table, and so can anybody else's: it is a CSV file with every digit.
Songs and listeners are in alphabetical order, ears, stems and metrics in that of `EARS`, `STEMS` and `METRICS`. A value
that is not defined (the SNR of a stem that is silent in the reference) keeps its row: NaN here, empty in the file.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadenza_remix.atomic import write_text
from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.challenge.naming import channel_name
from cadenza_remix.challenge.scores import PairScore
from cadenza_remix.errors import InputError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("haaqi", "snr_db", "sdr_db")
TIDY_COLUMNS = ("song", "listener", "ear", "stem", "metric", "value")

_Key = tuple[str, str, str, str, str]
_RANK = {name: rank for names in (EARS, STEMS, METRICS) for rank, name in enumerate(names)}


def tidy_frame(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the tidy table of scored pairs.

    Parameters
    ----------
    results : iterable of mappings
        Each holds ``song``, ``listener``, ``haaqi`` and, where they were computed, ``snr_db`` and ``sdr_db``; a metric
        maps ``<ear>_<stem>`` to a number for all eight, None where it is not defined. Other keys are left alone.

    Returns
    -------
    pandas.DataFrame
        Columns `TIDY_COLUMNS`, sorted; independent of the order of the results.

    Raises
    ------
    InputError
        No results; a field or channel is missing, unknown or no number; a pair stands twice.
    """
    values: dict[_Key, float] = {}
    for result in results:
        for key, value in _rows_of(result):
            if key in values:
                raise InputError("pair scored twice", expected="each song and listener once", found=_pair_name(key))
            values[key] = value
    return _framed(values)


def tidy_from_scores(rows: Iterable[PairScore]) -> pd.DataFrame:
    """Return the tidy table of an official results file (`cadenza_remix.challenge.scores.read_scores`): HAAQI only."""
    return tidy_frame({"song": row.song, "listener": row.listener, "haaqi": row.haaqi} for row in rows)


def sorted_tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a tidy table in its one order, after checking it; for tables that somebody else put together.

    Raises
    ------
    InputError
        A column is missing, there are no rows, a row stands twice or names an unknown ear, stem or metric.
    """
    missing = [name for name in TIDY_COLUMNS if name not in frame.columns]
    if missing:
        raise InputError(
            "not a tidy table", expected=f"columns {', '.join(TIDY_COLUMNS)}", found=f"no {', '.join(missing)}"
        )
    values: dict[_Key, float] = {}
    columns = [frame[name].tolist() for name in TIDY_COLUMNS]
    for number, fields in enumerate(zip(*columns, strict=True), start=1):
        _enter(values, fields[:5], float(fields[5]), f"tidy table: row {number}")
    return _framed(values)


def metrics_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the metrics of a tidy table in the order of `METRICS`."""
    present = set(frame["metric"].unique())
    return tuple(metric for metric in METRICS if metric in present)


def write_tidy_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a tidy table, whole or not at all: as many digits as give the same number back, lines end in LF.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(TIDY_COLUMNS)
    for *names, value in zip(*(frame[name].tolist() for name in TIDY_COLUMNS), strict=True):
        writer.writerow([*names, "" if math.isnan(value) else repr(float(value))])
    write_text(path, buffer.getvalue())


def read_tidy_csv(path: str | Path) -> pd.DataFrame:
    """Read a file of `write_tidy_csv`; rows may come in any order.

    Raises
    ------
    InputError
        The file cannot be read; the header is not `TIDY_COLUMNS`; a row has too few or too many fields, a value that
        is neither empty nor a finite number, or an unknown ear, stem or metric; a row stands twice; there are none.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError("not a tidy table", where=path, expected="CSV in UTF-8", found=str(error)) from error
    if not lines or tuple(lines[0]) != TIDY_COLUMNS:
        found = ",".join(lines[0]) if lines else "an empty file"
        raise InputError("wrong header", where=path, expected=",".join(TIDY_COLUMNS), found=found)
    values: dict[_Key, float] = {}
    for number, fields in enumerate(lines[1:], start=1):
        where = f"{path}: row {number}"
        if len(fields) != len(TIDY_COLUMNS):
            raise InputError("wrong number of fields", where=where, expected=len(TIDY_COLUMNS), found=len(fields))
        _enter(values, fields[:5], _number(fields[5] or None, where), where)
    return _framed(values, where=path)


def _rows_of(result: Mapping[str, Any]) -> Iterable[tuple[_Key, float]]:
    where = "results of a pair"
    for field in ("song", "listener", "haaqi"):
        if field not in result:
            raise InputError(f"field {field} is missing", where=where, found=", ".join(map(str, result)) or "nothing")
    song, listener = str(result["song"]), str(result["listener"])
    where = f"results of {song!r} for {listener}"
    channels = {channel_name(ear, stem): (ear, stem) for ear in EARS for stem in STEMS}
    for metric in METRICS:
        values = result.get(metric)
        if values is None and metric != "haaqi":
            continue
        if not isinstance(values, Mapping):
            raise InputError("wrong contents", where=f"{where}: {metric}", expected="a number per channel")
        odd = sorted(set(channels) ^ set(values))
        if odd:
            raise InputError(
                "wrong channels", where=f"{where}: {metric}", expected=", ".join(channels), found=f"odd: {odd[0]}"
            )
        for channel, (ear, stem) in channels.items():
            yield (song, listener, ear, stem, metric), _number(values[channel], f"{where}: {metric}: {channel}")


def _number(value: Any, where: str) -> float:
    """Return a finite float, or NaN for what is not defined."""
    if value is None:
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError("not a number", where=where, expected="a number or nothing", found=repr(value)) from None
    if not math.isfinite(number) and not isinstance(value, float):
        raise InputError("not a number", where=where, expected="a finite number or nothing", found=repr(value))
    return number if math.isfinite(number) else math.nan


def _enter(values: dict[_Key, float], names: Sequence[str], value: float, where: str) -> None:
    song, listener, ear, stem, metric = (str(name) for name in names)
    for kind, name, known in (("ear", ear, EARS), ("stem", stem, STEMS), ("metric", metric, METRICS)):
        if name not in known:
            raise unknown_name(kind, name, known, where=where)
    key = (song, listener, ear, stem, metric)
    if key in values:
        raise InputError("row stands twice", where=where, expected="each once", found=", ".join(key))
    values[key] = value


def _framed(values: Mapping[_Key, float], *, where: str | Path | None = None) -> pd.DataFrame:
    import pandas as pd

    if not values:
        raise InputError("no scores", where=where, expected="at least one scored pair")
    keys = sorted(values, key=lambda key: (key[0], key[1], _RANK[key[2]], _RANK[key[3]], _RANK[key[4]]))
    columns: dict[str, list[Any]] = {
        name: list(column) for name, column in zip(TIDY_COLUMNS, zip(*keys, strict=True), strict=False)
    }
    return pd.DataFrame({**columns, "value": [values[key] for key in keys]})


def _pair_name(key: _Key) -> str:
    return f"{key[0]!r} for {key[1]}"
