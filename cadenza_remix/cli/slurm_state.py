"""Commands that look at a run: how it stands, and what is known of one of its units."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cadenza_remix.console import duration, out, tell
from cadenza_remix.errors import CadenzaError, InputError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from cadenza_remix.runs.shards.folder import RunFolder, ShardId
    from cadenza_remix.runs.shards.plan import Plan
    from cadenza_remix.slurm.answers import JobState
    from cadenza_remix.slurm.journal_tails import Journals, Trouble
    from cadenza_remix.slurm.speed import StageState
    from cadenza_remix.slurm.state import JobView, RunState, Submitted

MOST_NAMED = 10
MOST_JOBS = 12
TAIL_LINES = 40
LEAST_WATCH_S = 5.0
_WIDE = 99
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
            _print(state, run)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)  # quiet: nothing was under way
    if state.needs_attention:
        raise typer.Exit(1)


def logs(
    run: RunArgument,
    unit: Annotated[
        str, typer.Argument(metavar="UNIT", help="score/L5040/Song or a part of it, a shard (pairs-12), or collect.")
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
            raise InputError(
                f"{len(found)} units are called so" + (f", the first {MOST_NAMED} above" if len(found) > 10 else ""),
                where=unit,
                expected="a part of one unit's name",
            )
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
        from cadenza_remix.slurm.state import submitted_jobs

        at_work = (tails[-1].job for tails in journals.tails.values() if tails and tails[-1].reason is None)
        jobs = dict.fromkeys([*(job.id for job in submitted_jobs(folder)), *filter(None, at_work)])
        self.why_not = "" if jobs else "the run was not submitted to it"
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
                _print(state, run)
            before = state
            if state.is_over and state.collect == "done":
                return state
            sys.stdout.flush()
            time.sleep(every_s)
            state = next(looks)
            if before.is_over and state.is_over:
                return state
    with Live(_screen(state, run), console=out, auto_refresh=False, vertical_overflow="crop") as live:
        while not (state.is_over and state.collect == "done"):
            time.sleep(every_s)
            before, state = state, next(looks)
            live.update(_screen(state, run), refresh=True)
            if before.is_over and state.is_over:
                break
    return state


def _as_json(state: RunState) -> str:
    return json.dumps({**asdict(state), "needs_attention": state.needs_attention}, allow_nan=False)


def _print(state: RunState, run: Path) -> None:
    from rich.console import Console

    console = out if out.is_terminal else Console(highlight=False, emoji=False, width=_WIDE)
    console.print(_screen(state, run))


def _screen(state: RunState, run: Path) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(line) for line in _head(state, run)]
    parts += [Text(), _stage_table(state.stages), Text()]
    parts += [Text(line, overflow="ellipsis", no_wrap=True) for line in _attention(state, run)]
    if shown := _shown_jobs(state.jobs):  # last: a low terminal loses these first
        parts.append(_job_table(shown))
    parts += [Text(line, overflow="ellipsis", no_wrap=True) for line in _other_jobs(state)]
    return Group(*parts)


def _head(state: RunState, run: Path) -> Iterator[str]:
    n_working = sum(job.is_working for job in state.jobs)
    left = "" if state.is_over else f", time left: {_time_left(state.remaining_s)}"
    rounds = f"round {state.rounds}, " if state.rounds else ""
    word = "over" if state.is_over else f"{n_working} shards at work" if n_working or state.rounds else "not begun"
    yield f"{run}: {rounds}{word}{left}"
    there = f" ({', '.join(state.files)})" if state.files else ""
    yield f"collect: {state.collect}{there}"
    if state.not_asked:
        yield f"Slurm was not asked: {state.not_asked}; this is from journals alone"


def _time_left(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"about {duration(seconds)}" if seconds else "none"


def _stage_table(stages: Iterable[StageState]) -> Table:
    from rich.table import Table

    stages = tuple(stages)
    legend = "* of one worker" if any(stage.overall and not stage.workers for stage in stages) else None
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), caption=legend, caption_justify="left")
    table.add_column("stage", no_wrap=True)
    for name in ("done", "at work", "failed", "aside", "blocked", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("per h\n10 min", "per h\nall", "audio\ns/s", "s each", "time left"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage in stages:
        numbers = (stage.running, stage.failed, stage.aside, stage.blocked, stage.left)
        each = "-" if stage.seconds_per_unit is None else f"{stage.seconds_per_unit:.3g}"
        left = "unknown" if stage.remaining_s is None else duration(stage.remaining_s) if stage.remaining_s else "-"
        star = "" if stage.workers or stage.overall is None else "*"
        table.add_row(
            stage.name, f"{stage.done}/{stage.total}", *map(str, numbers),
            "-" if stage.recent is None else _digits(stage.recent.units_per_hour),
            "-" if stage.overall is None else _digits(stage.overall.units_per_hour) + star,
            "-" if stage.recent is None else _digits(stage.recent.audio_s_per_s), each, left,
        )  # fmt: skip
    return table


def _digits(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def _shown_jobs(jobs: Iterable[JobView]) -> list[JobView]:
    """Return the jobs to show one by one: those at work, what has been longest at one unit first, then bad ends."""
    working = [job for job in jobs if job.is_working or job.state == "RUNNING"]
    working.sort(key=lambda job: -max((hand.for_s for hand in job.units), default=0.0))
    ended = [job for job in jobs if _ended_badly(job)]
    return [*working, *ended][:MOST_JOBS]


def _ended_badly(job: JobView) -> bool:
    from cadenza_remix.slurm.answers import RUNNING, WAITING

    return job.state not in ("", "COMPLETED", *RUNNING, *WAITING) and job.n_left > 0


def _job_table(jobs: Iterable[JobView]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("job", "shard", "node", "state"):
        table.add_column(name, no_wrap=True, max_width=22)
    for name in ("restarts", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("at hand", no_wrap=True, overflow="ellipsis")
    table.add_column("for", justify="right", no_wrap=True)
    for job in jobs:
        state = job.state or ("at work" if job.is_working else "-")
        longest = max(job.units, key=lambda hand: hand.for_s, default=None)
        more = f" +{len(job.units) - 1}" if len(job.units) > 1 else ""
        shard = job.stage if job.shard is None else f"{job.stage}-{job.shard}"
        table.add_row(
            job.id or "-", shard, escape(job.node), escape(state), str(job.restarts), str(job.n_left),
            escape(f"{longest.unit}{more}" if longest else job.said or "-"), duration(longest.for_s) if longest else "",
        )  # fmt: skip
    return table


def _other_jobs(state: RunState) -> Iterator[str]:
    """Count the jobs that the table does not show, by what Slurm says of them."""
    shown = {id(job) for job in _shown_jobs(state.jobs)}
    rest = [job for job in state.jobs if id(job) not in shown]
    unknown = "of which Slurm was not asked" if state.not_asked else "unknown to Slurm (any more)"
    words = Counter(
        " ".join(filter(None, (job.state or ("at work" if job.is_working else unknown), _reason(job)))) for job in rest
    )
    if words:
        yield f"{'other ' if shown else ''}jobs: " + ", ".join(
            f"{number} {word}" for word, number in words.most_common()
        )


def _reason(job: JobView) -> str:
    return f"({job.reason})" if job.state == "PENDING" and job.reason not in ("", "None") else ""


def _attention(state: RunState, run: Path) -> Iterator[str]:
    """Yield what stands in nobody's way but needs attention."""
    yield from _troubles("set aside", state.aside, MOST_NAMED)
    yield from _troubles("blocked", state.blocked, 3)
    yield from _troubles("no one works on", state.lost, MOST_NAMED)
    for reason, number in Counter(trouble.why for trouble in state.stuck).most_common():
        names = [trouble.name for trouble in state.stuck if trouble.why == reason]
        yield f"waiting for what may never come, {reason}: {number} jobs ({', '.join(names[:3])}...)"[:_WIDE]
    if state.needs_attention:
        told = f"cadenza-remix slurm resume {run}" if state.is_submitted else "the same command again"
        yield f"what is missing: {told} (after mending what failed: cadenza-remix slurm logs {run} UNIT)"


def _troubles(title: str, troubles: Sequence[Trouble], most: int) -> Iterator[str]:
    if not troubles:
        return
    yield f"{title}: {len(troubles)}" + (f", the first {most}:" if len(troubles) > most else ":")
    for trouble in troubles[:most]:
        yield f"  {trouble.name}: {_last_line(trouble.why)}"


def _last_line(text: str) -> str:
    """Return the line of an error that tells most: the last one of a traceback."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


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
            tell(f"{state.state} {name}: {_last_line(state.error)}")
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
