"""A song to train on: the files of its stems, read in excerpts by seek."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.seeking import read_excerpt
from cadenza_remix.errors import InputError, unknown_name

MIXTURE = "mixture"


@dataclass(frozen=True, order=True)
class StemFile:
    """An audio file, or one of the audio streams of an MP4."""

    path: Path
    stream_index: int = 0

    def __str__(self) -> str:
        return f"{self.path} (stream {self.stream_index})" if self.stream_index else str(self.path)


@dataclass(frozen=True)
class TrainingSong:
    """A song with its stems; nothing is kept open between two reads, so that any process or thread may read.

    Parameters
    ----------
    name : str
        Unique in its data set.
    split : str
        ``train``, ``valid`` or ``test``.
    stems : mapping of str to tuple of StemFile
        Without the mixture; the files of one stem are summed.
    mixture : StemFile or None
        Training does not need it: what it mixes is the sum of the stems.
    sample_rate : int
        Of all files, in Hz.
    n_samples : int
        Of the longest stem.
    """

    name: str
    split: str
    stems: Mapping[str, tuple[StemFile, ...]]
    mixture: StemFile | None
    sample_rate: int
    n_samples: int

    def __post_init__(self) -> None:
        # Sent to other processes by pickle, which knows no read-only views: see __reduce__.
        object.__setattr__(self, "stems", MappingProxyType(dict(self.stems)))

    def __reduce__(self) -> tuple[object, ...]:
        return (
            type(self),
            (self.name, self.split, dict(self.stems), self.mixture, self.sample_rate, self.n_samples),
        )

    def __hash__(self) -> int:
        return hash((self.name, self.split, self.n_samples))

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.sample_rate

    def files(self, stem: str) -> tuple[StemFile, ...]:
        """Return the files of a stem, or of ``mixture``; an InputError where the song has none."""
        if stem == MIXTURE and self.mixture is not None:
            return (self.mixture,)
        if stem not in self.stems:
            known = [*self.stems, MIXTURE] if self.mixture is not None else list(self.stems)
            raise unknown_name("stem", stem, known, where=self.name)
        return self.stems[stem]

    def read(self, stem: str, start: int, n_samples: int) -> NDArray[np.float32]:
        """Read an excerpt of one stem by seek.

        Parameters
        ----------
        stem : str
            One of ``stems``, or ``mixture``.
        start, n_samples : int
            In samples at the song's rate.

        Returns
        -------
        float32 array, shape (n_samples, 2)
            The sum of the stem's files, full scale 1; mono on both channels; zeros behind the end.

        Raises
        ------
        InputError
            The song has no such stem, the excerpt begins before the song, a file is broken or holds NaN.
        """
        if start < 0 or n_samples < 0:
            found = f"start {start}, {n_samples} samples"
            raise InputError("senseless excerpt", where=self.name, expected="numbers of 0 or more", found=found)
        total = np.zeros((n_samples, 2), dtype=np.float32)
        for file in self.files(stem):
            samples = read_excerpt(file.path, start, n_samples, stream_index=file.stream_index)
            if samples.shape[1] not in (1, 2):
                raise InputError("wrong number of channels", where=file.path, expected="1 or 2", found=samples.shape[1])
            if not np.isfinite(samples).all():
                first = start + int(np.argwhere(~np.isfinite(samples))[0][0])
                found = f"NaN or infinity at sample {first}"
                raise InputError("samples are not finite", where=file.path, expected="finite numbers", found=found)
            total[: len(samples)] += samples  # a single channel goes to both
        return total
