"""How a run stands, told from journals as incarnations write them, with Slurm's word and without."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.runs.shards.folder import DEMIX, PAIRS, RunFolder, ShardId
from cadenza_remix.runs.shards.journal import Place, open_journal, run_history
from cadenza_remix.runs.shards.plan import Plan, PlannedSong, Speeds, make_plan
from cadenza_remix.slurm.answers import JobState
from cadenza_remix.slurm.journal_tails import Journals
from cadenza_remix.slurm.state import RunState, run_state, submitted_jobs

SONGS = {name: PlannedSong(200.0, 30.0) for name in ("a", "b")}
SPEEDS = Speeds(demix=0.05, enhance=0.05, score=0.1, per_unit_s=0.0, start_s=0.0)  # 10, 10 and 3 s
DEMIX_0, PAIRS_0, PAIRS_1 = ShardId(DEMIX, 0), ShardId(PAIRS, 0), ShardId(PAIRS, 1)
HOUR = 3600.0


@pytest.fixture
def plan() -> Plan:
    """One shard that demixes two songs, and one of pairs for each song: two listeners, four units."""
    pairs = [Pair(song, listener) for song in SONGS for listener in ("L1", "L2")]
    return make_plan(SONGS, pairs, n_demix_shards=1, n_pairs_shards=2, speeds=SPEEDS)


@pytest.fixture
def folder(tmp_path: Path, plan: Plan) -> RunFolder:
    plan.write(tmp_path / "plan.json")
    return RunFolder(tmp_path)


def write(
    folder: RunFolder, shard: ShardId, lines: Sequence[dict], *, round_number: int = 1, job: str = "", node: str = "n1",
    n_before: int = 0, restart: int = 0, host: str = "elsewhere", pid: int = 7, torn: str = "",
) -> Path:  # fmt: skip
    """Write a journal as an incarnation of its own does, at times of one's choice."""
    first = {
        "t": lines[0]["t"] if lines else 0.0, "event": "open", "shard": str(shard), "round": round_number, "host": host,
        "node": node, "pid": pid, "job": job, "restart": restart, "workers": 1, "n_units": 4, "n_before": n_before,
    }  # fmt: skip
    path = folder.journals(shard) / f"{round_number:04d}-{host}-{pid}-{n_before:08x}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in (first, *lines)) + torn)
    return path


def claim(folder: RunFolder, shard: ShardId, *, host: str = "elsewhere", pid: int = 7) -> Path:
    """Write the claim of a process at work."""
    path = folder.claim(shard)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"token": "x", "host": host, "pid": pid, "job": "", "beat": 8}))
    return path


def begin(t: float, unit: str) -> dict:
    return {"t": t, "event": "begin", "unit": unit}


def done(t: float, unit: str, seconds: float) -> dict:
    return {"t": t, "event": "done", "unit": unit, "seconds": seconds}


def close(t: float, reason: str = "complete") -> dict:
    return {"t": t, "event": "close", "reason": reason, "n_left": 0}


