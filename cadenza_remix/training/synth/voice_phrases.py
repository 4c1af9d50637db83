"""From notes to phrases: where each sound begins and ends, and how pitch and loudness go, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, gaussian_filter1d

from cadenza_remix.training.synth.voice_settings import SAMPLE_RATE, SungNote, VoiceSettings
from cadenza_remix.training.synth.voice_words import MELISMA, Syllable, parse_syllable

HOP = 220  # samples from frame to frame: 5 ms
FRAME_RATE = SAMPLE_RATE / HOP
LEAD_S = 0.35  # a phrase's frames begin this long before its first vowel: consonants, breath
TAIL_S = 0.35
_PHRASE_GAP_S = 0.25  # a longer rest begins a new phrase
_LONGEST_S = 12.0  # of a phrase without a rest; bounds the memory
_LEGATO_GAP_S = 0.06  # a shorter rest is sung over
# How long consonants last in singing, in seconds.
_LENGTHS = {"r": 0.07, "l": 0.07, "w": 0.07, "y": 0.06, "m": 0.08, "n": 0.07, "ng": 0.08, "s": 0.11, "sh": 0.11}
_LENGTHS |= {"f": 0.09, "th": 0.08, "z": 0.08, "v": 0.06, "dh": 0.05, "hh": 0.07, "ch": 0.11, "jh": 0.09}
_LENGTHS |= {"p": 0.08, "t": 0.08, "k": 0.085, "b": 0.06, "d": 0.06, "g": 0.06}


@dataclass(frozen=True)
class Sound:
    """One speech sound of a phrase.

    Parameters
    ----------
    name : str
        As in `voice_words`.
    start, end : float
        In seconds from the phrase's first frame.
    syllable : str
        The syllable that it belongs to.
    place : int
        Which of the syllable's sounds it is.
    """

    name: str
    start: float
    end: float
    syllable: str
    place: int


@dataclass(frozen=True)
class Phrase:
    """What one breath sings; all arrays have one value a frame.

    Parameters
    ----------
    start : int
        The sample of the melody at which the first frame stands; may be negative.
    sounds : tuple of Sound
    f0 : array
        In hertz, going on through consonants and rests.
    gain : array
        Linear; 0 where nothing is sung.
    breath : array
        Loudness of the breath drawn before, linear.
    """

    start: int
    sounds: tuple[Sound, ...]
    f0: NDArray[np.float64]
    gain: NDArray[np.float64]
    breath: NDArray[np.float64]

    @property
    def n_frames(self) -> int:
        """How many frames there are."""
        return len(self.f0)


@dataclass(frozen=True)
class _Sung:
    """A syllable with the notes that it is sung on (more than one: a melisma), times from the phrase's first frame."""

    text: str
    syllable: Syllable
    start: float
    end: float
    pitches: tuple[float, ...]
    starts: tuple[float, ...]
    velocities: tuple[float, ...]


def phrases_of(notes: Sequence[SungNote], voice: VoiceSettings, rng: np.random.Generator) -> list[Phrase]:
    """Return the phrases of a melody whose notes are in order of time."""
    groups: list[list[SungNote]] = []
    for note in notes:
        if groups and (note.syllable == MELISMA or _goes_on(groups[-1], note)):
            groups[-1].append(note)
        else:
            groups.append([note])
    rests = [np.inf, *(after[0].start_s - before[-1].end_s for before, after in pairwise(groups))]
    return [_phrase(group, voice, rng, rest) for group, rest in zip(groups, rests, strict=False)]


def _goes_on(phrase: Sequence[SungNote], note: SungNote) -> bool:
    rest = note.start_s - phrase[-1].end_s
    return rest < _PHRASE_GAP_S and note.end_s - phrase[0].start_s < _LONGEST_S


def _phrase(notes: Sequence[SungNote], voice: VoiceSettings, rng: np.random.Generator, rest_s: float) -> Phrase:
    start = round((notes[0].start_s - LEAD_S) * SAMPLE_RATE)
    sung = _syllables(notes, start / SAMPLE_RATE)
    n_frames = int((sung[-1].end + TAIL_S) * FRAME_RATE) + 2
    limits = _limits(sung)
    sounds = tuple(sound for one, limit in zip(sung, limits, strict=True) for sound in _place(one, *limit))
    times = np.arange(n_frames) / FRAME_RATE
    pitch = _pitch(sung, voice, times, rng)
    gain = _gain(sung, sounds, voice, times, rng)
    f0 = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)
    return Phrase(start, sounds, f0, gain, _breath(sounds, voice, times, rng, rest_s))


