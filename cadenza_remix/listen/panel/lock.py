"""One server at a time holds the file of answers of a listening test; others can ask where that server is.

SQLite would let several servers write, but each keeps sounds of its own: what one deletes another would go on playing.
The lock is the kernel's (``flock``), so it is free again when its holder is killed. It is on a file of its own, as
closing any other handle of a database takes SQLite's locks away; what that file holds is the server's address.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from cadenza_remix.atomic import make_folder, writing_failed
from cadenza_remix.errors import InputError, OutputError

_LONGEST_ADDRESS = 400


class HeldError(InputError):
    """Another server holds the file of answers."""


class ResultsLock:
    """Holds a file of answers from when it is made until `release`.

    Raises
    ------
    HeldError
        Another server has it.
    OutputError
        The file system knows no locks, or the lock's file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            raise OutputError(f"{path}: cannot be written: is a folder")
        make_folder(path.parent)
        self._file = _lock_file(path)
        while True:
            try:
                self._handle = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
            except OSError as error:
                raise writing_failed(self._file, error) from error
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._handle)
                expected = "one server at a time"
                raise HeldError("another server holds this test", where=path, expected=expected) from None
            except OSError as error:
                os.close(self._handle)
                raise OutputError(f"{self._file}: cannot be locked: {error.strerror}") from error
            if os.fstat(self._handle).st_nlink:
                break
            os.close(self._handle)  # its last holder removed it while we waited for nothing: take the new one
        os.ftruncate(self._handle, 0)  # the address of one that was killed

    def note_address(self, address: str) -> None:
        """Let others know where this server is."""
        os.pwrite(self._handle, f"{address}\n".encode(), 0)

    def release(self) -> None:
        """Let others have the file."""
        self._file.unlink(missing_ok=True)
        os.close(self._handle)


def address_of_holder(path: Path) -> str | None:
    """Return where the server is that holds a file of answers; None where it has not told yet."""
    try:
        with _lock_file(path).open("rb") as file:
            told = file.read(_LONGEST_ADDRESS).decode(errors="replace")
    except OSError:
        return None
    return told.rstrip("\n") if told.endswith("\n") else None


def _lock_file(path: Path) -> Path:
    real = path.resolve()  # one lock, whatever links lead to the file
    return real.with_name(f"{real.name}-lock")
