"""Each layout of a data set gives the same songs, splits and samples; what is wrong with it is told in one line."""

import shutil

import numpy as np
import pytest
from tiny_songs import (
    STEMS,
    tiny_stems,
    write_dsd100,
    write_musdb18hq,
    write_song,
    write_song_list,
    write_sound,
    write_spleeter_csv,
)

from cadenza_remix.audio.io import load_stems
from cadenza_remix.demo import demo_song
from cadenza_remix.errors import InputError
from cadenza_remix.training.data.datasets import layout_names, open_dataset
from cadenza_remix.training.data.musdb import VALIDATION_SONGS


def names_of(dataset) -> dict[str, str]:
    return {song.name: song.split for song in dataset}


def test_musdb18hq_with_the_usual_validation_songs(tmp_path):
    dataset = open_dataset(write_musdb18hq(tmp_path))
    assert dataset.layout == "musdb18hq"
    assert [song.name for song in dataset] == ["A - Été", "Leaf - Summerghost", "C - Č"]
    assert [song.split for song in dataset] == ["train", "valid", "test"]
    assert dataset.stem_names == STEMS
    assert (dataset.n_songs("valid"), len(dataset), dataset.duration_s) == (1, 3, 3.0)
    song = dataset.songs[0]
    for stem, samples in tiny_stems(1).items():
        np.testing.assert_array_equal(song.read(stem, 100, 900), samples[100:1000])
    np.testing.assert_array_equal(song.read("mixture", 0, 8000), sum(tiny_stems(1).values()))


def test_there_are_14_usual_validation_songs():
    assert len(VALIDATION_SONGS) == 14


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"valid": ["A - Été"]}, {"A - Été": "valid", "Leaf - Summerghost": "train", "C - Č": "test"}),
        ({"train": ["A - Été"]}, {"A - Été": "train", "Leaf - Summerghost": "valid", "C - Č": "test"}),
        (
            {"train": ["A - Été", "Leaf - Summerghost"], "valid": ["A - Été"]},
            {"A - Été": "valid", "Leaf - Summerghost": "train", "C - Č": "test"},
        ),
    ],
)
@pytest.mark.parametrize("start", ["", "audio/musdb18hq"])
def test_song_lists_of_the_challenge_say_what_is_held_out(tmp_path, lists, expected, start):
    write_musdb18hq(tmp_path / "audio" / "musdb18hq")
    for split, names in lists.items():
        write_song_list(tmp_path / "metadata" / f"musdb18.{split}.json", names, split)
    assert names_of(open_dataset(tmp_path / start)) == expected


