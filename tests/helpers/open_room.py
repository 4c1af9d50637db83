"""The listening room, opened in a browser with its first versions loaded."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import open_page, wait_until
from listening_server import ListeningServer, listening_server
from playwright.sync_api import Browser, Locator, Page, Response, Route, expect
from tiny_run import make_tiny_run

LOADED = "label.version[data-state=loaded]"
TWO_SONGS_S = 3.0


@contextmanager
def room_server(folder: Path, song) -> Iterator[ListeningServer]:
    """Serve results of 4 s: one song, two chains, clean stems; own songs can be brought."""
    make_tiny_run(folder, song, duration_s=4.0, scored=False)
    arguments = [folder / "baseline", folder / "e016", "--references", folder / "references"]
    with listening_server([*arguments, "--separator", "cadenza:mini"]) as server:
        yield server


def two_songs(folder: Path, song) -> list[Path | str]:
    """Make results of 3 s of two songs; what the command takes for them."""
    make_tiny_run(folder, song, n_songs=2, duration_s=TWO_SONGS_S, scored=False)
    return [folder / "baseline", folder / "e016", "--references", folder / "references"]


@contextmanager
def room(
    browser: Browser,
    server: ListeningServer,
    *,
    address: str = "",
    n_loaded: int = 3,
    except_for: tuple[str, ...] = (),
    is_untouched: bool = False,
    **view,
) -> Iterator[Page]:
    """Open the room; in the end, nothing may have been complained of that the test did not provoke.

    For Chromium, a look of Playwright at a page is a click of its visitor; ``is_untouched``: none comes before all is
    loaded.
    """
    with open_page(browser, **view) as (page, watched):
        page.goto(f"{server.url}/{address}", wait_until="networkidle" if is_untouched else "load")
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


@contextmanager
def elsewhere(page: Page) -> Iterator[None]:
    """Have another window before that of a page meanwhile, and tell the page so, which Playwright keeps from it."""
    page.context.new_cdp_session(page).send("Emulation.setFocusEmulationEnabled", {"enabled": False})
    other = page.context.new_page()
    other.bring_to_front()
    yield
    other.close()
    page.bring_to_front()


def clock(page: Page) -> float:
    """Return the position that the page shows, in seconds."""
    minutes, seconds = page.locator("#clock").inner_text().split(":")
    return 60 * int(minutes) + float(seconds)


def row(page: Page, version: str) -> Locator:
    """Return the row of a version in the list."""
    return page.locator("label.version", has=page.locator(f'input[value="{version}"]'))


class Held:
    """Requests of a page that are kept waiting, until all are let go: the newest first, as slow networks may do it."""

    def __init__(self, page: Page, pattern: str) -> None:
        self._waiting: list[Route] = []
        self._is_holding = True
        page.route(re.compile(pattern), self._take)

    def _take(self, route: Route) -> None:
        if self._is_holding:
            self._waiting.append(route)
        else:
            route.continue_()

    def let_go(self) -> None:
        self._is_holding = False
        while self._waiting:
            self._waiting.pop().continue_()
