"""What is heard: made for the listener, equally loud, in time, and never above the limit."""

import shutil
import threading
import time

import numpy as np
import pytest
from open_panel import EAR, WORSE_EAR, open_panel, write_test

from cadenza_remix.audio.io import load_audio
from cadenza_remix.audio.loudness import integrated_lufs, true_peak_dbtp
from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE, Audio
from cadenza_remix.errors import InputError
from cadenza_remix.listen.clips import ClipStore
from cadenza_remix.listen.panel.panel import Panel
from cadenza_remix.listen.panel.stimuli import MAX_LOUDNESS_LUFS, faded, listener_of, speech_noise, trial_gains_db
from cadenza_remix.listen.versions import render

N_SAMPLES = round(1.5 * MUSIC_SAMPLE_RATE)


@pytest.fixture
def served(tmp_path, panel_run):
    with open_panel(tmp_path, write_test(tmp_path, panel_run)) as served:
        yield served


def heard(served, stimulus):
    """What comes out of the player at full volume."""
    clip = served.clips.find(stimulus.url.removeprefix("/clips/").removesuffix(".flac"))
    audio = load_audio(clip.path)
    return Audio(audio.samples * stimulus.gain_lin, audio.sample_rate)


def page(served, number, trial=0):
    """The sounds of a page as they are heard, by what stands behind them."""
    person = served.panel.store.participant(number)
    planned = served.panel.store.trials(number)[trial]
    sounds = served.panel._sounds.page(person, planned).result(30)
    found = {planned.labels[label]: heard(served, stimulus) for label, stimulus in sounds.stimuli.items()}
    if sounds.reference:
        found["reference"] = heard(served, sounds.reference)
    return found


def test_stimuli_are_equally_loud_equally_long_and_below_the_limit(served):
    found = page(served, 1)
    assert set(found) == {"baseline", "e016", "mixture", "hidden_reference", "anchor_3500", "anchor_7000", "reference"}
    for name, audio in found.items():
        assert (audio.n_samples, audio.sample_rate, audio.n_channels) == (N_SAMPLES, MUSIC_SAMPLE_RATE, 2)
        # 16 bits move the loudness by far less.
        assert integrated_lufs(audio) == pytest.approx(-23, abs=0.01), name
        assert true_peak_dbtp(audio) <= -3 + 0.01, name


def test_the_hidden_reference_is_the_reference_and_the_anchors_are_below_it(served):
    found = page(served, 1)
    np.testing.assert_array_equal(found["hidden_reference"].samples, found["reference"].samples)
    spectrum = {name: np.abs(np.fft.rfft(audio.samples[:, 0].astype(float))) ** 2 for name, audio in found.items()}
    frequencies = np.fft.rfftfreq(N_SAMPLES, 1 / MUSIC_SAMPLE_RATE)
    for cutoff_hz in (3500, 7000):
        above = frequencies > cutoff_hz * 9 / 7
        anchor = spectrum[f"anchor_{cutoff_hz}"]
        assert anchor[above].sum() < 1e-4 * spectrum["reference"][above].sum()
        # In time with the reference: below the cutoff it is the reference, but for the one gain.
        ratio = anchor[~above & (frequencies < cutoff_hz)].sum() / spectrum["reference"][frequencies < cutoff_hz].sum()
        low = Audio(found[f"anchor_{cutoff_hz}"].samples / np.sqrt(ratio), MUSIC_SAMPLE_RATE)
        difference = np.fft.rfft((low.samples - found["reference"].samples)[:, 0].astype(float))
        passed = (frequencies > 100) & (frequencies < 0.95 * cutoff_hz)
        assert np.sum(np.abs(difference[passed]) ** 2) < 1e-3 * spectrum["reference"][passed].sum()


def test_each_stimulus_is_what_the_room_plays_for_this_listener(served):
    panel = served.panel
    for number in (1, 2):
        person, planned = panel.store.participant(number), panel.store.trials(number)[0]
        found = page(served, number)
        song = panel.library.song_named(planned.song)
        for stimulus, version in {
            "baseline": "remix:baseline", "e016": "remix:e016", "mixture": "mixture",
            "hidden_reference": "remix:clean:baseline",
        }.items():  # fmt: skip
            expected = faded(
                render(panel.library, song, version, listener_of(person), start_s=planned.start_s, duration_s=1.5)
            )
            gain_db = -23 - integrated_lufs(expected)
            # One step of 16 bits, of a file that is scaled to its peak.
            step = np.abs(expected.samples).max() / 32767
            played = found[stimulus].samples / 10 ** (gain_db / 20)
            assert np.abs(played - expected.samples).max() <= 1.01 * step, (number, stimulus)


