"""BSS Eval v4: closed forms first, then museval, then silence, memory and what must be refused."""

from __future__ import annotations

import math
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.metrics import bss_eval, median_over_tracks
from cadenza_remix.metrics.bss_v4 import MEASURES, BssEvalResult

GOLDEN = Path(__file__).parent.parent / "golden" / "separation_metrics.npz"
# Sums of some thousand float64 products round at 1e-13 relative; a dB is a quarter of that.
ROUNDING_DB = 1e-9
RATE = 2000


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


def measures(result):
    """Return what was measured as (4, n_sources, n_windows)."""
    return np.stack([getattr(result, name) for name in MEASURES])


def score(references, estimates, **settings):
    """Score arrays (n_sources, n_samples, n_channels)."""
    sides = ({str(i): signal for i, signal in enumerate(side)} for side in (references, estimates))
    return bss_eval(*sides, **{"sample_rate": RATE, **settings})


class TestClosedForms:
    @pytest.mark.parametrize("version", ["images", "sources"])
    def test_energies_that_are_known(self, rng, version):
        """Own source, other source and noise in three parts of the time: every component is orthogonal."""
        song, other, noise = np.zeros((3, 9000))
        song[:2000], other[3000:5000], noise[6000:8000] = rng.standard_normal((3, 2000))
        estimate = 0.8 * song + 0.2 * other + 0.1 * noise
        result = bss_eval({"a": song, "b": other}, {"a": estimate, "b": other}, sample_rate=9000, version=version)
        known = {
            "images": [ratio_db(song, 0.2 * song - 0.2 * other - 0.1 * noise), ratio_db(song, 0.2 * song)],
            "sources": [ratio_db(0.8 * song, 0.2 * other + 0.1 * noise), math.nan],
        }[version]
        expected = [*known, ratio_db(0.8 * song, 0.2 * other), ratio_db(0.8 * song + 0.2 * other, 0.1 * noise)]
        np.testing.assert_allclose(measures(result)[:, 0, 0], expected, rtol=0, atol=ROUNDING_DB)
        perfect = [math.inf, math.inf if version == "images" else math.nan, math.inf, math.inf]
        np.testing.assert_array_equal(measures(result)[:, 1, 0], perfect)

    def test_a_filter_is_wrong_in_an_image_and_not_in_a_source(self, rng):
        song = np.concatenate([rng.standard_normal((6000, 2)), np.zeros((511, 2))])
        filtered = scipy.signal.lfilter([0.5, 0.2], [1], song, axis=0)
        whole = {"window_s": math.inf, "hop_s": math.inf}
        image = score([song], [filtered], **whole)
        assert image.sdr_db.item() == pytest.approx(ratio_db(song, song - filtered), abs=ROUNDING_DB)
        assert image.isr_db.item() == pytest.approx(image.sdr_db.item(), abs=ROUNDING_DB)
        assert score([song], [filtered], version="sources", **whole).sdr_db.item() == math.inf

    def test_filters_are_those_of_the_whole_song(self, rng):
        """A level that changes from window to window is distortion for one filter, and none for a filter of each."""
        song = rng.standard_normal(2 * RATE)
        estimate = np.concatenate([song[:RATE], 0.5 * song[RATE:]])
        result = score([song], [estimate], filter_length=1)
        gain = np.dot(song, estimate) / np.dot(song, song)
        expected = [ratio_db(song[part], (1 - gain) * song[part]) for part in (slice(RATE), slice(RATE, None))]
        np.testing.assert_allclose(result.isr_db[0], expected, rtol=0, atol=ROUNDING_DB)

    def test_windows_longer_than_one_block_of_the_filters(self, rng):
        """70,000 samples, filtered in pieces, and the written-out sums."""
        song, other = rng.standard_normal((2, 70_000, 1))
        estimate = 0.9 * song + 0.1 * other
        result = score([song, other], [estimate, other], sample_rate=70_000, filter_length=1)
        own = np.vdot(song, estimate) / np.vdot(song, song)
        assert result.sdr_db[0, 0] == pytest.approx(ratio_db(song, song - estimate), abs=ROUNDING_DB)
        assert result.isr_db[0, 0] == pytest.approx(ratio_db(song, (1 - own) * song), abs=ROUNDING_DB)
        assert result.sir_db[0, 0] == pytest.approx(ratio_db(own * song, estimate - own * song), abs=ROUNDING_DB)
        assert result.sar_db[0, 0] == math.inf

    def test_inputs_are_left_alone(self, rng):
        references, estimates = rng.standard_normal((2, 2, 3000, 2))
        before = references.copy(), estimates.copy()
        score(references, estimates, filter_length=8)
        np.testing.assert_array_equal((references, estimates), before)


