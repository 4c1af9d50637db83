"""What a training tells while it runs, and when it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cadenza_remix.training.fit.validation import Validation


@dataclass(frozen=True)
class TrainProgress:
    """How a training stands after a step.

    Parameters
    ----------
    step, max_steps : int
        Steps done, and to do at most.
    loss : float
        Of this step.
    learning_rate : float
    seconds, seconds_left : float
        Trained so far, and to the end as it looks now.
    waiting_share : float
        Share of the time (0 to 1) in which the trainer waited for data.
    validation : Validation or None
        Where this step was validated.
    """

    step: int
    max_steps: int
    loss: float
    learning_rate: float
    seconds: float
    seconds_left: float
    waiting_share: float
    validation: Validation | None = None


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Parameters
    ----------
    model_path : Path
        The model's folder.
    n_steps : int
    seconds : float
        All parts of the run together.
    waiting_share : float
        Share of the time in steps (0 to 1) in which the trainer waited for data; without the very first batch.
    reason : str
        Why it ended: ``max_steps``, ``max_minutes`` or ``patience``.
    best_step : int
        The step whose weights became the model.
    loss : float
        Mean training loss of the last steps.
    valid_loss : float or None
    sdr_db : mapping of str to float
        Of the model on the validation songs.
    """

    model_path: Path
    n_steps: int
    seconds: float
    waiting_share: float
    reason: str
    best_step: int
    loss: float
    valid_loss: float | None
    sdr_db: Mapping[str, float]


Progress = Callable[[TrainProgress], object]
Tell = Callable[[str], object]
