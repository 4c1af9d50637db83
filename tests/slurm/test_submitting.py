"""Submissions on a real Slurm: order, dependencies, arguments, signals, requeues, refusals.

The work itself is done by a small program in place of ``cadenza-remix``, which notes what it is told and leaves with
the statuses that the test wants.
"""

import json
import shlex
import sys
import time

import pytest

from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.runs.shards.folder import RunFolder, ShardId
from cadenza_remix.runs.shards.plan import PlannedSong, Unit, make_plan
from cadenza_remix.slurm import cluster as programs
from cadenza_remix.slurm.settings import read_settings
from cadenza_remix.slurm.submission import (
    cancel,
    check_jobs,
    keep_settings,
    kept_settings,
    living_jobs,
    most_submittable,
    next_round,
    read_submissions,
    shards_of,
    submit,
)

pytestmark = pytest.mark.slurm

STAND_IN = """\
#!{python}
import json, os, signal, sys, time
from pathlib import Path

words = sys.argv[1:]
root = Path(words[2])
name = "-".join(words[3:5]) if words[1] == "work" else words[1]
notes = root / "notes"
notes.mkdir(exist_ok=True)

def note(what, **facts):
    with open(notes / name, "a") as file:
        file.write(json.dumps(dict(what=what, t=time.time(), **facts)) + "\\n")

def leave(number, frame):
    note(signal.Signals(number).name)
    sys.exit({{signal.SIGUSR1: 75, signal.SIGTERM: 143}}[number])

signal.signal(signal.SIGUSR1, leave)
signal.signal(signal.SIGTERM, leave)
names = ("SLURM_RESTART_COUNT", "SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES", "TF_NUM_INTRAOP_THREADS")
note("begin", words=words, environment={{key: os.environ.get(key) for key in names}})
orders = root / "orders" / name
what = orders.read_text().split() if orders.exists() else []
order = what.pop(0) if what else "0"
if orders.exists():
    orders.write_text(" ".join(what))
time.sleep(60 if order == "wait" else 0.3)
note("end")
sys.exit(0 if order == "wait" else int(order))
"""

SONGS = ("one", "two", "three", "four")


@pytest.fixture
def folder(tmp_path):
    """The folder of a run, with a name that needs every kind of quotes, and a stand-in for the program."""
    program = tmp_path / "bin" / "cadenza-remix"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    root = tmp_path / 'it\'s a "run" #1 100%x $HOME'
    (root / "orders").mkdir(parents=True)
    return RunFolder(root)


@pytest.fixture
def plan():
    """Two shards of demix (songs one and four, two and three), and two of pairs for each."""
    songs = {name: PlannedSong(10.0 * (len(SONGS) - place), 5.0) for place, name in enumerate(SONGS)}
    pairs = [Pair(song, listener) for song in SONGS for listener in ("L1", "L2")]
    return make_plan(songs, pairs, n_demix_shards=2, n_pairs_shards=4)


def settings_for(folder, **changes):
    raw = {
        "environment": {"setup": [f'export PATH={shlex.quote(str(folder.root.parent / "bin"))}:"$PATH"']},
        "demix": {"cpus": 2, "memory_gb": 1},
        "pairs": {"cpus": 3, "memory_gb": 1},
        "collect": {"memory_gb": 1},
        "scratch": "/tmp/my scratch",
    }
    return read_settings({**raw, **changes})


def notes(folder, name):
    path = folder.root / "notes" / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def whats(folder, name):
    return [entry["what"] for entry in notes(folder, name)]


def order(folder, name, *statuses):
    (folder.root / "orders" / name).write_text(" ".join(str(status) for status in statuses))


def log(folder, stage, job):
    return (folder.slurm / "logs" / f"{stage}-{job}.log").read_text()


def wait_for_end(cluster, job_id, timeout_s=60):
    def is_over():
        states = programs.queue([job_id], accounting=False)
        return bool(states) and all(state.is_over for state in states)

    cluster.wait(is_over, timeout_s, f"job {job_id} is over")


