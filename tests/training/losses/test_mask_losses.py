"""Losses on masks against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from loss_arrays import random_masks, random_targets, small_spec, value_of

from cadenza_remix.errors import InputError
from cadenza_remix.training.losses import build_loss

SPEC = small_spec()
TARGETS = random_targets(SPEC)
MASKS = random_masks(SPEC)
MIXTURE = TARGETS.sum(axis=-1)
# Single precision, sums of a thousand terms.
CLOSE = pytest.approx


def test_l1_is_the_mean_distance_of_magnitudes() -> None:
    expected = np.mean(np.abs(MASKS * np.abs(MIXTURE)[..., None] - np.abs(TARGETS))) * 4 / SPEC.frame_length
    assert value_of(build_loss("l1", SPEC, relative=False), TARGETS, masks=MASKS) == CLOSE(expected, rel=1e-5)


def test_l1_does_not_depend_on_level() -> None:
    loss = build_loss("l1", SPEC)
    wrong = np.abs(MASKS * np.abs(MIXTURE)[..., None] - np.abs(TARGETS))
    each = wrong.mean(axis=(1, 2, 3, 4)) / np.abs(MIXTURE).mean(axis=(1, 2, 3))
    assert value_of(loss, TARGETS, masks=MASKS) == CLOSE(each.mean(), rel=1e-5)
    assert value_of(loss, 0.01 * TARGETS, masks=MASKS) == CLOSE(each.mean(), rel=1e-5)


def test_a_full_scale_sine_has_magnitude_one() -> None:
    spec = small_spec(frame_length=64, fft_length=64, hop_length=16, n_bins=33)
    sine = np.sin(2 * np.pi * 8 / 64 * np.arange(64))
    spectrum = np.fft.rfft(sine * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)))
    targets = np.zeros((1, spec.n_frames, spec.n_bins, 2, 2), dtype=complex)
    targets[..., 0] = spectrum[None, None, :, None]
    masks = np.zeros(targets.shape, dtype=np.float32)
    # The window spreads a sine over three bins with magnitudes 1/2, 1, 1/2; half of the stems hold it.
    expected = (0.5 + 1 + 0.5) / 33 / 2
    assert value_of(build_loss("l1", spec, relative=False), targets, masks=masks) == CLOSE(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["l1", "phase-sensitive", "haaqi-aware", "time-l1"])
def test_perfect_masks_cost_nothing(name: str) -> None:
    # Stems in phase with each other, so that a mask from 0 to 1 can be perfect.
    shares = random_masks(SPEC, seed=5)
    shares = shares / shares.sum(axis=-1, keepdims=True)
    targets = shares * random_targets(SPEC, seed=6)[..., :1]
    loss = build_loss(name, SPEC)
    assert value_of(loss, targets, masks=shares) == CLOSE(0.0, abs=1e-6)
    assert value_of(loss, targets, masks=shares[..., ::-1]) > 1e-3


def test_cross_entropy_on_softened_ideal_binary_masks() -> None:
    vocals, rest = np.abs(TARGETS[..., 0]), np.abs(TARGETS[..., 1])
    labels = np.where(np.stack([vocals > rest, rest > vocals], axis=-1), 0.98, 0.02)
    entropy = -(0.02 * np.log(0.02) + 0.98 * np.log(0.98))
    each = -(labels * np.log(MASKS) + (1 - labels) * np.log(1 - MASKS)) - entropy
    assert value_of(build_loss("cross-entropy", SPEC), TARGETS, masks=MASKS) == CLOSE(each.mean(), rel=1e-4)
    weights = np.abs(MIXTURE) / np.abs(MIXTURE).mean(axis=(1, 2, 3), keepdims=True)
    loud = build_loss("cross-entropy", SPEC, weight_exponent=1)
    assert value_of(loud, TARGETS, masks=MASKS) == CLOSE((each * weights[..., None]).mean(), rel=1e-4)
    perfect = labels.astype(np.float32)
    assert value_of(build_loss("cross-entropy", SPEC), TARGETS, masks=perfect) == CLOSE(0.0, abs=1e-5)


def test_cross_entropy_of_four_stems_takes_each_against_all_others() -> None:
    spec = small_spec(("vocals", "drums", "bass", "other"))
    targets, masks = random_targets(spec), random_masks(spec)
    rest = targets.sum(axis=-1, keepdims=True) - targets
    labels = (np.abs(targets) > np.abs(rest)).astype(float)
    each = -(labels * np.log(masks) + (1 - labels) * np.log(1 - masks))
    loss = build_loss("cross-entropy", spec, low=0, high=1)
    assert value_of(loss, targets, masks=masks) == CLOSE(each.mean(), rel=1e-4)


def test_cross_entropy_of_saturated_masks_is_finite_and_has_a_slope() -> None:
    import tensorflow as tf

    masks = tf.Variable(np.round(MASKS))
    from loss_arrays import as_pairs

    with tf.GradientTape() as tape:
        cost = build_loss("cross-entropy", SPEC)(as_pairs(MIXTURE), as_pairs(TARGETS), {"masks": masks})
    slope = tape.gradient(cost, masks).numpy()
    assert np.isfinite(cost.numpy())
    assert np.isfinite(slope).all()
    assert (slope != 0).all()


@pytest.mark.parametrize("truncate", [True, False])
@pytest.mark.parametrize("distance", ["l1", "squared"])
def test_phase_sensitive(truncate: bool, distance: str) -> None:
    angle = np.angle(MIXTURE)[..., None] - np.angle(TARGETS)
    wanted = np.abs(TARGETS) * np.cos(angle)
    if truncate:
        wanted = np.clip(wanted, 0, np.abs(MIXTURE)[..., None])
    wrong = np.abs(MASKS * np.abs(MIXTURE)[..., None] - wanted) * 4 / SPEC.frame_length
    expected = np.mean(wrong if distance == "l1" else wrong**2)
    loss = build_loss("phase-sensitive", SPEC, truncate=truncate, distance=distance, relative=False)
    assert value_of(loss, TARGETS, masks=MASKS) == CLOSE(expected, rel=1e-4)


@pytest.mark.parametrize("distance", ["l1", "squared"])
def test_phase_sensitive_does_not_depend_on_level(distance: str) -> None:
    loss = build_loss("phase-sensitive", SPEC, distance=distance)
    value = value_of(loss, TARGETS, masks=MASKS)
    assert value_of(loss, 0.01 * TARGETS, masks=MASKS) == CLOSE(value, rel=1e-4)


def test_squared_phase_sensitive_is_the_distance_of_spectra_up_to_a_constant() -> None:
    loss = build_loss("phase-sensitive", SPEC, truncate=False, distance="squared", relative=False)
    other = random_masks(SPEC, seed=9)
    distances = [np.mean(np.abs(m * MIXTURE[..., None] - TARGETS) ** 2) * (4 / SPEC.frame_length) ** 2
                 for m in (MASKS, other)]  # fmt: skip
    costs = [value_of(loss, TARGETS, masks=m) for m in (MASKS, other)]
    assert costs[0] - costs[1] == CLOSE(distances[0] - distances[1], rel=1e-3)


@pytest.mark.parametrize("name", ["l1", "cross-entropy", "phase-sensitive", "time-l1", "haaqi-aware", "affinity"])
def test_silence_is_finite(name: str) -> None:
    embeddings = np.full((2, SPEC.n_frames, SPEC.n_bins, 3), 3**-0.5, dtype=np.float32)
    assert np.isfinite(value_of(build_loss(name, SPEC), 0 * TARGETS, masks=MASKS, embeddings=embeddings))


def test_outputs_that_a_loss_needs_are_named() -> None:
    with pytest.raises(InputError, match=r"the loss 'l1' needs masks: expected masks, found embeddings"):
        value_of(build_loss("l1", SPEC), TARGETS, embeddings=MASKS[..., 0])
