"""Claims, with processes that are killed, stopped and started at once; beats are short to keep this quick."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from cadenza_remix.atomic import machine_token
from cadenza_remix.errors import OutputError
from cadenza_remix.runs.shards.claims import Claim, Owner, read_claim

BEAT_S = 0.1
STALE_S = 0.8
FAST = {"beat_s": BEAT_S, "stale_s": STALE_S}

# Says when it has the claim and when it has lost it; ends at the end of its standard input.
OWN = f"""
import sys, threading, time
from pathlib import Path
from cadenza_remix.runs.shards.claims import Claim
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
print("begun", flush=True)
claim = Claim.take(Path(sys.argv[1]), beat_s={BEAT_S}, stale_s={STALE_S}, should_stop=ended.is_set)
if claim is None:
    sys.exit("stopped")
with claim:
    print("has", time.monotonic(), flush=True)
    while not ended.wait(0.005):
        if claim.lost:
            print("lost", time.monotonic(), flush=True)
            ended.wait()
print("ended", time.monotonic(), flush=True)
"""


def start_owner(path):
    return subprocess.Popen(
        [sys.executable, "-c", OWN, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip


def wait_for(process, word):
    for line in process.stdout:
        if line.startswith(word):
            return line.split()
    raise AssertionError(f"it never said {word}")


@pytest.fixture
def owners():
    """Start processes that own a claim, and end them whatever happens."""
    started = []

    def start(path, n=1):
        started.extend(start_owner(path) for _ in range(n))
        return started[-1] if n == 1 else started[-n:]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def after(seconds):
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def take(path, *, within_s=10.0, **more):
    return Claim.take(path, **{**FAST, **more}, should_stop=after(within_s))


def test_a_claim_says_whose_it_is_beats_and_goes(tmp_path):
    path = tmp_path / "claims" / "pairs-3.json"
    with take(path) as claim:
        owner = read_claim(path)
        assert (owner.pid, owner.machine) == (os.getpid(), machine_token())
        assert set(json.loads(path.read_text())) == {"token", "host", "machine", "pid", "job", "beat"}
        time.sleep(4 * BEAT_S)
        assert read_claim(path).beat > owner.beat
        assert read_claim(path).token == owner.token
        assert not claim.lost
    assert os.listdir(path.parent) == []
    claim.release()


def test_a_living_owner_is_waited_for_with_one_line(tmp_path, owners):
    path, lines = tmp_path / "demix-0.json", []
    other = owners(path)
    wait_for(other, "has")
    assert take(path, within_s=1.5 * STALE_S, on_wait=lines.append) is None
    assert len(lines) == 1
    assert lines[0].startswith(f"demix-0: process {other.pid} on ")
    threading.Timer(0.2, other.stdin.close).start()
    with take(path) as claim:
        assert other.wait(5) == 0
        assert not claim.lost


def test_the_claim_of_a_killed_process_of_this_machine_is_taken_at_once(tmp_path, owners):
    path = tmp_path / "a.json"
    other = owners(path)
    wait_for(other, "has")
    other.kill()
    other.wait()
    begun = time.monotonic()
    with take(path, stale_s=1e6):
        assert time.monotonic() - begun < 10 * BEAT_S
        assert read_claim(path).pid == os.getpid()


def write_owner(path, **facts):
    path.write_text(Owner(**{"token": "abc", "host": "elsewhere", "machine": "00000000", "pid": 1, **facts}).text())


@pytest.mark.parametrize("age_s", [-1e6, 0, 1e6])
def test_the_claim_of_another_machine_is_watched_with_our_clock(tmp_path, age_s):
    # A process number of another machine that nobody has here; a file from the past or the future by its clock.
    path = tmp_path / "a.json"
    write_owner(path, pid=99_999_999)
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    begun = time.monotonic()
    with take(path):
        assert time.monotonic() - begun > STALE_S


def test_claims_that_say_nothing(tmp_path):
    path = tmp_path / "a.json"
    assert read_claim(path) is None
    for content in ("[]", "{}", '{"token": 5}', '{"token": "", "pid": 1}', '{"token": "a", "pid": "1"}', "[" * 100_000):
        path.write_text(content)
        assert read_claim(path) is None


@pytest.mark.parametrize("content", ["", "{", "\0" * 100])
def test_a_damaged_claim_is_taken_over_in_the_end(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    begun = time.monotonic()
    with take(path, stale_s=0.3):
        assert time.monotonic() - begun > 0.3
        assert read_claim(path).pid == os.getpid()


def test_an_owner_mends_its_damaged_claim_and_makes_a_removed_one_anew(tmp_path):
    path = tmp_path / "claims" / "a.json"
    with take(path) as claim:
        owner = read_claim(path)
        for harm in (lambda: path.write_text("x" * 1000), path.unlink, lambda: (path.unlink(), path.parent.rmdir())):
            harm()
            time.sleep(4 * BEAT_S)
            assert read_claim(path).token == owner.token
        assert not claim.lost
    assert not path.exists()


def test_an_owner_that_finds_another_has_lost_and_leaves_it_alone(tmp_path):
    path = tmp_path / "a.json"
    with take(path) as claim:
        write_owner(path)
        text = path.read_text()
        time.sleep(4 * BEAT_S)
        assert claim.lost
    assert path.read_text() == text


def test_a_stopped_owner_that_comes_back_finds_that_it_has_lost(tmp_path, owners):
    path = tmp_path / "a.json"
    other = owners(path)
    wait_for(other, "has")
    other.send_signal(signal.SIGSTOP)
    with take(path) as claim:
        other.send_signal(signal.SIGCONT)
        begun = time.monotonic()
        _, lost_at = wait_for(other, "lost")  # the same clock in all processes
        assert float(lost_at) - begun < 4 * BEAT_S
        other.stdin.close()
        assert other.wait(5) == 0
        assert read_claim(path).pid == os.getpid()  # it has not removed ours
        time.sleep(3 * BEAT_S)
        assert not claim.lost


@pytest.mark.parametrize("before", ["nothing", "stale", "dead"])
def test_of_eight_that_take_at_once_one_owns(tmp_path, owners, before):
    path = tmp_path / "a.json"
    if before == "stale":
        write_owner(path)
    elif before == "dead":
        gone = subprocess.Popen(["true"])
        gone.wait()
        write_owner(path, pid=gone.pid, machine=machine_token())
    takers = owners(path, 8)
    for taker in takers:
        wait_for(taker, "begun")
    time.sleep(STALE_S * (before == "stale") + 6 * BEAT_S)
    held = []
    for taker in takers:
        taker.send_signal(signal.SIGSTOP)
    winner = read_claim(path).pid
    for taker in takers:
        if taker.pid != winner:
            taker.kill()
    for taker in takers:
        if taker.pid == winner:
            taker.send_signal(signal.SIGCONT)
            taker.stdin.close()
        lines = [line.split() for line in taker.stdout]
        held += [(line[0], float(line[1]), taker.pid) for line in lines if line[0] in ("has", "lost", "ended")]
        taker.wait()
    had = {pid: t for word, t, pid in held if word == "has"}
    lost = {pid: t for word, t, pid in held if word in ("lost", "ended")}
    assert winner in had
    for pid in had.keys() - {winner}:
        assert lost[pid] - had[winner] < 2 * BEAT_S + 0.3  # processes of a busy machine wait for their turn
    assert not path.exists()


def test_a_claim_that_cannot_be_kept_up_is_one_warning_and_no_end(tmp_path, caplog):
    path = tmp_path / "a.json"
    with take(path) as claim:
        path.unlink()
        path.mkdir()
        time.sleep(6 * BEAT_S)
        assert not claim.lost
        path.rmdir()
        time.sleep(4 * BEAT_S)
        assert read_claim(path).pid == os.getpid()
    assert len(caplog.records) == 1
    assert "cannot be kept up" in caplog.text


def test_a_claim_that_cannot_be_written_or_read_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.json").mkdir()
    for path, words in (
        (tmp_path / "file" / "a.json", "Not a directory"),
        (tmp_path / "folder.json", "cannot be read"),
    ):
        with pytest.raises(OutputError, match=words) as caught:
            take(path)
        assert "\n" not in str(caught.value)
