"""The simple hearing-loss simulation against its own law of loudness, and what may never happen in it."""

import importlib.util

import numpy as np
import pytest

from cadenza_remix.audio.io import load_audio
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError, MissingDependencyError
from cadenza_remix.hearing.audiogram import Audiogram, Listener
from cadenza_remix.hearing.loss_simulation import (
    CATCH_UP_DB_SPL,
    FULL_SCALE_DB_SPL,
    hear_as,
    normal_threshold_db_spl,
    simulator_names,
)

FREQUENCIES_HZ = [125, 250, 500, 1000, 2000, 4000, 8000]


def flat(loss_db, right_db=None):
    """Return a listener whose loss is the same at all frequencies."""
    right_db = loss_db if right_db is None else right_db
    return Listener("flat", Audiogram([125, 8000], [loss_db] * 2), Audiogram([125, 8000], [right_db] * 2))


def tone(frequency_hz, level_db_spl, *, duration_s=0.6, rate=44100):
    """Return a tone in both ears; its level is that of its RMS."""
    time_s = np.arange(round(duration_s * rate)) / rate
    samples = np.sqrt(2) * 10 ** ((level_db_spl - FULL_SCALE_DB_SPL) / 20) * np.sin(2 * np.pi * frequency_hz * time_s)
    return Audio(np.stack([samples, samples], axis=1), rate)


def heard_db_spl(audio, listener, ear=0):
    """Return the level in the middle of what is heard, away from the tone's ends."""
    samples = hear_as(audio, listener).samples[:, ear].astype(np.float64)
    third = len(samples) // 3
    mean_square = np.mean(samples[third : 2 * third] ** 2)
    return FULL_SCALE_DB_SPL + 10 * np.log10(mean_square + 1e-30)


def noise(duration_s, seed=5, rate=44100, rms=0.1):
    return Audio(np.random.default_rng(seed).normal(0, rms, (round(duration_s * rate), 2)), rate)


def test_levels_are_those_of_scoring():
    from cadenza_remix.units import db_spl_of_full_scale

    assert db_spl_of_full_scale(10 ** (-23 / 20)) == pytest.approx(FULL_SCALE_DB_SPL) == pytest.approx(88)


def test_normal_hearing_gives_back_the_input(song):
    music = load_audio(song.path)
    for loss_db in (0, -10):
        np.testing.assert_array_equal(hear_as(music, flat(loss_db)).samples, music.samples)
    # A loss too small to hear, with everything sent through the bands: the error is that of float32.
    np.testing.assert_allclose(hear_as(music, flat(1e-6)).samples, music.samples, atol=2e-6)


@pytest.mark.parametrize("rate", [24000, 44100])
def test_bands_add_up_to_the_input(rate):
    # What the bands carry is taken out of the input: a total loss leaves nothing of noise, a constant and an
    # alternation of sign, so no frequency from 0 Hz to half the rate is carried too much, too little or late.
    samples = np.random.default_rng(3).normal(0.05, 0.05, (rate, 2)) + 0.05 * (-1.0) ** np.arange(rate)[:, np.newaxis]
    heard = hear_as(Audio(samples, rate), flat(140)).samples
    # The rounding of float32 transforms: 110 dB below the input. The ends ring longer than they are padded.
    assert np.abs(heard).max() < 1e-6


@pytest.mark.parametrize("frequency_hz", [*FREQUENCIES_HZ, 315, 1100, 2950])
@pytest.mark.parametrize("loss_db", [20, 50])
def test_levels_grow_as_the_law_says(frequency_hz, loss_db):
    threshold = float(normal_threshold_db_spl(frequency_hz))
    slope = (CATCH_UP_DB_SPL - threshold) / (CATCH_UP_DB_SPL - threshold - loss_db)
    for level in (100, 85, threshold + loss_db + 5):
        expected = CATCH_UP_DB_SPL - slope * (CATCH_UP_DB_SPL - level)
        # A tone that is gated on and off leaves a trace in its band's level: 0.3 dB at 125 Hz, less above.
        assert heard_db_spl(tone(frequency_hz, level), flat(loss_db)) == pytest.approx(expected, abs=0.4)


@pytest.mark.parametrize("loss_db", [30, 60, 90])
def test_threshold_comes_out_at_the_normal_one_and_below_it_nothing_is_heard(loss_db):
    for frequency_hz in (500, 2000, 4000):
        threshold = float(normal_threshold_db_spl(frequency_hz))
        just_heard = tone(frequency_hz, threshold + loss_db)
        assert heard_db_spl(just_heard, flat(loss_db)) == pytest.approx(threshold, abs=0.3)
        # 10 dB below the threshold is at least 10 dB below the normal one: the slope is above 1.
        assert heard_db_spl(tone(frequency_hz, threshold + loss_db - 10), flat(loss_db)) < threshold - 10


def test_loud_tones_stay_and_profound_losses_do_not_recover():
    assert heard_db_spl(tone(1000, 100), flat(60)) == pytest.approx(100, abs=0.1)
    assert heard_db_spl(tone(1000, 108), flat(60)) == pytest.approx(108, abs=0.1)
    assert heard_db_spl(tone(1000, 100), flat(110)) < float(normal_threshold_db_spl(1000))


