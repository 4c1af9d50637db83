import os
import struct
import threading
import tracemalloc

import numpy as np
import pytest
import soundfile

from cadenza_remix.audio.io import load_audio
from cadenza_remix.audio.reading import AheadBlocks, CountedBlocks, FileBlocks, in_blocks_of
from cadenza_remix.audio.resample import ResampledBlocks, resample_blocks, resample_samples
from cadenza_remix.errors import InputError

RATE = 44100


def noise(n_samples, n_channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n_samples, n_channels)).astype(np.float32)


def joined(source):
    return np.concatenate(list(source.blocks()))


def write_m4a(path, samples):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), "fltp", "stereo")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "ogg", "mp3", "m4a"])
@pytest.mark.parametrize("block_length", [777, 4096, 1 << 18])
def test_blocks_are_the_whole_file(tmp_path, suffix, block_length):
    path = tmp_path / f"a.{suffix}"
    if suffix == "m4a":
        write_m4a(path, noise(20_000))
    else:
        soundfile.write(path, noise(20_000), RATE)
    source = FileBlocks.of(path, block_length=block_length)
    assert {len(block) for block in list(source.blocks())[:-1]} <= {block_length}
    whole = load_audio(path, sample_rate=None).samples
    np.testing.assert_array_equal(joined(source), whole)
    np.testing.assert_array_equal(joined(source), whole)  # from the beginning again
    assert (source.sample_rate, source.n_channels, source.name) == (RATE, 2, str(path))
    assert source.duration_s == pytest.approx(20_000 / RATE, abs=0.1)  # coders pad


def test_the_mixture_of_a_stem_mp4(song):
    np.testing.assert_array_equal(joined(FileBlocks.of(song.path)), load_audio(song.path).samples)


def test_mono_is_two_equal_channels(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(5000, 1), RATE, subtype="FLOAT")
    source = FileBlocks.of(tmp_path / "a.wav")
    assert source.n_channels == 1
    np.testing.assert_array_equal(joined(source), np.repeat(noise(5000, 1), 2, axis=1))


@pytest.mark.parametrize("block_length", [333, 10_000, 1 << 18])
@pytest.mark.parametrize("rate", [48000, 22050, 96000])
def test_resampling_by_blocks_is_that_of_the_whole(tmp_path, rate, block_length):
    soundfile.write(tmp_path / "a.wav", noise(30_001), rate)
    source = ResampledBlocks(FileBlocks.of(tmp_path / "a.wav", block_length=block_length), RATE)
    assert source.sample_rate == RATE
    np.testing.assert_array_equal(joined(source), load_audio(tmp_path / "a.wav", sample_rate=RATE).samples)


@pytest.mark.parametrize("rate", [8000, 22050, 44101, 48000, 96000, 192_000])
@pytest.mark.parametrize("n_samples", [10, 1001, 65_537])
def test_there_and_back_has_the_same_length(rate, n_samples):
    samples = noise(n_samples)
    there = resample_samples(samples, rate, RATE)
    back = np.concatenate(list(resample_blocks([there], RATE, rate, n_samples=lambda: n_samples)))
    assert len(back) == n_samples
    expected = resample_samples(there, RATE, rate)
    shorter = min(len(expected), n_samples)
    np.testing.assert_array_equal(back[:shorter], expected[:shorter])


def test_a_song_too_short_for_its_rate(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1), 192_000)
    with pytest.raises(InputError, match=r"a\.wav: is too short"):
        joined(ResampledBlocks(FileBlocks.of(tmp_path / "a.wav"), RATE))


