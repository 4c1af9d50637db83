"""A disk of this machine's own between the shared disk and several workers: what they all read is fetched once.

Each process that uses the folder of a job holds a lock on it, which the system takes back however the process ends. So
a folder that nobody holds is a leftover, and goes when anybody next begins or ends on this machine.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "cadenza-remix-"
_LOCK = ".in-use"


@contextmanager
def scratch_folder(base: str | Path | None) -> Iterator[Path | None]:
    """Yield a fresh folder below ``base`` that goes with the block; None where there is no such disk to be used.

    Scratch saves reading, it is never needed: a folder that cannot be made is no error.
    """
    made = _made(Path(base)) if base is not None and str(base) else None
    if made is None:
        yield None
        return
    folder, lock = made
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def local_copy(source: Path, scratch: Path, *, name: str) -> Path:
    """Return a copy of a folder below ``scratch``, made by whoever asks first; the source itself when it cannot be.

    Several processes may ask at once: one copies, the others wait for it.
    """
    target = scratch / name
    if target.is_dir():
        return target
    try:
        with (scratch / f".{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.is_dir():
                partial = scratch / f".{name}.part"
                shutil.rmtree(partial, ignore_errors=True)
                shutil.copytree(source, partial)
                partial.rename(target)
        return target
    except (OSError, shutil.Error):  # full, or gone: the shared disk has it
        shutil.rmtree(scratch / f".{name}.part", ignore_errors=True)
        return source


def _made(base: Path) -> tuple[Path, int] | None:
    """Make a folder and lock it before it gets the name by which leftovers are found."""
    with suppress(OSError):
        _remove_leftovers(base)
        hidden = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=base))
        lock = os.open(hidden / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_SH)
        return hidden.rename(base / hidden.name[1:]), lock
    return None


def _remove_leftovers(base: Path) -> None:
    """Remove what jobs left that were killed: folders whose lock nobody holds."""
    for folder in base.glob(f"{_PREFIX}*"):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:  # not ours, or so fresh that it has none yet
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            pass
        finally:
            os.close(lock)
