"""Commands that look at a run: how it stands, and what is known of one of its units."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cadenza_remix.cli.slurm_screen import MOST_NAMED, last_line, print_state, screen
from cadenza_remix.console import out, tell
from cadenza_remix.errors import CadenzaError, InputError

if TYPE_CHECKING:
    from cadenza_remix.runs.shards.folder import RunFolder, ShardId
    from cadenza_remix.runs.shards.plan import Plan
    from cadenza_remix.slurm.answers import JobState
    from cadenza_remix.slurm.journal_tails import Journals
    from cadenza_remix.slurm.state import RunState, Submitted

TAIL_LINES = 40
LEAST_WATCH_S = 5.0
_INTERRUPTED = 130

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")]


def status(
    run: RunArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again until the run is over.")] = False,
    every_s: Annotated[float, typer.Option("--every", min=LEAST_WATCH_S, help="Seconds between two looks.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: all that is known, a line of JSON.")] = False,
) -> None:
    """Show how a run stands: units, speed, time left, where jobs run, and what needs attention.

    Leaves with 0 when all is done or going well, with 1 when something is missing and nothing runs any more.
    """
    gc.disable()  # millions of small values are read, none of them in a circle: a third less time
    folder, plan = _opened(run)
    looks = _looks(folder, plan)
    try:
        state = next(looks)
        gc.freeze()
        gc.enable()
        if watch:
            state = _watch(state, looks, run, every_s=every_s, as_json=as_json)
        elif as_json:
            typer.echo(_as_json(state))
        else:
            print_state(state, run)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)  # quiet: nothing was under way
    if state.needs_attention:
        raise typer.Exit(1)


def logs(
    run: RunArgument,
    unit: Annotated[
        str,
        typer.Argument(
            metavar="UNIT",
            help="A unit's name (score/L5040/Song), or a part of it that no other unit's name has: where several "
            "match, they are listed, to choose one. Or a shard (pairs-12), or collect.",
        ),
    ],
    all_lines: Annotated[bool, typer.Option("--all", help="Whole logs of every job that worked on it.")] = False,
) -> None:
    """Show what happened to a unit, a shard or to collecting: its state, each event, the end of its job's log."""
    folder, plan = _opened(run)
    shards = {str(shard.id): shard.id for shard in plan.all_shards}
    if unit == "collect":
        _tell_collect(folder, all_lines=all_lines)
    elif unit in shards:
        _tell_shard(folder, plan, shards[unit], all_lines=all_lines)
    else:
        found = _units_like(plan, unit)
        if len(found) > 1:
            for name, _ in found[:MOST_NAMED]:
                tell(name)
            which = f"the first {MOST_NAMED} of them above" if len(found) > MOST_NAMED else "see above"
            raise InputError(
                f"{len(found)} units match, {which}", where=repr(unit),
                expected=f"the whole name of one, such as {found[0][0]!r}, or a part that only one has",
            )  # fmt: skip
        _tell_unit(folder, *found[0], all_lines=all_lines)


def _opened(run: Path) -> tuple[RunFolder, Plan]:
    from cadenza_remix.runs.shards.folder import RunFolder
    from cadenza_remix.runs.shards.plan import read_plan

    folder = RunFolder(run.absolute())
    return folder, read_plan(folder.plan)


# ------------------------------------------------------------------------------------------------------- status


def _looks(folder: RunFolder, plan: Plan) -> Iterator[RunState]:
    """Yield the state of the run at each look: one question to Slurm, and what journals grew by."""
    from cadenza_remix.slurm.journal_tails import Journals
    from cadenza_remix.slurm.state import run_state

    journals, slurm = Journals(folder, plan), _Slurm()
    journals.look()
    while True:
        jobs = slurm.jobs(folder, journals)
        journals.look()  # after Slurm: a journal that is closed now may have been open when Slurm answered
        yield run_state(folder, plan, jobs=jobs, journals=journals, not_asked=slurm.why_not)