def submit(folder: RunFolder, *, round_number: int = 1) -> None:
    """Note what a submission notes: demix is job 11, pairs job 12, collect job 13; round 2 begins at 21, and so on."""
    path = folder.slurm / "submissions.json"
    path.parent.mkdir(exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else []
    jobs = [
        {"stage": stage, "job_id": f"{round_number}{number}", "shards": shards, "offset": 0, "depends_on": [],
         "script": f"slurm/{stage}.sbatch"}
        for number, (stage, shards) in enumerate({DEMIX: [0], PAIRS: [0, 1], "collect": []}.items(), start=1)
    ]  # fmt: skip
    path.write_text(json.dumps([*before, {"round": round_number, "t": 0.0, "jobs": jobs}]))


def job(job_id: str, state: str, *, node: str = "", reason: str = "", restarts: int | None = 0) -> JobState:
    array, _, task = job_id.partition("_")
    return JobState(job_id, array, int(task) if task else None, state, node, reason, None, None, restarts)


def stage(state: RunState, name: str) -> dict:
    found = next(stage for stage in state.stages if stage.name == name)
    names = ("done", "running", "failed", "aside", "blocked", "left")
    assert sum(getattr(found, name) for name in names) == found.total
    return {name: getattr(found, name) for name in names if getattr(found, name)}


def test_a_run_that_nobody_began(folder: RunFolder, plan: Plan) -> None:
    state = run_state(folder, plan, jobs=None, not_asked="never submitted")
    assert stage(state, "demix") == {"left": 2}
    assert stage(state, "score") == {"left": 4}
    assert (state.remaining_s, state.is_over, state.needs_attention) == (None, False, False)
    assert (state.jobs, state.lost, state.rounds, state.collect) == ((), (), 0, "not yet")
    assert state.not_asked == "never submitted"


def test_speeds_add_up_over_nodes_whose_clocks_are_hours_apart(folder: RunFolder, plan: Plan) -> None:
    """Two nodes do a pair each in 20 s (planned 13), one with a clock of nine hours later."""
    submit(folder)
    write(folder, DEMIX_0, [begin(0, "demix/a"), done(20, "demix/a", 20), begin(20, "demix/b"), done(40, "demix/b", 20),
                            close(40)], job="11_0")  # fmt: skip
    for shard, song, t, task in ((PAIRS_0, "a", 5 * HOUR, "12_0"), (PAIRS_1, "b", -4 * HOUR, "12_1")):
        units = [f"enhance/L1/{song}", f"score/L1/{song}", f"enhance/L2/{song}"]
        write(folder, shard, [begin(t, units[0]), done(t + 14, units[0], 14), begin(t + 14, units[1]),
                              done(t + 20, units[1], 6), begin(t + 20, units[2])], job=task, node=task)  # fmt: skip
    jobs = [job("11_0", "COMPLETED"), job("12_0", "RUNNING", node="n1"), job("12_1", "RUNNING", node="n2")]
    state = run_state(folder, plan, jobs=[*jobs, job("13", "PENDING", reason="Dependency")])
    assert stage(state, "enhance") == {"done": 2, "running": 2}
    assert stage(state, "score") == {"done": 2, "left": 2}
    demix, enhance, score = state.stages
    assert demix.recent is None
    assert demix.overall.units_per_hour == pytest.approx(180)  # one worker: 20 s each
    assert demix.cost_ratio == pytest.approx(2)
    assert demix.remaining_s == 0
    # two nodes, one unit of either kind in 20 s each
    assert enhance.recent.units_per_hour == enhance.overall.units_per_hour == pytest.approx(2 * 180)
    assert enhance.recent.audio_s_per_s == pytest.approx(2 * 200 / 20)
    assert score.recent.audio_s_per_s == pytest.approx(2 * 30 / 20)
    assert (enhance.seconds_per_unit, score.seconds_per_unit) == (14, 6)
    # two units of 14 s and two of 6 s, for two workers
    assert state.remaining_s == pytest.approx(20)
    assert (state.collect, state.is_over, state.lost, state.stuck) == ("waiting", False, (), ())


def test_the_present_speed_is_that_of_the_last_ten_minutes(folder: RunFolder, plan: Plan) -> None:
    lines = [begin(0, "enhance/L1/a"), done(1000, "enhance/L1/a", 1000), begin(1000, "enhance/L2/a"),
             done(1700, "enhance/L2/a", 700)]  # fmt: skip
    write(folder, PAIRS_0, lines)
    claim(folder, PAIRS_0)
    enhance = run_state(folder, plan, jobs=None).stages[1]
    assert enhance.recent.units_per_hour == pytest.approx(6)
    assert enhance.overall.units_per_hour == pytest.approx(2 * HOUR / 1700)


def test_failures_are_told_with_their_errors_and_count_for_their_round_alone(folder: RunFolder, plan: Plan) -> None:
    submit(folder)
    failed = {"event": "failed", "unit": "demix/a", "error": "a.wav: damaged", "kind": "input"}
    write(folder, DEMIX_0, [
        begin(0, "demix/a"), *({"t": t, **failed, "attempt": t} for t in (1, 2, 3)),
        {"t": 3, "event": "aside", "unit": "demix/a", "error": "a.wav: damaged"},
        begin(3, "demix/b"), done(4, "demix/b", 1.0), close(4),
    ], job="11_0")  # fmt: skip
    blocked = [{"t": 1, "event": "blocked", "unit": f"{kind}/{who}/a", "error": "no stems of a"}
               for who in ("L1", "L2") for kind in ("enhance", "score")]  # fmt: skip
    write(folder, PAIRS_0, [*blocked, close(1)], job="12_0")
    jobs = [job("11_0", "COMPLETED"), job("12_0", "COMPLETED"), job("12_1", "PENDING", reason="Resources")]
    state = run_state(folder, plan, jobs=jobs)
    assert stage(state, "demix") == {"done": 1, "aside": 1}
    assert stage(state, "score") == {"blocked": 2, "left": 2}
    assert [(t.name, t.why, t.job) for t in state.aside] == [("demix/a", "a.wav: damaged", "11_0")]
    assert len(state.blocked) == 4
    assert (state.is_over, state.lost) == (False, ())
    over = run_state(folder, plan, jobs=[*jobs[:2], job("12_1", "CANCELLED")])
    assert (over.is_over, over.needs_attention) == (True, True)

    submit(folder, round_number=2)
    write(folder, DEMIX_0, [begin(0, "demix/a")], job="21_0", round_number=2, n_before=1)
    again = run_state(folder, plan, jobs=[job("21_0", "RUNNING")])
    assert stage(again, "demix") == {"done": 1, "running": 1}
    assert (again.aside, again.rounds, again.is_over) == ((), 2, False)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_shard_whose_job_died_is_lost_with_accounting_and_without(
    folder: RunFolder, plan: Plan, is_known: bool
) -> None:
    submit(folder)
    write(folder, DEMIX_0, [begin(0, "demix/a")], job="11_0", torn='{"t":5.0,"event":"done","unit":"demix/a","sec')
    ended = [job("11_0", "NODE_FAIL", restarts=None)] if is_known else []
    state = run_state(folder, plan, jobs=[*ended, job("12_0", "PENDING", reason="DependencyNeverSatisfied")])
    assert stage(state, "demix") == {"left": 2}
    lost = {trouble.name: trouble.why for trouble in state.lost}
    why = "its job ended (NODE_FAIL)" if is_known else "its job is gone (Slurm knows it no more)"
    assert lost["demix-0"] == f"lost: {why} without a last word"
    assert lost["pairs-0"] == "its job never starts (DependencyNeverSatisfied) before it began"
    assert lost["pairs-1"] == "its job is gone (Slurm knows it no more) before it began"
    assert [(t.name, t.why, t.job) for t in state.stuck] == [("pairs-0", "DependencyNeverSatisfied", "12_0")]
    assert (state.is_over, state.needs_attention, state.collect) == (True, True, "its job is gone")


def test_a_requeued_job_is_awaited_and_its_last_process_is_not_at_work(folder: RunFolder, plan: Plan) -> None:
    submit(folder)
    write(folder, DEMIX_0, [begin(0, "demix/a")], job="11_0")
    for requeued in (job("11_0", "PENDING", reason="BeginTime", restarts=1), job("11_0", "RUNNING", restarts=1)):
        state = run_state(folder, plan, jobs=[requeued])
        assert stage(state, "demix") == {"left": 2}
        assert "demix-0" not in {trouble.name for trouble in state.lost}
        assert (state.is_over, state.jobs[0].restarts, state.jobs[0].units) == (False, 1, ())
    # by the clock of its node the second process began before the first
    write(folder, DEMIX_0, [begin(-HOUR, "demix/b")], job="11_0", restart=1, n_before=1, node="n2")
    state = run_state(folder, plan, jobs=[job("11_0", "RUNNING", restarts=1, node="n2")])
    assert [hand.unit for hand in state.jobs[0].units] == ["demix/b"]
    assert stage(state, "demix") == {"running": 1, "left": 1}


def test_a_reason_that_may_never_clear_is_told_in_slurms_words(folder: RunFolder, plan: Plan) -> None:
    submit(folder)
    jobs = [job("11_0", "PENDING", reason="AssocMaxJobsLimit"), job("12_0", "PENDING", reason="Dependency")]
    state = run_state(folder, plan, jobs=jobs)
    assert [(t.name, t.why) for t in state.stuck] == [("demix-0", "AssocMaxJobsLimit")]
    assert not state.is_over


def test_slurm_that_cannot_be_asked_ends_nothing(folder: RunFolder, plan: Plan) -> None:
    submit(folder)
    write(folder, DEMIX_0, [begin(0, "demix/a")], job="11_0")
    claim(folder, DEMIX_0)
    state = run_state(folder, plan, jobs=None, not_asked="squeue: no answer")
    assert stage(state, "demix") == {"running": 1, "left": 1}
    assert (state.lost, state.is_over, state.not_asked) == ((), False, "squeue: no answer")


def test_a_process_of_this_machine_that_is_gone_leaves_its_shard_lost(folder: RunFolder, plan: Plan) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    path = write(folder, DEMIX_0, [begin(0, "demix/a")], host=host, pid=ended.pid)
    claim(folder, DEMIX_0, host=host, pid=ended.pid)
    state = run_state(folder, plan, jobs=None)
    assert [(t.name, t.why) for t in state.lost] == [("demix-0", "lost: its process is gone without a last word")]
    assert (state.is_over, state.needs_attention) == (True, True)
    path.unlink()
    write(folder, DEMIX_0, [begin(0, "demix/a")], host=host, pid=os.getpid())
    claim(folder, DEMIX_0, host=host, pid=os.getpid())
    state = run_state(folder, plan, jobs=None)
    assert (state.lost, state.is_over) == ((), False)
    assert stage(state, "demix") == {"running": 1, "left": 1}


def test_how_long_a_unit_is_at_hand_is_told_by_the_beat_of_its_claim(folder: RunFolder, plan: Plan) -> None:
    path = write(folder, DEMIX_0, [begin(HOUR, "demix/a")], job="11_0", host="far", pid=9)
    submit(folder)
    os.utime(path, (5000, 5000))
    os.utime(claim(folder, DEMIX_0, host="far", pid=9), (5042, 5042))
    state = run_state(folder, plan, jobs=[job("11_0", "RUNNING")])
    assert state.jobs[0].units[0].for_s == pytest.approx(42)
    claim(folder, DEMIX_0, host="other", pid=9)
    state = run_state(folder, plan, jobs=[job("11_0", "RUNNING")])
    assert state.jobs[0].units[0].for_s == 0


def test_a_second_look_reads_only_what_is_new_and_says_the_same_as_a_first(folder: RunFolder, plan: Plan) -> None:
    journals = Journals(folder, plan)
    claim(folder, DEMIX_0, host="far", pid=os.getpid())
    with open_journal(folder, DEMIX_0, 1, workers=1, n_units=2, place=Place("far", "n1", "11_0")) as journal:
        journal.begin("demix/a")
        journals.look()
        size = journals.tails[DEMIX_0][0].offset
        assert size == journal.path.stat().st_size
        assert stage(run_state(folder, plan, jobs=None, journals=journals), "demix") == {"running": 1, "left": 1}
        journal.done("demix/a", 2.0)
        with journal.path.open("r+b") as file:
            file.write(b"#" * size)  # what was read is not read again
        journals.look()
        assert stage(run_state(folder, plan, jobs=None, journals=journals), "demix") == {"done": 1, "left": 1}


def test_states_are_those_of_the_journals_own_reader(folder: RunFolder, plan: Plan) -> None:
    write(folder, PAIRS_0, [begin(0, "enhance/L1/a"), done(1, "enhance/L1/a", 1), begin(1, "score/L1/a")], job="12_0")
    write(folder, PAIRS_0, [
        begin(0, "score/L1/a"), {"t": 1, "event": "failed", "unit": "score/L1/a", "error": "x", "attempt": 1},
        begin(1, "enhance/L2/a"), {"t": 2, "event": "dropped", "unit": "enhance/L2/a", "why": "terminated"},
        close(2, "terminated"),
    ], job="12_0", n_before=1, restart=1)  # fmt: skip
    write(folder, PAIRS_1, [{"t": 0, "event": "found", "unit": "enhance/L1/b"}, begin(0, "score/L1/b")], job="12_1")
    claim(folder, PAIRS_1)
    assert_readers_agree(folder, plan)
    aside = {"event": "aside", "unit": "score/L1/b", "error": "x"}
    failed = {"event": "failed", "unit": "enhance/L1/b", "error": "x", "attempt": 1}
    # Another round names two units, one of which was done; a third one leaves the second out.
    write(folder, PAIRS_1, [{"t": 0, **failed}, {"t": 1, **aside}, close(2)], round_number=2, n_before=1)
    assert_readers_agree(folder, plan)
    assert stage(run_state(folder, plan, jobs=None), "enhance")["failed"] == 1
    write(folder, PAIRS_1, [{"t": 0, "event": "found", "unit": "enhance/L1/b"}], round_number=3, n_before=2)
    assert_readers_agree(folder, plan)


def assert_readers_agree(folder: RunFolder, plan: Plan) -> None:
    state = run_state(folder, plan, jobs=None)
    for kind in ("demix", "enhance", "score"):
        expected: dict[str, int] = {}
        for history in run_history(folder, plan).values():
            for unit, its_state in history.states.items():
                if unit.startswith(kind):
                    expected[its_state.state] = expected.get(its_state.state, 0) + 1
        assert stage(state, kind) == expected


@pytest.mark.parametrize(
    "text", ['[{"round": 1}]', '[{"round": 1, "jobs": [{"stage": "demix", "job_id": "1"}]}]', "{", "[[]]", "\\0",
             '[{"round": 99999, "jobs": []}, {"round": 99999, "jobs": [{"stage": "collect", "job_id": "1"}]}]',
             '[{"round": 1, "jobs": [{"stage": "collect", "job_id": "--all", "shards": [], "offset": 0}]}]'],
)  # fmt: skip
def test_damaged_submissions_are_trouble_with_the_files_name(folder: RunFolder, plan: Plan, text: str) -> None:
    folder.slurm.mkdir()
    (folder.slurm / "submissions.json").write_text(text)
    state = run_state(folder, plan, jobs=None)
    (trouble,) = state.damaged
    assert trouble.name == "slurm/submissions.json"
    assert trouble.why.startswith("damaged list of jobs: expected what this program wrote")
    assert state.needs_attention
    with pytest.raises(InputError, match=r"submissions\.json: damaged list of jobs"):
        submitted_jobs(folder)


def test_cancelled_jobs_are_called_so(folder: RunFolder, plan: Plan) -> None:
    submit(folder)
    write(folder, DEMIX_0, [begin(0, "demix/a"), close(1, "terminated")], job="11_0")
    names = ("11_0", "12_0", "12_1", "13")
    state = run_state(folder, plan, jobs=[job(name, "CANCELLED", reason="Dependency") for name in names])
    assert {trouble.name: trouble.why for trouble in state.lost} == {
        "demix-0": "stopped: its job was cancelled",
        "pairs-0": "its job was cancelled before it began",
        "pairs-1": "its job was cancelled before it began",
    }
    assert (state.collect, state.n_cancelled, state.needs_attention) == ("cancelled", 4, True)


def test_tables_written_after_all_work_are_collected_whatever_became_of_the_job(folder: RunFolder, plan: Plan) -> None:
    submit(folder)
    for shard, units in {shard.id: shard.units for shard in plan.all_shards}.items():
        write(folder, shard, [*(done(1, unit.name, 1.0) for unit in units), close(2)], job="1")
    jobs = [job("13", "CANCELLED")]
    assert run_state(folder, plan, jobs=jobs).collect == "cancelled"
    folder.scores.write_text("of a former round\n")
    os.utime(folder.scores, (1000, 1000))
    assert run_state(folder, plan, jobs=jobs).needs_attention
    folder.scores.write_text("of now\n")
    state = run_state(folder, plan, jobs=jobs)
    assert (state.collect, state.needs_attention) == ("done", False)


@pytest.mark.parametrize("data", [b"\xff\x00\x93" * 500 + b"\n", b"", b"[1]\n{}\n", b'{"t":NaN,"event":"open"}\n'])
def test_a_damaged_journal_is_named_and_nobody_is_at_work_there(folder: RunFolder, plan: Plan, data: bytes) -> None:
    path = write(folder, DEMIX_0, [])
    path.write_bytes(data)
    state = run_state(folder, plan, jobs=None)
    assert [trouble.name for trouble in state.damaged] == [str(path.relative_to(folder.root))]
    assert stage(state, "demix") == {"left": 2}
    assert (state.is_over, state.needs_attention, state.jobs) == (True, True, ())


def test_a_journal_without_a_line_yet_is_no_trouble_where_its_shard_is_claimed(folder: RunFolder, plan: Plan) -> None:
    write(folder, DEMIX_0, []).write_bytes(b"")
    claim(folder, DEMIX_0)
    assert run_state(folder, plan, jobs=None).damaged == ()


def test_a_file_in_place_of_the_journals_is_trouble(folder: RunFolder, plan: Plan) -> None:
    (folder.root / "journal").write_text("")
    state = run_state(folder, plan, jobs=None)
    assert [(trouble.name, trouble.why) for trouble in state.damaged] == [
        ("journal", "cannot be listed: Not a directory")
    ]
    assert (state.is_over, state.needs_attention) == (True, True)


def test_nobody_is_at_work_without_a_claim_or_a_job(folder: RunFolder, plan: Plan) -> None:
    write(folder, DEMIX_0, [begin(0, "demix/a")])
    state = run_state(folder, plan, jobs=None)
    assert (stage(state, "demix"), state.is_over, state.needs_attention) == ({"left": 2}, True, True)


def test_a_journal_of_an_absurd_round_is_none_of_ours(folder: RunFolder, plan: Plan) -> None:
    write(folder, DEMIX_0, [begin(0, "demix/a"), close(1)], round_number=10_000)
    state = run_state(folder, plan, jobs=None)
    assert (state.rounds, state.is_over, state.damaged) == (0, False, ())
