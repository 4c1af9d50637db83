"""The tidy table: what a row is, that nothing is lost in the file, and what is refused."""

import math

import numpy as np
import pandas as pd
import pytest

from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.challenge.scores import PairScore
from cadenza_remix.errors import InputError, OutputError
from cadenza_remix.report.tidy import (
    METRICS,
    TIDY_COLUMNS,
    metrics_of,
    read_tidy_csv,
    sorted_tidy,
    tidy_frame,
    tidy_from_scores,
    write_tidy_csv,
)

CHANNELS = [f"{ear}_{stem}" for ear in EARS for stem in STEMS]


def result(song="song", listener="L1", seed=0):
    values = np.random.default_rng(seed).normal(size=(3, 8))
    metrics = {
        metric: dict(zip(CHANNELS, row.tolist(), strict=True)) for metric, row in zip(METRICS, values, strict=True)
    }
    return {"song": song, "listener": listener, "score": 0.0, **metrics}


def value_of(frame, **where):
    for name, wanted in where.items():
        frame = frame[frame[name] == wanted]
    (value,) = frame["value"]
    return value


def test_a_row_for_every_ear_stem_and_metric():
    entry = result()
    frame = tidy_frame([entry])
    assert tuple(frame.columns) == TIDY_COLUMNS
    assert len(frame) == 24
    for metric in METRICS:
        for ear in EARS:
            for stem in STEMS:
                assert value_of(frame, ear=ear, stem=stem, metric=metric) == entry[metric][f"{ear}_{stem}"]


def test_the_order_is_fixed_whatever_the_order_of_the_results():
    entries = [result(song, listener, seed=7) for song in ("b", "a") for listener in ("L2", "L1")]
    frame = tidy_frame(entries)
    pd.testing.assert_frame_equal(frame, tidy_frame(reversed(entries)))
    pd.testing.assert_frame_equal(frame, sorted_tidy(frame.sample(frac=1, random_state=3)))
    assert list(frame["song"][:48].unique()) == ["a"]
    assert list(frame["stem"][:12:3]) == list(STEMS)
    assert list(frame["metric"][:3]) == list(METRICS)
    assert list(frame["ear"][:24:12]) == list(EARS)


def test_a_value_that_is_not_defined_keeps_its_row(tmp_path):
    entry = result()
    entry["snr_db"]["left_bass"], entry["sdr_db"]["right_other"] = None, math.inf
    frame = tidy_frame([entry])
    assert len(frame) == 24
    assert math.isnan(value_of(frame, metric="snr_db", ear="left", stem="bass"))
    assert math.isnan(value_of(frame, metric="sdr_db", ear="right", stem="other"))
    write_tidy_csv(frame, tmp_path / "tidy.csv")
    assert "song,L1,left,bass,snr_db,\n" in (tmp_path / "tidy.csv").read_text()
    pd.testing.assert_frame_equal(read_tidy_csv(tmp_path / "tidy.csv"), frame)


def test_the_file_gives_back_the_very_same_numbers(tmp_path):
    entry = result('Songs, with "quotes" - and ünïcode', "L1")
    entry["haaqi"].update(left_vocals=0.1 + 0.2, right_vocals=1 / 3, left_bass=5e-324)
    frame = tidy_frame([entry, result("z", "L2")])
    path = tmp_path / "new" / "tidy.csv"
    write_tidy_csv(frame, path)
    pd.testing.assert_frame_equal(read_tidy_csv(path), frame, check_exact=True)
    raw = path.read_bytes()
    assert b"\r" not in raw
    assert b"0.30000000000000004" in raw


def test_an_official_results_file_is_a_table_of_haaqi():
    entry = result()
    frame = tidy_from_scores([PairScore("song", "L1", entry["haaqi"])])
    assert metrics_of(frame) == ("haaqi",)
    whole = tidy_frame([entry])
    expected = whole[whole["metric"] == "haaqi"].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame, expected)


def test_faults_of_results_are_named():
    with pytest.raises(InputError, match="no scores"):
        tidy_frame([])
    with pytest.raises(InputError, match=r"pair scored twice.*'song' for L1"):
        tidy_frame([result(), result()])
    with pytest.raises(InputError, match="field haaqi is missing"):
        tidy_frame([{"song": "s", "listener": "L1"}])
    broken = result()
    del broken["haaqi"]["left_drums"]
    with pytest.raises(InputError, match=r"'song' for L1: haaqi: wrong channels.*odd: left_drums"):
        tidy_frame([broken])
    with pytest.raises(InputError, match=r"haaqi: left_vocals: not a number.*'good'"):
        tidy_frame([{**result(), "haaqi": {**result()["haaqi"], "left_vocals": "good"}}])
    with pytest.raises(InputError, match="haaqi: wrong contents"):
        tidy_frame([{**result(), "haaqi": None}])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("s,L1,left,vocals,haaqi", "row 1: wrong number of fields: expected 6, found 5"),
        ("s,L1,left,vocals,haaqi,high", "row 1: not a number"),
        ("s,L1,left,vocals,haaqi,nan", "row 1: not a number"),
        ("s,L1,left,vocals,hasqi,0.5", "unknown metric 'hasqi'.*did you mean 'haaqi'"),
        ("s,L1,middle,vocals,haaqi,0.5", "unknown ear 'middle'"),
        ("s,L1,left,guitar,haaqi,0.5", "unknown stem 'guitar'"),
        ("s,L1,left,bass,haaqi,0.5\ns,L1,left,bass,haaqi,0.5", "row 2: row stands twice"),
        ("", "no scores"),
    ],
)
def test_faults_of_a_file_are_named_with_their_row(tmp_path, row, message):
    path = tmp_path / "tidy.csv"
    path.write_text(",".join(TIDY_COLUMNS) + "\n" + (row + "\n" if row else ""))
    with pytest.raises(InputError, match=message) as caught:
        read_tidy_csv(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_tidy_table(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_tidy_csv(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("song,score\n")
    with pytest.raises(
        InputError, match=r"wrong header: expected song,listener,ear,stem,metric,value, found song,score"
    ):
        read_tidy_csv(tmp_path / "other.csv")
    with pytest.raises(InputError, match=r"not a tidy table.*no ear"):
        sorted_tidy(tidy_frame([result()]).drop(columns="ear"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_tidy_csv(tidy_frame([result()]), tmp_path / "file" / "tidy.csv")
