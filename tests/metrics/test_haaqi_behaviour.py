"""What pyclarity documents or tests of HAAQI, seen from outside: each behaviour has its test.

================================================================  ====================================================
Behaviour of pyclarity 0.9.0                                      Test
================================================================  ====================================================
its own two tests (white noise, an audiogram with a gap)          ``test_numbers_that_pyclaritys_own_tests_state``
score, nonlinear, linear, the four raw values; generator          ``test_pyclarity_gives_the_same_values...``; index
argument names, order and defaults of ``compute_haaqi``           ``test_arguments_are_those_of_pyclarity``
polynomial, weights, order of raw values                          ``test_values_belong_together``; index
draws of noise: 2 x 32 rows, then 2 x 32 x segments               ``test_draws_are_counted``; index
warning, interpolation, held ends of the audiogram                ``test_only_six_frequencies...``; index
losses below zero count as none                                   ``test_better_than_normal_hearing_counts_as_normal``
``equalisation`` 0, 1, 2                                          index; here against pyclarity's values
``level1``: dB SPL of an RMS of 1; no matching of levels          index
rates in whole kHz, RMS kept                                      here against values; index; components
the longer signal is cut; delays; pruned ends                     index; ``test_silence_around_both...``
worse sound, lower score                                          ``test_more_of_it_sounds_worse``
below threshold: features are 0                                   ``test_nothing_audible...``; index
both empty 1.0, reference empty 0.0 and a logged error            index
``ValueError`` of too short and of (n, 2)                         ``test_errors_are_value_errors``; index
parts of the ear (``eb``)                                         ``test_haaqi_components.py``, ``test_haaqi_model.py``
================================================================  ====================================================

"Index" is ``test_haaqi_index.py``. Without a test, because HAAQI does not use them: ``mel_cepstrum_correlation``, a
shifted or otherwise divided filter bank, the low modulation rates of ``melcor9``, segments too short for ``bm_covary``
(ours are fixed).

Different on purpose, each with a test: an all-zero reference (there ``IndexError``), an all-zero processed signal at
another rate than 24 kHz (there NaN), NaN and infinity (there NaN, a number or ``IndexError``, by rate and place), an
unknown equalisation (there taken for 2), whole numbers at another rate (there ``IndexError``), lists (``TypeError``).
pyclarity logs a warning when nothing is audible; ours says so by features that are 0.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.signal

from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.hearing.nalr import apply_fir, nalr_fir
from cadenza_remix.metrics import HaaqiReference, HaaqiResult, compute_haaqi, haaqi

GOLDEN = Path(__file__).parents[1] / "golden"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(GOLDEN))
    script = importlib.import_module("make_haaqi_behaviour")

RATE = script.RATE
EAR = Audiogram(script.SIX_HZ, script.MODERATE)


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "haaqi_behaviour.npz")


@pytest.fixture(scope="module")
def tune():
    return script.tune(RATE, 1)


def run(case):
    reference, processed, rng = script.make_signals(case)
    result = haaqi(
        reference,
        processed,
        audiogram=Audiogram(case.frequencies_hz, case.levels_db_hl),
        reference_sample_rate=case.reference_rate,
        processed_sample_rate=case.processed_rate,
        equalisation=case.equalisation,
        level1_db_spl=case.level1_db_spl,
        rng=rng,
    )
    return result, rng


def values(result):
    """In pyclarity's order."""
    return [result.score, result.nonlinear, result.linear, *dataclasses.astuple(result.features)]


def score_of(reference, processed, audiogram=EAR, **settings):
    settings = {"sample_rate": RATE, "level1_db_spl": 80.0, "rng": np.random.RandomState(1), **settings}
    return haaqi(reference, processed, audiogram=audiogram, **settings).score


# ---- pyclarity's values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", script.CASES)
def test_pyclarity_gives_the_same_values_and_leaves_the_same_generator(name, golden):
    """Signals are kept in single precision, which on half a second moves a value by up to 4e-8."""
    assert golden["oracle"] == "pyclarity 0.9.0"
    result, rng = run(script.CASES[name])
    np.testing.assert_allclose(values(result), golden[f"{name}_values"], rtol=0, atol=1e-7)
    assert script.digest_of_state(rng.get_state(legacy=False)) == str(golden[f"{name}_state"])