def damaged_files(folder):
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("hello")
    (folder / "noise.m4a").write_bytes(bytes(range(256)) * 10)
    (folder / "noise.mp3").write_bytes(b"\0" * 3000)
    soundfile.write(folder / "six.wav", np.zeros((100, 6)), RATE)
    soundfile.write(folder / "nothing.wav", np.zeros((0, 2)), RATE)
    late = noise(5000)
    late[4321, 1] = np.inf
    soundfile.write(folder / "late.wav", late, RATE, subtype="FLOAT")
    for name in ("whole.wav", "whole.flac", "whole.aiff"):
        soundfile.write(folder / name, noise(20_000), RATE)
        (folder / name.replace("whole", "cut")).write_bytes((folder / name).read_bytes()[:50_000])
    (folder / "folder.wav").mkdir()
    return ["missing.wav", "empty.wav", "text.wav", "noise.m4a", "noise.mp3", "six.wav", "nothing.wav", "late.wav",
            "cut.wav", "cut.flac", "cut.aiff", "folder.wav"]  # fmt: skip


def test_damaged_files_are_told_as_those_read_whole(tmp_path):
    for name in damaged_files(tmp_path):
        with pytest.raises(InputError) as whole:
            load_audio(tmp_path / name, sample_rate=None)
        with pytest.raises(InputError) as caught:
            joined(FileBlocks.of(tmp_path / name, block_length=1000))
        assert str(caught.value) == str(whole.value)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_that_was_cut_off_says_by_how_much(tmp_path):
    damaged_files(tmp_path)
    with pytest.raises(InputError, match=r"cut\.wav: file is cut off: expected 20000 samples, found 12489"):
        joined(FileBlocks.of(tmp_path / "cut.wav"))
    with pytest.raises(InputError, match="NaN or infinity at sample 4321"):
        joined(FileBlocks.of(tmp_path / "late.wav", block_length=1000))


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
def test_coded_files_that_were_cut_off(tmp_path, suffix, n_channels, rate):
    path = tmp_path / f"a.{suffix}"
    for n_samples in (1, 500, 40_000):
        soundfile.write(path, noise(n_samples, n_channels), rate)
        assert len(joined(FileBlocks.of(path))) == n_samples
    data = path.read_bytes()
    for n_bytes in (len(data) * 2 // 3, len(data) - len(data) // 4):
        path.write_bytes(data[:n_bytes])
        with pytest.raises(InputError, match="file is cut off"):
            joined(FileBlocks.of(path, block_length=1000))


def test_an_mp3_that_does_not_count_its_frames_is_read_as_far_as_it_goes(tmp_path):
    soundfile.write(tmp_path / "a.mp3", noise(40_000), RATE)
    data = (tmp_path / "a.mp3").read_bytes()
    frame = data.index(b"\xff\xfb", 100)  # the one that follows the counting one
    (tmp_path / "a.mp3").write_bytes(data[frame : len(data) // 2])
    assert 5_000 < len(joined(FileBlocks.of(tmp_path / "a.mp3"))) < 40_000


def test_an_mp3_with_a_tag_before_it(tmp_path):
    soundfile.write(tmp_path / "a.mp3", noise(40_000), RATE)
    data = b"ID3\x04\0\0\0\0\x02\0" + bytes(256) + (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(data)
    assert len(joined(FileBlocks.of(tmp_path / "a.mp3"))) == 40_000
    (tmp_path / "a.mp3").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="file is cut off: expected 40000 samples"):
        joined(FileBlocks.of(tmp_path / "a.mp3"))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("suffix", ["wav", "aiff"])
@pytest.mark.parametrize("n_bytes", [1, 3, 5, 401])
def test_a_part_of_a_sample_is_missed(tmp_path, suffix, subtype, n_bytes):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(1001), RATE, subtype=subtype)
    path.write_bytes(path.read_bytes()[:-n_bytes])
    frame = 4 if subtype == "PCM_16" else 6
    expected = f"expected 1001 samples, found {(1001 * frame - n_bytes) // frame}$"
    with pytest.raises(InputError, match=expected):
        joined(FileBlocks.of(path))


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2_000_000_000])
def test_senseless_sample_rates(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", noise(100), rate)
    with pytest.raises(InputError, match=f"a.wav: senseless sample rate: expected 1000 to 768000 Hz, found {rate}$"):
        FileBlocks.of(tmp_path / "a.wav")


def test_pipes_and_devices_are_refused_unopened(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "pipe.wav")
    (tmp_path / "device.wav").symlink_to("/dev/zero")
    for name in ("pipe.wav", "link.wav", "device.wav"):
        with pytest.raises(InputError, match=f"{name}: is no plain file"):
            FileBlocks.of(tmp_path / name)
    with pytest.raises(InputError, match=r"cannot be read.*found File name too long"):
        FileBlocks.of(tmp_path / ("a" * 300 + ".wav"))


@pytest.mark.parametrize("announced", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000])
def test_a_wav_out_of_a_pipe_is_whole(tmp_path, announced):
    # Who writes to a pipe cannot come back to the header with the length.
    soundfile.write(tmp_path / "a.wav", noise(1000), RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[40:44] = struct.pack("<I", announced)
    (tmp_path / "a.wav").write_bytes(data)
    assert len(joined(FileBlocks.of(tmp_path / "a.wav"))) == 1000


def test_memory_does_not_grow_with_the_length(tmp_path):
    # Ten minutes: 100 MB as file, 200 MB as float32.
    with soundfile.SoundFile(tmp_path / "a.wav", "w", RATE, 2) as file:
        for _ in range(10):
            file.write(np.zeros((60 * RATE, 2), dtype=np.int16))
    tracemalloc.start()
    try:
        n_samples = sum(len(block) for block in AheadBlocks(FileBlocks.of(tmp_path / "a.wav")).blocks())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n_samples == 600 * RATE
    assert peak < 20e6  # eight blocks of 2 MB: four ahead, one on each side, their checks


def test_a_counted_source_knows_its_length_at_the_end(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(2500), RATE)
    source = CountedBlocks(FileBlocks.of(tmp_path / "a.wav", block_length=1000))
    blocks = source.blocks()
    next(blocks)
    assert source.n_samples is None
    list(blocks)
    assert source.n_samples == 2500


class Numbered:
    """Blocks of growing numbers, then perhaps an error; tells how far it was read."""

    name, sample_rate, duration_s = "numbers", RATE, None

    def __init__(self, n_blocks, error=None):
        self.n_blocks, self.error, self.n_read, self.closed = n_blocks, error, 0, False

    def blocks(self):
        try:
            for number in range(self.n_blocks):
                self.n_read += 1
                yield np.full((10, 2), number, dtype=np.float32)
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


def test_reading_ahead_gives_the_same_blocks_in_order():
    assert [block[0, 0] for block in AheadBlocks(Numbered(50)).blocks()] == list(range(50))


def test_an_error_of_the_reading_thread_comes_after_the_blocks_before_it():
    blocks = AheadBlocks(Numbered(3, InputError("broken"))).blocks()
    assert [next(blocks)[0, 0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="broken"):
        next(blocks)


def test_reading_stops_when_nobody_wants_more():
    source = Numbered(10**9)
    n_threads = threading.active_count()
    blocks = AheadBlocks(source, n_blocks=4).blocks()
    next(blocks)
    blocks.close()
    assert threading.active_count() == n_threads
    assert source.closed
    assert source.n_read <= 7  # one taken, four waiting, one in hand, one let go at the end


@pytest.mark.parametrize("lengths", [[1], [5, 5], [3, 17, 1, 1, 40], [100]])
def test_blocks_of_one_length(lengths):
    samples = noise(sum(lengths))
    given = np.split(samples, np.cumsum(lengths)[:-1])
    blocks = list(in_blocks_of(given, 7))
    assert all(len(block) == 7 for block in blocks[:-1])
    assert 0 < len(blocks[-1]) <= 7
    np.testing.assert_array_equal(np.concatenate(blocks), samples)
