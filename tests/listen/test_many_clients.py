"""Fifty clients stream at once, whole and in parts, some hang up: no byte is wrong, and the server answers on."""

import asyncio
import hashlib
import os
import socket
import time

import httpx
import pytest
from listening_server import listening_server
from tiny_run import make_tiny_run

N_CLIENTS = 50
N_ROUNDS = 3


@pytest.fixture(scope="module")
def server(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("runs")
    make_tiny_run(folder, song, duration_s=6.0, chains=["baseline"], scored=False)
    with listening_server([folder, "--no-uploads"]) as running:
        yield running


@pytest.fixture(scope="module")
def clips(server):
    """Return the addresses of clips, and what is in them as one client alone gets it."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        song = client.get("/api/room").json()["songs"][0]
        body = {"song": song["id"], "listener": "L5040", "start_s": 0, "duration_s": song["duration_s"]}
        body["versions"] = ["mixture", "remix:baseline", "clean:drums", "separated:vocals"]
        made = client.post("/api/clips", json=body).json()["clips"]
        found = {clip["url"]: client.get(clip["url"]).content for clip in made}
    assert len({hashlib.sha256(content).digest() for content in found.values()}) == 4
    assert all(len(content) > 200_000 for content in found.values())
    return found


def open_files(process_id):
    return len(os.listdir(f"/proc/{process_id}/fd"))


async def whole(client, url, content):
    answer = await client.get(url)
    assert answer.status_code == 200
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(content).digest()


async def in_parts(client, url, content, *, step):
    pieces = []
    for first in range(0, len(content), step):
        answer = await client.get(url, headers={"Range": f"bytes={first}-{first + step - 1}"})
        assert answer.status_code == 206
        last = min(first + step, len(content)) - 1
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(content)}"
        pieces.append(answer.content)
    assert hashlib.sha256(b"".join(pieces)).digest() == hashlib.sha256(content).digest()


async def hang_up(client, url, content):
    async with client.stream("GET", url) as answer:
        assert answer.status_code == 200
        async for piece in answer.aiter_raw():
            assert content.startswith(piece)
            break


async def read_slowly(client, url, content):
    got = hashlib.sha256()
    async with client.stream("GET", url) as answer:
        async for piece in answer.aiter_raw():
            got.update(piece)
            await asyncio.sleep(0.002)
    assert got.digest() == hashlib.sha256(content).digest()


async def one_client(number, base, clips):
    async with httpx.AsyncClient(base_url=base, timeout=60) as client:
        urls = list(clips)
        for turn in range(N_ROUNDS):
            url = urls[(number + turn) % len(urls)]
            kind = number % 5
            if kind in (0, 1):
                await whole(client, url, clips[url])
            elif kind == 2:
                await in_parts(client, url, clips[url], step=50_000 + 7_001 * number)
            elif kind == 3:
                await hang_up(client, url, clips[url])
            else:
                await read_slowly(client, url, clips[url])


async def ask_on(base, is_over, times_s):
    async with httpx.AsyncClient(base_url=base, timeout=60) as client:
        while not is_over.is_set():
            began = time.monotonic()
            answer = await client.get("/api/room")
            times_s.append(time.monotonic() - began)
            assert answer.status_code == 200
            assert answer.json()["songs"]
            await asyncio.sleep(0.02)


def test_fifty_clients_at_once(server, clips):
    async def scene():
        is_over, times_s = asyncio.Event(), []
        asking = asyncio.create_task(ask_on(server.url, is_over, times_s))
        await asyncio.gather(*(one_client(number, server.url, clips) for number in range(N_CLIENTS)))
        is_over.set()
        await asking
        return times_s

    times_s = asyncio.run(scene())
    assert len(times_s) > 3
    assert max(times_s) < 10  # it is never held up: a queue of 50 downloads would be
    assert server.process.poll() is None
    assert "Traceback" not in server.output()


def test_no_file_stays_open(server, clips):
    """Clients that hang up in the middle of a clip leave nothing behind."""
    host, port = server.url.removeprefix("http://").split(":")
    url = max(clips, key=lambda key: len(clips[key]))

    def begin():
        connection = socket.create_connection((host, int(port)))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # the server cannot get rid of it all
        connection.sendall(f"GET {url} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        return connection

    before = open_files(server.process.pid)
    connections = [begin() for _ in range(30)]
    assert open_files(server.process.pid) >= before + 30
    for connection in connections:
        connection.close()
    deadline = time.monotonic() + 10
    while open_files(server.process.pid) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert open_files(server.process.pid) <= before


def test_clips_asked_for_by_many_are_made_once(server):
    async def scene():
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            song = (await client.get("/api/room")).json()["songs"][0]
            body = {"song": song["id"], "listener": "N3", "start_s": 1, "duration_s": 2, "versions": ["remix:baseline"]}
            return await asyncio.gather(*(client.post("/api/clips", json=body) for _ in range(20)))

    answers = asyncio.run(scene())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["clips"][0]["url"] for answer in answers}) == 1