@pytest.mark.parametrize(("name", "stated"), [("unrelated", 0.111290948), ("swapped", 0.113759275)])
def test_numbers_that_pyclaritys_own_tests_state(name, stated):
    """Its third number is that of the audiogram that lacks 1 kHz, where the others put a point on the same line."""
    score = run(script.CASES[name])[0].score
    assert score == pytest.approx(stated, abs=1e-8)  # stated to nine places, ours differ by 1e-9
    if name == "swapped":
        assert run(script.CASES["gaps"])[0].score == pytest.approx(score, abs=1e-12)  # rounding of the interpolation


def test_values_belong_together():
    for name, case in script.CASES.items():
        result, _ = run(case)
        cepstral, vibration, loudness, balance = values(result)[3:]
        assert all(0.0 <= value <= 1.0 for value in values(result)), name
        assert result.nonlinear == pytest.approx(0.754 * cepstral**3 + 0.246 * vibration, abs=1e-15)
        assert result.linear == pytest.approx(0.329 * loudness + 0.671 * balance, abs=1e-15)
        squares = 0.501 * result.nonlinear**2 + 0.161 * result.linear**2
        assert result.score == pytest.approx(0.336 * result.nonlinear + 0.001 * result.linear + squares, abs=1e-15)


# ---- arguments and answers ------------------------------------------------------------------------------------------


def test_arguments_are_those_of_pyclarity(golden):
    ours = list(inspect.signature(compute_haaqi).parameters.values())
    for argument, name, default in zip(ours, golden["argument_names"], golden["argument_defaults"], strict=False):
        assert argument.name == name
        assert ("" if argument.default is argument.empty else repr(argument.default)) == default
        assert argument.kind is argument.POSITIONAL_OR_KEYWORD
    added = ours[len(golden["argument_names"]) :]
    assert all(argument.kind is argument.KEYWORD_ONLY and argument.default is not argument.empty for argument in added)


def test_what_is_left_out_is_nalr_and_65_db(tune):
    processed = script.change(tune, "noisy", RATE, 1)
    short = compute_haaqi(processed, tune, RATE, RATE, EAR, rng=np.random.RandomState(1))
    assert type(short) is float
    assert short == compute_haaqi(processed, tune, RATE, RATE, EAR, 1, 65.0, rng=np.random.RandomState(1))
    assert short == haaqi(tune, processed, audiogram=EAR, sample_rate=RATE, rng=np.random.RandomState(1)).score
    assert short != compute_haaqi(processed, tune, RATE, RATE, EAR, 2, rng=np.random.RandomState(1))


