"""The parts of the auditory model against those of pyclarity 0.9.0 (its module ``eb``), number by number.

``test_haaqi_model.py`` has them against plain statements of what they compute. Which part has its test where:

==============================================  ==================================================================
Part of pyclarity                               Test (here, unless it says "model")
==============================================  ==================================================================
``center_frequency``                            ``test_centre_frequencies``
``loss_parameters``                             ``test_losses_are_shared_out``; model: a normal ear, a loss
``resample_24khz``                              ``test_resampling``; model: RMS
``input_align``                                 model: the broadband delay, silence around the reference
``middle_ear``                                  ``test_middle_ear``
``gammatone_*``                                 model: the gammatone of direct form, a tone at the centre
``bandwidth_adjust``                            ``test_filters_widen_between_50_and_100_db_spl``
``env_compress_basilar_membrane``               model: compression follows its curve
``envelope_align``                              model: delays are those of the whole correlation, and after
``envelope_sl``, ``inner_hair_cell_adaptation``  model: hair cells shift, adapt and smooth
``env_smooth``                                  model, as before; ``test_two_sounds_through_the_ear``
``basilar_membrane_add_noise``                  model: noise is that of NumPy; ``test_two_sounds_through_the_ear``
``group_delay_compensate``                      ``test_group_delays``; model
``convert_rms_to_sl``                           ``test_long_term_levels``
``melcor9``, ``melcor9_crosscovmatrix``         ``test_cepstral_correlation``; model: equal and unrelated
``spectrum_diff``                               ``test_spectra``; model: without overall loudness
``bm_covary``                                   ``test_covariance_of_tiles``; model
``ave_covary2``                                 ``test_audible_tiles_and_their_mean``; model
``ear_model``                                   ``test_two_sounds_through_the_ear``
==============================================  ==================================================================
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from cadenza_remix.metrics.auditory import cochlea, covariance, ear, features, front_end
from cadenza_remix.metrics.auditory.filters import LANES
from cadenza_remix.metrics.auditory.noise import NormalStream
from cadenza_remix.metrics.auditory.scratch import Scratch

GOLDEN = Path(__file__).parents[1] / "golden"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(GOLDEN))
    script = importlib.import_module("make_haaqi_behaviour")

# The same formulas in double precision, in another order.
ROUNDING = 1e-11


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "haaqi_behaviour.npz")


def test_centre_frequencies(golden):
    np.testing.assert_allclose(cochlea.CENTRE_FREQUENCIES_HZ, golden["centre_hz"], rtol=ROUNDING)
    assert cochlea.CENTRE_FREQUENCIES_HZ[[0, -1]] == pytest.approx([80.0, 8000.0])


@pytest.mark.parametrize("number", range(len(script.LOSSES)))
def test_losses_are_shared_out(number, golden):
    """Normal, moderate, uneven, partly better than normal, profound, and the ear of the control filters."""
    ours = cochlea.Cochlea.with_loss(np.array(script.LOSSES[number], dtype=float))
    ohc, bandwidth, knee, ratio, ihc = golden["losses"][number]
    for mine, theirs in (
        (ours.attenuation_ohc_db, ohc),
        (ours.bandwidth, bandwidth),
        (ours.knee_db_spl, knee),
        (ours.compression_ratio, ratio),
        (ours.attenuation_ihc_db, ihc),
    ):
        np.testing.assert_allclose(mine, theirs, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("rate", script.RESAMPLED_RATES)
def test_resampling(rate, golden):
    """SciPy may design the filters otherwise in the last digits; 24.3 kHz counts as 24 and is left as it is."""
    ours = front_end.to_model_rate(script.resampling_input(rate), rate)
    np.testing.assert_allclose(ours, golden[f"resampled_{rate}"], rtol=0, atol=1e-10)


def test_middle_ear(golden):
    """One filter of third order here, two in a row there."""
    np.testing.assert_allclose(
        cochlea.middle_ear(script.middle_ear_input()), golden["middle_ear"], rtol=0, atol=ROUNDING
    )


def test_group_delays(golden):
    ours = [cochlea.group_delays(widths) for widths in script.bandwidth_inputs()]
    np.testing.assert_array_equal(ours, golden["delays"])


@pytest.mark.parametrize(("level_db_spl", "part"), [(20.0, 0.0), (50.0, 0.0), (62.5, 0.25), (75.0, 0.5), (110.0, 1.0)])
def test_filters_widen_between_50_and_100_db_spl(level_db_spl, part):
    """By the level in the control filter, whose envelope of a tone at the centre is its amplitude."""
    moderate = cochlea.Cochlea.with_loss(np.array(script.MODERATE, dtype=float))
    widest = cochlea.Cochlea.with_loss(np.full(6, 100.0)).bandwidth
    n, group, lane, level1 = 24_000, 2, 3, 80.0
    channel = group * LANES + lane
    tone = np.cos(2 * np.pi * cochlea.CENTRE_FREQUENCIES_HZ[channel] * np.arange(n) / script.RATE)
    sound = tone * 10 ** ((level_db_spl - level1) / 20)
    control = cochlea.control_path(sound, n, group, moderate, level1, np.empty(n * LANES, np.float32))
    expected = moderate.bandwidth[channel] + part * (widest[channel] - moderate.bandwidth[channel])
    # Onset and the image at twice the frequency shift the level by 0.01 dB, 0.0002 of the way.
    assert control.bandwidth[lane] == pytest.approx(expected, abs=5e-4 * widest[channel])


def test_long_term_levels(golden):
    moderate = cochlea.Cochlea.with_loss(np.array(script.MODERATE, dtype=float))
    ours = [
        cochlea.loudness_spectrum_db(signal, control, moderate, 80.0)
        for signal, control in zip(*script.level_inputs(), strict=True)
    ]
    np.testing.assert_allclose(ours, golden["levels"], rtol=0, atol=1e-10)
    assert (golden["levels"] == 0).any()  # inaudible
    assert golden["levels"].max() > 60


def test_spectra(golden):
    """pyclarity's standard deviations, scaled as the index scales them."""
    for reference, processed, (loudness, balance) in zip(*script.spectrum_inputs(), golden["spread"], strict=True):
        ours = features.spectrum_match(reference, processed)
        assert ours.loudness == pytest.approx(np.clip(1 - loudness / 2.5, 0, 1), abs=ROUNDING)
        assert ours.balance == pytest.approx(np.clip(1 - balance / 25, 0, 1), abs=ROUNDING)


