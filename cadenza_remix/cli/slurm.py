"""A whole run on a Slurm cluster: submit it, take it up again, end it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadenza_remix.cli.runs import ConfigArgument, RunArgument, RunOption
from cadenza_remix.console import print_error, tell
from cadenza_remix.errors import InputError

if TYPE_CHECKING:
    from cadenza_remix.runs.shards.collecting import Missing
    from cadenza_remix.runs.shards.folder import RunFolder, ShardId
    from cadenza_remix.runs.shards.plan import Plan
    from cadenza_remix.slurm.settings import JobEnvironment, SlurmSettings

_MOST_NAMES = 10

slurm = typer.Typer(name="slurm", help="A whole run on a Slurm cluster.", no_args_is_help=True)


@slurm.command("submit")
def submit_command(
    config: ConfigArgument,
    out_folder: RunOption,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print jobs and their scripts; submit nothing.")
    ] = False,
) -> None:
    """Check the settings, make the plan and submit all jobs; of a run that is there, what is missing of it."""
    from cadenza_remix.runs.shards.config import load_run_config
    from cadenza_remix.runs.shards.folder import DEMIX, RunFolder
    from cadenza_remix.runs.shards.preparing import plan_run, prepare_run
    from cadenza_remix.slurm import cluster
    from cadenza_remix.slurm.describing import describe
    from cadenza_remix.slurm.resources import cut, shard_counts
    from cadenza_remix.slurm.scripts import log_pattern
    from cadenza_remix.slurm.settings import read_settings
    from cadenza_remix.slurm.submission import check_jobs, keep_settings, most_submittable, refuse_company

    run_config = load_run_config(config)
    settings = read_settings(run_config.slurm, where=config)
    root = out_folder.absolute()
    log_pattern(DEMIX, root)
    check_environment(settings.environment, where=config)
    cluster.check_slurm()
    most = most_submittable(settings)
    planned: list[tuple[int, int]] = []

    def count(plan: Plan) -> tuple[int, int]:
        counts = shard_counts(plan, settings, most_submitted=most)
        check_jobs(cut(plan, *counts), root, settings, where=config)  # before anything is written
        planned.append(counts)
        return counts

    if dry_run:
        plan = plan_run(run_config, out=root, count=count, notify=print_error)
        tell(describe(plan, root, settings, max_array_size=cluster.limits().max_array_size))
        return
    refuse_company(RunFolder(root))  # before the plan is made anew, which jobs in the queue go by
    folder, plan = prepare_run(run_config, out=root, count=count, notify=print_error)
    if not planned:
        check_jobs(plan, root, settings, where=config)
        _tell_of_other_counts(plan, settings, most)
    keep_settings(folder, run_config.slurm)
    _submit_missing(folder, plan)


@slurm.command("resume")
def resume_command(
    run_folder: RunArgument,
    after_round: Annotated[int | None, typer.Option("--after-round", hidden=True)] = None,
    last_round: Annotated[int | None, typer.Option("--last-round", hidden=True)] = None,
) -> None:
    """Submit again what is missing of a run, as RUN/slurm/settings.yaml says."""
    from cadenza_remix.runs.shards.folder import RunFolder
    from cadenza_remix.runs.shards.plan import read_plan
    from cadenza_remix.slurm import cluster
    from cadenza_remix.slurm.submission import next_round

    folder = RunFolder(run_folder.absolute())
    plan = read_plan(folder.plan)
    cluster.check_slurm()
    if after_round is not None and next_round(folder) != after_round + 1:
        tell(f"round {after_round} is not the last one: somebody has resumed the run since")
        return
    _submit_missing(folder, plan, last_round=last_round)


@slurm.command("cancel")
def cancel_command(run_folder: RunArgument) -> None:
    """End all jobs of a run that wait or run; what is finished stays."""
    from cadenza_remix.runs.shards.folder import RunFolder
    from cadenza_remix.runs.shards.plan import read_plan
    from cadenza_remix.slurm import cluster
    from cadenza_remix.slurm.submission import cancel

    folder = RunFolder(run_folder.absolute())
    read_plan(folder.plan)
    cluster.check_slurm()
    ended = cancel(folder)
    tell(f"cancelled: {', '.join(ended)}" if ended else "no job of this run waits or runs")


def check_environment(environment: JobEnvironment, *, where: str | Path | None = None) -> None:
    """Refuse an environment that is not there; what a module or a named conda environment holds, only jobs see.

    Raises
    ------
    InputError
        The line names the setting, after the file that it stands in (``where``).
    """
    file = "" if where is None else f"{where}: "
    if environment.venv is not None and not environment.setup and not environment.modules:
        program = environment.venv / "bin" / "cadenza-remix"
        if not program.is_file():
            raise InputError("no environment of this program", where=f"{file}slurm.environment.venv",
                             expected=f"{program}", found="no such file")  # fmt: skip
    if environment.conda is not None:
        name = f"{file}slurm.environment.conda"
        if not environment.modules and not environment.setup and shutil.which("conda") is None:
            raise InputError("no conda here", where=name, expected="conda in PATH, or modules that bring it")
        if environment.conda.startswith("/") and not Path(environment.conda).is_dir():
            raise InputError("no such environment", where=name, expected="a folder", found=environment.conda)


def _submit_missing(folder: RunFolder, plan: Plan, *, last_round: int | None = None) -> None:
    """Submit the shards with units that are not done; ``last_round`` is given where a job of the run does it.

    When nothing is left but the job that collects did not come to its end, the tables are written here.
    """
    from cadenza_remix.cli.runs import finish_run
    from cadenza_remix.runs.shards.collecting import collect
    from cadenza_remix.runs.shards.journal import last_round as last_round_of
    from cadenza_remix.slurm.settings import read_settings
    from cadenza_remix.slurm.submission import kept_settings, next_round, refuse_company, settings_file, submit

    refuse_company(folder)
    collection = collect(folder, plan)
    # Where a job of the run submits, nobody has mended anything since: what was given up stays so.
    missing = collection.open if last_round is not None else (*collection.missing, *_changed(folder, plan))
    shards = _shards_to_do(plan, missing)
    if not shards:
        if last_round is None:
            finish_run(folder, plan)
        _say(f"nothing is left to do: {folder.root}")
        return
    settings = read_settings(kept_settings(folder), where=settings_file(folder))
    round_number = next_round(folder, of_journals=last_round_of(folder))
    submit(folder, plan, settings, round_number=round_number, last_round=last_round, shards=shards, notify=_say)
    root = shlex.quote(str(folder.root))
    _say(f"round {round_number} is submitted. How it stands: cadenza-remix slurm status {root} --watch")
    _say(f"What is known of a unit: cadenza-remix slurm logs {root} UNIT; logs of the jobs: {folder.slurm / 'logs'}")


def _changed(folder: RunFolder, plan: Plan) -> tuple[Missing, ...]:
    """Return what is to be made anew since its music has changed, and tell of the songs."""
    from cadenza_remix.runs.shards.collecting import changed

    found = changed(folder, plan)
    songs = list(dict.fromkeys(entry.unit.song for entry in found))
    if songs:
        names = ", ".join(songs[:_MOST_NAMES]) + (", ..." if len(songs) > _MOST_NAMES else "")
        _say(f"{len(songs)} song{' has' if len(songs) == 1 else 's have'} changed since: {names}")
    return found


def _tell_of_other_counts(plan: Plan, settings: SlurmSettings, most: int) -> None:
    """Tell when a plan that is there is cut otherwise than one that were made now."""
    from cadenza_remix.slurm.resources import shard_counts

    counts = (len(plan.demix), len(plan.pairs))
    wanted = counts
    with suppress(InputError):  # too many for now: that plan is not made
        wanted = shard_counts(plan, settings)
        if counts not in (wanted, shard_counts(plan, settings, most_submitted=most)):
            _say(
                f"the plan of {counts[0]} shards of songs and {counts[1]} of pairs stays, since it has been worked on; "
                f"the settings would now make {wanted[0]} and {wanted[1]}"
            )


def _say(message: str) -> None:
    """Print a line; where nobody reads it any more (``| head -1``), or it cannot be written, go on in silence."""
    try:
        tell(message)
        sys.stdout.flush()
    except (OSError, SystemExit):  # Rich leaves the program when a pipe is closed
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _shards_to_do(plan: Plan, missing: tuple[Missing, ...]) -> set[ShardId]:
    """Return the shards of missing units; songs whose stems were found missing are looked at again, too."""
    from cadenza_remix.runs.shards.folder import DEMIX, ShardId
    from cadenza_remix.slurm.submission import shards_of

    shards = shards_of(plan, [entry.unit for entry in missing])
    blocked = shards_of(plan, [entry.unit for entry in missing if entry.state == "blocked"])
    needed = {shard.needs for shard in plan.pairs if shard.id in blocked}
    return shards | {ShardId(DEMIX, index) for index in needed if index is not None}
