"""What the command line shows: messages, progress bars with the time left, one line per error."""

from __future__ import annotations

import errno
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from cadenza_remix.errors import CadenzaError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

STAGE_TITLES = {
    "demix": "Demixing songs",
    "enhance": "Enhancing for listeners",
    "validate": "Checking the entry",
    "score": "Scoring (HAAQI, SNR, SDR)",
    "separate": "Separating (s of music)",
    "songs": "Making songs (s of music)",
    "describe": "Looking at songs",
}
#: Stages whose units are seconds of music: their speed is told as a multiple of real time.
_STAGES_IN_SECONDS = {"separate", "songs"}

_RATE_AFTER_S = 3.0
_STEPS_EVERY_S = 10.0
_INTERRUPTED = 130

# Paths may hold what Rich would read as an emoji (":smile:").
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)


class BarProgress:
    """Progress bars of the stages on standard error; safe to call from several threads."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description:<26}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=err,
        )
        self._tasks: dict[str, TaskID] = {}
        self._totals: dict[str, float] = {}
        self._done: dict[str, float] = {}
        self._began_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> BarProgress:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def start(self, stage: str, total: float) -> None:
        """Begin a stage, or make it longer when it runs already."""
        with self._lock:
            self._totals[stage] = self._totals.get(stage, 0.0) + total
            if stage in self._tasks:
                self._bars.update(self._tasks[stage], total=self._totals[stage])
            elif total:
                self._done[stage], self._began_s[stage] = 0.0, time.monotonic()
                self._tasks[stage] = self._bars.add_task(STAGE_TITLES[stage], total=total, rate="")

    def advance(self, stage: str, amount: float = 1.0) -> None:
        """Move a stage on."""
        with self._lock:
            if stage in self._tasks:
                self._done[stage] += amount
                rate = _rate(stage, self._done[stage], time.monotonic() - self._began_s[stage])
                self._bars.update(self._tasks[stage], advance=amount, rate=rate)

    def say(self, message: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(message, markup=False)


class LineProgress:
    """Progress for a log file: a line per stage every ten seconds, and one when it is done."""

    def __init__(self, *, every_s: float = 10.0) -> None:
        self._every_s = every_s
        self._stages: dict[str, list[float]] = {}  # done, total, time of the start, time of the last line
        self._lock = threading.Lock()

    def start(self, stage: str, total: float) -> None:
        """Begin a stage, or make it longer when it runs already."""
        now = time.monotonic()
        with self._lock:
            self._stages.setdefault(stage, [0.0, 0.0, now, now])[1] += total

    def advance(self, stage: str, amount: float = 1.0) -> None:
        """Move a stage on; print a line when it is time."""
        now = time.monotonic()
        with self._lock:
            state = self._stages[stage]
            state[0] += amount
            done, total, began, told = state
            finished = done > total - 1e-6
            if not finished and now - told < self._every_s:
                return
            state[3] = now
        left = "" if finished or not done else f", {duration((now - began) * (total - done) / done)} left"
        rate = _rate(stage, done, now - began)
        counts = f"{done:.0f} of {total:.0f}" if stage in _STAGES_IN_SECONDS else f"{done:.4g} of {total:g}"
        self.say(f"{STAGE_TITLES[stage]}: {counts}{', ' if rate else ''}{rate}{left}")

    def say(self, message: str) -> None:
        """Print a line."""
        err.print(message, markup=False, soft_wrap=True)


def _rate(stage: str, done: float, seconds: float) -> str:
    """Say how fast work goes on, by the minute; nothing before that can be known."""
    if seconds < _RATE_AFTER_S:
        return ""
    if stage in _STAGES_IN_SECONDS:
        return real_time(done, seconds)
    per_minute = 60 * done / seconds
    return f"{per_minute:.0f}/min" if per_minute >= 10 else f"{per_minute:.2g}/min"


def real_time(music_s: float, seconds: float) -> str:
    """Say how many seconds of music are done in one second, to two digits: ``14x real time``."""
    speed = float(f"{music_s / max(seconds, 1e-3):.2g}")
    return f"{speed:.10g}x real time"


def duration(seconds: float) -> str:
    """Say how long something takes: ``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


@contextmanager
def shown_progress() -> Iterator[BarProgress | LineProgress]:
    """Yield progress bars on a terminal, and lines for a log elsewhere."""
    if not err.is_terminal:
        yield LineProgress()
        return
    with BarProgress() as bars:
        yield bars


class StepLines:
    """How long work of many steps goes on, for a log file: a line every ten seconds, and the messages."""

    def __init__(self, title: str) -> None:
        self._title, self._told_at = title, -math.inf

    def show(self, step: int, n_steps: int, words: str, left_s: float) -> None:
        """Tell the steps done, all of them, a few words on how it goes, and the seconds left as the work reckons."""
        now = time.monotonic()
        if now - self._told_at >= _STEPS_EVERY_S:
            self._told_at = now
            self.say(f"{self._title}: {step} of {n_steps}, {words}{_left(left_s)}")

    def say(self, message: str) -> None:
        """Print a line."""
        err.print(message, markup=False, soft_wrap=True)


class StepBar:
    """The same on a terminal: a bar, with the messages above it."""

    def __init__(self, title: str, bars: Progress) -> None:
        self._bars, self._task = bars, bars.add_task(title, total=None, words="")

    def show(self, step: int, n_steps: int, words: str, left_s: float) -> None:
        """Tell the steps done, all of them, a few words on how it goes, and the seconds left as the work reckons."""
        self._bars.update(self._task, completed=step, total=n_steps, words=f"{words}{_left(left_s)}")

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self._bars.console.print(message, markup=False, soft_wrap=True)


@contextmanager
def shown_steps(title: str) -> Iterator[StepLines | StepBar]:
    """Yield a bar on a terminal, and lines for a log elsewhere."""
    if not err.is_terminal:
        yield StepLines(title)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description:<18}"), BarColumn(bar_width=32), MofNCompleteColumn())
    with Progress(*columns, TextColumn("{task.fields[words]}"), console=err) as bars:
        yield StepBar(title, bars)


def _left(seconds: float) -> str:
    return f", {duration(seconds)} left" if seconds < math.inf else ""


def tell(message: str) -> None:
    """Print a line on standard output, as it is."""
    out.print(message, markup=False, soft_wrap=True)


def print_error(message: str) -> None:
    """Print one line on standard error."""
    err.print(f"cadenza-remix: error: {message}", markup=False, soft_wrap=True)


def print_stopped(how: str) -> None:
    """Print the line for work that was stopped from outside."""
    print_error(f"{how}; what was finished stays, and the same command goes on from there")


def exit_status(job: Callable[[], object]) -> int:
    """Do a job and return the status to leave with: its own where it is a number, 0 where it is none.

    Errors of this package become one line and status 2, an interruption status 130; others are bugs and pass through.
    """
    try:
        status = job()
    except CadenzaError as error:
        print_error(str(error))
        return 2
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print_error(f"standard output: cannot be written: {error.strerror}")
        return 2
    if status == _INTERRUPTED:  # Typer turns the exception into this status
        print_stopped("interrupted")
    return status if isinstance(status, int) else 0
