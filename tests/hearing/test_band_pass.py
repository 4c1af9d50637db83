import numpy as np
import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.hearing.band_pass import BandPassSettings, band_pass
from cadenza_remix.units import lin_to_db

RATE = 44100


def gain_db(frequency_hz, settings=None):
    tone = np.sin(2 * np.pi * frequency_hz * np.arange(2 * RATE) / RATE)
    out = band_pass(tone, sample_rate=RATE, settings=settings or BandPassSettings())
    return float(lin_to_db(out[RATE:].std() / tone[RATE:].std()))


def test_takes_100_hz_down_and_leaves_1_khz():
    assert gain_db(100) < -20
    assert abs(gain_db(1000)) < 0.1
    assert abs(gain_db(250) + 3) < 0.1
    assert abs(gain_db(18500) + 3) < 0.1
    assert gain_db(21500) < -20


def test_order_is_the_slope():
    # An octave below the edge: about 6 dB per order.
    assert gain_db(125, BandPassSettings(order=1)) > gain_db(125, BandPassSettings(order=3)) + 10


def test_channels_do_not_mix():
    # The published notebook of E016 filtered across the two ears: a silent ear came out with sound.
    samples = np.zeros((1000, 2))
    samples[:, 0] = np.random.default_rng(0).standard_normal(1000)
    out = band_pass(samples, sample_rate=RATE, settings=BandPassSettings())
    assert (out[:, 1] == 0).all()
    np.testing.assert_allclose(out[:, 0], band_pass(samples[:, 0], sample_rate=RATE, settings=BandPassSettings()))


def test_edge_above_nyquist_says_so():
    with pytest.raises(InputError, match=r"below 16000 Hz \(half of 32000 Hz\), found 18500 Hz"):
        band_pass(np.zeros(10), sample_rate=32000, settings=BandPassSettings())


@pytest.mark.parametrize("changes", [{"low_hz": 0}, {"low_hz": 20000}, {"order": 0}, {"order": 2.5}, {"high_hz": "x"}])
def test_settings_that_cannot_be(changes):
    with pytest.raises(InputError, match="band_pass"):
        BandPassSettings(**changes)
