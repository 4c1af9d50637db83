"""A challenge on a real two-node Slurm that loses a node, is preempted, runs out of time and has a damaged song.

What comes out is compared, byte for byte, with an undisturbed run on this machine.
"""

import csv
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from small_challenge import LISTENERS, make_challenge, results, write_settings

from cadenza_remix.runs.shards.folder import RunFolder, ShardId
from cadenza_remix.runs.shards.journal import ShardHistory, run_history
from cadenza_remix.runs.shards.plan import read_plan

pytestmark = pytest.mark.slurm

N_SONGS = 4
SLURM = {
    "environment": {"venv": sys.prefix},
    "demix": {"partition": "main", "gres": None, "cpus": 2, "memory_gb": 1, "shards": 2, "time_min": 30},
    # A node each, so that what is done to one does not touch the other.
    "pairs": {
        "partition": "main", "cpus": 1, "memory_gb": 2, "shards": 2, "time_min": 30, "options": ["--exclusive"],
    },
    "collect": {"partition": "main", "cpus": 1, "memory_gb": 1},
    "signal_s": 35,
}  # fmt: skip


def call(*arguments, timeout_s=300):
    command = [sys.executable, "-m", "cadenza_remix", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)


@pytest.fixture(scope="module")
def world(song, tmp_path_factory):
    folder = tmp_path_factory.mktemp("challenge of few seconds")  # its name holds spaces
    names = make_challenge(folder, song, n_songs=N_SONGS, duration_s=1.5)
    write_settings(folder, slurm=SLURM)
    done = call("run", folder / "run.yaml", "--out", folder / "here")
    assert done.returncode == 0, done.stderr
    return folder, names


class Watch:
    """What the journals and the queue say of a run."""

    def __init__(self, cluster, out):
        self.cluster, self.folder = cluster, RunFolder(out)
        self.plan = read_plan(self.folder.plan)

    def at_work(self, stage):
        """Return shards whose last incarnation has begun a unit and not closed, each with that incarnation."""
        found = {}
        for shard in self.plan.shards(stage):
            history = ShardHistory.read(self.folder, shard.id)
            running = any(state.state == "running" for state in history.states.values())
            if running and history.incarnations[-1].reason is None:
                found[shard.id] = history.incarnations[-1]
        return found

    def wait_at_work(self, shard):
        """Wait until a shard works on a unit; return its incarnation. Jobs that were requeued are let go at once."""

        def look():
            let_go(self.cluster)
            return self.at_work(shard.stage).get(shard)

        return self.cluster.wait(look, 120, f"{shard} is at work")

    def wait_for_the_end(self):
        def look():
            let_go(self.cluster)
            return not lives(self.cluster)

        self.cluster.wait(look, 300, "the end of all jobs")

    def n_incarnations(self, shard):
        return len(ShardHistory.read(self.folder, shard).incarnations)


