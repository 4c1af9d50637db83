"""Drums, bass and other out of an accompaniment, without any training: what stands in for a network that is not there.

In a spectrogram a sustained note is a line along time and a hit a line along frequency. Medians along the two axes
keep the one and lose the other, and the ratio of their squares is a soft mask (D. FitzGerald, "Harmonic/percussive
separation using median filtering", DAFx 2010). The percussive part is taken for the drums; the rest is parted at a
crossover frequency into bass and other. The three masks sum to one, so that the three stems sum to what was split.

Measured as a plain energy ratio (dB) behind the vocals of ``spleeter:2stems`` on the excerpt of MUSDB18 that the
package stempeg ships: drums 3.9, bass 2.2, other 2.1 with the settings below. Filters from 0.3 to 0.6 s and from 120
to 190 Hz, exponents from 1 to 2 and crossovers from 200 to 350 Hz give 3.4-4.6 / 1.9-2.8 / 1.8-2.6 there, and four
electronic songs prefer now the one, now the other: the settings are round numbers from the middle, not the best fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.blocks import Block, BlockSource, StemBlock
from cadenza_remix.audio.signal import STEMS, Audio
from cadenza_remix.errors import InputError
from cadenza_remix.separation.frames import FramePiece, FrameReader, stitched
from cadenza_remix.separation.separator import Progress, Separator, device_of, separate_whole
from cadenza_remix.separation.stems import Stems
from cadenza_remix.separation.stft import Stft

PERCUSSIVE_STEMS = ("drums", "bass", "other")
_BLOCK = 128  # frames at a time; the medians look at copies of their windows, 17 times as large
_FLOOR = 1e-12
# To be raised when the same settings come to give other stems, so that kept ones are not taken for them.
_REVISION = 2


@dataclass(frozen=True)
class HpssSettings:
    """How an accompaniment is split.

    Parameters
    ----------
    frame_length, hop_length : int
        Of the spectrogram, in samples.
    time_median_s : float
        Length of the median along time: about as long as a note, much longer than a hit.
    frequency_median_hz : float
        Length of the median along frequency: wider than a partial, narrower than the noise of a hit.
    crossover_hz, crossover_order : float
        Where the harmonic part is parted into bass and other, and the order of the Butterworth response that does it.
    share_of_whole : float
        How much of what was split is mixed back into bass and other, which then sum to more than it: HAAQI rates holes
        as low as leaks (`cadenza_remix.separation.networks.refine`).
    """

    frame_length: int = 4096
    hop_length: int = 1024
    time_median_s: float = 0.4
    frequency_median_hz: float = 183.0
    crossover_hz: float = 250.0
    crossover_order: int = 2
    share_of_whole: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.share_of_whole <= 1:
            raise InputError(
                "setting out of range", where="share_of_whole", expected="0 to 1", found=self.share_of_whole
            )
        for name in ("time_median_s", "frequency_median_hz", "crossover_hz", "crossover_order"):
            if not getattr(self, name) > 0:
                raise InputError("setting out of range", where=name, expected="more than 0", found=getattr(self, name))


#: The settings of ``--refine haaqi``, chosen by ``evaluation/refine_gain.py``.
REFINED = HpssSettings(share_of_whole=0.25)


class HpssSeparator:
    """Vocals by a separator, and the rest of the song split into drums, bass and other: four stems from two.

    Parameters
    ----------
    vocals_separator : Separator
        Has a stem named vocals; its other stems together are what is split. They should hold all that is not vocals: a
        network whose band ends at 11 kHz gives what lies above, the cymbals, to no stem, unless it is asked to
        (``high_band="residual"``). The four stems then sum to the song.
    settings : HpssSettings, optional
    """

    def __init__(self, vocals_separator: Separator, settings: HpssSettings | None = None) -> None:
        if "vocals" not in vocals_separator.stems:
            raise InputError(
                "separator gives no vocals",
                where=vocals_separator.name,
                expected="a stem named vocals",
                found=", ".join(vocals_separator.stems),
            )
        self._vocals_separator = vocals_separator
        self._settings = settings or HpssSettings()
        self.name = f"{vocals_separator.name}+hpss"
        self.stems = STEMS
        self.sample_rate = vocals_separator.sample_rate
        settings_text = repr(sorted(asdict(self._settings).items()))
        whole = f"{_REVISION} {vocals_separator.fingerprint} {settings_text}"
        self.fingerprint = hashlib.sha256(whole.encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"HpssSeparator({self._vocals_separator!r})"

    @property
    def device(self) -> str:
        """What the network for the vocals runs on."""
        return device_of(self._vocals_separator)

    def separate(self, audio: Audio, *, progress: Progress | None = None) -> Stems:
        """Separate one song; see `cadenza_remix.separation.separator.Separator.separate`."""
        return separate_whole(self, audio, progress=progress)

    def separate_blocks(self, source: BlockSource, *, progress: Progress | None = None) -> Iterator[StemBlock]:
        """Separate block by block; see `cadenza_remix.separation.separator.Separator.separate_blocks`."""
        waiting: list[Block] = []  # vocals whose rest is still being split

        def rest() -> Iterator[Block]:
            for block in self._vocals_separator.separate_blocks(source, progress=progress):
                waiting.append(block["vocals"])
                yield np.sum([samples for stem, samples in block.items() if stem != "vocals"], axis=0)

        for parts in split_blocks(rest(), self._settings, self.sample_rate):
            yield {"vocals": _take(waiting, len(parts["drums"])), **parts}


def split_accompaniment(audio: Audio, settings: HpssSettings | None = None) -> Stems:
    """Split music without vocals into drums, bass and other, which sum to it.

    Parameters
    ----------
    audio : Audio
        Mono or stereo, any rate.
    settings : HpssSettings, optional

    Returns
    -------
    Stems
        drums, bass, other.
    """
    pieces = list(split_blocks([audio.stereo().samples], settings or HpssSettings(), audio.sample_rate))
    return Stems(
        {
            stem: Audio(np.concatenate([piece[stem] for piece in pieces]), audio.sample_rate, f"{audio.name} ({stem})")
            for stem in PERCUSSIVE_STEMS
        }
    )


def split_blocks(blocks: Iterable[Block], settings: HpssSettings, sample_rate: int) -> Iterator[StemBlock]:
    """Split music without vocals block by block; see `split_accompaniment`."""
    stft = Stft(settings.frame_length, settings.hop_length)
    low_pass = _low_pass(settings, stft, sample_rate)
    n_times, n_bins = _median_lengths(settings, sample_rate)
    # The median along time looks at the frames around the block as well.
    reader = FrameReader(blocks, stft, n_frames=_BLOCK, n_context=n_times // 2)

    def split(piece: FramePiece) -> NDArray[np.float32]:
        spectra = stft.analyse(piece.samples)
        inside = slice(piece.n_before, piece.n_before + piece.last - piece.first)
        drums = _percussive_mask(spectra, n_times, n_bins)[inside]
        spectra = spectra[:, inside]
        harmonic = spectra * (1.0 - drums)
        bass = harmonic * low_pass
        other = harmonic - bass
        if settings.share_of_whole:
            whole = np.float32(settings.share_of_whole) * spectra
            bass, other = (whole + np.float32(1.0 - settings.share_of_whole) * part for part in (bass, other))
        return np.stack([stft.synthesise(part) for part in (spectra * drums, bass, other)])

    for parts in stitched(map(split, reader), reader, stft):
        yield {stem: part.T for stem, part in zip(PERCUSSIVE_STEMS, parts, strict=True)}


def _take(blocks: list[Block], n_samples: int) -> Block:
    """Take so many samples from the front of a queue of blocks."""
    taken: list[Block] = []
    while n_samples:
        first = blocks.pop(0)
        taken.append(first[:n_samples])
        if len(first) > n_samples:
            blocks.insert(0, first[n_samples:])
        n_samples -= len(taken[-1])
    return taken[0] if len(taken) == 1 else np.concatenate(taken)


def _percussive_mask(spectra: NDArray[np.complex64], n_times: int, n_bins: int) -> NDArray[np.float32]:
    """Return one mask (n_frames, n_bins) for both channels, so that no stem moves between the ears."""
    power = np.square(spectra.real) + np.square(spectra.imag)
    magnitude = np.sqrt(power.mean(axis=0))
    harmonic = np.square(_median(magnitude, n_times, axis=0))
    percussive = np.square(_median(magnitude, n_bins, axis=1))
    return np.asarray((percussive + 0.5 * _FLOOR) / (percussive + harmonic + _FLOOR), dtype=np.float32)


def _median(values: NDArray[np.float32], length: int, *, axis: int) -> NDArray[np.float32]:
    """Return the running median of an odd length, four times as fast as scipy.ndimage's.

    The edges are mirrored about the first and the last value, as the spectrum of a real signal is about 0 Hz.
    """
    half = length // 2
    padding = [(half, half) if index == axis else (0, 0) for index in range(values.ndim)]
    padded = np.pad(values, padding, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, length, axis=axis)
    middle: NDArray[np.float32] = np.partition(windows, half, axis=-1)[..., half]
    return middle


def _median_lengths(settings: HpssSettings, sample_rate: int) -> tuple[int, int]:
    n_times = _odd(settings.time_median_s * sample_rate / settings.hop_length)
    n_bins = _odd(settings.frequency_median_hz * settings.frame_length / sample_rate)
    return n_times, n_bins


def _odd(length: float) -> int:
    """Return the nearest odd whole number, at least 1."""
    return max(1, 2 * round((length - 1) / 2) + 1)


def _low_pass(settings: HpssSettings, stft: Stft, sample_rate: int) -> NDArray[np.float32]:
    """Return the share of each bin that is bass: the power response of a Butterworth low-pass."""
    frequencies = np.fft.rfftfreq(settings.frame_length, 1.0 / sample_rate)
    response = 1.0 / (1.0 + (frequencies / settings.crossover_hz) ** (2 * settings.crossover_order))
    return response.astype(np.float32)
