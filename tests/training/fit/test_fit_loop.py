"""Trainings from beginning to end on songs of seconds, and their exact continuation after SIGKILL."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import yaml
from numpy.testing import assert_allclose, assert_array_equal

from cadenza_remix.errors import InputError
from cadenza_remix.separation.stft import Stft
from cadenza_remix.training.fit.checkpoints import read_checkpoint
from cadenza_remix.training.fit.config import TrainConfig
from cadenza_remix.training.fit.logs import read_log
from cadenza_remix.training.fit.loop import train
from cadenza_remix.training.fit.session import memory_told

RATE = 8000


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Songs whose vocals are a tone and whose accompaniment is noise: to be told apart by any network."""
    root = tmp_path_factory.mktemp("data")
    for index, split in enumerate(["train", "train", "valid"]):
        rng = np.random.default_rng(index)
        time_s = np.arange(3 * RATE) / RATE
        tone = 0.3 * np.sin(2 * np.pi * (300 + 50 * index) * time_s)
        tracks = {"vocals": np.stack([tone, tone], axis=1), "other": 0.1 * rng.standard_normal((len(tone), 2))}
        folder = root / split / f"song{index}"
        folder.mkdir(parents=True)
        for stem, samples in tracks.items():
            soundfile.write(folder / f"{stem}.wav", samples, RATE, subtype="FLOAT")
    return root


def make_config(data, **changes):
    training = {"batch_size": 2, "max_steps": 12, "validate_every_steps": 6, "n_valid_batches": 1, "n_workers": 0}
    values = {
        "name": "small",
        "model": {
            "architecture": "spleeter-unet",
            "stems": ["vocals", "accompaniment"],
            "sample_rate": RATE,
            "frame_length": 256,
            "hop_length": 64,
            "fft_length": 256,
            "n_frames": 16,
            "n_bins": 128,
            "settings": {"filters": [4, 8], "encoder": "shared", "dropout": 0.3},
        },
        "data": {
            "train": [{"path": str(data)}],
            "valid": [{"path": str(data)}],
            "targets": {"vocals": ["vocals"], "accompaniment": ["other"]},
            "augmentation": {"eq_share": 0.0, "speed_share": 0.0},
        },
        "optimiser": {"learning_rate": 0.02, "ema": 0.5, "schedule": "cosine", "warmup_steps": 2},
        "training": training | {"jit": False} | changes.pop("training", {}),
        "logs": {"every_steps": 2},
    }
    return TrainConfig.from_dict(values | changes)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out, steps = tmp_path_factory.mktemp("run"), []
    config = make_config(data, training={"max_steps": 60, "validate_every_steps": 20}, logs={"tensorboard": True})
    return train(config, out, progress=steps.append), out, steps


def test_learns_to_tell_a_tone_from_noise(trained):
    result, _, steps = trained
    losses = [step.loss for step in steps]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    assert result.sdr_db["vocals"] > 5.0
    first, *_, last = [step.validation for step in steps if step.validation]
    assert last.score > first.score
    assert (result.n_steps, result.reason) == (60, "max_steps")
    assert 0.0 <= result.waiting_share <= 1.0
    assert steps[-1].seconds_left == 0.0


def test_folder_holds_all_that_was_promised(trained):
    result, out, _ = trained
    rows = read_log(out / "log.csv")
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40, 50, 60]
    assert float(rows[-1]["valid_sdr_vocals_db"]) == pytest.approx(result.sdr_db["vocals"], abs=20)
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((out / "tensorboard").iterdir())
    assert yaml.safe_load((out / "config.yaml").read_text())["training"]["max_steps"] == 60
    assert {path.name for path in (out / "checkpoints").iterdir()} == {"last.npz", "previous.npz", "best.npz"}


def test_model_folder_separates_as_validated(trained, data):
    from cadenza_remix.audio.io import load_audio
    from cadenza_remix.metrics.separation import snr_db
    from cadenza_remix.separation.trained.separator import load_trained

    result, _, _ = trained
    separator = load_trained(result.model_path)
    stems = [load_audio(data / "valid" / "song2" / f"{name}.wav") for name in ("vocals", "other")]
    mixture = type(stems[0])(stems[0].samples + stems[1].samples, stems[0].sample_rate)
    found = separator.separate(mixture)
    assert snr_db(stems[0], found["vocals"]) == pytest.approx(result.sdr_db["vocals"], abs=0.02)
    text = (result.model_path / "model.json").read_text()
    facts = json.loads(text)["facts"]
    assert facts["scores"]["valid_sdr_db"] == result.sdr_db
    assert facts["n_songs"] == 2
    assert str(data.parent) not in text


def test_transform_in_the_graph_is_that_of_separation(data):
    import keras

    from cadenza_remix.training.fit.trainee import graph_transform

    spec = make_config(data).model.spec()
    excerpts = np.random.default_rng(0).standard_normal((2, 2, spec.patch_samples, 2)).astype(np.float32)
    spectra = keras.ops.convert_to_numpy(graph_transform(spec)(keras.ops.convert_to_tensor(excerpts)))
    assert spectra.shape == (2, 16, 128, 2, 2, 2)
    stft = Stft(spec.frame_length, spec.hop_length, spec.fft_length)
    expected = stft.analyse(np.ascontiguousarray(excerpts[1, 0].T))[..., : spec.n_bins]
    found = spectra[1, :, :, :, 0, 0] + 1j * spectra[1, :, :, :, 0, 1]
    assert_allclose(found.transpose(2, 0, 1), expected, atol=2e-5)


KILLED = """
import json, os, signal, sys
from cadenza_remix.training.fit.config import TrainConfig
from cadenza_remix.training.fit.loop import train

out, kill_at = sys.argv[1], int(sys.argv[2])
def stop(progress):
    if progress.step == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
train(TrainConfig.from_dict(json.loads(sys.stdin.read())), out, progress=stop)
"""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


