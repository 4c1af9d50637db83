"""Answers on the disk: what was confirmed is there, what was deleted is not, nothing else is taken for such a file."""

import json
import random
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from cadenza_remix.errors import InputError, OutputError
from cadenza_remix.listen.panel.new_rows import ConflictError
from cadenza_remix.listen.panel.records import PlannedTrial
from cadenza_remix.listen.panel.store import NotThereError, PanelStore, StoreError

SETTINGS = {"title": "T", "seed": 1, "loudness_lufs": -23.0, "folder": "/a"}
EAR = {"frequencies_hz": [250.0, 4000.0], "levels_db_hl": [10.0, 60.0]}
WRITER = """
import sys
from cadenza_remix.listen.panel.store import PanelStore
store = PanelStore(sys.argv[1], {"title": "T", "seed": 1, "loudness_lufs": -23.0, "folder": "/a"})
while (trial := store.open_trial(1)) is not None:
    values = {label: {"quality": float(trial.trial % 101)} for label in trial.labels}
    store.confirm(1, trial.trial, values, seconds=1.0, n_plays={"A": 1}, break_every=0)
    print(trial.trial, flush=True)
"""


def plan(n_trials, n_training=0):
    labels = {"A": "baseline", "B": "mixture"}
    return [PlannedTrial(number, number <= n_training, "song", 0.0, 5.0, labels) for number in range(1, n_trials + 1)]


def add(store, *, n_trials=4, n_training=0, state="trial"):
    person = store.add_participant(
        store.next_number(), listener="L1", audiogram={"left": EAR, "right": EAR}, severity="mild",
        trials=plan(n_trials, n_training),
    )  # fmt: skip
    if state != "welcome":
        store.move(person.number, before="welcome", after=state)
    return person


def answer(value=50.0):
    return {"A": {"quality": value}, "B": {"quality": 10.0}}


