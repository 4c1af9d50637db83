"""Job scripts as text: one for each stage, the same for all jobs of it. Nothing here touches a file or a cluster.

A job of a shard passes signals on to its work, and puts itself back into the queue where the work was stopped early.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cadenza_remix.errors import InputError
from cadenza_remix.runs.shards.folder import DEMIX, PAIRS
from cadenza_remix.slurm.resources import JobResources
from cadenza_remix.slurm.settings import COLLECT, JobEnvironment, SlurmSettings

TRY_AGAIN = 75
"""Status of ``shard work`` and ``shard collect`` when something is left that may well succeed."""

_KILLED_BY_USR1 = 138
_MOST_MOVES = 2
_PLACING = ("-C", "--constraint", "-w", "--nodelist", "-x", "--exclude", "-F", "--nodefile")

_ABOUT = {
    DEMIX: "takes the songs of a shard apart",
    PAIRS: "enhances and scores the pairs of a shard",
    COLLECT: "collects the scores when all other jobs have ended, and submits again what may yet succeed",
}
_BY_HAND = {
    DEMIX: "sbatch --array=0-3 demix.sbatch OFFSET ROUND     (shards OFFSET+0 to OFFSET+3)",
    PAIRS: "sbatch --array=0-3 pairs.sbatch OFFSET ROUND     (shards OFFSET+0 to OFFSET+3)",
    COLLECT: "sbatch collect.sbatch ROUND LAST_ROUND     (LAST_ROUND = ROUND: submits nothing)",
}

_SHARD_ARGUMENTS = """\
shard=$((${1:-0} + SLURM_ARRAY_TASK_ID))
round=${2:-1}
job=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}
restarts=${SLURM_RESTART_COUNT:-0}
echo "shard $shard, round $round, job $job, restart $restarts, on ${SLURMD_NODENAME:-?}, $(date)"
"""

_WAIT = """\
# Signals go on to the work: USR1 = the time limit is near, TERM = end at once. "wait" returns early when one comes.
work=
caught=
trap 'caught=USR1; [ -n "$work" ] && kill -s USR1 "$work" 2>/dev/null' USR1
trap 'caught=TERM; [ -n "$work" ] && kill -s TERM "$work" 2>/dev/null' TERM
"$@" &
work=$!
[ -n "$caught" ] && kill -s "$caught" "$work" 2>/dev/null
while :; do
  caught=
  wait "$work"
  status=$?
  [ -z "$caught" ] && break
done
trap '' USR1 TERM  # from here on this script alone decides
echo "status $status, $(date)"
"""

_REQUEUE = """\
# Stopped early ({too_early}: before it could listen): back into the queue. The last action, since Slurm ends us for it.
case $status in {try_again} | {too_early})
  [ "$restarts" -lt {most_restarts} ] && scontrol requeue "$job" && exit 0 ;;
esac
exit "$status"
"""

_NO_GPU = """\
[ -n "${CUDA_VISIBLE_DEVICES:-}" ] || set -- bash -c 'echo "no GPU: CUDA_VISIBLE_DEVICES is empty" >&2; exit 2'"""

_MOVE = """\
# An error on this node, such as a GPU that is not there: to another node, where there is one.
if [ "$status" -eq 2 ] && [ "$restarts" -lt {most} ]; then
  others=$(sinfo -h -N -p "$SLURM_JOB_PARTITION" -t idle,mixed,alloc -o '%N %G' |
    grep -v "^$SLURMD_NODENAME " | grep -c ' \\(.*,\\)\\?{gres}')
  if [ "${{others:-0}}" -gt "$restarts" ]; then  # so that one is left without those it was on
    without=$(scontrol -o show job "$job" | sed -n 's/.* ExcNodeList=\\([^( ][^ ]*\\).*/\\1,/p')
    scontrol requeue "$job" && scontrol update jobid="$job" ExcNodeList="$without$SLURMD_NODENAME" && exit 0
  fi
fi
"""

_COLLECT = """\
round=${{1:-1}}
last_round=${{2:-$round}}
cadenza-remix shard collect "$run"
status=$?
if [ "$status" -eq {try_again} ] && [ "$round" -lt "$last_round" ]; then
  cadenza-remix slurm resume "$run" --after-round "$round" --last-round "$last_round"
  status=$?
