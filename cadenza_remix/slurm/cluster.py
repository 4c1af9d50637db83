"""Slurm's own programs: submit, cancel, requeue, ask for limits and for states. Nothing else calls them.

Each call has a time limit. A controller that does not answer is asked once more after a pause, then told in one line.
The state of many jobs takes one call of squeue; jobs that it has forgotten (a few minutes after their end) are looked
up in the accounting where a cluster keeps one.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from cadenza_remix.errors import CadenzaError, InputError, MissingDependencyError, OutputError
from cadenza_remix.slurm.answers import (
    SACCT_FIELDS,
    SQUEUE_FORMAT,
    JobState,
    Limits,
    base_id,
    config_value,
    parse_sacct,
    parse_squeue,
    smallest_submit_limit,
)

__all__ = [
    "JobState",
    "Limits",
    "NoAnswerError",
    "cancel",
    "check_job",
    "check_slurm",
    "has_accounting",
    "limits",
    "n_queued",
    "queue",
    "requeue",
    "submit",
]

TIMEOUT_S = 60.0  # Slurm's programs themselves give up after about 10 to 20 s
RETRY_PAUSE_S = 10.0
_NO_ANSWER = re.compile(
    r"unable to contact slurm|socket timed out|connection refused|zero bytes were transmitted|"
    r"(controller|slurmctld).* (standby|not respond)|unable to establish (controller|connection)",
    re.IGNORECASE,
)
_NOT_REACHED = re.compile(r"unable to contact slurm|connection refused", re.IGNORECASE)
_FULL = re.compile(r"job queue full|temporarily unable to accept job", re.IGNORECASE)
_NOT_NOW = re.compile(  # what --test-only tells of nodes that are not up; sbatch puts such jobs into the queue
    r"nodes? (is|are) busy|down, drained or reserved|not available now|temporarily", re.IGNORECASE
)
_NO_SUCH_NODE = re.compile(r"node configuration is not available", re.IGNORECASE)
_GPUS = re.compile(r"\bgpu(?::(?!\d+\b(?!:))([^:,\s]+))?(?::(\d+))?")  # type, count
_OVER = re.compile(r"invalid job id|already completing or completed|already finished", re.IGNORECASE)
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")  # which cluster, and who asks
_IS_UP = re.compile(r"\bis UP\b")  # the controller, or the one that stands in for it


class NoAnswerError(OutputError):
    """Slurm's controller does not answer; what was asked may be asked again later."""


def check_slurm() -> None:
    """Make sure that there is a Slurm to submit to.

    Raises
    ------
    MissingDependencyError
        Slurm's programs are not installed here.
    NoAnswerError
        They are, and the controller does not answer.
    """
    for program in ("sbatch", "squeue", "scontrol", "scancel"):
        _where(program)
    done = _call("scontrol", "ping")
    if not _IS_UP.search(done.stdout):
        time.sleep(RETRY_PAUSE_S)
        done = _call("scontrol", "ping")
    if not _IS_UP.search(done.stdout):
        raise NoAnswerError(f"scontrol ping: Slurm's controller does not answer: {_words(done)}")


def submit(script: Path, *, arguments: Sequence[str] = (), options: Sequence[str] = ()) -> str:
    """Submit a job script; return the job's id.

    Parameters
    ----------
    script : Path
    arguments : sequence of str
        What the script gets as ``$1``, ``$2``, ...
    options : sequence of str
        Options of sbatch, before those in the script.

    Raises
    ------
    InputError
        sbatch refuses the job, in its own words, or the cluster's queue is full.
    NoAnswerError
        The controller does not answer. Where the request may have reached it, the line says so: nothing is submitted
        twice.
    """
    command = ("sbatch", "--parsable", *options, str(script.absolute()), *arguments)
    done = _call(*command, timeout_s=2 * TIMEOUT_S, twice_is_safe=False, give_up=_FULL)
    if done.returncode and _FULL.search(done.stderr):
        most = limits().max_jobs
        raise InputError(f"Slurm's queue is full: it takes {most} jobs of all users (MaxJobCount)", where=script)
    if done.returncode:
        raise InputError(f"sbatch refuses this job: {_words(done)}", where=script)
    for line in reversed(done.stdout.splitlines()):  # a site's own plug-in may print, too
        if found := re.fullmatch(r"(\d+)(;\S*)?", line.strip()):
            return found[1]
    raise InputError("sbatch gave no job id", where=script, expected="a number", found=repr(done.stdout.strip()))


def check_job(text: str, options: Sequence[str] = ()) -> None:
    """Ask Slurm whether it would take a job; nothing is submitted.

    Parameters
    ----------
    text : str
        The job's script.
    options : sequence of str
        Options of sbatch, before those in the script.

    Raises
    ------
    InputError
        sbatch refuses the job, in its own words. That nodes are busy or down at the moment is no reason.
    NoAnswerError
        The controller does not answer.
    """
    done = _call("sbatch", "--test-only", *options, text=text)
    if not done.returncode or _NOT_NOW.search(done.stderr):
        return
    if not (_NO_SUCH_NODE.search(done.stderr) and _fits_a_node_that_is_out("\n".join([*options, text]))):
        raise InputError(f"sbatch refuses this job: {_words(done)}")