def test_musdb18_with_five_streams_in_one_file(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    shutil.copy(demo_song().path, tmp_path / "train" / "ANiMAL - Rockshow.stem.mp4")
    shutil.copy(demo_song().path, tmp_path / "test" / "Falcon 69.stem.mp4")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "musdb18"
    assert names_of(dataset) == {"ANiMAL - Rockshow": "valid", "Falcon 69": "test"}
    clean = load_stems(demo_song().path)
    song = dataset.songs[1]
    assert song.n_samples == clean["bass"].n_samples
    for stem in STEMS:
        np.testing.assert_array_equal(song.read(stem, 50_000, 2000), clean[stem].samples[50_000:52_000])


def test_dsd100_keeps_mixtures_and_sources_apart(tmp_path):
    dataset = open_dataset(write_dsd100(tmp_path))
    assert dataset.layout == "dsd100"
    assert names_of(dataset) == {"051 - AM Contra": "train", "001 - ANiMAL": "test"}
    np.testing.assert_array_equal(dataset.songs[0].read("drums", 0, 8000), tiny_stems(1)["drums"])
    assert dataset.songs[1].mixture.path.parent.parent.name == "Test"


@pytest.mark.parametrize(("name", "split"), [("musdb_validation.csv", "valid"), ("mine.csv", "train")])
def test_spleeters_csv_names_files_from_its_own_folder(tmp_path, monkeypatch, name, split):
    monkeypatch.chdir("/")
    dataset = open_dataset(write_spleeter_csv(tmp_path / name))
    assert dataset.layout == "spleeter-csv"
    assert names_of(dataset) == {"Song, one": split, "Two": split}
    assert dataset.stem_names == ("vocals", "accompaniment")
    np.testing.assert_array_equal(dataset.songs[1].read("vocals", 0, 8000), tiny_stems(2)["vocals"])


def test_any_folder_of_songs_in_any_format(tmp_path):
    write_song(tmp_path / "one", tiny_stems(1), suffix=".flac")
    write_song(tmp_path / "artist" / "zwölf", tiny_stems(2), suffix=".ogg", sample_rate=22050)
    write_sound(tmp_path / "test" / "three" / "Lead Vox.wav", tiny_stems(3)["vocals"])
    write_sound(tmp_path / "test" / "three" / "keys.wav", tiny_stems(3, n_channels=1)["other"])
    write_sound(tmp_path / "one" / "._vocals.wav", tiny_stems(4)["vocals"])
    (tmp_path / "empty").mkdir()
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "folder"
    assert names_of(dataset) == {"artist/zwölf": "train", "one": "train", "three": "test"}
    zwoelf, one, three = dataset
    assert (zwoelf.sample_rate, zwoelf.n_samples) == (22050, 8000)
    assert set(one.stems) == set(STEMS)
    assert one.mixture.path.name == "mixture.flac"
    assert set(three.stems) == {"Lead Vox", "keys"}
    assert three.mixture is None


def test_a_folder_for_each_stem_holds_files_that_are_summed(tmp_path):
    stems = tiny_stems(1)
    write_sound(tmp_path / "song" / "vocals" / "lead.wav", stems["vocals"])
    write_sound(tmp_path / "song" / "vocals" / "choir.wav", stems["other"])
    write_sound(tmp_path / "song" / "guitar" / "left.wav", stems["bass"])
    (song,) = open_dataset(tmp_path)
    assert set(song.stems) == {"vocals", "guitar"}
    np.testing.assert_array_equal(song.read("vocals", 0, 8000), stems["vocals"] + stems["other"])


def test_a_link_back_to_the_set_is_not_followed(tmp_path):
    write_song(tmp_path / "artist" / "song", tiny_stems(1))
    (tmp_path / "artist" / "all").symlink_to(tmp_path)
    assert names_of(open_dataset(tmp_path)) == {"artist/song": "train"}


def test_the_folder_of_a_single_song_is_a_data_set(tmp_path):
    write_song(tmp_path / "a song", tiny_stems(1))
    assert names_of(open_dataset(tmp_path / "a song")) == {"a song": "train"}


def test_stems_of_a_free_layout_may_differ_in_length(tmp_path):
    write_sound(tmp_path / "song" / "vocals.wav", tiny_stems(1)["vocals"])
    write_sound(tmp_path / "song" / "drums.wav", tiny_stems(1, n_samples=3000)["drums"])
    (song,) = open_dataset(tmp_path)
    assert song.n_samples == 8000
    assert not song.read("drums", 3000, 100).any()


def test_select_by_split_name_and_exclusion(tmp_path):
    dataset = open_dataset(write_musdb18hq(tmp_path))
    assert names_of(dataset.select(split="test")) == {"C - Č": "test"}
    assert names_of(dataset.select(songs=["A - Été", "C - Č"], exclude=["C - Č"])) == {"A - Été": "train"}
    assert names_of(open_dataset(tmp_path, split="train")) == {"A - Été": "train"}
    with pytest.raises(InputError, match=r"unknown song 'A - Ete'.*did you mean 'A - Été'"):
        dataset.select(exclude=["A - Ete"])
    with pytest.raises(InputError, match="unknown split 'validation'"):
        dataset.select(split="validation")
    with pytest.raises(InputError, match=r"no songs left.*found 1 train, 1 valid, 1 test"):
        dataset.select(songs=["C - Č"], exclude=["C - Č"])


def test_a_split_that_a_set_does_not_have_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no songs of the split valid.*found 1 train, 1 test"):
        open_dataset(write_dsd100(tmp_path), split="valid")


def test_layouts_can_be_named_and_wrong_ones_are_refused(tmp_path):
    assert layout_names() == ("musdb18hq", "musdb18", "dsd100", "spleeter-csv", "folder")
    write_musdb18hq(tmp_path)
    assert names_of(open_dataset(tmp_path, layout="folder")).keys() == {"A - Été", "Leaf - Summerghost", "C - Č"}
    with pytest.raises(InputError, match=r"no songs in the layout dsd100: expected Mixtures/"):
        open_dataset(tmp_path, layout="dsd100")
    with pytest.raises(InputError, match="unknown layout 'musdb19'"):
        open_dataset(tmp_path, layout="musdb19")


def test_where_no_data_set_is_the_error_names_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match="data set is missing"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(InputError) as error:
        open_dataset(tmp_path)
    assert all(f"{name}: " in str(error.value) for name in layout_names())
    assert "an empty folder" in str(error.value)
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(InputError, match=r"found a file \(\.txt\)"):
        open_dataset(tmp_path / "notes.txt")


def test_a_missing_stem_is_told_but_a_missing_mixture_does_no_harm(tmp_path):
    write_musdb18hq(tmp_path)
    (tmp_path / "train" / "A - Été" / "mixture.wav").unlink()
    assert open_dataset(tmp_path).songs[0].mixture is None
    (tmp_path / "train" / "A - Été" / "bass.wav").unlink()
    with pytest.raises(InputError, match=r"bass\.wav: bass of 'A - Été' is missing"):
        open_dataset(tmp_path)


def test_broken_files_and_other_rates_and_lengths_are_told(tmp_path):
    write_musdb18hq(tmp_path)
    drums = tmp_path / "train" / "A - Été" / "drums.wav"
    drums.write_bytes(drums.read_bytes()[:7000])
    with pytest.raises(InputError, match=r"drums\.wav: file is cut off"):
        open_dataset(tmp_path)
    write_sound(drums, tiny_stems(1, n_samples=3000)["drums"])
    with pytest.raises(InputError, match=r"drums\.wav: stems differ in length"):
        open_dataset(tmp_path)
    drums.write_bytes(b"no music" * 20)
    with pytest.raises(InputError, match=r"drums\.wav: cannot be read as audio"):
        open_dataset(tmp_path)
    write_sound(drums, tiny_stems(1)["drums"], 16000)
    with pytest.raises(InputError, match=r"A - Été: stems differ in sample rate: .*16000 \(drums\.wav\)"):
        open_dataset(tmp_path)
    write_sound(drums, np.zeros((8000, 3)))
    with pytest.raises(InputError, match="wrong number of channels"):
        open_dataset(tmp_path)


def test_two_songs_or_two_files_of_one_name_are_refused(tmp_path):
    write_musdb18hq(tmp_path / "sets", {"train": ["A"], "test": ["A"]})
    with pytest.raises(InputError, match="two songs are named 'A'"):
        open_dataset(tmp_path / "sets")
    write_song(tmp_path / "folder" / "song", tiny_stems(1))
    write_sound(tmp_path / "folder" / "song" / "vocals.flac", tiny_stems(1)["vocals"])
    with pytest.raises(InputError, match="two files of vocals"):
        open_dataset(tmp_path / "folder")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns are missing.*found an empty file"),
        ("path,vocals_path\n", "columns are missing.*found path, vocals_path"),
        ("mix_path,duration\n", "columns are missing"),
        ("mix_path,vocals_path,duration\n", "no songs in the layout spleeter-csv"),
        ("mix_path,vocals_path,duration\nm.wav,,1\n", "line 2: no path.*column vocals_path"),
        ("mix_path,vocals_path,duration\nm.wav,v.wav,long\n", "line 2: wrong duration.*'long'"),
        ("mix_path,vocals_path,duration\nm.wav,v.wav,1\n", r"v\.wav: vocals of 'm' is missing"),
    ],
)
def test_a_wrong_csv_is_told_by_its_line(tmp_path, text, message):
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        open_dataset(path)
