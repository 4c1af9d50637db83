"""Listening tests as administrators see them: a real browser and the real program."""

import json

import pytest
from browsed_panel import heading, mushra_for
from browser import open_page
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

PANELS = {"mushra": mushra_for(1)}


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
