"""Means with their intervals by stem, ear, hearing loss, genre, listener or song; and every listener's own row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.severity import GRADES, better_ear_average, listener_grade
from cadenza_remix.report.figures.style import (
    DPI,
    PAGE_WIDTH_IN,
    FigureFile,
    add_legend,
    mark_style,
    plain_axes,
    saved_figure,
    series_numbers,
    shortened,
)
from cadenza_remix.report.statistics import FACTORS, MOST_LEVELS
from cadenza_remix.report.tidy import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from cadenza_remix.hearing.audiogram import Listener

AXIS_LABELS = {"haaqi": "HAAQI (0 to 1, higher is better)", "snr_db": "SNR (dB)", "sdr_db": "SDR (dB)"}
"""What stands at the axis of each metric."""

_MOST_NAMED_ROWS = 60
_NAME_LENGTH = 34


def plot_factor(
    statistics: Mapping[str, pd.DataFrame],
    factor: str,
    path: FigureFile,
    *,
    metric: str = "haaqi",
    form: str | None = None,
    dpi: int = DPI,
) -> None:
    """Draw the mean of each level of a factor with its confidence interval, systems one below the other in each row.

    Parameters
    ----------
    statistics : mapping of str to pandas.DataFrame
        By name of the system, as `cadenza_remix.report.statistics.summarise` gives them.
    factor : str
        One of `FACTORS` that one of the frames holds. Of more than twelve levels (listeners, songs) those six are drawn
        that have the lowest means of the first system, and the six with the highest.
    path : path or binary file
        PNG or SVG; ``form`` and ``dpi`` as for `cadenza_remix.report.figures.style.saved_figure`.
    metric : str
        One of `METRICS`.

    Raises
    ------
    InputError
        An unknown factor or metric, or none of the frames holds it; a file that is neither PNG nor SVG.
    OutputError
        The file cannot be written.
    """
    if factor not in FACTORS:
        raise unknown_name("factor", factor, FACTORS)
    _check_metric(metric)
    chosen = {
        name: frame[(frame["factor"] == factor) & (frame["metric"] == metric) & (frame["n_values"] > 0)]
        for name, frame in statistics.items()
    }
    levels = _factor_levels(list(chosen.values()))
    if not levels:
        found = ", ".join(sorted({str(held) for frame in statistics.values() for held in frame["factor"].unique()}))
        raise InputError(f"no {metric} by {factor} to draw", expected="statistics that hold it", found=found or "none")
    row_in = 0.16 + 0.1 * len(chosen)
    height_in = 0.85 + row_in * len(levels)
    with saved_figure(path, width_in=PAGE_WIDTH_IN, height_in=height_in, form=form, dpi=dpi) as figure:
        axes = figure.subplots()
        step = 0.7 / len(chosen)
        for place, (name, number) in enumerate(series_numbers(chosen).items()):
            rows = chosen[name]
            rows = rows[rows["level"].isin(levels)]
            places = np.array([levels.index(level) for level in rows["level"]], dtype=float)
            places += (place - (len(chosen) - 1) / 2) * step
            style = mark_style(number)
            means, lows, highs = (rows[column].to_numpy(dtype=np.float64) for column in ("mean", "low", "high"))
            axes.hlines(places, lows, highs, color=style["color"], linewidth=1.5)
            axes.plot(means, places, linestyle="none", label=name, zorder=3, **style)
        _finish_rows(axes, [shown_level(factor, level) for level in levels], AXIS_LABELS[metric])
        if len(chosen) > 1:
            add_legend(figure, [axes])


def plot_listeners(
    scores: Mapping[str, pd.DataFrame],
    path: FigureFile,
    *,
    metric: str = "haaqi",
    listeners: Mapping[str, Listener] | None = None,
    form: str | None = None,
    dpi: int = DPI,
) -> None:
    """Draw a row for each listener with the mean of each system in it, joined by a thin line.

    Rows are in the order of the hearing loss of the better ear, the least on top; without audiograms in that of the
    first system's means, the highest on top. With more than sixty listeners the rows lose their names.

    Parameters
    ----------
    scores : mapping of str to pandas.DataFrame
        Tidy tables (`cadenza_remix.report.tidy`) by name of the system. A mean is that of the values that are defined.
    path : path or binary file
        PNG or SVG; ``form`` and ``dpi`` as for `cadenza_remix.report.figures.style.saved_figure`.
    metric : str
        One of `METRICS`.
    listeners : mapping of str to Listener, optional
        Orders the rows and adds the grade of the hearing loss to each name. Must hold every listener of the tables.

    Raises
    ------
    InputError
        An unknown metric or listener; no values; a file that is neither PNG nor SVG.
    OutputError
        The file cannot be written.
    """
    _check_metric(metric)
    means: dict[str, dict[str, float]] = {}
    for name, tidy in scores.items():
        rows = tidy[(tidy["metric"] == metric) & tidy["value"].notna()]
        means[name] = {str(key): float(value) for key, value in rows.groupby("listener")["value"].mean().items()}
    names = _ordered_listeners(means, listeners)
    if not names:
        raise InputError(f"no {metric} to draw", where="plot_listeners", expected="scores that hold it")
    height_in = 0.85 + (0.19 * len(names) if len(names) <= _MOST_NAMED_ROWS else 8.0)
    with saved_figure(path, width_in=PAGE_WIDTH_IN, height_in=height_in, form=form, dpi=dpi) as figure:
        axes = figure.subplots()
        for place, listener in enumerate(names):
            held = [values[listener] for values in means.values() if listener in values]
            axes.hlines(place, min(held), max(held), color="0.6", linewidth=0.9, zorder=1)
        size = 5.0 if len(names) <= _MOST_NAMED_ROWS else max(1.5, 5.0 * _MOST_NAMED_ROWS / len(names))
        for name, number in series_numbers(means).items():
            values = means[name]
            shown = [(values[listener], place) for place, listener in enumerate(names) if listener in values]
            axes.plot(*np.array(shown).reshape(-1, 2).T, linestyle="none", label=name, **mark_style(number, size=size))
        labels = [_listener_label(name, listeners) for name in names] if len(names) <= _MOST_NAMED_ROWS else None
        _finish_rows(axes, labels, AXIS_LABELS[metric], n_rows=len(names))
        if labels is None:
            order = "least to greatest hearing loss" if listeners is not None else "highest to lowest"
            axes.set_ylabel(f"{len(names)} listeners, {order}")
        if len(means) > 1:
            add_legend(figure, [axes])


def shown_level(factor: str, level: str) -> str:
    """Return a level as it is shown in a figure.

    Examples
    --------
    >>> shown_level("stem_ear", "left_vocals"), shown_level("severity", "mild")
    ('vocals, left ear', 'mild loss (ear)')
    """
    if factor == "stem_ear":
        ear, stem = level.split("_", maxsplit=1)
        return f"{stem}, {ear} ear"
    if factor in ("severity", "severity_better_ear"):
        words = "hearing" if level == GRADES[0] else "loss"
        return f"{level} {words} ({'better ' if factor == 'severity_better_ear' else ''}ear)"
    if factor == "ear":
        return f"{level} ear"
    return shortened("all values" if factor == "all" else level, _NAME_LENGTH)


def _check_metric(metric: str) -> None:
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)


def _factor_levels(frames: Sequence[pd.DataFrame]) -> list[str]:
    """Return the levels to draw in the order of the frames; of many, those with the lowest and highest means."""
    levels = list(dict.fromkeys(str(level) for frame in frames for level in frame["level"]))
    if len(levels) <= MOST_LEVELS:
        return levels
    means: dict[str, float] = {}
    for frame in frames:
        for level, mean in zip(frame["level"], frame["mean"], strict=True):
            means.setdefault(str(level), float(mean))
    ranked = sorted(levels, key=lambda level: -means[level])
    half = MOST_LEVELS // 2
    return [*ranked[:half], *ranked[-half:]]


def _ordered_listeners(means: Mapping[str, Mapping[str, float]], listeners: Mapping[str, Listener] | None) -> list[str]:
    names = list(dict.fromkeys(name for values in means.values() for name in values))
    if listeners is None:
        first = {name: next(values[name] for values in means.values() if name in values) for name in names}
        return sorted(names, key=lambda name: (-first[name], name))
    for name in names:
        if name not in listeners:
            raise unknown_name("listener", name, listeners, where="scores")
    return sorted(names, key=lambda name: (better_ear_average(listeners[name]), name))


def _listener_label(name: str, listeners: Mapping[str, Listener] | None) -> str:
    return name if listeners is None else f"{name} ({listener_grade(listeners[name])})"


def _finish_rows(axes: Axes, labels: Sequence[str] | None, axis_label: str, *, n_rows: int | None = None) -> None:
    """Set up axes whose rows are named and run downwards."""
    n_rows = n_rows if labels is None else len(labels)
    assert n_rows is not None
    axes.set_yticks(range(n_rows) if labels is not None else [], labels if labels is not None else [])
    axes.set_ylim(n_rows - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(axis_label)
    plain_axes(axes, grid="x")
    if labels is not None and n_rows <= _MOST_NAMED_ROWS:
        axes.hlines(np.arange(1, n_rows) - 0.5, 0, 1, transform=axes.get_yaxis_transform(), color="0.9", linewidth=0.6)
