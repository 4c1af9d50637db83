"""The main job on files, with real music and the real 2stems network: results, resuming, and faults."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import soundfile

from cadenza_remix.audio.io import load_audio, load_stems, read_scaled_flac, write_stems, write_wav
from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.challenge.naming import pair_paths, remix_path, stem_path
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.metrics import compute_haaqi
from cadenza_remix.remix import load_chain
from cadenza_remix.runs.enhancing import enhance_songs
from cadenza_remix.runs.scoring import score_mixtures, score_pairs
from cadenza_remix.runs.songs import find_songs
from cadenza_remix.separation.loading import load_separator
from cadenza_remix.units import db_spl_of_full_scale, rms

SEPARATOR = "spleeter:2stems+hpss"
EXCERPT_S = (1.0, 3.0)


@pytest.fixture(scope="module")
def music(song, tmp_path_factory):
    """Two seconds of the real song in MUSDB18-HQ's layout."""
    folder = tmp_path_factory.mktemp("music") / "Falcon"
    write_stems(folder, {name: audio.excerpt(*EXCERPT_S) for name, audio in load_stems(song.path).items()})
    write_wav(folder / "mixture.wav", load_audio(song.path).excerpt(*EXCERPT_S))
    return folder


@pytest.fixture(scope="module")
def run(music, tmp_path_factory):
    """The job done once: two listeners, both chains."""
    out = tmp_path_factory.mktemp("run")
    songs, listeners = find_songs([music]), load_listeners("cad1-sample")
    reports = {}
    for chain in ("baseline", "e016"):
        enhanced = enhance_songs(
            songs,
            listeners,
            separator=load_separator(SEPARATOR),
            chain=load_chain(chain),
            out=out / chain,
            stems_folder=out / "stems",
            wav=True,
        )
        scored = score_pairs(
            out / chain, references=music.parent, listeners=listeners, records=out / chain / "records" / "score"
        )
        reports[chain] = (enhanced, scored)
    return out, reports


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_writes_the_files_of_the_challenge_exactly(run):
    out, _ = run
    root = out / "baseline" / "enhanced_signals"
    expected = {path for listener in ("L5040", "L5076") for path in pair_paths(root, listener, "Falcon")}
    assert {path for path in root.rglob("*") if path.is_file()} == expected
    info = soundfile.info(stem_path(root, "L5040", "Falcon", "left", "vocals"))
    assert (info.format, info.subtype, info.samplerate, info.channels, info.frames) == (
        "FLAC",
        "PCM_16",
        24000,
        1,
        48000,
    )
    info = soundfile.info(remix_path(root, "L5040", "Falcon"))
    assert (info.format, info.subtype, info.samplerate, info.channels, info.frames) == (
        "FLAC",
        "PCM_16",
        32000,
        2,
        64000,
    )
    raw, _ = soundfile.read(stem_path(root, "L5040", "Falcon", "left", "vocals"))
    assert 0.9999 < np.abs(raw).max() <= 1.0  # scaled to its peak
    scale = float(stem_path(root, "L5040", "Falcon", "left", "vocals").with_suffix(".txt").read_text())
    restored = read_scaled_flac(stem_path(root, "L5040", "Falcon", "left", "vocals"))
    assert np.abs(restored.samples).max() == pytest.approx(scale, rel=1e-4)


def test_nalr_and_compressor_change_the_level_as_they_should(run):
    out, _ = run

    def level(chain):
        return rms(
            read_scaled_flac(stem_path(out / chain / "enhanced_signals", "L5040", "Falcon", "left", "drums")).samples
        )

    separated = rms(load_audio(out / "stems" / "Falcon" / "drums.wav").samples[:, 0])
    assert level("baseline") > 2 * separated
    assert level("e016") < level("baseline")


