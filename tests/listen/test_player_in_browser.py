"""The gapless player in a real browser: what an OfflineAudioContext renders tells version and position of each sample.

Each version is a ramp: sample n of version v is (n + 1 + v * 65536) / 2**20, which 32-bit floats hold exactly. So where
only one version sounds, the rendered value says which one, and which of its samples.
"""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files

import numpy as np
import pytest
from browser import open_browser, open_page

pytestmark = pytest.mark.browser

RATE = 44100
FADE = 221  # 5 ms in whole samples
STEP = 65536
UNIT = 2.0**20

RENDER = """
async ({n, setup, actions, n_versions, length}) => {
  const {Player} = await import("/player.js");
  const context = new OfflineAudioContext(1, n, 44100);
  const player = new Player(context);
  const ramp = (version) => {
    const buffer = new AudioBuffer({numberOfChannels: 1, length, sampleRate: 44100});
    buffer.getChannelData(0).forEach((_, i, all) => { all[i] = (i + 1 + version * 65536) / 2 ** 20; });
    return buffer;
  };
  const run = (calls) => {
    for (const [name, ...values] of calls) {
      if (name === "add") player.add(values[0], ramp(values[1]));
      else player[name](...values);
    }
  };
  for (let v = 0; v < n_versions; v += 1) player.add("v" + v, ramp(v));
  run(setup);
  const seen = [];
  for (const [frame, calls] of actions) {
    context.suspend(frame / 44100).then(() => { run(calls); seen.push(player.position); context.resume(); });
  }
  const rendered = await context.startRendering();
  return {samples: Array.from(rendered.getChannelData(0)), seen};
}
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    """The folder of the pages, served with nothing behind it."""
    folder = str(files("cadenza_remix") / "listen" / "pages")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def render(pages):
    """Run the real Player and give the rendered samples, in units of the ramps."""
    with open_browser() as browser, open_page(browser) as (page, watched):
        page.goto(f"{pages}/common.css")

        def run(n, *, setup, actions=(), n_versions=3, length=60_000):
            given = {"n": n, "setup": setup, "actions": actions, "n_versions": n_versions, "length": length}
            found = page.evaluate(RENDER, given)
            return np.array(found["samples"]) * UNIT, found["seen"]

        yield run
        watched.assert_clean(except_for=("favicon",))


def heard(rendered):
    """Version and position (samples) of what sounds alone."""
    codes = np.rint(rendered) - 1
    assert np.abs(rendered - 1 - codes).max() < 1e-6
    return codes // STEP, codes % STEP


def test_switches_are_at_the_asked_sample_and_keep_the_position(render):
    times_s = [0.1, 0.2501, 0.333333, 0.5, 0.7770001]
    order = [1, 2, 0, 1, 2]
    setup = [["play"], *[["select", f"v{v}", t] for v, t in zip(order, times_s, strict=True)]]
    rendered, _ = render(40_000, setup=setup)
    frames = np.arange(rendered.size)
    former = 0
    edges = [round(t * RATE) for t in times_s]
    alone = np.ones(rendered.size, bool)
    alone[:FADE] = False  # the fade in of the start
    for edge in edges:
        alone[edge - FADE // 2 : edge - FADE // 2 + FADE] = False
    versions, positions = heard(rendered[alone])
    assert np.array_equal(positions, frames[alone])  # no gap, no jump: sample n sounds at time n
    assert np.array_equal(versions, np.array([0, *order])[np.searchsorted(edges, frames[alone])])
    for edge, version in zip(edges, order, strict=True):
        fade = slice(edge - FADE // 2, edge - FADE // 2 + FADE + 1)
        share = (rendered[fade] - frames[fade] - 1) / STEP - former
        share /= version - former
        assert np.abs(share - np.linspace(0, 1, FADE + 1)).max() < 1e-3
        assert abs(fade.start + np.argmin(np.abs(share - 0.5)) - edge) <= 1  # error in samples; 1 ms would be 44
        former = version


def test_a_switch_during_a_switch_waits_for_its_end(render):
    setup = [["play"], ["select", "v1", 0.1], ["select", "v2", 0.101]]
    rendered, _ = render(10_000, setup=setup)
    versions, positions = heard(rendered[4410 + 2 * FADE :])
    assert set(versions) == {2}
    assert np.array_equal(positions, np.arange(4410 + 2 * FADE, 10_000))
    assert np.abs(np.diff(rendered)).max() < 2 * STEP / FADE + 2  # never a click: no step beyond the slope of a fade


def test_a_loop_goes_from_its_last_sample_to_its_first(render):
    rendered, _ = render(30_000, setup=[["setLoop", 0.1, 0.3], ["play"], ["select", "v1", 0.4]])
    versions, positions = heard(np.delete(rendered, np.r_[:FADE, 17_640 - FADE // 2 : 17_640 + FADE // 2 + 1]))
    expected = np.arange(30_000)
    start, end = 4410, 13_230
    expected = np.where(expected < end, expected, start + (expected - end) % (end - start))
    expected = np.delete(expected, np.r_[:FADE, 17_640 - FADE // 2 : 17_640 + FADE // 2 + 1])
    assert np.array_equal(positions, expected)
    assert set(versions) == {0, 1}


def test_a_loop_set_while_it_plays_changes_nothing_until_its_end(render):
    actions = [[128 * 50, [["setLoop", 0.1, 0.3]]], [128 * 150, [["clearLoop"]]]]
    rendered, seen = render(30_000, setup=[["play"]], actions=actions)
    _, positions = heard(rendered[FADE:])
    frames = np.arange(FADE, 30_000)
    start, end = 4410, 13_230
    looped = np.where(frames < end, frames, start + (frames - end) % (end - start))
    at_clear = start + (128 * 150 - end) % (end - start)
    expected = np.where(frames < 128 * 150, looped, at_clear + frames - 128 * 150)
    assert np.array_equal(positions, expected)
    assert seen == pytest.approx([128 * 50 / RATE, at_clear / RATE], abs=1e-9)


def test_a_version_that_comes_late_joins_at_the_same_sample(render):
    actions = [[128 * 40, [["add", "late", 5], ["select", "late"]]]]
    rendered, _ = render(20_000, setup=[["play"]], actions=actions)
    versions, positions = heard(rendered[128 * 40 + 3 * FADE :])
    assert set(versions) == {5}
    assert np.array_equal(positions, np.arange(128 * 40 + 3 * FADE, 20_000))


def test_a_late_version_joins_inside_a_loop(render):
    setup = [["setLoop", 0.05, 0.25], ["play"]]
    actions = [[128 * 150, [["add", "late", 5], ["select", "late"]]]]
    rendered, _ = render(40_000, setup=setup, actions=actions)
    frames = np.arange(128 * 150 + 3 * FADE, 40_000)
    start, end = 2205, 11_025
    versions, positions = heard(rendered[frames])
    assert set(versions) == {5}
    assert np.array_equal(positions, start + (frames - end) % (end - start))


def test_a_version_replaced_while_it_plays_goes_on_at_the_same_sample(render):
    actions = [[128 * 40, [["add", "v0", 9]]]]
    rendered, _ = render(20_000, setup=[["play"]], actions=actions)
    versions, positions = heard(np.delete(rendered, np.r_[:FADE, 128 * 40 : 128 * 40 + 2 * FADE]))
    assert np.array_equal(positions, np.delete(np.arange(20_000), np.r_[:FADE, 128 * 40 : 128 * 40 + 2 * FADE]))
    assert set(versions[: 128 * 40 - FADE]) == {0}
    assert set(versions[128 * 40 - FADE :]) == {9}


def test_seeking_pausing_and_going_on(render):
    actions = [
        [128 * 20, [["seek", 0.5]]],
        [128 * 60, [["pause"]]],
        [128 * 80, [["play"]]],
    ]
    rendered, seen = render(20_000, setup=[["play"]], actions=actions)
    assert seen[0] == pytest.approx(0.5, abs=1e-9)
    _, positions = heard(rendered[128 * 20 + FADE + 1 : 128 * 60])
    assert np.array_equal(positions, 22_050 + np.arange(FADE + 1, 128 * 40))
    assert np.all(rendered[128 * 60 + FADE + 1 : 128 * 80] == 0)
    _, positions = heard(rendered[128 * 80 + FADE + 1 :])
    assert np.array_equal(positions, 22_050 + 128 * 40 + np.arange(FADE + 1, 20_000 - 128 * 80))


def test_gains_belong_to_their_version(render):
    rendered, _ = render(8_000, setup=[["setGain", "v1", 0.5], ["setVolume", 0.25], ["play"], ["select", "v1", 0.1]])
    _, positions = heard(rendered[FADE:4200] * 4)
    assert np.array_equal(positions, np.arange(FADE, 4200))
    versions, positions = heard(rendered[4700:] * 8)
    assert set(versions) == {1}
    assert np.array_equal(positions, np.arange(4700, 8000))


def test_what_is_not_loaded_is_refused_in_words(render):
    with pytest.raises(Exception, match="no version v7 is loaded; loaded are v0, v1, v2"):
        render(1000, setup=[["select", "v7"]])
    with pytest.raises(Exception, match="a loop takes at least"):
        render(1000, setup=[["setLoop", 0.5, 0.51]])
