import threading
import time
import wave

import numpy as np
import pytest
import soundfile
from scipy.io import wavfile

from cadenza_remix.audio import writing
from cadenza_remix.audio.io import load_audio
from cadenza_remix.audio.writing import FORMATS, OutputFormat, open_writer, to_integers, written_behind
from cadenza_remix.errors import InputError

RATE = 44100
ALL = [(name, bits) for name, several in FORMATS.items() for bits in (several or (None,))]


def music(n_samples=50_000, n_channels=2, seed=0):
    t = np.arange(n_samples)[:, np.newaxis] / RATE
    tones = 0.4 * np.sin(2 * np.pi * 440 * t + np.arange(n_channels))
    rng = np.random.default_rng(seed)
    return (tones + rng.uniform(-0.05, 0.05, (n_samples, n_channels))).astype(np.float32)


def write(path, samples, output, *, block_length=1 << 15, rate=RATE):
    with open_writer(path, output, sample_rate=rate, n_channels=samples.shape[1]) as writer:
        for first in range(0, len(samples), block_length):
            writer.write(samples[first : first + block_length])
    return path


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize(("name", "bits"), ALL)
def test_what_is_written_can_be_read(tmp_path, name, bits, n_channels):
    samples = music(n_channels=n_channels)
    path = write(tmp_path / f"a.{name}", samples, OutputFormat(name, bits))
    back = load_audio(path, sample_rate=None)
    assert (back.sample_rate, back.samples.shape) == (RATE, samples.shape)
    # Half a step of the whole numbers, nothing of floats; what the coders leave out of noise is below a tenth here.
    tolerance = {"16": 0.5 / 2**15, "24": 0.5 / 2**23, "32f": 0.0, None: 0.1}[bits]
    assert np.abs(back.samples - samples)[4000:-4000].max() <= tolerance
    if bits is not None:
        assert np.abs(back.samples - samples).max() <= tolerance


def test_the_same_samples_give_the_same_bytes(tmp_path):
    first = [write(tmp_path / f"a.{name}", music(), OutputFormat(name, bits)).read_bytes() for name, bits in ALL]
    time.sleep(1.1)  # libsndfile would put the second into float WAVs, and seeds its random numbers by the clock
    again = [write(tmp_path / f"b.{name}", music(), OutputFormat(name, bits)).read_bytes() for name, bits in ALL]
    assert first == again


@pytest.mark.parametrize(("name", "bits"), [entry for entry in ALL if entry[0] != "ogg"])
def test_blocks_of_any_length_give_the_same_bytes(tmp_path, name, bits):
    # Not OGG, whose coder looks as far ahead as it is given: what is written there comes in blocks of one length.
    output = OutputFormat(name, bits)
    first = write(tmp_path / f"a.{name}", music(), output).read_bytes()
    assert write(tmp_path / f"b.{name}", music(), output, block_length=777).read_bytes() == first


def test_ogg_pages_without_the_random_number_are_sound(tmp_path):
    data = write(tmp_path / "a.ogg", music(200_000), OutputFormat("ogg")).read_bytes()
    first, n_pages = 0, 0
    while first < len(data):
        n_segments = data[first + 26]
        length = 27 + n_segments + sum(data[first + 27 : first + 27 + n_segments])
        page = bytearray(data[first : first + length])
        assert page[:4] == b"OggS"
        assert page[14:18] == bytes(4)
        checksum = int.from_bytes(page[22:26], "little")
        page[22:26] = bytes(4)
        assert checksum == slow_ogg_checksum(page)
        first += length
        n_pages += 1
    assert n_pages > 5


def slow_ogg_checksum(page):
    """As RFC 3533 has it, bit by bit."""
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = ((register << 1) ^ (0x04C11DB7 if register & 0x80000000 else 0)) & 0xFFFFFFFF
    return register


def test_whole_numbers_come_back_as_they_were(tmp_path):
    every = np.arange(-32768, 32768, dtype=np.int16).reshape(-1, 2)
    write(tmp_path / "a.wav", (every / 32768).astype(np.float32), OutputFormat("wav", "16"))
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.wav", dtype="int16")[0], every)
    write(tmp_path / "a.flac", (every / 32768).astype(np.float32), OutputFormat("flac", "16"))
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.flac", dtype="int16")[0], every)


def test_beyond_full_scale(tmp_path):
    loud = np.array([[1.0], [-1.0], [1.5], [-7.0], [0.5]], dtype=np.float32)
    np.testing.assert_array_equal(to_integers(loud, 16)[:, 0], [32767, -32768, 32767, -32768, 16384])
    np.testing.assert_array_equal(to_integers(loud, 24)[:, 0], [8388607, -8388608, 8388607, -8388608, 4194304])
    write(tmp_path / "a.wav", loud, OutputFormat("wav", "32f"))
    np.testing.assert_array_equal(load_audio(tmp_path / "a.wav", sample_rate=None).samples, loud)


