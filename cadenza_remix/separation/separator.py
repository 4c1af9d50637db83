"""What every way of separating a song has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from cadenza_remix.audio.blocks import AudioBlocks, BlockSource, StemBlock
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.separation.stems import Stems

#: Called with the share of the work that is done, rising to 1.
Progress = Callable[[float], None]


class Separator(Protocol):
    """Takes songs apart. Keeps nothing from one song to the next.

    Attributes
    ----------
    name : str
        As it was asked for: ``spleeter:4stems``.
    stems : tuple of str
        What it separates into, in this order.
    sample_rate : int
        The rate in Hz at which it takes songs and gives stems.
    fingerprint : str
        Hexadecimal digits that change when weights or settings do; for the names of kept results.

    One that knows what it runs on may say so in an attribute ``device``: see `device_of`.
    """

    @property
    def name(self) -> str: ...
    @property
    def stems(self) -> tuple[str, ...]: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...

    def separate(self, audio: Audio, *, progress: Progress | None = None) -> Stems:
        """Separate one song.

        Parameters
        ----------
        audio : Audio
            Mono or stereo, at `sample_rate`; mono is taken as two equal channels.
        progress : callable, optional
            Called with the share of the work that is done.

        Returns
        -------
        Stems
            Stereo, as long as the song.

        Raises
        ------
        InputError
            The song is at another rate.
        """
        ...

    def separate_blocks(self, source: BlockSource, *, progress: Progress | None = None) -> Iterator[StemBlock]:
        """Separate music block by block: what `separate` gives, in memory that does not grow with the length.

        Parameters
        ----------
        source : BlockSource
            Stereo, at `sample_rate`; may be read more than once.
        progress : callable, optional
            Called with the share of the work that is done.

        Yields
        ------
        dict of str to array of shape (n_samples, 2)
            The next piece of all stems, of any length; together as long as the source.

        Raises
        ------
        InputError
            The source is at another rate, or cannot be read.
        """
        ...


def device_of(separator: Separator) -> str:
    """Return what a separator runs on, ``tensorflow on CPU``; ``CPU`` where it does not say."""
    return str(getattr(separator, "device", "CPU"))


def separate_whole(separator: Separator, audio: Audio, *, progress: Progress | None = None) -> Stems:
    """Separate a song in memory by way of `Separator.separate_blocks`."""
    song = as_separator_input(audio, separator.sample_rate)
    stems = {stem: np.empty((song.n_samples, 2), dtype=np.float32) for stem in separator.stems}
    position = 0
    for block in separator.separate_blocks(AudioBlocks(song), progress=progress):
        n_samples = len(block[separator.stems[0]])
        for stem, samples in stems.items():
            samples[position : position + n_samples] = block[stem]
        position += n_samples
    return Stems({stem: Audio(samples, song.sample_rate, f"{audio.name} ({stem})") for stem, samples in stems.items()})


def check_source_rate(source: BlockSource, sample_rate: int) -> None:
    """Refuse a source at another rate than the separator's, and what is no source; the same errors for all."""
    if not hasattr(source, "blocks"):
        expected = "a BlockSource: AudioBlocks(audio) or FileBlocks.of(path)"
        raise InputError("no source of blocks", expected=expected, found=type(source).__name__)
    if source.sample_rate != sample_rate:
        raise InputError(
            "wrong sample rate for this separator (resample first)",
            where=source.name,
            expected=f"{sample_rate} Hz",
            found=f"{source.sample_rate} Hz",
        )


def as_separator_input(audio: Audio, sample_rate: int) -> Audio:
    """Return the song in stereo after checking its rate; the same error for all separators."""
    if audio.sample_rate != sample_rate:
        raise InputError(
            "wrong sample rate for this separator (resample first)",
            where=audio.name,
            expected=f"{sample_rate} Hz",
            found=f"{audio.sample_rate} Hz",
        )
    return audio.stereo()
