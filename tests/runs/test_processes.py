"""Workers in processes of their own: order, failures, losses, and that nothing survives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cadenza_remix.errors import InputError, OutputError
from cadenza_remix.runs.processes import WorkerLostError, run_in_processes


class Work:
    """Workers import it from here by name: the folder of this file is on their path."""

    def __init__(self):
        self.seen = []

    def __call__(self, unit):
        self.seen.append(unit)
        if unit == "bad":
            raise InputError("broken", where="song", expected="sound", found="noise")
        if unit == "full":
            raise OutputError("disk full")
        if unit == "bug":
            raise ZeroDivisionError("oops")
        if unit == "lost":
            os.kill(os.getpid(), signal.SIGKILL)
        if unit == "print":
            print("to nobody")
        time.sleep(0.02)
        return unit, os.getpid(), list(self.seen)


def first_letter(unit):
    return unit[0]


def run(units, n_workers=2, **options):
    return run_in_processes(units, Work(), n_workers=n_workers, group=first_letter, **options)


def test_results_keep_the_order_and_a_worker_stays_with_its_group():
    units = [f"{group}{number}" for group in "ab" for number in range(6)]
    done = []
    results, failures = run(units, on_done=lambda: done.append(1))
    assert [unit for unit, _, _ in results] == units
    assert failures == []
    assert len(done) == 12
    processes = {pid for _, pid, _ in results}
    assert len(processes) == 2
    assert os.getpid() not in processes
    first_of = {pid: next(seen for _, worker, seen in results if worker == pid)[0][0] for pid in processes}
    assert sorted(first_of.values()) == ["a", "b"]


def test_who_has_nothing_left_helps():
    results, _ = run([f"a{number}" for number in range(20)], n_workers=2)
    assert len({pid for _, pid, _ in results}) == 2


def test_a_bad_unit_and_a_printing_one_do_not_hold_up_the_others():
    results, failures = run(["a", "bad", "print", "c"], name=lambda unit: f"unit {unit}")
    assert [unit for unit, _, _ in results] == ["a", "print", "c"]
    assert [(failure.unit, str(failure.error)) for failure in failures] == [
        ("unit bad", "song: broken: expected sound, found noise")
    ]
    assert isinstance(failures[0].error, InputError)


def test_a_lost_worker_is_replaced_and_its_unit_named():
    results, failures = run(["a", "lost", "b", "c"], n_workers=1)
    assert [unit for unit, _, _ in results] == ["a", "b", "c"]
    assert "SIGKILL" in str(failures[0].error)


def test_workers_that_are_all_lost_end_the_run():
    with pytest.raises(WorkerLostError):
        run(["lost"] * 50, n_workers=1)


def test_a_full_disk_and_a_bug_stop_everything():
    with pytest.raises(OutputError, match="disk full"):
        run(["full", *["a"] * 500])
    with pytest.raises(RuntimeError, match="ZeroDivisionError: oops"):
        run(["bug", *["a"] * 500])


def test_workers_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"  # without a main guard, as users write them
    script.write_text(
        "import os\n"
        "from test_processes import Work, first_letter\n"
        "from cadenza_remix.runs.processes import run_in_processes\n"
        "print('started', flush=True)\n"
        "run_in_processes(['a'] * 2000, Work(), n_workers=2, group=first_letter)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout.readline() == b"started\n"
        children = until(lambda: found if len(found := children_of(parent.pid)) == 2 else None)
        parent.kill()
    until(lambda: not any(is_alive(child) for child in children))


def until(condition):
    """Wait for a condition for half a minute at most, and return what it gave."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    pytest.fail("did not happen within half a minute")


def children_of(pid):
    """Return the processes that any thread of a process has started."""
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for found in lists for child in found.split()]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
