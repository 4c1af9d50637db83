"""The spoken voice made to sing: syllables analysed by WORLD, stretched to notes, on the melody's pitch.

WORLD's analysis (F0: DIO and StoneMask; envelope: CheapTrick; aperiodicity: D4C; M. Morise and others, 2009-2017,
package pyworld) gives the spectra of a spoken syllable. Consonants keep about their length, the middle of the vowel is
held. Formants are moved along frequency, so that one speaker gives many singers; above what the speech holds (8 kHz of
Flite's) the spectra are drawn on.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from cadenza_remix.errors import MissingDependencyError
from cadenza_remix.training.synth.speech import speak, speech_voices
from cadenza_remix.training.synth.voice_phrases import FRAME_RATE, Phrase, Sound
from cadenza_remix.training.synth.voice_render import FREQUENCIES_HZ, PER_DB, Envelopes, higher_resonances_db
from cadenza_remix.training.synth.voice_settings import VoiceSettings
from cadenza_remix.training.synth.voice_words import DIPHTHONGS, PLOSIVES, UNVOICED, VOWELS, parse_syllable

_N_KEPT = 600  # syllables, at about 0.15 MB each
_FFT_LENGTH = 1024
_MARGIN_S = 0.04
_JOIN = 4  # frames to each side over which one syllable passes into the next
_LOG_FLOOR = np.log(1e-5)
# Sibilants of the voices differ wildly in strength: least and greatest level against the vowel, in dB.
_SIBILANTS_DB = {
    "s": (-17.0, -9.0),
    "sh": (-17.0, -9.0),
    "ch": (-19.0, -10.0),
    "jh": (-21.0, -11.0),
    "z": (-22.0, -12.0),
}
# Singing against speaking, above 4 kHz or so; some recordings are duller than others.
_BRIGHTER_DB = {"flite:awb": 17.0, "flite:kal16": 14.0, "flite:rms": 8.0}
_USUALLY_BRIGHTER_DB = 11.0
_SMALLEST_NOISE = 0.015  # share of a vowel's amplitude


@dataclass(frozen=True)
class _Analysis:
    """Spectra of one spoken syllable, a frame each 5 ms.

    Parameters
    ----------
    log_amplitude : array, shape (n_frames, 513), float16
        Natural logarithm; the vowel has a root mean square of about 1.
    aperiodicity : array, shape (n_frames, 513), float16
        Share of noise in the amplitude.
    edges : tuple of float
        In frames: where each sound begins, and where the last ends.
    nyquist_hz : float
        Where the spectra end.
    """

    log_amplitude: NDArray[np.float16]
    aperiodicity: NDArray[np.float16]
    edges: tuple[float, ...]
    nyquist_hz: float


def missing() -> str | None:
    """Say what the engine lacks to work here, or None."""
    if importlib.util.find_spec("pyworld") is None:
        return "the package pyworld"
    if not speech_voices():
        return "a speech synthesiser (the package espeakng-loader, or the programs flite or espeak-ng)"
    return None


def check_usable() -> None:
    """Raise when the engine cannot work here.

    Raises
    ------
    MissingDependencyError
    """
    lacking = missing()
    if lacking is not None:
        raise MissingDependencyError(f"the voice engine 'world' needs {lacking}")


def envelopes(phrase: Phrase, voice: VoiceSettings, rng: np.random.Generator) -> Envelopes:
    """Return the spectral envelopes of a phrase, before loudness and the voice's colour.

    Raises
    ------
    InputError
        When the speech voice is not to be had.
    """
    log_amplitude = np.full((phrase.n_frames, _FFT_LENGTH // 2 + 1), _LOG_FLOOR, dtype=np.float32)
    aperiodicity = np.ones_like(log_amplitude)
    hiss = np.zeros(phrase.n_frames, dtype=bool)
    nyquist_hz = 8000.0
    for sound in phrase.sounds:
        analysis = _analyse(sound.syllable, voice.speech_voice)
        nyquist_hz = analysis.nyquist_hz
        frames, places = _stretched(sound, analysis, phrase.n_frames, sound is phrase.sounds[-1], rng)
        log_amplitude[frames] = _between(analysis.log_amplitude, places)
        aperiodicity[frames] = _between(analysis.aperiodicity, places)
        hiss[frames] = sound.name in UNVOICED
    _join(log_amplitude, phrase)
    if voice.clarity != 1.0:
        smooth = uniform_filter1d(uniform_filter1d(log_amplitude, 61, axis=1), 61, axis=1)
        log_amplitude += np.float32(voice.clarity - 1.0) * (log_amplitude - smooth)
    log_amplitude, aperiodicity = _moved(log_amplitude, aperiodicity, nyquist_hz, voice, hiss)
    amplitude = np.exp(log_amplitude)
    wobble = 1.0 + 0.04 * gaussian_filter1d(rng.standard_normal(phrase.n_frames), 2.0) * np.sqrt(4.0 * np.sqrt(np.pi))
    amplitude *= wobble.astype(np.float32)[:, None]
    noise = amplitude * aperiodicity
    return Envelopes(pulses=np.sqrt(np.maximum(amplitude**2 - noise**2, 0.0)), noise=noise)


@lru_cache(maxsize=_N_KEPT)
def _analyse(syllable: str, speech_voice: str) -> _Analysis:
    """Speak a syllable and analyse it."""
    import pyworld

    speech = speak(syllable, speech_voice)
    rate = speech.sample_rate
    first = max(speech.edges_s[0] - _MARGIN_S, 0.0)
    samples = np.ascontiguousarray(speech.samples[int(first * rate) : int((speech.edges_s[-1] + _MARGIN_S) * rate)])
    # A breath of noise: WORLD takes logarithms, and synthetic speech has true zeros.
    samples = samples + 1e-5 * np.random.default_rng(0).standard_normal(len(samples))
    # DIO takes a twentieth of Harvest's time; what it misses within vowels is filled in below.
    f0, times = pyworld.dio(samples, rate, f0_floor=60.0, f0_ceil=500.0, frame_period=1000.0 / FRAME_RATE)
    f0 = pyworld.stonemask(samples, f0, times, rate)
    power = pyworld.cheaptrick(samples, f0, times, rate, fft_size=_FFT_LENGTH)
    aperiodicity = pyworld.d4c(samples, f0, times, rate, threshold=0.0, fft_size=_FFT_LENGTH)
    edges = tuple((edge - first) * FRAME_RATE for edge in speech.edges_s)
    parsed = parse_syllable(syllable)
    vowel = slice(int(edges[len(parsed.onset)]), max(int(edges[len(parsed.onset) + 1]), 1))
    for place, name in enumerate(parsed.sounds):
        part = slice(int(edges[place]), max(int(edges[place + 1]), int(edges[place]) + 1))
        aperiodicity[part] = _plausible(aperiodicity[part], f0[part] > 0.0, name)
        if name in _SIBILANTS_DB:
            vowel_power = np.median(power[vowel].mean(axis=1))
            level_db = 10.0 * np.log10(power[part].mean() / vowel_power)
            power[part] *= 10.0 ** ((np.clip(level_db, *_SIBILANTS_DB[name]) - level_db) / 10.0)
    aperiodicity = gaussian_filter1d(aperiodicity, 0.7, axis=0, mode="nearest")
    log_amplitude = 0.5 * np.log(np.maximum(power, 1e-20))
    log_amplitude -= 0.5 * np.log(np.median(power[vowel].mean(axis=1)))
    return _Analysis(
        log_amplitude=np.clip(log_amplitude, _LOG_FLOOR, 8.0).astype(np.float16),
        aperiodicity=aperiodicity.astype(np.float16),
        edges=edges,
        nyquist_hz=rate / 2.0,
    )


def _plausible(aperiodicity: NDArray[np.float64], voiced: NDArray[np.bool_], name: str) -> NDArray[np.float64]:
    """Return the aperiodicity of a sound, with what its name tells: no pulses without voice, pulses in each vowel."""
    if name in UNVOICED:
        return np.ones_like(aperiodicity)
    if name in VOWELS and not voiced.all():
        known = (
            np.median(aperiodicity[voiced], axis=0) if voiced.any() else np.linspace(0.05, 0.6, aperiodicity.shape[1])
        )
        aperiodicity = np.where(voiced[:, None], aperiodicity, known)
    return aperiodicity**1.5 if name in VOWELS else aperiodicity  # a singer's vowel is clearer than a speaker's


def _stretched(
    sound: Sound, analysis: _Analysis, n_frames: int, is_last: bool, rng: np.random.Generator
) -> tuple[slice, NDArray[np.float64]]:
    """Return the frames that a sound takes in the phrase, and for each its place in the analysis."""
    first, last = max(round(sound.start * FRAME_RATE), 0), min(round(sound.end * FRAME_RATE), n_frames)
    until = n_frames if is_last else last
    begin, end = analysis.edges[sound.place], analysis.edges[sound.place + 1]
    length, natural = max(last - first, 1), end - begin
    steps = np.clip(np.arange(until - first) + 0.5, 0.0, length)
    if sound.name not in VOWELS or length <= natural:
        return slice(first, until), np.clip(begin + steps * natural / length, 0.0, len(analysis.aperiodicity) - 1.0)
    # The vowel begins and ends as spoken; between, a short stretch of it is gone through slowly, to and fro.
    centre = 0.3 if sound.name in DIPHTHONGS else 0.5
    held = natural * np.array([centre - 0.12, centre + 0.12])
    places = np.interp(steps, [0.0, held[0], length - (natural - held[1]), length], [0.0, held[0], held[1], natural])
    sway = gaussian_filter1d(rng.standard_normal(len(steps)), 15.0, mode="constant") * np.sqrt(30.0 * np.sqrt(np.pi))
    is_held = np.clip((steps - held[0]) / 10.0, 0.0, 1.0) * np.clip(
        (length - natural + held[1] - steps) / 10.0, 0.0, 1.0
    )
    places = begin + np.clip(places + 0.05 * natural * sway * is_held, 0.0, natural)
    return slice(first, until), np.clip(places, 0.0, len(analysis.aperiodicity) - 1.0)


def _between(spectra: NDArray[np.float16], places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return spectra between frames."""
    lower = np.minimum(places.astype(int), len(spectra) - 2)
    share = (places - lower).astype(np.float32)[:, None]
    return spectra[lower].astype(np.float32) * (1.0 - share) + spectra[lower + 1].astype(np.float32) * share


