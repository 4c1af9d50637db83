"""Intervals over songs and listeners: against closed forms, brute force, and simulated data of a known mean."""

import math

import numpy as np
import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.report.bootstrap import cluster_interval, draw_weights, expanded_tail, resampled_means


def crossed(n_songs, n_listeners, n_each=1):
    """Codes of a complete table, values of a cell next to each other."""
    songs = np.repeat(np.arange(n_songs), n_listeners * n_each)
    listeners = np.tile(np.repeat(np.arange(n_listeners), n_each), n_songs)
    return songs, listeners


def test_resampling_equals_writing_every_value_out_as_often_as_it_was_drawn():
    rng = np.random.default_rng(5)
    songs, listeners = crossed(4, 3, 8)
    kept = rng.random(len(songs)) < 0.8  # a table with holes: cells of unequal numbers of values
    songs, listeners = songs[kept], listeners[kept]
    values = rng.normal(size=len(songs))
    song_weights, listener_weights = draw_weights(4, 3, n_resamples=50, seed=9)
    expected = []
    for of_song, of_listener in zip(song_weights, listener_weights, strict=True):
        drawn_songs = np.repeat(np.arange(4), of_song.astype(int))
        drawn_listeners = np.repeat(np.arange(3), of_listener.astype(int))
        drawn = [values[(songs == song) & (listeners == person)] for song in drawn_songs for person in drawn_listeners]
        expected.append(np.concatenate(drawn).mean())
    means = resampled_means(values, songs, listeners, n_resamples=50, seed=9)
    np.testing.assert_allclose(means, expected, rtol=0, atol=1e-13)  # sums of at most 96 values of order 1


def test_two_by_two_draws_the_nine_outcomes_as_often_as_it_should():
    songs, listeners = crossed(2, 2)
    values = np.array([0.0, 1.0, 10.0, 100.0])
    n = 20_000
    means = resampled_means(values, songs, listeners, n_resamples=n, seed=1)
    table = values.reshape(2, 2)
    draws = {(2, 0): 0.25, (1, 1): 0.5, (0, 2): 0.25}
    for of_song, song_share in draws.items():
        for of_listener, listener_share in draws.items():
            outcome = np.array(of_song) @ table @ np.array(of_listener) / 4
            share = song_share * listener_share
            error = 4 * math.sqrt(share * (1 - share) / n)  # four standard errors of a binomial share
            assert np.isclose(means, outcome, atol=1e-12).mean() == pytest.approx(share, abs=error)


def test_one_song_leaves_the_ordinary_bootstrap_over_listeners():
    values = np.random.default_rng(2).normal(size=30)
    means = resampled_means(values, np.zeros(30, int), np.arange(30), n_resamples=40_000, seed=3)
    # The variance of a bootstrap mean is the variance with divisor n, over n; its estimate from 40,000 draws has a
    # relative standard error of sqrt(2 / 40000) = 0.7 %.
    assert means.var() == pytest.approx(values.var() / 30, rel=0.03)
    assert means.mean() == pytest.approx(values.mean(), abs=4 * math.sqrt(values.var() / 30 / 40_000))


def test_additive_effects_give_the_sum_of_two_ordinary_bootstraps():
    songs, listeners = crossed(6, 5)
    of_song, of_listener = np.arange(6.0) ** 2, np.sin(np.arange(5.0))
    means = resampled_means(of_song[songs] + of_listener[listeners], songs, listeners, n_resamples=100, seed=4)
    song_weights, listener_weights = draw_weights(6, 5, n_resamples=100, seed=4)
    expected = song_weights @ of_song / 6 + listener_weights @ of_listener / 5
    np.testing.assert_allclose(means, expected, rtol=0, atol=1e-12)


def test_coverage_on_data_with_effects_of_song_and_listener():
    """About 95 of 100 intervals hold the true mean; taking every value for independent, not even two thirds do."""
    rng = np.random.default_rng(11)
    songs, listeners = crossed(12, 10, 4)
    n_runs, hits, naive_hits = 400, 0, 0
    for _ in range(n_runs):
        values = (
            0.5 + rng.normal(0, 0.10, 12)[songs] + rng.normal(0, 0.06, 10)[listeners] + rng.normal(0, 0.08, len(songs))
        )
        interval = cluster_interval(values, songs, listeners, n_resamples=500)
        hits += interval.low <= 0.5 <= interval.high
        naive_hits += abs(values.mean() - 0.5) <= 1.96 * values.std() / math.sqrt(len(values))
    # Three binomial standard errors of 400 runs are 3.3 %; the method itself errs upwards.
    assert 0.92 <= hits / n_runs <= 0.99
    assert naive_hits / n_runs < 0.67


def test_a_single_song_or_listener_is_not_resampled_and_one_of_both_has_no_interval():
    values = np.array([0.2, 0.4, 0.9, 0.1])
    over_listeners = cluster_interval(values, [0, 0, 0, 0], [0, 1, 2, 3])
    assert over_listeners.low < values.mean() < over_listeners.high
    # The other way round the same values are resampled, by another stream of draws: the ends are those of the same
    # finite set of means, here its extremes since four clusters push the percentiles outwards.
    over_songs = cluster_interval(values, [0, 1, 2, 3], [0, 0, 0, 0])
    assert over_songs.low < values.mean() < over_songs.high
    alone = cluster_interval(values, [0, 0, 0, 0], [0, 0, 0, 0])
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)


def test_equal_values_have_an_interval_of_no_width():
    songs, listeners = crossed(5, 4)
    interval = cluster_interval(np.full(20, 0.25), songs, listeners)
    assert (interval.low, interval.high) == pytest.approx((0.25, 0.25), abs=1e-15)


def test_no_values_have_no_interval():
    assert math.isnan(cluster_interval([], [], []).low)


def test_resamples_without_any_value_are_left_out():
    # Two songs, each for a listener of its own: a draw of one song and the other one's listener holds nothing.
    means = resampled_means([1.0, 3.0], [0, 1], [0, 1], n_resamples=2000, seed=1)
    assert 0.05 < np.isnan(means).mean() < 0.25  # 2 of 16 draws
    interval = cluster_interval([1.0, 3.0], [0, 1], [0, 1])
    assert (interval.low, interval.high) == (1.0, 3.0)


def test_equal_seeds_give_equal_intervals_and_other_seeds_others():
    songs, listeners = crossed(7, 6)
    values = np.random.default_rng(0).normal(size=42)
    first = cluster_interval(values, songs, listeners, seed=1)
    assert first == cluster_interval(values, songs, listeners, seed=1)
    assert first != cluster_interval(values, songs, listeners, seed=2)


def test_more_confidence_is_wider():
    songs, listeners = crossed(20, 20)
    values = np.random.default_rng(0).normal(size=400)
    narrow = cluster_interval(values, songs, listeners, confidence=0.5)
    wide = cluster_interval(values, songs, listeners, confidence=0.95)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_few_clusters_push_the_percentiles_outwards():
    tails = [expanded_tail(0.95, n) for n in (2, 5, 10, 50, 10**6)]
    assert tails == sorted(tails)
    assert tails[0] < 1e-6
    assert tails[2] == pytest.approx(0.0086, abs=5e-5)  # Phi(-2.2622 * sqrt(10 / 9)) from tables
    assert tails[-1] == pytest.approx(0.025, abs=1e-5)


@pytest.mark.parametrize("settings", [{"n_resamples": 0}, {"confidence": 0.0}, {"confidence": 95}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        cluster_interval([1.0, 2.0], [0, 1], [0, 0], **settings)
