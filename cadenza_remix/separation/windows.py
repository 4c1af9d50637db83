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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from functools import partial
from numbers import Integral

import numpy as np

from cadenza_remix.audio.blocks import Block, BlockSource, StemBlock, checked_blocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import CadenzaError, InputError, ModelError
from cadenza_remix.separation.separator import Progress, check_source_rate, checked_stems, separate_whole, told
from cadenza_remix.separation.stems import Stems

#: From a window of music, (n_samples, 2), to every stem's part of it, each of the same shape.
WindowFunction = Callable[[Block], Mapping[str, Block]]

# To be raised when the same settings come to give other stems, so that kept ones are not taken for them.
_REVISION = 1
# Samples: 13 hours at 44.1 kHz.
_MOST = 1 << 31


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
        bounds = {"length": (1, _MOST), "overlap": (0, _MOST), "context": (0, _MOST)}
        if self.least is not None:
            bounds["least"] = (1, self.length)
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool):
                raise InputError(f"wrong {name}", where="windows", expected="a whole number", found=repr(value))
            n_samples = int(value)
            if not low <= n_samples <= high:
                raise InputError(f"{name} out of range", where="windows", expected=f"{low} to {high}", found=n_samples)
            object.__setattr__(self, name, n_samples)  # NumPy's integers print otherwise, and fingerprints hold these
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
        gives a mapping from the name of each stem to an array of the same shape. It may work in place (what it
        gets is its own), and must not remember anything.
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
        No stems, or two of one name; or one of the others is not what it should be.

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
        _check_facts(
            name, function=separate_window, stems=stems, rate=sample_rate, windows=windows, fingerprint=fingerprint
        )
        self.name = name
        self.stems = tuple(stems)
        self.sample_rate = int(sample_rate)
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
        InputError
            The source is at another rate, or is no music.
        ModelError
            The function fails, or gives something else than the stems of its window.
        """
        check_source_rate(source, self.sample_rate)
        windows = self.windows
        n_total = None if source.duration_s is None else source.duration_s * self.sample_rate
        fading: dict[str, Block] = {}
        n_done = 0
        for samples, n_left in cut(checked_blocks(source), windows):
            found = self._separated(samples)
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

    def _separated(self, samples: Block) -> dict[str, Block]:
        """Return what the function makes of a window, or refuse it."""
        try:
            # A copy, since many functions work in place.
            found = self._separate_window(samples.copy())
            return checked_stems(found, self.stems, where=self.name, piece="a window", n_samples=len(samples))
        except CadenzaError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelError(f"{self.name}: its function failed on a window: {told(error)}") from error


def _check_facts(
    name: object, *, function: object, stems: object, rate: object, windows: object, fingerprint: object
) -> None:
    """Refuse what no separator can be made of."""
    if not _is_text(name):
        raise InputError("wrong name of a separator", expected="some text", found=repr(name))
    wrong = partial(InputError, where=str(name))
    if not callable(function):
        raise wrong("wrong separate_window", expected="a function", found=type(function).__name__)
    if not isinstance(stems, tuple | list) or not all(map(_is_text, stems)):
        raise wrong("stems", expected="a tuple of names", found=repr(stems))
    if not stems or len(set(stems)) != len(stems):
        raise wrong("stems", expected="one or more different names", found=", ".join(stems))
    if not isinstance(rate, Integral) or isinstance(rate, bool) or rate < 1:
        raise wrong("wrong sample_rate", expected="a whole number of Hz", found=repr(rate))
    if not isinstance(windows, Windows):
        raise wrong("wrong windows", expected="Windows(length, overlap)", found=repr(windows))
    if not _is_text(fingerprint):
        raise wrong("wrong fingerprint", expected="some text", found=repr(fingerprint))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


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
