"""How far each kind of units is, how fast that goes, and how long the rest takes.

Each process's speed is taken by its own clock, and speeds are added up: clocks of different nodes never meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cadenza_remix.runs.shards.folder import DEMIX, PAIRS, ShardId
from cadenza_remix.runs.shards.plan import KINDS
from cadenza_remix.slurm.journal_tails import RECENT_S, Journals, ShardCount, Tail

_MOST_WORKERS = 10_000  # of one process; what a damaged journal tells may be anything
_TOLD = ("done", "running", "failed", "aside", "blocked")


@dataclass(frozen=True)
class Rate:
    """A speed: units per hour, and seconds of audio per second."""

    units_per_hour: float
    audio_s_per_s: float


@dataclass(frozen=True)
class StageState:
    """How one kind of units stands; the counts sum to ``total``.

    ``recent``: what the jobs at work did, each in its own last ten minutes; ``overall``: what they did since they
    began, or when none is at work, what one worker does (``workers`` is 0 then). ``seconds_per_unit``: measured mean;
    ``cost_ratio``: measured cost over planned cost; ``remaining_s``: None when it cannot be known.
    """

    name: str
    total: int
    done: int
    running: int
    failed: int
    aside: int
    blocked: int
    left: int
    workers: int
    recent: Rate | None
    overall: Rate | None
    seconds_per_unit: float | None
    cost_ratio: float | None
    remaining_s: float | None


def _workers(tails: Iterable[Tail]) -> int:
    return sum(min(max(tail.fact("workers", 1), 1), _MOST_WORKERS) for tail in tails)


def stage_states(
    journals: Journals,
    living: Mapping[ShardId, Tail | None],
    counts: Mapping[ShardId, ShardCount],
    starting: Mapping[str, int],
) -> tuple[StageState, ...]:
    """Tell how each kind of units stands; ``starting`` are jobs of each stage that have their place and no journal."""
    found = []
    for kind in KINDS:
        stage = DEMIX if kind == DEMIX else PAIRS
        shards = [shard for shard in counts if shard.stage == stage]
        total = sum(journals.planned[shard].get(kind, (0, 0.0))[0] for shard in shards)
        if not total:
            continue
        number = {state: sum(counts[shard].counts[kind].get(state, 0) for shard in shards) for state in _TOLD}
        tails = [tail for shard in shards for tail in journals.tails[shard]]
        at_work = [tail for shard in shards if (tail := living[shard]) is not None]
        units, seconds, planned, audio_s = (sum(tail.measured[kind][part] for tail in tails) for part in range(4))
        ratio = seconds / planned if planned > 0 else None
        workers = _workers(at_work)
        if starting[stage] and tails:
            workers += round(starting[stage] * _workers(tails) / len(tails))
        cost_s = sum(counts[shard].cost_s.get(kind, 0.0) for shard in shards) * (1.0 if ratio is None else ratio)
        n_open = total - sum(number[state] for state in ("done", "aside", "blocked"))
        one_worker = Rate(3600 * units / seconds, audio_s / seconds) if seconds > 0 else None
        found.append(
            StageState(
                kind, total, **number, left=n_open - number["running"] - number["failed"], workers=workers,
                recent=_rate(at_work, kind, RECENT_S) if at_work else None,
                overall=_rate(at_work, kind, None) if at_work else one_worker,
                seconds_per_unit=seconds / units if units else None,
                cost_ratio=ratio,
                remaining_s=0.0 if n_open <= 0 else cost_s / workers if workers else None,
            )
        )  # fmt: skip
    return tuple(found)


def _rate(tails: Iterable[Tail], kind: str, window_s: float | None) -> Rate | None:
    """Add up how fast each process is, by its own clock: in its last stretch, or since it began."""
    per_hour = audio = 0.0
    is_known = False
    for tail in tails:
        span_s = tail.last_t - tail.first_t
        if span_s <= 0:
            continue
        is_known = True
        if window_s is None or span_s <= window_s:
            n_units, audio_s = tail.measured[kind][0], tail.measured[kind][3]
        else:
            audio_of = [seconds for _, of_kind, seconds in tail.recent if of_kind == kind]
            n_units, audio_s, span_s = len(audio_of), sum(audio_of), window_s
        per_hour += 3600 * n_units / span_s
        audio += audio_s / span_s
    return Rate(per_hour, audio) if is_known else None


def remaining_s(
    stages: Sequence[StageState], living: Mapping[ShardId, Tail | None], counts: Mapping[ShardId, ShardCount]
) -> float | None:
    """Return how long the rest takes, demixing and pairs side by side; no shard is quicker than its own workers."""
    ratio = {stage.name: stage.cost_ratio or 1.0 for stage in stages}
    longest_s = [0.0]
    for of_demix in (True, False):
        parts = [stage.remaining_s for stage in stages if (stage.name == DEMIX) is of_demix]
        if None in parts:
            return None
        longest_s.append(sum(part for part in parts if part is not None))
    for shard, tail in living.items():
        if tail is not None:
            cost_s = sum(cost * ratio.get(kind, 1.0) for kind, cost in counts[shard].cost_s.items())
            longest_s.append(cost_s / max(_workers([tail]), 1))
    return max(longest_s)
