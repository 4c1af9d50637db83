"""Summaries of scores by group: the means, what each group holds, the intervals, the table on the screen."""

import io
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.challenge.metadata import SongEntry
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram, Listener
from cadenza_remix.report.bootstrap import cluster_interval
from cadenza_remix.report.published import published_results
from cadenza_remix.report.statistics import (
    STATISTICS_COLUMNS,
    print_statistics,
    shown_interval,
    summarise,
    write_statistics_csv,
)
from cadenza_remix.report.tidy import tidy_frame

STEM_EFFECT = {"vocals": 0.1, "drums": 0.0, "bass": -0.05, "other": -0.05}
EAR_EFFECT = {"left": 0.02, "right": -0.02}


def scored(n_songs=3, n_listeners=4):
    """Scores of additive effects, so that every mean is known; SNR and SDR are 10 and 5 times HAAQI."""
    results = []
    for song in range(n_songs):
        for listener in range(n_listeners):
            haaqi = {
                f"{ear}_{stem}": 0.5 + 0.03 * song + 0.01 * listener + STEM_EFFECT[stem] + EAR_EFFECT[ear]
                for ear in EARS
                for stem in STEMS
            }
            ratios = {
                name: {channel: factor * value for channel, value in haaqi.items()}
                for name, factor in (("snr_db", 10), ("sdr_db", 5))
            }
            results.append({"song": f"Song {song:02d}", "listener": f"L{listener:04d}", "haaqi": haaqi, **ratios})
    return results


def people(n_listeners=4):
    """All but the first have 30 dB HL (mild) on the left and 55 (moderately severe) on the right."""
    flat = {level: Audiogram([250, 8000], [level, level]) for level in (10, 30, 55)}
    listeners = {f"L{n:04d}": Listener(f"L{n:04d}", flat[30], flat[55]) for n in range(n_listeners)}
    return {**listeners, "L0000": Listener("L0000", flat[10], flat[10])}


GENRES = [SongEntry("Song 00", "test", "Rock"), SongEntry("Song 01", "test", "Pop"), SongEntry("Song 02", "test")]


def row(frame, factor, level, metric="haaqi"):
    (found,) = frame[(frame["factor"] == factor) & (frame["level"] == level) & (frame["metric"] == metric)].to_dict(
        "records"
    )
    return found


def printed(frame, width=80, **options):
    console = Console(width=width, file=io.StringIO(), record=True, color_system=None)
    print_statistics(frame, console, **options)
    return console.export_text(styles=False)


def test_means_of_every_group():
    frame = summarise(tidy_frame(scored()), listeners=people(), songs=GENRES)
    assert tuple(frame.columns) == STATISTICS_COLUMNS
    everything = 0.5 + 0.03 + 0.015
    expected = {
        ("all", "all"): everything,
        ("stem", "vocals"): everything + 0.1,
        ("ear", "right"): everything - 0.02,
        ("stem_ear", "left_bass"): everything - 0.05 + 0.02,
        ("listener", "L0003"): 0.5 + 0.03 + 0.03,
        ("song", "Song 02"): 0.5 + 0.06 + 0.015,
        ("genre", "Pop"): 0.5 + 0.03 + 0.015,
        ("genre", "(not given)"): 0.5 + 0.06 + 0.015,
        ("severity", "mild"): 0.5 + 0.03 + 0.02 + 0.02,  # left ears of listeners 1 to 3
        ("severity", "moderately severe"): 0.5 + 0.03 + 0.02 - 0.02,
        ("severity", "normal"): 0.5 + 0.03,
        ("severity_better_ear", "mild"): 0.5 + 0.03 + 0.02,  # both ears of the same people
    }
    for (factor, level), mean in expected.items():
        assert row(frame, factor, level)["mean"] == pytest.approx(mean, abs=1e-12), (factor, level)
        assert row(frame, factor, level, "snr_db")["mean"] == pytest.approx(10 * mean, abs=1e-11)


def test_a_group_says_how_much_it_holds():
    frame = summarise(tidy_frame(scored()), listeners=people(), songs=GENRES, metric="haaqi")
    assert set(frame["metric"]) == {"haaqi"}
    for factor, level, counts in [
        ("all", "all", (3, 4, 96)),
        ("stem_ear", "left_bass", (3, 4, 12)),
        ("listener", "L0001", (3, 1, 24)),
        ("genre", "Rock", (1, 4, 32)),
        ("severity", "mild", (3, 3, 36)),
        ("severity_better_ear", "mild", (3, 3, 72)),
    ]:
        found = row(frame, factor, level)
        assert (found["n_songs"], found["n_listeners"], found["n_values"]) == counts, (factor, level)


def test_groups_stand_in_the_order_of_the_package_not_of_the_alphabet():
    frame = summarise(tidy_frame(scored()), listeners=people(), metric="haaqi")
    assert list(frame["factor"].unique()) == [
        *("all", "stem", "ear", "stem_ear", "severity", "severity_better_ear", "listener", "song")
    ]
    assert list(frame[frame["factor"] == "stem"]["level"]) == list(STEMS)
    assert list(frame[frame["factor"] == "severity"]["level"]) == ["normal", "mild", "moderately severe"]


def test_sd_and_interval_are_those_of_the_values():
    tidy = tidy_frame(scored())
    values = tidy[(tidy["metric"] == "haaqi") & (tidy["stem"] == "drums")]
    found = row(summarise(tidy), "stem", "drums")
    assert found["sd"] == pytest.approx(np.std(values["value"], ddof=1), abs=1e-15)
    interval = cluster_interval(values["value"], pd.factorize(values["song"])[0], pd.factorize(values["listener"])[0])
    assert (found["low"], found["high"]) == (interval.low, interval.high)
    assert found["low"] < found["mean"] < found["high"]


