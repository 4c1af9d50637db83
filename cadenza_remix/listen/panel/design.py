"""Which songs a participant hears in which order, and what stands behind which label.

Balanced over participants by Williams' Latin squares (Williams, Australian Journal of Scientific Research A 2, 1949):
over one round of participants every song comes equally often at every place and after every other song, and every
stimulus stands equally often behind every label and beside every other. What is random is drawn from the test's seed
and the round, so that the plan of a participant depends on their number and the settings alone.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

from cadenza_remix.listen.panel.config import TestSettings
from cadenza_remix.listen.panel.records import PlannedTrial

_SONGS, _LABELS, _SIDES, _TRAINING = range(4)  # kinds of draws: each has random numbers of its own


def n_rows(n: int) -> int:
    """Return how many sequences a Williams design of ``n`` things has: ``n``, or ``2 n`` where ``n`` is odd."""
    return n if n % 2 == 0 or n == 1 else 2 * n


def williams_row(n: int, row: int) -> list[int]:
    """Return one sequence of a Williams design.

    Parameters
    ----------
    n : int
        How many things there are.
    row : int
        Which sequence; beyond `n_rows` they begin again.

    Examples
    --------
    >>> [williams_row(4, row) for row in range(4)]
    [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]
    """
    row %= n_rows(n)
    zigzag = [(place + 1) // 2 if place % 2 else -(place // 2) for place in range(n)]
    sequence = [(entry + row) % n for entry in zigzag]
    return sequence if row < n else sequence[::-1]


def plan_trials(
    settings: TestSettings, number: int, passages: Sequence[tuple[str, float, float]]
) -> tuple[PlannedTrial, ...]:
    """Return all trials of a participant: training first, then every page of every song, as often as it is repeated.

    Parameters
    ----------
    settings : TestSettings
    number : int
        Of the participant, from 1 on.
    passages : sequence of (song, start_s, duration_s)
        The songs of the test, in the order of the settings.
    """
    pages = settings.pages()
    rounds = [
        _round(settings, number, len(passages), len(pages), turn) for turn in range(settings.repeats * len(pages))
    ]
    order = [item for one in rounds for item in one]
    training = _training(settings, number, len(passages), len(pages))
    trials = []
    for trial, (song, page, repeat) in enumerate([*training, *order], start=1):
        is_training = trial <= len(training)
        labels = _labels(settings, number, song, page, repeat, is_training=is_training)
        trials.append(PlannedTrial(trial, is_training, *passages[song], labels))
    return tuple(trials)


def _round(settings: TestSettings, number: int, n_songs: int, n_pages: int, turn: int) -> list[tuple[int, int, int]]:
    """Return one way through all songs, each with one of its pages: (song, page, repeat).

    All rounds of a participant have one order of songs, so that no song follows itself where a new round begins; the
    pages of a song go round from one to the next.
    """
    block, place = divmod(number - 1, n_rows(n_songs))
    rng = np.random.default_rng([settings.seed, _SONGS, block])
    songs, rows = rng.permutation(n_songs), rng.permutation(n_rows(n_songs))
    sequence = [int(songs[entry]) for entry in williams_row(n_songs, int(rows[place]))]
    repeat, step = divmod(turn, n_pages)
    return [(song, (step + song + number) % n_pages, repeat) for song in sequence]


def _training(settings: TestSettings, number: int, n_songs: int, n_pages: int) -> list[tuple[int, int, int]]:
    """Return pages to learn on: the songs that are rated last, as long as there are enough of them."""
    last = _round(settings, number, n_songs, n_pages, 0)[::-1]
    return [
        (last[index % n_songs][0], (number + index) % n_pages, index // n_songs)
        for index in range(settings.training_trials)
    ]


def _labels(
    settings: TestSettings, number: int, song: int, page: int, repeat: int, *, is_training: bool
) -> dict[str, str]:
    stimuli = settings.pages()[page]
    n = len(stimuli)
    kind = _TRAINING if is_training else _SIDES if settings.type == "ab" else _LABELS
    if settings.type == "ab" and not is_training:
        # Each of two participants has the other side, and so have a song's neighbours and its repeats.
        block, place = divmod(number - 1, 2)
        flip = int(np.random.default_rng([settings.seed, kind, block]).integers(2))
        sequence = [0, 1] if (place + flip + song + page + repeat) % 2 == 0 else [1, 0]
    else:
        block, place = divmod(number - 1, n_rows(n))
        rng = np.random.default_rng([settings.seed, kind, block, song, page, repeat])
        names, rows = rng.permutation(n), rng.permutation(n_rows(n))
        sequence = [int(names[entry]) for entry in williams_row(n, int(rows[place]))]
    return {string.ascii_uppercase[index]: stimuli[entry] for index, entry in enumerate(sequence)}
