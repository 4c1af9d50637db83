"""The synthetic band's singing voice: notes with syllables in, samples out.

Two engines make the spectra of speech sounds: "formant" from tables, "world" from speech analysed by the WORLD vocoder.
Melody, phrasing and colour are the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.training.synth.voice_formant import envelopes as formant_envelopes
from cadenza_remix.training.synth.voice_ornaments import ornamented
from cadenza_remix.training.synth.voice_phrases import Phrase, phrases_of
from cadenza_remix.training.synth.voice_render import FREQUENCIES_HZ, Envelopes, Unevenness, render
from cadenza_remix.training.synth.voice_settings import (
    ENGINES,
    SAMPLE_RATE,
    SungNote,
    VoiceSettings,
    melody_of,
    random_settings,
)
from cadenza_remix.training.synth.voice_words import CALLS, MELISMA, WORDS, lyrics, random_words

__all__ = [
    "CALLS",
    "MELISMA",
    "SAMPLE_RATE",
    "WORDS",
    "SungNote",
    "VoiceSettings",
    "available_engines",
    "lyrics",
    "ornamented",
    "random_voice",
    "random_words",
    "sing",
]

_PEAK = 0.5
_WORLD_SHARE = 0.75  # of voices by chance, where both engines are at hand


def available_engines() -> tuple[str, ...]:
    """Return the engines that can sing here: "formant" always, "world" with pyworld and a speech synthesiser."""
    from cadenza_remix.training.synth.voice_world import missing

    return ENGINES if missing() is None else ("formant",)


def random_voice(rng: np.random.Generator, *, engines: Sequence[str] = ("formant",)) -> VoiceSettings:
    """Return a voice by chance; its `low_pitch` and `high_pitch` say what melody suits it.

    Parameters
    ----------
    rng : numpy.random.Generator
    engines : sequence of str
        To choose from; `available_engines()` for all that are at hand.

    Raises
    ------
    InputError
        When there is none, or one that does not exist.
    MissingDependencyError
        When one cannot be used here.
    """
    if not engines:
        raise InputError("no engine to choose from", where="engines", expected="one or more of " + ", ".join(ENGINES))
    for name in engines:
        if name not in ENGINES:
            raise unknown_name("voice engine", name, ENGINES, where="engines")
    takes_world = "world" in engines and ("formant" not in engines or rng.random() < _WORLD_SHARE)
    if not takes_world:
        return random_settings(rng, engine="formant", speech_voice="", is_female=None)
    from cadenza_remix.training.synth.speech import random_speech_voice
    from cadenza_remix.training.synth.voice_world import check_usable

    check_usable()
    speech_voice = random_speech_voice(rng)
    return random_settings(rng, engine="world", speech_voice=speech_voice.name, is_female=speech_voice.is_female)


def sing(
    notes: Sequence[SungNote], voice: VoiceSettings, *, n_samples: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Sing a melody.

    Parameters
    ----------
    notes : sequence of SungNote
        In any order; a note that goes on into the next is cut there. Rests of 0.25 s or more begin a new phrase.
    voice : VoiceSettings
    n_samples : int
        Length of the result; what is sung beyond is cut.
    rng : numpy.random.Generator
        The same generator state gives the same samples.

    Returns
    -------
    array, shape (n_samples,), float32
        At 44.1 kHz, with a peak of 0.5; zeros where nothing is sung.

    Raises
    ------
    InputError
        When two notes begin together, or `n_samples` is negative.
    MissingDependencyError
        When the voice needs what is not installed.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> notes = [SungNote(0.5, 0.4, 57, "l-ah"), SungNote(0.9, 1.0, 60, "l-aa")]
    >>> sing(notes, VoiceSettings(), n_samples=2 * SAMPLE_RATE, rng=rng).shape
    (88200,)
    """
    if n_samples < 0:
        raise InputError("not a number of samples", where="n_samples", expected=">= 0", found=n_samples)
    samples = np.zeros(n_samples, dtype=np.float32)
    for phrase in phrases_of(melody_of(notes), voice, rng):
        sung = _sing_phrase(phrase, voice, rng)
        begin, end = max(phrase.start, 0), min(phrase.start + len(sung), n_samples)
        if begin < end:
            samples[begin:end] += sung[begin - phrase.start : end - phrase.start]
    peak = float(np.max(np.abs(samples), initial=0.0))
    return samples * np.float32(_PEAK / peak) if peak > 0.0 else samples


