"""The whole run on this machine: the same files as by hand, killed and resumed, a damaged song, wrong settings."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from small_challenge import make_challenge, results, write_settings

from cadenza_remix.runs.shards.collecting import changed
from cadenza_remix.runs.shards.folder import RunFolder
from cadenza_remix.runs.shards.journal import read_events, run_history
from cadenza_remix.runs.shards.plan import read_plan

LISTENERS = ("N1", "N3", "S2")


@pytest.fixture(scope="module")
def world(song, tmp_path_factory):
    folder = tmp_path_factory.mktemp("challenge")
    make_challenge(folder, song, n_songs=2, duration_s=1.5, listeners=LISTENERS)
    return folder


@pytest.fixture(scope="module")
def undisturbed(world):
    done = call("run", world / "run.yaml", "--out", world / "undisturbed", "--workers", 1)
    assert done.returncode == 0, done.stderr
    return world / "undisturbed"


def command(*arguments):
    return [sys.executable, "-m", "cadenza_remix", *map(str, arguments)]


def call(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300)


def n_events(out, kind):
    journals = (out / "journal").rglob("*.jsonl")
    return sum(event.name == kind for path in journals for event in read_events(path))


def test_gives_what_the_commands_for_each_step_give(world, undisturbed, tmp_path):
    songs = sorted((world / "music" / "train").iterdir())
    people = ("--listeners", world / "listeners.json")
    made = call("enhance", *songs, *people, "--separator", "spleeter:2stems+hpss", "--out", tmp_path)
    assert made.returncode == 0, made.stderr
    scored = call(
        "score", tmp_path, "--references", world / "music", *people, "--songs", world / "songs.json",
        "--out", tmp_path / "tables" / "scores.csv",
    )  # fmt: skip
    assert scored.returncode == 0, scored.stderr
    (tmp_path / "tables" / "scores_records").rename(tmp_path / "records" / "score")
    for table in (tmp_path / "tables").iterdir():
        table.rename(tmp_path / table.name)
    assert results(tmp_path) == results(undisturbed)


def test_killed_and_given_again_it_goes_on_and_ends_in_the_same_bytes(world, undisturbed, tmp_path):
    out = tmp_path / "run"
    arguments = ("run", world / "run.yaml", "--out", out, "--workers", 2)
    with subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not n_events(out, "done") >= 2 + 3:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not (out / "scores.csv").exists()
    done = {path: path.stat().st_mtime_ns for path in (out / "records").rglob("*.json")}
    assert len(done) >= 3
    again = call(*arguments)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in done} == done  # nothing was done twice
    assert results(out) == results(undisturbed)
    assert not [path for path in out.rglob(".*") if path.is_file()]


def test_damaged_song_is_told_and_nothing_else_suffers(song, undisturbed, tmp_path):
    names = make_challenge(tmp_path, song, n_songs=2, duration_s=1.5, listeners=LISTENERS)
    mixture = tmp_path / "music" / "train" / names[1] / "mixture.wav"
    good = mixture.read_bytes()
    mixture.write_bytes(good[:1000])
    out = tmp_path / "run"
    first = call("run", tmp_path / "run.yaml", "--out", out)
    assert first.returncode == 2
    assert f"demix/{names[1]}: aside: " in first.stderr
    assert "mixture.wav: file is cut off" in first.stderr
    with (out / "missing.csv").open(newline="") as file:
        missing = [row["unit"] for row in csv.DictReader(file)]
    assert missing == [f"demix/{names[1]}", *(f"{kind}/{one}/{names[1]}" for one in LISTENERS
                                              for kind in ("enhance", "score"))]  # fmt: skip
    assert n_events(out, "failed") == 3
    of_good = {name: content for name, content in results(undisturbed).items() if names[0] in name}
    found = results(out)
    assert {name: found[name] for name in of_good} == of_good
    before = {path: path.stat().st_mtime_ns for path in (out / "records").rglob("*.json")}
    mixture.write_bytes(good)
    again = call("run", tmp_path / "run.yaml", "--out", out)
    assert again.returncode == 0, again.stderr
    assert results(out) == results(undisturbed)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not (out / "missing.csv").exists()
    folder = RunFolder(out)
    histories = run_history(folder, read_plan(folder.plan)).values()
    assert {state.state for history in histories for state in history.states.values()} == {"done"}


def test_changed_settings_do_not_mix_with_a_run(world, undisturbed, tmp_path):
    write_settings(tmp_path, songs=str(world / "songs.json"), music=str(world / "music"),
                   listeners=str(world / "listeners.json"), chain="e016")  # fmt: skip
    refused = call("run", tmp_path / "run.yaml", "--out", undisturbed)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "holds a run with other settings" in refused.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"music": "~nobodyx/y"}, "names no folder"),
        ({"listeners": "a\0b"}, "cannot be a name"),
        ({"music": "x" * 5000}, "cannot be a name"),
        ({"music": "nowhere"}, "nowhere"),
        ({"listener": ["N9"]}, "unknown listener 'N9'"),
        ({"separator": "spleeter:9stems"}, "unknown separator"),
        ({"separator": {"model": "spleeter:2stems"}}, "does not separate into the four stems"),
        ({"chain": "e17"}, "unknown chain"),
        ({"noise": "loud"}, "unknown noise"),
        ({"segments": "none.json"}, "none.json"),
        ({"references": "empty"}, "no references for"),
    ],
)
def test_wrong_settings_are_one_line_and_nothing_is_made(world, tmp_path, changes, message, call_here):
    (tmp_path / "empty").mkdir()
    settings = {"songs": str(world / "songs.json"), "music": str(world / "music")}
    write_settings(tmp_path, **{**settings, "listeners": str(world / "listeners.json"), **changes})
    refused = call_here("run", tmp_path / "run.yaml", "--out", tmp_path / "run")
    assert refused.returncode == 2
    assert re.search(message, refused.stderr), refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_songs_without_references_are_enhanced_and_not_scored(world, tmp_path):
    write_settings(tmp_path, songs=str(world / "music" / "train" / "*"), music=None,
                   listeners=str(world / "listeners.json"), listener=["N1"])  # fmt: skip
    dry = call("run", tmp_path / "run.yaml", "--out", tmp_path / "run", "--dry-run")
    assert (dry.returncode, (tmp_path / "run").exists()) == (0, False)
    assert "no scores" in dry.stdout
    done = call("run", tmp_path / "run.yaml", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "none scored" in done.stdout
    assert len(list((tmp_path / "run" / "enhanced_signals").rglob("*_remix.flac"))) == 2
    assert not (tmp_path / "run" / "scores.csv").exists()


def test_a_damaged_result_is_made_again(undisturbed, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(undisturbed, out)
    stem = sorted((out / "enhanced_signals" / "N1").rglob("*_left_bass.flac"))[0]
    damaged = bytearray(stem.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    stem.write_bytes(damaged)
    scores = out / "scores.csv"
    scores.unlink()
    done = call("run", undisturbed.parent / "run.yaml", "--out", out)
    assert done.returncode == 0, done.stderr
    assert results(out) == results(undisturbed)


def test_settings_edited_in_the_folder_of_a_run_are_refused(undisturbed, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(undisturbed, out)
    config = out / "config.yaml"
    config.write_text(config.read_text().replace("chain: baseline", "chain: e016"))
    (out / "records" / "score" / "N1").rename(tmp_path / "gone")
    refused = call("shard", "work", out, "pairs", 0)
    assert refused.returncode == 2
    assert "config.yaml: was edited" in refused.stderr
    for name in ("plan.json", "inputs/settings.json", "inputs/files.json"):
        shutil.rmtree(out)
        shutil.copytree(undisturbed, out)
        (out / name).write_text("{}")
        refused = call("shard", "work", out, "pairs", 0)
        assert refused.returncode == 2
        assert len(refused.stderr.strip().splitlines()) == 1
        assert str(out) in refused.stderr


def test_of_two_that_plan_one_folder_at_once_one_is_refused(world, tmp_path):
    common = {"songs": str(world / "songs.json"), "music": str(world / "music"),
              "listeners": str(world / "listeners.json")}  # fmt: skip
    processes = []
    for number, chain in enumerate(("baseline", "e016")):
        (tmp_path / str(number)).mkdir()
        path = write_settings(tmp_path / str(number), **common, chain=chain)
        arguments = command("shard", "plan", path, "--out", tmp_path / "run")
        processes.append(subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True))
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 2]
    assert sum("holds a run with other settings" in text for text in said) == 1
    winner = ("baseline", "e016")[[process.returncode for process in processes].index(0)]
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["chain"] == winner


def test_shards_by_hand_and_what_changed_later(song, tmp_path):
    names = make_challenge(tmp_path, song, n_songs=2, duration_s=1.0, listeners=("N1",))
    out = tmp_path / "run"
    assert call("shard", "plan", tmp_path / "run.yaml", "--out", out).returncode == 0
    again = call("shard", "plan", tmp_path / "run.yaml", "--out", out, "--demix-shards", 2)
    assert "demix: 2" in again.stdout  # nobody has worked on it yet
    too_early = call("shard", "work", out, "pairs", 0, "--settle-s", 0.1)
    assert too_early.returncode == 3
    assert "looking again" in too_early.stdout
    assert call("shard", "collect", out).returncode == 75
    for stage, index in (("demix", 0), ("demix", 1), ("pairs", 0), ("pairs", 1)):
        done = call("shard", "work", out, stage, index, "--round", 2, "--scratch", tmp_path)
        assert done.returncode == 0, done.stderr
    assert call("shard", "collect", out).returncode == 0
    folder = RunFolder(out)
    plan = read_plan(folder.plan)
    assert changed(folder, plan) == ()
    (tmp_path / "music" / "train" / names[0] / "mixture.wav").touch()
    (tmp_path / "music" / "train" / names[1] / "bass.wav").touch()
    assert [entry.unit.name for entry in changed(folder, plan)] == [
        f"demix/{names[0]}", f"enhance/N1/{names[0]}", f"score/N1/{names[0]}", f"score/N1/{names[1]}"
    ]  # fmt: skip
