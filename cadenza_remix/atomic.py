"""Files that are there whole or not at all: written beside a temporary name, then renamed.

A temporary name tells who writes it: machine, process, and a random number. On a shared disk a process number says
nothing about other machines, so that the leftovers of a killed process are removed by its own machine alone, until it
starts again; `remove_leftovers` removes the others when nobody is at work.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import re
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cadenza_remix.errors import OutputError

# Versions before the machine was part of the name left it out; what they left counts as this machine's.
_WRITER = re.compile(r"(?:(?P<machine>[0-9a-f]{8})-)?(?P<pid>\d+)-[0-9a-f]{8}\.part(?:\.[^.]*)?")
_TEMPORARY = re.compile(rf"\..+\.{_WRITER.pattern}", re.DOTALL)
_MAX_NAME_BYTES, _WRITER_BYTES = 255, len("..01234567-0123456789-01234567.part")
_PROBE = re.compile(r"\.[0-9a-f]{8}\.part")
_CANNOT_LINK = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it becomes ``path`` when the block ends well, and goes away otherwise.

    The temporary name keeps the suffix, so that writers which look at it still work. Folders are made as needed. What a
    killed process of this machine left of the same file is removed; what a running one is writing stays, as does what
    another machine wrote, and the last one to finish wins.

    Raises
    ------
    OutputError
        The folder cannot be made or written, or the disk is full.
    """
    target = Path(path)
    temporary = _temporary(target)
    try:
        make_folder(target.parent)
        _remove_dead(target)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise writing_failed(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def create_text(path: str | Path, text: str) -> bool:
    """Write UTF-8 text to a new file; return False, and change nothing, when there is one of this name.

    Of several that do so at once, on whatever machines, one gets True.

    Raises
    ------
    OutputError
        The folder cannot be made or written, or the disk is full.
    """
    target = Path(path)
    temporary = _temporary(target)
    try:
        make_folder(target.parent)
        _remove_dead(target)
        temporary.write_text(text, encoding="utf-8")
        return _link(temporary, target)
    except OSError as error:
        raise writing_failed(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _link(temporary: Path, target: Path) -> bool:
    try:
        os.link(temporary, target)
    except FileExistsError:
        # A network's answer may be lost: asked again, the server finds the link that it has just made.
        return temporary.stat().st_nlink > 1
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        try:  # a disk without links: the file is empty for a moment
            with target.open("xb") as file:
                file.write(temporary.read_bytes())
        except FileExistsError:
            return False
    return True


def remove_leftovers(folder: str | Path) -> int:
    """Remove every temporary file below a folder, whoever wrote it; return how many there were.

    Only for when nothing else works there: what is being written now would fail.

    Raises
    ------
    OutputError
        One cannot be removed.
    """
    n_removed = 0
    for parent, _, names in os.walk(folder):  # links to folders are not followed
        for name in names:
            if _TEMPORARY.fullmatch(name) or _PROBE.fullmatch(name):
                path = Path(parent, name)
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise OutputError(f"{path}: cannot be removed: {error.strerror or error}") from error
                n_removed += 1
    return n_removed


@functools.cache
def machine_token() -> str:
    """Return eight hexadecimal digits for this machine since its last start: process numbers mean something in it."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))  # a container counts its processes by itself
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:8]


def is_running(process_id: int) -> bool:
    """Tell whether a process of this machine is alive."""
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True


def _temporary(target: Path) -> Path:
    writer = f"{machine_token()}-{os.getpid()}-{secrets.token_hex(4)}"
    return target.with_name(f".{_short_name(target)}.{writer}.part{target.suffix}")


def _remove_dead(*targets: Path) -> None:
    """Remove the temporaries of files of one folder that processes of this machine left when they died."""
    folder = targets[0].parent
    hidden = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    for target in targets if hidden else ():
        begin, suffix = f".{_short_name(target)}.", target.suffix
        for name in hidden:
            if name.startswith(begin) and name.endswith(f".part{suffix}"):
                writer = _WRITER.fullmatch(name[len(begin) :])
                if writer and writer["machine"] in (None, machine_token()) and not is_running(int(writer["pid"])):
                    (folder / name).unlink(missing_ok=True)


def _short_name(target: Path) -> str:
    """Return a file's name; one to which nothing more could be added is cut, and ends with a digest of the whole."""
    name = os.fsencode(target.name)
    room = _MAX_NAME_BYTES - _WRITER_BYTES - len(os.fsencode(target.suffix))
    if len(name) <= room:
        return target.name
    return f"{name[: max(room - 9, 0)].decode(errors='ignore')}~{hashlib.sha256(name).hexdigest()[:8]}"


@contextmanager
def all_at_once(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield temporary paths that become these together when the block ends well; otherwise all old files stay.

    A process that is killed between two renamings leaves whole files, but perhaps not all of them.
    """
    temporaries = {_temporary(path): path for path in paths}
    at_hand, renaming, whole = paths[0], False, False
    try:
        for folder in dict.fromkeys(path.parent for path in paths):
            make_folder(folder)
            _remove_dead(*(path for path in paths if path.parent == folder))
        yield list(temporaries)
        renaming = True
        for temporary, at_hand in temporaries.items():
            temporary.replace(at_hand)
        whole = True
    except OSError as error:
        raise writing_failed(temporaries.get(Path(error.filename or ""), at_hand), error) from error
    finally:
        for path in paths if renaming and not whole else ():
            with suppress(OSError):
                path.unlink(missing_ok=True)
        for temporary in temporaries if not whole else ():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


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
