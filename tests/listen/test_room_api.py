"""The room's API from outside: what it gives, what it refuses, and what every answer tells a browser."""

import io
import json
import shutil
import time

import anyio
import httpx
import numpy as np
import pytest
import soundfile
from anyio.from_thread import start_blocking_portal
from tiny_run import make_tiny_run

from cadenza_remix.audio.io import load_stems, write_stems
from cadenza_remix.audio.signal import Audio
from cadenza_remix.listen import security
from cadenza_remix.listen.app import create_app, page_table
from cadenza_remix.listen.clips import ClipStore, RenderPool
from cadenza_remix.listen.library import Library, System
from cadenza_remix.listen.security import HEADERS, MOST_JSON_BYTES, without_folders
from cadenza_remix.listen.versions import render
from cadenza_remix.remix import load_chain
from cadenza_remix.runs.finished import SongSources, find_runs

RATE = 44_100
FREQUENCIES = [250, 500, 1000, 2000, 4000, 8000]
EAR = {"frequencies_hz": FREQUENCIES, "levels_db_hl": [10, 20, 30, 40, 50, 60]}


class Client:
    """Asks an application as a browser on this machine would."""

    def __init__(self, app, portal):
        self.app = app
        self._portal = portal

    def __call__(self, method, path, *, host="127.0.0.1:8765", **options):
        async def send():
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
                return await client.request(method, path, **options)

        return self._portal.call(send)

    def get(self, path, **options):
        return self("GET", path, **options)

    def post(self, path, body=None, **options):
        return self("POST", path, json=body, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("runs")
    make_tiny_run(folder, song, duration_s=2.0, scored=False)
    return folder


@pytest.fixture(scope="module")
def library(folder):
    return Library.from_runs(find_runs(folder))


@pytest.fixture(scope="module")
def room(library, tmp_path_factory):
    clips = ClipStore(tmp_path_factory.mktemp("clips"), max_bytes=10**8)
    with start_blocking_portal() as portal:
        yield Client(create_app(library=library, clips=clips, uploads=None, panel=None), portal)


def wanted(library, **changes):
    song = library.songs[0].id if library.songs else None
    body = {"song": song, "listener": "L5040", "start_s": 0.25, "duration_s": 1.0}
    return {**body, "versions": ["mixture", "remix:e016"], "simulator": None, **changes}


def test_the_room(room, library):
    answer = room.get("/api/room")
    assert answer.status_code == 200
    found = answer.json()
    song = library.songs[0]
    assert found["songs"] == [
        {"id": song.id, "name": song.name, "duration_s": song.duration_s, "has_clean": True, "is_upload": False}
    ]
    assert [system["name"] for system in found["systems"]] == ["baseline", "e016"]
    assert found["systems"][1]["chain"]["band_pass"]["low_hz"] == 250
    assert [(listener["id"], listener["severity"]) for listener in found["listeners"]] == [
        ("L5040", "moderate"), ("L5076", "mild"),
    ]  # fmt: skip
    assert found["listeners"][0]["left"]["frequencies_hz"][0] == 250
    assert [entry["id"] for entry in found["standard_audiograms"]][:2] == ["N1", "N2"]
    assert found["simulators"][0]["id"] == "simple"
    assert found["limits"]["max_clip_s"] == 60
    assert found["uploads"] is False
    assert found["separator"] is None


def test_versions(room, library):
    found = room.get(f"/api/songs/{library.songs[0].id}/versions", params={"listener": "N4"}).json()
    assert found[0] == {
        "id": "mixture", "label": "Mixture", "group": "Unprocessed", "start_s": 0.0,
        "end_s": library.songs[0].duration_s,
    }  # fmt: skip
    assert len(found) == 29


def test_clips_hold_what_is_rendered(room, library):
    answer = room.post("/api/clips", wanted(library))
    assert answer.status_code == 200
    found = answer.json()
    assert (found["sample_rate"], found["n_samples"]) == (RATE, RATE)
    assert [clip["version"] for clip in found["clips"]] == ["mixture", "remix:e016"]
    for clip in found["clips"]:
        file = room.get(clip["url"])
        assert (file.status_code, file.headers["content-type"]) == (200, "audio/flac")
        samples, rate = soundfile.read(io.BytesIO(file.content), dtype="float32")
        assert rate == RATE
        listener = library.listener("L5040")
        expected = render(library, library.songs[0], clip["version"], listener, start_s=0.25, duration_s=1.0).samples
        np.testing.assert_allclose(samples * clip["scale_lin"], expected, atol=1.01 * clip["scale_lin"] / 32768)
        assert clip["peak_lin"] == pytest.approx(np.abs(expected).max())
        assert -40 < clip["loudness_lufs"] < 0


def test_clips_are_made_once(room, library):
    one, other = (room.post("/api/clips", wanted(library)).json() for _ in range(2))
    assert one == other
    for change in ({"start_s": 0.5}, {"duration_s": 0.5}, {"listener": "N1"}, {"simulator": "simple"}):
        assert room.post("/api/clips", wanted(library, **change)).json()["clips"][1] not in one["clips"]


def test_a_clip_in_parts(room, library):
    url = room.post("/api/clips", wanted(library)).json()["clips"][0]["url"]
    whole = room.get(url)
    assert whole.headers["cache-control"] == "private, max-age=86400, immutable"
    part = room.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["etag"] == whole.headers["etag"]
    head = room("HEAD", url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))


