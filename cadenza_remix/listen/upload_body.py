"""Take a visitor's file from the network: limits enforced as it comes, its kind looked at before it is kept.

What a browser says of a file (name, length, type) is not trusted. The name is only shown; of its suffix one of a fixed
list is taken, and the file's first bytes must be those of that kind. This also keeps playlists and the like, which
decoders would follow to other files and addresses, away from them.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

from cadenza_remix.audio.io import AUDIO_SUFFIXES
from cadenza_remix.errors import CadenzaError

_HEAD_LENGTH = 12
_BUFFER_LENGTH = 1 << 20
_MAX_NAME = 80


class RefusedUploadError(CadenzaError):
    """An upload that is not taken; ``status`` is the HTTP status that says why."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


def shown_name(name: str) -> str:
    """Return a file's name to show: without folders, suffix, control and direction marks, and not too long."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    visible = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in last)
    stem = visible.strip()
    suffix = next((known for known in (".stem.mp4", *AUDIO_SUFFIXES) if stem.lower().endswith(known)), "")
    return " ".join(stem[: len(stem) - len(suffix)][:_MAX_NAME].split()) or "own song"


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name, one of `AUDIO_SUFFIXES`.

    Raises
    ------
    RefusedUploadError
        It is another one (415).
    """
    for suffix in AUDIO_SUFFIXES:
        if name.strip().lower().endswith(suffix):
            return suffix
    raise RefusedUploadError(415, f"wrong kind of file: expected {', '.join(AUDIO_SUFFIXES)}, found another name")


def has_magic(head: bytes, suffix: str) -> bool:
    """Tell whether a file's first bytes are those of its kind.

    Parameters
    ----------
    head : bytes
        The first twelve, or all that there are.
    suffix : str
        One of `AUDIO_SUFFIXES`.
    """
    is_tagged = head.startswith(b"ID3")
    checks: dict[str, Callable[[], bool]] = {
        ".wav": lambda: head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE",
        ".flac": lambda: head.startswith(b"fLaC") or is_tagged,
        ".mp3": lambda: is_tagged or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0),
        ".ogg": lambda: head.startswith(b"OggS"),
        ".aif": lambda: head.startswith(b"FORM") and head[8:12] in (b"AIFF", b"AIFC"),
        ".mp4": lambda: head[4:8] == b"ftyp",
        ".aac": lambda: is_tagged or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0),
    }
    same = {".opus": ".ogg", ".aiff": ".aif", ".m4a": ".mp4"}
    return checks[same.get(suffix, suffix)]()


async def receive_body(
    stream: AsyncIterable[bytes], path: Path, *, suffix: str, max_bytes: int, max_s: float, idle_s: float
) -> int:
    """Write a request's body to a new file and return its length.

    Parameters
    ----------
    stream : async iterable of bytes
    path : Path
        Must not be there yet; what was written stays there when the upload is refused.
    suffix : str
        The kind that it must be of.
    max_bytes : int
    max_s, idle_s : float
        How long it may take as a whole, and from one piece to the next.

    Raises
    ------
    RefusedUploadError
        Too large (413), of another kind or empty (415), too slow (408).
    """
    n_bytes, head, is_checked = 0, b"", False
    waiting: list[bytes] = []
    n_waiting = 0
    with path.open("xb") as file:
        try:
            async with asyncio.timeout(max_s):
                async for piece in _timely(stream, idle_s):
                    n_bytes += len(piece)
                    if n_bytes > max_bytes:
                        raise RefusedUploadError(413, f"file is too large: expected at most {max_bytes / 1e6:g} MB")
                    if not is_checked:
                        head += piece[: _HEAD_LENGTH - len(head)]
                        if is_checked := len(head) == _HEAD_LENGTH:
                            _check_head(head, suffix)
                    waiting.append(piece)
                    n_waiting += len(piece)
                    if n_waiting >= _BUFFER_LENGTH:
                        await asyncio.to_thread(file.write, b"".join(waiting))
                        waiting, n_waiting = [], 0
        except TimeoutError:
            raise RefusedUploadError(408, f"upload is too slow: expected its end within {max_s:g} s") from None
        if not is_checked:
            _check_head(head, suffix)
        await asyncio.to_thread(file.write, b"".join(waiting))
    return n_bytes


async def drain(stream: AsyncIterable[bytes], *, max_bytes: int, max_s: float) -> None:
    """Read what a client still sends, within limits: one that is cut off while it sends never reads the answer."""
    n_bytes = 0
    with suppress(TimeoutError, RuntimeError):
        async with asyncio.timeout(max_s):
            async for piece in stream:
                n_bytes += len(piece)
                if n_bytes > max_bytes:
                    return


def _check_head(head: bytes, suffix: str) -> None:
    if not head:
        raise RefusedUploadError(415, "file is empty: expected an audio file, found 0 bytes")
    if not has_magic(head, suffix):
        raise RefusedUploadError(415, f"file is not what its name says: expected {suffix}, found other content")


async def _timely(stream: AsyncIterable[bytes], idle_s: float) -> AsyncIterator[bytes]:
    pieces = aiter(stream)
    while True:
        try:
            piece = await asyncio.wait_for(anext(pieces), idle_s)
        except StopAsyncIteration:
            return
        yield piece
