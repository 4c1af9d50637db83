"""Batches from background processes: the same as in the caller, in order, and no process outlives the trainer."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.testing import assert_array_equal

from cadenza_remix.atomic import is_running
from cadenza_remix.errors import InputError
from cadenza_remix.runs.processes import WorkerLostError
from cadenza_remix.training.data.excerpts import ExcerptSettings, make_batch
from cadenza_remix.training.data.prefetch import BatchStream
from cadenza_remix.training.data.songs import StemFile, TrainingSong

RATE = 8000
SETTINGS = ExcerptSettings(
    {"vocals": ("vocals",), "drums": ("drums",)}, sample_rate=RATE, n_samples=1000, batch_size=2, seed=3
)


@pytest.fixture
def songs(tmp_path):
    found = []
    for index in range(2):
        files = {}
        for number, stem in enumerate(("vocals", "drums")):
            path = tmp_path / f"{index}" / f"{stem}.wav"
            path.parent.mkdir(exist_ok=True)
            rng = np.random.default_rng([index, number])
            soundfile.write(path, 0.1 * rng.standard_normal((4000, 2)), RATE, subtype="FLOAT")
            files[stem] = (StemFile(path),)
        found.append(TrainingSong(f"{index}", "train", files, None, RATE, 4000))
    return found


def take(stream, n_batches):
    return [next(batches) for batches in [iter(stream)] for _ in range(n_batches)]


@pytest.mark.parametrize("n_workers", [0, 2])
def test_batches_come_in_order_and_are_those_of_their_numbers(songs, n_workers):
    with BatchStream(songs, SETTINGS, first_step=5, n_workers=n_workers, n_ahead=3) as stream:
        taken = take(stream, 6)
    assert [step for step, _ in taken] == list(range(5, 11))
    for step, batch in taken:
        assert_array_equal(batch, make_batch(songs, SETTINGS, step))
    assert stream.waited_s > 0


def test_broken_file_reaches_the_trainer(songs):
    songs[0].stems["drums"][0].path.write_bytes(b"no audio")
    songs[1].stems["drums"][0].path.unlink()
    with BatchStream(songs, SETTINGS, n_workers=1) as stream, pytest.raises(InputError, match=r"drums\.wav"):
        take(stream, 1)


def test_killed_worker_reaches_the_trainer(songs):
    with BatchStream(songs, SETTINGS, n_workers=1, n_ahead=1) as stream:
        take(stream, 1)
        os.kill(stream._workers[0]._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerLostError, match="SIGKILL"):
            take(stream, 5)


def test_look_ahead_is_bounded(songs, tmp_path):
    """A file that breaks after the look-ahead is not seen before its batch."""
    with BatchStream(songs, SETTINGS, n_workers=1, n_ahead=2) as stream:
        take(stream, 1)
        deadline = time.monotonic() + 20
        while len(stream._ready) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        assert sorted(stream._ready) == [1, 2]


def test_workers_end_with_a_killed_trainer(songs, tmp_path):
    code = """
import pickle, sys
from cadenza_remix.training.data.prefetch import BatchStream
songs, settings = pickle.loads(sys.stdin.buffer.read())
with BatchStream(songs, settings, n_workers=1) as stream:
    next(iter(stream))
    print(*[worker._process.pid for worker in stream._workers], flush=True)
    __import__("time").sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as trainer:
        trainer.stdin.write(pickle.dumps((songs, SETTINGS)))
        trainer.stdin.close()
        workers = [int(number) for number in trainer.stdout.readline().split()]
        assert len(workers) == 1
        os.kill(trainer.pid, signal.SIGKILL)
        trainer.wait()
    deadline = time.monotonic() + 10
    while any(_is_alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_is_alive(worker) for worker in workers)


def _is_alive(process_id):
    """A process that has ended and that nobody has asked about counts as ended."""
    if not is_running(process_id):
        return False
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_numbers_out_of_range_are_refused(songs):
    with pytest.raises(InputError, match="n_workers"):
        BatchStream(songs, SETTINGS, n_workers=-1)