def test_participants_hear_what_was_made_from_their_own_audiogram(served):
    person = served.panel.store.participant(2)
    assert person.audiogram["left"]["levels_db_hl"] == EAR["levels_db_hl"]
    assert person.audiogram["right"]["levels_db_hl"] == WORSE_EAR["levels_db_hl"]
    assert person.listener.startswith("custom-")
    by_song = {trial.song: index for index, trial in enumerate(served.panel.store.trials(1)) if not trial.is_training}
    song = served.panel.store.trials(2)[0].song
    first, second = page(served, 1, by_song[song]), page(served, 2, 0)
    for stimulus in ("baseline", "e016", "hidden_reference"):
        assert np.abs(first[stimulus].samples - second[stimulus].samples).max() > 0.01
    np.testing.assert_allclose(first["mixture"].samples, second["mixture"].samples, atol=1e-6)


def test_a_low_limit_lowers_all_of_a_page_together(tmp_path, panel_run):
    with open_panel(tmp_path, write_test(tmp_path, panel_run, max_peak_dbfs=-20)) as served:
        found = page(served, 1)
        peaks = [true_peak_dbtp(audio) for audio in found.values()]
        assert max(peaks) == pytest.approx(-20, abs=0.02)
        loudness = [integrated_lufs(audio) for audio in found.values()]
        assert max(loudness) - min(loudness) < 0.02
        assert max(loudness) < -25
        tone = heard(served, served.panel._sounds.level_tone())
        assert true_peak_dbtp(tone) <= -20 + 0.01


def test_without_a_loudness_levels_keep_their_relations_below_the_ceiling(tmp_path, panel_run):
    with open_panel(tmp_path, write_test(tmp_path, panel_run, loudness_lufs=None)) as served:
        panel = served.panel
        found = page(served, 1)
        planned = panel.store.trials(1)[0]
        song, listener = panel.library.song_named(planned.song), panel.library.listener("L5040")
        gains = []
        for stimulus, version in {"baseline": "remix:baseline", "mixture": "mixture"}.items():
            raw = render(panel.library, song, version, listener, start_s=planned.start_s, duration_s=1.5)
            gains.append(integrated_lufs(found[stimulus]) - integrated_lufs(faded(raw)))
        assert gains[0] == pytest.approx(gains[1], abs=0.01)
        assert max(map(integrated_lufs, found.values())) <= MAX_LOUDNESS_LUFS + 0.01
        assert integrated_lufs(heard(served, panel._sounds.level_tone())) == pytest.approx(MAX_LOUDNESS_LUFS, abs=0.05)


def test_gains_of_a_page():
    assert trial_gains_db([-20, -30], [-10, -15], target_lufs=-23, max_peak_dbfs=-3) == [-3, 7]
    # 7 dB would bring the second to -1: both are lowered by the 2 dB that are too much.
    assert trial_gains_db([-20, -30], [-10, -8], target_lufs=-23, max_peak_dbfs=-3) == [-5, 5]
    silent = trial_gains_db([-np.inf, -30], [-np.inf, -15], target_lufs=-23, max_peak_dbfs=-3)
    assert silent == [0, 7]
    assert trial_gains_db([-10, -14], [-8, -9], target_lufs=None, max_peak_dbfs=-3) == [-6, -6]
    assert trial_gains_db([-np.inf], [-np.inf], target_lufs=None, max_peak_dbfs=-3) == [0]


def test_the_level_check_is_as_loud_as_the_stimuli_and_has_no_seam(served):
    tone = heard(served, served.panel._sounds.level_tone())
    assert integrated_lufs(tone) == pytest.approx(-23, abs=0.05)
    noise = speech_noise(np.random.default_rng(0)).samples[:, 0].astype(float)
    assert abs(noise[0] - noise[-1]) < 3 * np.abs(np.diff(noise)).max()
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequencies = np.fft.rfftfreq(len(noise), 1 / MUSIC_SAMPLE_RATE)

    def band_db(low, high):
        return 10 * np.log10(power[(frequencies >= low) & (frequencies < high)].mean())

    assert band_db(250, 260) == pytest.approx(band_db(400, 410), abs=0.1)
    assert band_db(4000, 4010) - band_db(2000, 2005) == pytest.approx(-9, abs=0.1)


