"""Spleeter's U-Net (Hennequin et al., JOSS 2020) to be trained from the start: any stems, any width, and shared.

44.1 kHz, frames of 4096 samples every 1024, patches of 512 frames x 1024 bins of both channels. As in
`cadenza_remix.separation.networks.unet`, which runs the pretrained ones: 5x5 convolutions of stride 2 down, transposed
ones up, a 4x4 convolution of dilation 2 for the mask; the raw convolutions go across, and the way up starts from the
last raw convolution; normalisation comes before the activation on the way down and after it on the way up.

What is not Spleeter's, each by a setting: one encoder and decoder for all stems (a fraction of the cost), masks that
share each bin out (softmax; only Spleeter's 5stems does), and a compressed input that knows no level.
Importing this module imports Keras and its back end.
"""

from __future__ import annotations

from typing import Any

from cadenza_remix.separation.networks.architectures import NetworkSpec
from cadenza_remix.separation.networks.network_layers import (
    INPUTS,
    N_CHANNELS,
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
    "sample_rate": 44100,
    "frame_length": 4096,
    "hop_length": 1024,
    "fft_length": 4096,
    "n_frames": 512,
    "n_bins": 1024,
    "n_context": 0,
}
#: ``encoder``: ``per-stem`` (a network for each, as Spleeter) or ``shared`` (one encoder and decoder, whose last
#: convolution gives all masks); ``head_filters``: maps before that last convolution where it is shared (Spleeter
#: has 1 for each stem); ``activation``: ``elu`` down and up (Spleeter's 4stems), or ``leaky_relu`` down and ReLU up
#: (2stems); ``dropout`` is on the first ``n_dropouts`` layers of the way up; ``input``: see
#: `network_layers.network_input`; ``output``: ``sigmoid``, or ``softmax`` over the stems.
DEFAULTS: dict[str, Any] = {
    "filters": [16, 32, 64, 128, 256, 512],
    "encoder": "per-stem",
    "head_filters": 16,
    "activation": "elu",
    "dropout": 0.5,
    "n_dropouts": 3,
    "input": "magnitude",
    "output": "sigmoid",
}
CHOICES = {
    "encoder": ("per-stem", "shared"),
    "activation": ("elu", "leaky_relu"),
    "input": INPUTS,
    "output": ("sigmoid", "softmax"),
}


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
    signal = network_input(magnitudes, settings["input"])
    if settings["encoder"] == "shared":
        n_maps = N_CHANNELS * len(spec.stems)
        joined = _maps(signal, "shared", settings, n_head=settings["head_filters"], n_maps=n_maps)
    else:
        maps = [_maps(signal, stem, settings, n_head=1, n_maps=N_CHANNELS) for stem in spec.stems]
        joined = layers.Concatenate(name="stem_maps")(maps)
    masks = StemMasks(len(spec.stems), settings["output"], name="masks")(joined)
    return keras.Model(magnitudes, {"masks": masks}, name="spleeter_unet")


def least_weights(spec: NetworkSpec) -> int:
    """Return the weights of the ways down, and of the head where it is shared."""
    settings = read_settings(spec, DEFAULTS, choices=CHOICES, may_be_zero=("n_dropouts",))
    filters, head = settings["filters"], settings["head_filters"]
    way_down = convolution_weights((N_CHANNELS, *filters), 25)
    if settings["encoder"] == "shared":
        return way_down + convolution_weights((filters[0], head), 25)
    return way_down * len(spec.stems)


def _maps(signal: Any, prefix: str, settings: dict[str, Any], *, n_head: int, n_maps: int) -> Any:
    """Return the maps that become masks, of one way down and up."""
    filters = settings["filters"]
    shape = {"kernel_size": 5, "strides": 2, "padding": "same"}
    across = []
    for level, n_filters in enumerate(filters, start=1):
        convolved = layers.Conv2D(n_filters, **shape, name=f"{prefix}_down{level}_conv")(signal)
        across.append(convolved)
        if level < len(filters):
            signal = batch_norm(f"{prefix}_down{level}_norm")(convolved)
            signal = activation(settings["activation"], f"{prefix}_down{level}_act")(signal)

    up_activation = "relu" if settings["activation"] == "leaky_relu" else settings["activation"]
    signal = across.pop()
    for level, n_filters in enumerate((*filters[-2::-1], n_head), start=1):
        signal = layers.Conv2DTranspose(n_filters, **shape, name=f"{prefix}_up{level}_conv")(signal)
        signal = activation(up_activation, f"{prefix}_up{level}_act")(signal)
        signal = batch_norm(f"{prefix}_up{level}_norm")(signal)
        if level <= settings["n_dropouts"]:
            signal = layers.Dropout(settings["dropout"], name=f"{prefix}_up{level}_dropout")(signal)
        if across:
            signal = layers.Concatenate(name=f"{prefix}_up{level}_join")([across.pop(), signal])
    return layers.Conv2D(n_maps, kernel_size=4, dilation_rate=2, padding="same", name=f"{prefix}_mask_conv")(signal)
