"""What a network costs: weights, and operations per second of audio, counted by walking its layers.

Counted are convolutions, transposed convolutions, dense layers and LSTM; a multiplication and an addition are two
operations. Borders count like the rest. Normalisation, activations, pooling and gates' products are left out: some
per cent of the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.architectures import NetworkSpec
from cadenza_remix.separation.networks.backend import load_keras


@dataclass(frozen=True)
class NetworkCost:
    """What a network costs.

    Parameters
    ----------
    n_weights, n_trainable : int
        All numbers in it, and those that training changes (not the moving means of a batch normalisation).
    gflop_per_patch : float
        For both channels of one patch.
    gflop_per_second : float
        For one second of stereo audio, where each patch gives its frames without ``n_context`` at both ends.
    """

    n_weights: int
    n_trainable: int
    gflop_per_patch: float
    gflop_per_second: float

    def __str__(self) -> str:
        return f"{self.n_weights / 1e6:.3g} M weights, {self.gflop_per_second:.3g} GFLOP per second of audio"


def network_cost(network: Any, spec: NetworkSpec) -> NetworkCost:
    """Return what a network costs that was built to a specification.

    Raises
    ------
    InputError
        There is a layer with weights that nobody has taught us to count.
    """
    gflop = sum(operations_by_layer(network).values()) / 1e9
    patch_s = (spec.n_frames - 2 * spec.n_context) * spec.hop_length / spec.sample_rate
    n_trainable = sum(math.prod(weight.shape) for weight in network.trainable_weights)
    return NetworkCost(network.count_params(), n_trainable, gflop, gflop / patch_s)


def operations_by_layer(network: Any) -> dict[str, int]:
    """Return the operations of each layer that is counted, for one patch, by the layer's name.

    A network within a network is taken to see the same magnitudes; its layers stand there as ``outer/inner``.
    """
    keras = load_keras()
    counted = []
    operations: dict[str, int] = {}
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            inner = operations_by_layer(layer)
            operations |= {f"{layer.name}/{name}": count for name, count in inner.items()}
        elif isinstance(layer, _counted_kinds(keras)):
            counted.append(layer)
        elif layer.weights and not isinstance(layer, keras.layers.BatchNormalization):
            raise InputError("operations of this kind of layer are not known", where=layer.name, found=type(layer))
    if not counted:
        return operations
    # Shapes for a batch of one, in which channels that became examples are two: the network's own have no batch.
    ends = keras.Model(network.inputs, [[layer.input, layer.output] for layer in counted])
    patch = keras.KerasTensor((1, *network.inputs[0].shape[1:]))
    for layer, (before, behind) in zip(counted, ends.compute_output_spec(patch), strict=True):
        operations[layer.name] = 2 * _products(keras, layer, before.shape, behind.shape)
    return operations


def _counted_kinds(keras: Any) -> tuple[Any, ...]:
    kinds = keras.layers
    return (kinds.Conv2DTranspose, kinds.Conv2D, kinds.Dense, kinds.Bidirectional, kinds.LSTM)


def _products(keras: Any, layer: Any, before: tuple[int, ...], behind: tuple[int, ...]) -> int:
    """Return the multiplications of a layer between two shapes."""
    if isinstance(layer, keras.layers.Bidirectional):
        inner = _products(keras, layer.forward_layer, before, behind)
        return inner + _products(keras, layer.backward_layer, before, behind)
    if isinstance(layer, keras.layers.LSTM):
        # Four gates, each fed with the input and with the layer's own last output.
        return math.prod(before[:-1]) * 4 * layer.units * (before[-1] + layer.units)
    # A transposed convolution spreads each place of its input, the others gather for each of their output.
    transposed = isinstance(layer, keras.layers.Conv2DTranspose)
    return math.prod((before if transposed else behind)[:-1]) * math.prod(layer.kernel.shape)
