"""What Deezer's package gives, for spleeter.py to compare with; reads a list of jobs and writes arrays.

Run by spleeter.py with the Python of an environment that has spleeter 2.4.2 and TensorFlow 2.12:
    python -P evaluation/parity/oracle_spleeter.py JOBS.json
(``-P``, because a script of the package's own name lies in this folder.) A job is either
    {"task": "random_checkpoint", "model": "4stems", "weights": FOLDER, "music": NPY, "seed": 1}
or  {"task": "separate", "model": "4stems", "weights": FOLDER, "music": NPY, "out": NPZ, "repeats": 2, "wiener": false}
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf
from spleeter.model import model_fn
from spleeter.separator import Separator
from spleeter.utils.configuration import load_configuration

NORMS_PER_STEM = 12


def separate(job: dict[str, Any]) -> None:
    """Separate by the package's own class, and keep the time of the last repeat."""
    separator = Separator(f"spleeter:{job['model']}", MWF=job["wiener"], multiprocess=False)
    separator._params["model_dir"] = job["weights"]
    music = np.load(job["music"])
    for _ in range(job["repeats"]):
        start = time.perf_counter()
        estimates = separator.separate(music)
        seconds = time.perf_counter() - start
    np.savez(job["out"], seconds=seconds, **estimates)


def random_checkpoint(job: dict[str, Any]) -> None:
    """Build the package's own graph, give it weights that make it work on music, and save it with its own saver.

    Weights drawn blindly drive the masks to 0 or 1 and every estimate to the same share of the mixture, which any
    network would match. So each batch normalisation takes the mean and the variance that its input really has (times
    a random factor), and the last convolution is drawn wide enough for the masks to swing.
    """
    params = {**load_configuration(f"spleeter:{job['model']}"), "MWF": False}
    rng = np.random.default_rng(job["seed"])
    music = np.load(job["music"])
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.train.get_or_create_global_step()
        waveform = tf.compat.v1.placeholder(tf.float32, (None, 2))
        features = {"waveform": waveform, "audio_id": tf.constant("music")}
        model_fn(features, None, tf.estimator.ModeKeys.PREDICT, params)
        session.run(tf.compat.v1.global_variables_initializer())
        variables = {variable.op.name: variable for variable in tf.compat.v1.global_variables()}
        for name in sorted(variables):
            if name != "global_step":
                variables[name].load(_drawn(name, tuple(variables[name].shape), rng), session)
        _settle_norms(session, variables, {waveform: music}, len(params["instrument_list"]), rng)
        saver = tf.compat.v1.train.Saver()
        Path(job["weights"]).mkdir(parents=True, exist_ok=True)
        saver.save(session, str(Path(job["weights"]) / "model"), write_meta_graph=False)


def _drawn(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    kind = name.rpartition("/")[2]
    if kind == "kernel":
        last = shape[:2] == (4, 4)
        # A transposed kernel has its inputs last; each of its outputs sees a quarter of the 25 taps.
        fan_in = 25 * shape[3] / 4 if "transpose" in name else shape[0] * shape[1] * shape[2]
        return rng.normal(0.0, 0.5 if last else np.sqrt(2.0 / fan_in), shape)
    spread = {"bias": (0.0, 0.1), "beta": (0.0, 0.3), "gamma": (1.0, 0.2), "moving_mean": (0.0, 0.1)}
    if kind in spread:
        return rng.normal(*spread[kind], shape)
    return rng.uniform(0.5, 2.0, shape)  # moving_variance


def _settle_norms(
    session: Any, variables: dict[str, Any], feed: dict[Any, Any], n_stems: int, rng: np.random.Generator
) -> None:
    """Give each normalisation what its input measures on the music, from the input to the output."""
    for position in range(NORMS_PER_STEM):
        names = [_numbered("batch_normalization", NORMS_PER_STEM * stem + position) for stem in range(n_stems)]
        inputs = [_norm_input(session.graph, name) for name in names]
        moments = [tf.nn.moments(tensor, axes=[0, 1, 2]) for tensor in inputs]
        measured = session.run(moments, feed)
        for name, (mean, variance) in zip(names, measured, strict=True):
            variables[f"{name}/moving_mean"].load(mean + rng.normal(0.0, 0.2, mean.shape) * np.sqrt(variance), session)
            variables[f"{name}/moving_variance"].load(variance * rng.uniform(0.5, 2.0, mean.shape) + 1e-3, session)


def _norm_input(graph: Any, name: str) -> Any:
    """Return what a normalisation acts on: the only floats that go into its choice between training and inference."""
    (tensor,) = (source for source in graph.get_operation_by_name(f"{name}/cond").inputs if source.dtype == tf.float32)
    return tensor


def _numbered(kind: str, number: int) -> str:
    return f"{kind}_{number}" if number else kind


def main() -> None:
    tf.get_logger().setLevel(logging.ERROR)
    tasks = {"random_checkpoint": random_checkpoint, "separate": separate}
    for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        tasks[job.pop("task")](job)


if __name__ == "__main__":
    main()
