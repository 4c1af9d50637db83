"""Our end of the pipes to `deezer_worker`, which runs Deezer's package in another environment.

The form of the messages stands there. Nothing here waits without an end, and whatever happens over there (an import
that fails, an error, a kill) comes out as one `ModelError`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import tempfile
import time
import weakref
from pathlib import Path
from typing import IO, Any

import numpy as np

from cadenza_remix.audio.blocks import Block
from cadenza_remix.errors import ModelError

WORKER = Path(__file__).with_name("deezer_worker.py")
#: Seconds until the package has been imported and its model built: 6 s here, but minutes from a cold network disk.
START_PATIENCE_S = 300.0
#: Seconds until a window of two minutes is separated: 10 s here.
ANSWER_PATIENCE_S = 1800.0

_LENGTHS = struct.Struct(">QQ")
_PIECE = 1 << 20
_MOST_HEADER = 1 << 16
_GRACE_S = 5.0


class WorkerProcess:
    """One process that separates window after window with one of the package's models.

    It ends when this object goes, when this process ends however that happens, and at any error.

    Parameters
    ----------
    python : Path
        Interpreter of an environment with the package.
    arguments : str
        What the worker is told: ``check``, or ``serve``, the model and its folder.
    what : str
        Whose work it is, for messages.
    start_patience_s, answer_patience_s : float
        Seconds to wait for the first message, and for each further one.

    Attributes
    ----------
    versions : dict of str to str
        What runs there.
    process_id : int

    Raises
    ------
    ModelError
        It does not start.
    """

    def __init__(
        self,
        python: Path,
        *arguments: str,
        what: str,
        start_patience_s: float = START_PATIENCE_S,
        answer_patience_s: float = ANSWER_PATIENCE_S,
    ) -> None:
        self._what = what
        self._patience_s = answer_patience_s
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        try:
            self._process = subprocess.Popen(
                [str(python), "-I", str(WORKER), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                env=_environment(),
                start_new_session=True,  # an interruption from the keyboard is ours to handle
                bufsize=0,
            )
        except OSError as error:
            raise ModelError(f"{what}: {python}: cannot be run: {error.strerror or error}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._requests, False)
        self.process_id = self._process.pid
        self._owner = os.getpid()
        self._end = weakref.finalize(self, _end, self._process, self._owner)
        header, _ = self._receive(start_patience_s)
        self.versions = {str(name): str(version) for name, version in header.items()}

    @property
    def usable(self) -> bool:
        """Whether it still takes requests, from this process: one that was forked from its owner must start its own."""
        return self._end.alive and self._owner == os.getpid()

    def separate(self, samples: Block) -> dict[str, Block]:
        """Return the stems of some music, (n_samples, 2) each; after an error the process is gone."""
        payload = np.ascontiguousarray(samples, dtype="<f4")
        try:
            self._send({"n_samples": len(payload)}, payload)
            header, data = self._receive(self._patience_s)
            shape = (len(header["stems"]), len(payload), 2)
            stems = np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False).reshape(shape)
            return dict(zip(header["stems"], stems, strict=True))
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            raise ModelError(f"{self._what}: Deezer's package: an answer that makes no sense: {error!r}") from error
        except BaseException:
            # Interrupted in the middle of a message, the pipes hold the rest of it.
            self.close()
            raise

    def close(self) -> None:
        """End the process."""
        self._end()

    def _send(self, header: dict[str, Any], payload: Block) -> None:
        text = json.dumps(header).encode()
        until = time.monotonic() + self._patience_s
        for data in (_LENGTHS.pack(len(text), payload.nbytes) + text, payload.data.cast("B")):
            view = memoryview(data)
            while view:
                if not select.select([], [self._requests], [], max(0.0, until - time.monotonic()))[1]:
                    raise self._silent(self._patience_s)
                try:
                    view = view[os.write(self._requests, view[:_PIECE]) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    return  # its last words, or how it ended, are told by what follows

    def _receive(self, patience_s: float) -> tuple[dict[str, Any], bytearray]:
        """Return the next message; one that is an error, or none at all, is raised."""
        until = time.monotonic() + patience_s
        try:
            header_length, payload_length = _LENGTHS.unpack(self._read(_LENGTHS.size, until, patience_s))
            if header_length > _MOST_HEADER:
                raise ValueError(f"a header of {header_length} bytes")
            header = json.loads(self._read(header_length, until, patience_s))
            if not isinstance(header, dict):
                raise ValueError(f"a header {header!r}")
            payload = self._read(payload_length, until, patience_s)
        except ModelError:
            self.close()
            raise
        except (ValueError, UnicodeDecodeError) as error:
            self.close()
            raise ModelError(f"{self._what}: Deezer's package: an answer that makes no sense: {error}") from error
        if "error" in header:
            self.close()
            raise ModelError(" ".join(f"{self._what}: Deezer's package: {header['error']}".split()))
        return header, payload

    def _read(self, length: int, until: float, patience_s: float) -> bytearray:
        data = bytearray()
        while len(data) < length:
            if not select.select([self._answers], [], [], max(0.0, until - time.monotonic()))[0]:
                raise self._silent(patience_s)
            piece = os.read(self._answers, min(_PIECE, length - len(data)))
            if not piece:
                raise self._ended()
            data += piece
        return data

    def _silent(self, patience_s: float) -> ModelError:
        return ModelError(f"{self._what}: Deezer's package: stopped: no answer within {patience_s:g} s")

    def _ended(self) -> ModelError:
        """Say how the process ended, as far as can be known."""
        try:
            status = self._process.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            return ModelError(f"{self._what}: Deezer's package: stopped: closed its output in the middle of its work")
        if status < 0:
            name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
            hint = " (most often the system's answer to a lack of memory)" if -status == signal.SIGKILL else ""
            return ModelError(f"{self._what}: Deezer's package: ended by {name}{hint}")
        self._complaints.seek(0)
        lines = self._complaints.read().decode("utf-8", errors="replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "without a word")
        return ModelError(" ".join(f"{self._what}: Deezer's package: ended with status {status}: {last}".split()))


def run_check(python: Path) -> dict[str, str]:
    """Import the package by an interpreter; return the versions.

    Raises
    ------
    ModelError
        It cannot be imported there.
    """
    process = WorkerProcess(python, "check", what=str(python))
    process.close()
    return process.versions


def _environment() -> dict[str, str]:
    """Return the variables for the worker: no GPU, which TensorFlow 2.12 takes or leaves silently; few messages."""
    return os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """End the worker, which keeps nothing that could be lost, and let the system forget it."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    if owner != os.getpid():
        return
    process.kill()
    process.wait()
