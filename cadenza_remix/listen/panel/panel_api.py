"""What the pages of a listening test ask for, of one participant who is known by an unguessable token.

The state of a participant is the server's: ``welcome`` -> ``level`` -> ``training`` -> ``ready`` -> ``trial`` <->
``break`` -> ``done``; without training pages ``level`` is followed by ``trial``, and in a test with questions the last
``trial`` by ``questions``. Trials are numbered from 1 on, training first. Whoever asks for something at another time
gets 409 and asks where the test stands.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request, Response
from fastapi.routing import APIRoute

from cadenza_remix.errors import CadenzaError
from cadenza_remix.listen.panel.admin_api import admin_router
from cadenza_remix.listen.panel.new_rows import ConflictError
from cadenza_remix.listen.panel.panel import Panel
from cadenza_remix.listen.panel.store import NotThereError, StoreError
from cadenza_remix.listen.security import error_response

JsonObject = Annotated[dict[str, Any], Body()]

_UNSTORED = "answers cannot be read or stored at the moment; nothing was changed"
_UNMADE = "the sounds of this page cannot be made at the moment; please tell whoever invited you"


class PanelRoute(APIRoute):
    """A route that answers where a panel raises: 404 for nobody's link, 409 at the wrong time, 503 for a full disk."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, which answers instead of raising."""
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await answer(request)
            except NotThereError as error:
                return error_response(404, str(error))
            except ConflictError as error:
                return error_response(409, str(error))
            except StoreError as error:
                print(error, file=sys.stderr)
                return error_response(503, _UNSTORED, headers={"retry-after": "5"})

        return handler


def panel_router(panel: Panel) -> APIRouter:
    """Return the routes of participants and of administrators."""
    router = APIRouter(route_class=PanelRoute)
    router.include_router(admin_router(panel, route_class=PanelRoute))

    @router.get("/api/t/{token}")
    def status(token: str) -> dict[str, Any]:
        return panel.status(token)

    @router.post("/api/t/{token}/begin")
    def begin(token: str) -> dict[str, Any]:
        return {"state": panel.begin(token)}

    @router.post("/api/t/{token}/level")
    def level(token: str, body: JsonObject) -> dict[str, Any]:
        return {"state": panel.set_level(token, body)}

    @router.post("/api/t/{token}/continue")
    def go_on(token: str) -> dict[str, Any]:
        return {"state": panel.go_on(token)}

    @router.get("/api/t/{token}/trial")
    async def trial(token: str) -> Any:
        person, planned, promise = await asyncio.to_thread(panel.trial, token)
        try:
            # Shielded: a visitor who leaves must not cancel what a second tab waits for.
            sounds = await asyncio.shield(asyncio.wrap_future(promise))
        except CadenzaError as error:
            print(f"participant {person.number}, trial {planned.trial}: {error}", file=sys.stderr)
            return error_response(503, _UNMADE, headers={"retry-after": "10"})
        return await asyncio.to_thread(panel.page, person, planned, sounds)

    @router.post("/api/t/{token}/trials/{number}")
    def confirm(token: str, number: Annotated[int, Path(ge=1, le=1_000_000)], body: JsonObject) -> dict[str, Any]:
        return panel.confirm(token, number, body)

    @router.post("/api/t/{token}/questions")
    def questions(token: str, body: JsonObject) -> dict[str, Any]:
        return panel.answer_questions(token, body)

    return router
