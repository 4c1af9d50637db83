"""``listen analyse`` as a user meets it: tables within 80 columns, files, one line for what is wrong."""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cadenza_remix.cli.listening import listen
from cadenza_remix.console import exit_status
from cadenza_remix.listen.panel.analysis import MEANS_COLUMNS, PREFERENCE_COLUMNS, REPEATS_COLUMNS, TESTS_COLUMNS
from cadenza_remix.listen.panel.answer_table import RATING_COLUMNS
from cadenza_remix.listen.panel.haaqi_correlation import CORRELATION_COLUMNS
from cadenza_remix.listen.panel.simulated import Simulation, simulate
from cadenza_remix.runs.records import Record

MUSHRA = Simulation(
    {"hidden_reference": 100.0, "baseline": 65.0, "e016": 50.0, "anchor_7000": 45.0, "anchor_3500": 25.0},
    n_participants=8,
    n_songs=4,
    repeats=2,
    careless_share=0.25,
)
PREFERENCE = Simulation({"e016": 0.8, "mixture": 0.5}, type="ab", against="baseline", n_songs=4, tie_share=0.1)
SCALES = Simulation(
    {"baseline": 60.0, "[e016]": 50.0}, type="scales", scales=("clarity", "harshness", "liking"), n_songs=4
)


def call(*arguments):
    return exit_status(lambda: listen(["analyse", *map(str, arguments)], standalone_mode=False))


def made(path, simulation=MUSHRA, seed=1):
    simulate(path, simulation, np.random.default_rng(seed))
    return path


def widest(shown, folder):
    """Return the length of the longest line but for that which tells the path."""
    return max(len(line) for line in shown.splitlines() if str(folder) not in line)


def write_run(folder, simulation, score_of):
    """Write records of scores as ``score`` leaves them."""
    flat = [[250.0, 500.0, 1000.0, 2000.0, 3000.0, 4000.0, 6000.0, 8000.0], [40.0] * 8]
    for number in range(1, simulation.n_participants + 1):
        for song in simulation.songs:
            path = folder / "records" / "score" / simulation.listener(number) / f"{song}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            settings = {"audiograms": {"left": flat, "right": flat}}
            Record(f"score {song}", "0" * 64, settings, {}, {"score": score_of(number, song)}).write(path)


def test_a_mushra_test_gives_tables_figures_and_words(tmp_path, capsys):
    path = made(tmp_path / "my test.sqlite")
    before = path.read_bytes()
    assert call(path, "--against", "baseline") == 0
    shown = capsys.readouterr().out
    assert widest(shown, tmp_path) <= 80
    for words in ("Quality (0 to 100)", "anchor 3.5 kHz", "Differences of systems", "rated above baseline", "p (Holm)"):
        assert words in shown
    assert "participant 7, hidden reference rated below 90" in " ".join(shown.split())
    folder = tmp_path / "my test_analysis"
    assert sorted(entry.name for entry in folder.iterdir()) == [
        *("findings.txt", "means.csv", "means.png", "means.svg", "preference.csv", "preference.png", "preference.svg"),
        *("ratings.csv", "repeats.csv", "tests.csv"),
    ]
    tables = {
        name: pd.read_csv(folder / f"{name}.csv") for name in ("ratings", "means", "tests", "preference", "repeats")
    }
    columns = ((*RATING_COLUMNS, "is_kept"), MEANS_COLUMNS, TESTS_COLUMNS, PREFERENCE_COLUMNS, REPEATS_COLUMNS)
    assert [tuple(table.columns) for table in tables.values()] == list(columns)
    ratings = tables["ratings"]
    assert len(ratings) == 8 * 4 * 2 * 5  # the training trials are not among them
    assert set(ratings.loc[ratings["is_kept"] == 0, "participant"]) == {7, 8}
    assert (folder / "means.png").read_bytes().startswith(b"\x89PNG")
    assert "anchor 3.5 kHz" in (folder / "means.svg").read_text()
    assert "baseline was rated" in (folder / "findings.txt").read_text()
    assert path.read_bytes() == before


