"""A run on Slurm: its jobs, their submission in the right order, what of them still lives, and their end."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from cadenza_remix.atomic import make_folder, write_json, write_text
from cadenza_remix.errors import CadenzaError, InputError
from cadenza_remix.runs.shards.folder import DEMIX, PAIRS, RunFolder, ShardId
from cadenza_remix.runs.shards.plan import Plan, Unit
from cadenza_remix.slurm import cluster
from cadenza_remix.slurm.resources import job_resources
from cadenza_remix.slurm.scripts import JobScript, job_script
from cadenza_remix.slurm.settings import COLLECT, JOB_STAGES, SlurmSettings

PASSED_ON = ("CADENZA_REMIX_HOME", "KERAS_BACKEND")
"""Variables of the submitting command's environment that jobs shall have in any case."""


@dataclass(frozen=True)
class ArrayJob:
    """One call of sbatch: shards of a stage as elements of an array, or the job that collects (no shards).

    ``offset`` plus an element's number is its shard's. ``needs``: for pairs the shard of ``demix`` that must have
    ended before, None when there is nothing to wait for. ``job_id`` and ``depends_on``: once it is submitted.
    """

    stage: str
    shards: tuple[int, ...] = ()
    offset: int = 0
    needs: int | None = None
    job_id: str = ""
    depends_on: tuple[str, ...] = ()

    @property
    def array(self) -> str:
        """Return the numbers of the elements as sbatch takes them.

        Examples
        --------
        >>> ArrayJob("pairs", shards=(13, 15, 18, 19, 20), offset=10).array
        '3,5,8-10'
        """
        numbers = [shard - self.offset for shard in self.shards]
        runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), key=lambda entry: entry[1] - entry[0])]
        return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)

    def element(self, shard: int) -> str:
        """Return Slurm's name of the element that works on a shard, such as ``12_3``."""
        return f"{self.job_id}_{shard - self.offset}"

    def record(self) -> dict[str, Any]:
        """Return the entry in ``submissions.json``."""
        return {
            "stage": self.stage, "job_id": self.job_id, "shards": list(self.shards), "offset": self.offset,
            "depends_on": list(self.depends_on), "script": f"slurm/{self.stage}.sbatch",
        }  # fmt: skip


@dataclass(frozen=True)
class Submission:
    """All jobs of one round of a run, in the order of their submission."""

    round_number: int
    jobs: tuple[ArrayJob, ...]

    @property
    def job_ids(self) -> tuple[str, ...]:
        return tuple(job.job_id for job in self.jobs)


def plan_jobs(plan: Plan, shards: Collection[ShardId], *, max_array_size: int) -> list[ArrayJob]:
    """Return the jobs that work on some shards of a run, in the order of their submission, and the one that collects.

    Parameters
    ----------
    plan : Plan
    shards : collection of ShardId
    max_array_size : int
        Slurm's: numbers of elements are below it, so that an array has no more of them.
    """
    demix = sorted(shard.index for shard in shards if shard.stage == DEMIX)
    jobs = [ArrayJob(DEMIX, numbers, offset) for offset, numbers in _arrays(demix, max_array_size)]
    by_need: dict[int | None, list[int]] = {}
    for shard in plan.pairs:
        if shard.id in shards:
            by_need.setdefault(shard.needs, []).append(shard.id.index)
    together = [number for need, numbers in by_need.items() if need not in demix for number in numbers]
    jobs += [ArrayJob(PAIRS, numbers, offset) for offset, numbers in _arrays(sorted(together), max_array_size)]
    for need in demix:
        for offset, numbers in _arrays(by_need.get(need, []), max_array_size):
            jobs.append(ArrayJob(PAIRS, numbers, offset, needs=need))
    return [*jobs, ArrayJob(COLLECT)]


def _arrays(numbers: Sequence[int], size: int) -> list[tuple[int, tuple[int, ...]]]:
    """Cut rising numbers into arrays: the offset of each, and its numbers, none ``size`` or more above the offset."""
    arrays: list[tuple[int, list[int]]] = []
    for number in numbers:
        if not arrays or number - arrays[-1][0] >= size:
            arrays.append((number, []))
        arrays[-1][1].append(number)
    return [(offset, tuple(members)) for offset, members in arrays]


