"""The listening room in a real browser, on the real server: what is chosen, drawn or brought along is heard."""

import io
import json
import re
from itertools import pairwise
from urllib.request import urlopen

import numpy as np
import pytest
import soundfile
from browser import open_browser, open_page, wait_until
from open_room import ToldClips, clock, room, room_server
from playwright.sync_api import expect

from cadenza_remix.hearing.audiogram import Audiogram, load_listeners
from cadenza_remix.hearing.nalr import nalr_gains_db

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory, song):
    with room_server(tmp_path_factory.mktemp("room") / "tiny", song) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


def samples(server, clip) -> np.ndarray:
    with urlopen(server.url + clip["url"]) as answer:
        audio, rate = soundfile.read(io.BytesIO(answer.read()))
    assert rate == 44100
    return audio * clip["scale_lin"]


def test_the_room_opens_and_asks_nobody_else(browser, server):
    with open_page(browser) as (page, watched):
        page.goto(server.url)
        page.locator("#song option").first.wait_for(state="attached")
        page.locator("#ears [role=slider]").first.wait_for()
        watched.assert_clean()


def test_versions_are_switched_while_the_music_goes_on(browser, server):
    with room(browser, server) as page:
        page.locator("#loop").click()  # so that it goes on however long this takes
        page.get_by_role("button", name="Play").click()
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        expect(page.locator("#now")).to_have_text("Mixture")
        for name in ("baseline", "e016"):
            page.get_by_role("radio", name=name).first.check()
            expect(page.locator("#now")).to_have_text(name)
            expect(page.locator("#status")).to_have_text(f"Hearing {name}")
            before = page.locator("#clock").inner_text()
            expect(page.locator("#clock")).not_to_have_text(before)
            expect(page.get_by_role("button", name="Pause")).to_be_visible()
        page.get_by_role("button", name="Back to baseline").click()
        expect(page.locator("#now")).to_have_text("baseline")
        expect(page.locator("#waveform")).to_have_attribute("aria-label", re.compile("^Waveform of baseline, 4.0 s"))
        expect(page.locator("#spectrogram")).to_have_attribute("aria-label", re.compile("of its power lie between"))
        level = page.locator("#meters [role=meter]").first
        expect(level).not_to_have_attribute("aria-valuenow", "-60")  # something is heard


def test_a_stem_is_made_only_when_it_is_wanted(browser, server):
    with room(browser, server) as page:
        told = ToldClips(page)
        page.locator("summary", has_text=re.compile("^Clean stems")).click()
        page.get_by_role("radio", name="vocals").first.check()
        expect(page.locator("#now")).to_contain_text("vocals")
        told.of("clean:vocals")
        assert [clip["version"] for clip in told.all()] == ["clean:vocals"]


def test_a_region_is_looped_by_pointer_and_by_numbers(browser, server):
    with room(browser, server) as page:
        box = page.locator("#plot").bounding_box()
        page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 40, steps=4)
        page.mouse.up()
        expect(page.get_by_role("button", name="Loop", exact=True)).to_have_attribute("aria-pressed", "true")
        assert float(page.locator("#loop-start").input_value()) == pytest.approx(1.0, abs=0.02)
        assert float(page.locator("#loop-end").input_value()) == pytest.approx(2.0, abs=0.02)
        page.locator("#loop-end").fill("1.4")
        page.locator("#loop-end").press("Tab")
        page.mouse.click(box["x"] + 0.26 * box["width"], box["y"] + 40)
        page.locator("#play").click()
        seen = []

        def came_round() -> bool:
            seen.append(clock(page))
            return any(later < earlier for earlier, later in pairwise(seen))

        wait_until(page, came_round, "the loop to come round")
        assert min(seen) >= 0.95
        assert max(seen) <= 1.45


