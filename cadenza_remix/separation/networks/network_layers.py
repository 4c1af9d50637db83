"""What the networks that are trained here share: small layers, and the check of an architecture's settings.

All layers keep to the layout (batch, frames, bins, channels), run on any Keras back end and stay in full precision
where the rest of a network is computed in half (levels of music do not fit into 16 bits, and masks shall not be
rounded). Importing this module imports Keras and registers the layers: `keras.saving.load_model` needs nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.separation.networks.architectures import NetworkSpec
from cadenza_remix.separation.networks.backend import load_keras

keras = load_keras()
layers = keras.layers
ops = keras.ops
_Layer: Any = keras.layers.Layer

N_CHANNELS = 2
BATCH_NORM_EPSILON = 1e-3
LEAKY_SLOPE = 0.2
ACTIVATIONS = ("elu", "leaky_relu", "relu")
INPUTS = ("magnitude", "scaled", "log")
# Of magnitudes; a sine of -100 dB full scale has more in frames of 512 samples. What is fainter is not made louder.
LEVEL_FLOOR = 1e-3
# In the logarithm: bins 20 dB below the patch's level are still told from silence.
LOG_SCALE = 10.0
register_layer = keras.saving.register_keras_serializable(package="cadenza_remix")


class FullPrecisionLayer(_Layer):
    """A layer that computes in Keras' float type, whatever the policy for mixed precision says."""

    def __init__(self, **keras_options: Any) -> None:
        super().__init__(**{"dtype": keras.config.floatx()} | keras_options)


@register_layer
class ChannelsToBatch(FullPrecisionLayer):
    """Make every channel an example of its own: (batch, frames, bins, 2) -> (batch * 2, frames, bins, 1)."""

    def call(self, inputs: Any) -> Any:
        _, n_frames, n_bins, _ = inputs.shape
        return ops.reshape(ops.transpose(inputs, (0, 3, 1, 2)), (-1, n_frames, n_bins, 1))

    # Back ends that try an odd number for the unknown batch cannot find out for themselves.
    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, n_frames, n_bins, _ = input_shape
        return (batch and batch * N_CHANNELS, n_frames, n_bins, 1)


@register_layer
class ChannelsFromBatch(FullPrecisionLayer):
    """The way back: (batch * 2, frames, bins, n) -> (batch, frames, bins, 2, n)."""

    def call(self, inputs: Any) -> Any:
        _, n_frames, n_bins, n_last = inputs.shape
        return ops.transpose(ops.reshape(inputs, (-1, N_CHANNELS, n_frames, n_bins, n_last)), (0, 2, 3, 1, 4))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, n_frames, n_bins, n_last = input_shape
        return (batch and batch // N_CHANNELS, n_frames, n_bins, N_CHANNELS, n_last)


@register_layer
class ChannelMean(FullPrecisionLayer):
    """Mean of both channels' magnitudes: (batch, frames, bins, 2) -> (batch, frames, bins, 1)."""

    def call(self, inputs: Any) -> Any:
        return ops.mean(inputs, axis=-1, keepdims=True)


@register_layer
class ScaledToPeak(FullPrecisionLayer):
    """Divide each patch by its largest magnitude, so that it lies in [0, 1]."""

    def call(self, inputs: Any) -> Any:
        return inputs / ops.maximum(ops.max(inputs, axis=(1, 2, 3), keepdims=True), LEVEL_FLOOR)


@register_layer
class LogCompressed(FullPrecisionLayer):
    """Divide each patch by its RMS magnitude (over frames, bins and channels) and take log(1 + scale * magnitude).

    Parameters
    ----------
    scale : float
        The magnitude, over the patch's RMS, at which the logarithm starts to bend is one over this.
    """

    def __init__(self, scale: float = LOG_SCALE, **keras_options: Any) -> None:
        super().__init__(**keras_options)
        self.scale = scale

    def call(self, inputs: Any) -> Any:
        level = ops.sqrt(ops.mean(ops.square(inputs), axis=(1, 2, 3), keepdims=True))
        return ops.log1p(inputs * (self.scale / ops.maximum(level, LEVEL_FLOOR)))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"scale": self.scale}


@register_layer
class StemMasks(FullPrecisionLayer):
    """Masks out of maps, stem after stem: (batch, frames, bins, n * n_stems) -> (batch, frames, bins, n, n_stems).

    Parameters
    ----------
    n_stems : int
    output : str
        ``softmax``: the stems share every bin out between them; ``sigmoid``: each for itself.
    """

    def __init__(self, n_stems: int, output: str, **keras_options: Any) -> None:
        super().__init__(**keras_options)
        self.n_stems = n_stems
        self.output_kind = output

    def call(self, inputs: Any) -> Any:
        _, n_frames, n_bins, n_maps = inputs.shape
        shape = (-1, n_frames, n_bins, self.n_stems, n_maps // self.n_stems)
        maps = ops.transpose(ops.reshape(inputs, shape), (0, 1, 2, 4, 3))
        return ops.softmax(maps, axis=-1) if self.output_kind == "softmax" else ops.sigmoid(maps)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"n_stems": self.n_stems, "output": self.output_kind}


