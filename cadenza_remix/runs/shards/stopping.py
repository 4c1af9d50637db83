"""How a shard is told to stop: the signals that schedulers and people send, and what its exit status tells them."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from cadenza_remix.runs.shards.journal import COMPLETE, TERMINATED, TIME_LIMIT

INTERRUPTED = "interrupted"
CLAIM_LOST = "claim lost"
"""Somebody else took the shard over, since this process had not been heard of for a while."""

ERROR = "error: "
"""What the reason of a shard begins with that was stopped by an error."""

_STATUS = {COMPLETE: 0, TIME_LIMIT: 75, CLAIM_LOST: 75, TERMINATED: 143, INTERRUPTED: 130}


def exit_status(reason: str) -> int:
    """Return what a process ends with: 0 complete, 75 (EX_TEMPFAIL) run it again, 2 error, 128 + a signal's number.

    Examples
    --------
    >>> exit_status("time limit"), exit_status("error: no space left")
    (75, 2)
    """
    return 2 if reason.startswith(ERROR) else _STATUS[reason]


class Stopping:
    """Hears the signals that end a shard; a context manager, in the main thread.

    SIGUSR1 means *soon*: take nothing new, what is at hand has ``deadline_s`` seconds. SIGTERM and SIGINT mean *at
    once*. Whoever waits on `fileno`, or with `wait`, is woken. Without the context no signal is heard, and the methods
    `stop_soon` and `stop_at_once` do the same from any thread.

    Parameters
    ----------
    deadline_s : float
        From the signal on.
    """

    def __init__(self, *, deadline_s: float = 90.0) -> None:
        self._deadline_s = deadline_s
        self._soon_until: float | None = None
        self._at_once: str | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._woke_before = -1
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    @property
    def at_once(self) -> bool:
        """Whether to drop everything."""
        return self._at_once is not None

    @property
    def soon(self) -> bool:
        """Whether to begin nothing more."""
        return self.at_once or self._soon_until is not None

    @property
    def left_s(self) -> float:
        """Return how many seconds there are for what is at hand: no end when nobody asked to stop."""
        if self.at_once:
            return 0.0
        return float("inf") if self._soon_until is None else max(0.0, self._soon_until - time.monotonic())

    @property
    def reason(self) -> str | None:
        """Why to stop; None when nobody asked."""
        return self._at_once or (None if self._soon_until is None else TIME_LIMIT)

    def stop_soon(self) -> None:
        """Ask for no more units; a second call does not move the deadline."""
        if self._soon_until is None:
            self._soon_until = time.monotonic() + self._deadline_s
        self._wake()

    def stop_at_once(self, reason: str = TERMINATED) -> None:
        """Ask for an end within two seconds; ``reason`` is TERMINATED or INTERRUPTED."""
        self._at_once = self._at_once or reason
        self._wake()

    def fileno(self) -> int:
        """Return what becomes readable when something is asked; `drain` makes it quiet again."""
        return self._read

    def drain(self) -> None:
        """Take note of the last call."""
        with suppress(BlockingIOError):
            os.read(self._read, 4096)

    def wait(self, seconds: float) -> bool:
        """Pause, unless somebody asks (or asked) to stop; tell whether that is so."""
        end = time.monotonic() + seconds
        while not self.soon and (left := end - time.monotonic()) > 0:
            select.select([self._read], [], [], left)
            self.drain()
        return self.soon

    def __enter__(self) -> Stopping:
        heard: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {
            signal.SIGUSR1: lambda *_: self.stop_soon(),
            signal.SIGTERM: lambda *_: self.stop_at_once(TERMINATED),
            signal.SIGINT: lambda *_: self.stop_at_once(INTERRUPTED),
        }
        for number, handler in heard.items():
            self._before[number] = signal.signal(number, handler)
        # Another thread may get the signal: this wakes the one that waits, whose turn the handler then is.
        self._woke_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._woke_before)
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def __del__(self) -> None:
        for end in (self._read, self._write):
            os.close(end)

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # then the pipe is full of calls already
            os.write(self._write, b"!")
