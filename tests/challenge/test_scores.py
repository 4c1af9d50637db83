from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from cadenza_remix.challenge.pairs import Pair, batch_of, make_pairs
from cadenza_remix.challenge.scores import (
    SCORE_CHANNELS,
    SCORE_COLUMNS,
    PairScore,
    merge_scores,
    read_scores,
    scores_file_name,
    write_scores,
)
from cadenza_remix.errors import InputError, OutputError

PAIRS = make_pairs(["Song, with comma", 'b "quoted"', "Łona"], ["L2", "L1"])


def score_of(pair: Pair) -> PairScore:
    rng = np.random.default_rng(PAIRS.index(pair))
    return PairScore(pair.song, pair.listener, dict(zip(SCORE_CHANNELS, rng.random(8).tolist(), strict=True)))


def test_columns_are_the_challenges() -> None:
    assert ",".join(SCORE_COLUMNS) == (
        "song,listener,score,left_bass,right_bass,left_drums,right_drums,left_other,right_other,left_vocals,right_vocals"
    )


def test_the_score_is_the_mean_of_the_eight() -> None:
    row = PairScore("s", "L", {name: float(n) for n, name in enumerate(SCORE_CHANNELS)})
    assert row.score == 3.5
    assert row.pair == ("s", "L")


def test_a_file_reads_back_bit_for_bit(tmp_path: Path) -> None:
    rows = [score_of(pair) for pair in PAIRS]
    write_scores(tmp_path / "scores.csv", reversed(rows), pairs=PAIRS)
    assert read_scores(tmp_path / "scores.csv") == rows


def test_columns_hold_what_their_names_say(tmp_path: Path) -> None:
    row = score_of(PAIRS[0])
    write_scores(tmp_path / "scores.csv", [row])
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as file:
        (fields,) = csv.DictReader(file)
    assert (fields["song"], fields["listener"], float(fields["score"])) == (row.song, row.listener, row.score)
    assert {name: float(fields[name]) for name in SCORE_CHANNELS} == row.haaqi


def test_the_order_of_rows_does_not_change_a_file(tmp_path: Path) -> None:
    rows = [score_of(pair) for pair in PAIRS]
    write_scores(tmp_path / "a.csv", rows)
    write_scores(tmp_path / "b.csv", rows[::-1])
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_file_names_count_batches_from_one() -> None:
    assert [scores_file_name(batch, 3) for batch in range(3)] == ["scores_1-3.csv", "scores_2-3.csv", "scores_3-3.csv"]
    assert scores_file_name(0, 1) == "scores.csv"
    with pytest.raises(InputError, match="no such batch"):
        scores_file_name(3, 3)


def write_batches(folder: Path, n_batches: int) -> list[Path]:
    paths = []
    for batch in range(n_batches):
        pairs = batch_of(PAIRS, batch, n_batches)
        paths.append(folder / scores_file_name(batch, n_batches))
        write_scores(paths[-1], [score_of(pair) for pair in pairs], pairs=pairs)
    return paths


@pytest.mark.parametrize("n_batches", [2, 4, 6, 8])
@pytest.mark.parametrize("pairs", [None, PAIRS])
def test_merged_batches_equal_one_run(tmp_path: Path, n_batches: int, pairs: list[Pair] | None) -> None:
    paths = write_batches(tmp_path, n_batches)
    rows = merge_scores(paths[::-1], pairs=pairs)
    assert rows == [score_of(pair) for pair in PAIRS]


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    paths = write_batches(tmp_path, 3)
    with pytest.raises(InputError, match=r"1 of 3 batches are missing.*no scores_2-3.csv"):
        merge_scores([paths[0], paths[2]])
    paths[1].unlink()
    with pytest.raises(InputError, match=r"1 of 3 batches are missing.*scores_2-3.csv"):
        merge_scores(paths)


def test_missing_repeated_and_foreign_pairs_are_named(tmp_path: Path) -> None:
    first, second = write_batches(tmp_path, 2)
    with pytest.raises(InputError, match=r"1 of 7 scores are missing.*'new' for L1"):
        merge_scores([first, second], pairs=[*PAIRS, Pair("new", "L1")])
    with pytest.raises(InputError, match=r"1 scores were not asked for.*Łona' for L1"):
        merge_scores([first, second], pairs=PAIRS[:-1])
    write_scores(second, [score_of(PAIRS[0])])
    with pytest.raises(InputError, match=r"pair scored twice.*Song, with comma' for L2"):
        merge_scores([first, second])


def test_files_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    first, second = write_batches(tmp_path, 2)
    third = tmp_path / "scores_3-3.csv"
    third.write_bytes(second.read_bytes())
    with pytest.raises(InputError, match=r"results of different runs.*2 batches.*3 batches"):
        merge_scores([first, second, third])
    with pytest.raises(InputError, match="batch given twice"):
        merge_scores([first, second, first])
    with pytest.raises(InputError, match="not a batch's results file"):
        merge_scores([tmp_path / "scores.csv"])
    with pytest.raises(InputError, match="found no files"):
        merge_scores([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [], "wrong header: .* found an empty file"),
        (lambda lines: [lines[0].replace("left_bass", "bass"), *lines[1:]], "wrong header"),
        (lambda lines: [lines[0], lines[1] + ",0.5"], "row 1: wrong number of fields: expected 11, found 12"),
        (lambda lines: [lines[0], lines[1].rsplit(",", 1)[0] + ",nan"], "right_vocals: not a score.*finite"),
        (lambda lines: [lines[0], lines[1].rsplit(",", 1)[0] + ",high"], "right_vocals: not a score.*'high'"),
        (lambda lines: [lines[0], lines[1].rsplit(",", 1)[0] + ",2.0"], "row 1: score is not the mean of its eight"),
        (lambda lines: [*lines, lines[1]], "pair scored twice"),
        (lambda lines: [lines[0], '"open,quote'], "not a results file"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "scores.csv"
    write_scores(path, [score_of(PAIRS[2])])
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(line + "\n" for line in change(lines)), encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        read_scores(path)
    assert str(path) in str(caught.value)


def test_values_that_are_no_scores_are_refused() -> None:
    values = dict.fromkeys(SCORE_CHANNELS, 0.5)
    with pytest.raises(InputError, match="left_bass: not a score: expected a finite number, found nan"):
        PairScore("s", "L", values | {"left_bass": float("nan")})
    with pytest.raises(InputError, match="odd: left_bass"):
        PairScore("s", "L", dict.fromkeys(SCORE_CHANNELS[1:], 0.5))
    with pytest.raises(InputError, match="odd: left_guitar"):
        PairScore("s", "L", values | {"left_guitar": 0.5})


def test_nothing_half_written_stays_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 of 6 scores are missing"):
        write_scores(tmp_path / "scores.csv", [score_of(pair) for pair in PAIRS[1:]], pairs=PAIRS)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_scores(tmp_path / "file" / "scores.csv", [score_of(PAIRS[0])])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_spreadsheets_add_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    write_scores(path, [score_of(PAIRS[0])])
    rows = read_scores(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n")
    assert read_scores(path) == rows
