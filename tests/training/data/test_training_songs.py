"""Excerpts of the stems of songs that a data set names."""

import pickle

import numpy as np
import pytest
import soundfile
from tiny_songs import tiny_stems, write_sound

from cadenza_remix.errors import InputError
from cadenza_remix.training.data.songs import StemFile, TrainingSong


def song_of(stems: dict[str, tuple[StemFile, ...]], *, n_samples: int = 8000, mixture=None) -> TrainingSong:
    return TrainingSong("a song", "train", stems, mixture, 8000, n_samples)


def test_files_of_a_stem_are_summed_and_mono_goes_to_both_channels(tmp_path):
    stereo = tiny_stems(1)["vocals"]
    mono = tiny_stems(2, n_channels=1)["vocals"]
    files = (StemFile(write_sound(tmp_path / "1.wav", stereo)), StemFile(write_sound(tmp_path / "2.wav", mono)))
    excerpt = song_of({"vocals": files}).read("vocals", 700, 300)
    assert excerpt.dtype == np.float32
    np.testing.assert_array_equal(excerpt, (stereo + mono)[700:1000])


def test_behind_the_end_there_are_zeros(tmp_path):
    samples = tiny_stems(1, n_samples=1000)["bass"]
    song = song_of({"bass": (StemFile(write_sound(tmp_path / "bass.wav", samples)),)}, n_samples=1000)
    excerpt = song.read("bass", 990, 50)
    np.testing.assert_array_equal(excerpt[:10], samples[990:])
    assert not excerpt[10:].any()
    assert excerpt.shape == (50, 2)
    assert not song.read("bass", 5000, 20).any()
    assert song.read("bass", 0, 0).shape == (0, 2)
    assert song.duration_s == 1000 / 8000


def test_the_mixture_is_read_like_a_stem(tmp_path):
    samples = tiny_stems(1)["other"]
    file = StemFile(write_sound(tmp_path / "mixture.flac", samples))
    np.testing.assert_array_equal(song_of({}, mixture=file).read("mixture", 5, 10), samples[5:15])
    with pytest.raises(InputError, match="unknown stem 'mixture'"):
        song_of({"other": (file,)}).read("mixture", 0, 1)


def test_a_song_goes_to_other_processes_and_cannot_be_changed(tmp_path):
    song = song_of({"bass": (StemFile(tmp_path / "bass.wav"),)})
    again = pickle.loads(pickle.dumps(song))
    assert again == song
    assert hash(again) == hash(song)
    with pytest.raises(TypeError):
        song.stems["drums"] = ()


@pytest.mark.parametrize("where", [{"start": -1, "n_samples": 5}, {"start": 0, "n_samples": -5}])
def test_senseless_excerpts_are_refused(tmp_path, where):
    song = song_of({"bass": (StemFile(write_sound(tmp_path / "bass.wav", tiny_stems(1)["bass"])),)})
    with pytest.raises(InputError, match="senseless excerpt"):
        song.read("bass", **where)


def test_unknown_stems_missing_and_broken_files_are_one_line(tmp_path):
    broken = tmp_path / "drums.wav"
    broken.write_bytes(b"RIFF, but not much of it" * 9)
    nan = np.zeros((100, 2), dtype=np.float32)
    nan[60, 1] = np.nan
    soundfile.write(tmp_path / "other.wav", nan, 8000, subtype="FLOAT")
    song = song_of({stem: (StemFile(tmp_path / f"{stem}.wav"),) for stem in ("vocals", "drums", "other")})
    with pytest.raises(InputError, match=r"a song: unknown stem 'drum'.*did you mean 'drums'"):
        song.read("drum", 0, 5)
    with pytest.raises(InputError, match=r"vocals\.wav: file is missing"):
        song.read("vocals", 0, 5)
    with pytest.raises(InputError, match=r"drums\.wav: cannot be read as audio"):
        song.read("drums", 0, 5)
    with pytest.raises(InputError, match="NaN or infinity at sample 60"):
        song.read("other", 40, 50)
    assert not song.read("other", 0, 60).any()
