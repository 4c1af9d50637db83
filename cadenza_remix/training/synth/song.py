"""The plan of a song: style, tempo, key, form and chords. Everything that the players need to agree on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cadenza_remix.training.synth.genres import GENRES, Genre
from cadenza_remix.training.synth.theory import Chord, Key, random_progression

STEPS_PER_BEAT = 4
_SHORTEST_FORM = 12  # bars; a shorter song has no time for more than a verse and a chorus
TAIL_S = 2.5
"""Time for the last notes and the reverberation to die away."""

_FORMS = (
    ("intro", "verse", "chorus", "verse", "chorus", "bridge", "chorus", "outro"),
    ("intro", "verse", "verse", "chorus", "verse", "chorus", "chorus", "outro"),
    ("chorus", "verse", "chorus", "break", "verse", "chorus", "bridge", "chorus"),
    ("intro", "chorus", "verse", "chorus", "bridge", "break", "chorus", "outro"),
    ("verse", "chorus", "verse", "chorus", "solo", "chorus", "chorus", "outro"),
    ("intro", "verse", "break", "chorus", "verse", "solo", "chorus", "chorus"),
)
_ENERGY = {"intro": 0.4, "verse": 0.55, "chorus": 0.95, "bridge": 0.6, "break": 0.25, "solo": 0.85, "outro": 0.5}


@dataclass(frozen=True)
class Section:
    """A stretch of bars with a chord each; ``energy`` from 0 to 1 says how many play, and how hard."""

    kind: str
    first_bar: int
    chords: tuple[Chord, ...]
    energy: float

    @property
    def n_bars(self) -> int:
        """Number of bars."""
        return len(self.chords)


@dataclass(frozen=True)
class SongPlan:
    """What all players of a song agree on.

    ``swing`` is the share of a pair of grid steps that the second one comes late: 0 is straight, 1/3 a triplet.
    """

    genre: Genre
    tempo_bpm: float
    beats_per_bar: int
    swing: float
    key: Key
    sections: tuple[Section, ...]
    lead_in_s: float

    @property
    def steps_per_bar(self) -> int:
        """Sixteenths in a bar."""
        return STEPS_PER_BEAT * self.beats_per_bar

    @property
    def n_bars(self) -> int:
        """Bars of the whole song."""
        return sum(section.n_bars for section in self.sections)

    @property
    def step_s(self) -> float:
        """Duration of a sixteenth in seconds."""
        return 60.0 / self.tempo_bpm / STEPS_PER_BEAT

    @property
    def duration_s(self) -> float:
        """Duration of the whole song with its tail."""
        return self.lead_in_s + self.n_bars * self.steps_per_bar * self.step_s + TAIL_S

    def time_s(self, step: float) -> float:
        """Return when a step (a sixteenth, counted from the first bar) sounds, swing included."""
        unit = self.genre.swing_steps
        pair, inside = divmod(step, 2 * unit)
        # The first half of each pair is stretched and the second one squeezed.
        late = self.swing * unit
        if inside <= unit:
            inside *= (unit + late) / unit
        else:
            inside = unit + late + (inside - unit) * (unit - late) / unit
        return self.lead_in_s + (pair * 2 * unit + inside) * self.step_s

    def chord_at(self, bar: int) -> Chord:
        """Return the chord of a bar."""
        section = self.section_at(bar)
        return section.chords[bar - section.first_bar]

    def section_at(self, bar: int) -> Section:
        """Return the section that a bar belongs to."""
        for section in self.sections:
            if bar < section.first_bar + section.n_bars:
                return section
        return self.sections[-1]


def random_plan(rng: np.random.Generator, *, song_length_s: tuple[float, float]) -> SongPlan:
    """Return a random song of a duration between two bounds, in seconds (to a bar).

    Sections of one kind share their chords, as verses and choruses do.
    """
    genre = GENRES[rng.integers(len(GENRES))]
    tempo_bpm = float(np.round(rng.uniform(*genre.tempo_bpm), 2 if rng.random() < 0.3 else 0))
    beats_per_bar = 3 if genre.name in ("ballad", "folk", "indie") and rng.random() < 0.2 else 4
    swing = rng.uniform(0.12, 0.34) if rng.random() < genre.swing_share else rng.choice([0.0, 0.0, 0.04])
    key = Key(int(rng.integers(12)), str(rng.choice(genre.modes)))
    bar_s = beats_per_bar * 60.0 / tempo_bpm
    lead_in_s = rng.uniform(0.05, 0.6)
    n_bars = max(1, round((rng.uniform(*song_length_s) - TAIL_S - lead_in_s) / bar_s))
    sections = _random_sections(rng, n_bars, key, genre)
    return SongPlan(genre, tempo_bpm, beats_per_bar, float(swing), key, sections, float(lead_in_s))


def _random_sections(rng: np.random.Generator, n_bars: int, key: Key, genre: Genre) -> tuple[Section, ...]:
    form = _FORMS[rng.integers(len(_FORMS))] if n_bars >= _SHORTEST_FORM else ("verse", "chorus")
    unit = 8 if n_bars >= 36 else 4
    chords: dict[str, tuple[Chord, ...]] = {}
    sections: list[Section] = []
    index, bar = 0, 0
    while bar < n_bars:
        kind = form[index % len(form)]
        length = unit if kind in ("verse", "chorus", "solo") else max(2, unit // int(rng.choice([1, 2])))
        source = {"intro": "verse", "outro": "chorus", "solo": "chorus", "break": "verse"}.get(kind, kind)
        if source not in chords:
            chords[source] = random_progression(key, 8, rng, seventh_share=genre.seventh_share)
        length = min(length, n_bars - bar)
        energy = float(np.clip(_ENERGY[kind] + rng.normal(0, 0.12), 0.1, 1.0))
        sections.append(Section(kind, bar, tuple(chords[source][i % 8] for i in range(length)), energy))
        bar += length
        index += 1
    return tuple(sections)
