"""What stands before every route: whom the server listens to, what it takes in, and what each answer tells a browser.

The outermost layer of the application, so that no answer leaves without its headers, an error's among them.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import sys
import traceback
from collections.abc import Mapping
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_JSON_BYTES = 64 * 1024
BODY_WITHIN_S = 30.0
"""A request's JSON must be there after so long."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_ALL_ADDRESSES = frozenset({"0.0.0.0", "::", ""})
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_UPLOADS = re.compile(r"/api/uploads/?")
_UPLOAD_TYPES = re.compile(r"(audio/.+|video/(mp4|webm|ogg)|application/(octet-stream|ogg))")
_SERVER_PATH = re.compile(r"(?<![^\s'\"(=])/(?:[^/\n:]+/)+")


def is_loopback(host: str) -> bool:
    """Tell whether a host to listen on is this machine alone.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def error_response(status: int, line: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as all of them look: ``{"error": "<one line>"}``, without folders of this machine."""
    body = json.dumps({"error": without_folders(" ".join(line.split()))}, ensure_ascii=False)
    return Response(body, status_code=status, media_type="application/json", headers=dict(headers or {}))


def without_folders(line: str) -> str:
    """Return a message with the names of files alone: where they lie is no visitor's business.

    Examples
    --------
    >>> without_folders("/home/ann/songs/a b.wav: file is missing")
    'a b.wav: file is missing'
    """
    return _SERVER_PATH.sub("", line)


class Refused(Exception):
    """A request that goes no further, with the answer's status and line."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status
        self.line = line


class Guard:
    """The outermost ASGI layer.

    - ``Host`` must be a name of this machine or the one given (a page elsewhere whose name suddenly points here, DNS
      rebinding, carries its own name). Where the server listens on all addresses, any numeric address and the
      machine's own name are taken.
    - What changes something must be JSON (or an upload's type, or have no body at all), which no form of another page
      can send, and its ``Origin``, if it has one, must be this server.
    - JSON bodies are read whole before any route sees them, up to a limit and a time, however they are sent.
    - Errors that nobody expected become one line; the traceback goes to standard error.

    Parameters
    ----------
    app : ASGI application
    host : str
        What the server was told to listen on.
    """

    def __init__(self, app: ASGIApp, *, host: str = "127.0.0.1") -> None:
        self._app = app
        self._on_all = host in _ALL_ADDRESSES
        own = {socket.gethostname().lower(), socket.getfqdn().lower()} if self._on_all else {host.lower()}
        self._names = LOOPBACK_NAMES | own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, pass it on, and see to the answer."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # no web sockets here
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _add_headers(message)
            await send(message)

        try:
            receive = await self._checked(scope, receive)
            await self._app(scope, receive, send_guarded)
        except Refused as refusal:
            # What was not read of the body is in the way of the next request.
            response = error_response(refusal.status, refusal.line, headers={"connection": "close"})
            await response(scope, receive, send_guarded)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            if started:
                raise  # too late for an answer: the server ends the connection
            await error_response(500, "something went wrong in the server; its log tells more")(
                scope, receive, send_guarded
            )

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        headers = Headers(scope=scope)
        self._check_host(headers)
        if scope["method"] in _CHANGING:
            _check_origin(headers)
        is_upload = _UPLOADS.fullmatch(scope["path"]) is not None
        if scope["method"] in _WITH_BODY and (is_upload or "content-type" in headers or _has_body(headers)):
            _check_content_type(headers, is_upload=is_upload)
        return receive if is_upload else await _with_body_read(headers, receive)

    def _check_host(self, headers: Headers) -> None:
        given = headers.getlist("host")
        if len(given) != 1 or not self._is_own(_host_name(given[0])):
            raise Refused(400, "this server does not go by that name: check the address, or start it with --host")

    def _is_own(self, name: str | None) -> bool:
        if name is None:
            return False
        if name in self._names:
            return True
        if not self._on_all:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _host_name(given: str) -> str | None:
    """Return the name in a ``Host`` header, without port and brackets, in lower case."""
    try:
        parts = urlsplit(f"//{given}")
        _ = parts.port
    except ValueError:
        return None
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return parts.hostname


def _check_origin(headers: Headers) -> None:
    is_own = all(site in {"same-origin", "none"} for site in headers.getlist("sec-fetch-site"))
    for origin in headers.getlist("origin"):
        scheme, _, place = origin.partition("://")
        is_own = is_own and scheme in {"http", "https"} and place.lower() == headers["host"].lower()
    if not is_own:
        raise Refused(403, "asked for by a page of another site")


def _check_content_type(headers: Headers, *, is_upload: bool) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if is_upload and not _UPLOAD_TYPES.fullmatch(kind):
        raise Refused(415, "wrong Content-Type: expected audio/... or application/octet-stream")
    if not is_upload and kind != "application/json":
        raise Refused(415, "wrong Content-Type: expected application/json")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "wrong Content-Encoding: expected none")


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


async def _with_body_read(headers: Headers, receive: Receive) -> Receive:
    """Read the body of a request and return what gives it again."""
    announced = headers.get("content-length", "0")
    if announced.isdecimal() and (len(announced) > 12 or int(announced) > MOST_JSON_BYTES):
        raise Refused(413, f"too large: at most {MOST_JSON_BYTES} bytes")
    body = b""
    more = _has_body(headers)
    with anyio.move_on_after(BODY_WITHIN_S) as patience:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MOST_JSON_BYTES:
                raise Refused(413, f"too large: at most {MOST_JSON_BYTES} bytes")
    if patience.cancelled_caught:
        raise Refused(408, "the request did not arrive in time")
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return message

    return receive_again


def _add_headers(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers[name] = value
    headers.setdefault("cache-control", "no-store")
