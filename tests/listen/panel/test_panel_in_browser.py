"""Listening tests as participants and administrators see them: a real browser, the real program, real music."""

import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from browser import open_browser, open_page
from listening_server import ListeningServer, free_port
from playwright.sync_api import Page, expect
from tiny_run import make_tiny_run

pytestmark = pytest.mark.browser
expect.set_options(timeout=15_000)  # of a machine that does much else

SYSTEMS = ("baseline", "e016", "mixture")
BEHIND_LABELS = (*SYSTEMS, "hidden_reference", "anchor_")
"""What no answer to a participant may hold."""
NO_SERVER = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_SOCKET_NOT_CONNECTED")
WORDS = ("Bad", "Poor", "Fair", "Good", "Excellent")


class Panel:
    """A listening test on disk and the program that holds it, which can be killed and started again."""

    def __init__(self, folder, settings):
        self.file, self.results = folder / "test.yaml", folder / "test.sqlite"
        self.file.write_text(yaml.safe_dump(settings))
        self.port = free_port()
        self.server = None
        self.start()
        self.admin_token = self._admin_token()

    def start(self):
        self.server = ListeningServer(["--test", self.file, "--results", self.results], port=self.port)

    def kill(self):
        self.server.kill()

    def _admin_token(self):
        found = re.search(r"token ([\w-]{20,})", self.server.output())
        assert found, self.server.output()
        return found.group(1)

    def rows(self, query, *values):
        """Read from the results as another program would."""
        with sqlite3.connect(f"file:{self.results}?mode=ro", uri=True) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(query, values)]

    def link(self, number):
        token = self.rows("SELECT token FROM participants WHERE number=?", number)[0]["token"]
        return f"{self.server.url}/t/{token}"

    def answers(self, number):
        """Confirmed ratings: {trial: {label: {scale: value}}}."""
        found = {}
        for row in self.rows("SELECT * FROM ratings WHERE participant=? ORDER BY trial, label", number):
            found.setdefault(row["trial"], {}).setdefault(row["label"], {})[row["scale"]] = row["value"]
        return found

    def labels(self, number, trial):
        query = "SELECT labels FROM trials WHERE participant=? AND trial=?"
        return json.loads(self.rows(query, number, trial)[0]["labels"])


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("run")
    make_tiny_run(folder, song, n_songs=2, duration_s=1.5, scored=False)
    return folder


PEOPLE = [{"listener": "L5040"}, {"listener": "L5076"}]
COMMON = {
    "title": "Which remix sounds better?", "systems": ["baseline", "e016"], "songs": "all", "duration_s": 1.0,
    "seed": 7, "training_trials": 0, "break_every": 0, "participants": PEOPLE[:1],
}  # fmt: skip
TESTS = {
    "mushra": {
        "systems": list(SYSTEMS), "training_trials": 1, "break_every": 1, "participants": [*PEOPLE * 3, PEOPLE[0]],
    },
    "scales": {"songs": [{"name": "Falcon - part 0"}]},
    "ab": {"against": "baseline"},
}  # fmt: skip


@pytest.fixture(scope="module")
def panels(run_folder, tmp_path_factory):
    """A test of each type, held by a program of its own; they start side by side, while the browser starts."""
    with ThreadPoolExecutor() as threads:
        starting = {
            name: threads.submit(
                Panel, tmp_path_factory.mktemp(name), COMMON | {"type": name, "run": str(run_folder)} | settings
            )
            for name, settings in TESTS.items()
        }
        yield starting
        list(threads.map(lambda panel: panel.result().server.stop(), starting.values()))


@pytest.fixture(scope="module")
def mushra(panels, browser):
    return panels["mushra"].result()


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


def enter(page: Page, link: str) -> None:
    """From the welcome through the level check to the first page."""
    page.goto(link)
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("button", name="Play the test sound").click()
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Go on").click()


def heading(page: Page, name: str | re.Pattern) -> None:
    expect(page.get_by_role("heading", level=2, name=name)).to_be_visible()


def slider(page: Page, label: str, scale: str = "quality"):
    return page.get_by_role("slider", name=re.compile(f"Stimulus {label}, {scale}"))


def rate(page: Page, values: dict[str, int]) -> None:
    """Play every stimulus and give it its value."""
    for label, value in values.items():
        page.get_by_role("button", name=re.compile(f"Play stimulus {label} ")).click()
        slider(page, label).fill(str(value))


def confirm(page: Page) -> None:
    page.get_by_role("button", name="Confirm and go on").click()


def values_for(labels, start):
    return {label: (start + 7 * place) % 101 for place, label in enumerate(sorted(labels))}


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


def test_keyboard_alone_goes_through_welcome_level_and_a_trial(mushra, browser):
    with open_page(browser) as (page, watch):
        page.goto(mushra.link(3))
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
        labels = sorted(mushra.labels(3, 1))
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
    values = [mushra.answers(3)[1][label]["quality"] for label in labels]
    assert values == [50, 100, *[values[2]] * (len(labels) - 2)]
    assert 50 < values[2] < 100


