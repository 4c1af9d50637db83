"""Audio as a value: samples and their rate, checked once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadenza_remix.errors import InputError

EARS = ("left", "right")
STEMS = ("vocals", "drums", "bass", "other")
MUSIC_SAMPLE_RATE = 44_100
"""Rate of songs, of separation and of the hearing aid, in Hz."""
STEM_SAMPLE_RATE = 24_000
"""Rate of the eight enhanced stems, in Hz: what the challenge wants and HAAQI works at."""
REMIX_SAMPLE_RATE = 32_000
"""Rate of the remix, in Hz."""


_EXCERPT_TOLERANCE_S = 0.05


@dataclass(frozen=True, eq=False)
class Audio:
    """Audio samples that travel with their sample rate.

    Parameters
    ----------
    samples : array of shape (n_samples, n_channels) or (n_samples,)
        Full scale is 1.0. Kept as float32, C order, read-only; a single channel becomes ``(n_samples, 1)``.
    sample_rate : int
        In Hz.
    name : str
        Where the audio came from, for messages only.

    Raises
    ------
    InputError
        No samples, more than two channels, NaN or infinity, a sample rate that is not a positive whole number.

    Examples
    --------
    >>> Audio(np.zeros(44100), 44100).duration_s
    1.0
    """

    samples: NDArray[np.float32]
    sample_rate: int
    name: str = "audio"

    def __init__(self, samples: ArrayLike, sample_rate: float, name: str = "audio") -> None:
        array = np.asarray(samples)
        if array.ndim == 1:
            array = array[:, np.newaxis]
        if array.ndim != 2:
            raise InputError(
                "wrong shape", where=name, expected="(n_samples, n_channels)", found=str(np.shape(samples))
            )
        if array.shape[0] == 0:
            raise InputError("holds no samples", where=name, expected="at least one sample", found="length zero")
        if array.shape[1] not in (1, 2):
            raise InputError("wrong number of channels", where=name, expected="1 or 2", found=array.shape[1])
        if array.dtype.kind not in "fiu":
            raise InputError("wrong kind of samples", where=name, expected="real numbers", found=array.dtype)
        if array.dtype.kind in "iu":
            raise InputError("samples are integers", where=name, expected="floats of full scale 1.0", found=array.dtype)
        if sample_rate != int(sample_rate) or sample_rate <= 0:
            raise InputError(
                "wrong sample rate", where=name, expected="a positive whole number of Hz", found=sample_rate
            )
        array = np.ascontiguousarray(array, dtype=np.float32)
        if not np.isfinite(array).all():
            first = int(np.argwhere(~np.isfinite(array))[0][0])
            raise InputError(
                "samples are not finite",
                where=name,
                expected="finite numbers",
                found=f"NaN or infinity at sample {first}",
            )
        array = array.view()
        array.flags.writeable = False
        object.__setattr__(self, "samples", array)
        object.__setattr__(self, "sample_rate", int(sample_rate))
        object.__setattr__(self, "name", name)

    @property
    def n_samples(self) -> int:
        return int(self.samples.shape[0])

    @property
    def n_channels(self) -> int:
        return int(self.samples.shape[1])

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.sample_rate

    def stereo(self) -> Audio:
        """Return the audio in two channels; a single channel goes to both ears."""
        if self.n_channels == 2:
            return self
        return Audio(np.repeat(self.samples, 2, axis=1), self.sample_rate, self.name)

    def excerpt(self, start_s: float, end_s: float) -> Audio:
        """Return the samples from ``start_s`` to ``end_s`` (seconds, cut to whole samples).

        An end that lies up to 50 ms beyond the audio counts as its end: times are often rounded.

        Raises
        ------
        InputError
            The excerpt does not lie inside the audio.
        """
        first, last = int(start_s * self.sample_rate), int(end_s * self.sample_rate)
        if 0 < last - self.n_samples <= _EXCERPT_TOLERANCE_S * self.sample_rate:
            last = self.n_samples
        if not 0 <= first < last <= self.n_samples:
            raise InputError(
                "segment outside the audio",
                where=self.name,
                expected=f"0 <= start < end <= {self.duration_s:.3f} s",
                found=f"{start_s:g} to {end_s:g} s",
            )
        return Audio(self.samples[first:last], self.sample_rate, self.name)
