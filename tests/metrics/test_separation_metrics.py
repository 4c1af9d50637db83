"""SNR, SDR, SI-SDR and the projections: closed forms first, then museval and mir_eval, then what must be refused."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.metrics.bss import Projector, correlations, projection_filters
from cadenza_remix.metrics.separation import sdr_db, si_sdr_db, snr_db

GOLDEN = Path(__file__).parent.parent / "golden" / "separation_metrics.npz"
ALL = (snr_db, sdr_db, si_sdr_db)
# Sums of some thousand float64 products round at 1e-13 relative; a dB is a quarter of that.
ROUNDING_DB = 1e-9


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as stored:
        return {
            **{name: stored[name] for name in stored.files},
            "references": stored["references"] / 32768,
            "estimates": stored["estimates"] / 32768,
        }


def ratio_db(numerator, denominator):
    return 10 * math.log10(np.sum(np.square(numerator)) / np.sum(np.square(denominator)))


def two_parts(rng, length=3000, guard=511):
    """Noise in the first part, other noise in the second: no delay below ``guard`` makes them overlap."""
    first, second = np.zeros(length), np.zeros(length)
    first[: length // 3] = rng.standard_normal(length // 3)
    second[length // 3 + guard :] = rng.standard_normal(length - length // 3 - guard)
    return first, second


class TestPublishedFaults:
    """What the notebook of the entry did wrong, each of which changed its SNR and SDR."""

    @pytest.mark.parametrize("score", ALL)
    @pytest.mark.parametrize("n_channels", [1, 2])
    def test_a_perfect_copy_is_perfect(self, rng, score, n_channels):
        song = rng.standard_normal((5000, n_channels)).astype(np.float32)
        assert score(song, song.copy()) == math.inf
        assert score(Audio(song, 44100), Audio(song, 44100)) == math.inf

    @pytest.mark.parametrize("score", ALL)
    def test_a_segment_at_another_rate_is_not_scored_against_the_whole_song(self, rng, score):
        song = rng.standard_normal(44100)
        with pytest.raises(InputError, match="differ in sample rate: expected 44100 Hz, found 24000 Hz"):
            score(Audio(song, 44100), Audio(song, 24000))
        with pytest.raises(InputError, match="differ in length: expected 44100 as the reference, found 24000"):
            score(song, song[:24000])

    @pytest.mark.parametrize(("gain", "expected_db"), [(0.5, 6.0206), (2.0, 0.0), (0.9, 20.0), (-1.0, -6.0206)])
    def test_level_counts_for_snr_because_no_peak_is_normalised(self, rng, gain, expected_db):
        song = rng.standard_normal((3000, 2))
        # The expected values are -20 log10(|1 - gain|), written with four decimals.
        assert snr_db(song, gain * song) == pytest.approx(expected_db, abs=1e-4)
        assert sdr_db(song, gain * song) == math.inf
        assert si_sdr_db(song, gain * song) == math.inf

    @pytest.mark.parametrize("score", ALL)
    def test_a_common_gain_changes_nothing(self, rng, score):
        song = rng.standard_normal(3000)
        estimate = song + 0.3 * rng.standard_normal(3000)
        # Powers of two scale floats exactly.
        assert score(song / 8, estimate / 8) == score(song, estimate)

    @pytest.mark.parametrize("score", ALL)
    def test_inputs_are_left_alone(self, rng, score):
        song, estimate = rng.standard_normal((2, 3000))
        before = song.copy(), estimate.copy()
        score(song, estimate)
        np.testing.assert_array_equal((song, estimate), before)


class TestSnr:
    def test_known_noise_gives_its_level(self, rng):
        song, noise = rng.standard_normal((2, 4000, 2))
        noise *= np.sqrt(np.sum(song**2) / np.sum(noise**2)) * 10 ** (-17.5 / 20)
        assert snr_db(song, song + noise) == pytest.approx(17.5, abs=ROUNDING_DB)

    def test_energies_are_summed_over_channels_and_over_long_signals(self, rng):
        # Longer than one block of the sums, by a part of one.
        song, noise = rng.standard_normal((2, 2**18 + 1000, 2))
        noise[:, 0] *= 0.01
        assert snr_db(song, song + noise) == pytest.approx(ratio_db(song, noise), abs=ROUNDING_DB)

    def test_stereo_agrees_with_museval_images(self, golden):
        for reference, estimate, expected in zip(
            golden["references"], golden["estimates"], golden["image_sdr_db"], strict=True
        ):
            assert snr_db(reference, estimate) == pytest.approx(expected, abs=ROUNDING_DB)


class TestSiSdr:
    @pytest.mark.parametrize("gain", [0.01, 1.0, -30.0])
    def test_orthogonal_noise_at_any_level(self, rng, gain):
        song, noise = two_parts(rng)
        noise *= np.sqrt(np.sum(song**2) / np.sum(noise**2)) * 10 ** (-12 / 20)
        assert si_sdr_db(song, gain * (song + noise)) == pytest.approx(12.0, abs=ROUNDING_DB)

    def test_cosine_between_the_signals_is_all_that_counts(self, rng):
        song, other = rng.standard_normal((2, 4000))
        cosine = song @ other / np.sqrt((song @ song) * (other @ other))
        expected = 10 * math.log10(cosine**2 / (1 - cosine**2))
        assert si_sdr_db(song, other) == pytest.approx(expected, abs=ROUNDING_DB)

    def test_stereo_has_one_scale(self, rng):
        song = rng.standard_normal((3000, 2))
        unequal = song * [1.0, 0.5]
        assert si_sdr_db(song, unequal) == pytest.approx(si_sdr_db(song.ravel(), unequal.ravel()), abs=ROUNDING_DB)
        assert si_sdr_db(song, unequal) < 20


class TestSdr:
    def test_filtered_copy_with_noise_that_no_filter_makes(self, rng):
        song, noise = two_parts(rng)
        taps = rng.standard_normal(512) * np.exp(-np.arange(512) / 60)
        filtered = np.convolve(song, taps)[: len(song)]
        assert filtered @ noise == 0
        expected = ratio_db(filtered, noise)
        assert sdr_db(song, filtered + noise) == pytest.approx(expected, abs=ROUNDING_DB)
        assert snr_db(song, filtered + noise) < 0

    def test_what_512_taps_can_do_is_forgiven_and_what_they_cannot_is_not(self, rng):
        song = np.zeros(6000)
        song[1000:5000] = rng.standard_normal(4000)
        assert sdr_db(song, np.roll(song, 511)) == math.inf
        assert sdr_db(song, np.roll(song, 512)) < 0
        assert sdr_db(song, np.roll(song, -1)) < 0
        assert sdr_db(song, np.roll(song, 600), filter_length=601) == math.inf
        assert snr_db(song, np.roll(song, 511)) < 0

    def test_filtered_float32_file_scores_high_but_for_its_rounding(self, rng):
        song = np.concatenate([rng.standard_normal(4000), np.zeros(511)])
        filtered = scipy.signal.lfilter([0.5, 0.3, -0.2], [1], song)
        # 24 bits of mantissa.
        assert 140 < sdr_db(song, filtered.astype(np.float32)) < 170
        assert snr_db(song, filtered) < 10

    def test_one_tap_is_si_sdr(self, rng):
        song, other = rng.standard_normal((2, 4000))
        estimate = song + 0.4 * other
        assert sdr_db(song, estimate, filter_length=1) == pytest.approx(si_sdr_db(song, estimate), abs=ROUNDING_DB)

    def test_agrees_with_least_squares_written_out(self, rng):
        song = scipy.signal.lfilter([1], [1, -0.95], rng.standard_normal(700))
        estimate = song + rng.standard_normal(700)
        delayed = np.stack([np.concatenate([np.zeros(lag), song, np.zeros(31 - lag)]) for lag in range(32)], axis=1)
        padded = np.concatenate([estimate, np.zeros(31)])
        projected = delayed @ np.linalg.lstsq(delayed, padded, rcond=None)[0]
        expected = ratio_db(projected, projected - padded)
        assert sdr_db(song, estimate, filter_length=32) == pytest.approx(expected, abs=ROUNDING_DB)

    def test_each_ear_agrees_with_mir_eval(self, golden):
        for source in range(2):
            for ear in range(2):
                score = sdr_db(golden["references"][source, :, ear], golden["estimates"][source, :, ear])
                assert score == pytest.approx(golden["ear_sdr_db"][source, ear], abs=ROUNDING_DB)

    def test_stereo_agrees_with_museval_sources(self, golden):
        for source in range(2):
            score = sdr_db(golden["references"][source], golden["estimates"][source])
            assert score == pytest.approx(golden["stereo_sdr_db"][source], abs=ROUNDING_DB)

    @pytest.mark.parametrize("reference", ["sine", "constant", "impulse"])
    def test_references_that_leave_the_filter_open(self, rng, reference):
        signal = {
            "sine": np.sin(2 * np.pi * 440 * np.arange(2000) / 24000),
            "constant": np.ones(2000),
            "impulse": np.eye(1, 2000, 5)[0],
        }[reference]
        reference = np.concatenate([signal, np.zeros(2000)])
        noise = np.concatenate([np.zeros(2600), rng.standard_normal(1400)])
        expected = ratio_db(0.5 * signal, noise)
        # An ill-conditioned problem; the residual still comes out to far better than any file's own rounding.
        assert sdr_db(reference, 0.5 * reference + noise) == pytest.approx(expected, abs=1e-6)

    def test_mono_in_two_channels_scores_like_mono(self, rng):
        song = rng.standard_normal(3000)
        estimate = song + 0.3 * rng.standard_normal(3000)
        twice = sdr_db(np.stack([song, song], axis=1), np.stack([estimate, estimate], axis=1))
        # The two channels cannot be told apart: the filters are not unique, the projection is.
        assert twice == pytest.approx(sdr_db(song, estimate), abs=1e-6)

    def test_memory_does_not_grow_with_length(self, rng):
        peaks = []
        for n_samples in (2**20, 2**22):
            song = rng.standard_normal(n_samples, dtype=np.float32)
            estimate = song[::-1]
            tracemalloc.start()
            sdr_db(song, estimate)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        # A copy, even as bytes, would take three million more.
        assert peaks[1] - peaks[0] < 100_000


class TestProjection:
    def test_correlations_over_several_blocks(self, rng):
        first, second = rng.standard_normal((50_000, 2)), rng.standard_normal((50_000, 3))
        got = correlations([first], [second[:, :1], second[:, 1:]], n_lags=40)
        expected = np.stack([first[: 50_000 - lag].T @ second[lag:] for lag in range(40)], axis=2)
        # Sums of 50,000 products of about 1.
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-8)

    @pytest.mark.parametrize("n_samples", [1, 98, 7000, 70_000])
    def test_projections_are_convolutions(self, rng, n_samples):
        """In one piece and in several, of signals shorter and longer than the filter."""
        references, filters = rng.standard_normal((n_samples, 2)), rng.standard_normal((2, 100, 3))
        filters[1, :, 0] = 0
        blocks = dict(Projector(filters, n_samples=n_samples).project([references[:, :1], references[:, 1:]]))
        got = np.concatenate(list(blocks.values()), axis=1).T
        expected = sum(scipy.signal.fftconvolve(references[:, [i]], filters[i], axes=0) for i in range(2))
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)
        assert len(blocks) == (3 if n_samples == 70_000 else 1)
        starts = np.cumsum([0] + [block.shape[1] for block in blocks.values()])
        assert list(blocks) == starts[:-1].tolist()

    def test_filters_are_found_again(self, rng):
        references, filters = rng.standard_normal((5000, 2)), rng.standard_normal((2, 20, 3))
        references[-19:] = 0
        ((_, projected),) = Projector(filters, n_samples=5000).project([references])
        found = projection_filters([references], [projected[:, :5000].T], filter_length=20)
        np.testing.assert_allclose(found, filters, rtol=0, atol=1e-10)


class TestSilence:
    @pytest.mark.parametrize("score", ALL)
    @pytest.mark.parametrize("estimate", [np.zeros(1000), np.ones(1000)])
    def test_silent_reference_has_no_score(self, score, estimate):
        assert math.isnan(score(np.zeros(1000), estimate))

    def test_silent_estimate(self, rng):
        song = rng.standard_normal(1000)
        assert snr_db(song, np.zeros(1000)) == 0.0
        assert math.isnan(sdr_db(song, np.zeros(1000)))
        assert math.isnan(si_sdr_db(song, np.zeros(1000)))


@pytest.mark.parametrize("score", ALL)
class TestRefusals:
    def test_number_of_channels_differs(self, score):
        with pytest.raises(InputError, match="differ in number of channels: expected 2 as the reference, found 1"):
            score(np.ones((10, 2)), np.ones(10))

    def test_channels_before_samples(self, score):
        with pytest.raises(InputError, match=r"reference: wrong shape: .*found \(2, 10\)"):
            score(np.ones((2, 10)), np.ones((2, 10)))

    def test_nan(self, score):
        bad = np.ones(10)
        bad[3] = np.nan
        with pytest.raises(InputError, match=r"estimate: samples are not finite: .*sample 3"):
            score(np.ones(10), bad)

    def test_no_samples(self, score):
        with pytest.raises(InputError, match="reference: holds no samples"):
            score(np.zeros(0), np.zeros(0))

    def test_integers_of_unknown_scale(self, score):
        with pytest.raises(InputError, match="estimate: wrong kind of samples: expected floats, found int16"):
            score(np.ones(10), np.ones(10, dtype=np.int16))

    def test_a_rate_on_one_side_only(self, score):
        with pytest.raises(InputError, match="reference has a sample rate, estimate has none"):
            score(Audio(np.ones(10), 100), np.ones(10))


@pytest.mark.parametrize("filter_length", [0, -1, 1.5, True, "512"])
def test_wrong_filter_lengths_are_refused(filter_length):
    with pytest.raises(InputError, match="filter_length"):
        sdr_db(np.ones(10), np.ones(10), filter_length=filter_length)
