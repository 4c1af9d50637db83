"""Raters of known taste: a whole test answered by made-up people, to see whether an analysis finds what was put in.

A rating is the true quality of the system (for this song and listener), plus how high this person rates everything,
plus what is peculiar to this song in this system, plus noise; it is cut off at 0 and 100, so that true means keep
their distance from both. Honest assessors rate the hidden reference near 100; careless ones rate everything at random.
In A/B tests a system is preferred with a known probability, around which people differ.
"""

from __future__ import annotations

import sqlite3
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cadenza_remix.errors import InputError
from cadenza_remix.hearing.severity import GRADES
from cadenza_remix.listen.panel.answer_table import RATING_COLUMNS, Answers, is_control
from cadenza_remix.listen.panel.config import HIDDEN_REFERENCE, TYPES
from cadenza_remix.listen.panel.records import PlannedTrial
from cadenza_remix.listen.panel.store import PanelStore

_CONFIRMED = "2026-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class Simulation:
    """What the made-up people think, and how many of them there are.

    Parameters
    ----------
    quality : mapping of str to float
        True rating of each stimulus, 0 to 100; in A/B tests the probability with which each system is preferred to
        ``against``. With ``song_quality`` the mean over songs and listeners is what it gives.
    type : str
        One of `cadenza_remix.listen.panel.config.TYPES`.
    against : str
        In A/B tests: the other system of all pairs.
    song_quality : callable, optional
        Takes system, song and listener and returns what is added to ``quality``.
    n_participants, n_songs, repeats, n_training : int
        ``n_training`` trials come first and are answered at random: they must never count.
    scales : sequence of str
        Of ``scales`` tests; all are rated alike but for the noise.
    person_sd, taste_sd, song_sd, noise_sd : float
        Spread of how high people rate everything, of what each thinks of each system, of each system over the songs,
        and of one rating, on the scale of 0 to 100. In A/B tests only ``taste_sd`` counts, on the scale of
        probabilities. By default it is 4, or 0.1.
    careless_share : float
        Of the participants (rounded); they are the last ones.
    tie_share : float
        In A/B tests: how often people have no preference.
    """

    quality: Mapping[str, float]
    type: str = "mushra"
    against: str = ""
    song_quality: Callable[[str, str, str], float] | None = None
    n_participants: int = 12
    n_songs: int = 6
    repeats: int = 1
    n_training: int = 1
    scales: Sequence[str] = ("quality",)
    person_sd: float = 8.0
    taste_sd: float | None = None
    song_sd: float = 4.0
    noise_sd: float = 6.0
    careless_share: float = 0.0
    tie_share: float = 0.0
    severities: Sequence[str] = field(default=GRADES[1:4])

    @property
    def careless(self) -> tuple[int, ...]:
        """Numbers of the careless participants."""
        n_honest = self.n_participants - round(self.careless_share * self.n_participants)
        return tuple(range(n_honest + 1, self.n_participants + 1))

    @property
    def songs(self) -> tuple[str, ...]:
        return tuple(f"Song {number:02d}" for number in range(1, self.n_songs + 1))

    def listener(self, number: int) -> str:
        """Return the listener of a participant: everybody has an audiogram of his own."""
        return f"L{5000 + number}"


def simulate(path: str | Path, simulation: Simulation, rng: np.random.Generator) -> None:
    """Write the database of a test that made-up people answered to the end.

    Parameters
    ----------
    path : path
        A new file.
    simulation : Simulation
    rng : numpy.random.Generator
        Equal states give equal answers.

    Raises
    ------
    InputError
        There is a file of this name, or no such type of test.
    """
    if Path(path).exists():
        raise InputError("is there already", where=path, expected="a new file")
    people = list(_people(simulation, rng))
    with closing(PanelStore(path, _settings(simulation))) as store:
        for person in people:
            store.add_participant(
                person.number, listener=person.listener, audiogram={}, severity=person.severity, trials=person.trials
            )
    with closing(sqlite3.connect(path)) as database, database:  # one transaction: thousands would take minutes
        for person in people:
            rows = [(person.number, *row) for row in person.ratings]
            database.executemany("INSERT INTO ratings VALUES (?, ?, ?, ?, ?)", rows)
        database.execute("UPDATE trials SET confirmed = ?, seconds = 30.0, n_plays = '{}'", (_CONFIRMED,))
        database.execute("UPDATE participants SET state = 'done', volume = 0.5")


def simulated_answers(simulation: Simulation, rng: np.random.Generator) -> Answers:
    """Return what `read_answers` would read of a test that `simulate` wrote, without a file."""
    import pandas as pd

    people = list(_people(simulation, rng))
    rows = []
    for person in people:
        trials = {trial.trial: trial for trial in person.trials if not trial.is_training}
        for number, label, scale, value in sorted(person.ratings):
            if number in trials:
                trial = trials[number]
                who = (person.number, person.listener, person.severity, number, trial.song, trial.start_s)
                rows.append((*who, trial.duration_s, label, trial.labels[label], scale, value, 30.0, None))
    settings = _settings(simulation)
    return Answers(
        title=settings["title"],
        type=simulation.type,
        against=simulation.against or None,
        scale_labels={scale["id"]: scale["label"] for scale in settings["scales"]},
        ratings=pd.DataFrame(rows, columns=list(RATING_COLUMNS)),
        n_participants=simulation.n_participants,
        n_trials=sum(not trial.is_training for person in people for trial in person.trials),
        n_open=0,
    )


