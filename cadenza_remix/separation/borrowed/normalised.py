"""Songs brought to zero mean and unit variance before they are separated, and their stems brought back."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cadenza_remix.audio.blocks import Block, BlockSource, StemBlock, checked_blocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.separation.separator import Progress, check_source_rate, separate_whole
from cadenza_remix.separation.stems import Stems
from cadenza_remix.separation.windows import WindowedSeparator, Windows, cut

#: Added to the standard deviation, so that silence is no division by zero (Demucs has the same number).
FLOOR = 1e-8
_CHUNK = Windows(length=1 << 16, overlap=0, least=1)
_REVISION = 1


@dataclass(frozen=True)
class SongLevel:
    """Mean and standard deviation of a song's mono mix (the mean of its channels)."""

    mean: float
    deviation: float


class NormalisedSeparator:
    """A separator for networks that were trained on songs of zero mean and unit variance.

    As in Demucs, ``stems = (separate((song - mean) / deviation)) * deviation + mean`` with the mean and the standard
    deviation of the whole song's mono mix: the source is read twice. Every stem is given the mean.

    Parameters
    ----------
    inner : WindowedSeparator
        Separates what is normalised.
    """

    def __init__(self, inner: WindowedSeparator) -> None:
        self._inner = inner
        self.name = inner.name
        self.stems = inner.stems
        self.sample_rate = inner.sample_rate
        self.windows = inner.windows
        self.device = inner.device
        self.fingerprint = hashlib.sha256(f"{_REVISION} normalised {inner.fingerprint}".encode()).hexdigest()[:16]

    def separate(self, audio: Audio, *, progress: Progress | None = None) -> Stems:
        """Separate one song; see `cadenza_remix.separation.separator.Separator.separate`."""
        return separate_whole(self, audio, progress=progress)

    def separate_blocks(self, source: BlockSource, *, progress: Progress | None = None) -> Iterator[StemBlock]:
        """Separate block by block; see `cadenza_remix.separation.separator.Separator.separate_blocks`."""
        check_source_rate(source, self.sample_rate)
        level = song_level(source)
        mean, deviation = np.float32(level.mean), np.float32(level.deviation + FLOOR)
        for block in self._inner.separate_blocks(_Normalised(source, mean, deviation), progress=progress):
            yield {stem: samples * deviation + mean for stem, samples in block.items()}


def song_level(source: BlockSource) -> SongLevel:
    """Measure a song; how it is cut into blocks makes no difference, not even in the last digit.

    The deviation is that of a sample (divided by n - 1), zero for a single one.
    """
    n_samples, mean, squares = 0, 0.0, 0.0
    for samples, n_left in cut(checked_blocks(source), _CHUNK):
        mono = samples[:n_left].mean(axis=1, dtype=np.float64)
        # Chunks are joined by their means (Chan, Golub & LeVeque 1983): no small difference of large sums.
        step = mono.mean() - mean
        n_both = n_samples + len(mono)
        squares += float(np.square(mono - mono.mean()).sum()) + step**2 * n_samples * len(mono) / n_both
        mean += float(step) * len(mono) / n_both
        n_samples = n_both
    return SongLevel(mean, math.sqrt(squares / (n_samples - 1)) if n_samples > 1 else 0.0)


@dataclass(frozen=True)
class _Normalised:
    """A source whose blocks are normalised."""

    source: BlockSource
    mean: np.float32
    deviation: np.float32

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def sample_rate(self) -> int:
        return self.source.sample_rate

    @property
    def duration_s(self) -> float | None:
        return self.source.duration_s

    def blocks(self) -> Iterator[Block]:
        for block in checked_blocks(self.source):
            yield (block - self.mean) / self.deviation
