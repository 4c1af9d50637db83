"""The commands resume and cancel on a real Slurm; the jobs are held in the queue, so that nothing works on them."""

import os
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.cli.slurm import check_environment, slurm
from cadenza_remix.demo import demo_song
from cadenza_remix.errors import InputError
from cadenza_remix.remix import load_chain
from cadenza_remix.runs.shards.config import RunConfig
from cadenza_remix.runs.shards.folder import RunFolder, ShardId
from cadenza_remix.runs.shards.inputs import RunInputs, begin, keep_inputs
from cadenza_remix.runs.shards.journal import open_journal
from cadenza_remix.runs.shards.plan import PlannedSong, make_plan
from cadenza_remix.runs.songs import SongFile
from cadenza_remix.slurm.settings import read_settings
from cadenza_remix.slurm.submission import cancel, keep_settings, living_jobs, read_submissions

pytestmark = pytest.mark.slurm


@pytest.fixture
def folder(tmp_path, clean_cluster):
    """A run of three songs with two listeners, each song a shard of its own, and nothing done of it."""
    folder = RunFolder(tmp_path / "my run")
    songs = {name: PlannedSong(10.0, 5.0) for name in ("one", "two", "three")}
    pairs = [Pair(song, listener) for song in songs for listener in ("L1", "L2")]
    files = {name: SongFile(name, tmp_path / f"{name}.wav") for name in songs}
    for file in files.values():
        file.path.touch()
    config = RunConfig(songs=tuple(str(file.path) for file in files.values()), listeners="cad1-sample")
    folder.root.mkdir()
    begin(config, folder)
    keep_inputs(config, RunInputs(files, {}, tuple(pairs), load_chain("baseline"), None, None), folder)
    make_plan(songs, pairs, n_demix_shards=3, n_pairs_shards=3, is_scored=False).write(folder.plan)
    keep_settings(folder, {"options": ["--hold"]})
    yield folder
    cancel(folder)


def run(*words):
    return CliRunner().invoke(slurm, [str(word) for word in words])


def write_journals(folder, shard, *, round_number=1, **events):
    """Write a journal of a shard: lists of units by what happened to them."""
    with open_journal(folder, shard, round_number, workers=1, n_units=2) as journal:
        for unit in events.get("done", ()):
            journal.begin(unit)
            journal.done(unit, 1.0)
        for unit in events.get("aside", ()):
            journal.aside(unit, "damaged")
        for unit in events.get("blocked", ()):
            journal.blocked(unit, "no stems")
        journal.close("complete", 0)


def shards_of_round(folder, number):
    entry = read_submissions(folder)[-1]
    assert entry["round"] == number
    jobs = entry["jobs"]
    return {stage: sorted(index for job in jobs if job["stage"] == stage for index in job["shards"])
            for stage in ("demix", "pairs")}  # fmt: skip


def pairs_of(song):
    return [f"enhance/L1/{song}", f"enhance/L2/{song}"]


def test_resume_submits_only_what_is_missing(folder):
    write_journals(folder, ShardId("demix", 0), done=["demix/one"])
    write_journals(folder, ShardId("pairs", 0), done=pairs_of("one"))
    write_journals(folder, ShardId("demix", 1), done=["demix/two"])
    write_journals(folder, ShardId("pairs", 1), done=pairs_of("two")[:1])
    write_journals(folder, ShardId("demix", 2), aside=["demix/three"])
    write_journals(folder, ShardId("pairs", 2), blocked=pairs_of("three"))
    told = run("resume", folder.root)
    assert told.exit_code == 0
    assert f"round 2 is submitted. How it stands: cadenza-remix slurm status '{folder.root}' --watch" in told.stdout
    assert shards_of_round(folder, 2) == {"demix": [2], "pairs": [1, 2]}
    [jobs] = [entry["jobs"] for entry in read_submissions(folder)]
    assert run("cancel", folder.root).stdout == f"cancelled: {', '.join(job['job_id'] for job in jobs)}\n"
    assert run("cancel", folder.root).stdout == "no job of this run waits or runs\n"


def test_the_job_that_collects_leaves_what_was_given_up(folder):
    write_journals(folder, ShardId("demix", 2), aside=["demix/three"])
    write_journals(folder, ShardId("pairs", 2), blocked=pairs_of("three"))
    (folder.slurm / "submissions.json").write_text('[{"round": 1, "t": 0, "jobs": []}]')
    assert run("resume", folder.root, "--after-round", 1, "--last-round", 3).exit_code == 0
    assert shards_of_round(folder, 2) == {"demix": [0, 1], "pairs": [0, 1]}
    told = run("resume", folder.root, "--after-round", 1, "--last-round", 3)
    assert told.stdout == "round 1 is not the last one: somebody has resumed the run since\n"


def test_songs_whose_stems_are_gone_are_demixed_again(folder):
    for index, song in enumerate(("one", "two", "three")):
        write_journals(folder, ShardId("demix", index), done=[f"demix/{song}"])
    write_journals(folder, ShardId("pairs", 0), done=pairs_of("one"))
    write_journals(folder, ShardId("pairs", 1), done=pairs_of("two")[:1], blocked=pairs_of("two")[1:])
    write_journals(folder, ShardId("pairs", 2), done=pairs_of("three"))
    assert run("resume", folder.root).exit_code == 0
    assert shards_of_round(folder, 2) == {"demix": [1], "pairs": [1]}
    error = run("resume", folder.root).exception
    assert isinstance(error, InputError)
    assert "jobs of this run wait or run: " in str(error)


