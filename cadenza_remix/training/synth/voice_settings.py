"""A note to be sung, the settings of a voice, and voices by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.training.synth.voice_words import MELISMA, parse_syllable

ENGINES = ("formant", "world")
SAMPLE_RATE = 44100
LOWEST_PITCH, HIGHEST_PITCH = 28.0, 96.0


@dataclass(frozen=True)
class SungNote:
    """One note of a melody.

    Parameters
    ----------
    start_s, duration_s : float
        When the vowel begins, in seconds from the beginning of the samples, and how long it lasts. Consonants before
        the vowel are sung before `start_s`.
    midi_pitch : float
        69 is 440 Hz; 28 to 96.
    syllable : str
        Sounds joined by hyphens ("n-ay-t"), or "~" to go on with the vowel before.
    velocity : float
        Loudness from 0 to 1.
    """

    start_s: float
    duration_s: float
    midi_pitch: float
    syllable: str
    velocity: float = 0.8

    def __post_init__(self) -> None:
        _check("start_s", self.start_s, 0.0, math.inf)
        _check("duration_s", self.duration_s, 0.01, 120.0)
        _check("midi_pitch", self.midi_pitch, LOWEST_PITCH, HIGHEST_PITCH)
        _check("velocity", self.velocity, 0.0, 1.0)
        if self.syllable != MELISMA:
            parse_syllable(self.syllable)

    @property
    def end_s(self) -> float:
        """When the note ends, in seconds."""
        return self.start_s + self.duration_s


@dataclass(frozen=True)
class VoiceSettings:
    """How a voice sounds.

    Parameters
    ----------
    engine : str
        "formant" (formants computed from tables) or "world" (recorded or synthetic speech, analysed by WORLD).
    speech_voice : str
        Which speaking voice the engine "world" takes its sounds from, as `speech.speech_voices` names them.
    formant_scale : float
        Factor on the frequencies of the formants: below 1 a longer vocal tract. For "formant" 1 is a grown man.
    low_pitch, high_pitch : float
        MIDI pitches between which the voice is at ease: what a melody for it keeps to.
    vibrato_hz, vibrato_cents : float
        Rate, and the depth to each side.
    breathiness : float
        0 (clear) to 1 (whispered).
    effort : float
        0 (soft, dark) to 1 (belted, bright).
    roughness : float
        0 to 1: uneven pulses, period doubling, distortion.
    jitter : float
        Standard deviation of a period's length, as a share of it.
    drift_cents : float
        Standard deviation of the slow wandering of the pitch.
    portamento_s : float
        How long a glide from one note to the next takes.
    scoops : float
        Share of the notes that are approached from below, 0 to 1.
    breaths : float
        Share of the phrases before which the voice breathes in audibly, 0 to 1.
    clarity : float
        Factor on the depth of the spectral envelope's peaks; 1 leaves them.
    """

    engine: str = "formant"
    speech_voice: str = ""
    formant_scale: float = 1.0
    low_pitch: float = 45.0
    high_pitch: float = 69.0
    vibrato_hz: float = 5.5
    vibrato_cents: float = 40.0
    breathiness: float = 0.2
    effort: float = 0.5
    roughness: float = 0.0
    jitter: float = 0.001
    drift_cents: float = 5.0
    portamento_s: float = 0.07
    scoops: float = 0.2
    breaths: float = 0.4
    clarity: float = 1.0

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise unknown_name("voice engine", self.engine, ENGINES, where="engine")
        if (self.engine == "world") != bool(self.speech_voice):
            expected = "one for the engine 'world' and none for 'formant'"
            raise InputError(
                "speech voice and engine do not fit",
                where="speech_voice",
                expected=expected,
                found=repr(self.speech_voice),
            )
        limits = {
            "formant_scale": (0.6, 1.7),
            "low_pitch": (LOWEST_PITCH, HIGHEST_PITCH),
            "high_pitch": (self.low_pitch, HIGHEST_PITCH),
            "vibrato_hz": (0.5, 12.0),
            "vibrato_cents": (0.0, 200.0),
            "jitter": (0.0, 0.1),
            "drift_cents": (0.0, 100.0),
            "portamento_s": (0.0, 0.5),
            "clarity": (0.5, 2.0),
        } | dict.fromkeys(("breathiness", "effort", "roughness", "scoops", "breaths"), (0.0, 1.0))
        for name, (low, high) in limits.items():
            _check(name, getattr(self, name), low, high)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise InputError("out of range", where=name, expected=f"{low:g} to {high:g}", found=value)


# Lowest and highest pitch at ease, formants against a man's, whether a woman or child sings.
_RANGES = {
    "soprano": (57, 79, 1.2, True),
    "mezzo": (54, 74, 1.17, True),
    "alto": (51, 71, 1.13, True),
    "tenor": (47, 68, 1.03, False),
    "baritone": (43, 64, 1.0, False),
    "bass": (38, 60, 0.95, False),
}
# Shares of ways to sing, with ranges of breathiness, effort and roughness.
_STYLES = {
    "pop": (0.4, (0.1, 0.35), (0.4, 0.7), (0.0, 0.08)),
    "soft": (0.2, (0.3, 0.65), (0.1, 0.35), (0.0, 0.05)),
    "belt": (0.2, (0.03, 0.15), (0.7, 1.0), (0.0, 0.25)),
    "rough": (0.12, (0.1, 0.4), (0.6, 1.0), (0.35, 0.9)),
    "whisper": (0.08, (0.65, 0.92), (0.1, 0.4), (0.0, 0.1)),
}


def random_settings(
    rng: np.random.Generator, *, engine: str, speech_voice: str, is_female: bool | None
) -> VoiceSettings:
    """Return a voice by chance.

    Parameters
    ----------
    rng : numpy.random.Generator
    engine, speech_voice : str
        As in `VoiceSettings`.
    is_female : bool or None
        Whose speech the engine "world" takes, so that formants are moved from that person's; None for "formant".
    """
    names = list(_RANGES)
    if is_female is not None and rng.random() < 0.7:  # mostly a voice of the same kind: the least to be bent
        names = [name for name in names if _RANGES[name][3] == is_female]
    low, high, scale, _ = _RANGES[names[rng.integers(len(names))]]
    if is_female is not None:
        scale /= 1.17 if is_female else 1.0
    shares = np.array([style[0] for style in _STYLES.values()])
    _, breath, effort, rough = list(_STYLES.values())[rng.choice(len(shares), p=shares / shares.sum())]
    shift = rng.uniform(-2.0, 2.0)
    is_straight = rng.random() < 0.25  # pop voices with hardly any vibrato
    is_tuned = rng.random() < 0.15  # corrected to the note, as in modern productions
    return VoiceSettings(
        engine=engine,
        speech_voice=speech_voice,
        formant_scale=float(np.clip(scale * rng.uniform(0.93, 1.07), 0.82, 1.28)),
        low_pitch=low + shift,
        high_pitch=high + shift,
        vibrato_hz=rng.uniform(4.5, 7.0),
        vibrato_cents=rng.uniform(0.0, 12.0) if is_straight else rng.uniform(15.0, 70.0),
        breathiness=rng.uniform(*breath),
        effort=rng.uniform(*effort),
        roughness=rng.uniform(*rough),
        jitter=rng.uniform(0.0005, 0.004),
        drift_cents=1.0 if is_tuned else rng.uniform(4.0, 14.0),
        portamento_s=rng.uniform(0.01, 0.03) if is_tuned else rng.uniform(0.04, 0.13),
        scoops=rng.uniform(0.0, 0.15) if is_tuned else rng.uniform(0.05, 0.5),
        breaths=rng.uniform(0.1, 0.9),
        clarity=rng.uniform(0.95, 1.3),
    )


def melody_of(notes: Sequence[SungNote]) -> list[SungNote]:
    """Return the notes in their order in time; one voice sings one note at a time.

    Raises
    ------
    InputError
        When the first note continues a vowel, or two notes begin at the same time.
    """
    ordered = sorted(notes, key=lambda note: note.start_s)
    if ordered and ordered[0].syllable == MELISMA:
        raise InputError("nothing to go on with", where="notes[0]", expected="a syllable", found=repr(MELISMA))
    for before, after in pairwise(ordered):
        if after.start_s - before.start_s < 0.01:
            found = f"{before.start_s:g} s and {after.start_s:g} s"
            raise InputError(
                "notes too close to each other", where="notes", expected="10 ms or more apart", found=found
            )
    return ordered
