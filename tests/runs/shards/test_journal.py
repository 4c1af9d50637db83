"""Journals: written by several threads, on full disks and by processes that are killed; read whatever they hold."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import OutputError
from cadenza_remix.runs.shards.folder import RunFolder, ShardId
from cadenza_remix.runs.shards.journal import (
    COMPLETE,
    LEFT,
    STATES,
    TERMINATED,
    TIME_LIMIT,
    Place,
    ShardHistory,
    last_round,
    measured_speeds,
    open_journal,
    read_events,
    run_history,
    this_place,
)
from cadenza_remix.runs.shards.plan import PlannedSong, Speeds, Unit, make_plan

SHARD = ShardId("pairs", 0)
PLACE = Place("login", "node7", "12_3")
A, B, C, D = (f"score/L1/song {letter}" for letter in "abcd")


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


def opened(folder, round_number=1, *, shard=SHARD, workers=1, place=PLACE):
    return open_journal(folder, shard, round_number, workers=workers, n_units=4, place=place)


def killed(folder, *events, round_number=1, workers=1, place=PLACE):
    """Write the journal of an incarnation that is gone: (method, arguments)."""
    with opened(folder, round_number, workers=workers, place=place) as journal:
        for name, *arguments in events:
            getattr(journal, name)(*arguments)
    return journal.path


def closed(folder, *events, reason=COMPLETE, **where):
    return killed(folder, *events, ("close", reason, 0), **where)


def read(folder, round_number=None):
    return ShardHistory.read(folder, SHARD, round_number)


def states(folder, round_number=None):
    return {unit: state.state for unit, state in read(folder, round_number).states.items()}


# --- writing


def test_every_event_is_a_line_that_reads_back(folder):
    path = killed(
        folder,
        ("begin", A),
        ("done", A, 1.25),
        ("found", "enhance/L1/Sög \"x\" \\ \n"),
        ("failed", B, "Traceback:\n  boom", "bug", 1),
        ("aside", B, "boom"),
        ("blocked", C, "no stems"),
        ("dropped", D, TERMINATED),
        ("close", TERMINATED, 3),
    )  # fmt: skip
    events = read_events(path)
    assert [event.name for event in events] == [
        "open", "begin", "done", "found", "failed", "aside", "blocked", "dropped", "close"
    ]  # fmt: skip
    assert events[0].facts == {
        "shard": "pairs-0", "round": 1, "host": "login", "node": "node7", "job": "12_3", "restart": 0,
        "pid": os.getpid(), "workers": 1, "n_units": 4, "n_before": 0,
    }  # fmt: skip
    assert (events[2].unit, dict(events[2].facts)) == (A, {"seconds": 1.25})
    assert events[3].unit == 'enhance/L1/Sög "x" \\ \n'
    assert events[4].facts == {"error": "Traceback:\n  boom", "kind": "bug", "attempt": 1}
    assert events[-1].facts == {"reason": TERMINATED, "n_left": 3}
    assert all(abs(event.t - time.time()) < 60 for event in events)
    assert path.read_bytes().count(b"\n") == len(events)
    assert path.name.startswith(f"0001-login-{os.getpid()}-")


def test_threads_write_whole_lines_and_the_last_is_the_last(folder):
    with opened(folder) as journal:

        def work(number):
            for count in range(500):
                if count % 50 == 0:
                    journal.failed(f"score/{number}/{count}", "x" * 300, "bug", 1)
                journal.begin(f"score/{number}/{count}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        journal.close(COMPLETE, 0)
        journal.done(A, 1.0)
        journal.close("again", 1)
    lines = journal.path.read_text().splitlines()
    assert len(lines) == len([json.loads(line) for line in lines]) == 1 + 4 * 510 + 1
    assert json.loads(lines[-1])["reason"] == COMPLETE
    with opened(folder) as other:
        assert other.path != journal.path


def test_an_exception_closes_the_journal_with_its_line(folder):
    with pytest.raises(OutputError), opened(folder) as journal:
        journal.done(A, 1.0)
        raise OutputError("records: cannot be written:\nNo space left")
    assert read_events(journal.path)[-1].facts == {
        "reason": "error: records: cannot be written: No space left", "n_left": 3
    }  # fmt: skip


FULL = """
import resource, signal, sys
from pathlib import Path
from cadenza_remix.errors import OutputError
from cadenza_remix.runs.shards.folder import RunFolder, ShardId
from cadenza_remix.runs.shards.journal import open_journal
with open_journal(RunFolder(Path(sys.argv[1])), ShardId("pairs", 0), 1, workers=1, n_units=4) as journal:
    journal.done("score/L1/first", 1.0)
    # A file that may not grow further than into its next line: as on a full disk, a part of it is written.
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 20, resource.RLIM_INFINITY))
    for _ in range(2):
        try:
            journal.done("score/L1/second", 1.0)
        except OutputError as error:
            print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    journal.done("score/L1/third", 1.0)
    journal.close("complete", 1)
