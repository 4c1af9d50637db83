"""Loudness and true peak against what ITU-R BS.1770-5 and EBU Tech 3341 say a meter must read."""

import math
import tracemalloc
import warnings

import numpy as np
import pyloudnorm
import pytest

from cadenza_remix.audio.loudness import integrated_lufs, loudness_gain_db, true_peak_dbtp
from cadenza_remix.audio.resample import resample
from cadenza_remix.audio.signal import Audio


def sine(frequency_hz, level_dbfs, duration_s, *, rate=48000, phase=0.0):
    """Return a tone whose peak is at the level, in dB of full scale."""
    time_s = np.arange(round(duration_s * rate)) / rate
    return 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * frequency_hz * time_s + phase)


def stereo(*parts, rate=48000):
    """Return (level, seconds) parts of a 1 kHz tone, one after the other, the same in both channels."""
    tone = np.concatenate([sine(1000, level, duration_s, rate=rate) for level, duration_s in parts])
    return Audio(np.stack([tone, tone], axis=1), rate)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000])
def test_full_scale_sine_in_one_channel(rate):
    # BS.1770: "if a 0 dBFS, 997 Hz sine wave is applied to the left ... input, the indicated loudness will equal
    # -3.01 LKFS". The coefficients are published for 48 kHz; at other rates 0.05 LU are half of what EBU Tech 3341
    # allows.
    one = sine(997, 0, 3, rate=rate)
    tolerance = 0.005 if rate in (44100, 48000) else 0.05
    assert integrated_lufs(Audio(one, rate)) == pytest.approx(-3.01, abs=tolerance)
    assert integrated_lufs(Audio(np.stack([one, 0 * one], 1), rate)) == pytest.approx(-3.01, abs=tolerance)
    assert integrated_lufs(Audio(np.stack([one, one], 1), rate)) == pytest.approx(0.0, abs=tolerance)


@pytest.mark.parametrize(
    ("parts", "lufs"),
    [
        ([(-23, 20)], -23),
        ([(-33, 20)], -33),
        ([(-36, 10), (-23, 60), (-36, 10)], -23),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23),
    ],
    ids=["minus 23", "minus 33", "relative gate", "absolute gate", "mean of powers"],
)
def test_minimum_requirements_of_ebu_tech_3341(parts, lufs):
    # Table 1, cases 1 to 5: within 0.1 LU.
    assert integrated_lufs(stereo(*parts)) == pytest.approx(lufs, abs=0.1)


def test_ends_of_partial_blocks_are_not_measured():
    whole, longer = stereo((-20, 2.0)), stereo((-20, 2.0), (-200, 0.09))
    assert integrated_lufs(longer) == pytest.approx(integrated_lufs(whole), abs=1e-9)


@pytest.mark.parametrize("duration_s", [0.399, 0.1, 0.02])
def test_shorter_than_a_block_is_one_block(duration_s):
    # Whole periods of the tone; what the filters' ringing adds to so short a piece stays within half a dB.
    assert integrated_lufs(stereo((-20, duration_s))) == pytest.approx(-20, abs=0.5)


def test_silence_and_what_lies_below_the_gate():
    assert integrated_lufs(Audio(np.zeros((48000, 2)), 48000)) == -math.inf
    assert integrated_lufs(Audio(np.zeros(10), 48000)) == -math.inf
    assert integrated_lufs(stereo((-75, 2))) == -math.inf
    assert integrated_lufs(stereo((-75, 0.2))) == -math.inf
    assert integrated_lufs(Audio([0.5], 48000)) < 0


