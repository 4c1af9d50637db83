"""How a run stands: units, speed, time left, jobs, and what needs attention; from its journals and Slurm's word.

Clocks of nodes may differ by hours: a time in a journal is only ever subtracted from another time of the same journal.
How long ago its last line was written is told by the claim of its shard, a file that the same process writes anew every
few seconds: the times of both files are of one clock.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cadenza_remix.errors import InputError
from cadenza_remix.runs.shards.claims import read_claim
from cadenza_remix.runs.shards.folder import STAGES, RunFolder, ShardId
from cadenza_remix.runs.shards.plan import Plan
from cadenza_remix.slurm.answers import WAITING, JobState, is_job_id
from cadenza_remix.slurm.journal_tails import COMPLETE, Journals, ShardCount, Tail, Trouble
from cadenza_remix.slurm.settings import COLLECT
from cadenza_remix.slurm.speed import StageState, remaining_s, stage_states
from cadenza_remix.slurm.submission import read_submissions

NEVER = "DependencyNeverSatisfied"
_CANCELLED = "CANCELLED"
_USUAL_REASONS = frozenset(
    ("", "None", "Resources", "Priority", "Dependency", "BeginTime", "JobArrayTaskLimit", "Cleaning", "Prolog")
)
_MOST_ROUNDS = 9999  # what the name of a journal has room for
_GOING_WELL = ("done", "running", "waiting", "not yet")


@dataclass(frozen=True)
class AtHand:
    """A unit at work, and for how long."""

    unit: str
    for_s: float


@dataclass(frozen=True)
class JobView:
    """One job: ``state`` and ``reason`` (why it waits or ended) in Slurm's words, empty where it was not asked or
    forgot it.

    ``said`` is why the journal of its last process closed; empty while that is open, or when there is none.
    """

    id: str
    stage: str
    shard: int | None
    node: str
    state: str
    reason: str
    restarts: int
    is_working: bool
    units: tuple[AtHand, ...]
    n_left: int
    said: str


@dataclass(frozen=True)
class RunState:
    """How a run stands.

    ``lost``: shards with units left and nobody who works on them; ``stuck``: jobs that wait for what does not come by
    itself; ``damaged``: files of the run that cannot be read or understood; ``n_cancelled``: jobs of the last round
    that were cancelled; ``collect``: "done", "running", "waiting", "not yet" or what went wrong; ``files``: tables that
    are there; ``remaining_s``: None when it cannot be known; ``not_asked``: why Slurm was not asked, empty when it was.
    """

    stages: tuple[StageState, ...]
    jobs: tuple[JobView, ...]
    aside: tuple[Trouble, ...]
    blocked: tuple[Trouble, ...]
    lost: tuple[Trouble, ...]
    stuck: tuple[Trouble, ...]
    damaged: tuple[Trouble, ...]
    n_cancelled: int
    rounds: int
    collect: str
    files: tuple[str, ...]
    remaining_s: float | None
    is_submitted: bool
    is_over: bool
    not_asked: str

    @property
    def needs_attention(self) -> bool:
        """Tell whether the run is over and something is missing; damaged files are no matter when all is done."""
        failed = self.collect not in _GOING_WELL or (self.damaged and self.collect != "done")
        return self.is_over and bool(self.aside or self.blocked or self.lost or failed)


# --------------------------------------------------------------------------------------------- what was submitted


class Submitted(NamedTuple):
    """One job of a submission, an element of an array for itself: ``shard`` is None for ``collect``."""

    round: int
    id: str
    stage: str
    shard: ShardId | None


def submitted_jobs(folder: RunFolder) -> list[Submitted]:
    """Return every job that was submitted for a run, in order; none when it never went to Slurm.

    Raises
    ------
    InputError
        The list of submissions cannot be understood.
    """
    try:
        return list(_submitted(read_submissions(folder)))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        where = folder.slurm / "submissions.json"
        raise InputError("damaged list of jobs", where=where, expected="what this program wrote") from error


def known_jobs(folder: RunFolder) -> tuple[list[Submitted], Trouble | None]:
    """Return what `submitted_jobs` does, or nothing and the trouble that the list is damaged."""
    try:
        return submitted_jobs(folder), None
    except InputError as error:
        name = "slurm/submissions.json"
        return [], Trouble(name, str(error).removeprefix(f"{folder.root / name}: "))


def _submitted(raw: Iterable[Mapping[str, Any]]) -> Iterator[Submitted]:
    for entry in raw:
        for job in entry["jobs"]:
            stage, number, job_id = job["stage"], int(entry["round"]), str(job["job_id"])
            if not 1 <= number <= _MOST_ROUNDS or not is_job_id(job_id):
                raise ValueError(f"round {number}, job {job_id!r}")
            if stage not in STAGES:
                yield Submitted(number, job_id, stage, None)
                continue
            for index in job["shards"]:
                yield Submitted(number, f"{job_id}_{index - job['offset']}", stage, ShardId(stage, index))


# ---------------------------------------------------------------------------------------------- how things stand


def run_state(
    folder: RunFolder,
    plan: Plan,
    *,
    jobs: Sequence[JobState] | None,
    journals: Journals | None = None,
    not_asked: str = "",
) -> RunState:
    """Tell how a run stands.

    Parameters
    ----------
    folder : RunFolder
    plan : Plan
    jobs : sequence of JobState, or None
        What Slurm says of the run's jobs; None when it was not asked: journals alone then tell.
    journals : Journals, optional
        As they were looked at after Slurm was asked (a job that ends meanwhile would seem lost otherwise); all are read
        if not given.
    not_asked : str
        Why Slurm was not asked.
    """
    if journals is None:
        journals = Journals(folder, plan)
        journals.look()
    submitted, list_damage = known_jobs(folder)
    slurm = None if jobs is None else {job.job_id: job for job in jobs}
    living = {
        shard: tails[-1] if tails and _lives(journals, shard, tails[-1], slurm) else None
        for shard, tails in journals.tails.items()
    }
    damaged = (*([list_damage] if list_damage else ()), *journals.damaged())
    counts = {shard: journals.count(shard, tail) for shard, tail in living.items()}
    views = _job_views(journals, submitted, slurm, living, counts)
    lost = tuple(_lost(journals, submitted, slurm, living, counts))
    stages = stage_states(journals, living, counts, _starting(views))
    files = tuple(path.name for path in (folder.scores, folder.missing) if path.is_file())
    n_left = sum(count.n_left for count in counts.values())
    collect = _collect_word(submitted, slurm, is_made=not n_left and _has_tables(folder, plan, journals))
    return RunState(
        stages=stages,
        jobs=views,
        aside=tuple(trouble for count in counts.values() for trouble in count.aside),
        blocked=tuple(trouble for count in counts.values() for trouble in count.blocked),
        lost=lost,
        stuck=tuple(_stuck(views)),
        damaged=damaged,
        n_cancelled=_n_cancelled(submitted, slurm),
        rounds=max([0, *(job.round for job in submitted), *(t[-1].round for t in journals.tails.values() if t)]),
        collect=collect,
        files=files,
        remaining_s=remaining_s(stages, living, counts),
        is_submitted=bool(submitted),
        is_over=_is_over(journals, submitted, slurm, views, n_left=n_left, collect=collect, is_damaged=bool(damaged)),
        not_asked="" if slurm is not None else not_asked or "it was not asked",
    )


def _lives(journals: Journals, shard: ShardId, tail: Tail, slurm: Mapping[str, JobState] | None) -> bool:
    """Tell whether the last process of a shard is at work, by its job or else by its claim."""
    if tail.reason is not None or not tail.is_opened:
        return False
    if tail.job and slurm is not None:
        job = slurm.get(tail.job)
        return job is not None and job.is_running and job.n_restarts in (None, tail.fact("restart", 0))
    owner = journals.owner(shard)
    if owner is None or (owner.host, owner.pid) != (tail.fact("host", ""), tail.fact("pid", 0)):
        return False
    return bool(owner.machine) or owner.host != socket.gethostname() or _runs_here(owner.pid)


def _runs_here(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0


def _since_last_line_s(folder: RunFolder, shard: ShardId, tail: Tail) -> float:
    """Return how long ago a process at work wrote its last line, to a few seconds; 0 when its claim does not tell."""
    path = folder.claim(shard)
    owner = read_claim(path)
    if owner is None or (owner.host, owner.pid) != (tail.fact("host", ""), tail.fact("pid", 0)):
        return 0.0
    try:
        return max(path.stat().st_mtime - tail.path.stat().st_mtime, 0.0)
    except OSError:
        return 0.0


def _job_views(
    journals: Journals,
    submitted: Sequence[Submitted],
    slurm: Mapping[str, JobState] | None,
    living: Mapping[ShardId, Tail | None],
    counts: Mapping[ShardId, ShardCount],
) -> tuple[JobView, ...]:
    """Return the last round's jobs, those of earlier ones that Slurm still has to do with, and other processes."""
    last = max((job.round for job in submitted), default=0)
    wanted = [job for job in submitted if job.round == last or _is_awaited(slurm, job.id)]
    known = {job.id for job in wanted}
    wanted += [
        Submitted(tail.round, tail.job, shard.stage, shard)
        for shard, tail in living.items()
        if tail is not None and tail.job not in known
    ]
    return tuple(_job_view(journals, job, slurm.get(job.id) if slurm else None, living, counts) for job in wanted)


