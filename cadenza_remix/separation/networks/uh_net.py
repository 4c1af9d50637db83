"""UH-Net: a U-Net that sees the embeddings of a deep-clustering network beside the magnitudes (Mannai 2023).

A `deep_clustering` network, trained beforehand and frozen or fine-tuned, gives each bin of the mixture its vector.
These go as further input maps into the U-Net of `jansson_unet`, next to the channel's magnitudes. Each channel goes
through the U-Net as an example of its own, and both with the same embeddings (those of the channels' mean). No sizes
were published; rate, frames and patch are those of the deep-clustering network, whose bins these have to be.
Importing this module imports Keras and its back end.
"""

from __future__ import annotations

from pathlib import Path
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

    The deep-clustering network in it has fresh weights; see `load_embedding_weights`.

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


def load_embedding_weights(network: Any, source: Any) -> None:
    """Put the weights of a trained deep-clustering network into a UH-Net.

    Parameters
    ----------
    network : keras.Model
        A UH-Net; it is changed.
    source : keras.Model, str or Path
        The deep-clustering network, its ``.keras`` file or the folder with a ``network.keras``. A mask head that it
        may have is left out.

    Raises
    ------
    InputError
        There is no such file, or the network has other layers.
    """
    if isinstance(source, (str, Path)):
        path = Path(source) / "network.keras" if Path(source).is_dir() else Path(source)
        if not path.is_file():
            raise InputError("no such network", where=source, expected="a .keras file or a folder with network.keras")
        where, trained = str(source), keras.saving.load_model(path, compile=False)
    else:
        where, trained = source.name, source
    layers_there = {layer.name: layer for layer in trained.layers}
    pairs = []
    for layer in network.get_layer(EMBEDDING_LAYER).layers:
        shapes = [tuple(weight.shape) for weight in layer.weights]
        there = layers_there.get(layer.name)
        found = [tuple(weight.shape) for weight in there.weights] if there is not None else "no such layer"
        if shapes and shapes != found:
            raise InputError(
                "not the deep-clustering network of this UH-Net",
                where=f"{where}, layer {layer.name}",
                expected=shapes,
                found=found,
            )
        if there is not None and shapes:
            pairs.append((layer, there))
    for layer, there in pairs:
        layer.set_weights(there.get_weights())


@register_layer
class ForEachChannel(FullPrecisionLayer):
    """Repeat each example for both channels: (batch, frames, bins, n) -> (batch * 2, frames, bins, n)."""

    def call(self, inputs: Any) -> Any:
        return ops.repeat(inputs, N_CHANNELS, axis=0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0] and input_shape[0] * N_CHANNELS, *input_shape[1:])
