"""Time and memory of the stages of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cadenza_remix.errors import InputError
from cadenza_remix.report.figures.style import (
    DPI,
    PAGE_WIDTH_IN,
    FigureFile,
    add_legend,
    bar_style,
    plain_axes,
    saved_figure,
    series_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = ((3600.0, 2.0, "Time (hours)"), (60.0, 3.0, "Time (minutes)"), (1.0, 0.0, "Time (seconds)"))


def plot_stage_times(
    times_s: Mapping[str, Mapping[str, float]],
    path: FigureFile,
    *,
    memory_mib: Mapping[str, Mapping[str, float]] | None = None,
    form: str | None = None,
    dpi: int = DPI,
) -> None:
    """Draw how long each stage took, and how much memory it needed, as bars: stages in rows, runs side by side.

    Parameters
    ----------
    times_s : mapping of str to mapping of str to float
        Seconds by name of the run and stage; a stage that a run lacks leaves a gap.
    path : path or binary file
        PNG or SVG; ``form`` and ``dpi`` as for `cadenza_remix.report.figures.style.saved_figure`.
    memory_mib : mapping, optional
        Highest memory in MiB, in the same form; a second panel.

    Raises
    ------
    InputError
        Nothing to draw; a time or amount that is negative or not finite; a file that is neither PNG nor SVG.
    OutputError
        The file cannot be written.
    """
    panels = [times_s, memory_mib or {}]
    stages = list(dict.fromkeys(stage for panel in panels for run in panel.values() for stage in run))
    if not stages:
        raise InputError("no stages to draw", where="plot_stage_times", expected="at least one with its time")
    for panel in panels:
        for run, values in panel.items():
            for stage, value in values.items():
                if not (math.isfinite(value) and value >= 0):
                    raise InputError("senseless amount", where=f"{run}: {stage}", expected="0 or more", found=value)
    runs = list(dict.fromkeys(run for panel in panels for run in panel))
    longest_s = max((value for run in times_s.values() for value in run.values()), default=0.0)
    unit_s, _, time_label = next(unit for unit in _UNITS if longest_s >= unit[0] * unit[1])
    memory_unit = 1024.0 if any(v >= 2048 for run in panels[1].values() for v in run.values()) else 1.0
    memory_label = "Highest memory (GiB)" if memory_unit > 1 else "Highest memory (MiB)"
    drawn = [(times_s, unit_s, time_label)] if times_s else []
    drawn += [(memory_mib, memory_unit, memory_label)] if memory_mib else []
    height_in = 0.85 + (0.14 + 0.15 * len(runs)) * len(stages)
    with saved_figure(path, width_in=PAGE_WIDTH_IN, height_in=height_in, form=form, dpi=dpi) as figure:
        grid = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
        for axes, (panel, unit, label) in zip(grid, drawn, strict=True):
            _draw_bars(axes, panel, runs, stages, unit)
            axes.set_xlabel(label)
        grid[0].set_yticks(range(len(stages)), stages)
        grid[0].set_ylim(len(stages) - 0.5, -0.5)
        if len(runs) > 1:
            add_legend(figure, list(grid))


def _draw_bars(
    axes: Axes, panel: Mapping[str, Mapping[str, float]], runs: list[str], stages: list[str], unit: float
) -> None:
    height = 0.8 / len(runs)
    for number, (run, series) in enumerate(series_numbers(runs).items()):
        for place, stage in enumerate(stages):
            if stage in panel.get(run, {}):
                value = panel[run][stage] / unit
                at = place + (number - (len(runs) - 1) / 2) * height
                axes.barh(at, value, 0.9 * height, label=run, **bar_style(series))
                axes.annotate(
                    f"{value:.3g}", (value, at), xytext=(2.5, 0), textcoords="offset points", va="center", fontsize=7
                )
    axes.margins(x=0.14)
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    plain_axes(axes, grid="x")
