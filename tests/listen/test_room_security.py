"""What every answer of the server tells a browser, what is not there, and whom the server refuses."""

import json
import shutil

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from room_client import Client, wanted

from cadenza_remix.listen import security
from cadenza_remix.listen.app import create_app, page_table
from cadenza_remix.listen.clips import ClipStore, RenderPool
from cadenza_remix.listen.library import Library
from cadenza_remix.listen.security import HEADERS, MOST_JSON_BYTES, without_folders
from cadenza_remix.runs.finished import find_runs

RATE = 44_100
FREQUENCIES = [250, 500, 1000, 2000, 4000, 8000]
EAR = {"frequencies_hz": FREQUENCIES, "levels_db_hl": [10, 20, 30, 40, 50, 60]}


NOT_THERE = [
    "/none", "/docs", "/redoc", "/openapi.json", "/api", "/api/", "/api/none", "/pages", "/pages/", "/pages/none.js",
    "/pages/../app.py", "/pages/..%2fapp.py", "/pages/%2e%2e/app.py", "/pages/..\\app.py", "/pages//etc/passwd",
    "/clips", "/clips/", "/clips/none.flac", "/clips/..%2f..%2fetc%2fpasswd", "/clips/" + "0" * 32 + ".flac",
    "/api/songs/..%2f/versions?listener=L5040", "/api/songs/none/versions?listener=L5040", "/admin", "/t/token",
    "/api/uploads/token", "/pages/room.html%00.js", "/pages/__init__.py",
]  # fmt: skip


@pytest.mark.parametrize("path", NOT_THERE)
def test_nothing_else_is_there(room, path):
    answer = room.get(path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}
    for name, value in HEADERS.items():
        assert answer.headers[name] == value


def test_pages_come_from_the_table(room):
    names = sorted(page_table())
    assert {"room.html", "landing.html", "common.css", "player.js"} <= set(names)
    for name in names:
        answer = room.get(f"/pages/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] in {
            "text/html", "text/css", "text/javascript", "image/svg+xml",
        }  # fmt: skip
        assert answer.headers["cache-control"] == "no-cache"
        again = room.get(f"/pages/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert room.get("/").content == room.get("/pages/room.html").content
    assert room("HEAD", "/").content == b""


def test_pages_obey_their_own_policy():
    """Nothing inline and nothing from elsewhere: the policy would stop it, silently for whoever wrote it."""
    for name, entry in page_table().items():
        if name.endswith(".html"):
            text = entry.read_text(encoding="utf-8")
            for piece in ("<style", " style=", "onclick=", "onload=", "javascript:", 'src="http', 'href="http'):
                assert piece not in text, name
            assert text.count("<script") == text.count('<script type="module" src="/pages/'), name


ANSWERS = {
    "page": ("GET", "/", {}),
    "api": ("GET", "/api/room", {}),
    "no such page": ("GET", "/none", {}),
    "wrong method": ("POST", "/api/room", {"json": {}}),
    "other host": ("GET", "/", {"host": "evil.example"}),
    "no json": ("POST", "/api/clips", {"content": b"a", "headers": {"content-type": "text/plain"}}),
    "wrong json": ("POST", "/api/clips", {"json": {}}),
    "other origin": ("POST", "/api/clips", {"json": {}, "headers": {"origin": "http://evil.example"}}),
    "too large": ("POST", "/api/clips", {"content": b" " * 100_000, "headers": {"content-type": "application/json"}}),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_every_answer_has_the_headers(room, case):
    method, path, options = ANSWERS[case]
    answer = room(method, path, **options)
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value]
    assert answer.headers["cache-control"] in ("no-store", "no-cache")
    assert "server" not in answer.headers
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8765", "localhost:1", "LOCALHOST", "[::1]:8765"])
def test_names_of_this_machine_are_its_own(room, host):
    assert room.get("/api/room", host="127.0.0.1", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8765", "192.168.1.5", "", "a@127.0.0.1",
             "127.0.0.1/x", "127.0.0.1:x", "[::1", "0.0.0.0"],
)  # fmt: skip
def test_other_names_are_refused(room, host):
    answer = room.get("/api/room", headers={"host": host})
    assert answer.status_code == 400
    assert "does not go by that name" in answer.json()["error"]


