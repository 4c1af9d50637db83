"""Excerpts of files by seek: the same samples as the whole file has at this place."""

from pathlib import Path

import numpy as np
import pytest
from tiny_songs import write_m4a, write_sound

from cadenza_remix.audio.reading import file_properties, read_blocks
from cadenza_remix.audio.seeking import read_excerpt
from cadenza_remix.demo import demo_song
from cadenza_remix.errors import InputError

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


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {other}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9998 RTP/AVP 0\n",
}
ID3 = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)


@pytest.mark.parametrize("head", [b"", ID3], ids=["bare", "tagged"])
@pytest.mark.parametrize("name", ["a.m4a", "a.aac", "a.mp4", "a.mp3", "a.wav"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_what_would_lead_to_other_files_or_addresses_is_no_audio(tmp_path, kind, name, head):
    other = write_m4a(tmp_path / "other.m4a", music(RATE))
    path = tmp_path / name
    path.write_bytes(head + PLAYLISTS[kind].format(other=other.name).encode() + b"\n" * 2000)
    for read in (file_properties, lambda p: list(read_blocks(p)), lambda p: read_excerpt(p, 0, 10)):
        with pytest.raises(InputError, match=rf"{name}: cannot be read as audio"):
            read(path)


def test_a_name_that_looks_like_a_protocol_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_m4a(tmp_path / "a.m4a", music(RATE)).rename("concat:a|b.m4a")
    assert file_properties(path).sample_rate == RATE
