"""Scoring a submission's zip file from the command line: killed and resumed, by any number of workers, in part."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from cadenza_remix.audio.io import load_audio, load_stems, write_flac16, write_stems, write_wav
from cadenza_remix.challenge.scores import read_scores
from cadenza_remix.challenge.submission import pack_submission
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.remix import load_chain
from cadenza_remix.runs.enhancing import enhance_songs
from cadenza_remix.runs.songs import find_songs
from cadenza_remix.separation.loading import load_separator

DURATION_S = 1.25
SONGS = {"Falcon - first": (0.5, 0.5 + DURATION_S), "Falcon - second": (3.0, 3.0 + DURATION_S)}
LISTENERS = ("N1", "N2", "N3", "N4", "N5", "S1", "S2", "S3")
TABLES = ("scores.csv", "scores_tidy.csv", "scores_summary.csv")


@pytest.fixture(scope="module")
def world(song, tmp_path_factory):
    """Two passages of the real song enhanced for eight listeners, as a folder and as a submission."""
    folder = tmp_path_factory.mktemp("submission")
    parts = load_stems(song.path)
    for name, (start_s, end_s) in SONGS.items():
        write_stems(folder / "music" / name, {stem: audio.excerpt(start_s, end_s) for stem, audio in parts.items()})
        write_wav(folder / "music" / name / "mixture.wav", load_audio(song.path).excerpt(start_s, end_s))
    listeners = load_listeners("bisgaard", only=list(LISTENERS))
    people = {name: listener.to_dict() for name, listener in listeners.items()}
    (folder / "listeners.json").write_text(json.dumps(people))
    genres = [{"Track Name": name, "Genre": name[-6:].strip(), "Split": "valid"} for name in SONGS]
    (folder / "songs.json").write_text(json.dumps(genres))
    report = enhance_songs(
        find_songs([folder / "music" / name for name in SONGS]),
        listeners,
        separator=load_separator("spleeter:2stems+hpss"),
        chain=load_chain("baseline"),
        out=folder / "run",
    )
    assert not report.failures
    pack_submission(folder / "run" / "enhanced_signals", folder, "E000")
    return folder


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    """The folder scored by one worker: what every other way must give."""
    out = tmp_path_factory.mktemp("undisturbed")
    result = score(world, world / "run", out, "--workers", "1")
    assert result.returncode == 0, result.stderr
    return out


def words_for(world, entry, out, *options):
    return ["score", str(entry), "--references", str(world / "music"),
            "--listeners", str(world / "listeners.json"), "--songs", str(world / "songs.json"),
            "--out", str(out / "scores.csv"), *options]  # fmt: skip


def command(world, entry, out, *options):
    return [sys.executable, "-m", "cadenza_remix", *words_for(world, entry, out, *options)]


def score(world, entry, out, *options):
    return subprocess.run(command(world, entry, out, *options), capture_output=True, text=True, timeout=300)


def records(out):
    return {path.relative_to(out): path for path in sorted((out / "scores_records").rglob("*.json"))}


def contents(out):
    files = [out / name for name in TABLES] + list(records(out).values())
    return {path.relative_to(out): path.read_bytes() for path in files}


def workers_of(process):
    """Return the folders below /proc of the processes that a process has started."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [Path("/proc", number) for thread in threads for number in thread.read_text().split()]


