"""The parts of the auditory model, each against a plain statement of what it computes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from numba import njit

from cadenza_remix.compiled import compiled
from cadenza_remix.metrics.auditory import arithmetic, cochlea, covariance, features, filters, front_end, hair_cells
from cadenza_remix.metrics.auditory.alignment import AlignmentTarget
from cadenza_remix.metrics.auditory.filters import LANES, MODEL_RATE, Lanes
from cadenza_remix.metrics.auditory.noise import NormalStream

SINGLE = 2.0**-23


# ---- arithmetic and compilation -------------------------------------------------------------------------------------


def test_logarithm_and_power_are_right_to_single_precision():
    values = np.float32(10.0) ** np.linspace(-37, 37, 1001, dtype=np.float32)
    ours = np.array([arithmetic.log2(value) for value in values])
    np.testing.assert_allclose(ours, np.log2(values.astype(np.float64)), rtol=3 * SINGLE, atol=2 * SINGLE)
    powers = np.linspace(-100, 100, 1001, dtype=np.float32)
    ours = np.array([arithmetic.exp2(power) for power in powers])
    np.testing.assert_allclose(ours, np.exp2(powers.astype(np.float64)), rtol=4 * SINGLE)


def test_a_function_that_cannot_be_cached_is_compiled_all_the_same():
    scope = {}
    exec(compile("def double(x):\n    return 2 * x\n", "<no file>", "exec"), scope)
    with pytest.raises(RuntimeError, match="cannot cache"):
        njit(cache=True)(scope["double"])
    assert compiled()(scope["double"])(21) == 42


# ---- noise ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("normals_before", [0, 1])
@pytest.mark.parametrize("words_before", [0, 1, 623])
def test_noise_is_that_of_numpy_and_leaves_the_generator_as_numpy_does(seed, normals_before, words_before):
    numpys, ours = np.random.RandomState(seed), np.random.RandomState(seed)
    for rng in (numpys, ours):
        rng.standard_normal(normals_before)
        rng.randint(0, 2**32, size=words_before, dtype=np.uint32)
    stream = NormalStream(ours)
    for n_draws, n_added in ((1, 1), (7, 5), (0, 0), (2, 2), (313, 313), (20_001, 20_001), (5, 0)):
        out = np.ones(n_added, dtype=np.float32)
        stream.add_row(0, out, n_draws, 0.5)
        expected = 1.0 + 0.5 * numpys.standard_normal(n_draws)[:n_added]
        np.testing.assert_allclose(out, expected, rtol=0, atol=4e-6)  # single precision, up to 4.5 standard deviations
    stream.skip(1001)
    numpys.standard_normal(1001)
    stream.finish()
    for theirs, mine in zip(numpys.get_state(), ours.get_state(), strict=True):
        np.testing.assert_array_equal(theirs, mine)


def test_a_generator_of_another_kind_is_asked_itself():
    numpys, ours = (np.random.RandomState(np.random.PCG64(3)) for _ in range(2))
    stream = NormalStream(ours)
    out = np.zeros(90, dtype=np.float32)
    stream.add_row(0, out, 100, 2.0)
    stream.finish()
    np.testing.assert_allclose(out, 2.0 * numpys.standard_normal(100)[:90], rtol=1e-6)
    assert ours.random_sample() == numpys.random_sample()


# ---- cochlea --------------------------------------------------------------------------------------------------------


def test_a_normal_ear_attenuates_nothing_and_compresses():
    ear = cochlea.Cochlea.with_loss(np.zeros(6))
    assert not ear.attenuation_ohc_db.any()
    assert not ear.attenuation_ihc_db.any()
    np.testing.assert_array_equal(ear.bandwidth, 1.0)
    np.testing.assert_array_equal(ear.knee_db_spl, 30.0)
    np.testing.assert_allclose(ear.compression_ratio[[0, -1]], [1.25, 3.5])
    np.testing.assert_array_equal(cochlea.Cochlea.with_loss(np.full(6, -10.0)).attenuation_ohc_db, 0.0)


def test_a_loss_is_shared_out_and_makes_the_cochlea_linear_in_the_end():
    moderate, profound = (cochlea.Cochlea.with_loss(np.full(6, loss)) for loss in (10.0, 100.0))
    np.testing.assert_allclose(moderate.attenuation_ohc_db[10:], 8.0)
    for ear, loss in ((moderate, 10.0), (profound, 100.0)):
        np.testing.assert_allclose(ear.attenuation_ohc_db + ear.attenuation_ihc_db, loss)
    np.testing.assert_allclose(profound.compression_ratio, 1.0)


def lane_work(frequency_hz, bandwidth):
    radians = 2 * np.pi * np.full(LANES, frequency_hz) / MODEL_RATE
    erb_hz = 24.7 + frequency_hz / 9.26449
    decay = np.full(LANES, np.exp(-2 * np.pi * 1.019 * bandwidth * erb_hz / MODEL_RATE))
    return filters.filter_work(decay, radians, 18.0 * (1 - decay) ** 4 / (1 + 2 * decay) ** 2), decay[0]


@pytest.mark.parametrize("n_samples", [12_000, 12_003])
def test_the_filter_is_the_gammatone_of_direct_form(n_samples):
    """Modulate, filter in direct form with the published coefficients, modulate back."""
    work, decay = lane_work(1000.0, 1.2)
    rng = np.random.default_rng(0)
    sound = np.zeros(cochlea.padded_length(n_samples))
    sound[:n_samples] = rng.standard_normal(n_samples)
    size = len(sound) * LANES
    envelope, motion = np.empty(size, np.float32), np.empty(size, np.float32)
    filters.compressed_motion(sound, n_samples, work, np.ones(size, np.float32), envelope, motion)
    carrier = np.exp(-2j * np.pi * 1000.0 * np.arange(n_samples) / MODEL_RATE)
    numerator, denominator = [1, 4 * decay, 4 * decay**2], np.poly(np.full(4, decay))
    gain = 2 * denominator.sum() / np.sum(numerator)
    base_band = gain * scipy.signal.lfilter(numerator, denominator, sound[:n_samples] * carrier)
    for lane in (0, LANES - 1):
        np.testing.assert_allclose(envelope[lane::LANES][:n_samples], np.abs(base_band), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(
            motion[lane::LANES][:n_samples], np.real(base_band / carrier), rtol=0, atol=2e-7 * np.abs(base_band).max()
        )
    total, energy, swing = filters.vibration_sums(work)
    np.testing.assert_allclose(total, np.abs(base_band).sum(), rtol=1e-9)
    np.testing.assert_allclose(energy, np.sum(np.abs(base_band) ** 2), rtol=1e-9)
    np.testing.assert_allclose(swing, np.sum(np.real(base_band / carrier) ** 2), rtol=1e-9)


def test_a_tone_at_the_centre_passes_at_its_amplitude():
    work, _ = lane_work(2000.0, 1.0)
    sound = 0.3 * np.cos(2 * np.pi * 2000.0 * np.arange(4800) / MODEL_RATE)
    envelope, motion = np.empty(4800 * LANES, np.float32), np.empty(4800 * LANES, np.float32)
    filters.compressed_motion(sound, 4800, work, np.ones(4800 * LANES, np.float32), envelope, motion)
    # The image at twice the frequency is what is left over.
    np.testing.assert_allclose(envelope[-800:], 0.3, rtol=1e-3)


def test_compression_follows_its_input_output_curve():
    """Steady tones at 1 kHz: 1 dB per dB below the knee and above 100 dB SPL, 1 / ratio in between."""
    ear = cochlea.Cochlea.with_loss(np.array([0.0, 0.0, 20.0, 20.0, 20.0, 20.0]))
    group, lane = 1, 5
    channel = group * LANES + lane
    hz, level1 = cochlea.CENTRE_FREQUENCIES_HZ[channel], 100.0
    tone = np.sqrt(2) * np.cos(2 * np.pi * hz * np.arange(9600) / MODEL_RATE)
    levels, outputs = np.array([10.0, 20.0, 60.0, 70.0, 105.0, 115.0]), []
    for level in levels:
        gains = np.empty(9600 * LANES, np.float32)
        sound = tone * 10 ** ((level - 3.0103 - level1) / 20)
        outputs.append(
            level + 20 * np.log10(cochlea.control_path(sound, 9600, group, ear, level1, gains).gains[-LANES + lane])
        )
    slopes = np.diff(outputs)[[0, 2, 4]] / np.diff(levels)[[0, 2, 4]]
    np.testing.assert_allclose(slopes, [1.0, 1.0 / ear.compression_ratio[channel], 1.0], atol=2e-3)
    assert outputs[0] == pytest.approx(10.0 - ear.attenuation_ohc_db[channel], abs=0.01)


def test_group_delays_bring_channels_level_with_the_slowest():
    delays = cochlea.group_delays(np.ones(32))
    assert delays[0] == 0
    assert (np.diff(delays) >= 0).all()
    own = []
    for hz in cochlea.CENTRE_FREQUENCIES_HZ:
        _, decay = lane_work(hz, 1.0)
        # The impulse response of zeros and poles; its centre of gravity is the delay at frequency zero.
        response = scipy.signal.lfilter([1, 4 * decay, 4 * decay**2], np.poly(np.full(4, decay)), np.eye(1, 9000)[0])
        own.append(np.round(response @ np.arange(9000) / response.sum()))
    np.testing.assert_array_equal(delays, own[0] - np.array(own))


# ---- inner hair cells -----------------------------------------------------------------------------------------------


def adapt_plainly(level):
    """Voltages of the RC circuit by backward differences, solved sample by sample."""
    r1, r2, r3 = 0.5, 0.25, 0.25
    p1 = 0.002 * (r1 + r2) * MODEL_RATE
    p2 = 0.060 / (r1 + r2) * r2 * MODEL_RATE
    circuit = np.array([[r1 + r2 + p1, -r1], [-r3, r2 + r3 + p2]])
    voltage, out = np.zeros(2), np.empty_like(level)
    for n, value in enumerate(level):
        voltage = np.linalg.solve(circuit, [value * r2 + p1 * voltage[0], p2 * voltage[1]])
        out[n] = max((value - voltage[0]) / r1, 0.0)
    return out


def lanes_of(rows):
    return Lanes(
        np.ascontiguousarray(rows.T, dtype=np.float32).ravel(), rows.shape[1], np.zeros(LANES), np.zeros(LANES)
    )


def test_hair_cells_shift_adapt_and_smooth():
    rng = np.random.default_rng(0)
    n = 1000
    envelope = np.abs(rng.standard_normal((LANES, n))) * 10 ** rng.uniform(-5, -1, (LANES, 1))
    motion = rng.standard_normal((LANES, n))
    early = np.array([0, 5, -5, 120, -120, 999, 0, 0])
    moved = np.array([0, -3, 40, 0, 7, 0, 500, -999])
    shift = np.array([0, 0, 3, 200, 10, 0, 1, 0])
    attenuation, level1 = np.linspace(0, 20, LANES), 85.0
    rows = np.full((LANES, n), np.nan, dtype=np.float32)
    vibration = cochlea.Vibration(lanes_of(envelope), lanes_of(motion), np.zeros(LANES))
    sums = hair_cells.adapt(vibration, (early, moved), shift, attenuation, level1, rows)
    smoothed = hair_cells.smooth(sums, n)
    hann = np.hanning(192)
    for lane in range(LANES):
        linear = displaced(displaced(envelope[lane].astype(np.float32), early[lane]), -shift[lane])
        level = np.maximum(level1 - attenuation[lane] + 20 * np.log10(linear + 1e-30), 0)
        adapted = adapt_plainly(level)
        bm = displaced(displaced(motion[lane].astype(np.float32), moved[lane]), -shift[lane])
        per_db = np.abs(bm) / (linear + 1e-30)
        # Logarithms near -17 in single precision are right to 4e-6, which is 2e-5 dB, doubled by the overshoot.
        assert (np.abs(rows[lane] - bm * (adapted + 1e-30) / (linear + 1e-30)) <= 5e-5 * per_db).all()
        expected = [np.sum(adapted[:96] * hann[96:]) / hann[96:].sum()]
        expected += [
            np.sum(adapted[96 * k : 96 * k + 192] * hann) / hann.sum() for k in range(1, smoothed.shape[1] - 1)
        ]
        last = smoothed.shape[1] - 1
        expected += [np.sum(adapted[96 * last : 96 * last + 96] * hann[:96]) / hann[96:].sum()]
        np.testing.assert_allclose(smoothed[lane], expected, rtol=0, atol=2e-5)  # dB


def displaced(samples, early):
    """Return samples[i + early], zero outside."""
    index = np.arange(len(samples)) + early
    inside = (index >= 0) & (index < len(samples))
    return np.where(inside, samples[np.clip(index, 0, len(samples) - 1)], 0.0)


# ---- alignment ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_samples", [500, 7001, 70_000])
@pytest.mark.parametrize("offset", [0.0, 30.0])
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_delays_are_those_of_the_whole_correlation(n_samples, offset, factor):
    """Also where a large mean makes the correlation flat: then 500 times as high as the part that varies."""
    rng = np.random.default_rng(n_samples)
    true = rng.integers(-min(2000, n_samples // 3), min(2000, n_samples // 3), LANES)
    clean = np.cumsum(rng.standard_normal((LANES, n_samples)), axis=1) / 10
    clean += 0.1 * rng.standard_normal(clean.shape) + offset
    other = np.stack([displaced(row, -d) for row, d in zip(clean, true, strict=True)])
    other += 0.05 * rng.standard_normal(other.shape)
    x, y = measured_lanes(clean, offset), measured_lanes(other, offset)
    target = AlignmentTarget.of(x, factor)
    found = target.delays(y)
    for lane in range(LANES):
        a, b = (lanes.values[lane::LANES].astype(np.float64) for lanes in (x, y))
        whole = scipy.signal.correlate(a, b, "full", method="direct" if n_samples < 10_000 else "fft")
        most = min(2400, n_samples)
        location = np.argmax(whole[n_samples - most : n_samples + most])
        assert found[lane] == most - location - 1
    np.testing.assert_array_equal(target.keep().delays(y), found)


@pytest.mark.parametrize("factor", [2, 4])
def test_lanes_too_fast_to_be_thinned_out_are_aligned_all_the_same(factor):
    """White noise keeps an nth of its energy when thinned out, which leaves every lag in doubt."""
    rows = np.random.default_rng(0).standard_normal((LANES, 9000))
    true = np.array([0, 1, -1, 7, -1301, 2399, -2399, 640])
    late = np.stack([displaced(row, -d) for row, d in zip(rows, true, strict=True)])
    found = AlignmentTarget.of(measured_lanes(rows, 0.0), factor).delays(measured_lanes(late, 0.0))
    np.testing.assert_array_equal(found, true)


def measured_lanes(rows, offset):
    lanes = lanes_of(rows)
    values = lanes.values.reshape(-1, LANES).astype(np.float64)
    mean = values.mean(axis=0).astype(np.float32).astype(np.float64) if offset else np.zeros(LANES)
    return Lanes(lanes.values, lanes.n_samples, mean, np.sum((values - mean) ** 2, axis=0))


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_of_equal_correlations_the_latest_delay_counts(factor):
    x = measured_lanes(np.random.default_rng(0).standard_normal((LANES, 5000)), 0.0)
    silent = measured_lanes(np.zeros((LANES, 5000)), 0.0)
    np.testing.assert_array_equal(AlignmentTarget.of(x, factor).delays(silent), 2399)


@pytest.mark.parametrize("delay", [-3000, -48, 0, 1, 4000])
def test_the_broadband_delay_leaves_two_milliseconds(delay):
    reference = np.random.default_rng(1).standard_normal(9000)
    assert front_end.BroadbandTarget(reference).delay(-displaced(reference, -delay)) == delay - 48
    span = front_end.Span(100, 8000)
    np.testing.assert_array_equal(front_end.take_early(reference, delay, span), displaced(reference, delay)[100:8000])


def test_silence_around_the_reference_is_cut():
    reference = np.concatenate((np.full(50, 9e-4), [1.0], np.zeros(500), [-0.5], np.full(30, 1e-3)))
    span = front_end.Span.of(reference)
    assert (span.first, span.last, len(span)) == (50, 552, 502)


# ---- covariance and features ----------------------------------------------------------------------------------------


def covariances_plainly(x, y):
    """Tile by tile as the definition has it: window, zero mean, cross-correlation within 24 samples, normalised."""
    window, values = np.hanning(384), []
    n_tiles = 1 + len(x) // 384 + (len(x) - 192) // 384
    for n in range(n_tiles):
        w = window[192:] if n == 0 else window[:192] if n == n_tiles - 1 else window
        a, b = x[192 * n : 192 * n + len(w)] * w, y[192 * n : 192 * n + len(w)] * w
        a, b = a - a.mean(), b - b.mean()
        lags = slice(len(w) - 25, len(w) + 24)
        peak = np.abs(np.correlate(a, b, "full")[lags] / np.correlate(w, w, "full")[lags]).max()
        values.append(min(peak / np.sqrt(np.mean(a**2) * np.mean(b**2)) * np.mean(w**2), 1.0))
    return np.array(values)


@pytest.mark.parametrize("n_samples", [384, 5000, 5100])
def test_covariances_of_tiles(n_samples):
    rng = np.random.default_rng(2)
    x = rng.standard_normal(n_samples).astype(np.float32)
    y = (np.roll(x, 7) + 0.5 * rng.standard_normal(n_samples)).astype(np.float32)
    expected = covariances_plainly(x.astype(np.float64), y.astype(np.float64))
    audible = np.ones(len(expected), dtype=bool)
    np.testing.assert_allclose(covariance.channel_covariances(x, y, audible), expected, rtol=2e-6)
    audible[::2] = False
    np.testing.assert_allclose(covariance.channel_covariances(x, y, audible), expected * audible, rtol=2e-6)


def test_tiles_below_threshold_and_tiles_in_quiet_segments_do_not_count():
    n = 20 * 192
    rows = np.full((32, n), 1e-3, dtype=np.float32) * np.random.default_rng(0).standard_normal((32, n)).astype(
        np.float32
    )
    rows[:20, n // 2 :] *= 1e4  # RMS 10, doubled power: 14 dB above threshold
    audible = covariance.audible_tiles([rows[:8], rows[8:16], rows[16:24], rows[24:]])
    assert audible.shape == (32, 1 + n // 384 + (n - 192) // 384)
    assert audible[:20, 12:].all()
    assert not audible[20:].any()
    assert not audible[:, :8].any()
    assert covariance.mean_covariance(audible.sum(axis=1) * 0.25, audible) == pytest.approx(0.25)
    assert covariance.mean_covariance(np.zeros(32), np.zeros_like(audible)) == 0.0


def test_cepstra_of_equal_and_of_unrelated_envelopes():
    rng = np.random.default_rng(3)
    envelope, other = rng.uniform(20, 60, (2, 32, 500))
    audible = features.audible_segments(envelope)
    assert len(audible) == 500
    assert features.cepstral_correlation(envelope, envelope, audible) == pytest.approx(1.0, abs=1e-12)
    assert features.cepstral_correlation(envelope, 3 * envelope + 5, audible) == pytest.approx(1.0, abs=1e-12)
    assert features.cepstral_correlation(envelope, other, audible) < 0.2
    assert features.cepstral_correlation(envelope, other, audible[:1]) == 0.0
    slow = 40 + 10 * np.outer(np.linspace(-1, 1, 32), np.sin(2 * np.pi * 6 * np.arange(500) / 250))
    # 6 Hz lies outside 20-125 Hz: adding it changes next to nothing.
    assert features.cepstral_correlation(envelope, envelope + slow, audible) > 0.97


def test_spectra_are_compared_without_overall_loudness():
    spectrum = np.linspace(10, 60, 32)
    same = features.spectrum_match(spectrum, spectrum + 6.0)
    assert (same.loudness, same.balance) == (pytest.approx(1.0), pytest.approx(1.0))
    tilted = features.spectrum_match(spectrum, spectrum[::-1])
    assert tilted.loudness < 0.9
    assert tilted.balance < 0.9


@pytest.mark.parametrize("rate", [22_050, 32_000, 44_100, 48_000])
def test_resampling_keeps_rms(rate):
    sound = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    resampled = front_end.to_model_rate(sound, rate)
    assert len(resampled) == pytest.approx(rate * 24 / round(rate / 1000), abs=1)
    assert np.sqrt(np.mean(resampled**2)) == pytest.approx(np.sqrt(0.5), rel=2e-3)
    assert not front_end.to_model_rate(np.zeros(1000), rate).any()
    assert front_end.to_model_rate(sound, 24_300) is sound