def cancel(job_ids: Iterable[str]) -> None:
    """Cancel jobs (``12``) and elements of arrays (``12_3``); those that are over already are no matter."""
    _for_each("scancel", job_ids)


def requeue(job_ids: Iterable[str]) -> None:
    """Put running jobs and elements of arrays back into the queue; those that are over already are no matter.

    Slurm lets them start again about two minutes later.
    """
    _for_each("scontrol", job_ids, "requeue")


def limits(*, account: str | None = None, qos: str | None = None) -> Limits:
    """Return what this cluster lets a user submit.

    Parameters
    ----------
    account, qos : str, optional
        Under which jobs will be submitted. Without an account the smallest limit of the user's accounts counts, and
        without a QOS that of their default one.
    """
    config = _asked("scontrol", "show", "config")
    return Limits(
        max_array_size=int(config_value(config, "MaxArraySize")),
        max_jobs=int(config_value(config, "MaxJobCount")),
        max_submit=_max_submit(config, account, qos) if _accounts(config) else None,
    )


def has_accounting() -> bool:
    """Whether the cluster keeps accounts of jobs, so that sacct knows those that squeue has forgotten."""
    return _accounts(_asked("scontrol", "show", "config"))


def n_queued() -> int:
    """Return how many jobs and array elements of this user wait or run: those count towards ``Limits.max_submit``."""
    return len(_asked("squeue", "-h", "-r", "-u", getpass.getuser(), "-o", "%i").split())


def queue(job_ids: Iterable[str], *, accounting: bool | None = None) -> list[JobState]:
    """Return the states of jobs, waiting, running and over, with one call of squeue.

    Parameters
    ----------
    job_ids : iterable of str
        Jobs (``12``: a whole array) and elements of arrays (``12_3``).
    accounting : bool, optional
        Whether to ask sacct for those of ``job_ids`` that squeue does not know (any more): elements are only missed
        where they were asked for one by one. Without a value the cluster is asked whether it keeps accounts, and only
        when something is missing.

    Returns
    -------
    list of JobState
        In the order of job ids and elements. Jobs that nobody knows are left out.

    Raises
    ------
    NoAnswerError
        The controller, or the accounting, does not answer.
    """
    wanted = set(job_ids)
    if not wanted:
        return []
    command = ("-h", "-r", "-t", "all", "-j", ",".join(sorted({base_id(job) for job in wanted}, key=int)))
    done = _call("squeue", *command, "-O", SQUEUE_FORMAT)
    if done.returncode and not _OVER.search(done.stderr):
        raise InputError(f"squeue: {_words(done)}")
    found = {job.job_id: job for job in parse_squeue(done.stdout) if wanted & {job.job_id, job.array_job_id}}
    missing = wanted - found.keys() - {job.array_job_id for job in found.values()}
    if missing and (has_accounting() if accounting is None else accounting):
        bases = ",".join(sorted({base_id(job) for job in missing}, key=int))
        old = parse_sacct(_asked("sacct", "-X", "-n", "-P", "-j", bases, f"--format={','.join(SACCT_FIELDS)}"))
        found = {job.job_id: job for job in old if missing & {job.job_id, job.array_job_id}} | found
    return sorted(found.values(), key=lambda job: (int(job.array_job_id), -1 if job.task_id is None else job.task_id))


def _fits_a_node_that_is_out(options: str) -> bool:
    """Whether a node that is down or drained could take a job: --test-only looks only at those that are up."""
    asked = dict(re.findall(r"--(partition|cpus-per-task|mem|gres)=([^\s\"]+)", options))
    where = ("-p", asked["partition"]) if "partition" in asked else ()
    nodes = _asked("sinfo", "-h", "-N", "-t", "down,drain,fail,maint", "-o", "%c %m %G", *where).splitlines()
    n_cpus, memory_mb = int(asked.get("cpus-per-task", 1)), int(asked.get("mem", "0M").rstrip("M"))
    kind, n_gpus = _gpus(asked.get("gres", ""))[-1]
    for node in nodes:
        cpus, memory, gres = node.split(maxsplit=2)
        there = sum(count for name, count in _gpus(re.sub(r"\([^)]*\)", "", gres)) if kind in ("", name))
        if int(cpus.rstrip("+")) >= n_cpus and int(memory.rstrip("+")) >= memory_mb and there >= n_gpus:
            return True
    return False


def _gpus(gres: str) -> list[tuple[str, int]]:
    """Return types and numbers of GPUs; one entry of none where there are none."""
    return [(kind, int(count or 1)) for kind, count in _GPUS.findall(gres)] or [("", 0)]


