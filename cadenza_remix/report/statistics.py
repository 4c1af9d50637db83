"""Means of the scores by stem, ear, hearing loss, genre, listener and song, with confidence intervals.

A mean is the plain mean of all values of a group that are defined. Its interval comes from resampling songs and
listeners, since the values of one song or of one listener are not independent: see `cadenza_remix.report.bootstrap` for
the method and its sources. Stems and ears are not resampled: they are always these.

Groups (``factor``): ``all``; ``stem``; ``ear``; ``stem_ear`` (level ``left_vocals``); ``severity``, the WHO grade of
the ear that a value belongs to; ``severity_better_ear``, the grade of the listener's better ear, as challenges group
people; ``genre``; ``listener``; ``song``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cadenza_remix.atomic import atomic_path
from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.challenge.metadata import SongEntry
from cadenza_remix.challenge.naming import channel_name
from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.hearing.severity import GRADES, ear_grade, listener_grade
from cadenza_remix.report.bootstrap import CONFIDENCE, N_RESAMPLES, SEED, check_settings, cluster_interval
from cadenza_remix.report.tidy import METRICS, metrics_of, sorted_tidy

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from cadenza_remix.report.published import PublishedResults

FACTORS = ("all", "stem", "ear", "stem_ear", "severity", "severity_better_ear", "genre", "listener", "song")
STATISTICS_COLUMNS = (
    "metric",
    "factor",
    "level",
    "n_songs",
    "n_listeners",
    "n_values",
    "mean",
    "sd",
    "low",
    "high",
)
NO_GENRE = "(not given)"
MOST_LEVELS = 12
"""Of more listeners or songs than this only the extremes are printed; the CSV file has all."""

FEW_CLUSTERS = 5
"""Intervals from fewer songs or listeners than this hold the mean less often than they claim (see `bootstrap`)."""

_EXTREMES = 5
_LEVEL_ORDER: dict[str, tuple[str, ...]] = {
    "stem": STEMS,
    "ear": EARS,
    "stem_ear": tuple(channel_name(ear, stem) for stem in STEMS for ear in EARS),
    "severity": GRADES,
    "severity_better_ear": GRADES,
}
_TITLES = {
    "stem": "stem",
    "severity": "hearing loss of the ear",
    "severity_better_ear": "hearing loss of the better ear",
    "genre": "genre",
    "listener": "listener",
    "song": "song",
}


def summarise(
    tidy: pd.DataFrame,
    *,
    listeners: Mapping[str, Listener] | None = None,
    songs: Sequence[SongEntry] | None = None,
    metric: str | None = None,
    n_resamples: int = N_RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> pd.DataFrame:
    """Return the mean of each group of scores with its confidence interval.

    Parameters
    ----------
    tidy : pandas.DataFrame
        As `cadenza_remix.report.tidy.tidy_frame` gives it; the order of the rows does not matter.
    listeners : mapping of str to Listener, optional
        Adds the groups by severity. Must hold every listener of the table.
    songs : sequence of SongEntry, optional
        Adds the groups by genre. Must hold every song of the table.
    metric : str, optional
        One of `METRICS`; all that the table holds otherwise.
    n_resamples, confidence, seed
        See `cadenza_remix.report.bootstrap.cluster_interval`.

    Returns
    -------
    pandas.DataFrame
        Columns `STATISTICS_COLUMNS`; factors in the order of `FACTORS`. ``sd`` is the standard deviation of the values
        (divisor n - 1). A group in which no value is defined has ``n_values`` 0 and NaN.

    Raises
    ------
    InputError
        No table of scores, a metric that it does not hold, an unknown listener or song, impossible settings.
    """
    import pandas as pd

    def describe(group: pd.DataFrame) -> dict[str, Any]:
        values = group["value"].to_numpy(dtype=np.float64)
        interval = cluster_interval(
            values,
            group["song_code"],
            group["listener_code"],
            n_resamples=n_resamples,
            confidence=confidence,
            seed=seed,
        )
        return {
            "n_values": len(values),
            "mean": values.mean() if len(values) else np.nan,
            "sd": values.std(ddof=1) if len(values) > 1 else np.nan,
            "low": interval.low,
            "high": interval.high,
        }

    check_settings(n_resamples, confidence)
    table = with_factors(tidy, listeners=listeners, songs=songs)
    rows = [row for name in _wanted_metrics(table, metric) for row in group_rows(table, name, describe)]
    return pd.DataFrame(rows, columns=list(STATISTICS_COLUMNS))


def with_factors(
    tidy: pd.DataFrame, *, listeners: Mapping[str, Listener] | None, songs: Sequence[SongEntry] | None
) -> pd.DataFrame:
    """Return a tidy table in its order with a column for every factor that is known, and codes of songs and listeners.

    Raises
    ------
    InputError
        No tidy table, or a listener or song that is in the table and not in what describes them.
    """
    import pandas as pd

    table = sorted_tidy(tidy)
    table["all"] = "all"
    table["stem_ear"] = [channel_name(ear, stem) for ear, stem in zip(table["ear"], table["stem"], strict=True)]
    if listeners is not None:
        for name in table["listener"].unique():
            if name not in listeners:
                raise unknown_name("listener", name, listeners, where="scores")
        by_ear = {
            (name, ear): ear_grade(listeners[name].ear(ear)) for name in table["listener"].unique() for ear in EARS
        }
        by_person = {name: listener_grade(listeners[name]) for name in table["listener"].unique()}
        table["severity"] = [by_ear[key] for key in zip(table["listener"], table["ear"], strict=True)]
        table["severity_better_ear"] = table["listener"].map(by_person)
    if songs is not None:
        genres = {song.name: song.genre or NO_GENRE for song in songs}
        for name in table["song"].unique():
            if name not in genres:
                raise InputError(
                    "song is not in the song list", where="scores", expected="every song", found=repr(name)
                )
        table["genre"] = table["song"].map(genres)
    for name in ("song", "listener"):
        table[f"{name}_code"] = pd.factorize(table[name], sort=True)[0]
    return table


def group_rows(
    table: pd.DataFrame, metric: str, describe: Callable[[pd.DataFrame], dict[str, Any]]
) -> Iterable[dict[str, Any]]:
    """Yield a row for each group of one metric: its names, how many songs and listeners, and what ``describe`` finds.

    ``table`` is one of `with_factors`; ``describe`` gets the rows of the group that have a value.
    """
    chosen = table[table["metric"] == metric]
    for factor in (name for name in FACTORS if name in chosen.columns):
        groups = dict(tuple(chosen.groupby(factor, sort=True)))
        for level in sorted(groups, key=lambda level: _level_rank(factor, str(level))):
            group = groups[level]
            group = group[group["value"].notna()]
            yield {
                "metric": metric,
                "factor": factor,
                "level": str(level),
                "n_songs": group["song"].nunique(),
                "n_listeners": group["listener"].nunique(),
                **describe(group),
            }


def write_statistics_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a frame of `summarise` as CSV with six decimals, whole or not at all; what is not defined stays empty.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n", encoding="utf-8")


def print_statistics(
    frame: pd.DataFrame,
    console: Console,
    published: PublishedResults | None = None,
    *,
    confidence: float = CONFIDENCE,
) -> None:
    """Print a frame of `summarise`; fits 80 columns.

    A section for each factor: HAAQI with its interval, for all and for the stems each ear apart, mean SNR and SDR. Of
    more than twelve listeners or songs only the five lowest and the five highest.

    Parameters
    ----------
    frame : pandas.DataFrame
        With or without SNR and SDR; it must hold HAAQI.
    console : rich.console.Console
    published : PublishedResults, optional
        Printed below, with the words that say what it is not comparable with.
    confidence : float
        What `summarise` was given.

    Raises
    ------
    InputError
        The frame holds no HAAQI.
    """
    from rich import box
    from rich.table import Table

    haaqi = frame[frame["metric"] == "haaqi"]
    if haaqi.empty:
        raise InputError("no HAAQI to print", expected="a summary of HAAQI", found=", ".join(frame["metric"].unique()))
    table = Table(
        title=f"HAAQI (0 to 1): mean and {100 * confidence:g} % confidence interval",
        caption=f"{interval_note(haaqi)} SNR and SDR: means of the stems in dB.",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", overflow="fold", min_width=12)
    for heading in ("HAAQI\n[interval]", "left\near", "right\near", "songs x\nlisteners", "SNR\ndB", "SDR\ndB"):
        table.add_column(heading, justify="right", no_wrap=True)
    _add_rows(table, frame, haaqi[haaqi["factor"] == "all"])
    for factor, title in _TITLES.items():
        rows = haaqi[haaqi["factor"] == factor]
        if len(rows):
            _add_factor(table, frame, rows, title)
    console.print(table)
    if published is not None:
        from cadenza_remix.report.published import print_published

        print_published(console, published)


def shown_interval(mean: float, low: float, high: float, *, signed: bool = False, few: bool = False) -> str:
    """Return a mean with its interval for the screen; ``-`` for what is not defined, ``*`` after one from too few.

    Examples
    --------
    >>> shown_interval(0.5, 0.4, 0.61), shown_interval(0.5, 0.4, 0.61, few=True)
    ('0.500 [0.400, 0.610]', '0.500 [0.400, 0.610]*')
    >>> shown_interval(-0.25, float("nan"), float("nan"), signed=True)
    '-0.250 [-]'
    """
    sign = "+" if signed else ""
    if mean != mean:
        return "-"
    if low != low or high != high:
        return f"{mean:{sign}.3f} [-]"
    return f"{mean:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]{'*' if few else ''}"


def is_from_few(row: Mapping[Any, Any]) -> bool:
    """Tell whether the interval of a group was made by resampling fewer than five songs or listeners."""
    return any(1 < row[name] < FEW_CLUSTERS for name in ("n_songs", "n_listeners"))


def interval_note(rows: pd.DataFrame) -> str:
    """Say what the intervals of a summary of one metric stand for: what was resampled, and which to distrust."""
    whole = rows[rows["factor"] == "all"].iloc[0]
    resampled = [name for name in ("songs", "listeners") if whole[f"n_{name}"] > 1]
    if not resampled:
        return "No intervals: one song for one listener."
    note = f"Intervals: {' and '.join(resampled)} resampled."
    if any(is_from_few(row) for row in rows.to_dict("records")):
        note += f" * fewer than {FEW_CLUSTERS} of them: too narrow."
    return note


def extremes(rows: pd.DataFrame, column: str, *, title: str) -> tuple[str, list[pd.DataFrame]]:
    """Return a heading and the rows to print: all of them, or where there are many the lowest and the highest five."""
    import pandas as pd

    if len(rows) <= MOST_LEVELS:
        return title, [rows]
    ranked = rows.sort_values(column, kind="stable")
    heading = f"{title}: lowest and highest {_EXTREMES} of {len(rows)}"
    return heading, [pd.DataFrame(ranked.head(_EXTREMES)), pd.DataFrame(ranked.tail(_EXTREMES))]


def _wanted_metrics(table: pd.DataFrame, metric: str | None) -> tuple[str, ...]:
    present = metrics_of(table)
    if metric is None:
        return present
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    if metric not in present:
        raise InputError(f"{metric} is not in the table", where="scores", expected=metric, found=", ".join(present))
    return (metric,)


def _level_rank(factor: str, level: str) -> tuple[int, str]:
    order = _LEVEL_ORDER.get(factor, ())
    return (order.index(level) if level in order else len(order), level)


def _add_factor(table: Table, frame: pd.DataFrame, rows: pd.DataFrame, title: str) -> None:
    table.add_section()
    heading, parts = extremes(rows, "mean", title=f"by {title}")
    table.add_row(heading, style="italic")
    for place, part in enumerate(parts):
        if place:
            table.add_row("  ...")
        _add_rows(table, frame, part, indent="  ")


def _add_rows(table: Table, frame: pd.DataFrame, rows: pd.DataFrame, indent: str = "") -> None:
    from rich.markup import escape

    means = {(m, f, v): x for m, f, v, x in frame[["metric", "factor", "level", "mean"]].itertuples(index=False)}
    for row in rows.to_dict("records"):
        factor, level = row["factor"], row["level"]
        if factor in ("all", "stem"):
            keys = [("ear", ear) if factor == "all" else ("stem_ear", channel_name(ear, level)) for ear in EARS]
            ears = [_shown(means.get(("haaqi", *key), np.nan), 3) for key in keys]
        else:
            ears = ["", ""]
        table.add_row(
            f"{indent}{escape(level)}",
            escape(shown_interval(row["mean"], row["low"], row["high"], few=is_from_few(row))),
            *ears,
            f"{row['n_songs']} x {row['n_listeners']}",
            *(_shown(means.get((name, factor, level), np.nan), 1) for name in ("snr_db", "sdr_db")),
        )


def _shown(value: float, decimals: int) -> str:
    return "-" if value != value else f"{value:.{decimals}f}"
