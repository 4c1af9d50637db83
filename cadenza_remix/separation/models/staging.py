"""Change a folder as a whole: built beside its place under another name, then renamed, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cadenza_remix.atomic import make_folder, writing_failed
from cadenza_remix.errors import OutputError


@contextmanager
def working_alone(target: Path, *, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a folder, and clear what processes that were killed have left beside it.

    The lock is the kernel's (``flock``), so it is free again when its holder dies, however that happens.

    Raises
    ------
    OutputError
        The lock file cannot be written, or the file system knows no locks.
    """
    path = make_folder(target.parent) / f".{target.name}.lock"
    try:
        file = path.open("ab")
    except OSError as error:
        raise writing_failed(path, error) from error
    with file:
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is not None:
                    on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be locked: {error.strerror or error}: expected a file system with locks; "
                "set CADENZA_REMIX_HOME to a folder on another one"
            ) from error
        for leftover in (*target.parent.glob(f".{target.name}.*.new"), *target.parent.glob(f".{target.name}.*.old")):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """Yield a new folder beside ``target``; what is still there at the end of the block is removed."""
    # Not by `tempfile`, whose folders nobody else may read: a store may serve a whole group.
    folder = make_folder(_beside(target, "new"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, target: Path) -> None:
    """Force a folder of plain files onto the disk and rename it to ``target``, in place of what is there.

    Raises
    ------
    OutputError
        That cannot be; ``target`` is then as it was.
    """
    old = None
    try:
        for entry in (*folder.iterdir(), folder):
            _force_to_disk(entry)
        if target.exists():
            old = target.rename(_beside(target, "old"))
        folder.rename(target)
        _force_to_disk(target.parent)
    except OSError as error:
        if old is not None and not target.exists():
            old.rename(target)
        raise writing_failed(target, error) from error
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def take_away(target: Path) -> bool:
    """Remove a folder, out of its place in one step; return whether there was one."""
    try:
        old = target.rename(_beside(target, "old"))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputError(f"{target}: cannot be removed: {error.strerror or error}") from error
    shutil.rmtree(old, ignore_errors=True)
    return True


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.{suffix}")


def _force_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
