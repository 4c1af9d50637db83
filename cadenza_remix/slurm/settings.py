"""What a site's cluster needs: the part ``slurm`` of a run's settings."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.runs.shards.folder import DEMIX, PAIRS

COLLECT = "collect"
JOB_STAGES = (DEMIX, PAIRS, COLLECT)
"""Stages in the order in which their jobs are submitted."""

DEFAULT_SCRATCH = "${TMPDIR:-/tmp}"

_STAGE_KEYS = {
    DEMIX: ("partition", "gres", "cpus", "memory_gb", "time_min", "shards", "options"),
    PAIRS: ("partition", "cpus", "memory_gb", "time_min", "shards", "options"),
    COLLECT: ("partition", "cpus", "memory_gb", "time_min", "options"),
}
_STAGE_DEFAULTS: dict[str, dict[str, Any]] = {
    DEMIX: {"partition": "gpu", "gres": "gpu:1", "cpus": 4, "memory_gb": 16},
    PAIRS: {"cpus": 8},
    COLLECT: {"cpus": 1, "memory_gb": 4, "time_min": 60},
}
_RANGES = {  # lowest, highest; whole numbers
    "cpus": (1, 100_000),
    "time_min": (1, 525_600),
    "shards": (1, 10_000_000),
    "target_min": (1, 525_600),
    "most_running": (1, 10_000_000),
    "signal_s": (5, 65_535),  # what sbatch accepts
    "most_restarts": (0, 1000),
    "rounds": (1, 100),
    "most_submitted": (3, 10_000_000),
}
_MOST_GPUS = 1000  # of one job
_ENVIRONMENT_KEYS = ("venv", "conda", "modules", "setup")

_OWN_OPTIONS = {
    "--array": "slurm.demix.shards or slurm.pairs.shards", "-a": "--array",
    "--output": "nothing: logs lie in the run's folder", "-o": "--output",
    "--error": "nothing: logs lie in the run's folder", "-e": "--error",
    "--input": "nothing: jobs read nothing", "-i": "--input",
    "--dependency": "nothing: jobs wait for what they need", "-d": "--dependency",
    "--kill-on-invalid-dep": "nothing: jobs wait for what they need",
    "--signal": "slurm.signal_s",
    "--requeue": "slurm.most_restarts", "--no-requeue": "slurm.most_restarts: 0",
    "--open-mode": "nothing: logs are appended to",
    "--parsable": "nothing", "--wrap": "nothing", "--test-only": "cadenza-remix slurm submit --dry-run",
    "--wait": "cadenza-remix slurm status --watch", "-W": "--wait",
    "--time": "slurm.<stage>.time_min", "-t": "--time",
    "--cpus-per-task": "slurm.<stage>.cpus", "-c": "--cpus-per-task",
    "--mem": "slurm.<stage>.memory_gb", "--mem-per-cpu": "slurm.<stage>.memory_gb",
    "--mem-per-gpu": "slurm.<stage>.memory_gb",
    "--partition": "slurm.<stage>.partition", "-p": "--partition",
    "--gres": "slurm.demix.gres", "--gpus": "slurm.demix.gres", "-G": "--gpus",
    "--gpus-per-node": "slurm.demix.gres", "--gpus-per-task": "slurm.demix.gres",
    "--gpus-per-socket": "slurm.demix.gres",
    "--nodes": "nothing: a shard is worked on by one node", "-N": "--nodes",
    "--ntasks": "nothing: a shard is one task", "-n": "--ntasks",
    "--ntasks-per-node": "nothing: a shard is one task",
}  # fmt: skip
"""Options of sbatch that are ours, with what to write instead; a short one points to its long one."""


@dataclass(frozen=True)
class JobEnvironment:
    """What a job does before it works, in this order: load modules, turn to an environment of Python, run lines.

    ``venv`` is a folder whose ``bin`` comes first in PATH: a virtual environment or where a Python is installed.
    """

    modules: tuple[str, ...] = ()
    venv: Path | None = None
    conda: str | None = None
    setup: tuple[str, ...] = ()


@dataclass(frozen=True)
class StageSettings:
    """What each job of a stage asks for; None: computed from the plan, or left to the cluster (``partition``).

    Demixing goes to the partition ``gpu`` by default, where it asks for GPUs.
    """

    partition: str | None = None
    gres: str | None = None
    cpus: int = 1
    memory_gb: float | None = None
    time_min: int | None = None
    shards: int | None = None
    options: tuple[str, ...] = ()

    @property
    def n_gpus(self) -> int:
        """Return how many GPUs a job gets: ``gpu``, ``gpu:2``, ``gpu:a100:2``."""
        if self.gres is None:
            return 0
        asked = (entry.split(":") for entry in self.gres.split(",") if entry.split(":")[0] == "gpu")
        return sum(int(parts[-1]) if parts[-1].isdecimal() else 1 for parts in asked)


@dataclass(frozen=True)
class SlurmSettings:
    """The part ``slurm`` of a run's settings, checked.

    Parameters
    ----------
    environment : JobEnvironment
    options : tuple of str
        Options of sbatch for every job, such as ``--account=abc``.
    scratch : str
        A folder on a node's own disk; ``$NAME`` and ``${NAME}`` are put in there when the job runs.
    demix, pairs, collect : StageSettings
    target_min : int
        Shards are cut so that each is expected to take about this long.
    most_running : int, optional
        At most so many jobs of one array run at once.
    signal_s : int
        How long before its time limit a job is told.
    most_restarts : int
        How often a job puts itself back into the queue.
    rounds : int
        How often the run is submitted in all, by itself, while something is missing that may succeed.
    most_submitted : int, optional
        How many jobs may be queued at once, where Slurm cannot tell; each element of an array counts.
    """

    environment: JobEnvironment = field(default_factory=lambda: JobEnvironment(venv=Path(sys.prefix)))
    options: tuple[str, ...] = ()
    scratch: str = DEFAULT_SCRATCH
    demix: StageSettings = field(default_factory=lambda: StageSettings(**_STAGE_DEFAULTS[DEMIX]))
    pairs: StageSettings = field(default_factory=lambda: StageSettings(**_STAGE_DEFAULTS[PAIRS]))
    collect: StageSettings = field(default_factory=lambda: StageSettings(**_STAGE_DEFAULTS[COLLECT]))
    target_min: int = 60
    most_running: int | None = None
    signal_s: int = 120
    most_restarts: int = 10
    rounds: int = 3
    most_submitted: int | None = None

    def stage(self, name: str) -> StageSettings:
        """Return what jobs of a stage ask for."""
        return {DEMIX: self.demix, PAIRS: self.pairs, COLLECT: self.collect}[name]

    @property
    def deadline_s(self) -> int:
        """Return how long the units at hand may go on once a job has been told of its time limit."""
        return max(5, self.signal_s - 30)


def read_settings(
    raw: Mapping[str, object], *, prefix: str | Path = sys.prefix, where: str | Path | None = None
) -> SlurmSettings:
    """Check the part ``slurm`` of a run's settings.

    Parameters
    ----------
    raw : mapping
        As it stands in the YAML file; None stands for the default.
    prefix : path
        Where the Python is that jobs use when neither ``venv`` nor ``conda`` is given.
    where : str or path, optional
        The file that it was read from, which errors begin with.

    Raises
    ------
    InputError
        A key is unknown, or its value of the wrong kind or out of range; the line names ``slurm.<key>``.
    """
    try:
        return _settings(raw, Path(prefix))
    except InputError as error:
        if where is None:
            raise
        raise InputError(str(error), where=where) from error


def _settings(raw: Mapping[str, object], prefix: Path) -> SlurmSettings:
    known = tuple(SlurmSettings.__dataclass_fields__)
    for key in raw:
        if key not in known:
            raise unknown_name("key", key, known, where="slurm")
    values: dict[str, Any] = {"environment": _environment(raw.get("environment"), prefix)}
    for key in ("target_min", "most_running", "signal_s", "most_restarts", "rounds", "most_submitted"):
        if raw.get(key) is not None:
            values[key] = _whole(raw[key], key, f"slurm.{key}")
    if raw.get("scratch") is not None:
        values["scratch"] = _line(raw["scratch"], "slurm.scratch")
    if raw.get("options") is not None:
        values["options"] = _options(raw["options"], "slurm.options")
    for stage in JOB_STAGES:
        values[stage] = _stage(raw.get(stage), stage)
    settings = SlurmSettings(**values)
    for stage in JOB_STAGES:
        limit_min = settings.stage(stage).time_min
        if limit_min is not None and limit_min * 60 <= settings.signal_s:
            raise InputError(
                "too short: the job would be told of its end before it begins", where=f"slurm.{stage}.time_min",
                expected=f"more than slurm.signal_s ({settings.signal_s} s)", found=f"{limit_min} min",
            )  # fmt: skip
    return settings


def _environment(raw: object, prefix: Path) -> JobEnvironment:
    given = _mapping(raw, "slurm.environment", _ENVIRONMENT_KEYS)
    venv = given.get("venv")
    conda = given.get("conda")
    if venv is not None and conda is not None:
        raise InputError("venv and conda stand together", where="slurm.environment", expected="one of them")
    if venv is not None:
        folder = Path(_line(venv, "slurm.environment.venv")).expanduser()
        if not folder.is_absolute():
            raise InputError(
                "not absolute", where="slurm.environment.venv", expected="a path from /: jobs start elsewhere",
                found=repr(str(venv)),
            )  # fmt: skip
    else:
        folder = prefix
    return JobEnvironment(
        modules=_lines(given.get("modules"), "slurm.environment.modules"),
        venv=folder if conda is None else None,
        conda=None if conda is None else _line(conda, "slurm.environment.conda"),
        setup=_lines(given.get("setup"), "slurm.environment.setup"),
    )


def _stage(raw: object, stage: str) -> StageSettings:
    given = _mapping(raw, f"slurm.{stage}", _STAGE_KEYS[stage])
    values = dict(_STAGE_DEFAULTS[stage])
    for key, value in given.items():
        where = f"slurm.{stage}.{key}"
        if value is None:
            if key in ("partition", "gres"):  # asked for is then what the cluster gives by itself
                values[key] = None
        elif key == "options":
            values[key] = _options(value, where)
        elif key in ("partition", "gres"):
            values[key] = _word(value, where)
        elif key == "memory_gb":
            values[key] = _memory(value, where)
        else:
            values[key] = _whole(value, key, where)
    if values.get("gres") is None and "partition" not in given:
        values["partition"] = None  # a default that only GPUs need
    settings = StageSettings(**values)
    if settings.gres is not None:
        _check_gpus(settings.gres, settings.n_gpus, f"slurm.{stage}.gres")
    return settings


def _check_gpus(gres: str, n_gpus: int, where: str) -> None:
    """Refuse what names no GPUs, or not in the form ``gpu[:type][:count]``."""
    expected = f"such as gpu:1 or gpu:a100:2 (at most {_MOST_GPUS} GPUs), or ~"
    asked = (entry.split(":") for entry in gres.split(",") if entry.split(":")[0] == "gpu")
    if any(len(parts) > 3 or "" in parts or (len(parts) == 3 and not parts[2].isdecimal()) for parts in asked):
        raise InputError("wrong form", where=where, expected=expected, found=repr(gres))
    if n_gpus < 1:
        raise InputError("asks for no GPU", where=where, expected=expected, found=repr(gres))
    if n_gpus > _MOST_GPUS:
        raise InputError("too many GPUs", where=where, expected=expected, found=repr(gres))


def _mapping(raw: object, where: str, known: tuple[str, ...]) -> Mapping[str, object]:
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise InputError("wrong form", where=where, expected=f"keys among {', '.join(known)}", found=repr(raw))
    for key in raw:
        if key not in known:
            raise unknown_name("key", key, known, where=where)
    return raw


def _whole(value: object, key: str, where: str) -> int:
    lowest, highest = _RANGES[key]
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise InputError(
            "wrong value", where=where, expected=f"a whole number from {lowest} to {highest}", found=repr(value)
        )
    return value


def _memory(value: object, where: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0.1 <= value <= 100_000:  # type: ignore[arg-type,operator]
        raise InputError("wrong value", where=where, expected="gigabytes, from 0.1 to 100000", found=repr(value))
    return float(value)  # type: ignore[arg-type]


def _line(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InputError("wrong value", where=where, expected="one line of text", found=repr(value))
    return value


def _word(value: object, where: str) -> str:
    """Return a text without blanks, quotes or anything else that a script could take for its own."""
    if not isinstance(value, str) or not re.fullmatch(r"[\w.,:+=/-]+", value) or value.startswith("-"):
        raise InputError("wrong value", where=where, expected="a name without blanks", found=repr(value))
    return value


def _lines(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        raise InputError("wrong value", where=where, expected="a list of texts", found=repr(value))
    return tuple(_line(entry, f"{where}[{number}]") for number, entry in enumerate(value))


def _options(value: object, where: str) -> tuple[str, ...]:
    options = _lines(value, where)
    for option in options:
        name = option.partition("=")[0]
        if not re.fullmatch(r"--[a-z][\w-]+", name) and not re.fullmatch(r"-[A-Za-z][^\s]*", option):
            expected = "one option each, written --name=value"
            raise InputError("no option of sbatch", where=where, expected=expected, found=repr(option))
        name = name if name.startswith("--") else option[:2]
        instead = _own(name)
        if instead is not None:
            raise InputError(f"{name} is set by this program", where=where, expected=instead, found=repr(option))
    return options


def _own(name: str) -> str | None:
    """Return what to write instead of an option that is ours, None if it is not; sbatch takes shortened names too."""
    if not name.startswith("--"):
        name = _OWN_OPTIONS.get(name, "")
    return next((instead for own, instead in _OWN_OPTIONS.items() if len(name) > 2 and own.startswith(name)), None)
