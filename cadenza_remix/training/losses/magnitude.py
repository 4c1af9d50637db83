"""Losses between the masked mixture and what is wanted of it, on linear magnitudes: ``l1`` and ``phase-sensitive``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cadenza_remix.separation.networks.backend import load_keras
from cadenza_remix.training.losses.spectra import (
    TINY,
    check_choice,
    check_switch,
    excerpt_mean,
    given,
    magnitudes,
    scale_of,
)

if TYPE_CHECKING:
    from cadenza_remix.separation.networks.architectures import NetworkSpec


class L1:
    """``l1``: the mean of ``|mask |X| - |S||`` over excerpts, frames, bins, channels and stems.

    Jansson et al., "Singing voice separation with deep U-Net convolutional networks" (ISMIR 2017), equation 1. There
    magnitudes are scaled by each song's greatest; here each excerpt counts relative to its own level.

    Parameters
    ----------
    spec : NetworkSpec
        Of the network that is trained.
    relative : bool
        Divide by the mean magnitude of each excerpt's mixture: quiet excerpts then count like loud ones. Otherwise a
        full-scale sine is 1 and music some thousandths; a U-Net's gradients are then near 1e-8, below what Adam adds
        to their size (1e-7), so that it learns slowly or not at all.
    """

    needs = frozenset({"masks"})

    def __init__(self, spec: NetworkSpec, *, relative: bool = True) -> None:
        self._scale = scale_of(spec)
        self._relative = check_switch("relative", relative, loss="l1")

    def __call__(self, mixture: Any, targets: Any, outputs: Mapping[str, Any]) -> Any:
        ops = load_keras().ops
        heard = magnitudes(mixture) * self._scale
        estimates = given(outputs, "masks", "l1") * heard[..., None]
        wrong = ops.abs(estimates - magnitudes(targets) * self._scale)
        return ops.mean(wrong / excerpt_mean(heard)[..., None] if self._relative else wrong)


class PhaseSensitive:
    """``phase-sensitive``: the masked mixture against ``|S| cos(theta_X - theta_S)``.

    That is the part of each stem that lies along the mixture's phase, which a mask keeps: with the squared distance and
    no truncation the loss is, up to a constant, the distance between the separated and the true spectra.
    Erdogan et al., "Phase-sensitive and recognition-boosted speech separation using deep recurrent neural networks"
    (ICASSP 2015).

    Parameters
    ----------
    spec : NetworkSpec
        Of the network that is trained.
    distance : {"l1", "squared"}
    truncate : bool
        Bring what is wanted into the reach of a mask, 0 to ``|X|``; without it perfection is out of reach.
    relative : bool
        Divide by the mean magnitude of each excerpt's mixture (its square for the squared distance); see `L1`.
    """

    needs = frozenset({"masks"})

    def __init__(
        self, spec: NetworkSpec, *, distance: str = "l1", truncate: bool = True, relative: bool = True
    ) -> None:
        name = "phase-sensitive"
        self._scale = scale_of(spec)
        self._squared = check_choice("distance", distance, ("l1", "squared"), loss=name) == "squared"
        self._truncate = check_switch("truncate", truncate, loss=name)
        self._relative = check_switch("relative", relative, loss=name)

    def __call__(self, mixture: Any, targets: Any, outputs: Mapping[str, Any]) -> Any:
        ops = load_keras().ops
        heard = magnitudes(mixture) * self._scale
        wanted = along_mixture(mixture, targets, truncate=self._truncate) * self._scale
        estimates = given(outputs, "masks", "phase-sensitive") * heard[..., None]
        wrong = estimates - wanted
        if self._relative:
            wrong = wrong / excerpt_mean(heard)[..., None]
        return ops.mean(ops.square(wrong) if self._squared else ops.abs(wrong))


def along_mixture(mixture: Any, targets: Any, *, truncate: bool) -> Any:
    """Return the part of each stem along the mixture's phase, (batch, n_frames, n_bins, 2 channels, n_stems)."""
    ops = load_keras().ops
    mixture, targets = ops.cast(mixture, "float32"), ops.cast(targets, "float32")
    heard = magnitudes(mixture)[..., None]
    along = ops.sum(targets * mixture[..., None, :], axis=-1) / ops.maximum(heard, TINY)
    return ops.minimum(ops.maximum(along, 0.0), heard) if truncate else along
