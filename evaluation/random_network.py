"""Random weights for a network, the same on every machine and back end, where the trained ones are not at hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.separation.models.checkpoint import fill_network, weight_table
from cadenza_remix.separation.models.registry import ModelCard


def fill_randomly(network: Any, card: ModelCard, *, seed: int = 0) -> None:
    """Give a network weights that let signals neither die out nor grow from layer to layer."""
    fill_network(network, card, random_weights(card, seed=seed))


def random_weights(card: ModelCard, *, seed: int = 0) -> dict[tuple[str, str], NDArray[np.float32]]:
    """Return such weights by (layer, weight)."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for slot in weight_table(card):
        if slot.layer is not None:
            drawn[slot.layer, slot.weight] = _drawn(slot.layer, slot.weight, slot.shape, rng)
    return drawn


def _drawn(layer: str, weight: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    if weight == "kernel":
        # A transposed kernel has its inputs last; each of its outputs meets a quarter of the 25 taps.
        fan_in = 25 * shape[3] / 4 if "_up" in layer else np.prod(shape[:3])
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / fan_in))
    if weight == "gamma":
        return rng.normal(1.0, 0.2, shape).astype(np.float32)
    if weight == "moving_variance":
        return rng.uniform(0.5, 2.0, shape).astype(np.float32)
    return rng.normal(0.0, 0.2, shape).astype(np.float32)