"""


def test_a_full_disk_is_one_line_and_costs_no_other_event(folder):
    answer = subprocess.run([sys.executable, "-c", FULL, folder.root], capture_output=True, text=True, check=True)
    lines = answer.stdout.splitlines()
    assert len(lines) == 2
    assert all("cannot be written: File too large" in line for line in lines)
    assert states(folder) == {"score/L1/first": "done", "score/L1/third": "done"}
    assert read(folder).incarnations[0].reason == COMPLETE


def test_a_journal_that_cannot_be_made_is_one_line(folder):
    (folder.root / "journal").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        opened(folder)


def test_a_huge_error_is_shortened_in_its_middle(folder):
    path = killed(folder, ("failed", A, "begin " + "x" * 1_000_000 + " end", "bug", 1))
    error = read(folder).states[A].error
    assert error.startswith("begin x")
    assert error.endswith("x end")
    assert path.stat().st_size < 10_000


def test_where_a_process_runs():
    place = this_place({"SLURM_JOB_ID": "15", "SLURM_RESTART_COUNT": "2", "SLURMD_NODENAME": "node1"})
    assert (place.node, place.job, place.restart) == ("node1", "15", 2)
    place = this_place({"SLURM_JOB_ID": "15", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"})
    assert (place.node, place.job, place.restart) == (place.host, "12_3", 0)
    assert this_place({}) == Place(place.host, place.host, "", 0)


# --- states


def test_no_journal_is_no_history(folder):
    history = read(folder)
    assert (history.round_number, dict(history.states), history.incarnations) == (0, {}, ())
    assert history.states[A] == LEFT
    assert last_round(folder) == 0
    folder.journals(SHARD).mkdir(parents=True)
    (folder.journals(SHARD) / "notes.txt").write_text("mine")
    assert read(folder).incarnations == ()


def test_each_state(folder):
    killed(
        folder,
        ("begin", A), ("done", A, 2.5),
        ("begin", B), ("failed", B, "boom", "bug", 1),
        ("begin", C),
        ("aside", D, "boom thrice"),
        ("blocked", "score/L1/e", "no stems"),
        ("begin", "score/L1/f"), ("dropped", "score/L1/f", TERMINATED),
    )  # fmt: skip
    history = read(folder)
    assert {unit: state.state for unit, state in history.states.items()} == {
        A: "done", B: "failed", C: "running", D: "aside", "score/L1/e": "blocked", "score/L1/f": "left"
    }  # fmt: skip
    assert history.counts == dict.fromkeys(STATES, 1)
    assert history.states[A][2:6] == ("", 2.5, "node7", "12_3")
    assert [history.states[unit].error for unit in (B, D, "score/L1/e")] == ["boom", "boom thrice", "no stems"]
    assert (history.states[B].attempts, history.states[C].attempts) == (1, 0)
    assert history.attempts() == {B: 1, C: 1}
    assert history.states[C].t == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_done_in_any_journal_of_a_round_is_done(folder, order):
    journals = [
        lambda: closed(folder, ("begin", A), ("done", A, 3.0)),
        lambda: closed(folder, ("failed", A, "boom", "bug", 1), ("aside", A, "boom")),
    ]
    for number in order:
        journals[number]()
    assert states(folder) == {A: "done"}
    assert read(folder).states[A].attempts == 1
    assert read(folder).states[A].seconds == 3.0


def test_what_a_later_round_finds_not_done_is_not_done(folder):
    closed(folder, ("done", A, 3.0), ("done", B, 2.0), ("done", C, 1.0), ("done", D, 4.0))
    closed(folder, ("failed", A, "boom", "bug", 3), ("aside", A, "boom"), ("begin", B), ("found", D), round_number=2)
    assert states(folder) == {A: "aside", B: "left", C: "done", D: "done"}
    assert read(folder).states[A].attempts == 1
    assert read(folder).states[D].seconds == 4.0
    assert states(folder, 1) == dict.fromkeys((A, B, C, D), "done")
    opened(folder, 3)  # a third round has not come to it yet: its failures are forgotten, what was lost is not done
    assert states(folder) == {A: "left", B: "left", C: "done", D: "done"}
    closed(folder, ("done", A, 5.0), round_number=3)
    assert states(folder)[A] == "done"


def test_a_name_with_an_absurd_round_is_no_journal(folder):
    path = closed(folder, ("done", A, 3.0))
    for number in ("0000", "10000", "99999999999999999999"):
        path.with_name(path.name.replace("0001", number, 1)).write_bytes(path.read_bytes())
    assert last_round(folder) == 1
    assert len(read(folder).incarnations) == 1


def test_a_failure_after_done_in_the_same_journal_undoes_it(folder):
    closed(folder, ("found", A), ("failed", A, "boom", "bug", 1), ("found", B))
    assert states(folder) == {A: "failed", B: "done"}
    assert math.isnan(read(folder).states[B].seconds)


def test_seconds_are_kept_when_a_later_incarnation_only_finds_the_unit(folder):
    closed(folder, ("done", A, 3.0))
    closed(folder, ("found", A), round_number=2, place=Place("other", "node9"))
    assert read(folder).states[A][3:5] == (3.0, "node7")
    assert read(folder).round_number == 2


def test_a_new_round_forgets_failures(folder):
    closed(folder, *[("failed", A, "boom", "bug", 1)] * 3, ("aside", A, "boom"))
    assert (states(folder), read(folder).attempts()) == ({A: "aside"}, {A: 3})
    assert (states(folder, 2), read(folder, 2).attempts()) == ({}, {})
    opened(folder, 2)
    assert states(folder) == {}
    assert states(folder, 1) == {A: "aside"}
    assert last_round(folder) == 2


# --- incarnations


def test_what_died_incarnations_had_begun_counts_as_attempts(folder):
    for _ in range(2):
        killed(folder, ("begin", A), ("begin", B), ("done", B, 1.0))
    history = read(folder)
    # Of the first it is known that it is gone, since another came after it.
    assert (history.states[A].state, history.states[A].attempts) == ("running", 1)
    assert history.attempts() == {A: 2}
    closed(folder, ("begin", A), ("failed", A, "killed", "lost", 3))
    assert read(folder).states[A].state == "failed"
    assert read(folder).attempts() == {A: 3}


def test_an_incarnation_that_closed_or_is_of_another_round_lost_nothing(folder):
    killed(folder, ("begin", A), round_number=1)
    closed(folder, ("begin", A), ("begin", B), round_number=2, reason=TERMINATED)
    killed(folder, ("begin", C), ("dropped", C, TERMINATED), round_number=2)
    assert read(folder, 2).attempts() == {}
    assert read(folder, 1).attempts() == {A: 1}
    assert states(folder) == {A: "left", B: "left", C: "left"}


def test_a_unit_that_does_not_fit_into_the_time_limit_counts(folder):
    closed(
        folder,
        ("found", D),
        ("begin", A), ("begin", B), ("done", B, 1.0), ("begin", C),
        ("dropped", A, TIME_LIMIT), ("dropped", C, TIME_LIMIT),
        workers=2, reason=TIME_LIMIT,
    )  # fmt: skip
    assert read(folder).attempts() == {A: 1}  # C had only a part of the time
    closed(folder, ("begin", A), ("dropped", A, TERMINATED), reason=TERMINATED)
    assert read(folder).attempts() == {A: 1}


def test_incarnations_are_in_order_whatever_their_clocks_say(folder):
    paths = [killed(folder, ("begin", A), place=Place("b", f"node{number}")) for number in (1, 2, 3)]
    for hours, path in zip((2, 1, 0), paths, strict=True):
        events = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps({**event, "t": event["t"] + hours * 3600}) + "\n" for event in events))
        os.utime(path, (time.time() + hours * 3600, time.time() + hours * 3600))
    history = read(folder)
    assert [incarnation.path for incarnation in history.incarnations] == paths
    assert history.states[A].node == "node3"


def test_an_incarnation_tells_who_where_and_how_much(folder):
    path = closed(folder, ("done", A, 2.0), ("done", B, 3.0), ("done", "enhance/L1/a", 1.0), ("found", C))
    (incarnation,) = read(folder).incarnations
    assert (incarnation.path, incarnation.round, incarnation.reason) == (path, 1, COMPLETE)
    assert (incarnation.host, incarnation.node, incarnation.job, incarnation.pid) == (
        "login", "node7", "12_3", os.getpid()
    )  # fmt: skip
    assert (dict(incarnation.n_done), dict(incarnation.done_s)) == (
        {"enhance": 1, "score": 2}, {"enhance": 1.0, "score": 5.0}
    )  # fmt: skip
    assert 0 < incarnation.opened_t <= incarnation.last_t
    assert incarnation.changed_t == path.stat().st_mtime


# --- damage


@pytest.mark.parametrize(
    "garbage",
    [
        b'{"t":1.0,"event":"done","unit":"score/L1/so',
        b"\0" * 4096 + b"\n",
        b"\xff\xfe\n\n\r\n",
        b'5\n"text"\nnull\n[1]\n{}\n' + b"[" * 100_000 + b"\n",
        b'{"t":"1","event":"done","unit":"x"}\n{"t":1,"event":["done"]}\n{"t":1,"event":"done","unit":5}\n{"t":1}\n',
        b'{"t":1.5,"event":"news","unit":"score/L1/song a"}\n{"t":1,"event":"begin"}\n',
    ],
)
def test_lines_that_are_none_are_passed_over(folder, garbage):
    path = closed(folder, ("begin", A), ("done", A, 1.0), ("failed", B, "boom", "bug", 1))
    lines = path.read_bytes().splitlines(keepends=True)
    end = b"" if garbage.endswith(b"\n") else b"\n"
    path.write_bytes(lines[0] + garbage + end + b"".join(lines[1:]) + garbage)
    assert states(folder) == {A: "done", B: "failed"}
    assert read(folder).incarnations[0].reason == COMPLETE


def test_every_torn_end_is_read_up_to_its_last_whole_line(folder):
    path = killed(folder, ("begin", A), ("done", A, 1.0))
    data = path.read_bytes()
    ends = [at for at, byte in enumerate(data, 1) if byte == ord("\n")]
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        assert len(read_events(path)) == sum(end <= length for end in ends)
        (incarnation,) = read(folder).incarnations
        assert (incarnation.round, incarnation.host, incarnation.pid) == (1, "login", os.getpid())


KILLED = """
import itertools, sys
from pathlib import Path
from cadenza_remix.runs.shards.folder import RunFolder, ShardId
from cadenza_remix.runs.shards.journal import open_journal
journal = open_journal(RunFolder(Path(sys.argv[1])), ShardId("pairs", 0), 1, workers=1, n_units=4)
for number in itertools.count():
    journal.done(f"score/L1/{number}", 1.0)
