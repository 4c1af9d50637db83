"""The two kinds of noise: what each draws, and what fixed noise promises."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.metrics import HaaqiReference, compute_haaqi, haaqi
from cadenza_remix.metrics.auditory.fixed_noise import POOL_SIZE, FixedNoise

RATE = 24_000
EAR = Audiogram([250, 500, 1000, 2000, 4000, 6000], [10, 15, 20, 30, 45, 50])
SETTINGS = {"audiogram": EAR, "level1_db_spl": 80.0}
MUSIC = np.random.RandomState(0).standard_normal(RATE) * 0.03 * np.hanning(RATE)
GATED = MUSIC * (np.sin(2 * np.pi * 7 * np.arange(RATE) / RATE) > 0)


def fixed(processed=GATED, reference=MUSIC):
    return haaqi(reference, processed, sample_rate=RATE, noise="fixed", **SETTINGS)


def row_of(row, n_samples):
    out = np.zeros(n_samples, np.float32)
    FixedNoise().add_row(row, out, n_samples, 1.0)
    return out


def test_rows_are_normal_and_unlike_each_other():
    n = 100_000
    rows = np.stack([row_of(row, n) for row in range(64)]).astype(np.float64)
    # Five standard deviations of the mean, the variance and the correlation of so many normal numbers.
    limit = 5 / np.sqrt(n)
    assert np.abs(rows.mean(axis=1)).max() < limit
    assert np.abs(rows.var(axis=1) - 1).max() < limit * np.sqrt(2)
    assert np.abs(np.corrcoef(rows) - np.eye(64)).max() < limit
    for lag in (-24, -1, 1, 24):  # of one channel in the reference and in the processed signal
        pairs = [np.mean(rows[k, 24:-24] * np.roll(rows[k + 32], lag)[24:-24]) for k in range(32)]
        assert np.abs(pairs).max() < limit


def test_the_pool_goes_round_and_a_row_does_not_depend_on_its_length():
    long = row_of(63, POOL_SIZE + 5000)
    np.testing.assert_array_equal(long[POOL_SIZE:], long[:5000])
    np.testing.assert_array_equal(row_of(63, 40_000), long[:40_000])
    last = POOL_SIZE // 64
    np.testing.assert_array_equal(long[last : last + 1000], row_of(0, 1000))
    out = np.ones(10, np.float32)
    FixedNoise().add_row(5, out, 700, 0.5)
    np.testing.assert_allclose(out, 1 + 0.5 * row_of(5, 10), rtol=1e-6)  # single precision


def test_the_pool_is_the_same_on_every_machine():
    """Numbers of NumPy's legacy generator, which never change."""
    np.testing.assert_array_equal(row_of(0, 3), np.random.RandomState(20_150_907).standard_normal(3).astype(np.float32))


def test_fixed_noise_touches_no_generator():
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    score = fixed().score
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    assert before["state"]["pos"] == after["state"]["pos"]
    np.testing.assert_array_equal(before["state"]["key"], after["state"]["key"])
    assert compute_haaqi(GATED, MUSIC, RATE, RATE, EAR, 1, 80.0, noise="fixed") == score


def test_fixed_scores_lie_among_legacy_scores():
    legacy = [
        haaqi(MUSIC, GATED, sample_rate=RATE, rng=np.random.RandomState(seed), **SETTINGS).score for seed in range(12)
    ]
    # Five times the standard deviation, which 12 draws give to within a factor of two.
    assert abs(fixed().score - np.mean(legacy)) < 5 * np.std(legacy, ddof=1)
    assert fixed().score not in legacy


def test_a_kept_reference_gives_the_score_of_a_fresh_one_in_any_order_and_on_any_thread():
    processed = [GATED, MUSIC**3 * 500, np.zeros(RATE), 0.1 * MUSIC, np.roll(MUSIC, 300), MUSIC[:15_000]]
    fresh = [fixed(signal) for signal in processed]
    kept = HaaqiReference.prepare(MUSIC, RATE, noise="fixed", **SETTINGS)
    assert kept.noise == "fixed"
    assert [kept.score(signal, RATE) for signal in processed[::-1]] == fresh[::-1]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda signal: kept.score(signal, RATE), processed * 2)) == fresh * 2
    unprepared = HaaqiReference(MUSIC, RATE, noise="fixed", **SETTINGS)
    assert unprepared.score(GATED, RATE) == fresh[0]


def test_a_prepared_reference_does_not_follow_the_array_it_was_made_from():
    mine = MUSIC.copy()
    kept = HaaqiReference.prepare(mine, RATE, noise="fixed", **SETTINGS)
    mine[:] = 0.5
    assert kept.score(GATED[:20_000], RATE) == fixed(GATED[:20_000])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": "fixd"}, "unknown noise 'fixd': expected one of legacy, fixed"),
        ({"noise": None}, "unknown noise 'None'"),
        ({"noise": "fixed", "rng": np.random.RandomState(1)}, "rng: fixed noise is drawn from no generator"),
        ({"noise": "nothing", "rng": np.random.RandomState(1)}, "unknown noise 'nothing'"),
    ],
)
def test_noise_that_is_not_there_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        haaqi(MUSIC, GATED, sample_rate=RATE, **SETTINGS, **settings)
    with pytest.raises(InputError, match=message):
        HaaqiReference.prepare(MUSIC, RATE, **SETTINGS, **settings)
    rng = settings.get("rng")
    if settings["noise"] == "fixed":
        kept = HaaqiReference.prepare(MUSIC, RATE, noise="fixed", **SETTINGS)
        with pytest.raises(InputError, match=message):
            kept.score(GATED, RATE, rng=rng)
