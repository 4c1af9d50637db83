"""Losses by name, and their sums."""

from __future__ import annotations

import subprocess
import sys

import pytest
from loss_arrays import random_masks, random_targets, small_spec, value_of

from cadenza_remix.errors import InputError
from cadenza_remix.training.losses import build_loss, build_losses, loss_names, loss_settings

SPEC = small_spec()


def test_names() -> None:
    assert loss_names() == ("l1", "cross-entropy", "affinity", "phase-sensitive", "time-l1", "haaqi-aware")


@pytest.mark.parametrize("name", loss_names())
def test_needs_and_defaults(name: str) -> None:
    assert build_loss(name, SPEC).needs == {"embeddings" if name == "affinity" else "masks"}
    assert build_loss(name, SPEC, **loss_settings(name)).needs


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown loss 'l2': expected one of l1"):
        build_loss("l2", SPEC)
    with pytest.raises(InputError, match=r"the loss 'l1': unknown setting 'relativ': .*did you mean 'relative'"):
        build_loss("l1", SPEC, relativ=True)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("l1", {"relative": 1}),
        ("cross-entropy", {"low": 0.9, "high": 0.1}),
        ("cross-entropy", {"low": -0.1}),
        ("cross-entropy", {"weight_exponent": "loud"}),
        ("affinity", {"weighting": "power"}),
        ("affinity", {"threshold_db": 3}),
        ("phase-sensitive", {"distance": "l2"}),
        ("phase-sensitive", {"truncate": "no"}),
        ("time-l1", {"relative": None}),
    ],
)
def test_senseless_settings_are_refused(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"the loss {name!r}"):
        build_loss(name, SPEC, **settings)


def test_sum_of_losses() -> None:
    targets, masks = random_targets(SPEC), random_masks(SPEC)
    both = build_losses([("l1", 0.5, {"relative": False}), ("phase-sensitive", 2.0, {"distance": "squared"})], SPEC)
    assert both.needs == {"masks"}
    assert both.names == ("l1", "phase-sensitive")
    single = [build_loss("l1", SPEC, relative=False), build_loss("phase-sensitive", SPEC, distance="squared")]
    values = [value_of(loss, targets, masks=masks) for loss in single]
    assert value_of(both, targets, masks=masks) == pytest.approx(0.5 * values[0] + 2.0 * values[1], rel=1e-5)
    assert build_losses([("l1", 1, {}), ("affinity", 1, {})], SPEC).needs == {"masks", "embeddings"}


@pytest.mark.parametrize("parts", [[], [("l1", 1, {}), ("l1", 2, {})], [("l1", 0, {})], [("l1", -1, {})]])
def test_senseless_sums_are_refused(parts: list[tuple[str, float, dict[str, object]]]) -> None:
    with pytest.raises(InputError):
        build_losses(parts, SPEC)


def test_names_need_no_keras() -> None:
    code = "import sys, cadenza_remix.training.losses as l; l.loss_names(); sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