@register_layer
class WithComplement(FullPrecisionLayer):
    """A first stem's mask and one minus it: (batch, frames, bins, 2, 1) -> (batch, frames, bins, 2, 2)."""

    def call(self, inputs: Any) -> Any:
        return ops.concatenate([inputs, 1.0 - inputs], axis=-1)


def network_input(signal: Any, kind: str, *, prefix: str = "input") -> Any:
    """Return the magnitudes as a network sees them.

    Parameters
    ----------
    signal : KerasTensor of shape (batch, frames, bins, n)
    kind : str
        ``magnitude``: as they are; ``scaled``: each patch to [0, 1]; ``log``: relative to the patch's level,
        compressed, and every bin standardised over the training data with a learned scale and offset.
    prefix : str
        Of the layers' names.
    """
    if kind == "scaled":
        return ScaledToPeak(name=f"{prefix}_scaled")(signal)
    if kind == "log":
        compressed = LogCompressed(name=f"{prefix}_log")(signal)
        return layers.BatchNormalization(axis=2, epsilon=BATCH_NORM_EPSILON, name=f"{prefix}_bin_norm")(compressed)
    return signal


def batch_norm(name: str) -> Any:
    """Return a layer that normalises each feature map over the batch."""
    return layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=name)


def activation(kind: str, name: str) -> Any:
    """Return a layer with one of `ACTIVATIONS`."""
    if kind == "leaky_relu":
        return layers.LeakyReLU(negative_slope=LEAKY_SLOPE, name=name)
    return {"relu": layers.ReLU, "elu": layers.ELU}[kind](name=name)


def convolution_weights(widths: Sequence[int], kernel_size: int) -> int:
    """Return the weights of a chain of convolutions between so many maps, without biases; dense ones: of size 1."""
    return kernel_size * sum(before * behind for before, behind in pairwise(widths))


def check_halvings(spec: NetworkSpec, n_levels: int) -> None:
    """Refuse a patch that cannot be halved so often, along frames and bins.

    Raises
    ------
    InputError
        ``n_frames`` or ``n_bins`` is no multiple of two to this power.
    """
    for name in ("n_frames", "n_bins"):
        value = getattr(spec, name)
        if value % 2**n_levels:
            expected = f"a multiple of {2**n_levels} ({n_levels} halvings)"
            raise InputError("wrong patch size", where=name, expected=expected, found=value)


def read_settings(
    spec: NetworkSpec,
    defaults: Mapping[str, Any],
    *,
    choices: Mapping[str, Iterable[str]] = MappingProxyType({}),
    may_be_zero: Sequence[str] = (),
) -> dict[str, Any]:
    """Return a specification's settings, filled up with defaults; each must be of its default's kind.

    Parameters
    ----------
    spec : NetworkSpec
    defaults : mapping
        The architecture's ``DEFAULTS``. A list stands for one or more whole numbers and comes back as a tuple.
    choices : mapping
        What a setting that is a word may be.
    may_be_zero : sequence of str
        Whole numbers that may be 0; all others are 1 or more.

    Raises
    ------
    InputError
        A setting is unknown or out of range.
    """
    where = f"model.settings of {spec.architecture}"
    values = {}
    for name in spec.settings:
        if name not in defaults:
            raise unknown_name("setting", name, defaults, where=where)
    for name, default in defaults.items():
        value = spec.settings.get(name, default)
        if name in choices:
            if value not in tuple(choices[name]):
                raise unknown_name(name, value, choices[name], where=where)
        else:
            problem = _problem(value, default, least=0 if name in may_be_zero else 1)
            if problem:
                raise InputError("setting out of range", where=f"{where}, {name}", expected=problem, found=value)
        values[name] = tuple(value) if isinstance(default, list) else value
    return values


def _problem(value: Any, default: Any, *, least: int) -> str | None:
    """Return what is expected where a value is not of its default's kind."""
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(default, int):
        return None if _whole(value, least) else f"a whole number from {least}"
    if isinstance(default, float):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return None if number and 0 <= value < 1 else "a number from 0 to below 1"
    if isinstance(default, list):
        many = isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
        return None if many and all(_whole(entry, least) for entry in value) else "a list of whole numbers from 1"
    return None if isinstance(value, Mapping) else "a mapping"


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
