"""Work on the shards of a run on this machine: one of them, as a job of a cluster does, or all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cadenza_remix.errors import CadenzaError, InputError
from cadenza_remix.runs.memory import affordable_workers, available_bytes
from cadenza_remix.runs.pool import default_workers
from cadenza_remix.runs.progress import Progress
from cadenza_remix.runs.shards.folder import DEMIX, RunFolder, ShardId
from cadenza_remix.runs.shards.job import RunWork
from cadenza_remix.runs.shards.journal import COMPLETE, ShardHistory, last_round
from cadenza_remix.runs.shards.plan import Plan, Shard, Unit, read_plan
from cadenza_remix.runs.shards.scratch import scratch_folder
from cadenza_remix.runs.shards.stopping import ERROR, Stopping, exit_status
from cadenza_remix.runs.shards.working import ShardOutcome, work_shard

BLOCKED = 3
"""Status of a shard that lacks stems which may yet come."""


def work_on(
    run: str | Path,
    stage: str,
    index: int,
    *,
    round_number: int = 1,
    n_workers: int | None = None,
    memory_mb: int | None = None,
    gpus: str | None = None,
    scratch: Path | None = None,
    deadline_s: float = 90.0,
    settle_s: float = 30.0,
    notify: Callable[[str], None] = lambda _: None,
) -> int:
    """Work on one shard and return the status to leave with: BLOCKED, or see `stopping.exit_status`.

    Parameters
    ----------
    run : path
        The folder of a run that has been planned.
    stage, index : str, int
        Which shard.
    round_number : int
        Which time the run is started or resumed.
    n_workers : int, optional
        One for ``demix`` (or one per GPU), all cores for ``pairs``.
    memory_mb : int, optional
        What all workers together may take; what is free on this machine otherwise.
    gpus : str, optional
        Numbers of the GPUs that this job has, ``0,1``: one worker for each, which sees that one alone. What the
        settings leave to ``auto`` then means ``gpu``: one that does not work is an error, not a reason to be slow.
    scratch : Path, optional
        A folder on this machine's own disk.
    deadline_s : float
        How long units at hand may take on after SIGUSR1.
    settle_s : float
        How long to wait for what other nodes have written: shared disks show files late.
    notify : callable
        Gets lines for the log.

    Raises
    ------
    InputError, OutputError
        No such run or shard; claim or journal cannot be written.
    """
    folder = RunFolder(Path(run).absolute())
    plan = read_plan(folder.plan)
    planned = plan.shard(ShardId(stage, index))
    environments = _one_gpu_each(gpus) if stage == DEMIX else []
    if stage == DEMIX:
        wanted = len(environments) or n_workers or 1
    else:
        wanted = _as_memory_allows(plan, planned, n_workers or default_workers(), memory_mb, notify)
    with Stopping(deadline_s=deadline_s) as stop, scratch_folder(scratch) as own:
        work = RunWork.of(folder, plan, shard=planned, scratch=own, on_gpu=bool(environments))
        outcome = work_shard(
            folder, plan, planned.id, work, round_number=round_number, n_workers=min(wanted, len(planned.bundles)),
            environments=environments, stop=stop, settle_s=settle_s, notify=notify,
        )  # fmt: skip
    notify(_told(planned, outcome))
    if outcome.reason.startswith(ERROR):
        raise CadenzaError(outcome.reason.removeprefix(ERROR))
    if outcome.n_blocked and outcome.reason == COMPLETE and _waits(folder, plan, planned):
        return BLOCKED
    return exit_status(outcome.reason)


def run_here(
    folder: RunFolder,
    plan: Plan,
    *,
    progress: Progress,
    n_workers: int | None = None,
    scratch: Path | None = None,
) -> int:
    """Work on all shards of a run, one after another; return the status to leave with when it was stopped, else 0.

    Raises
    ------
    CadenzaError
        Something stopped a shard, such as a full disk.
    """
    rounds = last_round(folder) + 1
    counts = dict.fromkeys(("demix", "enhance", "score"), 0)
    for shard in plan.all_shards:
        for unit in shard.units:
            counts[unit.kind] += 1
    for kind, count in counts.items():
        progress.start(kind, count)
    with Stopping() as stop, scratch_folder(scratch) as own:
        work = RunWork.of(folder, plan, scratch=own)
        for shard in plan.all_shards:
            wanted = 1 if shard.id.stage == DEMIX else n_workers or default_workers()
            if shard.id.stage != DEMIX:
                wanted = _as_memory_allows(plan, shard, wanted, None, progress.say)
            outcome = work_shard(
                folder, plan, shard.id, work, round_number=rounds, n_workers=min(wanted, len(shard.bundles)), stop=stop,
                settle_s=0.0, notify=progress.say, on_unit=lambda unit: progress.advance(unit.kind),
            )  # fmt: skip
            if outcome.reason.startswith(ERROR):
                raise CadenzaError(outcome.reason.removeprefix(ERROR))
            if status := exit_status(outcome.reason):
                return status
    return 0


def _waits(folder: RunFolder, plan: Plan, shard: Shard) -> bool:
    """Tell whether a shard of pairs lacks stems that nobody has given up."""
    if shard.needs is None:
        return False
    states = ShardHistory.read(folder, plan.demix[shard.needs].id).states
    return any(states[Unit(DEMIX, song).name].state not in ("done", "aside") for song in shard.songs)


def _as_memory_allows(
    plan: Plan, shard: Shard, n_workers: int, memory_mb: int | None, notify: Callable[[str], None]
) -> int:
    bytes_each = plan.worker_bytes(shard.songs)
    limits = [limit for limit in (available_bytes(), memory_mb and memory_mb * 1_000_000) if limit is not None]
    affordable = affordable_workers(n_workers, bytes_each, available=min(limits) if limits else None)
    if affordable < n_workers:
        notify(
            f"{affordable} of {n_workers} workers: each needs about {bytes_each / 1e9:.1f} GB, and memory is not enough"
            " for more"
        )
    return affordable


def _one_gpu_each(gpus: str | None) -> list[dict[str, str]]:
    if gpus is None or not gpus.strip():
        return []
    names = [name.strip() for name in gpus.split(",")]
    if not all(names):
        raise InputError("wrong list of GPUs", where="--gpus", expected="such as 0,1", found=repr(gpus))
    return [{"CUDA_VISIBLE_DEVICES": name} for name in names]


def _told(shard: Shard, outcome: ShardOutcome) -> str:
    counts = {
        "done": outcome.n_done, "found done": outcome.n_found, "set aside": outcome.n_aside,
        "blocked": outcome.n_blocked, "left": outcome.n_left,
    }  # fmt: skip
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{shard.id}: {outcome.reason}: {told or 'nothing to do'} of {len(shard.units)} units"
