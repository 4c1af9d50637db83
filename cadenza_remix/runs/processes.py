"""Units of work in several processes: for long computations, which threads of one interpreter would slow down.

A worker is a Python process of its own that is fed through its standard input. It never imports the caller's script (so
that needs no ``if __name__ == "__main__"``), shares no locks with anybody, and ends when its parent does, however that
ends: then it finishes the unit at hand and finds nobody left to ask.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar, cast

from cadenza_remix.errors import CadenzaError, OutputError
from cadenza_remix.runs.pool import Failure

Unit = TypeVar("Unit")
Result = TypeVar("Result")

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# What a scheduler may send to every process of a job (not every system has all of them).
_OF_A_JOB = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
LOST_IN_A_ROW = 3
"""After so many workers lost without a result between them, it is not the units."""


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
    queue = GroupQueue(units, group)
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
                if team.closed or n_lost == LOST_IN_A_ROW:
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


def one_thread_each() -> dict[str, str]:
    """Return environment variables for workers of which there is one per core.

    They replace what a user or a site has set for programs that have the cores to themselves: several threads of BLAS
    would also change the last digit.
    """
    return dict.fromkeys(_ONE_THREAD, "1")


def serve(parent: int | None = None) -> None:
    """Be a worker: take the work, then units, from standard input; answer on what was standard output.

    Parameters
    ----------
    parent : int, optional
        Process id of the one that this worker is bound to (see `Worker`).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and decides
    if parent is not None:
        _bind_to(parent)
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


def _bind_to(parent: int) -> None:
    """Hear no signal that ends a job, and have the kernel (Linux) kill this process when its parent ends."""
    for number in _OF_A_JOB:
        signal.signal(number, lambda *_: None)  # not SIG_IGN: programs that the work starts would inherit that
        signal.siginterrupt(number, False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_A_JOB)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it ended before that
        os._exit(1)


class Worker:
    """The parent's end of one worker: a request goes out, its answer comes back, one at a time.

    Parameters
    ----------
    work : bytes
        The pickled callable that gets the requests.
    environment : mapping of str to str, optional
        What is different from the parent's own environment.
    is_bound : bool
        A bound worker hears none of the signals that a scheduler sends to all processes of a job, and is killed when
        the thread that started it ends, however that ends. Otherwise it ends with the unit at hand.
    """

    def __init__(self, work: bytes, *, environment: Mapping[str, str] | None = None, is_bound: bool = False) -> None:
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        code = f"from {__name__} import serve; serve({os.getpid() if is_bound else ''})"
        deaf_to = _OF_A_JOB if is_bound else []  # blocked from its first moment on; a mask survives the start
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, deaf_to) if deaf_to else set()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **(environment or {}), "PYTHONPATH": paths},
            )
        finally:
            if deaf_to:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._requests = cast("BinaryIO", self._process.stdin)
        self._answers = cast("BinaryIO", self._process.stdout)
        self._work: bytes | None = work

    def do(self, unit: object) -> object:
        """Send a unit and return its result, or raise as `receive` does."""
        self.send(unit)
        return self.receive()

    def send(self, unit: object) -> None:
        """Send a unit. A worker that is gone says so when its answer is received."""
        with suppress(OSError, ValueError):
            if self._work is not None:  # with the first unit: then all workers start up side by side
                self._requests.write(self._work)
                self._work = None
            pickle.dump(unit, self._requests)
            self._requests.flush()

    def receive(self) -> object:
        """Wait for the answer to the unit that was sent, and return it.

        Raises
        ------
        WorkerLostError
            The worker is gone.
        CadenzaError
            What the work raised.
        RuntimeError
            A bug in the work, with its traceback.
        """
        try:
            kind, value = pickle.load(self._answers)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
            raise WorkerLostError(f"the worker ended without an answer: {self._end()}") from error
        if kind == "failed":
            raise value
        if kind == "bug":
            raise RuntimeError(f"in a worker:\n{value}")
        return value

    def fileno(self) -> int:
        """Return what becomes readable when there is an answer, or when the worker is gone."""
        return self._answers.fileno()

    def _end(self) -> str:
        status = self._process.wait()
        if status == -signal.SIGKILL:
            return "found SIGKILL (was it out of memory? fewer workers need less)"
        return f"found {signal.Signals(-status).name}" if status < 0 else f"found exit status {status}"

    def dismiss(self) -> None:
        """Tell the worker that nothing more comes."""
        with suppress(OSError):
            self._requests.close()

    def close(self, timeout_s: float | None = None) -> None:
        """Dismiss the worker and wait for its end; one that takes longer than given is killed and not waited for."""
        self.dismiss()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._answers.close()

    def kill(self) -> None:
        """End the worker at once."""
        self._process.kill()


class _Team:
    """All workers of one run, so that they can be stopped together."""

    def __init__(self, work: bytes) -> None:
        self._work = work
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        self.closed = False

    def hire(self) -> Worker:
        with self._lock:
            if self.closed:
                raise WorkerLostError("stopped before its work began")
            self._workers.append(Worker(self._work, environment=one_thread_each()))
            return self._workers[-1]

    def close(self) -> None:
        with self._lock:
            self.closed = True
            for worker in self._workers:
                worker.kill()


class GroupQueue(Generic[Unit]):
    """Units by group, in the order in which the groups first come up.

    Parameters
    ----------
    units : sequence
    group : callable
        Which group a unit belongs to.
    """

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

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, (*self._untouched.values(), *self._begun.values())))

    def clear(self) -> None:
        """Take everything out."""
        with self._lock:
            self._untouched.clear()
            self._begun.clear()
