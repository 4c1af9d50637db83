"""What the listening room plays is as loud as it says, and what it shows of a sound is true."""

import base64
import json

import numpy as np
import pyloudnorm
import pytest
from browser import open_browser
from listening_server import listening_server
from open_room import room
from playwright.sync_api import Page, Route, expect
from tiny_run import make_tiny_run

pytestmark = pytest.mark.browser

RATE = 44100
VERSIONS = ["mixture", "remix:baseline", "remix:e016", "clean:vocals"]


@pytest.fixture(scope="module")
def server(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("levels") / "tiny"
    make_tiny_run(folder, song, duration_s=3.0, scored=False)
    with listening_server([folder / "baseline", folder / "e016", "--references", folder / "references"]) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


RECORD = """async ([song, versions, isMatched]) => {
  const [{Player}, {Passage}] = await Promise.all([import("/pages/player.js"), import("/pages/room_passage.js")]);
  const recorded = [];
  const text = (samples) => new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1]);
    reader.readAsDataURL(new Blob([samples]));
  });
  for (const version of versions) {
    const context = new OfflineAudioContext(2, 3 * 44100, 44100);
    const player = new Player(context);
    const passage = new Passage(player, () => {});
    passage.setMatched(isMatched);
    await passage.fetch({song, listener: "L5040", start_s: 0, duration_s: 3, simulator: null}, versions);
    player.select(version);
    player.play();
    const sound = await context.startRendering();
    recorded.push(await Promise.all([0, 1].map((channel) => text(sound.getChannelData(channel)))));
  }
  return recorded;
}"""


def recorded(page: Page, song: str, is_matched: bool) -> dict[str, np.ndarray]:
    """What leaves the real player by version, shape (n_samples, 2)."""
    found = page.evaluate(RECORD, [song, VERSIONS, is_matched])
    channels = [[np.frombuffer(base64.b64decode(text), np.float32) for text in both] for both in found]
    return {version: np.stack(both, axis=1) for version, both in zip(VERSIONS, channels, strict=True)}


def test_matched_versions_leave_the_page_at_one_loudness(browser, server):
    meter = pyloudnorm.Meter(RATE)
    with room(browser, server) as page:
        song = page.locator("#song").input_value()
        matched, true = (recorded(page, song, is_matched) for is_matched in (True, False))
    loudness = {version: meter.integrated_loudness(sound) for version, sound in matched.items()}
    assert max(loudness.values()) - min(loudness.values()) < 0.1
    assert max(loudness.values()) <= -19.9
    plain = {version: meter.integrated_loudness(sound) for version, sound in true.items()}
    assert plain["remix:baseline"] - plain["mixture"] > 3  # else matching would have had nothing to do
    for sound in [*matched.values(), *true.values()]:
        assert np.abs(sound).max() < 10 ** (-0.25 / 20)


#: A stand-in for the player, whose loads come when they are let; and a wait for the next of them.
STAND_IN = """
  const {Passage} = await import("/pages/room_passage.js");
  const gains = new Map();
  const coming = [];
  const loaded = (id, gain, error) => (error ? Promise.reject(error) : (gains.set(id, gain), true));
  const player = {
    duration: 60, selected: null,
    get ids() { return [...gains.keys()]; },
    has: (id) => gains.has(id),
    setGain: (id, gain) => gains.set(id, gain),
    unload: (id) => gains.delete(id),
    load: (id, url, {gain}) => new Promise((resolve) => coming.push((error) => resolve(loaded(id, gain, error)))),
  };
  const next = async () => {
    while (coming.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    return coming.shift();
  };
  const passage = new Passage(player, () => {});
"""

SWAP = f"""async () => {{{STAND_IN}
  let job = passage.fetch({{simulator: null}}, ["a"]);
  (await next())();
  await job;
  const loud = gains.get("a");
  job = passage.fetch({{simulator: null}}, ["a"]);
  const arrived = await next();
  const meanwhile = gains.get("a");
  arrived();
  await job;
  return {{loud, meanwhile, soft: gains.get("a"), told: passage.loudness("a")}};
}}"""

LOST = f"""async (status) => {{{STAND_IN}
  let job = passage.fetch({{simulator: null}}, ["a"]);
  (await next())();
  await job;
  const before = gains.get("a");
  job = passage.fetch({{simulator: null}}, ["b", "c"]);
  const [b, c] = [await next(), await next()];
  const meanwhile = gains.get("a");
  b(Object.assign(new Error("the sound did not come"), {{status}}));
  c();
  const failed = await job;
  return {{before, meanwhile, after: gains.get("a"), failed: failed.map(({{error}}) => error), loaded: player.ids}};
}}"""

MANY = f"""async (names) => {{{STAND_IN}
  const most = [];
  for (const name of names) {{
    const job = passage.fetch({{simulator: null}}, [name]);
    (await next())();
    await job;
    player.selected ??= name;
    passage.heard("v1");
    most.push(player.ids.length);
  }}
  return {{most: Math.max(...most), left: player.ids}};
}}"""


CLIPS = """async (request) => {
  const api = await import("/pages/room_api.js");
  return (await api.clips(request)).clips.map(({version}) => version);
}"""


PARTS = f"""async () => {{{STAND_IN}
  const first = passage.fetch({{simulator: null}}, ["c"]);
  (await next())();
  await first;
  const marks = [];
  passage.onmark = (id, state) => marks.push(`${{id}} ${{state}}`);
  const job = passage.fetch({{simulator: "simple"}}, ["a", "b", "c", "d"]);
  (await next())();
  const failed = await job;
  return {{failed, marks, loaded: player.ids, told: passage.loudness("b")}};
}}"""


def clip_of(version: str, loudness_lufs: float, peak_lin: float) -> dict:
    url = f"/clips/{version}{loudness_lufs}.flac"
    return {"version": version, "url": url, "scale_lin": 1, "loudness_lufs": loudness_lufs, "peak_lin": peak_lin}


def clip_answer(version: str, loudness_lufs: float, peak_lin: float) -> str:
    return json.dumps({"clips": [clip_of(version, loudness_lufs, peak_lin)], "failed": []})


def test_a_loud_version_is_not_raised_for_the_soft_one_that_replaces_it(browser, server):
    answers = [clip_answer("a", 0.0, 1.0), clip_answer("a", -40.0, 0.01)]
    with room(browser, server) as page:
        page.route("**/api/clips", lambda route: route.fulfill(content_type="application/json", body=answers.pop(0)))
        found = page.evaluate(SWAP)
    assert found["loud"] == pytest.approx(0.1)  # 0 to -20 LUFS
    assert found["meanwhile"] <= found["loud"]
    assert found["soft"] == pytest.approx(10.0)
    assert found["told"] == -40.0


@pytest.mark.parametrize("status", [0, 500])
def test_what_did_not_come_lowers_nothing_as_if_it_were_still_coming(browser, server, status):
    parts = {"clips": [clip_of("b", 0.0, 100.0), clip_of("c", -20.0, 0.1)], "failed": []}
    answers = [clip_answer("a", -20.0, 0.1), json.dumps(parts)]
    with room(browser, server) as page:
        page.route("**/api/clips", lambda route: route.fulfill(content_type="application/json", body=answers.pop(0)))
        found = page.evaluate(LOST, status)
    assert found["failed"] == ["b: the sound did not come; choose it again"]
    assert found["loaded"] == ["a", "c"]
    assert found["meanwhile"] < 0.2 * found["before"]  # whoever chooses b is not to be startled
    assert found["after"] == found["before"]


def test_more_versions_than_the_server_takes_at_once_are_asked_for_in_parts(browser, server):
    with room(browser, server) as page:
        sizes: list[int] = []
        page.on("request", lambda one: sizes.append(len(one.post_data_json["versions"])) if one.post_data else None)
        passage = {"song": page.locator("#song").input_value(), "listener": "L5040", "start_s": 0, "duration_s": 1}
        for simulator, n_versions in ((None, 60), ("simple", 10)):
            versions = ["mixture", "clean:bass"] * (n_versions // 2)
            asked = {**passage, "versions": versions, "simulator": simulator}
            assert page.evaluate(CLIPS, asked) == versions
    assert sizes == [48, 12, 4, 4, 2]


def test_the_loudness_before_a_loss_is_that_of_the_same_version(browser, server):
    """Either answer may lack versions: what counts are their names, not their places."""

    def answer(route: Route) -> None:
        asked = route.request.post_data_json
        known = {"c": -23.0, "d": -24.0, "b": -22.0} if asked["simulator"] is None else {"a": -41.0, "b": -42.0}
        told = [clip_of(version, loudness, 0.5) for version, loudness in known.items() if version in asked["versions"]]
        failed = [{"version": version, "error": "damaged"} for version in asked["versions"] if version not in known]
        route.fulfill(json={"clips": told, "failed": failed})

    with room(browser, server) as page:
        page.route("**/api/clips", answer)
        found = page.evaluate(PARTS)
    assert found["told"] == -22.0
    assert found["loaded"] == ["b"]  # what was there of c was not heard through a loss
    assert sorted(one["version"] for one in found["failed"]) == ["a", "c", "d"]
    assert sorted(found["marks"][4:]) == ["a failed", "b loaded", "c failed", "d failed"]


def test_of_many_minutes_only_a_few_stay_in_memory(browser, server):
    names = [f"v{number}" for number in range(29)]
    answers = [clip_answer(name, -20.0, 0.5) for name in names]
    with room(browser, server) as page:
        page.route("**/api/clips", lambda route: route.fulfill(content_type="application/json", body=answers.pop(0)))
        found = page.evaluate(MANY, names)
    assert found["most"] == 8  # of 60 s each: 170 MB
    assert {"v0", "v1", "v28"} <= set(found["left"])  # what is heard, what was heard again and again, and the last


METER = """async (amplitude) => {
  const {Meters} = await import("/pages/room_meter.js");
  const context = new OfflineAudioContext(2, 44100, 44100);
  const tone = new OscillatorNode(context, {frequency: 1000});
  const gain = new GainNode(context, {gain: amplitude, channelCount: 2, channelCountMode: "explicit"});
  const root = document.getElementById("meters").cloneNode(true);
  const meters = new Meters(context, tone.connect(gain), root);
  gain.connect(context.destination);
  tone.start();
  await context.startRendering();
  meters.draw(1000);
  return [...root.querySelectorAll(".meter")].map((row) => [
    row.querySelector("output").textContent, Number(row.querySelector(".bar").ariaValueNow),
    parseFloat(row.querySelector(".peak").style.left)]);
}"""


def test_the_meters_tell_peak_and_rms_of_a_tone(browser, server):
    with room(browser, server) as page:
        left, right = page.evaluate(METER, 0.5)
    assert left == right
    text, peak_db, share = left
    assert text == "peak −6.0  RMS −9.0 dBFS"
    assert peak_db == -6.0
    assert share == pytest.approx(100 * (1 - 6.02 / 60), abs=0.1)


AXIS = """async () => {
  const {spectrogram} = await import("/pages/room_fft.js");
  const heights = {};
  for (const label of document.querySelectorAll("#frequencies span")) {
    const hz = parseFloat(label.textContent) * (label.textContent.endsWith("k") ? 1000 : 1);
    const tone = Float32Array.from({length: 44100}, (_, i) => Math.sin(2 * Math.PI * hz * i / 44100));
    const {levels, rows} = spectrogram(tone, 44100, 5, 192);
    const column = Array.from(levels.slice(2 * rows, 3 * rows));
    const [first, last] = [column.indexOf(255), column.lastIndexOf(255)];
    heights[label.textContent] = [(100 * ((first + last) / 2 + 0.5)) / rows, parseFloat(label.style.bottom)];
  }
  return heights;
}"""


def test_a_tone_lies_beside_its_frequency(browser, server):
    with room(browser, server) as page:
        heights = page.evaluate(AXIS)
        expect(page.locator(".legend")).to_have_text("−70 dB0 dB, its strongest")
    assert set(heights) == {"100", "250", "500", "1k", "2k", "4k", "8k"}
    for drawn, label in heights.values():
        assert drawn == pytest.approx(label, abs=1.0)  # per cent of the height, of 192 rows
