"""What the drummer plays: grooves on a grid of sixteenths, ghost notes, fills, cymbals, percussion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cadenza_remix.training.synth.notes import Hit
from cadenza_remix.training.synth.song import Section, SongPlan

# One bar of 16 steps each: x a stroke, o a softer one, . none.
_KICKS = {
    "straight": ("x.......x.......", "x.......x.x.....", "x..x....x.......", "x.....x.x.......", "x.......x..x....",
    "x.x.....x.x....."),
    "busy": ("x..x..x.x..x....", "x.....xx..x.....", "x..x...x.xx.....", "x...o..x..x..x..", "x.x....x..x...o."),
    "four": ("x...x...x...x...", "x...x...x...x..o", "x...x...x...x.x."),
    "half": ("x...............", "x.........x.....", "x.....x....x....", "x..x......x.....", "x......x..xx...."),
    "drop": ("........x.......", "x.......x.......", "........x..o...."),
    "double": ("xxxxxxxxxxxxxxxx", "x.x.x.x.x.x.x.x.", "xx.xxx.xxx.xxx.x", "x.xxx.xxx.xxx.xx"),
}  # fmt: skip
_SNARES = {
    "straight": ("....x.......x...", "....x.......x...", "....x.......x..o"),
    "busy": ("....x..o.o..x...", "....x..o....x..o", "....x....o..x..."),
    "half": ("........x.......", "........x.......", "........x......o"),
    "drop": ("........x.......",),
    "skank": ("..x...x...x...x.",),
}
_GENRE_GROOVES = {
    "rock": (("straight", "straight"), ("busy", "straight"), ("straight", "straight"), ("half", "half")),
    "pop": (("straight", "straight"), ("four", "straight"), ("busy", "straight"), ("half", "half")),
    "funk": (("busy", "busy"), ("busy", "straight"), ("straight", "busy")),
    "electronic": (("four", "straight"), ("four", "straight"), ("four", "straight"), ("busy", "straight"),
    ("half", "half")),
    "ballad": (("straight", "straight"), ("half", "half"), ("straight", "straight")),
    "metal": (("double", "straight"), ("double", "half"), ("busy", "straight"), ("straight", "straight"),
    ("four", "skank")),
    "hiphop": (("busy", "straight"), ("half", "half"), ("straight", "straight"), ("busy", "busy")),
    "reggae": (("drop", "drop"), ("four", "drop"), ("drop", "drop")),
    "disco": (("four", "straight"), ("four", "straight"), ("four", "busy")),
    "folk": (("straight", "straight"), ("half", "half"), ("four", "straight")),
    "indie": (("straight", "straight"), ("four", "straight"), ("busy", "straight"), ("double", "straight")),
}  # fmt: skip
_HATS = {
    "eighths": "x.o.x.o.x.o.x.o.", "even": "x.x.x.x.x.x.x.x.", "sixteenths": "xoooxoooxoooxooo",
    "quarters": "x...x...x...x...",
    "offbeats": "..x...x...x...x.", "gallop": "x.oox.oox.oox.oo", "broken": "x.xox.x.xox.x.xo",
}  # fmt: skip
_GENRE_HATS = {
    "funk": ("sixteenths", "broken", "sixteenths"), "electronic": ("offbeats", "sixteenths", "offbeats", "eighths"),
    "disco": ("offbeats", "gallop", "sixteenths"), "hiphop": ("eighths", "sixteenths", "broken", "even"),
    "ballad": ("eighths", "quarters", "sixteenths"), "metal": ("quarters", "even", "eighths"),
    "reggae": ("eighths", "broken", "sixteenths"),
}  # fmt: skip
_PERCUSSION = {
    "tambourine": ("....x.......x...", "x.o.x.o.x.o.x.o.", "..x...x...x...x."),
    "shaker": ("xoxoxoxoxoxoxoxo", "xooxxooxxooxxoox"),
    "clap": ("....x.......x...", "............x...", "....x.......x.x."),
    "cowbell": ("x...x...x...x...", "x..x..x...x.x..."),
    "conga_high": ("..x..x....x..x.o", "...xx.....o.x..."), "conga_low": ("......xx......x.", "o.....x.......xx"),
    "sidestick": ("...x..x....x..x.", "x..x..x...x.x..."),
}  # fmt: skip
_LEVELS = {"x": 0.92, "o": 0.5}


@dataclass(frozen=True)
class DrumTrack:
    """All strokes of a song, and the steps of the kick per bar, which the bass follows."""

    hits: tuple[Hit, ...]
    kick_steps: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Groove:
    kick: str
    snare: str
    backbeat: str
    cymbal: str
    cymbal_pattern: str
    open_share: float
    ghost_share: float
    percussion: tuple[tuple[str, str], ...]


def play_drums(plan: SongPlan, rng: np.random.Generator) -> DrumTrack:
    """Return what the drummer plays: one groove per kind of section, varied, a fill and a crash where sections meet."""
    grooves: dict[str, _Groove] = {}
    silent = {
        kind for kind in ("intro", "break", "outro", "bridge") if rng.random() < (0.3 if kind != "break" else 0.6)
    }
    if rng.random() < 0.15:
        silent.add("first verse")
    hits: list[Hit] = []
    kick_steps: list[tuple[int, ...]] = []
    for index, section in enumerate(plan.sections):
        groove = grooves.setdefault(section.kind, _random_groove(plan, section, rng))
        verses = [earlier for earlier in plan.sections[:index] if earlier.kind == "verse"]
        plays = section.kind not in silent and not ("first verse" in silent and section.kind == "verse" and not verses)
        if plays and index and rng.random() < 0.75:
            hits.append(Hit(_time(plan, section.first_bar, 0, rng), str(rng.choice(["crash", "crash2"])), 0.9))
        for bar in range(section.n_bars):
            number = section.first_bar + bar
            fills = rng.random() < (0.75 if bar == section.n_bars - 1 else 0.2 if bar % 4 == 3 else 0.0)
            steps = _play_bar(plan, groove, section, number, rng, hits, plays=plays, fills=fills)
            kick_steps.append(steps)
    if rng.random() < 0.6:
        end = plan.n_bars
        hits += [Hit(plan.time_s(end * plan.steps_per_bar), piece, 0.9) for piece in ("kick", "crash")]
    return DrumTrack(tuple(sorted(hits, key=lambda hit: hit.start_s)), tuple(kick_steps))


def _random_groove(plan: SongPlan, section: Section, rng: np.random.Generator) -> _Groove:
    name = plan.genre.name
    options = _GENRE_GROOVES[name]
    kick, snare = options[rng.integers(len(options))]
    loud = section.energy > 0.7
    cymbal = "ride" if rng.random() < (0.35 if loud else 0.12) else "hat_closed"
    if name in ("rock", "metal", "indie") and loud and rng.random() < 0.4:
        cymbal = "hat_open" if rng.random() < 0.7 else "crash"
    hats = _GENRE_HATS.get(name, ("eighths", "even", "sixteenths", "quarters", "eighths"))
    pattern = _HATS["quarters"] if cymbal == "crash" else _HATS[str(rng.choice(hats))]
    soft = section.energy < 0.6 and name in ("ballad", "folk", "reggae", "pop", "hiphop")
    backbeat = "sidestick" if soft and rng.random() < 0.4 else "snare"
    if name in ("electronic", "disco", "hiphop", "pop") and rng.random() < 0.35:
        backbeat = "clap"
    percussion = []
    for piece in _PERCUSSION:
        if rng.random() < (0.22 if loud else 0.1):
            percussion.append((piece, str(rng.choice(_PERCUSSION[piece]))))
    return _Groove(
        kick=str(rng.choice(_KICKS[kick])),
        snare=str(rng.choice(_SNARES[snare])),
        backbeat=backbeat,
        cymbal=cymbal,
        cymbal_pattern=pattern,
        open_share=float(rng.choice([0.0, 0.03, 0.1])),
        ghost_share=float(rng.uniform(0, 0.12)) if name in ("funk", "hiphop", "rock", "indie", "pop") else 0.02,
        percussion=tuple(percussion),
    )


def _play_bar(
    plan: SongPlan, groove: _Groove, section: Section, bar: int, rng: np.random.Generator, hits: list[Hit],
    *, plays: bool, fills: bool,
) -> tuple[int, ...]:  # fmt: skip
    """Add one bar's strokes and return the steps of its kick drum."""
    n_steps = plan.steps_per_bar
    kick = _fit(groove.kick, n_steps)
    kick_steps = tuple(step for step in range(n_steps) if kick[step] != ".")
    if not plays:
        if section.energy > 0.3 and rng.random() < 0.5:  # time is kept on a cymbal now and then
            for step in range(0, n_steps, 4):
                hits.append(Hit(_time(plan, bar, step, rng), "hat_closed", 0.5))
        return kick_steps
    fill_from = n_steps - int(rng.choice([4, 4, 8, 2, 12])) if fills else n_steps
    force = 0.75 + 0.25 * section.energy

    def stroke(step: int, piece: str, velocity: float) -> None:
        velocity = float(np.clip(velocity * force + rng.normal(0, 0.05), 0.08, 1.0))
        hits.append(Hit(_time(plan, bar, step, rng), piece, velocity))

    for step in range(fill_from):
        if kick[step] != "." and rng.random() > 0.03:
            stroke(step, "kick", _LEVELS[kick[step]])
        elif step % 2 == 0 and rng.random() < 0.02:
            stroke(step, "kick", 0.7)
        snare = _fit(groove.snare, n_steps)[step]
        if snare != ".":
            stroke(step, groove.backbeat if snare == "x" else "snare", _LEVELS[snare] * (1 if snare == "x" else 0.6))
        elif rng.random() < groove.ghost_share:
            stroke(step, "snare", 0.22)
        cymbal = _fit(groove.cymbal_pattern, n_steps)[step]
        if cymbal != ".":
            opened = groove.cymbal == "hat_closed" and rng.random() < groove.open_share
            stroke(step, "hat_open" if opened else groove.cymbal, _LEVELS[cymbal])
        for piece, pattern in groove.percussion:
            mark = _fit(pattern, n_steps)[step]
            if mark != ".":
                stroke(step, piece, _LEVELS[mark])
    if fill_from < n_steps:
        _play_fill(fill_from, n_steps, rng, stroke)
    return kick_steps


