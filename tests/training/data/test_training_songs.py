"""Excerpts of songs by seek: the same samples as the whole file has at this place."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_songs import tiny_stems, write_m4a, write_sound

from cadenza_remix.audio.reading import read_blocks
from cadenza_remix.demo import demo_song
from cadenza_remix.errors import InputError
from cadenza_remix.training.data.seeking import read_excerpt
from cadenza_remix.training.data.songs import StemFile, TrainingSong

RATE = 44100


def music(n_samples: int, n_channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(5)
    tones = np.sin(np.arange(n_samples)[:, None] * np.array([0.03, 0.041])[:n_channels])
    return (0.3 * tones + 0.05 * rng.standard_normal((n_samples, n_channels))).astype(np.float32)


def places(n_samples: int) -> list[tuple[int, int]]:
    """Starts and lengths: the beginning, frame borders, anywhere, over the end, behind it."""
    rng = np.random.default_rng(1)
    anywhere = [(int(start), 3000) for start in rng.integers(0, n_samples - 3000, 12)]
    borders = [(0, 10), (1, 1), (1023, 2), (1024, 1024), (1152, 2000), (4095, 4097), (20000, 9000)]
    return [*borders, *anywhere, (n_samples - 10, 10), (n_samples - 5, 100), (n_samples - 1, 1), (n_samples + 7, 5)]


def assert_exact(path: Path, stream_index: int = 0) -> None:
    whole = np.concatenate(list(read_blocks(path, stream_index=stream_index)))
    for start, n_samples in places(len(whole)):
        excerpt = read_excerpt(path, start, n_samples, stream_index=stream_index)
        np.testing.assert_array_equal(excerpt, whole[start : start + n_samples], err_msg=f"{path.name} at {start}")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
def test_seeking_gives_the_samples_of_the_whole_file(tmp_path, name):
    assert_exact(write_sound(tmp_path / name, music(3 * RATE), RATE))


def test_seeking_in_coded_audio_of_mp4_is_exact(tmp_path):
    assert_exact(write_m4a(tmp_path / "a.m4a", music(3 * RATE)))


@pytest.mark.parametrize("stream_index", [0, 1, 4])
def test_seeking_in_a_stem_mp4_is_exact(stream_index):
    assert_exact(demo_song().path, stream_index)


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


def test_a_file_that_is_cut_off_is_no_silence(tmp_path):
    whole = demo_song().path.read_bytes()
    (tmp_path / "a.stem.mp4").write_bytes(whole[: len(whole) // 2])
    assert read_excerpt(tmp_path / "a.stem.mp4", 0, 5000).any()
    with pytest.raises(InputError, match=r"a\.stem\.mp4: (file is cut off|cannot be read as audio)"):
        read_excerpt(tmp_path / "a.stem.mp4", 200_000, 5000)
    flac = write_sound(tmp_path / "a.flac", music(RATE), RATE)
    flac.write_bytes(flac.read_bytes()[:60_000])
    assert read_excerpt(flac, 0, 5000).any()
    with pytest.raises(InputError, match=r"a\.flac: (file is cut off|cannot be read as audio)"):
        read_excerpt(flac, 40_000, 4000)


def test_a_stream_that_an_mp4_does_not_have_is_refused():
    with pytest.raises(InputError, match="too few audio streams"):
        read_excerpt(demo_song().path, 0, 5, stream_index=5)
