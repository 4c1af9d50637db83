"""Batches of excerpts for training: each a pure function of the songs, the settings and the batch's number.

Whatever process makes batch 1000, and whatever it made before, the batch is the same to the last bit: that is what lets
a training go on exactly where it was stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.resample import resample_samples
from cadenza_remix.errors import InputError
from cadenza_remix.training.data.augmentation import Augmentation, change_level, change_stem, draw_speed
from cadenza_remix.training.data.songs import TrainingSong
from cadenza_remix.units import db_to_lin

#: Samples of the slower of two rates that are read beyond an excerpt at both ends; soxr's HQ filter is shorter.
_MARGIN = 256


@dataclass(frozen=True)
class ExcerptSettings:
    """What the excerpts of a training are.

    Parameters
    ----------
    targets : mapping of str to tuple of str
        What is separated into -> the stems of the songs that belong to it.
    sample_rate, n_samples : int
        Of an excerpt, in Hz and samples.
    batch_size : int
    seed : int
    mix_share : float
        How many of the excerpts (0 to 1) are mixed from stems of different songs, each at its own place; the others
        are a place of one song.
    augmentation : Augmentation
    min_level_db : float
        A place where a stem's RMS level is below this (dB of full scale) counts as silent.
    n_tries : int
        How many places are tried for one that sounds (the stem; or half the stems of a song).
    silent_share : float
        How often the first place is taken even if it is silent, so that a network learns silence.
    weights : tuple of float
        How often each song is taken, relative to the others; empty for all the same.

    Raises
    ------
    InputError
        A value is out of range.
    """

    targets: Mapping[str, tuple[str, ...]]
    sample_rate: int
    n_samples: int
    batch_size: int
    seed: int = 0
    mix_share: float = 0.5
    augmentation: Augmentation = field(default_factory=Augmentation)
    min_level_db: float = -50.0
    n_tries: int = 4
    silent_share: float = 0.1
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        targets = {name: (stems,) if isinstance(stems, str) else tuple(stems) for name, stems in self.targets.items()}
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))
        if not targets or not all(targets.values()):
            raise InputError("wrong targets", expected="names, each with its stems", found=targets)
        for name in ("sample_rate", "n_samples", "batch_size", "n_tries"):
            if getattr(self, name) < 1:
                raise InputError(
                    "setting out of range", where=name, expected="a whole number above 0", found=getattr(self, name)
                )
        for name in ("mix_share", "silent_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError("setting out of range", where=name, expected="0 to 1", found=getattr(self, name))
        if any(weight < 0 or not math.isfinite(weight) for weight in self.weights):
            raise InputError("wrong weights", expected="numbers of 0 or more", found=self.weights)

    @property
    def sources(self) -> tuple[str, ...]:
        """All stems that the targets are made of."""
        return tuple(dict.fromkeys(stem for stems in self.targets.values() for stem in stems))


def make_batch(songs: Sequence[TrainingSong], settings: ExcerptSettings, step: int) -> NDArray[np.float32]:
    """Return one batch.

    Parameters
    ----------
    songs : sequence of TrainingSong
    settings : ExcerptSettings
    step : int
        The batch's number, from 0.

    Returns
    -------
    array of shape (batch_size, n_targets, n_samples, 2)
        The targets in their order; the mixture is their sum.

    Raises
    ------
    InputError
        A song's file cannot be read, or no song has the stems asked for.
    """
    choices = _Choices(songs, settings)
    batch = np.empty((settings.batch_size, len(settings.targets), settings.n_samples, 2), dtype=np.float32)
    for item in range(settings.batch_size):
        batch[item] = _excerpt(choices, settings, np.random.default_rng([settings.seed, step, item]))
    return batch


class _Choices:
    """Which songs can give what, with the chance of each."""

    def __init__(self, songs: Sequence[TrainingSong], settings: ExcerptSettings) -> None:
        if settings.weights and len(settings.weights) != len(songs):
            raise InputError("wrong weights", expected=f"one for each of {len(songs)} songs", found=settings.weights)
        self._songs = songs
        self._weights = np.array(settings.weights or [1.0] * len(songs))
        self._with = {stem: self._chances([stem]) for stem in settings.sources}
        whole = self._chances(settings.sources)
        self._whole = whole if whole.any() else self._chances(settings.sources, at_least=2)
        for stem, chances in self._with.items():
            if not chances.any():
                raise InputError("no song has this stem", where=stem, expected="at least one song in the data")

    @property
    def have_whole(self) -> bool:
        return bool(self._whole.any())

    def with_stem(self, stem: str, rng: np.random.Generator) -> TrainingSong:
        return self._songs[int(rng.choice(len(self._songs), p=self._with[stem]))]

    def whole(self, rng: np.random.Generator) -> TrainingSong:
        """Return a song that has all stems, or two of them where no song has all."""
        return self._songs[int(rng.choice(len(self._songs), p=self._whole))]

    def _chances(self, stems: Sequence[str], at_least: int | None = None) -> NDArray[np.float64]:
        needed = len(stems) if at_least is None else min(at_least, len(stems))
        has = np.array([sum(stem in song.stems for stem in stems) >= needed for song in self._songs], dtype=bool)
        weights = self._weights * has
        return weights / weights.sum() if weights.any() else weights


def _excerpt(choices: _Choices, settings: ExcerptSettings, rng: np.random.Generator) -> NDArray[np.float32]:
    is_mixed = rng.random() < settings.mix_share or not choices.have_whole
    sources = (_from_songs if is_mixed else _from_one_song)(choices, settings, rng)
    changed = {
        stem: change_stem(samples, settings.sample_rate, settings.augmentation, rng)
        for stem, samples in sources.items()
    }
    stems = np.zeros((len(settings.targets), settings.n_samples, 2), dtype=np.float32)
    for index, names in enumerate(settings.targets.values()):
        for name in names:
            stems[index] += changed[name]
    return change_level(stems, settings.augmentation, rng)


def _from_songs(
    choices: _Choices, settings: ExcerptSettings, rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """Return each stem from a song and a place of its own."""
    sources = {}
    for stem in settings.sources:
        for _ in range(_n_tries(settings, rng)):
            song = choices.with_stem(stem, rng)
            speed, place = draw_speed(settings.augmentation, rng), rng.random()
            samples = _read(song, stem, settings, speed, place)
            if _sounds(samples, settings):
                break
        sources[stem] = samples
    return sources


def _from_one_song(
    choices: _Choices, settings: ExcerptSettings, rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """Return all stems from one place of one song, preferably one where at least half of them sound."""
    for _ in range(_n_tries(settings, rng)):
        song = choices.whole(rng)
        speed, place = draw_speed(settings.augmentation, rng), rng.random()
        sources = {stem: _read(song, stem, settings, speed, place) for stem in settings.sources}
        if 2 * sum(_sounds(samples, settings) for samples in sources.values()) >= len(sources):
            break
    return sources


def _n_tries(settings: ExcerptSettings, rng: np.random.Generator) -> int:
    return 1 if rng.random() < settings.silent_share else settings.n_tries


def _sounds(samples: NDArray[np.float32], settings: ExcerptSettings) -> bool:
    threshold = float(db_to_lin(settings.min_level_db))
    return float(np.vdot(samples, samples)) >= samples.size * threshold**2


def _read(song: TrainingSong, stem: str, settings: ExcerptSettings, speed: float, place: float) -> NDArray[np.float32]:
    """Return an excerpt at the rate of the training; ``place`` is a share (0 to 1) of the places where it fits.

    A song that is shorter than the excerpt is followed by silence.
    """
    rate = round(song.sample_rate * speed)  # what is read at this rate sounds ``speed`` times as fast afterwards
    n_needed = math.ceil(settings.n_samples * rate / settings.sample_rate)
    start = int(place * max(0, song.n_samples - n_needed))
    if stem not in song.stems:
        return np.zeros((settings.n_samples, 2), dtype=np.float32)
    if rate == settings.sample_rate:
        return song.read(stem, start, settings.n_samples)
    # All stems of a place are read and cut alike, so they stay together to the sample.
    margin = _MARGIN * max(1, math.ceil(rate / settings.sample_rate))
    before = min(start, margin)
    samples = song.read(stem, start - before, before + n_needed + margin)
    resampled = resample_samples(samples, rate, settings.sample_rate)
    first = round(before * settings.sample_rate / rate)
    return np.asarray(resampled[first : first + settings.n_samples], dtype=np.float32)
