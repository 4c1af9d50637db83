"""What the room does not do for ever: slow simulators, and work for those who have gone."""

import json
import threading

import anyio
import httpx
import pytest
from tiny_run import make_tiny_run

from cadenza_remix.listen import room_api
from cadenza_remix.listen.app import create_app
from cadenza_remix.listen.clips import ClipStore, RenderPool
from cadenza_remix.listen.library import Library
from cadenza_remix.runs.finished import find_runs


@pytest.fixture(scope="module")
def library(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("runs")
    make_tiny_run(folder, song, duration_s=1.0, chains=["baseline"], scored=False)
    return Library.from_runs(find_runs(folder))


def wanted(library, **changes):
    body = {"song": library.songs[0].id, "listener": "L5040", "start_s": 0, "duration_s": 0.5}
    return {**body, "versions": ["mixture"], "simulator": None, **changes}


def ask(app, method, path, body=None):
    async def send():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, json=body)

    return anyio.run(send)


def test_a_slow_simulator_says_so_and_is_limited(library, tmp_path, monkeypatch):
    monkeypatch.setattr(room_api, "simulator_names", lambda: ("simple", "msbg"))
    app = create_app(library=library, clips=ClipStore(tmp_path, max_bytes=10**7))
    simple, slow = ask(app, "GET", "/api/room").json()["simulators"]
    assert (simple["max_clip_s"], slow["max_clip_s"]) == (60, 15)
    assert "slow" in slow["label"]
    assert "15 s" in slow["label"]
    long = ask(app, "POST", "/api/clips", wanted(library, duration_s=15.1, simulator="msbg"))
    assert long.status_code == 422
    assert long.json()["error"] == "duration_s: too long for simulator msbg: expected at most 15 s, found 15.1 s"
    many = ask(app, "POST", "/api/clips", wanted(library, versions=["mixture"] * 5, simulator="msbg"))
    assert many.json()["error"] == "versions: too many for simulator msbg: expected at most 4, found 5"
    assert ask(app, "POST", "/api/clips", wanted(library, duration_s=15.1, simulator="simple")).status_code == 200


def test_what_nobody_waits_for_any_more_is_not_made(library, tmp_path):
    """A client that hangs up while its clips wait in the queue leaves room for others at once."""
    pool, clips = RenderPool(n_threads=1), ClipStore(tmp_path, max_bytes=10**7)
    app = create_app(library=library, clips=clips, pool=pool)
    body = json.dumps(wanted(library, versions=["mixture", "clean:drums"])).encode()
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    scope = {"type": "http", "method": "POST", "path": "/api/clips", "raw_path": b"/api/clips", "query_string": b"",
             "headers": headers, "http_version": "1.1", "scheme": "http", "asgi": {"version": "3.0"}}  # fmt: skip
    started, release = threading.Event(), threading.Event()

    def hold():
        started.set()
        assert release.wait(20)

    async def hang_up_while_another_works():
        messages = [{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}]

        async def receive():
            await anyio.sleep(0.05)
            return messages.pop(0)

        async def send(_):
            pass

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.run, hold)
            await anyio.to_thread.run_sync(started.wait)
            with anyio.fail_after(10):  # while the only thread is held
                await app(scope, receive, send)
            release.set()

    anyio.run(hang_up_while_another_works)
    pool.close(wait=True)
    assert list(tmp_path.iterdir()) == []
