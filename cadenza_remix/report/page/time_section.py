"""Time and memory of each stage, where sessions or journals noted them."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from cadenza_remix.report.figures import plot_stage_times
from cadenza_remix.report.page.contents import Contents
from cadenza_remix.report.page.data_table import Cell, Column, data_table
from cadenza_remix.report.page.markup import Html, join, missing
from cadenza_remix.report.page.pictures import picture
from cadenza_remix.report.page.places import TABLE_RECORDS, score_places
from cadenza_remix.runs.finished import FinishedRun
from cadenza_remix.runs.shards.events import journal_folders
from cadenza_remix.runs.shards.folder import STAGES, RunFolder, ShardId
from cadenza_remix.runs.shards.history import ShardHistory
from cadenza_remix.runs.shards.plan import KINDS
from cadenza_remix.runs.stage_times import FOLDER, TABLE_ENDING, read_stage_times

_MEGABYTE = 1e6

_COLUMNS = [Column("system"), Column("began (UTC)"), Column("stage"), Column("units", 0), Column("time", 1, unit="s"),
            Column("per unit", 2, unit="s"), Column("workers or cores", 0), Column("peak memory", 0, unit="MB"),
            Column("largest worker", 0, unit="MB")]  # fmt: skip


def time_section(contents: Contents) -> Html:
    """Return a row for each session and stage, and say of which runs nothing is known."""
    rows: list[list[Cell]] = []
    unknown = []
    for run in contents.runs:
        found = [*_session_rows(run), *_journal_rows(run)]
        rows += found
        if not found:
            unknown.append(run.name)
    note = missing(f"Not recorded: {', '.join(unknown)}.") if unknown else None
    if not rows:
        return join(note)
    explanation = (
        "Sessions of enhance, score and demo give seconds of wall clock; the memory is the most that the whole process "
        "had held by the session’s end, and the most that one of its worker processes had. Runs of shards (run, slurm) "
        "give the sum of the seconds that units took, on all workers together; their memory is not noted. Units: songs "
        "to demix, pairs to enhance or score. What was found done took no time and is not counted."
    )
    table = data_table("time-and-memory", "Time and memory of each stage", _COLUMNS, rows, explanation=explanation)
    return join(note, _picture(rows), table)


def _picture(rows: list[list[Cell]]) -> Html:
    times_s: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        name, stage, took_s = str(row[0]), str(row[2]), row[4]
        assert isinstance(took_s, float)
        times_s[name][stage] = times_s[name].get(stage, 0.0) + took_s
    return picture(
        "Time of each stage", "Seconds of each stage by system, as bars. The numbers stand in the table.",
        plot_stage_times, times_s, explanation="All sessions of a system together.",
    )  # fmt: skip


def _session_rows(run: FinishedRun) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for folder in (run.folder / FOLDER, *_beside_tables(run)):
        for session in read_stage_times(folder):
            memory = [_megabytes(session.peak_bytes), _megabytes(session.worker_peak_bytes)]
            for stage, took in session.stages.items():
                per_unit = took.seconds / took.n_units if took.n_units else None
                began = session.began[:19].replace("T", " ")
                rows.append([run.name, began, stage, took.n_units, took.seconds, per_unit, session.n_cores, *memory])
    return rows


def _beside_tables(run: FinishedRun) -> list[Path]:
    """Return where ``score`` noted the times of this run: beside its tables, among which may be those of other runs."""
    tables = [place.name.removesuffix(TABLE_RECORDS) for place in score_places(run) if place.parent == run.folder]
    return [run.folder / f"{table}{TABLE_ENDING}" for table in tables]


def _megabytes(n_bytes: int | None) -> float | None:
    return n_bytes / _MEGABYTE if n_bytes else None


def _journal_rows(run: FinishedRun) -> list[list[Cell]]:
    """Return a row for each kind of unit: what all journals of all shards say together."""
    root = RunFolder(run.folder)
    n_done, took_s = defaultdict[str, int](int), defaultdict[str, float](float)
    began, workers = [], 0
    for place in journal_folders(root):
        stage, _, index = place.name.rpartition("-")
        if stage not in STAGES or not index.isdecimal():
            continue
        for incarnation in ShardHistory.read(root, ShardId(stage, int(index))).incarnations:
            workers = max(workers, incarnation.workers)
            if incarnation.opened_t > 0:
                began.append(incarnation.opened_t)
            for kind, count in incarnation.n_done.items():
                n_done[kind] += count
                took_s[kind] += incarnation.done_s.get(kind, 0.0)
    start = datetime.fromtimestamp(min(began), UTC).strftime("%Y-%m-%d %H:%M:%S") if began else "not known"
    return [
        [run.name, start, kind, count, took_s[kind], took_s[kind] / count, workers, None, None]
        for kind, count in sorted(
            n_done.items(), key=lambda entry: KINDS.index(entry[0]) if entry[0] in KINDS else len(KINDS)
        )
    ]
