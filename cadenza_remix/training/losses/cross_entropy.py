"""Cross entropy between masks and ideal binary masks: ``cross-entropy``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.backend import load_keras
from cadenza_remix.training.losses.spectra import check_range, excerpt_mean, given, magnitudes

if TYPE_CHECKING:
    from cadenza_remix.separation.networks.architectures import NetworkSpec

# Masks of exactly 0 or 1 would cost infinity; shrunk, not clipped, so that their gradient lives.
_MARGIN = 1e-6


class CrossEntropy:
    """``cross-entropy``: each mask value as the probability that its stem is louder than all others together.

    Lin et al., "Singing voice separation using a deep convolutional neural network trained by ideal binary mask and
    cross entropy" (arXiv 1812.01278): labels from the ideal binary mask, softened to 0.02 and 0.98, which keeps
    the network from driving its outputs to infinity. The labels' own entropy is taken off, so that 0 is perfect; that
    changes no gradient.

    Parameters
    ----------
    spec : NetworkSpec
        Of the network that is trained.
    low, high : float
        Labels of bins where the stem is weaker, and stronger, than the rest.
    weight_exponent : float
        Bins count with the mixture's magnitude to this power (0: all alike, as published; 1: by loudness), with a mean
        of 1 over each excerpt.
    """

    needs = frozenset({"masks"})

    def __init__(
        self, spec: NetworkSpec, *, low: float = 0.02, high: float = 0.98, weight_exponent: float = 0.0
    ) -> None:
        name = "cross-entropy"
        self._low = check_range("low", low, 0.0, 1.0, loss=name)
        self._high = check_range("high", high, 0.0, 1.0, loss=name)
        if self._low >= self._high:
            raise InputError("labels out of order", where=f"the loss {name!r}", expected="low < high", found=low)
        self._exponent = check_range("weight_exponent", weight_exponent, 0.0, 4.0, loss=name)

    def __call__(self, mixture: Any, targets: Any, outputs: Mapping[str, Any]) -> Any:
        ops = load_keras().ops
        stronger = ideal_binary_masks(targets)
        labels = self._low + (self._high - self._low) * stronger
        entropy = _entropy(self._low) + (_entropy(self._high) - _entropy(self._low)) * stronger
        share = _MARGIN + (1.0 - 2.0 * _MARGIN) * given(outputs, "masks", "cross-entropy")
        cost = -(labels * ops.log(share) + (1.0 - labels) * ops.log(1.0 - share)) - entropy
        if self._exponent:
            weights = ops.power(magnitudes(mixture), self._exponent)
            cost = cost * (weights / excerpt_mean(weights))[..., None]
        return ops.mean(cost)


def ideal_binary_masks(targets: Any) -> Any:
    """Return 1.0 where a stem's magnitude is above that of all others' sum, 0.0 elsewhere; shape of the masks."""
    ops = load_keras().ops
    targets = ops.cast(targets, "float32")
    rest = ops.sum(targets, axis=-2, keepdims=True) - targets
    return ops.cast(magnitudes(targets) > magnitudes(rest), "float32")


def _entropy(probability: float) -> float:
    if probability in (0.0, 1.0):
        return 0.0
    return float(-probability * np.log(probability) - (1.0 - probability) * np.log1p(-probability))
