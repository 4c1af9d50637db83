"""What tells a file from the one that lay there before, without reading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileStamp:
    """A file as it lies on the disk: another stamp, another content.

    ``state`` is its length in bytes, its time of change in ns and its inode (a file that is renamed to this place keeps
    the first two where a program set them so); None where nothing can be looked at: who reads it says why.
    """

    path: Path
    state: tuple[int, int, int] | None


def file_stamp(path: Path) -> FileStamp:
    """Return the stamp of a file as it is now."""
    try:
        found = path.stat()
    except OSError:
        return FileStamp(path, None)
    return FileStamp(path, (found.st_size, found.st_mtime_ns, found.st_ino))
