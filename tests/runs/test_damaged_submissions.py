"""One good entry, damaged in one way at a time: exactly that fault is told, in words and in kind, and nothing else.

The entry is made from the real excerpt: two songs (its first and its second half) for two listeners, estimates with
some of the mixture left in them. It is validated as a folder and as a zip file.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from damaged_entries import (
    DAMAGES,
    LISTENERS,
    SEGMENTS,
    SONGS,
    TWO,
    A,
    B,
    Expected,
    mixture_damage,
    name_of,
    no_pair,
    notes_at_the_top,
    silent_remix,
    silent_stem,
    stem_file,
    write_scaled,
)

from cadenza_remix.audio.io import load_audio, load_stems, write_flac16, write_wav
from cadenza_remix.audio.signal import Audio
from cadenza_remix.challenge.naming import remix_path, scale_path, stem_path
from cadenza_remix.challenge.pairs import make_pairs
from cadenza_remix.challenge.tree import MAX_FILE_BYTES, open_tree
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.remix import enhance_stems, load_chain, soft_clip
from cadenza_remix.runs.validating import ValidationReport, validate_entry

ZIP_DAMAGES: dict[str, Callable[[Path, Path], Expected]] = {}


def zip_damage(function):
    ZIP_DAMAGES[function.__name__] = function
    return function


def estimates(stems: dict[str, Audio], mixture: Audio) -> dict[str, Audio]:
    """Return the stems with a fifth of the mixture left in each."""
    return {stem: Audio(0.8 * audio.samples + 0.2 * mixture.samples, 44100) for stem, audio in stems.items()}


@pytest.fixture(scope="module")
def good(song, tmp_path_factory) -> Path:
    """A folder with ``references`` and the entry in ``enhanced_signals``."""
    root = tmp_path_factory.mktemp("good")
    clean, mixture = load_stems(song.path), load_audio(song.path)
    listeners = load_listeners("cad1-sample")
    for name, start_s in zip(SONGS, (0.0, 3.0), strict=True):
        stems = {stem: audio.excerpt(start_s, start_s + 3.0) for stem, audio in clean.items()}
        mixed = mixture.excerpt(start_s, start_s + 3.0)
        for stem, audio in stems.items():
            write_wav(root / "references" / name / f"{stem}.wav", audio)
        write_wav(root / "references" / name / "mixture.wav", mixed)
        for listener in LISTENERS:
            enhanced = enhance_stems(estimates(stems, mixed), listeners[listener], load_chain("baseline"))
            for channel, audio in enhanced.stems.items():
                path = stem_path(root / "enhanced_signals", listener, name, *channel.split("_"))
                write_scaled(path, audio.excerpt(0.25, 2.75).samples[:, 0])
            remix = soft_clip(enhanced.remix.excerpt(1.0, 2.0).samples)
            write_flac16(remix_path(root / "enhanced_signals", listener, name), remix, 32000)
    return root


@pytest.fixture
def entry(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good / "enhanced_signals", tmp_path / "enhanced_signals"))


def make_zip(root: Path, prefix: str = "evaluation/") -> Path:
    path = root.parent / "submission_T001.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(root).as_posix())
    return path


def validate(path: Path, good: Path, **options) -> ValidationReport:
    settings = {"pairs": make_pairs(SONGS, LISTENERS), "segments": SEGMENTS, "references": good / "references"}
    return validate_entry(open_tree(path), listeners=load_listeners("cad1-sample"), **{**settings, **options})


def assert_told(report: ValidationReport, expected: Expected) -> None:
    found = sorted((fault.kind, fault.path) for fault in report.faults)
    assert found == sorted((kind, path) for kind, path, _ in expected), [str(fault) for fault in report.faults]
    for kind, path, words in expected:
        line = next(str(f) for f in report.faults if (f.kind, f.path) == (kind, path))
        assert line.startswith(f"{path}: ")
        assert words in line
        assert "\n" not in line


@pytest.mark.parametrize("as_zip", [False, True], ids=["folder", "zip"])
def test_the_good_entry_has_no_fault(good, entry, as_zip):
    (entry / A / ".DS_Store").write_text("hidden files are left alone")
    report = validate(make_zip(entry) if as_zip else entry.parent, good)
    assert [str(fault) for fault in report.faults] == []
    assert report.pairs_ok == tuple(make_pairs(SONGS, LISTENERS))


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_told_for_what_it_is(good, entry, name):
    expected = DAMAGES[name](entry)
    assert_told(validate(entry, good), expected)


@pytest.mark.parametrize("name", list(DAMAGES)[::6])
def test_a_zip_file_says_the_same(good, entry, name):
    expected = DAMAGES[name](entry)
    assert_told(validate(make_zip(entry), good), expected)


@pytest.mark.parametrize("chain", ["baseline", "e016"])
def test_the_mixture_instead_of_a_stem(good, entry, chain):
    """With NAL-R, and with a compressor as well."""
    expected = mixture_damage(chain)(entry, good)
    assert_told(validate(entry, good), expected)


@zip_damage
def another_folder_at_the_top(root, _):
    make_zip(root, "submission_T001/enhanced_signals/")
    return [("top_folder", "submission_T001/enhanced_signals/", "wrong folder at the top of the zip file: expected ev")]


@zip_damage
def a_folder_within_the_folder(root, _):
    make_zip(root, "evaluation/enhanced_signals/")
    return [("top_folder", "evaluation/enhanced_signals/", "wrong folder at the top of the zip file")]


@zip_damage
def no_folder_at_the_top(root, _):
    make_zip(root, "")
    return [("top_folder", "./", "wrong folder at the top of the zip file: expected evaluation/..., found")]


@zip_damage
def notes_beside_the_folder(root, path):
    make_zip(root)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "hello")
        archive.writestr("__MACOSX/evaluation/._x", "no fault")
    return [("outside", "notes.txt", "lies outside the folder: expected evaluation/...")]


@zip_damage
def names_that_would_leave_the_folder(root, path):
    make_zip(root)
    names = ["evaluation/../../escape.txt", "/etc/passwd", "C:/escape.txt"]
    with zipfile.ZipFile(path, "a") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), "hello")
    return [("outside", name, "lies outside the folder") for name in names]


@zip_damage
def a_name_that_stands_twice(root, path):
    make_zip(root)
    twice = name_of(root, scale_path(stem_file(root)))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(f"evaluation/{twice}", scale_path(stem_file(root)).read_text())
    return [("twice", twice, "stands twice in the zip file")]


@zip_damage
def written_with_backslashes(root, path):
    names = sorted(name_of(root, file) for file in root.rglob("*") if file.is_file())
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo("evaluation\\" + name.replace("/", "\\")), (root / name).read_bytes())
    return [("backslashes", names[0], "zip file written with backslashes: expected forward slashes, found 68 names")]


@zip_damage
def a_bit_that_flipped(root, path):
    make_zip(root)
    name = name_of(root, stem_file(root))
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(f"evaluation/{name}")
    contents = bytearray(path.read_bytes())
    contents[entry.header_offset + 30 + len(entry.filename) + entry.file_size // 2] ^= 1
    path.write_bytes(contents)
    return [("unreadable", name, "cannot be read: found Bad CRC-32")]


def edit_central_directory(path: Path, name: str, offset: int, value: bytes) -> None:
    contents = bytearray(path.read_bytes())
    at = contents.rindex(name.encode()) - 46 + offset  # the last time that a name stands in a zip file is there
    contents[at : at + len(value)] = value
    path.write_bytes(contents)


@zip_damage
def an_encrypted_file(root, path):
    make_zip(root)
    name = name_of(root, stem_file(root))
    edit_central_directory(path, f"evaluation/{name}", 8, b"\x01\x00")
    return [("unreadable", name, "is encrypted")]


@zip_damage
def a_file_that_would_fill_the_memory(root, path):
    make_zip(root)
    name = name_of(root, stem_file(root))
    edit_central_directory(path, f"evaluation/{name}", 24, (MAX_FILE_BYTES + 1).to_bytes(4, "little"))
    return [("unreadable", name, f"is too large: expected at most {MAX_FILE_BYTES} bytes")]


@pytest.mark.parametrize("name", ZIP_DAMAGES)
def test_each_damage_of_a_zip_file_is_told_for_what_it_is(good, entry, name):
    path = entry.parent / "submission_T001.zip"
    expected = ZIP_DAMAGES[name](entry, path)
    assert_told(validate(path, good), expected)


def test_all_faults_are_told_at_once_and_in_the_same_order(good, entry):
    expected = no_pair(entry) + notes_at_the_top(entry) + silent_remix(entry) + silent_stem(entry)
    report = validate(entry, good)
    assert_told(report, expected)
    assert [fault.kind for fault in report.faults] == ["pair_missing", "extra", "silent", "silent"]
    assert validate(entry, good, n_workers=1).faults == report.faults
    assert validate(entry, good, n_workers=4).faults == report.faults
    assert report.pairs_ok == ((TWO, A), (TWO, B))
