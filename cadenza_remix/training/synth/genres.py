"""What sets the styles apart: tempo, groove, who plays, and how it is mixed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Genre:
    """One style of music.

    Parameters
    ----------
    name : str
        Also the name of the drum and bass patterns.
    tempo_bpm : pair of float
        Slowest and fastest.
    modes : tuple of str
        Scales to choose from (names in `theory.MODES`).
    swing_share, swing_steps : float, int
        Share of songs that swing, and the grid that does: 1 for sixteenths, 2 for eighths.
    timing_ms : float
        Standard deviation of a player's timing.
    seventh_share : float
        Share of chords with a seventh.
    roles : tuple of (str, float)
        Parts of the stem "other" (role in `accompaniment`) with their weights.
    bass_kinds : tuple of str
        Own basses (`patches`) to choose from.
    synthetic_drums : float
        Share of songs with drums from oscillators rather than a recorded or modelled kit.
    sidechain_share : float
        Share of songs in which the kick ducks the others.
    vocal_style : str
        "sung", "rap" or "long".
    drive : float
        How much saturation is used in the mix, from 0 to 1.
    """

    name: str
    tempo_bpm: tuple[float, float]
    modes: tuple[str, ...]
    swing_share: float
    swing_steps: int
    timing_ms: float
    seventh_share: float
    roles: tuple[tuple[str, float], ...]
    bass_kinds: tuple[str, ...]
    synthetic_drums: float
    sidechain_share: float
    vocal_style: str
    drive: float


_BAND_BASSES = ("plucked", "plucked", "picked", "soft")
_SYNTH_BASSES = ("saw", "square", "fm", "sub", "reese", "pluck-synth")

GENRES = (
    Genre(
        "rock", (92, 168), ("major", "minor", "mixolydian"), 0.1, 2, 6, 0.1,
        (("power", 3), ("strum", 2), ("riff", 2), ("organ", 1), ("lead", 1.5), ("pad", 0.5), ("piano", 0.7)),
        _BAND_BASSES, 0.05, 0.0, "sung", 0.6,
    ),
    Genre(
        "pop", (84, 132), ("major", "minor", "major"), 0.15, 1, 4, 0.25,
        (("piano", 2), ("strum", 2), ("pad", 2), ("arpeggio", 1.5), ("pluck", 1.5), ("lead", 1), ("strings", 1)),
        (*_BAND_BASSES, "saw", "sub", "square"), 0.4, 0.3, "sung", 0.3,
    ),
    Genre(
        "funk", (92, 122), ("dorian", "mixolydian", "minor"), 0.4, 1, 4, 0.8,
        (("skank", 3), ("clav", 2), ("epiano", 2), ("brass", 2), ("organ", 1), ("lead", 0.7), ("strings", 0.5)),
        ("slap", "plucked", "plucked", "square"), 0.1, 0.05, "sung", 0.35,
    ),
    Genre(
        "electronic", (108, 150), ("minor", "minor", "dorian", "phrygian", "major"), 0.15, 1, 0.5, 0.3,
        (("arpeggio", 3), ("pad", 2.5), ("lead", 2), ("pluck", 2), ("stabs", 2), ("riff", 1)),
        _SYNTH_BASSES, 0.95, 0.7, "sung", 0.5,
    ),
    Genre(
        "ballad", (58, 84), ("major", "minor", "major"), 0.1, 2, 8, 0.4,
        (("piano", 3), ("strings", 2.5), ("fingered", 2), ("pad", 2), ("epiano", 1), ("lead", 0.7)),
        (*_BAND_BASSES, "soft", "sub"), 0.1, 0.0, "long", 0.15,
    ),
    Genre(
        "metal", (110, 190), ("minor", "phrygian", "minor"), 0.0, 2, 3, 0.0,
        (("chug", 4), ("power", 3), ("lead", 1.5), ("riff", 2), ("pad", 0.4), ("strings", 0.5)),
        ("picked", "picked", "driven"), 0.03, 0.0, "sung", 0.9,
    ),
    Genre(
        "hiphop", (74, 104), ("minor", "dorian", "minor"), 0.5, 1, 6, 0.5,
        (("epiano", 2), ("pad", 2), ("stabs", 2), ("arpeggio", 1), ("strings", 1.5), ("pluck", 1.5), ("brass", 1)),
        ("sub", "sub", "808", "plucked", "soft", "square"), 0.7, 0.2, "rap", 0.5,
    ),
    Genre(
        "reggae", (66, 92), ("minor", "major", "dorian"), 0.4, 1, 6, 0.3,
        (("skank", 3), ("bubble", 3), ("brass", 1.5), ("lead", 1), ("pad", 0.7), ("clav", 1)),
        ("soft", "plucked", "sub", "soft"), 0.05, 0.0, "sung", 0.25,
    ),
    Genre(
        "disco", (110, 128), ("minor", "dorian", "major"), 0.1, 1, 3, 0.6,
        (("skank", 2), ("strings", 2.5), ("epiano", 1.5), ("brass", 1.5), ("pluck", 1), ("clav", 1), ("stabs", 1)),
        ("plucked", "slap", "saw", "square", "pluck-synth"), 0.5, 0.35, "sung", 0.35,
    ),
    Genre(
        "folk", (76, 128), ("major", "minor", "mixolydian"), 0.3, 2, 8, 0.1,
        (("strum", 4), ("fingered", 3), ("piano", 1), ("strings", 1.5), ("lead", 1), ("organ", 0.7)),
        ("soft", "plucked", "picked"), 0.0, 0.0, "sung", 0.1,
    ),
    Genre(
        "indie", (100, 152), ("major", "minor", "dorian"), 0.05, 2, 6, 0.3,
        (("strum", 2), ("riff", 2), ("arpeggio", 2), ("pad", 1.5), ("organ", 1), ("lead", 1.5), ("power", 1)),
        ("picked", "picked", "plucked", "saw"), 0.25, 0.05, "sung", 0.5,
    ),
)  # fmt: skip
