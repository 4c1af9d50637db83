"""The application: pages from a fixed table, the APIs, errors as one line of JSON."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cadenza_remix.errors import CadenzaError, InputError
from cadenza_remix.listen.clips import BusyError, ClipStore, RenderPool
from cadenza_remix.listen.library import Library, UnknownIdError
from cadenza_remix.listen.panel.panel import Panel
from cadenza_remix.listen.panel.panel_api import panel_router
from cadenza_remix.listen.ranges import matches_etag
from cadenza_remix.listen.room_api import clip_router, room_router
from cadenza_remix.listen.security import Guard, error_response
from cadenza_remix.listen.uploads import Uploads
from cadenza_remix.listen.uploads_api import uploads_router

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_MOST_WORDS = 3


def create_app(
    *,
    library: Library | None,
    clips: ClipStore,
    uploads: Uploads | None = None,
    panel: Panel | None = None,
    host: str = "127.0.0.1",
    pool: RenderPool | None = None,
) -> FastAPI:
    """Build the application of listening room and listening test.

    Parameters
    ----------
    library : Library or None
        What the room offers; None: a listening test alone.
    clips : ClipStore
        Shared by room and test.
    uploads : Uploads or None
        None: nobody can bring an own song.
    panel : Panel or None
        A listening test.
    host : str
        What the server listens on: requests that name another host are refused.
    pool : RenderPool, optional
        The threads that render; they end with the application.
    """
    threads = pool or RenderPool()

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        threads.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, lifespan=life)
    app.add_middleware(Guard, host=host)
    _answer_errors(app)
    pages = page_table()
    app.include_router(clip_router(clips))
    if library is not None:
        app.include_router(room_router(library=library, clips=clips, uploads=uploads, pool=threads))
    if uploads is not None:
        app.include_router(uploads_router(uploads))
    if panel is not None:
        app.include_router(panel_router(panel))
    _serve_pages(app, pages, first="room.html" if library is not None else "landing.html", with_panel=panel is not None)
    return app


def page_table() -> dict[str, Traversable]:
    """Return the pages of the package by name: all that ``/pages/<name>`` can give."""
    folder = resources.files("cadenza_remix.listen").joinpath("pages")
    return {entry.name: entry for entry in folder.iterdir() if entry.is_file() and _kind(entry.name)}


def _kind(name: str) -> str | None:
    return _KINDS.get(name[name.rfind(".") :])


def _serve_pages(app: FastAPI, pages: dict[str, Traversable], *, first: str, with_panel: bool) -> None:
    async def page(name: str, request: Request) -> Response:
        entry = pages.get(name)
        if entry is None:
            return error_response(404, "no such page")
        content = await to_thread.run_sync(entry.read_bytes)
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {"etag": etag, "cache-control": "no-cache"}
        if matches_etag(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=_kind(name), headers=headers)

    @app.api_route("/", methods=["GET", "HEAD"])
    async def front(request: Request) -> Response:
        return await page(first, request)

    @app.api_route("/pages/{name}", methods=["GET", "HEAD"])
    async def static(name: str, request: Request) -> Response:
        return await page(name, request)

    if with_panel:

        @app.api_route("/t/{token}", methods=["GET", "HEAD"])
        async def participant(token: str, request: Request) -> Response:
            return await page("test.html", request)

        @app.api_route("/admin", methods=["GET", "HEAD"])
        async def admin(request: Request) -> Response:
            return await page("admin.html", request)


def _answer_errors(app: FastAPI) -> None:
    """Turn what goes wrong into one line each; what nobody expected is left to the guard."""

    @app.exception_handler(RequestValidationError)
    async def wrong_request(_: Request, error: RequestValidationError) -> Response:
        return error_response(422, validation_line(error.errors()))

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return error_response(error.status_code, str(error.detail).lower(), headers=error.headers)

    @app.exception_handler(UnknownIdError)
    async def unknown(_: Request, error: UnknownIdError) -> Response:
        return error_response(404, str(error))

    @app.exception_handler(BusyError)
    async def busy(_: Request, error: BusyError) -> Response:
        return error_response(503, str(error), headers={"retry-after": str(error.retry_after_s)})

    @app.exception_handler(InputError)
    async def wrong(_: Request, error: InputError) -> Response:
        return error_response(422, str(error))

    @app.exception_handler(CadenzaError)
    async def failed(_: Request, error: CadenzaError) -> Response:
        return error_response(500, str(error))


def validation_line(errors: Any) -> str:
    """Return what is wrong with a request in one line: the first faults, each with its place."""
    lines = []
    for error in errors[:_MOST_WORDS]:
        place = ".".join(str(part) for part in error.get("loc", ()) if part != "body")
        if error.get("type") == "extra_forbidden":
            lines.append(f"{place}: unknown key")
        else:
            lines.append(f"{place}: {error.get('msg', 'wrong')}" if place else str(error.get("msg", "wrong")))
    return "; ".join(lines) or "wrong request"
