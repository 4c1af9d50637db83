"""Small networks of every architecture with fixed random weights, and folders of trained models made of them."""

import json
from pathlib import Path

from cadenza_remix.separation.models.fetching import sha256_of
from cadenza_remix.separation.networks.architectures import build_network, default_spec
from cadenza_remix.separation.networks.backend import load_keras
from cadenza_remix.separation.trained.folder import write_model_folder

TWO = ("vocals", "accompaniment")
_TRANSFORM = {"sample_rate": 16_000, "frame_length": 128, "hop_length": 32, "fft_length": 128}
#: Architecture -> what makes its network small.
SMALL = {
    "unet": {"n_frames": 16, "n_bins": 64, "settings": {"filters": [4, 8]}},
    "spleeter-unet": {"n_frames": 16, "n_bins": 64, "settings": {"filters": [4, 8]}},
    "ibm-cnn": {
        "n_frames": 9,
        "n_bins": 65,
        "n_context": 4,
        "settings": {"filters": [2, 2, 2, 2], "pool": 2, "dense": [8]},
    },
    "deep-clustering": {"n_frames": 16, "n_bins": 64, "settings": {"units": 6, "n_dimensions": 4}},
    "uh-net": {
        "n_frames": 16,
        "n_bins": 64,
        "settings": {"filters": [4, 8], "embedding_network": {"settings": {"units": 6, "n_dimensions": 4}}},
    },
}


def small_spec(architecture="unet", stems=TWO, **changes):
    return default_spec(architecture, stems, **{**_TRANSFORM, **SMALL[architecture], **changes})


def small_network(spec, *, seed=1):
    load_keras().utils.set_random_seed(seed)
    return build_network(spec)


def small_model(folder, architecture="unet", *, stems=TWO, seed=1, inference=None, facts=None, name="small", **changes):
    spec = small_spec(architecture, stems, **changes)
    if architecture == "deep-clustering" and inference is None:
        inference = {"kind": "clusters", "centroids": [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]}
    network = small_network(spec, seed=seed)
    return write_model_folder(folder, network, spec, name=name, inference=inference, facts=facts or {})


def with_note(folder, **changes):
    """Change what a folder's note says; ``sha256=True`` makes it right for the network's file as it is."""
    path = Path(folder, "model.json")
    note = json.loads(path.read_text())
    if changes.get("sha256") is True:
        changes["sha256"] = sha256_of(path.with_name("network.keras"))
    path.write_text(json.dumps(note | changes))
