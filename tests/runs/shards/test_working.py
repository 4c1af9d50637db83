"""Work on a shard from claim to last line: what is found, what is left, what stops it, and who comes after."""

import json
import signal
import threading
import time

import pytest
from shard_units import FileWork, NothingWork, events_of, is_alive, small_run, start_supervisor, until, work_on

from cadenza_remix.runs.shards.folder import ShardId
from cadenza_remix.runs.shards.journal import open_journal
from cadenza_remix.runs.shards.stopping import Stopping, exit_status

PAIRS_0 = ShardId("pairs", 0)


@pytest.fixture
def run(tmp_path):
    return small_run(tmp_path / "run")


def results(folder):
    return {
        str(p.relative_to(folder.root)): p.read_bytes() for p in (folder.root / "results").rglob("*") if p.is_file()
    }


def undisturbed(tmp_path):
    folder, plan = small_run(tmp_path / "undisturbed")
    work_on(folder, plan, FileWork(folder.root))
    return results(folder)


def named(events, *names):
    return [event.unit for event in events if event.name in names]


def claim_of(folder):
    return folder.claim(PAIRS_0)


def at_hand(folder, number):
    """Wait until so many units were begun, and return the process ids of who began them."""
    work = FileWork(folder.root)
    begun = until(lambda: found if len(found := work.noted("begun")) >= number else None)
    return {int(pid) for pid, _ in begun}


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("complete", 0),
        ("time limit", 75),
        ("claim lost", 75),
        ("error: x", 2),
        ("terminated", 143),
        ("interrupted", 130),
    ],
)
def test_exit_statuses(reason, status):
    assert exit_status(reason) == status


def test_handlers_of_signals_are_put_back():
    numbers = signal.SIGUSR1, signal.SIGTERM, signal.SIGINT
    before = [signal.getsignal(number) for number in numbers]
    with Stopping(deadline_s=0.0) as stop:
        signal.raise_signal(signal.SIGUSR1)
        assert (stop.soon, stop.at_once, stop.reason, stop.left_s) == (True, False, "time limit", 0.0)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert (stop.at_once, stop.reason) == (True, "terminated")
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_pause_ends_with_a_signal_that_another_thread_gets():
    with Stopping() as stop:
        assert not stop.wait(0.01)
        began = time.monotonic()
        threading.Timer(0.1, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)).start()
        assert stop.wait(20.0)
        assert time.monotonic() - began < 5.0


def test_waiting_for_units_at_hand_costs_no_time_of_the_processor(run):
    folder, plan = run
    stop = Stopping()
    threading.Thread(target=lambda: at_hand(folder, 1) and stop.stop_soon()).start()
    began = time.process_time()
    outcome = work_on(folder, plan, FileWork(folder.root, seconds=1.5), stop=stop)
    assert (outcome.n_done, outcome.reason) == (1, "time limit")
    assert time.process_time() - began < 0.7


def test_what_was_done_is_found_and_begins_no_worker(run):
    folder, plan = run
    work = FileWork(folder.root)
    work_on(folder, plan, work)
    n_prepared = len(work.noted("prepared"))
    work.result(plan.pairs[0].units[5]).unlink()
    ended = []
    assert work_on(folder, plan, work, on_unit=ended.append).n_found == 7
    assert sorted(ended) == sorted(plan.pairs[0].units)
    outcome = work_on(folder, plan, work)
    assert (outcome.n_found, outcome.n_done, outcome.reason) == (8, 0, "complete")
    assert len(work.noted("prepared")) == n_prepared + 1
    assert len(events_of(folder)) == 3
    assert not claim_of(folder).exists()


def test_near_the_time_limit_what_is_at_hand_is_finished_and_the_rest_left(run):
    folder, plan = run
    with start_supervisor(folder, work={"seconds": 0.5}, n_workers=2) as supervisor:
        at_hand(folder, 2)
        supervisor.send_signal(signal.SIGUSR1)
        outcome = json.loads(supervisor.stdout.read())
    assert supervisor.returncode == 75
    assert (outcome["n_done"], outcome["n_left"], outcome["reason"]) == (2, 6, "time limit")
    (events,) = events_of(folder)
    assert named(events, "dropped", "failed") == []
    assert events[-1].facts == {"reason": "time limit", "n_left": 6}
    outcome = work_on(folder, plan, FileWork(folder.root))
    assert (outcome.n_found, outcome.n_done) == (2, 6)


