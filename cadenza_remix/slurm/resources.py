"""What jobs ask for, and into how many shards a run is cut: from the plan's costs, the settings and Slurm's limits."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cadenza_remix.errors import InputError
from cadenza_remix.runs.shards.folder import DEMIX, PAIRS
from cadenza_remix.runs.shards.plan import Plan, Shard, make_plan
from cadenza_remix.slurm.settings import COLLECT, SlurmSettings

_MB = 1e6  # as `shard work --memory-mb` takes it; Slurm's are larger, and what is more is left free
_USED = 0.9  # of what a job has: as many workers are started as fit into that
_MEMORY_STEP_MB = 256
_TIME_FACTOR = 1.5
_TIME_REST_S = 600.0
_TIME_STEP_MIN = 5
_COLLECT_S = 30.0


@dataclass(frozen=True)
class JobResources:
    """What one job of a stage gets: ``expected_s`` is how long the longest one is expected to take, start included."""

    cpus: int
    n_gpus: int
    memory_mb: int
    time_min: int
    expected_s: float


def workers_of(stage: str, settings: SlurmSettings) -> int:
    """Return how many processes work on a shard at once: one for each GPU, or one on all cores, or one for each core.

    Demixing on cores is one process, since its network uses them all.
    """
    return settings.pairs.cpus if stage == PAIRS else max(1, settings.demix.n_gpus)


def expected_s(shard: Shard, plan: Plan, settings: SlurmSettings) -> float:
    """Return how long a job is expected to take for a shard: no less than its longest bundle."""
    longest_s = max(sum(plan.cost_s(unit) for unit in bundle) for bundle in shard.bundles)
    return plan.speeds.start_s + max(shard.cost_s / workers_of(shard.id.stage, settings), longest_s)


def job_resources(stage: str, plan: Plan, settings: SlurmSettings) -> JobResources:
    """Return what jobs of a stage ask for; what the settings leave open comes from the plan's largest shard."""
    asked = settings.stage(stage)
    shards = () if stage == COLLECT else plan.shards(stage)
    time_s = max((expected_s(shard, plan, settings) for shard in shards), default=_COLLECT_S)
    memory_gb = asked.memory_gb
    memory_mb = _pairs_memory_mb(plan, asked.cpus) if memory_gb is None else math.ceil(memory_gb * 1024)
    # The signal comes early: what it takes away is added where it is more than the rest that everyone gets.
    rest_s = max(_TIME_REST_S, 3.0 * settings.signal_s)
    computed_min = math.ceil((_TIME_FACTOR * time_s + rest_s) / 60 / _TIME_STEP_MIN) * _TIME_STEP_MIN
    return JobResources(asked.cpus, asked.n_gpus, memory_mb, asked.time_min or computed_min, time_s)


def _pairs_memory_mb(plan: Plan, n_workers: int) -> int:
    return math.ceil(n_workers * plan.worker_bytes() / _USED / _MB / _MEMORY_STEP_MB) * _MEMORY_STEP_MB


def shard_counts(plan: Plan, settings: SlurmSettings, *, most_submitted: int | None = None) -> tuple[int, int]:
    """Return into how many shards each stage is to be cut.

    Parameters
    ----------
    plan : Plan
        The run's units in whatever shards.
    settings : SlurmSettings
        ``shards`` of a stage counts where it is given; otherwise each job shall take about ``target_min``.
    most_submitted : int, optional
        How many jobs Slurm takes from this user; each element of an array counts, and so does the job that collects.

    Returns
    -------
    tuple of int
        Shards of ``demix`` and of ``pairs``: never more than there are songs or pairs.

    Raises
    ------
    InputError
        ``shards`` asks for more than may be submitted, or not even one job for each stage may be.
    """
    most = min((value for value in (most_submitted, settings.most_submitted) if value is not None), default=None)
    n_demix = settings.demix.shards or _count(DEMIX, plan, settings)
    n_pairs = settings.pairs.shards or _count(PAIRS, plan, settings)
    n_demix = min(n_demix, len(plan.songs))
    n_pairs = min(max(n_pairs, n_demix), sum(len(shard.bundles) for shard in plan.pairs))
    if most is None or n_demix + n_pairs + 1 <= most:
        return n_demix, n_pairs
    if most < 3:
        raise InputError("too few jobs may be submitted", where="most_submitted", expected="3 or more", found=most)
    if settings.demix.shards is None:
        n_demix = min(n_demix, (most - 1) // 2)
    if settings.pairs.shards is None:
        n_pairs = max(min(n_pairs, most - 1 - n_demix), n_demix)
    if n_demix + n_pairs + 1 > most:
        raise InputError(
            "more jobs than may be submitted at once", where="slurm.demix.shards, slurm.pairs.shards",
            expected=f"at most {most - 1} shards in all", found=n_demix + n_pairs,
        )  # fmt: skip
    return n_demix, n_pairs


def cut(plan: Plan, n_demix: int, n_pairs: int) -> Plan:
    """Return the same work in other numbers of shards."""
    return make_plan(
        plan.songs, plan.all_pairs, n_demix_shards=n_demix, n_pairs_shards=n_pairs, speeds=plan.speeds,
        separator=plan.separator, is_scored=plan.is_scored,
    )  # fmt: skip


def _count(stage: str, plan: Plan, settings: SlurmSettings) -> int:
    cost_s = sum(shard.cost_s for shard in plan.shards(stage))
    target_s = max(settings.target_min * 60 - plan.speeds.start_s, 1.0)
    return max(1, math.ceil(cost_s / workers_of(stage, settings) / target_s))
