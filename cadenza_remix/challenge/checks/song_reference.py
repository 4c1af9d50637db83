"""What the stems of an entry are compared with when it is checked: the clean stems of a song, prepared once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.resample import resample_samples
from cadenza_remix.audio.signal import EARS, STEM_SAMPLE_RATE, STEMS, Audio
from cadenza_remix.challenge.checks.spectra import Spectra, spectra_of
from cadenza_remix.challenge.naming import channel_name
from cadenza_remix.units import rms

EXCERPT_S = 4.0
SHORTEST_S = 1.0
"""Of less than this, spectra cannot be compared: only silence is looked for."""


@dataclass(frozen=True, eq=False)
class PlausibilityReference:
    """What the stems of a song are compared with, prepared once for all listeners.

    ``stems``: by channel, at 24 kHz and at full length; ``spectra``: (left and right, mixture and four stems, frame,
    bin) of the excerpt that starts at sample ``start``; ``mono``: that excerpt's mixture, for its delay.
    """

    stems: Mapping[str, NDArray[np.float32]]
    mixture_rms: float
    start: int
    mono: NDArray[np.float32]
    spectra: Spectra

    @property
    def is_comparable(self) -> bool:
        return self.mono.size >= SHORTEST_S * STEM_SAMPLE_RATE and bool(self.mono.any())


def prepare_reference(stems: Mapping[str, Audio], mixture: Audio | None = None) -> PlausibilityReference:
    """Prepare the clean stems of a song, cut to what the entry holds.

    Parameters
    ----------
    stems : mapping of str to Audio
        vocals, drums, bass, other, of one length.
    mixture : Audio, optional
        As long as the stems; their sum otherwise.
    """
    at_24k = {stem: _at_24k(audio) for stem, audio in stems.items()}
    mixed = np.asarray(sum(at_24k.values())) if mixture is None else _at_24k(mixture)
    n_samples = min(len(mixed), *(len(samples) for samples in at_24k.values()))
    start = _loudest_start(at_24k, n_samples)
    chosen = slice(start, min(start + int(EXCERPT_S * STEM_SAMPLE_RATE), n_samples))
    signals = [mixed, *(at_24k[stem] for stem in STEMS)]
    spectra = np.stack([[spectra_of(samples[chosen, ear]) for samples in signals] for ear in range(len(EARS))])
    channels = {channel_name(ear, s): at_24k[s][:n_samples, i] for i, ear in enumerate(EARS) for s in STEMS}
    return PlausibilityReference(channels, rms(mixed[:n_samples]), start, mixed[chosen].mean(axis=1), spectra)


def _loudest_start(stems: Mapping[str, NDArray[np.float32]], n_samples: int) -> int:
    """Return where the excerpt starts in which all stems sound most: the largest geometric mean of their energies."""
    width = int(EXCERPT_S * STEM_SAMPLE_RATE)
    if n_samples <= width:
        return 0
    starts = np.arange(0, n_samples - width + 1, STEM_SAMPLE_RATE // 2)
    fit = np.zeros(starts.size)
    for samples in stems.values():
        summed = np.concatenate(([0.0], np.cumsum(np.sum(np.square(samples[:n_samples], dtype=np.float64), axis=1))))
        energy = summed[starts + width] - summed[starts]
        fit += np.log(energy + 1e-6 * summed[-1] + 1e-30)
    return int(starts[fit.argmax()])


def _at_24k(audio: Audio) -> NDArray[np.float32]:
    return np.asarray(resample_samples(audio.stereo().samples, audio.sample_rate, STEM_SAMPLE_RATE), dtype=np.float32)
