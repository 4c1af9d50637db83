"""Listening tests as administrators see them: a real browser and the real program."""

import json
import re

import pytest
from browsed_panel import heading, mushra_for
from browser import open_page
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

PANELS = {"mushra": mushra_for(1), "ab": {"participants": []}}


def test_administration(mushra, browser):
    """Wrong and right token, a new participant, their data exported and deleted, after which the link is dead."""
    with open_page(browser) as (page, watch):
        page.goto(f"{mushra.server.url}/admin")
        page.get_by_label("Token").fill("wrong-token-wrong-token")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("wrong token")
        expect(page.get_by_role("table")).to_be_hidden()
        page.get_by_label("Token").fill(mushra.admin_token)
        page.keyboard.press("Enter")
        expect(page.get_by_role("table")).to_be_visible()
        expect(page.get_by_role("alert")).to_be_hidden()

        page.get_by_label("An audiogram").check()
        page.get_by_label("Frequencies").fill("250 500 1000 2000 4000 8000")
        page.get_by_label("Left ear").fill("10, 10, 20, 30, 40, fifty")
        page.get_by_label("Right ear").fill("10, 15, 20, 30, 45, 55")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("expected numbers, found fifty")
        page.get_by_label("Left ear").fill("10, 10, 20, 30, 40, 50")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("Participant 2 is added")
        link = page.get_by_label("Link of participant 2", exact=True).input_value()
        assert link == mushra.link(2)

        with page.expect_download() as exported:
            page.get_by_label("Export the data of participant 2").click()
        data = json.loads(exported.value.path().read_text())
        assert data["audiogram"]["left"]["levels_db_hl"] == [10, 10, 20, 30, 40, 50]
        with page.expect_download() as answers:
            page.get_by_text("Download answers.csv").click()
        assert answers.value.path().read_text().startswith("participant,listener,")

        page.get_by_label("Delete participant 2").click()
        page.get_by_role("button", name="Keep").click()
        assert mushra.rows("SELECT COUNT(*) AS n FROM participants WHERE number=2")[0]["n"] == 1
        page.get_by_label("Delete participant 2").click()
        page.get_by_role("button", name="Delete for good").click()
        expect(page.get_by_role("status")).to_contain_text("Participant 2 is deleted")
        expect(page.get_by_label("Delete participant 2")).to_be_hidden()
        assert mushra.rows("SELECT COUNT(*) AS n FROM trials WHERE participant=2")[0]["n"] == 0
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("status")).to_have_text("Logged out.")
        page.goto(link)
        heading(page, "This link does not work")
        watch.assert_clean(except_for=("401", "404"))


def test_several_with_labels(panels, browser):
    """Five at once, by keyboard alone; each has a label, a link that works, and names that a screen reader tells."""
    panel = panels["ab"].result()
    with open_page(browser) as (page, watch):
        page.goto(f"{panel.server.url}/admin")
        page.get_by_label("Token").fill(panel.admin_token)
        page.keyboard.press("Enter")
        expect(page.get_by_text("Nobody yet.")).to_be_visible()
        form = page.get_by_role("form", name="Add participants")
        count = form.get_by_role("spinbutton", name="How many")
        expect(count).to_have_accessible_description("1 to 100, all of this hearing.")
        label = form.get_by_role("textbox", name="Label (optional)")
        expect(label).to_have_accessible_description(re.compile("Participants never see it"))

        form.get_by_role("combobox", name="Listener").focus()
        page.keyboard.type("N3")
        page.keyboard.press("Tab")
        expect(count).to_be_focused()
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.type("5")
        page.keyboard.press("Tab")
        expect(label).to_be_focused()
        page.keyboard.type("pilot")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("label: cannot be counted up")
        assert panel.rows("SELECT COUNT(*) AS n FROM participants")[0]["n"] == 0
        label.focus()
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.type("P08")
        page.keyboard.press("Tab")
        expect(form.get_by_role("button", name="Add", exact=True)).to_be_focused()
        page.keyboard.press("Space")
        expect(page.get_by_role("status")).to_have_text("Participants 1 to 5 are added. Their links are in the table.")
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(count).to_have_value("1")
        expect(label).to_have_value("")

        expect(page.get_by_role("columnheader", name="Label")).to_be_visible()
        expect(page.locator("td[data-name=Label]")).to_have_text(["P08", "P09", "P10", "P11", "P12"])
        links = page.get_by_role("textbox", name=re.compile("^Link of participant"))
        expect(links).to_have_count(5)
        addresses = [links.nth(place).input_value() for place in range(5)]
        assert addresses == [panel.link(number) for number in range(1, 6)]
        page.get_by_role("button", name="Delete participant 5 (P12)").click()
        expect(page.get_by_role("dialog")).to_contain_text("participant 5 (P12)")
        page.get_by_role("button", name="Delete for good").click()
        expect(links).to_have_count(4)
        page.goto(addresses[1])
        heading(page, re.compile("."))
        expect(page.get_by_role("button", name="Begin")).to_be_visible()
        assert "P09" not in page.content()
        watch.assert_clean(except_for=("401", "422"))


@pytest.mark.parametrize("width", [360, 1100])
def test_a_long_label_fits(panels, browser, width):
    panel = panels["ab"].result()
    with open_page(browser, width=width) as (page, watch):
        page.goto(f"{panel.server.url}/admin")
        page.get_by_label("Token").fill(panel.admin_token)
        page.keyboard.press("Enter")
        page.get_by_role("combobox", name="Listener").fill("N3")
        page.get_by_label("Label (optional)").fill("W" * 40)
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("cell", name="W" * 40).last).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        watch.assert_clean(except_for=("401",))
