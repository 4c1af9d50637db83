"""The listening room, opened in a browser with its first versions loaded."""

from collections.abc import Iterator
from contextlib import contextmanager

from browser import open_page
from listening_server import ListeningServer
from playwright.sync_api import Browser, Page, expect

LOADED = "label.version[data-state=loaded]"


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


def clips_of(page: Page) -> list[dict]:
    """Return a list to which all clips are added that the page is told of from now on."""
    told: list[dict] = []

    def note(response) -> None:
        if response.url.endswith("/api/clips") and response.ok:
            told.extend(response.json()["clips"])

    page.on("response", note)
    return told


def clock(page: Page) -> float:
    """Return the position that the page shows, in seconds."""
    minutes, seconds = page.locator("#clock").inner_text().split(":")
    return 60 * int(minutes) + float(seconds)
