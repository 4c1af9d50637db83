"""Gains that chains really gave, over those prescribed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.signal import EARS
from cadenza_remix.errors import InputError
from cadenza_remix.report.bands import EarLevels
from cadenza_remix.report.figures.style import (
    DPI,
    FigureFile,
    add_legend,
    line_style,
    mark_style,
    saved_figure,
    series_numbers,
    set_log_frequency_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cadenza_remix.hearing.audiogram import Audiogram, Listener

MOST_LISTENERS = 16
"""So many listeners `plot_gains` draws at most: four rows of four."""

_TICKS_HZ = (125, 500, 2000, 8000)
_OCTAVES_HZ = (250, 1000, 4000)
_LIMITS_HZ = (80.0, 11000.0)
_MAX_COLUMNS = 4


def plot_gains(
    listeners: Sequence[Listener],
    prescribed: Callable[[Audiogram], NDArray[np.float64]] | None,
    achieved: Mapping[str, Mapping[str, EarLevels]],
    path: FigureFile,
    *,
    form: str | None = None,
    dpi: int = DPI,
) -> None:
    """Draw the achieved insertion gains of each ear, with the prescribed ones as a thick grey line.

    A listener is a column of two panels, left and right ear; four stand side by side.

    Parameters
    ----------
    listeners : sequence of Listener
        1 to `MOST_LISTENERS`.
    prescribed : callable or None
        Takes an audiogram and returns gains in dB at ``cadenza_remix.hearing.nalr.NALR_FREQUENCIES_HZ``, as
        ``nalr_gains_db`` does. None: not drawn.
    achieved : mapping of str to mapping
        By name of the system and id of the listener, as `cadenza_remix.report.measures.mean_gains` gives them. A
        system that lacks a listener is left out of that panel.
    path : path or binary file
        PNG or SVG; ``form`` and ``dpi`` as for `cadenza_remix.report.figures.style.saved_figure`.

    Raises
    ------
    InputError
        No listeners or too many, nothing to draw; a file that is neither PNG nor SVG.
    OutputError
        The file cannot be written.
    """
    if not 1 <= len(listeners) <= MOST_LISTENERS:
        expected = f"1 to {MOST_LISTENERS}"
        raise InputError(
            "wrong number of listeners to draw", where="plot_gains", expected=expected, found=len(listeners)
        )
    if prescribed is None and not achieved:
        raise InputError("no gains to draw", where="plot_gains", expected="prescribed or achieved ones")
    n_columns = min(len(listeners), _MAX_COLUMNS)
    n_blocks = math.ceil(len(listeners) / n_columns)
    low_db, high_db = _limits_db(listeners, prescribed, achieved)
    width_in, height_in = 0.7 + (1.63 if n_columns > 2 else 2.2) * n_columns, 0.75 + 3.3 * n_blocks
    with saved_figure(path, width_in=width_in, height_in=height_in, form=form, dpi=dpi) as figure:
        grid = figure.subplots(2 * n_blocks, n_columns, squeeze=False, sharex=False, sharey=True)
        for axes in grid.flat:
            axes.set_visible(False)
        for place, listener in enumerate(listeners):
            block, column = divmod(place, n_columns)
            for row, ear in enumerate(EARS):
                axes = grid[2 * block + row, column]
                axes.set_visible(True)
                _draw_ear(axes, listener, ear, prescribed, achieved)
                axes.set_ylim(low_db, high_db)
                set_log_frequency_axis(axes, *_LIMITS_HZ, _TICKS_HZ, label="Frequency (Hz)" if row else None)
                axes.set_xticks(_OCTAVES_HZ, minor=True, labels=[""] * len(_OCTAVES_HZ))
                axes.grid(which="minor", color="0.9", linewidth=0.5)
                if column == 0:
                    axes.set_ylabel(f"{ear.capitalize()} ear:\ninsertion gain (dB)")
                if row == 0:
                    axes.set_title(listener.id)
        add_legend(figure, list(grid.flat), n_columns=min(n_columns + (n_columns > 1), 4))


def _draw_ear(
    axes: Axes,
    listener: Listener,
    ear: str,
    prescribed: Callable[[Audiogram], NDArray[np.float64]] | None,
    achieved: Mapping[str, Mapping[str, EarLevels]],
) -> None:
    from cadenza_remix.hearing.nalr import NALR_FREQUENCIES_HZ

    if prescribed is not None:
        gains_db = prescribed(listener.ear(ear))
        # What is held beyond the prescription's frequencies is part of it, and drawn as such.
        at_hz = np.concatenate(([_LIMITS_HZ[0]], NALR_FREQUENCIES_HZ, [_LIMITS_HZ[1]]))
        held_db = np.concatenate((gains_db[:1], gains_db, gains_db[-1:]))
        axes.plot(at_hz, held_db, color="0.72", linewidth=4.5, solid_capstyle="butt", label="prescribed")
    for name, number in series_numbers(achieved).items():
        by_listener = achieved[name]
        if listener.id in by_listener:
            levels = by_listener[listener.id][ear]
            style = {**mark_style(number, size=3.2), **line_style(number), "markeredgewidth": 0.9, "linewidth": 1.0}
            axes.plot(levels.frequencies_hz, levels.levels_db, label=f"{name}: achieved", **style)
    axes.axhline(0.0, color="0.45", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def _limits_db(
    listeners: Sequence[Listener],
    prescribed: Callable[[Audiogram], NDArray[np.float64]] | None,
    achieved: Mapping[str, Mapping[str, EarLevels]],
) -> tuple[float, float]:
    """Return the lowest and highest gain of all panels: tens of dB around what is drawn above the lowest tick."""
    values = [0.0, 10.0]
    for listener in listeners:
        for ear in EARS:
            if prescribed is not None:
                values.extend(prescribed(listener.ear(ear)))
            for by_listener in achieved.values():
                if listener.id in by_listener:
                    levels = by_listener[listener.id][ear]
                    shown = levels.levels_db[levels.frequencies_hz >= _LIMITS_HZ[0]]
                    values.extend(shown[np.isfinite(shown)])
    return max(-40.0, 10 * math.floor(min(values) / 10)), 10 * math.ceil(max(values) / 10)
