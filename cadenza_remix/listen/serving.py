"""The server process: a socket of its own, one line when it listens, an end that is prompt and clean."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from cadenza_remix.atomic import is_running, machine_token
from cadenza_remix.errors import InputError, OutputError

DEFAULT_PORT = 8765
_FOLDER_PREFIX = "cadenza-listen-"
_GRACE_S = 2
"""So long answers under way may take when the server is told to end."""
_MOST_CONNECTIONS = 500
"""Beyond, the answer is 503: each may hold a file open, and a process is allowed 1024 of them."""
_KEEP_ALIVE_S = 30
HEADERS_WITHIN_S = 15.0
"""A request's headers must be there so long after the connection, or after its first byte on one that is kept open."""
_SECRET = re.compile(r"(/(?:t|uploads)/)[^/?\s]+")
"""Whoever knows such an address is that participant, or has that upload."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to a host and port; 0 takes a free one.

    Raises
    ------
    InputError
        The port is in use or not allowed, or the host is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InputError(
            "unknown host", where=f"--host {host}", expected="a name or address of this machine"
        ) from error
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(1024)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError("in use; --port 0 takes a free one", where=f"port {port}") from error
        if error.errno == errno.EACCES:
            raise InputError("not allowed; take one above 1023", where=f"port {port}") from error
        raise InputError("cannot be listened on", where=f"--host {host}", found=error.strerror) from error
    return bound


def address_of(bound: socket.socket, *, host: str) -> str:
    """Return the address to type into a browser on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, host)
    if ":" in name and not name.startswith("["):
        name = f"[{name}]"
    return f"http://{name}:{bound.getsockname()[1]}"


def own_address(host: str) -> str:
    """Return how other machines call this one when a server listens on ``host``; ``host`` where that is not known."""
    if host not in ("0.0.0.0", "::", ""):
        return host
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # an address of nobody (RFC 5737); no packet is sent
        return str(probe.getsockname()[0])
    return host


@contextlib.contextmanager
def temporary_folder() -> Generator[Path]:
    """Make a folder of this process's own for what it makes while it runs; those of processes that were killed go."""
    parent = Path(tempfile.gettempdir())
    for folder in parent.glob(f"{_FOLDER_PREFIX}{machine_token()}-*-*"):
        process_id = folder.name.split("-")[-2]
        if process_id.isdecimal() and not is_running(int(process_id)):
            shutil.rmtree(folder, ignore_errors=True)  # what is another user's stays
    own = parent / f"{_FOLDER_PREFIX}{machine_token()}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        own.mkdir(mode=0o700)
    except OSError as error:
        raise OutputError(f"{own}: cannot be made: {error.strerror}") from error
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def serve(
    app: FastAPI, bound: socket.socket, *, on_listening: Callable[[], object] = lambda: None, verbose: bool = False
) -> None:
    """Serve until the process is told to end by SIGINT or SIGTERM, and return; a second signal does not wait.

    Parameters
    ----------
    app : FastAPI
    bound : socket
        From `bind`; closed at the end.
    on_listening : callable
        Called once requests are answered.
    verbose : bool
        A line for each request.
    """
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=_Impatient,
        ws="none",
        log_level="info" if verbose else "error",
        access_log=verbose,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
        limit_concurrency=_MOST_CONNECTIONS,
    )
    logging.getLogger("uvicorn.access").addFilter(_without_secrets)
    try:
        _Server(config, on_listening).run(sockets=[bound])
    finally:
        bound.close()


def _without_secrets(record: logging.LogRecord) -> bool:
    """Take out of a line of the access log what only one person should know."""
    if isinstance(record.args, tuple):
        record.args = tuple(_SECRET.sub(r"\1...", arg) if isinstance(arg, str) else arg for arg in record.args)
    return True


class _Impatient(H11Protocol):
    """Uvicorn's protocol that does not wait for ever for headers: whoever sends none would hold a connection."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()

    def _set_deadline(self) -> None:
        """Begin to wait where no request is at hand; what comes meanwhile, byte after byte, does not begin it anew."""
        if self.cycle is not None and not self.cycle.response_complete:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEADERS_WITHIN_S, self._give_up)

    def _give_up(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class _Server(uvicorn.Server):
    """Uvicorn's server that tells when it listens, and for which a signal is an order and no accident."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # Uvicorn raises what it caught again when it is done, which would end the process before it has cleaned up.
        def end(number: int, frame: FrameType | None) -> None:
            self.force_exit = self.should_exit
            self.should_exit = True

        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