def test_a_whole_round(clean_cluster, folder, plan):
    settings, told = settings_for(folder), []
    began = time.time()
    done = submit(folder, plan, settings, round_number=1, notify=told.append)
    demix, first, second, collect = done.job_ids
    assert [job.depends_on for job in done.jobs] == [(), (f"{demix}_0",), (f"{demix}_1",), (demix, first, second)]
    assert told == [
        f"demix: job {demix}: 2 shards",
        f"pairs: job {first}: 2 shards, after {demix}_0",
        f"pairs: job {second}: 2 shards, after {demix}_1",
        f"collect: job {collect}: when all have ended",
    ]
    [entry] = read_submissions(folder)
    assert (entry["round"], entry["t"] == pytest.approx(began, abs=30)) == (1, True)
    assert entry["jobs"] == [
        {"stage": "demix", "job_id": demix, "shards": [0, 1], "offset": 0, "depends_on": [],
         "script": "slurm/demix.sbatch"},
        {"stage": "pairs", "job_id": first, "shards": [0, 1], "offset": 0, "depends_on": [f"{demix}_0"],
         "script": "slurm/pairs.sbatch"},
        {"stage": "pairs", "job_id": second, "shards": [2, 3], "offset": 2, "depends_on": [f"{demix}_1"],
         "script": "slurm/pairs.sbatch"},
        {"stage": "collect", "job_id": collect, "shards": [], "offset": 0, "depends_on": [demix, first, second],
         "script": "slurm/collect.sbatch"},
    ]  # fmt: skip
    wait_for_end(clean_cluster, collect)
    root, work = str(folder.root), ["shard", "work"]
    for index in (0, 1):
        [begin, _] = notes(folder, f"demix-{index}")
        gpu = begin["environment"]["CUDA_VISIBLE_DEVICES"]
        assert begin["environment"]["TF_NUM_INTRAOP_THREADS"] == "2"
        assert gpu.isdecimal()
        assert begin["words"] == [
            *work, root, "demix", str(index), "--round", "1", "--workers", "1", "--gpus", gpu,
            "--scratch", "/tmp/my scratch", "--deadline-s", "90", "--memory-mb", "1024",
        ]  # fmt: skip
        assert f"shard {index}, round 1, job {demix}_{index}, restart 0" in log(folder, "demix", f"{demix}_{index}")
    for index, shard in enumerate(plan.pairs):
        [begin, _] = notes(folder, f"pairs-{index}")
        assert begin["words"] == [
            *work, root, "pairs", str(index), "--round", "1", "--workers", "3",
            "--scratch", "/tmp/my scratch", "--deadline-s", "90", "--memory-mb", "1024",
        ]  # fmt: skip
        assert begin["t"] >= notes(folder, f"demix-{shard.needs}")[-1]["t"]
    assert [entry.get("words") for entry in notes(folder, "collect")] == [["shard", "collect", root], None]
    assert log(folder, "pairs", f"{second}_1").splitlines()[-1].startswith("status 0, ")


def test_stopped_early_goes_back_into_the_queue_and_the_pairs_wait(clean_cluster, folder, plan):
    order(folder, "demix-0", 75, 0)
    demix, _, _, collect = submit(folder, plan, settings_for(folder), round_number=1).job_ids
    clean_cluster.wait(lambda: clean_cluster.details(f"{demix}_0").get("Restarts") == "1", 30, "it is requeued")
    clean_cluster.wait(lambda: len(whats(folder, "pairs-3")) == 2, 30, "the other pairs are done")
    assert whats(folder, "pairs-0") == []
    clean_cluster.wait_for(f"{demix}_0", "PENDING")
    clean_cluster.skip_requeue_delay(f"{demix}_0")
    wait_for_end(clean_cluster, collect)
    restarts = [entry["environment"]["SLURM_RESTART_COUNT"] for entry in notes(folder, "demix-0") if "words" in entry]
    assert restarts == [None, "1"]
    assert notes(folder, "pairs-0")[0]["t"] >= notes(folder, "demix-0")[-1]["t"]
    assert clean_cluster.states()[f"{demix}_0"] == "COMPLETED"
    assert [line.split(",")[0] for line in log(folder, "demix", f"{demix}_0").splitlines() if "status" in line] == [
        "status 75",
        "status 0",
    ]


def test_restarts_are_bounded_and_errors_are_not_tried_again(clean_cluster, folder, plan):
    order(folder, "pairs-0", 75)
    order(folder, "pairs-2", 2)
    *_, first, second, collect = submit(
        folder, plan, settings_for(folder, most_restarts=0), round_number=1
    ).job_ids  # fmt: skip
    wait_for_end(clean_cluster, collect)
    states = clean_cluster.states()
    assert [states[job] for job in (f"{first}_0", f"{first}_1", f"{second}_0", collect)] == [
        "FAILED",
        "COMPLETED",
        "FAILED",
        "COMPLETED",
    ]
    assert "ExitCode=75:0" in clean_cluster.run("scontrol", "show", "job", f"{first}_0").stdout
    assert whats(folder, "pairs-0") == ["begin", "end"]


