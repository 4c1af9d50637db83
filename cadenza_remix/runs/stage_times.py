"""How long the stages of a job took, and how much memory: measured from the progress that they tell.

Records hold no times, so that equal inputs give equal bytes. What a session of ``enhance``, ``score`` or ``demo`` took
lies beside them in a small file of its own, which no key covers and nothing needs: ``<run>/stage_times/<token>.json``,
of ``score`` in ``<table>_stage_times/``. Runs made of shards have journals instead
(`cadenza_remix.runs.shards.history`).
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from cadenza_remix.atomic import write_json
from cadenza_remix.errors import OutputError
from cadenza_remix.runs.progress import NoProgress, Progress

FOLDER = "stage_times"
"""Where a run's sessions are noted, below its folder."""
TABLE_ENDING = "_stage_times"
"""What the folder beside a table of ``score`` is called, after the table's name."""
_FORMAT = 1


@dataclass(frozen=True)
class StageTime:
    """Units that a stage did in one session, and the seconds of wall clock that these took."""

    n_units: float
    seconds: float


@dataclass(frozen=True)
class SessionTimes:
    """One session of work.

    ``began``: UTC, ISO 8601; ``stages``: by name; ``peak_bytes``: most memory that the process held up to the session's
    end; ``worker_peak_bytes``: the same of the largest of its worker processes, 0 without any; both None where the
    system does not tell; ``n_cores``: how many the process was allowed.
    """

    began: str
    stages: Mapping[str, StageTime]
    peak_bytes: int | None
    worker_peak_bytes: int | None
    n_cores: int


class TimedProgress:
    """Passes progress on and measures: the time between two steps belongs to the stage of the later one.

    That holds for stages that take turns (demix a song, enhance it for all listeners, demix the next) and for threads
    that share one stage.
    """

    def __init__(self, inner: Progress | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._inner, self._clock = inner or NoProgress(), clock
        self._last_s = clock()
        self._done: dict[str, float] = {}
        self._took_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def start(self, stage: str, total: float) -> None:
        """A stage begins; what came before it is counted for no stage."""
        with self._lock:
            self._last_s = self._clock()
        self._inner.start(stage, total)

    def advance(self, stage: str, amount: float = 1.0) -> None:
        """Some of a stage is done."""
        with self._lock:
            now_s = self._clock()
            self._took_s[stage] = self._took_s.get(stage, 0.0) + now_s - self._last_s
            self._done[stage] = self._done.get(stage, 0.0) + amount
            self._last_s = now_s
        self._inner.advance(stage, amount)

    def say(self, message: str) -> None:
        """Pass a message on."""
        self._inner.say(message)

    def forget(self) -> None:
        """Take back what was measured: nothing came of it."""
        with self._lock:
            self._done.clear()
            self._took_s.clear()

    @property
    def stages(self) -> dict[str, StageTime]:
        """Return what was measured so far, by stage."""
        return {stage: StageTime(round(self._done[stage], 6), self._took_s[stage]) for stage in self._done}


@contextmanager
def recorded_times(folder: Path, progress: Progress | None = None) -> Iterator[TimedProgress]:
    """Yield a progress that measures; what was done is noted in ``folder`` in the end, also after an error.

    Nothing is written when nothing was done, nor where the work itself could not be written. A file that cannot be
    written is told, and stops nobody.
    """
    timed, began = TimedProgress(progress), datetime.now(UTC)
    try:
        yield timed
    except OutputError:
        timed.forget()
        raise
    finally:
        if timed.stages:
            peak, worker_peak = _peaks()
            times = SessionTimes(began.isoformat(timespec="seconds"), timed.stages, peak, worker_peak, _n_cores())
            try:
                write_json(folder / f"{secrets.token_hex(8)}.json", {"format": _FORMAT, **asdict(times)})
            except OutputError as error:
                timed.say(f"how long it took is not noted: {error}")


def read_stage_times(folder: Path) -> list[SessionTimes]:
    """Return the sessions noted in a folder, the earliest first; what cannot be understood is left out."""
    found = (_read(path) for path in sorted(folder.glob("*.json")))
    return sorted((times for times in found if times is not None), key=lambda times: times.began)


def _read(path: Path) -> SessionTimes | None:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw.pop("format") != _FORMAT:
            return None
        stages = {
            str(name): StageTime(float(stage["n_units"]), float(stage["seconds"]))
            for name, stage in raw.pop("stages").items()
        }
        peak, worker_peak = (
            None if raw[name] is None else int(raw[name]) for name in ("peak_bytes", "worker_peak_bytes")
        )
        return SessionTimes(str(raw["began"]), stages, peak, worker_peak, int(raw["n_cores"]))
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None


def _peaks() -> tuple[int | None, int | None]:
    """Return the most memory that this process and the largest of its ended children have held, in bytes."""
    if sys.platform == "win32":
        return None, None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own * unit, children * unit


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