def start(config, out, *, kill_at=0):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(out), str(kill_at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **ONE_THREAD},
    )
    process.stdin.write(json.dumps(config.as_dict()).encode())
    process.stdin.close()
    return process


def test_killed_and_resumed_gives_the_same_weights(data, tmp_path):
    # A checkpoint after each step; the newest is taken away, so that a step is lost and done again.
    config = make_config(data, training={"max_steps": 14, "n_workers": 1, "checkpoint_every_s": 0.0})
    whole = start(config, tmp_path / "whole")
    assert start(config, tmp_path / "killed", kill_at=9).wait() == -signal.SIGKILL
    last = tmp_path / "killed" / "checkpoints" / "last.npz"
    assert read_checkpoint(last).state["step"] == 9
    last.with_name("previous.npz").replace(last)
    assert start(config, tmp_path / "killed").wait() == 0
    assert whole.wait() == 0
    one, other = (read_checkpoint(tmp_path / name / "checkpoints" / "last.npz") for name in ("whole", "killed"))
    assert one.state["step"] == other.state["step"] == 14
    assert one.state["best_score"] == other.state["best_score"]
    for ours, theirs in zip((*one.model, *one.optimiser), (*other.model, *other.optimiser), strict=True):
        assert_array_equal(ours, theirs)
    logs = [read_log(tmp_path / name / "log.csv") for name in ("whole", "killed")]
    assert [(row["step"], row["loss"]) for row in logs[0]] == [(row["step"], row["loss"]) for row in logs[1]]


def test_another_configuration_is_refused_in_the_same_folder(trained, data):
    _, out, _ = trained
    with pytest.raises(InputError, match="same optimiser"):
        train(make_config(data, optimiser={"learning_rate": 0.5}), out)


def test_loss_that_is_no_number_stops_and_keeps_the_checkpoint(data, tmp_path):
    config = make_config(data, training={"max_steps": 3, "validate_every_steps": 100, "checkpoint_every_s": 0.0})
    config = TrainConfig.from_dict(config.as_dict() | {"optimiser": {"learning_rate": 1e30, "clip_norm": None}})
    with pytest.raises(InputError, match=r"no number|not finite"):
        train(config, tmp_path)
    for path in (tmp_path / "checkpoints").glob("*.npz"):
        assert all(np.isfinite(array).all() for array in read_checkpoint(path).model)


def test_broken_file_stops_after_saving_what_was_learned(data, tmp_path):
    import shutil

    root = tmp_path / "data"
    shutil.copytree(data, root)
    config = make_config(root)
    steps = []

    def spoil(progress):
        steps.append(progress.step)
        if progress.step == 3:
            for path in root.glob("train/*/vocals.wav"):
                path.write_bytes(b"no audio")

    with pytest.raises(InputError, match=r"vocals\.wav"):
        train(config, tmp_path / "run", progress=spoil)
    assert steps == [1, 2, 3]
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.npz").state["step"] == 3


def test_stops_without_improvement_and_after_its_time(data, tmp_path):
    frozen = {"optimiser": {"learning_rate": 1e-12}}
    training = {"max_steps": 50, "validate_every_steps": 2, "patience": 2, "n_valid_s": 0}
    result = train(make_config(data, training=training, **frozen), tmp_path / "patience")
    assert result.reason == "patience"
    assert result.n_steps < 50
    assert result.sdr_db == {}
    began = time.monotonic()
    result = train(make_config(data, training={"max_minutes": 1e-6}), tmp_path / "minutes")
    assert (result.reason, result.n_steps) == ("max_minutes", 1)
    assert time.monotonic() - began < 60
    again = train(make_config(data, training={"max_minutes": 1e-6}), tmp_path / "minutes")
    assert again.n_steps == 1


def test_song_cannot_be_trained_on_and_validated_on(data, tmp_path):
    values = make_config(data).as_dict()
    values["data"]["valid"][0]["split"] = "train"
    with pytest.raises(InputError, match="trained on and validated on"):
        train(TrainConfig.from_dict(values), tmp_path)


def test_loss_of_another_network_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="embeddings"):
        train(make_config(data, loss="affinity"), tmp_path)


def test_embeddings_get_centroids_and_initial_weights_are_taken(data, tmp_path):
    from cadenza_remix.separation.trained.folder import read_model_folder

    values = make_config(data, loss="affinity", training={"max_steps": 2}).as_dict()
    values["model"] |= {"architecture": "deep-clustering", "settings": {"units": 8, "layers": 1, "n_dimensions": 4}}
    values["optimiser"] = {"learning_rate": 1e-3}
    result = train(TrainConfig.from_dict(values), tmp_path / "first")
    model = read_model_folder(result.model_path)
    assert model.inference.kind == "clusters"
    assert len(model.inference.centroids) == 2
    values |= {"initial_weights": str(result.model_path), "optimiser": {"learning_rate": 1e-30, "name": "sgd"}}
    again = train(TrainConfig.from_dict(values), tmp_path / "second")
    assert again.n_steps == 2
    kept = [tmp_path / name / "checkpoints" / "best.npz" for name in ("first", "second")]
    first, second = (read_checkpoint(path).model for path in kept)
    assert_allclose(second[0], first[0], atol=1e-7)


def test_too_little_memory_is_one_line_that_says_what_helps(data):
    line = r"training\.batch_size: not enough memory.*less than 2.*8 GiB"
    with pytest.raises(InputError, match=line), memory_told(make_config(data)):
        raise MemoryError("Unable to allocate 8 GiB\nfor an array")
    with pytest.raises(ValueError, match="something else"), memory_told(make_config(data)):
        raise ValueError("something else")
