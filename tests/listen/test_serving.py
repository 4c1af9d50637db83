"""Connections over TCP: who sends no request is let go, who streams is not."""

import signal
import socket
import subprocess
import sys
import time

import pytest

PROGRAM = """
import asyncio, sys
from fastapi import FastAPI
from starlette.responses import StreamingResponse
from cadenza_remix.listen import serving

serving.HEADERS_WITHIN_S = 0.4
app = FastAPI()

@app.get("/slow")
async def slow():
    async def pieces():
        for _ in range(12):
            yield b"x"
            await asyncio.sleep(0.1)
    return StreamingResponse(pieces())

bound = serving.bind("127.0.0.1", 0)
serving.serve(app, bound, on_listening=lambda: print(bound.getsockname()[1], flush=True))
"""
REQUEST = b"GET /slow HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def port():
    server = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE)
    try:
        yield int(server.stdout.readline())
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0


@pytest.fixture
def connection(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connected:
        yield connected


def seconds_until_closed(connection, trickled=b""):
    """Wait for the server's end, sending a byte now and then."""
    began = time.monotonic()
    connection.settimeout(0.1)
    while time.monotonic() - began < 10:
        try:
            if connection.recv(1000) == b"":
                break
        except TimeoutError:
            connection.sendall(trickled)
        except ConnectionError:
            break
    return time.monotonic() - began


@pytest.mark.parametrize("sent", [b"", b"GET", REQUEST], ids=["nothing", "a word", "headers without their end"])
def test_headers_are_not_waited_for_however_slowly_they_come(connection, sent):
    connection.sendall(sent)
    assert 0.2 < seconds_until_closed(connection, trickled=b"a" if sent else b"") < 5


def read_answers(connection, n_answers=1):
    answers = b""
    while answers.count(b"\r\n0\r\n\r\n") < n_answers:
        answers += connection.recv(1000)
    return answers


def test_an_answer_may_take_longer_and_the_next_request_comes_later(connection):
    for _ in range(2):
        connection.sendall(REQUEST + b"\r\n")
        assert read_answers(connection).count(b"\r\nx\r\n") == 12
        time.sleep(0.6)  # an open connection between requests is uvicorn's to close
    connection.sendall(b"GET /slow")
    assert seconds_until_closed(connection, trickled=b"a") < 5


def test_requests_sent_at_once_are_all_answered(connection):
    connection.sendall((REQUEST + b"\r\n") * 2)
    assert read_answers(connection, 2).count(b"HTTP/1.1 200") == 2
