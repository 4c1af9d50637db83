"""The crew of a shard: order, sharing out, failures, losses, environments, and that its workers are bound to it."""

import os
import signal
import threading

import pytest
from shard_units import FileWork, events_of, is_alive, small_run, start_supervisor, until, work_on


@pytest.fixture
def run(tmp_path):
    return small_run(tmp_path)


def named(events, *names):
    return [(event.name, event.unit) for event in events if event.name in names]


def test_a_bundle_is_done_in_order_and_each_unit_is_told(run):
    folder, plan = run
    outcome = work_on(folder, plan, FileWork(folder.root))
    assert (outcome.n_done, outcome.n_left, outcome.reason) == (8, 0, "complete")
    (events,) = events_of(folder)
    units = [unit.name for unit in plan.pairs[0].units]
    assert named(events, "begin", "done") == [(name, unit) for unit in units for name in ("begin", "done")]
    assert [event.name for event in events if not event.unit] == ["open", "close"]
    assert all(0 <= event.facts["seconds"] < 5 for event in events if event.name == "done")
    assert events[-1].facts == {"reason": "complete", "n_left": 0}


def test_two_workers_work_at_once_each_on_its_song(run):
    folder, plan = run
    work = FileWork(folder.root, seconds=0.1, n_awaited=2)
    assert work_on(folder, plan, work, n_workers=2).n_done == 8
    (events,) = events_of(folder)
    lines = [(event.t, 1 if event.name == "begin" else -1) for event in events if event.name in ("begin", "done")]
    at_once, most = 0, 0
    for _, step in lines:
        at_once += step
        most = max(most, at_once)
    assert most == 2
    songs = {}
    for pid, name in work.noted("begun"):
        songs.setdefault(pid, []).append(name.rsplit("/", 1)[1])
    assert sorted(found[0] for found in songs.values()) == ["a", "b"]
    assert len(songs) == 2


def test_who_has_nothing_left_helps_with_a_song(tmp_path):
    folder, plan = small_run(tmp_path, songs=["a"], listeners=["L1", "L2", "L3", "L4"])
    work = FileWork(folder.root, seconds=0.1, n_awaited=2)
    assert work_on(folder, plan, work, n_workers=2).n_done == 8
    assert len({pid for pid, _ in work.noted("begun")}) == 2


def test_a_unit_that_raises_is_tried_again_at_the_end_and_set_aside_after_three(run):
    folder, plan = run
    work = FileWork(folder.root, faults={"enhance/L1/a": "input"})
    told = []
    outcome = work_on(folder, plan, work, notify=told.append)
    assert (outcome.n_done, outcome.n_aside, outcome.n_blocked, outcome.reason) == (6, 1, 1, "complete")
    (events,) = events_of(folder)
    failed = [event.facts for event in events if event.name == "failed"]
    assert [(fact["kind"], fact["attempt"], fact["error"]) for fact in failed] == [
        ("input", number, "a: damaged") for number in (1, 2, 3)
    ]
    begun = [name for _, name in work.noted("begun")]
    assert begun[0] == "enhance/L1/a"
    assert begun[-2:] == ["enhance/L1/a"] * 2
    assert named(events, "aside", "blocked") == [("aside", "enhance/L1/a"), ("blocked", "score/L1/a")]
    assert any("set aside" in line and "damaged" in line for line in told)
    assert len({pid for pid, _ in work.noted("begun")}) == 1  # nobody died of it


def test_a_unit_that_works_at_the_third_attempt_is_done_and_its_bundle_goes_on(run):
    folder, plan = run
    outcome = work_on(folder, plan, FileWork(folder.root, faults={"enhance/L2/b": "twice"}), n_workers=2)
    assert (outcome.n_done, outcome.n_aside, outcome.n_blocked) == (8, 0, 0)
    assert (folder.root / "results/score/L2/b").is_file()


def test_a_bug_costs_its_unit_and_leaves_its_traceback_in_the_journal(run):
    folder, plan = run
    outcome = work_on(folder, plan, FileWork(folder.root, faults={"score/L1/b": "bug"}))
    assert (outcome.n_done, outcome.n_aside, outcome.reason) == (7, 1, "complete")
    facts = next(event.facts for event in events_of(folder)[0] if event.name == "failed")
    assert facts["kind"] == "bug"
    assert facts["error"].startswith("Traceback")
    assert "ZeroDivisionError: oops" in facts["error"]


