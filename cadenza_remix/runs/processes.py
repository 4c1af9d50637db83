"""Units of work in several processes: for long computations, which threads of one interpreter would slow down.

A worker is a Python process of its own that is fed through its standard input. It never imports the caller's script (so
that needs no ``if __name__ == "__main__"``), shares no locks with anybody, and ends when its parent does, however that
ends: then it finishes the unit at hand and finds nobody left to ask.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar, cast

from cadenza_remix.errors import CadenzaError, OutputError
from cadenza_remix.runs.pool import Failure

Unit = TypeVar("Unit")
Result = TypeVar("Result")

_SERVE = "from cadenza_remix.runs.processes import serve; serve()"
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LOST_IN_A_ROW = 3


class WorkerLostError(CadenzaError):
    """A worker ended before it had an answer: killed from outside, most often for its memory."""


def run_in_processes(
    units: Sequence[Unit],
    work: Callable[[Unit], Result],
    *,
    n_workers: int,
    group: Callable[[Unit], Hashable],
    name: Callable[[Unit], str] = str,
    on_done: Callable[[], object] = lambda: None,
) -> tuple[list[Result], list[Failure]]:
    """Do all units; return their results in the order of the units, and the failures.

    Parameters
    ----------
    units : sequence
        Anything that can be pickled.
    work : callable
        Can be pickled; each worker gets one copy, which may keep what the units of one group share.
    n_workers : int
    group : callable
        A worker stays with a group as long as there are units of it, then takes one that nobody has begun, then helps
        with the largest.
    name : callable
        What a unit is called in a failure.
    on_done : callable
        Called after each unit, from several threads.

    Raises
    ------
    OutputError
        A result could not be written: the next ones could not be either, so everything stops.
    WorkerLostError
        Workers are killed one after the other. A single loss is a failure of the unit it had.
    RuntimeError
        A bug in ``work``, with its traceback.
    """
    queue = _Queue(units, group)
    results: dict[int, Result] = {}
    failures: dict[int, Failure] = {}
    team = _Team(pickle.dumps(work))

    def drive() -> None:
        worker, key, n_lost = team.hire(), None, 0
        while (taken := queue.take(key)) is not None:
            index, unit, key = taken
            try:
                results[index] = cast("Result", worker.do(unit))
                n_lost = 0
            except OutputError:
                raise
            except WorkerLostError as error:
                n_lost += 1
                if team.closed or n_lost == _LOST_IN_A_ROW:
                    raise
                failures[index] = Failure(name(unit), error)
                worker = team.hire()
            except CadenzaError as error:
                failures[index] = Failure(name(unit), error)
            on_done()
        worker.close()

    with ThreadPoolExecutor(max_workers=n_workers) as threads:
        jobs = [threads.submit(drive) for _ in range(min(n_workers, len(units)))]
        try:
            finished, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in finished:
                job.result()
        except BaseException:
            queue.clear()
            team.close()
            raise
    return [results[index] for index in sorted(results)], [failures[index] for index in sorted(failures)]


def serve() -> None:
    """Be a worker: take the work, then units, from standard input; answer on what was standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and decides
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints must not get between the answers
    with suppress(EOFError, BrokenPipeError):
        work = pickle.load(requests)
        while True:
            unit = pickle.load(requests)
            try:
                answer: tuple[str, Any] = ("done", work(unit))
            except CadenzaError as error:
                answer = ("failed", error)
            except Exception:
                answer = ("bug", traceback.format_exc())
            pickle.dump(answer, answers)
            answers.flush()


class _Worker:
    """The parent's end of one worker."""

    def __init__(self, work: bytes) -> None:
        environment = {**dict.fromkeys(_ONE_THREAD, "1"), **os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self._requests = cast("BinaryIO", self._process.stdin)
        self._answers = cast("BinaryIO", self._process.stdout)
        with suppress(BrokenPipeError):  # then the first unit says so
            self._requests.write(work)

    def do(self, unit: object) -> object:
        try:
            pickle.dump(unit, self._requests)
            self._requests.flush()
            kind, value = pickle.load(self._answers)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
            raise WorkerLostError(f"the worker ended without an answer: {self._end()}") from error
        if kind == "failed":
            raise value
        if kind == "bug":
            raise RuntimeError(f"in a worker:\n{value}")
        return value

    def _end(self) -> str:
        status = self._process.wait()
        if status == -signal.SIGKILL:
            return "found SIGKILL (was it out of memory? fewer --workers need less)"
        return f"found {signal.Signals(-status).name}" if status < 0 else f"found exit status {status}"

    def close(self) -> None:
        with suppress(OSError):
            self._requests.close()
        self._process.wait()
        self._answers.close()

    def kill(self) -> None:
        self._process.kill()


class _Team:
    """All workers of one run, so that they can be stopped together."""

    def __init__(self, work: bytes) -> None:
        self._work = work
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        self.closed = False

    def hire(self) -> _Worker:
        with self._lock:
            if self.closed:
                raise WorkerLostError("stopped before its work began")
            self._workers.append(_Worker(self._work))
            return self._workers[-1]

    def close(self) -> None:
        with self._lock:
            self.closed = True
            for worker in self._workers:
                worker.kill()


class _Queue(Generic[Unit]):
    """Units by group, in the order in which the groups first come up."""

    def __init__(self, units: Sequence[Unit], group: Callable[[Unit], Hashable]) -> None:
        self._lock = threading.Lock()
        self._untouched: dict[Hashable, deque[tuple[int, Unit]]] = {}
        self._begun: dict[Hashable, deque[tuple[int, Unit]]] = {}
        for index, unit in enumerate(units):
            self._untouched.setdefault(group(unit), deque()).append((index, unit))

    def take(self, key: Hashable | None) -> tuple[int, Unit, Hashable] | None:
        """Return a unit with its index and group, of group ``key`` where there are any left; None at the end."""
        with self._lock:
            if key not in self._begun:
                if self._untouched:
                    key = next(iter(self._untouched))
                    self._begun[key] = self._untouched.pop(key)
                elif self._begun:
                    key = max(self._begun, key=lambda begun: len(self._begun[begun]))
                else:
                    return None
            units = self._begun[key]
            index, unit = units.popleft()
            if not units:
                del self._begun[key]
            return index, unit, key

    def clear(self) -> None:
        with self._lock:
            self._untouched.clear()
            self._begun.clear()
