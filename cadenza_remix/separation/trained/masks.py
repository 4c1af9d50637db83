"""How a trained network's outputs become masks of the stems."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import InputError, ModelError, unknown_name
from cadenza_remix.separation.networks.architectures import NetworkSpec
from cadenza_remix.separation.networks.masking import REST_STEMS
from cadenza_remix.separation.trained.clustering import cluster_masks, k_means, loudness_weights

KINDS = {"masks": "masks", "clusters": "embeddings"}
"""Kind of inference -> the output of the network that it takes."""


@dataclass(frozen=True)
class Inference:
    """What is done with the outputs of a network when a song is separated.

    Parameters
    ----------
    kind : str
        ``masks`` takes the network's masks, ``clusters`` makes some of its embeddings.
    hard : bool
        Each bin goes to one stem as a whole.
    threshold : float, optional
        Of hard masks for two stems: a bin belongs to the one that is not the rest (vocals) where its mask is above
        this; 0.5 by default. With more stems the largest mask wins.
    centroids : tuple of tuple of float, optional
        Mean embedding of each stem, for ``clusters``.
    n_iterations : int
        Of k-means.
    alpha : float
        How sharp soft clusters are; see `cadenza_remix.separation.trained.clustering.cluster_masks`.

    Raises
    ------
    InputError
        A value is out of range, or not of this kind.
    """

    kind: str = "masks"
    hard: bool = False
    threshold: float | None = None
    centroids: tuple[tuple[float, ...], ...] | None = None
    n_iterations: int = 10
    alpha: float = 5.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of inference", self.kind, KINDS)
        for name, fits, expected in (
            ("hard", isinstance(self.hard, bool), "true or false"),
            ("threshold", self.threshold is None or _is_number(self.threshold, 0.0, 1.0), "a number from 0 to 1"),
            ("n_iterations", type(self.n_iterations) is int and 0 <= self.n_iterations <= 1000, "0 to 1000"),
            ("alpha", _is_number(self.alpha, 1e-6, 1e6), "a number above 0"),
        ):
            if not fits:
                raise InputError(
                    "setting out of range", where=f"inference {name}", expected=expected, found=getattr(self, name)
                )
        if (self.centroids is not None) != (self.kind == "clusters"):
            raise InputError("wrong inference", where="centroids", expected="for clusters, and only for these")
        if self.threshold is not None and not (self.hard and self.kind == "masks"):
            raise InputError("wrong inference", where="threshold", expected="with hard masks only")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], spec: NetworkSpec) -> Inference:
        """Build one from plain values and check that it fits a network; unknown names are refused."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise unknown_name("setting", name, known, where="inference")
        given = dict(values)
        if given.get("centroids") is not None:
            given["centroids"] = tuple(tuple(float(value) for value in row) for row in given["centroids"])
        inference = cls(**given)
        if inference.threshold is not None and len(spec.stems) != 2:
            raise InputError("wrong inference", where="threshold", expected="two stems", found=", ".join(spec.stems))
        rows = inference.centroids
        if rows is not None:
            lengths = sorted({len(row) for row in rows})
            if len(rows) != len(spec.stems) or len(lengths) != 1 or not lengths[0] or not np.isfinite(rows).all():
                raise InputError(
                    "wrong inference",
                    where="centroids",
                    expected=f"one row of numbers for each of {', '.join(spec.stems)}",
                    found=f"{len(rows)} rows of {' or '.join(map(str, lengths))}",
                )
        return inference

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without those that are at their defaults."""
        plain = {name: value for name, value in asdict(self).items() if value != _DEFAULTS[name] or name == "kind"}
        if self.centroids is not None:
            plain["centroids"] = [list(row) for row in self.centroids]
        return plain


_DEFAULTS = {field.name: field.default for field in fields(Inference)}


def stem_masks(
    outputs: Mapping[str, NDArray[np.float32]],
    magnitudes: NDArray[np.float32],
    spec: NetworkSpec,
    inference: Inference,
) -> NDArray[np.float32]:
    """Return the masks of all stems for some patches.

    Parameters
    ----------
    outputs : mapping
        What the network gave for the patches: see `cadenza_remix.separation.networks.architectures`.
    magnitudes : array of shape (n_patches, n_frames, n_bins, 2)
        What the network was given.
    spec : NetworkSpec
    inference : Inference

    Returns
    -------
    array of shape (n_patches, n_frames, n_bins, 2, n_stems)

    Raises
    ------
    ModelError
        The network has another output or shape, or gave NaN.
    """
    name = KINDS[inference.kind]
    if name not in outputs:
        raise ModelError(f"{spec.architecture}: wrong outputs: expected {name}, found {', '.join(outputs)}")
    found = np.asarray(outputs[name], dtype=np.float32)
    last = len(spec.stems) if inference.centroids is None else len(inference.centroids[0])
    expected = (*magnitudes.shape, last) if inference.kind == "masks" else (*magnitudes.shape[:-1], last)
    if found.shape != expected:
        raise ModelError(f"{spec.architecture}: wrong shape of {name}: expected {expected}, found {found.shape}")
    if not np.isfinite(found).all():
        raise ModelError(f"{spec.architecture}: {name} are not finite: expected numbers, found NaN or infinity")
    if inference.kind == "clusters":
        return np.stack([_clustered(*patch, inference) for patch in zip(found, magnitudes, strict=True)])
    return _hardened(found, spec.stems, inference.threshold) if inference.hard else found


def rest_index(stems: tuple[str, ...]) -> int | None:
    """Return which of some stems takes what is left of a song; None where none does."""
    return next((stems.index(stem) for stem in REST_STEMS if stem in stems), None)


def _hardened(masks: NDArray[np.float32], stems: tuple[str, ...], threshold: float | None) -> NDArray[np.float32]:
    n_stems = len(stems)
    if n_stems > 2:
        return np.eye(n_stems, dtype=np.float32)[masks.argmax(axis=-1)]
    target = 1 if rest_index(stems) == 0 else 0
    hard = np.empty_like(masks)
    hard[..., target] = masks[..., target] > (0.5 if threshold is None else threshold)
    hard[..., 1 - target] = 1.0 - hard[..., target]
    return hard


def _clustered(
    embeddings: NDArray[np.float32], magnitudes: NDArray[np.float32], inference: Inference
) -> NDArray[np.float32]:
    """Return the masks (n_frames, n_bins, 2, n_stems) of one patch; they are the same for both channels."""
    points = embeddings.reshape(-1, embeddings.shape[-1])
    weights = loudness_weights(magnitudes).reshape(-1)
    start = np.asarray(inference.centroids, dtype=np.float64)
    centroids = k_means(points, weights, start, n_iterations=inference.n_iterations)
    masks = cluster_masks(points, centroids, hard=inference.hard, alpha=inference.alpha)
    one = masks.reshape(*embeddings.shape[:-1], 1, len(start))
    return np.broadcast_to(one, (*embeddings.shape[:-1], 2, len(start)))


def _is_number(value: object, low: float, high: float) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value) and low <= value <= high  # type: ignore[arg-type, operator]
