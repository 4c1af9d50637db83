"""Deep clustering (Hershey et al., ICASSP 2016) and Chimera (Luo et al., ICASSP 2017, arXiv 1611.06265).

Bidirectional LSTM layers over the frames give every bin of the mixture a vector of length one (a dense layer with tanh,
then normalised); bins of one stem are trained to lie close together, and clustering them gives the masks. With
``mask_head`` a second dense layer on the same LSTM layers gives masks directly, as a softmax over the stems.

The network sees the mean of both channels' magnitudes, relative to the patch's level and compressed by a logarithm;
embeddings and masks belong to both channels. Sizes: the papers have two to four layers of 500 to 600 units and 20 to
40 dimensions; rate, frames and patch here are ours (16 kHz, 1024 samples every 256, 128 frames), so that `uh_net`
can halve a patch six times.

``n_bands`` groups the bins into bands of equal width in mel, each at least one bin wide: the network then sees the
mean of each band, and all bins of a band have the same embedding and mask. That saves most of the weights.
Importing this module imports Keras and its back end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.architectures import NetworkSpec
from cadenza_remix.separation.networks.network_layers import (
    INPUTS,
    N_CHANNELS,
    ChannelMean,
    FullPrecisionLayer,
    keras,
    layers,
    network_input,
    ops,
    read_settings,
    register_layer,
)

SPEC_DEFAULTS = {
    "sample_rate": 16000,
    "frame_length": 1024,
    "hop_length": 256,
    "fft_length": 1024,
    "n_frames": 128,
    "n_bins": 512,
    "n_context": 0,
}
#: ``layers`` and ``units`` (in each direction) of the LSTM, with ``dropout`` behind each; ``n_dimensions`` of the
#: embeddings; ``n_bands``: 0 for every bin on its own; ``input``: see `network_layers.network_input`.
DEFAULTS: dict[str, Any] = {
    "layers": 2,
    "units": 500,
    "n_dimensions": 20,
    "n_bands": 0,
    "mask_head": False,
    "dropout": 0.0,
    "input": "log",
}
# Keeps the length of a vector of zeros apart from zero.
_TINY = 1e-12


def build(spec: NetworkSpec) -> Any:
    """Return the network of a specification; see `cadenza_remix.separation.networks.architectures`.

    Raises
    ------
    InputError
        A setting is unknown or out of range.
    """
    settings = read_settings(spec, DEFAULTS, choices={"input": INPUTS}, may_be_zero=("n_bands",))
    magnitudes = keras.Input(shape=(spec.n_frames, spec.n_bins, N_CHANNELS), name="magnitudes")
    signal = ChannelMean(name="mid")(magnitudes)
    n_bands = settings["n_bands"] or spec.n_bins
    edges = band_edges(spec, n_bands) if settings["n_bands"] else None
    if edges:
        signal = BandMeans(edges, name="bands")(signal)
    signal = network_input(signal, settings["input"])
    signal = layers.Reshape((spec.n_frames, n_bands), name="frame_vectors")(signal)
    for index in range(1, settings["layers"] + 1):
        lstm = layers.LSTM(settings["units"], return_sequences=True, name=f"lstm{index}_one_way")
        signal = layers.Bidirectional(lstm, name=f"lstm{index}")(signal)
        if settings["dropout"]:
            signal = layers.Dropout(settings["dropout"], name=f"lstm{index}_dropout")(signal)

    n_dimensions, n_stems = settings["n_dimensions"], len(spec.stems)
    embeddings = layers.Dense(n_bands * n_dimensions, activation="tanh", name="embedding_dense")(signal)
    embeddings = layers.Reshape((spec.n_frames, n_bands, n_dimensions), name="embedding_vectors")(embeddings)
    outputs = {"embeddings": UnitLength(edges, name="embeddings")(embeddings)}
    if settings["mask_head"]:
        maps = layers.Dense(n_bands * n_stems, name="mask_dense")(signal)
        maps = layers.Reshape((spec.n_frames, n_bands, n_stems), name="mask_maps")(maps)
        outputs["masks"] = SharedByChannels(edges, name="masks")(maps)
    return keras.Model(magnitudes, outputs, name="deep_clustering")


def least_weights(spec: NetworkSpec) -> int:
    """Return the weights of the LSTM and of the embeddings, without biases."""
    settings = read_settings(spec, DEFAULTS, choices={"input": INPUTS}, may_be_zero=("n_bands",))
    n_bands, units = settings["n_bands"] or spec.n_bins, settings["units"]
    # Four gates in two directions, each fed with what comes in and with the layer's own last output.
    lstm = 8 * units * (n_bands + units + (settings["layers"] - 1) * 3 * units)
    return lstm + 2 * units * n_bands * settings["n_dimensions"]


def band_edges(spec: NetworkSpec, n_bands: int) -> list[int]:
    """Return the first bin of each band, and behind them the number of bins.

    Raises
    ------
    InputError
        There are more bands than bins.
    """
    if n_bands > spec.n_bins:
        where = "model.settings of deep-clustering, n_bands"
        raise InputError("setting out of range", where=where, expected=f"at most {spec.n_bins} (bins)", found=n_bands)
    top = np.log1p(spec.band_hz / 700.0)
    targets = np.expm1(np.linspace(0.0, top, n_bands + 1)) * 700.0 / spec.band_hz * spec.n_bins
    edges = [0]
    for target in targets[1:]:
        edges.append(max(edges[-1] + 1, round(float(target))))
    return edges


class _BandLayer(FullPrecisionLayer):
    """A layer that knows the bands' edges; none where every bin stands for itself."""

    def __init__(self, edges: Sequence[int] | None, **keras_options: Any) -> None:
        super().__init__(**keras_options)
        self.edges = None if edges is None else [int(edge) for edge in edges]

    def widths(self) -> NDArray[np.int64]:
        return np.diff(np.asarray(self.edges))

    def to_bins(self, bands: Any) -> Any:
        """Give every bin what its band has, along the third axis."""
        if self.edges is None:
            return bands
        return ops.take(bands, np.repeat(np.arange(len(self.edges) - 1, dtype=np.int32), self.widths()), axis=2)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"edges": self.edges}


@register_layer
class BandMeans(_BandLayer):
    """Mean of the magnitudes of each band: (batch, frames, bins, 1) -> (batch, frames, bands, 1)."""

    def call(self, inputs: Any) -> Any:
        widths = self.widths()
        shares = np.repeat(np.eye(len(widths)) / widths, widths, axis=1).T
        means = ops.matmul(ops.squeeze(inputs, axis=-1), ops.convert_to_tensor(shares, dtype=self.compute_dtype))
        return ops.expand_dims(means, axis=-1)


@register_layer
class UnitLength(_BandLayer):
    """Embeddings of length one for every bin: (batch, frames, bands, n) -> (batch, frames, bins, n)."""

    def call(self, inputs: Any) -> Any:
        return self.to_bins(inputs * ops.rsqrt(ops.sum(ops.square(inputs), axis=-1, keepdims=True) + _TINY))


@register_layer
class SharedByChannels(_BandLayer):
    """Masks by a softmax, for both channels: (batch, frames, bands, n_stems) -> (batch, frames, bins, 2, n_stems)."""

    def call(self, inputs: Any) -> Any:
        masks = self.to_bins(ops.softmax(inputs, axis=-1))
        return ops.stack([masks] * N_CHANNELS, axis=3)
