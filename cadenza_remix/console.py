"""What the command line shows: messages, progress bars with the time left, one line per error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import TaskID

STAGE_TITLES = {
    "demix": "Demixing songs",
    "enhance": "Enhancing for listeners",
    "score": "Scoring (HAAQI, SNR, SDR)",
    "fetch": "Fetching",
}

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class BarProgress:
    """Progress bars of the stages on standard error; safe to call from several threads."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description:<26}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=err,
        )
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> BarProgress:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def start(self, stage: str, total: float) -> None:
        """Begin a stage, or make it longer when it runs already."""
        with self._lock:
            if stage in self._tasks:
                task = self._tasks[stage]
                before = self._bars.tasks[self._bars.task_ids.index(task)].total or 0
                self._bars.update(task, total=before + total)
            elif total:
                self._tasks[stage] = self._bars.add_task(STAGE_TITLES.get(stage, stage), total=total)

    def advance(self, stage: str, amount: float = 1.0) -> None:
        """Move a stage on."""
        with self._lock:
            if stage in self._tasks:
                self._bars.advance(self._tasks[stage], amount)

    def say(self, message: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(message)


@contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[BarProgress | None]:
    """Yield progress bars, or None when they are not wanted."""
    if quiet:
        yield None
        return
    with BarProgress() as bars:
        yield bars


def print_error(message: str) -> None:
    """Print one line on standard error."""
    err.print(f"cadenza-remix: error: {message}", markup=False, soft_wrap=True)
