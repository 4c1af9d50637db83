"""The addresses under which visitors bring their own songs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from cadenza_remix.listen.library import UnknownIdError
from cadenza_remix.listen.room_api import song_entry
from cadenza_remix.listen.upload_body import RefusedUploadError, drain
from cadenza_remix.listen.uploads import Uploads

_DRAIN_S = 10.0
_NO_STORE = {"cache-control": "no-store"}


def uploads_router(uploads: Uploads) -> APIRouter:
    """Return the routes ``POST /api/uploads?name=...``, ``GET`` and ``DELETE /api/uploads/{token}``.

    The body of the first is the file itself. Errors are one line of JSON: ``{"error": "..."}``.
    """
    router = APIRouter()

    @router.post("/api/uploads")
    async def receive(request: Request, name: Annotated[str, Query(max_length=1000)]) -> Response:
        stream = request.stream()
        try:
            _check_announced(request, uploads.limits.max_bytes)
            token = await uploads.receive(stream, name)
        except RefusedUploadError as error:
            # A browser that is still sending would show a broken connection instead of the reason.
            await drain(stream, max_bytes=int(2 * uploads.limits.max_bytes), max_s=_DRAIN_S)
            return _error(error.status, str(error))
        return JSONResponse({"token": token}, status_code=202, headers=_NO_STORE)

    @router.get("/api/uploads/{token}")
    async def status(token: str) -> Response:
        try:
            found = await run_in_threadpool(uploads.status, token)
        except UnknownIdError as error:
            return _error(404, str(error))
        song = found["song"]
        return JSONResponse({**found, "song": None if song is None else song_entry(song)}, headers=_NO_STORE)

    @router.delete("/api/uploads/{token}")
    async def remove(token: str) -> Response:
        try:
            await run_in_threadpool(uploads.remove, token)
        except UnknownIdError as error:
            return _error(404, str(error))
        return JSONResponse({"removed": True}, headers=_NO_STORE)

    return router


def _check_announced(request: Request, max_bytes: float) -> None:
    """Refuse at once what says that it is too large; what does not say so is counted as it comes."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 15 or int(announced) > max_bytes):
        raise RefusedUploadError(413, f"file is too large: expected at most {max_bytes / 1e6:g} MB")


def _error(status: int, line: str) -> Response:
    return JSONResponse({"error": line}, status_code=status, headers=_NO_STORE)
