"""Several participants at once, and the labels that organisers give them."""

import csv
import io
import json
import sqlite3
from contextlib import closing

import pytest
from open_panel import EAR, open_panel, rating, write_test

from cadenza_remix.errors import InputError
from cadenza_remix.listen.panel.additions import Addition, addition_from, labels_from
from cadenza_remix.listen.panel.answer_table import read_answers
from cadenza_remix.listen.panel.config import ParticipantChoice
from cadenza_remix.listen.panel.design import plan_trials
from cadenza_remix.listen.panel.new_rows import ConflictError
from cadenza_remix.listen.panel.planning import TestPlanner
from cadenza_remix.listen.panel.roster import Roster

BEFORE_LABELS = (
    "CREATE TABLE test(id INTEGER PRIMARY KEY CHECK(id=1), settings TEXT NOT NULL, admin_token_hash TEXT,"
    " created TEXT NOT NULL, last_number INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE participants(number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, listener TEXT NOT NULL,"
    " audiogram TEXT NOT NULL, severity TEXT NOT NULL, state TEXT NOT NULL, volume REAL)",
    "CREATE TABLE trials(participant INTEGER NOT NULL REFERENCES participants(number) ON DELETE CASCADE,"
    " trial INTEGER NOT NULL, is_training INTEGER NOT NULL, song TEXT NOT NULL, start_s REAL NOT NULL,"
    " duration_s REAL NOT NULL, labels TEXT NOT NULL, confirmed TEXT, seconds REAL, n_plays TEXT,"
    " PRIMARY KEY(participant, trial))",
    "CREATE TABLE ratings(participant INTEGER NOT NULL, trial INTEGER NOT NULL, label TEXT NOT NULL,"
    " scale TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY(participant, trial, label, scale),"
    " FOREIGN KEY(participant, trial) REFERENCES trials(participant, trial) ON DELETE CASCADE)",
    "CREATE TABLE question_answers(participant INTEGER NOT NULL REFERENCES participants(number)"
    " ON DELETE CASCADE, question TEXT NOT NULL, value NOT NULL, PRIMARY KEY(participant, question))",
    f"PRAGMA application_id={0x43445A50}",
    "PRAGMA user_version=1",
)
"""The file as programs made it that knew no labels."""
TABLES = ("test", "participants", "trials", "ratings", "question_answers")


@pytest.fixture
def served(tmp_path, panel_run):
    with open_panel(tmp_path, write_test(tmp_path, panel_run)) as served:
        served.log_in()
        yield served


def add(served, **body):
    return served.client.post("/api/admin/participants", json={"listener": "N3", **body})


def answer_all(served, number):
    served.enter(number)
    while (state := served.get(number).json()["state"]) != "done":
        if state in ("ready", "break"):
            served.post(number, "continue")
            continue
        page = served.get(number, "/trial").json()
        body = {"ratings": rating(page), "seconds": 1, "n_plays": {}}
        assert served.post(number, f"trials/{page['trial']}", body).status_code == 200


def test_labels_are_counted_up():
    assert labels_from(1, " P07 ") == ("P07",)
    assert labels_from(1, "Ann's cousin") == ("Ann's cousin",)
    assert labels_from(3, "P08") == ("P08", "P09", "P10")
    assert labels_from(2, "7 of 99") == ("7 of 99", "7 of 100")
    assert labels_from(2, "9") == ("9", "10")
    for nothing in (None, "", "  "):
        assert labels_from(2, nothing) == (None, None)
    assert labels_from(1, "ä" * 40) == ("ä" * 40,)
    assert labels_from(100, "A" * 37 + "001")[-1] == "A" * 37 + "100"


@pytest.mark.parametrize(
    ("count", "label", "line"),
    [
        (0, None, "count: wrong value: expected a whole number from 1 to 100, found 0"),
        (101, None, "count: wrong value"),
        (True, None, "count: wrong value"),
        (2.0, None, "count: wrong value"),
        ("5", None, "count: wrong value"),
        (None, None, "count: wrong value"),
        (1, 7, "label: wrong value: expected text (a number or date in quotes), found 7"),
        (1, "x" * 41, "label: too long: expected at most 40 characters, found 41"),
        (2, "x" * 39 + "9", "label: too long: expected at most 40 characters, found 41"),
        (2, "9" * 5000, "label: too long: expected at most 40 characters, found 5000"),
        (1, "a\nb", "label: wrong value: expected printable characters, found 'a\\nb'"),
        (1, "a\x00b", "label: wrong value"),
        (1, "\ud800", "label: wrong value"),
        (1, "a\u202eb", "label: wrong value"),
        (2, "P", "label: cannot be counted up: expected digits at its end, as P01, found 'P'"),
        (2, "P٣", "label: cannot be counted up"),
    ],
)
def test_what_cannot_be_is_one_line(count, label, line):
    with pytest.raises(InputError) as caught:
        labels_from(count, label)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_an_addition_has_one_hearing():
    assert addition_from({"listener": "N3"}) == Addition(ParticipantChoice(listener="N3"), (None,))
    for body in ({"count": 2}, {"listener": "N3", "labels": ["a"]}, {"listener": "N3", "audiogram": {}}):
        with pytest.raises(InputError):
            addition_from(body)