def _job_view(
    journals: Journals,
    job: Submitted,
    told: JobState | None,
    living: Mapping[ShardId, Tail | None],
    counts: Mapping[ShardId, ShardCount],
) -> JobView:
    shard, hand = job.shard, list[AtHand]()
    tails = journals.tails.get(shard, []) if shard is not None else []
    tail = next((tail for tail in reversed(tails) if tail.job == job.id), None)
    works = tail is not None and shard is not None and living.get(shard) is tail
    if tail is not None and shard is not None and works:
        since_s = _since_last_line_s(journals.folder, shard, tail)
        hand = [AtHand(unit, max(tail.last_t - t, 0.0) + since_s) for unit, t in tail.at_hand.items()]
    return JobView(
        id=job.id,
        stage=job.stage,
        shard=shard.index if shard is not None else None,
        node=(told.nodes if told else "") or (tail.node if tail else ""),
        state=told.state if told else "",
        reason=told.reason if told else "",
        restarts=max((told.n_restarts or 0) if told else 0, tail.fact("restart", 0) if tail else 0),
        is_working=works,
        units=tuple(hand),
        n_left=counts[shard].n_left if shard is not None and shard in counts else 0,
        said=(tail.reason or "") if tail else "",
    )


def _is_awaited(slurm: Mapping[str, JobState] | None, job_id: str) -> bool:
    """Tell whether Slurm has a job at work or will start it."""
    job = slurm.get(job_id) if slurm else None
    return job is not None and (job.is_running or (job.is_waiting and job.reason != NEVER))


