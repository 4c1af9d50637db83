"""From a checkpoint to the folder of a model that separates."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cadenza_remix.separation.networks.backend import load_keras
from cadenza_remix.training.fit.checkpoints import read_checkpoint, set_values
from cadenza_remix.training.fit.config import DataSource, TrainConfig
from cadenza_remix.training.fit.data import SongChoice, open_sources


def export_model(
    config: TrainConfig, checkpoint: Path, model_path: Path, *, songs: SongChoice | None = None
) -> dict[str, Any]:
    """Write the folder of a model (see `separation.trained.folder`) and return its facts.

    Parameters
    ----------
    config : TrainConfig
        Of the run.
    checkpoint : Path
        One of its files; ``best.npz`` holds the averaged weights where averages are kept.
    model_path : Path
    songs : SongChoice, optional
        Those of the training; opened if they are not given.

    Raises
    ------
    InputError
        The checkpoint is damaged or of another network.
    OutputError
        The folder cannot be written.
    """
    from cadenza_remix.separation.networks.architectures import build_network
    from cadenza_remix.separation.trained.folder import write_model_folder
    from cadenza_remix.training.fit.validation import inference_of

    found = read_checkpoint(checkpoint)
    spec = config.model.spec()
    # Built anew: in single precision, whatever it was trained in.
    network = build_network(spec)
    network.jit_compile = load_keras().backend.backend() == "jax"
    set_values(network.variables, found.model, where=checkpoint)
    if songs is None:
        needed = tuple(dict.fromkeys(stem for stems in config.data.targets.values() for stem in stems))
        songs = open_sources(config.data.train, split="train", sources_needed=needed)
    settings = config.excerpt_settings(spec, songs.weights)
    inference = inference_of(network, spec, settings, songs.songs)
    facts = model_facts(config, found.state, songs)
    write_model_folder(model_path, network, spec, name=config.name, inference=inference, facts=facts)
    return facts


def model_facts(config: TrainConfig, state: Mapping[str, Any], songs: SongChoice) -> dict[str, Any]:
    """Return what a model's note says of its training, in plain values; no path of this machine is among them."""
    told = config.as_dict()
    for section in ("train", "valid"):
        for source in told["data"][section]:
            source["path"] = Path(source["path"]).name
    if told["initial_weights"] is not None:
        told["initial_weights"] = Path(told["initial_weights"]).name
    best = state.get("best") or {}
    return {
        "data": [_source_facts(source) for source in config.data.train],
        "n_songs": len(songs.songs),
        "hours": round(songs.hours, 3),
        **dict(config.facts),
        "loss": [{"name": part.name, "weight": part.weight} for part in config.loss],
        "scores": {"valid_loss": best.get("valid_loss"), "valid_sdr_db": best.get("sdr_db", {})},
        "step": state["step"],
        "seconds": round(state["seconds"], 1),
        "seed": config.training.seed,
        "config": told,
        "versions": _versions(),
    }


def _source_facts(source: DataSource) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": source.path.name, "weight": source.weight}
    return facts | ({"songs": list(source.songs)} if source.songs else {})


def _versions() -> dict[str, str]:
    backend = load_keras().backend.backend()
    versions = {"python": platform.python_version(), "backend": backend}
    for package in ("cadenza-remix", "keras", backend, "numpy"):
        for name in (package, f"{package}-cpu"):
            try:
                versions[package] = importlib.metadata.version(name)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return versions
