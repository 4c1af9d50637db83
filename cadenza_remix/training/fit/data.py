"""The songs of a training and its validation, from the data sets that a configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.resample import resample_samples
from cadenza_remix.errors import InputError
from cadenza_remix.training.data.augmentation import Augmentation
from cadenza_remix.training.data.datasets import open_dataset
from cadenza_remix.training.data.excerpts import ExcerptSettings
from cadenza_remix.training.data.songs import TrainingSong
from cadenza_remix.training.fit.config import DataSource


@dataclass(frozen=True)
class SongChoice:
    """Songs, and how often each is drawn; the weights of all songs of a set sum to the set's."""

    songs: tuple[TrainingSong, ...]
    weights: tuple[float, ...]

    @property
    def hours(self) -> float:
        return sum(song.duration_s for song in self.songs) / 3600.0


def open_sources(sources: Sequence[DataSource], *, split: str, sources_needed: Sequence[str]) -> SongChoice:
    """Return the songs of some data sets.

    Parameters
    ----------
    sources : sequence of DataSource
    split : str
        What to take where a source names no split.
    sources_needed : sequence of str
        Stems; songs that have none of them are left out.

    Raises
    ------
    InputError
        A data set cannot be opened, or nothing is left of it.
    """
    songs: list[TrainingSong] = []
    weights: list[float] = []
    for source in sources:
        dataset = open_dataset(source.path, layout=source.layout)
        wanted = None if source.split == "all" else source.split or split
        chosen = dataset.select(split=wanted, songs=source.songs or None, exclude=source.exclude)
        usable = [song for song in chosen if any(stem in song.stems for stem in sources_needed)]
        if not usable:
            expected = ", ".join(sources_needed)
            raise InputError("no song with a stem that is trained on", where=source.path, expected=expected)
        songs += usable
        weights += [source.weight / len(usable)] * len(usable)
    return SongChoice(tuple(songs), tuple(weights))


def valid_settings(settings: ExcerptSettings) -> ExcerptSettings:
    """Return the settings of the fixed excerpts of a validation: places of one song as they are, none silent by choice.

    Only the level is brought to one value, so that loud songs do not count more.
    """
    augmentation = replace(Augmentation.none(), normalise=settings.augmentation.normalise, level_db=(-6.0, -6.0))
    if augmentation.normalise == "rms":
        augmentation = replace(augmentation, level_db=(-20.0, -20.0))
    return replace(settings, mix_share=0.0, silent_share=0.0, augmentation=augmentation, weights=(), seed=0)


def read_targets(
    song: TrainingSong, settings: ExcerptSettings, *, sample_rate: int, seconds: float | None
) -> NDArray[np.float32]:
    """Return the targets of a song, (n_targets, n_samples, 2): of its middle where not all is asked for."""
    n_samples = song.n_samples if seconds is None else min(song.n_samples, round(seconds * song.sample_rate))
    start = (song.n_samples - n_samples) // 2
    targets = []
    for stems in settings.targets.values():
        parts = [song.read(stem, start, n_samples) for stem in stems if stem in song.stems]
        total = np.zeros((n_samples, 2), dtype=np.float32)
        for part in parts:
            total += part
        targets.append(resample_samples(total, song.sample_rate, sample_rate))
    return np.stack(targets).astype(np.float32)
