"""How the state of a run is shown: lines and tables."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cadenza_remix.console import duration, out, tell

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from cadenza_remix.slurm.journal_tails import Trouble
    from cadenza_remix.slurm.speed import StageState
    from cadenza_remix.slurm.state import JobView, RunState

MOST_NAMED = 10
MOST_JOBS = 12
_UNLIMITED = 100_000  # columns of a table where no terminal limits them


def print_state(state: RunState, run: Path) -> None:
    """Print the state of a run: tables as wide as a terminal, and as wide as they need elsewhere."""
    from rich.console import Console

    tables = out if out.is_terminal else Console(highlight=False, emoji=False, width=_UNLIMITED)
    for part in _parts(state, run, is_wide=not out.is_terminal):
        if isinstance(part, str):
            tell(part)  # whole, however long: commands and errors are there to be copied
        else:
            tables.print(part)


def screen(state: RunState, run: Path) -> RenderableType:
    """Return what is shown again and again on a terminal."""
    from rich.console import Group
    from rich.text import Text

    parts = _parts(state, run, is_wide=False)
    return Group(*(Text(part, overflow="fold") if isinstance(part, str) else part for part in parts))


def _parts(state: RunState, run: Path, *, is_wide: bool) -> Iterator[str | Table]:
    """Yield lines and tables from the most important to the least: a low terminal loses the last ones."""
    yield from _head(state, run)
    yield ""
    yield _stage_table(state.stages)
    yield ""
    if any(stage.overall for stage in state.stages):
        yield _speed_table(state.stages)
        yield from _legend(state.stages)
        yield ""
    yield from _attention(state, run)
    if shown := _shown_jobs(state.jobs):
        yield _job_table(shown, most_wide=None if is_wide else 22)
    yield from _other_jobs(state)


def _head(state: RunState, run: Path) -> Iterator[str]:
    n_working = sum(job.is_working for job in state.jobs)
    left = "" if state.is_over else f", time left: {_time_left(state.remaining_s)}"
    rounds = f"round {state.rounds}, " if state.rounds else ""
    word = (
        "over"
        if state.is_over
        else f"{n_working} shard{'s' * (n_working != 1)} at work"
        if n_working or state.rounds
        else "not begun"
    )
    yield f"{run}: {rounds}{word}{left}"
    there = f" ({', '.join(state.files)})" if state.files else ""
    yield f"collect: {state.collect}{there}"
    if state.n_cancelled:
        yield f"jobs of the last round that were cancelled: {state.n_cancelled}"
    if state.not_asked:
        yield f"Slurm was not asked: {state.not_asked}; this is from journals alone"


def _time_left(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"about {duration(seconds)}" if seconds else "none"


def _stage_table(stages: Iterable[StageState]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("units", no_wrap=True)
    for name in ("done", "at work", "failed", "set aside", "blocked", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage in stages:
        numbers = (stage.running, stage.failed, stage.aside, stage.blocked, stage.left)
        table.add_row(stage.name, f"{stage.done}/{stage.total}", *map(str, numbers))
    return table


def _speed_table(stages: Iterable[StageState]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("speed", no_wrap=True)
    for name in ("units/h now", "units/h overall", "x real time now", "s/unit", "time left"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage in stages:
        each = "-" if stage.seconds_per_unit is None else f"{stage.seconds_per_unit:.3g}"
        left = "unknown" if stage.remaining_s is None else duration(stage.remaining_s) if stage.remaining_s else "-"
        table.add_row(
            stage.name,
            "-" if stage.recent is None else _digits(stage.recent.units_per_hour),
            "-" if stage.overall is None else _digits(stage.overall.units_per_hour) + "*" * _is_of_one(stage),
            "-" if stage.recent is None else _digits(stage.recent.audio_s_per_s), each, left,
        )  # fmt: skip
    return table


def _is_of_one(stage: StageState) -> bool:
    return stage.overall is not None and not stage.workers


def _legend(stages: Iterable[StageState]) -> Iterator[str]:
    """Explain the columns of speeds that need it."""
    stages = tuple(stages)
    if any(stage.recent for stage in stages):
        yield "now: in the last 10 minutes; x real time: seconds of music in one second"
    if any(_is_of_one(stage) for stage in stages):
        yield "* nobody works on it now: what a single worker did in an hour of work"


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


def _job_table(jobs: Iterable[JobView], *, most_wide: int | None) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("job", "shard", "node", "state"):
        table.add_column(name, no_wrap=True, max_width=most_wide)
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
    yield from _troubles("damaged files", state.damaged, 3)
    yield from _troubles("set aside", state.aside, MOST_NAMED)
    yield from _troubles("blocked", state.blocked, 3)
    yield from _troubles("no one works on", state.lost, MOST_NAMED)
    for reason, number in Counter(trouble.why for trouble in state.stuck).most_common():
        names = [trouble.name for trouble in state.stuck if trouble.why == reason]
        some = ", ".join(names[:3]) + (", ..." if number > 3 else "")
        yield f"waiting for what may never come, {reason}: {number} jobs ({some})"
    if state.needs_attention:
        folder = shlex.quote(str(run))
        told = f"cadenza-remix slurm resume {folder}" if state.is_submitted else "the same command again"
        yield f"what is missing: {told} (after mending what failed: cadenza-remix slurm logs {folder} UNIT)"


def _troubles(title: str, troubles: Sequence[Trouble], most: int) -> Iterator[str]:
    if not troubles:
        return
    yield f"{title}: {len(troubles)}" + (f", the first {most}:" if len(troubles) > most else ":")
    for trouble in troubles[:most]:
        yield f"  {trouble.name}: {last_line(trouble.why)}"


def last_line(text: str) -> str:
    """Return the line of an error that tells most: the last one of a traceback."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
