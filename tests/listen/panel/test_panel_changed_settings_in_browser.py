"""Settings are changed while a participant has a page open: what was meant for it goes nowhere."""

import pytest
import yaml
from browsed_panel import Panel, confirm, enter, heading, mushra_for, rate, slider, values_for
from browser import open_page
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

PANELS = {"mushra": mushra_for(1)}


def change(panel: Panel, **changes) -> None:
    """End the program, change the settings, and start it again."""
    panel.server.stop()
    settings = yaml.safe_load(panel.file.read_text())
    panel.file.write_text(yaml.safe_dump({**settings, **changes}))
    panel.start()
    assert "settings changed" in panel.server.output()


def test_ratings_of_a_page_of_the_old_settings_do_not_come_back(mushra, browser):
    """Neither those that a reload would show again, nor an answer that was being sent when the server was away."""
    with open_page(browser) as (page, watch):
        link = mushra.link(1)
        enter(page, link)
        labels = mushra.labels(1, 1)
        rate(page, values_for(labels, 40))
        change(mushra, seed=8, loudness_lufs=-30.0)
        page.reload()
        heading(page, "Welcome")
        enter(page, link)
        expect(slider(page, "A")).to_be_visible()
        expect(page.get_by_role("button", name="Confirm and go on")).to_have_attribute("aria-disabled", "true")
        assert mushra.answers(1) == {}

        rate(page, values_for(labels, 30))
        mushra.kill()
        confirm(page)
        expect(page.get_by_text("Your answer is not saved yet")).to_be_visible()
        page.context.set_offline(True)  # the page does not see the server come back before it is loaded again
        change(mushra, seed=9)
        page.context.set_offline(False)
        page.goto(link)
        heading(page, "Welcome")
        enter(page, link)
        expect(slider(page, "A")).to_be_visible()
        assert mushra.answers(1) == {}
        rate(page, values_for(labels, 50))
        confirm(page)
        heading(page, "That was the training")
        (given,) = mushra.answers(1).values()
        assert {label: ratings["quality"] for label, ratings in given.items()} == values_for(labels, 50)
        watch.assert_clean(except_for=("409", "ERR_", "503"))
