"""Small networks of each architecture that can be trained, and what to feed them with."""

import numpy as np

from cadenza_remix.separation.networks.architectures import build_network, default_spec

VOICE = ("vocals", "accompaniment")
BAND = ("vocals", "drums", "bass", "other")
N_FRAMES = 8
N_BINS = 16
_UNET = {"filters": [3, 4]}
_CLUSTERS = {"layers": 2, "units": 5, "n_dimensions": 4}

#: Name of a case -> architecture, stems and settings.
SMALL = {
    "unet": ("unet", VOICE, _UNET),
    "unet-softmax": ("unet", BAND, {**_UNET, "output": "softmax"}),
    "spleeter-unet": ("spleeter-unet", BAND, {**_UNET, "input": "scaled"}),
    "spleeter-unet-shared": (
        "spleeter-unet",
        BAND,
        {**_UNET, "encoder": "shared", "head_filters": 5, "output": "softmax", "input": "log"},
    ),
    "ibm-cnn": ("ibm-cnn", VOICE, {"filters": [3, 2, 4, 3], "kernel": [3, 3], "pool": 3, "dense": [7, 6]}),
    "deep-clustering": ("deep-clustering", VOICE, _CLUSTERS),
    "deep-clustering-chimera": ("deep-clustering", BAND, {**_CLUSTERS, "layers": 1, "mask_head": True, "n_bands": 6}),
    "uh-net": ("uh-net", VOICE, {**_UNET, "frozen": False, "embedding_network": {"settings": _CLUSTERS}}),
    "uh-net-frozen": (
        "uh-net",
        BAND,
        {**_UNET, "embedding_network": {"settings": {**_CLUSTERS, "layers": 1, "n_bands": 6}}},
    ),
}


def small_spec(case, **settings):
    """Return the specification of a case, with some settings changed."""
    architecture, stems, own = SMALL[case]
    transform = {"sample_rate": 8000, "frame_length": 64, "hop_length": 16, "fft_length": 64}
    shape = {"n_frames": N_FRAMES, "n_bins": N_BINS, "n_context": 0}
    return default_spec(architecture, stems, **transform, **shape, settings={**own, **settings})


def small_network(case, *, seed=5, **settings):
    """Return a network of a case, all of whose weights are random: moving means and variances, too."""
    network = build_network(small_spec(case, **settings))
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        values = rng.normal(0, 0.5, weight.shape)
        weight.assign(0.5 + np.abs(values) if weight.name in ("gamma", "moving_variance") else values)
    return network


def magnitudes(n_patches=2, *, seed=3):
    """Return magnitudes of shape (n_patches, N_FRAMES, N_BINS, 2), as of music at some level."""
    rng = np.random.default_rng(seed)
    return rng.rayleigh(2.0, (n_patches, N_FRAMES, N_BINS, 2)).astype(np.float32)
