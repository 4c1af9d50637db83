"""Run pip without ever hanging, and say in one line what went wrong with it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cadenza_remix.errors import ModelError, OutputError

#: Seconds without a new byte after which pip is stopped: pip has no limit of its own on name resolution.
PATIENCE_S = 120.0
_QUIET = ("--no-input", "--progress-bar", "off", "--disable-pip-version-check", "--no-color")


def run_pip(
    arguments: Sequence[str],
    *,
    what: str,
    folder: Path,
    temporary: Path,
    python: str = sys.executable,
    timeout_s: float = 10.0,
    patience_s: float = PATIENCE_S,
    poll_s: float = 0.2,
    on_growth: Callable[[list[int]], None] | None = None,
) -> None:
    """Let pip do something that writes into a folder, as long as the folder grows.

    Parameters
    ----------
    arguments : sequence of str
        What pip is told, with the command first.
    what : str
        The same for messages: ``pip install six``.
    folder : Path
        Where pip writes; its size shows whether pip still gets on.
    temporary : Path
        A folder in ``folder`` for pip's temporary files, so that bytes that are under way are counted.
    python : str
        The interpreter whose pip is asked.
    timeout_s : float
        Seconds that pip waits for an answer of the index, per attempt.
    patience_s : float
        Seconds without a new byte after which pip is stopped.
    poll_s : float
        Seconds between two looks at the folder.
    on_growth : callable, optional
        Called with the sizes of all files in the folder whenever they have changed.

    Raises
    ------
    ModelError
        There is no pip, pip failed, or it was stopped.
    OutputError
        The disk is full.
    """
    command = [python, "-m", "pip", *arguments[:1], *_QUIET, "--timeout", f"{max(1, round(timeout_s))}"]
    command += ["--retries", "1", *arguments[1:]]
    # What pip says goes elsewhere, so that it is still known when the folder's disk is full.
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=os.environ | {"TMPDIR": str(temporary)},
                start_new_session=True,
            )
        except OSError as error:
            raise ModelError(f"{what}: {python}: cannot be run: {error.strerror or error}") from error
        try:
            finished = _watch(process, folder, on_growth, patience_s, poll_s)
        finally:
            _stop(process)
        said.seek(0)
        words = said.read().decode("utf-8", errors="replace")
    if not finished:
        raise ModelError(f"{what}: stopped: no new byte within {patience_s:g} s")
    if process.returncode != 0:
        full = os.strerror(errno.ENOSPC)
        if full in words:
            raise OutputError(f"{folder}: cannot be written: {full}")
        raise ModelError(f"{what}: {_complaint(words, python)}")


def _watch(
    process: subprocess.Popen[bytes],
    folder: Path,
    on_growth: Callable[[list[int]], None] | None,
    patience_s: float,
    poll_s: float,
) -> bool:
    """Wait for pip as long as bytes come; return whether it ended by itself."""
    size = 0
    last_growth = time.monotonic()
    while True:
        try:
            process.wait(timeout=poll_s)
            return True
        except subprocess.TimeoutExpired:
            pass
        sizes = file_sizes(folder)
        # Not only growth counts: pip removes its temporary files, and goes on below the largest size so far.
        if sum(sizes) != size:
            size, last_growth = sum(sizes), time.monotonic()
            if on_growth is not None:
                on_growth(sizes)
        elif time.monotonic() - last_growth > patience_s:
            return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End pip and what it started, where it still runs."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def file_sizes(folder: Path) -> list[int]:
    """Return the sizes in bytes of all files below a folder, also while files come and go in it."""
    sizes = []
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                sizes.append((Path(root) / name).lstat().st_size)
    return sizes


def _complaint(words: str, python: str) -> str:
    """Return what pip says went wrong, as one line."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    if any(line.endswith("No module named pip") for line in lines):
        return f"{python} has no pip (environments made by uv have none): install it with `{python} -m ensurepip`"
    # After "ERROR: Exception:" comes a traceback, whose last line tells most; "ResolutionImpossible" names a web page.
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    told = (
        [error for error in errors if error != "Exception:" and not error.startswith("ResolutionImpossible:")][-1:]
        or lines[-1:]
        or ["failed without a word"]
    )
    # Where the index cannot be reached, the cause stands in the warnings; the errors only say that nothing was found.
    causes = [line.partition("connection broken by ")[2] for line in lines if "connection broken by " in line]
    return " ".join((told[0] + (f" ({causes[-1]})" if causes else "")).split())