def is_running(process_folder):
    with suppress(OSError):  # where nobody asks how a process ended, its entry stays
        return (process_folder / "stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


def wait_until_ended(workers):
    deadline = time.monotonic() + 120
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline, "a worker goes on without its parent"
        time.sleep(0.05)


def test_killed_half_way_and_resumed_it_ends_in_the_same_bytes(world, undisturbed, tmp_path):
    zipped = world / "submission_E000.zip"
    with subprocess.Popen(command(world, zipped, tmp_path, "--workers", "2"), stderr=subprocess.DEVNULL) as process:
        while len(records(tmp_path)) < 6:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        workers = workers_of(process)
        os.kill(process.pid, signal.SIGKILL)
    assert workers
    assert not (tmp_path / "scores.csv").exists()
    wait_until_ended(workers)  # with the pair that they have at hand
    done = {name: path.stat().st_mtime_ns for name, path in records(tmp_path).items()}
    assert 6 <= len(done) < 16
    resumed = score(world, zipped, tmp_path, "--workers", "2")
    assert resumed.returncode == 0, resumed.stderr
    assert f"{len(done)} of 16 pairs were scored before" in resumed.stdout
    after = records(tmp_path)
    assert {name: after[name].stat().st_mtime_ns for name in done} == done  # nothing finished was done again
    assert contents(tmp_path) == contents(undisturbed)
    assert not list(tmp_path.rglob(".*"))


def test_tables_agree_with_each_other(undisturbed):
    rows = read_scores(undisturbed / "scores.csv")
    assert [(row.song, row.listener) for row in rows] == [(song, listener) for song in SONGS for listener in LISTENERS]
    with (undisturbed / "scores_tidy.csv").open(newline="") as file:
        tidy = list(csv.DictReader(file))
    assert len(tidy) == 16 * 8 * 3
    wanted = {(r.song, r.listener, channel): value for r in rows for channel, value in r.haaqi.items()}
    found = {
        (r["song"], r["listener"], f"{r['ear']}_{r['stem']}"): float(r["value"]) for r in tidy if r["metric"] == "haaqi"
    }
    assert found == wanted
    with (undisturbed / "scores_summary.csv").open(newline="") as file:
        summary = list(csv.DictReader(file))
    overall = next(row for row in summary if row["metric"] == "haaqi" and row["factor"] == "all")
    assert float(overall["mean"]) == pytest.approx(sum(row.score for row in rows) / 16, abs=1e-6)
    assert float(overall["low"]) <= float(overall["mean"]) <= float(overall["high"])
    assert {row["factor"] for row in summary} >= {"stem", "ear", "listener", "song", "genre", "severity"}


def test_a_second_run_does_nothing_and_says_so(world, undisturbed):
    before = contents(undisturbed)
    result = score(world, world / "run", undisturbed, "--workers", "1")
    assert "16 of 16 pairs were scored before" in result.stdout
    assert contents(undisturbed) == before


def test_faults_are_all_listed_and_partial_scores_the_rest(world, undisturbed, tmp_path):
    entry = tmp_path / "entry"
    shutil.copytree(world / "run" / "enhanced_signals", entry / "enhanced_signals")
    first, second = SONGS
    shutil.rmtree(entry / "enhanced_signals" / "N5" / second)
    (entry / "enhanced_signals" / "N1" / first / f"N1_{first}_left_bass.flac").unlink()
    (entry / "enhanced_signals" / "S3" / first / f"S3_{first}_right_vocals.txt").write_text("loud")
    result = score(world, entry, tmp_path)
    assert result.returncode == 2
    lines = [line for line in result.stderr.splitlines() if "error:" in line]
    assert len(lines) == 4, result.stderr
    for words in ("N5", f"N1_{first}_left_bass.flac", f"S3_{first}_right_vocals.txt"):
        assert sum(words in line for line in lines) == 1, words
    assert not list(tmp_path.glob("scores*"))
    result = score(world, entry, tmp_path, "--partial")
    assert result.returncode == 0, result.stderr
    left_out = {(second, "N5"), (first, "N1"), (first, "S3")}
    wanted = [row for row in read_scores(undisturbed / "scores.csv") if (row.song, row.listener) not in left_out]
    assert read_scores(tmp_path / "scores.csv") == wanted


def test_some_listeners_compared_with_another_system(world, undisturbed, tmp_path):
    result = score(world, world / "submission_E000.zip", tmp_path, "--listener", "N2", "--listener", "S2",
                   "--compare", str(undisturbed / "scores.csv"), "--published")  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert [row.listener for row in read_scores(tmp_path / "scores.csv")] == ["N2", "S2", "N2", "S2"]
    with (tmp_path / "scores_compared.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["difference"]) == 0 for row in rows if row["metric"] == "haaqi")
    assert "0.706" in result.stdout
    assert "Not comparable" in " ".join(result.stdout.split())


def test_damaged_and_edited_records_are_made_again(world, undisturbed, tmp_path):
    shutil.copytree(undisturbed / "scores_records", tmp_path / "scores_records")
    folder = tmp_path / "scores_records" / "N1"
    first, second = SONGS
    (folder / f"{first}.json").write_text((folder / f"{first}.json").read_text().replace('"score": 0.', '"score": 0.9'))
    record = json.loads((folder / f"{second}.json").read_text())
    (folder / f"{second}.json").write_text(json.dumps({**record, "results": {"song": [1]}, "files": ["a"]}))
    result = score(world, world / "run", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "14 of 16 pairs were scored before" in result.stdout
    assert contents(tmp_path) == contents(undisturbed)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_song_without_usable_references_is_left_out_by_partial(world, undisturbed, tmp_path, workers):
    shutil.copytree(world / "music", tmp_path / "music")
    first, second = SONGS
    (tmp_path / "music" / second / "drums.wav").unlink()
    listeners = ("--listener", "N1", "--listener", "S1", "--workers", workers)
    result = score(world, world / "run", tmp_path, "--references", str(tmp_path / "music"), "--partial", *listeners)
    assert result.returncode == 0, result.stderr
    wanted = [r for r in read_scores(undisturbed / "scores.csv") if r.song == first and r.listener in ("N1", "S1")]
    assert read_scores(tmp_path / "scores.csv") == wanted
    assert "pairs: 2 of 4: NOT ALL" in " ".join(result.stdout.split())
    assert "drums is missing" in result.stderr


def test_a_silent_stem_is_told_and_scored_when_that_is_wanted(world, undisturbed, tmp_path):
    entry = tmp_path / "entry"
    shutil.copytree(world / "run" / "enhanced_signals" / "N2", entry / "N2")
    first = next(iter(SONGS))
    silent = entry / "N2" / first / f"N2_{first}_left_vocals.flac"
    write_flac16(silent, np.zeros(round(DURATION_S * 24000)), 24000)
    options = ("--listener", "N2")
    result = score(world, entry, tmp_path, *options)
    assert result.returncode == 2
    assert "nothing was scored (what is in order: --partial; as it sounds: --any-sound)" in result.stderr
    result = score(world, entry, tmp_path, *options, "--any-sound")
    assert result.returncode == 0, result.stderr
    assert f"N2_{first}_left_vocals.flac: is silent" in result.stderr
    before = {row.pair: row for row in read_scores(undisturbed / "scores.csv")}
    for row in read_scores(tmp_path / "scores.csv"):
        changed = {
            channel for channel, value in row.haaqi.items() if abs(value - before[row.pair].haaqi[channel]) > 1e-3
        }
        assert changed == ({"left_vocals"} if row.song == first else set())


def test_what_would_fail_after_hours_fails_at_once(world, undisturbed, tmp_path, call_here):
    (tmp_path / "scores_tidy.csv").mkdir()
    foreign = tmp_path / "foreign.csv"
    foreign.write_text((undisturbed / "scores.csv").read_text().replace("Falcon", "Other"))
    for out, options, words in (
        (tmp_path, (), "scores_tidy.csv: is a folder"),
        (world / "run" / "enhanced_signals", (), "would lie among the files of the entry"),
        (undisturbed, ("--compare", str(undisturbed / "scores.csv")), "would be compared with itself"),
        (tmp_path / "new", ("--compare", str(foreign)), "has no song and listener in common"),
        (tmp_path / "new", ("--references", str(tmp_path / "none")), "folder of references is missing"),
        (tmp_path / "new", ("--listener", "N9"), "unknown listener 'N9'"),
    ):
        result = call_here(*words_for(world, world / "run", out, *options))
        assert result.returncode == 2
        (line,) = result.stderr.splitlines()
        assert words in line
    assert not (tmp_path / "new").exists()


def test_pyclaritys_own_function_has_to_be_installed(world, tmp_path, call_here):
    result = score(world, world / "run", tmp_path, "--scorer", "clarity")
    assert result.returncode == 2
    assert "cadenza-remix[clarity]" in result.stderr
    result = call_here(*words_for(world, world / "run", tmp_path, "--scorer", "mine"))
    assert result.returncode == 2
    assert "unknown scorer 'mine'" in result.stderr
