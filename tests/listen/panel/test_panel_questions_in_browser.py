"""The questions after the last page, in a real browser: by keyboard, over a reload, without a server, on a phone."""

import csv
import re

import pytest
from browsed_panel import PEOPLE, confirm, enter, heading
from browser import open_page
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

QUESTIONS = [
    {"id": "hearing_aids", "text": "Do you wear hearing aids?", "kind": "choice",
     "choices": ["no", "one ear", "both ears"], "required": True},
    {"id": "age", "text": "How old are you?", "kind": "number", "min": 0, "max": 120},
    {"id": "__proto__", "text": "What did you <b>notice</b>?", "kind": "text"},
    {"id": "by", "text": "Heard by", "kind": "choice", "choices": ["headphones", "a device of one's own <i>"]},
]  # fmt: skip
ONE_PAGE = {"songs": [{"name": "Falcon - part 0"}], "questions": QUESTIONS}
PANELS = {"ab": {**ONE_PAGE, "participants": [PEOPLE[0]] * 3}}
NO_SERVER = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_SOCKET_NOT_CONNECTED")
NOTE = "=1+1 <i>bass</i>"


@pytest.fixture(scope="module")
def panel(panels, browser):
    return panels["ab"].result()


def rate(page, link):
    """Through the test to its questions."""
    enter(page, link)
    heading(page, re.compile("Page 1 of 1"))
    for label in "AB":
        page.get_by_role("button", name=re.compile(f"Play stimulus {label} ")).click()
    page.get_by_role("radio", name="No preference").check()
    confirm(page)
    heading(page, "A few questions at the end")


def focused(page):
    return page.evaluate("document.activeElement.id || document.activeElement.value")


def refuse(status):
    return lambda route: route.fulfill(status=status, json={"error": "too dull"})


def given(panel, number):
    query = "SELECT question, value FROM question_answers WHERE participant=? ORDER BY rowid"
    return [tuple(row.values()) for row in panel.rows(query, number)]


def state(panel, number):
    return panel.rows("SELECT state FROM participants WHERE number=?", number)[0]["state"]


def test_keyboard_alone_answers_over_a_reload_and_a_killed_server(panel, browser):
    with open_page(browser) as (page, watch):
        page.goto(panel.link(1))
        expect(page.locator("#welcome-size")).to_contain_text("A few questions follow at the end.")
        rate(page, panel.link(1))
        aids = page.get_by_role("radiogroup", name="Do you wear hearing aids? (required)")
        age = page.get_by_role("textbox", name="How old are you? (optional)")
        note = page.get_by_role("textbox", name="What did you <b>notice</b>? (optional)")
        why = page.locator("#questions-why")
        expect(age).to_have_accessible_description("A number from 0 to 120.")

        # Nothing chosen and no number: told beside the question, and the first of them has the focus.
        for _ in range(2):
            page.keyboard.press("Tab")
        page.keyboard.type("old")
        page.keyboard.press("Enter")
        expect(why).to_have_text("Not sent yet: 2 questions need an answer or a correction.")
        expect(aids).to_have_accessible_description("Error: please choose one.")
        expect(aids).to_have_attribute("aria-invalid", "true")
        wrong = "A number from 0 to 120. Error: expected a number from 0 to 120, found old."
        expect(age).to_have_accessible_description(wrong)
        assert focused(page) == "no"
        page.keyboard.press("Space")
        page.keyboard.press("ArrowDown")
        expect(aids).to_have_accessible_description("")
        page.keyboard.press("Tab")
        page.keyboard.press("ControlOrMeta+A")
        for text, words in (("121", "found 121"), ("1,000", "found 1,000"), ("-5", "found -5")):
            page.keyboard.type(text)
            page.keyboard.press("Enter")
            expect(age).to_have_accessible_description(re.compile(words))
            assert focused(page) == "question-1"
            page.keyboard.press("ControlOrMeta+A")
        page.keyboard.type("61,5")
        expect(age).to_have_accessible_description("A number from 0 to 120.")
        expect(why).to_be_empty()
        page.keyboard.press("Tab")
        page.keyboard.type(NOTE)
        assert (state(panel, 1), given(panel, 1)) == ("questions", [])

        page.reload()
        heading(page, "A few questions at the end")
        expect(page.get_by_role("radio", name="one ear")).to_be_checked()
        expect(age).to_have_value("61,5")
        expect(note).to_have_value(NOTE)

        panel.kill()
        note.focus()
        for _ in range(2):
            page.keyboard.press("Tab")
        assert focused(page) == "questions-send"
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("not saved yet")
        assert given(panel, 1) == []
        panel.start()
        page.evaluate("dispatchEvent(new Event('online'))")  # it would try again by itself, up to 8 s later
        heading(page, "Thank you")
        expect(page.get_by_role("alert")).to_be_hidden()
        expected = [("hearing_aids", "one ear"), ("age", 61.5), ("__proto__", NOTE)]
        assert (state(panel, 1), given(panel, 1)) == ("done", expected)
        panel.kill()
        panel.start()
        page.reload()
        heading(page, "Thank you")
        assert given(panel, 1) == expected
        watch.assert_clean(except_for=NO_SERVER)