def test_cepstral_correlation(golden):
    """Alike, unrelated, half inaudible, audible once, beside silence: the last two are 0."""
    ours = []
    for reference, processed in script.envelope_inputs():
        audible = features.audible_segments(reference)
        ours.append(features.cepstral_correlation(reference, processed, audible))
    # Filtering by FFT here, by sums there.
    np.testing.assert_allclose(ours, golden["cepstral"], rtol=0, atol=1e-9)
    assert golden["cepstral"][0] > 0.7 > 0.3 > golden["cepstral"][1]
    assert ours[3:] == [0.0, 0.0]


def test_covariance_of_tiles(golden):
    """The largest within 1 ms: a channel that lags by 2.5 ms has little, a silent one none."""
    first, second = script.motion_inputs()
    everything = np.ones(golden["covariance"].shape[1], dtype=bool)
    ours = [covariance.channel_covariances(x, y, everything) for x, y in zip(first, second, strict=True)]
    np.testing.assert_allclose(ours, golden["covariance"], rtol=0, atol=2e-6)  # 384 products in single precision
    assert not ours[8].any()
    assert ours[7].mean() < 0.5 < np.mean(ours)


def test_audible_tiles_and_their_mean(golden):
    first, _ = script.motion_inputs()
    ours = covariance.audible_tiles([first[:8], first[8:16], first[16:24], first[24:]])
    level_db = np.sqrt(golden["mean_square"])
    loud = 20 * np.log10(np.mean(10 ** (level_db / 20), axis=0)) > 2.5
    np.testing.assert_array_equal(ours, (level_db > 2.5) & loud)
    assert 0 < ours.sum() < ours.size
    sums = np.sum(golden["covariance"] * ours, axis=1)
    assert covariance.mean_covariance(sums, ours) == pytest.approx(float(golden["mean_covariance"]), abs=ROUNDING)


def test_two_sounds_through_the_ear(golden):
    """Everything from the input to smoothed envelopes, long-term spectra and the noisy motion of each channel."""
    reference, processed = script.ear_inputs()
    span = front_end.Span.of(reference)
    delay = front_end.BroadbandTarget(reference).delay(processed)
    moderate = cochlea.Cochlea.with_loss(np.array(script.MODERATE, dtype=float))
    noise, scratch = NormalStream(np.random.RandomState(1)), Scratch()
    heard = ear.HeardReference(
        cochlea.middle_ear(front_end.take_early(reference, 0, span)), moderate, script.EAR_LEVEL1_DB_SPL, None
    )
    sound = cochlea.middle_ear(front_end.take_early(processed, delay, span))
    other = ear.hear_processed(sound, moderate, heard, noise, scratch)
    # dB: levels of single precision are right to 1e-5.
    np.testing.assert_allclose(np.stack((heard.smooth, other.smooth)), golden["ear_smooth"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(np.stack((heard.spectrum_db, other.spectrum_db)), golden["ear_spectrum"], atol=1e-5)
    motion = [np.abs(heard.channel(k)).mean() for k in range(cochlea.N_CHANNELS)]
    np.testing.assert_allclose(motion, golden["ear_motion"], rtol=1e-5)
    assert other.vibration_covariance == pytest.approx(float(golden["ear_vibration"]), abs=1e-7)
