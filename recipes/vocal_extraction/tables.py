"""The comparison as a table (Markdown, CSV) and as a figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scoring import MEASURES, STEMS, SongScore

from cadenza_remix.atomic import atomic_path, write_text

SHOWN = {"sdr_db": "SDR", "sir_db": "SIR", "sar_db": "SAR"}
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "oo")


@dataclass(frozen=True)
class Trial:
    """One system, trained with one seed.

    Parameters
    ----------
    system : str
        As it stands in the table.
    seed : int
    minutes : float
        Of training, with that of the network that it builds upon.
    n_steps : int
        Of its own training.
    n_parameters : int
    gflop_per_s : float
        For one second of audio.
    seconds_per_s : float
        That one second of audio takes to be separated.
    scores : sequence of SongScore
    """

    system: str
    seed: int
    minutes: float
    n_steps: int
    n_parameters: int
    gflop_per_s: float
    seconds_per_s: float
    scores: Sequence[SongScore]


def song_median(values: Sequence[float]) -> float:
    """Return the median of the songs that have a score; NaN where none has."""
    defined = [value for value in values if np.isfinite(value)]
    return float(np.median(defined)) if defined else float("nan")


def system_score(trial: Trial, stem: str, measure: str) -> float:
    """Return the median over songs."""
    return song_median([getattr(score, measure) for score in trial.scores if score.stem == stem])


def change(trial: Trial, mixture: Sequence[SongScore], stem: str, measure: str) -> float:
    """Return the median over songs of what a system gains over the mixture in its place; NaN for SAR."""
    before = {score.song: getattr(score, measure) for score in mixture if score.stem == stem}
    pairs = [(getattr(score, measure), before[score.song]) for score in trial.scores if score.stem == stem]
    return song_median([after - first for after, first in pairs])


def spread(values: Sequence[float], decimals: int = 2) -> str:
    """Return mean and standard deviation over the seeds, as ``5.31 ± 0.12``; a dash where there is nothing."""
    defined = np.array([value for value in values if np.isfinite(value)])
    if not len(defined):
        return "-"
    mean = f"{defined.mean():.{decimals}f}"
    return f"{mean} ± {defined.std(ddof=1):.{decimals}f}" if len(defined) > 1 else mean


def by_system(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """Return the trials of each system, in the order in which they come."""
    names = dict.fromkeys(trial.system for trial in trials)
    return {name: [trial for trial in trials if trial.system == name] for name in names}


def markdown(trials: Sequence[Trial], mixture: Sequence[SongScore], *, title: str, notes: Sequence[str]) -> str:
    """Return the whole page of results."""
    systems = by_system(trials)
    lines = [f"# {title}", ""]
    for stem in STEMS:
        columns = ["system", *SHOWN.values(), *(f"{name} change" for key, name in SHOWN.items() if key != "sar_db")]
        rows = [_mixture_row(mixture, stem)]
        for name, found in systems.items():
            scores = [spread([system_score(trial, stem, key) for trial in found]) for key in SHOWN]
            changes = [
                spread([change(trial, mixture, stem, key) for trial in found]) for key in SHOWN if key != "sar_db"
            ]
            rows.append([name, *scores, *changes])
        lines += [f"{stem}, in dB:", "", *_table(columns, rows), ""]
    columns = ["system", "parameters", "GFLOP per s of audio", "s per s of audio", "minutes of training", "steps"]
    rows = [
        [
            name,
            f"{found[0].n_parameters:,}",
            f"{found[0].gflop_per_s:.2f}",
            f"{np.median([trial.seconds_per_s for trial in found]):.4f}",
            spread([trial.minutes for trial in found], 1),
            spread([trial.n_steps for trial in found], 0),
        ]
        for name, found in systems.items()
    ]
    lines += ["Cost:", "", *_table(columns, rows), "", *notes]
    return "\n".join(lines).rstrip() + "\n"


def _mixture_row(mixture: Sequence[SongScore], stem: str) -> list[str]:
    values = [song_median([getattr(score, key) for score in mixture if score.stem == stem]) for key in SHOWN]
    return ["mixture", *("∞" if key == "sar_db" else spread([value]) for key, value in zip(SHOWN, values, strict=True)),
            "0", "0"]  # fmt: skip


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    lines = [columns, ["-" * width for width in widths], *rows]
    return ["| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
            for cells in lines]  # fmt: skip


def write_csv(path: Path, trials: Sequence[Trial], mixture: Sequence[SongScore]) -> None:
    """Write one row for each system, seed, song and stem; the mixture's rows have no seed."""
    cost = ("minutes", "n_steps", "n_parameters", "gflop_per_s", "seconds_per_s")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["system", "seed", "song", "stem", *MEASURES, *cost])
    for score in mixture:
        writer.writerow(["mixture", "", *_cells(score), *[""] * len(cost)])
    for trial in trials:
        for score in trial.scores:
            writer.writerow([trial.system, trial.seed, *_cells(score), *(_cell(getattr(trial, name)) for name in cost)])
    write_text(path, text.getvalue())


def _cells(score: SongScore) -> list[str]:
    return [score.song, score.stem, *(_cell(getattr(score, measure)) for measure in MEASURES)]


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else "" if np.isnan(value) else f"{value:.4f}"


def draw(path: Path, trials: Sequence[Trial], mixture: Sequence[SongScore]) -> None:
    """Draw a bar for each system, stem and measure (mean over the seeds) with a dot for each seed."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    systems = by_system(trials)
    settings: dict[Any, Any] = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    with matplotlib.rc_context({**settings, "font.size": 8, "hatch.linewidth": 0.6}):
        figure = Figure(figsize=(8, 3.4), dpi=150, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(STEMS), sharey=True)
        for axes, stem in zip(panels, STEMS, strict=True):
            _draw_stem(axes, systems, mixture, stem)
        panels[0].set_ylabel("dB")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4), frameon=False)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})


def _draw_stem(axes: Any, systems: Mapping[str, list[Trial]], mixture: Sequence[SongScore], stem: str) -> None:
    width = 0.8 / len(systems)
    places = np.arange(len(SHOWN))
    for number, (name, found) in enumerate(systems.items()):
        values = np.array([[system_score(trial, stem, key) for key in SHOWN] for trial in found])
        left = places - 0.4 + (number + 0.5) * width
        style = {"color": _COLOURS[number % len(_COLOURS)], "hatch": _HATCHES[number % len(_HATCHES)]}
        axes.bar(left, np.nan_to_num(values).mean(axis=0), width * 0.92, edgecolor="white", label=name, **style)
        for row in values:
            axes.plot(left, row, "o", color="black", markersize=2)
    for place, key in enumerate(SHOWN):
        level = song_median([getattr(score, key) for score in mixture if score.stem == stem])
        if np.isfinite(level):
            axes.plot([place - 0.4, place + 0.4], [level, level], "k--", linewidth=0.9,
                      label="mixture" if place == 0 else None)  # fmt: skip
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.set_xticks(places, list(SHOWN.values()))
    axes.set_title(stem)
    axes.spines[["top", "right"]].set_visible(False)
