"""What every way of separating a song has in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

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
