"""Hear music as a listener with a hearing loss hears it: for people with normal hearing.

Two simulators:

- ``simple``: raised thresholds and loudness recruitment, below.
- ``msbg``: the model of Moore, Stone, Baer and Glasberg as pyclarity has it (extra ``clarity``), which also smears the
  spectrum as the broader filters of an impaired ear do; see `cadenza_remix.hearing.msbg`.

The simple simulator, after Moore & Glasberg (1993) and Nejime & Moore (1997): the sound is split into bands, and the
envelope of each band is raised to a power, so that the sound that this listener only just hears (the hearing level of
the audiogram above the normal threshold) comes out at the normal threshold, and a sound at 100 dB SPL unchanged. What
lies between is expanded: soft sounds vanish, loud ones stay loud. In level, for a band at L dB SPL, with T the normal
threshold in dB SPL (ISO 226:2003), H the hearing level in dB HL and C = 100 dB SPL::

    L' = C - (C - L) * (C - T) / (C - T - H)        for L < C and H > 0, otherwise L' = L

Nothing is ever amplified: 0 dB HL or better gives back what came in. Where the loss leaves less than 15 dB between the
raised threshold and C, C lies 15 dB above that threshold: for a profound loss even 100 dB SPL is soft or unheard.

Left out: the broadening of auditory filters and what follows from it (poorer frequency selectivity, more masking),
dead regions, poorer coding in time, tinnitus, and that the two ears together hear better than one.

Differences from the papers: bands that add up to exactly the input with no delay (cosine slopes on the ERB-number scale
of Glasberg & Moore 1990, half an ERB apart) in place of gammatone filters; the level of a band is taken from a wider
band, so that a tone between two bands counts whole in both; normal thresholds in place of a fixed 0 dB SPL.

Levels: an RMS of 1 in one channel stands for `FULL_SCALE_DB_SPL` at that ear, in both simulators.

References: B. C. J. Moore & B. R. Glasberg, "Simulation of the effects of loudness recruitment and threshold elevation
on the intelligibility of speech in quiet and in a background of speech", J. Acoust. Soc. Am. 94 (1993) 2050-2062.
Y. Nejime & B. C. J. Moore, "Simulation of the effect of threshold elevation and loudness recruitment combined with
reduced frequency selectivity on the intelligibility of speech in noise", J. Acoust. Soc. Am. 102 (1997) 603-615.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from cadenza_remix.audio.signal import EARS, Audio
from cadenza_remix.errors import unknown_name
from cadenza_remix.hearing import msbg
from cadenza_remix.hearing.audiogram import Audiogram, Listener
from cadenza_remix.units import db_spl_of_full_scale, db_to_lin

FULL_SCALE_DB_SPL = db_spl_of_full_scale(float(db_to_lin(-23.0)))
"""The dB SPL of an RMS of 1: 88. A channel with an RMS of -23 dB of full scale plays at 65 dB SPL, the level at which
HAAQI and the challenge present music; the challenge's ``level1`` is this number for a stem of that RMS."""
CATCH_UP_DB_SPL = 100.0
"""Level at which an impaired ear hears as loud as a normal one."""
LEAST_RANGE_DB = 15.0
"""No loss leaves less than this between its threshold and the level at which loudness has caught up."""

# Threshold of hearing, ISO 226:2003 table 1 (free field, both ears): Hz and dB SPL; the end values are held outside.
# fmt: off
_THRESHOLDS = np.array(
    [
        (20, 78.5), (25, 68.7), (31.5, 59.5), (40, 51.1), (50, 44), (63, 37.5), (80, 31.5),
        (100, 26.5), (125, 22.1), (160, 17.9), (200, 14.4), (250, 11.4), (315, 8.6), (400, 6.2),
        (500, 4.4), (630, 3), (800, 2.2), (1000, 2.4), (1250, 3.5), (1600, 1.7), (2000, -1.3),
        (2500, -4.2), (3150, -6), (4000, -5.4), (5000, -1.5), (6300, 6), (8000, 12.6), (10000, 13.9),
        (12500, 12.3),
    ]
)
# fmt: on

_BAND_STEP_ERB = 0.5
_LOWEST_ERB = 1.0
# Envelopes follow changes up to this share of the band's width, and no faster than 75 Hz (as pyclarity's model does).
_ENVELOPE_SHARE, _ENVELOPE_HZ = 0.75, 100.0
# Bands are sampled with room for what the gains add, and for the envelope's square as far as its smoothing lets it by:
# so many times the limit of the envelope, and no more than so many times the band's own width.
_ROOM_HZ, _OVERSAMPLING = 10 * _ENVELOPE_SHARE * _ENVELOPE_HZ, 2.5
# At most so much at once; half a second more at each end only lets the narrowest filters ring out.
_PIECE_S, _MARGIN_S = 8.0, 0.5


def simulator_names() -> tuple[str, ...]:
    """Return what `hear_as` can simulate with here: ``simple``, and ``msbg`` where pyclarity is installed."""
    return ("simple", "msbg") if msbg.is_installed() else ("simple",)


