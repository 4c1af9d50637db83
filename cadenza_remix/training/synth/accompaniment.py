"""What the others play: chords, strums, arpeggios, riffs, pads and leads; the parts of the stem "other"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cadenza_remix.training.synth.notes import Note
from cadenza_remix.training.synth.song import Section, SongPlan
from cadenza_remix.training.synth.theory import Chord

_HIGHEST, _LOWEST = 96, 36


@dataclass(frozen=True)
class Part:
    """One instrument's part: its role (which fixes what instruments fit) and its notes."""

    role: str
    notes: tuple[Note, ...]


# Patterns of a bar of 16 steps for chords: x a stroke, - held, . silent.
_STROKES = {
    "strum": ("x---x-x---x-x-x-", "x---x-x-x---x-x-", "x-x-x-xxx-x-x-xx", "x-------x---x-x-"),
    "skank": ("....x.......x...", "..x...x...x...x.", "..xx..x...xx..x.", ".x..x.xx..x.x..x"),
    "bubble": ("..xx..xx..xx..xx", "..x...x...x...x."),
    "clav": ("x..x..x.x.xx..x.", "x.xx..xx.xx.x.xx", "..xx.x..x.xx.x.."),
    "stabs": ("x..x..x.........", "..x..x....x..x..", "x...........x.x.", "x.....x...x....."),
    "brass": ("x.............x.", "......xx--......", "x---------......", "..x...xx........"),
    "power": ("x---------------", "x-------x-------", "x-x-x-x-x-x-x-x-", "x-----x---x-----"),
    "chug": ("xxxxxxxxxxxxxxxx", "x.xxx.xxx.xxx.xx", "x-x-x-x-x-x-x-x-", "xx.xx.xx.xx.x.x."),
    "piano": ("x---x---x---x---", "x-------x---x---", "x---------x-----", "x-----x-----x---", "x-x-x-x-x-x-x-x-"),
    "epiano": ("x-------x-------", "x-----x---------", "x---------x--x--", "..x-----..x-----"),
    "organ": ("x---------------", "x-------x-------", "..x-..x-..x-..x-"),
}
_HELD = ("pad", "strings")
_SINGLE = ("arpeggio", "pluck", "fingered", "riff", "lead")
_CENTRES = {
    "power": 45, "chug": 40, "pad": 60, "strings": 66, "arpeggio": 67, "pluck": 70, "fingered": 58, "riff": 55,
    "lead": 74,
    "brass": 64, "organ": 60, "strum": 57, "skank": 66, "bubble": 60, "clav": 58,
}  # fmt: skip


def play_others(plan: SongPlan, rng: np.random.Generator) -> tuple[Part, ...]:
    """Return two to five parts of different roles; in each section some of them play, more where it is loud."""
    roles = [role for role, _ in plan.genre.roles]
    weights = np.array([weight for _, weight in plan.genre.roles])
    n_parts = min(len(roles), int(rng.choice([2, 3, 4, 5], p=[0.2, 0.35, 0.3, 0.15])))
    chosen = rng.choice(roles, size=n_parts, replace=False, p=weights / weights.sum())
    # A lead alone makes no accompaniment.
    if set(chosen) <= {"lead", "riff"}:
        chosen = np.append(chosen, "pad")
    active = _who_plays(plan, len(chosen), rng)
    return tuple(Part(str(role), _play_part(plan, str(role), active[index], rng)) for index, role in enumerate(chosen))


def _who_plays(plan: SongPlan, n_parts: int, rng: np.random.Generator) -> list[list[bool]]:
    by_kind: dict[str, list[bool]] = {}
    rows = []
    for section in plan.sections:
        if section.kind not in by_kind:
            playing = [bool(rng.random() < 0.35 + 0.6 * section.energy) for _ in range(n_parts)]
            if not any(playing) and rng.random() < 0.85:
                playing[rng.integers(n_parts)] = True
            by_kind[section.kind] = playing
        rows.append(by_kind[section.kind])
    return [[row[index] for row in rows] for index in range(n_parts)]


def _play_part(plan: SongPlan, role: str, active: list[bool], rng: np.random.Generator) -> tuple[Note, ...]:
    centre = _CENTRES.get(role, 60) + int(rng.integers(-4, 5))
    n_voices = int(rng.choice([3, 3, 4]))
    notes: list[Note] = []
    by_kind: dict[str, list[tuple[int, int, int]]] = {}
    stroke: dict[str, str] = {}
    for section, plays in zip(plan.sections, active, strict=True):
        if role in _STROKES:
            stroke.setdefault(section.kind, str(rng.choice(_STROKES[role])))
        elif role in _SINGLE and section.kind not in by_kind:
            by_kind[section.kind] = _random_figure(plan, role, rng)
        if not plays:
            continue
        for bar in range(section.first_bar, section.first_bar + section.n_bars):
            chord = plan.chord_at(bar)
            if role in _HELD:
                notes += _hold_chord(plan, section, bar, chord.voicing(centre, n_voices), rng)
            elif role in _STROKES:
                pitches = _stroke_pitches(role, chord, centre, n_voices)
                notes += _strike_chords(plan, role, bar, stroke[section.kind], pitches, section.energy, rng)
            else:
                figure = by_kind[section.kind] if rng.random() > 0.1 else _random_figure(plan, role, rng)
                notes += _play_figure(plan, role, bar, figure, chord, centre, rng)
    return tuple(note for note in notes if _LOWEST - 2 <= note.pitch <= _HIGHEST)


