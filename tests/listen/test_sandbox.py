"""A worker under limits: what it may not do ends it with one line, and never the server."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.listen.sandbox import LimitedProcess, ProcessLimits
from cadenza_remix.runs.processes import WorkerLostError

WORKER = textwrap.dedent(
    """
    import os, signal, sys, time
    from cadenza_remix.errors import InputError
    from cadenza_remix.listen.sandbox import serve_task

    def add(*, a, b, on_share):
        print("chatter on standard output", flush=True)
        on_share(0.25)
        on_share(7)
        return {"sum": a + b}

    def allocate(*, n_bytes, on_share):
        data = bytearray(n_bytes)
        data[::4096] = b"x" * len(data[::4096])
        return {"n_bytes": len(data)}

    def spin(*, on_share):
        while True:
            pass

    def sleep(*, on_share):
        on_share(0.5)
        time.sleep(1000)

    def write(*, path, n_bytes, on_share):
        with open(path, "wb") as file:
            file.write(bytes(n_bytes))
        return {}

    def crash(*, on_share):
        print("about to crash", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(10)

    def refuse(*, on_share):
        raise InputError("two\\nlines", where="here")

    def bug(*, on_share):
        raise KeyError("lost")

    def open_many(*, on_share):
        files = [open("/dev/null") for _ in range(100)]

    serve_task({name: value for name, value in globals().items() if callable(value)})
    """
)
LIMITS = ProcessLimits(file_bytes=100_000, cpu_s=20, wall_s=20, address_space_bytes=500_000_000, n_files=40)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a task of the worker above."""
    (tmp_path / "sandboxed_tasks.py").write_text(WORKER)
    monkeypatch.syspath_prepend(tmp_path)

    def started(task, limits=LIMITS, **arguments):
        return LimitedProcess("sandboxed_tasks", task, arguments, limits=limits, log=tmp_path / "log.txt")

    return started


def is_alive(pid):
    """Tell whether a process runs; one that has ended and was not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_result_and_shares_come_back_and_chatter_does_not(start, tmp_path):
    shares = []
    process = start("add", a=2, b=3)
    assert process.result(shares.append) == {"sum": 5}
    assert shares == [0.25, 1.0]
    assert "chatter" in (tmp_path / "log.txt").read_text()
    assert not is_alive(process.pid)


def test_errors_of_the_task_are_one_line(start):
    with pytest.raises(InputError, match=r"^here: two lines$"):
        start("refuse").result()
    with pytest.raises(InputError, match=r"^failed \(KeyError\)$"):
        start("bug").result()


def test_memory_is_limited(start):
    assert start("allocate", n_bytes=50_000_000).result() == {"n_bytes": 50_000_000}
    with pytest.raises(InputError, match="needs more memory than it may have"):
        start("allocate", n_bytes=600_000_000).result()
    # What it can write to, for workers that map much.
    data = replace(LIMITS, address_space_bytes=None, data_bytes=200_000_000)
    with pytest.raises(InputError, match="needs more memory than it may have"):
        start("allocate", data, n_bytes=300_000_000).result()


def test_computing_is_limited(start):
    with pytest.raises(WorkerLostError, match=r"more than 1 s of computing|was killed"):
        start("spin", replace(LIMITS, cpu_s=1)).result()


def test_time_is_limited(start):
    began = time.monotonic()
    process = start("sleep", replace(LIMITS, wall_s=1.0))
    with pytest.raises(WorkerLostError, match="took longer than 1 s"):
        process.result()
    assert time.monotonic() - began < 10
    assert not is_alive(process.pid)


def test_files_are_limited_in_size_and_number(start, tmp_path):
    assert start("write", path=str(tmp_path / "small"), n_bytes=100_000).result() == {}
    with pytest.raises(InputError, match=r"failed \(OSError\)"):
        start("write", path=str(tmp_path / "large"), n_bytes=100_001).result()
    assert (tmp_path / "large").stat().st_size <= 100_000
    with pytest.raises(InputError, match=r"failed \(OSError\)"):
        start("open_many").result()


def test_crash_and_kill_are_told(start, tmp_path):
    with pytest.raises(WorkerLostError, match="SIGSEGV"):
        start("crash").result()
    assert "about to crash" in (tmp_path / "log.txt").read_text()
    process = start("sleep")
    # As soon as it works, kill it from outside.
    with pytest.raises(WorkerLostError, match="was killed"):
        process.result(lambda share: os.kill(process.pid, signal.SIGKILL))


def test_kill_from_another_thread_ends_the_wait(start):
    process = start("sleep")
    threading.Timer(0.3, process.kill).start()
    with pytest.raises(WorkerLostError):
        process.result()


def test_worker_ends_with_its_parent(start, tmp_path):
    code = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from cadenza_remix.listen.sandbox import LimitedProcess, ProcessLimits
        limits = ProcessLimits(file_bytes=1000, cpu_s=20, wall_s=60)
        process = LimitedProcess("sandboxed_tasks", "sleep", {}, limits=limits, log=Path(sys.argv[1]))
        def on_share(share):
            print(process.pid, flush=True)
        process.result(on_share)
        """
    )
    paths = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", code, str(tmp_path / "log.txt")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths})
    pid = json.loads(parent.stdout.readline())
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)
