"""The command line as a user meets it: exit status, one line per error, nothing written when nothing should be."""

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import soundfile

COMMAND = [sys.executable, "-m", "cadenza_remix"]


def call(*arguments, **options):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, **options)


@pytest.fixture
def tone(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(22050) / 20), 44100)
    return path


def listeners_file(folder, **changes):
    fields = {"name": "L1", "audiogram_cfs": [250, 8000], "audiogram_levels_l": [10, 60], "audiogram_levels_r": [0, 0]}
    path = folder / "listeners.json"
    path.write_text(json.dumps({"L1": {**fields, **changes}}))
    return path


@pytest.mark.parametrize(
    "arguments", [["--help"], ["enhance", "--help"], ["models", "--help"], ["submission", "--help"], ["--version"]]
)
def test_help_and_version_answer(arguments):
    result = call(*arguments)
    assert result.returncode == 0
    assert "cadenza-remix" in result.stdout


def test_no_command_shows_the_help():
    result = call()
    assert result.returncode == 2
    assert "Commands:" in result.stdout


BAD_ENHANCE = {
    "unknown option": (["--chian", "baseline"], "No such option: --chian"),
    "unknown chain": (["--chain", "e17"], "unknown chain 'e17': expected one of baseline, e016, FILE.yaml"),
    "missing chain file": (["--chain", "none.yaml"], "none.yaml: chain file is missing"),
    "unknown separator": (["--separator", "spleeter:3stems"], "unknown separator 'spleeter:3stems'"),
    "separator of two stems": (["--separator", "spleeter:2stems"], "expected vocals, drums, bass, other"),
    "unknown listener": (["--listener", "L9"], "unknown listener 'L9'"),
    "senseless workers": (["--workers", "0"], "--workers"),
    "missing segments": (["--segments", "none.json"], "none.json"),
}


@pytest.mark.parametrize("case", BAD_ENHANCE)
def test_bad_options_of_enhance(tmp_path, tone, case, call_here):
    options, words = BAD_ENHANCE[case]
    out = tmp_path / "out"
    result = call_here("enhance", tone, "--listeners", listeners_file(tmp_path), "--out", out, *options)
    assert_one_line(result, words)
    assert not list(out.rglob("*.flac"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"audiogram_levels_l": [10]}, "differ in length"),
        ({"audiogram_levels_l": [10, float("nan")]}, "entry 2 is not a number"),
        ({"audiogram_cfs": [8000, 250]}, "not sorted"),
        ({"name": "X"}, "field name differs"),
    ],
)
def test_bad_listeners(tmp_path, tone, changes, words, call_here):
    result = call_here("enhance", tone, "--listeners", listeners_file(tmp_path, **changes), "--out", tmp_path / "out")
    assert_one_line(result, words)
    assert "listeners.json: listener L1" in result.stderr
    assert not (tmp_path / "out").exists()


def test_bad_songs(tmp_path, tone):
    soundfile.write(tmp_path / "six.wav", np.zeros((1000, 6)), 44100)
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan]), 44100, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("hello")
    people = listeners_file(tmp_path)
    result = call("enhance", tmp_path / "none.wav", "--listeners", people, "--out", tmp_path / "out")
    assert_one_line(result, "none.wav: file is missing")
    songs = [tmp_path / name for name in ("six.wav", "nan.wav", "text.wav")]
    result = call("enhance", *songs, tone, "--listeners", people, "--out", tmp_path / "out")
    lines = [line for line in result.stderr.splitlines() if line.startswith("cadenza-remix: error: ")]
    assert result.returncode == 2
    assert len(lines) == 3
    for line, words in zip(
        lines, ("six.wav: wrong number of channels", "NaN", "text.wav: cannot be read"), strict=True
    ):
        assert words in line
    # What could be done was done.
    assert (tmp_path / "out" / "enhanced_signals" / "L1" / "tone" / "L1_tone_remix.flac").exists()