def test_results_cannot_be_changed(tune):
    result = haaqi(tune, tune, audiogram=EAR, sample_rate=RATE, rng=np.random.RandomState(1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.score = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.features.loudness_match = 1.0


def test_errors_are_value_errors(tune):
    """As there; what else goes wrong there (IndexError, NaN) is the same kind of error here."""
    stereo = np.stack((tune, tune), axis=1)
    wrong = [(tune[:300], tune[:300]), (stereo, stereo), (tune, np.where(tune == tune[9], np.nan, tune)), (tune, [])]
    for reference, processed in wrong:
        with pytest.raises(ValueError, match=r"^(reference|processed): ") as raised:
            compute_haaqi(processed, reference, RATE, RATE, EAR)
        assert isinstance(raised.value, InputError)


def test_lists_and_whole_numbers_are_taken_at_any_rate(tune):
    whole = np.round(tune * 20_000).astype(np.int16)
    expected = score_of(whole.astype(float), whole.astype(float) ** 3 / 1e8, sample_rate=16_000)
    assert score_of(whole, list(whole.astype(float) ** 3 / 1e8), sample_rate=16_000) == expected


# ---- audiograms -----------------------------------------------------------------------------------------------------


def test_only_six_frequencies_count_and_ends_are_held(tune, caplog):
    with caplog.at_level(logging.WARNING):
        six = score_of(tune, tune**3)
        more = Audiogram([125, *script.SIX_HZ[:4], 3000, 4000, 6000, 8000], [90, *script.MODERATE[:4], 90, 45, 50, 90])
        assert score_of(tune, tune**3, more) == six
        assert not caplog.records
        inner = Audiogram(script.SIX_HZ[1:5], script.MODERATE[1:5])
        assert score_of(tune, tune**3, inner) == score_of(
            tune, tune**3, Audiogram(script.SIX_HZ, [20, 20, 25, 35, 45, 45])
        )
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_missing_frequency_lies_on_a_line_over_the_logarithm(tune):
    """2 kHz between 1 kHz and 6 kHz: log 2 / log 6 of the way, not a fifth."""
    gap = Audiogram([250, 500, 1000, 4000, 6000], [0, 0, 10, 10 + 50 * np.log(4) / np.log(6), 60])
    full = Audiogram(script.SIX_HZ, [0, 0, 10, *(10 + 50 * np.log([2, 4]) / np.log(6)), 60])
    assert score_of(tune, tune**3, gap) == pytest.approx(score_of(tune, tune**3, full), abs=1e-9)
    straight = Audiogram(script.SIX_HZ, [0, 0, 10, 20, 10 + 50 * np.log(4) / np.log(6), 60])
    assert abs(score_of(tune, tune**3, straight) - score_of(tune, tune**3, full)) > 1e-4


def test_better_than_normal_hearing_counts_as_normal(tune):
    keen, normal = Audiogram(script.SIX_HZ, [-10, -5, -1, -20, -10, -3]), Audiogram(script.SIX_HZ, script.NORMAL)
    assert score_of(tune, tune**3, keen, equalisation=2) == score_of(tune, tune**3, normal, equalisation=2)


def test_pyclaritys_audiogram_is_refused_as_ours_is(tune):
    unsorted = SimpleNamespace(frequencies=np.array([500, 250, 1000]), levels=np.zeros(3))
    with pytest.raises(InputError, match="not sorted"):
        score_of(tune, tune, unsorted)


# ---- what is done to the sound --------------------------------------------------------------------------------------


def with_noise(sound, level_db):
    noise = np.random.RandomState(3).standard_normal(len(sound))
    return sound + noise * np.sqrt(np.mean(sound**2)) * 10 ** (level_db / 20)


def low_passed(sound, hz):
    return scipy.signal.sosfilt(scipy.signal.butter(4, hz, fs=RATE, output="sos"), sound)


def high_passed(sound, hz):
    return scipy.signal.sosfilt(scipy.signal.butter(4, hz, "high", fs=RATE, output="sos"), sound)


def with_peaks_cut(sound, part):
    return np.clip(sound, -part * np.abs(sound).max(), part * np.abs(sound).max())


def with_a_ringing_room(sound, seconds):
    return scipy.signal.lfilter([1.0], [1.0, *np.zeros(719), -(10 ** (-0.09 / seconds))], sound)


def rounded_to(sound, bits):
    return np.round(sound * 2 ** (bits - 1)) / 2 ** (bits - 1)


@pytest.mark.parametrize("levels_db_hl", [script.NORMAL, script.MODERATE], ids=["normal", "moderate"])
@pytest.mark.parametrize("equalisation", [1, 2])
@pytest.mark.parametrize(
    ("damage", "amounts"),
    [
        (with_noise, [-50, -30, -10, 10]),
        (low_passed, [8000, 2000, 500]),
        (high_passed, [50, 500, 2000]),
        (with_peaks_cut, [1.0, 0.5, 0.1, 0.02]),
        (with_a_ringing_room, [0.05, 0.2, 2.0]),
        (rounded_to, [16, 8, 6, 4]),
    ],
)
def test_more_of_it_sounds_worse(damage, amounts, equalisation, levels_db_hl, tune):
    """With equalisation 1 the processed signal carries the hearing aid's NAL-R; with 2 neither or both do."""
    ear = Audiogram(script.SIX_HZ, levels_db_hl)
    fir = nalr_fir(ear, sample_rate=RATE, order=140) if equalisation == 1 else np.ones(1)
    scores = [
        score_of(tune, apply_fir(damage(tune, amount), fir), ear, equalisation=equalisation) for amount in amounts
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 0.3  # of 0.7 to 1 (where NAL-R is applied the tune's abrupt ends cost up to 0.3)


def test_the_fine_structure_does_not_know_polarity(tune):
    """|covariance| counts; the rough alignment takes |correlation| too. Bands, though, are aligned without it."""
    upright = run(script.CASES["same"])[0].features
    inverted = run(script.CASES["inverted"])[0].features
    assert inverted.cepstral_correlation == upright.cepstral_correlation
    assert inverted.loudness_match == upright.loudness_match
    assert 0.9 < inverted.vibration_coherence < upright.vibration_coherence


def test_silence_around_both_signals_is_pruned(tune):
    processed = script.change(tune, "noisy", RATE, 1)
    around = (np.pad(tune, (3000, 500)), np.pad(processed, (3000, 500)))
    # The processed signal keeps its last 2 ms now, which without the padding are moved out at the end.
    trimmed = (tune, np.concatenate((processed, np.zeros(500))))
    assert score_of(*around) == pytest.approx(score_of(*trimmed), abs=2e-3)
    further = (np.pad(tune, (5000, 900)), np.pad(processed, (5000, 900)))
    assert score_of(*around) == pytest.approx(score_of(*further), abs=1e-9)  # the same samples are compared


def test_nothing_audible_leaves_the_linear_part():
    """Both spectra are flat at the threshold then: alike. The features say that nothing else was compared."""
    result, _ = run(script.CASES["faint"])
    assert values(result) == pytest.approx([0.162, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0], abs=1e-12)


# ---- noise ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "segments_audible"), [("faint", False), ("noisy", True)])
def test_draws_are_counted(name, segments_audible):
    """One number for each sample, channel and signal; then one for each audible segment of the envelope, 250 a second.

    The noisy tune is audible in all of them but the first, where the filters have yet to answer.
    """
    case = script.Case(name)
    reference, _, expected = script.make_signals(case)
    loud = np.flatnonzero(np.abs(reference) > 0.001 * np.abs(reference).max())
    n = loud[-1] + 1 - loud[0]
    expected.standard_normal(2 * 32 * n)
    rng = run(case)[1]
    if segments_audible:
        n_segments = 1 + n // 192 + (n - 96) // 192
        expected.standard_normal(2 * 32 * (n_segments - 1))
    assert script.digest_of_state(rng.get_state(legacy=False)) == script.digest_of_state(
        expected.get_state(legacy=False)
    )


def test_a_generator_of_ones_own_leaves_the_global_one_alone(tune):
    before = script.digest_of_state(np.random.get_state(legacy=False))  # noqa: NPY002
    own = score_of(tune, tune**3)
    kept = HaaqiReference.prepare(tune, RATE, audiogram=EAR, level1_db_spl=80.0, rng=np.random.RandomState(1))
    kept.score(tune**3, RATE, rng=np.random.RandomState(2))
    assert script.digest_of_state(np.random.get_state(legacy=False)) == before  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert score_of(tune, tune**3, rng=None) == own


# ---- references -----------------------------------------------------------------------------------------------------


def test_a_reference_scores_as_the_function_does_whether_kept_or_not(tune):
    """Processed signals of another rate, longer and shorter ones included."""
    changed = script.change(script.tune(44_100, 1), "noisy", 44_100, 1)
    settings = {"audiogram": EAR, "equalisation": 0, "level1_db_spl": 75.0}
    for processed in (changed, np.pad(changed, (0, 3000)), changed[:15_000]):
        expected = haaqi(
            tune, processed, reference_sample_rate=RATE, processed_sample_rate=44_100, rng=np.random.RandomState(1),
            **settings,
        )  # fmt: skip
        plain = HaaqiReference(tune, RATE, **settings)
        assert plain.score(processed, 44_100, rng=np.random.RandomState(1)) == expected
        if len(processed) >= len(changed):
            rng = np.random.RandomState(1)
            kept = HaaqiReference.prepare(tune, RATE, rng=rng, **settings)
            # 44.1 kHz counts as 44: half a second comes out a little longer, so that the reference is whole.
            assert kept.score(processed, 44_100, rng=rng) == expected


def test_a_silent_reference_can_be_kept(tune):
    rng = np.random.RandomState(1)
    untouched = script.digest_of_state(rng.get_state(legacy=False))
    silence = np.zeros(RATE // 2)
    kept = HaaqiReference.prepare(silence, RATE, audiogram=EAR, rng=rng)
    assert kept.score(silence, 44_100, rng=rng) == HaaqiResult(1.0, 1.0, 1.0, None)
    assert kept.score(tune, RATE, rng=rng) == HaaqiResult(0.0, 0.0, 0.0, None)
    assert script.digest_of_state(rng.get_state(legacy=False)) == untouched


def test_a_bad_reference_is_refused_when_it_is_given(tune):
    with pytest.raises(InputError, match="reference: NaN"):
        HaaqiReference(np.full(5000, np.nan), RATE, audiogram=EAR)
    with pytest.raises(InputError, match="unknown equalisation"):
        HaaqiReference(tune, RATE, audiogram=EAR, equalisation=3)
    with pytest.raises(InputError, match="reference: too short"):
        HaaqiReference.prepare(np.pad(tune[:100], 2000), RATE, audiogram=EAR)


def test_threads_may_share_a_reference(tune):
    kept = HaaqiReference.prepare(tune, RATE, audiogram=EAR, level1_db_spl=80.0, rng=np.random.RandomState(1))
    processed = [script.change(tune, "noisy", RATE, seed) for seed in range(4)]

    def score(number):
        return kept.score(processed[number], RATE, rng=np.random.RandomState(number))

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(score, range(4)))
    assert together == [score(number) for number in range(4)]
