"""What Slurm's programs print, in the forms that their manual pages give, accounting's above all."""

from __future__ import annotations

import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.slurm.answers import (
    SQUEUE_FORMAT,
    JobState,
    base_id,
    config_value,
    duration_s,
    is_job_id,
    parse_sacct,
    parse_squeue,
    smallest_submit_limit,
)

_CONFIG = """\
Configuration data as of 2026-11-21T13:37:02
AccountingStorageExternalHost = (null)
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = ci
MaxArraySize            = 1001
SLURM_VERSION           = 22.05.8
"""


def test_squeue_with_and_without_an_array() -> None:
    text = (
        "2_3|2|3|PENDING||JobArrayTaskLimit|N/A|10:00|0|\n"
        "2_0|2|0|RUNNING|node1|None|1795268432|1-00:00:00|2|\n"
        "4|4|N/A|COMPLETED|node[1-2]|None|1795268431|UNLIMITED|0|\n"
    )
    assert SQUEUE_FORMAT.count("|") == 9
    assert parse_squeue(text) == [
        JobState("2_3", "2", 3, "PENDING", "", "JobArrayTaskLimit", None, 600.0, 0),
        JobState("2_0", "2", 0, "RUNNING", "node1", "", 1795268432.0, 86400.0, 2),
        JobState("4", "4", None, "COMPLETED", "node[1-2]", "", 1795268431.0, None, 0),
    ]


def test_squeue_names_the_cluster_where_there_are_several() -> None:
    assert parse_squeue("CLUSTER: ci\n7|7|N/A|RUNNING|n1|None|17|10:00|0|\n")[0].job_id == "7"


def test_an_unknown_answer_is_refused() -> None:
    with pytest.raises(InputError, match=r"^squeue: unknown answer: expected 9 fields, found '7 RUNNING'$"):
        parse_squeue("7 RUNNING\n")
    with pytest.raises(InputError, match=r"^sacct: unknown answer: expected 6 fields"):
        parse_sacct("7|RUNNING\n")


def test_sacct_gives_one_job_for_each_element() -> None:
    text = (
        "12_0|COMPLETED|node3|None|1700000000|02:00:00\n"
        "12_1|CANCELLED by 1000|node4|None|1700000001|02:00:00\n"
        "12_2|OUT_OF_MEMORY|node4|None|1700000001|02:00:00\n"
        "12_[4-6,9%2]|PENDING|None assigned|Resources|Unknown|Partition_Limit\n"
        "13|NODE_FAIL|node[1-2]|None|1700000000|1-00:00:00\n"
    )
    jobs = parse_sacct(text)
    assert [job.job_id for job in jobs] == ["12_0", "12_1", "12_2", "12_4", "12_5", "12_6", "12_9", "13"]
    assert jobs[1] == JobState("12_1", "12", 1, "CANCELLED", "node4", "", 1700000001.0, 7200.0, None)
    assert jobs[4] == JobState("12_5", "12", 5, "PENDING", "", "Resources", None, None, None)
    assert [job.is_over for job in jobs] == [True, True, True, False, False, False, False, True]
    assert (jobs[-1].task_id, jobs[-1].time_limit_s) == (None, 86400.0)


def test_sacct_with_steps_of_an_array_and_what_it_repeats() -> None:
    assert [job.job_id for job in parse_sacct("5_[1-7:3]|PENDING|None assigned|None|Unknown|01:00\n")] == [
        "5_1", "5_4", "5_7"
    ]  # fmt: skip
    twice = "6|NODE_FAIL|node1|None|17|01:00\n6|COMPLETED|node2|None|18|01:00\n"
    assert [(job.state, job.nodes) for job in parse_sacct(twice)] == [("COMPLETED", "node2")]
    assert parse_sacct("8+0|RUNNING|node1|None|17|01:00\n") == []


def test_values_of_the_configuration() -> None:
    assert config_value(_CONFIG, "MaxArraySize") == "1001"
    assert config_value(_CONFIG, "AccountingStorageType") == "accounting_storage/slurmdbd"
    with pytest.raises(InputError, match="scontrol show config: missing in Slurm's answer: expected MaxJobCount"):
        config_value(_CONFIG, "MaxJobCount")


_ASSOCIATIONS = "music|normal|500|\nspeech|long|200|5000\n"
_QUALITIES = "normal||\nlong|100|\nshort|50|20\n"


@pytest.mark.parametrize(
    ("account", "qos", "most"),
    [
        (None, None, 100),
        ("music", None, 500),
        ("speech", None, 100),
        ("speech", "normal", 200),
        ("music", "short", 20),
        ("unknown", None, None),
    ],
)
def test_the_smallest_limit_on_jobs_counts(account: str | None, qos: str | None, most: int | None) -> None:
    assert smallest_submit_limit(_ASSOCIATIONS, _QUALITIES, account=account, qos=qos) == most


def test_no_limit_is_none() -> None:
    assert smallest_submit_limit("music|normal||\n", "normal||\n") is None
    assert smallest_submit_limit("", "") is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30.0), ("10:00", 600.0), ("02:00:01", 7201.0), ("2-00:00:00", 172800.0), ("UNLIMITED", None), ("", None)],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(("job_id", "base"), [("12", "12"), ("12_3", "12")])
def test_the_job_of_an_element(job_id: str, base: str) -> None:
    assert base_id(job_id) == base


@pytest.mark.parametrize("job_id", ["", "12_", "x", "12_[0-3]", "1,2", "-u"])
def test_what_is_no_job_id_is_refused(job_id: str) -> None:
    with pytest.raises(InputError, match="no job id: expected 12 or 12_3"):
        base_id(job_id)


@pytest.mark.parametrize("text", ["", "--all", "12_", "12 13", "12\n", "\u0661\u0662", "9" * 19, "12_3_4"])
def test_what_is_no_job_id_never_reaches_slurm(text: str) -> None:
    assert not is_job_id(text)
    with pytest.raises(InputError, match="no job id"):
        base_id(text)
