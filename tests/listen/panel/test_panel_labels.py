"""No label is given twice, wherever it comes from; entries of the settings keep their participants with new labels."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from open_panel import EAR, WORSE_EAR, open_panel, rating, write_test

from cadenza_remix.cli import main
from cadenza_remix.errors import InputError
from cadenza_remix.listen.clips import ClipStore
from cadenza_remix.listen.panel.additions import Addition
from cadenza_remix.listen.panel.config import ParticipantChoice
from cadenza_remix.listen.panel.new_rows import ConflictError
from cadenza_remix.listen.panel.panel import Panel
from cadenza_remix.listen.panel.roster import Roster

N3 = ParticipantChoice(listener="N3")
OWN = {"audiogram": {"left": EAR, "right": WORSE_EAR}}


def entries(*texts):
    """``L5040 P01``: a listener and, where there is one, a label; ``own``: an audiogram."""
    made = []
    for text in texts:
        name, _, label = text.partition(" ")
        made.append({**(OWN if name == "own" else {"listener": name}), **({"label": label} if label else {})})
    return made


def labels_of(store):
    return {person.number: person.label for person in store.participants()}


def opened_again(tmp_path):
    return Panel.open(tmp_path / "test.yaml", clips=ClipStore(tmp_path / "more", max_bytes=10**8))


def contents(path):
    with closing(sqlite3.connect(path)) as db:
        names = ("test", "participants", "trials", "participant_labels")
        return {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in names}


def test_a_label_that_is_taken_adds_nobody(tmp_path, panel_run):
    with open_panel(tmp_path, write_test(tmp_path, panel_run)) as served:
        served.log_in()
        body = {"listener": "N3", "count": 3, "label": "P01"}
        assert served.client.post("/api/admin/participants", json=body).status_code == 201
        before = contents(tmp_path / "test.sqlite")
        for count, label, taken, number in ((1, "P02", "P02", 4), (2, " P03", "P03", 5), (3, "P00", "P01", 3)):
            body = {"listener": "N4", "count": count, "label": label}
            reply = served.client.post("/api/admin/participants", json=body)
            assert (reply.status_code, reply.json()) == (
                409, {"error": f"label '{taken}' is taken by participant {number}"},
            )  # fmt: skip
            assert contents(tmp_path / "test.sqlite") == before
        served.panel.delete(4)
        (person,) = served.panel.roster.add(Addition(N3, ("P02",)))  # free again, and the number is another one
        assert (person.number, person.label) == (6, "P02")


def test_a_label_that_is_taken_is_one_line_on_the_command_line(tmp_path, panel_run, capsys):
    test = write_test(tmp_path, panel_run, participants=entries("L5040 P01"))
    arguments = ["listen", "--test", str(test), "--add-participants", "1", "--listener", "N3", "--label"]
    outcomes = []
    for label in ("P02", "P02", "P01"):
        with pytest.raises(SystemExit) as left:
            main([*arguments, label])
        outcomes.append((left.value.code or 0, *capsys.readouterr()))
    assert [status for status, _, _ in outcomes] == [0, 2, 2]
    assert outcomes[1][1:] == ("", "cadenza-remix: error: label 'P02' is taken by participant 2\n")
    assert outcomes[2][1:] == ("", "cadenza-remix: error: label 'P01' is taken by participant 1\n")


def test_of_programs_that_add_the_same_label_at_once_one_succeeds(tmp_path, panel_run):
    test = write_test(tmp_path, panel_run)
    with open_panel(tmp_path, test) as served:
        beside = [Roster.open(test, is_server=False) for _ in range(3)]

        def add(roster):
            try:
                return roster.add(Addition(N3, ("P01", "P02")))
            except ConflictError as error:
                return str(error)

        try:
            with ThreadPoolExecutor(4) as threads:
                results = list(threads.map(add, [served.panel.roster, *beside]))
        finally:
            for roster in beside:
                roster.close()
        assert sorted(isinstance(one, list) for one in results) == [False, False, False, True]
        assert {one for one in results if isinstance(one, str)} == {"label 'P01' is taken by participant 3"}
        assert labels_of(served.panel.store) == {1: None, 2: None, 3: "P01", 4: "P02"}


def test_labels_of_the_settings(tmp_path, panel_run):
    people = entries("L5040 P01", "own P02", "L5040")
    with open_panel(tmp_path, write_test(tmp_path, panel_run, participants=people)) as served:
        assert labels_of(served.panel.store) == {1: "P01", 2: "P02", 3: None}
        assert served.panel.links("http://a").listeners[2].startswith("P02, own audiogram")
        with pytest.raises(ConflictError, match="label 'P02' is taken by participant 2"):
            served.panel.roster.add(Addition(N3, ("P02",)))
    with open_panel(tmp_path, tmp_path / "test.yaml") as again:
        assert again.panel.store.change is None
        again.enter(1)
        page = again.get(1, "/trial").json()
        assert again.post(1, "trials/1", {"ratings": rating(page), "seconds": 1, "n_plays": {}}).status_code == 200
    write_test(tmp_path, panel_run, participants=entries("L5040 P03", "own P02", "L5040"))
    with pytest.raises(InputError, match="made under other settings: participants differs"):
        opened_again(tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "labels", "ended"),
    [
        (["L5040", "own"], ["L5040 P01", "own P02"], {1: "P01", 2: "P02"}, "2 links stay, 2 labelled anew"),
        (["L5040", "own"], ["own P02", "L5040"], {1: None, 2: "P02"}, "2 links stay, 1 labelled anew"),
        (["N3", "N3", "N3"], ["N3 a", "N3", "N3 c"], {1: "a", 2: None, 3: "c"}, "3 links stay, 2 labelled anew"),
        (["N3"], ["N3 a", "N3 b"], {1: "a", 2: "b"}, "1 link stays, 1 labelled anew, 1 new"),
        (["N3 a", "N4 b"], ["N3 b", "N4 a"], {1: "b", 2: "a"}, "2 links stay, 2 labelled anew"),
        (["N3 a", "N3 b"], ["N3 b", "N3 a"], {1: "a", 2: "b"}, "2 links stay"),
        (["N3 a", "N3 b"], ["N3 b", "N3 c"], {1: "c", 2: "b"}, "2 links stay, 1 labelled anew"),
        (["N3 a", "N3"], ["N3", "N3"], {1: None, 2: None}, "2 links stay, 1 labelled anew"),
        (["N3 a"], ["N3 b", "N4 a"], {1: "b", 2: "a"}, "1 link stays, 1 labelled anew, 1 new"),
        # Not certain who is who: nobody loses a label, and who is not in the settings stays until deleted.
        (["N3", "N3"], ["N3 a"], {1: None, 2: None, 3: "a"}, "2 links stay, 1 new, 2 taken out of the settings"),
        (["N3 a"], ["N3 b", "N3 c"], {1: "a", 2: "b", 3: "c"}, "1 link stays, 2 new, 1 taken out of the settings"),
        (["N3 a"], ["N4"], {1: "a", 2: None}, "1 link stays, 1 new, 1 taken out of the settings"),
    ],
)  # fmt: skip
def test_other_labels_in_the_settings_before_the_first_answer(tmp_path, panel_run, before, after, labels, ended):
    with open_panel(tmp_path, write_test(tmp_path, panel_run, participants=entries(*before))) as served:
        tokens = {person.number: person.token for person in served.panel.store.participants()}
    with open_panel(tmp_path, write_test(tmp_path, panel_run, participants=entries(*after))) as served:
        store = served.panel.store
        assert labels_of(store) == labels
        assert tokens.items() <= {person.number: person.token for person in store.participants()}.items()
        assert store.change.keys == ("participants",)
        assert store.change.sentence.removesuffix(" can be deleted on the administrators' page").endswith(f": {ended}")
    with open_panel(tmp_path, tmp_path / "test.yaml") as again:
        assert again.panel.store.change is None
        assert labels_of(again.panel.store) == labels


@pytest.mark.parametrize("is_deleted", [True, False])
def test_whom_an_entry_means_is_not_guessed(tmp_path, panel_run, is_deleted):
    """One of the settings was deleted, or somebody of the same hearing was added beside them."""
    with open_panel(tmp_path, write_test(tmp_path, panel_run, participants=entries("N3", "N3"))) as served:
        if is_deleted:
            served.panel.delete(1)
        else:
            served.panel.roster.add(Addition(N3))
        before = labels_of(served.panel.store)
    with open_panel(tmp_path, write_test(tmp_path, panel_run, participants=entries("N3 a", "N3 b"))) as served:
        first = 3 if is_deleted else 4
        assert labels_of(served.panel.store) == {**before, first: "a", first + 1: "b"}
        assert served.panel.store.change.n_labelled == 0


def test_a_label_beside_the_settings_is_theirs_who_have_it(tmp_path, panel_run):
    with open_panel(tmp_path, write_test(tmp_path, panel_run, participants=entries("N3", "L5040 P02"))) as served:
        served.panel.roster.add(Addition(N3, ("P07",)))
    before = contents(tmp_path / "test.sqlite")
    for people, number, label in (
        (("N3 P07", "L5040 P02"), 3, "P07"),  # another label for who is there
        (("N3", "L5040 P02", "N4 P07"), 3, "P07"),  # somebody new
        (("N3", "N4 P02"), 2, "P02"),  # another hearing is another participant
    ):
        write_test(tmp_path, panel_run, participants=entries(*people))
        with pytest.raises(InputError) as caught:
            opened_again(tmp_path)
        assert f"test.sqlite: settings changed, and label '{label}' is taken by participant {number} (" in str(
            caught.value
        )
        assert "\n" not in str(caught.value)
        assert contents(tmp_path / "test.sqlite") == before
    with open_panel(tmp_path, write_test(tmp_path, panel_run, participants=entries("N3 P01", "L5040 P02"))) as served:
        assert labels_of(served.panel.store) == {1: "P01", 2: "P02", 3: "P07"}


def test_a_set_up_that_was_killed_goes_on_with_labels(tmp_path, panel_run):
    with open_panel(tmp_path, write_test(tmp_path, panel_run, participants=entries("N3", "L5040"))) as served:
        served.panel.store.delete(2)
        with served.panel.store._transaction() as db:  # as programs left it that made one participant after the other
            db.execute("UPDATE test SET admin_token_hash=NULL, last_number=1")
    people = entries("N3 P01", "L5040 P02")
    with open_panel(tmp_path, write_test(tmp_path, panel_run, participants=people)) as served:
        assert labels_of(served.panel.store) == {1: "P01", 2: "P02"}
