"""What a participant's page can ask for, and what it gets when it asks for something else."""

import json
import sqlite3
from contextlib import closing

import pytest
from open_panel import open_panel, rating, write_test

STIMULI = ("baseline", "e016", "mixture", "hidden_reference", "anchor")


@pytest.fixture
def served(tmp_path, panel_run):
    with open_panel(tmp_path, write_test(tmp_path, panel_run)) as served:
        yield served


def answer(page, value=50):
    return {"ratings": rating(page, value), "seconds": 4.5, "n_plays": {"A": 2, "B": 1}}


def at_first_trial(served, number=1):
    """Through the training to the first page that counts."""
    served.enter(number)
    page = served.get(number, "/trial").json()
    assert served.post(number, "trials/1", answer(page)).json()["state"] == "ready"
    assert served.post(number, "continue").json() == {"state": "trial"}
    return served.get(number, "/trial").json()


def test_a_whole_session(served):
    status = served.get(1).json()
    assert {key: status[key] for key in ("title", "type", "state", "n_trials", "n_done", "n_training", "volume")} == {
        "title": "Which remix sounds better?", "type": "mushra", "state": "welcome", "n_trials": 3, "n_done": 0,
        "n_training": 1, "volume": None,
    }  # fmt: skip
    assert "protect your hearing" in status["notice"]
    assert status["max_level"] == {"max_peak_dbfs": -3.0, "max_loudness_lufs": -16.0, "loudness_lufs": -23.0}
    assert served.client.get(status["level_tone_url"]).status_code == 200
    assert 0 < status["level_tone_gain_lin"] < 1
    served.enter(1, volume=0.25)
    assert served.get(1).json()["state"] == "training"
    assert served.get(1).json()["volume"] == 0.25
    seen = []
    while (state := served.get(1).json()["state"]) != "done":
        if state in ("ready", "break"):
            assert served.get(1, "/trial").status_code == 409
            assert served.post(1, "continue").json() == {"state": "trial"}
            continue
        page = served.get(1, "/trial").json()
        seen.append((page["trial"], page["of"], page["is_training"]))
        assert len(page["stimuli"]) == 6
        assert [one["label"] for one in page["stimuli"]] == list("ABCDEF")
        assert page["reference"]["url"] not in [one["url"] for one in page["stimuli"]]
        assert {one["n_samples"] for one in (*page["stimuli"], page["reference"])} == {66150}
        assert [scale["id"] for scale in page["scales"]] == ["quality"]
        reply = served.post(1, f"trials/{page['trial']}", answer(page)).json()
        assert reply["saved"] is True
        assert reply["n_done"] == page["trial"]
    assert seen == [(1, 3, True), (2, 3, False), (3, 3, False)]
    assert served.get(1, "/trial").status_code == 409


def test_nothing_tells_what_stands_behind_a_label(served):
    texts = [served.get(1).text]
    served.enter(1)
    texts += [served.get(1, "/trial").text, json.dumps(dict(served.get(1, "/trial").headers))]
    for text in texts:
        assert not [name for name in STIMULI if name in text]


def test_a_reload_goes_on_at_the_same_page(tmp_path, panel_run):
    path = write_test(tmp_path, panel_run)
    with open_panel(tmp_path, path) as served:
        page = at_first_trial(served)
        link, order = served.path(1), [trial.labels for trial in served.panel.store.trials(1)]
        assert page["trial"] == 2
        assert served.get(1, "/trial").json() == page
    with open_panel(tmp_path, path) as again:
        assert again.path(1) == link
        assert [trial.labels for trial in again.panel.store.trials(1)] == order
        assert again.get(1).json()["state"] == "trial"
        assert again.get(1, "/trial").json()["trial"] == 2
        # The pages that the browser has open still count.
        assert again.post(1, "trials/2", answer(page)).json() == {"saved": True, "state": "break", "n_done": 2}


def test_participants_are_on_their_own(served):
    served.enter(1)
    assert served.get(2).json()["state"] == "welcome"
    assert served.get(2, "/trial").status_code == 409


@pytest.mark.parametrize("token", ["x", "1", "a" * 32, "..%2f..", "%00", "'--"])
def test_nobodys_link(served, token):
    for method, what in (("GET", ""), ("GET", "/trial"), ("POST", "/begin"), ("POST", "/trials/1")):
        reply = served.client.request(method, f"/api/t/{token}{what}", json={} if method == "POST" else None)
        assert reply.status_code == 404, (method, what)
        assert list(reply.json()) == ["error"]


