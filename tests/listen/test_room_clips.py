"""Clips of several versions at once: one that fails is told, a replaced file is heard, and none is made twice."""

import os
import shutil

import numpy as np
import pytest
from anyio.from_thread import start_blocking_portal
from room_client import Client, wanted

from cadenza_remix.audio.io import load_audio, write_stems
from cadenza_remix.audio.signal import STEMS, Audio
from cadenza_remix.challenge.naming import scale_path
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError, OutputError
from cadenza_remix.listen import room_clips
from cadenza_remix.listen.app import create_app
from cadenza_remix.listen.clips import BusyError, ClipStore
from cadenza_remix.listen.library import Library
from cadenza_remix.listen.versions import origin_of, render, versions_of
from cadenza_remix.runs.finished import SongSources, find_runs

RATE = 44_100
FREQUENCIES = [250, 8000]
EAR = {"frequencies_hz": FREQUENCIES, "levels_db_hl": [20, 50]}


@pytest.fixture
def own(folder, tmp_path):
    """Return a library of files that a test may damage."""
    shutil.copytree(folder, tmp_path / "own")
    return Library.from_runs(find_runs(tmp_path / "own"))


@pytest.fixture
def store(tmp_path):
    return ClipStore(tmp_path / "clips", max_bytes=10**8)


@pytest.fixture
def client(own, store):
    with start_blocking_portal() as portal:
        yield Client(create_app(library=own, clips=store), portal)


def asked(client, library, *versions, **changes):
    """Return the URL of the clip of each version."""
    answer = client.post("/api/clips", wanted(library, versions=versions, **changes))
    assert answer.status_code == 200, answer.text
    assert answer.json()["failed"] == []
    return {clip["version"]: clip["url"] for clip in answer.json()["clips"]}


def remix_file(library, system, listener="L5040"):
    return library.system(system).run.remix_file(Pair(library.songs[0].name, listener))


def halved(path):
    """Replace an audio file by itself at half the level, as programs do that write beside it first."""
    audio = load_audio(path, sample_rate=None)
    write_stems(path.parent, {path.stem: Audio(audio.samples * np.float32(0.5), audio.sample_rate)})


def test_one_damaged_file_does_not_keep_the_others(own, client, tmp_path):
    file = remix_file(own, "baseline")
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    versions = ["remix:baseline", "remix:e016", "clean:bass", "mixture"]
    answer = client.post("/api/clips", wanted(own, versions=versions))
    assert answer.status_code == 200
    found = answer.json()
    assert [clip["version"] for clip in found["clips"]] == versions[1:]  # in the order asked for
    assert found["n_samples"] == RATE
    (failed,) = found["failed"]
    assert set(failed) == {"version", "error"}
    assert failed["version"] == "remix:baseline"
    assert failed["error"].startswith(f"{file.name}: cannot be read as audio")
    assert "\n" not in failed["error"]
    assert str(tmp_path) not in answer.text
    for clip in found["clips"]:
        assert client.get(clip["url"]).status_code == 200
    file.write_bytes(whole)
    again = asked(client, own, *versions)
    assert list(again) == versions
    assert [again[clip["version"]] for clip in found["clips"]] == [clip["url"] for clip in found["clips"]]


def test_where_nothing_can_be_made_the_first_error_is_the_answer(own, client):
    remix_file(own, "e016").write_bytes(b"fLaC")
    own.songs[0].sources.mixture.unlink()
    for versions, status, line in (
        (["mixture", "remix:e016"], 422, "mixture.wav: file is missing"),
        (["remix:e016", "mixture", "remix:none"], 422, "remix.flac: cannot be read"),
        (["remix:none", "mixture"], 404, "unknown version"),
    ):
        answer = client.post("/api/clips", wanted(own, versions=versions))
        assert answer.status_code == status
        assert set(answer.json()) == {"error"}
        assert line in answer.json()["error"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(BusyError(), 503), (RuntimeError("a bug"), 500), (OSError("a bug"), 500), (MemoryError(), 500)],
)
def test_what_no_version_is_to_blame_for_fails_them_all(own, client, monkeypatch, capsys, error, status):
    def fail(library, song, version, listener, **passage):
        if version == "clean:bass":
            raise error
        return render(library, song, version, listener, **passage)

    monkeypatch.setattr(room_clips, "render", fail)
    answer = client.post("/api/clips", wanted(own, versions=["mixture", "clean:bass"]))
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    capsys.readouterr()  # the traceback


