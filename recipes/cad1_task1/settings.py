"""What both scripts of this recipe read from its settings."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from cadenza_remix.challenge.task import Task, experiment_folder, load_task
from cadenza_remix.separation.loading import is_model_path


def read_folder(config: DictConfig) -> Path:
    return Path(
        config.path.exp_folder
        or experiment_folder(
            mode=str(config.mode),
            separator=_separator_text(config.separator),
            chain=str(config.chain),
            apply_compressor=config.apply_compressor if config.apply_compressor in (True, False) else None,
        )
    )


def _separator_text(separator: DictConfig) -> str:
    """Return the model and what is asked of it, so that other stems get a folder of their own."""
    model = str(separator.model)
    parts = [Path(model).resolve().name if is_model_path(model) else model, "wiener" if separator.wiener else None]
    parts += [f"{name}-{separator[name]}" for name in ("refine", "high_band") if separator[name]]
    return "-".join(part for part in parts if part)


def read_task(config: DictConfig) -> Task:
    return load_task(
        mode=config.mode,
        music_file=config.path.music_file,
        listeners_file=config.path.listeners_file,
        segments_file=config.path.music_segments_test_file,
        batch=config.evaluate.batch,
        batch_size=config.evaluate.batch_size,
        small_test=config.evaluate.small_test,
    )