def _lost(
    journals: Journals,
    submitted: Sequence[Submitted],
    slurm: Mapping[str, JobState] | None,
    living: Mapping[ShardId, Tail | None],
    counts: Mapping[ShardId, ShardCount],
) -> Iterator[Trouble]:
    """Yield the shards with units left that nobody works on or will work on, as far as can be known."""
    of_shard: dict[ShardId, list[Submitted]] = {}
    for job in submitted:
        if job.shard is not None:
            of_shard.setdefault(job.shard, []).append(job)
    for shard, count in counts.items():
        jobs, tails = of_shard.get(shard, []), journals.tails[shard]
        if not count.n_left or living[shard] is not None or any(_is_awaited(slurm, job.id) for job in jobs):
            continue
        if jobs and slurm is None:
            continue  # perhaps a job waits for its turn
        tail = tails[-1] if tails else None
        if jobs and (tail is None or tail.round < jobs[-1].round):
            yield Trouble(str(shard), f"{_ended(slurm, jobs[-1].id)} before it began", job=jobs[-1].id)
        elif tail is not None and tail.reason is None:
            why = f"lost: {_ended(slurm, tail.job) if tail.job else 'its process is gone'} without a last word"
            yield Trouble(str(shard), why, tail.node, tail.job)
        elif tail is not None and tail.reason is not None and tail.reason != COMPLETE:
            told = slurm.get(tail.job) if slurm else None
            why = "its job was cancelled" if told is not None and told.state == _CANCELLED else tail.reason
            yield Trouble(str(shard), f"stopped: {why}", tail.node, tail.job)


