"""Loudness and true peak against what ITU-R BS.1770-5 and EBU Tech 3341 say a meter must read."""

import math
import warnings

import numpy as np
import pytest

from cadenza_remix.audio.loudness import integrated_lufs, loudness_gain_db, true_peak_dbtp
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
