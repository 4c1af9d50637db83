"""Audiograms, with the gains prescribed for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.signal import EARS
from cadenza_remix.errors import InputError
from cadenza_remix.report.figures.style import DPI, EAR_STYLES, FigureFile, saved_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cadenza_remix.hearing.audiogram import Audiogram, Listener

_TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000)
_HALF_OCTAVE_TICKS_HZ = (750, 1500, 3000, 6000)
_MAX_COLUMNS = 4


def plot_audiograms(
    listeners: Sequence[Listener],
    gains: Callable[[Audiogram], NDArray[np.float64]],
    path: FigureFile,
    *,
    form: str | None = None,
    dpi: int = DPI,
) -> None:
    """Draw each listener's audiograms and, below them, the insertion gains prescribed for each ear.

    The axes are the clinical ones: hearing level downwards, an octave as wide as 20 dB are high, right ear as red
    circles, left ear as blue crosses (ANSI S3.6, ISO 8253-1). Four listeners stand side by side.

    Parameters
    ----------
    listeners : sequence of Listener
        At least one.
    gains : callable
        Takes an audiogram and returns gains in dB at ``cadenza_remix.hearing.nalr.NALR_FREQUENCIES_HZ``, as
        ``nalr_gains_db`` does.
    path : path or binary file
        PNG or SVG; ``form`` and ``dpi`` as for `cadenza_remix.report.figures.style.saved_figure`.

    Raises
    ------
    InputError
        No listeners; a file that is neither PNG nor SVG.
    OutputError
        The file cannot be written.
    """
    if not listeners:
        raise InputError("no listeners to draw", expected="at least one")
    n_columns = min(len(listeners), _MAX_COLUMNS)
    n_blocks = math.ceil(len(listeners) / n_columns)
    width_in, height_in = 0.75 + 2.35 * n_columns, 0.55 + 4.6 * n_blocks
    with saved_figure(path, width_in=width_in, height_in=height_in, form=form, dpi=dpi) as figure:
        grid = figure.subplots(
            2 * n_blocks, n_columns, squeeze=False, gridspec_kw={"height_ratios": [1.9, 1.0] * n_blocks}
        )
        level_limits = _level_limits_db(listeners)
        prescribed = [{ear: gains(listener.ear(ear)) for ear in EARS} for listener in listeners]
        top_gain_db = max(30.0, *(float(ear.max()) for pair in prescribed for ear in pair.values()))
        for axes in grid.flat:
            axes.set_visible(False)
        for place, (listener, pair) in enumerate(zip(listeners, prescribed, strict=True)):
            block, column = divmod(place, n_columns)
            upper, lower = grid[2 * block, column], grid[2 * block + 1, column]
            _draw_audiogram(upper, listener, level_limits)
            _draw_gains(lower, pair, top_gain_db)
            if column == 0:
                upper.set_ylabel("Hearing level (dB HL)")
                lower.set_ylabel("Prescribed\ninsertion gain (dB)")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2, handlelength=3.2)


def _level_limits_db(listeners: Sequence[Listener]) -> tuple[float, float]:
    """Return the level at the bottom and at the top: 120 and -10 dB HL, or as far as the audiograms need."""
    levels = np.concatenate([listener.ear(ear).levels_db_hl for listener in listeners for ear in EARS])
    return max(120.0, 10 * math.ceil(levels.max() / 10)), min(-10.0, 10 * math.floor(levels.min() / 10))


def _draw_audiogram(axes: Axes, listener: Listener, level_limits_db: tuple[float, float]) -> None:
    for ear, style in EAR_STYLES.items():
        audiogram = listener.ear(ear)
        axes.plot(audiogram.frequencies_hz, audiogram.levels_db_hl, label=f"{ear} ear", clip_on=False, **style)
    axes.set_title(listener.id)
    axes.set_ylim(*level_limits_db)
    axes.set_yticks(np.arange(0, level_limits_db[0] + 1, 20))
    _set_frequency_axis(axes)
    low_hz, high_hz = axes.get_xlim()
    axes.set_box_aspect(abs(level_limits_db[0] - level_limits_db[1]) / 20 / math.log2(high_hz / low_hz))
    axes.tick_params(labelbottom=False)


def _draw_gains(axes: Axes, gains_db: dict[str, NDArray[np.float64]], top_db: float) -> None:
    from cadenza_remix.hearing.nalr import NALR_FREQUENCIES_HZ

    for ear, style in EAR_STYLES.items():
        axes.plot(NALR_FREQUENCIES_HZ, gains_db[ear], clip_on=False, **style)
    axes.set_ylim(0, 10 * math.ceil(top_db / 10))
    axes.set_yticks(np.arange(0, top_db + 1, 10))
    _set_frequency_axis(axes)
    axes.set_xlabel("Frequency (Hz)")


def _set_frequency_axis(axes: Axes) -> None:
    axes.set_visible(True)
    axes.set_xscale("log")
    axes.set_xlim(200, 10000)
    axes.set_xticks(_TICKS_HZ, [f"{tick // 1000}k" if tick >= 1000 else str(tick) for tick in _TICKS_HZ])
    axes.set_xticks(_HALF_OCTAVE_TICKS_HZ, minor=True, labels=[""] * len(_HALF_OCTAVE_TICKS_HZ))
    axes.grid(which="major", color="0.85", linewidth=0.6)
    axes.grid(which="minor", axis="x", color="0.9", linewidth=0.5, linestyle=":")
