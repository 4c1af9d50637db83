"""HAAQI of each stem and ear, by chain: the demo's bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.errors import InputError
from cadenza_remix.report.figures.style import DPI, PAGE_WIDTH_IN, FigureFile, bar_style, saved_figure, series_numbers
from cadenza_remix.report.tables import MEAN_COLUMNS, STEM_COLUMNS, UNPROCESSED_CHAIN, chain_order, mean_over_songs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_MAX_SCORE_PANELS = 8


def plot_scores(scores: pd.DataFrame, path: FigureFile, *, form: str | None = None, dpi: int = DPI) -> None:
    """Draw the HAAQI of each stem and ear and their mean, by chain, one panel per listener.

    Parameters
    ----------
    scores : pandas.DataFrame
        As `cadenza_remix.report.tables.summary_frame` gives it. Bars are means over the songs; with several songs a
        thin line spans the lowest and the highest of them. With more than one listener a last panel holds the means
        over the listeners; with more than eight listeners it is the only panel, and the thin line spans the listeners.
    path : path or binary file
        PNG or SVG; ``form`` and ``dpi`` as for `cadenza_remix.report.figures.style.saved_figure`.

    Raises
    ------
    InputError
        No rows, or a column is missing; a file that is neither PNG nor SVG.
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
    height_in = 0.7 + 1.75 * len(panels)
    with saved_figure(path, width_in=PAGE_WIDTH_IN, height_in=height_in, form=form, dpi=dpi) as figure:
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
        axes.bar(at, means, 0.92 * widths, label=_chain_label(chain), **bar_style(series_numbers(chains)[chain]))
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
