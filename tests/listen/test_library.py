"""Songs, systems and listeners of finished runs, and what visitors add."""

import shutil

import numpy as np
import pytest
import soundfile
from tiny_run import make_tiny_run

from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.listen import library as library_module
from cadenza_remix.listen.library import Library, UnknownIdError, missing_of
from cadenza_remix.listen.versions import render
from cadenza_remix.runs.finished import SongSources, find_runs

FREQUENCIES = [250, 1000, 4000]


@pytest.fixture(scope="module")
def demo(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("runs") / "demo"
    make_tiny_run(folder, song, n_songs=2, duration_s=1.0, scored=False)
    return folder


@pytest.fixture
def library(demo):
    return Library.from_runs(find_runs(demo))


def test_what_a_demo_holds(library):
    assert [song.name for song in library.songs] == ["Falcon - part 0", "Falcon - part 1"]
    assert [system.name for system in library.systems] == ["baseline", "e016"]
    assert [system.chain.name for system in library.systems] == ["baseline", "e016"]
    assert [listener.id for listener in library.listeners] == ["L5040", "L5076"]
    assert library.name == "demo"
    song = library.songs[0]
    assert song.duration_s == pytest.approx(1.0, abs=1e-3)
    assert song.sources.kept_stems.name == song.name
    assert song.sources.mixture.name == "mixture.wav"
    assert not song.is_upload
    assert missing_of(library) == {}


def test_ids_are_the_same_after_a_restart_and_fit_into_an_address(demo, library):
    again = Library.from_runs(find_runs(demo))
    assert [song.id for song in again.songs] == [song.id for song in library.songs]
    assert all(song.id.replace("-", "").isalnum() for song in library.songs)


def test_found_by_id_and_by_name(library):
    song = library.songs[1]
    assert library.song(song.id) is song
    assert library.song_named(song.name) is song
    assert library.listener("L5076").id == "L5076"
    assert library.listener("N3") == library.standard_listeners[2]
    assert library.system("e016").run.name == "e016"


@pytest.mark.parametrize("ask", ["song", "song_named", "listener", "system"])
@pytest.mark.parametrize("key", ["none", "", "../demo", "Falcon"])
def test_what_is_not_there_is_an_input_error(library, ask, key):
    with pytest.raises(UnknownIdError):
        getattr(library, ask)(key)


def test_runs_are_needed():
    with pytest.raises(InputError, match="no runs"):
        Library.from_runs([])


def test_two_systems_of_one_name_are_refused(demo):
    runs = find_runs(demo)
    with pytest.raises(InputError, match="two systems have one name"):
        Library.from_runs([*runs, *runs])


def test_what_is_missing_is_told(demo, tmp_path):
    shutil.copytree(demo / "baseline", tmp_path / "baseline")
    library = Library.from_runs(find_runs(tmp_path / "baseline"))
    names = [song.name for song in library.songs]
    assert missing_of(library) == {"mixture": names, "clean": names, "separated": names}
    assert library.songs[0].duration_s == pytest.approx(1.0, abs=1e-3)  # by the remix


def test_a_damaged_file_of_a_run_is_told_where_it_is_heard_and_the_rest_works(demo, tmp_path):
    folder = shutil.copytree(demo, tmp_path / "demo")
    for damaged in folder.glob("references/*/mixture.wav"):
        damaged.write_bytes(b"RIFF" + bytes(50))
    library = Library.from_runs(find_runs(folder))
    song, listener = library.songs[0], library.listeners[0]
    assert song.duration_s > 0.5
    with pytest.raises(InputError, match=r"mixture\.wav: cannot be read as audio"):
        render(library, song, "mixture", listener, start_s=0, duration_s=0.5)
    assert render(library, song, "clean:drums", listener, start_s=0, duration_s=0.5).samples.any()


def test_equal_audiograms_are_one_listener(library):
    left, right = Audiogram(FREQUENCIES, [10, 20, 30]), Audiogram(FREQUENCIES, [10, 20, 40])
    listener = library.add_listener(left, right)
    assert listener.id.startswith("custom-")
    assert library.listener(listener.id) == listener
    assert library.add_listener(Audiogram(FREQUENCIES, [10, 20, 30]), right).id == listener.id
    assert library.add_listener(right, left).id != listener.id
    assert listener not in library.listeners


def test_the_division_between_frequencies_and_levels_counts(library):
    one = library.add_listener(Audiogram([250, 1000], [30, 40]), Audiogram([250, 1000], [30, 40]))
    other = library.add_listener(Audiogram([250, 1000], [30, 41]), Audiogram([250, 1000], [30, 40]))
    assert one.id != other.id


def test_visitors_listeners_are_bounded_and_the_one_in_use_stays(library, monkeypatch):
    monkeypatch.setattr(library_module, "MOST_CUSTOM_LISTENERS", 3)
    right = Audiogram(FREQUENCIES, [0, 0, 0])
    ids = [library.add_listener(Audiogram(FREQUENCIES, [level, 0, 0]), right).id for level in range(3)]
    library.listener(ids[0])
    newest = library.add_listener(Audiogram(FREQUENCIES, [9, 0, 0]), right).id
    assert {library.listener(key).id for key in (ids[0], ids[2], newest)} == {ids[0], ids[2], newest}
    with pytest.raises(UnknownIdError):
        library.listener(ids[1])


def test_too_many_frequencies_are_refused(library):
    long = Audiogram(np.arange(100, 100 + 40), np.zeros(40))
    with pytest.raises(InputError, match="too many frequencies"):
        library.add_listener(long, long)


def test_an_upload_is_found_by_its_id_alone(library, tmp_path):
    soundfile.write(tmp_path / "own.wav", np.zeros(100), 44100)
    song = library.add_song("my own", SongSources(mixture=tmp_path / "own.wav"), 12.5)
    other = library.add_song("my own", SongSources(mixture=tmp_path / "own.wav"), 12.5)
    assert song.is_upload
    assert len(song.id) > 24
    assert song.id != other.id
    assert library.song(song.id) == song
    assert song not in library.songs
    with pytest.raises(UnknownIdError) as error:
        library.song_named("my own")
    assert song.id not in str(error.value)
    library.remove_song(song.id)
    library.remove_song(song.id)
    with pytest.raises(UnknownIdError) as error:
        library.song(song.id)
    assert other.id not in str(error.value)
