"""Where a network's first weights come from: those of a trained model, as far as both have the same layers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cadenza_remix.errors import InputError


@dataclass(frozen=True)
class TakenWeights:
    """How many of a network's arrays of weights were taken, and from which model's folder."""

    folder: Path
    n_taken: int
    n_weights: int

    def __str__(self) -> str:
        return f"{self.n_taken} of the network's {self.n_weights} arrays of weights taken from {self.folder}"


def begin_weights(network: Any, folder: Path | None) -> TakenWeights | None:
    """Give a new network the weights of a trained model, if there is one; see `take_weights`.

    Raises
    ------
    InputError
        As `take_weights`; or there is none, and a part of the network that is not trained needs them.
    """
    if folder is not None:
        return take_weights(network, folder)
    inner = _embedding_network(network)
    if inner is not None and not inner.trainable:
        raise InputError(
            "frozen embeddings without weights",
            where="initial_weights",
            expected="the folder of a deep-clustering model (or model.settings.frozen=false)",
            found="none",
        )
    return None


def take_weights(network: Any, folder: Path) -> TakenWeights:
    """Copy weights of a trained model into those of the same place and shape.

    The embedding network of a UH-Net is taken as a whole, or (where it is trained, too) not at all.

    Raises
    ------
    InputError
        There are none, or only some of the embedding network's.
    ModelError
        The model is damaged.
    """
    from cadenza_remix.separation.trained.folder import load_network, read_model_folder

    given = {weight.path: weight for weight in load_network(read_model_folder(folder)).weights}
    fitting = [
        weight for weight in network.weights if weight.path in given and weight.shape == given[weight.path].shape
    ]
    if not fitting:
        raise InputError("no weights for this network", where=folder, expected=f"layers as {network.name} has")
    _check_embeddings(network, {weight.path for weight in fitting}, folder)
    for weight in fitting:
        weight.assign(given[weight.path])
    return TakenWeights(folder, len(fitting), len(network.weights))


def _check_embeddings(network: Any, fitting: set[str], folder: Path) -> None:
    inner = _embedding_network(network)
    if inner is None:
        return
    places = {weight.path for weight in inner.weights}
    n_fitting = len(places & fitting)
    if n_fitting == len(places) or (n_fitting == 0 and inner.trainable):
        return
    raise InputError(
        "not the embeddings of this network",
        where=folder,
        expected=f"all {len(places)} arrays of weights, as model.settings.embedding_network says",
        found=f"{n_fitting} that fit",
    )


def _embedding_network(network: Any) -> Any | None:
    """Return the deep-clustering network in a UH-Net; None in all others."""
    from cadenza_remix.separation.networks.uh_net import EMBEDDING_LAYER

    return next((layer for layer in network.layers if layer.name == EMBEDDING_LAYER), None)