def _stroke_pitches(role: str, chord: Chord, centre: int, n_voices: int) -> tuple[int, ...]:
    if role in ("power", "chug"):
        root = centre - 5 + (chord.root - centre + 5) % 12
        return (root, root + 7) if role == "chug" else (root, root + 7, root + 12)
    if role == "strum":
        return chord.voicing(centre, 6)
    if role == "piano":
        low = 36 + (chord.root - 36) % 12
        return (low, *chord.voicing(centre, n_voices))
    return chord.voicing(centre, n_voices)


def _strike_chords(
    plan: SongPlan, role: str, bar: int, pattern: str, pitches: tuple[int, ...], energy: float, rng: np.random.Generator
) -> list[Note]:
    n_steps = plan.steps_per_bar
    marks = (pattern * 2)[:n_steps]
    first = bar * n_steps
    spread_s = {"strum": 0.012, "piano": 0.004, "epiano": 0.004}.get(role, 0.001)
    notes = []
    for step, mark in enumerate(marks):
        if mark != "x" or rng.random() < 0.03:
            continue
        end = step + 1
        while end < n_steps and marks[end] == "-":
            end += 1
        full_s = plan.time_s(first + end) - plan.time_s(first + step)
        gate = 0.6 if role in ("skank", "clav", "bubble", "stabs") else 0.95
        start_s = plan.time_s(first + step) + rng.normal(0, plan.genre.timing_ms / 1000)
        force = (0.6 + 0.3 * energy) * (1.0 if step % 4 == 0 else 0.85) + rng.normal(0, 0.05)
        order = pitches if step % 4 in (0, 3) or role != "strum" else pitches[::-1]  # strokes down and up
        for index, pitch in enumerate(order):
            begin_s = max(0.0, start_s + index * spread_s * rng.uniform(0.7, 1.3))
            notes.append(Note(begin_s, max(0.06, full_s * gate), pitch, float(np.clip(force, 0.15, 1.0))))
    return notes


def _hold_chord(
    plan: SongPlan, section: Section, bar: int, pitches: tuple[int, ...], rng: np.random.Generator
) -> list[Note]:
    """Hold a chord for a bar, tied over bars that share it."""
    if bar > section.first_bar and plan.chord_at(bar - 1) == plan.chord_at(bar) and bar % 4:
        return []
    last = bar + 1
    end = section.first_bar + section.n_bars
    while last < end and plan.chord_at(last) == plan.chord_at(bar) and last % 4:
        last += 1
    start_s = plan.time_s(bar * plan.steps_per_bar)
    duration_s = plan.time_s(last * plan.steps_per_bar) - start_s
    velocity = float(np.clip(0.5 + 0.35 * section.energy + rng.normal(0, 0.04), 0.2, 1.0))
    return [Note(start_s, duration_s * 1.01, pitch, velocity) for pitch in pitches]


def _random_figure(plan: SongPlan, role: str, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Return a figure of a bar: (step, steps held, index of a chord or scale note)."""
    n_steps = plan.steps_per_bar
    figure: list[tuple[int, int, int]] = []
    if role in ("arpeggio", "pluck", "fingered"):
        every = int(rng.choice([1, 2, 2] if role == "arpeggio" else [2, 2, 4]))
        shape = rng.choice(["up", "down", "updown", "random"])
        for number, step in enumerate(range(0, n_steps, every)):
            index = {"up": number % 4, "down": 3 - number % 4, "updown": (0, 1, 2, 3, 2, 1)[number % 6]}.get(
                str(shape), int(rng.integers(0, 5))
            )
            figure.append((step, every * (3 if role == "fingered" else 1), index))
        return figure
    step = 0 if rng.random() < 0.7 else 2
    index = int(rng.integers(0, 5))
    lengths, weights = (
        ([1, 2, 3, 4], [0.2, 0.5, 0.15, 0.15]) if role == "riff" else ([2, 3, 4, 6, 8], [0.3, 0.15, 0.3, 0.1, 0.15])
    )
    while step < n_steps:
        length = min(int(rng.choice(lengths, p=weights)), n_steps - step)
        if rng.random() < 0.8:
            figure.append((step, length, index))
        index = int(np.clip(index + rng.choice([-2, -1, -1, 0, 1, 1, 2]), -3, 8))
        step += length
    return figure


def _play_figure(
    plan: SongPlan, role: str, bar: int, figure: list[tuple[int, int, int]], chord: Chord, centre: int,
    rng: np.random.Generator
) -> list[Note]:  # fmt: skip
    if role in ("arpeggio", "pluck", "fingered"):
        pool = list(chord.voicing(centre, 5))
    else:
        pool = plan.key.pitches(centre - 7, centre + 12)
    middle = 0 if role in ("arpeggio", "pluck", "fingered") else len(pool) // 3
    first = bar * plan.steps_per_bar
    notes = []
    before: int | None = None
    for step, length, index in figure:
        pitch = pool[int(np.clip(index + middle, 0, len(pool) - 1))]
        if role == "lead" and step % 8 == 0:  # strong beats take a note of the chord
            pitch = min((p for p in pool if p % 12 in chord.pitch_classes), key=lambda p: abs(p - pitch), default=pitch)
        start_s = plan.time_s(first + step) + rng.normal(0, plan.genre.timing_ms / 1000)
        duration_s = (plan.time_s(first + step + length) - plan.time_s(first + step)) * rng.uniform(0.7, 1.0)
        slide = before if role == "lead" and before not in (None, pitch) and rng.random() < 0.15 else None
        velocity = float(np.clip(0.75 + (0.1 if step % 4 == 0 else 0) + rng.normal(0, 0.07), 0.2, 1.0))
        notes.append(Note(max(0.0, start_s), max(0.05, duration_s), pitch, velocity, slide_from=slide))
        before = pitch
    return notes