@pytest.mark.parametrize(("fault", "told"), [("kill", "SIGKILL"), ("exit", "exit status 3")])
def test_a_unit_that_kills_its_worker_is_set_aside_and_the_others_go_on(run, fault, told):
    folder, plan = run
    work = FileWork(folder.root, faults={"score/L1/a": fault}, seconds=0.02)
    outcome = work_on(folder, plan, work, n_workers=2)
    assert (outcome.n_done, outcome.n_aside, outcome.reason) == (7, 1, "complete")
    failed = [event.facts for event in events_of(folder)[0] if event.name == "failed"]
    assert [fact["kind"] for fact in failed] == ["lost"] * 3
    assert told in failed[0]["error"]


def test_a_unit_that_kills_three_workers_is_set_aside_even_if_it_is_the_only_one(tmp_path):
    folder, plan = small_run(tmp_path, songs=["a"], listeners=["L1"])
    outcome = work_on(folder, plan, FileWork(folder.root, faults={"enhance/L1/a": "kill"}))
    assert (outcome.n_aside, outcome.n_blocked, outcome.reason) == (1, 1, "complete")


def test_workers_that_die_one_after_the_other_end_the_shard(run):
    folder, plan = run
    faults = {unit.name: "kill" for unit in plan.pairs[0].units}
    outcome = work_on(folder, plan, FileWork(folder.root, faults=faults))
    assert outcome.reason.startswith("error: 3 workers were lost one after the other")
    assert (outcome.n_aside, outcome.n_left) == (0, 8)
    assert events_of(folder)[0][-1].facts["reason"] == outcome.reason


@pytest.mark.parametrize(("fault", "told"), [("input", "demix: no GPU: expected one"), ("kill", "SIGKILL")])
def test_a_worker_that_cannot_prepare_ends_the_shard_and_costs_no_unit_anything(run, fault, told):
    folder, plan = run
    work = FileWork(folder.root, prepare_fault=fault)
    outcome = work_on(folder, plan, work, stage="demix", n_workers=2)
    assert outcome.reason.startswith("error: ")
    assert told in outcome.reason
    assert named(events_of(folder, "demix")[0], "begin", "failed") == []
    assert outcome.n_left == 2


def test_a_full_disk_stops_everything_and_is_not_the_units_fault(run):
    folder, plan = run
    work = FileWork(folder.root, faults={"enhance/L1/a": "full"}, slow={"enhance/L1/b": 30.0})
    outcome = work_on(folder, plan, work, n_workers=2)
    assert outcome.reason == "error: enhance/L1/a: cannot be written: No space left on device"
    (events,) = events_of(folder)
    assert named(events, "failed", "aside") == []
    assert {("dropped", unit) for name, unit in named(events, "begin")} == set(named(events, "dropped"))
    assert events[-1].facts == {"reason": outcome.reason, "n_left": 8}
    assert work_on(folder, plan, FileWork(folder.root), n_workers=2).n_done == 8


@pytest.mark.parametrize(("stage", "threads"), [("pairs", "1"), ("demix", "4")])
def test_workers_have_their_own_environment(run, monkeypatch, stage, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")  # as sites do for programs that have a job's cores to themselves
    monkeypatch.delenv("SEAT", raising=False)
    folder, plan = run
    work = FileWork(folder.root, n_awaited=2)
    work_on(folder, plan, work, stage=stage, n_workers=2, environments=[{"SEAT": "0"}, {"SEAT": "1"}])
    prepared = work.lines("prepared")
    assert sorted(seat for _, _, seat, _ in prepared) == ["0", "1"]
    assert {(name, found) for _, name, _, found in prepared} == {(stage, threads)}


def test_workers_hear_no_signal_of_the_job(run):
    folder, plan = run
    work = FileWork(folder.root, slow={"enhance/L1/a": 1.0})

    def send():
        ((pid, _),) = until(lambda: work.noted("begun"))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            os.kill(int(pid), number)

    sender = threading.Thread(target=send)
    sender.start()
    outcome = work_on(folder, plan, work)
    sender.join()
    assert outcome.n_done == 8
    assert len({pid for pid, _ in work.noted("begun")}) == 1


def test_workers_die_with_a_killed_supervisor_in_the_middle_of_a_unit(run):
    folder, _ = run
    work = FileWork(folder.root)
    with start_supervisor(folder, work={"seconds": 60.0}, n_workers=2) as supervisor:
        pids = until(lambda: found if len(found := {int(pid) for pid, _ in work.noted("begun")}) == 2 else None)
        supervisor.kill()
    until(lambda: not any(is_alive(pid) for pid in pids), seconds=3.0)


def test_nobody_is_left_when_the_work_is_over(run):
    folder, plan = run
    work = FileWork(folder.root)
    work_on(folder, plan, work, n_workers=2)
    assert work.noted("prepared")
    assert not any(is_alive(pid) for pid, _ in work.noted("prepared"))