@pytest.mark.parametrize("bits", ["16", "24", "32f"])
def test_other_programs_read_our_wav(tmp_path, bits):
    samples = music(1001, 1)  # an odd number of bytes with 24 bits
    path = write(tmp_path / "a.wav", samples, OutputFormat("wav", bits))
    assert path.stat().st_size % 2 == 0
    rate, back = wavfile.read(path)
    assert (rate, len(back)) == (RATE, 1001)
    assert soundfile.info(path).format == "WAV"
    if bits != "32f":
        with wave.open(str(path)) as file:
            assert (file.getnframes(), file.getsampwidth() * 8) == (1001, int(bits))


@pytest.mark.parametrize("bits", ["16", "32f"])
def test_a_wav_that_outgrows_its_header(tmp_path, monkeypatch, bits):
    # The real limit is 4 GB; the header is the same.
    monkeypatch.setattr(writing, "_RIFF_LIMIT", 100_000)
    path = write(tmp_path / "a.wav", music(), OutputFormat("wav", bits))
    assert path.read_bytes()[:4] == b"RF64"
    assert soundfile.info(path).format == "RF64"
    tolerance = 0.0 if bits == "32f" else 0.5 / 2**15
    assert np.abs(load_audio(path, sample_rate=None).samples - music()).max() <= tolerance


@pytest.mark.parametrize(("name", "bits"), ALL)
def test_a_full_disk_is_told_with_the_reason(tmp_path, name, bits):
    # /dev/full refuses every write as a full disk does.
    (tmp_path / f"a.{name}").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / f"a.{name}", music(), OutputFormat(name, bits))


@pytest.mark.parametrize(
    ("name", "bits", "words"),
    [
        ("flac", "32f", "flac: impossible number of bits: expected 16, 24, found 32f"),
        ("mp3", "16", "expected no bits"),
        ("wav", "8", "expected 16, 24, 32f, found 8"),
        ("aac", None, "unknown format 'aac': expected one of wav, flac, mp3, ogg"),
    ],
)
def test_impossible_formats(name, bits, words):
    with pytest.raises(InputError, match=words):
        OutputFormat(name, bits)


def test_impossible_rates(tmp_path):
    with pytest.raises(InputError, match=r"a\.wav: mp3 does not have this sample rate: .*48000 Hz, found 96000"):
        OutputFormat("mp3").check_rate(96000, where="a.wav")
    for name, rate in (("mp3", 48000), ("mp3", 8000), ("ogg", 192_000), ("flac", 655_350), ("wav", 768_000)):
        OutputFormat(name).check_rate(rate)
        path = write(tmp_path / f"a.{name}", music(), OutputFormat(name), rate=rate)
        assert load_audio(path, sample_rate=None).sample_rate == rate
    for name, rate in (("mp3", 96000), ("ogg", 192_001), ("flac", 655_351)):
        with pytest.raises(InputError):
            OutputFormat(name).check_rate(rate)


def test_writing_behind_keeps_the_order():
    seen = []
    with written_behind(seen.extend) as give:
        for number in range(100):
            give(number)
    assert seen == list(range(100))


def test_writing_behind_holds_few_blocks():
    go, taken = threading.Event(), []

    def slow(blocks):
        for block in blocks:
            go.wait()
            taken.append(block)

    given = []

    def giver():
        with written_behind(slow, n_blocks=3) as give:
            for number in range(20):
                give(number)
                given.append(number)

    thread = threading.Thread(target=giver)
    thread.start()
    while len(given) < 4:  # three wait, one is in hand
        time.sleep(0.001)
    time.sleep(0.05)
    assert len(given) == 4
    go.set()
    thread.join()
    assert taken == list(range(20))


def test_an_error_of_the_writing_thread_reaches_the_giver():
    def fail(blocks):
        next(blocks)
        raise OSError(28, "No space left on device")

    n_given = 0
    with pytest.raises(OSError, match="No space"), written_behind(fail) as give:
        for number in range(10**6):
            give(number)
            n_given += 1
    assert n_given < 10
    with pytest.raises(OSError, match="No space"), written_behind(fail) as give:
        give(1)  # nothing is given afterwards: it is raised at the end


def test_an_error_of_the_giver_stops_the_writing():
    ended = []

    def forever(blocks):
        try:
            for _ in blocks:
                pass
            ended.append("as if all were there")
        finally:
            ended.append("end")

    n_threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt), written_behind(forever) as give:
        give(1)
        raise KeyboardInterrupt
    assert ended == ["end"]
    assert threading.active_count() == n_threads


def test_a_coder_that_cannot_begin(tmp_path):
    with pytest.raises(OSError, match=r"a\.mp3: cannot be written"):
        write(tmp_path / "a.mp3", music(), OutputFormat("mp3"), rate=96000)
