"""Make ``wiener.npz``: what norbert 0.2.1 makes of the spectra of three sources that sound from different places.

    python tests/golden/make_wiener.py        in an environment with norbert==0.2.1

norbert is called as Deezer's package calls it (estimates padded with zeros above the network's band, everything else
at its defaults), but in 64 bits with the resolution of 32 bits for ``eps``: in 32 bits it loses digits of its own.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import norbert
import numpy as np

N_STEMS, N_FRAMES, N_BINS, N_BINS_OF_NETWORK = 3, 16, 24, 20
LEVELS = {"loud": 100.0, "quiet": 0.5}  # both sides of the magnitude at which norbert starts to scale


def make_case(level: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectra of a song (2, n_frames, n_bins) and estimated magnitudes (n_stems, n_frames, n_bins, 2)."""
    rng = np.random.default_rng(seed)
    shape = (N_STEMS, N_FRAMES, N_BINS)
    sources = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * rng.exponential(1.0, shape)
    places = rng.standard_normal((N_STEMS, 2)) + 1j * rng.standard_normal((N_STEMS, 2))
    images = places[:, :, None, None] * sources[:, None] * level
    noise = 0.1 * level * (rng.standard_normal(images.shape) + 1j * rng.standard_normal(images.shape))
    images = images + noise
    estimates = np.abs(images[..., :N_BINS_OF_NETWORK]) * rng.uniform(
        0.3, 1.0, (N_STEMS, 2, N_FRAMES, N_BINS_OF_NETWORK)
    )
    return images.sum(axis=0).astype(np.complex64), estimates.transpose(0, 2, 3, 1).astype(np.float32)


def filtered(spectra: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Return norbert's stems, (n_stems, 2, n_frames, n_bins)."""
    padded = np.zeros((N_FRAMES, N_BINS, 2, N_STEMS))
    padded[:, :N_BINS_OF_NETWORK] = estimates.transpose(1, 2, 3, 0)
    song = spectra.transpose(1, 2, 0).astype(np.complex128)
    return norbert.wiener(padded, song, eps=np.finfo(np.float32).eps).transpose(3, 2, 0, 1)


def main() -> None:
    arrays = {"norbert": np.array(importlib.metadata.version("norbert"))}
    for seed, (name, level) in enumerate(LEVELS.items()):
        spectra, estimates = make_case(level, seed)
        arrays |= {f"{name}_spectra": spectra, f"{name}_estimates": estimates}
        arrays[f"{name}_filtered"] = filtered(spectra, estimates).astype(np.complex64)
    np.savez_compressed(Path(__file__).with_name("wiener.npz"), **arrays)


if __name__ == "__main__":
    main()
