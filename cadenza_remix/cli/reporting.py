"""The command that makes a report: one HTML file of one or more finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadenza_remix.console import shown_steps, tell
from cadenza_remix.errors import InputError

if TYPE_CHECKING:
    from cadenza_remix.console import StepBar, StepLines
    from cadenza_remix.runs.finished import FinishedRun

_STAGE_WORDS = {"statistics": "means and intervals", "measure": "measuring sound", "pairs": "best and worst pairs"}


def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Folders of enhance, run, demo; tables of score; NAME=PATH names one."),
    ],
    out_file: Annotated[Path, typer.Option("--out", help="The HTML file to write.")] = Path("report.html"),
    audio: Annotated[bool, typer.Option("--audio", help="Embed clips of the best and worst pairs.")] = False,
    against: Annotated[
        str | None, typer.Option("--against", help="The run that the others are compared with; the first system.")
    ] = None,
    references: Annotated[
        Path | None, typer.Option("--references", help="Folder of clean stems, where the run itself does not say.")
    ] = None,
    music: Annotated[
        list[Path] | None, typer.Option("--music", help="A mixture, or a folder that holds mixture.wav; repeatable.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option("--scores", help="Table of score that belongs to the run, if it lies elsewhere.")
    ] = None,
    songs: Annotated[Path | None, typer.Option("--songs", help="Song list of the challenge: means by genre.")] = None,
    n_measured: Annotated[
        int, typer.Option("--measured", min=1, help="Pairs of each run that are measured as sound, at most.")
    ] = 24,
) -> None:
    """Write a report of finished runs: one HTML file with tables, figures and, if wanted, clips to listen to."""
    from cadenza_remix.atomic import check_writable
    from cadenza_remix.challenge.metadata import load_songs
    from cadenza_remix.report.page.writing import write_report

    if out_file.is_dir():
        raise InputError("is a folder", where=out_file, expected="the name of the file to write")
    if out_file.suffix.lower() not in {".html", ".htm"}:
        raise InputError("wrong name", where=out_file, expected="a name that ends in .html")
    found = [
        run for given in runs for run in _found(given, references, music or [], scores if len(runs) == 1 else None)
    ]
    if scores is not None and len(runs) > 1:
        raise InputError("several runs, one table", where="--scores", expected="one run", found=f"{len(runs)} runs")
    entries = load_songs(songs) if songs else None
    check_writable(out_file.resolve().parent)
    with shown_steps("Report") as steps:
        size = write_report(
            found, out_file, against=against, songs=entries, audio=audio, n_measured=n_measured,
            progress=_Steps(steps),
        )  # fmt: skip
    tell(f"{out_file}: {', '.join(run.name for run in found)}; {size / 1e6:.2f} MB")


def _found(given: str, references: Path | None, music: list[Path], scores: Path | None) -> list[FinishedRun]:
    """Return the runs of one argument: a path, or NAME=PATH where there is no such path."""
    from cadenza_remix.runs.finished import find_runs

    name, equals, path = given.partition("=")
    if not equals or _is_there(given):
        return find_runs(given, references=references, music=music, scores=scores)
    if not name or not path:
        raise InputError("wrong run", where=given, expected="PATH or NAME=PATH")
    return find_runs(path, name=name, references=references, music=music, scores=scores)


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # a name too long for any file
        return False


class _Steps:
    """Shows all stages as one bar, or as lines of a log."""

    def __init__(self, steps: StepBar | StepLines) -> None:
        self._steps, self._done, self._total, self._words = steps, 0.0, 0.0, ""

    def start(self, stage: str, total: float) -> None:
        self._total += total
        self._words = _STAGE_WORDS.get(stage, stage)
        self._show()

    def advance(self, stage: str, amount: float = 1.0) -> None:
        self._done += amount
        self._show()

    def say(self, message: str) -> None:
        self._steps.say(message)

    def _show(self) -> None:
        if self._total:
            self._steps.show(round(self._done), round(self._total), self._words, float("inf"))
