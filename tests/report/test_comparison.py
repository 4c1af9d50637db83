"""Two systems against each other: what is paired, which way a difference points, and what is refused."""

import io
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.challenge.metadata import SongEntry
from cadenza_remix.challenge.scores import PairScore, write_scores
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.report.comparison import (
    COMPARISON_COLUMNS,
    compare,
    print_comparison,
    read_other,
    write_comparison_csv,
)
from cadenza_remix.report.tidy import tidy_frame, tidy_from_scores, write_tidy_csv

CHANNELS = [f"{ear}_{stem}" for ear in EARS for stem in STEMS]
OFFSETS = dict(zip(CHANNELS, np.linspace(-0.07, 0.07, 8).tolist(), strict=True))


def pair(song, listener, mean):
    """A pair of which the eight values lie evenly about their mean."""
    return PairScore(song, listener, {channel: mean + offset for channel, offset in OFFSETS.items()})


def random_system(n_songs=6, n_listeners=7, *, seed=0, better=0.0):
    rng = np.random.default_rng(seed)
    means = rng.uniform(0.2, 0.8, size=(n_songs, n_listeners)) + better
    return [
        pair(f"Song {song}", f"L{listener}", float(means[song, listener]))
        for song in range(n_songs)
        for listener in range(n_listeners)
    ]


def row(comparison, factor, level):
    table = comparison.table
    (found,) = table[(table["factor"] == factor) & (table["level"] == level)].to_dict("records")
    return found


def printed(comparison, width=80, **options):
    console = Console(width=width, file=io.StringIO(), record=True, color_system=None)
    print_comparison(comparison, console, **options)
    return console.export_text(styles=False)


def test_figures_of_the_e016_report():
    """Baseline and own scores side by side: L6036 0.509 -> 0.136, L6049 0.888 -> 0.451."""
    baseline = tidy_from_scores([pair("song", "L6036", 0.509), pair("song", "L6049", 0.888)])
    entry = tidy_from_scores([pair("song", "L6036", 0.136), pair("song", "L6049", 0.451)])
    comparison = compare(entry, baseline)
    found = row(comparison, "listener", "L6036")
    assert found["mean_other"] == pytest.approx(0.509, abs=1e-12)
    assert found["mean_this"] == pytest.approx(0.136, abs=1e-12)
    assert found["difference"] == pytest.approx(-0.373, abs=1e-12)
    assert found["share_higher"] == 0.0
    assert math.isnan(found["low"])  # one song for one listener
    assert row(comparison, "all", "all")["difference"] == pytest.approx((-0.373 - 0.437) / 2, abs=1e-12)
    text = printed(comparison, this="e016", other="baseline")
    assert "baseline -> e016" in text
    line = next(line for line in text.splitlines() if "L6036" in line)
    assert line.split()[:5] == ["L6036", "0.509", "->", "0.136", "-0.373"]
    assert "0.888 -> 0.451" in text


def test_a_constant_difference_has_an_interval_of_no_width():
    this, other = random_system(better=0.05), random_system()
    found = row(compare(tidy_from_scores(this), tidy_from_scores(other)), "all", "all")
    assert found["difference"] == pytest.approx(0.05, abs=1e-12)
    assert (found["low"], found["high"]) == pytest.approx((0.05, 0.05), abs=1e-12)
    assert found["share_higher"] == 1.0
    assert found["n_values"] == 6 * 7 * 8


def test_pairing_takes_out_what_songs_and_listeners_share():
    """The interval of the difference is far narrower than the spread of the scores themselves."""
    rng = np.random.default_rng(4)
    other = random_system()
    this = [PairScore(p.song, p.listener, {c: v + rng.normal(0.02, 0.01) for c, v in p.haaqi.items()}) for p in other]
    found = row(compare(tidy_from_scores(this), tidy_from_scores(other)), "all", "all")
    assert 0 < found["low"] < 0.02 < found["high"] < 0.03


def test_exchanging_the_systems_turns_the_signs():
    first, second = tidy_from_scores(random_system(seed=1)), tidy_from_scores(random_system(seed=2))
    there, back = compare(first, second).table, compare(second, first).table
    np.testing.assert_allclose(there["difference"], -back["difference"], atol=1e-15)
    np.testing.assert_allclose(there["low"], -back["high"], atol=1e-12)
    np.testing.assert_allclose(there["share_higher"] + back["share_higher"], 1.0, atol=1e-12)
    np.testing.assert_array_equal(there["mean_this"], back["mean_other"])


def test_equal_values_are_higher_in_none():
    same = tidy_from_scores(random_system())
    found = row(compare(same, same), "all", "all")
    assert (found["difference"], found["low"], found["high"], found["share_higher"]) == (0.0, 0.0, 0.0, 0.0)