def test_draft_outlives_a_reload_and_confirm_says_what_it_waits_for(mushra, browser):
    with open_page(browser, width=360, height=740, touch=True) as (page, watch):
        enter(page, mushra.link(4))
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
        assert mushra.answers(4) == {}
        page.unroute("**/trials/1")
        page.reload()  # what was confirmed is sent again without another press of the button
        heading(page, "That was the training")
        watch.assert_clean(except_for=("ERR_FAILED",))
    assert {label: row["quality"] for label, row in mushra.answers(4)[1].items()} == {
        "A": 62, "B": 15, "C": 100, "D": 1, "E": 2, "F": 3,
    }  # fmt: skip
    assert json.loads(mushra.rows("SELECT n_plays FROM trials WHERE participant=4")[0]["n_plays"])["A"] == 1


def test_nothing_that_a_participant_gets_tells_what_is_heard(mushra, browser):
    """Neither addresses nor answers nor the page hold a system's name; sounds have lengths and names all alike."""
    with open_page(browser) as (page, watch):
        answers = []
        page.on("response", lambda response: answers.append(response))
        enter(page, mushra.link(5))
        heading(page, re.compile("Training 1 of 1"))
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


def test_second_window_goes_where_the_first_one_is(mushra, browser):
    with open_page(browser) as (first, watch):
        enter(first, mushra.link(7))
        heading(first, re.compile("Training 1 of 1"))
        second = first.context.new_page()
        second.goto(mushra.link(7))
        heading(second, re.compile("Training 1 of 1"))
        values = values_for(mushra.labels(7, 1), 30)
        rate(second, {label: value + 1 for label, value in values.items()})
        first.bring_to_front()  # a browser gives windows behind others little time
        rate(first, values)
        confirm(first)
        heading(first, "That was the training")
        second.bring_to_front()
        confirm(second)
        heading(second, "That was the training")
        watch.assert_clean()
        assert {label: row["quality"] for label, row in mushra.answers(7)[1].items()} == values


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
        page.goto(mushra.link(6))
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
        assert mushra.rows("SELECT volume FROM participants WHERE number=6")[0]["volume"] == pytest.approx(0.36)
        quieter = page.get_by_role("slider", name="Volume")
        assert quieter.input_value() == quieter.get_attribute("max") == "100"
        page.evaluate("levels.length = 0")
        quieter.fill("50")
        assert page.evaluate("levels") == [pytest.approx(0.36 / 4)]
        page.reload()
        heading(page, re.compile("Training 1 of 1"))
        assert page.get_by_role("slider", name="Volume").input_value() == "50"
        watch.assert_clean()


NO_STORAGE = (
    "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
)
LEFT_OPEN = (
    "sessionStorage.setItem('cadenza-remix:draft:' + location.pathname.slice(3) + ':training:1', '{\"seconds\": 1e7}');"
)


@pytest.mark.parametrize(("number", "script", "longest_s"), [(5, NO_STORAGE, 60), (6, LEFT_OPEN, 7 * 86_400)])
def test_answers_are_saved_without_storage_and_after_months(mushra, browser, number, script, longest_s):
    """Participants who have come as far as their first page, in the tests above."""
    with open_page(browser) as (page, watch):
        page.add_init_script(script)
        page.goto(mushra.link(number))
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
        expect(page.get_by_role("status")).to_contain_text("Participant 8 is added")
        link = page.get_by_label("Link of participant 8", exact=True).input_value()
        assert link == mushra.link(8)

        with page.expect_download() as exported:
            page.get_by_label("Export the data of participant 8").click()
        data = json.loads(exported.value.path().read_text())
        assert data["audiogram"]["left"]["levels_db_hl"] == [10, 10, 20, 30, 40, 50]
        with page.expect_download() as answers:
            page.get_by_text("Download answers.csv").click()
        assert answers.value.path().read_text().startswith("participant,listener,")

        page.get_by_label("Delete participant 8").click()
        page.get_by_role("button", name="Keep").click()
        assert mushra.rows("SELECT COUNT(*) AS n FROM participants WHERE number=8")[0]["n"] == 1
        page.get_by_label("Delete participant 8").click()
        page.get_by_role("button", name="Delete for good").click()
        expect(page.get_by_role("status")).to_contain_text("Participant 8 is deleted")
        expect(page.get_by_label("Delete participant 8")).to_be_hidden()
        assert mushra.rows("SELECT COUNT(*) AS n FROM trials WHERE participant=8")[0]["n"] == 0
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("status")).to_have_text("Logged out.")
        page.goto(link)
        heading(page, "This link does not work")
        watch.assert_clean(except_for=("401", "404"))
