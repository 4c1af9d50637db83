"""What several losses need: magnitudes of spectra, and checks.

Shapes, as everywhere in training: mixture (batch, n_frames, n_bins, 2 channels, 2), targets (batch, n_frames, n_bins, 2
channels, n_stems, 2); the last axis is real and imaginary part. Masks (batch, n_frames, n_bins, 2 channels, n_stems),
embeddings (batch, n_frames, n_bins, n_dimensions).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.backend import load_keras

if TYPE_CHECKING:
    from cadenza_remix.separation.networks.architectures import NetworkSpec

#: Keeps divisions by the level of silence finite; far below what 24 bits resolve.
TINY = 1e-8


def scale_of(spec: NetworkSpec) -> float:
    """Return the factor that makes the magnitude of a full-scale sine 1, whatever the frames' length.

    The sum of a periodic Hann window is half its length, and a sine has half its amplitude in each of its two bins.
    """
    return 4.0 / spec.frame_length


def magnitudes(spectra: Any) -> Any:
    """Return the magnitudes of spectra whose last axis is real and imaginary part."""
    ops = load_keras().ops
    return ops.sqrt(ops.sum(ops.square(ops.cast(spectra, "float32")), axis=-1))


def excerpt_mean(values: Any) -> Any:
    """Return the mean of each excerpt, with all axes kept; never 0."""
    ops = load_keras().ops
    axes = tuple(range(1, len(values.shape)))
    return ops.maximum(ops.mean(values, axis=axes, keepdims=True), TINY)


def given(outputs: Mapping[str, Any], name: str, loss: str) -> Any:
    """Return one of the network's outputs in single precision.

    Raises
    ------
    InputError
        The network has no such output.
    """
    if name not in outputs:
        raise InputError(f"the loss {loss!r} needs {name}", where="network", expected=name, found=", ".join(outputs))
    return load_keras().ops.cast(outputs[name], "float32")


def check_range(name: str, value: object, low: float, high: float, *, loss: str) -> float:
    """Return a setting as a float; refuse what is no number from ``low`` to ``high``."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not low <= float(value) <= high:  # type: ignore[arg-type]
        expected = f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} or more"
        raise InputError("setting out of range", where=f"{name} of the loss {loss!r}", expected=expected, found=value)
    return float(value)  # type: ignore[arg-type]


def check_switch(name: str, value: object, *, loss: str) -> bool:
    """Return a setting that is true or false; refuse anything else."""
    if not isinstance(value, bool):
        where = f"{name} of the loss {loss!r}"
        raise InputError("setting is no switch", where=where, expected="true or false", found=value)
    return value


def check_choice(name: str, value: object, choices: tuple[str, ...], *, loss: str) -> str:
    """Return a setting that is one of some words; refuse anything else."""
    if value not in choices:
        where = f"{name} of the loss {loss!r}"
        raise InputError("unknown choice", where=where, expected="one of " + ", ".join(choices), found=value)
    return str(value)
