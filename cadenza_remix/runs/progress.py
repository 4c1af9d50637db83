"""How long work tells what it is doing, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What the stages call; the command line shows it as bars, a test may collect it."""

    def start(self, stage: str, total: float) -> None:
        """A stage begins, with this many units to do."""

    def advance(self, stage: str, amount: float = 1.0) -> None:
        """Some of a stage is done (parts of a unit count as fractions)."""

    def say(self, message: str) -> None:
        """Something that the user should read."""


class NoProgress:
    """Tells nobody."""

    def start(self, stage: str, total: float) -> None:
        return

    def advance(self, stage: str, amount: float = 1.0) -> None:
        return

    def say(self, message: str) -> None:
        return
