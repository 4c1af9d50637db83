"""No confirmed answer is lost: killed servers, reloads, second windows, browsers that keep nothing."""

import json
import re

import pytest
from browsed_panel import confirm, enter, heading, mushra_for, rate, slider, values_for
from browser import open_page
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

PANELS = {"mushra": mushra_for(6)}

NO_SERVER = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_SOCKET_NOT_CONNECTED")


def test_two_sessions_outlive_a_killed_server(mushra, browser):
    """Every confirmed answer is there after SIGKILL, an answer confirmed without a server is saved later."""
    given = {1: {}, 2: {}}
    with open_page(browser) as (first, first_watch), open_page(browser) as (second, second_watch):
        pages = {1: first, 2: second}
        for number, page in pages.items():
            enter(page, mushra.link(number))
            heading(page, re.compile("Training 1 of 1"))
            given[number][1] = values_for(mushra.labels(number, 1), 10 * number)
            rate(page, given[number][1])
            confirm(page)
            page.get_by_role("button", name="Start the test").click()
            heading(page, re.compile("Page 1 of 2"))
            given[number][2] = values_for(mushra.labels(number, 2), 20 * number)
        rate(first, given[1][2])
        confirm(first)
        heading(first, "Time for a break")
        rate(second, given[2][2])

        mushra.kill()
        confirm(second)
        expect(second.get_by_role("alert")).to_contain_text("not saved yet")
        assert list(mushra.answers(2)) == [1], "nothing of the second page can be in the results yet"
        mushra.start()
        second.evaluate("dispatchEvent(new Event('online'))")  # it would try again by itself, up to 8 s later
        heading(second, "Time for a break")
        expect(second.get_by_role("alert")).to_be_hidden()
        first.reload()
        heading(first, "Time for a break")

        for number, page in pages.items():
            page.get_by_role("button", name="Go on").click()
            heading(page, re.compile("Page 2 of 2"))
            given[number][3] = values_for(mushra.labels(number, 3), 30 * number)
            rate(page, given[number][3])
            confirm(page)
            heading(page, "Thank you")
        first_watch.assert_clean()
        second_watch.assert_clean(except_for=NO_SERVER)
    for number, trials in given.items():
        expected = {
            trial: {label: {"quality": value} for label, value in values.items()} for trial, values in trials.items()
        }
        assert mushra.answers(number) == expected
    done = mushra.rows("SELECT seconds, n_plays FROM trials WHERE participant IN (1, 2)")
    assert all(row["seconds"] > 0 and min(json.loads(row["n_plays"]).values()) >= 1 for row in done)


def test_draft_outlives_a_reload_and_confirm_says_what_it_waits_for(mushra, browser):
    with open_page(browser, width=360, height=740, touch=True) as (page, watch):
        enter(page, mushra.link(3))
        heading(page, re.compile("Training 1 of 1"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        why = page.locator("#why")
        page.get_by_role("button", name="Confirm and go on").press("Enter")
        expect(why).to_contain_text("listen to A, B, C, D, E, F; rate A, B, C, D, E, F")
        rate(page, {"A": 62, "B": 15})
        expect(why).to_contain_text("listen to C, D, E, F; rate C, D, E, F")
        assert slider(page, "A").get_attribute("aria-valuetext") == "62, Good"
        page.reload()
        heading(page, re.compile("Training 1 of 1"))
        expect(why).to_contain_text("listen to C, D, E, F; rate C, D, E, F")
        assert slider(page, "B").get_attribute("aria-valuetext") == "15, Bad"
        assert slider(page, "C").get_attribute("aria-valuetext") == "not rated yet"
        expect(page.locator("#now-playing")).to_have_text("Selected: reference")  # and nothing plays by itself
        rate(page, {"C": 99, "D": 1, "E": 2, "F": 3})
        expect(why).to_have_text("Ready to confirm.")
        expect(page.locator("#hint")).to_contain_text("None is rated 100 yet")
        rate(page, {"C": 100})
        expect(page.locator("#hint")).to_be_empty()
        page.route("**/trials/1", lambda route: route.abort())
        confirm(page)
        expect(page.get_by_role("alert")).to_contain_text("not saved yet")
        assert mushra.answers(3) == {}
        page.unroute("**/trials/1")
        page.reload()  # what was confirmed is sent again without another press of the button
        heading(page, "That was the training")
        watch.assert_clean(except_for=("ERR_FAILED",))
    assert {label: row["quality"] for label, row in mushra.answers(3)[1].items()} == {
        "A": 62, "B": 15, "C": 100, "D": 1, "E": 2, "F": 3,
    }  # fmt: skip
    assert json.loads(mushra.rows("SELECT n_plays FROM trials WHERE participant=3")[0]["n_plays"])["A"] == 1


def test_second_window_goes_where_the_first_one_is(mushra, browser):
    with open_page(browser) as (first, watch):
        enter(first, mushra.link(4))
        heading(first, re.compile("Training 1 of 1"))
        second = first.context.new_page()
        second.goto(mushra.link(4))
        heading(second, re.compile("Training 1 of 1"))
        values = values_for(mushra.labels(4, 1), 30)
        rate(second, {label: value + 1 for label, value in values.items()})
        first.bring_to_front()  # a browser gives windows behind others little time
        rate(first, values)
        confirm(first)
        heading(first, "That was the training")
        second.bring_to_front()
        confirm(second)
        heading(second, "That was the training")
        watch.assert_clean()
        assert {label: row["quality"] for label, row in mushra.answers(4)[1].items()} == values


NO_STORAGE = (
    "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
)
LEFT_OPEN = (
    "sessionStorage.setItem('cadenza-remix:draft:' + location.pathname.slice(3) + ':training:1', '{\"seconds\": 1e7}');"
)


@pytest.mark.parametrize(("number", "script", "longest_s"), [(5, NO_STORAGE, 60), (6, LEFT_OPEN, 7 * 86_400)])
def test_answers_are_saved_without_storage_and_after_months(mushra, browser, number, script, longest_s):
    with open_page(browser) as (page, watch):
        page.add_init_script(script)
        enter(page, mushra.link(number))
        heading(page, re.compile("Training 1 of 1"))
        values = values_for(mushra.labels(number, 1), number)
        rate(page, values)
        confirm(page)
        heading(page, "That was the training")
        watch.assert_clean()
    assert {label: row["quality"] for label, row in mushra.answers(number)[1].items()} == values
    seconds = mushra.rows("SELECT seconds FROM trials WHERE participant=? AND trial=1", number)[0]["seconds"]
    assert 0 < seconds <= longest_s
    assert script is NO_STORAGE or seconds == longest_s
