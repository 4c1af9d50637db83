"""``slurm status`` and ``slurm logs`` as a user meets them, on a real cluster and where there is none."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_cluster import SlurmCluster

from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.runs.shards.claims import Claim
from cadenza_remix.runs.shards.folder import DEMIX, PAIRS, RunFolder, ShardId
from cadenza_remix.runs.shards.journal import Place, open_journal
from cadenza_remix.runs.shards.plan import Plan, PlannedSong, make_plan

PROGRAM = """
import sys, typer
from cadenza_remix import cli
from cadenza_remix.cli.slurm_state import logs, status
group = typer.Typer()
group.command()(status)
group.command()(logs)
cli.app.add_typer(group, name="look")
cli.main(["look", *sys.argv[1:]])
"""
TASK = """
import os, sys, time
from pathlib import Path
from cadenza_remix.runs.shards.folder import RunFolder, ShardId
from cadenza_remix.runs.shards.journal import open_journal
from cadenza_remix.runs.shards.plan import read_plan
folder, index = RunFolder(Path(sys.argv[1])), int(sys.argv[2])
units = [unit.name for unit in read_plan(folder.plan).shard(ShardId("pairs", index)).units]
with open_journal(folder, ShardId("pairs", index), 1, workers=1, n_units=len(units)) as journal:
    journal.begin(units[0])
    print("working on", units[0], flush=True)
    journal.done(units[0], 0.5)
    journal.begin(units[1])
    if index == 1:
        os._exit(3)
    while not Path(sys.argv[1], "go").exists():
        time.sleep(0.05)
    journal.done(units[1], 0.5)
    for unit in units[2:]:
        journal.done(unit, 0.5)
    journal.close("complete", 0)
