"""What is rendered is what the run wrote, or would have written, at the right samples."""

import json
import shutil

import numpy as np
import pytest
from tiny_run import GAINS, make_tiny_run

from cadenza_remix.audio.io import load_audio, load_stems, read_scaled_flac, write_flac16, write_stems
from cadenza_remix.audio.resample import resample_samples
from cadenza_remix.audio.signal import STEMS, Audio
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram, load_listeners
from cadenza_remix.hearing.loss_simulation import hear_as
from cadenza_remix.listen.library import Library, System, UnknownIdError
from cadenza_remix.listen.live import lead_s
from cadenza_remix.listen.versions import render, versions_of
from cadenza_remix.remix import enhance_stems, load_chain, soft_clip
from cadenza_remix.runs.finished import SongSources, find_runs

RATE = 44_100
STEP_16_BIT = 1 / 32768


@pytest.fixture(scope="module")
def folder(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("runs")
    make_tiny_run(folder, song, duration_s=4.0, scored=False)
    return folder


@pytest.fixture
def library(folder):
    return Library.from_runs(find_runs(folder))


@pytest.fixture
def part(library):
    return library.songs[0]


def rendered(library, version, listener, start_s=0.0, duration_s=4.0, *, song=None, simulator=None):
    passage = {"start_s": start_s, "duration_s": duration_s, "simulator": simulator}
    return render(library, song or library.songs[0], version, listener, **passage).samples


def test_everything_is_offered_in_groups(library, part):
    versions = versions_of(library, part, library.listener("L5040"))
    ids = [version.id for version in versions]
    assert ids[:5] == ["mixture", "remix:baseline", "remix:e016", "remix:clean:baseline", "remix:clean:e016"]
    assert ids[5:13] == [f"{kind}:{stem}" for kind in ("clean", "separated") for stem in STEMS]
    ears = [f"{ear}_{stem}" for stem in STEMS for ear in ("left", "right")]
    assert ids[13:] == [f"stem:{system}:{ear}" for system in ("baseline", "e016") for ear in ears]
    assert len({version.label for version in versions}) == len(versions)
    assert {(version.start_s, version.end_s) for version in versions} == {(0.0, part.duration_s)}


def test_another_listener_can_hear_the_same(library, part):
    ids = [version.id for version in versions_of(library, part, library.listener("L5040"))]
    assert [version.id for version in versions_of(library, part, library.listener("N3"))] == ids


def test_the_mixture_and_the_stems_are_the_files_sample_for_sample(library, part):
    listener = library.listener("L5040")
    mixture = load_audio(part.sources.mixture).samples
    np.testing.assert_array_equal(rendered(library, "mixture", listener, 1.0, 2.0), mixture[RATE : 3 * RATE])
    separated, clean = load_stems(part.sources.kept_stems), load_stems(part.sources.references)
    for stem in STEMS:
        first, last = 12_345, 12_345 + 4_410
        samples = rendered(library, f"separated:{stem}", listener, first / RATE, 0.1)
        np.testing.assert_array_equal(samples, separated[stem].samples[first:last])
        np.testing.assert_allclose(samples, GAINS[stem] * mixture[first:last], atol=1e-6)
        np.testing.assert_array_equal(
            rendered(library, f"clean:{stem}", listener, first / RATE, 0.1), clean[stem].samples[first:last]
        )


def test_beyond_the_end_there_is_silence(library):
    samples = rendered(library, "mixture", library.listener("L5040"), 3.5, 1.0)
    assert samples.shape == (RATE, 2)
    assert samples[: RATE // 2 - 100].any()
    assert not samples[RATE // 2 + 100 :].any()


@pytest.mark.parametrize("chain", ["baseline", "e016"])
def test_a_remix_of_the_run_is_its_file(library, part, chain):
    run = library.system(chain).run
    file = load_audio(run.remix_file(Pair(part.name, "L5040")))
    samples = rendered(library, f"remix:{chain}", library.listener("L5040"))
    np.testing.assert_allclose(samples, file.samples[: len(samples)], atol=1e-6)
    # A passage of it differs from the whole by what the resampler cuts off: below half a step of 16 bits.
    passage = rendered(library, f"remix:{chain}", library.listener("L5040"), 1.2345, 1.0)
    first = round(1.2345 * RATE)
    np.testing.assert_allclose(passage, samples[first : first + RATE], atol=STEP_16_BIT / 2)


def test_enhanced_stems_are_the_files_at_their_level_in_their_ear(library, part):
    run = library.system("baseline").run
    for ear, column in (("left", 0), ("right", 1)):
        file = read_scaled_flac(run.stem_file(Pair(part.name, "L5076"), ear, "drums"))
        samples = rendered(library, f"stem:baseline:{ear}_drums", library.listener("L5076"))
        assert not samples[:, 1 - column].any()
        expected = load_audio(run.stem_file(Pair(part.name, "L5076"), ear, "drums")).samples[:, 0]
        scale = np.abs(file.samples).max() / np.abs(load_audio(file.name, sample_rate=None).samples).max()
        np.testing.assert_allclose(samples[:, column], scale * expected[: len(samples)], atol=1e-4)


@pytest.mark.parametrize("chain", ["baseline", "e016"])
@pytest.mark.parametrize("start_s", [0.0, 1.3])
def test_live_gives_what_the_run_wrote(library, part, chain, start_s):
    """A visitor with the very audiogram of a listener hears that listener's remix, to the rounding of its file."""
    known = library.listener("L5040")
    same = library.add_listener(known.left, known.right)
    live = rendered(library, f"remix:{chain}", same, start_s, 1.5)
    file = rendered(library, f"remix:{chain}", known, start_s, 1.5)
    assert np.abs(live).max() > 0.2
    np.testing.assert_allclose(live, file, atol=2 * STEP_16_BIT)
    run = library.system(chain).run
    peak = read_scaled_flac(run.stem_file(Pair(part.name, "L5040"), "left", "vocals")).samples.max()
    np.testing.assert_allclose(
        rendered(library, f"stem:{chain}:left_vocals", same, start_s, 1.5),
        rendered(library, f"stem:{chain}:left_vocals", known, start_s, 1.5),
        atol=2 * STEP_16_BIT * max(1.0, peak),
    )


def test_a_passage_late_in_a_song_has_the_compressor_of_the_whole_song(tmp_path, song):
    """The compressor's gain is as if the song had been played from its beginning."""
    whole = load_stems(song.path)
    stems = {name: Audio(np.tile(audio.samples, (5, 1)), RATE) for name, audio in whole.items()}
    write_stems(tmp_path, stems)
    n_samples = stems["bass"].n_samples
    assert n_samples / RATE > 2 * lead_s(load_chain("e016"))
    library = Library(systems=[System("e016", load_chain("e016"), None)])
    own = library.add_song("long", SongSources(kept_stems=tmp_path), n_samples / RATE)
    listener = load_listeners("bisgaard")["N4"]
    expected = soft_clip(enhance_stems(stems, listener, load_chain("e016")).remix.samples)
    expected = resample_samples(expected, 32_000, RATE)
    first = round(25.0 * RATE)
    samples = rendered(library, "remix:e016", listener, 25.0, 2.0, song=own)
    # 0.0004 dB of gain, and the resampler's cut: 1e-4 of full scale is far below what can be heard.
    np.testing.assert_allclose(samples, expected[first : first + 2 * RATE], atol=1e-4)


def test_remixes_of_clean_stems_are_made_of_them(library, part):
    listener = library.listener("L5040")
    clean = enhance_stems(load_stems(part.sources.references), listener, load_chain("baseline")).remix
    expected = resample_samples(soft_clip(clean.samples), 32_000, RATE)
    samples = rendered(library, "remix:clean:baseline", listener, 1.0, 1.0)
    np.testing.assert_allclose(samples, expected[RATE : 2 * RATE], atol=1e-4)


def test_another_audiogram_sounds_different(library):
    mild = library.add_listener(Audiogram([250, 8000], [10, 10]), Audiogram([250, 8000], [10, 10]))
    severe = library.add_listener(Audiogram([250, 8000], [10, 10]), Audiogram([250, 8000], [60, 80]))
    one, other = rendered(library, "remix:baseline", mild), rendered(library, "remix:baseline", severe)
    np.testing.assert_array_equal(one[:, 0], other[:, 0])  # the left ears are the same
    assert np.sqrt(np.mean(other[:, 1] ** 2)) > 1.5 * np.sqrt(np.mean(one[:, 1] ** 2))


def test_heard_through_a_loss(library):
    listener = library.listener("L5040")
    plain = rendered(library, "mixture", listener, 1.0, 1.0)
    heard = rendered(library, "mixture", listener, 1.0, 1.0, simulator="simple")
    assert heard.shape == plain.shape
    whole = hear_as(Audio(rendered(library, "mixture", listener), RATE), listener).samples[RATE : 2 * RATE]
    # The passage begins half a second earlier: the envelopes have settled.
    assert np.sqrt(np.mean((heard - whole) ** 2)) < 0.02 * np.sqrt(np.mean(whole**2))
    assert np.sqrt(np.mean(heard**2)) < 0.7 * np.sqrt(np.mean(plain**2))


def test_an_upload_goes_through_every_chain(library, part):
    sources = SongSources(mixture=part.sources.mixture, kept_stems=part.sources.kept_stems, separator="quarter")
    own = library.add_song(part.name, sources, part.duration_s)
    listener = library.listener("L5040")
    ids = [version.id for version in versions_of(library, own, listener)]
    assert ids[:3] == ["mixture", "remix:baseline", "remix:e016"]
    assert not [key for key in ids if "clean" in key]
    # Though it bears the name of a song of the run, its own stems are taken, not the run's files.
    # The file ends where the song does; live, the filter's ringing goes on into the silence after it.
    live, file = (rendered(library, "remix:baseline", listener, 0.0, 3.9, song=song) for song in (own, part))
    np.testing.assert_allclose(live, file, atol=2 * STEP_16_BIT)


def test_without_kept_stems_only_the_runs_listeners_hear_remixes(folder, tmp_path):
    shutil.copytree(folder / "baseline", tmp_path / "baseline")
    library = Library.from_runs(find_runs(tmp_path / "baseline"))
    song = library.songs[0]
    assert [v.group for v in versions_of(library, song, library.listener("L5040"))] == ["Remixes"] + 8 * [
        "Enhanced stems"
    ]
    assert versions_of(library, song, library.listener("N1")) == []
    with pytest.raises(UnknownIdError, match="unknown version"):
        render(library, song, "remix:baseline", library.listener("N1"), start_s=0, duration_s=1)


def test_a_run_that_handed_in_passages(folder, tmp_path):
    """In test mode files hold a part of the song: it lies where it belongs, and there is silence around."""
    shutil.copytree(folder / "baseline", tmp_path / "cut")
    library = Library.from_runs(find_runs(tmp_path / "cut"))
    pair = Pair(library.songs[0].name, "L5040")
    run = library.systems[0].run
    file = run.remix_file(pair)
    audio = load_audio(file, sample_rate=None)
    write_flac16(file, audio.excerpt(1.0, 2.5).samples, audio.sample_rate)
    record_path = tmp_path / "cut" / "records" / "enhance" / "L5040" / f"{pair.song}.json"
    record = json.loads(record_path.read_text())
    record["settings"]["segments_s"] = {"objective": [0.0, 1.0], "subjective": [1.0, 2.5]}
    record_path.write_text(json.dumps(record))
    cut = Library.from_runs(find_runs(tmp_path / "cut", references=folder / "references"))
    versions = {v.id: v for v in versions_of(cut, cut.songs[0], cut.listener("L5040"))}
    assert (versions["remix:cut"].start_s, versions["remix:cut"].end_s) == (1.0, 2.5)
    assert (versions["stem:cut:left_bass"].start_s, versions["stem:cut:left_bass"].end_s) == (0.0, 1.0)
    whole_library = Library.from_runs(find_runs(folder))
    whole = rendered(whole_library, "remix:baseline", whole_library.listener("L5040"))
    samples = rendered(cut, "remix:cut", cut.listener("L5040"))
    np.testing.assert_allclose(
        samples[int(1.1 * RATE) : int(2.4 * RATE)], whole[int(1.1 * RATE) : int(2.4 * RATE)], atol=2e-5
    )
    assert np.abs(samples[: int(0.95 * RATE)]).max() < 1e-4
    assert np.abs(samples[int(2.55 * RATE) :]).max() < 1e-4


@pytest.mark.parametrize("version", ["", "remix:", "remix:none", "stem:baseline:vocals", "../../etc", "clean:piano"])
def test_unknown_versions_are_refused(library, version):
    with pytest.raises(UnknownIdError, match="unknown version"):
        rendered(library, version, library.listener("L5040"))


@pytest.mark.parametrize(("start_s", "duration_s"), [(-1.0, 1.0), (0.0, 0.0), (0.0, -1.0)])
def test_senseless_passages_are_refused(library, start_s, duration_s):
    with pytest.raises(InputError, match="wrong passage"):
        rendered(library, "mixture", library.listener("L5040"), start_s, duration_s)


def test_a_file_that_went_is_an_input_error(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "all")
    library = Library.from_runs(find_runs(tmp_path / "all"))
    library.songs[0].sources.mixture.unlink()
    with pytest.raises(InputError, match="missing"):
        rendered(library, "mixture", library.listener("L5040"))


@pytest.mark.parametrize("start_s", [0.0, 0.37, 2.0])
def test_lengths_are_exact(library, start_s):
    for version in versions_of(library, library.songs[0], library.listener("N2")):
        samples = rendered(library, version.id, library.listener("N2"), start_s, 0.7654321)
        assert samples.shape == (round(0.7654321 * RATE), 2)
