"""The files of enhanced signals by their path below one root, wherever they lie: in a folder or in a submission's zip.

Whoever reads through an :class:`EnhancedTree` need not know which: names, bytes, audio and digests are the same. A zip
file is read in place and nothing is ever unpacked, so no name in it can reach a file outside.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import threading
import unicodedata
import weakref
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cadenza_remix.challenge.decoding import decode_audio
from cadenza_remix.challenge.naming import ENHANCED_FOLDER, SUBMISSION_FOLDER, check_name, scale_path
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError

if TYPE_CHECKING:
    from cadenza_remix.audio.signal import Audio

MAX_FILE_BYTES = 2**29
"""Larger files are not read: an hour of the stereo remix without any compression fits."""

_JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")
_ENCRYPTED = 0x1
_UTF8_NAME = 0x800


class EnhancedTree:
    """Files by their path below the folder that holds one folder per listener; made by :func:`open_tree`.

    Parameters
    ----------
    names : tuple of str
        Paths below the root with forward slashes, sorted. Hidden files and what systems leave behind
        (``.DS_Store``, ``__MACOSX``) are not among them.
    where : str
        The folder or zip file, for messages.
    outside : tuple of str
        Entries of a zip file that do not lie below its root, or would leave it.
    twice : tuple of str
        Names that stand more than once in a zip file; the last one counts.
    backslashed : tuple of str
        Names that a zip file writes with backslashes; they are read as slashes.
    prefix : str
        What stands before every name in a zip file; ``evaluation/`` as it should be.
    """

    def __init__(
        self,
        names: Iterable[str],
        read: Callable[[str], bytes],
        *,
        where: str,
        joint: str,
        outside: Iterable[str] = (),
        twice: Iterable[str] = (),
        backslashed: Iterable[str] = (),
        prefix: str = f"{SUBMISSION_FOLDER}/",
    ) -> None:
        self.names = tuple(sorted(names))
        self.where = where
        self.outside = tuple(sorted(outside))
        self.twice = tuple(sorted(set(twice)))
        self.backslashed = tuple(sorted(backslashed))
        self.prefix = prefix
        self._read = read
        self._joint = joint
        self._present = frozenset(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._present

    def location(self, name: str) -> str:
        """Return where a file lies, as a message says it: ``folder/name`` or ``file.zip!name``."""
        return f"{self.where}{self._joint}{name}"

    def read(self, name: str) -> bytes:
        """Return the bytes of one file; several threads may read at once.

        Raises
        ------
        InputError
            No such file; encrypted, damaged, larger than :data:`MAX_FILE_BYTES`, or it cannot be read.
        """
        if name not in self._present:
            raise InputError("file is missing", where=self.location(name))
        try:
            return self._read(name)
        except InputError as error:
            raise InputError(str(error), where=self.location(name)) from error
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            found = getattr(error, "strerror", None) or error
            raise InputError("cannot be read", where=self.location(name), found=found) from error

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file's bytes (hexadecimal): the same in a folder and in a zip file."""
        return hashlib.sha256(self.read(name)).hexdigest()

    def read_scale(self, name: str) -> float:
        """Return the number in a scale file: finite and 0 or more, otherwise an InputError says what it holds."""
        try:
            text = self.read(name).decode("utf-8")
            scale = float(text)
        except UnicodeDecodeError as error:
            raise _not_a_scale(self.location(name), "bytes that are no text") from error
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise _not_a_scale(self.location(name), repr(text[:40])) from error
        if not (math.isfinite(scale) and scale >= 0):
            raise _not_a_scale(self.location(name), repr(text[:40]))
        return scale

    def read_audio(self, name: str) -> Audio:
        """Return an audio file times the factor in the ``.txt`` of the same name, where there is one.

        Raises
        ------
        InputError
            As for `read` and `decode_audio`; a file that is cut off; a scale that is no finite number of at least 0.
        """
        import numpy as np

        from cadenza_remix.audio.signal import Audio

        decoded = decode_audio(self.read(name), where=self.location(name))
        if len(decoded.samples) < decoded.n_announced:
            raise InputError(
                "file is cut off",
                where=self.location(name),
                expected=f"{decoded.n_announced} samples",
                found=len(decoded.samples),
            )
        samples, scale_name = decoded.samples, scale_path(name).as_posix()
        if scale_name in self:
            samples = samples * np.float32(self.read_scale(scale_name))
        return Audio(samples, decoded.sample_rate, self.location(name))

    def of_listeners(self, listeners: Iterable[str]) -> EnhancedTree:
        """Return the tree of these listeners' folders, as if the others were not there."""
        wanted = set(listeners)

        def kept(names: Iterable[str]) -> list[str]:
            return [name for name in names if name.split("/")[0] in wanted]

        return EnhancedTree(
            kept(self.names), self._read, where=self.where, joint=self._joint, outside=self.outside,
            twice=kept(self.twice), backslashed=kept(self.backslashed), prefix=self.prefix,
        )  # fmt: skip

    def pairs(self, listener_order: Iterable[str] = ()) -> list[Pair]:
        """Return the pairs for which there is any file, songs outermost as the challenge orders them.

        Songs by name; listeners as in ``listener_order``, those who are not in it by name and last.
        """
        order = {listener: index for index, listener in enumerate(listener_order)}
        folders = {tuple(name.split("/")[:2]) for name in self.names if name.count("/") == 2}
        found = [Pair(song, listener) for listener, song in folders if _is_name(listener) and _is_name(song)]
        return sorted(found, key=lambda pair: (pair.song, order.get(pair.listener, len(order)), pair.listener))


