"""The listening room, opened in a browser with its first versions loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import open_page, wait_until
from listening_server import ListeningServer, listening_server
from playwright.sync_api import Browser, Page, Response, expect
from tiny_run import make_tiny_run

LOADED = "label.version[data-state=loaded]"


@contextmanager
def room_server(folder: Path, song) -> Iterator[ListeningServer]:
    """Serve results of 4 s: one song, two chains, clean stems; own songs can be brought."""
    make_tiny_run(folder, song, duration_s=4.0, scored=False)
    arguments = [folder / "baseline", folder / "e016", "--references", folder / "references"]
    with listening_server([*arguments, "--separator", "cadenza:mini"]) as server:
        yield server


@contextmanager
def room(
    browser: Browser,
    server: ListeningServer,
    *,
    address: str = "",
    n_loaded: int = 3,
    except_for: tuple[str, ...] = (),
    **view,
) -> Iterator[Page]:
    """Open the room; in the end, nothing may have been complained of that the test did not provoke."""
    with open_page(browser, **view) as (page, watched):
        page.goto(f"{server.url}/{address}")
        page.locator(LOADED).nth(n_loaded - 1).wait_for()
        expect(page.locator("#busy")).to_be_hidden()
        yield page
        watched.assert_clean(except_for=except_for)


class ToldClips:
    """All clips that a page is told of from now on.

    Bodies are read when a test asks for them and not as answers come: reading one lets the test's own thread go on, so
    that it would look before the clip is in the list.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._answers: list[Response] = []
        page.on("response", self._note)

    def _note(self, answer: Response) -> None:
        if answer.url.endswith("/api/clips") and answer.ok:
            self._answers.append(answer)

    def all(self) -> list[dict]:
        """Everything told so far, in order."""
        return [clip for answer in tuple(self._answers) for clip in answer.json()["clips"]]

    def of(self, version: str, *, n_clips: int = 1) -> list[dict]:
        """The clips of a version, once there are so many of them."""

        def found() -> list[dict]:
            return [clip for clip in self.all() if clip["version"] == version]

        wait_until(self._page, lambda: len(found()) >= n_clips, f"{n_clips} clips of {version}")
        return found()


def clock(page: Page) -> float:
    """Return the position that the page shows, in seconds."""
    minutes, seconds = page.locator("#clock").inner_text().split(":")
    return 60 * int(minutes) + float(seconds)
