"""The listening room when what it needs is not there: a server that is gone, damaged files, sounds that do not come."""

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import open_browser
from listening_server import ListeningServer, free_port, listening_server
from open_room import LOADED, TWO_SONGS_S, clock, elsewhere, room, row, two_songs
from playwright.sync_api import Page, Route, expect

from cadenza_remix.audio.io import load_audio, write_stems
from cadenza_remix.audio.signal import Audio
from cadenza_remix.challenge.naming import ENHANCED_FOLDER, remix_path

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def run(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("trouble") / "tiny"
    two_songs(folder, song)
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
        expect(row(page, "clean:vocals")).to_have_attribute("data-state", "waiting")
        expect(row(page, "clean:vocals").locator(".note")).to_have_text("waiting")
        page.keyboard.press("2")
        expect(page.locator("#now")).to_have_text("baseline")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        before = clock(page)
        expect(page.locator("#clock")).not_to_have_text(f"0:0{before:.1f}")
        page.locator('input[value="clean:vocals"]').check()
        with listening_server(arguments, port=port):
            expect(page.locator("#now")).to_have_text("vocals, clean")
            expect(row(page, "clean:vocals")).to_have_attribute("data-state", "loaded")
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


def test_where_nothing_can_be_played_the_headline_says_so_until_something_can(browser, own, own_server):
    song = "Falcon - part 1"
    files = [remix_path(own / name / ENHANCED_FOLDER, "L5040", song) for name in ("baseline", "e016")]
    files.append(own / "references" / song / "mixture.wav")
    whole = [file.read_bytes() for file in files]
    for file, content in zip(files, whole, strict=True):
        file.write_bytes(content[:40])
    with room(browser, own_server, except_for=REFUSED) as page:
        page.locator("#song").select_option(index=1)
        for version, file in zip(("remix:baseline", "remix:e016", "mixture"), files, strict=True):
            expect_failed(page, version, file)
        expect(page.locator("#now")).to_have_text("Mixture cannot be played")
        expect(page.locator("#status")).to_have_text("Mixture cannot be played")
        page.reload()  # as who opens the room with it
        expect(page.locator("#now")).to_have_text("Mixture cannot be played")
        page.locator('input[value="remix:baseline"]').check()
        expect(page.locator("#now")).to_have_text("baseline cannot be played")
        files[1].write_bytes(whole[1])
        page.locator('input[value="remix:e016"]').check()
        expect(page.locator("#now")).to_have_text("e016")
        expect(page.locator("#room-error")).to_be_hidden()
        page.locator("#play").click()
        expect(page.locator("#clock")).not_to_have_text("0:00.0")


def test_where_the_versions_cannot_be_told_the_headline_does_not_load_for_good(browser, server):
    with room(browser, server) as page:
        page.route("**/versions?listener=*", lambda route: route.fulfill(json=[]))
        page.locator("#song").select_option(index=1)
        expect(page.locator("#room-error")).to_contain_text("can be heard for L5040")
        expect(page.locator("#now")).to_have_text("Mixture cannot be played")
        page.unroute_all()
        page.locator("#song").select_option(index=0)
        expect(page.locator("#now")).to_have_text("Mixture")
        expect(page.locator("#room-error")).to_be_hidden()


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


def first_time(page: Page, pattern: str, handle: Callable[[Route], None]) -> list[str]:
    """Do this with the first request, and let the others through; gives what was asked."""
    asked: list[str] = []

    def route(one: Route) -> None:
        asked.append(one.request.url)
        if len(asked) == 1:
            handle(one)
        else:
            one.continue_()

    page.route(pattern, route)
    return asked


def forgotten(line: str) -> Callable[[Route], None]:
    """Answer that there is no such thing."""
    return lambda route: route.fulfill(status=404, json={"error": line})


def test_what_a_server_has_forgotten_is_asked_for_again(browser, server):
    with room(browser, server, except_for=("status of 404",)) as page:
        asked = first_time(page, "**/clips/*.flac", forgotten("no such clip"))
        page.get_by_text("Clean stems", exact=True).click()
        page.locator('input[value="clean:bass"]').check()
        expect(page.locator("#now")).to_have_text("bass, clean")
        assert len(asked) == 2
        page.get_by_label("Start from").select_option("N2")
        expect(page.locator("#audiogram-status")).to_contain_text("Made after")
        first_time(page, "**/api/clips", forgotten("unknown listener"))
        with page.expect_request("**/api/listeners"):  # told again
            page.locator('input[value="clean:drums"]').check(force=True)
        expect(page.locator("#now")).to_have_text("drums, clean")
        expect(page.locator("#room-error")).to_be_hidden()


def test_a_sound_that_does_not_come_is_named_and_tried_again_when_it_is_chosen(browser, server):
    with room(browser, server, except_for=("ERR_FAILED",)) as page:
        page.locator("#loop").click()
        page.locator("#play").click()
        asked = first_time(page, "**/clips/*.flac", lambda route: route.abort())
        page.get_by_text("Clean stems", exact=True).click()
        page.locator('input[value="clean:vocals"]').check()
        expect(page.locator("#room-error")).to_have_text("vocals, clean: the sound did not come; choose it again")
        expect(page.locator("#status")).to_have_text("vocals, clean cannot be played; still hearing Mixture")
        expect(row(page, "clean:vocals")).to_have_attribute("data-state", "failed")
        expect(page.locator("#busy")).to_be_hidden()
        assert len(asked) == 1
        page.locator('input[value="clean:vocals"]').click()  # it is chosen already
        expect(page.locator("#now")).to_have_text("vocals, clean")
        expect(page.locator("#room-error")).to_be_hidden()
        expect(row(page, "clean:vocals")).to_have_attribute("data-state", "loaded")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        assert len(asked) == 2


def test_one_sound_of_several_that_does_not_come_leaves_the_others(browser, server):
    with room(browser, server, except_for=("ERR_FAILED",)) as page:
        first_time(page, "**/clips/*.flac", lambda route: route.abort())
        page.get_by_label("Made for listener").select_option("L5076")
        expect(page.locator("#room-error")).to_have_text(
            re.compile("^(baseline|e016): the sound did not come; choose it again$")
        )
        lost = page.locator("#room-error").inner_text().split(":")[0]
        expect(page.locator(LOADED)).to_have_count(2)
        expect(row(page, f"remix:{lost}")).to_have_attribute("data-state", "failed")
        page.locator(f'input[value="remix:{lost}"]').check()
        expect(page.locator("#now")).to_have_text(lost)
        expect(page.locator("#now-detail")).to_contain_text("for L5076")
        expect(page.locator(LOADED)).to_have_count(3)
        expect(page.locator("#room-error")).to_be_hidden()


def clip_file(page: Page, server: ListeningServer, version: str) -> Path:
    """Return the file in which the server keeps what the page will ask for."""
    passage = {"listener": "L5040", "start_s": 0, "duration_s": TWO_SONGS_S, "simulator": None}
    body = {**passage, "song": page.locator("#song").input_value(), "versions": [version]}
    (clip,) = page.request.post(f"{server.url}/api/clips", data=body).json()["clips"]
    folders = Path(tempfile.gettempdir()).glob(f"cadenza-listen-*-{server.process.pid}-*/clips")
    (file,) = [folder / Path(clip["url"]).name for folder in folders]
    return file


def test_what_came_and_is_no_sound_is_fetched_anew_not_from_the_browsers_store(browser, own_server):
    with room(browser, own_server) as page:
        file = clip_file(page, own_server, "clean:vocals")
        whole = file.read_bytes()
        file.write_bytes(whole[:40] + bytes(len(whole) - 40))
        page.get_by_text("Clean stems", exact=True).click()
        page.locator('input[value="clean:vocals"]').check()
        expect(page.locator("#room-error")).to_have_text("vocals, clean: the sound cannot be decoded; choose it again")
        expect(row(page, "clean:vocals")).to_have_attribute("data-state", "failed")
        expect(page.locator("#now")).to_have_text("Mixture")
        file.write_bytes(whole)
        page.locator('input[value="clean:vocals"]').click()
        expect(page.locator("#now")).to_have_text("vocals, clean")
        expect(page.locator("#room-error")).to_be_hidden()


def halve(file: Path) -> None:
    """Replace an audio file by itself at half the level, as a run that is made again does it."""
    audio = load_audio(file, sample_rate=None)
    write_stems(file.parent, {file.stem: Audio(audio.samples / 2, audio.sample_rate)})


def test_a_file_that_is_replaced_is_heard_by_who_comes_back_to_the_page(browser, own, own_server):
    file = own / "references" / "Falcon - part 0" / "mixture.wav"
    with room(browser, own_server) as page:
        page.locator("#loop").click()
        page.locator("#play").click()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        note = row(page, "mixture").locator(".note")
        before = note.inner_text()
        others = [row(page, f"remix:{name}").locator(".note").inner_text() for name in ("baseline", "e016")]
        with page.expect_response("**/api/clips"), elsewhere(page):
            pass
        with elsewhere(page):
            halve(file)
        expect(note).not_to_have_text(before)
        expect(row(page, "mixture")).to_have_attribute("data-state", "loaded")
        fall = float(before.split()[0].replace("\u2212", "-")) - float(
            note.inner_text().split()[0].replace("\u2212", "-")
        )
        assert fall == pytest.approx(6.0, abs=0.11)  # both are shown with one decimal
        expect(page.locator("#now-detail")).to_contain_text(f"{note.inner_text()} before levelling")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        assert [row(page, f"remix:{name}").locator(".note").inner_text() for name in ("baseline", "e016")] == others
        assert len([url for url in asked if url.endswith(".flac")]) == 1  # nothing else was loaded anew
        assert len([url for url in asked if url.endswith("/api/clips")]) == 2


def test_what_is_loaded_plays_on_where_its_file_is_damaged_meanwhile(browser, own, own_server):
    with room(browser, own_server, except_for=("status of 422",)) as page:
        file = remix_file(own, "L5040")
        part = file.read_bytes()[:40]
        # The page asks only when it is through with the answer before.
        for damage in (lambda: file.write_bytes(part), file.unlink, lambda: None):
            with page.expect_response("**/api/clips"), elsewhere(page):
                damage()
            page.locator('input[value="remix:e016"]').check()
            page.locator('input[value="remix:baseline"]').check()
            expect(page.locator("#now")).to_have_text("baseline")
            expect(page.locator(LOADED)).to_have_count(3)
            expect(page.locator("#room-error")).to_be_hidden()


def test_a_run_without_separated_stems_says_so_to_who_draws_an_audiogram(browser, server):
    mixture = [{"id": "mixture", "label": "Mixture", "group": "Unprocessed", "start_s": 0, "end_s": TWO_SONGS_S}]
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
