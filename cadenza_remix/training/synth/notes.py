"""Notes as every instrument gets them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """One note: start and duration in seconds, MIDI pitch, velocity from 0 to 1.

    With ``slide_from`` the note begins at that pitch and glides to its own.
    """

    start_s: float
    duration_s: float
    pitch: int
    velocity: float
    slide_from: int | None = None


@dataclass(frozen=True)
class Hit:
    """One stroke on a piece of the drum kit; velocity from 0 to 1."""

    start_s: float
    piece: str
    velocity: float