def hear_as(audio: Audio, listener: Listener, *, simulator: str = "simple") -> Audio:
    """Return what gives somebody with normal hearing an idea of how the listener hears the audio.

    Parameters
    ----------
    audio : Audio
        Mono (goes to both ears) or stereo, any rate. An RMS of 1 stands for `FULL_SCALE_DB_SPL`.
    listener : Listener
        The left channel is heard by the left ear.
    simulator : str
        One of `simulator_names`.

    Returns
    -------
    Audio
        Stereo, at the same rate, of the same length and in time.

    Raises
    ------
    InputError
        There is no such simulator.
    MissingDependencyError
        ``msbg`` without pyclarity.

    Examples
    --------
    >>> import numpy as np
    >>> ear = Audiogram([250, 1000, 4000], [0, 40, 70])
    >>> hear_as(Audio(np.zeros((44100, 2)), 44100), Listener("somebody", ear, ear)).n_samples
    44100
    """
    if simulator not in ("simple", "msbg"):
        raise unknown_name("hearing-loss simulator", simulator, simulator_names())
    if simulator == "msbg":
        return msbg.hear_as_msbg(audio, listener, full_scale_db_spl=FULL_SCALE_DB_SPL)
    stereo = audio.stereo()
    heard = [_hear_ear(stereo.samples[:, EARS.index(ear)], listener.ear(ear), audio.sample_rate) for ear in EARS]
    return Audio(np.stack(heard, axis=1), audio.sample_rate, f"{audio.name} as {listener.id} hears it")


def normal_threshold_db_spl(frequencies_hz: ArrayLike) -> NDArray[np.float64]:
    """Return the level in dB SPL at which a tone of each frequency is just heard by a normal ear (0 dB HL)."""
    wanted = np.log(np.asarray(frequencies_hz, dtype=np.float64))
    return np.interp(wanted, np.log(_THRESHOLDS[:, 0]), _THRESHOLDS[:, 1])


@dataclass(frozen=True, eq=False)
class _Band:
    """One band of the filter bank, on the grid of a transform of the whole piece.

    ``first``: the bin at which its bins begin (may be negative: the spectrum is a circle); ``level_weights`` and
    ``sound_weights``: of shape (n_bins,), what is taken to measure the level and what is carried; ``smoothing``: of
    shape (n_bins // 2 + 1,), the response by which the squared envelope is smoothed.
    """

    centre_hz: float
    first: int
    level_weights: NDArray[np.float32]
    sound_weights: NDArray[np.float32]
    smoothing: NDArray[np.float32]


def _hear_ear(samples: NDArray[np.float32], audiogram: Audiogram, sample_rate: int) -> NDArray[np.float32]:
    """Simulate one ear, piece by piece, in memory that does not grow with the length."""
    margin = int(_MARGIN_S * sample_rate)
    n_samples = len(samples)
    n_pieces = math.ceil(n_samples / (_PIECE_S * sample_rate))
    heard = np.empty(n_samples, dtype=np.float32)
    n_piece = scipy.fft.next_fast_len(math.ceil(n_samples / n_pieces) + 2 * margin)
    step = n_piece - 2 * margin
    bands = _bands(n_piece, sample_rate)
    for first in range(0, n_samples, step):
        last = min(first + step, n_samples)
        piece = np.zeros(n_piece, dtype=np.float32)
        begin, end = max(0, first - margin), min(n_samples, last + margin)
        piece[begin - first + margin : end - first + margin] = samples[begin:end]
        heard[first:last] = _hear_piece(piece, bands, audiogram)[margin : margin + last - first]
    return heard


def _hear_piece(piece: NDArray[np.float32], bands: tuple[_Band, ...], audiogram: Audiogram) -> NDArray[np.float32]:
    n_piece = len(piece)
    spectrum = np.zeros(n_piece, dtype=np.complex64)
    half = scipy.fft.rfft(piece)
    spectrum[: len(half)] = 2 * half  # of the analytic signal: its magnitude is the envelope
    spectrum[0] = half[0]
    if n_piece % 2 == 0:
        spectrum[len(half) - 1] = half[-1]
    # What all bands together lack: subtracted from the sound, so that a band with nothing to lose is no work.
    lost = np.zeros(n_piece, dtype=np.complex64)
    for band, (slope, catch_up_db_spl) in zip(bands, _growth(bands, audiogram), strict=True):
        if slope == 1.0:
            continue
        bins = np.arange(band.first, band.first + len(band.level_weights)) % n_piece
        carried = spectrum[bins]
        gain = _gain(scipy.fft.ifft(carried * band.level_weights), band, n_piece, slope, catch_up_db_spl)
        sound = scipy.fft.ifft(carried * band.sound_weights)
        lost[bins] += scipy.fft.fft(sound * (1 - gain))
    return piece - scipy.fft.ifft(lost).real


