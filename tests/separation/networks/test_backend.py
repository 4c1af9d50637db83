"""Back ends and devices: what is chosen, and that what cannot be had is an error of one line."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.backend import (
    ComputeDevice,
    choose_device,
    device_name,
    find_device,
    load_keras,
    load_tensorflow,
    n_threads,
)

HELPERS = Path(__file__).parents[2] / "helpers"


def run(code, **environment):
    """Run some code in an interpreter of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(HELPERS), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_auto_takes_a_gpu_only_where_there_is_one():
    gpus = load_tensorflow().config.list_physical_devices("GPU")
    assert find_device().kind == ("gpu" if gpus else "cpu")
    assert device_name() == str(find_device())


def test_a_processor_can_always_be_had():
    device = choose_device("cpu")
    assert device == ComputeDevice(load_keras().backend.backend(), "cpu")
    assert str(device) == f"{device.backend} on CPU"


def test_a_gpu_says_which_it_is():
    assert str(ComputeDevice("torch", "gpu", "NVIDIA H200")) == "torch on GPU (NVIDIA H200)"


def test_a_gpu_that_is_not_there_is_an_error():
    # CUDA_VISIBLE_DEVICES hides any that this machine has.
    code = (
        "from cadenza_remix.separation.networks.backend import choose_device\n"
        "try: choose_device('gpu')\n"
        "except ValueError as error: print(error)"
    )
    said = run(code, KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="", ROCR_VISIBLE_DEVICES="")
    assert said == (
        "--device gpu: no GPU can be used: expected a GPU that tensorflow sees (pip install 'tensorflow[and-cuda]'), "
        "found processors only"
    )


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match=r"unknown device 'gpus': expected one of auto, cpu, gpu \(did you mean 'gpu'"):
        choose_device("gpus")


def test_an_unknown_back_end_is_refused():
    code = (
        "from cadenza_remix.separation.networks.backend import load_keras\n"
        "try: load_keras()\n"
        "except ValueError as error: print(error)"
    )
    said = run(code, KERAS_BACKEND="pytorch")
    assert said.startswith("KERAS_BACKEND: unknown back end 'pytorch': expected one of tensorflow, jax, torch (did you")


@pytest.mark.parametrize(
    ("installed", "advice"),
    [
        ([], ""),
        (["torch"], "; for what is installed here set KERAS_BACKEND=torch"),
        (["jax", "torch"], "; for what is installed here set KERAS_BACKEND=jax or KERAS_BACKEND=torch"),
    ],
)
def test_a_back_end_that_is_not_installed_names_those_that_are(tmp_path, installed, advice):
    # Modules of that name decide, which this interpreter is given or denied.
    for name in installed:
        (tmp_path / f"{name}.py").touch()
    code = (
        "import sys\n"
        f"for name in {{'tensorflow', 'jax', 'torch'}} - {set(installed)}: sys.modules[name] = None\n"
        "from cadenza_remix.separation.networks.backend import load_keras\n"
        "try: load_keras()\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    said = run(code, KERAS_BACKEND="tensorflow", PYTHONPATH=str(tmp_path))
    needs = "the Keras back end 'tensorflow' needs a package that is not installed: tensorflow"
    assert said == f"MissingDependencyError {needs}{advice}"


def test_a_function_bound_to_a_device_runs_on_it_in_any_thread():
    keras = load_keras()
    device = choose_device("cpu")
    places = []
    bound = device.bound(lambda value, *, add: places.append((keras.ops.convert_to_tensor([value]) + add).device))
    thread = threading.Thread(target=bound, args=(1.0,), kwargs={"add": 2.0})
    thread.start()
    thread.join()
    assert "cpu" in str(places[0]).lower()


@pytest.mark.parametrize(
    ("asked", "taken"), [("1", 1), ("2", 2), ("3", 2), ("4", 4), ("7", 4), ("12", 8), ("48", 32), ("64", 32)]
)
def test_threads_are_a_power_of_two(monkeypatch, asked, taken):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", asked)
    assert n_threads() == taken


@pytest.mark.parametrize("asked", ["", "0", "-1", "all"])
def test_threads_are_no_more_than_processors_where_nobody_asks(monkeypatch, asked):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", asked)
    assert 1 <= n_threads() <= os.cpu_count()
    assert n_threads().bit_count() == 1


# One stem of a small size at which TensorFlow, left to itself, gives other digits with 3 threads than with 1.
SEPARATE = """
import dataclasses, hashlib
import numpy as np
from random_weights import random_variables
from cadenza_remix.separation.models.checkpoint import fill_network, match_variables, weight_table
from cadenza_remix.separation.models.registry import model_card
from cadenza_remix.separation.networks.unet import build_estimate_network
card = dataclasses.replace(model_card("spleeter:2stems"), stems=("vocals",), n_frames=64, n_bins=256)
network = build_estimate_network(card)
fill_network(network, card, match_variables(weight_table(card), random_variables(card), where="random"))
magnitudes = np.random.default_rng(1).uniform(0, 5, (1, 64, 256, 2)).astype(np.float32)
print(hashlib.sha256(np.ascontiguousarray(network.predict_on_batch(magnitudes)[0]).tobytes()).hexdigest())
"""


def test_the_number_of_threads_does_not_change_a_bit():
    one, three = (run(SEPARATE, TF_NUM_INTRAOP_THREADS=threads, KERAS_BACKEND="tensorflow") for threads in ("1", "3"))
    assert one == three


def test_lean_keras_leaves_conveniences_out_and_to_others():
    code = (
        "import sys; from cadenza_remix.separation.networks.backend import leave_conveniences_out, load_keras;"
        "leave_conveniences_out(); load_keras();"
        "assert not {'pandas', 'matplotlib'} & set(sys.modules), 'loaded';"
        "import pandas, matplotlib; assert pandas.DataFrame"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