def test_scores_are_what_the_definition_gives(run, music):
    """The first of the eight calls after the song's seed, computed here by hand."""
    from cadenza_remix.audio.resample import resample_samples
    from cadenza_remix.challenge.seeding import song_rng

    out, reports = run
    listener = load_listeners("cad1-sample")["L5076"]
    clean = load_stems(music)["drums"].samples[:, 0]
    processed = read_scaled_flac(stem_path(out / "baseline" / "enhanced_signals", "L5076", "Falcon", "left", "drums"))
    by_hand = compute_haaqi(
        processed.samples[:, 0],
        resample_samples(clean, 44100, 24000),
        24000,
        24000,
        listener.left,
        1,
        db_spl_of_full_scale(rms(clean)),
        rng=song_rng("Falcon"),
    )
    record = next(r for r in reports["baseline"][1].records if r.results["listener"] == "L5076")
    assert record.results["haaqi"]["left_drums"] == by_hand


def test_the_clean_stems_through_the_chain_score_best(run, music):
    """An upper bound: the real separation lies well below the clean stems, which lie near 1."""
    from cadenza_remix.challenge.scorers import ear_scorer
    from cadenza_remix.challenge.scoring import score_pair
    from cadenza_remix.remix import enhance_stems

    _, reports = run
    listener = load_listeners("cad1-sample")["L5076"]
    clean = load_stems(music)
    perfect = enhance_stems(clean, listener, load_chain("baseline"))
    metrics = score_pair(clean, perfect.stems, listener, haaqi_of=ear_scorer("Falcon"))
    separated = next(r for r in reports["baseline"][1].records if r.results["listener"] == "L5076")
    for channel, value in metrics.haaqi.items():
        assert value > 0.8, channel
        assert value > separated.results["haaqi"][channel]
        # The target of SNR and SDR is this very signal.
        assert metrics.snr_db[channel] > 100
        assert metrics.sdr_db[channel] > 100


def test_chains_and_mixture_order_as_the_field_knows(run, music):
    _, reports = run
    songs, listeners = find_songs([music]), load_listeners("cad1-sample")
    mixture = score_mixtures(songs, references=music.parent, listeners=listeners, records=run[0] / "mixture")
    means = {name: np.mean([row.score for row in report.rows]) for name, (_, report) in reports.items()}
    assert means["baseline"] > means["e016"] > 0
    assert means["baseline"] > np.mean([row.score for row in mixture.rows])


def test_doing_it_again_does_nothing(run, music):
    out, _ = run
    before = snapshot(out)
    songs, listeners = find_songs([music]), load_listeners("cad1-sample")
    again = enhance_songs(
        songs,
        listeners,
        separator=load_separator(SEPARATOR),
        chain=load_chain("e016"),
        out=out / "e016",
        stems_folder=out / "stems",
        wav=True,
    )
    assert (again.n_made, again.n_found, again.failures) == (0, 2, ())
    again = score_pairs(
        out / "e016", references=music.parent, listeners=listeners, records=out / "e016" / "records" / "score"
    )
    assert again.n_found == 2
    assert snapshot(out) == before


def test_a_lost_file_is_made_again_the_same(run, music):
    out, _ = run
    before = snapshot(out)
    root = out / "baseline" / "enhanced_signals"
    stem_path(root, "L5040", "Falcon", "right", "bass").unlink()
    (out / "stems" / "Falcon" / "other.wav").write_bytes(b"half")
    songs, listeners = find_songs([music]), load_listeners("cad1-sample")
    report = enhance_songs(
        songs,
        listeners,
        separator=load_separator(SEPARATOR),
        chain=load_chain("baseline"),
        out=out / "baseline",
        stems_folder=out / "stems",
        wav=True,
    )
    assert (report.n_made, report.n_found) == (1, 1)
    assert snapshot(out) == before