"""


def test_two_incarnations_at_once_and_both_killed(folder):
    writers = [subprocess.Popen([sys.executable, "-c", KILLED, folder.root]) for _ in range(2)]
    try:
        # Looked at without reading them: they grow faster than they are read.
        while [path.read_bytes()[:1000].count(b"\n") > 1 for path in folder.root.rglob("*.jsonl")] != [True, True]:
            time.sleep(0.005)
    finally:
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
    history = read(folder)
    for incarnation in history.incarnations:
        # All that was written is there: the units are numbered without a gap.
        numbers = [int(event.unit[9:]) for event in read_events(incarnation.path)[1:]]
        assert numbers == list(range(len(numbers)))
    assert set(history.counts.items()) >= {("done", max(len(read_events(s.path)) for s in history.incarnations) - 1)}


# --- a whole run


def make_run():
    songs = {"a": PlannedSong(100.0, 50.0), "b": PlannedSong(200.0, 50.0)}
    pairs = [Pair(song, listener) for song in songs for listener in ("L1", "L2")]
    return make_plan(songs, pairs, n_demix_shards=2, n_pairs_shards=2, speeds=Speeds(per_unit_s=1.0))


def test_the_history_of_a_run_tells_of_every_unit(folder):
    plan = make_run()
    with opened(folder, 3, shard=plan.pairs[0].id) as journal:
        journal.done(plan.pairs[0].units[0].name, 1.0)
    histories = run_history(folder, plan)
    assert list(histories) == [shard.id for shard in plan.all_shards]
    for shard in plan.all_shards:
        assert list(histories[shard.id].states) == [unit.name for unit in shard.units]
    assert histories[plan.pairs[0].id].counts == {**dict.fromkeys(STATES, 0), "done": 1, "left": 3}
    assert histories[plan.pairs[1].id].counts == {**dict.fromkeys(STATES, 0), "left": 4}
    assert last_round(folder) == 3


def test_speeds_are_medians_of_what_units_took(folder):
    plan = make_run()
    assert measured_speeds(folder, plan) is None
    for shard, seconds in ((plan.demix[0], 1 + 100 * 0.5), (plan.demix[1], 1 + 200 * 0.7)):
        with opened(folder, shard=shard.id) as journal:
            journal.done(shard.units[0].name, seconds)
            journal.done(Unit("demix", "of another plan").name, 1e6)
            journal.found(shard.units[0].name)
    for number, rate in enumerate((0.1, 0.2, 9.0)):
        with opened(folder, number + 1, shard=plan.pairs[0].id) as journal:
            journal.done(Unit("score", "a", "L1").name, 1 + 50 * rate)
    speeds = measured_speeds(folder, plan)
    assert (speeds.demix, speeds.score) == pytest.approx((0.6, 0.2))
    assert (speeds.enhance, speeds.per_unit_s, speeds.start_s) == (plan.speeds.enhance, 1.0, plan.speeds.start_s)


def test_many_events_are_read_quickly(folder):
    # 40,000 events take about 0.15 s; five times that is allowed for a busy machine.
    with opened(folder, workers=4) as journal:
        for number in range(20_000):
            journal.begin(f"score/L{number % 53:04d}/song number {number}")
            journal.done(f"score/L{number % 53:04d}/song number {number}", 12.345)
    begun = time.process_time()
    assert read(folder).counts["done"] == 20_000
    assert time.process_time() - begun < 0.75
