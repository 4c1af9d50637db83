"""Measures of runs whose gains, levels and peaks are known."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from quarter_separator import QuarterSeparator
from tiny_run import GAINS, make_tiny_run

from cadenza_remix.audio.io import load_audio, write_stems, write_wav
from cadenza_remix.audio.signal import EARS, STEMS, Audio
from cadenza_remix.challenge.metadata import Segment, SongSegments
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram, Listener
from cadenza_remix.hearing.nalr import NALR_FREQUENCIES_HZ, nalr_fir, nalr_gains_db
from cadenza_remix.remix import Chain, load_chain
from cadenza_remix.report.bands import band_energies, bands_below, levels_db
from cadenza_remix.report.measures import _measure_signal, mean_gains, mean_spectrum, measure_pairs
from cadenza_remix.runs.enhancing import enhance_songs
from cadenza_remix.runs.finished import find_runs
from cadenza_remix.runs.songs import SongFile

RATE = 44_100
FREQUENCIES_HZ = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000]
FLAT = Listener("FLAT", Audiogram(FREQUENCIES_HZ, [45] * 8), Audiogram(FREQUENCIES_HZ, [60] * 8))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, song):
    """Two songs for two listeners through both chains, as the demo leaves them; to be read only."""
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny_run(folder, song, n_songs=2, duration_s=1.5, scored=False)
    return folder


@pytest.fixture
def copy(tiny, tmp_path):
    """The same in a folder of the test's own: one run, to be damaged."""
    shutil.copytree(tiny, tmp_path / "tiny")
    return tmp_path / "tiny"


def run_of(mixture, folder, chain, *, listeners=None, **options):
    """A run of one song, a signal of the test's own, with clean stems that are silent."""
    place = folder / "references" / "song"
    silent = Audio(np.zeros((mixture.n_samples, 2)), RATE)
    write_stems(place, {**dict.fromkeys(STEMS, silent), "mixture": mixture})
    song = SongFile("song", place / "mixture.wav")
    people = listeners or {"FLAT": FLAT}
    report = enhance_songs(
        [song], people, separator=QuarterSeparator(gains=GAINS), chain=chain, out=folder / "run", **options
    )
    assert not report.failures
    return find_runs(folder / "run")[0]


def noise(duration_s=4.0, level=0.05, seed=3, end_hz=None):
    """White noise; with an end, nothing above it, so that no resampling takes any of it away."""
    samples = np.random.default_rng(seed).standard_normal((round(duration_s * RATE), 2))
    if end_hz is not None:
        samples = scipy.signal.oaconvolve(samples, scipy.signal.firwin(301, end_hz, fs=RATE)[:, np.newaxis], axes=0)
    return Audio(level * samples, RATE)


def measured(run):
    return measure_pairs(run, run.pairs)


def weighted_response_db(taps, weights_of):
    """Mean gain of a filter in each band, for a signal with this power over frequency."""
    grid_hz = np.geomspace(40, 11_500, 30_000)
    response = np.square(np.abs(scipy.signal.freqz(taps, worN=grid_hz, fs=RATE)[1]))
    bands = []
    for centre_hz in bands_below(24_000):
        inside = (grid_hz >= centre_hz * 10**-0.05) & (grid_hz < centre_hz * 10**0.05)
        bands.append(levels_db(np.average(response[inside], weights=grid_hz[inside] * weights_of(grid_hz[inside]))))
    return np.array(bands)


def test_gains_of_stems_are_found_exactly(tmp_path):
    # 16-bit files at their own peak: some 0.001 dB.
    run = run_of(noise(), tmp_path, Chain(gains_db=dict.fromkeys(STEMS, -6.0)))
    (one,) = measured(run)
    for ear in EARS:
        np.testing.assert_allclose(one.gains_db[ear].levels_db, -6.0, atol=0.01)
    assert not one.missing


def test_gains_of_stems_count_by_their_energy(tmp_path):
    run = run_of(noise(), tmp_path, Chain(gains_db={"vocals": 12.0, "drums": -40.0}))
    energies = {stem: gain**2 for stem, gain in GAINS.items()}
    after = energies["vocals"] * 10**1.2 + energies["drums"] * 10**-4 + energies["bass"] + energies["other"]
    (one,) = measured(run)
    np.testing.assert_allclose(one.gains_db["left"].levels_db, levels_db(after / sum(energies.values())), atol=0.01)