"""


def call(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=90, env={**os.environ, **environment}
    )


@pytest.fixture
def plan() -> Plan:
    songs = {f"Song {name}": PlannedSong(200.0, 30.0) for name in "ab"}
    pairs = [Pair(song, listener) for song in songs for listener in ("L1", "L2")]
    return make_plan(songs, pairs, n_demix_shards=2, n_pairs_shards=2)


@pytest.fixture
def folder(tmp_path: Path, plan: Plan) -> RunFolder:
    plan.write(tmp_path / "plan.json")
    return RunFolder(tmp_path)


def submit(folder: RunFolder, job_id: str) -> None:
    (folder.slurm / "logs").mkdir(parents=True)
    job = {"stage": PAIRS, "job_id": job_id, "shards": [0, 1], "offset": 0, "depends_on": [], "script": ""}
    (folder.slurm / "submissions.json").write_text(json.dumps([{"round": 1, "t": 0.0, "jobs": [job]}]))


def work_all(folder: RunFolder, plan: Plan, *, failing: str = "") -> None:
    """Write the journals of a run that is over, in which one song could not be taken apart."""
    place = Place("far", "node9")
    for shard in plan.all_shards:
        with open_journal(folder, shard.id, 1, workers=1, n_units=len(shard.units), place=place) as journal:
            for unit in shard.units:
                journal.begin(unit.name)
                if not failing or failing not in unit.name:
                    journal.done(unit.name, 1.0)
                elif unit.kind == DEMIX:
                    error = 'Traceback:\n  File "x.py"\nInputError: damaged [song]'
                    journal.failed(unit.name, error, "input", 3)
                    journal.aside(unit.name, error)
                else:
                    journal.blocked(unit.name, "no stems")
            journal.close("complete", 0)


def test_a_run_that_went_well_leaves_with_0(folder: RunFolder, plan: Plan) -> None:
    work_all(folder, plan)
    folder.scores.write_text("song\n")
    result = call("status", folder.root)
    assert (result.returncode, result.stderr) == (0, "")
    assert max(map(len, result.stdout.splitlines())) < 100
    lines = result.stdout.splitlines()
    speeds = lines.index("")  # the first table comes after it, the second one after the next
    speeds = lines.index("", speeds + 1)
    rows = {words[0]: words[1:7] for line in lines[:speeds] if (words := line.split())}
    assert rows["demix"] == ["2/2", "0", "0", "0", "0", "0"]
    assert rows["score"] == ["4/4", "0", "0", "0", "0", "0"]
    assert "collect: done (scores.csv)" in result.stdout
    assert "Slurm was not asked: the run was not submitted to it" in result.stdout


def test_what_is_missing_is_named_and_leaves_with_1(folder: RunFolder, plan: Plan) -> None:
    work_all(folder, plan, failing="Song b")
    result = call("status", folder.root)
    assert result.returncode == 1
    assert "set aside: 1:\n  demix/Song b: InputError: damaged [song]" in result.stdout
    assert "blocked: 4, the first 3:" in result.stdout
    told = json.loads(call("status", folder.root, "--json").stdout)
    assert {stage["name"]: (stage["done"], stage["aside"]) for stage in told["stages"]}["demix"] == (1, 1)
    assert told["needs_attention"] is True


def test_a_pipe_gets_whole_lines(folder: RunFolder, plan: Plan) -> None:
    error, host = "x" * 300 + " what it was " + "y" * 300, "node" * 20
    with open_journal(folder, ShardId(DEMIX, 0), 1, workers=1, n_units=1, place=Place("far", host)) as journal:
        journal.failed("demix/Song a", error, "input", 3)
        journal.aside("demix/Song a", error)
        journal.close("complete", 0)
    result = call("status", folder.root, COLUMNS="60")
    lines = result.stdout.splitlines()
    assert f"  demix/Song a: {error}" in lines
    assert "\u2026" not in result.stdout
    assert any(line.startswith("what is missing: the same command again") and line.endswith("UNIT)") for line in lines)


def test_a_damaged_run_is_over_for_those_who_watch(folder: RunFolder, plan: Plan) -> None:
    lies_in = folder.journals(ShardId(DEMIX, 0))
    lies_in.mkdir(parents=True)
    for number in range(4):
        (lies_in / f"0001-far-7-0000000{number}.jsonl").write_bytes(os.urandom(2000))
    result = call("status", folder.root, "--watch", "--every", "5")
    assert result.returncode == 1
    assert "damaged files: 4, the first 3:\n  journal/demix-0/0001-far-7-0000000" in result.stdout
    assert "at work\n" not in result.stdout.splitlines()[0]


def test_a_folder_without_a_run_is_bad_input(tmp_path: Path) -> None:
    result = call("status", tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"cadenza-remix: error: {tmp_path}: no run lies here: expected a folder with plan.json\n"
    often = call("status", tmp_path, "--watch", "--every", "1")
    assert often.returncode == 2
    assert "5" in often.stderr


def test_logs_tell_each_event_of_a_unit_with_its_error(folder: RunFolder, plan: Plan) -> None:
    work_all(folder, plan, failing="Song b")
    result = call("logs", folder.root, "demix/Song b")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("demix/Song b: aside (shard demix-1, round 1, failed attempts in this round: 1)")
    assert [line.split()[2].rstrip(":") for line in lines if line[:2] == "20"] == ["begin", "failed", "aside"]
    assert '    File "x.py"' in lines
    assert "  InputError: damaged [song]" in lines
    assert lines[-1] == "no log of a job: nothing of it ran under Slurm"


def test_logs_take_a_part_of_a_name_that_is_unique(folder: RunFolder, plan: Plan) -> None:
    work_all(folder, plan)
    assert call("logs", folder.root, "ore/L2/Song b").stdout.startswith("score/L2/Song b: done")
    several = call("logs", folder.root, "Song b")
    assert several.returncode == 2
    assert several.stdout.splitlines() == [
        "demix/Song b", *(f"{kind}/{who}/Song b" for who in ("L1", "L2") for kind in ("enhance", "score"))
    ]  # fmt: skip
    assert several.stderr == (
        "cadenza-remix: error: 'Song b': 5 units match, see above: expected the whole name of one, such as "
        "'demix/Song b', or a part that only one has\n"
    )
    none = call("logs", folder.root, "nothing")
    assert (none.returncode, none.stdout) == (2, "")
    assert "no unit, shard or stage of this run" in none.stderr


def test_the_end_of_a_log_is_shown_and_all_of_it_when_asked(folder: RunFolder, plan: Plan) -> None:
    submit(folder, "77")
    log = folder.slurm / "logs" / "pairs-77_0.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    result = call("logs", folder.root, "pairs-0")
    assert "line 60" in result.stdout.splitlines()
    assert "line 59" not in result.stdout.splitlines()
    assert f"--- {log}, last 40 lines" in result.stdout
    assert "line 0" in call("logs", folder.root, "pairs-0", "--all").stdout.splitlines()


def test_watching_ends_quietly_when_interrupted(folder: RunFolder, plan: Plan) -> None:
    claim = Claim.take(folder.claim(ShardId(DEMIX, 0)), should_stop=lambda: False)
    assert claim is not None
    with claim, open_journal(folder, ShardId(DEMIX, 0), 1, workers=1, n_units=1) as journal:
        journal.begin("demix/Song a")
        command = [sys.executable, "-c", PROGRAM, "status", str(folder.root), "--watch"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            while "demix-0" not in watching.stdout.readline():
                pass
            watching.send_signal(signal.SIGINT)
            _, error = watching.communicate(timeout=20)
        assert (watching.returncode, error) == (130, "")


@pytest.mark.slurm
def test_jobs_of_a_real_cluster_are_told_as_they_are(
    clean_cluster: SlurmCluster, folder: RunFolder, plan: Plan, tmp_path: Path
) -> None:
    task = tmp_path / "task.py"
    task.write_text(TASK)
    log = f"{folder.slurm}/logs/pairs-%A_%a.log"
    words = shlex.join([sys.executable, str(task), str(folder.root)])
    (folder.slurm / "logs").mkdir(parents=True)
    job_id = clean_cluster.sbatch(f"{words} $SLURM_ARRAY_TASK_ID", "--array=0-1", f"--output={log}")
    job = {"stage": PAIRS, "job_id": job_id, "shards": [0, 1], "offset": 0, "depends_on": [], "script": ""}
    (folder.slurm / "submissions.json").write_text(json.dumps([{"round": 1, "t": 0.0, "jobs": [job]}]))
    clean_cluster.wait_for(f"{job_id}_1", "FAILED")
    first = folder.journals(ShardId(PAIRS, 0))
    clean_cluster.wait(lambda: [p for p in first.glob("*") if p.read_text().count("begin") == 2], 30, "0 is at work")

    told = json.loads(call("status", folder.root, "--json").stdout)
    states = {job["id"]: (job["state"], job["is_working"], job["shard"]) for job in told["jobs"]}
    assert states == {f"{job_id}_0": ("RUNNING", True, 0), f"{job_id}_1": ("FAILED", False, 1)}
    working = next(job for job in told["jobs"] if job["is_working"])
    assert working["node"] in clean_cluster.nodes
    assert [hand["unit"] for hand in working["units"]] == ["score/L1/Song a"]
    assert [(lost["name"], lost["job"]) for lost in told["lost"]] == [("pairs-1", f"{job_id}_1")]
    assert "FAILED" in told["lost"][0]["why"]
    assert (told["not_asked"], told["is_over"]) == ("", False)
    shown = call("status", folder.root)
    assert shown.returncode == 0  # something runs
    assert f"{job_id}_0" in shown.stdout

    (folder.root / "go").touch()
    began = time.monotonic()
    watched = call("status", folder.root, "--watch", "--every", "5")
    assert watched.returncode == 1  # pairs-1 is lost, and nobody runs
    assert time.monotonic() - began < 60
    assert "no one works on: 1:" in watched.stdout
    assert "cadenza-remix slurm resume" in watched.stdout
    assert "working on enhance/L1/Song b" in call("logs", folder.root, "enhance/L1/Song b").stdout


def test_a_machine_without_slurm_tells_that_and_goes_by_journals(folder: RunFolder, plan: Plan) -> None:
    submit(folder, "5")
    result = call("status", folder.root, PATH="/nowhere")
    assert result.returncode == 0
    assert "Slurm was not asked: scontrol: no such program" in result.stdout
    assert "2 of which Slurm was not asked" in result.stdout
