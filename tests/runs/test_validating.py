"""Walking through an entry: what is taken from where, progress, parts of an entry, references that cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cadenza_remix.audio.io import write_wav
from cadenza_remix.audio.signal import STEMS, Audio
from cadenza_remix.challenge.metadata import Segment, SongSegments
from cadenza_remix.challenge.naming import pair_folder, remix_path, scale_path, stem_paths
from cadenza_remix.challenge.pairs import Pair, make_pairs
from cadenza_remix.challenge.tree import open_tree
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.runs.progress import NoProgress
from cadenza_remix.runs.validating import validate_entry

SONGS, LISTENERS = ["One", "Two", "Three"], ["L5040", "L5076"]
PAIRS = make_pairs(SONGS, LISTENERS)
LENGTH_S = 0.6  # too short for comparisons of spectra, which have tests of their own


@pytest.fixture
def music(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for song in SONGS:
        for stem in STEMS:
            samples = rng.uniform(-0.1, 0.1, (int(44100 * LENGTH_S), 2))
            write_wav(tmp_path / "music" / song / f"{stem}.wav", Audio(samples, 44100))
    return tmp_path / "music"


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    root = tmp_path / "enhanced_signals"
    rng = np.random.default_rng(2)
    for song, listener in PAIRS:
        for path in stem_paths(root, listener, song):
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, rng.uniform(-1, 1, int(24000 * LENGTH_S)), 24000, subtype="PCM_16")
            scale_path(path).write_text("0.25")
        remix = rng.uniform(-1, 1, (int(32000 * LENGTH_S), 2))
        soundfile.write(remix_path(root, listener, song), remix, 32000, subtype="PCM_16")
    return root


def listeners():
    return load_listeners("cad1-sample")


def test_a_good_entry_and_its_progress(entry, music):
    seen = []

    class Progress(NoProgress):
        def start(self, stage, total):
            seen.append((stage, total))

        def advance(self, stage, amount=1.0):
            seen.append(stage)

    report = validate_entry(
        open_tree(entry), pairs=PAIRS, references=music, listeners=listeners(), progress=Progress(), n_workers=3
    )
    assert report.faults == ()
    assert report.pairs_ok == tuple(PAIRS)
    assert report.n_pairs_ok == 6
    assert seen == [("validate", 6)] + ["validate"] * 6


def test_without_a_list_the_pairs_are_those_that_are_there(entry):
    shutil.rmtree(pair_folder(entry, "L5040", "One"))
    report = validate_entry(open_tree(entry))
    assert report.faults == ()
    assert report.pairs_ok == tuple(Pair(s, x) for s in sorted(SONGS) for x in LISTENERS if (s, x) != ("One", "L5040"))


def test_lengths_come_from_the_references_or_from_the_segments(entry, music):
    tree = open_tree(entry)
    for stem in STEMS:
        path = music / "Two" / f"{stem}.wav"
        samples, rate = soundfile.read(path)
        soundfile.write(path, samples[: rate // 2], rate)
    faults = validate_entry(tree, pairs=PAIRS, references=music, listeners=listeners()).faults
    assert {(f.kind, f.path.split("/")[1], f.expected) for f in faults} == {("duration", "Two", "0.500 s")}
    assert len(faults) == 2 * 9
    whole = {song: SongSegments(Segment(0, 0.6), Segment(0, 0.6)) for song in SONGS}
    assert validate_entry(tree, pairs=PAIRS, segments=whole).faults == ()
    whole["One"] = SongSegments(Segment(0, 0.6), Segment(0, 0.3))
    report = validate_entry(tree, pairs=PAIRS, segments=whole)
    assert [(f.kind, f.expected, f.found) for f in report.faults] == [("duration", "0.300 s", "0.600 s")] * 2
    assert report.n_pairs_ok == 4


def test_a_part_of_an_entry(entry):
    shutil.rmtree(entry / "L5076")
    remix_path(entry, "L5040", "One").unlink()
    tree = open_tree(entry)
    assert [f.kind for f in validate_entry(tree, pairs=PAIRS).faults] == ["listener_missing", "missing"]
    report = validate_entry(tree, pairs=PAIRS, partial=True)
    assert [f.kind for f in report.faults] == ["missing"]
    assert report.pairs_ok == (Pair("Two", "L5040"), Pair("Three", "L5040"))
    report = validate_entry(tree, pairs=PAIRS, partial=True, remix=False)
    assert report.faults == ()
    assert report.n_pairs_ok == 3


def test_references_that_cannot_be_used_are_one_line_each(entry, music):
    (music / "One" / "bass.wav").unlink()
    (music / "Two" / "drums.wav").write_bytes((music / "Two" / "drums.wav").read_bytes()[:60000])
    report = validate_entry(open_tree(entry), pairs=PAIRS, references=music, listeners=listeners())
    assert [(f.kind, f.path) for f in report.faults] == [("reference", "One"), ("reference", "Two")]
    assert "bass is missing" in str(report.faults[0])
    assert "drums.wav: file is cut off" in str(report.faults[1])
    assert report.pairs_ok == (Pair("Three", "L5040"), Pair("Three", "L5076"))
    segments = {song: SongSegments(Segment(0.3, 0.9), Segment(0.3, 0.9)) for song in SONGS}
    report = validate_entry(
        open_tree(entry), pairs=PAIRS[4:], references=music, listeners=listeners(), segments=segments, partial=True
    )
    assert [f.kind for f in report.faults] == ["song_unknown", "song_unknown", "reference"]
    assert "segment outside the audio" in str(report.faults[2])


def test_only_a_few_songs_are_in_memory_at_once(entry, music, monkeypatch):
    from cadenza_remix.runs import validating

    loaded = []
    monkeypatch.setattr(
        validating, "load_stems", lambda path, load=validating.load_stems: loaded.append(path) or load(path)
    )
    order = [PAIRS[index] for index in (0, 2, 4, 1, 3, 5)]  # songs in turn: grouped before they are walked through
    report = validate_entry(open_tree(entry), pairs=order, references=music, listeners=listeners())
    assert [path.name for path in loaded] == SONGS
    assert report.pairs_ok == tuple(order)


def test_what_is_needed_is_asked_for(entry, music):
    tree = open_tree(entry)
    with pytest.raises(InputError, match="references without listeners"):
        validate_entry(tree, references=music)
    with pytest.raises(InputError, match="unknown listener 'L5040'"):
        validate_entry(tree, pairs=PAIRS, references=music, listeners={"L5076": listeners()["L5076"]})
    report = validate_entry(tree, references=music, listeners={"L5076": listeners()["L5076"]})
    assert [(f.kind, f.path) for f in report.faults] == [("listener_unknown", "L5040")]
    assert report.n_pairs_ok == 3
    with pytest.raises(InputError, match="holds no enhanced signals"):
        validate_entry(tree, references=music, listeners={})
    with pytest.raises(InputError, match=r"no expected duration: expected 'One'"):
        validate_entry(tree, segments={})