def test_an_ab_test_gives_shares_of_preference(tmp_path, capsys):
    assert call(made(tmp_path / "ab.sqlite", PREFERENCE), "--out", tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert widest(shown, tmp_path) <= 80
    assert "Preferred to baseline (%)" in shown
    assert "e016 was preferred to baseline in" in " ".join(shown.split())
    assert not (tmp_path / "out" / "means.csv").exists()
    table = pd.read_csv(tmp_path / "out" / "preference.csv").set_index(["system", "factor", "level"])
    row = table.loc[("e016", "all", "all")]
    assert row["n_for"] + row["n_ties"] + row["n_against"] == 12 * 4


def test_what_an_earlier_analysis_left_does_not_stay_beside_the_new_one(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    assert call(made(tmp_path / "m.sqlite"), "--out", tmp_path / "out") == 0
    assert call(made(tmp_path / "ab.sqlite", PREFERENCE), "--out", tmp_path / "out") == 0
    names = {entry.name for entry in (tmp_path / "out").iterdir()}
    assert names == {"findings.txt", "mine.txt", "preference.csv", "preference.png", "preference.svg", "ratings.csv"}


def test_names_in_brackets_and_many_scales_are_shown(tmp_path, capsys):
    assert call(made(tmp_path / "s.sqlite", SCALES)) == 0
    shown = capsys.readouterr().out
    assert "[e016]" in shown
    for name in ("Clarity (0 to 100)", "Harshness (0 to 100)", "Liking (0 to 100)"):
        assert name in shown
    means = pd.read_csv(tmp_path / "s_analysis" / "means.csv")
    assert set(means["scale"]) == set(SCALES.scales)
    assert set(means["factor"]) == {"all", "song", "severity"}


def test_no_screening_keeps_everybody(tmp_path, capsys):
    path = made(tmp_path / "m.sqlite")
    assert call(path, "--no-screening") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Nobody was excluded: post-screening was switched off." in shown
    assert pd.read_csv(tmp_path / "m_analysis" / "ratings.csv")["is_kept"].eq(1).all()
    assert call(path) == 0
    screened = " ".join(capsys.readouterr().out.split())
    excluded = re.findall(r"Excluded \(ITU-R BS.1534-3\): (participant .*?\))\.", screened)
    assert excluded
    would_be = re.findall(r"would have excluded \(ITU-R BS.1534-3\): (participant .*?\))\.", shown)
    assert would_be == excluded


def test_ratings_are_correlated_with_the_scores_of_runs(tmp_path, capsys):
    rng = np.random.default_rng(2)
    quality = {}

    def effect(system, song, listener):
        return quality.setdefault((system, song, listener), float(rng.uniform(-20, 20)))

    simulation = Simulation({"baseline": 55.0, "e016": 45.0}, type="scales", n_songs=4, song_quality=effect)
    path = made(tmp_path / "t.sqlite", simulation)
    for system, true in simulation.quality.items():
        write_run(
            tmp_path / "runs" / system,
            simulation,
            lambda n, song, system=system, true=true: (true + effect(system, song, simulation.listener(n))) / 100,
        )
    assert call(path, "--run", tmp_path / "runs") == 0
    table = pd.read_csv(tmp_path / "t_analysis" / "correlation.csv")
    assert tuple(table.columns) == CORRELATION_COLUMNS
    whole = table.set_index("level").loc["all"]
    assert whole["n_points"] == 2 * 4 * 12
    assert whole["spearman_low"] > 0.4
    shown = capsys.readouterr().out
    assert widest(shown, tmp_path) <= 80
    assert "HAAQI over all points: Spearman +" in " ".join(shown.split())


def test_a_test_that_is_going_on_counts_what_is_confirmed(tmp_path, capsys):
    """The server's connection is open, with rows that are only in its log, and one participant half-way."""
    path = made(tmp_path / "m.sqlite")
    with closing(sqlite3.connect(path)) as server:
        assert server.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
        server.execute("UPDATE trials SET confirmed = NULL WHERE participant = 1 AND trial > 5")
        server.commit()
        assert path.with_name("m.sqlite-wal").stat().st_size > 0
        server.execute("BEGIN IMMEDIATE")  # in the middle of an answer
        server.execute("UPDATE ratings SET value = 0")
        assert call(path) == 0
        server.rollback()
    ratings = pd.read_csv(tmp_path / "m_analysis" / "ratings.csv")
    assert ratings.groupby("participant")["trial"].nunique().to_dict() == {1: 4, **dict.fromkeys(range(2, 9), 8)}
    assert "4 trials are not answered yet" in " ".join(capsys.readouterr().out.split())
    assert ratings["value"].mean() > 30


def test_a_copy_in_a_folder_that_cannot_be_written_is_read(tmp_path):
    folder = tmp_path / "copies"
    folder.mkdir()
    path = folder / "copy.sqlite"
    shutil.copy(made(tmp_path / "m.sqlite"), path)
    path.chmod(0o400)
    folder.chmod(0o500)
    try:
        assert call(path, "--out", tmp_path / "out") == 0
    finally:
        folder.chmod(0o700)
    assert (tmp_path / "out" / "means.csv").is_file()


def change(path, *statements):
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)


BAD = {
    "missing": (lambda path: path.unlink(), "not found"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "not a file"),
    "other bytes": (lambda path: path.write_bytes(b"no database" * 100), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "not the database of a listening test"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:9000]), "cannot be read"),
    "another database": (
        lambda path: change(path, "DROP TABLE ratings", "CREATE TABLE birds (name TEXT)"),
        "not the database of a listening test: expected a table 'ratings'",
    ),
    "another version": (lambda path: change(path, "PRAGMA user_version = 99"), "another version: expected 1, found 99"),
    "nothing confirmed": (lambda path: change(path, "UPDATE trials SET confirmed = NULL"), "no confirmed answers"),
    "only training": (lambda path: change(path, "UPDATE trials SET is_training = 1"), "no confirmed answers"),
    "no rating": (lambda path: change(path, "DELETE FROM ratings"), "no confirmed answers"),
    "no settings": (lambda path: change(path, "UPDATE test SET settings = '{'"), "test.settings is damaged"),
    "unknown type": (
        lambda path: change(path, """UPDATE test SET settings = '{"type": "x"}'"""),
        "unknown type of test",
    ),
    "labels": (lambda path: change(path, "UPDATE trials SET labels = '[]'"), "trials.labels is damaged"),
    "a rating": (lambda path: change(path, "UPDATE ratings SET value = 101"), "is damaged"),
    "a text": (lambda path: change(path, "UPDATE ratings SET value = 'many'"), "is damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys, name):
    path = made(tmp_path / "t.sqlite")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    damage, expected = BAD[name]
    damage(path)
    assert call(path) == 2
    shown = capsys.readouterr()
    line = " ".join(shown.err.split())
    assert expected in line
    assert "t.sqlite" in line
    assert not shown.out
    assert not (tmp_path / "t_analysis").exists()


def test_other_mistakes_are_one_line_too(tmp_path, capsys):
    path = made(tmp_path / "m.sqlite")
    careless = made(tmp_path / "c.sqlite", Simulation(MUSHRA.quality, n_participants=3, n_songs=4, careless_share=1.0))
    (tmp_path / "file").write_text("")
    for arguments, expected in (
        ((path, "--against", "basline"), "unknown system 'basline': expected one of baseline, e016 (did you mean"),
        ((path, "--against", "hidden_reference"), "unknown system 'hidden_reference'"),
        ((path, "--run", tmp_path / "nowhere"), "not found"),
        ((path, "--out", tmp_path / "file"), "cannot be written"),
        ((careless,), "post-screening leaves no assessor"),
    ):
        assert call(*arguments) == 2
        shown = capsys.readouterr()
        assert expected in " ".join(shown.err.split())
        assert not shown.out
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.is_dir()) == []


