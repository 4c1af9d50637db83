"""The listening room and what visitors do: haste, odd addresses and loops, keys, browsers that hold sound back."""

from urllib.parse import parse_qs

import pytest
from browser import open_browser
from listening_server import listening_server
from open_room import LOADED, TWO_SONGS_S, Held, clock, room, two_songs
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory, song):
    with listening_server(two_songs(tmp_path_factory.mktemp("visitors") / "tiny", song)) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    """As visitors have it: no sound before a click."""
    with open_browser(autoplay=False) as browser:
        yield browser


def test_the_last_choice_wins_over_slow_answers_to_former_ones(browser, server):
    with room(browser, server) as page:
        held = Held(page, "/api/clips")
        page.get_by_text("Clean stems", exact=True).click()
        for stem in ("vocals", "drums", "bass", "other"):
            page.locator(f'input[value="clean:{stem}"]').check()
        expect(page.locator("#busy")).to_have_text("Loading other, clean")
        held.let_go()
        expect(page.locator(LOADED)).to_have_count(7)
        expect(page.locator("#now")).to_have_text("other, clean")
        expect(page.locator("#busy")).to_be_hidden()

        held = Held(page, "/api/songs/.*/versions")
        listener, song = page.get_by_label("Made for listener"), page.get_by_label("Song", exact=True)
        listener.select_option("L5076")
        song.select_option(index=1)
        listener.select_option("L5040")
        song.select_option(index=0)
        listener.select_option("L5076")
        held.let_go()
        expect(page.locator("#now-detail")).to_contain_text("part 0, for L5076")
        expect(page.locator(LOADED)).to_have_count(4)
        expect(page.locator("#busy")).to_be_hidden()
        expect(page.locator("#now")).to_have_text("other, clean")
        asked = parse_qs(page.url.split("#")[1])
        assert (asked["listener"], asked["version"]) == (["L5076"], ["clean:other"])


def test_a_choice_made_while_all_is_made_anew_stays(browser, server):
    with room(browser, server, address="#version=remix:baseline") as page:
        held = Held(page, "/api/clips")
        page.get_by_label("Made for listener").select_option("L5076")
        expect(page.locator("label.version[data-state=loading]")).to_have_count(1)
        page.locator('input[value="mixture"]').check()
        expect(page.locator("#now")).to_have_text("Mixture")
        held.let_go()
        expect(page.locator(LOADED)).to_have_count(3)
        expect(page.locator("#busy")).to_be_hidden()
        expect(page.locator("#now")).to_have_text("Mixture")
        expect(page.locator("#now-detail")).to_contain_text("for L5076")


#: So that a busy machine does not stretch what is meant to come at once.
TWENTY_KEYS = """() => {
  for (let i = 0; i < 20; i += 1) {
    const ear = i % 2 ? "Left" : "Right";
    const point = document.querySelector(`[role=slider][aria-label="${ear} ear, 1 kHz"]`);
    point.dispatchEvent(new KeyboardEvent("keydown", {key: i % 3 ? "ArrowDown" : "ArrowUp", bubbles: true}));
  }
}"""
KEY_AND_LISTENER = """() => {
  const point = document.querySelector('[role=slider][aria-label="Left ear, 1 kHz"]');
  point.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowUp", bubbles: true}));
  const listener = document.getElementById("listener");
  listener.value = "L5076";
  listener.dispatchEvent(new Event("change"));
}"""


def test_twenty_edits_at_once_are_one_and_what_is_shown_is_sent(browser, server):
    with room(browser, server) as page:
        sent: list[dict] = []
        page.on("request", lambda one: sent.append(one.post_data_json) if one.url.endswith("/api/listeners") else None)
        page.evaluate(TWENTY_KEYS)
        expect(page.locator("#audiogram-status")).to_contain_text("Made after")
        assert len(sent) == 1
        for ear in ("left", "right"):
            shown = page.locator(f".ear.{ear} [role=slider]").evaluate_all(
                "all => all.map(e => Number(e.ariaValueNow))"
            )
            assert sent[0][ear]["levels_db_hl"] == shown
        # Another listener at once after an edit: the edit is dropped, not sent as what is shown by then.
        page.evaluate(KEY_AND_LISTENER)
        expect(page.locator("#now-detail")).to_contain_text("for L5076")
        page.get_by_role("slider", name="Left ear, 1 kHz").press("ArrowDown")
        expect(page.locator("#now-detail")).to_contain_text("audiogram as drawn")
        assert len(sent) == 2


HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    ("address", "note"),
    [
        (f"#song={HOSTILE}&listener=nobody&version=stem:x&through=nose", HOSTILE),
        ("#from=1e99&length=-5&audiogram=250,,x;1;2&%E0%A4", None),
        ("#from=2.9&length=1e9&audiogram=250;10;10", None),
    ],
)
def test_an_odd_address_opens_the_room(browser, server, address, note):
    with room(browser, server, address=address, except_for=("status of 4",)) as page:
        expect(page.locator("#now")).to_have_text("Mixture")
        start, length = (float(page.locator(f"#{name}").input_value()) for name in ("start", "length"))
        assert 0 <= start <= TWO_SONGS_S - 1
        assert 1 <= length <= TWO_SONGS_S - start
        if note is None:
            expect(page.locator("#address-note")).to_be_hidden()
        else:
            expect(page.locator("#address-note")).to_contain_text(note)
            expect(page.locator("#address-note")).to_contain_text("listener nobody, version stem:x, hearing nose")
            assert page.locator("img").count() == 0


def test_the_skip_link_keeps_the_view(browser, server):
    with room(browser, server, address="#version=remix:e016") as page:
        page.get_by_label("Made for listener").select_option("L5076")
        expect(page.locator("#now-detail")).to_contain_text("for L5076")
        page.evaluate("document.isSamePage = true")
        page.locator("h1").click()
        page.keyboard.press("Tab")
        page.get_by_role("link", name="Skip to the player").press("Enter")
        expect(page.locator("#player")).to_be_focused()
        assert page.evaluate("document.isSamePage") is True
        assert "L5076" in page.url


def typed(page: Page, edge: str, value: str) -> list[str]:
    """Type an edge of the loop; what both fields show then."""
    page.locator(f"#loop-{edge}").fill(value)
    page.locator(f"#loop-{edge}").press("Tab")
    return [page.locator(f"#loop-{edge}").input_value() for edge in ("start", "end")]


def test_typed_loops_are_kept_inside_the_passage_or_refused_in_words(browser, server):
    with room(browser, server) as page:
        error = page.locator("#transport-error")
        assert typed(page, "end", "0.04") == ["0.00", "3.00"]
        expect(error).to_contain_text("No loop from 0:00.00 to 0:00.04")
        expect(page.locator("#loop")).to_have_attribute("aria-pressed", "false")
        assert typed(page, "end", "1.01") == ["0.00", "1.01"]
        expect(error).to_be_hidden()
        expect(page.locator("#loop")).to_have_attribute("aria-pressed", "true")
        assert typed(page, "start", "2") == ["2.00", "3.00"]  # edges that cross: the other one makes room
        assert typed(page, "end", "99") == ["2.00", "3.00"]
        assert typed(page, "end", "1.5") == ["0.00", "1.50"]
        assert typed(page, "start", "99") == ["0.00", "1.50"]
        expect(error).to_contain_text("No loop from 1:39.00")
        expect(page.locator("#loop")).to_have_attribute("aria-pressed", "true")


def test_the_playhead_stays_at_its_time_when_the_window_changes(browser, server):
    share = """() => {
      const [head, plot] = ["playhead", "plot"].map((id) => document.getElementById(id).getBoundingClientRect());
      return (head.left + 1 - plot.left) / plot.width;
    }"""
    with room(browser, server) as page:
        page.locator("#position").fill("1.5")
        for width in (1280, 500):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate(share) == pytest.approx(0.5, abs=0.01)


def test_letters_can_be_switched_off_as_keys(browser, server):
    with room(browser, server) as page:
        page.get_by_role("button", name="Keys").click()
        page.get_by_role("checkbox", name="Letters, digits and signs are keys").uncheck()
        page.get_by_role("button", name="Close").click()
        page.locator("#loop").click()
        page.locator("#player").focus()
        page.keyboard.press("m")
        page.keyboard.press("2")
        page.keyboard.press("Space")
        expect(page.locator("#play-word")).to_have_text("Pause")
        expect(page.locator("#matched")).to_have_attribute("aria-pressed", "true")
        expect(page.locator("#now")).to_have_text("Mixture")


HOLD = """
const Real = window.AudioContext;
window.AudioContext = class extends Real { constructor(...given) { super(...given); window.held = this; } };
"""


def test_sound_begins_with_the_first_click(browser, server):
    with room(browser, server, script=HOLD, is_untouched=True) as page:
        assert page.evaluate("held.state") == "suspended"
        page.locator("#play").click()
        expect(page.locator("#play-word")).to_have_text("Pause")
        expect(page.locator("#clock")).not_to_have_text("0:00.0")


def test_sound_that_is_held_back_is_shown_as_such_and_goes_on(browser, server):
    with room(browser, server, script=HOLD) as page:
        page.locator("#loop").click()
        page.locator("#play").click()
        expect(page.locator("#play-word")).to_have_text("Pause")
        page.evaluate("held.suspend()")  # as a call that comes in does
        expect(page.locator("#play-word")).to_have_text("Play")
        page.locator("#play").click()
        expect(page.locator("#play-word")).to_have_text("Pause")
        before = clock(page)
        expect(page.locator("#clock")).not_to_have_text(f"0:0{before:.1f}")
        page.evaluate("held.close()")
        expect(page.locator("#play-word")).to_have_text("Play")
        page.locator("#play").click()
        expect(page.locator("#transport-error")).to_contain_text("load it again")
