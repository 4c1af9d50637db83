"""What is sung: phrases with rests between them, verses that return, a higher chorus; doubles and harmonies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from cadenza_remix.training.synth.song import Section, SongPlan
from cadenza_remix.training.synth.voice_settings import SungNote
from cadenza_remix.training.synth.voice_words import MELISMA, lyrics, random_words

_GAP_S = 0.012  # two notes of one voice begin further apart than this
_SINGING = {"intro": 0.12, "verse": 0.97, "chorus": 0.99, "bridge": 0.85, "break": 0.3, "solo": 0.1, "outro": 0.4}


@dataclass(frozen=True)
class Phrase:
    """A line: (step from its first bar, steps held, degree above the lowest of the voice) of each note."""

    notes: tuple[tuple[int, int, int], ...]
    n_bars: int


@dataclass(frozen=True)
class SungLine:
    """What one singer sings: `kind` is lead, double, harmony or choir."""

    kind: str
    notes: tuple[SungNote, ...]


def sing_lead(plan: SongPlan, pitches: tuple[float, float], rng: np.random.Generator) -> SungLine:
    """Return the lead voice's notes, within the pitches where the voice is at ease."""
    words = random_words(rng, int(rng.integers(25, 60)))
    style = plan.genre.vocal_style
    phrases: dict[str, list[Phrase]] = {}
    notes: list[SungNote] = []
    for section in plan.sections:
        rap = style == "rap" and section.kind in ("verse", "bridge", "intro")
        if section.kind not in phrases:
            phrases[section.kind] = [_random_phrase(plan, section, rng, rap=rap, style=style) for _ in range(2)]
        if rng.random() > _SINGING[section.kind]:
            continue
        pool = plan.key.pitches(int(np.ceil(pitches[0])), int(pitches[1]))
        bar, number = section.first_bar, 0
        while bar < section.first_bar + section.n_bars:
            phrase = phrases[section.kind][(0, 1, 0, 1)[number % 4]]
            if bar + phrase.n_bars <= section.first_bar + section.n_bars and rng.random() < 0.93:
                line = _sing_phrase(plan, section, phrase, bar, pool, words, rng, rap=rap)
                notes += [note for note in line if not notes or note.start_s - notes[-1].start_s > _GAP_S]
            bar += phrase.n_bars
            number += 1
    return SungLine("lead", tuple(_without_overlap(notes)))


def add_voices(plan: SongPlan, lead: SungLine, rng: np.random.Generator, *, n_most: int = 2) -> list[SungLine]:
    """Return doubles and harmonies of the lead, mostly in choruses, and a choir that holds chords; often none."""
    lines: list[SungLine] = []
    loud = [_span_s(plan, section) for section in plan.sections if section.kind in ("chorus", "bridge")]
    chorus = [note for note in lead.notes if any(begin <= note.start_s < end for begin, end in loud)]
    if chorus and rng.random() < 0.3:
        lines.append(SungLine("double", _moved(chorus if rng.random() < 0.7 else lead.notes, 0.02, rng)))
    if chorus and rng.random() < 0.35:
        lines.append(SungLine("harmony", _in_thirds(plan, chorus, int(rng.choice([2, 2, -2, -5])), rng)))
    if loud and rng.random() < 0.2:
        lines.append(SungLine("choir", _choir(plan, rng)))
    lines = [line for line in lines if line.notes]
    return [lines[index] for index in sorted(rng.permutation(len(lines))[:n_most])]


def _random_phrase(plan: SongPlan, section: Section, rng: np.random.Generator, *, rap: bool, style: str) -> Phrase:
    n_bars = int(rng.choice([1, 2])) if section.n_bars < 4 else int(rng.choice([2, 2, 2, 4], p=[0.3, 0.3, 0.3, 0.1]))
    n_steps = n_bars * plan.steps_per_bar
    quarter_s = 60.0 / plan.tempo_bpm
    if rap:
        lengths, weights = [1, 2, 3], [0.5, 0.45, 0.05] if quarter_s > 0.6 else [0.25, 0.65, 0.1]
    elif style == "long":
        lengths, weights = [1, 2, 3, 4, 6, 8], [0.05, 0.3, 0.1, 0.25, 0.15, 0.15]
    else:
        lengths, weights = [1, 2, 3, 4, 6, 8], [0.1, 0.42, 0.16, 0.2, 0.06, 0.06]
    step = int(rng.choice([0, 0, 2, 4, -2, -4] if not rap else [0, 0, 2]))
    rest = int(rng.choice([2, 4, 6, 8])) if not rap else int(rng.choice([1, 2, 4]))
    degree = int(rng.integers(1, 4)) if not rap else 1
    degree += 3 if section.kind == "chorus" and not rap else 0
    notes = []
    while step < n_steps - rest:
        length = int(rng.choice(lengths, p=weights))
        while length > 1 and length * plan.step_s < 0.11:
            length += 1
        if length == 1 and plan.step_s < 0.11:
            length = 2
        notes.append((step, min(length, max(1, n_steps - step)), degree))
        step += length
        moves = [-1, 0, 0, 0, 1] if rap else [-3, -2, -1, -1, 0, 0, 1, 1, 2, 4]
        degree = int(np.clip(degree + rng.choice(moves), 0, 3 if rap else 11))
        if rng.random() < 0.07:
            step += 2
    return Phrase(tuple(notes), n_bars)


