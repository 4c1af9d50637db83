"""``cadenza-remix separate`` as a user meets it, with the real 2stems model."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from cadenza_remix.audio.io import load_audio
from cadenza_remix.separation.loading import load_separator

COMMAND = [sys.executable, "-m", "cadenza_remix", "separate"]
TWO_STEMS = ("--separator", "spleeter:2stems")


def separate(*arguments, **options):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, **options)


@pytest.fixture
def tone(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(22050) / 20), 44100)
    return path


def visible(folder):
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.startswith("."))


def test_real_music_out_as_the_library_gives_it(tmp_path, song):
    out = tmp_path / "out"
    result = separate(song.path, "--out", out, *TWO_STEMS, "--bits", "32f")
    assert result.returncode == 0, result.stderr
    name = "The Easton Ellises - Falcon 69"
    assert visible(out) == [f"{name}/accompaniment.wav", f"{name}/vocals.wav"]
    stems = load_separator("spleeter:2stems").separate(load_audio(song.path))
    for stem, audio in stems.items():
        written = load_audio(out / name / f"{stem}.wav", sample_rate=None).samples
        # The same network on the same segments; two processes may sum in another order.
        assert np.abs(written - audio.samples).max() < 1e-6
    assert "1 made, 0 found done, 0 failed" in result.stdout
    assert "x real time)" in result.stdout
    assert "Separating (s of music): 6 of 6" in result.stderr
    again = separate(song.path, "--out", out, *TWO_STEMS, "--bits", "32f")
    assert again.stdout.startswith("0 made, 1 found done, 0 failed")


def test_a_folder_with_a_damaged_song(tmp_path, tone):
    folder = tmp_path / "music"
    folder.mkdir()
    soundfile.write(folder / "mono48.wav", 0.2 * np.sin(np.arange(30_001) / 20), 48000)
    (folder / "text.wav").write_text("hello")
    options = ("--keep-rate", "--instrumental", "--name", "{out}/{index} {song} {stem}.flac", "--bits", "24")
    result = separate(folder, tone, "--out", tmp_path / "out", *TWO_STEMS, *options)
    assert result.returncode == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("cadenza-remix: error: ")]
    assert len(errors) == 1
    assert "separate text: " in errors[0]
    assert "text.wav: cannot be read as audio" in errors[0]
    assert visible(tmp_path / "out") == ["001 mono48 instrumental.flac", "003 tone instrumental.flac"]
    info = soundfile.info(tmp_path / "out" / "001 mono48 instrumental.flac")
    assert (info.samplerate, info.frames, info.channels, info.subtype) == (48000, 30_001, 1, "PCM_24")


BAD = {
    "unknown option": (["--stem", "vocals"], "No such option: --stem"),
    "unknown separator": (["--separator", "spleeter:3stems"], "unknown separator 'spleeter:3stems'"),
    "unknown stem": ([*TWO_STEMS, "--stems", "vocals,drums"], "unknown stem 'drums': expected one of vocals, accompa"),
    "unknown format": (["--format", "aac"], "unknown format 'aac': expected one of wav, flac, mp3, ogg"),
    "impossible bits": (["--format", "flac", "--bits", "32f"], "impossible number of bits: expected 16, 24"),
    "unknown placeholder": (["--name", "{out}/{filename}.wav"], "unknown placeholder 'filename'"),
    "one name for two": ([*TWO_STEMS, "--name", "{out}/{song}.wav"], "would be one file: expected a --name"),
    "floats in 16 bits": (["--on-clip", "float"], "samples beyond full scale cannot be kept"),
    "unknown clipping": (["--on-clip", "squeeze"], "expected one of scale, clip, float"),
    "unknown high band": (["--high-band", "noise"], "expected one of zeros, average, residual"),
    "unknown device": (["--device", "tpu"], "unknown device 'tpu'"),
    "barred": ([*TWO_STEMS, "--rules", "icassp2024"], "icassp2024"),
    "out without a name": ([*TWO_STEMS, "--out", ""], "folder of results has no name"),
    "unknown rules": ([*TWO_STEMS, "--rules", "cad9"], "unknown rules 'cad9'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options_are_one_line_before_anything_is_written(tmp_path, tone, case, call_here):
    options, words = BAD[case]
    result = call_here("separate", tone, "--out", tmp_path / "out", *options)
    lines = result.stderr.splitlines()
    assert result.returncode == 2
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("cadenza-remix: error: ")
    assert words in lines[0]
    assert not (tmp_path / "out").exists()


def test_missing_songs_and_folders_that_cannot_be_written(tmp_path, tone):
    result = separate(tmp_path / "no*.wav", "--out", tmp_path / "out", *TWO_STEMS)
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert "no audio has a name like this" in result.stderr
    (tmp_path / "file").write_text("I am a file")
    result = separate(tone, "--out", tmp_path / "file" / "out", *TWO_STEMS)
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert "cannot be written" in result.stderr


def test_a_model_that_is_not_there_is_never_downloaded(tmp_path, tone):
    home = {**os.environ, "CADENZA_REMIX_HOME": str(tmp_path / "home")}
    result = separate(tone, "--out", tmp_path / "out", *TWO_STEMS, env=home)
    assert result.returncode == 2
    assert "cadenza-remix models fetch spleeter:2stems" in result.stderr
    assert not (tmp_path / "out").exists()
