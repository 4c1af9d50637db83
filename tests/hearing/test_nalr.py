import numpy as np
import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram, load_listeners
from cadenza_remix.hearing.nalr import NALR_FREQUENCIES_HZ, NalrSettings, apply_fir, nalr_fir, nalr_gains_db
from cadenza_remix.units import lin_to_db

FLAT_50 = Audiogram([250, 500, 1000, 2000, 4000, 6000], [50] * 6)


def test_prescription_in_closed_form():
    # Flat 50 dB HL: X = 0.05 * 150 = 7.5; gain = 7.5 + 15.5 + correction.
    np.testing.assert_allclose(nalr_gains_db(FLAT_50), [6, 15, 24, 22, 21, 21])
    # Flat 100 dB HL: the sum is 300, so X = 9 + 0.116 * 120.
    severe = Audiogram([250, 6000], [100, 100])
    np.testing.assert_allclose(nalr_gains_db(severe), 9 + 0.116 * 120 + 31 + np.array([-17, -8, 1, -1, -2, -2]))
    assert (nalr_gains_db(Audiogram([250, 6000], [5, 5])) >= 0).all()


def test_filter_has_the_prescribed_gains():
    fir = nalr_fir(FLAT_50, sample_rate=44100)
    response = np.abs(
        [np.sum(fir * np.exp(-2j * np.pi * f / 44100 * np.arange(fir.size))) for f in NALR_FREQUENCIES_HZ]
    )
    # The Hamming window smooths over some 800 Hz: within 1 dB from 1 kHz up, less so in the steep rise below.
    np.testing.assert_allclose(lin_to_db(response)[2:], nalr_gains_db(FLAT_50)[2:], atol=1.0)
    np.testing.assert_allclose(lin_to_db(response)[:2], nalr_gains_db(FLAT_50)[:2], atol=6)
    np.testing.assert_allclose(fir, fir[::-1], atol=1e-12)


def test_no_loss_is_no_change():
    normal = Audiogram([250, 6000], [0, -5])
    samples = np.random.default_rng(0).standard_normal(1000)
    np.testing.assert_allclose(apply_fir(samples, nalr_fir(normal, sample_rate=44100)), samples, atol=1e-12)


def test_delay_is_taken_out_and_length_kept():
    impulse = np.zeros(2000)
    impulse[777] = 1.0
    filtered = apply_fir(impulse, nalr_fir(FLAT_50, sample_rate=44100))
    assert filtered.shape == impulse.shape
    assert np.argmax(np.abs(filtered)) == 777


def test_nalr_changes_the_signal():
    listener = load_listeners("cad1-sample")["L5040"]
    noise = np.random.default_rng(1).standard_normal(44100)
    louder = apply_fir(noise, nalr_fir(listener.left, sample_rate=44100))
    assert lin_to_db(louder.std() / noise.std()) > 10


@pytest.mark.parametrize("order", [0, 221, 514, -2, 10.5, True])
def test_orders_that_cannot_be(order):
    with pytest.raises(InputError, match="order"):
        NalrSettings(order)


def test_sample_rate_must_reach_the_prescription():
    with pytest.raises(InputError, match="more than 12000 Hz"):
        nalr_fir(FLAT_50, sample_rate=8000)
