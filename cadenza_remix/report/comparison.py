"""Two systems on the same songs and listeners: paired differences with confidence intervals.

Everything is said of *this* system against the *other* one, and a difference is this minus other. Only values that both
have (same song, listener, ear and stem) are compared: means over different songs say nothing about systems. Intervals
are those of `cadenza_remix.report.bootstrap`, of the differences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cadenza_remix.atomic import atomic_path
from cadenza_remix.challenge.metadata import SongEntry
from cadenza_remix.challenge.scores import SCORE_COLUMNS, read_scores
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.report.bootstrap import CONFIDENCE, N_RESAMPLES, SEED, check_settings, cluster_interval
from cadenza_remix.report.statistics import (
    extremes,
    group_rows,
    interval_note,
    is_from_few,
    shown_interval,
    with_factors,
)
from cadenza_remix.report.tidy import (
    METRICS,
    TIDY_COLUMNS,
    metrics_of,
    read_tidy_csv,
    sorted_tidy,
    tidy_from_scores,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

COMPARISON_COLUMNS = (
    "metric",
    "factor",
    "level",
    "n_songs",
    "n_listeners",
    "n_values",
    "mean_this",
    "mean_other",
    "difference",
    "low",
    "high",
    "share_higher",
)

_KEY = ["song", "listener", "ear", "stem", "metric"]
_TITLES = {
    "all": "",
    "listener": "by listener",
    "stem": "by stem",
    "severity": "by hearing loss of the ear",
    "genre": "by genre",
    "song": "by song",
}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Paired differences of two systems.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `COMPARISON_COLUMNS`, a row for each group as in `cadenza_remix.report.statistics`. ``n_values`` pairs
        of values; ``share_higher`` is the share of them in which this system's is the higher one (equal ones are not).
    n_common, n_only_this, n_only_other : int
        Pairs of song and listener that both have, that only this system has, that only the other one has.
    """

    table: pd.DataFrame
    n_common: int
    n_only_this: int
    n_only_other: int


def compare(
    this: pd.DataFrame,
    other: pd.DataFrame,
    *,
    listeners: Mapping[str, Listener] | None = None,
    songs: Sequence[SongEntry] | None = None,
    n_resamples: int = N_RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> Comparison:
    """Compare two systems value by value.

    Parameters
    ----------
    this, other : pandas.DataFrame
        Tidy tables; metrics that only one of them holds are left out.
    listeners, songs, n_resamples, confidence, seed
        As for `cadenza_remix.report.statistics.summarise`.

    Raises
    ------
    InputError
        The two have no song and listener, or no metric, in common; and whatever `summarise` refuses.
    """
    import pandas as pd

    def describe(group: pd.DataFrame) -> dict[str, Any]:
        difference = group["value"].to_numpy(dtype=np.float64)
        interval = cluster_interval(
            difference,
            group["song_code"],
            group["listener_code"],
            n_resamples=n_resamples,
            confidence=confidence,
            seed=seed,
        )
        return {
            "n_values": len(group),
            "mean_this": group["value_this"].mean(),
            "mean_other": group["value_other"].mean(),
            "difference": difference.mean() if len(difference) else np.nan,
            "low": interval.low,
            "high": interval.high,
            "share_higher": (difference > 0).mean() if len(difference) else np.nan,
        }

    check_settings(n_resamples, confidence)
    this, other = sorted_tidy(this), sorted_tidy(other)
    pairs_this, pairs_other = _pairs(this), _pairs(other)
    if not pairs_this & pairs_other:
        raise InputError(
            "the two systems have no song and listener in common",
            expected=f"some of {_named(pairs_this)}",
            found=_named(pairs_other),
        )
    joined = this.merge(other, on=_KEY, suffixes=("_this", "_other"))
    if joined.empty:
        found = " and ".join(", ".join(metrics_of(table)) for table in (this, other))
        raise InputError("the two systems have no values in common", expected="the same metrics", found=found)
    joined["value"] = joined["value_this"] - joined["value_other"]
    table = with_factors(joined, listeners=listeners, songs=songs)
    table = table.merge(joined.drop(columns="value"), on=_KEY, how="left", validate="one_to_one")
    rows = [row for metric in metrics_of(table) for row in group_rows(table, metric, describe)]
    return Comparison(
        table=pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS)),
        n_common=len(pairs_this & pairs_other),
        n_only_this=len(pairs_this - pairs_other),
        n_only_other=len(pairs_other - pairs_this),
    )