def test_what_is_asked_at_the_wrong_time(served):
    ratings = {label: {"quality": 1} for label in "ABCDEF"}
    for what, body in (("level", {"volume": 0.5}), ("continue", {}), ("trials/1", {"ratings": ratings})):
        assert served.post(1, what, body).status_code == 409, what
    assert served.get(1, "/trial").status_code == 409
    served.post(1, "begin")
    assert served.post(1, "begin").json() == {"state": "level"}  # the same request again, whose answer was lost
    assert served.post(1, "continue").status_code == 409
    served.post(1, "level", {"volume": 0.5})
    for what in ("begin", "level", "continue"):
        reply = served.post(1, what, {"volume": 0.1} if what == "level" else {})
        assert reply.status_code == 409
        assert "not the time" in reply.json()["error"]
    assert served.get(1).json()["volume"] == 0.5
    page = served.get(1, "/trial").json()
    reply = served.post(1, "trials/2", answer(page))
    assert (reply.status_code, reply.json()) == (409, {"error": "trial 2 is not at hand: expected trial 1"})
    assert served.post(1, "trials/99", answer(page)).status_code == 404
    assert served.post(1, "trials/0", answer(page)).status_code == 422
    assert served.post(1, "trials/x", answer(page)).status_code == 422
    assert served.panel.store.answers() == []


def test_the_same_answer_twice_is_one_and_another_is_refused(served):
    page = at_first_trial(served)
    first = served.post(1, "trials/2", answer(page, 40))
    again = served.post(1, "trials/2", {**answer(page, 40.0), "seconds": 9})
    assert first.json() == again.json() == {"saved": True, "state": "break", "n_done": 2}
    other = served.post(1, "trials/2", answer(page, 41))
    assert (other.status_code, other.json()) == (409, {"error": "trial 2 has another answer already"})
    assert [row["value"] for row in served.panel.store.answers() if row["trial"] == 2] == [40] * 6


def wrong_answers(page):
    good = answer(page)
    ratings = good["ratings"]
    yield "a label is missing", {**good, "ratings": {key: ratings[key] for key in "ABCDE"}}
    yield "a label too many", {**good, "ratings": {**ratings, "G": {"quality": 1}}}
    yield "a system's name", {**good, "ratings": {**ratings, "baseline": {"quality": 1}}}
    yield "a scale is missing", {**good, "ratings": {**ratings, "A": {}}}
    yield "another scale", {**good, "ratings": {**ratings, "A": {"clarity": 1}}}
    yield "a scale too many", {**good, "ratings": {**ratings, "A": {"quality": 1, "clarity": 1}}}
    for value in (-1, 100.5, None, "50", True, [50], 10**400):
        yield f"value {value!r:.9}", {**good, "ratings": {**ratings, "A": {"quality": value}}}
    yield "no ratings", {"seconds": 1}
    yield "ratings are a list", {**good, "ratings": [50]}
    yield "a key too many", {**good, "name": "Ann"}
    yield "seconds", {**good, "seconds": -1}
    yield "plays", {**good, "n_plays": {"A": -1}}
    yield "half a play", {**good, "n_plays": {"A": 0.5}}
    yield "plays of another", {**good, "n_plays": {"Z": 1}}
    yield "not an object", [1]


def test_wrong_answers_leave_nothing(served):
    served.enter(1)
    page = served.get(1, "/trial").json()
    for what, body in wrong_answers(page):
        reply = served.post(1, "trials/1", body)
        assert reply.status_code == 422, what
        assert list(reply.json()) == ["error"], what
        assert "\n" not in reply.json()["error"]
    headers = {"content-type": "application/json"}
    for text in ("{", '{"ratings": NaN}', "", "[" * 20_000, json.dumps(answer(page)).replace("50", "NaN")):
        reply = served.client.post(f"{served.path(1)}/trials/1", content=text, headers=headers)
        assert reply.status_code in (400, 422), text[:20]
    assert served.panel.store.answers() == []
    assert served.get(1).json()["n_done"] == 0
    assert served.post(1, "trials/1", answer(page)).status_code == 200


@pytest.mark.parametrize("volume", [0, -0.1, 1.1, None, "1", True])
def test_wrong_volumes(served, volume):
    served.post(1, "begin")
    assert served.post(1, "level", {"volume": volume}).status_code == 422
    assert served.get(1).json()["state"] == "level"


