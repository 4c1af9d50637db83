"""The singing voice: the asked pitch at the asked time, silence between, the same samples from the same seed."""

import numpy as np
import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.training.synth.voice import (
    CALLS,
    MELISMA,
    SAMPLE_RATE,
    WORDS,
    SungNote,
    VoiceSettings,
    available_engines,
    lyrics,
    ornamented,
    random_voice,
    random_words,
    sing,
)
from cadenza_remix.training.synth.voice_words import VOWELS, parse_syllable

# No vibrato, no scoops, hardly any drift: the pitch is the note's.
STRAIGHT = VoiceSettings(vibrato_cents=0.0, scoops=0.0, drift_cents=1.0, breaths=0.0)


def rng(seed=1):
    return np.random.default_rng(seed)


def sung(notes, voice=STRAIGHT, *, seconds=2.0, seed=1):
    return sing(notes, voice, n_samples=round(seconds * SAMPLE_RATE), rng=rng(seed))


def part(samples, start_s, end_s):
    return samples[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]


def cents_off(samples, midi_pitch):
    """Return how far the pitch (peak of the autocorrelation within a fifth) is from the one asked for."""
    expected_hz = 440.0 * 2.0 ** ((midi_pitch - 69.0) / 12.0)
    spectrum = np.fft.rfft(samples, 4 * len(samples))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: len(samples)] / np.arange(len(samples), 0, -1)
    first, last = int(SAMPLE_RATE / expected_hz / 1.5), int(SAMPLE_RATE / expected_hz * 1.5)
    lag = first + int(np.argmax(correlation[first:last]))
    before, at, after = correlation[lag - 1 : lag + 2]
    lag += 0.5 * (before - after) / (before - 2.0 * at + after)
    return 1200.0 * np.log2(SAMPLE_RATE / lag / expected_hz)


def centroid_hz(samples):
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(np.sum(power * np.fft.rfftfreq(len(samples), 1.0 / SAMPLE_RATE)) / power.sum())


def level_db(samples):
    return 10.0 * np.log10(np.mean(samples.astype(float) ** 2) + 1e-20)


@pytest.mark.parametrize("midi_pitch", [40, 52.5, 60, 67, 76])
def test_note_has_its_pitch(midi_pitch):
    samples = sung([SungNote(0.4, 0.9, midi_pitch, "n-aa")], seconds=1.6)
    assert abs(cents_off(part(samples, 0.7, 1.1), midi_pitch)) < 20


def test_each_note_of_a_melisma_has_its_pitch():
    pitches = [57, 60, 64]
    notes = [SungNote(0.4 + 0.4 * i, 0.4, p, MELISMA if i else "l-ow") for i, p in enumerate(pitches)]
    samples = sung(notes)
    for place, midi_pitch in enumerate(pitches):
        start = 0.4 + 0.4 * place
        assert abs(cents_off(part(samples, start + 0.15, start + 0.32), midi_pitch)) < 20
    levels = [level_db(part(samples, t, t + 0.04)) for t in np.arange(0.5, 1.5, 0.04)]
    assert min(levels) > max(levels) - 12  # one vowel, without a rest


def test_vibrato_moves_the_pitch_at_its_rate_and_sets_in_late():
    voice = VoiceSettings(vibrato_cents=80.0, vibrato_hz=5.0, scoops=0.0, drift_cents=0.0, breaths=0.0)
    samples = sung([SungNote(0.4, 2.4, 57, "aa")], voice, seconds=3.2)
    track = np.array([cents_off(part(samples, t, t + 0.04), 57) for t in np.arange(1.4, 2.6, 0.01)])
    assert 40 < 0.5 * np.ptp(track) < 110  # 80 cents, more or less from note to note
    spectrum = np.abs(np.fft.rfft(track - track.mean(), 2000))
    assert np.fft.rfftfreq(2000, 0.01)[np.argmax(spectrum)] == pytest.approx(5.0, abs=0.6)
    assert abs(cents_off(part(samples, 0.44, 0.53), 57)) < 20


def test_silent_outside_the_notes():
    notes = [SungNote(0.5, 0.4, 55, "s-t-iy"), SungNote(1.7, 0.3, 57, "n-ay-t")]
    samples = sung(notes, seconds=2.6)
    assert level_db(part(samples, 0.55, 0.85)) > -40
    assert not part(samples, 0.0, 0.2).any()
    assert level_db(part(samples, 1.1, 1.5)) < -90
    assert level_db(part(samples, 2.3, 2.6)) < -90


def test_consonants_come_before_the_beat():
    def before(syllable):
        return level_db(part(sung([SungNote(0.5, 0.5, 55, syllable)], seconds=1.2), 0.40, 0.49))

    assert before("s-aa") > before("aa") + 30