class _Slurm:
    """Asks for the jobs of a run; those that are over are not asked for again."""

    def __init__(self) -> None:
        self.why_not = ""
        self._over: dict[str, JobState] = {}
        self._accounting: bool | None = None

    def jobs(self, folder: RunFolder, journals: Journals) -> list[JobState] | None:
        """Return the jobs; None, and why not in ``why_not``, when Slurm cannot be asked."""
        from cadenza_remix.slurm.answers import is_job_id
        from cadenza_remix.slurm.state import known_jobs

        submitted, damage = known_jobs(folder)
        at_work = (tails[-1].job for tails in journals.tails.values() if tails and tails[-1].reason is None)
        jobs = dict.fromkeys([*(job.id for job in submitted), *filter(is_job_id, at_work)])
        unknown = "its jobs are not known" if damage else "the run was not submitted to it"
        self.why_not = "" if jobs else unknown
        if not jobs:
            return None
        from cadenza_remix.slurm.cluster import has_accounting, queue

        try:
            if self._accounting is None:
                self._accounting = has_accounting()
            asked = queue([job for job in jobs if job not in self._over], accounting=self._accounting)
        except CadenzaError as error:
            self.why_not = str(error)
            return None
        self._over.update({job.job_id: job for job in asked if job.is_over})
        return list({job.job_id: job for job in (*self._over.values(), *asked)}.values())


def _watch(state: RunState, looks: Iterator[RunState], run: Path, *, every_s: float, as_json: bool) -> RunState:
    """Show the state until the run is over at two looks one after the other: between two jobs nothing runs."""
    from rich.live import Live

    if as_json or not out.is_terminal:
        while True:
            if as_json:
                typer.echo(_as_json(state))
            else:
                print_state(state, run)
            before = state
            if state.is_over and state.collect == "done":
                return state
            sys.stdout.flush()
            time.sleep(every_s)
            state = next(looks)
            if before.is_over and state.is_over:
                return state
    with Live(screen(state, run), console=out, auto_refresh=False, vertical_overflow="crop") as live:
        while not (state.is_over and state.collect == "done"):
            time.sleep(every_s)
            before, state = state, next(looks)
            live.update(screen(state, run), refresh=True)
            if before.is_over and state.is_over:
                break
    return state


def _as_json(state: RunState) -> str:
    return json.dumps({**asdict(state), "needs_attention": state.needs_attention}, allow_nan=False)


# --------------------------------------------------------------------------------------------------------- logs


def _units_like(plan: Plan, text: str) -> list[tuple[str, ShardId]]:
    """Return the unit of this name, or else all that have the text in their names; an InputError for none."""
    found = []
    for shard in plan.all_shards:
        for unit in shard.units:
            name = unit.name
            if name == text:
                return [(name, shard.id)]
            if text in name:
                found.append((name, shard.id))
    if not found or not text:
        raise InputError(
            "no unit, shard or stage of this run", where=repr(text),
            expected=f"such as {plan.all_shards[-1].units[-1].name}, {plan.all_shards[-1].id} or collect",
        )  # fmt: skip
    return found


def _tell_unit(folder: RunFolder, name: str, shard: ShardId, *, all_lines: bool) -> None:
    from cadenza_remix.runs.shards.journal import ShardHistory, read_events

    history = ShardHistory.read(folder, shard)
    state = history.states.get(name)
    attempts = f", failed attempts in this round: {state.attempts}" if state and state.attempts else ""
    tell(f"{name}: {state.state if state else 'left'} (shard {shard}, round {history.round_number}{attempts})")
    jobs = []
    for seat in history.incarnations:
        for event in read_events(seat.path):
            if event.unit == name:
                jobs.append(seat.job)
                at = f"{seat.node or seat.host}{', job ' + seat.job if seat.job else ''}, round {seat.round}"
                tell(f"{_clock(event.t)} {event.name}{_facts(event.facts)} ({at})")
                _tell_indented(str(event.facts.get("error", "")))
    if not jobs:
        tell("no journal tells of it yet")
        return
    _tell_logs(folder, shard.stage, jobs, all_lines=all_lines)


