"""Settings that were changed before anybody answered are taken over; with an answer in the file they are refused."""

import json
import random
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from open_panel import open_panel, rating, write_test
from tiny_run import make_tiny_run

from cadenza_remix.errors import InputError
from cadenza_remix.listen.clips import ClipStore
from cadenza_remix.listen.panel.additions import Addition
from cadenza_remix.listen.panel.config import ParticipantChoice
from cadenza_remix.listen.panel.design import plan_trials
from cadenza_remix.listen.panel.panel import Panel
from cadenza_remix.listen.panel.planning import TestPlanner

CHANGED = {"seed": 8, "loudness_lufs": -30.0, "training_trials": 0, "break_every": 0}


@pytest.fixture(scope="module")
def run_without_l5076(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("one-listener")
    make_tiny_run(folder, song, n_songs=2, duration_s=2.0, listeners=("L5040",), scored=False)
    return folder


@pytest.fixture
def begun(tmp_path, panel_run):
    """Return tokens by number of a test in which the first participant looks at a page and nobody has answered."""
    with open_panel(tmp_path, write_test(tmp_path, panel_run)) as served:
        served.enter(1)
        assert served.get(1, "/trial").json()["trial"] == 1
        return {person.number: person.token for person in served.panel.store.participants()}


def opened_again(tmp_path):
    return Panel.open(tmp_path / "test.yaml", clips=ClipStore(tmp_path / "more", max_bytes=10**8))


def contents(path):
    with closing(sqlite3.connect(path)) as db:
        return {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in ("test", "participants", "trials")}


def answer_page(served, number):
    page = served.get(number, "/trial").json()
    body = {"ratings": rating(page), "seconds": 1, "n_plays": {}}
    reply = served.post(number, f"trials/{page['trial']}", body)
    assert reply.status_code == 200
    return page, reply.json()


def test_everybody_keeps_the_link_and_gets_the_new_plan(tmp_path, panel_run, begun):
    with open_panel(tmp_path, write_test(tmp_path, panel_run, **CHANGED)) as served:
        store, change = served.panel.store, served.panel.store.change
        assert {person.number: person.token for person in store.participants()} == begun
        assert change.sentence == (
            "settings changed (seed, loudness_lufs, training_trials, break_every); no answers yet, so nothing was lost:"
            " 2 links stay, 1 who had begun begins again"
        )
        planned = plan_trials(served.panel.settings, 2, served.panel.roster.planner.passages)
        assert store.trials(2) == list(planned)
        assert served.get(1).json()["max_level"]["loudness_lufs"] == -30.0
    with open_panel(tmp_path, tmp_path / "test.yaml") as again:
        assert again.panel.store.change is None


def test_who_had_begun_sets_the_level_anew_and_no_rating_of_an_old_page_counts(tmp_path, panel_run, begun):
    with open_panel(tmp_path, write_test(tmp_path, panel_run, **CHANGED)) as served:
        person = served.panel.store.participant(1)
        assert (person.state, person.volume) == ("welcome", None)
        labels = ["A", "B", "C", "D", "E", "F"]
        stale = {"ratings": {label: {"quality": 50} for label in labels}, "seconds": 1, "n_plays": {}}
        # A browser with the old page asks where the test stands after 409, now and once the new pages are shown.
        assert served.post(1, "trials/1", stale).status_code == 409
        served.enter(1)
        assert served.post(1, "trials/1", stale).status_code == 409
        places, numbers = [], []
        while (state := served.get(1).json())["state"] != "done":
            page, reply = answer_page(served, 1)
            places.append(page["place"])
            numbers.append(page["trial"])
            assert reply["n_done"] == len(places) <= state["n_trials"]
        assert places == [1, 2]
        assert numbers == [4, 5]  # the old plan had 1 to 3
        assert {row["trial"] for row in served.panel.store.answers()} == {4, 5}
        url = page["stimuli"][0]["url"]
        assert served.client.get(url).status_code == 200
        served.panel.delete(1)
        assert served.client.get(url).status_code == 404


def test_numbers_of_old_pages_never_come_back(tmp_path, panel_run, begun):
    """Also where the participant stands at the welcome page when the settings change once more."""
    for seed in (8, 9):
        with open_panel(tmp_path, write_test(tmp_path, panel_run, seed=seed)) as served:
            first = [trial.trial for trial in served.panel.store.trials(1)]
            assert [trial.trial for trial in served.panel.store.trials(2)] == [1, 2, 3]
    assert first == [7, 8, 9]


@pytest.mark.parametrize("state", ["training", "ready"])
def test_one_answer_is_enough_to_refuse(tmp_path, panel_run, begun, state):
    with open_panel(tmp_path, tmp_path / "test.yaml") as served:
        answer_page(served, 1)  # of the training
        if state == "training":
            with served.panel.store._transaction() as db:  # a rating alone
                db.execute("UPDATE trials SET confirmed=NULL")
    before = contents(tmp_path / "test.sqlite")
    write_test(tmp_path, panel_run, **CHANGED)
    expected = r"made under other settings: seed, loudness_lufs, training_trials, break_every differ \(a changed test"
    with pytest.raises(InputError, match=expected):
        opened_again(tmp_path)
    assert contents(tmp_path / "test.sqlite") == before


def test_answers_that_were_deleted_with_their_participant_hold_nothing_up(tmp_path, panel_run, begun):
    with open_panel(tmp_path, tmp_path / "test.yaml") as served:
        answer_page(served, 1)
        served.panel.delete(1)
    with open_panel(tmp_path, write_test(tmp_path, panel_run, **CHANGED)) as served:
        assert [person.token for person in served.panel.store.participants()] == [begun[2]]
        assert served.panel.store.next_number() == 3


def test_entries_that_are_new_are_added_and_nobody_is_taken_away(tmp_path, panel_run, begun):
    with open_panel(tmp_path, tmp_path / "test.yaml") as served:
        served.panel.roster.add(Addition(ParticipantChoice(listener="N3"), ("P07",)))
    people = [{"listener": "L5076"}, {"listener": "L5040"}, {"listener": "L5040"}]
    with open_panel(tmp_path, write_test(tmp_path, panel_run, participants=people)) as served:
        found = [(person.number, person.listener, person.label) for person in served.panel.store.participants()]
        assert [entry for entry in found if entry[0] != 2] == [
            (1, "L5040", None), (3, "N3", "P07"), (4, "L5076", None), (5, "L5040", None),
        ]  # fmt: skip
        assert served.panel.store.participant(2).token == begun[2]
        assert served.panel.store.change.sentence.endswith(
            "3 links stay, 1 who had begun begins again, 2 new,"
            " 1 taken out of the settings can be deleted on the administrators' page"
        )


def test_a_participant_whose_listener_is_gone_stands_against_it(tmp_path, panel_run, run_without_l5076):
    path = write_test(tmp_path, panel_run)
    with open_panel(tmp_path, path) as served:
        served.panel.roster.add(Addition(ParticipantChoice(listener="L5076")))
    before = contents(tmp_path / "test.sqlite")
    write_test(tmp_path, run_without_l5076)
    with pytest.raises(InputError) as caught:
        opened_again(tmp_path)
    line = str(caught.value)
    assert (
        "test.sqlite: settings changed, and participant 3 (L5076) stands against it: unknown listener 'L5076'" in line
    )
    assert "delete them on the administrators' page under the old settings" in line
    assert "\n" not in line
    assert contents(tmp_path / "test.sqlite") == before
    with open_panel(tmp_path, write_test(tmp_path, panel_run)) as served:
        served.panel.delete(3)
    with open_panel(tmp_path, write_test(tmp_path, run_without_l5076)) as served:
        assert served.panel.store.change.keys == ("run",)


def test_too_many_with_the_new_ones_are_refused(tmp_path, panel_run, begun, monkeypatch):
    before = contents(tmp_path / "test.sqlite")
    write_test(tmp_path, panel_run, participants=[{"listener": "L5040"}, {"listener": "L5076"}])
    monkeypatch.setattr(TestPlanner, "most_participants", 2)
    with pytest.raises(InputError, match="too many participants: expected at most 2, found 3"):
        opened_again(tmp_path)
    assert contents(tmp_path / "test.sqlite") == before


def test_a_set_up_that_was_killed_goes_on_under_changed_settings(tmp_path, panel_run):
    with open_panel(tmp_path, write_test(tmp_path, panel_run)) as served:
        kept = served.panel.store.participant(1).token
        served.panel.store.delete(2)
        with served.panel.store._transaction() as db:  # as programs left it that made one participant after the other
            db.execute("UPDATE test SET admin_token_hash=NULL, last_number=1")
    people = [{"listener": "N3"}, {"listener": "L5040"}, {"listener": "N4"}]
    with open_panel(tmp_path, write_test(tmp_path, panel_run, participants=people)) as served:
        found = [(person.number, person.listener) for person in served.panel.store.participants()]
        assert found == [(1, "L5040"), (2, "N3"), (3, "N4")]
        assert served.panel.store.participant(1).token == kept
        assert served.links.admin_token is not None


def test_nothing_changes_below_a_server(tmp_path, panel_run, begun):
    with open_panel(tmp_path, tmp_path / "test.yaml") as served:
        before = contents(tmp_path / "test.sqlite")
        write_test(tmp_path, panel_run, **CHANGED)
        with pytest.raises(InputError, match="another server holds this test"):
            opened_again(tmp_path)
        assert contents(tmp_path / "test.sqlite") == before
        answer_page(served, 1)


def test_of_several_servers_that_start_at_once_one_takes_the_settings_over(tmp_path, panel_run, begun):
    write_test(tmp_path, panel_run, **CHANGED)
    all_there = threading.Barrier(4)

    def start(number):
        clips = ClipStore(tmp_path / f"clips-{number}", max_bytes=10**8)
        all_there.wait()
        try:
            return Panel.open(tmp_path / "test.yaml", clips=clips)
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(start, range(4)))
    panels = [one for one in results if isinstance(one, Panel)]
    try:
        assert len(panels) == 1
        assert all("another server holds this test" in one for one in results if isinstance(one, str))
        assert panels[0].store.change.n_kept == 2
        assert {person.number: person.token for person in panels[0].store.participants()} == begun
    finally:
        for panel in panels:
            panel.close()


