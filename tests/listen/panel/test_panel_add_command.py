"""``listen --test TEST.yaml --add-participants N``: links for participants without a browser."""

import re
import sqlite3
from contextlib import closing

import httpx
import pytest
from listening_server import listening_server
from open_panel import open_panel, rating, write_test

from cadenza_remix.cli import main

LINK = re.compile(r"http://127\.0\.0\.1:8765/t/[\w-]{32}")


@pytest.fixture
def call(capsys):
    """Return what runs the command in this process: status, standard output, standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["listen", *map(str, arguments)])
        return left.value.code or 0, *capsys.readouterr()

    return run


def people(path):
    query = "SELECT number, token, listener, label FROM participants LEFT JOIN participant_labels ON participant=number"
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"{query} ORDER BY number").fetchall()


def test_links_one_a_line_before_there_is_a_server(call, tmp_path, panel_run):
    test = write_test(tmp_path, panel_run)
    status, links, told = call("--test", test, "--add-participants", 3, "--listener", "N3", "--label", "P08")
    assert status == 0
    assert len(links.splitlines()) == 3
    assert all(LINK.fullmatch(line) for line in links.splitlines())
    # The first start tells the administrators' token, wherever links go.
    assert re.fullmatch(r"Administrators: http://127\.0\.0\.1:8765/admin, token [\w-]{32}\n", told)
    found = people(tmp_path / "test.sqlite")
    assert [(number, listener, label) for number, _, listener, label in found][2:] == [
        (3, "N3", "P08"), (4, "N3", "P09"), (5, "N3", "P10"),
    ]  # fmt: skip
    assert [line.rsplit("/", 1)[1] for line in links.splitlines()] == [token for _, token, _, _ in found[2:]]
    status, links, told = call("--test", test, "--add-participants", 1, "--listener", "L5076", "--port", 9000)
    assert (status, told) == (0, "")
    assert links == f"http://127.0.0.1:9000/t/{people(tmp_path / 'test.sqlite')[5][1]}\n"
    assert not (tmp_path / "test.sqlite-lock").exists()
    with open_panel(tmp_path, test) as served:
        assert served.get(5).json()["state"] == "welcome"
        assert served.panel.store.change is None


def test_beside_a_running_server(call, tmp_path, panel_run):
    test, results = write_test(tmp_path, panel_run), tmp_path / "answers.sqlite"
    arguments = ["--test", test, "--results", results]
    with listening_server(arguments) as server:
        adding = [*arguments, "--add-participants", 2, "--listener", "N3", "--port", server.port]
        status, links, told = call(*adding)
        assert (status, told) == (0, "")
        for link in links.splitlines():
            assert httpx.get(link).status_code == 200
            assert httpx.get(link.replace("/t/", "/api/t/")).json()["state"] == "welcome"
        write_test(tmp_path, panel_run, seed=8)
        status, links, told = call(*adding)
        assert (status, links) == (2, "")
        assert "made under other settings: seed differs" in told
        assert len(told.splitlines()) == 1
        assert len(people(results)) == 4


def test_changed_settings_are_told_of(call, tmp_path, panel_run):
    test = write_test(tmp_path, panel_run)
    with open_panel(tmp_path, test):
        pass
    write_test(tmp_path, panel_run, seed=8)
    status, links, told = call("--test", test, "--add-participants", 1, "--listener", "N3")
    assert (status, len(links.splitlines())) == (0, 1)
    expected = "settings changed (seed); no answers yet, so nothing was lost: 2 links stay"
    assert told == f"{tmp_path / 'test.sqlite'}: {expected}\n"
    write_test(tmp_path, panel_run, seed=9)
    with listening_server(["--test", test]) as server:
        assert (
            server.output()
            .splitlines()[0]
            .endswith("settings changed (seed); no answers yet, so nothing was lost: 3 links stay")
        )
        link = f"{server.url}/api/t/{people(tmp_path / 'test.sqlite')[0][1]}"
        with httpx.Client(base_url=link, timeout=60) as participant:
            participant.post("begin", json={})
            participant.post("level", json={"volume": 0.5})
            page = participant.get("trial").json()
            answer = {"ratings": rating(page), "seconds": 1, "n_plays": {}}
            assert participant.post(f"trials/{page['trial']}", json=answer).status_code == 200
    write_test(tmp_path, panel_run, seed=10, title="Another one")
    status, links, told = call("--test", test, "--add-participants", 1, "--listener", "N3")
    assert (status, links) == (2, "")
    assert "made under other settings: title, seed differ (a changed test needs another file" in told


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--add-participants", "2", "--listener", "N3"], "--add-participants: belongs to a listening test"),
        (["--test", "test.yaml", "--label", "P1"], "--label: belongs to added participants"),
        (["--test", "test.yaml", "--listener", "N3"], "--listener: belongs to added participants"),
        (["run", "--test", "test.yaml", "--add-participants", "1"], "--add-participants: adds to a test and ends"),
        (["--test", "test.yaml", "--add-participants", "1"], "--listener: missing: expected a listener of the run"),
        (["--test", "test.yaml", "--add-participants", "0", "--listener", "N3"], "--add-participants"),
        (["--test", "test.yaml", "--add-participants", "101", "--listener", "N3"], "--add-participants"),
        (["--test", "test.yaml", "--add-participants", "1", "--listener", "N9"], "unknown listener 'N9'"),
        (
            ["--test", "test.yaml", "--add-participants", "2", "--listener", "N3", "--label", "P"],
            "cannot be counted up",
        ),
        (
            ["--test", "test.yaml", "--add-participants", "1", "--listener", "N3", "--port", "0"],
            "--port: leads nowhere",
        ),
        (["--test", "none.yaml", "--add-participants", "1", "--listener", "N3"], "none.yaml"),
    ],
)
def test_wrong_calls_are_one_line_and_add_nobody(call, tmp_path, panel_run, monkeypatch, arguments, line):
    test = write_test(tmp_path, panel_run)
    with open_panel(tmp_path, test):
        pass
    monkeypatch.chdir(tmp_path)
    status, links, told = call(*arguments)
    assert (status, links) == (2, "")
    assert line in told
    assert len(told.splitlines()) == 1
    assert len(people(tmp_path / "test.sqlite")) == 2
