"""Figures as PNG files: audiograms with the gains prescribed for them, and HAAQI by stem, ear and chain.

Drawn on figures of their own (never through pyplot), so that neither the caller's matplotlib settings nor its back end
matter or change. Matplotlib is imported only when a figure is drawn. Colours are those of Okabe & Ito (2008), which
differ for the colour-blind; every series has a marker, line or hatch of its own besides, for print in black and white.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.atomic import atomic_path
from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.errors import InputError
from cadenza_remix.report.tables import MEAN_COLUMNS, STEM_COLUMNS, UNPROCESSED_CHAIN, chain_order, mean_over_songs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cadenza_remix.hearing.audiogram import Audiogram, Listener

_BLUE, _VERMILION = "#0072B2", "#D55E00"
_UNPROCESSED_GREY = "#DDDDDD"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "oo")
_EAR_STYLES: dict[str, dict[str, Any]] = {
    # Audiologists draw the right ear as red circles and the left as blue crosses.
    "right": {"color": _VERMILION, "marker": "o", "linestyle": "-", "markerfacecolor": "none", "markersize": 7},
    "left": {"color": _BLUE, "marker": "x", "linestyle": "--", "markersize": 6.5},
}
_TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000)
_HALF_OCTAVE_TICKS_HZ = (750, 1500, 3000, 6000)
_MAX_COLUMNS = 4
_MAX_SCORE_PANELS = 8
_DPI = 200
FIGURE_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.markeredgewidth": 1.4,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
}


def plot_audiograms(
    listeners: Sequence[Listener], gains: Callable[[Audiogram], NDArray[np.float64]], path: str | Path
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
    path : path
        The PNG file.

    Raises
    ------
    InputError
        No listeners.
    OutputError
        The file cannot be written.
    """
    if not listeners:
        raise InputError("no listeners to draw", expected="at least one")
    n_columns = min(len(listeners), _MAX_COLUMNS)
    n_blocks = math.ceil(len(listeners) / n_columns)
    with _figure(path, width_in=0.75 + 2.35 * n_columns, height_in=0.55 + 4.6 * n_blocks) as figure:
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


