"""Listening tests as participants see them: a real browser, the real program, real music."""

import json
import re

import pytest
from browsed_panel import SYSTEMS, confirm, enter, heading, mushra_for, slider
from browser import open_page, wait_until
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

BEHIND_LABELS = (*SYSTEMS, "hidden_reference", "anchor_")
"""What no answer to a participant may hold."""
PANELS = {"mushra": mushra_for(3), "scales": {"songs": [{"name": "Falcon - part 0"}]}, "ab": {"against": "baseline"}}


def test_keyboard_alone_goes_through_welcome_level_and_a_trial(mushra, browser):
    with open_page(browser) as (page, watch):
        page.goto(mushra.link(1))
        heading(page, "Welcome")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        heading(page, "Set your volume")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.locator("#volume").input_value() == "15"
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        heading(page, re.compile("Training 1 of 1"))
        labels = sorted(mushra.labels(1, 1))
        now = page.locator("#now-playing")
        expect(now).to_have_text("Selected: reference")
        page.keyboard.press("Space")
        expect(now).to_have_text("Playing: reference")
        for place, label in enumerate(labels, start=1):
            page.keyboard.press(str(place) if place % 2 else label.lower())
            expect(now).to_have_text(f"Playing: stimulus {label}")
            assert page.evaluate("document.activeElement.getAttribute('aria-label')") == f"Stimulus {label}, quality"
            page.keyboard.press("Enter" if place == 1 else "End" if place == 2 else "PageUp")
        page.keyboard.press("r")
        expect(now).to_have_text("Playing: reference")
        page.keyboard.press("Space")
        expect(now).to_have_text("Selected: reference")
        assert slider(page, "A").get_attribute("aria-valuetext") == "50, Fair"
        assert slider(page, "B").get_attribute("aria-valuetext") == "100, Excellent"
        for _ in range(60):
            if page.evaluate("document.activeElement.id") == "confirm":
                break
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        heading(page, "That was the training")
        watch.assert_clean()
    values = [mushra.answers(1)[1][label]["quality"] for label in labels]
    assert values == [50, 100, *[values[2]] * (len(labels) - 2)]
    assert 50 < values[2] < 100


def test_nothing_that_a_participant_gets_tells_what_is_heard(mushra, browser):
    """Neither addresses nor answers nor the page hold a system's name; sounds have lengths and names all alike."""
    with open_page(browser) as (page, watch):
        answers = []
        page.on("response", lambda response: answers.append(response))
        enter(page, mushra.link(2))
        heading(page, re.compile("Training 1 of 1"))
        wait_until(page, lambda: len({one.url for one in answers if "/clips/" in one.url}) >= 8, "eight sounds")
        own = [answer for answer in answers if "/pages/" not in answer.url]
        texts = [f"{answer.url} {answer.all_headers()}" for answer in own]
        texts += [answer.text() for answer in own if "/clips/" not in answer.url]
        texts.append(page.content())
        sounds = [json.loads(answer.text()) for answer in own if answer.url.endswith("/trial")]
        clips = [answer.url for answer in own if "/clips/" in answer.url]
        watch.assert_clean()
    assert len(set(clips)) == 8  # the tone, the reference, six stimuli
    assert {one["n_samples"] for one in [sounds[0]["reference"], *sounds[0]["stimuli"]]} == {44100}
    for text in texts:
        assert [word for word in BEHIND_LABELS if word in text.lower()] == []


RECORD_GAINS = """
window.levels = [];
for (const name of ["setValueAtTime", "linearRampToValueAtTime", "setTargetAtTime"]) {
  const plain = AudioParam.prototype[name];
  AudioParam.prototype[name] = function (value, ...rest) {
    window.levels.push(value);
    return plain.call(this, value, ...rest);
  };
}
"""


def test_level_starts_low_and_can_only_be_lowered_afterwards(mushra, browser):
    with open_page(browser) as (page, watch):
        page.add_init_script(RECORD_GAINS)
        page.goto(mushra.link(3))
        page.get_by_role("button", name="Begin").click()
        heading(page, "Set your volume")
        assert page.evaluate("Math.max(...levels.slice(0, 1))") == pytest.approx(0.15**2)
        page.get_by_role("button", name="Go on").press("Enter")
        expect(page.locator("#level-why")).to_contain_text("play the test sound")
        page.get_by_role("button", name="Play the test sound").click()
        page.locator("#volume").fill("60")
        page.get_by_role("checkbox").check()
        page.get_by_role("button", name="Go on").click()
        heading(page, re.compile("Training 1 of 1"))
        assert mushra.rows("SELECT volume FROM participants WHERE number=3")[0]["volume"] == pytest.approx(0.36)
        quieter = page.get_by_role("slider", name="Volume")
        assert quieter.input_value() == quieter.get_attribute("max") == "100"
        page.evaluate("levels.length = 0")
        quieter.fill("50")
        assert page.evaluate("levels") == [pytest.approx(0.36 / 4)]
        page.reload()
        heading(page, re.compile("Training 1 of 1"))
        assert page.get_by_role("slider", name="Volume").input_value() == "50"
        watch.assert_clean()


def test_scales_trial_wants_every_slider(panels, browser):
    panel = panels["scales"].result()
    with open_page(browser) as (page, watch):
        enter(page, panel.link(1))
        heading(page, re.compile("Page 1 of 1"))
        expect(page.get_by_role("button", name="Reference")).to_be_hidden()
        names = ("basic audio quality", "clarity", "harshness", "distortion", "frequency balance", "liking")
        for label in "AB":
            page.get_by_role("button", name=re.compile(f"Play stimulus {label} ")).click()
            for value, name in enumerate(names, start=40):
                slider(page, label, name).fill(str(value))
        last = slider(page, "B", "liking")
        page.reload()
        expect(page.locator("#why")).to_have_text("Ready to confirm.")
        assert last.get_attribute("aria-valuetext") == "45 of 100"
        assert "from not at all to very much" in last.get_attribute("aria-label")
        confirm(page)
        heading(page, "Thank you")
        watch.assert_clean()
        expected = {name.replace(" ", "_"): value for value, name in enumerate(names, start=40)}
        assert panel.answers(1) == {1: {"A": expected, "B": expected}}


def test_choice_between_two(panels, browser):
    panel = panels["ab"].result()
    with open_page(browser) as (page, watch):
        enter(page, panel.link(1))
        heading(page, re.compile("Page 1 of 2"))
        page.keyboard.press("b")
        page.keyboard.press("a")
        page.get_by_role("button", name="Confirm and go on").press("Enter")
        expect(page.locator("#why")).to_have_text("Before you can confirm: choose which sounds better.")
        page.get_by_role("radio", name="B sounds better").focus()
        page.keyboard.press("Space")
        confirm(page)
        heading(page, re.compile("Page 2 of 2"))
        for label in "AB":
            page.get_by_role("button", name=re.compile(f"Play stimulus {label} ")).click()
        page.get_by_role("radio", name="No preference").check()
        confirm(page)
        heading(page, "Thank you")
        watch.assert_clean()
        none, chosen, other = ({"preference": value} for value in (0.5, 1.0, 0.0))
        assert panel.answers(1) == {1: {"A": other, "B": chosen}, 2: {"A": none, "B": none}}
