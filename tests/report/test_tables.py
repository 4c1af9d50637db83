"""The summary of score records: what a row holds, in which order, and that it fits the screen."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from cadenza_remix.errors import InputError, OutputError
from cadenza_remix.report.tables import (
    STEM_COLUMNS,
    SUMMARY_COLUMNS,
    mean_over_songs,
    print_summary,
    summary_frame,
    write_summary_csv,
)


def record(chain, listener="L1", song="song", haaqi=0.5, snr_db=3.0, sdr_db=6.0):
    """A score record whose eight values lie evenly about the mean that is asked for."""
    offsets = np.linspace(-0.07, 0.07, 8)
    metrics = {
        name: {column: float(mean + offset) for column, offset in zip(STEM_COLUMNS, offsets, strict=True)}
        for name, mean in (("haaqi", haaqi), ("snr_db", snr_db), ("sdr_db", sdr_db))
    }
    return {"chain": chain, "song": song, "listener": listener, "metrics": metrics, "score": haaqi}


def printed(frame, width=120):
    console = Console(width=width, file=io.StringIO(), record=True, color_system=None)
    print_summary(frame, console)
    return console.export_text(styles=False)


def test_a_row_holds_the_eight_values_and_the_means():
    frame = summary_frame([record("e016", haaqi=0.4, snr_db=-2.0, sdr_db=1.5)])
    assert tuple(frame.columns) == SUMMARY_COLUMNS
    row = frame.iloc[0]
    assert row["left_vocals"] == pytest.approx(0.33)
    assert row["right_other"] == pytest.approx(0.47)
    assert row["score"] == 0.4
    assert row["snr_db"] == pytest.approx(-2.0)
    assert row["sdr_db"] == pytest.approx(1.5)


def test_columns_run_over_stems_left_before_right():
    assert STEM_COLUMNS[:4] == ("left_vocals", "right_vocals", "left_drums", "right_drums")


def test_rows_are_sorted_and_the_unprocessed_mixture_comes_first():
    records = [record(chain, listener) for listener in ("L2", "L1") for chain in ("e016", "baseline", "mixture")]
    frame = summary_frame(records)
    expected = [(listener, chain) for listener in ("L1", "L2") for chain in ("mixture", "e016", "baseline")]
    assert list(zip(frame["listener"], frame["chain"], strict=True)) == expected


def test_undefined_values_are_left_out_of_the_means():
    entry = record("e016", snr_db=4.0)
    values = entry["metrics"]["snr_db"]
    values.update(dict.fromkeys(values, 4.0))
    values["left_vocals"], values["right_vocals"] = None, math.nan
    entry["metrics"]["sdr_db"] = dict.fromkeys(STEM_COLUMNS)
    row = summary_frame([entry]).iloc[0]
    assert row["snr_db"] == 4.0
    assert math.isnan(row["sdr_db"])


def test_scores_without_snr_and_sdr_are_accepted():
    entry = record("e016")
    del entry["metrics"]["snr_db"], entry["metrics"]["sdr_db"]
    row = summary_frame([entry]).iloc[0]
    assert math.isnan(row["snr_db"])
    assert row["score"] == 0.5


def test_means_over_songs():
    frame = summary_frame([record("e016", song="a", haaqi=0.2), record("e016", song="b", haaqi=0.6)])
    means = mean_over_songs(frame)
    assert len(means) == 1
    assert means["score"].iloc[0] == pytest.approx(0.4)
    assert means["left_vocals"].iloc[0] == pytest.approx(0.33)


def test_means_over_songs_keep_the_mixture_first_where_only_a_later_song_has_it():
    frame = summary_frame([record("e016", song="a"), record("mixture", song="b"), record("e016", song="b")])
    assert list(mean_over_songs(frame)["chain"]) == ["mixture", "e016"]


def test_no_records_are_refused():
    with pytest.raises(InputError, match="no score records"):
        summary_frame([])


def test_two_records_of_one_thing_are_refused_by_name():
    with pytest.raises(InputError, match="L1, song, e016"):
        summary_frame([record("e016"), record("e016")])


def test_a_missing_field_is_named():
    entry = record("e016")
    del entry["metrics"]["haaqi"]["left_bass"]
    with pytest.raises(InputError, match="score record of L1, song, e016: a field is missing: expected left_bass"):
        summary_frame([entry])


def test_a_value_that_is_no_number_is_named():
    entry = record("e016")
    entry["score"] = "good"
    with pytest.raises(InputError, match="score is no number: expected a number or null, found 'good'"):
        summary_frame([entry])


def test_csv_reads_back(tmp_path):
    frame = summary_frame([record("mixture", haaqi=1 / 3), record("e016")])
    path = tmp_path / "new" / "summary.csv"
    write_summary_csv(frame, path)
    again = pd.read_csv(path)
    # Six decimals are written.
    pd.testing.assert_frame_equal(again, frame, check_exact=False, rtol=0, atol=5.1e-7, check_dtype=False)
    assert [entry.name for entry in path.parent.iterdir()] == ["summary.csv"]


def test_csv_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "summary.csv").mkdir()
    with pytest.raises(OutputError, match=r"summary\.csv: cannot be written"):
        write_summary_csv(summary_frame([record("e016")]), tmp_path / "summary.csv")
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.csv"]


def test_table_fits_120_columns_unbroken():
    records = [
        record(chain, listener, snr_db=-12.3, sdr_db=-10.4)
        for listener in ("L5040", "L5076")
        for chain in ("mixture", "baseline", "e016-without-gain")
    ]
    lines = printed(summary_frame(records)).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 120
    row = next(line for line in lines if "e016-without-gain" in line)
    assert "0.430 0.450" in row
    assert row.split()[-3:] == ["0.500", "-12.3", "-10.4"]


def test_best_chain_of_each_listener_is_marked():
    records = [
        record("mixture", "L1", haaqi=0.2),
        record("baseline", "L1", haaqi=0.4),
        record("e016", "L1", haaqi=0.3),
        record("mixture", "L2", haaqi=0.2),
        record("baseline", "L2", haaqi=0.1),
        record("e016", "L2", haaqi=0.6),
    ]
    lines = printed(summary_frame(records)).splitlines()
    marked = [line.split()[:3] for line in lines if " * " in line and "highest" not in line]
    # L1's best, L2's best, and that of the means over both: e016 with 0.45.
    assert marked == [["baseline", "*", "0.330"], ["e016", "*", "0.530"], ["e016", "*", "0.380"]]


def test_a_single_chain_is_not_called_the_best():
    assert " * " not in printed(summary_frame([record("e016")])).replace("* highest", "")


def test_names_that_look_like_markup_are_printed_as_they_are():
    text = printed(summary_frame([record("[bold]x", "[L1]", song="Song [live]")]))
    assert "[bold]x" in text
    assert "[L1]" in text
    assert "Song [live]" in text


def test_undefined_values_are_printed_as_dashes():
    entry = record("e016")
    entry["metrics"]["snr_db"] = dict.fromkeys(STEM_COLUMNS)
    text = printed(summary_frame([entry]))
    assert "nan" not in text
    assert text.split("e016")[1].split()[9:11] == ["-", "6.0"]