def most_submittable(settings: SlurmSettings) -> int:
    """Return how many jobs more Slurm takes from this user now; each element of an array counts."""
    given: dict[str, str] = {}
    for option in settings.options:
        for name, short in (("--account", "-A"), ("--qos", "-q")):
            if option.startswith((f"{name}=", short)):
                given[name] = option.removeprefix(f"{name}=").removeprefix(short)
    found = cluster.limits(account=given.get("--account"), qos=given.get("--qos"))
    limit = found.max_jobs if found.max_submit is None else min(found.max_jobs, found.max_submit)
    return max(0, limit - cluster.n_queued())


def job_scripts(plan: Plan, root: Path, settings: SlurmSettings) -> list[JobScript]:
    """Return the scripts of all stages; the environment says where jobs find their models."""
    variables = {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
    return [
        job_script(stage, root, settings, job_resources(stage, plan, settings), variables=variables)
        for stage in JOB_STAGES
    ]


def check_jobs(plan: Plan, root: Path, settings: SlurmSettings, *, where: str | Path) -> None:
    """Ask Slurm whether it would take a job of each stage; nothing is submitted or written.

    Raises
    ------
    InputError
        It refuses one: the line names the file of the settings (``where``) and the stage, and has Slurm's words.
    """
    for script in job_scripts(plan, root, settings):
        try:
            cluster.check_job(script.text)
        except InputError as error:
            raise InputError(str(error), where=f"{where}: slurm.{script.stage}") from error


def shards_of(plan: Plan, units: Iterable[Unit]) -> set[ShardId]:
    """Return the shards that these units belong to."""
    wanted = set(units)
    return {shard.id for shard in plan.all_shards if not wanted.isdisjoint(shard.units)}


def submit(
    folder: RunFolder,
    plan: Plan,
    settings: SlurmSettings,
    *,
    round_number: int,
    last_round: int | None = None,
    shards: Collection[ShardId] | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Submission:
    """Submit a run's jobs: arrays of ``demix``, arrays of ``pairs`` that wait each for its songs, and collection.

    Whatever ends a job, those that wait for it start (``afterany``), look at what is there, and do what they can. Each
    job id is on the disk before the next job is submitted. When Slurm refuses one, all before it are cancelled.

    Parameters
    ----------
    folder : RunFolder
    plan : Plan
    settings : SlurmSettings
    round_number : int
        From 1; see `next_round`.
    last_round : int, optional
        Up to which round the job that collects submits what is missing; by default as ``rounds`` says.
    shards : collection of ShardId, optional
        Only these; all by default.
    notify : callable
        Told of each job.

    Raises
    ------
    InputError
        Jobs of this run wait or run, or Slurm refuses one.
    OutputError
        The run's folder cannot be written.
    """
    refuse_company(folder)
    if last_round is None:
        last_round = round_number + settings.rounds - 1
    wanted = {shard.id for shard in plan.all_shards} if shards is None else set(shards)
    jobs = plan_jobs(plan, wanted, max_array_size=cluster.limits().max_array_size)
    for script in job_scripts(plan, folder.root, settings):
        write_text(folder.root / script.name, script.text)
    make_folder(folder.slurm / "logs")
    records = read_submissions(folder)
    submitted: list[ArrayJob] = []
    try:
        for job in jobs:
            job = _submit_one(job, submitted, folder, settings, round_number=round_number, last_round=last_round)
            submitted.append(job)
            entry = {"round": round_number, "t": round(time.time(), 3), "jobs": [one.record() for one in submitted]}
            write_json(_submissions(folder), [*records, entry])
            with suppress(OSError):  # nobody listens any more: no reason to undo anything
                notify(_line(job))
    except BaseException as error:
        cluster.cancel([job.job_id for job in submitted])
        if isinstance(error, CadenzaError):
            names = ", ".join(job.job_id for job in submitted)
            done = f"; {len(submitted)} of {len(jobs)} jobs submitted, cancelled again: {names}" if submitted else ""
            raise InputError(f"{error}{done}") from error
        raise
    return Submission(round_number, tuple(submitted))


def _submit_one(
    job: ArrayJob,
    submitted: Sequence[ArrayJob],
    folder: RunFolder,
    settings: SlurmSettings,
    *,
    round_number: int,
    last_round: int,
) -> ArrayJob:
    options, after = [], []
    if job.stage == COLLECT:
        arguments = [str(round_number), str(last_round)]
        after = [one.job_id for one in submitted]
    else:
        arguments = [str(job.offset), str(round_number)]
        throttle = f"%{settings.most_running}" if settings.most_running else ""
        options.append(f"--array={job.array}{throttle}")
        after = [one.element(job.needs) for one in submitted if one.stage == DEMIX and job.needs in one.shards]
    if after:
        options.append(f"--dependency=afterany:{':'.join(after)}")
    job_id = cluster.submit(folder.root / f"slurm/{job.stage}.sbatch", options=options, arguments=arguments)
    return replace(job, job_id=job_id, depends_on=tuple(after))


def _line(job: ArrayJob) -> str:
    what = f"{len(job.shards)} shard{'s' * (len(job.shards) > 1)}" if job.shards else "when all have ended"
    after = f", after {', '.join(job.depends_on)}" if job.depends_on and job.shards else ""
    return f"{job.stage}: job {job.job_id}: {what}{after}"


def _submissions(folder: RunFolder) -> Path:
    return folder.slurm / "submissions.json"


def read_submissions(folder: RunFolder) -> list[Mapping[str, Any]]:
    """Return what was submitted of a run, by round; nothing when nothing was.

    Raises
    ------
    InputError
        The file cannot be read or understood.
    """
    path = _submissions(folder)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        _check_records(found)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError("cannot be read", where=path, found=error.strerror) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        found = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError("damaged list of jobs", where=path, expected="what this program wrote", found=found) from error
    return list(found)


def _check_records(found: Any) -> None:
    """Raise what Python raises of a wrong kind: a ValueError, KeyError or TypeError."""
    if not isinstance(found, list):
        raise TypeError(f"{type(found).__name__}, not a list")
    for entry in found:
        if not isinstance(entry["jobs"], list) or not isinstance(entry["round"], int):
            raise TypeError("jobs is no list, or round no whole number")
        for job in entry["jobs"]:
            if job["stage"] not in JOB_STAGES:
                raise ValueError(f"stage {job['stage']!r}")
            if not re.fullmatch(r"[0-9]+", job["job_id"]):
                raise ValueError(f"job_id {job['job_id']!r}")
            if not all(isinstance(number, int) for number in [*job["shards"], job["offset"]]):
                raise ValueError(f"shards {job['shards']!r}, offset {job['offset']!r}")


def next_round(folder: RunFolder, *, of_journals: int = 0) -> int:
    """Return the number of the round to submit, after all submitted ones and those that journals tell of."""
    return 1 + max([of_journals, *(int(entry["round"]) for entry in read_submissions(folder))])


def living_jobs(folder: RunFolder) -> list[str]:
    """Return the ids of the run's jobs that wait or run; the job that this process is a part of does not count."""
    ids = [str(job["job_id"]) for entry in read_submissions(folder) for job in entry["jobs"]]
    ids = [job_id for job_id in ids if job_id != os.environ.get("SLURM_JOB_ID")]
    states = cluster.queue(ids, accounting=False)  # what squeue has forgotten is over
    return list(dict.fromkeys(state.array_job_id for state in states if not state.is_over))


def refuse_company(folder: RunFolder) -> None:
    """Make sure that no job of the run waits or runs; an InputError names those that do."""
    living = living_jobs(folder)
    if living:
        raise InputError(
            f"jobs of this run wait or run: {', '.join(living)}", where=folder.root,
            expected=f"none: wait for them, or `cadenza-remix slurm cancel {shlex.quote(str(folder.root))}`",
        )  # fmt: skip


def cancel(folder: RunFolder) -> list[str]:
    """Cancel all jobs of a run that wait or run, and return their ids."""
    living = living_jobs(folder)
    if living:
        cluster.cancel(living)
    return living


def keep_settings(folder: RunFolder, raw: Mapping[str, object]) -> None:
    """Keep the part ``slurm`` of the settings in the run's folder, where ``resume`` reads it."""
    write_text(settings_file(folder), yaml.safe_dump(dict(raw), sort_keys=False, allow_unicode=True))


def settings_file(folder: RunFolder) -> Path:
    """Return where the part ``slurm`` of the settings is kept."""
    return folder.slurm / "settings.yaml"


def kept_settings(folder: RunFolder) -> Mapping[str, object]:
    """Return the part ``slurm`` of the settings as the last ``submit`` had it.

    Raises
    ------
    InputError
        The run was never submitted, or the file cannot be read.
    """
    path = settings_file(folder)
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if read_submissions(folder):
            again = f"`cadenza-remix slurm submit CONFIG --out {shlex.quote(str(folder.root))}` writes it again"
            raise InputError("is missing", where=path, expected=again) from None
        raise InputError(
            "was never submitted", where=folder.root, expected="`cadenza-remix slurm submit` before"
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError("cannot be read", where=path, found=" ".join(str(error).split())) from error
    if not isinstance(found, dict):
        raise InputError("wrong form", where=path, expected="keys with values", found=type(found).__name__)
    return found
