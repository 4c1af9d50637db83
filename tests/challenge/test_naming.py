from __future__ import annotations

from pathlib import Path

import pytest

from cadenza_remix.challenge.naming import (
    MUSIC_SAMPLE_RATE,
    REMIX_SAMPLE_RATE,
    STEM_SAMPLE_RATE,
    check_name,
    pair_paths,
    remix_path,
    scale_path,
    stem_path,
)
from cadenza_remix.errors import InputError


def test_the_files_of_a_pair_are_those_of_the_challenge() -> None:
    root = Path("enhanced_signals")
    folder = root / "L5040" / "Actions - One Minute Smile"
    start = "L5040_Actions - One Minute Smile_"
    stem = stem_path(root, "L5040", "Actions - One Minute Smile", "right", "vocals")
    assert stem == folder / f"{start}right_vocals.flac"
    assert scale_path(stem) == folder / f"{start}right_vocals.txt"
    assert remix_path(root, "L5040", "Actions - One Minute Smile") == folder / f"{start}remix.flac"


def test_the_challenge_rates() -> None:
    assert (MUSIC_SAMPLE_RATE, STEM_SAMPLE_RATE, REMIX_SAMPLE_RATE) == (44100, 24000, 32000)


def test_a_dot_in_a_song_name_is_no_suffix() -> None:
    stem = stem_path("out", "L1", "Mr. Nobody vol.2", "left", "bass")
    assert scale_path(stem).name == "L1_Mr. Nobody vol.2_left_bass.txt"


def test_a_pair_has_seventeen_distinct_files() -> None:
    paths = list(pair_paths("out", "L1", "Song"))
    assert len(paths) == len(set(paths)) == 8 + 8 + 1


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "/a", "../a", "a\\b", "a\nb", "a\0b", "x" * 201])
def test_names_that_would_leave_their_folder_are_refused(name: str) -> None:
    for make in (
        lambda: stem_path("out", "L1", name, "left", "bass"),
        lambda: stem_path("out", name, "Song", "left", "bass"),
        lambda: remix_path("out", "L1", name),
    ):
        with pytest.raises(InputError, match="name"):
            make()


@pytest.mark.parametrize("name", ["...And You", "Triviul feat. The Fiend", "Łona", "A & B - (don't) panic!", "L5040"])
def test_names_of_real_songs_are_taken(name: str) -> None:
    assert check_name(name, "song") == name


def test_unknown_ear_and_stem_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="one of left, right"):
        stem_path("out", "L1", "Song", "lef", "bass")
    with pytest.raises(InputError, match="vocals, drums, bass, other"):
        stem_path("out", "L1", "Song", "left", "guitar")
