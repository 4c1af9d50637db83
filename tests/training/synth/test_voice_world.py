"""The voice that sings by WORLD from synthetic speech (packages pyworld and espeakng-loader)."""

import time

import numpy as np
import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.training.synth.speech import random_speech_voice, speak, speech_voices
from cadenza_remix.training.synth.voice import (
    CALLS,
    SAMPLE_RATE,
    WORDS,
    SungNote,
    VoiceSettings,
    available_engines,
    random_voice,
    sing,
)
from cadenza_remix.training.synth.voice_words import parse_syllable

pytestmark = pytest.mark.world

SYLLABLES = sorted({s for syllables in WORDS.values() for s in syllables} | set(CALLS))


def a_voice(**settings):
    straight = {"vibrato_cents": 0.0, "scoops": 0.0, "drift_cents": 1.0, "breaths": 0.0}
    return VoiceSettings(engine="world", speech_voice="espeak:m3", **(straight | settings))


def sung(notes, voice, *, seconds=1.6, seed=1):
    return sing(notes, voice, n_samples=round(seconds * SAMPLE_RATE), rng=np.random.default_rng(seed))


def part(samples, start_s, end_s):
    return samples[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]


def share_above(samples, frequency_hz):
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(power[int(frequency_hz * len(samples) / SAMPLE_RATE) :].sum() / max(power.sum(), 1e-20))


def test_engine_and_voices_are_there():
    assert available_engines() == ("formant", "world")
    names = {voice.name for voice in speech_voices()}
    assert {"espeak:f1", "espeak:m1"} <= names
    assert random_speech_voice(np.random.default_rng(0)).name in names


@pytest.mark.parametrize(("voice", "first"), [("espeak:f3", 0), ("espeak:m7", 1), ("espeak:klatt4", 2)])
def test_syllables_can_be_spoken(voice, first):
    for syllable in SYLLABLES[first::6]:
        speech = speak(syllable, voice)
        assert len(speech.edges_s) == len(parse_syllable(syllable).sounds) + 1
        assert all(np.diff(speech.edges_s) > 0), syllable
        assert speech.edges_s[-1] <= len(speech.samples) / speech.sample_rate


def test_speech_does_not_depend_on_what_was_said_before():
    first = speak("l-ah-v", "espeak:f2")
    speak("s-t-r-iy-t", "espeak:m4")
    time.sleep(1.1)  # a seed taken from the clock would be another one
    again = speak("l-ah-v", "espeak:f2")
    assert np.array_equal(first.samples, again.samples)
    assert first.edges_s == again.edges_s


@pytest.mark.parametrize("midi_pitch", [45, 57, 69])
def test_note_has_its_pitch(midi_pitch):
    samples = part(sung([SungNote(0.4, 0.9, midi_pitch, "n-aa")], a_voice()), 0.7, 1.1)
    period = SAMPLE_RATE / (440.0 * 2.0 ** ((midi_pitch - 69.0) / 12.0))
    correlation = np.fft.irfft(np.abs(np.fft.rfft(samples, 4 * len(samples))) ** 2)[: len(samples)]
    correlation /= np.arange(len(samples), 0, -1)
    first = int(period / 1.5)
    lag = first + int(np.argmax(correlation[first : int(period * 1.5)]))
    before, at, after = correlation[lag - 1 : lag + 2]
    lag += 0.5 * (before - after) / (before - 2.0 * at + after)
    assert abs(1200.0 * np.log2(period / lag)) < 20


def test_vowel_lasts_as_long_as_the_note_and_consonants_do_not():
    for duration_s in (0.4, 1.4):
        samples = sung([SungNote(0.4, duration_s, 55, "s-iy-s")], a_voice(), seconds=2.4)
        hiss = [share_above(part(samples, t, t + 0.02), 4000) for t in np.arange(0.2, 2.2, 0.02)]
        loud = [np.mean(part(samples, t, t + 0.02) ** 2) for t in np.arange(0.2, 2.2, 0.02)]
        is_hiss = (np.array(hiss) > 0.5) & (np.array(loud) > 1e-4 * max(loud))
        assert 0.1 < 0.02 * is_hiss.sum() < 0.3
        is_sung = ~is_hiss & (np.array(loud) > 1e-2 * max(loud))
        assert 0.02 * is_sung.sum() == pytest.approx(duration_s - 0.08, abs=0.12)


def test_silent_outside_and_full_band_inside():
    samples = sung([SungNote(0.5, 0.5, 55, "s-aa")], a_voice())
    assert not part(samples, 0.0, 0.2).any()
    assert np.max(np.abs(part(samples, 1.35, 1.6))) < 1e-4
    assert share_above(part(samples, 0.41, 0.47), 11500) > 0.005  # above what the speech holds


def test_formant_scale_moves_the_centroid():
    def centroid(scale):
        samples = part(sung([SungNote(0.4, 0.8, 50, "aa")], a_voice(formant_scale=scale)), 0.5, 1.1)
        power = np.abs(np.fft.rfft(samples)) ** 2
        return np.sum(power * np.arange(len(power))) / power.sum()

    assert centroid(0.85) < 0.95 * centroid(1.0) < 0.95**2 * centroid(1.2)


@pytest.mark.parametrize("seed", range(6))
def test_voices_by_chance_are_clean_and_repeat(seed):
    rng = np.random.default_rng(seed)
    voice = random_voice(rng, engines=["world"])
    voice = VoiceSettings(**(vars(voice) | {"speech_voice": f"espeak:{'fm'[seed % 2]}{1 + seed % 4}"}))
    syllables = [SYLLABLES[i] for i in rng.integers(len(SYLLABLES), size=4)]
    notes = [SungNote(0.2 + 0.3 * i, 0.3, voice.low_pitch + 3 * i, s) for i, s in enumerate(syllables)]
    first = sung(notes, voice, seed=seed)
    assert np.isfinite(first).all()
    assert np.max(np.abs(first)) == pytest.approx(0.5, abs=1e-6)
    assert np.array_equal(first, sung(notes, voice, seed=seed))


def test_unknown_speech_voice_is_told():
    with pytest.raises(InputError, match=r"^speech_voice: unknown speech voice 'espeak:nobody'"):
        sung([SungNote(0.4, 0.4, 60, "aa")], VoiceSettings(engine="world", speech_voice="espeak:nobody"))