def _tell_shard(folder: RunFolder, plan: Plan, shard: ShardId, *, all_lines: bool) -> None:
    from cadenza_remix.runs.shards.journal import ShardHistory

    history = ShardHistory.read(folder, shard, units=[unit.name for unit in plan.shard(shard).units])
    counts = ", ".join(f"{number} {state}" for state, number in history.counts.items() if number)
    tell(f"{shard}: {counts}")
    for seat in history.incarnations:
        ended = f"closed: {seat.reason}" if seat.reason is not None else "not closed"
        at = f"{seat.node or seat.host}{', job ' + seat.job if seat.job else ''}, process {seat.pid}"
        n_done = sum(seat.n_done.values())
        tell(f"{_clock(seat.opened_t)} round {seat.round}, restart {seat.restart} ({at}): {n_done} done, {ended}")
    for name, state in history.states.items():
        if state.state in ("failed", "aside", "blocked"):
            tell(f"{state.state} {name}: {last_line(state.error)}")
    submitted = [job.id for job in _submitted_of(folder) if job.shard == shard]
    jobs = [seat.job for seat in history.incarnations] or submitted
    if submitted and submitted[-1] not in jobs:
        jobs.append(submitted[-1])  # it may have ended before it could write a journal
    _tell_logs(folder, shard.stage, jobs, all_lines=all_lines)


def _tell_collect(folder: RunFolder, *, all_lines: bool) -> None:
    there = [path.name for path in (folder.scores, folder.missing) if path.is_file()]
    tell(f"collect: {', '.join(there) + ' there' if there else 'no table yet'}")
    jobs = [job.id for job in _submitted_of(folder) if job.stage == "collect"]
    _tell_logs(folder, "collect", jobs, all_lines=all_lines)


def _submitted_of(folder: RunFolder) -> list[Submitted]:
    from cadenza_remix.slurm.state import submitted_jobs

    return submitted_jobs(folder)


def _tell_logs(folder: RunFolder, stage: str, jobs: Sequence[str], *, all_lines: bool) -> None:
    """Print the end of the log of the last of these jobs, or with ``all_lines`` whole logs of each."""
    wanted = list(dict.fromkeys(job for job in jobs if job))
    if not wanted:
        tell("no log of a job: nothing of it ran under Slurm")
    for job in wanted if all_lines else wanted[-1:]:
        path = folder.slurm / "logs" / f"{stage}-{job}.log"
        if not path.is_file():
            tell(f"{path}: no such log (yet)")
            continue
        text = path.read_bytes() if all_lines else _tail_bytes(path)
        lines = text.decode("utf-8", errors="replace").splitlines()
        n_shown = len(lines) if all_lines else min(TAIL_LINES, len(lines))
        tell(f"--- {path}" + ("" if all_lines else f", last {n_shown} lines (--all: whole logs of all its jobs)"))
        for line in lines[len(lines) - n_shown :]:
            tell(line)


def _tail_bytes(path: Path, most: int = 65536) -> bytes:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - most, 0))
        return file.read()


def _clock(t: float) -> str:
    """Return a node's time; UTC, since nobody knows in which zone its clock is thought to be."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(t))
    except (OverflowError, ValueError, OSError):
        return str(t)


def _facts(facts: Any) -> str:
    shown = ", ".join(f"{name} {facts[name]}" for name in ("attempt", "kind", "seconds", "why") if name in facts)
    return f": {shown}" if shown else ""


def _tell_indented(text: str) -> None:
    """Print lines two columns in."""
    for line in text.splitlines():
        tell(f"  {line}")
