"""The learning rate of every step, from the configuration and the state of the training."""

from __future__ import annotations

import math

from cadenza_remix.errors import InputError
from cadenza_remix.training.fit.config import OptimiserConfig, TrainingConfig


def check_schedule(optimiser: OptimiserConfig, training: TrainingConfig, *, validates: bool) -> None:
    """Refuse a schedule that lacks what it goes by."""
    if optimiser.schedule == "cosine-time" and not training.max_minutes:
        raise InputError("no end to fall to", where="optimiser.schedule", expected="training.max_minutes above 0")
    if optimiser.schedule == "plateau" and not validates:
        raise InputError("no validation to go by", where="optimiser.schedule", expected="songs in data.valid")


def learning_rate(
    optimiser: OptimiserConfig, training: TrainingConfig, *, step: int, seconds: float, n_reductions: int
) -> float:
    """Return the learning rate of a step.

    Parameters
    ----------
    optimiser : OptimiserConfig
    training : TrainingConfig
    step : int
        From 0.
    seconds : float
        Trained so far.
    n_reductions : int
        How often ``plateau`` has struck.
    """
    rate = optimiser.learning_rate
    if optimiser.warmup_steps and step < optimiser.warmup_steps:
        return rate * (step + 1) / optimiser.warmup_steps
    if optimiser.schedule == "plateau":
        return rate * optimiser.plateau_factor**n_reductions
    if optimiser.schedule == "constant":
        return rate
    if optimiser.schedule == "cosine":
        share = (step - optimiser.warmup_steps) / max(1, training.max_steps - optimiser.warmup_steps)
    else:
        share = seconds / (60.0 * (training.max_minutes or math.inf))
    cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, max(0.0, share)))
    return rate * (optimiser.final_share + (1.0 - optimiser.final_share) * cosine)