def _syllables(notes: Sequence[SungNote], origin: float) -> list[_Sung]:
    """Put the notes of each melisma together."""
    groups: list[list[SungNote]] = []
    for note in notes:
        if note.syllable == MELISMA:
            groups[-1].append(note)
        else:
            groups.append([note])
    sung = []
    for place, group in enumerate(groups):
        end = group[-1].end_s
        if place + 1 < len(groups):
            following = groups[place + 1][0].start_s
            end = following if following - end < _LEGATO_GAP_S else end
        sung.append(
            _Sung(
                text=group[0].syllable,
                syllable=parse_syllable(group[0].syllable),
                start=group[0].start_s - origin,
                end=end - origin,
                pitches=tuple(note.midi_pitch for note in group),
                starts=tuple(note.start_s - origin for note in group),
                velocities=tuple(note.velocity for note in group),
            )
        )
    return sung


def _natural(sounds: Sequence[str]) -> float:
    return sum(_LENGTHS[name] for name in sounds)


def _limits(sung: Sequence[_Sung]) -> list[tuple[float, float]]:
    """Return from where to where each syllable goes, consonants included.

    Consonants come before the beat; they take their time from the vowel before, at most half of it.
    """
    starts = []
    for place, one in enumerate(sung):
        wanted = _natural(one.syllable.onset)
        room = LEAD_S if place == 0 else 0.5 * (one.start - sung[place - 1].start)
        starts.append(one.start - min(wanted, room))
    ends = [min(one.end, after) for one, after in zip(sung, [*starts[1:], np.inf], strict=True)]
    return list(zip(starts, ends, strict=True))


def _place(one: _Sung, start: float, end: float) -> list[Sound]:
    """Give each sound of a syllable its time."""
    coda = min(_natural(one.syllable.coda), 0.45 * (end - one.start))
    lengths = [_LENGTHS[name] for name in one.syllable.onset]
    edges = [start + (one.start - start) * share for share in _shares(lengths)]
    lengths = [_LENGTHS[name] for name in one.syllable.coda]
    edges += [end - coda + coda * share for share in _shares(lengths)] if lengths else [end]
    if not one.syllable.onset:
        edges.insert(0, one.start)
    spans = zip(one.syllable.sounds, edges, edges[1:], strict=False)
    return [Sound(name, first, last, one.text, place) for place, (name, first, last) in enumerate(spans)]


def _shares(lengths: Sequence[float]) -> list[float]:
    return list(np.cumsum([0.0, *lengths]) / sum(lengths)) if lengths else []