@pytest.mark.parametrize("error", [InputError("of two\nlines", where="/srv/a b/c.wav"), OutputError("disk is full")])
def test_what_a_version_is_to_blame_for_is_one_line(own, client, monkeypatch, error):
    def fail(library, song, version, listener, **passage):
        if version == "clean:bass":
            raise error
        return render(library, song, version, listener, **passage)

    monkeypatch.setattr(room_clips, "render", fail)
    found = client.post("/api/clips", wanted(own, versions=["clean:bass", "mixture"])).json()
    line = str(error).replace("/srv/a b/", "")
    assert found["failed"] == [{"version": "clean:bass", "error": line}]


def test_a_file_that_is_replaced_is_heard_and_its_former_clip_stays_a_while(own, client):
    before = asked(client, own, "mixture", "clean:bass", "remix:e016")
    assert asked(client, own, "mixture", "clean:bass", "remix:e016") == before
    halved(own.songs[0].sources.mixture)
    after = asked(client, own, "mixture", "clean:bass", "remix:e016")
    assert after["mixture"] != before["mixture"]
    assert {**after, "mixture": before["mixture"]} == before  # the other files are as they were
    assert client.get(before["mixture"]).status_code == 200  # somebody may be hearing it
    clips = client.post("/api/clips", wanted(own, versions=["mixture"])).json()["clips"]
    mixture = load_audio(own.songs[0].sources.mixture).samples
    assert clips[0]["peak_lin"] == pytest.approx(np.abs(mixture[RATE // 4 : RATE // 4 + RATE]).max())


def test_neither_length_nor_time_tells_a_renamed_file_from_the_former_one(own, client):
    mixture = own.songs[0].sources.mixture
    before, status = asked(client, own, "mixture"), mixture.stat()
    halved(mixture)
    os.utime(mixture, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (mixture.stat().st_size, mixture.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert asked(client, own, "mixture") != before


def test_enhanced_stems_are_made_anew_with_file_or_scale(own, client):
    version = "stem:e016:left_drums"
    file = own.system("e016").run.stem_file(Pair(own.songs[0].name, "L5040"), "left", "drums")
    first = client.post("/api/clips", wanted(own, versions=[version])).json()["clips"][0]
    scale = float(scale_path(file).read_text())
    scale_path(file).write_text(f"{2 * scale:.9f}")
    second = client.post("/api/clips", wanted(own, versions=[version])).json()["clips"][0]
    assert second["peak_lin"] == pytest.approx(2 * first["peak_lin"], rel=1e-4)
    os.utime(file, ns=(1, 1))
    assert asked(client, own, version)[version] not in (first["url"], second["url"])


def test_what_is_made_live_is_made_anew_with_any_of_its_stems(own, client):
    """Clip store and kept passes both know when a stem was replaced."""
    listener = client.post("/api/listeners", {"left": EAR, "right": EAR}).json()["id"]
    versions = [
        "remix:baseline",
        "remix:clean:baseline",
        "stem:baseline:left_bass",
        "separated:drums",
        "separated:bass",
    ]

    def peaks():
        clips = client.post("/api/clips", wanted(own, versions=versions, listener=listener)).json()["clips"]
        return {clip["version"]: clip["peak_lin"] for clip in clips}

    before = peaks()
    status = (own.songs[0].sources.kept_stems / "drums.wav").stat()
    halved(own.songs[0].sources.kept_stems / "drums.wav")
    os.utime(own.songs[0].sources.kept_stems / "drums.wav", ns=(status.st_atime_ns, status.st_mtime_ns))
    after = peaks()
    assert after["separated:drums"] == pytest.approx(before["separated:drums"] / 2)
    assert abs(after["remix:baseline"] / before["remix:baseline"] - 1) > 0.01
    same = {version for version in versions if after[version] == before[version]}
    assert same == {"remix:clean:baseline", "stem:baseline:left_bass", "separated:bass"}
    halved(own.songs[0].sources.references / "vocals.wav")
    assert abs(peaks()["remix:clean:baseline"] / before["remix:clean:baseline"] - 1) > 0.01


def test_who_asks_after_a_file_has_gone_is_told_so(own, client):
    asked(client, own, "mixture", "separated:bass")
    own.songs[0].sources.mixture.unlink()
    (own.songs[0].sources.kept_stems / "bass.wav").unlink()
    found = client.post("/api/clips", wanted(own, versions=["mixture", "clean:bass", "separated:bass"])).json()
    lines = {failed["version"]: failed["error"] for failed in found["failed"]}
    assert lines["mixture"].startswith("mixture.wav: file is missing")
    assert "bass is missing" in lines["separated:bass"]
    assert [clip["version"] for clip in found["clips"]] == ["clean:bass"]


FOR_NOBODY = ["mixture", *(f"{kind}:{stem}" for kind in ("clean", "separated") for stem in STEMS)]


def test_what_is_the_same_for_all_listeners_is_made_once(own, client, store, tmp_path):
    drawn = client.post("/api/listeners", {"left": EAR, "right": EAR}).json()["id"]
    first = asked(client, own, *FOR_NOBODY)
    n_files = len(list((tmp_path / "clips").iterdir()))
    for listener in ("L5076", "N3", drawn):
        assert asked(client, own, *FOR_NOBODY, listener=listener) == first
    assert len(list((tmp_path / "clips").iterdir())) == n_files == len(FOR_NOBODY)


def test_through_a_simulator_each_listener_has_clips_of_their_own(own, client):
    heard = [
        asked(client, own, "mixture", listener=listener, simulator=simulator)["mixture"]
        for listener in ("L5040", "L5076")
        for simulator in (None, "simple")
    ]
    assert heard[0] == heard[2]
    assert len(set(heard)) == 3


def test_versions_of_one_origin_are_one_sound_and_all_others_have_their_own(library):
    """No listener hears what was made for another one, whatever the version."""
    song, passage = library.songs[0], {"start_s": 0.5, "duration_s": 0.25}
    known = library.listener("L5040")
    listeners = [known, library.listener("L5076"), library.listener("N5")]
    shared = []
    for version in versions_of(library, song, known):
        origins = [origin_of(library, song, version.id, listener) for listener in listeners]
        if len(set(origins)) == 1:
            shared.append(version.id)
            sounds = [render(library, song, version.id, listener, **passage).samples for listener in listeners]
            for sound in sounds[1:]:
                np.testing.assert_array_equal(sound, sounds[0])
        else:
            assert len(set(origins)) == 3
        heard = {origin_of(library, song, version.id, listener, simulator="simple") for listener in listeners}
        assert len(heard | set(origins)) == 3 + len(set(origins))
    assert sorted(shared) == sorted(FOR_NOBODY)


def test_with_an_upload_go_its_clips_for_all_listeners(own, client, tmp_path):
    sources = own.songs[0].sources
    upload = own.add_song("own", SongSources(sources.mixture, None, sources.kept_stems), 2.0)
    kept = asked(client, own, "mixture", "separated:bass")
    gone = []
    for change in ({}, {"listener": "N3"}, {"simulator": "simple"}, {"start_s": 0.5}):
        gone += asked(client, own, "mixture", "separated:bass", "remix:e016", song=upload.id, **change).values()
    assert not set(kept.values()) & set(gone)  # though the files are the same
    own.remove_song(upload.id)
    assert {client.get(url).status_code for url in gone} == {404}
    assert {client.get(url).status_code for url in kept.values()} == {200}
    assert len(list((tmp_path / "clips").iterdir())) == 2