def _sing_phrase(phrase: Phrase, voice: VoiceSettings, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the samples of one phrase."""
    if voice.engine == "world":
        from cadenza_remix.training.synth.voice_world import check_usable, envelopes

        check_usable()
        plain = envelopes(phrase, voice, rng)
    else:
        plain = formant_envelopes(phrase, voice, rng)
    unevenness = Unevenness(
        jitter=voice.jitter + 0.012 * voice.roughness,
        shimmer=0.03 + 0.15 * voice.roughness,
        doubling=0.45 * max(voice.roughness - 0.3, 0.0),
    )
    samples = render(_coloured(plain, phrase, voice), phrase.f0, unevenness, rng)
    if voice.roughness > 0.2:  # an overdriven throat
        drive = 1.0 + 5.0 * voice.roughness
        peak = float(np.max(np.abs(samples), initial=1e-9))
        samples = np.tanh(drive / peak * samples) * np.float32(peak / np.tanh(drive))
    rumble = butter(2, 70.0, "highpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(rumble, samples), dtype=np.float32)


def _coloured(plain: Envelopes, phrase: Phrase, voice: VoiceSettings) -> Envelopes:
    """Give the envelopes their loudness and the voice's effort and breath."""
    gain = phrase.gain.astype(np.float32)[:, None]
    # Louder is brighter, and so is a belting voice: dB an octave around 1 kHz.
    level_db = 20.0 * np.log10(np.maximum(phrase.gain, 1e-3))
    slope_db = 5.0 * (voice.effort - 0.5) + 0.12 * np.clip(level_db + 6.0, -20.0, 6.0)
    octaves = np.clip(np.log2(np.maximum(FREQUENCIES_HZ, 20.0) / 1000.0), -3.0, 2.5)
    tilt = np.exp(np.outer(slope_db * (np.log(10.0) / 20.0), octaves).astype(np.float32))
    whisper = np.float32(np.cos(0.5 * np.pi * voice.breathiness**3))
    pulses = plain.pulses * tilt * gain * whisper
    # Breath through the tract: noise in the shape of the vowel, lifted towards high frequencies.
    lift = np.minimum(FREQUENCIES_HZ / 2500.0, 2.0).astype(np.float32)
    breath = np.float32(0.012 + 0.45 * voice.breathiness**2) * lift * plain.pulses
    noise = np.hypot(plain.noise, breath) * gain
    if phrase.breath.any():
        shape = _breath_shape(voice.formant_scale).astype(np.float32)
        noise = np.hypot(noise, np.outer(phrase.breath, shape).astype(np.float32))
    return Envelopes(pulses=pulses, noise=noise)


def _breath_shape(formant_scale: float) -> NDArray[np.float64]:
    """Return the amplitude spectrum of breathing in: broad, with the resonances of an open mouth."""
    shape = np.full(len(FREQUENCIES_HZ), 0.1)
    for centre, width, level in (
        (600, 0.5, 0.5),
        (1500, 0.4, 1.0),
        (2600, 0.3, 0.8),
        (4200, 0.5, 0.5),
        (8000, 0.6, 0.3),
    ):
        octaves = np.log2(np.maximum(FREQUENCIES_HZ, 20.0) / (centre * formant_scale))
        shape += level * np.exp(-0.5 * (octaves / width) ** 2)
    shape /= 1.0 + (FREQUENCIES_HZ / 9000.0) ** 4
    return shape / np.sqrt(np.mean(shape**2))
