"""The administrators' API: nothing without the token, and all that is known of one participant with it."""

import csv
import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from fastapi import FastAPI
from open_panel import EAR, open_panel, rating, write_test

from cadenza_remix.errors import InputError
from cadenza_remix.listen.clips import ClipStore
from cadenza_remix.listen.panel.additions import Addition
from cadenza_remix.listen.panel.admin_api import MOST_ATTEMPTS, Attempts, Sessions
from cadenza_remix.listen.panel.config import ParticipantChoice
from cadenza_remix.listen.panel.design import plan_trials
from cadenza_remix.listen.panel.panel import Panel
from cadenza_remix.listen.panel.panel_api import panel_router
from cadenza_remix.listen.panel.planning import TestPlanner
from cadenza_remix.listen.panel.roster import ADMIN_TOKEN_VARIABLE

INSIDE = [
    ("GET", "/api/admin/test"),
    ("GET", "/api/admin/participants"),
    ("POST", "/api/admin/participants"),
    ("GET", "/api/admin/participants/1/export"),
    ("DELETE", "/api/admin/participants/1"),
    ("GET", "/api/admin/links.csv"),
    ("GET", "/api/admin/answers.csv"),
    ("GET", "/api/admin/questions.csv"),
    ("POST", "/api/admin/logout"),
]


@pytest.fixture
def served(tmp_path, panel_run):
    with open_panel(tmp_path, write_test(tmp_path, panel_run)) as served:
        yield served


def ask(served, method, path, body=None, **options):
    if method == "POST":
        options["json"] = {} if body is None else body
    return served.client.request(method, path, **options)


def added(served, body):
    """Add participants; their numbers."""
    reply = ask(served, "POST", "/api/admin/participants", body)
    assert reply.status_code == 201, reply.text
    return [person["number"] for person in reply.json()["participants"]]


def answer_first(served, number):
    served.enter(number)
    page = served.get(number, "/trial").json()
    body = {"ratings": rating(page), "seconds": 1, "n_plays": {}}
    assert served.post(number, "trials/1", body).status_code == 200
    return page


@pytest.mark.parametrize(("method", "path"), INSIDE)
def test_nothing_without_the_token(served, method, path):
    for cookies in ({}, {"cadenza_admin": "x"}, {"cadenza_admin": served.links.admin_token}):
        served.client.cookies.clear()
        served.client.cookies.update(cookies)
        reply = ask(served, method, path, {"listener": "L5040"})
        assert reply.status_code == 401
        assert list(reply.json()) == ["error"]
    assert len(served.panel.store.participants()) == 2


def test_every_route_inside_was_asked(served):
    # A route that is added must be added above.
    known = {(method, re.sub(r"/1(?=/|$)", "/{number}", path)) for method, path in INSIDE}
    app = FastAPI()
    app.include_router(panel_router(served.panel))
    paths = app.openapi()["paths"]
    found = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    inside = {(method, path) for method, path in found if "/api/admin" in path}
    assert inside - {("POST", "/api/admin/login")} == known


def test_login(served):
    reply = served.client.post("/api/admin/login", json={"token": served.links.admin_token})
    assert reply.status_code == 200
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert served.links.admin_token.lower() not in cookie
    assert served.client.get("/api/admin/test").status_code == 200
    secret = served.client.cookies["cadenza_admin"]
    assert ask(served, "POST", "/api/admin/logout").status_code == 200
    served.client.cookies.set("cadenza_admin", secret, path="/api/admin")
    assert served.client.get("/api/admin/test").status_code == 401


def test_wrong_tokens_and_too_many_of_them(served):
    right = {"token": served.links.admin_token}
    for body in ({}, {"token": 5}, {"token": "x" * 2000}, {**right, "more": 1}, [1]):
        assert served.client.post("/api/admin/login", json=body).status_code == 422
    for _ in range(MOST_ATTEMPTS):
        reply = served.client.post("/api/admin/login", json={"token": "wrong"})
        assert (reply.status_code, reply.json()) == (401, {"error": "wrong token"})
        assert "set-cookie" not in reply.headers
    reply = served.client.post("/api/admin/login", json=right)
    assert reply.status_code == 429
    assert reply.headers["retry-after"] == "60"


