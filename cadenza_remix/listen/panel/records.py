"""What the results of a listening test know of a participant, and of each page that they get."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PlannedTrial:
    """One page of the test: a passage of a song, and which stimulus stands behind each label."""

    trial: int
    is_training: bool
    song: str
    start_s: float
    duration_s: float
    labels: Mapping[str, str]


@dataclass(frozen=True)
class NewParticipant:
    """Somebody who is to take part: number, hearing, all pages in their order, and the organiser's label if any."""

    number: int
    listener: str
    audiogram: Mapping[str, Any]
    severity: str
    trials: Sequence[PlannedTrial]
    label: str | None = None


@dataclass(frozen=True)
class Participant:
    """One participant: an unguessable token, the hearing, how far they are; no name.

    ``label`` is the organiser's own code, which participants never see. ``state`` is welcome, level, training, ready
    (the training is through, the test has not begun), trial, break, questions (all is rated, and the test asks more) or
    done.
    """

    number: int
    token: str
    listener: str
    audiogram: Mapping[str, Any]
    severity: str
    state: str
    volume: float | None
    n_trials: int
    n_done: int
    n_training: int
    label: str | None = None


def participant_from(row: sqlite3.Row) -> Participant:
    """Return the participant of a row whose columns are the fields."""
    values = {key: row[key] for key in row.keys()}  # noqa: SIM118
    return Participant(**{**values, "audiogram": json.loads(row["audiogram"])})


def trial_from(row: sqlite3.Row) -> PlannedTrial:
    """Return the page of a row of the table of trials."""
    training, labels = bool(row["is_training"]), json.loads(row["labels"])
    return PlannedTrial(row["trial"], training, row["song"], row["start_s"], row["duration_s"], labels)
