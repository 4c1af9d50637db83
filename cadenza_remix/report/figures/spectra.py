"""Mean spectra of each ear before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cadenza_remix.audio.signal import EARS
from cadenza_remix.errors import InputError
from cadenza_remix.report.bands import EarLevels
from cadenza_remix.report.figures.style import (
    DPI,
    PAGE_WIDTH_IN,
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

_TICKS_HZ = (63, 125, 250, 500, 1000, 2000, 4000, 8000)
_MOST_RANGE_DB = 80.0


def plot_spectrum(
    before: EarLevels | None,
    after: Mapping[str, EarLevels],
    path: FigureFile,
    *,
    before_name: str = "mixture",
    form: str | None = None,
    dpi: int = DPI,
) -> None:
    """Draw third-octave spectra of each ear: the mixture as a grey area, remixes as lines over it.

    Parameters
    ----------
    before : mapping of str to BandLevels, or None
        By ear (``mixture_spectrum`` of `cadenza_remix.report.measures.PairMeasures`).
    after : mapping of str to mapping
        By name of the system, then ear (``remix_spectrum``). A system whose mapping is empty is not drawn, and the
        others keep their colours.
    path : path or binary file
        PNG or SVG; ``form`` and ``dpi`` as for `cadenza_remix.report.figures.style.saved_figure`.
    before_name : str
        What to call the first.

    Raises
    ------
    InputError
        Nothing to draw; a file that is neither PNG nor SVG.
    OutputError
        The file cannot be written.
    """
    everything = [*([before] if before is not None else []), *after.values()]
    drawn = [levels[ear].levels_db for levels in everything for ear in EARS if ear in levels]
    finite = np.concatenate([levels[np.isfinite(levels)] for levels in drawn]) if drawn else np.zeros(0)
    if not len(finite):
        raise InputError("no spectra to draw", where="plot_spectrum", expected="at least one that is not silent")
    high_db = 10 * np.ceil((finite.max() + 1) / 10)
    low_db = max(10 * np.floor(finite.min() / 10), high_db - _MOST_RANGE_DB)
    with saved_figure(path, width_in=PAGE_WIDTH_IN, height_in=2.7, form=form, dpi=dpi) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, ear in zip(panels, EARS, strict=True):
            if before is not None:
                _draw_before(axes, before, ear, low_db, before_name)
            for name, number in series_numbers(after).items():
                levels = after[name]
                if ear not in levels:
                    continue
                style = {**mark_style(number, size=3.4), **line_style(number), "markeredgewidth": 0.9}
                axes.plot(levels[ear].frequencies_hz, levels[ear].levels_db, label=name, **style)
            axes.set_ylim(low_db, high_db)
            set_log_frequency_axis(axes, 45, 14000, _TICKS_HZ, label="Frequency (Hz)")
            axes.set_title(f"{ear.capitalize()} ear", loc="left")
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel("Level in third octaves\n(dB of full scale)")
        add_legend(figure, list(panels))


def _draw_before(axes: Axes, before: EarLevels, ear: str, low_db: float, name: str) -> None:
    frequencies, levels = before[ear].frequencies_hz, before[ear].levels_db
    shown = np.where(np.isfinite(levels), np.maximum(levels, low_db), low_db)
    axes.fill_between(frequencies, low_db, shown, facecolor="0.88", edgecolor="0.35", linewidth=0.9, label=name)
