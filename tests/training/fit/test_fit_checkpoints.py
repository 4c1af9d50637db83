"""Checkpoints: whole or not there, checked when read, with a way back."""

import os
import resource
import signal

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cadenza_remix.errors import InputError, OutputError
from cadenza_remix.training.fit.checkpoints import Checkpoint, Checkpoints, read_checkpoint, write_checkpoint


def checkpoint(step):
    rng = np.random.default_rng(step)
    model = (rng.standard_normal((30, 20)).astype(np.float32), np.array([1, 2], dtype=np.uint32))
    return Checkpoint(model, (np.array(step), rng.standard_normal(12_000)), {"step": step, "best_score": 0.1 + 0.2})


def assert_same(found, expected):
    assert dict(found.state) == dict(expected.state)
    for ours, theirs in ((found.model, expected.model), (found.optimiser, expected.optimiser)):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == other.dtype
            assert_array_equal(one, other)


def test_round_trip_is_exact(tmp_path):
    write_checkpoint(tmp_path / "c.npz", checkpoint(3))
    assert_same(read_checkpoint(tmp_path / "c.npz"), checkpoint(3))


def test_newest_and_the_one_before(tmp_path):
    checkpoints, told = Checkpoints(tmp_path), []
    assert checkpoints.read_newest(told.append) is None
    for step in (1, 2, 3):
        checkpoints.write_last(checkpoint(step))
    assert_same(checkpoints.read_newest(told.append), checkpoint(3))
    assert_same(read_checkpoint(checkpoints.previous), checkpoint(2))
    assert told == []


@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_damaged_newest_falls_back_and_says_so(tmp_path, harm):
    checkpoints, told = Checkpoints(tmp_path), []
    checkpoints.write_last(checkpoint(1))
    checkpoints.write_last(checkpoint(2))
    data = bytearray(checkpoints.last.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
    checkpoints.last.write_bytes({"cut": data[: len(data) // 2], "flip": data, "empty": b""}[harm])
    assert_same(checkpoints.read_newest(told.append), checkpoint(1))
    assert len(told) == 1
    assert "last.npz" in told[0]
    assert "damaged" in told[0]
    checkpoints.previous.write_bytes(b"x")
    with pytest.raises(InputError, match="damaged"):
        checkpoints.read_newest(told.append)


def test_a_stop_between_the_two_renamings_loses_nothing(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write_last(checkpoint(1))
    checkpoints.last.replace(checkpoints.previous)
    assert_same(checkpoints.read_newest(print), checkpoint(1))


def test_full_disk_leaves_what_was_there(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write_last(checkpoint(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"last\.npz"):
            checkpoints.write_last(checkpoint(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert_same(checkpoints.read_newest(print), checkpoint(1))
    assert os.listdir(tmp_path) == ["last.npz"]
