"""A listening test on a tiny run, served in this process."""

from contextlib import contextmanager
from pathlib import Path

import yaml
from starlette.testclient import TestClient

from cadenza_remix.listen.app import create_app
from cadenza_remix.listen.clips import ClipStore
from cadenza_remix.listen.panel.panel import Panel

EAR = {"frequencies_hz": [250, 500, 1000, 2000, 4000, 8000], "levels_db_hl": [10, 15, 20, 40, 60, 70]}
WORSE_EAR = {**EAR, "levels_db_hl": [40, 45, 50, 60, 75, 80]}


def write_test(folder: Path, finished_run: Path, **changes) -> Path:
    settings = {
        "title": "Which remix sounds better?", "type": "mushra", "run": str(finished_run),
        "systems": ["baseline", "e016", "mixture"], "duration_s": 1.5, "seed": 7,
        "training_trials": 1, "break_every": 1,
        "participants": [{"listener": "L5040"}, {"audiogram": {"left": EAR, "right": WORSE_EAR}}],
    }  # fmt: skip
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump({**settings, **changes}), encoding="utf-8")
    return path


class Served:
    """A panel with a client; ``visit`` asks as a participant does."""

    def __init__(self, panel: Panel, clips: ClipStore, client: TestClient) -> None:
        self.panel, self.clips, self.client = panel, clips, client
        self.links = panel.links("http://127.0.0.1:1/")

    def path(self, number: int) -> str:
        return f"/api/t/{self.panel.store.participant(number).token}"

    def get(self, number: int, what: str = ""):
        return self.client.get(self.path(number) + what)

    def post(self, number: int, what: str, body=None):
        return self.client.post(f"{self.path(number)}/{what}", json={} if body is None else body)

    def enter(self, number: int, volume: float = 0.5) -> None:
        assert self.post(number, "begin").json() == {"state": "level"}
        assert self.post(number, "level", {"volume": volume}).status_code == 200

    def log_in(self) -> None:
        assert self.client.post("/api/admin/login", json={"token": self.links.admin_token}).status_code == 200


@contextmanager
def open_panel(folder: Path, test: Path, *, max_bytes: int = 10**9):
    clips = ClipStore(folder / "clips", max_bytes=max_bytes)
    panel = Panel.open(test, clips=clips)
    try:
        with TestClient(create_app(library=None, clips=clips, panel=panel), base_url="http://127.0.0.1") as client:
            yield Served(panel, clips, client)
    finally:
        panel.close()


def rating(page: dict, value: float = 50) -> dict:
    """The same value on all scales of all stimuli, or a preference for A."""
    scales = [scale["id"] for scale in page["scales"]]
    if scales == ["preference"]:
        return {"A": {"preference": 1}, "B": {"preference": 0}}
    return {one["label"]: dict.fromkeys(scales, value) for one in page["stimuli"]}