def test_signals_reach_the_work(clean_cluster, folder, plan):
    order(folder, "demix-0", "wait")
    order(folder, "demix-1", "wait")
    demix, first, second, collect = submit(folder, plan, settings_for(folder), round_number=1).job_ids
    for index in (0, 1):
        clean_cluster.wait(lambda index=index: whats(folder, f"demix-{index}"), 30, "it works")
    clean_cluster.run("scancel", "--batch", "--signal=USR1", f"{demix}_0")
    clean_cluster.run("scancel", f"{demix}_1")
    clean_cluster.wait(lambda: clean_cluster.details(f"{demix}_0").get("Restarts") == "1", 30, "it is requeued")
    clean_cluster.wait(lambda: whats(folder, "pairs-3")[-1:] == ["end"], 30, "its pairs look for themselves")
    assert whats(folder, "demix-0") == ["begin", "SIGUSR1"]
    assert whats(folder, "demix-1")[:2] == ["begin", "SIGTERM"]
    clean_cluster.wait_for(f"{demix}_1", "CANCELLED")
    wait_for_end(clean_cluster, second)
    assert living_jobs(folder) == [demix, first, collect]
    assert cancel(folder) == [demix, first, collect]
    for job in (demix, first, collect):
        wait_for_end(clean_cluster, job)
    assert cancel(folder) == []


def test_error_on_a_node_moves_the_job_to_another(clean_cluster, folder, plan):
    order(folder, "demix-0", 2, 0)
    shards = {ShardId("demix", 0)}
    demix, collect = submit(folder, plan, settings_for(folder), round_number=1, shards=shards).job_ids
    clean_cluster.wait(lambda: clean_cluster.details(f"{demix}_0").get("Restarts") == "1", 30, "it is requeued")
    clean_cluster.wait_for(f"{demix}_0", "PENDING")
    clean_cluster.skip_requeue_delay(f"{demix}_0")
    wait_for_end(clean_cluster, collect)
    nodes = [entry["environment"]["SLURMD_NODENAME"] for entry in notes(folder, "demix-0") if "words" in entry]
    assert sorted(nodes) == ["node1", "node2"]
    assert clean_cluster.states()[f"{demix}_0"] == "COMPLETED"


def test_a_job_that_nobody_else_can_take_is_not_moved(clean_cluster, folder, plan):
    order(folder, "demix-0", 2, 0)
    clean_cluster.mark_down("node2")
    shards = {ShardId("demix", 0)}
    demix, collect = submit(folder, plan, settings_for(folder), round_number=1, shards=shards).job_ids
    wait_for_end(clean_cluster, collect)
    assert whats(folder, "demix-0") == ["begin", "end"]
    assert clean_cluster.states()[f"{demix}_0"] == "FAILED"


def test_only_what_is_missing_waits_for_nothing(clean_cluster, folder, plan):
    shards = {ShardId("pairs", 1), ShardId("pairs", 3)}
    done = submit(folder, plan, settings_for(folder, most_running=1), round_number=2, shards=shards, last_round=2)
    pairs, collect = done.job_ids
    assert [job.depends_on for job in done.jobs] == [(), (pairs,)]
    wait_for_end(clean_cluster, collect)
    begun = sorted(path.name for path in (folder.root / "notes").iterdir())
    assert begun == ["collect", "pairs-1", "pairs-3"]
    [first, second] = sorted((notes(folder, name) for name in begun[1:]), key=lambda entries: entries[0]["t"])
    assert second[0]["t"] >= first[-1]["t"]  # one at a time
    assert first[0]["words"][6] == "2"


@pytest.mark.parametrize(("last_round", "submits_again"), [(2, True), (1, False)])
def test_collection_submits_the_next_round(clean_cluster, folder, plan, last_round, submits_again):
    order(folder, "collect", 75)
    shards = {ShardId("pairs", 1)}
    done = submit(folder, plan, settings_for(folder), round_number=1, shards=shards, last_round=last_round)
    wait_for_end(clean_cluster, done.job_ids[-1])
    expected = ["slurm", "resume", str(folder.root), "--after-round", "1", "--last-round", "2"]
    assert [entry["words"] for entry in notes(folder, "resume") if "words" in entry] == [expected] * submits_again
    assert clean_cluster.states()[done.job_ids[-1]] == ("COMPLETED" if submits_again else "FAILED")


def test_refused_in_the_middle_leaves_nothing_in_the_queue(clean_cluster, folder, plan):
    settings = settings_for(folder, pairs={"partition": "nowhere", "cpus": 1, "memory_gb": 1})
    order(folder, "demix-0", "wait")
    with pytest.raises(InputError) as caught:
        submit(folder, plan, settings, round_number=1)
    line = str(caught.value)
    assert "invalid partition specified: nowhere" in line
    [entry] = read_submissions(folder)
    [job] = entry["jobs"]
    assert line.endswith(f"; 1 of 4 jobs submitted, cancelled again: {job['job_id']}")
    wait_for_end(clean_cluster, job["job_id"])
    states = clean_cluster.states()
    assert {states[f"{job['job_id']}_{index}"] for index in (0, 1)} == {"CANCELLED"}
    assert next_round(folder) == 2


