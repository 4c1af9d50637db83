"""A run whose separator is the folder of a trained model, named from the settings' folder and trained anew later."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
import yaml
from small_challenge import results
from small_models import small_model

from cadenza_remix.separation.loading import load_separator

STEMS = ("vocals", "drums", "bass", "other")


def call(*arguments):
    command = [sys.executable, "-m", "cadenza_remix", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained run")
    soundfile.write(folder / "a song.wav", np.random.default_rng(0).uniform(-0.1, 0.1, (9000, 2)), 44_100)
    small_model(folder / "models" / "my run" / "model", "spleeter-unet", stems=STEMS)
    return folder


def settings(world, separator):
    place = world / "settings"
    place.mkdir(exist_ok=True)
    values = {"songs": "../a song.wav", "listeners": "cad1-sample", "listener": "L5040", "separator": separator}
    (place / "run.yaml").write_text(yaml.safe_dump(values))
    return place / "run.yaml"


def stems_of(out):
    return {name: content for name, content in results(out).items() if name.startswith("stems")}


def test_stems_are_made_anew_when_the_model_was_trained_anew(world):
    model, out = world / "models" / "my run" / "model", world / "out"
    arguments = ("run", settings(world, "../models/my run/model/"), "--out", out, "--workers", 1)
    first = call(*arguments)
    assert first.returncode == 0, first.stderr
    before = results(out)
    same = call(*arguments)
    assert (same.returncode, results(out) == before) == (0, True)
    assert "made anew" not in same.stdout

    small_model(model, "spleeter-unet", stems=STEMS, seed=2)
    again = call(*arguments)
    assert again.returncode == 0, again.stderr
    assert "another model than this run began with: its stems are made anew" in again.stdout
    after = results(out)
    assert after.keys() == before.keys()
    assert not [name for name in stems_of(out) if after[name] == before[name]]
    fingerprint = load_separator(model).fingerprint
    record = next(content for name, content in stems_of(out).items() if name.endswith("record.json"))
    assert fingerprint in record.decode()


@pytest.mark.parametrize(
    ("separator", "says"),
    [
        ("../models/my run", "no trained model: expected the model in it, "),
        ("../models", "no trained model: expected a folder with model.json and network.keras, as training writes it"),
    ],
)
def test_a_folder_that_is_no_model_is_one_line_before_anything_is_written(world, separator, says):
    done = call("run", settings(world, separator), "--out", world / "none")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr
    assert not (world / "none").exists()
