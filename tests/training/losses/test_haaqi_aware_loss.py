"""The loss made after HAAQI: its value, its bands, what holes and leaks cost."""

from __future__ import annotations

import numpy as np
import pytest
from loss_arrays import random_masks, random_targets, small_spec, value_of

from cadenza_remix.errors import InputError
from cadenza_remix.training.losses import build_loss
from cadenza_remix.training.losses.haaqi_aware import bin_weights

SPEC = small_spec(sample_rate=44_100, frame_length=256, fft_length=256, hop_length=64, n_bins=129, n_frames=6)
HZ = np.arange(129) * 44_100 / 256


def in_phase(vocals: float = 0.5, seed: int = 0) -> np.ndarray:
    """Return stems in phase with each other: vocals have a fixed share of the mixture's amplitude."""
    return random_targets(SPEC, seed=seed)[..., :1] * np.array([vocals, 1 - vocals])


def test_value() -> None:
    targets, masks = random_targets(SPEC), random_masks(SPEC)
    mixture = np.abs(targets.sum(axis=-1))
    floor = 10**-2.5 * np.sqrt(np.mean(mixture**2, axis=(1, 2, 3)))[:, None, None, None, None]
    ratio = np.log10((masks * mixture[..., None] + floor) / (np.abs(targets) + floor))
    hole, leak = np.array([1.45, 0.76]), np.array([0.55, 1.24])
    weights = bin_weights(SPEC, 500, 2000, octave_weight=0.5, least_weight=0.1)[:, None, None]
    expected = np.mean(weights * np.where(ratio > 0, leak * ratio, -hole * ratio))
    assert value_of(build_loss("haaqi-aware", SPEC), targets, masks=masks) == pytest.approx(expected, rel=1e-4)


def test_phase_sensitive_target() -> None:
    targets, masks = random_targets(SPEC), random_masks(SPEC)
    mixture = targets.sum(axis=-1)[..., None]
    wanted = np.clip((targets * mixture.conj()).real / np.abs(mixture), 0, np.abs(mixture))
    perfect = (wanted / np.abs(mixture)).astype(np.float32)
    loss = build_loss("haaqi-aware", SPEC, target="phase-sensitive")
    assert value_of(loss, targets, masks=perfect) == pytest.approx(0.0, abs=1e-5)
    assert value_of(loss, targets, masks=masks) > 0.1


def test_a_hole_in_vocals_costs_more_than_the_same_leak_and_the_other_way_round_elsewhere() -> None:
    targets = in_phase()
    loss = build_loss("haaqi-aware", SPEC, floor_db=-120)
    costs = {}
    for stem in (0, 1):
        for change_db in (-6, 6):
            masks = np.full(targets.shape, 0.5, dtype=np.float32)
            masks[..., stem] *= 10 ** (change_db / 20)
            costs[stem, change_db] = value_of(loss, targets, masks=masks)
    # 6 dB are 0.3 of a factor of ten; one of two stems is wrong.
    assert costs[0, -6] == pytest.approx(1.45 * 0.3 / 2, rel=1e-3)
    assert costs[0, 6] == pytest.approx(0.55 * 0.3 / 2, rel=1e-3)
    assert costs[1, -6] == pytest.approx(0.76 * 0.3 / 2, rel=1e-3)
    assert costs[1, 6] == pytest.approx(1.24 * 0.3 / 2, rel=1e-3)


def test_stems_are_known_by_name() -> None:
    turned = small_spec(("accompaniment", "vocals"), **{name: getattr(SPEC, name) for name in
        ("sample_rate", "frame_length", "fft_length", "hop_length", "n_bins", "n_frames")})  # fmt: skip
    targets = in_phase(0.3)
    masks = random_masks(SPEC)
    value = value_of(build_loss("haaqi-aware", SPEC), targets, masks=masks)
    other_way = value_of(build_loss("haaqi-aware", turned), targets[..., ::-1], masks=masks[..., ::-1])
    assert other_way == pytest.approx(value, rel=1e-5)


def test_weights_by_band() -> None:
    weights = bin_weights(SPEC, 500, 2000, octave_weight=0.5, least_weight=0.1)
    assert weights.mean() == pytest.approx(1.0)
    inside = (HZ >= 500) & (HZ <= 2000)
    top = weights[inside][0]
    assert (weights[inside] == top).all()
    np.testing.assert_allclose(weights[HZ > 8000] / top, 0.1, rtol=1e-5)
    between = (HZ > 2000) & (HZ < 8000)
    np.testing.assert_allclose(weights[between] / top, 2000 / HZ[between], rtol=1e-4)  # half for each octave
    assert weights[0] == pytest.approx(0.1 * top, rel=1e-5)
    assert weights[2] / top == pytest.approx(HZ[2] / 500, rel=1e-5)


def test_an_error_in_the_band_costs_more_than_one_outside() -> None:
    targets = in_phase()
    loss = build_loss("haaqi-aware", SPEC)
    costs = []
    for low_hz, high_hz in ((500, 2000), (10_000, 11_500)):
        masks = np.full(targets.shape, 0.5, dtype=np.float32)
        masks[:, :, np.logical_and(low_hz < HZ, high_hz > HZ), :, 0] = 0.1
        costs.append(value_of(loss, targets, masks=masks))
    assert costs[0] > 8 * costs[1] > 0


def test_quiet_bins_count_like_loud_ones_where_l1_hardly_sees_them() -> None:
    targets = in_phase()
    targets[:, :, 4:8] *= 0.02  # 34 dB down
    shares = {}
    for name in ("haaqi-aware", "l1"):
        loss = build_loss(name, SPEC)
        costs = []
        for bins in (slice(4, 8), slice(8, 12)):  # 689 to 1895 Hz: all in the band
            masks = np.full(targets.shape, 0.5, dtype=np.float32)
            masks[:, :, bins] = 0.2
            costs.append(value_of(loss, targets, masks=masks))
        shares[name] = costs[0] / costs[1]
    assert shares["haaqi-aware"] > 0.5  # the floor takes a part away
    assert shares["l1"] < 0.03


def test_what_lies_below_the_floor_hardly_counts() -> None:
    targets = in_phase(1.0)  # no accompaniment at all
    masks = np.ones(targets.shape, dtype=np.float32)
    costs = []
    for leak_db in (-80, -20):
        masks[..., 1] = 10 ** (leak_db / 20)
        costs.append(value_of(build_loss("haaqi-aware", SPEC), targets, masks=masks))
    assert costs[0] < 0.02
    assert costs[1] > 0.5


@pytest.mark.parametrize(
    ("setting", "value"),
    [("floor_db", 3), ("vocals_hole", -1), ("least_weight", 2), ("target", "wiener"), ("low_hz", 3000), ("high_hz", 0)],
)
def test_senseless_settings_are_refused(setting: str, value: object) -> None:
    with pytest.raises(InputError, match="haaqi-aware"):
        build_loss("haaqi-aware", SPEC, **{setting: value})