def test_several_at_once(served):
    reply = add(served, count=4, label="P09")
    assert reply.status_code == 201
    people = reply.json()["participants"]
    assert [(one["number"], one["label"], one["listener"]) for one in people] == [
        (3, "P09", "N3"), (4, "P10", "N3"), (5, "P11", "N3"), (6, "P12", "N3"),
    ]  # fmt: skip
    assert len({one["link"] for one in people}) == 4
    listed = served.client.get("/api/admin/participants").json()
    assert [one["label"] for one in listed] == [None, None, "P09", "P10", "P11", "P12"]
    planner = served.panel.roster.planner
    for number in range(3, 7):
        assert served.panel.store.trials(number) == list(plan_trials(planner.settings, number, planner.passages))
    assert served.links.listeners[1] == "L5040, moderate"
    assert served.panel.links("http://a").listeners[3] == "P09, N3, moderate"
    body = {"audiogram": {"left": EAR, "right": EAR}, "count": 2}
    people = served.client.post("/api/admin/participants", json=body).json()["participants"]
    assert [(one["number"], one["listener"]) for one in people] == [
        (7, "own audiogram"), (8, "own audiogram"),
    ]  # fmt: skip


def test_all_or_none(served, monkeypatch):
    for body in ({"count": 3, "label": "P"}, {"count": 0}, {"count": 101}, {"count": 2, "listener": "L1"}):
        reply = add(served, **body)
        assert reply.status_code == 422, body
        assert "\n" not in reply.json()["error"]
    monkeypatch.setattr(TestPlanner, "most_participants", 4)
    reply = add(served, count=3, label="P1")
    assert (reply.status_code, reply.json()) == (409, {"error": "too many participants: at most 4"})
    # In the middle of writing them: the last one's pages cannot be stored.
    store = served.panel.store
    store._connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON trials WHEN NEW.participant=4 BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    assert add(served, count=2, label="P1").status_code == 503
    assert [person.number for person in store.participants()] == [1, 2]
    assert store._rows("SELECT * FROM participant_labels") == []
    assert store.next_number() == 3
    store._connection.execute("DROP TRIGGER full")
    assert [one["number"] for one in add(served, count=2).json()["participants"]] == [3, 4]


def test_a_number_that_another_program_took_is_not_given_twice(served, monkeypatch):
    roster, numbered = served.panel.roster, type(served.panel.store).next_number
    late = []

    def next_number(store):
        number = numbered(store)
        if not late:
            late.append(number)
            planned = roster.planner.plan(number, roster.planner.listener(ParticipantChoice(listener="N4")))
            store.add_participants([planned])
        return number

    monkeypatch.setattr(type(served.panel.store), "next_number", next_number)
    people = roster.add(Addition(ParticipantChoice(listener="N3"), ("P1", "P2")))
    assert [(one.number, one.label) for one in people] == [(4, "P1"), (5, "P2")]
    monkeypatch.setattr(type(served.panel.store), "next_number", lambda store: 1)
    with pytest.raises(ConflictError, match="number 1 was given already"):
        roster.add(Addition(ParticipantChoice(listener="N3")))


def test_participants_never_see_their_label(served):
    (person,) = add(served, label="SECRET7").json()["participants"]
    number = person["number"]
    seen = [served.client.get(person["link"]).text, served.get(number).text]
    served.enter(number)
    page = served.get(number, "/trial")
    body = {"ratings": rating(page.json()), "seconds": 1, "n_plays": {}}
    seen += [page.text, served.get(number).text, served.post(number, "trials/1", body).text, served.get(number).text]
    assert not any("SECRET7" in text for text in seen)
    assert served.client.get(f"/api/admin/participants/{number}/export").json()["label"] == "SECRET7"


def test_labels_in_csv_are_no_formulas_and_other_columns_stay_where_they_were(served):
    add(served, label="=1+1")
    add(served, label="P08")
    for number in (1, 3, 4):
        answer_all(served, number)
    reply = served.client.get("/api/admin/answers.csv")
    assert reply.text.splitlines()[0] == (
        "participant,listener,severity,trial,is_training,song,start_s,duration_s,label,stimulus,scale,value,seconds,"
        "confirmed,participant_label"
    )
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert {(row["participant"], row["participant_label"]) for row in rows} == {("1", ""), ("3", "'=1+1"), ("4", "P08")}
    assert {row["label"] for row in rows} == set("ABCDEF")  # of the stimuli, as ever
    assert served.panel.store.participant(3).label == "=1+1"


def test_a_label_goes_with_its_participant(served, tmp_path):
    (person,) = add(served, label="Sesame-Street-7").json()["participants"]
    assert any(b"Sesame-Street-7" in path.read_bytes() for path in tmp_path.glob("test.sqlite*"))
    assert served.client.delete(f"/api/admin/participants/{person['number']}").status_code == 200
    for path in tmp_path.glob("test.sqlite*"):
        assert b"Sesame-Street-7" not in path.read_bytes()
    assert served.panel.store._rows("SELECT * FROM participant_labels") == []


