"""The U-Net of Jansson et al., "Singing voice separation with deep U-Net convolutional networks" (ISMIR 2017).

As published: 8192 Hz, frames of 1024 samples every 768, patches of 128 frames x 512 bins scaled to [0, 1]; six 5x5
convolutions of stride 2 with 16 to 512 filters, each with batch normalisation and LeakyReLU 0.2; as many transposed
ones back, with batch normalisation and ReLU, dropout 0.5 on the first three, and the maps of the way down (after
their activation) beside them; the last gives the mask through a sigmoid. One network for each stem.

The network is mono; both channels go through it as examples of one batch. Patches are scaled channel by channel.
Importing this module imports Keras and its back end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cadenza_remix.separation.networks.architectures import NetworkSpec
from cadenza_remix.separation.networks.network_layers import (
    INPUTS,
    N_CHANNELS,
    ChannelsFromBatch,
    ChannelsToBatch,
    StemMasks,
    activation,
    batch_norm,
    check_halvings,
    convolution_weights,
    keras,
    layers,
    network_input,
    read_settings,
)

SPEC_DEFAULTS = {
    "sample_rate": 8192,
    "frame_length": 1024,
    "hop_length": 768,
    "fft_length": 1024,
    "n_frames": 128,
    "n_bins": 512,
    "n_context": 0,
}
#: ``filters``: of the convolutions on the way down; ``dropout`` is on the first ``n_dropouts`` layers of the way up;
#: ``input``: see `network_layers.network_input`; ``output``: ``sigmoid``, or ``softmax`` over the stems' networks.
DEFAULTS: dict[str, Any] = {
    "filters": [16, 32, 64, 128, 256, 512],
    "dropout": 0.5,
    "n_dropouts": 3,
    "input": "scaled",
    "output": "sigmoid",
}
CHOICES = {"input": INPUTS, "output": ("sigmoid", "softmax")}


def build(spec: NetworkSpec) -> Any:
    """Return the network of a specification; see `cadenza_remix.separation.networks.architectures`.

    Raises
    ------
    InputError
        A setting is unknown or out of range, or the patch cannot be halved once for each layer.
    """
    settings = read_settings(spec, DEFAULTS, choices=CHOICES, may_be_zero=("n_dropouts",))
    check_halvings(spec, len(settings["filters"]))
    magnitudes = keras.Input(shape=(spec.n_frames, spec.n_bins, N_CHANNELS), name="magnitudes")
    signal = network_input(ChannelsToBatch(name="channels_as_examples")(magnitudes), settings["input"])
    masks = mono_masks(signal, spec.stems, settings)
    return keras.Model(magnitudes, {"masks": ChannelsFromBatch(name="masks")(masks)}, name="unet")


def least_weights(spec: NetworkSpec) -> int:
    """Return the weights of the way down, for all stems."""
    filters = read_settings(spec, DEFAULTS, choices=CHOICES, may_be_zero=("n_dropouts",))["filters"]
    return len(spec.stems) * convolution_weights((1, *filters), 25)


def mono_masks(signal: Any, stems: Sequence[str], settings: dict[str, Any]) -> Any:
    """Return the masks of one channel, from one U-Net for each stem.

    Parameters
    ----------
    signal : KerasTensor of shape (batch, frames, bins, n)
        What each U-Net sees.
    stems : sequence of str
    settings : dict
        ``filters``, ``dropout``, ``n_dropouts`` and ``output`` as in `DEFAULTS`.

    Returns
    -------
    KerasTensor of shape (batch, frames, bins, n_stems)
    """
    maps = [_stem_map(signal, stem, settings) for stem in stems]
    joined = layers.Concatenate(name="stem_maps")(maps)
    masks = StemMasks(len(stems), settings["output"], name="mono_masks")(joined)
    return layers.Reshape(joined.shape[1:], name="stem_masks")(masks)


def _stem_map(signal: Any, stem: str, settings: dict[str, Any]) -> Any:
    """Return the map that becomes the stem's mask."""
    filters = settings["filters"]
    # No biases where a batch normalisation follows, which would take them out again.
    shape = {"kernel_size": 5, "strides": 2, "padding": "same"}
    across = []
    for level, n_filters in enumerate(filters, start=1):
        signal = layers.Conv2D(n_filters, **shape, use_bias=False, name=f"{stem}_down{level}_conv")(signal)
        signal = batch_norm(f"{stem}_down{level}_norm")(signal)
        signal = activation("leaky_relu", f"{stem}_down{level}_act")(signal)
        across.append(signal)
    across.pop()
    for level, n_filters in enumerate(filters[-2::-1], start=1):
        signal = layers.Conv2DTranspose(n_filters, **shape, use_bias=False, name=f"{stem}_up{level}_conv")(signal)
        signal = batch_norm(f"{stem}_up{level}_norm")(signal)
        signal = activation("relu", f"{stem}_up{level}_act")(signal)
        if level <= settings["n_dropouts"]:
            signal = layers.Dropout(settings["dropout"], name=f"{stem}_up{level}_dropout")(signal)
        signal = layers.Concatenate(name=f"{stem}_up{level}_join")([across.pop(), signal])
    return layers.Conv2DTranspose(1, **shape, name=f"{stem}_up{len(filters)}_conv")(signal)
