"""The loss of deep clustering: ``affinity``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cadenza_remix.separation.networks.backend import load_keras
from cadenza_remix.training.losses.spectra import TINY, check_choice, check_range, given, magnitudes

if TYPE_CHECKING:
    from cadenza_remix.separation.networks.architectures import NetworkSpec

WEIGHTINGS = ("loudness", "threshold", "none")


class Affinity:
    """``affinity``: ``|V V' - Y Y'|^2``, the mean over all pairs of bins of one excerpt.

    Rows of ``V`` are the embeddings of the bins, rows of ``Y`` say which stem is the strongest there (1, others 0),
    on the mono sum of both channels. Computed as ``|V'V|^2 - 2 |V'Y|^2 + |Y'Y|^2``, so that the matrix of bins by bins
    is never there. The order of the stems does not matter.
    Hershey et al., "Deep clustering: discriminative embeddings for segmentation and separation" (ICASSP 2016).

    Parameters
    ----------
    spec : NetworkSpec
        Of the network that is trained.
    weighting : {"loudness", "threshold", "none"}
        How much a bin counts; a pair counts with the product. ``loudness``: the mixture's magnitude (Wang, Le Roux &
        Hershey, "Alternative objective functions for deep clustering", ICASSP 2018); ``threshold``: 1 above
        ``threshold_db`` and 0 below, as Hershey has it.
    threshold_db : float
        Against the excerpt's loudest bin.
    """

    needs = frozenset({"embeddings"})

    def __init__(self, spec: NetworkSpec, *, weighting: str = "loudness", threshold_db: float = -40.0) -> None:
        self._weighting = check_choice("weighting", weighting, WEIGHTINGS, loss="affinity")
        self._threshold = 10.0 ** (check_range("threshold_db", threshold_db, -200.0, 0.0, loss="affinity") / 20.0)

    def __call__(self, mixture: Any, targets: Any, outputs: Mapping[str, Any]) -> Any:
        ops = load_keras().ops
        embeddings = given(outputs, "embeddings", "affinity")
        loudness = magnitudes(ops.sum(ops.cast(mixture, "float32"), axis=-2))
        stems = magnitudes(ops.sum(ops.cast(targets, "float32"), axis=3))
        strongest = ops.one_hot(ops.argmax(stems, axis=-1), stems.shape[-1], dtype="float32")
        # Pairs count with the product of two weights: each row with the root of its own.
        roots = ops.sqrt(self._weights(loudness))
        n_bins = loudness.shape[1] * loudness.shape[2]
        v = ops.reshape(embeddings * roots, (-1, n_bins, embeddings.shape[-1]))
        y = ops.reshape(strongest * roots, (-1, n_bins, stems.shape[-1]))
        return ops.mean(_squared_product(v, v) - 2.0 * _squared_product(v, y) + _squared_product(y, y))

    def _weights(self, loudness: Any) -> Any:
        """Return the weight of each bin, (batch, n_frames, n_bins, 1); an excerpt's sum to 1, those of silence to 0."""
        ops = load_keras().ops
        if self._weighting == "none":
            weights = ops.ones_like(loudness)
        elif self._weighting == "threshold":
            loudest = ops.maximum(ops.max(loudness, axis=(1, 2), keepdims=True), TINY)
            weights = ops.cast(loudness >= self._threshold * loudest, "float32")
        else:
            weights = loudness
        total = ops.sum(weights, axis=(1, 2), keepdims=True)
        return (weights / ops.maximum(total, TINY))[..., None]


def _squared_product(a: Any, b: Any) -> Any:
    """Return ``|a' b|^2`` of each excerpt; a and b are (batch, n, columns)."""
    ops = load_keras().ops
    return ops.sum(ops.square(ops.matmul(ops.transpose(a, (0, 2, 1)), b)), axis=(1, 2))