def test_a_unit_that_does_not_end_in_time_is_dropped_and_so_often_set_aside(run):
    folder, plan = run
    for _ in range(3):
        before = len(FileWork(folder.root).noted("begun"))
        with start_supervisor(folder, work={"slow": {"enhance/L1/a": 60.0}}, deadline_s=0.2) as supervisor:
            at_hand(folder, before + 1)
            supervisor.send_signal(signal.SIGUSR1)
            supervisor.communicate()
        assert supervisor.returncode == 75
        assert named(events_of(folder)[-1], "dropped") == ["enhance/L1/a"]
    outcome = work_on(folder, plan, FileWork(folder.root))
    assert (outcome.n_done, outcome.n_aside, outcome.n_blocked) == (6, 1, 1)
    assert work_on(folder, plan, FileWork(folder.root), round_number=2).n_done == 2


@pytest.mark.parametrize(
    ("number", "status", "reason"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_to_end_drops_everything_within_two_seconds(run, number, status, reason):
    folder, _ = run
    with start_supervisor(folder, work={"seconds": 60.0}, n_workers=2) as supervisor:
        pids = at_hand(folder, 2)
        began = time.monotonic()
        supervisor.send_signal(number)
        outcome = json.loads(supervisor.communicate()[0])
        took = time.monotonic() - began
    assert (supervisor.returncode, outcome["reason"], outcome["n_left"]) == (status, reason, 8)
    assert took < 2.0
    (events,) = events_of(folder)
    assert sorted(named(events, "dropped")) == sorted(named(events, "begin"))
    assert {event.facts["why"] for event in events if event.name == "dropped"} == {"terminated"}
    assert events[-1].facts == {"reason": reason, "n_left": 8}
    assert not any(is_alive(pid) for pid in pids)
    assert not claim_of(folder).exists()


def test_after_a_killed_supervisor_the_next_one_goes_on_and_counts_its_units_at_hand(run, tmp_path):
    folder, plan = run
    with start_supervisor(folder, work={"slow": {"enhance/L2/a": 60.0}}) as supervisor:
        at_hand(folder, 3)
        supervisor.kill()
    began = time.monotonic()
    outcome = work_on(folder, plan, FileWork(folder.root, faults={"enhance/L2/a": "twice"}), stale_s=60.0)
    assert time.monotonic() - began < 20.0  # the claim of a process of this machine that is gone is stale at once
    assert (outcome.n_found, outcome.n_done) == (2, 6)
    failed = [event.facts["attempt"] for event in events_of(folder)[1] if event.name == "failed"]
    assert failed == [2]  # the first attempt is the killed supervisor's
    assert results(folder) == undisturbed(tmp_path)


def test_a_shard_that_runs_twice_is_worked_on_once(run, tmp_path):
    folder, plan = run
    work = FileWork(folder.root, seconds=0.05)
    told = []
    with start_supervisor(folder, work={"seconds": 0.1}) as supervisor:
        at_hand(folder, 1)
        outcome = work_on(folder, plan, work, notify=told.append)
    assert supervisor.returncode == 0
    assert (outcome.n_found, outcome.n_done) == (8, 0)
    assert len(work.noted("begun")) == 8
    assert any("waiting" in line for line in told)
    assert results(folder) == undisturbed(tmp_path)


def test_who_waits_for_a_claim_can_be_stopped(run):
    folder, plan = run
    stop = Stopping()
    with start_supervisor(folder, work={"seconds": 60.0}) as supervisor:
        at_hand(folder, 1)
        threading.Timer(0.3, stop.stop_soon).start()
        outcome = work_on(folder, plan, FileWork(folder.root), stop=stop, stale_s=60.0)
        supervisor.kill()
    assert (outcome.reason, outcome.n_left) == ("time limit", 8)
    assert len(events_of(folder)) == 1


def test_a_stale_claim_of_another_machine_is_taken_over(run):
    folder, plan = run
    claim_of(folder).parent.mkdir(parents=True)
    stale = {"token": "x", "host": "elsewhere", "machine": "m", "pid": 1, "job": "7", "beat": 3}
    claim_of(folder).write_text(json.dumps(stale))
    assert work_on(folder, plan, FileWork(folder.root)).n_done == 8
    assert not claim_of(folder).exists()


def test_who_loses_its_claim_finishes_what_is_at_hand_and_leaves_the_rest(run):
    folder, _ = run
    other = {"token": "x", "host": "elsewhere", "machine": "m", "pid": 1, "job": "7", "beat": 3}
    with start_supervisor(folder, work={"slow": {"enhance/L1/a": 1.0}}) as supervisor:
        at_hand(folder, 1)
        claim = claim_of(folder).with_name("other")
        claim.write_text(json.dumps(other))
        claim.replace(claim_of(folder))
        outcome = json.loads(supervisor.communicate()[0])
    assert supervisor.returncode == 75
    assert (outcome["reason"], outcome["n_done"], outcome["n_left"]) == ("claim lost", 1, 7)
    assert json.loads(claim_of(folder).read_text()) == other


def test_stems_that_show_late_are_waited_for(run):
    folder, plan = run
    (folder.stems / "b").mkdir(parents=True)
    threading.Timer(1.0, (folder.stems / "a").mkdir).start()
    work = FileWork(folder.root, needs_stems=True)
    outcome = work_on(folder, plan, work, settle_s=10.0)
    assert (outcome.n_done, outcome.n_blocked) == (8, 0)
    assert [name[-1] for _, name in work.noted("begun")] == ["b"] * 4 + ["a"] * 4
    assert len(work.noted("prepared")) == 1


def test_pairs_of_a_song_without_stems_are_blocked_in_the_end(run):
    folder, plan = run
    (folder.stems / "b").mkdir(parents=True)
    outcome = work_on(folder, plan, FileWork(folder.root, needs_stems=True))
    assert (outcome.n_done, outcome.n_blocked, outcome.n_left, outcome.reason) == (4, 4, 0, "complete")
    (events,) = events_of(folder)
    assert {event.facts["error"] for event in events if event.name == "blocked"} == {"the stems of 'a' are not there"}


def test_a_song_that_was_set_aside_is_not_waited_for(run):
    folder, plan = run
    (folder.stems / "b").mkdir(parents=True)
    work_on(folder, plan, FileWork(folder.root, faults={"demix/a": "input"}), stage="demix")
    began = time.monotonic()
    outcome = work_on(folder, plan, FileWork(folder.root, needs_stems=True), settle_s=60.0)
    assert time.monotonic() - began < 30.0
    assert outcome.n_blocked == 4
    errors = {event.facts["error"] for event in events_of(folder)[0] if event.name == "blocked"}
    assert errors == {"demix/a was set aside: a: damaged"}


def test_a_song_whose_demixing_goes_on_is_waited_for_although_it_was_set_aside(run):
    folder, plan = run
    (folder.stems / "b").mkdir(parents=True)
    demix = ShardId("demix", 0)
    with open_journal(folder, demix, 1, workers=1, n_units=2) as journal:
        journal.aside("demix/a", "damaged")
        threading.Timer(1.0, (folder.stems / "a").mkdir).start()
        assert work_on(folder, plan, FileWork(folder.root, needs_stems=True), settle_s=10.0).n_done == 8


def test_a_journal_that_cannot_be_written_is_an_error_and_frees_the_claim(run):
    folder, plan = run
    folder.journals(PAIRS_0).parent.mkdir()
    folder.journals(PAIRS_0).write_text("in the way")
    with pytest.raises(OSError, match="cannot be written"):
        work_on(folder, plan, FileWork(folder.root))
    assert not claim_of(folder).exists()


def test_handing_out_costs_less_than_five_milliseconds_a_unit(tmp_path):
    folder, plan = small_run(tmp_path, songs=[f"s{n}" for n in range(10)], listeners=[f"L{n}" for n in range(25)])
    assert work_on(folder, plan, NothingWork(), n_workers=2).n_done == 500
    (events,) = events_of(folder)
    times = [event.t for event in events if event.name in ("begin", "done")]
    assert (times[-1] - times[0]) / 500 < 0.005