def music(rng, n_samples, n_channels, rate):
    """Noise whose level changes at random times: loud, below the relative and the absolute gate, and silence."""
    levels_db = rng.permutation([-12.0, -20.0, -28.0, -45.0, -85.0, -math.inf])
    lengths = rng.integers(rate // 5, 3 * rate, len(levels_db))
    gains = np.resize(np.repeat(10 ** (levels_db / 20), lengths), n_samples)
    channels = rng.uniform(0.2, 1.0, n_channels)
    return Audio(gains[:, np.newaxis] * channels * rng.standard_normal((n_samples, n_channels)), rate)


def by_pyloudnorm(audio):
    """pyloudnorm's own result for the whole steps of 0.1 s; it would round what is left to a block more or less."""
    n_whole = math.ceil(audio.n_samples * 10 // audio.sample_rate * audio.sample_rate / 10)
    meter = pyloudnorm.Meter(audio.sample_rate, filter_class="DeMan")
    return meter.integrated_loudness(audio.samples[:n_whole].astype(np.float64))


@pytest.mark.parametrize("rate", [16000, 22050, 24000, 32000, 44056, 44100, 48000, 96000])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_the_same_as_pyloudnorm(rate, n_channels):
    rng = np.random.default_rng([rate, n_channels])
    block = 1 << 16  # samples that are worked through at a time
    lengths = [
        4 * rate // 10 + 1,
        rate,
        2 * rate + 17,
        block,
        block + 1,
        2 * block - 1,
        *rng.integers(rate, 15 * rate, 9),
    ]
    for n_samples in lengths:
        audio = music(rng, int(n_samples), n_channels, rate)
        # Double precision throughout: 1e-6 LU are a hundred thousand times what sums in another order can do.
        assert integrated_lufs(audio) == pytest.approx(by_pyloudnorm(audio), abs=1e-6), n_samples


@pytest.mark.parametrize("rate", [8000, 11025, 15360])
def test_low_rates_are_those_of_the_resampled_whole(rate):
    rng = np.random.default_rng(rate)
    for n_samples in (rate // 2, 5 * rate + 4, 12 * rate):
        audio = music(rng, n_samples, 2, rate)
        assert integrated_lufs(audio) == pytest.approx(by_pyloudnorm(resample(audio, 48000)), abs=1e-6)


@pytest.mark.parametrize("rate", [32000, 44100, 48000])
def test_one_short_block_is_as_pyloudnorm_has_it(rate):
    rng = np.random.default_rng(rate)
    for n_samples in (100, rate // 10, rate // 4, 4 * rate // 10 - 1):
        samples = 0.1 * rng.standard_normal((n_samples, 2)).astype(np.float32)
        meter = pyloudnorm.Meter(rate, filter_class="DeMan", block_size=n_samples / rate, overlap=0.0)
        assert int(meter.block_size * rate) == n_samples  # or pyloudnorm leaves the last sample out
        # One sample more: pyloudnorm refuses what is no longer than a block, be it by a rounding error.
        expected = meter.integrated_loudness(np.concatenate([samples.astype(np.float64), np.zeros((1, 2))]))
        assert integrated_lufs(Audio(samples, rate)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("rate", "duration_s"), [(44100, 30), (44100, 120), (192000, 30), (8000, 120)])
def test_memory_does_not_grow_with_the_length(rate, duration_s):
    noise = np.random.default_rng(0).standard_normal((rate, 2), dtype=np.float32)
    audio = Audio(np.tile(0.1 * noise, (duration_s, 1)), rate)
    integrated_lufs(Audio(noise, rate))  # what is imported at the first time is none of it
    tracemalloc.start()
    try:
        integrated_lufs(audio)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A block of 65,536 samples in double precision, filtered and squared, is 3 MB; 30 s at 44.1 kHz would be 21 MB.
    assert peak_bytes < 8e6


def test_input_is_not_changed():
    audio = stereo((-20, 1))
    before = audio.samples.copy()
    integrated_lufs(audio)
    true_peak_dbtp(audio)
    np.testing.assert_array_equal(audio.samples, before)


@pytest.mark.parametrize("rate", [24000, 44100, 48000])
@pytest.mark.parametrize("seconds", [0.05, 4])
def test_true_peak_between_samples(rate, seconds):
    # A quarter of the rate at 45 degrees: all samples are 3.01 dB below the peaks. EBU Tech 3341, cases 15 to 18.
    tone = sine(rate / 4, -6.02, seconds, rate=rate, phase=np.pi / 4) * np.hanning(round(seconds * rate))
    sampled_db = 20 * np.log10(np.abs(tone).max())
    assert sampled_db == pytest.approx(-9.03, abs=0.02)
    assert true_peak_dbtp(Audio(tone, rate)) == pytest.approx(-6.02, abs=0.05)


def test_true_peak_is_found_in_any_channel_and_block():
    samples = np.zeros((200_000, 2))
    samples[131_072, 1] = 0.5  # the first sample of a block
    assert true_peak_dbtp(Audio(samples, 44100)) == pytest.approx(-6.02, abs=0.01)
    assert true_peak_dbtp(Audio(np.zeros(100), 44100)) == -math.inf
    last = np.zeros(70_000)
    last[-1] = 1.0
    assert true_peak_dbtp(Audio(last, 44100)) >= 0


def test_gain_reaches_the_loudness_or_stops_at_the_peak():
    audio = stereo((-30, 3))
    gain_db = loudness_gain_db(audio, target_lufs=-23, max_peak_dbfs=-3)
    assert gain_db == pytest.approx(7, abs=0.1)
    louder = Audio(audio.samples * np.float32(10 ** (gain_db / 20)), audio.sample_rate)
    assert integrated_lufs(louder) == pytest.approx(-23, abs=1e-3)
    # The tone begins suddenly: its true peak is a little above -30 dBTP.
    limited_db = loudness_gain_db(audio, target_lufs=0, max_peak_dbfs=-3)
    assert true_peak_dbtp(audio) + limited_db == pytest.approx(-3, abs=1e-6)
    assert limited_db == pytest.approx(27, abs=0.3)
    assert loudness_gain_db(audio, target_lufs=None, max_peak_dbfs=-3) == 0
    assert loudness_gain_db(Audio(np.zeros(9999), 44100), target_lufs=-23, max_peak_dbfs=-3) == 0
    click = np.zeros(100)
    click[50] = 2.0
    assert loudness_gain_db(Audio(click, 44100), target_lufs=None, max_peak_dbfs=0) == pytest.approx(-6.02, abs=0.01)
