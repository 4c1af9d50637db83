"""Third-octave levels of signals whose levels are known in closed form."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.signal

from cadenza_remix.errors import InputError
from cadenza_remix.report.bands import (
    BAND_CENTRES_HZ,
    NOMINAL_HZ,
    BandLevels,
    band_energies,
    bands_below,
    levels_db,
    mean_levels,
)

RATES = (24_000, 32_000, 44_100)


def sine(frequency_hz, rate, duration_s=4.0, amplitude=1.0):
    time_s = np.arange(round(duration_s * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time_s))[:, np.newaxis].astype(np.float32)


def noise(rate, duration_s=10.0, seed=7):
    return np.random.default_rng(seed).standard_normal((round(duration_s * rate), 1)).astype(np.float32)


def test_bands_are_called_as_the_standard_calls_them():
    assert len(BAND_CENTRES_HZ) == len(NOMINAL_HZ)
    # Nominal frequencies are the exact ones rounded, by less than 2 %.
    np.testing.assert_allclose(BAND_CENTRES_HZ, NOMINAL_HZ, rtol=0.02)


@pytest.mark.parametrize("rate", RATES)
def test_a_sine_stands_in_its_band_alone(rate):
    for place in (0, 7, 13, 20):
        levels = levels_db(band_energies(sine(BAND_CENTRES_HZ[place], rate), rate))[:, 0]
        # Half of the amplitude squared. The lowest band is three bins wide: some of the window's main lobe lies beyond.
        assert levels[place] == pytest.approx(-3.0103, abs=0.2 if place == 0 else 0.03)
        # A tone that begins and ends at once is a click besides.
        assert np.delete(levels, place).max() < (-10 if place == 0 else -35)


@pytest.mark.parametrize("rate", RATES)
def test_white_noise_is_shared_out_by_bandwidth(rate):
    energies = band_energies(noise(rate, 20.0), rate)[:, 0]
    centres = bands_below(rate)
    expected = centres * (10**0.05 - 10**-0.05) / (rate / 2)
    # A band of 11.5 Hz has some 230 degrees of freedom in 20 s: 10 %; the others more.
    assert np.abs(levels_db(energies / expected)).max() < 1.0
    assert energies[8:].sum() == pytest.approx(expected[8:].sum(), rel=0.01)


def test_bands_that_a_rate_cannot_hold_are_left_out():
    assert bands_below(24_000)[-1] == pytest.approx(10_000)
    assert bands_below(44_100)[-1] == pytest.approx(12_589, abs=1)
    assert band_energies(sine(500, 24_000), 24_000).shape == (24, 1)


def test_a_known_filter_is_found_again():
    rate = 24_000
    before = noise(rate)
    taps = scipy.signal.firwin2(301, [0, 500, 1000, 4000, 12_000], [1, 1, 4, 2, 2], fs=rate)
    after = scipy.signal.oaconvolve(before[:, 0], taps)[:, np.newaxis].astype(np.float32)
    gains_db = levels_db(band_energies(after, rate) * len(after) / (band_energies(before, rate) * len(before)))[:, 0]
    grid_hz = np.geomspace(40, 11_500, 20_000)
    response = np.square(np.abs(scipy.signal.freqz(taps, worN=grid_hz, fs=rate)[1]))
    for centre_hz, gain_db in zip(bands_below(rate), gains_db, strict=True):
        inside = (grid_hz >= centre_hz * 10**-0.05) & (grid_hz < centre_hz * 10**0.05)
        # White noise weighs each Hz alike; its own ups and downs inside a band that slopes make the rest.
        expected_db = levels_db(np.average(response[inside], weights=grid_hz[inside]))
        assert gain_db == pytest.approx(expected_db, abs=0.15)


def test_channels_are_apart_and_length_does_not_matter():
    both = np.hstack([sine(1000, 24_000), 0.1 * sine(1000, 24_000)])
    energies = band_energies(both, 24_000)
    assert levels_db(energies[13, 0] / energies[13, 1]) == pytest.approx(20.0, abs=1e-3)
    long = band_energies(sine(1000, 24_000, duration_s=90.0), 24_000)
    assert levels_db(long[13, 0]) == pytest.approx(-3.0103, abs=0.05)


def test_memory_does_not_grow_with_the_length():
    samples = np.tile(noise(44_100, 1.0), (120, 2))
    band_energies(samples[:44_100], 44_100)
    tracemalloc.start()
    try:
        band_energies(samples, 44_100)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 15e6  # 32 frames of 11,025 samples, windowed, and their spectra; the samples are 42 MB


def test_a_signal_shorter_than_a_frame_has_levels():
    short = band_energies(sine(1000, 24_000, duration_s=0.1), 24_000)
    assert levels_db(short.sum()) == pytest.approx(-3.0, abs=1.5)
    assert np.isfinite(band_energies(np.ones((1, 2), dtype=np.float32), 24_000)).all()
    assert not band_energies(np.zeros((5000, 1), dtype=np.float32), 24_000).any()


def test_levels_are_found_by_frequency():
    levels = BandLevels([1000.0, 1258.925], [3.0, 4.0])
    np.testing.assert_array_equal(levels.at([900, 1100, 1200, 1400, 5000]), [3.0, 3.0, 4.0, 4.0, np.nan])
    assert np.isnan(BandLevels([1000.0], [1.0]).at(800)).all()
    with pytest.raises(ValueError, match="read-only"):
        levels.levels_db[0] = 0.0


def test_the_mean_leaves_out_what_could_not_be_told():
    mean = mean_levels([BandLevels([1, 2, 3], [1.0, np.nan, np.nan]), BandLevels([1, 2, 3], [2.0, 5.0, np.nan])])
    np.testing.assert_array_equal(mean.levels_db, [1.5, 5.0, np.nan])


def test_wrong_levels_are_refused():
    with pytest.raises(InputError, match="one level for each band"):
        BandLevels([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="at least one"):
        mean_levels([])
    with pytest.raises(InputError, match="all of the same bands"):
        mean_levels([BandLevels([1.0], [1.0]), BandLevels([2.0], [1.0])])
