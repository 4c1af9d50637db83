"""Figures of a data set as SVG: how long its songs are, how loud its stems, when they play, and their spectra.

Drawn like those of `cadenza_remix.report.figures`: never through pyplot; colours of Okabe & Ito (2008), and for every
stem a marker, line and hatch of its own besides, for print in black and white.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.report.figures import COLOURS, FIGURE_STYLE, HATCHES
from cadenza_remix.training.data.describing import DataDescription, SongFacts
from cadenza_remix.training.data.description_tables import clock, decibels, facts_of, percent
from cadenza_remix.training.data.measuring import BAND_CENTRES_HZ, SILENCE_DBFS
from cadenza_remix.training.data.songs import MIXTURE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_STEMS = 6
"""A figure shows at most so many stems: those that most songs have."""
_MAX_BARS = 40
_MARKERS = ("o", "s", "^", "D", "v", "P")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_MAX_TIMES = 400
_LOUD_DBFS = -10.0
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10000)


@dataclass(frozen=True)
class DataFigure:
    """An SVG with what is said about it: a title, a caption, and a text in its place for whoever cannot see it."""

    title: str
    svg: str
    caption: str
    alt: str


def description_figures(description: DataDescription) -> list[DataFigure]:
    """Draw all figures; those for which nothing could be read are left out."""
    makers: tuple[Callable[[DataDescription], DataFigure], ...] = (_durations, _levels, _activity, _spectra)
    return [make(description) for make in makers] if description.stem_names else []


def _durations(description: DataDescription) -> DataFigure:
    songs = sorted(description.songs, key=lambda song: -song.duration_s)
    minutes = [song.duration_s / 60 for song in songs]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        if len(songs) > _MAX_BARS:
            _draw_histogram(axes, description)
        else:
            for place, song in enumerate(songs):
                label = song.split if song.split not in [other.split for other in songs[:place]] else None
                axes.barh(place, minutes[place], 0.75, label=label, **_bar_style(description, song.split))
            axes.set_yticks(range(len(songs)), [_short(song.name) for song in songs])
            axes.invert_yaxis()
            axes.set_xlabel("Duration (minutes)")
            axes.grid(axis="x", color="0.88", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower right" if len(songs) <= _MAX_BARS else "upper right")

    height_in = 0.8 + 0.2 * len(songs) if len(songs) <= _MAX_BARS else 2.6
    parts = [_told_split(description, split) for split in description.splits]
    alt = (
        f"Bars of the durations of {len(songs)} songs, from {clock(60 * min(minutes))} to {clock(60 * max(minutes))} "
        f"minutes; {'; '.join(parts)}."
    )
    return DataFigure("Durations", _svg(draw, 7.2, height_in), "How long the songs are, by split.", alt)


def _told_split(description: DataDescription, split: str) -> str:
    """Return songs and hours of a split in words."""
    songs = [song for song in description.songs if song.split == split]
    return f"{split}: {len(songs)} songs, {sum(song.duration_s for song in songs) / 3600:.2f} hours"


def _draw_histogram(axes: Axes, description: DataDescription) -> None:
    longest = max(song.duration_s for song in description.songs) / 60
    edges = np.linspace(0, max(longest, 1e-3), 25)
    below = np.zeros(len(edges) - 1)
    for split in description.splits:
        minutes = [song.duration_s / 60 for song in description.songs if song.split == split]
        counts = np.histogram(minutes, edges)[0]
        style = _bar_style(description, split)
        axes.bar(edges[:-1], counts, np.diff(edges), bottom=below, align="edge", label=split, **style)
        below += counts
    axes.set_xlim(0, edges[-1])
    axes.set_xlabel("Duration (minutes)")
    axes.set_ylabel("Songs")


def _levels(description: DataDescription) -> DataFigure:
    stems = [*_shown_stems(description), MIXTURE]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        for place, stem in enumerate(stems):
            facts = list(facts_of(description.songs, stem))
            colour, marker = _colour(place, stem), _marker(place, stem)
            _draw_dots(left, place, [entry.measured.rms_dbfs for entry in facts], colour, marker)
            if stem != MIXTURE:
                _draw_dots(right, place, [entry.relative_db for entry in facts], colour, marker)
        left.set_yticks(range(len(stems)), stems)
        left.invert_yaxis()
        left.set_xlabel("RMS (dBFS)")
        right.set_xlabel("Energy relative to the mixture (dB)")
        for axes in (left, right):
            axes.grid(axis="x", color="0.88", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)

    alt = "One dot per song. Median RMS: " + "; ".join(
        f"{stem} {decibels(_finite_median([e.measured.rms_dbfs for e in facts_of(description.songs, stem)]))} dBFS"
        for stem in stems
    )
    caption = "Level of each stem, one mark per song; the upright line is the median. Silent stems are left out."
    return DataFigure("Levels", _svg(draw, 7.2, 0.9 + 0.42 * len(stems)), caption, alt + ".")


def _draw_dots(axes: Axes, place: int, levels_db: Sequence[float], colour: str, marker: str) -> None:
    known = np.array([level for level in levels_db if np.isfinite(level)])
    if not len(known):
        return
    # Evenly spread over the row's height, in an order that has nothing to do with the level.
    spread = (np.arange(len(known)) * 0.618034 % 1.0 - 0.5) * 0.5
    axes.plot(known, place + spread, marker, color=colour, markersize=3.5, markerfacecolor="none", markeredgewidth=0.8)
    axes.vlines(float(np.median(known)), place - 0.38, place + 0.38, color="black", linewidth=1.6)


def _activity(description: DataDescription) -> DataFigure:
    stems = _shown_stems(description)
    songs = description.songs
    names = [_short(song.name, 22) for song in songs]
    longest_s = max(song.duration_s for song in songs)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(1, len(stems), sharey=True, squeeze=False)[0]
        for axes, stem in zip(grid, stems, strict=True):
            image = axes.imshow(
                _activity_image(songs, stem, longest_s),
                aspect="auto",
                interpolation="nearest",
                cmap=_greys(),
                vmin=SILENCE_DBFS,
                vmax=_LOUD_DBFS,
                extent=(0, max(longest_s, 1.0) / 60, len(songs) - 0.5, -0.5),
            )
            ends, rows = [song.duration_s / 60 for song in songs], np.arange(len(songs))
            axes.vlines(ends, rows - 0.5, rows + 0.5, color="black", linewidth=0.9)
            axes.hlines(rows[1:] - 0.5, 0, longest_s / 60, color="0.75", linewidth=0.4)
            axes.set_title(_short(stem, 18))
            axes.set_xlabel("Time (min)")
        if len(songs) <= _MAX_BARS:
            grid[0].set_yticks(range(len(songs)), names)
        else:
            grid[0].set_ylabel(f"{len(songs)} songs, in the order of the table")
            grid[0].set_yticks([])
        figure.colorbar(image, ax=list(grid), label="RMS (dBFS)", fraction=0.03, pad=0.01)

    shares = {
        stem: [entry.measured.silence_share for entry in facts_of(songs, stem) if entry.measured.n_samples]
        for stem in stems
    }
    alt = "Rows are songs, darker is louder. On average silent: " + "; ".join(
        f"{stem} {percent(float(np.mean(share)))} of the time" for stem, share in shares.items()
    )
    caption = (
        f"When each stem plays: a row for each song, time to the right, white below {SILENCE_DBFS:g} dBFS, black at "
        f"{_LOUD_DBFS:g} dBFS; a black line marks the song's end."
    )
    height_in = 0.9 + max(1.0, min(0.22 * len(songs), 8.0))
    return DataFigure("Activity", _svg(draw, 1.6 + 1.5 * len(stems), height_in), caption, alt + ".")


def _activity_image(songs: Sequence[SongFacts], stem: str, longest_s: float) -> NDArray[np.float32]:
    """Return the level of each song (row) over time; of several seconds that share a column, the loudest."""
    n_seconds = max(int(np.ceil(longest_s)), 1)
    per_column = -(-n_seconds // _MAX_TIMES)
    image = np.full((len(songs), -(-n_seconds // per_column)), np.nan, dtype=np.float32)
    for row, song in enumerate(songs):
        if stem in song.stems:
            activity = song.stems[stem].measured.activity_dbfs[:n_seconds]
            if len(activity):
                columns = np.maximum.reduceat(activity, np.arange(0, len(activity), per_column))
                image[row, : len(columns)] = np.maximum(columns, SILENCE_DBFS)
    return image


def _greys() -> Any:
    import matplotlib

    return matplotlib.colormaps["Greys"].with_extremes(bad="#FFFFFF")


def _spectra(description: DataDescription) -> DataFigure:
    stems = _shown_stems(description)
    centres = np.array(BAND_CENTRES_HZ)
    curves = {stem: _median_spectrum(description, stem) for stem in stems}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, stem in enumerate(stems):
            low, middle, high = curves[stem]
            axes.fill_between(centres, low, high, color=_colour(place, stem), alpha=0.13, linewidth=0)
            style: dict[str, Any] = {"linestyle": _LINES[place % len(_LINES)], "marker": _marker(place, stem)}
            axes.plot(centres, middle, color=_colour(place, stem), label=stem, markersize=4, markevery=3, **style)
        axes.set_xscale("log")
        axes.set_xlim(centres[0], centres[-1])
        axes.set_xticks(_TICKS_HZ, [f"{tick // 1000}k" if tick >= 1000 else str(tick) for tick in _TICKS_HZ])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("Frequency (Hz)")
        axes.set_ylabel("Level in third octaves\nrelative to the stem (dB)")
        axes.grid(color="0.88", linewidth=0.6)
        axes.set_ylim(-60, 0)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside upper center", ncols=len(stems), handlelength=3.5)

    def peak(stem: str) -> str:
        middle = curves[stem][1]
        return f"{stem} {centres[np.nanargmax(middle)]:.0f} Hz" if np.isfinite(middle).any() else f"{stem} none"

    alt = "Curves of level over frequency, one per stem. Strongest band: " + "; ".join(map(peak, stems)) + "."
    caption = (
        "Long-term spectra in third octaves, each relative to the stem's own level: median over the songs and, shaded, "
        "the middle half of them."
    )
    return DataFigure("Spectra", _svg(draw, 7.2, 3.4), caption, alt)


def _median_spectrum(description: DataDescription, stem: str) -> NDArray[np.float64]:
    """Return the quartiles over the songs, shape (3, n_bands), of the bands relative to the stem; NaN where unknown."""
    songs = [entry.measured for entry in facts_of(description.songs, stem) if np.isfinite(entry.measured.rms_dbfs)]
    quartiles = np.full((3, len(BAND_CENTRES_HZ)), np.nan)
    for band in range(len(BAND_CENTRES_HZ)):
        levels = [float(song.bands_dbfs[band]) - song.rms_dbfs for song in songs]
        # A band without anything in it is far down, not unknown.
        known = [max(level, -200.0) for level in levels if not np.isnan(level)]
        if known:
            quartiles[:, band] = np.percentile(known, (25, 50, 75))
    return quartiles


def _svg(draw: Callable[[Figure], None], width_in: float, height_in: float) -> str:
    """Return a drawing as SVG, the same bytes for the same data."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    settings.update(FIGURE_STYLE, **{"svg.hashsalt": "cadenza-remix", "svg.fonttype": "path"})
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width_in, height_in), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _shown_stems(description: DataDescription) -> list[str]:
    return list(description.stem_names[:MAX_STEMS])


def _colour(place: int, stem: str) -> str:
    # The last of the colours (yellow) is too light for a line.
    return "black" if stem == MIXTURE else COLOURS[place % (len(COLOURS) - 1)]


def _marker(place: int, stem: str) -> str:
    return "x" if stem == MIXTURE else _MARKERS[place % len(_MARKERS)]


def _bar_style(description: DataDescription, split: str) -> dict[str, Any]:
    place = description.splits.index(split)
    hatch = HATCHES[place % len(HATCHES)]
    return {"facecolor": COLOURS[place], "hatch": hatch, "edgecolor": "black", "linewidth": 0.5}


def _short(name: str, n_letters: int = 34) -> str:
    # A dollar sign would begin a formula.
    shown = name if len(name) <= n_letters else f"{name[: n_letters - 1]}…"
    return shown.replace("$", r"\$")


def _finite_median(levels: Sequence[float]) -> float:
    known = [level for level in levels if np.isfinite(level)]
    return float(np.median(known)) if known else -np.inf