@pytest.mark.parametrize("loss_db", [5, 40, 80, 120])
def test_nothing_is_ever_amplified(loss_db):
    loud = noise(1.5, rms=0.5)
    before = np.abs(np.fft.rfft(loud.samples[:, 0])) ** 2
    after = np.abs(np.fft.rfft(hear_as(loud, flat(loss_db)).samples[:, 0])) ** 2
    # Bands of 100 Hz: what gains that change in time carry over from a neighbour stays below 0.1 dB.
    n_bands = len(before) // 150
    before, after = (power[: n_bands * 150].reshape(n_bands, 150).sum(axis=1) for power in (before, after))
    assert (after <= before * 1.025).all()


def test_soft_after_loud_keeps_its_level():
    # 70 dB apart in one piece and band, half a second after the loud tone has ended.
    soft, loud = tone(1000, 30, duration_s=2), tone(1000, 100, duration_s=0.5)
    heard = hear_as(Audio(np.concatenate([loud.samples, soft.samples]), 44100), flat(20)).samples[44100:-22050, 0]
    alone = heard_db_spl(soft, flat(20))
    assert FULL_SCALE_DB_SPL + 10 * np.log10(np.mean(heard.astype(np.float64) ** 2)) == pytest.approx(alone, abs=0.1)


def test_each_ear_has_its_own_loss_and_mono_goes_to_both():
    audio = tone(1000, 65)
    heard = hear_as(audio, flat(0, 70)).samples
    np.testing.assert_array_equal(heard[:, 0], audio.samples[:, 0])
    assert np.abs(heard[9000:18000, 1]).max() < 1e-3 * np.abs(audio.samples).max()
    mono = hear_as(Audio(audio.samples[:, 0], 44100), flat(40, 20))
    np.testing.assert_array_equal(mono.samples, hear_as(audio, flat(40, 20)).samples)


def test_only_the_lost_frequencies_suffer():
    ear = Audiogram([125, 1000, 2000, 8000], [0, 0, 70, 70])
    low, high = tone(500, 65), tone(4000, 65)
    heard = hear_as(Audio(low.samples + high.samples, 44100), Listener("sloping", ear, ear)).samples
    # The law: 100 - 35 * 105.4 / 35.4 dB SPL is below the threshold of -5.4; what is left is the lower tone.
    middle = slice(9000, 18000)
    assert np.abs(heard[middle] - low.samples[middle]).max() < 2e-3 * np.abs(low.samples).max()


def test_result_is_in_time():
    # The envelope of a burst stays where it is: its centre of gravity moves by less than 1 ms.
    rate = 44100
    burst = np.zeros(rate)
    burst[20000:24410] = np.hanning(4410) * np.sin(2 * np.pi * 1000 * np.arange(4410) / rate)
    heard = hear_as(Audio(burst, rate), flat(40)).samples[:, 0].astype(np.float64)
    centre = np.sum(np.arange(rate) * heard**2) / np.sum(heard**2)
    assert abs(centre - (20000 + 2204.5)) < 0.001 * rate


@pytest.mark.parametrize("rate", [24000, 32000, 48000])
def test_other_rates(rate):
    assert heard_db_spl(tone(1000, 80, rate=rate), flat(40)) == pytest.approx(
        heard_db_spl(tone(1000, 80), flat(40)), abs=0.02
    )


def test_pieces_leave_no_trace():
    # 14 s are made in three pieces; each of the two halves has its border elsewhere. Away from the cut they agree.
    audio = noise(14)
    whole = hear_as(audio, flat(40)).samples
    rest = hear_as(Audio(audio.samples[3 * 44100 :], 44100), flat(40)).samples
    difference = whole[4 * 44100 :] - rest[44100:]
    # 60 dB below what is heard, which lies 30 dB below the noise.
    assert np.sqrt(np.mean(difference**2)) < 1e-3 * np.sqrt(np.mean(whole**2))


@pytest.mark.parametrize("n_samples", [1, 2, 441, 44100])
def test_length_is_kept(n_samples):
    heard = hear_as(noise(n_samples / 44100), flat(30))
    assert (heard.n_samples, heard.n_channels, heard.sample_rate) == (n_samples, 2, 44100)
    assert np.isfinite(heard.samples).all()
    assert not hear_as(Audio(np.zeros(n_samples), 44100), flat(30)).samples.any()


def test_simulators_are_those_that_are_installed():
    is_installed = importlib.util.find_spec("clarity") is not None
    assert simulator_names() == (("simple", "msbg") if is_installed else ("simple",))
    with pytest.raises(InputError, match="unknown hearing-loss simulator 'other': expected one of simple"):
        hear_as(noise(0.1), flat(30), simulator="other")
    if is_installed:
        heard = hear_as(noise(1), flat(40), simulator="msbg")
        assert (heard.n_samples, heard.n_channels) == (44100, 2)
    else:
        with pytest.raises(MissingDependencyError, match=r"cadenza-remix\[clarity\]") as caught:
            hear_as(noise(0.1), flat(30), simulator="msbg")
        assert "\n" not in str(caught.value)
