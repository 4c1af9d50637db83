from __future__ import annotations

from pathlib import Path

import pytest

from cadenza_remix.challenge.task import load_task
from cadenza_remix.errors import InputError

METADATA = Path(__file__).parents[2] / "data" / "cad1" / "metadata"


def files(mode: str) -> dict[str, Path]:
    return {
        "music_file": METADATA / f"musdb18.{mode}.json",
        "listeners_file": METADATA / f"listeners.{mode}.json",
        "segments_file": METADATA / "musdb18.segments.test.json",
    }


def test_validation_works_on_whole_songs() -> None:
    task = load_task(mode="valid", **files("valid"))
    assert task.segments is None
    assert task.pairs == task.all_pairs
    assert [pair.listener for pair in task.pairs] == list(task.listeners) * len(task.songs)


def test_the_test_works_on_the_segments_of_its_songs() -> None:
    task = load_task(mode="test", **files("test"))
    assert task.segments is not None
    assert list(task.segments) == [song.name for song in task.songs]
    with pytest.raises(InputError, match="test mode needs segments"):
        load_task(mode="test", **(files("test") | {"segments_file": None}))
    with pytest.raises(InputError, match="no evaluation segments for 2 of 2 songs"):
        load_task(mode="test", **(files("test") | {"music_file": METADATA / "musdb18.valid.json"}))


def test_a_batch_asks_for_its_own_songs_only() -> None:
    one = load_task(mode="valid", batch=1, batch_size=4, **files("valid"))
    assert one.pairs == (one.all_pairs[1],)
    assert [song.name for song in one.batch_songs] == [one.all_pairs[1].song]
    assert load_task(mode="valid", batch=0, batch_size=2, **files("valid")).batch_songs == list(one.songs)
    assert load_task(mode="valid", small_test=True, **files("valid")).all_pairs == one.all_pairs[:1]


def test_senseless_settings_are_refused() -> None:
    with pytest.raises(InputError, match="unknown mode 'tests': expected one of valid, test"):
        load_task(mode="tests", **files("test"))
    with pytest.raises(InputError, match="no such batch"):
        load_task(mode="valid", batch=4, batch_size=4, **files("valid"))
    with pytest.raises(InputError, match="small_test: wrong type"):
        load_task(mode="valid", small_test="yes", **files("valid"))