def test_fades_begin_and_end_with_silence():
    audio = faded(Audio(np.ones((4410, 2)), 44100))
    assert np.abs(audio.samples[[0, -1]]).max() < 1e-4
    assert (audio.samples[441:-441] == 1).all()
    assert faded(Audio(np.ones((3, 2)), 44100)).n_samples == 3


def test_urls_are_all_different_and_tell_nothing(served):
    urls = []
    for number in (1, 2):
        person = served.panel.store.participant(number)
        for planned in served.panel.store.trials(number):
            sounds = served.panel._sounds.page(person, planned).result(30)
            urls += [sounds.reference.url, *(one.url for one in sounds.stimuli.values())]
    assert len(set(urls)) == len(urls) == 2 * 3 * 7
    assert all(len(url) == len("/clips/.flac") + 32 for url in urls)


def test_the_next_page_is_made_while_one_is_rated(served):
    served.enter(1)
    served.get(1, "/trial")
    deadline = time.monotonic() + 30
    while served.clips.ready("panel:1:2:F") is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_who_waits_for_a_page_goes_before_pages_made_ahead(served):
    sounds, store = served.panel._sounds, served.panel.store
    person, planned = store.participant(1), store.trials(1)[0]
    go_on = threading.Event()
    sounds._ahead.submit(go_on.wait, 30)  # something that takes long
    try:
        sounds.prepare(person, planned)
        first = sounds.page(person, planned)
        assert first.result(30).stimuli
        assert sounds.page(person, planned) is first
        sounds.prepare(person, planned)  # made already
        assert sounds.page(person, planned) is first
    finally:
        go_on.set()


def test_clips_that_are_gone_are_made_again(served):
    served.enter(1)
    before = served.get(1, "/trial").json()
    assert served.get(1, "/trial").json() == before
    served.clips.forget("panel:1:1:C")
    after = served.get(1, "/trial").json()
    for one, other in zip(before["stimuli"], after["stimuli"], strict=True):
        assert one["gain_lin"] == other["gain_lin"]
        assert one["url"] != other["url"]
        assert served.client.get(other["url"]).status_code == 200


def test_passages_lie_in_the_middle_unless_told_otherwise(tmp_path, panel_run):
    names = ["Falcon - part 0", {"name": "Falcon - part 1", "start_s": 0.3, "duration_s": 1.0}]
    with open_panel(tmp_path, write_test(tmp_path, panel_run, songs=names, training_trials=0)) as served:
        songs = {song["name"]: (song["start_s"], song["duration_s"]) for song in served.panel.overview()["songs"]}
        assert songs == {"Falcon - part 0": (0.2, 1.5), "Falcon - part 1": (0.3, 1.0)}


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path, panel_run):
    shutil.copytree(panel_run, tmp_path / "other")
    systems = ["run/baseline", "other/baseline"]
    test = write_test(tmp_path, panel_run, run=[str(panel_run), "other"], systems=systems)
    with open_panel(tmp_path, test) as served:
        found = page(served, 1)
        np.testing.assert_array_equal(found["run/baseline"].samples, found["other/baseline"].samples)


@pytest.mark.parametrize(("changes", "words"), [
    ({"systems": ["baseline", "e15"]}, "unknown system 'e15': expected one of baseline, e016, mixture"),
    ({"reference": {"chain": "none"}}, "unknown system 'none'"),
    ({"songs": ["Nothing"]}, "unknown song 'Nothing'"),
    ({"songs": [{"name": "Falcon - part 0", "start_s": 1.5}]}, "passage is not all there"),
    ({"songs": [{"name": "Falcon - part 0", "duration_s": 5, "start_s": 0}]}, "passage is not all there"),
    ({"songs": [{"name": "Falcon - part 0", "start_s": 500}]}, "found 0.00 s from 500.00 s on"),
    ({"songs": ["Falcon - part 0", {"name": "Falcon - part 0", "duration_s": 1.5}]}, "passage stands twice"),
    ({"participants": [{"listener": "L1"}]}, "unknown listener 'L1': expected one of N1"),
    ({"run": "nowhere"}, "test.yaml: run: "),
])  # fmt: skip
def test_what_the_runs_do_not_have_is_refused_before_anything_is_written(tmp_path, panel_run, changes, words):
    with pytest.raises(InputError) as caught:
        Panel.open(write_test(tmp_path, panel_run, **changes), clips=ClipStore(tmp_path / "clips", max_bytes=10**6))
    assert words in str(caught.value)
    assert not (tmp_path / "test.sqlite").exists()
