"""Debian's chromium driven by Playwright, and what is watched on every page: its console, its requests."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]
AUTOPLAY = "--autoplay-policy=no-user-gesture-required"
TIMEOUT_MS = 30_000


class Watched:
    """What went wrong on a page, by its console and its requests.

    ``problems`` are lines of console errors (violations of the content security policy are among them) and uncaught
    exceptions; ``requests`` are all addresses asked for.
    """

    def __init__(self, page: Page) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        page.on("request", lambda request: self.requests.append(request.url))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def other_hosts(self) -> list[str]:
        """Addresses that are neither on the loopback device nor made by the page itself."""
        own = ("127.0.0.1", "localhost")
        return [
            url
            for url in self.requests
            if urlsplit(url).scheme not in ("data", "blob", "about") and urlsplit(url).hostname not in own
        ]

    def assert_clean(self, *, except_for: tuple[str, ...] = ()) -> None:
        """Nothing was complained of but what a test provoked, and no other host was asked."""
        complaints = [line for line in self.problems if not any(part in line for part in except_for)]
        assert complaints == []
        assert self.other_hosts() == []


def wait_until(page: Page, holds: Callable[[], bool], expected: str) -> None:
    """Let the page go on until something holds that its events tell: these may come after what is seen on it."""
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not holds():
        assert time.monotonic() < deadline, f"expected {expected}, not so after {TIMEOUT_MS / 1000:.0f} s"
        page.wait_for_timeout(50)


@contextmanager
def open_browser(*, autoplay: bool = True) -> Iterator[Browser]:
    """Start chromium without a window; without ``autoplay``, sound waits for a click, as it does for visitors.

    A machine without chromium fails the test and says what to install.
    """
    program = shutil.which("chromium")
    assert program is not None, "no chromium found: apt-get install chromium"
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        arguments = [*ARGUMENTS, *([AUTOPLAY] if autoplay else [])]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(
    browser: Browser,
    *,
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    touch: bool = False,
    script: str | None = None,
) -> Iterator[tuple[Page, Watched]]:
    """Open a page in a fresh profile (no cookies of another test), watched from its first request on.

    A ``script`` runs before those of the page.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        has_touch=touch,
        accept_downloads=True,
    )
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    if script is not None:
        page.add_init_script(script)
    try:
        yield page, Watched(page)
    finally:
        context.close()