@pytest.mark.parametrize("allowed", [True, False])
def test_preferences(tmp_path, panel_run, allowed):
    changes = {"type": "ab", "against": "baseline", "allow_no_preference": allowed}
    test = write_test(tmp_path, panel_run, **changes, training_trials=0, break_every=0)
    with open_panel(tmp_path, test) as served:
        assert served.get(1).json()["allow_no_preference"] is allowed
        served.enter(1)
        assert served.get(1).json()["state"] == "trial"
        page = served.get(1, "/trial").json()
        assert page["reference"] is None
        assert [one["label"] for one in page["stimuli"]] == ["A", "B"]
        for a, b in ((1, 1), (0, 0), (0.3, 0.7), (2, 0), *([] if allowed else [(0.5, 0.5)])):
            body = {"ratings": {"A": {"preference": a}, "B": {"preference": b}}}
            assert served.post(1, "trials/1", body).status_code == 422, (a, b)
        for trial, (a, b) in enumerate([(1, 0), (0, 1), (0.5, 0.5) if allowed else (0, 1)], start=1):
            body = {"ratings": {"A": {"preference": a}, "B": {"preference": b}}}
            assert served.post(1, f"trials/{trial}", body).status_code == 200
        rows = served.panel.store.answers()
        assert all("baseline" in {row["stimulus"] for row in rows if row["trial"] == trial} for trial in (1, 2, 3))


def test_scales(tmp_path, panel_run):
    test = write_test(tmp_path, panel_run, type="scales", scales=["clarity", "liking"], one_by_one=True)
    with open_panel(tmp_path, test) as served:
        assert served.get(1).json()["n_trials"] == 1 + 2 * 3
        served.enter(1)
        page = served.get(1, "/trial").json()
        assert page["scales"][0] == {
            "id": "clarity", "label": "Clarity", "low": "not at all clear", "high": "extremely clear",
        }  # fmt: skip
        assert len(page["stimuli"]) == 1
        assert served.post(1, "trials/1", {"ratings": {"A": {"clarity": 5}}}).status_code == 422
        assert served.post(1, "trials/1", {"ratings": {"A": {"clarity": 5, "liking": 0}}}).status_code == 200


def test_sounds_that_cannot_be_made_are_asked_for_again(tmp_path, panel_run, capsys):
    with open_panel(tmp_path, write_test(tmp_path, panel_run, training_trials=0)) as served:
        served.post(1, "begin")
        served.post(1, "level", {"volume": 0.5})
        planned = served.panel.store.open_trial(1)
        song = served.panel.library.song_named(planned.song)
        served.panel._sounds.page(served.panel.store.participant(1), planned).result(30)
        served.clips.forget("panel:1:1:A")
        mixture = song.sources.mixture
        away = mixture.rename(mixture.with_suffix(".away"))
        try:
            reply = served.get(1, "/trial")
            assert reply.status_code == 503
            assert "tell whoever invited you" in reply.json()["error"]
            assert str(mixture.parent) not in reply.text
            assert "participant 1, trial 1" in capsys.readouterr().err
        finally:
            away.rename(mixture)
        assert served.get(1, "/trial").status_code == 200


def test_the_file_has_what_was_answered(served, tmp_path):
    page = at_first_trial(served)
    labels = served.panel.store.trials(1)[1].labels
    values = {label: {"quality": 10 * index} for index, label in enumerate(labels)}
    served.post(1, "trials/2", {"ratings": values, "seconds": 12.5, "n_plays": {"A": 3}})
    db = sqlite3.connect(tmp_path / "test.sqlite")
    row = db.execute("SELECT labels, seconds, n_plays, confirmed, song FROM trials WHERE trial=2 AND participant=1")
    stored, seconds, n_plays, confirmed, song = row.fetchone()
    assert json.loads(stored) == labels
    assert (seconds, json.loads(n_plays), song) == (12.5, {"A": 3}, page["song"])
    assert confirmed is not None
    found = dict(db.execute("SELECT label, value FROM ratings WHERE trial=2 AND participant=1"))
    assert found == {label: scales["quality"] for label, scales in values.items()}
    db.close()


def test_an_answer_that_cannot_be_stored_is_asked_for_again(served, tmp_path, capsys):
    served.enter(1)
    page = served.get(1, "/trial").json()
    served.panel.store._connection.execute("PRAGMA busy_timeout=50")
    with closing(sqlite3.connect(tmp_path / "test.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        reply = served.post(1, "trials/1", answer(page))
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
        assert reply.json() == {"error": "answers cannot be read or stored at the moment; nothing was changed"}
        assert "test.sqlite: cannot be used: database is locked" in capsys.readouterr().err
        assert served.get(1).json()["n_done"] == 0
    assert served.post(1, "trials/1", answer(page)).json()["saved"] is True


def test_a_link_of_any_length_is_nobodys(served):
    for token in ("x", "x" * 500, "%F0%9F%98%80", "%ff", "%00"):
        reply = served.client.get(f"/api/t/{token}")
        assert (reply.status_code, reply.json()) == (404, {"error": "there is no such participant"})