def _gain(
    analytic: NDArray[np.complex64], band: _Band, n_piece: int, slope: float, catch_up_db_spl: float
) -> NDArray[np.float32]:
    """Return the gain at each moment, at most 1: the band's level over the catch-up level, to the power slope - 1."""
    n_bins = len(analytic)
    # In 64 bits: squares span twice the dB, and what is soft beside something loud must keep its level.
    squares = analytic.real.astype(np.float64) ** 2 + analytic.imag.astype(np.float64) ** 2
    power = scipy.fft.irfft(scipy.fft.rfft(squares) * band.smoothing, n_bins)
    # The mean square of a band is half of its squared envelope; a short transform has the scale of its own length.
    mean_square = np.maximum(power, 0) * (0.5 * (n_bins / n_piece) ** 2)
    catch_up = 10 ** ((catch_up_db_spl - FULL_SCALE_DB_SPL) / 10)
    return (np.minimum(mean_square / catch_up, 1) ** ((slope - 1) / 2)).astype(np.float32)


def _growth(bands: tuple[_Band, ...], audiogram: Audiogram) -> Iterator[tuple[float, float]]:
    """Yield for each band by how many dB the output grows per dB of input, and the level from which both are equal."""
    centres_hz = [band.centre_hz for band in bands]
    losses_db = np.maximum(audiogram.levels_at(centres_hz), 0)
    thresholds_db_spl = normal_threshold_db_spl(centres_hz)
    for loss_db, threshold_db_spl in zip(losses_db, thresholds_db_spl, strict=True):
        catch_up = max(CATCH_UP_DB_SPL, threshold_db_spl + loss_db + LEAST_RANGE_DB)
        yield float((catch_up - threshold_db_spl) / (catch_up - threshold_db_spl - loss_db)), float(catch_up)


@functools.lru_cache(maxsize=4)
def _bands(n_piece: int, sample_rate: int) -> tuple[_Band, ...]:
    """Return bands that add up to one at every frequency from 0 to half the rate."""
    top = float(_erb_number(sample_rate / 2))
    centres = np.arange(_LOWEST_ERB, top, _BAND_STEP_ERB)
    return tuple(_band(float(centre), k, len(centres), n_piece, sample_rate) for k, centre in enumerate(centres))


def _band(centre: float, index: int, n_bands: int, n_piece: int, sample_rate: int) -> _Band:
    bin_hz = sample_rate / n_piece
    # What is carried reaches to the neighbours' centres; the level is measured half a step farther.
    reach = 1.5 * _BAND_STEP_ERB
    low_hz = 0.0 if index == 0 else float(_hz_of_erb_number(centre - reach))
    high_hz = sample_rate / 2 if index == n_bands - 1 else float(_hz_of_erb_number(centre + reach))
    width_hz = high_hz - low_hz
    n_bins = scipy.fft.next_fast_len(int(min(_OVERSAMPLING * width_hz, width_hz + _ROOM_HZ) / bin_hz) + 8)
    first = round((low_hz + high_hz) / 2 / bin_hz) - n_bins // 2
    bins_hz = np.arange(first, first + n_bins) * bin_hz
    inside = (bins_hz >= 0) & (bins_hz <= sample_rate / 2)
    distance = _erb_number(np.where(inside, bins_hz, 0)) - centre
    if index == 0:
        distance = np.maximum(distance, 0)
    if index == n_bands - 1:
        distance = np.minimum(distance, 0)
    steps = np.abs(distance) / _BAND_STEP_ERB
    sound = np.where(inside, _fall(steps), 0)
    level = np.where(inside, _fall(2 * (steps - 1)), 0)
    cutoff_hz = _ENVELOPE_SHARE * min(float(_erb_hz(_hz_of_erb_number(centre))), _ENVELOPE_HZ)
    # Half of the power at the cutoff. A Gaussian is positive in time too: a smoothed envelope stays positive.
    smoothing = np.exp(-0.5 * np.log(2) * (np.arange(n_bins // 2 + 1) * bin_hz / cutoff_hz) ** 2)
    weights = (level.astype(np.float32), sound.astype(np.float32), smoothing.astype(np.float32))
    return _Band(float(_hz_of_erb_number(centre)), first, *weights)


def _fall(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 up to 0 steps, 0 from 1 step on, a cosine between: two of them a step apart add up to one."""
    return 0.5 + 0.5 * np.cos(np.pi * np.clip(steps, 0, 1))


def _erb_number(frequency_hz: ArrayLike) -> NDArray[np.float64]:
    return 21.4 * np.log10(1 + 0.00437 * np.asarray(frequency_hz, dtype=np.float64))


def _hz_of_erb_number(erb_number: ArrayLike) -> NDArray[np.float64]:
    return (np.power(10.0, np.asarray(erb_number, dtype=np.float64) / 21.4) - 1) / 0.00437


def _erb_hz(frequency_hz: ArrayLike) -> NDArray[np.float64]:
    """Return the width of the auditory filter at a frequency (equivalent rectangular bandwidth)."""
    return 24.7 * (1 + 0.00437 * np.asarray(frequency_hz, dtype=np.float64))
