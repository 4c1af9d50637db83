"""What every way of separating a song has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np

from cadenza_remix.audio.blocks import AudioBlocks, Block, BlockSource, StemBlock
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError, ModelError
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
            This is no audio, or it is at another rate.
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
    """Separate a song in memory by way of `Separator.separate_blocks`; what that gives is checked."""
    song = as_separator_input(audio, separator.sample_rate)
    stems = {stem: np.empty((song.n_samples, 2), dtype=np.float32) for stem in separator.stems}
    position = 0
    for block in separator.separate_blocks(AudioBlocks(song), progress=progress):
        found = checked_stems(block, separator.stems, where=separator.name, piece="a block")
        n_samples = len(found[separator.stems[0]])
        if position + n_samples <= song.n_samples:
            for stem, samples in stems.items():
                samples[position : position + n_samples] = found[stem]
        position += n_samples
    if position != song.n_samples:
        raise ModelError(f"{separator.name}: wrong length: expected {song.n_samples} samples, found {position}")
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
    """Return the song in stereo after checking what it is and its rate; the same errors for all separators."""
    if not isinstance(audio, Audio):
        raise InputError("no audio", expected="an Audio, from load_audio", found=type(audio).__name__)
    if audio.sample_rate != sample_rate:
        raise InputError(
            "wrong sample rate for this separator (resample first)",
            where=audio.name,
            expected=f"{sample_rate} Hz",
            found=f"{audio.sample_rate} Hz",
        )
    return audio.stereo()


def checked_stems(
    found: object, stems: tuple[str, ...], *, where: str, piece: str, n_samples: int | None = None
) -> dict[str, Block]:
    """Return what somebody's code gave for a piece of music as float32 arrays, all of one length.

    Parameters
    ----------
    found : object
        To be a mapping with exactly these stems, each something that makes an array of floats, (n_samples, 2).
    stems : tuple of str
    where, piece : str
        For the errors: whose code it is, and what of (``a window``).
    n_samples : int, optional
        How long they have to be; as long as the first one by default.

    Raises
    ------
    ModelError
        It is something else.
    """
    if not isinstance(found, Mapping) or set(found) != set(stems):
        names = ", ".join(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
        raise ModelError(f"{where}: wrong stems of {piece}: expected {', '.join(stems)}, found {names}")
    arrays: dict[str, Block] = {}
    for stem in stems:
        try:
            array = np.asarray(found[stem])
        except (TypeError, ValueError, RuntimeError):  # ragged lists; tensors on a GPU
            kind = type(found[stem]).__name__
            raise ModelError(f"{where}: {stem} in {piece} is no array: expected floats, found {kind}") from None
        if array.dtype.kind != "f":
            raise ModelError(
                f"{where}: wrong kind of {stem} in {piece}: expected floats of full scale 1.0, found {array.dtype}"
            )
        if n_samples is None and array.ndim == 2:
            n_samples = len(array)
        if array.shape != (n_samples, 2):
            expected = f"({'n_samples' if n_samples is None else n_samples}, 2)"
            raise ModelError(f"{where}: wrong shape of {stem} in {piece}: expected {expected}, found {array.shape}")
        with np.errstate(over="ignore"):  # becomes infinity, which is refused
            arrays[stem] = array.astype(np.float32, copy=False)
        if not np.isfinite(arrays[stem]).all():
            raise ModelError(f"{where}: {stem} is not finite: expected numbers, found NaN or infinity")
    return arrays


def told(error: BaseException) -> str:
    """Return what somebody else's code raised in one line: ``KeyError: 'x'``."""
    return " ".join(f"{type(error).__name__}: {error}".split())
