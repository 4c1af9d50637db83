"""What Slurm's programs print, as values: squeue, scontrol, sacct and sacctmgr in their parseable formats."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cadenza_remix.errors import InputError

WAITING = frozenset(["PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"])
RUNNING = frozenset(
    ["RUNNING", "CONFIGURING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED"]
)
SQUEUE_FORMAT = (
    "JobArrayID:|,ArrayJobID:|,ArrayTaskID:|,State:|,NodeList:|,Reason:|,StartTime:|,TimeLimit:|,RestartCnt:|"
)
SACCT_FIELDS = ("JobID", "State", "NodeList", "Reason", "Start", "Timelimit")
_JOB_ID = re.compile(r"([0-9]{1,18})(_[0-9]{1,18})?")
_DURATION = re.compile(r"(?:(\d+)-)?(\d+(?::\d+){0,2})")


@dataclass(frozen=True)
class Limits:
    """What a cluster lets a user submit.

    ``max_array_size``: array elements are numbered from 0 to less than this; ``max_jobs``: how many jobs of all users
    the cluster holds, each element counted; ``max_submit``: how many of this user may wait and run at a time, each
    element counted, or None where nothing is said (no accounting, no limit).
    """

    max_array_size: int
    max_jobs: int
    max_submit: int | None


@dataclass(frozen=True)
class JobState:
    """A job, or one element of an array, as Slurm sees it.

    ``job_id`` is ``12`` or ``12_3``; ``array_job_id`` is ``12`` for both, ``task_id`` None or 3. ``state`` is in
    Slurm's words (``RUNNING``), ``nodes`` empty where it has none yet, ``reason`` why it waits or ended, or empty.
    ``start`` is when it started or is expected to (Unix seconds), ``time_limit_s`` None where there is none,
    ``n_restarts`` how often it was requeued, None where only the accounting knows the job.
    """

    job_id: str
    array_job_id: str
    task_id: int | None
    state: str
    nodes: str
    reason: str
    start: float | None
    time_limit_s: float | None
    n_restarts: int | None

    @property
    def is_waiting(self) -> bool:
        return self.state in WAITING

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING

    @property
    def is_over(self) -> bool:
        return not self.is_waiting and not self.is_running


def base_id(job_id: str) -> str:
    """Return the id of the job that an element belongs to.

    Raises
    ------
    InputError
        This is no id of a job or of an element.

    Examples
    --------
    >>> base_id("12_3")
    '12'
    """
    if not (found := _JOB_ID.fullmatch(job_id)):
        raise InputError("no job id", expected="12 or 12_3", found=repr(job_id))
    return found[1]


def is_job_id(text: str) -> bool:
    """Tell whether a text is an id of a job or of an element: nothing else may reach Slurm's programs.

    Examples
    --------
    >>> is_job_id("12_3"), is_job_id("--all")
    (True, False)
    """
    return _JOB_ID.fullmatch(text) is not None


def parse_squeue(text: str) -> list[JobState]:
    """Return the jobs that ``squeue -h -r -O`` lists in `SQUEUE_FORMAT`, times in Unix seconds."""
    jobs = []
    for fields in _rows(text, 9, "squeue"):
        name, array, task, state, nodes, reason, start, time_limit, restarts = fields
        job = JobState(
            job_id=name,
            array_job_id=array,
            task_id=int(task) if task.isdigit() else None,
            state=state,
            nodes=nodes,
            reason=_meant(reason),
            start=_seconds(start),
            time_limit_s=duration_s(time_limit),
            n_restarts=int(restarts) if restarts.isdigit() else None,
        )
        jobs.append(job)
    return jobs


def parse_sacct(text: str) -> list[JobState]:
    """Return the jobs that ``sacct -X -n -P`` lists with `SACCT_FIELDS`, times in Unix seconds.

    Elements that have not started are one line there (``12_[4-6,9%2]``), and one job each here; a job that was requeued
    has its last state.
    """
    jobs: dict[str, JobState] = {}
    for name, state, nodes, reason, start, time_limit in _rows(text, len(SACCT_FIELDS), "sacct"):
        for job_id in _elements(name):
            array, _, task = job_id.partition("_")
            jobs[job_id] = JobState(
                job_id=job_id,
                array_job_id=array,
                task_id=int(task) if task else None,
                state=state.split()[0] if state else "",  # "CANCELLED by 1000"
                nodes=_meant(nodes),
                reason=_meant(reason),
                start=_seconds(start),
                time_limit_s=duration_s(time_limit),
                n_restarts=None,
            )
    return list(jobs.values())


def config_value(text: str, name: str) -> str:
    """Return a value of ``scontrol show config``; an InputError when it does not have it."""
    if found := re.search(rf"^{name}\s*= (.*)$", text, re.MULTILINE):
        return found[1].strip()
    raise InputError("missing in Slurm's answer", where="scontrol show config", expected=name)


def smallest_submit_limit(
    associations: str, qualities: str, *, account: str | None = None, qos: str | None = None
) -> int | None:
    """Return how many jobs a user may have at a time, by what sacctmgr says; None when nothing limits them.

    Parameters
    ----------
    associations : str
        ``sacctmgr -nP show assoc where user=... format=account,defaultqos,maxsubmitjobs,grpsubmitjobs``.
    qualities : str
        ``sacctmgr -nP show qos format=name,maxsubmitjobsperuser,grpsubmitjobs``.
    account, qos : str, optional
        Those of the jobs. All accounts of the user count without one, and their default QOS.
    """
    counts, names = [], {qos}
    for its_account, default_qos, *of_association in _rows(associations, 4, "sacctmgr"):
        if account in (None, its_account):
            counts += of_association
            names |= {default_qos} if qos is None else set()
    for name, *of_qos in _rows(qualities, 3, "sacctmgr"):
        if name in names:
            counts += of_qos
    return min((int(count) for count in counts if count.isdigit()), default=None)


def duration_s(text: str) -> float | None:
    """Return seconds of Slurm's ``[days-][[hours:]minutes:]seconds``; None for ``UNLIMITED`` and the like.

    Examples
    --------
    >>> duration_s("1-02:00:00")
    93600.0
    """
    if not (found := _DURATION.fullmatch(text)):
        return None
    seconds = 0
    for part in found[2].split(":"):
        seconds = 60 * seconds + int(part)
    return float(24 * 3600 * int(found[1] or 0) + seconds)


def _rows(text: str, n_fields: int, program: str) -> Iterator[list[str]]:
    """Yield the fields of each line; one ``|`` may stand after the last of them."""
    for line in text.splitlines():
        if not line.strip() or line.startswith("CLUSTER: "):  # a heading where SLURM_CLUSTERS is set
            continue
        fields = [field.strip() for field in line.strip().split("|")]
        if len(fields) == n_fields + 1 and not fields[-1]:
            fields.pop()
        if len(fields) != n_fields:
            raise InputError("unknown answer", where=program, expected=f"{n_fields} fields", found=repr(line))
        yield fields


def _elements(name: str) -> list[str]:
    """Return the jobs of sacct's ``12``, ``12_3`` or ``12_[4-6,9%2]``."""
    if not (found := re.fullmatch(r"(\d+)_\[([^\]%]*)(%\d+)?\]", name)):
        return [name] if re.fullmatch(r"\d+(_\d+)?", name) else []  # a part of a heterogeneous job is not ours
    jobs = []
    for part in found[2].split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        if first.isdigit():
            jobs += [f"{found[1]}_{task}" for task in range(int(first), int(last or first) + 1, int(step or 1))]
    return jobs


def _seconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+", text) else None


def _meant(text: str) -> str:
    return "" if text in ("None", "None assigned", "(null)", "N/A") else text