def test_runs_of_which_two_have_one_name_are_told_apart(tmp_path):
    """As a test over two folders calls them: ``first/baseline`` and ``second/baseline``."""
    quality = {"first/baseline": 60.0, "second/baseline": 40.0}
    simulation = Simulation(quality, type="scales", n_participants=8, n_songs=2, noise_sd=1.0, taste_sd=0.0)
    path = made(tmp_path / "t.sqlite", simulation)
    for name, true in quality.items():
        write_run(tmp_path / name, simulation, lambda number, song, true=true: true / 100 + number / 1000)
        write_run(tmp_path / name.replace("baseline", "other"), simulation, lambda number, song: 0.5)
    for folders, n_points in (
        (("first", "second"), 32),
        (("second",), 16),
        (("first/other",), 0),
        (("first/baseline", "second/baseline"), 32),
    ):
        runs = [argument for folder in folders for argument in ("--run", tmp_path / folder)]
        assert call(path, *runs) == 0
        whole = pd.read_csv(tmp_path / "t_analysis" / "correlation.csv").set_index("level").loc["all"]
        assert whole["n_points"] == n_points
    assert call(path, "--run", tmp_path / "first" / "other") == 0
    words = (tmp_path / "t_analysis" / "findings.txt").read_text()
    assert "no system has a score for a song and listener that were rated" in words