def open_tree(path: str | Path) -> EnhancedTree:
    """Open a folder of enhanced signals, or a submission's zip file in place.

    Parameters
    ----------
    path : path
        A folder with one folder per listener, or one above it that holds ``enhanced_signals/`` or ``evaluation/``; or
        a zip file, whose files should lie below ``evaluation/``. Where a zip file has none there but has an entry's
        files below another folder, they are taken from it, and ``prefix`` tells.

    Raises
    ------
    InputError
        There is nothing at ``path``, it is neither a folder nor a zip file, or it cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(_root_of(path))
    expected = "a folder of enhanced signals or a submission's zip file"
    if not path.exists():
        raise InputError("not found", where=path, expected=expected)
    if not path.is_file():
        raise InputError("neither a file nor a folder", where=path, expected=expected)
    return _open_zip(path)


def _not_a_scale(where: str, found: str) -> InputError:
    return InputError("not a scale", where=where, expected="one finite number, 0 or more", found=found)


def _is_name(name: str) -> bool:
    try:
        check_name(name, "folder")
    except InputError:
        return False
    return True


def _is_junk(name: str) -> bool:
    parts = name.split("/")
    if len(parts) >= 3 and parts[-1].startswith(f"{parts[-3]}_{parts[-2]}_"):
        return False  # songs may begin with a dot
    return any(part in _JUNK or (part.startswith(".") and part != "..") for part in parts)


def _root_of(folder: Path) -> Path:
    for name in (ENHANCED_FOLDER, SUBMISSION_FOLDER):
        if (folder / name).is_dir():
            return _root_of(folder / name)
    return folder


def open_pair(folder: str | Path, pair: Pair) -> EnhancedTree:
    """Open the files of one pair in a folder with one folder per listener: the rest is not even listed.

    Raises
    ------
    InputError
        There is no folder of this pair.
    """
    root = Path(folder)
    own = root / pair.listener / pair.song
    if not own.is_dir():
        raise InputError("enhanced signals are missing", where=own, expected="the eight stems of this pair")
    return _open_folder(root, below=own)


def _open_folder(root: Path, *, below: Path | None = None) -> EnhancedTree:
    files = [
        Path(folder, name).relative_to(root).as_posix() for folder, _, names in os.walk(below or root) for name in names
    ]

    def read(name: str) -> bytes:
        file = root / name
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):  # a pipe would be waited for
            raise InputError("is no file")
        _check_size(state.st_size)
        return file.read_bytes()

    return EnhancedTree([name for name in files if not _is_junk(name)], read, where=str(root), joint="/")


def _open_zip(path: Path) -> EnhancedTree:
    try:
        handle = path.open("rb")
    except OSError as error:
        raise InputError("cannot be read", where=path, found=error.strerror or error) from error
    try:
        # Given a file, not a path: ZipFile counts the readers of a file of its own without a lock.
        archive = zipfile.ZipFile(handle)
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        handle.close()
        raise InputError("not a readable zip file", where=path, found=error) from error
    entries = list(_entries(archive))
    prefix = _prefix_of([name for name, _ in entries])
    inside: dict[str, zipfile.ZipInfo] = {}
    outside, twice, backslashed = [], [], []
    for name, entry in entries:
        short = name.removeprefix(prefix)
        if not name.startswith(prefix) or not _stays_inside(name):
            outside.append(name)
            continue
        if short in inside:
            twice.append(short)
        if "\\" in entry.filename:
            backslashed.append(short)
        inside[short] = entry
    lock = threading.Lock()

    def read(name: str) -> bytes:
        entry = inside[name]
        _check_size(entry.file_size)
        if entry.flag_bits & _ENCRYPTED:
            raise InputError("is encrypted")
        with lock:
            file = archive.open(entry)
        with file:
            return file.read()

    weakref.finalize(archive, handle.close)  # when no tree reads from it any more
    return EnhancedTree(
        inside, read, where=str(path), joint=f"!{prefix}", outside=outside, twice=twice, backslashed=backslashed,
        prefix=prefix,
    )  # fmt: skip


def _check_size(n_bytes: int) -> None:
    if n_bytes > MAX_FILE_BYTES:
        raise InputError("is too large", expected=f"at most {MAX_FILE_BYTES} bytes", found=n_bytes)


def _entries(archive: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Yield the files of a zip file with their names in forward slashes, without what systems leave behind."""
    for entry in archive.infolist():
        name = entry.filename
        if not entry.flag_bits & _UTF8_NAME and not name.isascii():
            # macOS writes UTF-8 without saying so; zipfile then takes it for the code page of DOS.
            try:
                name = unicodedata.normalize("NFC", name.encode("cp437").decode("utf-8"))
            except UnicodeError:
                name = entry.filename
        name = name.replace("\\", "/").removeprefix("./")
        if not name.endswith("/") and not _is_junk(name):
            yield name, entry


def _stays_inside(name: str) -> bool:
    return not name.startswith("/") and ".." not in name.split("/") and name[1:2] != ":"


def _prefix_of(names: list[str]) -> str:
    """Return the folder below which an entry's files lie: ``evaluation/`` where it holds any, else the fullest one."""
    found: Counter[str] = Counter()
    for name in filter(_stays_inside, names):
        parts = name.split("/")
        if len(parts) >= 3 and parts[-1].startswith(f"{parts[-3]}_{parts[-2]}_"):
            found["".join(f"{part}/" for part in parts[:-3])] += 1
    usual = f"{SUBMISSION_FOLDER}/"
    if usual in found or not found:
        return usual
    return found.most_common(1)[0][0]