def test_attempts_are_forgotten_and_counted_by_address(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    attempts = Attempts()
    assert [attempts.begin("a") for _ in range(MOST_ATTEMPTS + 1)] == [True] * MOST_ATTEMPTS + [False]
    assert attempts.begin("b")
    now[0] += 61
    assert attempts.begin("a")
    attempts.succeeded("a")
    assert all(attempts.begin("a") for _ in range(MOST_ATTEMPTS))


def test_sessions_end(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    sessions = Sessions()
    secret = sessions.start()
    assert sessions.is_open(secret)
    assert not sessions.is_open(None)
    now[0] += 12 * 3600 + 1
    assert not sessions.is_open(secret)


def test_the_test_and_its_participants(served):
    served.log_in()
    test = served.client.get("/api/admin/test").json()
    assert (test["type"], test["systems"], test["n_participants"], test["n_finished"]) == (
        "mushra", ["baseline", "e016", "mixture"], 2, 0,
    )  # fmt: skip
    assert len(test["songs"]) == 2
    assert "folder" not in test
    answer_first(served, 1)
    first, second = served.client.get("/api/admin/participants").json()
    assert (first["number"], first["listener"], first["state"], first["n_done"], first["n_trials"]) == (
        1, "L5040", "ready", 1, 3,
    )  # fmt: skip
    assert first["link"] == "/t/" + served.panel.store.participant(1).token
    assert second["listener"] == "own audiogram"
    assert served.client.get(first["link"]).status_code == 200


def test_adding_participants(served):
    served.log_in()
    for number, body in enumerate(
        [{"listener": "L5076"}, {"listener": "N3"}, {"audiogram": {"left": EAR, "right": EAR}}], start=3
    ):
        reply = ask(served, "POST", "/api/admin/participants", body)
        assert reply.status_code == 201
        assert [one["number"] for one in reply.json()["participants"]] == [number]
        assert served.get(number).json()["state"] == "welcome"
    for body in ({}, {"listener": "L1"}, {"listener": 5}, {"audiogram": {"left": EAR}}, {"name": "Ann"},
                 {"audiogram": {"left": EAR, "right": {**EAR, "levels_db_hl": ["a"] * 6}}}):  # fmt: skip
        reply = ask(served, "POST", "/api/admin/participants", body)
        assert reply.status_code == 422, body
        assert "\n" not in reply.json()["error"]
    assert len(served.panel.store.participants()) == 5


def test_two_administrators_add_at_once(served, monkeypatch):
    both = threading.Barrier(2)
    numbered = type(served.panel.store).next_number

    def next_number(store):
        number = numbered(store)
        with suppress(threading.BrokenBarrierError):
            both.wait(0.3)  # each reads before the other one has added, where nothing keeps them apart
        return number

    monkeypatch.setattr(type(served.panel.store), "next_number", next_number)
    with ThreadPoolExecutor(2) as threads:
        both_added = list(threads.map(served.panel.roster.add, [Addition(ParticipantChoice(listener="N3"))] * 2))
    assert sorted(person.number for people in both_added for person in people) == [3, 4]


def test_export_and_answers(served):
    served.log_in()
    answer_first(served, 1)
    answer_first(served, 2)
    reply = served.client.get("/api/admin/participants/1/export")
    assert reply.headers["content-disposition"] == 'attachment; filename="participant-1.json"'
    assert reply.json() == served.panel.store.export(1)
    assert reply.json()["trials"][0]["ratings"]["A"] == {"quality": 50}
    assert served.client.get("/api/admin/participants/9/export").status_code == 404
    reply = served.client.get("/api/admin/answers.csv")
    assert reply.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert len(rows) == 2 * 6
    assert {row["participant"] for row in rows} == {"1", "2"}
    assert {row["stimulus"] for row in rows if row["participant"] == "1"} == {
        "baseline", "e016", "mixture", "hidden_reference", "anchor_3500", "anchor_7000",
    }  # fmt: skip
    assert served.panel.store.participant(1).token not in reply.text


def test_all_links_as_a_table(served):
    served.log_in()
    assert added(served, {"listener": "N3", "label": "=P1, ä"}) == [3]
    served.enter(2)
    reply = served.client.get("/api/admin/links.csv")
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.headers["content-disposition"] == 'attachment; filename="links.csv"'
    assert reply.headers["cache-control"] == "no-store"
    rows = list(csv.reader(io.StringIO(reply.text)))
    paths = [f"/t/{person.token}" for person in served.panel.store.participants()]
    assert rows == [
        ["number", "label", "listener", "state", "link"],
        ["1", "", "L5040", "welcome", f"http://127.0.0.1{paths[0]}"],
        ["2", "", "own audiogram", "training", f"http://127.0.0.1{paths[1]}"],
        ["3", "'=P1, ä", "N3", "welcome", f"http://127.0.0.1{paths[2]}"],
    ]
    behind = served.client.get("/api/admin/links.csv?scheme=https", headers={"host": "127.0.0.1:8443"})
    links = [row["link"] for row in csv.DictReader(io.StringIO(behind.text))]
    assert links == [f"https://127.0.0.1:8443{path}" for path in paths]
    assert served.client.get("/api/admin/links.csv?scheme=javascript").status_code == 422
    assert served.client.get("/api/admin/links.csv", headers={"host": "elsewhere.example"}).status_code == 400


def test_deleting_a_participant(served, tmp_path):
    served.log_in()
    page = answer_first(served, 1)
    link, token = served.path(1), served.panel.store.participant(1).token
    assert served.client.get(page["stimuli"][0]["url"]).status_code == 200
    reply = served.client.delete("/api/admin/participants/1")
    assert (reply.status_code, reply.json()) == (200, {"deleted": 1})
    assert served.client.get(link).status_code == 404
    assert served.client.post(f"{link}/begin", json={}).status_code == 404
    assert served.client.get("/api/admin/participants/1/export").status_code == 404
    assert served.client.delete("/api/admin/participants/1").status_code == 404
    # What was made for their ears is gone as well, and so are the bytes on the disk.
    assert served.client.get(page["stimuli"][0]["url"]).status_code == 404
    for path in tmp_path.glob("test.sqlite*"):
        assert token.encode() not in path.read_bytes()
    assert [person["number"] for person in served.client.get("/api/admin/participants").json()] == [2]


def test_the_deleted_are_not_made_again(tmp_path, panel_run):
    path = write_test(tmp_path, panel_run)
    with open_panel(tmp_path, path) as served:
        served.panel.delete(1)
    with open_panel(tmp_path, path) as again:
        assert [person.number for person in again.panel.store.participants()] == [2]


def test_the_number_of_the_deleted_is_not_given_again(tmp_path, panel_run):
    path = write_test(tmp_path, panel_run)
    with open_panel(tmp_path, path) as served:
        served.log_in()
        assert added(served, {"listener": "L5040"}) == [3]
        for number in (2, 3):
            assert served.client.delete(f"/api/admin/participants/{number}").status_code == 200
        assert added(served, {"listener": "L5040"}) == [4]
        served.panel.delete(4)
    with open_panel(tmp_path, path) as again:
        (person,) = again.panel.roster.add(Addition(ParticipantChoice(listener="L5076")))
        assert person.number == 5
        # The order is still that of the number, as if nobody had been deleted.
        planned = plan_trials(again.panel.settings, 5, again.panel._passages)
        assert again.panel.store.trials(5) == list(planned)
        assert [one.number for one in again.panel.store.participants()] == [1, 5]


def test_the_deleted_make_room_for_others(served, monkeypatch):
    monkeypatch.setattr(TestPlanner, "most_participants", 2)
    served.log_in()
    reply = ask(served, "POST", "/api/admin/participants", {"listener": "L5040"})
    assert (reply.status_code, reply.json()) == (409, {"error": "too many participants: at most 2"})
    served.panel.delete(1)
    assert added(served, {"listener": "L5040"}) == [3]


def test_a_set_up_that_was_killed_goes_on(tmp_path, panel_run):
    path = write_test(tmp_path, panel_run)
    with open_panel(tmp_path, path) as served:
        kept = served.panel.store.participant(1).token
        served.panel.store.delete(2)
        with served.panel.store._transaction() as db:  # as it is before the last step
            db.execute("UPDATE test SET admin_token_hash=NULL, last_number=1")
    with open_panel(tmp_path, path) as again:
        assert [person.number for person in again.panel.store.participants()] == [1, 2]
        assert again.panel.store.participant(1).token == kept
        assert again.links.admin_token is not None


def test_the_token_is_told_once_and_kept_as_a_hash(tmp_path, panel_run, monkeypatch):
    path = write_test(tmp_path, panel_run)
    with open_panel(tmp_path, path) as served:
        token = served.links.admin_token
        assert len(token) == 32
        assert served.links.admin == "http://127.0.0.1:1/admin"
        assert served.links.participants[1].startswith("http://127.0.0.1:1/t/")
    for file in tmp_path.glob("test.sqlite*"):
        assert token.encode() not in file.read_bytes()
    with open_panel(tmp_path, path) as again:
        assert again.links.admin_token is None
        assert again.panel.roster.is_admin(token)
        assert not again.panel.roster.is_admin("")
        assert not again.panel.roster.is_admin("\ud800")
    monkeypatch.setenv(ADMIN_TOKEN_VARIABLE, "my own long token")
    with open_panel(tmp_path, path) as own:
        assert own.links.admin_token is None  # whoever gave it knows it
        assert own.panel.roster.is_admin("my own long token")
        assert not own.panel.roster.is_admin(token)
    monkeypatch.setenv(ADMIN_TOKEN_VARIABLE, "short")
    with pytest.raises(InputError, match="CADENZA_ADMIN_TOKEN: too short: expected 16 characters, found 5"):
        Panel.open(path, clips=ClipStore(tmp_path / "more", max_bytes=10**6))


def test_one_server_holds_a_file_of_answers(tmp_path, panel_run):
    """The sounds of a participant whom one deletes would stay in the other."""
    path = write_test(tmp_path, panel_run)
    more = ClipStore(tmp_path / "more", max_bytes=10**6)
    with open_panel(tmp_path, path):
        for _ in range(2):
            with pytest.raises(InputError, match=r"test\.sqlite: another server holds this test: expected one server"):
                Panel.open(path, clips=more)
    assert [file.name for file in tmp_path.glob("test.sqlite*")] == ["test.sqlite"]
    (tmp_path / "test.sqlite-lock").touch()  # as a killed one leaves it
    Panel.open(path, clips=more).close()
