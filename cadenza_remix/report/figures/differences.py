"""Paired differences of two systems with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.report.figures.factors import shown_level
from cadenza_remix.report.figures.style import COLOURS, DPI, PAGE_WIDTH_IN, FigureFile, plain_axes, saved_figure
from cadenza_remix.report.statistics import FACTORS, FEW_CLUSTERS, extremes, is_from_few, shown_interval
from cadenza_remix.report.tidy import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from cadenza_remix.report.comparison import Comparison

DIFFERENCE_FACTORS = ("all", "stem", "ear", "severity", "genre", "listener", "song")
_UNITS = {"haaqi": "HAAQI", "snr_db": "SNR (dB)", "sdr_db": "SDR (dB)"}


def plot_differences(
    comparison: Comparison,
    path: FigureFile,
    *,
    this: str = "this",
    other: str = "other",
    metric: str = "haaqi",
    factors: Sequence[str] = DIFFERENCE_FACTORS,
    form: str | None = None,
    dpi: int = DPI,
) -> None:
    """Draw the mean paired difference of each group with its interval: to the right of zero, this system is higher.

    Full marks have an interval that leaves out zero, hollow ones do not (or have none). Of more than twelve listeners
    or songs the five lowest and the five highest differences are drawn.

    Parameters
    ----------
    comparison : Comparison
        From `cadenza_remix.report.comparison.compare`.
    path : path or binary file
        PNG or SVG; ``form`` and ``dpi`` as for `cadenza_remix.report.figures.style.saved_figure`.
    this, other : str
        What to call the two systems.
    metric : str
        One of `METRICS`.
    factors : sequence of str
        Groups to draw, of those that the comparison holds.

    Raises
    ------
    InputError
        An unknown factor or metric, nothing to draw; a file that is neither PNG nor SVG.
    OutputError
        The file cannot be written.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    for factor in factors:
        if factor not in FACTORS:
            raise unknown_name("factor", factor, FACTORS)
    table = comparison.table
    table = table[(table["metric"] == metric) & (table["n_values"] > 0)]
    groups = {factor: _rows_of(table[table["factor"] == factor]) for factor in factors}
    groups = {factor: rows for factor, rows in groups.items() if len(rows)}
    if not groups:
        raise InputError(f"no differences of {metric} to draw", where=f"{this} and {other}")
    n_rows = sum(len(rows) for rows in groups.values())
    height_in = 0.75 + 0.2 * n_rows + 0.08 * len(groups)
    with saved_figure(path, width_in=PAGE_WIDTH_IN, height_in=height_in, form=form, dpi=dpi) as figure:
        axes = figure.subplots()
        place, places, labels = 0.0, [], []
        for factor, rows in groups.items():
            for row in rows.to_dict("records"):
                _draw_row(axes, place, row)
                places.append(place)
                labels.append(shown_level(factor, str(row["level"])))
                place += 1
            place += 0.4
        axes.axvline(0.0, color="black", linewidth=0.8)
        axes.set_yticks(places, labels)
        axes.set_ylim(place - 0.9, -0.6)
        axes.tick_params(axis="y", length=0)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, -0.05 * (high - low)), max(high, 0.05 * (high - low)))
        axes.set_xlabel(f"Difference of {_UNITS[metric]}: {this} minus {other}{_note(groups.values())}")
        plain_axes(axes, grid="x")
        axes.spines["left"].set_visible(False)


def _rows_of(rows: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(extremes(rows, "difference", title="")[1]) if len(rows) else rows


def _note(groups: Iterable[pd.DataFrame]) -> str:
    if any(is_from_few(row) for rows in groups for row in rows.to_dict("records")):
        return f"\n* from fewer than {FEW_CLUSTERS} songs or listeners: too narrow"
    return ""


def _draw_row(axes: Axes, place: float, row: Mapping[Any, Any]) -> None:
    low, high, difference = (float(row[name]) for name in ("low", "high", "difference"))
    sure = bool(low > 0 or high < 0)
    if np.isfinite(low) and np.isfinite(high):
        axes.hlines(place, low, high, color=COLOURS[0], linewidth=1.6)
    face = COLOURS[0] if sure else "white"
    axes.plot(difference, place, "o", color=COLOURS[0], markerfacecolor=face, markersize=4.8, zorder=3, clip_on=False)
    axes.annotate(
        shown_interval(difference, low, high, signed=True, few=is_from_few(row)).replace("-", "\N{MINUS SIGN}"),
        (1.0, place),
        xycoords=("axes fraction", "data"),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=7,
    )
