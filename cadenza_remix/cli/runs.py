"""A whole run from one file of settings: on this machine, or shard by shard for any scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadenza_remix.cli.options import WorkersOption
from cadenza_remix.console import out, print_error, tell

if TYPE_CHECKING:
    from cadenza_remix.runs.shards.collecting import Collection
    from cadenza_remix.runs.shards.folder import RunFolder
    from cadenza_remix.runs.shards.plan import Plan

TRY_AGAIN = 75
"""Status to leave with when something is left that may well succeed (EX_TEMPFAIL of sysexits.h)."""
_MOST_NAMED = 10

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The settings of the run.")]
RunOption = Annotated[Path, typer.Option("--out", help="Folder of the run.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
RoundOption = Annotated[
    int, typer.Option("--round", min=1, max=9999, help="Which time this run is started or resumed.")
]
ScratchOption = Annotated[
    Path | None, typer.Option("--scratch", help="Folder on this machine's own disk, read through by all workers.")
]

shard = typer.Typer(name="shard", help="The parts of a run, for any scheduler: plan, work on a shard, collect.",
                    no_args_is_help=True)  # fmt: skip


def run(
    config: ConfigArgument,
    out_folder: RunOption,
    workers: WorkersOption = None,
    scratch: ScratchOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, tell what would be done.")] = False,
) -> None:
    """Demix, enhance, score and collect on this machine, as the settings say.

    Killed and given again, the same command goes on where it was. What fails three times is left out and told.
    """
    from cadenza_remix.runs.pool import default_workers
    from cadenza_remix.runs.shards.config import load_run_config
    from cadenza_remix.runs.shards.preparing import plan_run, prepare_run

    settings = load_run_config(config)
    if dry_run:
        _tell_plan(
            plan_run(settings, out=out_folder, count=lambda _: (1, 1), notify=tell), workers or default_workers()
        )
        return
    folder, plan = prepare_run(settings, out=out_folder, count=lambda _: (1, 1), notify=tell)
    from cadenza_remix.console import shown_progress
    from cadenza_remix.runs.shards.local import run_here

    with shown_progress() as progress:
        status = run_here(folder, plan, n_workers=workers, scratch=scratch, progress=progress)
    if status:
        raise typer.Exit(status)
    finish_run(folder, plan)


@shard.command("plan")
def plan_command(
    config: ConfigArgument,
    out_folder: RunOption,
    demix_shards: Annotated[int, typer.Option("--demix-shards", min=1, help="Jobs that demix.")] = 1,
    pairs_shards: Annotated[int, typer.Option("--pairs-shards", min=1, help="Jobs that enhance and score.")] = 1,
) -> None:
    """Check everything and make the folder of a run; print how many shards it has."""
    from cadenza_remix.runs.shards.config import load_run_config
    from cadenza_remix.runs.shards.preparing import prepare_run

    folder, plan = prepare_run(
        load_run_config(config), out=out_folder, count=lambda _: (demix_shards, pairs_shards), notify=print_error
    )
    tell(f"run: {folder.root}")
    tell(f"demix: {len(plan.demix)}")
    tell(f"pairs: {len(plan.pairs)}")


@shard.command("work")
def work_command(
    run_folder: RunArgument,
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="demix or pairs.")],
    index: Annotated[int, typer.Argument(metavar="INDEX", help="Which shard, from 0.")],
    round_number: RoundOption = 1,
    workers: WorkersOption = None,
    memory_mb: Annotated[int | None, typer.Option("--memory-mb", min=1, help="Start no more workers than fit.")] = None,
    gpus: Annotated[str | None, typer.Option("--gpus", help="0,1,...: one worker for each of these GPUs.")] = None,
    scratch: ScratchOption = None,
    deadline_s: Annotated[float, typer.Option("--deadline-s", min=0.0, help="After SIGUSR1, finish within this.")] = 90,
    settle_s: Annotated[float, typer.Option("--settle-s", min=0.0, help="Wait for stems of other nodes.")] = 30,
) -> None:
    """Work on one shard.

    Status 0: nothing is left to do; 75: it was stopped early, run it again; 3: it lacks stems that were not demixed
    yet; 2: an error.
    """
    from cadenza_remix.runs.shards.local import work_on

    status = work_on(
        run_folder, stage, index, round_number=round_number, n_workers=workers, memory_mb=memory_mb, gpus=gpus,
        scratch=scratch, deadline_s=deadline_s, settle_s=settle_s, notify=tell,
    )  # fmt: skip
    if status:
        raise typer.Exit(status)


@shard.command("collect")
def collect_command(run_folder: RunArgument) -> None:
    """Write the tables of what is scored, and of what is missing: status 75 when more may yet succeed, 2 if not."""
    from cadenza_remix.runs.shards.folder import RunFolder
    from cadenza_remix.runs.shards.plan import read_plan

    folder = RunFolder(run_folder.absolute())
    finish_run(folder, read_plan(folder.plan), status_may_succeed=TRY_AGAIN)


def finish_run(folder: RunFolder, plan: Plan, *, status_may_succeed: int = 2) -> None:
    """Write tables of what is there, tell what is missing, leave with what that means."""
    from cadenza_remix.atomic import remove_leftovers
    from cadenza_remix.runs.shards.collecting import collect, write_missing

    collection = collect(folder, plan)
    if not any(folder.claims.glob("*.json")):  # nobody is at work
        remove_leftovers(folder.root)
    write_missing(collection, folder)
    if collection.records:
        _write_tables(folder, collection)
    elif plan.is_scored:
        folder.scores.unlink(missing_ok=True)
    if not collection.missing:
        if not plan.is_scored:
            tell(f"{collection.n_pairs} pairs enhanced, none scored (no references): {folder.root}")
        return
    for entry in collection.missing[:_MOST_NAMED]:
        print_error(f"{entry.unit.name}: {entry.state}: {entry.reason}")
    rest = len(collection.missing) - _MOST_NAMED
    more = f", {rest} of them not shown" if rest > 0 else ""
    print_error(f"{len(collection.missing)} units are missing{more}: {folder.missing}")
    raise typer.Exit(status_may_succeed if collection.open else 2)


def _write_tables(folder: RunFolder, collection: Collection) -> None:
    from cadenza_remix.report.scores import write_score_tables
    from cadenza_remix.report.statistics import print_statistics
    from cadenza_remix.runs.shards.inputs import inputs_of

    _, inputs = inputs_of(folder)
    tables = write_score_tables(collection.records, folder.scores, listeners=inputs.listeners, songs=inputs.song_list)
    print_statistics(tables.statistics, out, None)
    scores = [record.results["score"] for record in collection.records]
    of_all = "" if len(scores) == collection.n_pairs else f" of {collection.n_pairs}: NOT ALL"
    tell(f"mean HAAQI {sum(scores) / len(scores):.4f}, pairs: {len(scores)}{of_all}: {folder.scores}")


def _tell_plan(plan: Plan, n_workers: int) -> None:
    from cadenza_remix.console import duration

    demix_s, pairs_s = (sum(shard.cost_s for shard in shards) for shards in (plan.demix, plan.pairs))
    start_s = plan.speeds.start_s
    n_pairs = len(plan.all_pairs)
    tell(f"separator: {plan.separator['name']}")
    tell(f"demix: {len(plan.songs)} songs, about {duration(start_s + demix_s)}")
    what = "enhance and score" if plan.is_scored else "enhance (no references: no scores)"
    tell(f"{what}: {n_pairs} pairs, about {duration(start_s + pairs_s / n_workers)} with {n_workers} workers")
