"""The learning curves of a training as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cadenza_remix.atomic import atomic_path
from cadenza_remix.training.fit.logs import read_log

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "os^Dvx"


def draw_curves(log: Path, path: Path, *, stems: Sequence[str], title: str) -> None:
    """Draw loss and SDR over steps from a training's table.

    Parameters
    ----------
    log : Path
        See `training.fit.logs`.
    path : Path
        A PNG file.
    stems : sequence of str
    title : str
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_log(log)
    figure = Figure(figsize=(8.0, 6.0), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(*_series(rows, "loss"), color=_COLOURS[0], linewidth=1.0, label="training")
    valid = _series(rows, "valid_loss")
    if valid[0]:
        above.plot(*valid, color=_COLOURS[1], marker="o", markersize=4, label="validation")
    above.set(ylabel="loss", title=title)
    if any(loss > 0 for loss in _series(rows, "loss")[1]):
        above.set_yscale("log")
    above.legend(frameon=False)
    for index, stem in enumerate(stems):
        steps, scores = _series(rows, f"valid_sdr_{stem}_db")
        if steps:
            style = {"color": _COLOURS[index % len(_COLOURS)], "marker": _MARKERS[index % len(_MARKERS)]}
            below.plot(steps, scores, markersize=4, label=f"{stem} ({scores[-1]:.1f} dB)", **style)
    below.set(xlabel="step", ylabel="validation SDR in dB")
    if below.lines:
        below.legend(frameon=False)
    for axes in (above, below):
        axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _series(rows: Sequence[dict[str, str]], column: str) -> tuple[list[int], list[float]]:
    points = [(int(row["step"]), float(row[column])) for row in rows if row.get(column)]
    return [step for step, _ in points], [value for _, value in points]
