"""How a training is told to stop: Ctrl-C and SIGTERM are heard at once, and obeyed when the step at hand is done."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

_SHOW_CURSOR = "\x1b[?25h"


class Stopping:
    """Hears SIGINT and SIGTERM while its block runs, in the main thread; elsewhere nothing is heard.

    The first signal sets `asked`; a second one ends the process at once, even in the middle of a long computation: a
    thread waits for it, since Python's own handlers have to wait until the computation is over. A signal that is
    ignored (SIGINT of what a shell runs in the background), or that somebody else handles, is left alone.

    Parameters
    ----------
    tell : callable
        Gets a line when the first signal comes.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._ends: tuple[int, int] | None = None
        self._woke_before = -1
        self._listener: threading.Thread | None = None

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self._signal is not None

    def leave(self) -> NoReturn:
        """Raise what ends the process as its signal would: KeyboardInterrupt, or SystemExit with status 143."""
        if self._signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt

    def __enter__(self) -> Stopping:
        if threading.current_thread() is not threading.main_thread():
            return self
        usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        heard = [number for number, handler in usual.items() if signal.getsignal(number) == handler]
        if not heard:
            return self
        read, write = self._ends = os.pipe()
        os.set_blocking(write, False)
        for number in heard:
            self._before[number] = signal.signal(number, _nothing)
        self._woke_before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self._listener = threading.Thread(target=self._listen, args=(read,), name="stopping", daemon=True)
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._ends is None or self._listener is None:
            return
        signal.set_wakeup_fd(self._woke_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        read, write = self._ends
        os.close(write)  # which ends the listener
        self._listener.join()
        os.close(read)
        self._ends = self._listener = None

    def _listen(self, read: int) -> None:
        while numbers := os.read(read, 64):
            for number in numbers:
                if number not in self._before:
                    continue
                if self._signal is not None:
                    _end_at_once(number)
                self._signal = signal.Signals(number)
                with suppress(OSError):  # nobody reads any more
                    self._tell(f"{self._signal.name}: stopping after this step; once more: at once")


def _nothing(number: int, frame: FrameType | None) -> None:
    """Handle a signal in Python: the listener has heard it already."""


def _end_at_once(number: int) -> NoReturn:
    """End as the signal would have done by itself; what was being written stays under its temporary name."""
    if sys.stderr is not None and sys.stderr.isatty():  # progress bars hide it
        sys.stderr.write(_SHOW_CURSOR)
        sys.stderr.flush()
    # Python sets handlers in its main thread only, which may be busy: so leave with the status that a shell would show.
    os._exit(128 + number)