def test_an_edited_audiogram_is_heard(browser, server):
    version = "stem:baseline:right_vocals"
    with room(browser, server, address=f"#version={version}") as page:
        told = ToldClips(page)
        fetched: list[str] = []
        page.on("requestfinished", lambda request: fetched.append(request.url))
        page.locator("#loop").click()
        page.locator("#play").click()
        point = page.get_by_role("slider", name="Right ear, 2 kHz")
        before = int(point.get_attribute("aria-valuenow"))
        page.get_by_role("slider", name="Right ear, 250 Hz").focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        for _ in range(4):
            page.keyboard.press("ArrowDown")
        expect(point).to_have_attribute("aria-valuenow", str(before + 20))
        expect(point).to_have_attribute("aria-valuetext", f"{before + 20} dB HL, severe loss")
        expect(page.locator("#audiogram-status")).to_contain_text("Heard after")
        expect(page.locator("#play-word")).to_have_text("Pause")  # the music went on
        (edited,) = told.of(version)
        wait_until(page, lambda: server.url + edited["url"] in fetched, "the edited clip fetched")  # what is heard now
        made = samples(server, edited)
        page.locator("summary", has_text="Separated stems").click()
        page.locator('input[value="separated:vocals"]').check()
        expect(page.locator("#now-detail")).to_contain_text("Separated stems")
        plain = samples(server, told.of("separated:vocals")[0])
    listener = load_listeners("cad1-sample", only=["L5040"])["L5040"]
    levels = listener.right.levels_db_hl.copy()
    levels[3] += 20
    drawn = Audiogram(listener.right.frequencies_hz, levels, name="right")
    wanted_db = nalr_gains_db(drawn)[3]
    assert wanted_db > nalr_gains_db(listener.right)[3] + 5  # else nothing would be shown
    band = (np.fft.rfftfreq(len(plain), 1 / 44100) > 1950) & (np.fft.rfftfreq(len(plain), 1 / 44100) < 2050)
    power = [np.sum(np.abs(np.fft.rfft(one[:, 1])[band]) ** 2) for one in (made, plain)]
    assert 10 * np.log10(power[0] / power[1]) == pytest.approx(wanted_db, abs=1.0)


def test_another_listener_and_a_standard_audiogram(browser, server):
    with room(browser, server, address="#version=remix:baseline") as page:
        known = page.request.get(f"{server.url}/api/room").json()["standard_audiograms"]
        level = next(one["levels_db_hl"][1] for one in known if one["id"] == "N5")
        told = ToldClips(page)
        page.get_by_label("Made for listener").select_option("L5076")
        expect(page.locator("#now-detail")).to_contain_text("for L5076")
        page.get_by_label("Start from").select_option("N5")
        expect(page.locator("#audiogram-status")).to_contain_text("Heard after")
        expect(page.locator("#now-detail")).to_contain_text("for the audiogram as drawn")
        expect(page.get_by_role("slider", name="Left ear, 375 Hz")).to_be_visible()
        own, standard = told.of("remix:baseline", n_clips=2)[:2]
        assert standard["loudness_lufs"] > own["loudness_lufs"]  # N5 asks for more gain than L5076
        shared = page.url
        page.goto("about:blank")
        page.goto(shared)
        expect(page.locator("#now-detail")).to_contain_text("for the audiogram as drawn")
        expect(page.get_by_role("slider", name="Left ear, 375 Hz")).to_have_attribute("aria-valuenow", f"{level:g}")


def test_a_point_is_dragged_and_a_number_is_typed(browser, server):
    with room(browser, server) as page:
        point = page.get_by_role("slider", name="Left ear, 1 kHz")
        point.hover()
        box = point.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 + 60, steps=3)
        page.mouse.up()
        dragged = int(point.get_attribute("aria-valuenow"))
        assert dragged in range(40, 80, 5)
        page.locator("summary", has_text="Type the numbers").click()
        number = page.get_by_role("spinbutton", name="Left ear, 1 kHz, dB HL")
        expect(number).to_have_value(str(dragged))
        number.fill("33")
        number.press("Tab")
        expect(point).to_have_attribute("aria-valuetext", "33 dB HL, mild loss")
        expect(page.locator("#audiogram-status")).to_contain_text("Made after")  # the mixture sounds on as it was
        expect(page.locator("#standard option:checked")).to_have_text("as drawn")
        number.fill("130")
        number.press("Tab")
        expect(page.locator("#audiogram-error")).to_have_text("Left ear, 1 kHz: expected -10 to 120 dB HL, found 130")
        expect(number).to_have_value("33")
        page.reload()
        expect(page.locator("#standard option:checked")).to_have_text("as drawn")


