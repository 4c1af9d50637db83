"""One view of an entry, whether it lies in a folder or in a zip file."""

from __future__ import annotations

import gc
import hashlib
import io
import unicodedata
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cadenza_remix.audio.io import read_scaled_flac
from cadenza_remix.challenge import decoding
from cadenza_remix.challenge import tree as tree_module
from cadenza_remix.challenge.decoding import decode_audio
from cadenza_remix.challenge.naming import scale_path, stem_path
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.challenge.tree import open_tree
from cadenza_remix.errors import InputError

SONGS, LISTENERS = ("Beta - B", "Alpha - A"), ("L2", "L1")


def stem_name(listener: str, song: str) -> str:
    return stem_path("", listener, song, "left", "bass").as_posix()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "run" / "enhanced_signals"
    rng = np.random.default_rng(1)
    for listener in LISTENERS:
        for song in SONGS:
            path = root / stem_name(listener, song)
            path.parent.mkdir(parents=True)
            soundfile.write(path, rng.uniform(-1, 1, 2400), 24000, subtype="PCM_16")
            scale_path(path).write_text("0.25")
    (root / "L1" / ".hidden").write_text("no part of it")
    (tmp_path / "run" / "records").mkdir()
    return tmp_path / "run"


@pytest.fixture
def archive(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "submission_T001.zip"
    root = folder / "enhanced_signals"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for file in sorted(root.rglob("*.*")):
            if file.is_file():
                out.write(file, f"evaluation/{file.relative_to(root).as_posix()}")
    return path


def test_folder_and_zip_file_show_the_same(folder: Path, archive: Path) -> None:
    in_folder, in_zip = open_tree(folder), open_tree(archive)
    assert in_folder.names == in_zip.names
    assert len(in_zip.names) == 8
    assert (in_zip.outside, in_zip.twice, in_zip.backslashed, in_zip.prefix) == ((), (), (), "evaluation/")
    for name in in_zip.names:
        contents = (folder / "enhanced_signals" / name).read_bytes()
        assert in_folder.read(name) == in_zip.read(name) == contents
        assert in_folder.digest(name) == in_zip.digest(name) == hashlib.sha256(contents).hexdigest()
    assert stem_name("L1", SONGS[0]) in in_zip
    assert "L1" not in in_zip
    assert in_folder.where == str(folder / "enhanced_signals")
    assert in_zip.location("a.txt") == f"{archive}!evaluation/a.txt"


def test_the_folder_of_signals_and_those_above_it_are_the_same(folder: Path) -> None:
    names = open_tree(folder).names
    assert open_tree(folder / "enhanced_signals").names == names
    (folder / "enhanced_signals").rename(folder / "evaluation")
    assert open_tree(folder).names == names
    folder.rename(folder.with_name("enhanced_signals"))
    assert open_tree(folder.parent).names == names


def test_pairs_come_in_the_order_of_the_challenge(folder: Path, archive: Path) -> None:
    by_name = [Pair(song, listener) for song in ("Alpha - A", "Beta - B") for listener in ("L1", "L2")]
    assert open_tree(folder).pairs() == open_tree(archive).pairs() == by_name
    as_listed = [Pair(song, listener) for song in ("Alpha - A", "Beta - B") for listener in ("L2", "L1")]
    assert open_tree(folder).pairs(["L2", "L1"]) == as_listed
    assert open_tree(folder).pairs(["L2"]) == as_listed


def test_audio_is_that_of_the_reader_of_files(folder: Path, archive: Path) -> None:
    name = stem_name("L1", SONGS[0])
    of_file = read_scaled_flac(folder / "enhanced_signals" / name)
    for tree in (open_tree(folder), open_tree(archive)):
        audio = tree.read_audio(name)
        np.testing.assert_array_equal(audio.samples, of_file.samples)
        assert audio.sample_rate == 24000
        assert audio.name == tree.location(name)
    scale_path(folder / "enhanced_signals" / name).unlink()
    np.testing.assert_array_equal(open_tree(folder).read_audio(name).samples, 4 * of_file.samples)


@pytest.mark.parametrize("text", ["loud", "nan", "-1", "", "inf"])
def test_a_senseless_scale_is_refused(folder: Path, text: str) -> None:
    name = stem_name("L1", SONGS[0])
    scale_path(folder / "enhanced_signals" / name).write_text(text)
    with pytest.raises(InputError, match=r"bass.txt: not a scale: expected one finite number, 0 or more, found"):
        open_tree(folder).read_audio(name)


def test_threads_read_at_once(archive: Path) -> None:
    """Readers in one zip file share one file position: each must get its own bytes all the same."""
    tree = open_tree(archive)
    digests = {name: tree.digest(name) for name in tree.names}
    with ThreadPoolExecutor(8) as threads:
        names = [*tree.names] * 25
        assert list(threads.map(tree.digest, names)) == [digests[name] for name in names]


def test_what_is_not_there_or_no_zip_file_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none: not found: expected a folder of enhanced signals or a submission's"):
        open_tree(tmp_path / "none")
    for contents in (b"", b"no zip", b"PK\x03\x04 torn"):
        (tmp_path / "text.zip").write_bytes(contents)
        with pytest.raises(InputError, match="not a readable zip file"):
            open_tree(tmp_path / "text.zip")
    with pytest.raises(InputError, match=r"no.flac: file is missing"):
        open_tree(folder).read("no.flac")
    (folder / "enhanced_signals" / "L1" / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"L1/link: cannot be read"):
        open_tree(folder).read("L1/link")


def test_a_torn_zip_file_is_refused(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(InputError, match="not a readable zip file"):
        open_tree(archive)


def write_zip(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name in names:
            out.writestr(zipfile.ZipInfo(name), "x")
    return path


def test_names_in_a_zip_file_never_leave_it(tmp_path: Path) -> None:
    bad = ("evaluation/../x", "/evaluation/x", "../evaluation/x", "C:/x", "other/x")
    tree = open_tree(
        write_zip(tmp_path / "a.zip", "evaluation/a/b/a_b_c.txt", *bad, "__MACOSX/x", "evaluation/.DS_Store")
    )
    assert tree.names == ("a/b/a_b_c.txt",)
    assert tree.outside == tuple(sorted(bad))


@pytest.mark.parametrize("prefix", ["", "T001/", "x/evaluation/", "evaluation/enhanced_signals/"])
def test_another_folder_at_the_top_is_found_and_told(tmp_path: Path, prefix: str) -> None:
    tree = open_tree(write_zip(tmp_path / "a.zip", f"{prefix}L1/S/L1_S_remix.flac", f"{prefix}L1/S/L1_S_left_bass.txt"))
    assert tree.prefix == prefix
    assert tree.names == ("L1/S/L1_S_left_bass.txt", "L1/S/L1_S_remix.flac")


def test_names_beyond_ascii_are_read_however_they_were_written(tmp_path: Path) -> None:
    song = "Å - Ö"
    name = f"L1/{song}/L1_{song}_remix.flac"
    said = open_tree(write_zip(tmp_path / "utf8.zip", f"evaluation/{name}"))
    assert said.names == (name,)
    # As macOS writes it: UTF-8 in decomposed form, without saying so.
    unsaid = tmp_path / "unsaid.zip"
    raw = unicodedata.normalize("NFD", f"evaluation/{name}").encode()
    write_zip(unsaid, "x" * len(raw))
    unsaid.write_bytes(unsaid.read_bytes().replace(b"x" * len(raw), raw))
    assert open_tree(unsaid).names == (name,)
    assert open_tree(unsaid).read(name) == b"x"


def test_too_long_or_too_large_files_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = stem_name("L1", SONGS[0])
    monkeypatch.setattr(decoding, "MAX_DURATION_S", 0.05)
    monkeypatch.setattr(decoding, "_BLOCK_FRAMES", 512)
    with pytest.raises(InputError, match=r"bass.flac: too long: expected at most 0 s of audio"):
        open_tree(folder).read_audio(name)
    monkeypatch.setattr(tree_module, "MAX_FILE_BYTES", 100)
    with pytest.raises(InputError, match=r"bass.flac: is too large: expected at most 100 bytes"):
        open_tree(folder).read(name)


def test_decoding_tells_the_form() -> None:
    contents = io.BytesIO()
    soundfile.write(contents, np.linspace(-1, 1, 1000).reshape(-1, 2), 32000, format="FLAC", subtype="PCM_24")
    decoded = decode_audio(contents.getvalue(), where="x")
    assert (decoded.kind, decoded.sample_rate, decoded.n_announced) == ("FLAC PCM_24", 32000, 500)
    assert decoded.samples.shape == (500, 2)
    assert decoded.samples.dtype == np.float32
    with pytest.raises(InputError, match="x: cannot be decoded"):
        decode_audio(b"nothing", where="x")


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_tree_of_some_listeners_knows_no_others(folder: Path, archive: Path, as_zip: bool) -> None:
    tree = open_tree(archive if as_zip else folder).of_listeners(["L1"])
    gc.collect()  # the tree that it came from is gone
    assert {pair.listener for pair in tree.pairs()} == {"L1"}
    assert stem_name("L2", SONGS[0]) not in tree
    assert tree.read_audio(stem_name("L1", SONGS[0])).n_samples == 2400
