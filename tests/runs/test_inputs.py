import os

import numpy as np
import pytest
import soundfile
from quarter_separator import QuarterSeparator

from cadenza_remix.errors import InputError
from cadenza_remix.runs.inputs import collect_songs
from cadenza_remix.runs.outputs import OutputSettings
from cadenza_remix.runs.separating import separate_songs


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros((10, 2)), 44100)
    return path


@pytest.fixture
def music(tmp_path):
    for name in ("b.wav", "a.flac", "album/02.wav", "album/01.wav", "MUSDB song/mixture.wav", "MUSDB song/vocals.wav",
                 ".hidden.wav", ".trash/x.wav", "album/deeper/c.ogg"):  # fmt: skip
        write(tmp_path / "music" / name)
    (tmp_path / "music" / "album" / "cover.jpg").write_bytes(b"x")
    return tmp_path / "music"


def names(given, out):
    return [song.name for song in collect_songs(given, out=out)]


def test_a_folder_is_all_audio_in_it_and_below(music, tmp_path):
    assert names([music], tmp_path / "out") == ["a", "b", "MUSDB song", "01", "02", "c"]
    assert names([music / "MUSDB song"], tmp_path / "out") == ["MUSDB song"]


def test_files_and_patterns_keep_the_order_given_and_come_once(music, tmp_path):
    given = [music / "b.wav", f"{music}/album/*", music / "album" / "02.wav", f"{music}/?.wav"]
    assert names(given, tmp_path / "out") == ["b", "01", "02", "c"]
    assert names([f"{music}/**/*.wav"], tmp_path / "out") == ["MUSDB song", "vocals", "01", "02", "b"]


def test_names_with_the_letters_of_patterns_are_names_first(tmp_path):
    assert names([write(tmp_path / "a [live].wav")], tmp_path / "out") == ["a [live]"]
    write(tmp_path / "album [2]" / "x.wav")
    assert names([tmp_path / "album [2]"], tmp_path / "out") == ["x"]


@pytest.mark.parametrize("out", ["music/stems", "music", "music/album"])
def test_results_are_no_songs(music, tmp_path, out):
    # Whoever separates a folder into itself and starts again means the same songs.
    songs = collect_songs([music], out=tmp_path / out)
    assert len(songs) == 6
    settings = OutputSettings(template="{out}/{song} - {stem}.wav")
    separate_songs(songs, QuarterSeparator(), out=tmp_path / out, settings=settings)
    assert collect_songs([music], out=tmp_path / out) == songs
    assert names([f"{tmp_path / out}/*.wav"], tmp_path / "else")  # of another folder of results they are


def test_relative_paths_mean_the_same(music, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = OutputSettings(template="{out}/{song} - {stem}.wav")
    separate_songs(collect_songs(["music"], out=tmp_path / "music"), QuarterSeparator(), out=tmp_path / "music",
                   settings=settings)  # fmt: skip
    assert names(["music/*.wav"], tmp_path / "music") == ["b"]
    os.chdir("music")
    assert names(["."], tmp_path / "music") == names([music], tmp_path / "music")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("none.wav", "none.wav: file is missing"),
        ("none*.wav", r"none\*.wav: no audio has a name like this"),
        ("notes.txt", "notes.txt: unknown kind of audio file: expected wav, flac"),
        ("*.txt", "no audio has a name like this"),
        ("empty", "empty: folder holds no audio"),
        ("a" * 300 + ".wav", "wav: cannot be read: found File name too long"),
    ],
)
def test_what_is_no_song(tmp_path, given, words):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=words):
        collect_songs([tmp_path / given], out=tmp_path / "out")


def test_empty_names_are_not_the_current_folder(music, tmp_path, monkeypatch):
    monkeypatch.chdir(music)
    with pytest.raises(InputError, match="a song has no name"):
        collect_songs([""], out=tmp_path / "out")
    with pytest.raises(InputError, match="folder of results has no name"):
        collect_songs(["."], out="")
    with pytest.raises(InputError, match=r"cannot be used: .*File name too long"):
        collect_songs(["."], out=tmp_path / ("a" * 300))