def test_silence_has_no_loudness(room, library, tmp_path):
    soundfile.write(tmp_path / "own.wav", np.zeros((RATE, 2)), RATE)
    song = library.add_song("silent", SongSources(mixture=tmp_path / "own.wav"), 1.0)
    body = wanted(library, song=song.id, start_s=0, versions=["mixture"])
    clip = room.post("/api/clips", body).json()["clips"][0]
    assert (clip["loudness_lufs"], clip["peak_lin"], clip["scale_lin"]) == (None, 0.0, 1.0)
    other = room.post("/api/clips", wanted(library)).json()["clips"][0]
    assert room.get(clip["url"]).status_code == 200
    library.remove_song(song.id)
    assert room.get(clip["url"]).status_code == 404  # with a visitor's song go its clips
    assert room.get(other["url"]).status_code == 200


def test_an_audiogram_of_ones_own_is_heard(room, library):
    answer = room.post("/api/listeners", {"left": EAR, "right": EAR})
    assert answer.status_code == 200
    listener = answer.json()
    assert listener["id"].startswith("custom-")
    assert listener["severity"] == "moderate"
    assert listener["left"] == EAR
    clips = room.post("/api/clips", wanted(library, listener=listener["id"])).json()["clips"]
    known = room.post("/api/clips", wanted(library)).json()["clips"]
    assert clips[1]["peak_lin"] != known[1]["peak_lin"]
    assert room.get("/api/room").json()["listeners"] == room.get("/api/room").json()["listeners"][:2]


def test_an_audiogram_of_ones_own_is_heard_within_three_seconds(song, tmp_path):
    """Thirty seconds of music for a new audiogram, from the request to the address of the clip."""
    stems = {name: Audio(np.tile(audio.samples, (7, 1)), RATE) for name, audio in load_stems(song.path).items()}
    write_stems(tmp_path / "stems", stems)
    library = Library(systems=[System("e016", load_chain("e016"), None)])
    own = library.add_song("long", SongSources(kept_stems=tmp_path / "stems"), stems["bass"].duration_s)
    app = create_app(library=library, clips=ClipStore(tmp_path / "clips", max_bytes=10**9), uploads=None, panel=None)
    seconds = []
    with start_blocking_portal() as portal:
        client = Client(app, portal)
        for level_db in (5, 15, 25):  # the best of three: the machine may be busy
            began = time.monotonic()
            ear = {**EAR, "levels_db_hl": [level_db] * len(FREQUENCIES)}
            listener = client.post("/api/listeners", {"left": ear, "right": EAR}).json()["id"]
            changes = {"song": own.id, "listener": listener, "start_s": 11.0, "duration_s": 30.0}
            answer = client.post("/api/clips", wanted(library, **changes, versions=["remix:e016"]))
            seconds.append(time.monotonic() - began)
            assert answer.json()["n_samples"] == 30 * RATE
    assert min(seconds) < 3


def test_uploads_are_not_listed(room, library):
    song = library.add_song("secret song", SongSources(), 3.0)
    assert "secret" not in room.get("/api/room").text
    assert room.get(f"/api/songs/{song.id}/versions?listener=L5040").json() == []
    library.remove_song(song.id)
    assert room.get(f"/api/songs/{song.id}/versions?listener=L5040").status_code == 404


