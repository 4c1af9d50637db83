"""Unpack chosen files from an archive that nobody vouches for.

Tar (plain or gzip) and zip (so also Python wheels) are told apart by content, never by suffix. Every member is looked
at before anything is written for it, and one bad member condemns the whole archive: a member whose path leaves the
folder, a link, a device, or more bytes than a model can have. Only the files asked for are written.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from cadenza_remix.atomic import make_folder, writing_failed
from cadenza_remix.errors import CadenzaError, ModelError

#: Bytes that an archive may hold when unpacked. The largest Spleeter archive (5stems) unpacks to about 0.2 GB.
MAX_UNPACKED_BYTES = 2 * 1024**3
MAX_MEMBERS = 20_000
_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Member:
    """One entry of an archive: its name as written there, its kind, its size and how to read it."""

    name: str
    kind: str  # "file", "folder", or the word for what is refused
    size: int
    open: Callable[[], IO[bytes] | None]


def unpack_files(
    archive: Path,
    into: Path,
    *,
    wanted: Collection[str],
    max_bytes: int = MAX_UNPACKED_BYTES,
    max_members: int = MAX_MEMBERS,
) -> dict[PurePosixPath, Path]:
    """Unpack the files whose base name is wanted, whichever folder of the archive they lie in.

    Parameters
    ----------
    archive : Path
        A ``.tar.gz``, ``.tgz``, ``.tar``, ``.zip`` or ``.whl`` file.
    into : Path
        An empty folder of the caller's; each folder of the archive that holds a wanted file becomes a numbered
        folder in it.
    wanted : collection of str
        Base names of the files to unpack.
    max_bytes, max_members : int
        Bounds on the unpacked size of all members together, wanted or not, and on their number.

    Returns
    -------
    dict of PurePosixPath to Path
        For each folder of the archive with at least one wanted file, where those files lie now.

    Raises
    ------
    ModelError
        Not an archive, damaged, truncated, or refused for what is in it.
    OutputError
        The files cannot be written (a full disk, for example).
    """
    unpacked: dict[PurePosixPath, Path] = {}
    total = 0
    with _reading(archive):
        for index, member in enumerate(_members(archive, max_bytes)):
            path = _checked_path(archive, member)
            total += member.size
            if total > max_bytes or index >= max_members:
                raise _too_large(archive, max_bytes, max_members)
            if member.kind != "file" or path.name not in wanted:
                continue
            folder = unpacked.setdefault(path.parent, into / str(len(unpacked)))
            _write_member(archive, member, make_folder(folder) / path.name)
    return unpacked


def copy_stream(source: IO[bytes], target: Path) -> int:
    """Copy a stream into a new file, force it onto the disk, and return the number of bytes.

    Raises
    ------
    OutputError
        The file cannot be written. What goes wrong in reading is passed on as it is.
    """
    size = 0
    try:
        file = target.open("xb")
    except OSError as error:
        raise writing_failed(target, error) from error
    with file:
        while block := source.read(_CHUNK):
            try:
                file.write(block)
            except OSError as error:
                raise writing_failed(target, error) from error
            size += len(block)
        try:
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise writing_failed(target, error) from error
    return size


def _write_member(archive: Path, member: _Member, target: Path) -> None:
    """Write one member as a new file and check that it came whole."""
    if target.exists():
        raise ModelError(f"{archive}: refused: {member.name!r} is in the archive twice")
    stream = member.open()
    if stream is None:
        raise ModelError(f"{archive}: damaged archive: {member.name!r} cannot be read")
    with stream:
        size = copy_stream(stream, target)
    if size != member.size:
        raise ModelError(f"{archive}: damaged archive: {member.name!r}: expected {member.size} bytes, found {size}")


def _checked_path(archive: Path, member: _Member) -> PurePosixPath:
    """Return a member's path, or refuse the archive for it."""
    # Zip files made on Windows may use backslashes, and a drive letter makes a path absolute there.
    path = PurePosixPath(member.name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in member.name or ":" in (path.parts or ("",))[0]:
        raise ModelError(f"{archive}: refused: the path {member.name!r} leaves the folder")
    if member.kind not in ("file", "folder"):
        raise ModelError(f"{archive}: refused: {member.name!r} is a {member.kind}: expected files and folders only")
    if member.size < 0:
        # A negative size makes the tar reader walk backwards for ever.
        raise ModelError(f"{archive}: damaged archive: {member.name!r} has a negative size")
    return path


def _members(archive: Path, max_bytes: int) -> Iterator[_Member]:
    """Yield the members of an archive, whose format is told by its first bytes."""
    with archive.open("rb") as file:
        head = file.read(512)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        yield from _zip_members(archive)
    elif head[:2] == b"\x1f\x8b" or head[257:262] == b"ustar":
        yield from _tar_members(archive, max_bytes, compressed=head[:2] == b"\x1f\x8b")
    else:
        found = "an empty file" if not head else "a web page" if _is_web_page(head) else "something else"
        raise ModelError(f"{archive}: not an archive: expected .tar.gz, .tgz, .tar, .zip or .whl, found {found}")


def _is_web_page(head: bytes) -> bool:
    """Tell what a login page, or an error of a server that hides it, looks like when it is saved as an archive."""
    return head.lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as zipped:
        for info in zipped.infolist():
            # The upper 16 bits hold the Unix mode, or zero where the archive was made elsewhere.
            mode = stat.S_IFMT(info.external_attr >> 16)
            kind = "folder" if info.is_dir() else "file"
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "link" if mode == stat.S_IFLNK else "device"
            yield _Member(info.filename, kind, info.file_size, lambda info=info: zipped.open(info))  # type: ignore[misc]


def _tar_members(archive: Path, max_bytes: int, *, compressed: bool) -> Iterator[_Member]:
    # Headers, padding and a last look for more count too, so the stream may be a little longer than its files.
    limit = max_bytes + max_bytes // 8 + 4 * _CHUNK
    with (
        gzip.open(archive, "rb") if compressed else archive.open("rb") as raw,
        _BoundedReader(cast(IO[bytes], raw), limit, lambda: _too_large(archive, max_bytes, MAX_MEMBERS)) as bounded,
        tarfile.open(fileobj=bounded, mode="r:") as tar,
    ):
        for info in tar:
            if info.isfile():
                kind = "file"
            elif info.isdir():
                kind = "folder"
            else:
                kind = "link" if info.issym() or info.islnk() else "device"
            yield _Member(info.name, kind, info.size, lambda info=info: tar.extractfile(info))  # type: ignore[misc]
        # The checksum of a gzip file stands at its end, behind what the tar reader needs.
        while bounded.read(_CHUNK):
            pass


class _BoundedReader(io.RawIOBase):
    """A stream that refuses to be read beyond a limit, so that an archive's own numbers are never trusted.

    The tar reader skips over members and loads extended headers whole, both by sizes that the archive states; a few
    kilobytes of gzip could so cost hours or all of the memory.
    """

    def __init__(self, stream: IO[bytes], limit: int, refusal: Callable[[], ModelError]) -> None:
        self._stream = stream
        self._limit = limit
        self._refusal = refusal

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if size < 0 or self._stream.tell() + size > self._limit:
            raise self._refusal()
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence != os.SEEK_SET or not 0 <= offset <= self._limit:
            raise self._refusal()
        return self._stream.seek(offset)

    def tell(self) -> int:
        return self._stream.tell()


def _too_large(archive: Path, max_bytes: int, max_members: int) -> ModelError:
    return ModelError(
        f"{archive}: refused: larger than any model: expected at most {max_bytes / 1e6:.0f} MB unpacked "
        f"in at most {max_members} files"
    )


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Turn whatever the archive libraries raise on a bad file into one line that names it."""
    try:
        yield
    except CadenzaError:
        raise
    except FileNotFoundError as error:
        raise ModelError(f"{archive}: no such file") from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise ModelError(f"{archive}: damaged or truncated archive: {_one_line(error)}") from error
    except (OSError, NotImplementedError, RuntimeError, ValueError) as error:
        # NotImplementedError: a compression that Python lacks; RuntimeError: an encrypted zip.
        raise ModelError(f"{archive}: cannot be read: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
