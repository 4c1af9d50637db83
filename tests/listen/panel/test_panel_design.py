"""The plan of each participant: balanced over participants, random, and the same again."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from cadenza_remix.listen.panel.config import SCALES, TestSettings
from cadenza_remix.listen.panel.design import n_rows, plan_trials, williams_row

MUSHRA = {"type": "mushra", "systems": ("a", "b", "mixture"), "reference": "a"}


def settings(**changes):
    values = {"title": "T", "run": ("r",), "folder": Path(), "seed": 7, "scales": (SCALES["quality"],), **MUSHRA}
    return TestSettings(**{**values, **changes})


def songs(n):
    return [(f"song {number}", 0.0, 10.0) for number in range(n)]


def rated(test, number, n_songs):
    return [trial for trial in plan_trials(test, number, songs(n_songs)) if not trial.is_training]


@pytest.mark.parametrize("n", range(1, 10))
def test_williams_squares_are_balanced(n):
    rows = [williams_row(n, row) for row in range(n_rows(n))]
    assert all(sorted(row) == list(range(n)) for row in rows)
    times = len(rows) // n
    for place in range(n):
        assert Counter(row[place] for row in rows) == dict.fromkeys(range(n), times)
    followers = Counter(pair for row in rows for pair in pairwise(row))
    if n > 1:
        assert set(followers.values()) == {times}
        assert len(followers) == n * (n - 1)


@pytest.mark.parametrize("n_songs", [1, 2, 3, 4, 5, 8])
def test_songs_are_balanced_over_a_round_of_participants(n_songs):
    people = range(1, n_rows(n_songs) + 1)
    orders = [[trial.song for trial in rated(settings(), number, n_songs)] for number in people]
    for place in range(n_songs):
        assert len(set(Counter(order[place] for order in orders).values())) == 1
    if n_songs > 1:
        assert len(set(Counter(pair for order in orders for pair in pairwise(order)).values())) == 1


def test_labels_are_balanced_for_every_song():
    test, n_songs = settings(), 3
    n = len(test.pages()[0])
    assert n == 6
    places = Counter()
    for number in range(1, n + 1):
        for trial in rated(test, number, n_songs):
            assert sorted(trial.labels) == list("ABCDEF")
            places.update((trial.song, label, stimulus) for label, stimulus in trial.labels.items())
    assert set(places.values()) == {1}
    assert len(places) == n_songs * n * n


def test_order_depends_on_seed_and_number_alone():
    assert plan_trials(settings(), 3, songs(4)) == plan_trials(settings(), 3, songs(4))
    plans = {str(plan_trials(settings(seed=seed), number, songs(4))) for seed in range(5) for number in range(1, 9)}
    assert len(plans) == 40


@pytest.mark.parametrize(("kind", "n_pages"), [("mushra", 1), ("ab", 2), ("scales", 3)])
def test_every_page_of_every_song_comes_as_often_as_it_is_repeated(kind, n_pages):
    changes = {"type": kind, "repeats": 2, "against": "b", "one_by_one": kind == "scales"}
    test = settings(**changes)
    for number in range(1, 6):
        trials = rated(test, number, 4)
        pages = Counter((trial.song, frozenset(trial.labels.values())) for trial in trials)
        assert set(pages.values()) == {2}
        assert len(pages) == 4 * n_pages
        assert not [1 for one, other in pairwise(trials) if one.song == other.song]


def test_sides_of_a_comparison_are_balanced():
    test = settings(type="ab", against="b", repeats=2)
    sides = Counter()
    for number in range(1, 3):
        own = Counter(trial.labels["A"] == "b" for trial in rated(test, number, 3))
        assert own[True] == own[False] == 6
        sides.update((trial.song, trial.labels["A"], trial.labels["B"]) for trial in rated(test, number, 3))
    assert set(sides.values()) == {2}
    assert len(sides) == 3 * 2 * 2
    firsts = {rated(settings(type="ab", against="b", seed=seed), 1, 1)[0].labels["A"] for seed in range(20)}
    assert "b" in firsts
    assert len(firsts) > 1


def test_one_comparison_alone_is_balanced_within_a_participant():
    test = settings(type="ab", systems=("b", "a"), against="b")
    for number in range(1, 5):
        assert Counter(trial.labels["A"] for trial in rated(test, number, 4)) == {"a": 2, "b": 2}


def test_training_comes_first_with_the_songs_that_are_rated_last():
    trials = plan_trials(settings(training_trials=3), 2, songs(4))
    assert [trial.trial for trial in trials] == list(range(1, 8))
    assert [trial.is_training for trial in trials] == [True] * 3 + [False] * 4
    assert [trial.song for trial in trials[:3]] == [trial.song for trial in trials[:3:-1]]
    assert len(plan_trials(settings(training_trials=0), 2, songs(4))) == 4
    # More training than songs: they begin again.
    assert len(plan_trials(settings(training_trials=5), 2, songs(2))) == 7
