"""What both scripts of this recipe read from its settings."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from cadenza_remix.challenge.task import Task, experiment_folder, load_task


def read_folder(config: DictConfig) -> Path:
    return Path(
        config.path.exp_folder
        or experiment_folder(
            mode=str(config.mode),
            separator=str(config.separator.model),
            chain=str(config.chain),
            apply_compressor=config.apply_compressor if config.apply_compressor in (True, False) else None,
        )
    )


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
