"""Anchors against the response that ITU-R BS.1534-3 asks for, measured on tones and noise."""

import numpy as np
import pytest

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.listen.anchors import low_pass_anchor


def response_db(cutoff_hz, frequency_hz, rate):
    """Return by how much a tone comes out louder, away from its ends."""
    tone = np.sin(2 * np.pi * frequency_hz * np.arange(rate // 2) / rate)
    middle = slice(rate // 8, rate * 3 // 8)
    out = low_pass_anchor(Audio(tone, rate), cutoff_hz).samples[middle, 0].astype(np.float64)
    return 10 * np.log10(np.mean(out**2) / np.mean(tone[middle] ** 2))


@pytest.mark.parametrize("rate", [24000, 32000, 44100, 48000])
@pytest.mark.parametrize("cutoff_hz", [3500, 7000])
def test_response_is_the_recommendations(cutoff_hz, rate):
    # BS.1534-3, 5.1: for 3.5 kHz; the same in proportion for 7 kHz.
    for share in (0.02, 0.3, 0.7, 0.9, 0.97, 1.0):
        assert abs(response_db(cutoff_hz, share * cutoff_hz, rate)) <= 0.1
    assert response_db(cutoff_hz, cutoff_hz * 4000 / 3500, rate) <= -25
    for frequency_hz in np.linspace(cutoff_hz * 4500 / 3500, rate * 0.49, 12):
        assert response_db(cutoff_hz, frequency_hz, rate) <= -50


def test_noise_keeps_its_spectrum_below_and_loses_it_above():
    rate = 44100
    noise = Audio(np.random.default_rng(1).normal(0, 0.1, (4 * rate, 2)), rate)
    anchor = low_pass_anchor(noise, 3500)
    before, after = (np.abs(np.fft.rfft(audio.samples, axis=0)) ** 2 for audio in (noise, anchor))
    frequencies_hz = np.fft.rfftfreq(4 * rate, 1 / rate)
    low, high = (frequencies_hz < 3450), (frequencies_hz > 4500)
    assert 10 * np.log10(after[low].sum() / before[low].sum()) == pytest.approx(0, abs=0.05)
    assert 10 * np.log10(after[high].sum() / before[high].sum()) < -50


def test_anchor_is_in_time_and_as_long():
    rate = 44100
    for n_samples in (1, 50, rate):
        audio = Audio(np.random.default_rng(2).normal(0, 0.1, (n_samples, 2)), rate)
        anchor = low_pass_anchor(audio, 7000)
        assert (anchor.n_samples, anchor.n_channels, anchor.sample_rate) == (n_samples, 2, rate)
    click = np.zeros((1001, 2))
    click[500, 0] = 1
    response = low_pass_anchor(Audio(click, rate), 3500).samples
    assert np.argmax(response[:, 0]) == 500
    np.testing.assert_allclose(response[:, 0], response[::-1, 0], atol=1e-7)  # linear phase
    assert not response[:, 1].any()


@pytest.mark.parametrize("cutoff_hz", [0, -1, float("nan"), float("inf"), 22050, 19300])
def test_cutoffs_that_cut_nothing_are_refused(cutoff_hz):
    with pytest.raises(InputError, match=r"wrong cutoff of an anchor: .* less than 19293\.8 Hz"):
        low_pass_anchor(Audio(np.ones(100), 44100, name="song"), cutoff_hz)
