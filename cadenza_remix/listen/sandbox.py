"""A worker process under limits: what it does to itself, its memory or its time leaves the server as it was.

The parent writes one line of JSON to the worker's standard input (the task and its limits) and reads lines of JSON
from its standard output: shares of the work done, then the result or an error. The worker puts the limits on itself
before it loads anything that reads the file, and is killed by the kernel when the thread of its parent ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from cadenza_remix.errors import CadenzaError, InputError
from cadenza_remix.runs.processes import WorkerLostError

_MAX_LINE = 1 << 16
_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
_PR_SET_NO_NEW_PRIVS = 38
_NICENESS = 10  # those who listen come first


@dataclass(frozen=True)
class ProcessLimits:
    """What a worker may use.

    Parameters
    ----------
    address_space_bytes : int, optional
        All that it maps (RLIMIT_AS): the strictest, for what maps little beyond what it needs.
    data_bytes : int, optional
        What it can write to (RLIMIT_DATA), for what maps much: TensorFlow and the drivers of a GPU.
    file_bytes : int
        Of the largest file that it writes.
    cpu_s : int
        Seconds of computing, of all threads together.
    wall_s : float
        Seconds until it is killed whatever it does.
    n_files : int
        Open at once.
    """

    file_bytes: int
    cpu_s: int
    wall_s: float
    address_space_bytes: int | None = None
    data_bytes: int | None = None
    n_files: int = 256


class LimitedProcess:
    """The parent's end of one worker that does one task.

    Parameters
    ----------
    module : str
        Run as a program; it calls `serve_task`.
    task : str
        One of the tasks that the module knows.
    arguments : mapping
        What the task gets; anything that JSON can hold.
    limits : ProcessLimits
    log : Path
        Takes what the worker prints.
    environment : mapping of str to str, optional
        What is different from the parent's own.
    """

    def __init__(
        self,
        module: str,
        task: str,
        arguments: Mapping[str, Any],
        *,
        limits: ProcessLimits,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._limits = limits
        self._is_late = False
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        request = {"task": task, "arguments": dict(arguments), "limits": asdict(limits), "parent": os.getpid()}
        with log.open("ab") as told:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=told,
                env={**os.environ, **(environment or {}), "PYTHONPATH": paths},
                start_new_session=True,  # Ctrl-C at the terminal is the server's to hear
            )
        self._answers = cast("BinaryIO", self._process.stdout)
        with suppress(OSError), cast("BinaryIO", self._process.stdin) as requests:
            requests.write(json.dumps(request).encode() + b"\n")

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def kill(self) -> None:
        """End the worker at once; whoever waits for its answer gets a `WorkerLostError`."""
        self._process.kill()

    def result(self, on_share: Callable[[float], None] = lambda _: None) -> dict[str, Any]:
        """Wait for the worker's end and return its result.

        Parameters
        ----------
        on_share : callable
            Called with each share of the work that is done, 0 to 1.

        Raises
        ------
        InputError
            What the task found wrong.
        WorkerLostError
            The worker ended without an answer: killed, crashed, or beyond a limit.
        """
        deadline = threading.Timer(self._limits.wall_s, self._end_late)
        deadline.daemon = True
        deadline.start()
        try:
            answer = self._read(on_share)
        finally:
            deadline.cancel()
            self._process.kill()  # it has answered, or its answers cannot be read
            status = self._process.wait()
            self._answers.close()
        if answer is None:
            raise WorkerLostError(self._reason(status))
        if "error" in answer:
            raise InputError(str(answer["error"]))
        return cast("dict[str, Any]", answer["done"])

    def _read(self, on_share: Callable[[float], None]) -> dict[str, Any] | None:
        while line := self._answers.readline(_MAX_LINE):
            try:
                answer = json.loads(line)
            except ValueError:
                return None
            if not isinstance(answer, dict) or not answer.keys() & {"share", "done", "error"}:
                return None
            if "share" not in answer:
                return answer
            on_share(min(max(float(answer["share"]), 0.0), 1.0))
        return None

    def _end_late(self) -> None:
        self._is_late = True
        self._process.kill()

    def _reason(self, status: int) -> str:
        if self._is_late:
            return f"took longer than {self._limits.wall_s:g} s"
        if status == -signal.SIGXCPU:
            return f"took more than {self._limits.cpu_s} s of computing"
        if status == -signal.SIGKILL:
            return "its worker was killed (was it out of memory?)"
        return f"its worker ended with {signal.Signals(-status).name if status < 0 else f'exit status {status}'}"


def serve_task(tasks: Mapping[str, Callable[..., dict[str, Any]]]) -> None:
    """Be the worker: take one task from standard input, do it under its limits, and answer.

    Parameters
    ----------
    tasks : mapping of str to callable
        Each gets the arguments of the request and ``on_share``, and returns what JSON can hold.
    """
    request = json.loads(sys.stdin.buffer.readline())
    _limit_this_process(ProcessLimits(**request["limits"]), request["parent"])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else prints must not get between the answers

    def answer(**fields: object) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    try:
        result = tasks[request["task"]](**request["arguments"], on_share=lambda share: answer(share=float(share)))
    except MemoryError:
        answer(error="needs more memory than it may have")
    except CadenzaError as error:
        answer(error=" ".join(str(error).split()))
    except Exception as error:
        import traceback

        traceback.print_exc()  # into the log: its text is not for those who sent the file
        answer(error=f"failed ({type(error).__name__})")
    else:
        answer(done=result)
    # Nothing is left to tidy up, and whatever a library does at its end could hang.
    os._exit(0)


def _limit_this_process(limits: ProcessLimits, parent: int) -> None:
    import resource

    os.umask(0o077)
    os.nice(_NICENESS)
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_CPU: limits.cpu_s,
        resource.RLIMIT_NOFILE: limits.n_files,
    }
    if limits.address_space_bytes is not None:
        wanted[resource.RLIMIT_AS] = limits.address_space_bytes
    if limits.data_bytes is not None:
        wanted[resource.RLIMIT_DATA] = limits.data_bytes
    for kind, most in wanted.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:  # it ended before that
        os._exit(1)
