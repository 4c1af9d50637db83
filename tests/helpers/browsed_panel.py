"""Listening tests held by the real program, and what participants do on their pages in a browser."""

import json
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from listening_server import READY_S, ListeningServer, free_port
from playwright.sync_api import Page, expect

SYSTEMS = ("baseline", "e016", "mixture")
PEOPLE = [{"listener": "L5040"}, {"listener": "L5076"}]
_COMMON = {
    "title": "Which remix sounds better?", "systems": ["baseline", "e016"], "songs": "all", "duration_s": 1.0,
    "seed": 7, "training_trials": 0, "break_every": 0, "participants": PEOPLE[:1],
}  # fmt: skip


class Panel:
    """A listening test on disk and the program that holds it, which can be killed and started again."""

    def __init__(self, folder, settings):
        self.file, self.results = folder / "test.yaml", folder / "test.sqlite"
        self.file.write_text(yaml.safe_dump(settings))
        self.port = free_port()
        self.server = None
        self.start()
        self.admin_token = self._admin_token()

    def start(self):
        self.server = ListeningServer(["--test", self.file, "--results", self.results], port=self.port)

    def kill(self):
        self.server.kill()

    def _admin_token(self):
        """Return the token that the first start tells, in a line after those by which a server counts as ready."""
        deadline = time.monotonic() + READY_S
        while not (found := re.search(r"token ([\w-]{20,})\s", self.server.output())):
            assert time.monotonic() < deadline, self.server.output()
            time.sleep(0.05)
        return found.group(1)

    def rows(self, query, *values):
        """Read from the results as another program would."""
        with sqlite3.connect(f"file:{self.results}?mode=ro", uri=True) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(query, values)]

    def link(self, number):
        token = self.rows("SELECT token FROM participants WHERE number=?", number)[0]["token"]
        return f"{self.server.url}/t/{token}"

    def answers(self, number):
        """Confirmed ratings: {trial: {label: {scale: value}}}."""
        found = {}
        for row in self.rows("SELECT * FROM ratings WHERE participant=? ORDER BY trial, label", number):
            found.setdefault(row["trial"], {}).setdefault(row["label"], {})[row["scale"]] = row["value"]
        return found

    def labels(self, number, trial):
        query = "SELECT labels FROM trials WHERE participant=? AND trial=?"
        return json.loads(self.rows(query, number, trial)[0]["labels"])


@contextmanager
def hold_panels(
    folder: Path, finished_run: Path, tests: Mapping[str, Mapping[str, Any]]
) -> Iterator[Mapping[str, Future[Panel]]]:
    """Hold a test of each type, given with what is special about it, by a program of its own.

    They start side by side, and while a browser starts.
    """

    def start(name: str, settings: Mapping[str, Any]) -> Panel:
        own = folder / name
        own.mkdir()
        return Panel(own, _COMMON | {"type": name, "run": str(finished_run)} | settings)

    with ThreadPoolExecutor() as threads:
        starting = {name: threads.submit(start, name, settings) for name, settings in tests.items()}
        yield starting
        list(threads.map(lambda panel: panel.result().server.stop(), starting.values()))


def mushra_for(n_participants: int) -> dict[str, Any]:
    """Settings of a MUSHRA test with a page to train on and two to rate, a break between them."""
    people = [PEOPLE[place % len(PEOPLE)] for place in range(n_participants)]
    return {"systems": list(SYSTEMS), "training_trials": 1, "break_every": 1, "participants": people}


def enter(page: Page, link: str) -> None:
    """From the welcome through the level check to the first page."""
    page.goto(link)
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("button", name="Play the test sound").click()
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Go on").click()


def heading(page: Page, name: str | re.Pattern) -> None:
    expect(page.get_by_role("heading", level=2, name=name)).to_be_visible()


def slider(page: Page, label: str, scale: str = "quality"):
    return page.get_by_role("slider", name=re.compile(f"Stimulus {label}, {scale}"))


def rate(page: Page, values: dict[str, int]) -> None:
    """Play every stimulus and give it its value."""
    for label, value in values.items():
        page.get_by_role("button", name=re.compile(f"Play stimulus {label} ")).click()
        slider(page, label).fill(str(value))


def confirm(page: Page) -> None:
    page.get_by_role("button", name="Confirm and go on").click()


def values_for(labels, start):
    return {label: (start + 7 * place) % 101 for place, label in enumerate(sorted(labels))}
