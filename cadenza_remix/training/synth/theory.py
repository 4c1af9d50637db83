"""Scales, chords and chord progressions; pitches are MIDI numbers (69 is 440 Hz), pitch classes count from C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)
DORIAN = (0, 2, 3, 5, 7, 9, 10)
MIXOLYDIAN = (0, 2, 4, 5, 7, 9, 10)
PHRYGIAN = (0, 1, 3, 5, 7, 8, 10)
MODES = {"major": MAJOR, "minor": MINOR, "dorian": DORIAN, "mixolydian": MIXOLYDIAN, "phrygian": PHRYGIAN}

# Degrees of the scale, counted from 0; one per bar.
_MAJOR_PROGRESSIONS = (
    (0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (0, 3, 0, 4), (3, 0, 4, 5), (0, 2, 3, 4), (0, 4, 3, 3),
    (1, 4, 0, 0), (0, 5, 1, 4), (3, 4, 2, 5), (0, 0, 3, 4), (0, 1, 3, 0), (5, 4, 3, 4), (0, 4, 1, 3),
)  # fmt: skip
_MINOR_PROGRESSIONS = (
    (0, 5, 2, 6), (0, 6, 5, 6), (0, 3, 4, 0), (0, 5, 3, 4), (0, 2, 6, 3), (0, 0, 5, 6), (5, 6, 0, 0), (0, 3, 5, 4),
    (0, 6, 5, 4), (0, 0, 0, 6), (3, 0, 5, 6), (0, 2, 5, 6), (0, 0, 3, 0),
)  # fmt: skip


@dataclass(frozen=True)
class Chord:
    """A chord: the pitch class of its root and its notes above the root in semitones."""

    root: int
    intervals: tuple[int, ...]

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """The pitch classes, root first."""
        return tuple((self.root + interval) % 12 for interval in self.intervals)

    def voicing(self, centre: int, n_notes: int) -> tuple[int, ...]:
        """Return ``n_notes`` pitches of the chord around a pitch, lowest first."""
        inside = [pitch for pitch in range(centre - 14, centre + 15) if pitch % 12 in self.pitch_classes]
        inside.sort(key=lambda pitch: abs(pitch - centre + 0.1))
        return tuple(sorted(inside[:n_notes]))


@dataclass(frozen=True)
class Key:
    """A key: the pitch class of the tonic and the scale's steps in semitones."""

    tonic: int
    mode: str

    @property
    def scale(self) -> tuple[int, ...]:
        """Semitones of the seven degrees above the tonic."""
        return MODES[self.mode]

    def pitch(self, degree: int) -> int:
        """Return the semitones of a degree (0 the tonic, 7 the octave) above the tonic's pitch class."""
        return self.tonic + 12 * (degree // 7) + self.scale[degree % 7]

    def pitches(self, low: int, high: int) -> list[int]:
        """Return the scale's MIDI pitches from ``low`` to ``high``, both included."""
        classes = {(self.tonic + step) % 12 for step in self.scale}
        return [pitch for pitch in range(low, high + 1) if pitch % 12 in classes]

    def chord(self, degree: int, n_notes: int = 3) -> Chord:
        """Return the chord of thirds on a degree, of 3 to 5 notes."""
        root = self.pitch(degree)
        return Chord(root % 12, tuple(self.pitch(degree + 2 * index) - root for index in range(n_notes)))


def random_progression(key: Key, n_bars: int, rng: np.random.Generator, *, seventh_share: float) -> tuple[Chord, ...]:
    """Return one chord per bar: a usual progression of four bars, repeated; some chords with sevenths or suspended."""
    major = key.mode in ("major", "mixolydian")
    table = _MAJOR_PROGRESSIONS if major else _MINOR_PROGRESSIONS
    degrees = table[rng.integers(len(table))]
    stretch = 2 if n_bars >= 8 and rng.random() < 0.15 else 1
    chords = []
    for degree in degrees:
        chord = key.chord(degree, 4 if rng.random() < seventh_share else 3)
        if not major and degree == 4 and rng.random() < 0.5:  # the dominant of harmonic minor
            chord = Chord(chord.root, (0, 4, 7, 10) if len(chord.intervals) > 3 else (0, 4, 7))
        elif rng.random() < 0.08:
            chord = Chord(chord.root, (0, 5, 7) if rng.random() < 0.6 else (0, 2, 7))
        if 6 in chord.intervals and rng.random() < 0.8:  # diminished chords are rare in songs
            chord = Chord(chord.root, (0, 3, 7))
        chords += [chord] * stretch
    return tuple(chords[index % len(chords)] for index in range(n_bars))