def test_a_named_host_and_all_addresses(library, tmp_path):
    clips = ClipStore(tmp_path, max_bytes=10**6)
    with start_blocking_portal() as portal:
        named = Client(create_app(library=library, clips=clips, uploads=None, panel=None, host="lab.example"), portal)
        assert named.get("/api/room", headers={"host": "lab.example:80"}).status_code == 200
        assert named.get("/api/room", headers={"host": "192.168.1.5"}).status_code == 400
        everywhere = Client(create_app(library=library, clips=clips, uploads=None, panel=None, host="0.0.0.0"), portal)
        assert everywhere.get("/api/room", headers={"host": "192.168.1.5:8765"}).status_code == 200
        assert everywhere.get("/api/room", headers={"host": "lab.example"}).status_code == 400


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://127.0.0.1:8765", 200), ("https://127.0.0.1:8765", 200), ("http://127.0.0.1:9999", 403), ("null", 403),
     ("http://evil.example", 403), ("file://127.0.0.1:8765", 403), ("", 403)],
)  # fmt: skip
def test_what_changes_something_must_come_from_here(room, origin, status):
    answer = room.post("/api/listeners", {"left": EAR, "right": EAR}, headers={"origin": origin})
    assert answer.status_code == status
    assert room.get("/api/room", headers={"origin": origin}).status_code == 200


def test_one_origin_among_two_is_not_enough(room):
    headers = [("origin", "http://127.0.0.1:8765"), ("origin", "http://evil.example")]
    assert room.post("/api/listeners", {"left": EAR, "right": EAR}, headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403)]
)
def test_a_browser_that_tells_of_another_site_is_refused(room, site, status):
    headers = {"sec-fetch-site": site}
    assert room.post("/api/listeners", {"left": EAR, "right": EAR}, headers=headers).status_code == status


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/xml"],
)
def test_forms_of_other_pages_are_refused(room, kind):
    content = json.dumps({"left": EAR, "right": EAR}).encode()
    answer = room("POST", "/api/listeners", content=content, headers={"content-type": kind} if kind else {})
    assert answer.status_code == 415
    empty = room("POST", "/api/listeners", headers={"content-type": kind or "text/plain"})
    assert empty.status_code == 415


def test_compressed_bodies_are_refused(room):
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert room("POST", "/api/listeners", content=b"{}", headers=headers).status_code == 415


async def pieces(n_bytes):
    for _ in range(0, n_bytes, 1000):
        yield b" " * 1000


def test_bodies_are_bounded_however_they_are_sent(room):
    headers = {"content-type": "application/json"}
    announced = room("POST", "/api/listeners", content=b" " * (MOST_JSON_BYTES + 1), headers=headers)
    assert announced.status_code == 413
    chunked = room("POST", "/api/listeners", content=pieces(MOST_JSON_BYTES + 2000), headers=headers)
    assert chunked.status_code == 413
    assert room("POST", "/api/listeners", content=pieces(10_000), headers=headers).status_code == 422


def test_a_body_that_does_not_come_is_not_waited_for(room, monkeypatch):
    monkeypatch.setattr(security, "BODY_WITHIN_S", 0.05)

    async def never():
        yield b"{"
        await anyio.sleep(30)

    answer = room("POST", "/api/listeners", content=never(), headers={"content-type": "application/json"})
    assert answer.status_code == 408


def test_too_much_at_once_is_refused_for_now(library, tmp_path):
    class Full(RenderPool):
        """As full as it gets."""

        def __init__(self):
            super().__init__(n_threads=1, most_waiting=0)
            self._n_waiting = 1

    clips = ClipStore(tmp_path, max_bytes=10**6)
    with start_blocking_portal() as portal:
        client = Client(create_app(library=library, clips=clips, uploads=None, panel=None, pool=Full()), portal)
        answer = client.post("/api/clips", wanted(library))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "try again" in answer.json()["error"]


def test_a_bug_is_one_line_for_the_client_and_a_traceback_in_the_log(library, tmp_path, capsys):
    app = create_app(library=library, clips=ClipStore(tmp_path, max_bytes=10**6), uploads=None, panel=None)

    @app.get("/api/bug")
    def bug():
        raise RuntimeError("a secret of /root")

    with start_blocking_portal() as portal:
        answer = Client(app, portal).get("/api/bug")
    assert answer.status_code == 500
    assert answer.json() == {"error": "something went wrong in the server; its log tells more"}
    assert answer.headers["content-security-policy"] == HEADERS["content-security-policy"]
    assert "RuntimeError: a secret of /root" in capsys.readouterr().err


def test_a_missing_file_is_told_without_its_folder(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "gone")
    library = Library.from_runs(find_runs(tmp_path / "gone"))
    library.songs[0].sources.mixture.unlink()
    app = create_app(library=library, clips=ClipStore(tmp_path / "clips", max_bytes=10**6), uploads=None, panel=None)
    with start_blocking_portal() as portal:
        answer = Client(app, portal).post("/api/clips", wanted(library, versions=["mixture"]))
    assert answer.status_code == 422
    assert "mixture.wav: file is missing" in answer.json()["error"]
    assert str(tmp_path) not in answer.text


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("/home/a b/c/song.wav: file is missing", "song.wav: file is missing"),
        ("song: expected 1/2 or and/or", "song: expected 1/2 or and/or"),
        ("cannot open '/srv/x/y.flac'", "cannot open 'y.flac'"),
        ("", ""),
    ],
)
def test_folders_are_left_out_of_messages(line, shown):
    assert without_folders(line) == shown