def test_the_baseline_gives_what_its_filter_gives(tmp_path):
    run = run_of(noise(6.0), tmp_path, load_chain("baseline"))
    (one,) = measured(run)
    for ear in EARS:
        expected_db = weighted_response_db(nalr_fir(FLAT.ear(ear), sample_rate=RATE), np.ones_like)
        # White noise; its own ups and downs in bands that slope make the rest.
        np.testing.assert_allclose(one.gains_db[ear].levels_db, expected_db, atol=0.1)


def test_the_baseline_meets_the_prescription(tmp_path):
    run = run_of(noise(6.0), tmp_path, load_chain("baseline"))
    (one,) = measured(run)
    for ear in EARS:
        error_db = one.gains_db[ear].at(NALR_FREQUENCIES_HZ) - nalr_gains_db(FLAT.ear(ear))
        # The filter has 221 taps, 400 Hz a step: it smooths the steep rise from 250 Hz to 1 kHz.
        np.testing.assert_allclose(error_db[3:], 0.0, atol=0.2)
        np.testing.assert_allclose(error_db[:3], 0.0, atol=4.0)


def test_music_through_the_baseline_meets_the_prescription(tiny):
    run = next(run for run in find_runs(tiny) if run.name == "baseline")
    gains = mean_gains(measured(run))
    assert list(gains) == ["L5040", "L5076"]
    for name, listener in run.listeners.items():
        for ear in EARS:
            error_db = gains[name][ear].at(NALR_FREQUENCIES_HZ) - nalr_gains_db(listener.ear(ear))
            # At the corners of these audiograms the smoothing of the filter takes up to 1.2 dB.
            np.testing.assert_allclose(error_db[3:], 0.0, atol=1.2)
            assert abs(error_db[-1]) < 0.3


def test_a_compressor_takes_gain_away(tiny):
    gains = {run.name: mean_gains(measured(run))["L5040"]["left"] for run in find_runs(tiny)}
    assert gains["e016"].at(4000)[0] < gains["baseline"].at(4000)[0] - 1.0


def test_bands_with_too_little_energy_are_not_told(tmp_path):
    time_s = np.arange(3 * RATE) / RATE
    # Faded in and out: a tone that begins at once is a click.
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time_s) * scipy.signal.windows.tukey(len(time_s), 0.3)
    run = run_of(Audio(np.stack([tone, tone], axis=1), RATE), tmp_path, Chain(gains_db=dict.fromkeys(STEMS, 3.0)))
    levels = measured(run)[0].gains_db["right"]
    assert levels.at(1000)[0] == pytest.approx(3.0, abs=0.01)
    assert np.isnan(levels.at([60, 125, 250, 4000, 8000])).all()


def test_loudness_changes_by_the_gain(tmp_path):
    run = run_of(noise(end_hz=8000), tmp_path, Chain(gains_db=dict.fromkeys(STEMS, -12.0)))
    (one,) = measured(run)
    # The weighting filters of 44.1 and 32 kHz differ by some 0.02 dB; soft clipping takes less at such low levels.
    assert one.loudness_change_lu == pytest.approx(-12.0, abs=0.05)
    assert one.remix_lufs - one.mixture_lufs == one.loudness_change_lu


def test_loudness_of_a_sine_is_that_of_the_standard(tmp_path):
    time_s = np.arange(3 * RATE) / RATE
    tone = np.sin(2 * np.pi * 997 * time_s)
    run = run_of(Audio(np.stack([tone, 0 * tone], axis=1), RATE), tmp_path, Chain())
    # BS.1770: 997 Hz at full scale in one front channel reads -3.01 LKFS.
    assert measured(run)[0].mixture_lufs == pytest.approx(-3.01, abs=0.05)
    assert measured(run)[0].mixture_peak_dbfs == pytest.approx(0.0, abs=0.01)