fi
exit "$status"
"""


@dataclass(frozen=True)
class JobScript:
    """The script of a stage, and where it lies within the folder of the run."""

    stage: str
    text: str

    @property
    def name(self) -> str:
        return f"slurm/{self.stage}.sbatch"


def job_script(
    stage: str,
    root: Path,
    settings: SlurmSettings,
    resources: JobResources,
    *,
    variables: Mapping[str, str] | None = None,
) -> JobScript:
    """Write the script of a stage.

    Parameters
    ----------
    stage : str
        One of `cadenza_remix.slurm.settings.JOB_STAGES`.
    root : Path
        The folder of the run, absolute.
    settings : SlurmSettings
    resources : JobResources
    variables : mapping of str to str, optional
        Environment variables that jobs shall have.

    Raises
    ------
    InputError
        The folder's name holds a backslash or a control character, which Slurm's names of logs cannot hold.
    """
    parts = [_head(stage, root, settings, resources), *_environment(settings.environment)]
    if variables:
        parts += ["".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()), "\n"]
    parts += ["set -u\n", f"run={shlex.quote(str(root))}\n"]
    if stage == COLLECT:
        parts.append(_COLLECT.format(try_again=TRY_AGAIN))
    else:
        parts += [_SHARD_ARGUMENTS, "\n", _work(stage, settings), "\n", _WAIT, "\n"]
        if stage == DEMIX:
            parts.append(_move(settings))
        parts.append(_requeue(settings))
    return JobScript(stage, "".join(parts))


def sbatch_word(text: str) -> str:
    """Quote one word for a line that begins with ``#SBATCH``, whose quotes are not the shell's.

    Examples
    --------
    >>> print(sbatch_word("--account=abc"), sbatch_word("--comment=my run"))
    --account=abc "--comment=my run"
    """
    if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def log_pattern(stage: str, root: Path) -> str:
    """Return the name of a stage's logs with Slurm's placeholders for numbers of job and array element.

    Raises
    ------
    InputError
        The folder's name holds a backslash (Slurm then fills in nothing) or a control character.
    """
    folder = str(root / "slurm" / "logs")
    if "\\" in folder or not folder.isprintable():
        raise InputError(
            "Slurm cannot write logs there", where=root, expected="a name without backslashes and control characters"
        )
    return f"{folder.replace('%', '%%')}/{stage}-" + ("%j.log" if stage == COLLECT else "%A_%a.log")


def _head(stage: str, root: Path, settings: SlurmSettings, resources: JobResources) -> str:
    asked = settings.stage(stage)
    options = [f"--job-name=cadenza-{stage}"]
    if asked.partition is not None:
        options.append(f"--partition={asked.partition}")
    if asked.gres is not None:
        options.append(f"--gres={asked.gres}")
    options += ["--nodes=1", "--ntasks=1", f"--cpus-per-task={resources.cpus}", f"--mem={resources.memory_mb}M"]
    options.append(f"--time={resources.time_min}")
    if stage != COLLECT:
        options.append(f"--signal=B:USR1@{settings.signal_s}")
    options += ["--requeue", "--open-mode=append", "--kill-on-invalid-dep=yes"]
    options += [f"--output={log_pattern(stage, root)}", *settings.options, *asked.options]
    lines = [
        "#!/bin/bash",
        f"# cadenza-remix: {_ABOUT[stage]}.",
        f"# By hand: {_BY_HAND[stage]}",
        "# Each submit and resume writes this file anew: edit a copy, or the settings.",
        *(f"#SBATCH {sbatch_word(option)}" for option in options),
    ]
    return "\n".join(lines) + "\n\n"


def _environment(environment: JobEnvironment) -> Sequence[str]:
    """Return the lines before ``set -u``, which scripts of modules and environments do not stand."""
    lines = [f"module load {shlex.quote(name)} || exit 2" for name in environment.modules]
    if environment.venv is not None:
        lines.append(f'export PATH={shlex.quote(str(environment.venv / "bin"))}:"$PATH"')
    if environment.conda is not None:
        lines.append('eval "$(conda shell.bash hook)" || exit 2')
        lines.append(f"conda activate {shlex.quote(environment.conda)} || exit 2")
    lines += environment.setup
    return ["# The environment: slurm.environment of the settings.\n", *(line + "\n" for line in lines), "\n"]


def _work(stage: str, settings: SlurmSettings) -> str:
    """Return the lines that put the command together, in "$@"."""
    workers = "1"
    gpus = ""
    lines = ["memory_mb=${SLURM_MEM_PER_NODE:-$((${SLURM_MEM_PER_CPU:-0} * SLURM_CPUS_PER_TASK))}"]
    if stage == PAIRS:
        workers = '"$SLURM_CPUS_PER_TASK"'
    else:
        lines.append("export TF_NUM_INTRAOP_THREADS=$SLURM_CPUS_PER_TASK")
        if settings.demix.gres is not None:
            workers = str(settings.demix.n_gpus)
            gpus = ' --gpus "${CUDA_VISIBLE_DEVICES:-}"'
    lines += [
        f"scratch={_scratch(settings.scratch)}  # on the node's own disk",
        f'set -- cadenza-remix shard work "$run" {stage} "$shard" --round "$round" --workers {workers}{gpus} \\',
        f'  --scratch "$scratch" --deadline-s {settings.deadline_s}',
        '[ "$memory_mb" -gt 0 ] && set -- "$@" --memory-mb "$memory_mb"',
    ]
    if gpus:
        lines.append(_NO_GPU)
    return "\n".join(lines) + "\n"


def _scratch(text: str) -> str:
    """Quote the name of a folder for the shell, which fills in $NAME, ${NAME} and ${NAME:-/folder} when a job runs."""
    parts = re.split(r"(\$\w+|\$\{\w+\}|\$\{\w+:-[\w/.-]*\})", text)
    quoted = []
    for number, part in enumerate(parts):
        if number % 2 and ":-" not in part:
            part = "${" + part.strip("${}") + ":?is not set on this node, see slurm.scratch}"
        elif not number % 2:
            part = re.sub(r'([\\"$`])', r"\\\1", part)
        quoted.append(part)
    return '"' + "".join(quoted) + '"'


def _requeue(settings: SlurmSettings) -> str:
    return _REQUEUE.format(try_again=TRY_AGAIN, too_early=_KILLED_BY_USR1, most_restarts=settings.most_restarts)


def _move(settings: SlurmSettings) -> str:
    """Return the lines for an error on a node with GPUs; none where the site's options say which nodes may be used.

    A job that no node may take would wait for ever: so there must be others, up, in the partition, with such GPUs.
    """
    gres = settings.demix.gres
    given = (*settings.options, *settings.demix.options)
    if gres is None or any(option.startswith(_PLACING) for option in given):
        return ""
    first = next(entry for entry in gres.split(",") if entry.split(":")[0] == "gpu")
    name = re.sub(r":\d+$", "", first)
    return _MOVE.format(most=_MOST_MOVES, gres=name.replace(".", "\\."))
