"""HAAQI as a whole: pyclarity's scores, what the score does, and what it says to bad input."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.hearing.nalr import apply_fir, nalr_fir
from cadenza_remix.metrics import HaaqiFeatures, HaaqiReference, HaaqiResult, compute_haaqi, haaqi

GOLDEN = Path(__file__).parents[1] / "golden"
RATE = 24_000
NORMAL = Audiogram([250, 500, 1000, 2000, 4000, 6000], np.zeros(6))
SLOPING = Audiogram([250, 500, 1000, 2000, 3000, 4000, 6000, 8000], [20, 20, 25, 35, 40, 45, 50, 60])


def load_golden_script():
    spec = importlib.util.spec_from_file_location("make_haaqi", GOLDEN / "make_haaqi.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_haaqi"] = module
    spec.loader.exec_module(module)
    return module


script = load_golden_script()


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "haaqi.npz")


@pytest.fixture(scope="module")
def music():
    """One second of a swelling chord in noise, -30 dB below full scale, faded in and out.

    The fades matter: the rough alignment keeps 2 ms in hand and so drops the last 48 samples of the processed signal.
    """
    chord = script.make_signals(script.Case("noisy", NORMAL.levels_db_hl))[0][:RATE]
    return chord * np.clip(np.minimum(np.arange(RATE), np.arange(RATE)[::-1]) / 2400, 0, 1) ** 2


def score_of(reference, processed, audiogram=SLOPING, seed=1, **settings):
    settings = {"sample_rate": RATE, "level1_db_spl": 80.0, **settings}
    return haaqi(reference, processed, audiogram=audiogram, rng=np.random.RandomState(seed), **settings).score


# ---- the reference implementation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", script.CASES)
def test_pyclarity_gives_the_same_score_and_leaves_the_same_generator(name, golden):
    assert golden["oracle"] == "pyclarity 0.9.0"
    case = script.CASES[name]
    reference, processed = script.make_signals(case)
    rng = np.random.RandomState(case.seed)
    result = haaqi(
        reference,
        processed,
        audiogram=Audiogram(script.FREQUENCIES_HZ, case.levels_db_hl),
        reference_sample_rate=case.reference_rate,
        processed_sample_rate=case.processed_rate,
        equalisation=case.equalisation,
        level1_db_spl=case.level1_db_spl,
        rng=rng,
    )
    parts = result.features
    ours = [
        result.score,
        result.nonlinear,
        result.linear,
        parts.cepstral_correlation,
        parts.vibration_coherence,
        parts.loudness_match,
        parts.spectral_balance_match,
    ]
    # Storage in single precision moves scores of 4 s by 1e-9 to 1e-8; these signals are shorter, hence less averaged.
    np.testing.assert_allclose(ours, golden[f"{name}_values"], rtol=0, atol=1e-6)
    assert abs(result.score - golden[f"{name}_values"][0]) < 1e-7
    assert script.digest_of_state(rng.get_state(legacy=False)) == str(golden[f"{name}_state"])


def test_eight_calls_after_one_seed_of_the_global_generator(golden):
    """Two calls stand for eight: the second continues where the first left the generator."""
    case = script.CASES["noisy"]
    reference, processed = script.make_signals(case)
    ear = Audiogram(script.FREQUENCIES_HZ, case.levels_db_hl)
    np.random.seed(case.seed)  # noqa: NPY002
    first = compute_haaqi(processed, reference, RATE, RATE, ear, 1, case.level1_db_spl)
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    second = compute_haaqi(processed, reference, RATE, RATE, ear, 1, case.level1_db_spl)
    assert script.digest_of_state(state) == str(golden["noisy_state"])
    rng = np.random.RandomState(case.seed)
    again = [compute_haaqi(processed, reference, RATE, RATE, ear, 1, case.level1_db_spl, rng=rng) for _ in range(2)]
    assert [first, second] == again
    assert first != second


# ---- what the score does --------------------------------------------------------------------------------------------


def test_the_polynomial_of_perfect_features():
    result = HaaqiResult.from_features(HaaqiFeatures(1.0, 1.0, 1.0, 1.0))
    assert result.nonlinear == pytest.approx(1.0, abs=1e-15)
    assert result.score == pytest.approx(0.336 + 0.001 + 0.501 + 0.161, abs=1e-15)


def test_identical_signals_without_nalr_differ_by_the_threshold_noise_only(music):
    result = haaqi(
        music, music, audiogram=NORMAL, sample_rate=RATE, equalisation=2, level1_db_spl=80.0,
        rng=np.random.RandomState(1),
    )  # fmt: skip
    # Envelopes carry no noise: alike but for the end of the fade (see the fixture). The fine structure is noisy.
    assert result.features.cepstral_correlation == pytest.approx(1.0, abs=2e-3)
    assert result.features.loudness_match == pytest.approx(1.0, abs=1e-6)
    assert result.features.spectral_balance_match == pytest.approx(1.0, abs=1e-6)
    assert 0.99 < result.features.vibration_coherence < 1.0
    assert result.score <= 0.999


def test_equalisation_adds_nalr_to_the_reference_only(music):
    aided = apply_fir(music, nalr_fir(SLOPING, sample_rate=RATE, order=140))
    without = score_of(music, music)
    carrying = score_of(music, aided)
    both_given = score_of(aided, aided, equalisation=2)
    assert without < 0.6 < 0.9 < carrying < both_given


def test_equalisation_zero_lets_a_normal_ear_hear_the_reference(music):
    assert score_of(music, music, equalisation=0) < score_of(music, music, equalisation=2)
    for audiogram in (NORMAL,):  # without a loss both ears are the same ear
        assert score_of(music, music, audiogram, equalisation=0) == score_of(music, music, audiogram, equalisation=2)


@pytest.mark.parametrize("delay", [1, 110, 2000, 7000])
def test_a_constant_delay_changes_nothing(music, delay):
    processed = music + 0.3 * music**2
    room = np.zeros(8000)
    here = score_of(np.concatenate((room, music, room)), np.concatenate((room, processed, room)))
    late = np.concatenate((room, np.zeros(delay), processed, room))[: len(music) + 16000]
    # The same samples are compared; what differs is where rounding falls.
    assert score_of(np.concatenate((room, music, room)), late) == pytest.approx(here, abs=1e-6)


def test_louder_and_softer_both_cost(music):
    scores = [score_of(music, music * 10 ** (gain_db / 20), equalisation=2) for gain_db in (0, -3, -10, -30)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 0.5
    assert score_of(music, 2 * music, equalisation=2) < scores[0]


def test_level1_is_the_level_of_rms_one(music):
    """Half the samples at twice (6.02 dB more) the calibration are the same sound, but for the level of the noise."""
    processed = music + 0.3 * music**2
    one = score_of(music, processed, level1_db_spl=80.0)
    other = score_of(music / 2, processed / 2, level1_db_spl=80.0 + 20 * np.log10(2))
    assert other == pytest.approx(one, abs=1e-4)  # what noise moves
    assert abs(score_of(music, processed, level1_db_spl=60.0) - one) > 5e-3


def test_rates_count_in_whole_kilohertz(music):
    assert score_of(music, music**3, sample_rate=44_100) == score_of(music, music**3, sample_rate=44_000)
    assert score_of(music, music**3, sample_rate=44_100) != score_of(music, music**3, sample_rate=48_000)


def test_the_same_input_gives_the_same_output(music):
    assert score_of(music, music**3) == score_of(music, music**3)
    assert score_of(music, music**3) != score_of(music, music**3, seed=2)
    assert score_of(music, music**3) == pytest.approx(
        score_of(music, music**3, seed=2), abs=5e-4
    )  # spread of the noise


def test_the_longer_signal_is_cut(music):
    longer = np.concatenate((music, np.random.RandomState(3).standard_normal(5000)))
    assert score_of(music, longer) == score_of(music, music)


def test_inputs_are_left_alone_and_may_be_of_any_float_kind(music):
    reference, processed = music.copy(), music**3
    reference.flags.writeable = processed.flags.writeable = False
    expected = score_of(reference, processed)
    np.testing.assert_array_equal(reference, music)
    spread = np.zeros((len(music), 2))
    spread[:, 0] = processed
    assert score_of(reference, spread[:, 0]) == expected
    # float32 samples are the float64 ones to 24 bit.
    assert score_of(reference.astype(np.float32), processed.astype(np.float32)) == pytest.approx(expected, abs=1e-5)
    whole = np.round(music * 10_000).astype(np.int16)
    assert score_of(whole, whole) == score_of(whole.astype(float), whole.astype(float))


# ---- silence --------------------------------------------------------------------------------------------------------


def test_silence_has_an_answer_and_draws_no_noise(music):
    rng = np.random.RandomState(1)
    untouched = script.digest_of_state(rng.get_state(legacy=False))
    silence = np.zeros(RATE)
    settings = {"audiogram": SLOPING, "sample_rate": 44_100, "level1_db_spl": np.inf, "rng": rng}
    assert haaqi(silence, silence, **settings) == HaaqiResult(1.0, 1.0, 1.0, None)
    assert haaqi(silence, music, **settings) == HaaqiResult(0.0, 0.0, 0.0, None)
    assert script.digest_of_state(rng.get_state(legacy=False)) == untouched


@pytest.mark.parametrize("rate", [24_000, 44_100])
def test_a_silent_processed_signal_is_scored(music, rate):
    assert 0.0 < score_of(music, np.zeros_like(music), sample_rate=rate) < 0.1


def test_music_below_the_threshold_of_hearing_is_scored(music):
    result = haaqi(1e-6 * music, 1e-6 * music, audiogram=NORMAL, sample_rate=RATE, rng=np.random.RandomState(1))
    assert result.features.cepstral_correlation == result.features.vibration_coherence == 0.0
    assert np.isfinite(result.score)


# ---- the names of pyclarity -----------------------------------------------------------------------------------------


def test_compute_haaqi_takes_the_processed_signal_first_and_the_audiogram_of_pyclarity(music):
    theirs = SimpleNamespace(frequencies=SLOPING.frequencies_hz, levels=SLOPING.levels_db_hl)
    by_position = compute_haaqi(music**3, music, RATE, RATE, theirs, 2, 80.0, rng=np.random.RandomState(1))
    assert by_position == score_of(music, music**3, equalisation=2)
    by_name = compute_haaqi(
        reference_signal=music,
        processed_signal=music**3,
        reference_sample_rate=RATE,
        processed_sample_rate=RATE,
        audiogram=SLOPING,
        equalisation=2,
        level1=80.0,
        rng=np.random.RandomState(1),
    )
    assert by_name == by_position


def test_compute_haaqi_of_nothing(music, caplog):
    nothing = np.zeros(0)
    assert compute_haaqi(nothing, nothing, RATE, RATE, SLOPING) == 1.0
    assert compute_haaqi(music, nothing, RATE, RATE, SLOPING) == 0.0
    assert "reference is empty" in caplog.text
    with pytest.raises(InputError, match="processed: holds no samples"):
        compute_haaqi(nothing, music, RATE, RATE, SLOPING)


def test_a_missing_audiogram_frequency_is_said(music, caplog):
    with caplog.at_level(logging.WARNING):
        score_of(music, music, SLOPING)
        assert not caplog.records
        score_of(music, music, Audiogram([500, 1000, 2000, 4000], [10, 20, 30, 40]))
    assert "250, 6000 Hz" in caplog.text


# ---- kept references ------------------------------------------------------------------------------------------------


def test_a_kept_reference_gives_the_single_score_first(music):
    rng, other = np.random.RandomState(7), np.random.RandomState(7)
    kept = HaaqiReference.prepare(music, RATE, audiogram=SLOPING, level1_db_spl=80.0, rng=rng)
    first = kept.score(music**3, RATE, rng=rng)
    assert first == haaqi(music, music**3, audiogram=SLOPING, sample_rate=RATE, level1_db_spl=80.0, rng=other)
    assert script.digest_of_state(rng.get_state(legacy=False)) == script.digest_of_state(other.get_state(legacy=False))
    later = kept.score(music**3, RATE, rng=rng)
    assert later.score == pytest.approx(first.score, abs=5e-4)  # other noise for the processed signal
    assert later.features.cepstral_correlation == first.features.cepstral_correlation


def test_a_shorter_processed_signal_cuts_a_kept_reference(music):
    rng, other = np.random.RandomState(7), np.random.RandomState(7)
    kept = HaaqiReference.prepare(music, RATE, audiogram=SLOPING, level1_db_spl=80.0, rng=np.random.RandomState(1))
    ours = kept.score(music[:15_000] ** 3, RATE, rng=rng).score
    assert ours == score_of(music, music[:15_000] ** 3, seed=7)
    assert other.get_state()[2] != rng.get_state()[2]


# ---- bad input ------------------------------------------------------------------------------------------------------

GOOD = np.sin(np.arange(2000))


def bad(value, at=10):
    signal = GOOD.copy()
    signal[at] = value
    return signal


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": bad(np.nan)}, "reference: NaN or infinity: expected finite samples, found sample 10"),
        ({"processed": bad(np.inf, 3)}, "processed: NaN or infinity: expected finite samples, found sample 3"),
        ({"reference": GOOD[:0]}, "reference: holds no samples"),
        ({"processed": GOOD[:0]}, "processed: holds no samples"),
        ({"reference": GOOD[:383]}, "reference: too short for HAAQI: expected at least 384 samples at 24000 Hz"),
        ({"processed": GOOD[:383]}, "processed: too short for HAAQI"),
        ({"reference": np.pad(GOOD[:300], 500)}, "reference: too short for HAAQI: expected at least 384 audible"),
        ({"reference": np.stack((GOOD, GOOD), axis=1)}, r"reference: wrong shape: .*found \(2000, 2\)"),
        ({"processed": np.float64(1.0)}, "processed: wrong shape"),
        ({"processed": GOOD.astype(complex)}, "processed: wrong kind of samples"),
        ({"sample_rate": 0}, "wrong sample rate"),
        ({"sample_rate": np.nan}, "wrong sample rate"),
        ({"sample_rate": None}, "give sample_rate or reference_sample_rate: expected one of them, found none"),
        ({"processed_sample_rate": RATE}, "give sample_rate or processed_sample_rate.*found both"),
        ({"equalisation": 3}, "unknown equalisation: expected 0 .*found 3"),
        ({"level1_db_spl": np.inf}, "level1 is not finite"),
        ({"sample_rate": "24000"}, "sample rate of the reference: wrong type: expected a number in Hz, found str"),
        ({"level1_db_spl": None}, "level1: wrong type: expected a number in dB SPL, found NoneType"),
        ({"equalisation": [1]}, "unknown equalisation"),
        ({"processed": [[1.0], [1.0, 2.0]]}, "processed: wrong shape"),
        ({"audiogram": [1, 2, 3]}, "wrong audiogram: expected an Audiogram, found list"),
        ({"rng": np.random.default_rng(1)}, "rng: wrong kind of generator"),
    ],
)
def test_bad_input_is_one_clear_line(change, message):
    arguments = {"reference": GOOD, "processed": GOOD, "audiogram": SLOPING, "sample_rate": RATE, **change}
    reference, processed = arguments.pop("reference"), arguments.pop("processed")
    with pytest.raises(InputError, match=message) as raised:
        haaqi(reference, processed, **arguments)
    assert "\n" not in str(raised.value)


def test_the_shortest_signal_is_scored():
    assert 0.0 <= score_of(np.cos(np.arange(384)), np.cos(np.arange(384)) ** 3) <= 1.0


def test_metrics_are_loaded_when_asked_for():
    code = """
import sys
import cadenza_remix.metrics
assert "numba" not in sys.modules
cadenza_remix.metrics.haaqi
assert "numba" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    import cadenza_remix.metrics as metrics

    assert {"haaqi", "compute_haaqi", "HaaqiReference", "snr_db"} <= set(dir(metrics))
    with pytest.raises(AttributeError, match="no_such"):
        metrics.no_such  # noqa: B018
