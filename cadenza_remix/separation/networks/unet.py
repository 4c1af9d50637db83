"""Spleeter's U-Nets in Keras 3: one per instrument, joined by the ratio masks.

Each follows Jansson et al., "Singing voice separation with deep U-Net convolutional networks" (ISMIR 2017), as
changed by Hennequin et al. (JOSS 2020): six 5x5 convolutions of stride 2 down, six transposed ones up, and a dilated
4x4 convolution that gives the mask. Three points are easily taken wrong, and all of them load without complaint:

* the connections across carry the raw convolutions, before batch normalisation and activation;
* the way up starts from the raw sixth convolution, so that the sixth batch normalisation takes no part;
* on the way down normalisation comes before the activation, on the way up after it.

The network runs on any Keras back end and keeps to the layout (segments, frames, bins, channels).
Importing this module imports Keras and its back end.
"""

from __future__ import annotations

from typing import Any

from cadenza_remix.separation.models.registry import ModelCard
from cadenza_remix.separation.networks.network_layers import activation, batch_norm, keras, layers, ops

_Layer: Any = keras.layers.Layer

N_CHANNELS = 2
DROPOUT = 0.5
N_DROPOUTS = 3
# Keeps the masks of silence at 1 / n_stems instead of 0 / 0.
MASK_FLOOR = 1e-10


def build_estimate_network(card: ModelCard, *, kernel_initializer: Any = "zeros") -> Any:
    """Return the network from the mixture's magnitudes to each stem's: the one that is trained.

    Parameters
    ----------
    card : ModelCard
        Gives the stems, the activations and the size.
    kernel_initializer : str or keras.Initializer
        Zeros for a network whose weights are read from a file; something random for one that is to be trained.

    Returns
    -------
    keras.Model
        Input: magnitudes of shape (n_segments, n_frames, n_bins, 2). Output: a list with magnitudes of the same shape
        for each stem, in the card's order.
    """
    mixture = keras.Input(shape=(card.n_frames, card.n_bins, N_CHANNELS), name="mixture")
    logits = [_stem_logits(mixture, stem, card, kernel_initializer) for stem in card.stems]
    if card.output == "softmax":
        masks = SharedMasks(name="stem_masks")(logits)
    else:
        masks = [
            layers.Activation("sigmoid", name=f"{stem}_mask")(logit)
            for stem, logit in zip(card.stems, logits, strict=True)
        ]
    estimates = [
        layers.Multiply(name=f"{stem}_estimate")([mask, mixture]) for stem, mask in zip(card.stems, masks, strict=True)
    ]
    return keras.Model(mixture, estimates, name=card.name.replace(":", "_"))


def build_mask_network(card: ModelCard) -> Any:
    """Return the network from the mixture's magnitudes to one ratio mask per stem: the one that separates.

    Returns
    -------
    keras.Model
        As `build_estimate_network`, but its outputs are masks, which sum to one everywhere.
    """
    network = build_estimate_network(card)
    masks = RatioMasks(card.separation_exponent, name="ratio_masks")(network.outputs)
    return keras.Model(network.input, masks, name=network.name)


@keras.saving.register_keras_serializable(package="cadenza_remix")
class SharedMasks(_Layer):
    """Masks that share every bin out between the stems: a softmax over the list of inputs."""

    def call(self, logits: list[Any]) -> list[Any]:
        shares = ops.softmax(ops.stack(logits, axis=0), axis=0)
        return [shares[index] for index in range(len(logits))]


@keras.saving.register_keras_serializable(package="cadenza_remix")
class RatioMasks(_Layer):
    """Masks that sum to one: the share of each estimate, to some power, in the sum of all."""

    def __init__(self, exponent: float, **keras_options: Any) -> None:
        super().__init__(**keras_options)
        self.exponent = exponent

    def call(self, estimates: list[Any]) -> list[Any]:
        if self.exponent == 2.0:
            powers = [ops.square(estimate) for estimate in estimates]
        else:
            powers = [ops.power(estimate, self.exponent) for estimate in estimates]
        total = sum(powers[1:], start=powers[0]) + MASK_FLOOR
        return [(power + MASK_FLOOR / len(powers)) / total for power in powers]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"exponent": self.exponent}


def _stem_logits(mixture: Any, stem: str, card: ModelCard, kernel_initializer: Any) -> Any:
    """Return the tensor that becomes the stem's mask through a sigmoid or a softmax."""
    shape = {"kernel_size": 5, "strides": 2, "padding": "same", "kernel_initializer": kernel_initializer}
    across = []
    signal = mixture
    for level, filters in enumerate(card.filters, start=1):
        convolved = layers.Conv2D(filters, **shape, name=f"{stem}_down{level}_conv")(signal)
        across.append(convolved)
        if level < len(card.filters):
            normalised = batch_norm(f"{stem}_down{level}_norm")(convolved)
            signal = activation(card.encoder_activation, f"{stem}_down{level}_act")(normalised)

    signal = across.pop()
    for level, filters in enumerate((*card.filters[-2::-1], 1), start=1):
        signal = layers.Conv2DTranspose(filters, **shape, name=f"{stem}_up{level}_conv")(signal)
        signal = activation(card.decoder_activation, f"{stem}_up{level}_act")(signal)
        signal = batch_norm(f"{stem}_up{level}_norm")(signal)
        if level <= N_DROPOUTS:
            signal = layers.Dropout(DROPOUT, name=f"{stem}_up{level}_dropout")(signal)
        if across:
            signal = layers.Concatenate(name=f"{stem}_up{level}_join")([across.pop(), signal])
    shape = {"kernel_size": 4, "dilation_rate": 2, "padding": "same", "kernel_initializer": kernel_initializer}
    return layers.Conv2D(N_CHANNELS, **shape, name=f"{stem}_mask_conv")(signal)