def test_breath_is_heard_before_a_phrase():
    voice = VoiceSettings(breaths=1.0, scoops=0.0)
    notes = [SungNote(0.6, 0.4, 55, "aa")]
    breath = max(level_db(part(sung(notes, voice, seed=s), 0.3, 0.55)) for s in range(3))
    none = max(level_db(part(sung(notes, seed=s), 0.3, 0.55)) for s in range(3))
    assert -75 < breath < -25
    assert none < -90


def test_same_seed_same_samples():
    notes = [SungNote(0.4, 0.4, 55, "l-ah-v"), SungNote(0.8, 0.6, 57, "m-iy")]
    first = sung(notes, VoiceSettings(breaths=1.0), seed=3)
    assert np.array_equal(first, sung(notes[::-1], VoiceSettings(breaths=1.0), seed=3))
    assert not np.array_equal(first, sung(notes, VoiceSettings(breaths=1.0), seed=4))


def test_formant_scale_moves_the_centroid():
    notes = [SungNote(0.4, 0.8, 50, "aa")]
    centroids = [
        centroid_hz(sung(notes, VoiceSettings(formant_scale=s, breaths=0.0), seconds=1.5)) for s in (0.85, 1, 1.2)
    ]
    assert centroids[0] < 0.95 * centroids[1] < 0.95**2 * centroids[2]


def test_vowels_differ_and_sibilants_reach_high():
    def of(syllable):
        return part(sung([SungNote(0.5, 0.8, 50, syllable)], seconds=1.5), 0.7, 1.2)

    assert centroid_hz(of("iy")) > 1.5 * centroid_hz(of("uw"))
    hiss = part(sung([SungNote(0.5, 0.5, 50, "s-aa")], seconds=1.2), 0.41, 0.47)
    assert centroid_hz(hiss) > 5000


def test_effort_makes_the_voice_brighter():
    def treble_db(value):
        voice = VoiceSettings(effort=value, breaths=0.0)
        samples = part(sung([SungNote(0.4, 0.9, 52, "aa")], voice, seconds=1.5), 0.6, 1.2)
        power = np.abs(np.fft.rfft(samples)) ** 2
        split = int(2000 * len(samples) / SAMPLE_RATE)
        return 10 * np.log10(power[split:].sum() / power[:split].sum())

    assert treble_db(0.9) > treble_db(0.1) + 2


@pytest.mark.parametrize(("name", "low", "high"), [("breathiness", 0.05, 0.8), ("roughness", 0.0, 0.9)])
def test_settings_make_the_voice_less_periodic(name, low, high):
    def likeness(value):
        """Correlate with what was sung one period (200 samples) before."""
        voice = VoiceSettings(**{name: value, "breaths": 0.0, "scoops": 0.0, "drift_cents": 0.0, "vibrato_cents": 0.0})
        pitch = 69.0 + 12.0 * np.log2(SAMPLE_RATE / 200 / 440.0)
        samples = part(sung([SungNote(0.4, 0.9, pitch, "aa")], voice, seconds=1.5), 0.6, 1.2)
        return np.corrcoef(samples[200:], samples[:-200])[0, 1]

    assert likeness(low) > 0.97
    assert likeness(high) < likeness(low) - 0.02


def test_velocity_makes_a_note_louder():
    notes = [SungNote(0.4, 0.5, 55, "aa", 0.3), SungNote(1.4, 0.5, 55, "aa", 1.0)]
    samples = sung(notes, VoiceSettings(breaths=0.0, scoops=0.0), seconds=2.2)
    assert level_db(part(samples, 1.5, 1.8)) > level_db(part(samples, 0.5, 0.8)) + 6


@pytest.mark.parametrize("seed", range(12))
def test_voices_by_chance_are_clean(seed):
    generator = rng(seed)
    voice = random_voice(generator)
    assert voice.engine == "formant"
    line = lyrics(generator, 6)
    pitches = generator.uniform(voice.low_pitch, voice.high_pitch, 6)
    notes = [
        SungNote(0.2 + 0.3 * i, 0.3, p, s, generator.uniform())
        for i, (p, s) in enumerate(zip(pitches, line, strict=True))
    ]
    samples = sing(notes, voice, n_samples=100_001, rng=generator)
    assert samples.dtype == np.float32
    assert samples.shape == (100_001,)
    assert np.isfinite(samples).all()
    assert np.max(np.abs(samples)) == pytest.approx(0.5, abs=1e-6)
    assert level_db(part(samples, 0.2, 2.0)) > -45


def test_many_voices_differ():
    voices = [random_voice(rng(seed)) for seed in range(40)]
    assert len(set(voices)) == 40
    assert min(v.low_pitch for v in voices) < 42 < 52 < max(v.low_pitch for v in voices)
    assert any(v.roughness > 0.3 for v in voices)
    assert any(v.breathiness > 0.6 for v in voices)