def test_a_lost_reply_a_second_window_and_a_phone(panel, browser):
    """The answers were stored, and nobody told the page: sent again they count once; other ones do not count."""
    with open_page(browser, width=360, height=740, touch=True) as (page, watch):
        rate(page, panel.link(2))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        second = page.context.new_page()
        second.goto(panel.link(2))
        heading(second, "A few questions at the end")
        second.get_by_role("radio", name="no").check()
        page.bring_to_front()
        page.get_by_role("radio", name="both ears").check()
        expect(page.get_by_role("button", name="Take the choice back")).to_be_hidden()
        lost = []

        def lose(route):
            lost.append(route.fetch().status)
            route.abort()

        page.route("**/questions", lose, times=1)
        page.get_by_role("button", name="Send and finish").click()
        expect(page.get_by_role("alert")).to_contain_text("not saved yet")
        assert lost == [200]
        page.reload()  # what was sent is sent again, if the server does not say first that all is done
        heading(page, "Thank you")
        second.bring_to_front()
        second.get_by_role("button", name="Send and finish").click()
        heading(second, "Thank you")
        assert given(panel, 2) == [("hearing_aids", "both ears")]
        watch.assert_clean(except_for=("ERR_FAILED",))


def test_what_is_taken_back_what_is_refused_and_the_download_of_answers(panel, browser):
    with open_page(browser) as (page, watch):
        rate(page, panel.link(3))
        page.get_by_role("radio", name="no", exact=True).check()
        page.get_by_role("radio", name="a device of one's own <i>").check()
        page.get_by_role("button", name="Take the choice back").click()
        assert focused(page) == "headphones"
        note, why = page.get_by_role("textbox", name=re.compile("notice")), page.locator("#questions-why")
        note.fill("𝄞" * 2001)
        page.get_by_role("button", name="Send and finish").click()
        wrong = "Error: this has 2001 characters; at most 2000 can be sent."
        expect(note).to_have_accessible_description(wrong)
        note.fill(NOTE)
        # Half of an emoji, as some keyboards leave it when it is cut: no text to the server.
        note.evaluate("(it) => { it.value += ' \\ud83d'; it.dispatchEvent(new Event('input', {bubbles: true})); }")
        # What the form lets through and the server does not is told, and can be sent anew.
        for status, words in ((422, "Not saved: too dull"), (413, "Not saved: the texts are too long together")):
            page.route("**/questions", refuse(status), times=1)
            page.get_by_role("button", name="Send and finish").click()
            expect(why).to_contain_text(words)
        page.get_by_role("button", name="Send and finish").click()
        heading(page, "Thank you")
        page.goto(f"{panel.server.url}/admin")
        page.get_by_label("Token").fill(panel.admin_token)
        page.keyboard.press("Enter")
        with page.expect_download() as answers:
            page.get_by_text("Download questions.csv").click()
        with answers.value.path().open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["participant"] == "3"]
        assert [(row["question"], row["value"]) for row in rows] == [("hearing_aids", "no"), ("__proto__", f"'{NOTE}")]
        watch.assert_clean(except_for=("401", "413", "422"))
