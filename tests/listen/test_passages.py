"""Passages lie on the song's grid, whatever the file's rate, wherever they begin."""

import struct
import tracemalloc

import numpy as np
import pytest
import soundfile

from cadenza_remix.errors import InputError
from cadenza_remix.listen.passages import read_passage

RATE = 44_100
TONE_HZ = 997.0
RINGING = 1e-4
"""What a resampler's filter leaves 20 ms before and after a tone that begins or ends at once."""


def tone(times_s):
    return 0.5 * np.sin(2 * np.pi * TONE_HZ * times_s)


@pytest.fixture(params=[44_100, 32_000, 24_000, 48_000, 22_050], ids="{} Hz".format)
def file_of(request, tmp_path):
    def write(duration_s=3.0, begins_s=0.0):
        path = tmp_path / f"{begins_s}.wav"
        offset = int(begins_s * request.param)
        times_s = (offset + np.arange(int(duration_s * request.param))) / request.param
        left = tone(times_s)
        soundfile.write(path, np.stack([left, -left], axis=1), request.param, subtype="FLOAT")
        return path

    return write


@pytest.mark.parametrize("first", [0, 1, 4_410, 44_099, 61_234])
def test_samples_are_those_of_the_song(file_of, first):
    samples = read_passage(file_of(), first, 20_000)
    expected = tone((first + np.arange(20_000)) / RATE)
    inner = slice(400 if first < 400 else 0, None)  # a tone that begins at once rings in the resampler
    # soxr HQ keeps 20 bits in the band; one sample off would differ by up to 0.07.
    np.testing.assert_allclose(samples[inner, 0], expected[inner], atol=3e-5)
    np.testing.assert_allclose(samples[inner, 1], -expected[inner], atol=3e-5)


def test_passages_of_one_file_agree_where_they_overlap(file_of):
    path = file_of()
    one, other = read_passage(path, 30_000, 30_000), read_passage(path, 41_111, 10_000)
    np.testing.assert_allclose(one[11_111:21_111], other, atol=2e-6)


def test_a_file_that_begins_later_lies_where_it_belongs(file_of):
    path = file_of(begins_s=10.3)
    first = int(10.0 * RATE)
    samples = read_passage(path, first, 2 * RATE, begins_s=10.3)
    expected = tone((first + np.arange(2 * RATE)) / RATE)
    n_silent = int(0.3 * RATE)
    assert np.abs(samples[: n_silent - 1000]).max() < RINGING
    np.testing.assert_allclose(samples[n_silent + 1000 :, 0], expected[n_silent + 1000 :], atol=1e-4)


def test_outside_there_is_silence(file_of):
    path = file_of(duration_s=1.0)
    samples = read_passage(path, RATE - 1000, 3000)
    assert samples.shape == (3000, 2)
    assert samples[:500].any()
    assert np.abs(samples[2000:]).max() < RINGING
    assert not read_passage(path, 10 * RATE, 100).any()
    before = read_passage(path, -2000, 3000)
    assert np.abs(before[:1000]).max() < RINGING
    assert np.abs(before[2500:]).max() > 0.1


def test_one_channel_goes_to_both_ears(tmp_path):
    path = tmp_path / "mono.wav"
    soundfile.write(path, tone(np.arange(RATE) / RATE), RATE, subtype="FLOAT")
    samples = read_passage(path, 100, 1000)
    np.testing.assert_array_equal(samples[:, 0], samples[:, 1])
    assert samples.any()


@pytest.mark.parametrize("n_channels", [3, 6])
def test_more_than_two_channels_are_refused(tmp_path, n_channels):
    path = tmp_path / "surround.wav"
    soundfile.write(path, np.full((RATE, n_channels), 0.1), RATE)
    with pytest.raises(InputError, match=f"surround.wav: wrong number of channels: .*found {n_channels}"):
        read_passage(path, 100, 1000)


def test_a_stream_of_a_song_with_stems(song):
    from cadenza_remix.audio.io import load_stems

    whole = load_stems(song.path)["bass"].samples
    part = read_passage(song.path, 50_000, 7_000, stream_index=2)
    np.testing.assert_array_equal(part, whole[50_000:57_000])


def test_an_hour_of_music_costs_no_more_than_the_passage(tmp_path):
    path, begin, n_bytes = tmp_path / "hour.wav", 50 * 60 * RATE, 4 * 3600 * RATE
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + n_bytes, b"WAVE", b"fmt ", 16, 1, 2, RATE, 4 * RATE, 4,
                         16, b"data", n_bytes)  # fmt: skip
    with path.open("wb") as file:
        file.write(header)
        file.seek(len(header) + 4 * begin)
        file.write(np.full((RATE, 2), 16384, dtype="<i2").tobytes())
        file.truncate(len(header) + n_bytes)  # the rest takes no space on the disk
    tracemalloc.start()
    samples = read_passage(path, begin - 100, 1000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not samples[:100].any()
    np.testing.assert_array_equal(samples[100:], 0.5)
    assert peak_bytes < 5e6
