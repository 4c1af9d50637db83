"""The listening room when something is in its way: a server that is gone or slow, haste, odd addresses, held sound."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from browser import open_browser
from listening_server import free_port, listening_server
from open_room import LOADED, clock, room
from playwright.sync_api import Locator, Page, Route, expect
from tiny_run import make_tiny_run

from cadenza_remix.challenge.naming import ENHANCED_FOLDER, remix_path

pytestmark = pytest.mark.browser

DURATION_S = 3.0


@pytest.fixture(scope="module")
def run(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("trouble") / "tiny"
    make_tiny_run(folder, song, n_songs=2, duration_s=DURATION_S, scored=False)
    return folder


@pytest.fixture(scope="module")
def server(run):
    with listening_server([run / "baseline", run / "e016", "--references", run / "references"]) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    """As visitors have it: no sound before a click."""
    with open_browser(autoplay=False) as browser:
        yield browser


def test_a_killed_server_is_waited_for_while_the_music_goes_on(browser, run, tmp_path):
    shutil.copytree(run / "baseline", tmp_path / "baseline")  # the stems it was made from are not there
    port = free_port()
    arguments = [tmp_path / "baseline", "--references", run / "references"]
    expected = ("ERR_CONNECTION", "status of 404")
    with listening_server(arguments, port=port) as first, room(browser, first, n_loaded=2, except_for=expected) as page:
        page.locator("#loop").click()
        page.locator("#play").click()
        first.kill()
        page.get_by_text("Clean stems", exact=True).click()
        page.locator('input[value="clean:vocals"]').check()
        expect(page.locator("#room-error")).to_contain_text("does not answer. What is loaded plays on")
        page.keyboard.press("2")
        expect(page.locator("#now")).to_have_text("baseline")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        before = clock(page)
        expect(page.locator("#clock")).not_to_have_text(f"0:0{before:.1f}")
        page.locator('input[value="clean:vocals"]').check()
        with listening_server(arguments, port=port):
            expect(page.locator("#now")).to_have_text("vocals, clean")
            expect(page.locator("#room-error")).to_be_hidden()
            expect(page.get_by_role("button", name="Pause")).to_be_visible()
            page.get_by_label("Start from").select_option("N3")
            expect(page.locator("#audiogram-status")).to_contain_text(re.compile("moderate loss. Made after"))
            expect(page.locator('input[value="remix:baseline"]')).to_have_count(0)
            expect(page.locator('input[value="remix:clean:baseline"]')).to_have_count(1)


@pytest.fixture
def own(run, tmp_path):
    """A copy whose files a test may damage."""
    shutil.copytree(run, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def own_server(own):
    arguments = [own / "baseline", own / "e016", "--references", own / "references"]
    with listening_server([*arguments, "--no-uploads"]) as server:
        yield server


def remix_file(run: Path, listener: str) -> Path:
    return remix_path(run / "baseline" / ENHANCED_FOLDER, listener, "Falcon - part 0")


def row(page: Page, version: str) -> Locator:
    return page.locator("label.version", has=page.locator(f'input[value="{version}"]'))


def expect_failed(page: Page, version: str, file: Path) -> None:
    expect(row(page, version)).to_have_attribute("data-state", "failed")
    expect(row(page, version)).to_contain_text("failed")
    expect(page.locator("#room-error")).to_contain_text(f"{file.name}: cannot be read as audio")
    expect(page.locator("#room-error")).not_to_contain_text(str(file.parent))


REFUSED = ("status of 422",)


def test_one_damaged_file_of_several_leaves_the_others_and_is_tried_again(browser, own, own_server):
    file = remix_file(own, "L5040")
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    with room(browser, own_server, n_loaded=2, except_for=REFUSED) as page:
        expect(page.locator("#now")).to_have_text("Mixture")
        expect_failed(page, "remix:baseline", file)
        page.locator("#loop").click()
        page.locator("#play").click()
        page.locator('input[value="remix:e016"]').check()
        expect(page.locator("#now")).to_have_text("e016")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        page.locator('input[value="remix:baseline"]').check()  # still damaged: the server says so once more
        expect(page.locator("#busy")).to_be_hidden()
        expect_failed(page, "remix:baseline", file)
        expect(page.locator("#now")).to_have_text("e016")
        expect(page.locator("#status")).to_have_text("baseline cannot be played; still hearing e016")
        file.write_bytes(whole)
        page.locator('input[value="remix:baseline"]').click()  # it is chosen already
        expect(page.locator("#now")).to_have_text("baseline")
        expect(page.locator("#room-error")).to_be_hidden()
        expect(row(page, "remix:baseline")).to_have_attribute("data-state", "loaded")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()


@pytest.mark.parametrize("through", ["", "&through=simple"])
def test_where_the_chosen_version_is_damaged_the_others_are_loaded(browser, own, own_server, through):
    file = remix_file(own, "L5040")
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    address = f"#version=remix:baseline{through}"
    with room(browser, own_server, address=address, n_loaded=2, except_for=REFUSED) as page:
        expect_failed(page, "remix:baseline", file)
        expect(page.locator('input[value="remix:baseline"]')).to_be_checked()
        expect(page.locator("#now")).to_have_text(re.compile("^(Mixture|e016)$"))
        expect(page.locator("#status")).to_have_text(
            re.compile("^baseline cannot be played; still hearing (Mixture|e016)$")
        )
        page.locator("#play").click()
        expect(page.locator("#clock")).not_to_have_text("0:00.0")
        file.write_bytes(whole)
        page.locator('input[value="remix:baseline"]').click()
        expect(page.locator("#now")).to_have_text("baseline")
        expect(page.locator("#room-error")).to_be_hidden()
        expect(page.locator(LOADED)).to_have_count(3)


def test_what_fails_for_another_listener_is_not_heard_as_the_former_one_got_it(browser, own, own_server):
    file = remix_file(own, "L5076")
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    with room(browser, own_server, except_for=REFUSED) as page:
        page.get_by_label("Made for listener").select_option("L5076")
        expect_failed(page, "remix:baseline", file)
        expect(page.locator(LOADED)).to_have_count(2)
        page.locator('input[value="remix:baseline"]').check()
        expect(page.locator("#busy")).to_be_hidden()
        expect(page.locator("#now")).to_have_text("Mixture")
        file.write_bytes(whole)
        page.locator('input[value="remix:baseline"]').click()
        expect(page.locator("#now")).to_have_text("baseline")
        expect(page.locator("#now-detail")).to_contain_text("for L5076")


def test_what_sounds_while_its_successor_fails_sounds_on_and_is_tried_again(browser, own, own_server):
    file = remix_file(own, "L5076")
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    with room(browser, own_server, address="#version=remix:baseline", except_for=REFUSED) as page:
        page.locator("#loop").click()
        page.locator("#play").click()
        page.get_by_label("Made for listener").select_option("L5076")
        expect_failed(page, "remix:baseline", file)
        expect(page.locator("#busy")).to_be_hidden()
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        expect(page.locator("#now-detail")).to_contain_text("for L5040")  # that is what sounds
        file.write_bytes(whole)
        page.locator('input[value="remix:baseline"]').click()
        expect(page.locator("#now-detail")).to_contain_text("for L5076")
        expect(page.locator("#room-error")).to_be_hidden()


def first_time(page: Page, pattern: str, answer: dict) -> list[str]:
    """Answer the first request so, and let the others through; gives what was asked."""
    asked: list[str] = []

    def handle(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=404, content_type="application/json", body=json.dumps(answer))
        else:
            route.continue_()

    page.route(pattern, handle)
    return asked


def test_what_a_server_has_forgotten_is_asked_for_again(browser, server):
    with room(browser, server, except_for=("status of 404",)) as page:
        asked = first_time(page, "**/clips/*.flac", {"error": "no such clip"})
        page.get_by_text("Clean stems", exact=True).click()
        page.locator('input[value="clean:bass"]').check()
        expect(page.locator("#now")).to_have_text("bass, clean")
        assert len(asked) == 2
        page.get_by_label("Start from").select_option("N2")
        expect(page.locator("#audiogram-status")).to_contain_text("Made after")
        first_time(page, "**/api/clips", {"error": "unknown listener"})
        with page.expect_request("**/api/listeners"):  # told again
            page.locator('input[value="clean:drums"]').check(force=True)
        expect(page.locator("#now")).to_have_text("drums, clean")
        expect(page.locator("#room-error")).to_be_hidden()


class Held:
    """Requests of a page that are kept waiting, until all are let go: the newest first, as slow networks may do it."""

    def __init__(self, page: Page, pattern: str) -> None:
        self._waiting: list[Route] = []
        self._is_holding = True
        page.route(re.compile(pattern), self._take)

    def _take(self, route: Route) -> None:
        if self._is_holding:
            self._waiting.append(route)
        else:
            route.continue_()

    def let_go(self) -> None:
        self._is_holding = False
        while self._waiting:
            self._waiting.pop().continue_()


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
        assert 0 <= start <= DURATION_S - 1
        assert 1 <= length <= DURATION_S - start
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
    with room(browser, server, script=HOLD) as page:
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


def test_a_run_without_separated_stems_says_so_to_who_draws_an_audiogram(browser, server):
    mixture = [{"id": "mixture", "label": "Mixture", "group": "Unprocessed", "start_s": 0, "end_s": DURATION_S}]
    with room(browser, server, address="#version=remix:baseline") as page:
        page.route("**/versions?listener=custom-*", lambda route: route.fulfill(json=mixture))
        page.get_by_label("Start from").select_option("N3")
        expect(page.locator("#audiogram-status")).to_contain_text("the run kept no separated stems")
        expect(page.locator("#now")).to_have_text("Mixture")
        page.unroute_all()
        page.route("**/versions?listener=*", lambda route: route.fulfill(json=[]))
        page.get_by_label("Made for listener").select_option("L5076")
        expect(page.locator("#room-error")).to_contain_text("part 0 can be heard for L5076")
        expect(page.locator("#now")).to_have_text("Mixture")