def test_peaks_and_clipping_are_those_before_soft_clipping(tiny):
    run = next(run for run in find_runs(tiny) if run.name == "baseline")
    for one in measured(run):
        results = run.enhanced[Pair(one.song, one.listener)].results
        assert one.remix_peak_dbfs == pytest.approx(20 * np.log10(results["remix_peak_lin"]), abs=1e-9)
        assert one.over_full_scale_share == results["n_over_full_scale"] / results["n_remix_samples"]
        assert 0 < one.over_full_scale_share < 1 < one.remix_peak_dbfs


def test_spectra_are_those_of_mixture_and_remix(tiny):
    run = next(run for run in find_runs(tiny) if run.name == "baseline")
    for one in measured(run):
        pair = Pair(one.song, one.listener)
        for spectrum, path in ((one.mixture_spectrum, run.sources[one.song].mixture),
                               (one.remix_spectrum, run.remix_file(pair))):  # fmt: skip
            audio = load_audio(path, sample_rate=None)
            assert spectrum["left"].frequencies_hz[[0, -1]] == pytest.approx([50.119, 12589.254], abs=0.001)
            expected = levels_db(band_energies(audio.samples, audio.sample_rate))
            for column, ear in enumerate(EARS):
                np.testing.assert_allclose(spectrum[ear].levels_db, expected[:, column], atol=1e-9)
    mean = mean_spectrum([one.remix_spectrum for one in measured(run)] + [None])
    assert mean["right"].levels_db.shape == (25,)
    assert mean_spectrum([None]) is None


def test_segments_are_respected(tmp_path):
    # Loud for two seconds, then quiet: each segment has its own level.
    loud, quiet = noise(2.0, level=0.2), noise(2.0, level=0.01, seed=4, end_hz=8000)
    mixture = Audio(np.concatenate([loud.samples, quiet.samples])[: 4 * RATE], RATE)
    cut = {"song": SongSegments(objective=Segment(0.5, 1.9), subjective=Segment(2.2, 3.8))}
    run = run_of(mixture, tmp_path, Chain(gains_db=dict.fromkeys(STEMS, 6.0)), segments=cut)
    (one,) = measured(run)
    np.testing.assert_allclose(one.gains_db["left"].levels_db, 6.0, atol=0.05)
    assert one.mixture_peak_dbfs == pytest.approx(
        levels_db(np.square(np.abs(quiet.samples[8820:79380]).max())), abs=1e-3
    )
    assert one.loudness_change_lu == pytest.approx(6.0, abs=0.05)


def test_a_silent_song_is_told_as_silent(tmp_path):
    run = run_of(Audio(np.zeros((RATE, 2)), RATE), tmp_path, Chain())
    (one,) = measured(run)
    assert one.mixture_lufs is one.remix_lufs is one.mixture_peak_dbfs is one.remix_peak_dbfs is None
    assert set(one.missing) == {"mixture_lufs", "remix_lufs", "mixture_peak_dbfs", "remix_peak_dbfs"}
    assert set(one.missing.values()) == {"silent"}
    assert one.loudness_change_lu is None
    assert one.over_full_scale_share == 0.0
    assert np.isnan(one.gains_db["left"].levels_db).all()


def test_what_is_not_there_is_none_with_the_reason(copy):
    (run,) = (run for run in find_runs(copy) if run.name == "baseline")
    pair = run.pairs[0]
    run.remix_file(pair).unlink()
    run.stem_file(pair, "right", "bass").unlink()
    shutil.rmtree(copy / "references" / pair.song)
    one, *others = measured(find_runs(copy)[0])
    assert one.remix_lufs is one.mixture_lufs is one.gains_db is one.remix_spectrum is one.mixture_spectrum is None
    assert "no mixture" in one.missing["mixture_lufs"]
    assert "no remix" in one.missing["remix_spectrum"]
    assert "right bass" in one.missing["gains_db"]
    assert one.remix_peak_dbfs is not None
    assert "remix_peak_dbfs" not in one.missing
    assert others[-1].gains_db is not None


def test_stems_that_were_not_kept_are_told(copy):
    shutil.rmtree(copy / "stems")
    one = measured(find_runs(copy)[0])[0]
    assert one.gains_db is None
    assert "no separated stems" in one.missing["gains_db"]
    assert one.remix_lufs is not None