WRONG_CLIPS = {
    "unknown song": ({"song": "song-none"}, 404, "unknown song"),
    "unknown listener": ({"listener": "L1"}, 404, "unknown listener"),
    "unknown version": ({"versions": ["remix:e015"]}, 404, "unknown version"),
    "a path as version": ({"versions": ["../../../etc/passwd"]}, 404, "unknown version"),
    "a path as song": ({"song": "../references"}, 404, "unknown song"),
    "unknown key": ({"volume": 1}, 422, "volume: unknown key"),
    "negative start": ({"start_s": -1}, 422, "start_s"),
    "after the end": ({"start_s": 100}, 422, "begins after the song"),
    "no length": ({"duration_s": 0}, 422, "duration_s"),
    "too long": ({"duration_s": 61}, 422, "duration_s"),
    "no versions": ({"versions": []}, 422, "versions"),
    "too many versions": ({"versions": ["mixture"] * 100}, 422, "versions"),
    "versions are text": ({"versions": "mixture"}, 422, "versions"),
    "unknown simulator": ({"simulator": "none"}, 422, "unknown simulator"),
    "a number as song": ({"song": 5}, 422, "song"),
    "text as a number": ({"start_s": "0"}, 422, "start_s"),
    "a truth as a number": ({"duration_s": True}, 422, "duration_s"),
    "a long id": ({"song": "x" * 1000}, 422, "song"),
}


@pytest.mark.parametrize("case", WRONG_CLIPS)
def test_wrong_clips_are_refused_in_one_line(room, library, case):
    change, status, line = WRONG_CLIPS[case]
    answer = room.post("/api/clips", wanted(library, **change))
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    assert line in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


WRONG_LISTENERS = {
    "missing ear": {"left": EAR},
    "unknown key": {"left": EAR, "right": EAR, "name": "me"},
    "unknown key inside": {"left": {**EAR, "x": 1}, "right": EAR},
    "unequal lengths": {"left": {**EAR, "levels_db_hl": [1, 2]}, "right": EAR},
    "levels of no ear": {"left": {**EAR, "levels_db_hl": [1, 2, 3, 4, 5, 600]}, "right": EAR},
    "unsorted": {"left": {**EAR, "frequencies_hz": FREQUENCIES[::-1]}, "right": EAR},
    "text": {"left": {**EAR, "levels_db_hl": ["a"] * 6}, "right": EAR},
    "numbers as text": {"left": {**EAR, "levels_db_hl": ["1"] * 6}, "right": EAR},
    "below all hearing": {"left": {**EAR, "frequencies_hz": [1e-300, *FREQUENCIES[1:]]}, "right": EAR},
    "above all hearing": {"left": {**EAR, "frequencies_hz": [*FREQUENCIES[:-1], 1e300]}, "right": EAR},
    "too many": {"left": {"frequencies_hz": list(range(100, 200)), "levels_db_hl": [0] * 100}, "right": EAR},
    "no object": [],
}


@pytest.mark.parametrize("case", WRONG_LISTENERS)
def test_wrong_audiograms_are_refused(room, case):
    answer = room.post("/api/listeners", WRONG_LISTENERS[case])
    assert answer.status_code == 422
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("text", ["", "{", "NaN", "[1", '{"left": NaN}', "\xff", "{" * 5000])
def test_what_is_no_json_is_refused(room, text):
    content = text.encode("latin-1")
    answer = room("POST", "/api/listeners", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert set(answer.json()) == {"error"}


def test_infinite_levels_are_refused(room):
    body = json.dumps({"left": {**EAR, "levels_db_hl": [0, 0, 0, 0, 0, float("inf")]}, "right": EAR})
    answer = room("POST", "/api/listeners", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422


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
        answer = Client(app, portal).post("/api/clips", wanted(library))
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


def test_a_test_alone_has_a_page_that_says_so(tmp_path):
    app = create_app(library=None, clips=ClipStore(tmp_path, max_bytes=10**6), uploads=None, panel=None)
    with start_blocking_portal() as portal:
        client = Client(app, portal)
        assert "the link that you were given" in client.get("/").text
        assert client.get("/api/room").status_code == 404
