from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cadenza_remix.challenge.metadata import (
    Segment,
    SongEntry,
    SongSegments,
    load_segments,
    load_songs,
    segments_of,
    song_folder,
)
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import load_listeners

EXAMPLES = Path(__file__).parents[2] / "data" / "cad1" / "metadata"
SONG = {"Track Name": "A - B", "Genre": "Rock", "Source": "DSD", "License": "Restricted", "Split": "valid"}
SEGMENTS = {
    "objective_evaluation": {"start": 10.5, "end": 40.5, "duration": 30},
    "subjective_evaluation": {"start": 20, "end": 35, "duration": 15},
}


def write(folder: Path, value: Any) -> Path:
    path = folder / "file.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_a_song_list_is_read_in_its_order(tmp_path: Path) -> None:
    other = {"Track Name": "Łona", "Split": "test", "Genre": None}
    songs = load_songs(write(tmp_path, [SONG, other]))
    assert songs == [
        SongEntry(name="A - B", split="valid", genre="Rock", source="DSD", license="Restricted"),
        SongEntry(name="Łona", split="test"),
    ]


@pytest.mark.parametrize(
    ("split", "folder"), [("train", "train"), ("valid", "train"), ("validation", "train"), ("test", "test")]
)
def test_validation_songs_lie_among_the_training_songs(split: str, folder: str) -> None:
    assert song_folder("music", SongEntry("A - B", split)) == Path("music") / folder / "A - B"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[{", "broken JSON: found .* at line 1, column 3"),
        ({"A": 1}, "expected a list of songs, found an object"),
        ([], "expected at least one song"),
        (["A - B"], r"\[0\]: wrong contents: expected an object"),
        ([{"Track Name": "A"}], r'\[0\]: field "Split" is missing: found Track Name'),
        ([SONG, {"Split": "test"}], r'\[1\]: field "Track Name" is missing'),
        ([SONG | {"Track Name": 3}], r"\[0\]: Track Name: wrong type: expected text, found a number"),
        ([SONG | {"Track Name": "../A"}], "would leave its folder"),
        (
            [SONG | {"Split": "tset"}],
            "Split: unknown split: expected one of train, valid, validation, test, found 'tset'",
        ),
        ([SONG | {"Genre": ["Rock"]}], "Genre: wrong type: expected text, found a list"),
        ([SONG, SONG], "song listed twice: expected each song once, found 'A - B'"),
        ('[{"Track Name": "A", "Split": "test", "Split": "train"}]', "name stands twice.*'Split'"),
    ],
)
def test_a_bad_song_list_is_refused_in_one_line(tmp_path: Path, value: Any, message: str) -> None:
    path = write(tmp_path, value)
    with pytest.raises(InputError, match=message) as caught:
        load_songs(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_folder_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_songs(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load_segments(tmp_path)
    (tmp_path / "song.flac").write_bytes(b"fLaC\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8 text"):
        load_songs(tmp_path / "song.flac")


def test_segments_are_read(tmp_path: Path) -> None:
    segments = load_segments(write(tmp_path, {"A - B": SEGMENTS}))
    assert segments == {"A - B": SongSegments(objective=Segment(10.5, 40.5), subjective=Segment(20.0, 35.0))}
    assert segments["A - B"].objective.duration_s == 30.0


def changed(field: str, **times: Any) -> dict[str, Any]:
    return {"A - B": SEGMENTS | {field: SEGMENTS[field] | times}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "expected an object of songs, found a list"),
        ({}, "at least one song"),
        ({"A - B": []}, 'A - B: field "objective_evaluation" is missing'),
        (
            {"A - B": {"objective_evaluation": SEGMENTS["objective_evaluation"]}},
            'field "subjective_evaluation" is missing',
        ),
        ({"A - B": SEGMENTS | {"subjective_evaluation": 15}}, "subjective_evaluation: wrong contents"),
        ({"A - B": SEGMENTS | {"subjective_evaluation": {"start": 1}}}, "subjective_evaluation: end: time is missing"),
        (changed("objective_evaluation", start="10"), "start: wrong type: expected seconds as a number, found text"),
        (changed("objective_evaluation", start=True), "start: wrong type: .* found true or false"),
        (changed("objective_evaluation", start=float("nan")), "start: wrong time: .* found nan"),
        (changed("objective_evaluation", end=float("inf")), "end: wrong time: .* found inf"),
        (changed("objective_evaluation", end=10**400), "end: wrong time: expected 0 to 1e\\+06 seconds, found"),
        (changed("objective_evaluation", end=1e308), "end: wrong time: .* found 1e\\+308"),
        ('{"A": ' + "9" * 5000 + "}", "broken JSON"),
        (changed("objective_evaluation", start=-1), "start: wrong time: .* found -1"),
        (changed("subjective_evaluation", start=35), "empty segment: expected start before end, found 35 to 35 s"),
        (changed("subjective_evaluation", start=36), "empty segment: .* found 36 to 35 s"),
        (
            changed("subjective_evaluation", duration=30),
            "duration contradicts start and end: expected 15 s, found 30 s",
        ),
        ({"../A": SEGMENTS}, "would leave its folder"),
        (f'{{"A": {json.dumps(SEGMENTS)}, "A": {json.dumps(SEGMENTS)}}}', "name stands twice.*'A'"),
    ],
)
def test_bad_segments_are_refused_in_one_line(tmp_path: Path, value: Any, message: str) -> None:
    path = write(tmp_path, value)
    with pytest.raises(InputError, match=message) as caught:
        load_segments(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_songs_without_segments_are_named(tmp_path: Path) -> None:
    segments = load_segments(write(tmp_path, {"A - B": SEGMENTS, "unused": SEGMENTS}))
    assert list(segments_of([SongEntry("A - B", "test")], segments)) == ["A - B"]
    with pytest.raises(InputError, match=r"no evaluation segments for 1 of 2 songs.*none for 'C - D'"):
        segments_of([SongEntry("A - B", "test"), SongEntry("C - D", "test")], segments)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_the_example_metadata_can_be_read(split: str) -> None:
    songs = load_songs(EXAMPLES / f"musdb18.{split}.json")
    assert songs
    assert {song.split for song in songs} == {split}
    assert load_listeners(EXAMPLES / f"listeners.{split}.json")
    if split == "test":
        for segments in segments_of(songs, load_segments(EXAMPLES / "musdb18.segments.test.json")).values():
            assert (segments.objective.duration_s, segments.subjective.duration_s) == (30.0, 15.0)
