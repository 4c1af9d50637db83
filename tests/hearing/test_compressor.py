import numpy as np
import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.hearing.compressor import CompressorSettings, compress

RATE = 44100


def reference_compressor(samples, sample_rate, s):
    """The law, sample by sample, with the moving average taken directly."""
    window = int(s.rms_window_s * sample_rate)
    padded = np.concatenate((np.zeros(window - 1), samples**2))
    level = np.sqrt(np.convolve(padded, np.ones(window), mode="valid") / window + 1e-8)
    attack, release = 1000 / s.attack_ms / sample_rate, 1000 / s.release_ms / sample_rate
    gain, gains = 1.0, []
    for value in level:
        if value > s.threshold_lin:
            target = value * s.attenuation + (1 - s.attenuation) * s.threshold_lin
            gain = gain * (1 - attack) + target * attack
        else:
            gain = release + gain * (1 - release)
        gains.append(gain)
    return samples * np.array(gains) * s.makeup_gain_lin


@pytest.mark.parametrize("n_samples", [1, 100, 2822, 2823, 12345])
def test_equals_the_law(n_samples):
    rng = np.random.default_rng(0)
    samples = rng.standard_normal(n_samples) * np.repeat(rng.random(n_samples // 500 + 1) * 2, 500)[:n_samples]
    settings = CompressorSettings(threshold_lin=0.35, makeup_gain_lin=1.5)
    expected = reference_compressor(samples, RATE, settings)
    # Only the order of summation differs.
    np.testing.assert_allclose(compress(samples, sample_rate=RATE, settings=settings), expected, rtol=1e-9, atol=1e-12)


def test_quiet_after_loud_is_not_disturbed_by_rounding():
    # A running sum would leave 1e-9 of the loud passage in the quiet one, above the threshold chosen here.
    samples = np.concatenate((1e4 * np.ones(5000), np.full(20000, 1e-5)))
    settings = CompressorSettings(threshold_lin=1.2e-4, attack_ms=5, release_ms=5)
    out = compress(samples, sample_rate=RATE, settings=settings)
    assert abs(out[-1] / samples[-1] - 1) < 1e-6


def test_below_the_threshold_nothing_happens():
    samples = 0.1 * np.sin(np.arange(10000) / 10)
    np.testing.assert_array_equal(compress(samples, sample_rate=RATE, settings=CompressorSettings()), samples)


def test_constant_tone_settles_at_the_target_gain():
    samples = np.ones(RATE * 2)
    out = compress(samples, sample_rate=RATE, settings=CompressorSettings())
    # Level 1: target = 1 * 0.1 + 0.9 * 0.35 = 0.415; two seconds are 40 attack times.
    assert abs(out[-1] - 0.415) < 1e-6


@pytest.mark.parametrize(
    "changes",
    [{"attack_ms": 0}, {"threshold_lin": -1}, {"attenuation": 2}, {"release_ms": float("nan")}, {"rms_window_s": "x"}],
)
def test_settings_that_cannot_be(changes):
    with pytest.raises(InputError, match=next(iter(changes))):
        CompressorSettings(**changes)


def test_window_shorter_than_a_sample():
    with pytest.raises(InputError, match="shorter than a sample"):
        compress(np.ones(10), sample_rate=100, settings=CompressorSettings(rms_window_s=0.001))
