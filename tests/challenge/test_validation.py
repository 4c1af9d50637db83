"""Faults as values, and the limits of what is one; each kind of damage has its test in `test_damaged_submissions`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from cadenza_remix.challenge.checks.files import MAX_SCALE, Fault, check_pair
from cadenza_remix.challenge.checks.structure import file_names, present_pairs, structure_faults
from cadenza_remix.challenge.naming import channel_name, remix_path, scale_path, stem_path, stem_paths
from cadenza_remix.challenge.pairs import SCORING_CHANNELS, Pair, make_pairs
from cadenza_remix.challenge.tree import open_tree

PAIR = Pair("Song", "L1")


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    return write_pair(tmp_path / "enhanced_signals", PAIR)


def write_pair(root: Path, pair: Pair) -> Path:
    rng = np.random.default_rng(1)
    for path in stem_paths(root, pair.listener, pair.song):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.uniform(-1, 1, 4800), 24000, subtype="PCM_16")
        scale_path(path).write_text("0.25")
    soundfile.write(remix_path(root, *pair[::-1]), rng.uniform(-1, 1, (3200, 2)), 32000, subtype="PCM_16")
    return root


def kinds(entry: Path, **options: float) -> list[str]:
    return [fault.kind for fault in check_pair(open_tree(entry), PAIR, **options).faults]


def test_a_fault_is_one_line() -> None:
    assert str(Fault("a", "is wrong")) == "a: is wrong"
    assert str(Fault("a", "is wrong", "this", "that", "kind")) == "a: is wrong: expected this, found that"
    assert str(Fault("a\nb\x1b[31m", "is wrong")) == "a\\nb\\x1b[31m: is wrong"


def test_sound_stems_come_at_their_true_level(entry: Path) -> None:
    checked = check_pair(open_tree(entry), PAIR)
    assert checked.faults == ()
    assert list(checked.stems) == [channel_name(*channel) for channel in SCORING_CHANNELS]
    raw, _ = soundfile.read(stem_path(entry, "L1", "Song", "left", "bass"), dtype="float32")
    np.testing.assert_array_equal(checked.stems["left_bass"].samples[:, 0], raw * np.float32(0.25))
    assert checked.scales["left_bass"] == 0.25
    assert checked.peaks["left_bass"] == np.abs(raw).max()


def test_stems_with_a_fault_are_left_out(entry: Path) -> None:
    scale_path(stem_path(entry, "L1", "Song", "left", "bass")).write_text("loud")
    stem_path(entry, "L1", "Song", "left", "drums").unlink()
    checked = check_pair(open_tree(entry), PAIR)
    assert len(checked.stems) == 6
    assert checked.stems.keys() == checked.scales.keys() == checked.peaks.keys()


def test_durations_may_be_off_by_rounding_and_the_tail_of_a_filter(entry: Path) -> None:
    assert kinds(entry, stem_s=0.2, remix_s=0.1) == []
    assert kinds(entry, stem_s=0.2 + 0.019, remix_s=0.1 - 0.019) == []
    assert kinds(entry, stem_s=0.2 + 0.021, remix_s=0.1) == ["duration"] * 8
    assert kinds(entry, stem_s=0.2, remix_s=0.1 - 0.021) == ["duration"]


@pytest.mark.parametrize(
    ("peak", "scale", "expected"),
    [
        (0.0, "0", []),  # silence
        (0.0, "1", []),
        (0.001, "1.0", []),  # a stem that is nearly silent, in a file that was not scaled to its peak
        (0.02, "1.0", []),
        (0.001, "100", ["coarse"]),
        (1.0, repr(MAX_SCALE), []),
        (1.0, "10001", ["scale_absurd"]),
        (1.0, "0", ["scale_zero"]),
        (1.0, " 1e-3\n", []),
    ],
)
def test_which_scales_make_sense(entry: Path, peak: float, scale: str, expected: list[str]) -> None:
    path = stem_path(entry, "L1", "Song", "left", "bass")
    soundfile.write(path, peak * soundfile.read(path)[0], 24000, subtype="PCM_16")
    scale_path(path).write_text(scale)
    assert kinds(entry) == expected


@pytest.mark.parametrize(("share", "expected"), [(0.04, []), (0.06, ["clipped"])])
def test_how_much_of_a_stem_may_stand_at_full_scale(entry: Path, share: float, expected: list[str]) -> None:
    samples = np.random.default_rng(1).uniform(-0.9, 0.9, 4800)
    samples[: int(share * 4800)] = 1
    soundfile.write(stem_path(entry, "L1", "Song", "left", "bass"), samples, 24000, subtype="PCM_16")
    assert kinds(entry) == expected


def test_parts_of_an_entry(tmp_path: Path) -> None:
    pairs = make_pairs(["One", "Two"], ["L1", "L2"])
    for pair in pairs[:2]:
        write_pair(tmp_path, pair)
    tree = open_tree(tmp_path)
    assert present_pairs(tree, pairs) == pairs[:2]
    assert [(f.kind, f.path) for f in structure_faults(tree, pairs)] == [("song_missing", "*/Two")]
    assert structure_faults(tree, pairs, partial=True) == []
    remix_path(tmp_path, "L1", "One").unlink()
    assert [f.kind for f in structure_faults(open_tree(tmp_path), pairs, partial=True)] == ["missing"]
    assert structure_faults(open_tree(tmp_path), pairs, partial=True, remix=False) == []


def test_a_pair_that_is_expected_alone_is_missing_as_such(tmp_path: Path) -> None:
    assert [(f.kind, f.path) for f in structure_faults(open_tree(tmp_path), [PAIR])] == [("pair_missing", "L1/Song")]


def test_a_pair_outside_the_batch_does_not_belong(entry: Path) -> None:
    pairs = [Pair("Song", "L2"), Pair("Other", "L1")]
    write_pair(entry, pairs[0])
    write_pair(entry, pairs[1])
    assert [str(f) for f in structure_faults(open_tree(entry), pairs)] == [
        "L1/Song: pair that was not asked for: found 17 files"
    ]


def test_accents_in_another_form_are_told_as_spelling(tmp_path: Path) -> None:
    """macOS decomposes letters: the names look the same."""
    write_pair(tmp_path, Pair("A\u030a", "L1"))
    (fault,) = structure_faults(open_tree(tmp_path), [Pair("\u00c5", "L1")])
    assert (fault.kind, fault.expected) == ("misspelt", "L1/\u00c5")


def test_names_that_differ_in_case_or_spaces_alone_are_told_apart(tmp_path: Path) -> None:
    pairs = make_pairs(["A B", "a b", "AB"], ["n3", "N3"])
    for pair in pairs:
        write_pair(tmp_path, pair)
    assert structure_faults(open_tree(tmp_path), pairs) == []


def test_a_song_may_begin_with_a_dot(tmp_path: Path) -> None:
    pairs = make_pairs([".A", "B"], ["N3"])
    for pair in pairs:
        write_pair(tmp_path, pair)
    (tmp_path / "N3" / "B" / ".DS_Store").write_bytes(b"left behind by a system")
    tree = open_tree(tmp_path)
    assert tree.pairs() == pairs
    assert structure_faults(tree, pairs) == []


def test_names_of_a_pair() -> None:
    assert len(file_names(PAIR)) == 17
    assert file_names(PAIR, remix=False) == file_names(PAIR)[:16]
