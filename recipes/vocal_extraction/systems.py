"""The systems that are compared: what trains each, and the rows of the table that come of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from scoring import STEMS

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.separation.trained.folder import TrainedModel
from cadenza_remix.separation.trained.masks import Inference
from cadenza_remix.training.fit.config import TrainConfig

TARGETS = {"vocals": ("vocals",), "accompaniment": ("drums", "bass", "other")}


@dataclass(frozen=True)
class Row:
    """One way of using a trained network: a row of the table.

    Parameters
    ----------
    label : str
    inference : Inference or None
        As the model's folder has it where None.
    swept : bool
        Hard masks whose threshold is chosen on validation songs.
    """

    label: str
    inference: Inference | None = None
    swept: bool = False


def rows_of(system: str, architecture: str) -> list[Row]:
    """Return the rows that a system gives."""
    if architecture == "ibm-cnn":
        return [Row(f"{system}, hard mask", swept=True), Row(f"{system}, soft mask", Inference("masks"))]
    return [Row(system)]


def with_threshold(model: TrainedModel, threshold: float) -> TrainedModel:
    """Return a model whose masks are hard."""
    return replace(model, inference=Inference("masks", hard=True, threshold=threshold))


def read_config(config: DictConfig) -> DictConfig:
    """Return the settings, those of ``tiny.yaml`` laid over them where that is asked for, after a look at the names."""
    OmegaConf.set_struct(config, False)  # settings of a network may be any that it knows: its own check tells
    if config.tiny:
        merged = OmegaConf.merge(config, OmegaConf.load(Path(__file__).parent / "tiny.yaml"))
        assert isinstance(merged, DictConfig)
        config = merged
    for system in config.compare:
        if system not in config.systems:
            raise unknown_name("system", system, config.systems, where="compare")
        upon = config.systems[system].get("builds_upon")
        if upon is not None and upon not in config.systems:
            raise unknown_name("system", upon, config.systems, where=f"systems.{system}.builds_upon")
    for name in ("compare", "seeds"):
        if not config[name] or len(set(config[name])) < len(config[name]):
            raise InputError("wrong list", where=name, expected="at least one, none twice", found=config[name])
    return config


def train_config(config: DictConfig, system: str, seed: int, *, builds_upon: Path | None) -> TrainConfig:
    """Return what the trainer is told.

    Parameters
    ----------
    config : DictConfig
        Of the whole comparison.
    system : str
    seed : int
    builds_upon : Path, optional
        Folder of the trained model whose weights are taken over.
    """
    own, common = config.systems[system], config.training
    settings: dict[str, Any] = dict(_plain(own.settings))
    if own.get("builds_upon"):
        settings["embedding_network"] = {"settings": _plain(config.systems[own.builds_upon].settings)}
    model = {"architecture": own.architecture, "stems": list(STEMS), **_plain(config.transform)}
    model |= {name: own[name] for name in ("n_frames", "n_context") if name in own} | {"settings": settings}
    source = {"path": str(config.data.path), "layout": config.data.layout}
    data = {
        "train": [{**source, "split": config.data.train_split}],
        "valid": [{**source, "split": config.data.valid_split}],
        "targets": TARGETS,
        "excerpts": _plain(common.excerpts),
        "augmentation": _plain(common.augmentation),
    }
    training = {
        "batch_size": own.batch_size,
        "seed": seed,
        "device": config.device,
        "n_workers": config.n_workers,
        **{name: common[name] for name in ("validate_every_steps", "n_valid_songs", "n_valid_s", "jit")},
        **({"max_minutes": float(config.minutes), "max_steps": 10_000_000} if config.max_steps is None
           else {"max_steps": config.max_steps}),
    }  # fmt: skip
    return TrainConfig.from_dict(
        {
            "name": f"{system}-{seed}",
            "model": model,
            "data": data,
            "loss": _plain(own.loss),
            "optimiser": _plain(common.optimiser),
            "training": training,
            "initial_weights": None if builds_upon is None else str(builds_upon),
        }
    )


def _plain(config: Any) -> Any:
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
