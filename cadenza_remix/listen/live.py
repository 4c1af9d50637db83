"""Chains at work while somebody waits: any passage of a remix for any listener, from stems on disk.

The stems of the passage go through the chain with as much before and after as the filters and the compressor reach.
What one pass gives (remix and eight stems) is kept for a little while: whoever hears the remix may next want one of its
stems, or hear it through a simulated loss.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.io import find_audio
from cadenza_remix.audio.resample import resample_samples
from cadenza_remix.audio.signal import EARS, MUSIC_SAMPLE_RATE, Audio
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.listen.passages import read_passage
from cadenza_remix.listen.stamps import file_stamp
from cadenza_remix.remix import Chain, Enhanced, enhance_stems, soft_clip

_GRID = 441
"""The grids of 44.1, 32 and 24 kHz meet every so many samples at 44.1 kHz (10 ms)."""
_FILTERS_REACH_S = 0.3
"""NAL-R, the band-pass's ringing and the resamplers, before and after a passage."""
_TIME_CONSTANTS = 10
"""After so many of its time constants a compressor has forgotten how it began (4.5e-5 of the gain is left)."""
_LONGEST_LEAD_S = 30.0
SIMULATION_REACH = MUSIC_SAMPLE_RATE // 2
"""So many samples before and after a passage a hearing-loss simulator hears as well; they are made in any case."""
_MOST_KEPT = 3
"""Passes; one of a minute is about 60 MB."""


class Passage(Protocol):
    """Gives the samples from ``first`` on, ``n_samples`` of them: float, shape (n_samples, 2), at 44.1 kHz."""

    def __call__(self, first: int, n_samples: int, /) -> NDArray[np.floating]: ...


@dataclass(frozen=True)
class StemFile:
    """A stem on disk: ``path`` without its suffix, or a ``.stem.mp4`` and which of its streams."""

    path: Path
    stream_index: int | None = None

    def passage(self, first: int, n_samples: int, /) -> NDArray[np.float32]:
        """Return samples of it; see `Passage`."""
        return read_passage(self.file(), first, n_samples, stream_index=self.stream_index or 0)

    def file(self) -> Path:
        """Return the file that it is read from now.

        Raises
        ------
        InputError
            There is none of that name.
        """
        return self.path if self.stream_index is not None else find_audio(self.path.parent, self.path.name)

    def state(self) -> Hashable:
        """Return what is another one when the file is replaced."""
        return file_stamp(self.file()), self.stream_index


@dataclass(frozen=True)
class _Pass:
    """What a chain made of the samples from ``begin`` on; good from ``first`` to ``last``, around them it is not."""

    enhanced: Enhanced
    begin: int
    first: int
    last: int


class LiveChains:
    """Chains applied to passages, the last few passes kept; safe to use from several threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, _Pass] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def remix(
        self, stems: Mapping[str, StemFile], listener: Listener, chain: Chain, first: int, n_samples: int
    ) -> NDArray[np.float64]:
        """Return a passage of the remix that a run would have written: softly clipped at its own rate, in 44.1 kHz.

        Parameters
        ----------
        stems : mapping of str to StemFile
            vocals, drums, bass, other.
        listener : Listener
        chain : Chain
        first, n_samples : int
            At 44.1 kHz.

        Returns
        -------
        array of shape (n_samples, 2)

        Raises
        ------
        InputError
            A stem cannot be read.
        """
        made = self._pass(stems, listener, chain, first, n_samples)
        remix = made.enhanced.remix
        return _at_music_rate(soft_clip(remix.samples), remix.sample_rate, first - made.begin, n_samples)

    def stem(
        self, stems: Mapping[str, StemFile], listener: Listener, chain: Chain, channel: str, first: int, n_samples: int
    ) -> NDArray[np.float64]:
        """Return a passage of one enhanced stem, in the channel of its ear; ``channel`` is ``<ear>_<stem>``."""
        made = self._pass(stems, listener, chain, first, n_samples)
        audio = made.enhanced.stems[channel]
        samples = np.zeros((n_samples, 2))
        column = EARS.index(channel.partition("_")[0])
        samples[:, column] = _at_music_rate(audio.samples[:, 0], audio.sample_rate, first - made.begin, n_samples)
        return samples

    def _pass(
        self, stems: Mapping[str, StemFile], listener: Listener, chain: Chain, first: int, n_samples: int
    ) -> _Pass:
        """Return a pass that holds a passage: one that is kept, or a new one."""
        files = tuple((stem, file.state()) for stem, file in stems.items())
        key = (files, listener, repr(chain))
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:  # remix and stems asked for at once are one pass
            kept = self._kept_pass(key, first, first + n_samples)
            if kept is not None:
                return kept
            begin = max(0, first - SIMULATION_REACH)
            try:
                made = _enhanced_around(stems, listener, chain, begin, first + n_samples + SIMULATION_REACH)
                self._keep(key, made)
            finally:
                with self._lock:  # who waits for it still has it
                    self._making.pop(key, None)
            return made

    def _kept_pass(self, key: Hashable, first: int, last: int) -> _Pass | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or first < kept.first or kept.last < last:
                return None
            self._kept.move_to_end(key)
            return kept

    def _keep(self, key: Hashable, made: _Pass) -> None:
        with self._lock:
            self._kept[key] = made
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)


def lead_s(chain: Chain) -> float:
    """Return how long before a passage a chain must begin, so that it is as in the whole song.

    Filters are exact. After ten of its slowest time constants a compressor's gain is within 0.0004 dB; one that takes
    longer than three seconds begins half a minute before and is not as exact.
    """
    if chain.compressor is None:
        return _FILTERS_REACH_S
    slowest_s = max(chain.compressor.attack_ms, chain.compressor.release_ms) / 1000.0
    return _FILTERS_REACH_S + min(_TIME_CONSTANTS * slowest_s + chain.compressor.rms_window_s, _LONGEST_LEAD_S)


def _enhanced_around(stems: Mapping[str, StemFile], listener: Listener, chain: Chain, first: int, last: int) -> _Pass:
    """Enhance a passage with what lies around it."""
    before = round(lead_s(chain) * MUSIC_SAMPLE_RATE)
    begin = max(0, first - before) // _GRID * _GRID
    end = last + round(_FILTERS_REACH_S * MUSIC_SAMPLE_RATE)
    parts = {stem: Audio(file.passage(begin, end - begin), MUSIC_SAMPLE_RATE) for stem, file in stems.items()}
    return _Pass(enhance_stems(parts, listener, chain), begin, first, last)


def _at_music_rate(samples: NDArray[np.floating], rate: int, skipped: int, n_samples: int) -> NDArray[np.float64]:
    resampled = resample_samples(np.asarray(samples, dtype=np.float64), rate, MUSIC_SAMPLE_RATE)
    return resampled[skipped : skipped + n_samples].astype(np.float64, copy=False)
