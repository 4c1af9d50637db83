import numpy as np
import pytest
import soundfile

from cadenza_remix.errors import InputError
from cadenza_remix.runs.songs import find_references, find_songs, references_digest


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros((10, 2)), 44100)
    return path


def test_names_come_from_files_and_folders(tmp_path):
    paths = [
        write(tmp_path / "a song.wav"),
        write(tmp_path / "Folder Song" / "mixture.wav"),
        write(tmp_path / "x.y.flac"),
    ]
    songs = find_songs([paths[0], paths[1].parent, paths[2], paths[1]])
    assert [song.name for song in songs] == ["a song", "Folder Song", "x.y"]


def test_two_songs_of_one_name_are_refused(tmp_path):
    with pytest.raises(InputError, match="two songs are named 'a'"):
        find_songs([write(tmp_path / "1" / "a.wav"), write(tmp_path / "2" / "a.wav")])


def test_what_is_no_song(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    for path, words in (
        ("none.wav", "file is missing"),
        ("notes.txt", "unknown kind"),
        ("empty", "mixture is missing"),
    ):
        with pytest.raises(InputError, match=words):
            find_songs([tmp_path / path])


def test_references_are_found_by_name(tmp_path):
    write(tmp_path / "test" / "B" / "vocals.wav")
    write(tmp_path / "A" / "vocals.flac")
    (tmp_path / "C.stem.mp4").write_bytes(b"x")
    assert find_references(tmp_path, "A") == tmp_path / "A"
    assert find_references(tmp_path, "B") == tmp_path / "test" / "B"
    assert find_references(tmp_path, "C") == tmp_path / "C.stem.mp4"
    with pytest.raises(InputError, match="no references for 'D'"):
        find_references(tmp_path, "D")
    with pytest.raises(InputError, match="folder of references is missing"):
        find_references(tmp_path / "none", "A")


def test_digest_follows_the_contents(tmp_path):
    for stem in ("vocals", "drums", "bass", "other"):
        write(tmp_path / "A" / f"{stem}.wav")
    before = references_digest(tmp_path / "A")
    assert references_digest(tmp_path / "A") == before
    soundfile.write(tmp_path / "A" / "bass.wav", np.ones((10, 2)) * 0.5, 44100)
    assert references_digest(tmp_path / "A") != before