def test_output_that_cannot_be_written(tmp_path, tone):
    blocked = tmp_path / "file"
    blocked.write_text("I am a file")
    people = listeners_file(tmp_path)
    assert_one_line(call("enhance", tone, "--listeners", people, "--out", blocked / "out"), "cannot be written")
    assert blocked.read_text() == "I am a file"


def test_a_full_disk_leaves_nothing_half_written(tmp_path, tone):
    # A limit on the size of files makes the kernel refuse the write, as it does on a full disk.
    people, out = listeners_file(tmp_path), tmp_path / "out"
    limit = (100_000, 100_000)
    result = call(
        *("enhance", tone, "--listeners", people, "--out", out),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert_one_line(result, "vocals.wav: cannot be written")
    assert [path for path in out.rglob("*") if path.is_file()] == []


def test_score_without_references_or_results(tmp_path, call_here):
    people = listeners_file(tmp_path)
    result = call("score", tmp_path / "none", "--references", tmp_path, "--listeners", people)
    assert_one_line(result, "none: not found")
    (tmp_path / "empty" / "enhanced_signals").mkdir(parents=True)
    result = call_here("score", tmp_path / "empty", "--references", tmp_path, "--listeners", people)
    assert_one_line(result, "holds no enhanced signals")
    folder = tmp_path / "empty" / "enhanced_signals" / "L9" / "song"
    folder.mkdir(parents=True)
    (folder / "L9_song_left_bass.flac").write_bytes(b"fLaC")
    result = call_here("score", tmp_path / "empty", "--references", tmp_path, "--listeners", people)
    assert_one_line(result, "nobody in it is among the listeners: expected L1, found L9")


def test_models_say_where_they_are_and_how_to_get_them(tmp_path):
    home = {**os.environ, "CADENZA_REMIX_HOME": str(tmp_path)}
    assert "spleeter:4stems" in call("models", "list", env=home).stdout
    result = call("models", "path", "spleeter:4stems", env=home)
    assert_one_line(result, "cadenza-remix models fetch spleeter:4stems")
    assert_one_line(call("models", "fetch", "spleeter:2stems", "--offline", env=home), "offline")
    assert_one_line(call("models", "path", "spleeter:9stems", env=home), "unknown")
    assert_one_line(call("models", "import", "spleeter:4stems", tmp_path / "none.tar.gz", env=home), "none.tar.gz")
    assert call("models", "path", "spleeter:2stems").stdout.strip().endswith("2stems")


def test_auto_without_any_model_never_downloads(tmp_path, tone):
    home = {**os.environ, "CADENZA_REMIX_HOME": str(tmp_path / "home")}
    people = listeners_file(tmp_path)
    result = call("enhance", tone, "--listeners", people, "--out", tmp_path / "out", env=home)
    assert result.returncode == 0, result.stderr
    assert "Separator: cadenza:mini (neither spleeter:4stems nor spleeter:2stems is installed;" in result.stdout
    assert "cadenza-remix models fetch spleeter:2stems" in result.stdout
    assert not (tmp_path / "home").exists()


def test_demo_leaves_what_the_readme_promises(tmp_path):
    result = call("demo", "--out", tmp_path / "demo")
    assert result.returncode == 0, result.stderr
    for chain in ("baseline", "e016"):
        assert (tmp_path / "demo" / chain / "scores.csv").exists()
        assert len(list((tmp_path / "demo" / chain / "enhanced_signals").rglob("*.flac"))) == 18
        assert len(list((tmp_path / "demo" / chain / "listen").rglob("*.wav"))) == 2
    for name in ("summary.csv", "audiograms.png", "scores.png", "mixture.wav"):
        assert (tmp_path / "demo" / name).stat().st_size > 0
    for words in (
        "L5040",
        "L5076",
        "baseline",
        "e016",
        "mixture",
        "Separator: spleeter:",
        "models fetch spleeter:4stems",
    ):
        assert words in result.stdout


def assert_one_line(result, words):
    shown = ("Demixing ", "Enhancing ", "Scoring ")  # progress
    lines = [line for line in result.stderr.splitlines() if line.strip() and not line.startswith(shown)]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("cadenza-remix: error: ")
    assert words in lines[0]
