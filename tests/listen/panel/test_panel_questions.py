"""Questions after the last page: what can be asked, what is an answer, where answers are and when they go."""

import csv
import io
import json
import sqlite3
from contextlib import closing

import pytest
import yaml
from open_panel import open_panel, rating, write_test

from cadenza_remix.errors import InputError
from cadenza_remix.listen.panel.answer_table import read_answers
from cadenza_remix.listen.panel.config import load_test
from cadenza_remix.listen.panel.new_rows import ConflictError
from cadenza_remix.listen.panel.panel import Panel
from cadenza_remix.listen.panel.questions import Question, harmless_in_a_spreadsheet, questions_from
from cadenza_remix.listen.panel.records import PlannedTrial
from cadenza_remix.listen.panel.store import PanelStore

AIDS = {
    "id": "hearing_aids", "text": "Do you wear hearing aids?", "kind": "choice",
    "choices": ["no", "one ear", "both ears"], "required": True,
}  # fmt: skip
AGE = {"id": "age", "text": "How old are you?", "kind": "number", "min": 0, "max": 120}
COMMENT = {"id": "comment", "text": "What did you notice?", "kind": "text"}
QUESTIONS = [AIDS, AGE, COMMENT]
ALL = {"hearing_aids": "one ear", "age": 61, "comment": "The bass."}


# settings


def test_what_can_be_asked():
    aids, age, comment = questions_from(QUESTIONS, "q")
    assert aids == Question("hearing_aids", AIDS["text"], "choice", ("no", "one ear", "both ears"), required=True)
    assert (age.min, age.max, age.required) == (0.0, 120.0, False)
    assert comment.to_dict() == {**COMMENT, "required": False}
    assert [one.to_dict() for one in (aids, age)] == [AIDS, {**AGE, "required": False}]
    assert questions_from(None, "q") == questions_from([], "q") == ()
    open_ended = {**AGE, "max": 5.5}
    del open_ended["min"]
    assert questions_from([open_ended], "q")[0].to_dict()["max"] == 5.5


def changed(question, **changes):
    return [{key: value for key, value in {**question, **changes}.items() if value != "absent"}]