def test_songs_that_have_changed_are_done_again(folder):
    for index, song in enumerate(("one", "two", "three")):
        write_journals(folder, ShardId("demix", index), done=[f"demix/{song}"])
        write_journals(folder, ShardId("pairs", index), done=pairs_of(song))
        record = folder.stems / song / "record.json"
        record.parent.mkdir(parents=True)
        record.write_text("{}")
        os.utime(record, (2000, 2000))
        os.utime(folder.root.parent / f"{song}.wav", (3000, 3000) if song == "two" else (1000, 1000))
    told = run("resume", folder.root)
    assert told.stdout.splitlines()[0] == "1 song has changed since: two"
    assert shards_of_round(folder, 2) == {"demix": [1], "pairs": [1]}


@pytest.mark.parametrize("reader", ["closed", "full"])
def test_who_does_not_read_the_output_gets_the_jobs_all_the_same(folder, reader):
    command = [sys.executable, "-m", "cadenza_remix", "slurm", "resume", str(folder.root)]
    if reader == "closed":
        read, write = os.pipe()
        os.close(read)
    else:
        write = os.open("/dev/full", os.O_WRONLY)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=100)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
    [entry] = read_submissions(folder)
    assert living_jobs(folder) == [job["job_id"] for job in entry["jobs"]]
    assert [job["stage"] for job in entry["jobs"]] == ["demix", "pairs", "pairs", "pairs", "collect"]


def test_nothing_is_left(folder):
    for index, song in enumerate(("one", "two", "three")):
        write_journals(folder, ShardId("demix", index), done=[f"demix/{song}"])
        write_journals(folder, ShardId("pairs", index), done=pairs_of(song))
    told = run("resume", folder.root)
    assert (told.exit_code, told.stdout.splitlines()[-1]) == (0, f"nothing is left to do: {folder.root}")
    assert read_submissions(folder) == []


@pytest.mark.parametrize("command", ["resume", "cancel"])
def test_no_run(clean_cluster, tmp_path, command):
    assert str(run(command, tmp_path).exception).startswith(f"{tmp_path}: no run lies here")


def test_never_submitted(folder):
    (folder.slurm / "settings.yaml").unlink()
    assert "was never submitted" in str(run("resume", folder.root).exception)
    (folder.slurm / "submissions.json").write_text('[{"round": 1, "t": 0, "jobs": []}]')
    assert f"{folder.slurm}/settings.yaml: is missing: " in str(run("resume", folder.root).exception)
    keep_settings(folder, {"demix": {"cpus": 0}})
    assert str(run("resume", folder.root).exception).startswith(f"{folder.slurm}/settings.yaml: slurm.demix.cpus: ")


@pytest.fixture
def challenge(clean_cluster, tmp_path):
    """Write settings of a run of one song, with a part ``slurm``; return their file."""

    def write(**settings):
        config = {
            "songs": [str(demo_song().path)],
            "listeners": "cad1-sample",
            "separator": "spleeter:2stems+hpss",
            "slurm": settings,
        }
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    yield write
    if (tmp_path / "run").exists():
        cancel(RunFolder(tmp_path / "run"))


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_what_slurm_would_refuse_makes_no_folder(challenge, tmp_path, dry_run):
    path = challenge(pairs={"partition": "nowhere"})
    error = run("submit", path, "--out", tmp_path / "run", *dry_run).exception
    assert isinstance(error, InputError)
    assert str(error) == (
        f"{path}: slurm.pairs: sbatch refuses this job: invalid partition specified: nowhere; "
        "allocation failure: Invalid partition name specified"
    )
    assert not (tmp_path / "run").exists()


def test_a_plan_that_was_worked_on_stays(challenge, tmp_path):
    path, folder = challenge(options=["--hold"], pairs={"shards": 1}), RunFolder(tmp_path / "run")
    assert run("submit", path, "--out", folder.root).exit_code == 0
    write_journals(folder, ShardId("demix", 0))
    assert "jobs of this run wait or run" in str(run("submit", path, "--out", folder.root).exception)
    cancel(folder)
    assert "stays" not in run("submit", path, "--out", folder.root).stdout
    cancel(folder)
    told = run("submit", challenge(options=["--hold"], pairs={"shards": 2}), "--out", folder.root)
    assert told.stdout.splitlines()[0] == (
        "the plan of 1 shards of songs and 1 of pairs stays, since it has been worked on; "
        "the settings would now make 1 and 2"
    )


def test_environments_that_are_not_there(tmp_path, monkeypatch):
    def check(**environment):
        check_environment(read_settings({"environment": environment}).environment)

    check()  # that of this very Python
    check(venv="/nowhere", modules=["python"])  # what a module brings, only a job can know
    with pytest.raises(InputError, match=r"slurm\.environment\.venv: no environment .* /nowhere/bin/cadenza-remix"):
        check(venv="/nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"slurm\.environment\.conda: no conda here"):
        check(conda="music")
    (tmp_path / "conda").write_text("#!/bin/sh\n")
    (tmp_path / "conda").chmod(0o755)
    check(conda="music")
    with pytest.raises(InputError, match=r"slurm\.environment\.conda: no such environment"):
        check(conda="/nowhere/music")