def answer_all(path, value):
    """Give all ratings of a test the value that ``value`` makes of stimulus and participant."""
    with closing(sqlite3.connect(path)) as database, database:
        labels = dict(database.execute("SELECT participant || '/' || trial, labels FROM trials"))
        rows = database.execute("SELECT participant, trial, label, scale FROM ratings").fetchall()
        for participant, trial, label, scale in rows:
            stimulus = json.loads(labels[f"{participant}/{trial}"])[label]
            where = (value(stimulus, participant), participant, trial, label, scale)
            database.execute(
                "UPDATE ratings SET value=? WHERE participant=? AND trial=? AND label=? AND scale=?", where
            )


@pytest.mark.parametrize(("value", "words"), [
    (lambda stimulus, _: 50.0, "cannot be told apart: Quality (+0.0 points, 95 % interval not known)"),
    (lambda stimulus, _: 60.0 if stimulus == "baseline" else 50.0,
     "baseline was rated 10.0 points higher than e016 (95 % interval not known), p = 0.008"),
])  # fmt: skip
def test_answers_that_are_all_the_same_have_no_interval(tmp_path, capsys, value, words):
    path = made(tmp_path / "m.sqlite")
    answer_all(path, value)
    assert call(path, "--no-screening", "--against", "e016") == 0
    assert words in " ".join(capsys.readouterr().out.split())
    tests = pd.read_csv(tmp_path / "m_analysis" / "tests.csv")
    assert tests[["low", "high"]].isna().all(axis=None)


def test_ties_alone_have_no_interval(tmp_path, capsys):
    path = made(tmp_path / "ab.sqlite", PREFERENCE)
    answer_all(path, lambda stimulus, _: 0.5)
    assert call(path) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "e016 was preferred to baseline in 50 % (95 % interval not known, 48 ties as half), p = 1.000" in shown


def test_a_test_of_one_answer(tmp_path, capsys):
    """One participant, one song, one page, one rating for each: tables, and what cannot be said."""
    for number, simulation in enumerate((MUSHRA, PREFERENCE, SCALES)):
        one = replace(simulation, n_participants=1, n_songs=1, repeats=1, careless_share=0.0, tie_share=0.0)
        assert call(made(tmp_path / f"{number}.sqlite", one), "--no-screening") == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "Only one assessor: nothing can be said of other assessors." in shown
        assert "nan" not in shown