def test_a_simulated_hearing_loss_is_on_all_versions(browser, server):
    with room(browser, server) as page:
        told = ToldClips(page)
        page.get_by_label("Heard through").select_option("simple")
        expect(page.locator("#now-detail")).to_contain_text("through a simulated hearing loss")
        expect(page.locator("#simulator-hint")).to_contain_text("raised thresholds")
        expect(page.locator("label.version[data-state=loaded]")).to_have_count(3)
        expect(page.locator("#busy")).to_be_hidden()
        peaks = sorted(clip["peak_lin"] for clip in told.of("mixture", n_clips=2))
        assert peaks[0] < 0.9 * peaks[-1]  # what is heard is weaker than what was made


def test_nothing_is_loud_by_surprise(browser, server):
    ask = """async ([clips, isMatched]) => {
      const {gainsFor} = await import("/pages/room_levels.js");
      return [...gainsFor(new Map(Object.entries(clips)), isMatched).values()];
    }"""
    clips = {
        "loud": {"loudness_lufs": 0.4, "peak_lin": 3.0},
        "soft": {"loudness_lufs": -30.0, "peak_lin": 0.2},
        "silent": {"loudness_lufs": None, "peak_lin": 0.0},
        "peaky": {"loudness_lufs": -35.0, "peak_lin": 0.9},
    }
    with room(browser, server) as page:
        for is_matched in (True, False):
            gains = dict(zip(clips, page.evaluate(ask, [clips, is_matched]), strict=True))
            loudness = {
                name: clip["loudness_lufs"] + 20 * np.log10(gains[name])
                for name, clip in clips.items()
                if clip["loudness_lufs"] is not None
            }
            assert max(clip["peak_lin"] * gains[name] for name, clip in clips.items()) <= 10 ** (-0.3 / 20) + 1e-9
            assert max(loudness.values()) <= -16 + 1e-9
            spread = max(loudness.values()) - min(loudness.values())
            assert spread == pytest.approx(0 if is_matched else 35.4, abs=1e-6)
        page.get_by_role("button", name="Loudness matched").click()
        expect(page.locator("#matched-hint")).to_contain_text("True levels")


def test_the_spectrogram_is_a_fourier_transform(browser, server):
    ask = """async (samples) => {
      const {Fft, spectrogram} = await import("/pages/room_fft.js");
      const [real, imaginary] = [Float64Array.from(samples), new Float64Array(samples.length)];
      new Fft(samples.length).run(real, imaginary);
      const tone = Float32Array.from({length: 44100}, (_, i) => Math.sin(2 * Math.PI * 1000 * i / 44100));
      const {levels, rows, from_hz, to_hz} = spectrogram(tone, 44100, 10, 192);
      const column = Array.from(levels.slice(5 * rows, 6 * rows));
      return {real: [...real], imaginary: [...imaginary], row: column.indexOf(Math.max(...column)), from_hz, to_hz};
    }"""
    given = np.random.default_rng(3).standard_normal(256)
    with room(browser, server) as page:
        found = page.evaluate(ask, given.tolist())
    wanted = np.fft.fft(given)
    assert np.abs(np.array(found["real"]) + 1j * np.array(found["imaginary"]) - wanted).max() < 1e-12 * 256
    assert abs(found["row"] - 192 * np.log(1000 / 50) / np.log(16000 / 50)) <= 2
    assert 980 < found["from_hz"] <= found["to_hz"] < 1020