@dataclass(frozen=True)
class _Person:
    """A made-up participant: the trials, and trial, label, scale and value of every rating."""

    number: int
    listener: str
    severity: str
    trials: tuple[PlannedTrial, ...]
    ratings: tuple[tuple[int, str, str, float], ...]


class _Thoughts:
    """What is drawn once for a test: how high people rate, their tastes, how systems do on songs."""

    def __init__(self, simulation: Simulation, rng: np.random.Generator) -> None:
        people = range(1, simulation.n_participants + 1)
        taste_sd = simulation.taste_sd
        if taste_sd is None:
            taste_sd = 0.1 if simulation.type == "ab" else 4.0
        names = sorted(simulation.quality)
        self.simulation = simulation
        self.person = dict(zip(people, rng.normal(0, simulation.person_sd, len(people)), strict=True))
        self.taste = {(p, name): rng.normal(0, taste_sd) for p in people for name in names}
        self.song = {(s, name): rng.normal(0, simulation.song_sd) for s in simulation.songs for name in names}

    def rating(self, number: int, system: str, song: str, rng: np.random.Generator) -> float:
        if number in self.simulation.careless:
            return float(rng.uniform(0, 100))
        if system == HIDDEN_REFERENCE:
            return 100.0 - float(np.minimum(np.abs(rng.normal(0, 2.5)), 8.0))
        true = self.simulation.quality[system]
        if self.simulation.song_quality is not None:
            true += self.simulation.song_quality(system, song, self.simulation.listener(number))
        effects = self.person[number] + self.taste[number, system] + self.song[song, system]
        return float(np.clip(true + effects + rng.normal(0, self.simulation.noise_sd), 0, 100))

    def preference(self, number: int, system: str, rng: np.random.Generator) -> float:
        if rng.uniform() < self.simulation.tie_share:
            return 0.5
        probability = self.simulation.quality[system] + self.taste[number, system]
        return float(rng.uniform() < (0.5 if number in self.simulation.careless else probability))


def _people(simulation: Simulation, rng: np.random.Generator) -> Iterator[_Person]:
    if simulation.type not in TYPES:
        raise InputError("unknown type of test", expected="one of " + ", ".join(TYPES), found=simulation.type)
    thoughts = _Thoughts(simulation, rng)
    for number in range(1, simulation.n_participants + 1):
        severity = simulation.severities[(number - 1) % len(simulation.severities)]
        trials = tuple(_trials(simulation, rng))
        ratings = tuple(rating for trial in trials for rating in _ratings(number, trial, thoughts, rng))
        yield _Person(number, simulation.listener(number), severity, trials, ratings)


def _trials(simulation: Simulation, rng: np.random.Generator) -> Iterator[PlannedTrial]:
    """Yield training first, then every page of every song as often as it is repeated, in random order."""
    pages = list(_pages(simulation)) * simulation.repeats
    order = [pages[place] for place in rng.permutation(len(pages))]
    for number, (song, stimuli) in enumerate([*order[: simulation.n_training], *order], start=1):
        names = [stimuli[place] for place in rng.permutation(len(stimuli))]
        labels = dict(zip(string.ascii_uppercase, names, strict=False))
        yield PlannedTrial(number, number <= simulation.n_training, song, 0.0, 10.0, labels)


def _ratings(
    number: int, trial: PlannedTrial, thoughts: _Thoughts, rng: np.random.Generator
) -> Iterator[tuple[int, str, str, float]]:
    simulation = thoughts.simulation
    for scale in _scales(simulation):
        if simulation.type == "ab":
            system = next(name for name in trial.labels.values() if name != simulation.against)
            chosen = float(rng.integers(2)) if trial.is_training else thoughts.preference(number, system, rng)
            values = {system: chosen, simulation.against: 1.0 - chosen}
        elif trial.is_training:
            values = {name: float(rng.uniform(0, 100)) for name in trial.labels.values()}
        else:
            values = {name: thoughts.rating(number, name, trial.song, rng) for name in trial.labels.values()}
        for label, name in trial.labels.items():
            yield trial.trial, label, scale, values[name]


def _pages(simulation: Simulation) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield song and stimuli of each page."""
    for song in simulation.songs:
        if simulation.type == "ab":
            yield from ((song, (simulation.against, name)) for name in simulation.quality)
        else:
            yield song, tuple(simulation.quality)


def _scales(simulation: Simulation) -> tuple[str, ...]:
    return ("preference",) if simulation.type == "ab" else tuple(simulation.scales)


def _settings(simulation: Simulation) -> dict[str, Any]:
    systems = [simulation.against] if simulation.type == "ab" else []
    return {
        "title": "Simulated test",
        "type": simulation.type,
        "systems": [*systems, *(name for name in simulation.quality if not is_control(name))],
        "scales": [{"id": name, "label": name.replace("_", " ").capitalize()} for name in _scales(simulation)],
        "against": simulation.against,
    }
