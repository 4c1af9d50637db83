"""What a run has come to: order of the records, what is missing and why, whether another round may help."""

import csv

import pytest

from cadenza_remix.challenge.pairs import make_pairs
from cadenza_remix.runs.records import Record
from cadenza_remix.runs.shards.collecting import collect, write_missing
from cadenza_remix.runs.shards.folder import RunFolder
from cadenza_remix.runs.shards.journal import open_journal
from cadenza_remix.runs.shards.plan import PlannedSong, make_plan

SONGS = {"z": PlannedSong(10, 10), "a": PlannedSong(20, 20)}
PAIRS = make_pairs(SONGS, ["L2", "L1"])


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path)
    return folder, make_plan(SONGS, PAIRS, n_demix_shards=2, n_pairs_shards=3)


def write(run, ends, *, round_number=1):
    """Write a journal for each shard; units end as named, done by default, and scored ones have a record."""
    folder, plan = run
    for shard in plan.all_shards:
        with open_journal(folder, shard.id, round_number, workers=1, n_units=len(shard.units)) as journal:
            for unit in shard.units:
                end = ends.get(unit.name, "done")
                if end == "left":
                    continue
                if end == "done":
                    journal.begin(unit.name)
                    journal.done(unit.name, 1.0)
                    if unit.kind == "score":
                        record = Record(unit.name, "key", {}, {}, {"song": unit.song, "listener": unit.listener})
                        record.write(folder.score_records / unit.listener / f"{unit.song}.json")
                elif end == "blocked":
                    journal.blocked(unit.name, "no stems")
                else:
                    for attempt in range(1, 4):
                        journal.failed(unit.name, "damaged\nfile is cut off", "input", attempt)
                    journal.aside(unit.name, "damaged\nfile is cut off")
            journal.close("complete", 0)


def test_records_come_in_the_order_of_the_challenge(run):
    write(run, {})
    collection = collect(*run)
    assert [(r.results["song"], r.results["listener"]) for r in collection.records] == PAIRS
    assert (collection.missing, collection.n_pairs, collection.open) == ((), 4, ())


def test_a_song_that_was_given_up_is_told_and_not_tried_again(run):
    blocked = [f"{kind}/{one}/a" for kind in ("enhance", "score") for one in ("L1", "L2")]
    write(run, {"demix/a": "aside", **dict.fromkeys(blocked, "blocked")})
    collection = collect(*run)
    assert [entry.unit.name for entry in collection.missing] == [
        "demix/a", "enhance/L2/a", "score/L2/a", "enhance/L1/a", "score/L1/a"
    ]  # fmt: skip
    assert collection.missing[0].reason == "file is cut off"
    assert len(collection.records) == 2
    assert collection.open == ()
    write_missing(collection, run[0])
    with run[0].missing.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"unit": "demix/a", "state": "aside", "attempts": "3", "reason": "file is cut off"}
    write(run, {}, round_number=2)
    write_missing(collect(*run), run[0])
    assert not run[0].missing.exists()


def test_what_nobody_gave_up_may_succeed(run):
    write(run, {"score/L1/z": "left", "enhance/L2/a": "aside", "score/L2/a": "blocked"})
    collection = collect(*run)
    assert [entry.unit.name for entry in collection.open] == ["score/L1/z"]
    assert {entry.unit.name: entry.state for entry in collection.missing} == {
        "score/L1/z": "left", "enhance/L2/a": "aside", "score/L2/a": "blocked"
    }  # fmt: skip


def test_a_record_that_is_gone_is_missing(run):
    write(run, {})
    (run[0].score_records / "L1" / "z.json").unlink()
    (missing,) = collect(*run).missing
    assert (missing.unit.name, missing.reason) == ("score/L1/z", "its record is gone, or damaged")


def test_nothing_done_everything_missing(run):
    collection = collect(*run)
    assert len(collection.missing) == 2 + 2 * 4
    assert collection.open == collection.missing
    assert {entry.reason for entry in collection.missing} == {"nobody has worked on it"}