@pytest.mark.parametrize(
    ("questions", "words"),
    [
        ("all", "questions: wrong value: expected a list of questions, found 'all'"),
        ({"id": "a"}, "questions: wrong value: expected a list of questions"),
        ([COMMENT | {"id": f"q{n}"} for n in range(31)], "questions: too many: expected at most 30, found 31"),
        (["How old?"], "questions[0]: wrong form: expected keys id, text, kind, choices, min, max, required"),
        (changed(COMMENT, hint="x"), "questions[0]: unknown key 'hint': expected one of id, text, kind"),
        (changed(COMMENT, id="absent"), "questions[0]: key id is missing: expected id, text, kind"),
        (changed(COMMENT, text="absent"), "questions[0]: key text is missing"),
        (changed(COMMENT, kind="absent"), "questions[0]: key kind is missing"),
        (changed(COMMENT, kind="essay"), "questions[0]: unknown kind 'essay': expected one of text, number, choice"),
        (changed(COMMENT, kind=["text"]), "questions[0]: unknown kind"),
        (changed(COMMENT, id="my age"), "id: wrong value: expected at most 40 letters, digits and underscores, found"),
        (changed(COMMENT, id="alter_ä"), "questions[0]: id: wrong value"),
        (changed(COMMENT, id="a\n"), "questions[0]: id: wrong value"),
        (changed(COMMENT, id=""), "questions[0]: key id is missing"),
        (changed(COMMENT, id=7), "questions[0]: id: wrong value"),
        (changed(COMMENT, id="x" * 41), "questions[0]: id: wrong value"),
        ([COMMENT, AGE, COMMENT], "questions[2]: id: stands twice: expected each id once, found comment"),
        (changed(COMMENT, text="  "), "questions[0]: text: wrong value"),
        (changed(COMMENT, text=""), "questions[0]: key text is missing"),
        (changed(COMMENT, text=5), "questions[0]: text: wrong value: expected text, found 5"),
        (changed(COMMENT, text="x" * 1001), "text: too long: expected at most 1000 characters, found 1001"),
        (changed(COMMENT, required="yes"), "questions[0]: required: wrong value: expected true or false, found 'yes'"),
        (changed(COMMENT, choices=["a", "b"]), "key choices has no meaning: expected kind choice, found text"),
        (changed(AGE, choices=["a", "b"]), "key choices has no meaning: expected kind choice, found number"),
        (changed(AIDS, min=1), "questions[0]: key min has no meaning: expected kind number, found choice"),
        (changed(COMMENT, max=1), "questions[0]: key max has no meaning: expected kind number, found text"),
        (changed(AGE, min="0"), "questions[0]: min: wrong value: expected a number"),
        (changed(AGE, min=True), "questions[0]: min: wrong value"),
        (changed(AGE, max=None), "questions[0]: max: wrong value"),
        (changed(AGE, max=float("nan")), "questions[0]: max: wrong value"),
        (changed(AGE, max=float("inf")), "questions[0]: max: wrong value"),
        (changed(AGE, max=10**400), "questions[0]: max: wrong value"),
        (changed(AGE, min=121), "questions[0]: no number can be an answer: expected min up to max, found 121 > 120"),
        (changed(AIDS, choices="absent"), "choices: wrong value: expected a list of 2 to 20 texts, found None"),
        (changed(AIDS, choices=["no"]), "choices: wrong value: expected a list of 2 to 20 texts, found 1 of them"),
        (changed(AIDS, choices=[f"c{n}" for n in range(21)]), "expected a list of 2 to 20 texts, found 21 of them"),
        (changed(AIDS, choices="no, yes"), "choices: wrong value: expected a list"),
        (changed(AIDS, choices=[False, "one ear"]), "choices[0]: wrong value: expected text of one line"),
        (changed(AIDS, choices=[False, True]), "(words such as yes and no in quotes), found False"),
        (changed(AIDS, choices=["no", " "]), "questions[0]: choices[1]: wrong value"),
        (changed(AIDS, choices=["no", "a\nb"]), "questions[0]: choices[1]: wrong value"),
        (changed(AIDS, choices=["no", "x" * 201]), "questions[0]: choices[1]: wrong value"),
        (changed(AIDS, choices=["no", "yes", " no "]), "choices[2]: stands twice: expected each choice once"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(tmp_path, questions, words):
    test = write_test(tmp_path, "r", questions=questions)
    with pytest.raises(InputError) as caught:
        load_test(test)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{test}: questions")
    assert "\n" not in str(caught.value)


def test_settings_without_questions_are_as_they_were(tmp_path):
    """Files of tests that were begun before there were questions open as before."""
    plain = load_test(write_test(tmp_path, "r"))
    assert "questions" not in plain.to_dict()
    assert load_test(write_test(tmp_path, "r", questions=[])).to_dict() == plain.to_dict()
    asking = load_test(write_test(tmp_path, "r", questions=QUESTIONS))
    assert [one["id"] for one in asking.to_dict()["questions"]] == ["hearing_aids", "age", "comment"]


# participants


@pytest.fixture
def served(tmp_path, panel_run):
    with open_panel(tmp_path, asking_test(tmp_path, panel_run)) as served:
        yield served


def asking_test(folder, panel_run, questions=QUESTIONS):
    return write_test(folder, panel_run, training_trials=0, break_every=0, questions=questions)


def rate_all(served, number=1):
    served.enter(number)
    while served.get(number).json()["state"] == "trial":
        page = served.get(number, "/trial").json()
        reply = served.post(number, f"trials/{page['trial']}", {"ratings": rating(page)})
        assert reply.status_code == 200
    return reply.json()


def answer(served, answers, number=1):
    return served.post(number, "questions", {"answers": answers})


def test_questions_come_after_the_last_page(served):
    status = served.get(1).json()
    assert (status["state"], status["n_questions"]) == ("welcome", 3)
    assert "questions" not in status
    assert answer(served, ALL).status_code == 409
    assert rate_all(served) == {"saved": True, "state": "questions", "n_done": 2}
    status = served.get(1).json()
    assert status["questions"] == [question.to_dict() for question in served.panel.settings.questions]
    assert (served.panel.overview()["n_finished"], served.get(1, "/trial").status_code) == (0, 409)
    assert answer(served, ALL).json() == {"saved": True, "state": "done"}
    assert served.get(1).json()["state"] == "done"
    assert served.panel.overview()["n_finished"] == 1
    assert [(row["question"], row["value"]) for row in served.panel.store.question_answers()] == list(ALL.items())


def test_without_questions_nothing_is_new(tmp_path, panel_run):
    with open_panel(tmp_path, write_test(tmp_path, panel_run, training_trials=0, break_every=0)) as served:
        assert rate_all(served)["state"] == "done"
        assert {"n_questions", "questions"}.isdisjoint(served.get(1).json())
        for answers in ({}, {"age": 5}):
            assert answer(served, answers).status_code in (409, 422)
        assert "questions" not in served.panel.store.export(1)
        assert "questions" not in served.panel.overview()
        assert served.panel.questions_csv().splitlines() == ["participant,listener,question,value,participant_label"]


def wrong_answers():
    yield (
        "an unknown question",
        {**ALL, "name": "Ann"},
        "answers: unknown question 'name': expected one of hearing_aids",
    )
    yield "half a character", {**ALL, "\ud800": 1}, "unknown question"
    yield "a required one is missing", {"age": 5}, "answers: hearing_aids: is required: expected an answer, found none"
    yield "a required one is null", {"hearing_aids": None}, "hearing_aids: is required"
    yield (
        "no choice of the list",
        {**ALL, "hearing_aids": "three"},
        "hearing_aids: unknown choice 'three': expected one of no",
    )
    yield (
        "a number for a choice",
        {**ALL, "hearing_aids": 0},
        "answers: hearing_aids: wrong value: expected text, found 0",
    )
    yield "empty for a choice", {**ALL, "hearing_aids": ""}, "unknown choice ''"
    for value in (-1, 120.5, 10**400, "61", True, [61], {}, ""):
        yield "no age", {**ALL, "age": value}, "answers: age: wrong value: expected a number from 0 to 120"
    for value in (5, False, ["x"], {"x": 1}):
        yield "no text", {**ALL, "comment": value}, "answers: comment: wrong value: expected text, found"
    yield "too long", {**ALL, "comment": "x" * 2001}, "comment: too long: expected at most 2000 characters, found 2001"
    for value in ("a\0b", "a\x1bb", "\udc80"):
        yield "unprintable", {**ALL, "comment": value}, "comment: wrong value: expected text without control characters"


def test_wrong_answers_leave_nothing(served):
    rate_all(served)
    for what, answers, words in wrong_answers():
        content = json.dumps({"answers": answers})
        headers = {"content-type": "application/json"}
        reply = served.client.post(f"{served.path(1)}/questions", content=content, headers=headers)
        assert (reply.status_code, list(reply.json())) == (422, ["error"]), what
        assert words in reply.json()["error"]
        assert "\n" not in reply.json()["error"]
    for body in ({}, {"answers": [1]}, {"answers": None}, {"answers": ALL, "more": 1}, [1]):
        assert served.post(1, "questions", body).status_code == 422, body
    assert served.panel.store.question_answers() == []
    assert served.get(1).json()["state"] == "questions"
    assert answer(served, ALL).status_code == 200


def test_optional_ones_may_be_left_out(served):
    rate_all(served)
    given = {"hearing_aids": "no", "age": None, "comment": " \r\n "}
    assert answer(served, given).status_code == 200
    assert served.panel.store.export(1)["questions"] == {"hearing_aids": "no"}
    assert answer(served, {"hearing_aids": "no"}).status_code == 200  # which is the same


def test_the_same_answers_twice_are_one_and_others_are_refused(served):
    rate_all(served)
    first, again = answer(served, ALL), answer(served, {**ALL, "age": 61.0, "comment": " The bass.\r\n"})
    assert first.json() == again.json() == {"saved": True, "state": "done"}
    for other in ({**ALL, "age": 62}, {"hearing_aids": "one ear"}):
        reply = answer(served, other)
        assert (reply.status_code, reply.json()) == (409, {"error": "the questions have other answers already"})
    assert served.panel.store.export(1)["questions"] == ALL


def test_all_may_be_optional_and_any_character_may_be_written(tmp_path, panel_run):
    names = ["__proto__", "constructor", "1"]
    questions = [{**COMMENT, "id": name} for name in names]
    with open_panel(tmp_path, asking_test(tmp_path, panel_run, questions)) as served:
        rate_all(served)
        rate_all(served, 2)
        assert answer(served, {}).json()["state"] == "done"
        assert answer(served, {}).status_code == 200
        assert answer(served, {"1": "more"}).status_code == 409
        text = "<b>Bässe</b> & 'Höhen'\n\t\"𝄞\"; -- " + "é" * 1960
        assert answer(served, dict.fromkeys(names, text), number=2).status_code == 200
        assert served.panel.store.export(2)["questions"] == dict.fromkeys(names, text)


def test_no_link_no_answers(served):
    assert served.client.post("/api/t/nobody/questions", json={"answers": ALL}).status_code == 404


# people's data


def test_answers_as_csv(served):
    """Text that a spreadsheet would run begins with an apostrophe; numbers stay numbers."""
    served.log_in()
    rate_all(served)
    rate_all(served, 2)
    answer(served, {**ALL, "comment": '=HYPERLINK("http://x"),\n"2"'})
    answer(served, {"hearing_aids": "no", "comment": "-3 dB, I'd say"}, number=2)
    reply = served.client.get("/api/admin/questions.csv")
    assert reply.headers["content-type"].startswith("text/csv")
    assert reply.headers["content-disposition"] == 'attachment; filename="questions.csv"'
    rows = list(csv.DictReader(io.StringIO(reply.text, newline="")))
    assert [row["listener"] for row in rows[:1]] == ["L5040"]
    assert [(row["participant"], row["question"], row["value"]) for row in rows] == [
        ("1", "hearing_aids", "one ear"),
        ("1", "age", "61"),
        ("1", "comment", '\'=HYPERLINK("http://x"),\n"2"'),
        ("2", "hearing_aids", "no"),
        ("2", "comment", "'-3 dB, I'd say"),
    ]
    assert served.panel.store.participant(1).token not in reply.text
    assert served.client.get("/api/admin/participants/1/export").json()["questions"]["comment"].startswith("=HYPER")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("good;=1+1", "good;'=1+1"),  # where ; parts cells
        ("good\n =1+1\n\n@x\t-1", "good\n' =1+1\n\n'@x\t'-1"),
        ("＝1+1", "'＝1+1"),
        ("a = b; c - d, e@f", "a = b; c - d, e@f"),
        (-3, -3),
    ],
)
def test_no_cell_begins_as_a_formula(text, cell):
    assert harmless_in_a_spreadsheet(text) == cell


def test_deleting_a_participant_deletes_their_answers(served, tmp_path):
    rate_all(served)
    answer(served, {**ALL, "comment": "a very rare word: syzygy"})
    assert b"syzygy" in b"".join(path.read_bytes() for path in tmp_path.glob("test.sqlite*"))
    served.panel.delete(1)
    assert served.panel.store.question_answers() == []
    for path in tmp_path.glob("test.sqlite*"):
        assert b"syzygy" not in path.read_bytes()


def test_a_file_with_answers_is_opened_again_and_analysed(tmp_path, panel_run):
    test = asking_test(tmp_path, panel_run)
    with open_panel(tmp_path, test) as served:
        rate_all(served)
    assert read_answers(tmp_path / "test.sqlite").n_trials == 2
    with open_panel(tmp_path, test) as served:
        assert served.get(1).json()["state"] == "questions"
        answer(served, ALL)
    with open_panel(tmp_path, test) as served:
        assert served.get(1).json()["state"] == "done"
        assert answer(served, ALL).status_code == 200
    assert read_answers(tmp_path / "test.sqlite").n_trials == 2


def test_questions_that_are_added_after_the_first_answer_need_another_file(tmp_path, panel_run):
    with open_panel(tmp_path, write_test(tmp_path, panel_run)) as served:
        served.enter(1)
        page = served.get(1, "/trial").json()
        body = {"ratings": rating(page), "seconds": 1, "n_plays": {}}
        assert served.post(1, "trials/1", body).status_code == 200
        clips = served.clips
    for later in (QUESTIONS, [AGE]):
        test = write_test(tmp_path, panel_run, questions=later)
        with pytest.raises(InputError, match=r"under other settings: questions differs .* expected null, found"):
            Panel.open(test, clips=clips)


# the file


def store_at(path, settings):
    store = PanelStore(path, settings)
    trials = [PlannedTrial(1, False, "song", 0.0, 5.0, {"A": "baseline"})]
    store.add_participant(store.next_number(), listener="L1", audiogram={}, severity="mild", trials=trials)
    return store


def test_files_of_earlier_programs_get_the_table(tmp_path):
    path = tmp_path / "t.sqlite"
    store_at(path, {"title": "T"}).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE question_answers")
    for _ in range(2):
        store = PanelStore(path, {"title": "T"})
        assert store.question_answers() == []
        store.delete(store.participants()[0].number) if store.participants() else None
        store.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


def test_answers_and_the_end_are_kept_together_or_not_at_all(tmp_path):
    store = store_at(tmp_path / "t.sqlite", {"questions": yaml.safe_load("[{id: a}, {id: b}]")})
    store.move(1, before="welcome", after="trial")
    with pytest.raises(ConflictError, match="expected state questions"):
        store.confirm_questions(1, {"a": "x"})
    store.confirm(1, 1, {"A": {"quality": 1.0}}, seconds=1.0, n_plays={}, break_every=0)
    store._connection.execute(
        "CREATE TEMP TRIGGER fails BEFORE UPDATE ON main.participants BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    with pytest.raises(OSError, match="cannot be used: full"):
        store.confirm_questions(1, {"a": "x", "b": 2})
    assert (store.question_answers(), store.participant(1).state) == ([], "questions")
    store._connection.execute("DROP TRIGGER fails")
    assert store.confirm_questions(1, {"a": "x", "b": 2}).state == "done"
    assert store.export(1)["questions"] == {"a": "x", "b": 2}
    store.close()