def test_a_run_survives_all_that_at_once(world, clean_cluster, tmp_path_factory):
    cluster = clean_cluster
    folder, names = world
    mixture = folder / "music" / "train" / names[3] / "mixture.wav"
    good = mixture.read_bytes()
    out = folder / "on the cluster"
    try:
        mixture.write_bytes(good[:1000])
        submitted = call("slurm", "submit", folder / "run.yaml", "--out", out)
        assert submitted.returncode == 0, submitted.stderr
        watch = Watch(cluster, out)

        # One node dies: its daemon and everything of the job that demixes there.
        hit, incarnation = cluster.wait(lambda: [*watch.at_work("demix").items()], 90, "a shard that demixes")[0]
        cluster.kill_node(incarnation.node)
        cluster.mark_down(incarnation.node)
        cluster.start_node(incarnation.node)
        cluster.resume(incarnation.node)
        assert watch.n_incarnations(hit) == 1

        # One shard of pairs comes to its time limit while its worker hangs: Slurm tells it so within half a minute.
        late = ShardId("pairs", 0)
        incarnation = watch.wait_at_work(late)
        hang(incarnation)
        cluster.end_in(incarnation.job, 50)  # in less than 30 it might be ended in the moment in which it is told

        # The other is preempted by a job of a partition that comes first.
        preempted = ShardId("pairs", 1)
        incarnation = watch.wait_at_work(preempted)
        hang(incarnation)
        urgent = cluster.sbatch("sleep 2", "--partition=urgent", "--exclusive", f"--nodelist={incarnation.node}")
        cluster.wait(lambda: cluster.details(incarnation.job).get("Restarts") == "1", 60, "the preemption")
        cluster.wait_for(urgent, "COMPLETED", 60)

        watch.wait_for_the_end()
    finally:
        mixture.write_bytes(good)

    # The damaged song is told, and it alone.
    with (out / "missing.csv").open(newline="") as file:
        missing = list(csv.DictReader(file))
    assert {row["unit"].rsplit("/", 1)[1] for row in missing} == {names[3]}
    assert len(missing) == 1 + 2 * len(LISTENERS)
    assert missing[0]["state"] == "aside"
    assert "mixture.wav: file is cut off" in missing[0]["reason"]
    here, there = results(folder / "here"), results(out)
    of_others = {name: content for name, content in here.items() if names[3] not in name and "scores" not in name}
    assert {name: content for name, content in there.items() if "scores" not in name} == of_others
    assert (out / "scores.csv").read_text().count("\n") == 1 + 3 * len(LISTENERS)

    # What was done to the shards did happen.
    for shard in (hit, preempted, late):
        assert watch.n_incarnations(shard) > 1, shard
    reasons = {one.reason for history in run_history(watch.folder, watch.plan).values() for one in history.incarnations}
    assert reasons == {None, "time limit", "terminated", "complete"}  # None: killed
    told = call("slurm", "status", out)
    assert told.returncode == 1, told.stdout + told.stderr
    assert f"demix/{names[3]}" in told.stdout
    log = call("slurm", "logs", out, f"demix/{names[3]}")
    assert "file is cut off" in log.stdout

    # Mended, the run is resumed: only what was missing is done.
    before = {path: path.stat().st_mtime_ns for path in (out / "records").rglob("*.json")}
    n_before = sum(1 for _ in (out / "journal").rglob("*.jsonl"))
    resumed = call("slurm", "resume", out)
    assert resumed.returncode == 0, resumed.stderr
    watch.wait_for_the_end()
    assert results(out) == here
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert sum(1 for _ in (out / "journal").rglob("*.jsonl")) == n_before + 2  # its demixing and its pairs
    assert not (out / "missing.csv").exists()
    assert call("slurm", "status", out).returncode == 0
    (out / "scores.csv").unlink()  # as if the job that collects had been cancelled
    again = call("slurm", "resume", out)
    assert "nothing is left to do" in again.stdout
    assert results(out) == here
    assert not [path for path in out.rglob(".*") if path.is_file()]


def hang(incarnation):
    """Stop the workers of a shard, so that it is still there when something happens to it."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            if int(stat.read_text().rpartition(")")[2].split()[1]) == incarnation.pid:
                os.kill(int(stat.parent.name), signal.SIGSTOP)


def lives(cluster):
    return [job for job, state in cluster.states().items() if state in ("PENDING", "RUNNING", "COMPLETING")]


def let_go(cluster):
    """Let requeued jobs start, which would wait for two minutes."""
    for job, state in cluster.states().items():
        if state == "PENDING" and cluster.details(job).get("Reason") == "BeginTime":
            cluster.skip_requeue_delay(job)


def test_songs_and_plan_are_checked_before_anything_is_submitted(world, clean_cluster, tmp_path):
    folder, _ = world
    write_settings(tmp_path, songs=str(folder / "songs.json"), music=str(folder / "music"),
                   listeners=str(folder / "listeners.json"), separator="spleeter:4stems", slurm=SLURM)  # fmt: skip
    home = {**os.environ, "CADENZA_REMIX_HOME": str(tmp_path / "no models")}
    command = [
        sys.executable,
        "-m",
        "cadenza_remix",
        "slurm",
        "submit",
        tmp_path / "run.yaml",
        "--out",
        tmp_path / "run",
    ]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=100, env=home)
    assert refused.returncode == 2
    assert "cadenza-remix models fetch spleeter:4stems" in refused.stderr
    assert not (tmp_path / "run").exists()
    assert not lives(clean_cluster)


def test_dry_run_prints_jobs_and_scripts_and_makes_nothing(world, clean_cluster, tmp_path):
    folder, _ = world
    told = call("slurm", "submit", folder / "run.yaml", "--out", tmp_path / "run", "--dry-run")
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("#!/bin/bash") == 3
    assert "#SBATCH --signal=B:USR1@35" in told.stdout
    assert not (tmp_path / "run").exists()
    assert not lives(clean_cluster)


def test_cancelled_run_can_be_resumed(world, clean_cluster, tmp_path):
    folder, _ = world
    out = tmp_path / "run"
    assert call("slurm", "submit", folder / "run.yaml", "--out", out).returncode == 0
    watch = Watch(clean_cluster, out)
    watch.wait_at_work(ShardId("pairs", 0))
    refused = call("slurm", "resume", out)
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1
    cancelled = call("slurm", "cancel", out)
    assert cancelled.returncode == 0, cancelled.stderr
    watch.wait_for_the_end()
    assert call("slurm", "resume", out).returncode == 0
    watch.wait_for_the_end()
    assert results(out) == results(folder / "here")
