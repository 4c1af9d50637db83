"""Listening tests as administrators see them: a real browser and the real program."""

import csv
import json
import re

import pytest
from browsed_panel import heading, mushra_for
from browser import open_page
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

PANELS = {"mushra": mushra_for(1), "ab": {"participants": []}, "scales": {"participants": []}}
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {value: undefined})"
"""As browsers have it on pages of other machines that come without HTTPS."""


def log_in(page, panel):
    page.goto(f"{panel.server.url}/admin")
    page.get_by_label("Token").fill(panel.admin_token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Logged in.")


def add(page, listener, count, label):
    page.get_by_role("combobox", name="Listener").fill(listener)
    page.get_by_role("spinbutton", name="How many").fill(str(count))
    page.get_by_label("Label (optional)").fill(label)
    page.get_by_role("button", name="Add", exact=True).click()


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


def test_all_links_at_once(panels, browser):
    """Copied, shown to be copied where the browser keeps its clipboard, and as a file; for nobody, there is none."""
    panel = panels["scales"].result()
    buttons = {"Copy all links": "button", "Download links.csv": "link"}
    with open_page(browser) as (page, watch):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        log_in(page, panel)
        expect(page.get_by_text("Nobody yet.")).to_be_visible()
        for name, role in buttons.items():
            expect(page.get_by_role(role, name=name)).to_be_hidden()
        add(page, "L5040", 2, "P08")
        expect(page.get_by_role("status")).to_contain_text("Participants 1 to 2 are added")
        add(page, "N3", 1, "")
        expect(page.get_by_role("status")).to_contain_text("Participant 3 is added")
        page.get_by_role("button", name="Copy all links").click()
        expect(page.get_by_role("status")).to_have_text("3 links copied.")
        lines = f"P08\t{panel.link(1)}\nP09\t{panel.link(2)}\n3\t{panel.link(3)}"
        assert page.evaluate("navigator.clipboard.readText()") == lines
        expect(page.get_by_label("All links, a participant a line")).to_be_hidden()
        with page.expect_download() as links:
            page.get_by_role("link", name="Download links.csv").click()
        assert links.value.suggested_filename == "links.csv"
        with links.value.path().open(encoding="utf-8", newline="") as file:
            rows = [(row["number"], row["label"], row["listener"], row["link"]) for row in csv.DictReader(file)]
        assert rows == [
            ("1", "P08", "L5040", panel.link(1)), ("2", "P09", "L5040", panel.link(2)), ("3", "", "N3", panel.link(3)),
        ]  # fmt: skip
        watch.assert_clean(except_for=("401",))
    with open_page(browser, width=360, script=NO_CLIPBOARD) as (page, watch):
        log_in(page, panel)
        page.get_by_role("button", name="Copy all links").click()
        shown = page.get_by_role("textbox", name="All links, a participant a line")
        expect(shown).to_be_focused()
        expect(shown).to_have_value(lines)
        marked = shown.evaluate("(field) => field.value.slice(field.selectionStart, field.selectionEnd)")
        assert marked == lines
        expect(page.get_by_role("status")).to_contain_text("press Ctrl+C")
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("status")).to_have_text("Logged out.")
        expect(page.locator("#all-links")).to_have_value("")
        watch.assert_clean(except_for=("401",))


def test_what_went_wrong_does_not_stand_beside_what_went_well_before(panels, browser):
    panel = panels["mushra"].result()
    with open_page(browser) as (page, watch):
        log_in(page, panel)
        page.get_by_role("button", name="Refresh").click()
        expect(page.get_by_role("status")).to_have_text("Refreshed.")
        add(page, "N3", 2, "pilot")
        expect(page.get_by_role("alert")).to_contain_text("label: cannot be counted up")
        expect(page.get_by_role("status")).to_have_text("")
        page.get_by_role("button", name="Refresh").click()
        expect(page.get_by_role("status")).to_have_text("Refreshed.")
        expect(page.get_by_role("alert")).to_be_hidden()
        watch.assert_clean(except_for=("401", "422"))


@pytest.mark.parametrize("width", [360, 1100])
def test_a_long_label_fits(panels, browser, width):
    panel = panels["ab"].result()
    label = ("W" if width == 360 else "M") * 40  # no two participants have the same
    with open_page(browser, width=width) as (page, watch):
        page.goto(f"{panel.server.url}/admin")
        page.get_by_label("Token").fill(panel.admin_token)
        page.keyboard.press("Enter")
        page.get_by_role("combobox", name="Listener").fill("N3")
        page.get_by_label("Label (optional)").fill(label)
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator("td[data-name=Label]", has_text=label)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        watch.assert_clean(except_for=("401",))