def test_only_what_both_have_is_compared_and_the_rest_counted():
    this = [pair("a", "L1", 0.5), pair("a", "L2", 0.6), pair("b", "L1", 0.1)]
    other = [pair("a", "L1", 0.4), pair("a", "L2", 0.3), pair("c", "L1", 0.9), pair("c", "L2", 0.9)]
    comparison = compare(tidy_from_scores(this), tidy_from_scores(other))
    assert (comparison.n_common, comparison.n_only_this, comparison.n_only_other) == (2, 1, 2)
    assert row(comparison, "all", "all")["mean_other"] == pytest.approx(0.35, abs=1e-12)
    assert set(comparison.table["level"]).isdisjoint({"b", "c"})
    text = " ".join(printed(comparison).split())
    assert "2 pairs of song and listener in both; left out: 1 only in this, 2 only in other" in text


def test_a_value_that_one_side_lacks_is_left_out_of_both_means():
    entries = [{"song": "a", "listener": "L1", "haaqi": pair("a", "L1", 0.5).haaqi, "snr_db": dict(OFFSETS)}]
    lacking = [{**entries[0], "snr_db": {**OFFSETS, "left_vocals": None}}]
    table = compare(tidy_frame(entries), tidy_frame(lacking)).table
    found = table[(table["metric"] == "snr_db") & (table["factor"] == "all")].iloc[0]
    assert found["n_values"] == 7
    assert found["mean_this"] == found["mean_other"]


def test_a_metric_that_one_side_lacks_is_left_out():
    entries = [{"song": "a", "listener": "L1", "haaqi": pair("a", "L1", 0.5).haaqi, "snr_db": dict(OFFSETS)}]
    assert set(compare(tidy_frame(entries), tidy_from_scores([pair("a", "L1", 0.4)])).table["metric"]) == {"haaqi"}


def test_nothing_in_common_is_one_clear_error():
    with pytest.raises(InputError, match=r"no song and listener in common: expected .*'a' for L1, found .*'b' for L1"):
        compare(tidy_from_scores([pair("a", "L1", 0.5)]), tidy_from_scores([pair("b", "L1", 0.5)]))
    whole = tidy_frame([{"song": "a", "listener": "L1", "haaqi": dict(OFFSETS), "snr_db": dict(OFFSETS)}])
    with pytest.raises(InputError, match="no values in common: expected the same metrics, found haaqi and snr_db"):
        compare(whole[whole["metric"] == "haaqi"], whole[whole["metric"] == "snr_db"])


def test_groups_by_severity_and_genre():
    listeners = load_listeners("cad1-sample")
    this = tidy_from_scores([pair("a", name, 0.5) for name in listeners])
    other = tidy_from_scores([pair("a", name, 0.4) for name in listeners])
    comparison = compare(this, other, listeners=listeners, songs=[SongEntry("a", "test", "Pop")])
    assert row(comparison, "genre", "Pop")["difference"] == pytest.approx(0.1, abs=1e-12)
    severities = comparison.table[comparison.table["factor"] == "severity"]
    assert severities["n_values"].sum() == 16


@pytest.mark.parametrize("name", ["scores.csv", "scores_1-4.csv"])
def test_the_other_system_may_be_an_official_file_or_a_batch(tmp_path, name):
    rows = random_system(2, 3)
    write_scores(tmp_path / name, rows)
    pd.testing.assert_frame_equal(read_other(tmp_path / name), tidy_from_scores(rows), check_exact=True)


def test_the_other_system_may_be_a_tidy_file(tmp_path):
    frame = tidy_from_scores(random_system(2, 3))
    write_tidy_csv(frame, tmp_path / "tidy.csv")
    pd.testing.assert_frame_equal(read_other(tmp_path / "tidy.csv"), frame, check_exact=True)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_other(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_other(tmp_path)
    path = tmp_path / "wrong.csv"
    path.write_text("scene,haspi\n")
    with pytest.raises(InputError, match=r"no table of scores: expected the columns song,listener,score.*found scene"):
        read_other(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="expected CSV in UTF-8"):
        read_other(path)
    write_scores(path, [])
    with pytest.raises(InputError, match="at least one scored pair"):
        read_other(path)


def test_the_csv_file_holds_every_group(tmp_path):
    comparison = compare(tidy_from_scores(random_system(seed=1)), tidy_from_scores(random_system(seed=2)))
    write_comparison_csv(comparison, tmp_path / "comparison.csv")
    back = pd.read_csv(tmp_path / "comparison.csv")
    assert tuple(back.columns) == COMPARISON_COLUMNS
    np.testing.assert_allclose(back["difference"], comparison.table["difference"], atol=5.1e-7)  # six decimals


def test_the_printed_table_fits_eighty_columns():
    comparison = compare(tidy_from_scores(random_system(6, 14, seed=1)), tidy_from_scores(random_system(6, 14, seed=2)))
    text = printed(comparison)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert sum(f" L{n} " in text for n in range(14)) == 10  # the five that lost most, the five that gained most
    with pytest.raises(InputError, match="no snr_db to print: expected one of haaqi"):
        printed(comparison, metric="snr_db")
