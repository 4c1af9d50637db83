"""The command that trains a separator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadenza_remix.console import StepBar, StepLines, duration, print_stopped, shown_steps, tell

if TYPE_CHECKING:
    from cadenza_remix.training.fit.result import TrainProgress, TrainResult

_REASONS = {
    "max_steps": "all steps are done",
    "max_minutes": "the time is over",
    "patience": "no improvement for as long as training.patience says",
}


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="Model, data, loss, optimiser, length.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run: checkpoints, logs, curves, and the model.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Other settings: training.max_minutes=5 data.train[0].path=songs"),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew, and remove the checkpoints of the training that is there.")
    ] = False,
) -> None:
    """Train a separator. The same command goes on with a training that was stopped (Ctrl-C, SIGTERM, a power cut)."""
    from cadenza_remix.training.fit.config import load_config
    from cadenza_remix.training.fit.loop import train as train_model

    settings = load_config(config, overrides or ())
    try:
        with shown_steps("Training (steps)") as steps:
            result = train_model(settings, out, resume=not fresh, progress=_progress(steps), tell=steps.say)
    except SystemExit:  # after SIGTERM
        print_stopped("terminated")
        raise
    for line in result_lines(result, out):
        tell(line)


def result_lines(result: TrainResult, out: Path) -> list[str]:
    """Say what a training came to."""
    lines = [
        f"{result.n_steps} steps in {duration(result.seconds)}; {_REASONS.get(result.reason, result.reason)};"
        f" {100 * result.waiting_share:.1f} % of the time was spent waiting for data"
    ]
    if result.sdr_db:
        scores = ", ".join(f"{stem} {value:.2f}" for stem, value in result.sdr_db.items())
        lines.append(f"best at step {result.best_step}: SDR on the validation songs in dB: {scores}")
    lines.append(f"curves: {out / 'curves.png'}")
    lines.append(f"use it: cadenza-remix separate SONG --separator {result.model_path} --out DIR")
    return lines


def _progress(steps: StepLines | StepBar) -> Callable[[TrainProgress], None]:
    def told(state: TrainProgress) -> None:
        if state.validation is not None:
            scores = ", ".join(f"{stem} {value:.2f}" for stem, value in state.validation.sdr_db.items())
            message = f"step {state.step}: validation loss {state.validation.loss:.4g}"
            steps.say(message + (f", SDR {scores} dB" if scores else ""))
        steps.show(state.step, max(state.step, state.max_steps), f"loss {state.loss:.4g}", state.seconds_left)

    return told
