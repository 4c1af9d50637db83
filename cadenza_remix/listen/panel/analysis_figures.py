"""Figures of a listening test: ratings and preference shares with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cadenza_remix.errors import InputError
from cadenza_remix.listen.panel.analysis import Analysis
from cadenza_remix.listen.panel.answer_table import is_control, stimulus_name
from cadenza_remix.report.figures.style import (
    DPI,
    PAGE_WIDTH_IN,
    FigureFile,
    mark_style,
    plain_axes,
    saved_figure,
    shortened,
)
from cadenza_remix.report.statistics import extremes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CONTROL_STYLE: dict[str, Any] = {
    "color": "0.2",
    "marker": "|",
    "markersize": 7.0,
    "markeredgewidth": 1.6,
}
_MOST_LETTERS = 28


def plot_means(analysis: Analysis, file: FigureFile, *, form: str | None = None, dpi: int = DPI) -> None:
    """Draw the mean of each system with its interval, over quartiles and median; a panel for each scale.

    Hidden reference and anchors are grey and have a bar for a mark.

    Parameters
    ----------
    analysis : Analysis
        Of a test with ratings.
    file, form, dpi
        As for `cadenza_remix.report.figures.style.saved_figure`.

    Raises
    ------
    InputError
        An A/B test: it has no means.
    OutputError
        The file cannot be written.
    """
    rows = analysis.means[analysis.means["factor"] == "all"]
    if rows.empty:
        raise InputError("no ratings to draw", where=analysis.answers.title, expected="a test of type mushra or scales")
    scales, stimuli = analysis.answers.scales, analysis.answers.stimuli
    n_columns = min(len(scales), 3 if len(scales) > 4 else 2)
    n_rows = math.ceil(len(scales) / n_columns)
    height_in = 0.55 + n_rows * (0.6 + 0.3 * len(stimuli))
    with saved_figure(file, width_in=PAGE_WIDTH_IN, height_in=height_in, form=form, dpi=dpi) as figure:
        panels = _panels(figure, n_rows, n_columns, len(scales))
        for scale, axes in zip(scales, panels, strict=True):
            axes.set_title(_sentence(analysis.answers.label(scale)), loc="left")
            _draw_means(axes, rows[rows["scale"] == scale], stimuli)
            axes.set_yticks(range(len(stimuli)), [shortened(stimulus_name(name), _MOST_LETTERS) for name in stimuli])
            axes.set_ylim(len(stimuli) - 0.4, -0.6)
            axes.set_xlim(0, 100)
            axes.set_xticks(range(0, 101, 20))
        n_assessors, n_songs = (int(rows[name].max()) for name in ("n_assessors", "n_songs"))
        counts = f"assessors: {n_assessors}, songs: {n_songs}"
        figure.supxlabel(f"Mean and 95 % interval; grey: quartiles and median ({counts})", fontsize=8)


def plot_preferences(analysis: Analysis, file: FigureFile, *, form: str | None = None, dpi: int = DPI) -> None:
    """Draw how often each system was preferred to the one it was compared with.

    Of A/B tests a panel for each system: over all, by hearing loss, by song (of more than twelve the five lowest and
    highest). Of other tests a panel for each scale: how often a system was rated above the other one. Full marks have
    an interval that leaves out 50 %.

    Parameters
    ----------
    analysis : Analysis
    file, form, dpi
        As for `cadenza_remix.report.figures.style.saved_figure`.

    Raises
    ------
    InputError
        Nothing was compared.
    OutputError
        The file cannot be written.
    """
    table = analysis.preference
    if table.empty:
        raise InputError("no preferences to draw", where=analysis.answers.title, expected="a system to compare with")
    is_ab = analysis.answers.type == "ab"
    by = "system" if is_ab else "scale"
    groups = {str(name): _rows_of(table[table[by] == name], is_ab=is_ab) for name in dict.fromkeys(table[by])}
    heights = [len(rows) + 1.3 for rows in groups.values()]
    height_in = 0.6 + 0.19 * sum(heights)
    with saved_figure(file, width_in=PAGE_WIDTH_IN, height_in=height_in, form=form, dpi=dpi) as figure:
        grid = figure.subplots(len(groups), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
        for axes, (name, rows) in zip(grid[:, 0], groups.items(), strict=True):
            title = name if is_ab else _sentence(analysis.answers.label(name))
            axes.set_title(shortened(title, 60), loc="left")
            _draw_shares(axes, rows)
        word = "Preferred to" if is_ab else "Rated above"
        axes.set_xlabel(f"{word} {analysis.against} (%, ties as half), with 95 % interval")
        axes.set_xlim(0, 100)
        axes.set_xticks(range(0, 101, 10))


def _panels(figure: Figure, n_rows: int, n_columns: int, n_panels: int) -> list[Axes]:
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[n_panels:]:
        axes.set_visible(False)
    for axes in grid.flat[:n_panels]:
        axes.tick_params(axis="y", length=0)
        plain_axes(axes, grid="x")
        axes.spines["left"].set_visible(False)
    for axes in grid.flat[max(0, n_panels - n_columns) : n_panels]:
        axes.tick_params(labelbottom=True)
    return list(grid.flat[:n_panels])


def _draw_means(axes: Axes, rows: pd.DataFrame, stimuli: Sequence[str]) -> None:
    systems = [name for name in stimuli if not is_control(name)]
    for row in rows.to_dict("records"):
        place, name = stimuli.index(row["system"]), row["system"]
        style = _CONTROL_STYLE if is_control(name) else mark_style(systems.index(name), size=5.5)
        axes.barh(place, row["quartile_3"] - row["quartile_1"], 0.5, left=row["quartile_1"], color="0.90", zorder=1)
        axes.vlines(row["median"], place - 0.25, place + 0.25, color="0.65", linewidth=1.2, zorder=1.5)
        if row["low"] == row["low"]:
            axes.hlines(place, row["low"], row["high"], color="0.2", linewidth=1.5, zorder=2)
        axes.plot(row["mean"], place, linestyle="none", zorder=3, clip_on=False, **style)
        axes.annotate(
            f"{row['mean']:.0f}",
            (row["mean"], place),
            xytext=(0, 5.5),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=6.5,
        )


def _rows_of(rows: pd.DataFrame, *, is_ab: bool) -> list[tuple[str, dict[Any, Any]]]:
    """Return label and row of each line of a panel."""
    if not is_ab:
        whole = rows[rows["factor"] == "all"].to_dict("records")
        return [(shortened(row["system"], _MOST_LETTERS), row) for row in whole]
    lines = []
    for factor in ("all", "severity", "song"):
        part = rows[rows["factor"] == factor]
        if factor != "all" and len(part) < 2:
            continue
        for row in (row for some in extremes(part, "share", title="")[1] for row in some.to_dict("records")):
            label = "over all" if factor == "all" else f"{factor}: {row['level']}".replace("severity", "hearing loss")
            lines.append((shortened(label, _MOST_LETTERS + 8), row))
    return lines


def _draw_shares(axes: Axes, lines: Sequence[tuple[str, dict[Any, Any]]]) -> None:
    plain_axes(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.axvline(50, color="black", linewidth=0.8)
    style = mark_style(0)
    for place, (_, row) in enumerate(lines):
        share, low, high = (100 * row[name] for name in ("share", "low", "high"))
        weight = 2.0 if row["factor"] == "all" else 1.1
        if low == low:
            axes.hlines(place, low, high, color=style["color"], linewidth=weight)
        face = style["color"] if low > 50 or high < 50 else "white"
        axes.plot(share, place, zorder=3, clip_on=False, **{**style, "markerfacecolor": face})
        axes.annotate(
            f"{share:.0f} %  ({row['n_for']} for, {row['n_ties']} ties, {row['n_against']} against)",
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
        )
    axes.set_yticks(range(len(lines)), [label for label, _ in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
