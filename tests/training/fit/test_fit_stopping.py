"""Ctrl-C and SIGTERM: the step is finished and saved, a second one ends at once; the same call goes on."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

from cadenza_remix.errors import InputError
from cadenza_remix.training.fit.checkpoints import read_checkpoint
from cadenza_remix.training.fit.config import TrainConfig
from cadenza_remix.training.fit.loop import train
from cadenza_remix.training.fit.stopping import Stopping
from cadenza_remix.training.own_folder import IN_USE

RATE = 8000
#: One long computation during which Python runs no handler.
BUSY = """
import hashlib
from cadenza_remix.training.fit.stopping import Stopping
with Stopping(lambda line: print(line, flush=True)):
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split in ("train", "valid"):
        for stem in ("vocals", "other"):
            path = root / split / f"{split} song" / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.standard_normal((2 * RATE, 2)), RATE, subtype="FLOAT")
    return root


def make_config(data, **training):
    transform = {"sample_rate": RATE, "frame_length": 256, "hop_length": 64, "fft_length": 256}
    model = {"architecture": "spleeter-unet", "stems": ["vocals", "accompaniment"], "n_frames": 8, "n_bins": 64}
    return TrainConfig.from_dict(
        {
            "name": "small",
            "model": model | transform | {"settings": {"filters": [2, 4], "encoder": "shared"}},
            "data": {
                "train": [{"path": str(data)}],
                "valid": [{"path": str(data)}],
                "targets": {"vocals": ["vocals"], "accompaniment": ["other"]},
            },
            "training": {
                "batch_size": 1,
                "max_steps": 5000,
                "validate_every_steps": 5000,
                "n_valid_batches": 1,
                "n_workers": 0,
                **training,
            },
        }
    )


@pytest.mark.parametrize(("number", "ending"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_saves_and_the_same_call_goes_on(data, tmp_path, number, ending):
    told, handlers = [], [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]

    def stop(progress):
        if progress.step == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(ending) as caught:
        train(make_config(data), tmp_path, progress=stop, tell=told.append)
    if ending is SystemExit:
        assert caught.value.code == 143
    step = read_checkpoint(tmp_path / "checkpoints" / "last.npz").state["step"]
    assert 3 <= step < 5000
    assert told[1:] == [
        f"{number.name}: stopping after this step; once more: at once",
        f"{tmp_path}: saved at step {step}",
    ]
    assert [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)] == handlers
    assert not (tmp_path / IN_USE).exists()
    # With no step left, what is due now and was not done is the validation.
    steps = []
    result = train(make_config(data, max_steps=step), tmp_path, progress=steps.append, tell=told.append)
    assert told[-1] == f"{tmp_path}: goes on at step {step}"
    assert [(entry.step, entry.validation is not None) for entry in steps] == [(step, True)]
    assert (result.best_step, set(result.sdr_db)) == (step, {"vocals", "accompaniment"})


def test_a_folder_in_which_somebody_trains_is_refused(data, tmp_path):
    refused = []

    def train_there_too(progress):
        if progress.step == 1:
            with pytest.raises(InputError, match="works in this folder") as caught:
                train(make_config(data), tmp_path)
            refused.append(str(caught.value))

    train(make_config(data, max_steps=2, n_valid_s=0), tmp_path, progress=train_there_too)
    assert len(refused) == 1
    assert read_checkpoint(tmp_path / "checkpoints" / "last.npz").state["step"] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once_in_the_middle_of_a_computation(number):
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "busy\n"
        process.send_signal(number)
        assert process.stdout.readline() == f"{number.name}: stopping after this step; once more: at once\n"
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(20) == 128 + number


def test_handlers_of_others_are_left_alone():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("mine"))
    try:
        with Stopping(heard.append) as stopping:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not stopping.asked
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == ["mine"]


def test_outside_the_main_thread_nothing_is_heard():
    asked = []

    def work():
        with Stopping(asked.append) as stopping:
            asked.append(stopping.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [False]
