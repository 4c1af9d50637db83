"""The synthetic band's data sets: exact sums, the same bytes from the same seed, going on after an interruption."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cadenza_remix.errors import InputError, OutputError
from cadenza_remix.training.data.datasets import open_dataset
from cadenza_remix.training.own_folder import IN_USE, own_folder
from cadenza_remix.training.synth.band import synthesise_songs
from cadenza_remix.training.synth.writing import write_song

STEMS = ("vocals", "drums", "bass", "other")
SETTINGS = {"hours": 14 / 3600, "seed": 4, "engines": ("formant",), "n_workers": 1, "song_length_s": (8.0, 11.0)}
SETTINGS |= {"test_share": 0.5}


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def integers(path):
    return soundfile.read(path, dtype="int16", always_2d=True)[0].astype(np.int64)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("band") / "set"
    report = synthesise_songs(out, **SETTINGS)
    return out, report


def songs_of(out):
    return sorted(path.parent for path in out.glob("*/*/mixture.wav"))


def test_a_set_has_the_wanted_duration_and_layout(dataset):
    out, report = dataset
    assert (report.n_songs, report.n_made, report.n_train, report.n_test) == (2, 2, 1, 1)
    assert [str(song.relative_to(out)) for song in songs_of(out)] == ["test/band_00001", "train/band_00000"]
    lengths = [soundfile.info(song / "mixture.wav").duration for song in songs_of(out)]
    assert sum(lengths) == pytest.approx(report.duration_s, abs=0.001)
    assert report.duration_s >= 14
    for song in songs_of(out):
        facts = json.loads((song / "song.json").read_text())
        assert facts["tempo_bpm"] > 40
        assert facts["sections"][0]["first_bar"] == 0


def test_stems_add_up_to_the_mixture_exactly(dataset):
    for song in songs_of(dataset[0]):
        info = soundfile.info(song / "mixture.wav")
        assert (info.samplerate, info.channels, info.subtype) == (44100, 2, "PCM_16")
        total = sum(integers(song / f"{stem}.wav") for stem in STEMS)
        np.testing.assert_array_equal(total, integers(song / "mixture.wav"))


def test_validation_songs_are_listed_and_lie_with_those_to_train_on(dataset, tmp_path):
    # Of a set in which every second song is for testing none is left for validation.
    out, report = dataset
    assert report.n_valid == 0
    assert {path.name for path in (out / "metadata").iterdir()} == {"musdb18.test.json", "musdb18.train.json"}
    assert {song.name: song.split for song in open_dataset(out)} == {"band_00000": "train", "band_00001": "test"}
    short = {"song_length_s": (5.0, 5.5), "test_share": 0.3, "hours": 8 / 3600}
    report = synthesise_songs(tmp_path / "set", **SETTINGS | short)
    assert (report.n_train, report.n_valid, report.n_test) == (1, 1, 0)
    lists = {
        path.name: [song["Track Name"] for song in json.loads(path.read_text())]
        for path in (tmp_path / "set" / "metadata").iterdir()
    }
    assert lists == {"musdb18.train.json": ["band_00000"], "musdb18.valid.json": ["band_00001"]}
    splits = {song.name: song.split for song in open_dataset(tmp_path / "set")}
    assert splits == {"band_00000": "train", "band_00001": "valid"}
    assert (tmp_path / "set/train/band_00001/mixture.wav").exists()


def test_workers_change_nothing(dataset, tmp_path):
    synthesise_songs(tmp_path / "set", **SETTINGS | {"n_workers": 2})
    assert digests(tmp_path / "set") == digests(dataset[0])


def workers_of(process_id):
    """Return the numbers of the processes that make songs, without the programs that look for voices."""
    found = []
    for number in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError):
            if b"runs.processes" in Path(f"/proc/{number}/cmdline").read_bytes():
                found.append(int(number))
    return found


def test_a_killed_worker_is_one_line_and_leaves_nothing_unfinished(tmp_path):
    command = [sys.executable, "-m", "cadenza_remix", "data", "synth", "--out", "set", "--hours", "0.2"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (workers := workers_of(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(workers[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
    lines = [line for line in errors.splitlines() if "Making songs" not in line]
    assert process.returncode == 2
    assert len(lines) == 1, errors
    assert lines[0].startswith("cadenza-remix: error: the worker ended without an answer: found SIGKILL")
    assert not list(tmp_path.glob("set/*/.*"))
    assert not (tmp_path / "set" / IN_USE).exists()


def test_more_than_the_disk_holds_is_refused_before_anything_is_planned(tmp_path):
    began = time.monotonic()
    with pytest.raises(OutputError, match=r"not enough space for the songs: expected .* GB, found .* GB"):
        synthesise_songs(tmp_path / "set", **SETTINGS | {"hours": 1e9})
    assert time.monotonic() - began < 30
    assert list((tmp_path / "set").iterdir()) == []


def test_two_calls_in_one_folder_are_refused(tmp_path):
    (tmp_path / "set").mkdir()
    with own_folder(tmp_path / "set"), pytest.raises(InputError, match="works in this folder"):
        synthesise_songs(tmp_path / "set", **SETTINGS)


def test_levels_are_those_of_a_mix(dataset):
    for song in songs_of(dataset[0]):
        mixture = integers(song / "mixture.wav") / 32768
        assert np.abs(mixture).max() < 1
        assert -26 < 20 * np.log10(np.sqrt(np.mean(mixture**2))) < -11
        for stem in STEMS:
            level = np.sqrt(np.mean((integers(song / f"{stem}.wav") / 32768) ** 2))
            assert 20 * np.log10(level) > -50, stem


def test_a_deleted_song_is_made_again_with_the_same_bytes_and_no_other(dataset):
    out, _ = dataset
    before = digests(out)
    kept = (out / "train/band_00000/mixture.wav").stat().st_mtime_ns
    shutil.rmtree(out / "test/band_00001")
    report = synthesise_songs(out, **SETTINGS)
    assert report.n_made == 1
    assert digests(out) == before
    assert (out / "train/band_00000/mixture.wav").stat().st_mtime_ns == kept


def test_a_call_with_fewer_hours_leaves_the_set_as_it_is(dataset):
    out, whole = dataset
    before = digests(out)
    report = synthesise_songs(out, **SETTINGS | {"hours": 1 / 3600})
    assert (report.n_made, report.n_songs, report.duration_s) == (0, 2, whole.duration_s)
    assert digests(out) == before


def test_a_song_that_is_not_whole_is_made_again(dataset):
    out, _ = dataset
    before = digests(out)
    (out / "train/band_00000/bass.wav").unlink()
    assert synthesise_songs(out, **SETTINGS).n_made == 1
    assert digests(out) == before


def test_another_seed_gives_other_songs(dataset, tmp_path):
    synthesise_songs(tmp_path / "other", **SETTINGS | {"seed": 5, "hours": 1 / 3600})
    one, another = (integers(out / "train/band_00000/mixture.wav") for out in (dataset[0], tmp_path / "other"))
    n = min(len(one), len(another))
    assert not np.array_equal(one[:n], another[:n])


def test_songs_made_with_other_settings_are_not_mixed_in(dataset):
    with pytest.raises(InputError, match="made with another seed: expected 5, found 4"):
        synthesise_songs(dataset[0], **SETTINGS | {"seed": 5})


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"hours": 0}, "hours: not a duration: expected more than 0, found 0"),
        ({"hours": float("nan")}, "hours: not a duration: expected more than 0, found nan"),
        ({"seed": -1}, "seed: not a seed: expected 0 or more, found -1"),
        ({"n_workers": 0}, "workers: not a number of workers: expected 1 or more, found 0"),
        ({"test_share": 1}, "test share: not a share: expected 0 to below 1, found 1"),
        ({"song_length_s": (9, 8)}, "song length: not a range of durations"),
        ({"soundfont": "missing.sf2"}, "missing.sf2: no such SoundFont: expected a .sf2 file"),
        ({"samples": "missing"}, "missing: no such folder of samples"),
    ],
)
def test_senseless_settings_are_refused_in_one_line(tmp_path, change, line):
    with pytest.raises(InputError) as caught:
        synthesise_songs(tmp_path / "set", **SETTINGS | change)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "set").write_text("")
    with pytest.raises(InputError, match="set: is a file: expected a folder"):
        synthesise_songs(tmp_path / "set", **SETTINGS)


def test_a_file_that_is_no_soundfont_is_refused(tmp_path):
    (tmp_path / "no.sf2").write_bytes(b"not a SoundFont at all")
    with pytest.raises(InputError, match=r"no\.sf2: not a SoundFont"):
        synthesise_songs(tmp_path / "set", **SETTINGS | {"soundfont": tmp_path / "no.sf2"})


def test_a_song_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    loud = {stem: np.full((10, 2), 0.5, dtype=np.float32) for stem in STEMS}
    with pytest.raises(ValueError, match="do not fit into 16 bits"):
        write_song(tmp_path / "song", loud, {})
    assert list(tmp_path.iterdir()) == []
