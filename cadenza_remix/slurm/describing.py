"""What a submission would come to, as text: jobs, what they ask for, how long it takes, after the whole scripts."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from cadenza_remix.runs.shards.folder import DEMIX, PAIRS, ShardId
from cadenza_remix.runs.shards.plan import Plan
from cadenza_remix.slurm.resources import expected_s, job_resources
from cadenza_remix.slurm.scripts import log_pattern
from cadenza_remix.slurm.settings import COLLECT, JOB_STAGES, SlurmSettings
from cadenza_remix.slurm.submission import job_scripts, plan_jobs

_COLUMNS = ("stage", "jobs", "arrays", "CPUs", "GPUs", "memory", "time limit", "expected each")


def describe(
    plan: Plan,
    root: Path,
    settings: SlurmSettings,
    *,
    max_array_size: int,
    shards: Collection[ShardId] | None = None,
) -> str:
    """Say what `cadenza_remix.slurm.submission.submit` would do; nothing is submitted or written.

    Parameters
    ----------
    plan : Plan
    root : Path
        The folder of the run, absolute.
    settings : SlurmSettings
    max_array_size : int
        Slurm's.
    shards : collection of ShardId, optional
        Only these; all by default.

    Raises
    ------
    InputError
        Logs cannot lie in this folder.
    """
    wanted = {shard.id for shard in plan.all_shards} if shards is None else set(shards)
    jobs = plan_jobs(plan, wanted, max_array_size=max_array_size)
    rows = [_COLUMNS]
    for stage in JOB_STAGES:
        arrays = [job for job in jobs if job.stage == stage]
        if not arrays:
            continue
        resources = job_resources(stage, plan, settings)
        n_jobs = 1 if stage == COLLECT else sum(len(job.shards) for job in arrays)
        n_arrays = "-" if stage == COLLECT else str(len(arrays))
        expected = _time(resources.expected_s)
        memory = f"{resources.memory_mb / 1024:.4g} GB"
        rows.append(
            (stage, str(n_jobs), n_arrays, str(resources.cpus), str(resources.n_gpus), memory,
             f"{resources.time_min} min", expected)
        )  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    texts = [f"==> {root / script.name}\n{script.text}" for script in job_scripts(plan, root, settings)]
    # What one looks for first comes last: that is what a terminal shows at the end.
    return "\n".join([*texts, *table, "", f"logs: {log_pattern(DEMIX, root)}", *_totals(plan, settings, wanted)])


def _totals(plan: Plan, settings: SlurmSettings, wanted: set[ShardId]) -> list[str]:
    """Say how long it takes if all jobs start as soon as they may, and how much of cores and GPUs that is."""
    times = {shard.id: expected_s(shard, plan, settings) for shard in plan.all_shards if shard.id in wanted}
    ends = [
        times[shard.id] + times.get(ShardId(DEMIX, shard.needs or 0), 0.0) for shard in plan.pairs if shard.id in times
    ]
    ends += [seconds for shard, seconds in times.items() if shard.stage == DEMIX]
    whole_s = max(ends, default=0.0) + job_resources(COLLECT, plan, settings).expected_s
    cpu_s = sum(seconds * settings.stage(shard.stage).cpus for shard, seconds in times.items())
    gpu_s = sum(seconds * settings.demix.n_gpus for shard, seconds in times.items() if shard.stage == DEMIX)
    n_cpus = sum(settings.pairs.cpus for shard in times if shard.stage == PAIRS)
    return [
        f"expected: {_time(whole_s)} if no job has to wait for others ({n_cpus} cores for {PAIRS}); "
        f"{cpu_s / 3600:.3g} core hours, {gpu_s / 3600:.3g} GPU hours"
    ]


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
