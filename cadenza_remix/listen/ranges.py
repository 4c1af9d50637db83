"""Files to a browser, whole or in part: byte ranges as RFC 9110 (section 14) has them, in chunks, nothing in memory."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cadenza_remix.listen.security import error_response

CHUNK_BYTES = 128 * 1024
STALLED_AFTER_S = 60.0
"""A client that takes nothing for so long is given up."""
_RANGES = re.compile(r"\s*bytes\s*=(.*)", re.IGNORECASE | re.DOTALL)
_ONE_RANGE = re.compile(r"[ \t]*([0-9]*)[ \t]*-[ \t]*([0-9]*)[ \t]*")
_MOST_DIGITS = 18


@dataclass(frozen=True)
class ByteRange:
    """Bytes ``first`` to ``last``, both of them included."""

    first: int
    last: int

    @property
    def n_bytes(self) -> int:
        return self.last - self.first + 1


class UnsatisfiableRangeError(Exception):
    """The range lies outside the file."""


def parse_range(header: str | None, n_bytes: int) -> ByteRange | None:
    """Return the one range that a ``Range`` header asks for, None where the whole is to be sent.

    A header that cannot be understood, another unit and several ranges at once are no errors: the server may ignore
    them, and the whole file is the answer (RFC 9110, section 14.2).

    Parameters
    ----------
    header : str or None
    n_bytes : int
        Of the file.

    Raises
    ------
    UnsatisfiableRangeError
        It begins after the file's end, or asks for the last 0 bytes.

    Examples
    --------
    >>> parse_range("bytes=-2", 10)
    ByteRange(first=8, last=9)
    """
    match = _RANGES.fullmatch(header) if header is not None else None
    one = _ONE_RANGE.fullmatch(match[1]) if match is not None else None
    if one is None or (not one[1] and not one[2]) or max(map(len, one.groups())) > _MOST_DIGITS:
        return None
    if not one[1]:
        n_last = int(one[2])
        if n_last == 0 or n_bytes == 0:
            raise UnsatisfiableRangeError
        return ByteRange(max(0, n_bytes - n_last), n_bytes - 1)
    first = int(one[1])
    last = int(one[2]) if one[2] else n_bytes - 1
    if one[2] and last < first:
        return None
    if first >= n_bytes:
        raise UnsatisfiableRangeError
    return ByteRange(first, min(last, n_bytes - 1))


def matches_etag(header: str | None, etag: str) -> bool:
    """Tell whether an ``If-None-Match`` header names a tag (weak comparison, ``*`` names every one)."""
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags


class FileInParts(Response):
    """The answer to GET and HEAD of a file that never changes.

    Parameters
    ----------
    path : Path
    etag : str
        Strong: another content would have another one; with its quotation marks.
    media_type : str
    headers : mapping, optional
        More of them.
    """

    def __init__(self, path: Path, *, etag: str, media_type: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(media_type=media_type, headers={"accept-ranges": "bytes", "etag": etag, **(headers or {})})
        del self.headers["content-length"]  # of no content
        self._path = path
        self._etag = etag

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; the file is closed however that ends."""
        try:
            file = await anyio.to_thread.run_sync(self._path.open, "rb")
        except OSError:  # removed since it was looked up
            await error_response(404, "no longer there")(scope, receive, send)
            return
        try:
            await self._answer(file, scope, receive, send)
        finally:
            file.close()

    async def _answer(self, file: BinaryIO, scope: Scope, receive: Receive, send: Send) -> None:
        asked = Headers(scope=scope)
        n_bytes = os.fstat(file.fileno()).st_size
        if matches_etag(asked.get("if-none-match"), self._etag):
            self.status_code = 304
            await self._start(send)
            await send({"type": "http.response.body", "body": b""})
            return
        part: ByteRange | None = None
        if scope["method"] == "GET" and asked.get("if-range", self._etag).strip() == self._etag:
            try:
                part = parse_range(asked.get("range"), n_bytes)
            except UnsatisfiableRangeError:
                self.headers["content-range"] = f"bytes */{n_bytes}"
                headers = {name: self.headers[name] for name in ("content-range", "accept-ranges")}
                await error_response(416, "range outside the file", headers=headers)(scope, receive, send)
                return
        if part is not None:
            self.status_code = 206
            self.headers["content-range"] = f"bytes {part.first}-{part.last}/{n_bytes}"
        part = part or ByteRange(0, n_bytes - 1)
        self.headers["content-length"] = str(part.n_bytes)
        await self._start(send)
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        await _send_part(file, part, receive, send)

    async def _start(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


async def _send_part(file: BinaryIO, part: ByteRange, receive: Receive, send: Send) -> None:
    """Send bytes of a file in chunks, and stop when the client goes or stalls."""

    def read(position: int) -> bytes:
        file.seek(position)
        return file.read(min(CHUNK_BYTES, part.last + 1 - position))

    async def send_all() -> None:
        position = part.first
        while position <= part.last:
            chunk = await anyio.to_thread.run_sync(read, position)
            if not chunk:
                return  # the file became shorter: the server ends the connection, as less came than was announced
            position += len(chunk)
            with anyio.move_on_after(STALLED_AFTER_S) as patience:
                await send({"type": "http.response.body", "body": chunk, "more_body": position <= part.last})
            if patience.cancelled_caught:
                return
        if part.n_bytes == 0:
            await send({"type": "http.response.body", "body": b""})

    async def until_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            await until_gone()
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        await send_all()
        tasks.cancel_scope.cancel()
