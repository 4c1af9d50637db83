"""One process at a time in a folder: tried with real processes, killed ones, and claims of another machine."""

import subprocess
import sys
import time

import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.runs.shards.claims import Claim, Owner
from cadenza_remix.training.own_folder import IN_USE, own_folder

HOLDER = """
import sys, time
from pathlib import Path
from cadenza_remix.training.own_folder import own_folder
with own_folder(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""
QUICK = {"beat_s": 0.05, "stale_s": 0.4}
ELSEWHERE = Owner("0123456789abcdef", "elsewhere", "ffffffff", 1)


def test_another_process_is_refused_at_once_and_a_killed_one_taken_over_at_once(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"mine\n"
        began = time.monotonic()
        with pytest.raises(InputError, match=rf"process {holder.pid} on .* works in this folder.*another --out"):
            own_folder(tmp_path).__enter__()
        holder.kill()
        holder.wait()
        with own_folder(tmp_path) as claim:
            assert not claim.lost
        assert time.monotonic() - began < 20
    assert list(tmp_path.iterdir()) == []


def test_the_same_process_cannot_have_a_folder_twice(tmp_path):
    with own_folder(tmp_path), pytest.raises(InputError, match="works in this folder"):
        own_folder(tmp_path).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_what_another_machine_left_is_watched_and_taken_over_when_nothing_happens(tmp_path):
    (tmp_path / IN_USE).write_text(ELSEWHERE.text(), encoding="utf-8")
    told, began = [], time.monotonic()
    with own_folder(tmp_path, tell=told.append, **QUICK):
        assert time.monotonic() - began >= QUICK["stale_s"]
    assert len(told) == 1
    assert "process 1 on elsewhere worked there last" in told[0]
    assert list(tmp_path.iterdir()) == []


def test_another_machine_that_is_at_work_is_refused(tmp_path):
    path = tmp_path / IN_USE
    path.write_text(ELSEWHERE.text(), encoding="utf-8")
    with Claim(path, ELSEWHERE, 0.05), pytest.raises(InputError, match="process 1 on elsewhere works in this folder"):
        own_folder(tmp_path, **QUICK).__enter__()


def test_who_stood_still_finds_out_that_the_folder_is_anothers(tmp_path):
    with own_folder(tmp_path, **QUICK) as claim:
        (tmp_path / IN_USE).write_text(ELSEWHERE.text(), encoding="utf-8")
        deadline = time.monotonic() + 10
        while not claim.lost and time.monotonic() < deadline:
            time.sleep(0.01)
        assert claim.lost
    assert (tmp_path / IN_USE).exists()  # the other's
