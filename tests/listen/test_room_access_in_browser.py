"""The listening room for everybody: by keyboard alone, with a screen reader, on a small phone, in contrast."""

import pytest
from browser import open_browser
from open_room import clock, room, room_server
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

SHOWN_CONTROLS = "button, select, summary, label.version, input[type=number], input[type=range]"


@pytest.fixture(scope="module")
def server(tmp_path_factory, song):
    with room_server(tmp_path_factory.mktemp("room") / "tiny", song) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


def focused(page: Page) -> str:
    ask = "(e) => e.id || e.getAttribute('aria-label') || e.name || e.tagName"
    return page.evaluate_handle("document.activeElement").evaluate(ask)


def test_all_of_it_by_keyboard(browser, server):
    with room(browser, server) as page:
        order = []
        for _ in range(40):
            page.keyboard.press("Tab")
            order.append(focused(page))
        wanted = [
            "help-open", "song", "listener", "start", "length", "simulator", "position", "play", "loop", "matched",
            "loop-start", "loop-end", "volume", "version", "standard", "same-ears", "Right ear, 250 Hz",
            "Left ear, 250 Hz", "own-choose",
        ]  # fmt: skip
        places = [order.index(name) for name in wanted]
        assert places == sorted(places)

        page.locator("#play").focus()
        page.keyboard.press("Space")
        expect(page.locator("#play-word")).to_have_text("Pause")
        page.keyboard.press("2")
        expect(page.locator("#now")).to_have_text("baseline")
        page.keyboard.press("ArrowDown")  # the player has the focus
        expect(page.locator("#now")).to_have_text("e016")
        page.keyboard.press("b")
        expect(page.locator("#now")).to_have_text("baseline")
        page.locator("input[name=version]:checked").focus()
        page.keyboard.press("ArrowUp")  # of the radio group itself
        expect(page.locator("#now")).to_have_text("Mixture")
        page.keyboard.press("Space")
        expect(page.locator("#play-word")).to_have_text("Play")
        page.keyboard.press("l")
        expect(page.locator("#loop")).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("l")
        expect(page.locator("#loop")).to_have_attribute("aria-pressed", "false")
        page.keyboard.press("m")
        expect(page.locator("#matched")).to_have_attribute("aria-pressed", "false")

        page.locator("#play").focus()
        before = clock(page)
        page.keyboard.press("ArrowRight")
        expect(page.locator("#clock")).not_to_have_text(f"0:0{before:.1f}")
        page.keyboard.press("[")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("]")
        span = float(page.locator("#loop-end").input_value()) - float(page.locator("#loop-start").input_value())
        assert span == pytest.approx(1.0, abs=0.05)

        page.locator("#start").focus()
        page.keyboard.press("Control+a")
        page.keyboard.type("1")  # a digit in a field is a digit: version 1 would be the mixture as well
        page.keyboard.press("m")
        expect(page.locator("#matched")).to_have_attribute("aria-pressed", "false")
        page.keyboard.press("Tab")
        expect(page.locator("#length")).to_have_value("3")

        page.get_by_role("slider", name="Right ear, 250 Hz").focus()
        page.keyboard.press("End")
        assert focused(page) == "Right ear, 8 kHz"
        page.keyboard.press("ArrowUp")
        expect(page.locator("#audiogram-status")).to_contain_text("after")
        page.locator("#help-open").focus()
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()


NAMED_ROLES = {
    "button", "link", "combobox", "slider", "spinbutton", "radio", "checkbox", "textbox", "image", "meter", "group",
    "radiogroup", "region", "progressbar", "DisclosureTriangle", "dialog",
}  # fmt: skip


def test_everything_has_a_name_for_a_screen_reader(browser, server):
    with room(browser, server) as page:
        for summary in page.locator("summary").all():
            summary.click()
        tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        nodes = [node for node in tree if not node["ignored"]]
        roles = [node["role"]["value"] for node in nodes]
        assert roles.count("slider") == 2 + 16  # position, volume, the points of two ears
        assert roles.count("main") == 1
        assert roles.count("image") == 2
        nameless = [
            node["role"]["value"]
            for node in nodes
            if node["role"]["value"] in NAMED_ROLES - {"group"} and not node.get("name", {}).get("value", "").strip()
        ]
        assert nameless == []


def test_it_fits_a_small_phone_and_fingers(browser, server):
    with room(browser, server, width=360, height=740, touch=True) as page:
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        heights = page.locator(SHOWN_CONTROLS).evaluate_all(
            """all => Object.fromEntries(all.filter(e => e.checkVisibility()).map(
                 (e) => [e.id || e.textContent || e.ariaLabel, e.getBoundingClientRect().height]))"""
        )
        assert len(heights) > 40
        assert {name: height for name, height in heights.items() if height < 43.5} == {}


CONTRAST = """() => {
  const pen = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const light = (name) => {
    pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name);
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = {};
  const pairs = {"--text": ["ground", "surface", "sunken", "accent-soft", "warn-ground", "error-ground"],
    "--text-soft": ["ground", "surface", "sunken", "accent-soft"], "--accent-text": ["accent"], "--accent": ["surface"],
    "--right-ear": ["surface"], "--left-ear": ["surface"], "--error": ["surface"], "--warn": ["warn-ground"]};
  for (const [ink, grounds] of Object.entries(pairs)) for (const ground of grounds) {
    const [a, b] = [light(ink), light("--" + ground)];
    found[ink + " on " + ground] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }
  return found;
}"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground(browser, server, dark):
    with room(browser, server, dark=dark) as page:
        found = page.evaluate(CONTRAST)
    assert len(found) == 16
    assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}
