"""What jobs ask for, into how many shards a run is cut, and what a submission would be: no Slurm is needed."""

import re

import pytest

from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.runs.shards.folder import ShardId
from cadenza_remix.runs.shards.plan import PlannedSong, Speeds, make_plan
from cadenza_remix.slurm.describing import describe
from cadenza_remix.slurm.resources import JobResources, cut, job_resources, shard_counts
from cadenza_remix.slurm.settings import read_settings
from cadenza_remix.slurm.submission import ArrayJob, plan_jobs

SPEEDS = Speeds(demix=0.1, enhance=0.5, score=2.0, per_unit_s=0.0, start_s=10.0)


def plan_of(n_songs=10, n_listeners=4, *, demix=1, pairs=1, scored=True):
    songs = {f"song {number}": PlannedSong(200.0, 100.0) for number in range(n_songs)}
    names = [Pair(song, f"L{number}") for song in songs for number in range(n_listeners)]
    return make_plan(songs, names, n_demix_shards=demix, n_pairs_shards=pairs, speeds=SPEEDS, is_scored=scored)


def test_resources_by_hand():
    settings = read_settings({"pairs": {"cpus": 5}})
    plan = plan_of()
    # 10 songs of 200 s at 0.1 on one GPU; 1.5 times that and 10 minutes are 15.25 minutes
    assert job_resources("demix", plan, settings) == JobResources(4, 1, 16384, 20, 210.0)
    # 40 pairs of 100 s + 200 s on 5 cores; 5 times 0.5 GB + 1.6 GB + 1 GB are 9/10 of it
    assert job_resources("pairs", plan, settings) == JobResources(5, 0, 68 * 256, 75, 2410.0)
    assert job_resources("collect", plan, settings) == JobResources(1, 0, 4096, 60, 30.0)


def test_a_shard_takes_no_less_than_its_longest_pair():
    plan = plan_of(1, 2)
    assert job_resources("pairs", plan, read_settings({"pairs": {"cpus": 8}})).expected_s == 10 + 300


def test_what_is_given_is_asked_for():
    raw = {"pairs": {"memory_gb": 2.5, "time_min": 7}, "demix": {"gres": "gpu:4"}}
    settings = read_settings(raw)
    assert job_resources("pairs", plan_of(), settings).memory_mb == 2560
    assert job_resources("pairs", plan_of(), settings).time_min == 7
    assert job_resources("demix", plan_of(), settings).expected_s == 10 + 200 / 4


def test_a_long_signal_makes_the_limit_longer():
    usual, long = ({"signal_s": seconds} for seconds in (200, 1000))
    times = [job_resources("demix", plan_of(), read_settings(raw)).time_min for raw in (usual, long)]
    assert times == [20, 60]


def test_counts_follow_the_target():
    # 200 s of demixing; 12,000 s of pairs on 8 cores: 1,500 s; each shard has 50 s beside its start
    assert shard_counts(plan_of(), read_settings({"target_min": 1})) == (4, 30)
    assert shard_counts(plan_of(), read_settings({"target_min": 60})) == (1, 1)
    assert shard_counts(plan_of(), read_settings({"demix": {"shards": 99}, "pairs": {"shards": 99}})) == (10, 40)
    assert shard_counts(plan_of(), read_settings({"demix": {"shards": 7}})) == (7, 7)


@pytest.mark.parametrize(("most", "expected"), [(35, (4, 30)), (34, (4, 29)), (9, (4, 4)), (8, (3, 4)), (3, (1, 1))])
def test_counts_stay_below_what_may_be_submitted(most, expected):
    assert shard_counts(plan_of(), read_settings({"target_min": 1}), most_submitted=most) == expected
    assert shard_counts(plan_of(), read_settings({"target_min": 1, "most_submitted": most})) == expected


def test_counts_that_cannot_be():
    with pytest.raises(InputError, match=r"slurm\.demix\.shards, slurm\.pairs\.shards: more jobs .* at most 9 shards"):
        shard_counts(plan_of(), read_settings({"pairs": {"shards": 20}}), most_submitted=10)
    with pytest.raises(InputError, match="too few jobs may be submitted: expected 3 or more, found 2"):
        shard_counts(plan_of(), read_settings({"target_min": 1}), most_submitted=2)


def test_jobs_of_a_plan():
    plan = plan_of(demix=5, pairs=12)
    jobs = plan_jobs(plan, [shard.id for shard in plan.all_shards], max_array_size=3)
    demix = [job for job in jobs if job.stage == "demix"]
    assert [(job.offset, job.shards, job.array) for job in demix] == [(0, (0, 1, 2), "0-2"), (3, (3, 4), "0-1")]
    done = []
    for job in jobs:
        if job.stage == "pairs":
            assert {plan.pairs[index].needs for index in job.shards} == {job.needs}
            assert all(0 <= index - job.offset < 3 for index in job.shards)
            done += job.shards
    assert sorted(done) == list(range(12))
    assert jobs[-1] == ArrayJob("collect")


def test_jobs_of_what_is_missing():
    plan = plan_of(demix=2, pairs=6)
    missing = [ShardId("demix", 1), *(ShardId("pairs", index) for index in (0, 2, 3, 5))]
    assert plan_jobs(plan, missing, max_array_size=1001) == [
        ArrayJob("demix", (1,), 1),
        ArrayJob("pairs", (0, 2), 0),
        ArrayJob("pairs", (3, 5), 3, needs=1),
        ArrayJob("collect"),
    ]


def test_the_same_work_in_other_numbers_of_shards():
    assert cut(plan_of(demix=1, pairs=1), 3, 7) == plan_of(demix=3, pairs=7)
    assert cut(plan_of(scored=False), 2, 2) == plan_of(demix=2, pairs=2, scored=False)


def test_description(tmp_path):
    settings, plan = read_settings({}, prefix="/opt/python"), plan_of(demix=2, pairs=4)
    text = describe(plan, tmp_path, settings, max_array_size=1001)
    lines = text.splitlines()
    assert lines[-7:-1] == [
        "stage    jobs  arrays  CPUs  GPUs  memory  time limit  expected each",
        "demix    2     1       4     1     16 GB   15 min      2 min",
        "pairs    4     2       8     0     27 GB   20 min      6 min",
        "collect  1     -       1     0     4 GB    60 min      30 s",
        "",
        f"logs: {tmp_path}/slurm/logs/demix-%A_%a.log",
    ]
    # 110 s of demixing, 10 s + 3,000 s / 8 of the longest pairs, 30 s of collection
    assert re.match(r"expected: 9 min if no job has to wait for others \(32 cores for pairs\); ", lines[-1])
    for stage in ("demix", "pairs", "collect"):
        assert f"==> {tmp_path}/slurm/{stage}.sbatch\n#!/bin/bash\n" in text
    assert list(tmp_path.iterdir()) == []
