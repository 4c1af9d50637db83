"""Files that are there whole or not at all: written beside a temporary name, then renamed."""

from __future__ import annotations

import glob
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cadenza_remix.errors import OutputError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it becomes ``path`` when the block ends well, and goes away otherwise.

    The temporary name keeps the suffix, so that writers which look at it still work. Folders are made as needed. What a
    killed process left of the same file is removed; what a running one is writing stays, and the last one to finish
    wins.

    Raises
    ------
    OutputError
        The folder cannot be made or written, or the disk is full.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part{target.suffix}")
    try:
        make_folder(target.parent)
        for leftover in target.parent.glob(f".{glob.escape(target.name)}.*-????????.part{glob.escape(target.suffix)}"):
            if not _is_running(leftover.name[len(target.name) + 2 :].split("-")[0]):
                leftover.unlink(missing_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise writing_failed(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _is_running(process_id: str) -> bool:
    """Tell whether a process of this machine is alive; a name that holds no process id stays untouched as well."""
    try:
        os.kill(int(process_id), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except (PermissionError, ValueError):
        return True
    return True


@contextmanager
def all_or_none(paths: Iterable[Path]) -> Iterator[None]:
    """Remove all these files when the block that writes them fails: together they are one result."""
    try:
        yield
    except BaseException:
        for path in paths:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically, keys in the order given; NaN and infinity are refused (JSON has none)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def make_folder(path: str | Path) -> Path:
    """Make a folder and its parents; an OutputError when that cannot be."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise writing_failed(folder, error) from error
    return folder


def check_writable(folder: str | Path) -> None:
    """Make the folder and prove that a file can be written there, before long work begins."""
    probe = make_folder(folder) / f".{secrets.token_hex(4)}.part"
    try:
        probe.write_bytes(b"")
    except OSError as error:
        raise writing_failed(Path(folder), error) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def writing_failed(path: Path, error: OSError) -> OutputError:
    """Return the one-line error for a failed write."""
    if isinstance(error, OutputError):
        return error
    return OutputError(f"{path}: cannot be written: {error.strerror or error}")
