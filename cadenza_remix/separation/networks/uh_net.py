"""UH-Net: a U-Net that sees the embeddings of a deep-clustering network beside the magnitudes (Mannai 2023).

A `deep_clustering` network, trained beforehand and frozen or fine-tuned, gives each bin of the mixture its vector.
These go as further input maps into the U-Net of `jansson_unet`, next to the channel's magnitudes. Each channel goes
through the U-Net as an example of its own, and both with the same embeddings (those of the channels' mean). No sizes
were published; rate, frames and patch are those of the deep-clustering network, whose bins these have to be.
Importing this module imports Keras and its back end.
"""

from __future__ import annotations

from typing import Any

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks import deep_clustering, jansson_unet
from cadenza_remix.separation.networks.architectures import NetworkSpec, default_spec
from cadenza_remix.separation.networks.network_layers import (
    N_CHANNELS,
    ChannelsFromBatch,
    ChannelsToBatch,
    FullPrecisionLayer,
    check_halvings,
    convolution_weights,
    keras,
    layers,
    network_input,
    ops,
    read_settings,
    register_layer,
)

SPEC_DEFAULTS = deep_clustering.SPEC_DEFAULTS
#: ``embedding_network``: the specification of the deep-clustering network (`NetworkSpec.as_dict`), of which what is
#: missing is filled up from this network and from the defaults; ``frozen``: whether its weights stay as they are;
#: all others as in `jansson_unet`.
DEFAULTS: dict[str, Any] = {**jansson_unet.DEFAULTS, "embedding_network": {}, "frozen": True}
#: Name of the layer that is the deep-clustering network.
EMBEDDING_LAYER = "embedding_network"
_TRANSFORM = ("sample_rate", "frame_length", "hop_length", "fft_length", "n_bins")


def build(spec: NetworkSpec) -> Any:
    """Return the network of a specification; see `cadenza_remix.separation.networks.architectures`.

    The deep-clustering network in it has fresh weights: training takes those of a trained one (``initial_weights``).

    Raises
    ------
    InputError
        A setting is unknown or out of range, the patch cannot be halved once for each layer, or the deep-clustering
        network sees another transform.
    """
    settings = read_settings(spec, DEFAULTS, choices=jansson_unet.CHOICES, may_be_zero=("n_dropouts",))
    check_halvings(spec, len(settings["filters"]))
    magnitudes = keras.Input(shape=(spec.n_frames, spec.n_bins, N_CHANNELS), name="magnitudes")
    embedding_network = deep_clustering.build(embedding_spec(spec))
    embedding_network = keras.Model(
        embedding_network.inputs[0], embedding_network.output["embeddings"], name=EMBEDDING_LAYER
    )
    embedding_network.trainable = not settings["frozen"]
    # What is frozen has no dropout either.
    embeddings = embedding_network(magnitudes, training=False) if settings["frozen"] else embedding_network(magnitudes)
    signal = network_input(ChannelsToBatch(name="channels_as_examples")(magnitudes), settings["input"])
    twice = ForEachChannel(name="embeddings_to_batch")(embeddings)
    joined = layers.Concatenate(name="magnitude_and_embeddings")([signal, twice])
    masks = jansson_unet.mono_masks(joined, spec.stems, settings)
    return keras.Model(magnitudes, {"masks": ChannelsFromBatch(name="masks")(masks)}, name="uh_net")


def least_weights(spec: NetworkSpec) -> int:
    """Return the weights of the U-Net's way down, of its first layer with the embeddings, and of the inner network."""
    settings = read_settings(spec, DEFAULTS, choices=jansson_unet.CHOICES, may_be_zero=("n_dropouts",))
    inner = embedding_spec(spec)
    way_down = convolution_weights((1 + inner.settings["n_dimensions"], *settings["filters"]), 25)
    return len(spec.stems) * way_down + deep_clustering.least_weights(inner)


def embedding_spec(spec: NetworkSpec) -> NetworkSpec:
    """Return the specification of the deep-clustering network in one of a UH-Net.

    Raises
    ------
    InputError
        It is one of another architecture, or of another transform.
    """
    given = dict(spec.settings.get("embedding_network", {}))
    where = "model.settings of uh-net, embedding_network"
    architecture = given.pop("architecture", "deep-clustering")
    if architecture != "deep-clustering":
        raise InputError("wrong architecture", where=where, expected="deep-clustering", found=architecture)
    for name in _TRANSFORM:
        expected, found = getattr(spec, name), given.pop(name, getattr(spec, name))
        if found != expected:
            raise InputError("not the transform of the U-Net", where=f"{where}, {name}", expected=expected, found=found)
    # An LSTM takes any number of frames, so that of its own training does not matter here.
    for name in ("n_frames", "n_context", "stems"):
        given.pop(name, None)
    transform = {name: getattr(spec, name) for name in (*_TRANSFORM, "n_frames")}
    return default_spec("deep-clustering", spec.stems, **{**given, **transform})


@register_layer
class ForEachChannel(FullPrecisionLayer):
    """Repeat each example for both channels: (batch, frames, bins, n) -> (batch * 2, frames, bins, n)."""

    def call(self, inputs: Any) -> Any:
        return ops.repeat(inputs, N_CHANNELS, axis=0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0] and input_shape[0] * N_CHANNELS, *input_shape[1:])
