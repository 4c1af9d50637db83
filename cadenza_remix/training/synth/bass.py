"""What the bass plays: along with the kick drum and the chords, with runs, octaves and slides."""

from __future__ import annotations

import numpy as np

from cadenza_remix.training.synth.drums import DrumTrack
from cadenza_remix.training.synth.notes import Note
from cadenza_remix.training.synth.song import SongPlan
from cadenza_remix.training.synth.theory import Chord

LOWEST_PITCH = 28
"""E of the four-string bass, 41 Hz."""

_STYLES = {
    "rock": ("eighths", "kick", "eighths"), "pop": ("kick", "eighths", "long", "kick"),
    "funk": ("funk", "kick", "octaves"),
    "electronic": ("offbeat", "sixteenths", "kick", "long", "octaves"), "ballad": ("long", "kick", "long"),
    "metal": ("kick", "eighths", "sixteenths"), "hiphop": ("kick", "long", "kick", "funk"),
    "reggae": ("melodic", "kick", "melodic"),
    "disco": ("octaves", "kick", "funk"), "folk": ("root-fifth", "long", "root-fifth"),
    "indie": ("eighths", "kick", "eighths"),
}  # fmt: skip


def play_bass(plan: SongPlan, drums: DrumTrack, rng: np.random.Generator) -> tuple[Note, ...]:
    """Return the bass line of a song; it may rest in breaks, intros and a first verse."""
    styles: dict[str, str] = {}
    low = LOWEST_PITCH + int(rng.integers(0, 4)) - (4 if plan.genre.name in ("metal", "hiphop", "electronic") else 0)
    resting = {kind for kind in ("intro", "break", "outro") if rng.random() < 0.3}
    slide_share = float(rng.choice([0.0, 0.03, 0.1]))
    tightness = rng.uniform(0.45, 1.0)
    notes: list[Note] = []
    for section in plan.sections:
        style = styles.setdefault(section.kind, str(rng.choice(_STYLES[plan.genre.name])))
        if section.kind in resting:
            continue
        pattern = _random_steps(plan, style, drums.kick_steps[section.first_bar], rng)
        for bar in range(section.first_bar, section.first_bar + section.n_bars):
            steps = pattern if style != "kick" else _random_steps(plan, style, drums.kick_steps[bar], rng)
            following = plan.chord_at(min(bar + 1, plan.n_bars - 1))
            notes += _play_bar(plan, bar, style, steps, (plan.chord_at(bar), following), low, tightness, rng)
    return tuple(_with_slides(notes, slide_share, rng))


def _random_steps(plan: SongPlan, style: str, kick_steps: tuple[int, ...], rng: np.random.Generator) -> list[int]:
    n_steps = plan.steps_per_bar
    every = {"eighths": 2, "sixteenths": 1, "octaves": 2, "root-fifth": 8}
    if style in every:
        return list(range(0, n_steps, every[style]))
    if style == "offbeat":
        return list(range(2, n_steps, 4))
    if style == "long":
        return [0] if rng.random() < 0.6 else [0, int(rng.choice([6, 8, 10]))]
    if style == "kick":
        return list(kick_steps) or [0]
    share = 0.45 if style == "funk" else 0.3
    grid = 1 if style == "funk" else 2
    return [0, *(step for step in range(grid, n_steps, grid) if rng.random() < share)]


def _play_bar(
    plan: SongPlan, bar: int, style: str, steps: list[int], chords: tuple[Chord, Chord], low: int, tightness: float,
    rng: np.random.Generator,
) -> list[Note]:  # fmt: skip
    chord, following = chords
    root = low + (chord.root - low) % 12
    fifth = root + (chord.intervals[2] if len(chord.intervals) > 2 else 7)
    next_root = low + (following.root - low) % 12
    notes = []
    first = bar * plan.steps_per_bar
    for index, step in enumerate(steps):
        pitch = root
        if style == "octaves" and index % 2:
            pitch = root + 12
        elif style == "root-fifth" and index % 2:
            pitch = fifth if fifth < low + 14 else fifth - 12
        elif style in ("funk", "melodic") and step and rng.random() < 0.55:
            pitch = int(
                rng.choice([root, root + 12, fifth, root + chord.intervals[1], root + 10 - 12 * (root > low + 7)])
            )
        elif index == len(steps) - 1 and index and step >= plan.steps_per_bar - 4 and rng.random() < 0.3:
            pitch = next_root + int(rng.choice([-1, -2, 1, 2]))  # leads into the next chord
        end = steps[index + 1] if index + 1 < len(steps) else plan.steps_per_bar
        start_s = plan.time_s(first + step) + rng.normal(0, plan.genre.timing_ms / 1000)
        full_s = plan.time_s(first + end) - plan.time_s(first + step)
        short = style in ("funk", "octaves", "sixteenths") and rng.random() < 0.5
        duration_s = max(0.05, full_s * (0.5 if short else tightness))
        velocity = float(np.clip((0.9 if step % 4 == 0 else 0.75) + rng.normal(0, 0.06), 0.2, 1.0))
        notes.append(Note(max(0.0, start_s), duration_s, max(pitch, low - 3), velocity))
    return notes


def _with_slides(notes: list[Note], share: float, rng: np.random.Generator) -> list[Note]:
    slid = []
    for before, note in zip([None, *notes], notes, strict=False):
        if before is not None and before.pitch != note.pitch and note.duration_s > 0.15 and rng.random() < share:
            start = int(np.clip(before.pitch, note.pitch - 7, note.pitch + 7))
            note = Note(note.start_s, note.duration_s, note.pitch, note.velocity, slide_from=start)
        slid.append(note)
    return slid