def _ended(slurm: Mapping[str, JobState] | None, job_id: str) -> str:
    job = slurm.get(job_id) if slurm else None
    if job is None:
        return "its job is gone (Slurm knows it no more)"
    if job.reason == NEVER:
        return f"its job never starts ({NEVER})"
    if job.state == _CANCELLED:
        return "its job was cancelled"
    return f"its job ended ({_words(job)})"


def _words(job: JobState) -> str:
    """Return Slurm's words about an end: ``FAILED, NonZeroExitCode``."""
    if job.state == _CANCELLED:  # the reason is why it waited before
        return "cancelled"
    return f"{job.state}, {job.reason}" if job.reason else job.state


def _n_cancelled(submitted: Sequence[Submitted], slurm: Mapping[str, JobState] | None) -> int:
    """Count the jobs of the last round that were cancelled."""
    last = max((job.round for job in submitted), default=0)
    told = [slurm.get(job.id) for job in submitted if job.round == last] if slurm else []
    return sum(one is not None and one.state == _CANCELLED for one in told)


def _stuck(views: Iterable[JobView]) -> Iterator[Trouble]:
    for view in views:
        if view.state in WAITING and (view.state != "PENDING" or view.reason not in _USUAL_REASONS):
            name = view.stage if view.shard is None else f"{view.stage}-{view.shard}"
            yield Trouble(name, view.reason or view.state, view.node, view.id)


def _has_tables(folder: RunFolder, plan: Plan, journals: Journals) -> bool:
    """Tell whether the table of scores was written after all work on shards had ended, by whomever."""
    if not plan.is_scored:
        return True
    try:
        written = folder.scores.stat().st_mtime
        return all(tail.path.stat().st_mtime <= written for tails in journals.tails.values() for tail in tails)
    except OSError:
        return False


def _collect_word(submitted: Sequence[Submitted], slurm: Mapping[str, JobState] | None, *, is_made: bool) -> str:
    """Return how collecting stands, in a word where all goes well."""
    jobs = [job for job in submitted if job.stage == COLLECT]
    told = slurm.get(jobs[-1].id) if slurm is not None and jobs else None
    if told is not None and told.is_running:
        return "running"
    if told is not None and told.is_waiting:
        return "waiting" if told.reason != NEVER else f"never starts ({NEVER})"
    if is_made or (told is not None and told.state == "COMPLETED"):
        return "done"
    if told is not None:
        return _words(told)
    return "its job is gone" if jobs and slurm is not None else "not yet"


def _is_over(
    journals: Journals,
    submitted: Sequence[Submitted],
    slurm: Mapping[str, JobState] | None,
    views: Iterable[JobView],
    *,
    n_left: int,
    collect: str,
    is_damaged: bool,
) -> bool:
    """Tell whether nothing runs or waits any more, as far as can be known."""
    if any(view.is_working for view in views):
        return False
    if slurm is not None and submitted:
        return not any(_is_awaited(slurm, job.id) for job in submitted)
    if submitted:
        return not n_left and collect == "done"
    return is_damaged or any(journals.tails.values())


def _starting(views: Iterable[JobView]) -> dict[str, int]:
    """Return how many jobs of each stage have their place and have not begun."""
    found = dict.fromkeys(STAGES, 0)
    for view in views:
        if view.stage in found and view.state in ("RUNNING", "CONFIGURING") and not view.is_working and not view.said:
            found[view.stage] += 1
    return found