def test_test_mode_hands_in_the_segments(run, music, tmp_path):
    from cadenza_remix.challenge.metadata import Segment, SongSegments

    out, _ = run
    segments = {"Falcon": SongSegments(objective=Segment(0.5, 1.5), subjective=Segment(0.25, 0.75))}
    songs, listeners = find_songs([music]), load_listeners("cad1-sample", only=["L5040"])
    enhance_songs(
        songs,
        listeners,
        separator=load_separator(SEPARATOR),
        chain=load_chain("baseline"),
        out=tmp_path,
        segments=segments,
        stems_folder=out / "stems",
    )
    stem = read_scaled_flac(stem_path(tmp_path / "enhanced_signals", "L5040", "Falcon", "left", "other"))
    whole = read_scaled_flac(stem_path(out / "baseline" / "enhanced_signals", "L5040", "Falcon", "left", "other"))
    assert stem.n_samples == 24000
    # Both are rounded to 16 bit of their own peak.
    np.testing.assert_allclose(stem.samples, whole.samples[12000:36000], atol=2 * np.abs(whole.samples).max() / 32768)
    assert soundfile.info(remix_path(tmp_path / "enhanced_signals", "L5040", "Falcon")).frames == 16000
    report = score_pairs(
        tmp_path, references=music.parent, listeners=listeners, segments=segments, records=tmp_path / "records"
    )
    assert not report.failures
    with pytest.raises(InputError, match="no segments"):
        score_pairs(
            tmp_path,
            references=music.parent,
            listeners=listeners,
            segments={"Other": segments["Falcon"]},
            records=tmp_path / "records",
        )
    # Without the segments the lengths do not fit, and that is said.
    report = score_pairs(tmp_path, references=music.parent, listeners=listeners, records=tmp_path / "r")
    assert "differ in length: expected 2.000 s (the reference), found 1.000 s" in str(report.failures[0].error)


def test_a_damaged_song_does_not_hold_up_the_others(music, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF....WAVE")
    listeners = load_listeners("cad1-sample", only=["L5040"])
    songs = find_songs([bad, music])
    report = enhance_songs(
        songs, listeners, separator=load_separator(SEPARATOR), chain=load_chain("baseline"), out=tmp_path / "out"
    )
    assert [failure.unit for failure in report.failures] == ["demix bad"]
    assert "bad.wav" in str(report.failures[0].error)
    assert report.n_made == 1
    assert not (tmp_path / "out" / "enhanced_signals" / "L5040" / "bad").exists()


def test_killed_and_started_again_it_ends_with_the_same_files(run, music, tmp_path):
    """SIGKILL at a few moments of the job: the last run finishes it, and not a byte differs from the other run."""
    out, _ = run
    listeners = tmp_path / "listeners.json"
    people = load_listeners("cad1-sample")
    listeners.write_text(json.dumps({key: person.to_dict() for key, person in people.items()}))
    target = tmp_path / "killed"
    command = [sys.executable, "-m", "cadenza_remix", "enhance", str(music), "--listeners", str(listeners),
               "--separator", SEPARATOR, "--chain", "baseline", "--wav", "--out", str(target)]  # fmt: skip
    killed = 0
    for wait_for in ("stems", "enhanced_signals", "records/enhance"):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and not any((target / wait_for).rglob("*.*")):
                time.sleep(0.002)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
    assert killed >= 1
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    undisturbed = snapshot(out / "baseline" / "enhanced_signals")
    assert snapshot(target / "enhanced_signals") == undisturbed
    assert snapshot(target / "stems") == snapshot(out / "stems")
    assert not list(target.rglob(".*")), "temporary files of the killed runs are gone"


def test_scores_csv_is_the_challenges_table(run, tmp_path):
    from cadenza_remix.challenge.scores import SCORE_COLUMNS, write_scores

    _, reports = run
    write_scores(tmp_path / "scores.csv", reports["baseline"][1].rows)
    table = pd.read_csv(tmp_path / "scores.csv")
    assert tuple(table.columns) == SCORE_COLUMNS
    means = table[[f"{ear}_{stem}" for ear in EARS for stem in STEMS]].mean(axis=1)
    np.testing.assert_allclose(table["score"], means, rtol=1e-12)