def test_the_order_of_the_rows_does_not_matter_to_the_last_bit():
    tidy = tidy_frame(scored(4, 5))
    shuffled = tidy.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(summarise(tidy), summarise(shuffled), check_exact=True)


def test_the_interval_of_a_group_does_not_hang_on_the_other_groups():
    tidy = tidy_frame(scored(4, 5))
    alone = summarise(tidy[tidy["stem"] == "bass"])
    assert row(summarise(tidy), "stem", "bass") == row(alone, "stem", "bass")


def test_one_song_and_one_listener_have_means_without_intervals():
    frame = summarise(tidy_frame(scored(1, 1)))
    found = row(frame, "all", "all")
    assert found["mean"] == pytest.approx(0.5, abs=1e-12)
    assert math.isnan(found["low"])
    text = printed(frame)
    assert "0.500 [-]" in text
    assert "No intervals: one song for one listener." in text


def test_values_that_are_not_defined_are_left_out():
    results = scored(2, 2)
    for entry in results:
        entry["snr_db"] = {name: None if "bass" in name else value for name, value in entry["snr_db"].items()}
    results[0]["sdr_db"]["left_vocals"] = None
    frame = summarise(tidy_frame(results))
    empty = row(frame, "stem", "bass", "snr_db")
    assert (empty["n_values"], empty["n_songs"]) == (0, 0)
    assert math.isnan(empty["mean"])
    assert math.isnan(empty["low"])
    assert row(frame, "all", "all", "snr_db")["n_values"] == 24
    assert row(frame, "stem_ear", "left_vocals", "sdr_db")["n_values"] == 3
    bass = next(line for line in printed(frame).splitlines() if line.strip().startswith("bass"))
    assert bass.split()[-2:] == ["-", f"{row(frame, 'stem', 'bass', 'sdr_db')['mean']:.1f}"]


def test_pairs_may_be_missing():
    results = [entry for entry in scored(4, 4) if (entry["song"], entry["listener"]) != ("Song 00", "L0000")]
    found = row(summarise(tidy_frame(results)), "all", "all")
    assert found["n_values"] == 15 * 8
    assert found["low"] < found["mean"] < found["high"]


def test_unknown_listeners_songs_and_metrics_are_refused():
    tidy = tidy_frame(scored())
    with pytest.raises(InputError, match="unknown listener 'L0003'"):
        summarise(tidy, listeners=people(3))
    with pytest.raises(InputError, match=r"song is not in the song list.*'Song 02'"):
        summarise(tidy, songs=GENRES[:2])
    with pytest.raises(InputError, match=r"unknown metric 'haqi'.*did you mean 'haaqi'"):
        summarise(tidy, metric="haqi")
    with pytest.raises(InputError, match="sdr_db is not in the table"):
        summarise(tidy[tidy["metric"] == "haaqi"], metric="sdr_db")
    with pytest.raises(InputError, match="n_resamples"):
        summarise(tidy, n_resamples=0)


def test_the_csv_file_holds_every_group(tmp_path):
    frame = summarise(tidy_frame(scored()), listeners=people(), songs=GENRES)
    write_statistics_csv(frame, tmp_path / "summary.csv")
    back = pd.read_csv(tmp_path / "summary.csv")
    assert list(back.columns) == list(STATISTICS_COLUMNS)
    assert len(back) == len(frame)
    np.testing.assert_allclose(back["mean"], frame["mean"], atol=5.1e-7)  # six decimals


def test_the_printed_table_fits_eighty_columns_and_says_what_it_shows():
    frame = summarise(tidy_frame(scored(7, 8)), listeners=people(8))
    text = printed(frame)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "95 % confidence interval" in text
    assert "songs and listeners resampled" in text
    assert "too narrow" not in text
    found = row(frame, "stem", "vocals")
    line = next(line for line in text.splitlines() if line.strip().startswith("vocals"))
    assert shown_interval(found["mean"], found["low"], found["high"]) in line
    left, right = (row(frame, "stem_ear", f"{ear}_vocals")["mean"] for ear in EARS)
    assert f"{left:.3f}  {right:.3f}" in line.replace("   ", "  ")


def test_few_songs_are_said_to_be_few():
    text = printed(summarise(tidy_frame(scored(2, 6))))
    assert "* fewer than 5 of them: too narrow." in " ".join(text.split())
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "]*" in lines["all"]  # 2 songs x 6 listeners
    assert "]*" in lines["L0000"]  # 2 songs
    song = next(line for line in text.splitlines() if "Song 00" in line)
    assert "~" not in song  # 6 listeners
    assert "[" in song


def test_of_many_songs_the_extremes_are_printed():
    text = printed(summarise(tidy_frame(scored(20, 2)), metric="haaqi"))
    shown = [f"Song {n:02d}" for n in range(20) if f"Song {n:02d}" in text]
    assert shown == [f"Song {n:02d}" for n in (0, 1, 2, 3, 4, 15, 16, 17, 18, 19)]
    assert "L0000" in text
    assert "L0001" in text


def test_published_results_stand_below_when_asked_for():
    frame = summarise(tidy_frame(scored(1, 2)))
    assert "E016" not in printed(frame)
    assert "Not comparable" in printed(frame, published=published_results())


def test_names_in_brackets_are_printed_as_they_are():
    results = scored(1, 2)
    for entry in results:
        entry["song"] = "Band - Song [Live]"
    assert "[Live]" in printed(summarise(tidy_frame(results)), width=100)


def test_a_table_without_haaqi_cannot_be_printed():
    frame = summarise(tidy_frame(scored(1, 2)), metric="snr_db")
    with pytest.raises(InputError, match="no HAAQI to print"):
        printed(frame)
