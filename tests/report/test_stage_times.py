"""Times of stages: measured, noted beside the results by the commands, and told by the report."""

import re
import shutil

import pytest
from tiny_run import make_tiny_run

from cadenza_remix.cli import main
from cadenza_remix.errors import InputError, OutputError
from cadenza_remix.report.page.contents import gather
from cadenza_remix.report.page.time_section import time_section
from cadenza_remix.runs.finished import find_runs
from cadenza_remix.runs.shards.folder import RunFolder, ShardId
from cadenza_remix.runs.shards.journal import open_journal
from cadenza_remix.runs.stage_times import StageTime, TimedProgress, read_stage_times, recorded_times


@pytest.fixture(scope="module")
def folder(song, tmp_path_factory):
    place = tmp_path_factory.mktemp("times")
    make_tiny_run(place, song, duration_s=1.0, listeners=("L5040",))
    return place


def rows_of(text):
    return [re.sub(r"<[^>]*>", " ", row).split() for row in re.findall(r"<tr>(?!<th scope=.col)(.*?)</tr>", text)]


def test_times_of_stages_belong_to_the_step_that_they_end():
    now = iter([0.0, 1.0, 4.0, 4.5, 6.5])
    timed = TimedProgress(clock=lambda: next(now))
    timed.start("demix", 2)
    timed.advance("demix", 1.0)
    timed.advance("enhance")
    timed.advance("enhance")
    assert timed.stages == {"demix": StageTime(1.0, 3.0), "enhance": StageTime(2.0, 2.5)}


def test_times_are_noted_also_after_an_error(tmp_path):
    with recorded_times(tmp_path):
        pass
    assert not list(tmp_path.iterdir())  # nothing done, nothing noted
    with pytest.raises(InputError), recorded_times(tmp_path) as timed:
        timed.start("score", 3)
        timed.advance("score")
        raise InputError("stopped")
    (times,) = read_stage_times(tmp_path)
    assert times.stages["score"].n_units == 1
    assert times.peak_bytes > 20e6
    (tmp_path / "odd.json").write_text("[]")
    assert read_stage_times(tmp_path) == [times]


def test_report_tells_times_of_sessions_and_of_journals(folder, tmp_path):
    shutil.copytree(folder / "baseline" / "records", tmp_path / "baseline" / "records")
    with recorded_times(tmp_path / "baseline" / "stage_times") as timed:
        timed.start("enhance", 2)
        timed.advance("enhance", 2.0)
    shutil.copytree(folder / "e016" / "records", tmp_path / "e016" / "records")
    with open_journal(RunFolder(tmp_path / "e016"), ShardId("pairs", 0), 1, workers=3, n_units=2) as journal:
        for unit, seconds in (("score/L5040/a", 3.0), ("score/L5076/a", 5.0)):
            journal.begin(unit)
            journal.done(unit, seconds)
    text = time_section(gather(find_runs(tmp_path)))
    session, shards = rows_of(text)
    assert session[0] == "baseline"
    assert session[3:5] == ["enhance", "2"]
    assert shards[0] == "e016"
    assert shards[3:7] == ["score", "2", "8.0", "4.00"]
    assert "Not recorded" not in text


def test_nothing_is_noted_where_nothing_came_of_it_or_the_disk_is_full(tmp_path):
    with recorded_times(tmp_path) as timed:
        timed.advance("enhance")
        timed.forget()
    with pytest.raises(OutputError), recorded_times(tmp_path) as timed:
        timed.advance("enhance")
        raise OutputError("disk is full")
    assert not list(tmp_path.iterdir())


def command(*arguments):
    with pytest.raises(SystemExit) as left:
        main([*map(str, arguments)])
    assert not left.value.code


def test_commands_note_their_times_and_the_report_tells_them_of_the_right_table(folder, tmp_path):
    """As a user does it: enhance, score into a table in the same folder, and another table there of another run."""
    mixture, run = next(folder.glob("references/*/mixture.wav")), tmp_path / "run"
    people = ("--listeners", "cad1-sample", "--listener", "L5040")
    command("enhance", mixture.parent, *people, "--out", run, "--separator", "cadenza:mini")
    command("score", run, "--references", folder / "references", *people, "--out", tmp_path / "this.csv")
    command("score", folder / "e016", "--references", folder / "references", *people, "--out", tmp_path / "other.csv",
            "--any-sound")  # fmt: skip
    rows = rows_of(time_section(gather(find_runs(run))))
    assert [(row[0], *row[3:5]) for row in rows] == [("run", "demix", "1"), ("run", "enhance", "1")]
    (scored,) = rows_of(time_section(gather(find_runs(tmp_path / "this.csv"))))
    assert scored[0] == "this"
    assert scored[3:5] == ["score", "1"]
    times = read_stage_times(tmp_path / "this_stage_times")[0].stages["score"]
    assert scored[5] == f"{times.seconds:.1f}"
    command("enhance", mixture.parent, *people, "--out", run, "--separator", "cadenza:mini")  # found done: not noted
    assert len(read_stage_times(run / "stage_times")) == 1
