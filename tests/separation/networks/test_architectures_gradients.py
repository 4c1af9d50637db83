"""Gradients of every network against differences, in double precision (set before Keras builds anything)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_networks import small_network

CASES = ("unet", "spleeter-unet-shared", "ibm-cnn", "deep-clustering-chimera", "uh-net")
HELPERS = Path(__file__).parents[2] / "helpers"

PROGRAM = """
import json, sys
from cadenza_remix.separation.networks.backend import load_keras, load_tensorflow
tf, keras = load_tensorflow(), load_keras()
keras.config.set_floatx("float64")
import numpy as np
from small_networks import SMALL, magnitudes, small_network

STEP = 1e-6
found = {}
for case in sys.argv[1:]:
    network = small_network(case, dropout=0.0)
    rng = np.random.default_rng(1)
    inputs = tf.constant(magnitudes(), "float64")
    wanted = {name: tf.constant(rng.normal(size=(2, *out.shape[1:]))) for name, out in network.output.items()}

    @tf.function
    def loss():
        outputs = network(inputs, training=True)
        return tf.add_n([tf.reduce_sum(outputs[name] * wanted[name]) for name in wanted])

    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, network.trainable_variables)
    for variable, gradient in zip(network.trainable_variables, gradients):
        start, way = variable.numpy(), rng.normal(size=variable.shape)
        ends = []
        for sign in (1, -1):
            variable.assign(start + sign * STEP * way)
            ends.append(float(loss()))
        variable.assign(start)
        slope = None if gradient is None else float(np.sum(gradient.numpy() * way))
        norm = 0.0 if gradient is None else float(np.linalg.norm(gradient.numpy()))
        found.setdefault(case, {})[variable.path] = [slope, (ends[0] - ends[1]) / (2 * STEP), norm]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def slopes():
    program = f"import sys; sys.path.insert(0, {str(HELPERS)!r})\n" + PROGRAM
    answer = subprocess.run(
        [sys.executable, "-c", program, *CASES], capture_output=True, text=True, timeout=300, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_the_slopes(slopes, case):
    for path, (slope, difference, norm) in slopes[case].items():
        assert norm > 1e-6, f"{path}: nothing comes back to it"
        # A difference over 2e-6 of sums of some hundred numbers near one is good to about 1e-8.
        assert slope == pytest.approx(difference, rel=1e-5, abs=1e-6 * max(1.0, norm)), path


@pytest.mark.parametrize("case", CASES)
def test_all_weights_that_are_trained_were_checked(slopes, case):
    assert set(slopes[case]) == {weight.path for weight in small_network(case).trainable_weights}