def test_empty_and_cut():
    assert not sung([], seconds=0.5).any()
    assert sung([], seconds=0.5).shape == (22050,)
    assert len(sing([SungNote(0.1, 1.0, 60, "aa")], STRAIGHT, n_samples=0, rng=rng())) == 0
    assert sung([SungNote(0.0, 3.0, 60, "aa")], seconds=0.5).any()
    assert not sung([SungNote(9.0, 1.0, 60, "aa")], seconds=0.5).any()


def test_long_line_without_a_rest_is_sung_through():
    notes = [SungNote(0.2 + 0.5 * i, 0.5, 50 + i % 5, "l-aa") for i in range(28)]
    samples = sung(notes, seconds=15)
    levels = [level_db(part(samples, t, t + 0.2)) for t in np.arange(0.4, 14, 0.2)]
    assert min(levels) > max(levels) - 25


@pytest.mark.parametrize(
    "syllable", [s for s in sorted({s for w in WORDS.values() for s in w} | set(CALLS)) if "-" in s][::6]
)
def test_syllables_can_be_sung_quickly(syllable):
    samples = sung([SungNote(0.4 + 0.12 * i, 0.12, 55 + i, syllable) for i in range(3)], seconds=1.2)
    assert np.isfinite(samples).all()
    assert samples.any()


def test_lyrics_have_the_asked_length_and_words():
    for n_syllables in (0, 1, 2, 7, 30):
        line = lyrics(rng(n_syllables), n_syllables)
        assert len(line) == n_syllables
        assert all(parse_syllable(s).vowel in VOWELS for s in line)
    words = random_words(rng(), 8)
    assert len(set(words)) == 8
    allowed = {s for word in words for s in WORDS[word]} | set(CALLS)
    assert set(lyrics(rng(5), 40, words=words)) <= allowed
    assert lyrics(rng(9), 20) == lyrics(rng(9), 20)


def test_ornaments_keep_time_and_scale():
    scale = {0, 2, 4, 5, 7, 9, 11}
    notes = [SungNote(1.0 + i, 0.9, 60 + 2 * (i % 3), "l-aa") for i in range(20)]
    melody = ornamented(notes, rng(), share=0.7, pitch_classes=scale)
    assert len(melody) > len(notes)
    assert {round(note.midi_pitch) % 12 for note in melody} <= scale
    assert sum(n.duration_s for n in melody) == pytest.approx(sum(n.duration_s for n in notes))
    assert [n.start_s for n in melody if n.syllable != MELISMA] == [n.start_s for n in notes]
    assert ornamented(notes, rng(), share=0.0) == notes


def test_formant_engine_is_always_there():
    assert available_engines()[0] == "formant"


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda: SungNote(-1.0, 0.5, 60, "aa"), "start_s: out of range: expected 0 to inf, found -1"),
        (lambda: SungNote(0.0, 0.0, 60, "aa"), "duration_s: out of range"),
        (lambda: SungNote(0.0, 0.5, float("nan"), "aa"), "midi_pitch: out of range: expected 28 to 96, found nan"),
        (lambda: SungNote(0.0, 0.5, 60, "aa", 1.5), "velocity: out of range"),
        (lambda: SungNote(0.0, 0.5, 60, "qq"), "syllable 'qq': unknown speech sound 'qq'"),
        (lambda: SungNote(0.0, 0.5, 60, "n-t"), "syllable 'n-t': wrong number of vowels: expected 1, found 0"),
        (lambda: VoiceSettings(engine="vocoder"), "engine: unknown voice engine 'vocoder'"),
        (lambda: VoiceSettings(engine="world"), "speech_voice: speech voice and engine do not fit"),
        (lambda: VoiceSettings(formant_scale=3.0), "formant_scale: out of range: expected 0.6 to 1.7, found 3.0"),
        (lambda: VoiceSettings(low_pitch=60, high_pitch=50), "high_pitch: out of range: expected 60 to 96, found 50"),
        (lambda: random_voice(rng(), engines=()), "engines: no engine to choose from"),
        (lambda: random_voice(rng(), engines=("opera",)), "engines: unknown voice engine 'opera'"),
        (lambda: sing([], STRAIGHT, n_samples=-1, rng=rng()), "n_samples: not a number of samples"),
        (lambda: sung([SungNote(0, 1, 60, MELISMA)]), "notes[0]: nothing to go on with"),
        (lambda: sung([SungNote(1, 1, 60, "aa"), SungNote(1, 1, 64, "aa")]), "notes: notes too close to each other"),
        (lambda: lyrics(rng(), -1), "n_syllables: not a number of syllables"),
        (lambda: lyrics(rng(), 2, words=["lvoe"]), "words: unknown word 'lvoe'"),
        (lambda: ornamented([], rng(), share=2.0), "share: out of range"),
        (lambda: ornamented([], rng(), pitch_classes=[12]), "pitch_classes: not a scale"),
    ],
)
def test_bad_values_are_told_in_one_line(action, words):
    with pytest.raises(InputError) as caught:
        action()
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)