def read_other(path: str | Path) -> pd.DataFrame:
    """Read another system's scores as a tidy table: its header says which kind of file it is.

    Parameters
    ----------
    path : str or Path
        An official ``scores.csv``, one batch of it, or a tidy CSV file of this package.

    Raises
    ------
    InputError
        The file cannot be read, is neither, or is damaged.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            header = tuple(file.readline().strip().split(","))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=path) from error
    except UnicodeDecodeError as error:
        raise InputError("no scores", where=path, expected="CSV in UTF-8", found=f"byte {error.start}") from error
    if header == TIDY_COLUMNS:
        return read_tidy_csv(path)
    if header == SCORE_COLUMNS:
        rows = read_scores(path)
        if not rows:
            raise InputError("no scores", where=path, expected="at least one scored pair")
        return tidy_from_scores(rows)
    raise InputError(
        "no table of scores",
        where=path,
        expected=f"the columns {','.join(SCORE_COLUMNS)} or {','.join(TIDY_COLUMNS)}",
        found=",".join(header)[:120] or "an empty file",
    )


def write_comparison_csv(comparison: Comparison, path: str | Path) -> None:
    """Write the table of a comparison as CSV with six decimals, whole or not at all.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    with atomic_path(path) as temporary:
        comparison.table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n", encoding="utf-8")


def print_comparison(
    comparison: Comparison,
    console: Console,
    *,
    this: str = "this",
    other: str = "other",
    metric: str = "haaqi",
    confidence: float = CONFIDENCE,
) -> None:
    """Print the means side by side as entries report them, ``other -> this``, with the difference; fits 80 columns.

    Of more than twelve listeners or songs only those that lost most and those that gained most.

    Parameters
    ----------
    comparison : Comparison
    console : rich.console.Console
    this, other : str
        What to call the two systems.
    metric : str
        Which metric to print.
    confidence : float
        What `compare` was given.

    Raises
    ------
    InputError
        The comparison does not hold the metric.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    rows = comparison.table[comparison.table["metric"] == metric]
    if rows.empty:
        known = [name for name in METRICS if name in set(comparison.table["metric"])]
        raise InputError(f"no {metric} to print", expected="one of " + ", ".join(known))
    table = Table(
        title=f"{metric}: {escape(other)} -> {escape(this)}",
        caption=f"{_counts(comparison)}. {interval_note(rows)}",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", overflow="fold", min_width=12)
    for heading in (
        "other -> this",
        f"difference\n[{100 * confidence:g} % interval]",
        "higher in\nof values",
        "songs x\nlisteners",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for factor, title in _TITLES.items():
        chosen = rows[rows["factor"] == factor]
        if len(chosen):
            _add_section(table, chosen, title)
    console.print(table)


def _add_section(table: Any, rows: pd.DataFrame, title: str) -> None:
    from rich.markup import escape

    heading, parts = extremes(rows, "difference", title=title)
    if title:
        table.add_section()
        table.add_row(heading, style="italic")
    for place, part in enumerate(parts):
        if place:
            table.add_row("  ...")
        for row in part.to_dict("records"):
            defined = row["n_values"] > 0
            table.add_row(
                ("  " if title else "") + escape(row["level"]),
                f"{row['mean_other']:.3f} -> {row['mean_this']:.3f}" if defined else "-",
                escape(shown_interval(row["difference"], row["low"], row["high"], signed=True, few=is_from_few(row))),
                _share(row) if defined else "-",
                f"{row['n_songs']} x {row['n_listeners']}",
            )


def _share(row: Mapping[Any, Any]) -> str:
    """Return in how many of the values this system is higher; two systems that are the same there are not worse."""
    same = row["difference"] == row["low"] == row["high"] == row["share_higher"] == 0
    return "the same" if same else f"{100 * row['share_higher']:.0f} %"


def _counts(comparison: Comparison) -> str:
    caption = f"{comparison.n_common} pairs of song and listener in both"
    if comparison.n_only_this or comparison.n_only_other:
        caption += f"; left out: {comparison.n_only_this} only in this, {comparison.n_only_other} only in other"
    return caption


def _pairs(frame: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(frame["song"], frame["listener"], strict=True))


def _named(pairs: set[tuple[str, str]]) -> str:
    song, listener = min(pairs)
    return f"{len(pairs)} pairs such as {song!r} for {listener}"
