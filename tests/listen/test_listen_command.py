"""``cadenza-remix listen`` as a user meets it: what it says, when it refuses, how it ends."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from listening_server import ListeningServer, listening_server
from tiny_run import make_tiny_run

REFUSED_LATE = ("--port", "0", "--separator", "spleeter:3stems")
"""What ends the command after it has told what it found: no server is needed to read that."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("runs") / "demo"
    make_tiny_run(folder, song, duration_s=1.0, scored=False)
    return folder


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The folder where the server puts what it makes while it runs."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def test_help_shows_room_and_analysis(call):
    status, shown, _ = call("--help")
    assert status == 0
    for piece in ("listen [RUN...] [OPTIONS]", "listen analyse", "--port", "--host", "--references", "--music",
                  "--separator", "--test", "--results", "--open", "Analyse a listening test"):  # fmt: skip
        assert piece in shown
    assert "TEST.sqlite" in call("analyse", "--help")[1]
    status, shown, _ = call()
    assert status == 2
    assert "Usage:" in shown


WRONG = {
    "no folder": (["none"], "none: not found"),
    "nothing in it": (["scratch"], "holds no results"),
    "unknown option": (["--prot", "1"], "No such option: --prot"),
    "a port that is none": (["demo", "--port", "70000"], "--port"),
    "neither run nor test": (["--port", "0"], "nothing to listen to"),
    "results without a test": (["demo", "--results", "a.sqlite"], "--results: belongs to a listening test"),
    "no test there": (["--test", "none.yaml"], "none.yaml"),
    "no host": (["demo", "--host", "no.such.host.invalid"], "--host no.such.host.invalid"),
    "no address of this machine": (["demo", "--host", "192.0.2.1"], "--host 192.0.2.1: cannot be listened on"),
    "unknown separator": (["demo", "--separator", "spleeter:3stems"], "unknown separator 'spleeter:3stems'"),
    "missing references": (["demo", "--references", "none"], "none: folder of references is missing"),
    "one run twice": (["demo", "demo"], "given twice"),
    "no answers": (["analyse", "none.sqlite"], "none.sqlite"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_calls_are_one_line(call, demo, tmp_path, scratch, monkeypatch, case):
    arguments, line = WRONG[case]
    (tmp_path / "demo").symlink_to(demo)
    monkeypatch.chdir(tmp_path)
    port = [] if "--port" in arguments or "analyse" in arguments else ["--port", "0"]
    status, _, errors = call(*arguments, *port)
    assert status == 2
    assert line in errors
    assert len(errors.strip().splitlines()) == 1
    assert list(scratch.iterdir()) == []


def test_a_port_in_use(call, demo):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, errors = call(demo, "--port", port)
    assert status == 2
    assert errors == f"cadenza-remix: error: port {port}: in use; --port 0 takes a free one\n"


def test_what_is_missing_is_told_with_the_way_to_get_it(call, demo, tmp_path):
    alone = shutil.copytree(demo / "baseline", tmp_path / "baseline")
    told = call(alone, *REFUSED_LATE)[1]
    assert "no mixture found (--music FILE, or --references DIR" in told
    assert "no clean stems found (--references DIR)" in told
    mixture = next((demo / "references").iterdir()) / "mixture.wav"
    told = call(alone, "--music", mixture.parent, *REFUSED_LATE)[1]
    assert "no mixture found" not in told
    assert "no clean stems found" in told
    told = call(alone, "--references", demo / "references", *REFUSED_LATE)[1]
    assert "no mixture found" not in told
    assert "no clean stems found" not in told
    assert "no separated stems kept" in told


def test_runs_of_several_folders_are_told_apart(call, demo, tmp_path):
    other = shutil.copytree(demo, tmp_path / "other")
    told = call(demo, other, *REFUSED_LATE)[1]
    assert "Systems: demo/baseline, demo/e016, other/baseline, other/e016" in told


def test_folders_of_one_name_are_told_apart_by_where_they_lie(call, demo, tmp_path):
    other = shutil.copytree(demo, tmp_path / "second" / demo.name)
    told = call(demo / "e016", other / "e016", *REFUSED_LATE)[1]
    assert f"Systems: {demo.parent.name}/demo/e016, second/demo/e016" in told


def test_what_a_killed_server_left_goes_and_ctrl_c_ends_promptly(demo, scratch):
    server = ListeningServer([demo, "--no-uploads"])
    server.kill()
    server.stop()
    (left,) = scratch.glob("cadenza-listen-*")
    server = ListeningServer([demo, "--no-uploads"])
    try:
        (folder,) = scratch.glob("cadenza-listen-*")
        assert folder != left
        assert folder.stat().st_mode & 0o077 == 0
        with httpx.Client(base_url=server.url, timeout=30) as client:
            song = client.get("/api/room").json()["songs"][0]["id"]
            body = {"song": song, "listener": "L5040", "start_s": 0, "duration_s": 1, "versions": ["mixture"]}
            assert client.post("/api/clips", json=body).status_code == 200
            assert len(list((folder / "clips").iterdir())) == 1
            began = time.monotonic()
            server.process.send_signal(signal.SIGINT)  # while a connection is open
            assert server.process.wait(timeout=20) == 0
            assert time.monotonic() - began < 15  # a second, but for what a busy machine has at hand
        assert not folder.exists()
        assert "Traceback" not in server.output()
        assert "error" not in server.output()
    finally:
        server.stop()


def test_it_tells_what_it_found_and_where_it_is_until_it_is_terminated(demo, scratch):
    with listening_server([demo, "--no-uploads"]) as server:
        assert server.output().splitlines() == [
            "Songs: Falcon - part 0",
            "Systems: baseline, e016",
            "Listeners: L5040, L5076",
            f"Listening room: http://127.0.0.1:{server.port} (Ctrl-C ends it)",
        ]
        page = httpx.get(server.url)
        room = httpx.get(f"{server.url}/api/room")
        assert page.status_code == room.status_code == 200
        assert room.json()["uploads"] is False
        assert "server" not in page.headers
        assert len(server.output().splitlines()) == 4  # no log of requests unless asked for
        server.process.terminate()
        assert server.process.wait(timeout=20) == 0
        assert list(scratch.glob("cadenza-listen-*")) == []


def test_all_addresses_are_warned_of_and_requests_logged_when_asked_for(demo):
    with listening_server([demo, "--no-uploads", "--host", "0.0.0.0", "--verbose"]) as server:
        assert "warning: --host 0.0.0.0: everybody who can reach this machine" in server.output()
        assert httpx.get(f"{server.url}/api/room").status_code == 200
        assert httpx.get(f"{server.url}/api/room", headers={"host": "evil.example"}).status_code == 400
        for secret in ("t/Sesame", "api/t/Sesame/trial?a=1", "api/uploads/Sesame"):
            httpx.get(f"{server.url}/{secret}")
        deadline = time.monotonic() + 5
        while "/api/uploads/..." not in server.output() and time.monotonic() < deadline:
            time.sleep(0.05)
        for line in ("GET /api/room", "GET /t/...", "GET /api/t/.../trial?a=1", "GET /api/uploads/..."):
            assert line in server.output()
        assert "Sesame" not in server.output()


def test_own_songs_can_be_brought(demo):
    with listening_server([demo, "--separator", "cadenza:mini"]) as server:
        room = httpx.get(f"{server.url}/api/room").json()
        assert room["uploads"] is True
        assert room["separator"] == "cadenza:mini"
        assert room["limits"]["max_upload_mb"] > 0
        assert ".mp3" in room["limits"]["upload_suffixes"]
        for name, kind in (("a.txt", "audio/mpeg"), ("a.mp3", "text/plain")):
            address = f"{server.url}/api/uploads?name={name}"
            assert httpx.post(address, content=b"x", headers={"content-type": kind}).status_code == 415


def test_without_its_packages_it_says_how_to_get_them(demo, tmp_path):
    """As in an environment without the extra: the same interpreter, blind to two packages."""
    blocker = "import sys, importlib.abc\nclass No(importlib.abc.MetaPathFinder):\n"
    blocker += "    def find_spec(self, name, path=None, target=None):\n        if name in ('fastapi', 'uvicorn'):\n"
    blocker += "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
    (tmp_path / "sitecustomize.py").write_text(blocker + "sys.meta_path.insert(0, No())\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    command = [sys.executable, "-m", "cadenza_remix", "listen", demo]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert result.returncode == 2
    expected = "listen needs fastapi: pip install '.[listen]' in a clone, 'cadenza-remix[listen]' elsewhere\n"
    assert result.stderr == f"cadenza-remix: error: {expected}"


def test_help_loads_no_server():
    code = "import sys, cadenza_remix.cli; print([m for m in ('fastapi', 'uvicorn', 'pydantic') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
