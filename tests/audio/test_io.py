import numpy as np
import pytest
import soundfile

from cadenza_remix.audio.io import (
    load_audio,
    load_stems,
    read_scaled_flac,
    song_name,
    write_flac16,
    write_stems,
    write_wav,
)
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError

RATE = 44100


def tone(seconds=0.5, rate=RATE, frequency_hz=440.0, channels=2):
    t = np.arange(int(seconds * rate)) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * frequency_hz * t + ear) for ear in range(channels)], axis=1)


@pytest.mark.parametrize(("suffix", "tolerance"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05), ("mp3", 0.05)])
def test_reads_formats_of_libsndfile(tmp_path, suffix, tolerance):
    # Lossless to 16 bit; the lossy ones keep a plain tone to a few per cent away from the edges.
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(), RATE)
    audio = load_audio(path)
    assert (audio.sample_rate, audio.n_channels) == (RATE, 2)
    middle = slice(4000, 16000)
    assert np.abs(audio.samples[middle] - tone()[middle]).max() < tolerance


def test_reads_m4a_through_pyav(tmp_path):
    import av

    path = tmp_path / "tone.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone().T, dtype=np.float32), "fltp", "stereo")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    audio = load_audio(path)
    assert audio.n_channels == 2
    spectrum = np.abs(np.fft.rfft(audio.samples[4000:12820, 0]))
    assert abs(np.argmax(spectrum) * RATE / 8820 - 440) <= 5  # one bin is 5 Hz wide


def test_stem_mp4_holds_the_mixture_and_its_parts(song):
    mixture, stems = load_audio(song.path), load_stems(song.path)
    assert song_name(song.path) == "The Easton Ellises - Falcon 69"
    total = sum(stem.samples for stem in stems.values())
    middle = slice(44100, 220500)
    difference = total[middle] - mixture.samples[middle]
    # The five streams were coded each for itself: their sum is the mixture but for coding noise, 20 dB down.
    assert np.sqrt(np.mean(difference**2)) < 0.1 * np.sqrt(np.mean(mixture.samples[middle] ** 2))


def test_resamples_along_time(tmp_path):
    soundfile.write(tmp_path / "t.wav", tone(1.0, 48000), 48000)
    audio = load_audio(tmp_path / "t.wav")
    assert audio.samples.shape == (44100, 2)
    middle = slice(4410, 39690)
    assert np.abs(audio.samples[middle] - tone(1.0)[middle]).max() < 1e-3
    assert load_audio(tmp_path / "t.wav", sample_rate=None).sample_rate == 48000


def test_flac_with_scale_file_comes_back(tmp_path):
    samples = 20.0 * tone(channels=1)
    peak = np.abs(samples).max()
    assert write_flac16(tmp_path / "a.flac", samples / peak, 24000) == 0
    (tmp_path / "a.txt").write_text(repr(float(peak)))
    back = read_scaled_flac(tmp_path / "a.flac")
    # Half a step of 16 bit, times the scale, and one step at full scale, which has no code of its own.
    assert np.abs(back.samples - samples).max() <= 1.01 * peak / 32768
    assert soundfile.info(tmp_path / "a.flac").subtype == "PCM_16"


@pytest.mark.parametrize("text", ["", "loud", "nan", "inf", "-1"])
def test_senseless_scale_is_refused(tmp_path, text):
    write_flac16(tmp_path / "a.flac", tone(channels=1), 24000)
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(InputError, match=r"a\.txt"):
        read_scaled_flac(tmp_path / "a.flac")


def test_clipping_is_counted(tmp_path):
    samples = np.array([[0.5], [1.5], [-2.0], [1.0]])
    assert write_flac16(tmp_path / "a.flac", samples, 24000) == 2
    assert write_wav(tmp_path / "a.wav", Audio(samples, 24000)) == 2
    assert write_wav(tmp_path / "b.wav", Audio(samples, 24000), subtype="FLOAT") == 0
    np.testing.assert_array_equal(load_audio(tmp_path / "b.wav", sample_rate=None).samples, samples.astype(np.float32))


def test_stems_of_a_folder_are_found_by_name(tmp_path):
    stems = {
        name: Audio(tone() * scale, RATE)
        for name, scale in zip(("vocals", "drums", "bass", "other"), (1, 2, 3, 4), strict=True)
    }
    write_stems(tmp_path, stems)
    back = load_stems(tmp_path)
    assert list(back) == ["vocals", "drums", "bass", "other"]
    for name in stems:
        np.testing.assert_array_equal(back[name].samples, stems[name].samples)
    (tmp_path / "bass.wav").unlink()
    with pytest.raises(InputError, match="bass is missing"):
        load_stems(tmp_path)


def damaged_files(folder):
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("hello")
    (folder / "noise.m4a").write_bytes(bytes(range(256)) * 10)
    (folder / "noise.mp3").write_bytes(b"\0" * 3000)
    soundfile.write(folder / "six.wav", np.zeros((100, 6)), RATE)
    soundfile.write(folder / "nothing.wav", np.zeros((0, 2)), RATE)
    soundfile.write(folder / "nan.wav", np.array([0.0, np.nan]), RATE, subtype="FLOAT")
    soundfile.write(folder / "whole.flac", tone(2.0), RATE)
    (folder / "cut.flac").write_bytes((folder / "whole.flac").read_bytes()[:5000])
    (folder / "folder.wav").mkdir()
    return ["missing.wav", "empty.wav", "text.wav", "noise.m4a", "noise.mp3", "six.wav", "nothing.wav", "nan.wav",
            "cut.flac", "folder.wav"]  # fmt: skip


def test_every_damaged_file_is_one_line_that_names_it(tmp_path):
    for name in damaged_files(tmp_path):
        with pytest.raises(InputError) as caught:
            load_audio(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