@pytest.mark.parametrize(
    ("damage", "field"),
    [
        ("remix", "remix_lufs"),
        ("enhanced", "gains_db"),
        ("scale", "gains_db"),
        ("kept", "gains_db"),
        ("mixture", "mixture_lufs"),
    ],
)
def test_damaged_audio_is_a_reason_not_a_failure(copy, damage, field):
    run = find_runs(copy)[0]
    pair = run.pairs[0]
    path = {
        "remix": run.remix_file(pair),
        "enhanced": run.stem_file(pair, "left", "drums"),
        "scale": run.stem_file(pair, "left", "drums").with_suffix(".txt"),
        "kept": run.sources[pair.song].kept_stems / "drums.wav",
        "mixture": run.sources[pair.song].mixture,
    }[damage]
    path.write_bytes(b"no audio at all")
    one = measure_pairs(run, [pair])[0]
    assert getattr(one, field) is None
    assert path.name in one.missing[field]
    assert "\n" not in one.missing[field]


def test_stems_of_another_length_are_not_compared(copy):
    run = find_runs(copy)[0]
    pair = run.pairs[0]
    path = run.sources[pair.song].kept_stems / "vocals.wav"
    write_wav(path, load_audio(path).excerpt(0.0, 1.0), subtype="FLOAT")
    for stem in ("drums", "bass", "other"):
        other = path.with_name(f"{stem}.wav")
        write_wav(other, load_audio(other).excerpt(0.0, 1.0), subtype="FLOAT")
    one = measure_pairs(run, [pair])[0]
    assert one.gains_db is None
    assert "wrong length" in one.missing["gains_db"]


def test_a_record_without_peaks_is_told(copy):
    (path,) = (copy / "baseline" / "records" / "enhance" / "L5040").glob("*part 0.json")
    record = json.loads(path.read_text())
    del record["results"]["remix_peak_lin"]
    path.write_text(json.dumps(record))
    one = measured(find_runs(copy)[0])[0]
    assert one.remix_peak_dbfs is one.over_full_scale_share is None
    assert "tells no peak" in one.missing["over_full_scale_share"]


def test_one_file_is_in_memory_at_a_time(copy):
    run = find_runs(copy)[0]
    pair = run.pairs[0]
    sources = run.sources[pair.song]
    long = Audio(np.tile(noise(1.0).samples[:24_000], (60, 1)), 24_000)
    for path in (sources.mixture, *(sources.kept_stems / f"{stem}.wav" for stem in STEMS)):
        write_wav(path, long, subtype="FLOAT")
    single = sources.mixture.with_name("single.wav")
    write_wav(single, Audio(long.samples[:, 0], 24_000), subtype="FLOAT")

    def peak_bytes(measure):
        measure()  # what is loaded at the first time is none of it
        tracemalloc.start()
        try:
            measure()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # A quarter more than a file of 60 s: when it is read, it is asked for NaN.
    assert peak_bytes(lambda: measure_pairs(run, [pair])) < 1.6 * long.samples.nbytes
    assert peak_bytes(lambda: _measure_signal(single, (0.0, 5.0))) < 0.8 * long.samples.nbytes


def test_a_pair_of_another_run_is_refused(tiny):
    run = find_runs(tiny)[0]
    with pytest.raises(InputError, match="unknown pair 'nothing for L5040'"):
        measure_pairs(run, [Pair("nothing", "L5040")])


def test_progress_is_told_and_order_is_kept(tiny):
    class Told:
        def __init__(self):
            self.lines = []

        def start(self, stage, total):
            self.lines.append((stage, total))

        def advance(self, stage, amount=1.0):
            self.lines.append((stage, amount))

        def say(self, message):
            self.lines.append(message)

    run, told = find_runs(tiny)[0], Told()
    pairs = [run.pairs[3], run.pairs[0]]
    found = measure_pairs(run, pairs, progress=told)
    assert [(one.song, one.listener) for one in found] == [(pair.song, pair.listener) for pair in pairs]
    assert told.lines == [("measure", 2), ("measure", 1.0), ("measure", 1.0)]


def test_measuring_leaves_the_run_as_it_is(tiny):
    def state():
        return {path: path.stat().st_mtime_ns for path in Path(tiny).rglob("*")}

    before = state()
    measured(find_runs(tiny)[0])
    assert state() == before
