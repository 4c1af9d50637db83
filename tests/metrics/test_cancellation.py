"""The null test: closed forms, what it has to do with SNR, silence, and what must be refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.metrics import cancellation_residual, cancellation_residual_db, snr_db

RATE = 1000
# Sums of some thousand float64 products round at 1e-13 relative; a dB is a quarter of that.
ROUNDING_DB = 1e-9


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.mark.parametrize(
    ("gain", "expected_db"),
    [(0.9, -20), (1.1, -20), (0.999, -60), (0, 0), (2, 0), (-1, 20 * math.log10(2)), (1, -math.inf)],
)
def test_a_wrong_level_leaves_so_much(rng, gain, expected_db):
    voice = rng.standard_normal((3000, 2))
    assert cancellation_residual_db(voice, gain * voice) == pytest.approx(expected_db, abs=ROUNDING_DB)


@pytest.mark.parametrize("delay", [1, 5])
def test_a_delayed_tone_leaves_a_known_tone(delay):
    """Whole periods of a sine of w, delayed by d: 2 sin(w d / 2) of it is left."""
    turn = 2 * np.pi * np.arange(1000) / 50
    left = cancellation_residual_db(np.sin(turn), np.sin(turn - 2 * np.pi * delay / 50))
    assert left == pytest.approx(20 * math.log10(2 * math.sin(math.pi * delay / 50)), abs=ROUNDING_DB)


def test_it_is_the_negative_of_snr(rng):
    voice, estimate = rng.standard_normal((2, 2**18 + 1000, 2)).astype(np.float32)
    assert cancellation_residual_db(voice, estimate) == pytest.approx(-snr_db(voice, estimate), abs=ROUNDING_DB)


def test_flipped_and_added_in_words(rng):
    voice, estimate = rng.standard_normal((2, 500, 2))
    left = voice + -1 * estimate
    expected = 20 * math.log10(np.sqrt(np.mean(left**2)) / np.sqrt(np.mean(voice**2)))
    assert cancellation_residual_db(voice, estimate) == pytest.approx(expected, abs=ROUNDING_DB)


def test_from_the_mixture_the_same_signal_is_left_relative_to_the_accompaniment(rng):
    voice, accompaniment, error = rng.standard_normal((3, 1000, 2))
    estimate, mixture = voice + 0.01 * error, voice + accompaniment
    left = cancellation_residual_db(accompaniment, mixture - estimate)
    relative = 10 * math.log10(np.sum(voice**2) / np.sum(accompaniment**2))
    assert left == pytest.approx(cancellation_residual_db(voice, estimate) + relative, abs=ROUNDING_DB)


def test_by_channel_and_by_window(rng):
    voice = rng.standard_normal((2 * RATE + 300, 2))
    gains = np.ones((2 * RATE + 300, 2))
    gains[:RATE] = 0.9
    gains[RATE:] = 0.99
    result = cancellation_residual(Audio(voice, RATE), Audio(voice * gains, RATE))
    # Audio is float32: 24 bits of mantissa, 100 times as coarse against a residual of a hundredth.
    np.testing.assert_allclose(result.windows_db, [-20, -40], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(result.starts_s, [0, 1])
    sides = cancellation_residual(voice, voice * [0.9, 1], sample_rate=RATE)
    assert sides.channels_db[0] == pytest.approx(-20, abs=ROUNDING_DB)
    assert sides.channels_db[1] == -math.inf
    assert sides.residual_db == cancellation_residual_db(voice, voice * [0.9, 1])
    assert -24 < sides.residual_db < -22  # half of the energy is cancelled altogether


def test_windows_overlap_on_demand(rng):
    voice = rng.standard_normal(2 * RATE)
    result = cancellation_residual(voice, 0.9 * voice, sample_rate=RATE, hop_s=0.5)
    np.testing.assert_array_equal(result.starts_s, [0, 0.5, 1])


def test_silence(rng):
    voice = rng.standard_normal((2 * RATE, 2))
    assert math.isnan(cancellation_residual_db(np.zeros(10), np.ones(10)))
    assert cancellation_residual_db(voice, np.zeros_like(voice)) == 0
    voice[:RATE] = 0
    voice[:, 1] = 0
    result = cancellation_residual(voice, 0.9 * voice, sample_rate=RATE)
    np.testing.assert_array_equal(np.isnan(result.windows_db), [True, False])
    np.testing.assert_array_equal(np.isnan(result.channels_db), [False, True])


def test_what_is_refused(rng):
    voice = rng.standard_normal(100)
    with pytest.raises(InputError, match="differ in length"):
        cancellation_residual_db(voice, voice[1:])
    with pytest.raises(InputError, match="sample rate is not clear"):
        cancellation_residual(voice, voice)
    with pytest.raises(InputError, match="window too short"):
        cancellation_residual(voice, voice, sample_rate=RATE, window_s=0)
