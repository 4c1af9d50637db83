"""``listen --test TEST.yaml --add-participants N``: links for participants without a browser."""

import re
import sqlite3
from contextlib import closing

import httpx
import pytest
from listening_server import listening_server
from open_panel import open_panel, rating, write_test
from small_disk import needs_small_disk, run_on_small_disk

LINK = re.compile(r"http://127\.0\.0\.1:8765/t/[\w-]{32}")


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
        adding = [*arguments, "--add-participants", 2, "--listener", "N3"]
        status, links, told = call(*adding)
        assert (status, told) == (0, "")
        assert all(link.startswith(f"{server.url}/t/") for link in links.splitlines())
        for link in links.splitlines():
            assert httpx.get(link).status_code == 200
            assert httpx.get(link.replace("/t/", "/api/t/")).json()["state"] == "welcome"
        write_test(tmp_path, panel_run, seed=8)
        status, links, told = call(*adding)
        assert (status, links) == (2, "")
        assert "made under other settings: seed differs (nobody has answered yet: a server that is started" in told
        assert len(told.splitlines()) == 1
        assert len(people(results)) == 4


def test_a_server_takes_changed_settings_over_and_nobody_else(call, tmp_path, panel_run):
    test = write_test(tmp_path, panel_run)
    with open_panel(tmp_path, test):
        pass
    write_test(tmp_path, panel_run, seed=9)
    status, links, told = call("--test", test, "--add-participants", 1, "--listener", "N3")
    assert (status, links, len(people(tmp_path / "test.sqlite"))) == (2, "", 2)
    assert "made under other settings: seed differs (nobody has answered yet: a server that is started" in told
    with listening_server(["--test", test]) as server:
        assert (
            server.output()
            .splitlines()[0]
            .endswith("settings changed (seed); no answers yet, so nothing was lost: 2 links stay")
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
    assert "made under other settings: title, seed differ (a changed test needs another file: --results)" in told


def test_the_file_of_another_test_is_not_taken_over(call, tmp_path, panel_run):
    test = write_test(tmp_path, panel_run)
    with open_panel(tmp_path, test):
        pass
    other = tmp_path / "other"
    other.mkdir()
    mistaken = ["--test", write_test(other, panel_run, title="Another one"), "--results", tmp_path / "test.sqlite"]
    for options in ([], ["--add-participants", 1, "--listener", "N3"]):
        status, links, told = call(*mistaken, *options)
        assert (status, links, len(told.splitlines())) == (2, "", 1)
        assert "title differs (is it another test's?" in told
    with open_panel(tmp_path, test) as served:
        assert served.panel.store.change is None
        assert len(served.panel.store.participants()) == 2


def test_one_lock_whatever_links_lead_to_the_file(call, tmp_path, panel_run):
    test = write_test(tmp_path, panel_run)
    (tmp_path / "link.sqlite").symlink_to("test.sqlite")
    with listening_server(["--test", test]):
        status, _, told = call("--test", test, "--results", tmp_path / "link.sqlite", "--port", 0)
        assert status == 2
        assert "another server holds this test" in told


def test_the_address_of_a_server_that_was_killed_is_not_told(call, tmp_path, panel_run):
    test = write_test(tmp_path, panel_run)
    with listening_server(["--test", test]) as server:
        server.kill()
    assert (tmp_path / "test.sqlite-lock").read_text() == f"{server.url}\n"
    status, links, _ = call("--test", test, "--add-participants", 1, "--listener", "N3", "--port", 9000)
    assert status == 0
    assert links.startswith("http://127.0.0.1:9000/t/")


#: A file of answers is opened, and a new one made, where nothing can be written any more.
FULL = """
import contextlib, sys
from pathlib import Path
from cadenza_remix.errors import OutputError
from cadenza_remix.listen.panel.store import PanelStore

class Planner:
    most_participants = 0

settings = {"title": "a test", "type": "ab", "participants": []}
folder = Path(sys.argv[1])
PanelStore(folder / "old.sqlite", settings).close()
with contextlib.suppress(OSError), (folder / "other").open("wb", buffering=0) as other:
    while True:
        other.write(bytes(4096))
for name in ("old.sqlite", "new.sqlite"):
    try:
        PanelStore(folder / name, settings, planner=Planner())
    except OutputError as error:
        print(error)
assert not (folder / "new.sqlite").exists()
(folder / "other").unlink()
PanelStore(folder / "old.sqlite", settings).close()
"""


@needs_small_disk
def test_a_full_disk_is_called_so(tmp_path):
    for line, name in zip(run_on_small_disk(tmp_path, FULL).splitlines(), ("old", "new"), strict=True):
        assert line.startswith(f"{tmp_path}/{name}.sqlite: cannot be written: ")
        assert "full" in line


@pytest.mark.parametrize("results", [".", "/"])
def test_a_folder_cannot_hold_the_answers(call, tmp_path, panel_run, results):
    status, _, told = call("--test", write_test(tmp_path, panel_run), "--results", results, "--port", 0)
    assert status == 2
    assert told.endswith(f"{results}: cannot be written: is a folder\n")


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
