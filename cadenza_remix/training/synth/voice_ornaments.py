"""Ad-libs: long notes of a melody broken into runs and turns on one vowel."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from cadenza_remix.errors import InputError
from cadenza_remix.training.synth.voice_settings import SungNote
from cadenza_remix.training.synth.voice_words import MELISMA

_SHORTEST_S = 0.5  # of the notes that are ornamented
# Steps along the scale, from the note: turn, upper neighbour, run downwards, fall from above, lift.
_FIGURES = ((0, 1, 0, -1, 0), (0, 1, 0), (0, 2, 1, 0, -1), (1, 0), (0, -1, 0), (0, 1, 2), (-1, 0), (0, -1, -2))


def ornamented(
    notes: Sequence[SungNote],
    rng: np.random.Generator,
    *,
    share: float = 0.3,
    pitch_classes: Collection[int] = range(12),
) -> list[SungNote]:
    """Return the melody with some of its long notes ornamented.

    Parameters
    ----------
    notes : sequence of SungNote
    rng : numpy.random.Generator
    share : float
        Of the notes of 0.5 s or more, 0 to 1.
    pitch_classes : collection of int
        The scale that the figures keep to, 0 for C to 11; the note itself may lie beside it.

    Raises
    ------
    InputError
        When `share` is not 0 to 1, or the scale is empty or has other numbers.
    """
    if not 0.0 <= share <= 1.0:
        raise InputError("out of range", where="share", expected="0 to 1", found=share)
    classes = sorted(set(pitch_classes))
    if not classes or classes[0] < 0 or classes[-1] > 11:
        raise InputError("not a scale", where="pitch_classes", expected="numbers of 0 to 11", found=classes)
    melody: list[SungNote] = []
    for note in notes:
        if note.duration_s < _SHORTEST_S or rng.random() >= share:
            melody.append(note)
            continue
        figure = _FIGURES[rng.integers(len(_FIGURES))]
        pitches = [_step(note.midi_pitch, steps, classes) for steps in figure]
        quick = rng.uniform(0.08, 0.15)
        # The figure stands at the note's beginning or at its end; the rest of the note is held.
        lengths = [quick] * (len(figure) - 1)
        held = note.duration_s - sum(lengths)
        lengths = [held, *lengths] if rng.random() < 0.5 else [*lengths, held]
        start = note.start_s
        for place, (pitch, length) in enumerate(zip(pitches, lengths, strict=True)):
            syllable = note.syllable if place == 0 else MELISMA
            melody.append(replace(note, start_s=start, duration_s=length, midi_pitch=pitch, syllable=syllable))
            start += length
    return melody


def _step(pitch: float, steps: int, classes: Sequence[int]) -> float:
    """Return the pitch some steps of the scale away."""
    direction = 1 if steps > 0 else -1
    for _ in range(abs(steps)):
        pitch += direction
        while round(pitch) % 12 not in classes:
            pitch += direction
    return pitch