def test_a_closed_output_undoes_nothing(clean_cluster, folder, plan):
    def notify(line):
        raise BrokenPipeError(line)

    done = submit(folder, plan, settings_for(folder, options=["--hold"]), round_number=1, notify=notify)
    assert living_jobs(folder) == list(done.job_ids)
    assert len(done.jobs) == 4
    cancel(folder)


@pytest.mark.parametrize(
    ("stage", "changes", "words"),
    [
        ("demix", {"partition": "nowhere"}, "invalid partition specified: nowhere; "),
        ("pairs", {"cpus": 999}, "allocation failure: Requested node configuration is not available"),
    ],
)
def test_slurm_is_asked_about_each_stage(clean_cluster, folder, plan, stage, changes, words):
    check_jobs(plan, folder.root, settings_for(folder), where="run.yaml")
    with pytest.raises(InputError) as caught:
        check_jobs(plan, folder.root, settings_for(folder, **{stage: {"memory_gb": 1, **changes}}), where="run.yaml")
    assert str(caught.value).startswith(f"run.yaml: slurm.{stage}: sbatch refuses this job: {words}")
    assert not folder.slurm.exists()


def test_one_submission_at_a_time(clean_cluster, folder, plan, monkeypatch):
    order(folder, "pairs-0", "wait")
    settings, shards = settings_for(folder), {ShardId("pairs", 0)}
    done = submit(folder, plan, settings, round_number=1, shards=shards)
    with pytest.raises(InputError, match=f"jobs of this run wait or run: {', '.join(done.job_ids)}: expected none"):
        submit(folder, plan, settings, round_number=2, shards=shards)
    cancel(folder)
    for job in done.job_ids:
        wait_for_end(clean_cluster, job)
    order(folder, "pairs-0")
    order(folder, "collect", "wait")
    done = submit(folder, plan, settings, round_number=2, shards=shards)
    clean_cluster.wait(lambda: whats(folder, "collect"), 30, "it collects")
    monkeypatch.setenv("SLURM_JOB_ID", done.job_ids[-1])  # as if this were the job that collects
    assert living_jobs(folder) == []
    assert submit(folder, plan, settings, round_number=3, shards=shards).round_number == 3
    assert [entry["round"] for entry in read_submissions(folder)] == [1, 2, 3]
    assert next_round(folder) == 4
    assert next_round(folder, of_journals=7) == 8


def test_limits_count_what_is_queued(clean_cluster, folder, plan):
    before = most_submittable(read_settings({"options": ["--account=abc"]}))
    order(folder, "pairs-0", "wait")
    submit(folder, plan, settings_for(folder), round_number=1, shards={ShardId("pairs", 0)})
    assert before == programs.limits().max_jobs
    assert most_submittable(read_settings({})) == before - 2


def test_settings_and_list_of_jobs_are_kept(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(InputError, match="was never submitted"):
        kept_settings(folder)
    keep_settings(folder, {"options": ["--account=ü"], "demix": {"gres": None}})
    assert kept_settings(folder) == {"options": ["--account=ü"], "demix": {"gres": None}}
    assert read_submissions(folder) == []
    (folder.slurm / "submissions.json").write_text('[{"round": 1, "t": 0, "jobs": []}]')
    (folder.slurm / "settings.yaml").unlink()
    with pytest.raises(InputError, match=r"settings\.yaml: is missing: expected `cadenza-remix slurm submit CONFIG"):
        kept_settings(folder)


JOB = {"stage": "demix", "job_id": "12", "shards": [0], "offset": 0}


@pytest.mark.parametrize(
    "found",
    [
        {},
        [{"round": 1}],
        [{"round": "1", "jobs": []}],
        [{"round": 1, "jobs": {}}],
        [{"round": 1, "jobs": [{**JOB, "stage": "remix"}]}],
        [{"round": 1, "jobs": [{**JOB, "stage": ["demix"]}]}],
        [{"round": 1, "jobs": [{**JOB, "job_id": "x"}]}],
        [{"round": 1, "jobs": [{**JOB, "job_id": 12}]}],
        [{"round": 1, "jobs": [{**JOB, "shards": ["0"]}]}],
        [[]],
        None,
    ],
)
def test_a_damaged_list_of_jobs_is_told(tmp_path, found):
    folder = RunFolder(tmp_path)
    folder.slurm.mkdir()
    path = folder.slurm / "submissions.json"
    path.write_text(json.dumps(found))
    for use in (read_submissions, living_jobs, next_round, cancel):
        with pytest.raises(InputError) as caught:
            use(folder)
        assert str(caught.value).startswith(f"{path}: damaged list of jobs: expected what this program wrote, found ")


def test_shards_of_units(plan):
    units = [Unit("demix", "one"), Unit("score", "two", "L1")]
    assert shards_of(plan, units) == {shard.id for shard in plan.all_shards if set(units) & set(shard.units)}
    assert shards_of(plan, []) == set()