def test_what_is_no_song_is_refused_in_its_place(browser, server, tmp_path):
    text, garbage, large = tmp_path / "notes.txt", tmp_path / "noise.wav", tmp_path / "large.wav"
    text.write_text("not music")
    garbage.write_bytes(np.random.default_rng(1).bytes(20_000))
    with large.open("wb") as file:
        file.truncate(101_000_000)
    with room(browser, server, except_for=("status of 4",)) as page:
        error = page.locator("#own-error")
        page.locator("#own-file").set_input_files(text)
        expect(error).to_contain_text("notes.txt: not a kind that is read here; expected .wav")
        page.locator("#own-file").set_input_files(large)
        expect(error).to_have_text("large.wav: 101.0 MB is too large; expected at most 100 MB")
        page.locator("#own-file").set_input_files(garbage)
        expect(error).not_to_contain_text("large.wav")
        expect(error).to_be_visible()
        assert len(error.inner_text().splitlines()) == 1
        expect(page.locator("#own-choose")).to_be_enabled()
        # The server itself refuses what comes past the page's own check, and is still there.
        sent = page.request.post(f"{server.url}/api/uploads?name=notes.txt", data=b"not music")
        assert sent.status == 415
        assert json.loads(sent.text())["error"]
        assert page.request.get(f"{server.url}/api/room").ok


def test_a_song_of_ones_own_is_demixed_and_played(browser, server, tmp_path):
    rate = 44100
    time_s = np.arange(3 * rate) / rate
    tone = 0.3 * np.sin(2 * np.pi * 220 * time_s) * (1 + 0.5 * np.sin(2 * np.pi * 3 * time_s))
    mine, slow, other = tmp_path / "my <b>song.wav", tmp_path / "slow.wav", tmp_path / "other.wav"
    soundfile.write(mine, np.stack([tone, 0.8 * tone], axis=1), rate)
    slow.write_bytes(mine.read_bytes())
    other.write_bytes(b"no sound at all")
    with room(browser, server, except_for=("status of 4",)) as page:
        page.set_default_timeout(60_000)
        chosen = page.locator("#song option:checked")
        # Sending can be stopped, and only one song is sent at a time.
        page.route("**/api/uploads?name=slow.wav", lambda route: None)
        page.locator("#own-file").set_input_files(slow)
        expect(page.locator("#own-state")).to_have_text("Sending slow.wav")
        page.locator("#own-file").set_input_files(mine)
        expect(page.locator("#own-error")).to_contain_text("another song is being sent")
        page.get_by_role("button", name="Stop sending").click()
        expect(page.locator("#own-progress")).to_be_hidden()
        expect(page.locator("#own-error")).to_be_hidden()
        expect(page.locator("#own-choose")).to_be_focused()

        page.locator("#own-file").set_input_files(mine)
        expect(page.get_by_role("button", name="Stop and delete it")).to_be_visible()
        page.reload()  # the page of before is gone, the song is not
        expect(page.locator("#own-state")).to_contain_text("is ready", timeout=60_000)
        expect(chosen).to_have_text(re.compile(r"my <b>song.*\(your own\)"))
        assert page.locator("b").count() == 0  # a name is text, whatever stands in it
        expect(page.locator("label.version[data-state=loaded]")).to_have_count(3)
        page.locator("#loop").click()
        page.locator("#play").click()
        page.keyboard.press("2")
        expect(page.locator("#now")).to_have_text("baseline")
        expect(page.locator("#play-word")).to_have_text("Pause")
        page.get_by_label("Made for listener").select_option("L5076")
        expect(page.locator("#now-detail")).to_contain_text(re.compile("song.*for L5076"))
        expect(page.locator("#play-word")).to_have_text("Pause")

        # Another one takes its place: the former is not offered any more, whatever becomes of the new one.
        page.locator("#own-file").set_input_files(other)
        expect(page.locator("#own-error")).to_be_visible()
        expect(page.locator("#own-delete")).to_be_hidden()
        expect(page.locator("#song option")).to_have_count(1)
        expect(page.locator("#now-detail")).to_contain_text("Falcon")
        expect(page.locator("#play-word")).to_have_text("Play")
        assert page.evaluate("sessionStorage.length") == 0