def _sing_phrase(
    plan: SongPlan, section: Section, phrase: Phrase, bar: int, pool: list[int], words: list[str],
    rng: np.random.Generator,
    *, rap: bool,
) -> list[SungNote]:  # fmt: skip
    syllables = lyrics(rng, len(phrase.notes), words=words)
    first = bar * plan.steps_per_bar
    notes: list[SungNote] = []
    for index, (step, length, degree) in enumerate(phrase.notes):
        if rng.random() < 0.04 and index:
            continue
        if rng.random() < 0.08:
            degree += int(rng.choice([-1, 1]))
        pitch: float = pool[int(np.clip(degree, 0, len(pool) - 1))]
        chord = plan.chord_at(int(np.clip(bar + step // plan.steps_per_bar, 0, plan.n_bars - 1)))
        if step % 8 == 0 or length >= 6:
            near = [candidate for candidate in pool if candidate % 12 in chord.pitch_classes]
            pitch = min(near, key=lambda candidate: abs(candidate - pitch), default=pitch)
        if rap:
            pitch = float(np.clip(pitch + rng.normal(0, 0.7), pool[0], pool[-1]))
        start_s = plan.time_s(first + step) + rng.normal(0, 0.012) + 0.01
        full_s = plan.time_s(first + step + length) - plan.time_s(first + step)
        ends = index + 1 == len(phrase.notes)
        duration_s = full_s * (rng.uniform(0.8, 1.6) if ends else rng.uniform(0.82, 1.0))
        velocity = float(np.clip(0.55 + 0.3 * section.energy + rng.normal(0, 0.07), 0.2, 1.0))
        syllable = MELISMA if notes and not rap and rng.random() < 0.06 else syllables[index]
        if start_s > 0.4:  # room for a breath and the first consonants
            notes.append(SungNote(start_s, max(0.06, duration_s), pitch, syllable, velocity))
    return notes


def _without_overlap(notes: list[SungNote]) -> list[SungNote]:
    kept: list[SungNote] = []
    for note, following in zip_longest(notes, notes[1:]):
        if following is not None:
            room_s = following.start_s - note.start_s
            note = replace(note, duration_s=max(0.011, min(note.duration_s, room_s)))
        if note.syllable == MELISMA and not kept:
            continue
        kept.append(note)
    return kept


def _moved(notes: list[SungNote] | tuple[SungNote, ...], sd_s: float, rng: np.random.Generator) -> tuple[SungNote, ...]:
    """Return the notes sung again, never quite at the same time."""
    moved = [replace(note, start_s=max(0.3, note.start_s + rng.normal(0, sd_s))) for note in notes]
    return _apart(moved)


def _in_thirds(plan: SongPlan, notes: list[SungNote], degrees: int, rng: np.random.Generator) -> tuple[SungNote, ...]:
    ladder = plan.key.pitches(29, 95)
    raised = []
    for note in notes:
        nearest = min(range(len(ladder)), key=lambda index: abs(ladder[index] - note.midi_pitch))
        pitch = ladder[int(np.clip(nearest + degrees, 0, len(ladder) - 1))]
        raised.append(replace(note, midi_pitch=float(pitch), velocity=note.velocity * 0.85))
    return _moved(raised, 0.012, rng)


def _choir(plan: SongPlan, rng: np.random.Generator) -> tuple[SungNote, ...]:
    """Return one note of each bar's chord, on a vowel."""
    vowel = str(rng.choice(["uw", "aa", "ow"]))
    centre = int(rng.integers(55, 68))
    notes = []
    for section in plan.sections:
        if section.kind not in ("chorus", "bridge"):
            continue
        for bar in range(section.first_bar, section.first_bar + section.n_bars):
            pitch = plan.chord_at(bar).voicing(centre, 1)[0]
            start_s = plan.time_s(bar * plan.steps_per_bar) + 0.4 * (bar == 0)
            duration_s = plan.step_s * plan.steps_per_bar * 0.92
            notes.append(SungNote(start_s, duration_s, float(pitch), vowel, 0.6))
    return tuple(notes)


def _apart(notes: list[SungNote]) -> tuple[SungNote, ...]:
    ordered = sorted(notes, key=lambda note: note.start_s)
    kept: list[SungNote] = []
    for note in ordered:
        if not kept or note.start_s - kept[-1].start_s > _GAP_S:
            kept.append(note)
    while kept and kept[0].syllable == MELISMA:
        kept.pop(0)
    return tuple(_without_overlap(kept))


def _span_s(plan: SongPlan, section: Section) -> tuple[float, float]:
    first = section.first_bar * plan.steps_per_bar
    return plan.time_s(first) - 0.1, plan.time_s(first + section.n_bars * plan.steps_per_bar) - 0.1
