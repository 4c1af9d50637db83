"""The room's API from outside: what it gives, and what it refuses."""

import io
import json

import numpy as np
import pytest
import soundfile
from anyio.from_thread import start_blocking_portal
from room_client import Client, wanted

from cadenza_remix.listen.app import create_app
from cadenza_remix.listen.clips import ClipStore
from cadenza_remix.listen.versions import render
from cadenza_remix.runs.finished import SongSources

RATE = 44_100
FREQUENCIES = [250, 500, 1000, 2000, 4000, 8000]
EAR = {"frequencies_hz": FREQUENCIES, "levels_db_hl": [10, 20, 30, 40, 50, 60]}


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


def test_a_test_alone_has_a_page_that_says_so(tmp_path):
    app = create_app(library=None, clips=ClipStore(tmp_path, max_bytes=10**6), uploads=None, panel=None)
    with start_blocking_portal() as portal:
        client = Client(app, portal)
        assert "the link that you were given" in client.get("/").text
        assert client.get("/api/room").status_code == 404