def _join(log_amplitude: NDArray[np.float32], phrase: Phrase) -> None:
    """Let voiced sounds of two syllables pass into each other."""
    for before, after in pairwise(phrase.sounds):
        hard = UNVOICED | PLOSIVES
        if before.name in hard or after.name in hard or after.place > 0 or after.start - before.end > 1e-6:
            continue
        edge = round(after.start * FRAME_RATE)
        first, last = edge - _JOIN, edge + _JOIN
        if first >= 0 and last < len(log_amplitude):
            share = np.linspace(0.0, 1.0, last - first + 1, dtype=np.float32)[:, None]
            log_amplitude[first : last + 1] = (1.0 - share) * log_amplitude[first] + share * log_amplitude[last]


def _moved(
    log_amplitude: NDArray[np.float32],
    aperiodicity: NDArray[np.float32],
    nyquist_hz: float,
    voice: VoiceSettings,
    hiss: NDArray[np.bool_],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Move the formants and bring spectra to the bins of 44.1 kHz, drawn on above where the speech ends."""
    n_bins, scale = log_amplitude.shape[1], voice.formant_scale
    places = np.minimum(FREQUENCIES_HZ / scale / nyquist_hz * (n_bins - 1), n_bins - 1.001)
    lower = places.astype(int)
    share = (places - lower).astype(np.float32)
    moved = log_amplitude[:, lower] * (1.0 - share) + log_amplitude[:, lower + 1] * share
    noise = aperiodicity[:, lower] * (1.0 - share) + aperiodicity[:, lower + 1] * share
    top = 0.8 * nyquist_hz * scale  # the voices' own filters begin here
    octaves = np.log2(np.maximum(FREQUENCIES_HZ, 20.0) / top).astype(np.float32)
    is_near = (octaves > -0.35) & (octaves < 0.0)
    level = moved[:, is_near].mean(axis=1, keepdims=True)
    level = gaussian_filter1d(level, 1.0, axis=0)
    # Voice falls on; sibilants stay until 12 kHz or so, where the cavity before the teeth ends.
    slope_db = np.where(hiss, -3.0, -6.0).astype(np.float32)[:, None]
    end = np.maximum(np.log2(np.maximum(FREQUENCIES_HZ, 20.0) / 12000.0), 0.0).astype(np.float32)
    drawn = level + np.float32(PER_DB) * (slope_db * octaves - 30.0 * end)
    weight = np.clip((octaves + 0.12) / 0.12, 0.0, 1.0)
    moved = moved * (1.0 - weight) + drawn * weight
    shelf = _BRIGHTER_DB.get(voice.speech_voice, _USUALLY_BRIGHTER_DB) / (
        1.0 + (4000.0 / np.maximum(FREQUENCIES_HZ, 1.0)) ** 4
    )
    moved += (PER_DB * (shelf + higher_resonances_db(scale))).astype(np.float32)
    moved = np.maximum(moved, np.float32(_LOG_FLOOR))
    # Harmonics are heard up to 10 kHz and more, ever more covered by noise.
    rising = np.clip(0.25 + 0.3 * octaves, 0.0, 0.9)
    is_noise = (hiss | (aperiodicity[:, 1 : n_bins // 2].mean(axis=1) > 0.95))[:, None]
    noise = np.where(is_noise, 1.0, noise * (1.0 - weight) + rising * weight)
    return moved, np.clip(noise, _SMALLEST_NOISE, 1.0)