def _pitch(
    sung: Sequence[_Sung], voice: VoiceSettings, times: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the pitch of each frame, as a MIDI number with fractions."""
    starts = np.array([start for one in sung for start in one.starts])
    pitches = np.array([pitch for one in sung for pitch in one.pitches], dtype=float)
    ends = np.array([*starts[1:], sung[-1].end])
    which = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, None)
    glide = min(voice.portamento_s, 0.5 * float(np.min(ends - starts)))
    width = 2 * int(0.5 * glide * FRAME_RATE) + 1
    window = np.hanning(width + 2)[1:-1]
    pitch = np.asarray(convolve1d(pitches[which], window / window.sum(), mode="nearest"))
    pitch += voice.drift_cents / 100.0 * _wander(len(times), 0.08, rng)
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        pitch += _vibrato(times, start, end, voice, rng)
        is_first = place == 0 or abs(pitches[place] - pitches[place - 1]) > 2.5
        if rng.random() < voice.scoops * (1.0 if is_first else 0.3):
            depth = rng.uniform(0.5, 3.0)
            time = (times - start) / rng.uniform(0.04, 0.09)
            pitch -= depth * np.where(time > 0, np.exp(-np.maximum(time, 0.0)), np.exp(np.minimum(time, 0.0) * 4.0))
    if rng.random() < 0.5 * voice.scoops:  # let the last note fall
        pitch -= rng.uniform(0.5, 2.5) * np.clip((times - (ends[-1] - 0.12)) / 0.15, 0.0, 1.0) ** 1.5
    return pitch


def _vibrato(
    times: NDArray[np.float64], start: float, end: float, voice: VoiceSettings, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the vibrato of one note in semitones: it sets in late and deepens."""
    delay = rng.uniform(0.15, 0.4)
    depth = voice.vibrato_cents / 100.0 * rng.uniform(0.6, 1.2)
    rate = voice.vibrato_hz * rng.uniform(0.94, 1.06)
    if end - start < delay + 0.1 or depth == 0.0:
        return np.zeros_like(times)
    rise = np.clip((times - start - delay) / rng.uniform(0.25, 0.6), 0.0, 1.0)
    fall = np.clip((end - times) / 0.06, 0.0, 1.0)
    return depth * rise * fall * np.sin(2.0 * np.pi * rate * (times - start - delay) + rng.uniform(-0.5, 0.5))


def _wander(n_frames: int, time_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return slow noise of standard deviation 1 (over many)."""
    width = time_s * FRAME_RATE
    noise = gaussian_filter1d(rng.standard_normal(n_frames + 8 * int(width)), width)
    return noise[4 * int(width) :][:n_frames] * np.sqrt(2.0 * width * np.sqrt(np.pi))


def _gain(
    sung: Sequence[_Sung],
    sounds: Sequence[Sound],
    voice: VoiceSettings,
    times: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the loudness of each frame: velocities, swells, attacks, releases, and rests."""
    starts = [start for one in sung for start in one.starts]
    velocities = [velocity for one in sung for velocity in one.velocities]
    level_db = 24.0 * (np.interp(times, starts, velocities) - 1.0)
    length = sung[-1].end - sung[0].start
    arch = np.sin(np.pi * np.clip((times - sung[0].start) / length, 0.0, 1.0))
    level_db += rng.uniform(0.0, 5.0) * (arch - 1.0)
    level_db += 0.8 * _wander(len(times), 0.06, rng)
    for one in sung:  # swell or die away on long notes
        if one.end - one.start > 0.6:
            level_db += (
                rng.uniform(-5.0, 3.0)
                * np.clip((times - one.start) / (one.end - one.start), 0.0, 1.0)
                * ((times >= one.start) & (times < one.end))
            )
    attack_s, release_s = rng.uniform(0.012, 0.05), rng.uniform(0.03, 0.09)
    is_sung = np.zeros(len(times))
    for first, last in _stretches(sounds):
        rise = np.clip((times - first) / attack_s, 0.0, 1.0)
        fall = np.clip((last + 0.3 * release_s - times) / release_s, 0.0, 1.0)
        is_sung = np.maximum(is_sung, np.sin(0.5 * np.pi * np.minimum(rise, fall)) ** 2)
    return is_sung * 10.0 ** (level_db / 20.0)


def _stretches(sounds: Sequence[Sound]) -> list[tuple[float, float]]:
    """Return from where to where something is sung without a rest."""
    stretches: list[tuple[float, float]] = []
    for sound in sounds:
        if stretches and sound.start - stretches[-1][1] < 1e-6:
            stretches[-1] = (stretches[-1][0], sound.end)
        else:
            stretches.append((sound.start, sound.end))
    return stretches


def _breath(
    sounds: Sequence[Sound], voice: VoiceSettings, times: NDArray[np.float64], rng: np.random.Generator, rest_s: float
) -> NDArray[np.float64]:
    """Return how loud the breath before the phrase is; there is none without a rest to draw it in."""
    last = sounds[0].start - rng.uniform(0.02, 0.06)
    length = min(rng.uniform(0.15, 0.3), last, rest_s - 0.05)
    level_db = rng.uniform(-38.0, -24.0)
    if rng.random() >= voice.breaths or length < 0.06:
        return np.zeros(len(times))
    share = np.clip((times - (last - length)) / length, 0.0, 1.0)
    return 10.0 ** (level_db / 20.0) * np.sin(np.pi * share**1.4) ** 1.5
