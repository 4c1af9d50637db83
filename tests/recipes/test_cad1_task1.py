"""The recipe as an entrant runs it: both scripts on real music in CAD1's layout, both modes, whole and in batches."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from cadenza_remix.audio.io import load_audio, load_stems, read_scaled_flac, write_wav
from cadenza_remix.audio.signal import Audio
from cadenza_remix.challenge.metadata import Segment, SongEntry, SongSegments, load_segments, load_songs, song_folder
from cadenza_remix.challenge.naming import remix_path, scale_path, stem_path, stem_paths
from cadenza_remix.challenge.scores import read_scores
from cadenza_remix.challenge.submission import validate_submission
from cadenza_remix.demo import demo_song
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.metrics import compute_haaqi

RECIPE = Path(__file__).parents[2] / "recipes" / "cad1_task1"
SEPARATOR = "spleeter:2stems+hpss"
VALID = {SongEntry("Falcon - Part No.1", "valid"): (0.0, 1.25), SongEntry("Sokół - Part, two", "valid"): (3.0, 4.25)}
TEST = {SongEntry("Falcon - Test", "test"): (1.0, 4.0)}
SEGMENTS = {"Falcon - Test": {"objective_evaluation": {"start": 0.5, "end": 1.5, "duration": 1.0},
                              "subjective_evaluation": {"start": 1.75, "end": 2.5, "duration": 0.75}}}  # fmt: skip

Run = Callable[..., list[subprocess.CompletedProcess[str]]]
RunOnce = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two validation songs, one test song and two listeners in CAD1's layout."""
    root = tmp_path_factory.mktemp("cad1") / "a folder with spaces"
    excerpt = demo_song().path
    parts: dict[str, Audio] = {"mixture": load_audio(excerpt), **load_stems(excerpt)}
    for song, (start_s, end_s) in (VALID | TEST).items():
        for name, audio in parts.items():
            file = song_folder(root / "audio" / "musdb18hq", song) / f"{name}.wav"
            write_wav(file, audio.excerpt(start_s, end_s), subtype="PCM_16")
    listeners = {name: listener.to_dict() for name, listener in load_listeners("cad1-sample").items()}
    (root / "metadata").mkdir()
    for mode, songs in (("valid", VALID), ("test", TEST)):
        rows = [{"Track Name": song.name, "Split": song.split} for song in songs]
        for name, value in ((f"musdb18.{mode}", rows), (f"listeners.{mode}", listeners)):
            (root / "metadata" / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    (root / "metadata" / "musdb18.segments.test.json").write_text(json.dumps(SEGMENTS), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a script of the recipe once for each list of overrides, all at once, and wait for all.

    They run in a folder that must stay empty: the recipe leaves the working directory alone.
    """
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run_scripts(
        script: str, exp: Path, *runs: list[str], status: int = 0
    ) -> list[subprocess.CompletedProcess[str]]:
        settings = [f"path.root='{root}'", f"path.exp_folder='{exp}'", f"separator.model={SEPARATOR}"]
        started = [
            subprocess.Popen(
                [sys.executable, str(RECIPE / script), *settings, *overrides],
                cwd=elsewhere,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for overrides in runs or [[]]
        ]
        done = [
            subprocess.CompletedProcess(process.args, process.returncode, *texts)
            for process, texts in [(process, process.communicate()) for process in started]
        ]
        assert [run.returncode for run in done] == [status] * len(done), "".join(
            run.stdout + run.stderr for run in done
        )
        assert list(elsewhere.iterdir()) == []
        return done

    return run_scripts


@pytest.fixture
def run_once(root: Path, tmp_path: Path) -> RunOnce:
    """Run a script once and return its status, output and errors, whatever they are."""

    def run_script(script: str, exp: Path, *overrides: str) -> tuple[int, str, str]:
        settings = [f"path.root='{root}'", f"path.exp_folder='{exp}'", f"separator.model={SEPARATOR}"]
        command = [sys.executable, str(RECIPE / script), *settings, *overrides]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert list(tmp_path.iterdir()) == []
        return done.returncode, done.stdout, done.stderr

    return run_script


@pytest.fixture(scope="module")
def whole(root: Path, run: Run) -> Path:
    """The validation set, enhanced and scored in one go."""
    exp = root.parent / "whole"
    run("enhance.py", exp)
    run("evaluate.py", exp)
    return exp


def segments_of_whole_songs() -> dict[str, SongSegments]:
    return {
        song.name: SongSegments(Segment(0, end - start), Segment(0, end - start))
        for song, (start, end) in VALID.items()
    }


def test_validation_mode_makes_a_complete_entry_and_its_scores(root: Path, whole: Path) -> None:
    listeners = load_listeners(root / "metadata" / "listeners.valid.json")
    songs = load_songs(root / "metadata" / "musdb18.valid.json")
    assert validate_submission(whole / "enhanced_signals", songs, listeners, segments=segments_of_whole_songs()) == []
    rows = read_scores(whole / "scores.csv")
    assert [(row.song, row.listener) for row in rows] == [(s.name, name) for s in songs for name in listeners]
    for row in rows:
        # Such stems score 0.14 to 0.18, clean stems with NAL-R 0.95 and more.
        assert 0.1 < row.score < 0.3
        assert len(set(row.haaqi.values())) == 8


def test_scores_are_what_the_challenge_computes(root: Path, whole: Path) -> None:
    """Score one pair again by the challenge's rules, with nothing of ours but HAAQI itself and the audiogram."""
    song, row = list(VALID)[1], read_scores(whole / "scores.csv")[-1]
    assert (row.song, row.listener) == (song.name, "L5076")
    listener = load_listeners("cad1-sample")["L5076"]
    rng = np.random.RandomState(int(hashlib.md5(song.name.encode()).hexdigest(), 16) % 10**8)
    scores = {}
    for stem in ("drums", "bass", "other", "vocals"):
        clean, _ = soundfile.read(root / "audio/musdb18hq/train" / song.name / f"{stem}.wav", dtype="float32")
        for channel, ear in enumerate(("left", "right")):
            file = whole / "enhanced_signals" / "L5076" / song.name / f"L5076_{song.name}_{ear}_{stem}.flac"
            processed, _ = soundfile.read(file, dtype="float32")
            processed = processed * np.float32(file.with_suffix(".txt").read_text())
            reference = soxr.resample(clean[:, channel], 44100, 24000)
            level1 = 65 - 20 * np.log10(np.sqrt(np.mean(clean[:, channel].astype(np.float64) ** 2)))
            audiogram = listener.left if ear == "left" else listener.right
            scores[f"{ear}_{stem}"] = compute_haaqi(processed, reference, 24000, 24000, audiogram, 1, level1, rng=rng)
    # The same function on the same samples; 1e-9 leaves room for the last bit of level1.
    assert row.haaqi == pytest.approx(scores, abs=1e-9)
    assert row.score == pytest.approx(np.mean(list(scores.values())), abs=1e-9)


def test_batches_run_side_by_side_and_merged_equal_one_run(root: Path, whole: Path, run: Run) -> None:
    exp = root.parent / "batched"
    shutil.copytree(whole / "stems", exp / "stems")  # the demixing is shared; everything else is made anew
    batches = [["evaluate.batch_size=2", f"evaluate.batch={batch}"] for batch in range(2)]
    run("enhance.py", exp, *batches)
    run("evaluate.py", exp, *batches)
    run("evaluate.py", exp, ["evaluate.batch_size=2", "evaluate.merge=true"])
    assert sorted(file.name for file in exp.glob("*.csv")) == ["scores.csv", "scores_1-2.csv", "scores_2-2.csv"]
    assert (exp / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()
    first, second = read_scores(exp / "scores_1-2.csv"), read_scores(exp / "scores_2-2.csv")
    every = read_scores(whole / "scores.csv")
    assert (first, second) == (every[0::2], every[1::2])


def test_a_missing_batch_is_named_and_no_table_is_written(root: Path, whole: Path, run_once: RunOnce) -> None:
    exp = root.parent / "one batch"
    exp.mkdir()
    shutil.copy(whole / "scores.csv", exp / "scores_1-2.csv")
    status, _, errors = run_once("evaluate.py", exp, "evaluate.batch_size=2", "evaluate.merge=true")
    assert status == 2
    assert "scores_2-2.csv" in errors
    assert not (exp / "scores.csv").exists()


def test_test_mode_hands_in_the_segments(root: Path, run_once: RunOnce) -> None:
    exp = root.parent / "test mode"
    status, output, errors = run_once("enhance.py", exp, "mode=test", "team_id=E016", "chain=e016")
    assert status == 0, errors
    assert output.splitlines()[-1] == str(exp / "submission_E016.zip")
    assert run_once("evaluate.py", exp, "mode=test")[0] == 0
    listeners = load_listeners(root / "metadata" / "listeners.test.json")
    segments = load_segments(root / "metadata" / "musdb18.segments.test.json")
    archive = exp / "submission_E016.zip"
    assert validate_submission(archive, list(TEST), listeners, segments=segments) == []
    enhanced = exp / "enhanced_signals"
    stem = read_scaled_flac(stem_path(enhanced, "L5040", "Falcon - Test", "left", "vocals"))
    remix = read_scaled_flac(remix_path(enhanced, "L5040", "Falcon - Test"))
    assert (stem.n_samples, remix.n_samples) == (1.0 * 24000, 0.75 * 32000)
    assert [row.listener for row in read_scores(exp / "scores.csv")] == list(listeners)


def test_settings_of_the_command_line_reach_the_signals(root: Path, whole: Path, run_once: RunOnce) -> None:
    exp = root.parent / "compressed"
    shutil.copytree(whole / "stems", exp / "stems")
    settings = ["apply_compressor=true", "compressor.threshold=0.01", "compressor.attack=5", "nalr.nfir=120"]
    assert run_once("enhance.py", exp, *settings, "evaluate.small_test=true")[0] == 0
    song, listener = next(iter(VALID)).name, next(iter(load_listeners("cad1-sample")))
    assert [path.name for path in (exp / "enhanced_signals").rglob("*_remix.flac")] == [f"{listener}_{song}_remix.flac"]
    for path in stem_paths(Path(), listener, song):
        before, after = (float(scale_path(folder / "enhanced_signals" / path).read_text()) for folder in (whole, exp))
        assert after < before


def test_a_second_run_finds_everything_done(whole: Path, run_once: RunOnce) -> None:
    times = {path: path.stat().st_mtime_ns for path in (whole / "enhanced_signals").rglob("*.*")}
    assert "made 0, found done 4" in run_once("enhance.py", whole)[1]
    assert "4 found done" in run_once("evaluate.py", whole)[1]
    assert {path: path.stat().st_mtime_ns for path in (whole / "enhanced_signals").rglob("*.*")} == times


@pytest.mark.parametrize(
    ("script", "overrides", "message"),
    [
        ("enhance.py", ["mode=tset"], "unknown mode 'tset'"),
        ("enhance.py", ["chain=e061"], "unknown chain 'e061'"),
        ("enhance.py", ["separator.model=demucs"], "unknown separator 'demucs'"),
        ("enhance.py", ["apply_compressor=perhaps"], "apply_compressor: wrong value: expected true or false"),
        ("enhance.py", ["compressor.threshold=0.1"], "compressor: setting of a part that is off"),
        ("enhance.py", ["apply_compressor=true", "compressor.threshold=loud"], "wrong threshold_lin"),
        ("enhance.py", ["path.listeners_file=none.json"], "none.json: listener file is missing"),
        ("enhance.py", ["path.music_dir=nowhere"], "nowhere/train/Falcon - Part No.1: mixture is missing"),
        ("evaluate.py", ["path.music_file=none.json"], "none.json: cannot be read: No such file or directory"),
        ("evaluate.py", ["evaluate.batch_size=2", "evaluate.batch=2"], "no such batch: expected 0 to 1, found 2"),
        ("evaluate.py", ["evaluate.merge=true"], "evaluate.batch_size: nothing to merge"),
        ("evaluate.py", ["path.exp_folder=nowhere"], "nowhere/enhanced_signals: not found"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(
    root: Path, run_once: RunOnce, script: str, overrides: list[str], message: str
) -> None:
    status, _, errors = run_once(script, root.parent / "never", *overrides)
    lines = [line for line in errors.splitlines() if line.strip()]
    assert status == 2, errors
    assert len(lines) == 1
    assert message in lines[0]
    assert not (root.parent / "never").exists()


def test_the_recipe_cannot_be_imported_instead_of_pyclaritys() -> None:
    assert not list(RECIPE.parent.rglob("__init__.py"))
