"""Small random spectra for the tests of losses, and what the losses get of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.separation.networks.architectures import NetworkSpec

Complex = NDArray[np.complex128]


def small_spec(stems: tuple[str, ...] = ("vocals", "accompaniment"), **changes: Any) -> NetworkSpec:
    """Return a specification of a few frames and bins."""
    values = {"sample_rate": 8000, "frame_length": 32, "hop_length": 8, "fft_length": 32, "n_frames": 10, "n_bins": 13}
    return NetworkSpec("unet", stems, **{**values, **changes})


def random_targets(spec: NetworkSpec, *, seed: int = 0, n_excerpts: int = 2) -> Complex:
    """Return spectra of stems, (batch, n_frames, n_bins, 2, n_stems)."""
    rng = np.random.default_rng(seed)
    shape = (n_excerpts, spec.n_frames, spec.n_bins, 2, len(spec.stems))
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def random_masks(spec: NetworkSpec, *, seed: int = 1, n_excerpts: int = 2) -> NDArray[np.float32]:
    """Return masks, (batch, n_frames, n_bins, 2, n_stems)."""
    shape = (n_excerpts, spec.n_frames, spec.n_bins, 2, len(spec.stems))
    return np.random.default_rng(seed).uniform(0.05, 0.95, shape).astype(np.float32)


def as_pairs(spectra: Complex) -> NDArray[np.float32]:
    """Return real and imaginary part in a last axis."""
    return np.stack([spectra.real, spectra.imag], axis=-1).astype(np.float32)


def value_of(loss: Any, targets: Complex, **outputs: NDArray[np.float32]) -> float:
    """Return the loss of some outputs when the mixture is the sum of the targets."""
    import keras

    given = {name: keras.ops.convert_to_tensor(array) for name, array in outputs.items()}
    return float(keras.ops.convert_to_numpy(loss(as_pairs(targets.sum(axis=-1)), as_pairs(targets), given)))