def _accounts(config: str) -> bool:
    return "slurmdbd" in config_value(config, "AccountingStorageType")


def _max_submit(config: str, account: str | None, qos: str | None) -> int | None:
    where = f"user={getpass.getuser()}", f"cluster={config_value(config, 'ClusterName')}"
    fields = "format=account,defaultqos,maxsubmitjobs,grpsubmitjobs"
    try:
        associations = _asked("sacctmgr", "-nP", "show", "assoc", "where", *where, fields)
        of_qos = _asked("sacctmgr", "-nP", "show", "qos", "format=name,maxsubmitjobsperuser,grpsubmitjobs")
    except CadenzaError:  # a user may not be let in there; sbatch says so when there are too many
        return None
    return smallest_submit_limit(associations, of_qos, account=account, qos=qos)


def _for_each(program: str, job_ids: Iterable[str], *action: str) -> None:
    """Do something to jobs, some hundreds with each call; what is over already is left out of the errors."""
    names = list(dict.fromkeys(job_ids))
    for start in range(0, len(names), 500):
        some = names[start : start + 500]
        # scontrol takes them as one list, and stops at none of them
        done = _call(program, *action, *([",".join(some)] if action else some))
        problems = [line for line in done.stderr.splitlines() if line.strip() and not _OVER.search(line)]
        if done.returncode and problems:
            raise InputError(f"{program}: {_one_line(problems)}")


def _asked(program: str, *args: str) -> str:
    """Return what a program prints; an InputError with its words when it fails."""
    done = _call(program, *args)
    if done.returncode:
        raise InputError(f"{program}: {_words(done)}")
    return done.stdout


def _call(
    program: str,
    *args: str,
    timeout_s: float | None = None,
    twice_is_safe: bool = True,
    text: str = "",
    give_up: re.Pattern[str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's programs, once more when it had no answer; unless that is not safe and it may have arrived.

    ``text`` is its standard input. It is ended as soon as it says on standard error what ``give_up`` finds.
    """
    path, limit_s = _where(program), TIMEOUT_S if timeout_s is None else timeout_s
    for is_last in (False, True):
        try:
            if give_up is not None:
                done = _run_until([path, *args], give_up, limit_s)
            else:
                done = subprocess.run(
                    [path, *args], env=_environment(), input=text, capture_output=True,
                    text=True, errors="replace", timeout=limit_s,
                )  # fmt: skip
        except subprocess.TimeoutExpired:
            words = f"nothing for {limit_s:g} s"
        except OSError as error:
            raise InputError("cannot be run", where=path, found=error.strerror) from error
        else:
            if not done.returncode or not _NO_ANSWER.search(done.stderr):
                return done
            words = _words(done)
        may_have_arrived = not _NOT_REACHED.search(words)
        if is_last or (may_have_arrived and not twice_is_safe):
            break
        time.sleep(RETRY_PAUSE_S)
    who = "accounting" if program.startswith("sacct") else "controller"
    unsure = "" if twice_is_safe or not may_have_arrived else " (the job may be in the queue all the same: see squeue)"
    raise NoAnswerError(f"{program}: Slurm's {who} does not answer: {words}{unsure}")


def _run_until(command: list[str], give_up: re.Pattern[str], limit_s: float) -> subprocess.CompletedProcess[str]:
    """Run a program that would say that it cannot, sleep and try again for minutes: end it when it says so."""
    with (
        tempfile.TemporaryFile("w+", errors="replace") as out,
        subprocess.Popen(
            command, env=_environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE,
            text=True, errors="replace",
        ) as process,
    ):  # fmt: skip
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            process.kill()

        timer = threading.Timer(limit_s, end)
        timer.start()
        try:
            said = []
            for line in process.stderr or ():
                said.append(line)
                if give_up.search(line):
                    process.kill()
            status = process.wait()
        finally:
            timer.cancel()
        if is_late.is_set():
            raise subprocess.TimeoutExpired(command, limit_s)
        out.seek(0)
        return subprocess.CompletedProcess(command, status, out.read(), "".join(said))


def _where(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise MissingDependencyError(
            f"{program}: no such program: expected Slurm's programs here (is this a login node?)"
        )
    return found


def _environment() -> dict[str, str]:
    """Return the environment without what a job of Slurm, or the user's taste, would put into answers and jobs.

    SBATCH_ACCOUNT and the like are the user's settings for sbatch, and stay.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLURM", "SQUEUE_", "SACCT", "SCANCEL_", "SINFO_")) or name in _KEPT
    }
    return {**kept, "LC_ALL": "C.UTF-8", "SLURM_TIME_FORMAT": "%s"}


def _words(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return _one_line(lines) or f"exit status {done.returncode}"


def _one_line(lines: Iterable[str]) -> str:
    """Return a program's complaint as one line, without the names that it puts before each of its own."""
    return "; ".join(re.sub(r"^\w+: (error|fatal): ", "", line.strip()) for line in lines if line.strip("* \t"))
