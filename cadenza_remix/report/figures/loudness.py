"""Loudness, peaks and clipping of the mixture and of every system's remixes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cadenza_remix.errors import InputError
from cadenza_remix.report.figures.style import (
    DPI,
    PAGE_WIDTH_IN,
    FigureFile,
    mark_style,
    plain_axes,
    saved_figure,
    series_numbers,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cadenza_remix.report.measures import PairMeasures

_MIXTURE = "mixture"
_GOLDEN = 0.618034


def plot_loudness(
    measures: Mapping[str, Sequence[PairMeasures]], path: FigureFile, *, form: str | None = None, dpi: int = DPI
) -> None:
    """Draw a mark for each remix (and each mixture) with the median as an upright line: loudness, peak, clipping.

    Parameters
    ----------
    measures : mapping of str to sequence of PairMeasures
        By name of the system, as `cadenza_remix.report.measures.measure_pairs` gives them. What is None is left out.
    path : path or binary file
        PNG or SVG; ``form`` and ``dpi`` as for `cadenza_remix.report.figures.style.saved_figure`.

    Raises
    ------
    InputError
        Nothing was measured; a file that is neither PNG nor SVG.
    OutputError
        The file cannot be written.
    """
    rows = _rows(measures)
    if not rows:
        raise InputError(
            "no loudness to draw", where="plot_loudness", expected="a pair of which something was measured"
        )
    numbers = series_numbers([_MIXTURE, *(_row_name(name) for name in measures)])
    with saved_figure(path, width_in=PAGE_WIDTH_IN, height_in=0.85 + 0.42 * len(rows), form=form, dpi=dpi) as figure:
        panels = figure.subplots(1, 3, sharey=True)
        for place, (name, columns) in enumerate(rows.items()):
            style = mark_style(numbers[name], size=4.5)
            for axes, values in zip(panels, columns, strict=True):
                _draw_row(axes, place, values, style)
        labels = (
            "Loudness (LUFS)",
            "Peak before soft clipping\n(dB of full scale)",
            "Remix samples over\nfull scale (%)",
        )
        for axes, label in zip(panels, labels, strict=True):
            axes.set_xlabel(label)
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.margins(x=0.12)
            axes.tick_params(axis="y", length=0)
            plain_axes(axes, grid="x")
        panels[1].axvline(0.0, color="black", linewidth=0.8, linestyle=(0, (4, 2)))
        panels[2].set_xlim(left=0.0, right=max(1.0, panels[2].get_xlim()[1]))
        panels[0].set_yticks(range(len(rows)), [shortened(name, 24) for name in rows])


def _rows(measures: Mapping[str, Sequence[PairMeasures]]) -> dict[str, tuple[list[float], list[float], list[float]]]:
    """Return loudness, peak and percentage over full scale of each row: first the mixtures, each song once."""
    songs = {one.song: one for many in measures.values() for one in many if one.mixture_lufs is not None}
    rows: dict[str, tuple[list[float], list[float], list[float]]] = {
        _MIXTURE: (
            _known([one.mixture_lufs for one in songs.values()]),
            _known([one.mixture_peak_dbfs for one in songs.values()]),
            [],
        )
    }
    for name, many in measures.items():
        shares = _known([one.over_full_scale_share for one in many])
        remix = (
            _known([one.remix_lufs for one in many]),
            _known([one.remix_peak_dbfs for one in many]),
            [100 * share for share in shares],
        )
        rows[_row_name(name)] = remix
    return {name: columns for name, columns in rows.items() if any(columns)}


def _row_name(system: str) -> str:
    return f"{system} (remix)" if system == _MIXTURE else system


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None and np.isfinite(value)]


def _draw_row(axes: Axes, place: int, values: Sequence[float], style: Mapping[str, object]) -> None:
    if not values:
        return
    # Evenly spread over the row's height, in an order that has nothing to do with the values.
    spread = ((np.arange(len(values)) * _GOLDEN + 0.5) % 1.0 - 0.5) * 0.5
    axes.plot(values, place + spread, linestyle="none", zorder=3, clip_on=False, **style)  # type: ignore[arg-type]
    axes.vlines(float(np.median(values)), place - 0.36, place + 0.36, color="black", linewidth=1.4, zorder=2)
