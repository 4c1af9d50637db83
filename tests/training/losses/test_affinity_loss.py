"""The affinity loss against its definition with the matrix of bins by bins."""

from __future__ import annotations

import numpy as np
import pytest
from loss_arrays import Complex, as_pairs, random_targets, small_spec, value_of
from numpy.typing import NDArray

from cadenza_remix.training.losses import build_loss

SPEC = small_spec(("vocals", "drums", "bass"), n_frames=4, n_bins=5)
TARGETS = random_targets(SPEC)
WEIGHTINGS = ("loudness", "threshold", "none")


def unit_embeddings(seed: int = 3, n_dimensions: int = 4) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((2, SPEC.n_frames, SPEC.n_bins, n_dimensions))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def one_hot(targets: Complex) -> NDArray[np.float64]:
    mono = np.abs(targets.sum(axis=3)).reshape(len(targets), -1, targets.shape[-1])
    return np.eye(targets.shape[-1])[mono.argmax(axis=-1)]


def weights_of(targets: Complex, weighting: str, threshold_db: float = -6.0) -> NDArray[np.float64]:
    loud = np.abs(targets.sum(axis=(3, 4))).reshape(len(targets), -1)
    if weighting == "none":
        return np.ones_like(loud)
    if weighting == "loudness":
        return loud
    return (loud >= loud.max(axis=1, keepdims=True) * 10 ** (threshold_db / 20)).astype(float)


def by_pairs(embeddings: NDArray[np.floating], targets: Complex, weighting: str) -> float:
    """Return the loss by its definition, in double precision."""
    v = embeddings.astype(np.float64).reshape(len(targets), -1, embeddings.shape[-1])
    y, w = one_hot(targets), weights_of(targets, weighting)
    pairs = w[:, :, None] * w[:, None, :]
    wrong = (v @ v.transpose(0, 2, 1) - y @ y.transpose(0, 2, 1)) ** 2
    return float(np.mean((pairs * wrong).sum(axis=(1, 2)) / pairs.sum(axis=(1, 2))))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_low_rank_form_is_the_definition(weighting: str) -> None:
    loss = build_loss("affinity", SPEC, weighting=weighting, threshold_db=-6)
    embeddings = unit_embeddings()
    expected = by_pairs(embeddings, TARGETS, weighting)
    assert value_of(loss, TARGETS, embeddings=embeddings) == pytest.approx(expected, rel=1e-4)


def test_threshold_leaves_quiet_bins_out() -> None:
    kept = weights_of(TARGETS, "threshold")
    assert 0 < kept.mean() < 1
    loss = build_loss("affinity", SPEC, weighting="threshold", threshold_db=-6)
    embeddings = unit_embeddings()
    others = np.where(kept.reshape(2, SPEC.n_frames, SPEC.n_bins, 1) > 0, embeddings, unit_embeddings(seed=8))
    value = value_of(loss, TARGETS, embeddings=embeddings)
    assert value_of(loss, TARGETS, embeddings=others.astype(np.float32)) == pytest.approx(value, abs=1e-6)


def test_perfect_embeddings_cost_nothing_and_wrong_ones_do() -> None:
    perfect = one_hot(TARGETS).reshape(2, SPEC.n_frames, SPEC.n_bins, 3).astype(np.float32)
    loss = build_loss("affinity", SPEC)
    assert value_of(loss, TARGETS, embeddings=perfect) == pytest.approx(0.0, abs=1e-6)
    assert value_of(loss, TARGETS, embeddings=np.roll(perfect, 1, axis=2)) > 0.1


def test_order_of_stems_and_axes_of_embeddings_do_not_matter() -> None:
    loss = build_loss("affinity", SPEC)
    embeddings = unit_embeddings()
    value = value_of(loss, TARGETS, embeddings=embeddings)
    assert value_of(loss, TARGETS[..., [2, 0, 1]], embeddings=embeddings) == pytest.approx(value, rel=1e-5)
    assert value_of(loss, TARGETS, embeddings=embeddings[..., [3, 1, 0, 2]]) == pytest.approx(value, rel=1e-5)


def test_level_does_not_matter() -> None:
    loss = build_loss("affinity", SPEC)
    embeddings = unit_embeddings()
    quiet = value_of(loss, 1e-3 * TARGETS, embeddings=embeddings)
    assert quiet == pytest.approx(value_of(loss, TARGETS, embeddings=embeddings), rel=1e-4)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_gradient_is_that_of_the_definition(weighting: str) -> None:
    """Against finite differences of the naive form in double precision: the step's error is 1e-8, single's 1e-6."""
    import tensorflow as tf

    loss = build_loss("affinity", SPEC, weighting=weighting, threshold_db=-6)
    start = unit_embeddings()
    embeddings = tf.Variable(start)
    with tf.GradientTape() as tape:
        cost = loss(as_pairs(TARGETS.sum(axis=-1)), as_pairs(TARGETS), {"embeddings": embeddings})
    slope = tape.gradient(cost, embeddings).numpy()
    step, rng = 1e-4, np.random.default_rng(0)
    for index in zip(*(rng.integers(0, size, 25) for size in start.shape), strict=True):
        up, down = start.astype(np.float64), start.astype(np.float64)
        up[index] += step
        down[index] -= step
        expected = (by_pairs(up, TARGETS, weighting) - by_pairs(down, TARGETS, weighting)) / (2 * step)
        assert slope[index] == pytest.approx(expected, abs=2e-6)


def test_matrix_of_bins_by_bins_is_never_there() -> None:
    """A patch of 130,000 bins: the matrix would take 68 GB."""
    spec = small_spec(n_frames=256, n_bins=512, frame_length=1024, fft_length=1024, hop_length=256)
    rng = np.random.default_rng(0)
    targets = random_targets(spec, n_excerpts=1)
    embeddings = rng.standard_normal((1, 256, 512, 2)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    assert 0.1 < value_of(build_loss("affinity", spec), targets, embeddings=embeddings) < 1.0
