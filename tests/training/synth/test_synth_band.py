"""The synthetic band's data sets: exact sums, the same bytes from the same seed, going on after an interruption."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import soundfile

from cadenza_remix.errors import InputError
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
