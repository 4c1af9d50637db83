"""The folder of a run: where plan, results, journals and claims lie in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEMIX = "demix"
PAIRS = "pairs"
STAGES = (DEMIX, PAIRS)
"""Shards of ``demix`` take songs apart; those of ``pairs`` enhance and score each of their pairs."""


@dataclass(frozen=True, order=True)
class ShardId:
    """One shard of a run's plan: its stage and its number within it, from 0."""

    stage: str
    index: int

    def __str__(self) -> str:
        return f"{self.stage}-{self.index}"


@dataclass(frozen=True)
class RunFolder:
    """Names of everything in the folder of a run; ``root`` is absolute, since jobs start elsewhere."""

    root: Path

    @property
    def config(self) -> Path:
        """The settings as they were given, with absolute paths."""
        return self.root / "config.yaml"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def stems(self) -> Path:
        return self.root / "stems"

    @property
    def score_records(self) -> Path:
        return self.root / "records" / "score"

    @property
    def scores(self) -> Path:
        return self.root / "scores.csv"

    @property
    def missing(self) -> Path:
        """The table of what could not be done; it is not there when nothing is missing."""
        return self.root / "missing.csv"

    @property
    def slurm(self) -> Path:
        """Job scripts, logs of jobs, and which jobs were submitted."""
        return self.root / "slurm"

    @property
    def all_journals(self) -> Path:
        return self.root / "journal"

    def journals(self, shard: ShardId) -> Path:
        """Return the folder of a shard's journals."""
        return self.all_journals / str(shard)

    @property
    def claims(self) -> Path:
        """Who works on which shard."""
        return self.root / "claims"

    def claim(self, shard: ShardId) -> Path:
        return self.claims / f"{shard}.json"