def plot_scores(scores: pd.DataFrame, path: str | Path) -> None:
    """Draw the HAAQI of each stem and ear and their mean, by chain, one panel per listener.

    Parameters
    ----------
    scores : pandas.DataFrame
        As `cadenza_remix.report.tables.summary_frame` gives it. Bars are means over the songs; with several songs a
        thin line spans the lowest and the highest of them. With more than one listener a last panel holds the means
        over the listeners; with more than eight listeners it is the only panel, and the thin line spans the listeners.
    path : path
        The PNG file.

    Raises
    ------
    InputError
        No rows, or a column is missing.
    OutputError
        The file cannot be written.
    """
    columns = [*STEM_COLUMNS, MEAN_COLUMNS[0]]
    missing = [name for name in ("listener", "song", "chain", *columns) if name not in scores.columns]
    if missing or scores.empty:
        raise InputError("no scores to draw", expected="rows of summary_frame", found=f"without {missing or 'rows'}")
    chains = chain_order(scores)
    panels = _score_panels(scores)
    top = _top_of_scores(scores[columns].to_numpy(dtype=np.float64))
    with _figure(path, width_in=7.2, height_in=0.7 + 1.75 * len(panels)) as figure:
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (title, rows) in zip(grid, panels, strict=True):
            _draw_bars(axes, rows, chains, columns)
            axes.set_title(title, loc="left")
            axes.set_ylim(0, 1.07 * top)
            axes.set_yticks(np.arange(0, top + 0.01, 0.2))
            axes.set_ylabel("HAAQI")
        _label_stems(grid[-1])
        # A chain that one listener lacks stands in another one's panel.
        bars = {label: bar for axes in grid for bar, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        labels = [_chain_label(chain) for chain in chains if _chain_label(chain) in bars]
        handles = [bars[label] for label in labels]
        figure.legend(handles, labels, loc="outside upper right", ncols=min(len(labels), 4), handlelength=2.4)


@contextmanager
def _figure(path: str | Path, *, width_in: float, height_in: float) -> Iterator[Figure]:
    """Yield an empty figure; save it as PNG at ``path``, whole or not at all, when the block ends well."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    settings.update(FIGURE_STYLE)
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width_in, height_in), dpi=_DPI, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})


def _level_limits_db(listeners: Sequence[Listener]) -> tuple[float, float]:
    """Return the level at the bottom and at the top: 120 and -10 dB HL, or as far as the audiograms need."""
    levels = np.concatenate([listener.ear(ear).levels_db_hl for listener in listeners for ear in EARS])
    return max(120.0, 10 * math.ceil(levels.max() / 10)), min(-10.0, 10 * math.floor(levels.min() / 10))


def _draw_audiogram(axes: Axes, listener: Listener, level_limits_db: tuple[float, float]) -> None:
    for ear, style in _EAR_STYLES.items():
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

    for ear, style in _EAR_STYLES.items():
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


def _score_panels(scores: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return a title and the rows of each panel: first the listeners, then all of them together."""
    names = [str(name) for name in scores["listener"].unique()]
    n_songs = scores["song"].nunique()
    spread = f": mean of {n_songs} songs (lines: lowest to highest)" if n_songs > 1 else ""
    panels = [(f"Listener {name}{spread}", scores[scores["listener"] == name]) for name in names]
    if len(names) == 1:
        return panels
    everybody = (f"Mean of {len(names)} listeners (lines: lowest to highest)", mean_over_songs(scores))
    return [*(panels if len(names) <= _MAX_SCORE_PANELS else []), everybody]


def _top_of_scores(scores: NDArray[np.float64]) -> float:
    """Return the fifth of the scale, 0.4 to 1, under which every score lies."""
    highest = np.max(scores, initial=0.0, where=np.isfinite(scores))
    return float(np.clip(0.2 * np.ceil(highest / 0.2), 0.4, 1.0))


def _draw_bars(axes: Axes, rows: pd.DataFrame, chains: Sequence[str], columns: Sequence[str]) -> None:
    places = _bar_places()
    # The bars of the mean are wider: they carry the figures that a reader looks for first.
    widths = np.array([0.82] * len(STEM_COLUMNS) + [1.5]) / len(chains)
    for number, chain in enumerate(chains):
        values = rows.loc[rows["chain"] == chain, columns]
        if not values.notna().any(axis=None):
            continue
        means = values.mean().to_numpy()
        at = places + (number - (len(chains) - 1) / 2) * widths
        axes.bar(at, means, 0.92 * widths, label=_chain_label(chain), **_bar_style(chain, chains))
        if len(values) > 1:
            axes.vlines(at, values.min(), values.max(), color="black", linewidth=0.7)
        axes.annotate(
            f"{means[-1]:.2f}",
            (at[-1], max(means[-1], values[columns[-1]].max())),
            xytext=(0, 1.5),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7,
            rotation=90 if len(chains) > 3 else 0,
        )
    axes.grid(axis="y", color="0.88", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", length=0)


def _bar_places() -> NDArray[np.float64]:
    """Return where the bars stand: the two ears of a stem side by side, a gap, the next stem, the mean apart."""
    stems = [2.4 * stem + ear for stem in range(len(STEMS)) for ear in range(len(EARS))]
    return np.array([*stems, stems[-1] + 1.95])


def _label_stems(axes: Axes) -> None:
    places = _bar_places()
    axes.set_xticks(places, [*("L", "R") * len(STEMS), "Mean"])
    for number, stem in enumerate(STEMS):
        axes.annotate(
            stem.capitalize(),
            (float(places[2 * number : 2 * number + 2].mean()), 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -17),
            textcoords="offset points",
            ha="center",
            va="top",
        )


def _chain_label(chain: str) -> str:
    return f"{chain} (unprocessed)" if chain == UNPROCESSED_CHAIN else chain


def _bar_style(chain: str, chains: Sequence[str]) -> dict[str, Any]:
    style: dict[str, Any] = {"edgecolor": "black", "linewidth": 0.5}
    if chain == UNPROCESSED_CHAIN:
        return {**style, "facecolor": _UNPROCESSED_GREY}
    number = [name for name in chains if name != UNPROCESSED_CHAIN].index(chain)
    return {
        **style,
        "facecolor": COLOURS[number % len(COLOURS)],
        "hatch": HATCHES[number % len(HATCHES)],
    }
