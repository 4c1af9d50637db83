"""Changes of excerpts: what each does to a signal that is known, and that they are drawn from the generator alone."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cadenza_remix.errors import InputError
from cadenza_remix.training.data.augmentation import Augmentation, change_level, change_stem, draw_speed

RATE = 44_100
NONE = Augmentation.none()


def noise(n_samples=8192, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal((n_samples, 2)).astype(np.float32)


def only(**changes):
    values = {name: getattr(NONE, name) for name in NONE.__dataclass_fields__}
    return Augmentation(**{**values, **changes})


def test_none_changes_nothing():
    samples = noise()
    rng = np.random.default_rng(1)
    assert_array_equal(change_stem(samples, RATE, NONE, rng), samples)
    assert_array_equal(change_level(samples[np.newaxis], NONE, rng)[0], samples)
    assert draw_speed(NONE, rng) == 1.0


def test_swap_and_polarity():
    samples = noise()
    swapped = change_stem(samples, RATE, only(swap_share=1.0), np.random.default_rng(1))
    assert_array_equal(swapped, samples[:, ::-1])
    turned = change_stem(samples, RATE, only(polarity_share=1.0), np.random.default_rng(1))
    assert_array_equal(turned, -samples)


def test_gain_stays_in_its_range_and_uses_all_of_it():
    samples = np.ones((4, 2), dtype=np.float32)
    rng = np.random.default_rng(2)
    changed = only(gain_db=(-6.0, 3.0))
    gains_db = [20 * np.log10(change_stem(samples, RATE, changed, rng)[0, 0]) for _ in range(300)]
    assert -6.001 <= min(gains_db) < -5.7
    assert 2.7 < max(gains_db) <= 3.001


def test_width_keeps_the_energy_of_what_is_in_the_middle():
    samples = np.repeat(noise()[:, :1], 2, axis=1)
    moved = change_stem(samples, RATE, only(width_share=1.0), np.random.default_rng(3))
    assert not np.allclose(moved[:, 0], moved[:, 1])
    assert_allclose(np.square(moved).sum(), np.square(samples).sum(), rtol=1e-5)


def test_equaliser_stays_within_its_gains():
    impulse = np.zeros((16384, 2), dtype=np.float32)
    impulse[0] = 1.0
    for seed in range(20):
        changed = change_stem(impulse, RATE, only(eq_share=1.0, eq_db=6.0), np.random.default_rng(seed))
        response_db = 20 * np.log10(np.abs(np.fft.rfft(changed[:, 0])))
        assert response_db.max() < 9.1  # half the tilt, and a peak
        assert response_db.min() > -9.1
        assert np.ptp(response_db) > 0.01


def test_speed_is_drawn_within_its_range():
    rng = np.random.default_rng(4)
    speeds = [draw_speed(only(speed_share=1.0, speed=0.06), rng) for _ in range(300)]
    assert 0.94 <= min(speeds) < 0.945
    assert 1.055 < max(speeds) <= 1.06


@pytest.mark.parametrize("normalise", ["peak", "rms"])
def test_level_of_the_mixture_is_the_one_drawn(normalise):
    stems = np.stack([noise(seed=1), noise(seed=2)])
    changed = change_level(stems, only(normalise=normalise, level_db=(-20.0, -20.0)), np.random.default_rng(5))
    mixture = changed.sum(axis=0)
    level = np.abs(mixture).max() if normalise == "peak" else np.sqrt(np.mean(np.square(mixture)))
    assert_allclose(level, 0.1, rtol=1e-5)
    assert_allclose(changed[0] / stems[0], changed[1] / stems[1], rtol=1e-4)


def test_silence_stays_silence():
    stems = np.zeros((2, 100, 2), dtype=np.float32)
    rng = np.random.default_rng(6)
    everything = Augmentation(swap_share=1.0, polarity_share=1.0, width_share=1.0, eq_share=1.0)
    assert not change_stem(stems[0], RATE, everything, rng).any()
    assert not change_level(stems, everything, rng).any()


def test_switching_one_change_off_leaves_the_others_as_they_are():
    samples = noise()
    both = change_stem(samples, RATE, only(swap_share=1.0, gain_db=(-6.0, 6.0)), np.random.default_rng(7))
    one = change_stem(samples, RATE, only(gain_db=(-6.0, 6.0)), np.random.default_rng(7))
    assert_array_equal(both, one[:, ::-1])


def test_input_is_left_as_it_is():
    samples = noise()
    kept = samples.copy()
    change_stem(samples, RATE, Augmentation(polarity_share=1.0, eq_share=1.0), np.random.default_rng(8))
    assert_array_equal(samples, kept)


@pytest.mark.parametrize(
    "wrong",
    [
        {"swap_share": 1.5},
        {"gain_db": (3.0, -3.0)},
        {"gain_db": 3.0},
        {"normalise": "loudness"},
        {"speed": 0.5},
        {"eq_db": -1.0},
        {"level_db": (0.0, float("nan"))},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        Augmentation(**wrong)