def _play_fill(first: int, last: int, rng: np.random.Generator, stroke: object) -> None:
    """Play a fill: a snare roll, a run down the toms, or broken strokes; louder to its end."""
    assert callable(stroke)
    kind = rng.choice(["roll", "toms", "broken", "rest"], p=[0.25, 0.4, 0.3, 0.05])
    if kind == "rest":
        return
    toms = ("snare", "tom_high", "tom_mid", "tom_low")
    for step in range(first, last):
        position = (step - first) / max(1, last - first)
        piece = "snare" if kind == "roll" else toms[min(3, int(4 * position + rng.random() * 0.6))]
        if kind == "broken":
            if rng.random() < 0.35:
                continue
            piece = str(rng.choice((*toms, "kick", "snare")))
        stroke(step, piece, 0.6 + 0.35 * position)
        if step % 4 == 0 and rng.random() < 0.4:
            stroke(step, "kick", 0.8)


def _fit(pattern: str, n_steps: int) -> str:
    """Return a pattern of a bar of this many steps: cut, or begun again."""
    return (pattern * (n_steps // len(pattern) + 1))[:n_steps]


def _time(plan: SongPlan, bar: int, step: float, rng: np.random.Generator) -> float:
    exact = plan.time_s(bar * plan.steps_per_bar + step)
    return max(0.0, exact + rng.normal(0, plan.genre.timing_ms / 1000))
