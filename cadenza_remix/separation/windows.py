"""Any model that takes a short excerpt, on songs of any length: overlapping windows, faded into each other.

Windows of one length begin at fixed places, ``0, hop, 2 hop, ...`` with ``hop = length - overlap``. Where two of them
overlap, the earlier one fades out along a straight line while the later one fades in; the two gains sum to one, since
the estimates of one stem are equal in phase. Nothing else is faded: the song begins with the first window as it is and
ends with the last. Behind the end of the song the last window is filled up with zeros.

Few packages do quite this. Demucs 4 weights whole windows by triangles and divides by the sum of the weights, and
fills its last window up with what lies before it; torchaudio's tutorial and the First Cadenza Challenge's baseline
fade at the outer ends of the windows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass

import numpy as np

from cadenza_remix.audio.blocks import Block, BlockSource, StemBlock
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError, ModelError
from cadenza_remix.separation.separator import Progress, check_source_rate, separate_whole
from cadenza_remix.separation.stems import Stems

#: From a window of music, (n_samples, 2), to every stem's part of it, each of the same shape.
WindowFunction = Callable[[Block], Mapping[str, Block]]

# To be raised when the same settings come to give other stems, so that kept ones are not taken for them.
_REVISION = 1


@dataclass(frozen=True)
class Windows:
    """How a song is cut.

    Parameters
    ----------
    length : int
        Of a window, in samples.
    overlap : int
        What two neighbours have in common, in samples: the length of the fade. At most half of the length.
    context : int
        Samples that the model sees besides at both sides of a window, and whose separation is thrown away. Outside
        the song they are zeros.
    least : int, optional
        The fewest samples that the model takes in place of a whole window. The last window of a song is filled up with
        zeros to that length only; to its whole length by default.

    Raises
    ------
    InputError
        The numbers make no sense.

    Examples
    --------
    >>> Windows(length=441_000, overlap=44_100).hop
    396900
    """

    length: int
    overlap: int
    context: int = 0
    least: int | None = None

    def __post_init__(self) -> None:
        bounds = {"length": (1, math.inf), "overlap": (0, math.inf), "context": (0, math.inf)}
        if self.least is not None:
            bounds["least"] = (1, self.length)
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if value != int(value) or not low <= value <= high:
                expected = f"{low} or more" if math.isinf(high) else f"{low} to {high}"
                raise InputError(f"{name} out of range", where="windows", expected=expected, found=value)
        if 2 * self.overlap > self.length:
            # Otherwise three windows would meet, whose gains do not sum to one.
            raise InputError(
                "overlap too long", where="windows", expected=f"at most half of {self.length}", found=self.overlap
            )

    @property
    def hop(self) -> int:
        """Samples from the beginning of one window to that of the next."""
        return self.length - self.overlap

    @property
    def n_seen(self) -> int:
        """Samples that the model sees at once."""
        return self.length + 2 * self.context


class WindowedSeparator:
    """A separator made of a function that separates one window.

    Parameters
    ----------
    name : str
        As it is asked for.
    separate_window : callable
        Takes ``windows.n_seen`` samples of music (fewer only with ``windows.least``), float32 (n_samples, 2), and
        gives a mapping from the name of each stem to an array of the same shape. It must not change its input, and
        must not remember anything.
    stems : tuple of str
        What it gives.
    sample_rate : int
        In Hz.
    windows : Windows
        How songs are cut.
    fingerprint : str
        Any text that changes whenever the function comes to give something else: a version, a checksum of weights. It
        is hashed together with the windows.
    private_data : bool, optional
        Whether unpublished songs were among the training data; for the rules of challenges. None where nobody knows.
    training_data : str
        A line that says what it was trained on.
    device : str
        What it runs on, for messages.

    Raises
    ------
    InputError
        No stems, or two of one name.

    Examples
    --------
    >>> halves = WindowedSeparator(
    ...     "halves",
    ...     lambda samples: {"vocals": 0.5 * samples, "accompaniment": 0.5 * samples},
    ...     stems=("vocals", "accompaniment"),
    ...     sample_rate=44_100,
    ...     windows=Windows(length=1000, overlap=100),
    ...     fingerprint="1",
    ... )
    >>> float(halves.separate(Audio(np.ones(2500), 44_100))["vocals"].samples.min())
    0.5
    """

    def __init__(
        self,
        name: str,
        separate_window: WindowFunction,
        *,
        stems: tuple[str, ...],
        sample_rate: int,
        windows: Windows,
        fingerprint: str,
        private_data: bool | None = None,
        training_data: str = "",
        device: str = "CPU",
    ) -> None:
        if not stems or len(set(stems)) != len(stems):
            raise InputError("stems", where=name, expected="one or more different names", found=", ".join(stems))
        self.name = name
        self.stems = tuple(stems)
        self.sample_rate = sample_rate
        self.windows = windows
        self.private_data = private_data
        self.training_data = training_data
        self.device = device
        whole = f"{_REVISION} {name} {astuple(windows)} {fingerprint}"
        self.fingerprint = hashlib.sha256(whole.encode()).hexdigest()[:16]
        self._separate_window = separate_window

    def separate(self, audio: Audio, *, progress: Progress | None = None) -> Stems:
        """Separate one song; see `cadenza_remix.separation.separator.Separator.separate`."""
        return separate_whole(self, audio, progress=progress)

    def separate_blocks(self, source: BlockSource, *, progress: Progress | None = None) -> Iterator[StemBlock]:
        """Separate block by block; see `cadenza_remix.separation.separator.Separator.separate_blocks`.

        At any time one window and its stems are in memory. How the source is cut makes no difference to the output.

        Raises
        ------
        ModelError
            The function gives something else than the stems of its window.
        """
        check_source_rate(source, self.sample_rate)
        windows = self.windows
        n_total = None if source.duration_s is None else source.duration_s * self.sample_rate
        fading: dict[str, Block] = {}
        n_done = 0
        for samples, n_left in cut(source.blocks(), windows):
            found = self._checked(self._separate_window(samples), len(samples))
            inside = slice(windows.context, len(samples) - windows.context)
            parts = {stem: found[stem][inside] for stem in self.stems}
            if fading:
                parts = {stem: _fade_in(fading[stem], part) for stem, part in parts.items()}
            n_ready = windows.hop if n_left is None else n_left
            fading = {stem: part[windows.hop :].copy() for stem, part in parts.items()}
            yield {stem: part[:n_ready] for stem, part in parts.items()}
            n_done += n_ready
            if progress is not None and n_left is not None:
                progress(1.0)
            elif progress is not None and n_total:
                progress(min(1.0, n_done / n_total))

    def _checked(self, found: Mapping[str, Block], n_samples: int) -> dict[str, Block]:
        """Return what the function gave as float32 arrays, or refuse it."""
        if not isinstance(found, Mapping) or set(found) != set(self.stems):
            names = ", ".join(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
            raise ModelError(f"{self.name}: wrong stems of a window: expected {', '.join(self.stems)}, found {names}")
        arrays = {stem: np.asarray(found[stem], dtype=np.float32) for stem in self.stems}
        for stem, array in arrays.items():
            if array.shape != (n_samples, 2):
                raise ModelError(
                    f"{self.name}: wrong shape of {stem} in a window: expected {(n_samples, 2)}, found {array.shape}"
                )
            if not np.isfinite(array).all():
                raise ModelError(f"{self.name}: {stem} is not finite: expected numbers, found NaN or infinity")
        return arrays


def cut(blocks: Iterable[Block], windows: Windows) -> Iterator[tuple[Block, int | None]]:
    """Cut music into windows with their context.

    Parameters
    ----------
    blocks : iterable of arrays of shape (n_samples, 2)
        The music, in pieces of any length.
    windows : Windows

    Yields
    ------
    samples : array of shape (windows.n_seen, 2)
        A window with its context; zeros where there is no music. Shorter only with ``windows.least``. Read-only.
    n_left : int or None
        In the last window, how many samples of the song are in it (without the context), from its beginning on; None
        in all others.
    """
    # What is still needed, from the next window's context on; the song begins behind a context of silence.
    held = [np.zeros((windows.context, 2), dtype=np.float32)]
    n_held = windows.context
    # One sample more than a window has, so that the last one is known for what it is.
    n_wanted = windows.context + windows.length + max(windows.context, 1)
    n_song = 0
    for piece in _small(blocks, windows.length):
        held.append(piece)
        n_held += len(piece)
        n_song += len(piece)
        if n_held < n_wanted:
            continue
        music = np.concatenate(held)
        first = 0
        while len(music) - first >= n_wanted:
            yield _frozen(music[first : first + windows.n_seen]), None
            first += windows.hop
        held = [music[first:].copy()]
        n_held = len(held[0])
    if n_song == 0:
        return
    music = np.concatenate(held)
    # What has not filled a window and its context: one window, or more where the context holds whole hops.
    while True:
        n_left = len(music) - windows.context
        is_last = n_left <= windows.length
        n_inside = max(n_left, windows.least or windows.length) if is_last else windows.length
        seen = np.zeros((n_inside + 2 * windows.context, 2), dtype=np.float32)
        seen[: len(music)] = music[: len(seen)]
        yield _frozen(seen), n_left if is_last else None
        if is_last:
            return
        music = music[windows.hop :]


def _small(blocks: Iterable[Block], most: int) -> Iterator[Block]:
    """Cut long blocks, so that a song given as one block is not copied as a whole."""
    for block in blocks:
        for first in range(0, len(block), most):
            yield block[first : first + most]


def _frozen(samples: Block) -> Block:
    view = samples.view()
    view.flags.writeable = False
    return view


def _fade_in(before: Block, window: Block) -> Block:
    """Return the window with its beginning faded in from what the window before gave there."""
    if not len(before):
        return window
    # The middles of the samples' intervals: no sample belongs wholly to one side, and the ramp is its own mirror.
    gain = ((np.arange(len(before), dtype=np.float32) + 0.5) / np.float32(len(before)))[:, np.newaxis]
    faded = window.copy()
    # Written so that equal signals stay exactly what they are.
    faded[: len(before)] = before + gain * (window[: len(before)] - before)
    return faded