CHANGER = """
import os, signal, sys
from cadenza_remix.listen.panel.records import NewParticipant, PlannedTrial
from cadenza_remix.listen.panel.store import PanelStore

class Planner:
    most_participants = 100
    def __init__(self, seed, deadly):
        self.seed, self.deadly = seed, deadly
    def plan_again(self, number, listener, audiogram):
        if number == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        song, end = f"song {self.seed}", 20 + self.seed % 3
        trials = [PlannedTrial(n, False, song, 0.0, 5.0, {"A": "x"}) for n in range(1, end)]
        return NewParticipant(number, listener, audiogram, "mild", trials)
    def plan_entry(self, number, entry):
        return self.plan_again(number, entry["listener"], {})

path, first, last, deadly = sys.argv[1], *map(int, sys.argv[2:])
for seed in range(first, last):
    people = [{"listener": "N3"}] * 20
    PanelStore(path, {"title": "T", "seed": seed, "participants": people}, planner=Planner(seed, deadly)).close()
    print(seed, flush=True)
"""


def changer(path, first, last, deadly=0):
    arguments = [sys.executable, "-c", CHANGER, str(path), str(first), str(last), str(deadly)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def filled(path, n_people=20):
    """Make a test of seed 1 whose participants have set their volume."""
    with changer(path, 1, 2) as process:
        assert process.stdout.read() == "1\n"
    with closing(sqlite3.connect(path)) as db, db:
        for number in range(1, n_people + 1):
            row = (number, f"token {number}", "N3", "{}", "mild", "level", 0.5)
            db.execute("INSERT INTO participants VALUES(?, ?, ?, ?, ?, ?, ?)", row)
            db.execute("INSERT INTO trials VALUES(?, 1, 0, 'song 1', 0, 5, '{}', NULL, NULL, NULL)", (number,))
        db.execute("UPDATE test SET last_number=?, admin_token_hash='abc'", (n_people,))


def test_killed_in_the_middle_of_a_change_all_is_as_before(tmp_path):
    path = tmp_path / "t.sqlite"
    filled(path)
    before = contents(path)
    with changer(path, 7, 8, deadly=11) as process:
        assert process.stdout.read() == ""
    assert process.returncode == -9
    assert contents(path) == before


@pytest.mark.parametrize("seed", range(2))
def test_a_change_that_is_killed_at_any_moment_is_made_whole_or_not_at_all(tmp_path, seed):
    path, rng = tmp_path / "t.sqlite", random.Random(seed)
    filled(path)
    first = 2
    for _ in range(3):
        process = changer(path, first, 10_000)
        for _ in range(rng.randint(2, 15)):
            told = int(process.stdout.readline())
        threading.Event().wait(rng.random() * 0.01)
        process.kill()
        whole_lines = process.stdout.read().split("\n")[:-1]
        told = int(whole_lines[-1]) if whole_lines else told
        process.wait()
        process.stdout.close()
        with closing(sqlite3.connect(path)) as db:
            stored = json.loads(db.execute("SELECT settings FROM test").fetchone()[0])["seed"]
            assert stored in (told, told + 1)  # one may be on the disk of which was not heard
            songs = db.execute("SELECT participant, song, COUNT(*) FROM trials GROUP BY participant, song").fetchall()
            assert songs == [(number, f"song {stored}", 19 + stored % 3) for number in range(1, 21)]
            people = db.execute("SELECT token, state, volume FROM participants ORDER BY number").fetchall()
            assert people == [(f"token {number}", "welcome", None) for number in range(1, 21)]
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        first = stored + 1