def confirm(store, number, trial, value=50.0, break_every=0):
    return store.confirm(
        number, trial, answer(value), seconds=2.5, n_plays={"A": 3, "B": 1}, break_every=break_every
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    store = PanelStore(tmp_path / "t.sqlite", SETTINGS)
    yield store
    store.close()


def test_tables_are_those_that_are_documented(store, tmp_path):
    db = sqlite3.connect(tmp_path / "t.sqlite")
    columns = {
        name: [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")
    }
    assert columns == {
        "test": ["id", "settings", "admin_token_hash", "created", "last_number"],
        "participants": ["number", "token", "listener", "audiogram", "severity", "state", "volume"],
        "trials": ["participant", "trial", "is_training", "song", "start_s", "duration_s", "labels", "confirmed",
                   "seconds", "n_plays"],
        "ratings": ["participant", "trial", "label", "scale", "value"],
        "question_answers": ["participant", "question", "value"],
        "participant_labels": ["participant", "label"],
    }  # fmt: skip
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert json.loads(db.execute("SELECT settings FROM test").fetchone()[0]) == SETTINGS
    db.close()


def test_an_answer_is_on_the_disk_before_it_is_acknowledged(store):
    # What a kill cannot show: without FULL a power cut takes the last answers.
    assert store._connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_its_owner_alone_can_read_it(store):
    assert store.path.stat().st_mode & 0o077 == 0


def test_tokens_cannot_be_guessed(store):
    tokens = {add(store).token for _ in range(5)}
    assert len(tokens) == 5
    assert all(len(token) == 32 for token in tokens)  # 24 bytes


def test_answers_are_there_after_reopening(store, tmp_path):
    person = add(store, n_trials=2)
    assert confirm(store, 1, 1).state == "trial"
    store.close()
    again = PanelStore(tmp_path / "t.sqlite", SETTINGS)
    assert again.participant_of(person.token).n_done == 1
    assert again.open_trial(1).trial == 2
    assert confirm(again, 1, 2, 80.0).state == "done"
    assert [row["value"] for row in again.answers()] == [50.0, 10.0, 80.0, 10.0]
    assert {(row["label"], row["stimulus"]) for row in again.answers()} == {("A", "baseline"), ("B", "mixture")}
    again.close()


def test_the_same_answer_again_is_fine_and_another_is_not(store):
    add(store)
    confirm(store, 1, 1)
    assert confirm(store, 1, 1).n_done == 1
    with pytest.raises(ConflictError, match="trial 1 has another answer already"):
        confirm(store, 1, 1, 51.0)
    assert len(store.answers()) == 2


def test_only_the_trial_at_hand_can_be_answered(store):
    add(store)
    with pytest.raises(ConflictError, match="trial 3 is not at hand: expected trial 1"):
        confirm(store, 1, 3)
    with pytest.raises(NotThereError):
        confirm(store, 1, 9)
    with pytest.raises(NotThereError):
        confirm(store, 2, 1)
    add(store, state="level")
    with pytest.raises(ConflictError, match="not the time"):
        confirm(store, 2, 1)
    assert store.answers() == []


def test_states_go_their_way(store):
    add(store, n_trials=5, n_training=1, state="training")
    assert confirm(store, 1, 1, break_every=2).state == "ready"
    with pytest.raises(ConflictError, match="expected state trial"):
        confirm(store, 1, 2, break_every=2)
    store.move(1, before="ready", after="trial")
    assert confirm(store, 1, 2, break_every=2).state == "trial"
    assert confirm(store, 1, 3, break_every=2).state == "break"
    assert confirm(store, 1, 3, break_every=2).state == "break"  # the same again changes nothing
    with pytest.raises(ConflictError):
        store.move(1, before="trial", after="trial")
    store.move(1, before="break", after="trial", volume=0.25)
    assert confirm(store, 1, 4, break_every=2).state == "trial"
    # The last answer ends the test, though a break would be due.
    assert confirm(store, 1, 5, break_every=2).state == "done"
    assert store.participant(1).volume == 0.25


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_server_loses_no_confirmed_answer(tmp_path, seed):
    path = tmp_path / "t.sqlite"
    store = PanelStore(path, SETTINGS)
    add(store, n_trials=400)
    store.close()
    rng, acknowledged = random.Random(seed), 0
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(rng.randint(5, 60)):
            acknowledged = int(writer.stdout.readline())
        # A moment more, so that the kill falls anywhere in a transaction.
        threading.Event().wait(rng.random() * 0.01)
        writer.kill()
        whole_lines = writer.stdout.read().split("\n")[:-1]
        acknowledged = int(whole_lines[-1]) if whole_lines else acknowledged
        writer.wait()
        writer.stdout.close()
    store = PanelStore(path, SETTINGS)
    done = {row["trial"]: row["value"] for row in store.answers() if row["label"] == "A"}
    assert acknowledged > 5
    assert set(range(1, acknowledged + 1)) <= set(done)
    assert len(done) <= acknowledged + 1  # one may be on the disk whose acknowledgement was not heard
    assert all(value == trial % 101 for trial, value in done.items())
    assert store.participant(1).n_done == len(done) == len(store.answers()) / 2
    store.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()


def test_two_threads_at_once(store):
    for _ in range(2):
        add(store, n_trials=40)
    errors = []

    def rate(number):
        try:
            for trial in range(1, 41):
                confirm(store, number, trial)
        except Exception as error:  # told to the test
            errors.append(error)

    threads = [threading.Thread(target=rate, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert [person.state for person in store.participants()] == ["done", "done"]
    assert len(store.answers()) == 160


def test_two_who_confirm_one_trial_get_one_answer(store):
    add(store, n_trials=1)
    results = []

    def rate(value):
        try:
            results.append(confirm(store, 1, 1, value).state)
        except ConflictError:
            results.append("conflict")

    threads = [threading.Thread(target=rate, args=(float(value),)) for value in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == ["conflict"] * 7 + ["done"]
    assert len(store.answers()) == 2


def test_deleting_removes_rows_and_bytes(store, tmp_path):
    first, second = add(store), add(store)
    confirm(store, 1, 1)
    assert first.token.encode() in (tmp_path / "t.sqlite-wal").read_bytes()
    store.delete(1)
    for path in tmp_path.iterdir():
        assert first.token.encode() not in path.read_bytes(), path
    assert second.token.encode() in (tmp_path / "t.sqlite").read_bytes()
    assert store.answers() == []
    assert store.trials(1) == []
    assert len(store.trials(2)) == 4
    with pytest.raises(NotThereError):
        store.participant_of(first.token)
    with pytest.raises(NotThereError):
        store.delete(1)


def test_export_is_all_of_one(store):
    person = add(store)
    add(store)
    confirm(store, 1, 1)
    known = store.export(1)
    assert (known["number"], known["token"], known["listener"]) == (1, person.token, "L1")
    assert known["audiogram"]["left"] == EAR
    assert len(known["trials"]) == 4
    assert known["trials"][0]["ratings"] == answer()
    assert known["trials"][0]["n_plays"] == {"A": 3, "B": 1}
    assert known["trials"][0]["confirmed"].endswith("+00:00")
    assert known["trials"][1]["ratings"] == {}
    json.dumps(known, allow_nan=False)


def add_as(store, number):
    return store.add_participant(number, listener="x", audiogram={}, severity="mild", trials=[])


def test_a_number_is_given_once(store, tmp_path):
    """Exports and notes speak of people by number: nobody is called what somebody was called who is deleted."""
    assert [add(store).number for _ in range(3)] == [1, 2, 3]
    store.delete(3)
    assert store.next_number() == 4
    for number in (1, 3):
        with pytest.raises(ConflictError, match=f"number {number} was given already"):
            add_as(store, number)
    store.delete(1)
    store.delete(2)
    store.close()
    again = PanelStore(tmp_path / "t.sqlite", SETTINGS)
    assert again.participants() == []
    assert add(again).number == 4
    again.close()


def test_of_two_who_want_one_number_the_second_gets_none(store):
    """Also when the first is deleted between the question for the next number and its use."""
    number = store.next_number()
    add_as(store, number)
    store.delete(number)
    with pytest.raises(ConflictError):
        add_as(store, number)


FIRST_THREE = {**SETTINGS, "participants": [{"listener": "L1"}] * 3}


def as_before(path, *, deleted=(), is_set_up=True):
    """Make a file as programs made it that forgot the numbers of the deleted."""
    store = PanelStore(path, FIRST_THREE)
    for _ in FIRST_THREE["participants"]:
        add(store)
    for number in deleted:
        store.delete(number)
    if is_set_up:
        store.set_admin_token_hash("abc")
    store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE test DROP COLUMN last_number")
        assert [row[1] for row in db.execute("PRAGMA table_info(test)")] == [
            "id", "settings", "admin_token_hash", "created",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("deleted", "is_set_up", "expected"),
    [((), True, 4), ((3,), True, 4), ((1, 2, 3), True, 4), ((1,), True, 4), ((3,), False, 3), ((2, 3), False, 2)],
)
def test_files_of_earlier_programs_go_on(tmp_path, deleted, is_set_up, expected):
    """Nobody could be deleted before an administrator was there: who is missing then was not made yet."""
    path = tmp_path / "t.sqlite"
    as_before(path, deleted=deleted, is_set_up=is_set_up)
    for _ in range(2):
        store = PanelStore(path, FIRST_THREE)
        assert {person.number for person in store.participants()} == {1, 2, 3} - set(deleted)
        assert store.next_number() == expected
        store.close()
    store = PanelStore(path, FIRST_THREE)
    assert add(store).number == expected
    store.delete(expected)
    assert store.next_number() == expected + 1
    confirm(store, add(store).number, 1)
    store.close()


def test_what_an_earlier_program_adds_in_between_is_counted(tmp_path):
    path = tmp_path / "t.sqlite"
    PanelStore(path, SETTINGS).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO participants VALUES(7, 'token', 'L1', '{}', 'mild', 'welcome', NULL)")
    store = PanelStore(path, SETTINGS)
    store.delete(7)
    assert store.next_number() == 8
    store.close()


def test_a_file_of_another_test_stays_as_it_is(tmp_path):
    path = tmp_path / "t.sqlite"
    as_before(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="seed differs"):
        PanelStore(path, {**FIRST_THREE, "seed": 2})
    assert path.read_bytes() == before


def test_changed_settings_are_refused(store, tmp_path):
    with pytest.raises(InputError) as caught:
        PanelStore(tmp_path / "t.sqlite", {**SETTINGS, "loudness_lufs": -20.0})
    assert "loudness_lufs differs" in str(caught.value)
    assert "expected -23.0, found -20.0" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"loudness_lufs, repeats differ .*a server that is started with them"):
        PanelStore(tmp_path / "t.sqlite", {**SETTINGS, "repeats": 2, "loudness_lufs": -20.0})
    with pytest.raises(InputError, match=r"title, type differ .*a server that is started with them"):
        PanelStore(tmp_path / "t.sqlite", {**SETTINGS, "title": "Another", "type": "ab"})
    with pytest.raises(InputError, match=r"title differs .*is it another test's\?"):
        PanelStore(tmp_path / "t.sqlite", {**SETTINGS, "title": "Another"}, is_named=True)
    with pytest.raises(InputError, match=r"participants differs .*nobody has answered yet"):
        PanelStore(tmp_path / "t.sqlite", {**SETTINGS, "participants": [{"listener": "N3"}] * 40})
    # Where the settings lie may change.
    PanelStore(tmp_path / "t.sqlite", {**SETTINGS, "folder": "/b"}).close()


def test_other_files_are_refused_and_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("these are my notes, all of them", encoding="utf-8")
    other = tmp_path / "other.sqlite"
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE x(y)")
    db.commit()
    db.close()
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(InputError, match="is no database of a listening test"):
            PanelStore(path, SETTINGS)
        assert path.read_bytes() == before
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(other.read_bytes()[:16] + b"\xff" * 200)
    with pytest.raises(InputError, match="cannot be read"):
        PanelStore(broken, SETTINGS)
    with pytest.raises(OutputError):
        PanelStore(tmp_path, SETTINGS)


def test_another_version_is_refused(store, tmp_path):
    store.close()
    db = sqlite3.connect(tmp_path / "t.sqlite")
    db.execute("PRAGMA user_version=99")
    db.commit()
    db.close()
    with pytest.raises(InputError, match="is of another version: expected 1, found 99"):
        PanelStore(tmp_path / "t.sqlite", SETTINGS)


def test_an_empty_file_becomes_one(tmp_path):
    (tmp_path / "t.sqlite").touch()
    store = PanelStore(tmp_path / "t.sqlite", SETTINGS)
    assert store.participants() == []
    assert store.admin_token_hash is None
    store.set_admin_token_hash("abc")
    assert store.admin_token_hash == "abc"
    store.close()


def test_a_full_disk_acknowledges_nothing_and_keeps_what_was(store, tmp_path):
    add(store, n_trials=400)
    # SQLite's own limit: writing fails with the same error as on a full disk, in the middle of an answer.
    n_pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count={n_pages}")
    acknowledged = []
    with pytest.raises(StoreError, match="cannot be used: database or disk is full") as caught:
        for trial in range(1, 401):
            confirm(store, 1, trial)
            acknowledged.append(trial)
    assert "\n" not in str(caught.value)
    refused = len(acknowledged) + 1
    assert store.open_trial(1).trial == refused
    with sqlite3.connect(tmp_path / "t.sqlite") as db:
        assert [row[0] for row in db.execute("SELECT DISTINCT trial FROM ratings ORDER BY trial")] == acknowledged
    store._connection.execute(f"PRAGMA max_page_count={n_pages + 100}")
    assert confirm(store, 1, refused).n_done == refused


def test_a_file_that_another_program_holds_is_one_line(store, tmp_path):
    add(store)
    store._connection.execute("PRAGMA busy_timeout=50")
    with closing(sqlite3.connect(tmp_path / "t.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="cannot be used: database is locked"):
            confirm(store, 1, 1)
        assert store.open_trial(1).trial == 1  # reading goes on
    assert confirm(store, 1, 1).n_done == 1