@pytest.fixture
def file_before_labels(tmp_path, panel_run):
    """A test of two, of whom the first has answered all, in a file that has no place for labels."""
    with open_panel(tmp_path, write_test(tmp_path, panel_run)) as served:
        answer_all(served, 1)
    new, old = tmp_path / "test.sqlite", tmp_path / "old.sqlite"
    with closing(sqlite3.connect(new)) as source, closing(sqlite3.connect(old)) as target, target:
        for statement in BEFORE_LABELS:
            target.execute(statement)
        for table in TABLES:
            for row in source.execute(f"SELECT * FROM {table}"):
                target.execute(f"INSERT INTO {table} VALUES({', '.join('?' * len(row))})", row)
    for path in tmp_path.glob("test.sqlite*"):
        path.unlink()
    old.rename(new)
    return new


def rows_of(path):
    with closing(sqlite3.connect(path)) as db:
        return {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


def test_files_made_before_there_were_labels_go_on(tmp_path, file_before_labels):
    before, rated = rows_of(file_before_labels), read_answers(file_before_labels).ratings
    with open_panel(tmp_path, tmp_path / "test.yaml") as served:
        assert served.panel.store.change is None
        assert [person.label for person in served.panel.store.participants()] == [None, None]
        assert rows_of(file_before_labels) == before
        added = served.panel.roster.add(Addition(ParticipantChoice(listener="N3"), ("P1", "P2")))
        answer_all(served, 4)
        assert json.loads(json.dumps(served.panel.store.export(4)))["label"] == "P2"
        assert [one["label"] for one in served.panel.participants()] == [None, None, "P1", "P2"]
        assert added[0].n_trials == 3
    again = read_answers(file_before_labels)
    assert again.ratings[again.ratings["participant"] == 1].equals(rated)
    assert sorted(again.ratings["participant"].unique()) == [1, 4]
    # What programs that know no labels do with such a file.
    with closing(sqlite3.connect(file_before_labels)) as db, db:
        db.execute("PRAGMA foreign_keys=ON")
        db.execute("INSERT INTO participants VALUES(9, 'token', 'N3', '{}', 'mild', 'welcome', NULL)")
        db.execute("DELETE FROM participants WHERE number=4")
        assert db.execute("SELECT * FROM participant_labels").fetchall() == [(3, "P1")]


def test_such_a_file_without_answers_takes_changed_settings(tmp_path, panel_run, file_before_labels):
    with closing(sqlite3.connect(file_before_labels)) as db, db:
        db.execute("DROP TABLE question_answers")  # before there were questions
        db.execute("DELETE FROM ratings")
        db.execute("UPDATE trials SET confirmed=NULL")
    with open_panel(tmp_path, write_test(tmp_path, panel_run, seed=9)) as served:
        assert served.panel.store.change.keys == ("seed",)


def test_a_second_program_adds_beside_the_server(served, tmp_path, panel_run):
    test = tmp_path / "test.yaml"
    beside = Roster.open(test, is_server=False)
    try:
        (person,) = beside.add(Addition(ParticipantChoice(listener="N3"), ("P1",)))
        (other,) = served.panel.roster.add(Addition(ParticipantChoice(listener="N3"), ("P2",)))
        assert (person.number, other.number) == (3, 4)
        assert served.client.get(f"/t/{person.token}").status_code == 200
        assert [one["label"] for one in served.panel.participants()] == [None, None, "P1", "P2"]
        answer_all(served, 3)
    finally:
        beside.close()
    with pytest.raises(InputError, match="another server holds this test"):  # still the first one's
        Roster.open(test)
    write_test(tmp_path, panel_run, seed=9)
    with pytest.raises(InputError, match="seed differs"):
        Roster.open(test, is_server=False)
    write_test(tmp_path, panel_run)
    with served.panel.store._transaction() as db:
        db.execute("UPDATE test SET admin_token_hash=NULL")
    with pytest.raises(InputError, match="a server is just setting up this test"):
        Roster.open(test, is_server=False)


def test_nobody_is_added_under_settings_that_changed_meanwhile(tmp_path, panel_run):
    """The server that held the file has ended, and another one has taken changed settings over."""
    test = write_test(tmp_path, panel_run)
    with open_panel(tmp_path, test):
        beside = Roster.open(test, is_server=False)
    try:
        with open_panel(tmp_path, write_test(tmp_path, panel_run, seed=9)) as again:
            assert again.panel.store.change.keys == ("seed",)
            with pytest.raises(InputError, match="seed differs"):
                beside.add(Addition(ParticipantChoice(listener="N3")))
            assert len(again.panel.participants()) == 2
    finally:
        beside.close()


def test_settings_are_not_taken_over_beside_a_server(served, tmp_path, panel_run):
    write_test(tmp_path, panel_run, seed=9)
    before = rows_of(tmp_path / "test.sqlite")
    with pytest.raises(InputError, match="seed differs"):
        Roster.open(tmp_path / "test.yaml", is_server=False)
    assert rows_of(tmp_path / "test.sqlite") == before