class TestMuseval:
    """Equal to museval 0.4.1: windows that overlap, one of them with a silent source."""

    @pytest.mark.parametrize(
        ("expected", "channels", "settings"),
        [
            ("bss_eval", slice(2), {}),
            ("bss_eval_sources", slice(2), {"version": "sources"}),
            ("bss_eval_left", slice(1), {}),
            ("bss_eval_whole", slice(2), {"window_s": math.inf, "hop_s": math.inf}),
        ],
    )
    def test_agrees(self, golden, expected, channels, settings):
        windows = {"window_s": int(golden["window"]) / RATE, "hop_s": int(golden["hop"]) / RATE}
        signals = (golden[side][:, :, channels] for side in ("references", "estimates"))
        measured = measures(score(*signals, **{**windows, **settings}))
        # Two solvers of the same equations; 0.01 dB is what is promised for any music.
        np.testing.assert_allclose(measured, golden[expected], rtol=0, atol=1e-8)
        assert np.isfinite(measured).any()

    def test_the_silent_window_of_the_golden_is_there(self, golden):
        assert np.isnan(golden["bss_eval"]).any()
        assert not np.isnan(golden["bss_eval"]).all()


class TestWindows:
    def test_what_is_left_at_the_end_is_not_scored(self, rng):
        song, estimate = rng.standard_normal((2, 3 * RATE - 1))
        result = score([song], [estimate], filter_length=8)
        np.testing.assert_array_equal(result.starts_s, [0, 1])
        assert result.sdr_db[0, 1] == pytest.approx(ratio_db(song[RATE : 2 * RATE], (song - estimate)[RATE : 2 * RATE]))

    def test_a_short_signal_is_one_window(self, rng):
        song, estimate = rng.standard_normal((2, RATE // 2))
        assert score([song], [estimate], filter_length=8).sdr_db.item() == pytest.approx(
            ratio_db(song, song - estimate)
        )

    def test_overlap(self, rng):
        song, estimate = rng.standard_normal((2, 2 * RATE))
        np.testing.assert_array_equal(score([song], [estimate], hop_s=0.5, filter_length=8).starts_s, [0, 0.5, 1])


class TestSilence:
    @pytest.mark.parametrize("side", [0, 1])
    def test_a_window_with_a_silent_source_has_no_scores_at_all(self, rng, side):
        sides = rng.standard_normal((2, 2, 3 * RATE))
        sides[side, 1, RATE : 2 * RATE] = 0
        scores = measures(score(*sides, filter_length=8))
        np.testing.assert_array_equal(np.isnan(scores), np.broadcast_to([False, True, False], scores.shape))

    @pytest.mark.parametrize("side", [0, 1])
    def test_a_song_with_a_silent_source_has_none_where_museval_refuses_it(self, rng, side):
        sides = rng.standard_normal((2, 2, 2 * RATE))
        sides[side, 1] = 0
        result = score(*sides)
        assert np.isnan(measures(result)).all()
        assert all(math.isnan(value) for value in result.medians()["0"].values())

    def test_opposite_channels_are_not_silence_where_museval_takes_them_for_it(self, rng):
        song = rng.standard_normal((RATE, 1))
        result = score([song * [1, -1]], [0.5 * song * [1, -1]], filter_length=8)
        assert result.sdr_db.item() == pytest.approx(20 * math.log10(2), abs=ROUNDING_DB)


class TestMedians:
    def test_silent_windows_are_left_out(self, golden):
        signals = (golden[side][:1] for side in ("references", "estimates"))
        result = score(*signals, hop_s=0.5, filter_length=16)
        # The reference is silent from sample 3000 to 5000, which is the fourth of six windows.
        np.testing.assert_array_equal(np.isnan(result.sdr_db), [[False, False, False, True, False, False]])
        assert result.medians()["0"]["sdr_db"] == np.nanmedian(result.sdr_db)

    def test_over_songs_it_is_the_median_of_medians(self):
        def song(*values_db):
            row = np.array([values_db], dtype=float)
            return BssEvalResult(("voice",), np.arange(row.size), row, row + 1, row + 2, row + 3)

        songs = [song(1, 2, 9), song(math.nan, 5), song(math.nan, math.nan), song(7)]
        found = median_over_tracks(songs)
        # Medians 2, 5, none and 7: not the median of all windows together.
        assert found == {"voice": {"sdr_db": 5, "isr_db": 6, "sir_db": 7, "sar_db": 8}}
        assert math.isnan(median_over_tracks(songs[2:3])["voice"]["sdr_db"])

    def test_songs_must_have_the_same_sources(self, rng):
        song = rng.standard_normal(100)
        first, second = (bss_eval({name: song}, {name: song}, sample_rate=100, filter_length=2) for name in "ab")
        with pytest.raises(InputError, match="song 2: songs differ in their sources: expected a, found b"):
            median_over_tracks([first, second])
        with pytest.raises(InputError, match="no songs"):
            median_over_tracks([])


class TestRefusals:
    def test_sources_are_matched_by_name_and_not_by_order(self, rng):
        first, second = rng.standard_normal((2, 2000))
        result = bss_eval({"a": first, "b": second}, {"b": second, "a": first}, sample_rate=2000, filter_length=8)
        assert result.sources == ("a", "b")
        assert (result.sdr_db == math.inf).all()

    def test_wrong_sets_of_sources(self, rng):
        song = rng.standard_normal(2000)
        with pytest.raises(InputError, match="not of the same sources: expected a, found b"):
            bss_eval({"a": song}, {"b": song}, sample_rate=2000)
        with pytest.raises(InputError, match="at least one source"):
            bss_eval({}, {}, sample_rate=2000)
        with pytest.raises(InputError, match="sources differ in shape"):
            bss_eval({"a": song, "b": song[1:]}, {"a": song, "b": song[1:]}, sample_rate=2000)

    def test_the_sample_rate_must_be_known_and_one(self, rng):
        song = rng.standard_normal(2000)
        with pytest.raises(InputError, match=r"sample rate is not clear: .*found none"):
            bss_eval({"a": song}, {"a": song})
        audio = {"a": Audio(song, 1000)}
        assert bss_eval(audio, audio, filter_length=8).sdr_db.shape == (1, 2)
        with pytest.raises(InputError, match="found 1000 Hz and 2000 Hz"):
            bss_eval(audio, audio, sample_rate=2000)
        with pytest.raises(InputError, match="wrong sample rate"):
            score([song], [song], sample_rate=0)

    @pytest.mark.parametrize("settings", [{"window_s": 0}, {"hop_s": 0}, {"window_s": -1}, {"hop_s": math.nan}])
    def test_windows_of_no_length(self, rng, settings):
        song = rng.standard_normal(2000)
        with pytest.raises(InputError, match="window too short"):
            score([song], [song], **settings)

    def test_unknown_version(self, rng):
        song = rng.standard_normal(2000)
        with pytest.raises(InputError, match="unknown version of BSS Eval: expected images or sources, found 'v3'"):
            score([song], [song], version="v3")


def test_memory_does_not_grow_with_length(rng):
    """Two stereo sources of 20 s and of 60 s."""
    peaks = []
    for seconds in (20, 60):
        references = rng.standard_normal((2, seconds * 44_100, 2), dtype=np.float32)
        estimates = references[::-1]
        tracemalloc.start()
        score(references, estimates, sample_rate=44_100, filter_length=64)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 40 s more of four stereo signals are 28 MB even without turning them into float64. Forty more scores of each kind
    # are a few kilobytes.
    assert peaks[1] - peaks[0] < 200_000
    assert peaks[0] < 40 * 2**20


def test_separation_metrics_need_neither_tensorflow_nor_keras_nor_numba():
    program = """
import sys
class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "numba", "pandas", "matplotlib", "museval"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing)
from cadenza_remix.metrics import (
    BssEvalResult, CancellationResult, bss_eval, cancellation_residual, cancellation_residual_db, median_over_tracks,
    sdr_db, si_sdr_db, snr_db,
)
result = bss_eval({"a": [1.0, 2.0, 0.0]}, {"a": [0.5, 1.0, 0.0]}, sample_rate=3, filter_length=1)
print(round(median_over_tracks([result])["a"]["sdr_db"], 3))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "6.021\n"
