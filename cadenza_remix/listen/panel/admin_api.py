"""What the administrators' page asks for: participants, their data, all answers. Nothing without the token."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict, deque
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Cookie, Depends, Path, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from cadenza_remix.errors import InputError
from cadenza_remix.listen.panel.additions import addition_from
from cadenza_remix.listen.panel.panel import Panel

COOKIE = "cadenza_admin"
SESSION_S = 12 * 3600
MOST_ATTEMPTS, WITHIN_S = 5, 60.0
"""So many wrong tokens may come from one address within so many seconds."""
_MOST_SESSIONS, _MOST_ADDRESSES = 64, 4096

Number = Annotated[int, Path(ge=1, le=1_000_000)]
JsonObject = Annotated[dict[str, Any], Body()]


class Sessions:
    """Who is logged in, in memory alone: after a restart one logs in again."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def start(self) -> str:
        """Return the secret of a new session; the oldest of too many ends."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._until[secret] = time.monotonic() + SESSION_S
            while len(self._until) > _MOST_SESSIONS:
                self._until.popitem(last=False)
        return secret

    def is_open(self, secret: str | None) -> bool:
        """Tell whether a cookie is that of a session."""
        with self._lock:
            return secret is not None and self._until.get(secret, 0.0) > time.monotonic()

    def end(self, secret: str | None) -> None:
        """End a session."""
        with self._lock:
            self._until.pop(secret or "", None)


class Attempts:
    """Counts wrong tokens by address; forgets them after `WITHIN_S`."""

    def __init__(self) -> None:
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, address: str) -> bool:
        """Count one more attempt; False where it is one too many, which is then not looked at."""
        now = time.monotonic()
        with self._lock:
            times = self._failed.setdefault(address, deque())
            self._failed.move_to_end(address)
            while len(self._failed) > _MOST_ADDRESSES:
                self._failed.popitem(last=False)
            while times and now - times[0] > WITHIN_S:
                times.popleft()
            if len(times) >= MOST_ATTEMPTS:
                return False
            times.append(now)  # counted before it is looked at, so that many at once are not more
            return True

    def succeeded(self, address: str) -> None:
        """Forget the attempts of somebody who knows the token."""
        with self._lock:
            self._failed.pop(address, None)


def admin_router(panel: Panel, *, route_class: type[APIRoute] = APIRoute) -> APIRouter:
    """Return the administrators' routes."""
    sessions, attempts = Sessions(), Attempts()

    def check(cadenza_admin: Annotated[str | None, Cookie()] = None) -> None:
        if not sessions.is_open(cadenza_admin):
            raise HTTPException(401, "log in first")

    # One door for all that needs a login, so that no route can forget it.
    inside = APIRouter(prefix="/api/admin", route_class=route_class, dependencies=[Depends(check)])
    _add_inside(inside, panel)
    router = APIRouter(route_class=route_class)

    @router.post("/api/admin/login")
    def login(request: Request, body: JsonObject) -> Response:
        token = body.get("token")
        if not isinstance(token, str) or set(body) != {"token"} or len(token) > 1000:
            raise InputError("wrong login", expected="token: text")
        address = request.client.host if request.client else "?"
        if not attempts.begin(address):
            wait = {"retry-after": str(round(WITHIN_S))}
            raise HTTPException(429, "too many wrong tokens; wait a minute", headers=wait)
        if not panel.roster.is_admin(token):
            raise HTTPException(401, "wrong token")
        attempts.succeeded(address)
        answer = JSONResponse({"ok": True})
        answer.set_cookie(
            COOKIE, sessions.start(), max_age=SESSION_S, path="/api/admin", httponly=True, samesite="strict",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return answer

    @inside.post("/logout")
    def logout(cadenza_admin: Annotated[str | None, Cookie()] = None) -> Response:
        sessions.end(cadenza_admin)
        answer = JSONResponse({"ok": True})
        answer.delete_cookie(COOKIE, path="/api/admin", httponly=True, samesite="strict")
        return answer

    router.include_router(inside)
    return router


def _add_inside(inside: APIRouter, panel: Panel) -> None:
    @inside.get("/test")
    def test() -> dict[str, Any]:
        return panel.overview()

    @inside.get("/participants")
    def participants() -> list[dict[str, Any]]:
        return panel.participants()

    @inside.post("/participants", status_code=201)
    def add(body: JsonObject) -> dict[str, Any]:
        return {"participants": panel.add(addition_from(body))}

    @inside.get("/participants/{number}/export")
    def export(number: Number) -> Response:
        headers = {"content-disposition": f'attachment; filename="participant-{number}.json"'}
        return JSONResponse(panel.store.export(number), headers=headers)

    @inside.delete("/participants/{number}")
    def delete(number: Number) -> dict[str, Any]:
        panel.delete(number)
        return {"deleted": number}

    @inside.get("/links.csv")
    def links(request: Request, scheme: Literal["http", "https"] = "http") -> Response:
        """``scheme``: how the page itself was reached. A server in front that speaks HTTPS is not seen from here."""
        headers = {"content-disposition": 'attachment; filename="links.csv"'}
        text = panel.links_csv(f"{scheme}://{request.headers['host']}")
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

    @inside.get("/answers.csv")
    def answers() -> Response:
        headers = {"content-disposition": 'attachment; filename="answers.csv"'}
        return Response(panel.answers_csv(), media_type="text/csv; charset=utf-8", headers=headers)

    @inside.get("/questions.csv")
    def questions() -> Response:
        headers = {"content-disposition": 'attachment; filename="questions.csv"'}
        return Response(panel.questions_csv(), media_type="text/csv; charset=utf-8", headers=headers)
