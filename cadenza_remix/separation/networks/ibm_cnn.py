"""The convolutional network of Lin et al., trained by ideal binary masks and cross entropy (2018, arXiv 1812.01278).

As published: 22.05 kHz, Hann frames of 1024 samples every 256, filled up to 4096 (2049 bins); 9 frames go in, through
two 3x12 convolutions with 32 and 16 filters, the maximum of 12 bins, two more with 64 and 32, again the maximum of 12,
dropout 0.5 and dense layers of 2048 and 512; 9 x 2049 = 18,441 sigmoids come out, and the centre frame's are used
(``n_context`` is 4). Same-size borders everywhere, which gives the paper's 19.5 million weights (19,489,049). The
convolutions' and dense layers' activation is ReLU.

The mask is that of the first stem; the second's is one minus it. The network is mono; both channels go through it as
examples of one batch. Patches are scaled channel by channel, which is ours.
Importing this module imports Keras and its back end.
"""

from __future__ import annotations

import math
from typing import Any

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.architectures import NetworkSpec
from cadenza_remix.separation.networks.network_layers import (
    INPUTS,
    N_CHANNELS,
    ChannelsFromBatch,
    ChannelsToBatch,
    WithComplement,
    convolution_weights,
    keras,
    layers,
    network_input,
    read_settings,
)

SPEC_DEFAULTS = {
    "sample_rate": 22050,
    "frame_length": 1024,
    "hop_length": 256,
    "fft_length": 4096,
    "n_frames": 9,
    "n_bins": 2049,
    "n_context": 4,
}
#: ``filters``: of the four convolutions, each over ``kernel`` frames and bins; ``pool``: bins of which the maximum is
#: taken after each two; ``dense``: widths before the output; ``input``: see `network_layers.network_input`.
DEFAULTS: dict[str, Any] = {
    "filters": [32, 16, 64, 32],
    "kernel": [3, 12],
    "pool": 12,
    "dense": [2048, 512],
    "dropout": 0.5,
    "input": "scaled",
}


def build(spec: NetworkSpec) -> Any:
    """Return the network of a specification; see `cadenza_remix.separation.networks.architectures`.

    Raises
    ------
    InputError
        There are more than two stems, or a setting is unknown or out of range.
    """
    settings = _settings(spec)
    magnitudes = keras.Input(shape=(spec.n_frames, spec.n_bins, N_CHANNELS), name="magnitudes")
    signal = network_input(ChannelsToBatch(name="channels_as_examples")(magnitudes), settings["input"])
    for index, n_filters in enumerate(settings["filters"], start=1):
        signal = layers.Conv2D(n_filters, settings["kernel"], padding="same", activation="relu", name=f"conv{index}")(
            signal
        )
        if index % 2 == 0:
            signal = layers.MaxPooling2D((1, settings["pool"]), padding="same", name=f"pool{index // 2}")(signal)
    signal = layers.Flatten(name="flat")(signal)
    signal = layers.Dropout(settings["dropout"], name="flat_dropout")(signal)
    for index, width in enumerate(settings["dense"], start=1):
        signal = layers.Dense(width, activation="relu", name=f"dense{index}")(signal)
    maps = layers.Dense(spec.n_frames * spec.n_bins, name="mask_dense")(signal)
    # In full precision, as the masks of all networks; see `network_layers`.
    mask = layers.Activation("sigmoid", dtype=keras.config.floatx(), name="mono_mask")(maps)
    mask = layers.Reshape((spec.n_frames, spec.n_bins, 1), dtype=keras.config.floatx(), name="mask_patch")(mask)
    mask = ChannelsFromBatch(name="first_stem_mask")(mask)
    return keras.Model(magnitudes, {"masks": WithComplement(name="masks")(mask)}, name="ibm_cnn")


def least_weights(spec: NetworkSpec) -> int:
    """Return the weights of the convolutions and the dense layers, without biases."""
    settings = _settings(spec)
    pooled = math.ceil(spec.n_bins / settings["pool"])
    flat = spec.n_frames * math.ceil(pooled / settings["pool"]) * settings["filters"][-1]
    dense = convolution_weights((flat, *settings["dense"], spec.n_frames * spec.n_bins), 1)
    return dense + convolution_weights((1, *settings["filters"]), math.prod(settings["kernel"]))


def _settings(spec: NetworkSpec) -> dict[str, Any]:
    settings = read_settings(spec, DEFAULTS, choices={"input": INPUTS})
    if len(spec.stems) != 2:
        raise InputError("wrong stems for ibm-cnn", expected="two", found=", ".join(spec.stems))
    for name, length in (("filters", 4), ("kernel", 2)):
        if len(settings[name]) != length:
            where = f"model.settings of ibm-cnn, {name}"
            found = len(settings[name])
            raise InputError("setting out of range", where=where, expected=f"{length} numbers", found=found)
    return settings
