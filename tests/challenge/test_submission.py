from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cadenza_remix.challenge.metadata import Segment, SongSegments
from cadenza_remix.challenge.naming import pair_paths, remix_path, scale_path, stem_path, stem_paths
from cadenza_remix.challenge.submission import pack_submission, validate_submission
from cadenza_remix.errors import InputError, OutputError

SONGS, LISTENERS = ["One - A", "Two feat. B"], ["L1", "L2"]
SEGMENTS = {song: SongSegments(objective=Segment(3.0, 3.2), subjective=Segment(1.0, 1.1)) for song in SONGS}
N_FILES = 2 * 2 * 17


def write_pair(root: Path, listener: str, song: str) -> None:
    rng = np.random.default_rng(7)
    for path in stem_paths(root, listener, song):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.uniform(-1, 1, 4800), 24000, subtype="PCM_16")  # 0.2 s
        scale_path(path).write_text("0.25")
    soundfile.write(remix_path(root, listener, song), rng.uniform(-1, 1, (3200, 2)), 32000, subtype="PCM_16")  # 0.1 s


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    root = tmp_path / "enhanced_signals"
    for listener in LISTENERS:
        for song in SONGS:
            write_pair(root, listener, song)
    return root


def problems(path: Path) -> dict[str, str]:
    faults = validate_submission(path, SONGS, LISTENERS, segments=SEGMENTS)
    said = {fault.path: str(fault).removeprefix(f"{fault.path}: ") for fault in faults}
    assert len(said) == len(faults)
    return said


def test_a_packed_entry_has_one_folder_and_no_fault(entry: Path, tmp_path: Path) -> None:
    path = pack_submission(entry, tmp_path / "new" / "out", "T001")
    assert path == tmp_path / "new" / "out" / "submission_T001.zip"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        name = f"evaluation/{stem_path('', 'L2', 'One - A', 'left', 'bass').as_posix()}"
        assert archive.read(name) == stem_path(entry, "L2", "One - A", "left", "bass").read_bytes()
    assert len(names) == N_FILES
    assert {name.split("/")[0] for name in names} == {"evaluation"}
    assert problems(path) == {}
    assert problems(entry) == {}


def test_a_folder_that_lies_below_evaluation_is_found(entry: Path, tmp_path: Path) -> None:
    nested = tmp_path / "nested"
    nested.mkdir()
    shutil.move(entry, nested / "evaluation")
    assert problems(nested) == {}
    assert problems(pack_submission(nested, tmp_path, "T001")) == {}


def test_packing_again_gives_the_same_bytes(entry: Path, tmp_path: Path) -> None:
    first = pack_submission(entry, tmp_path / "a", "T001").read_bytes()
    (entry / "L1" / ".DS_Store").write_text("hidden files stay out")
    for path in sorted(entry.rglob("*.txt"), reverse=True):
        path.touch()  # new times
    again = pack_submission(entry, tmp_path / "b", "T001", songs=SONGS[::-1], listener_ids=LISTENERS)
    assert again.read_bytes() == first


def test_incomplete_or_foreign_folders_are_not_packed(entry: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"L3/One - A/.*missing \(and 33 more\)"):
        pack_submission(entry, out, "T001", songs=SONGS, listener_ids=[*LISTENERS, "L3"])
    with pytest.raises(InputError, match="does not belong to the submission"):
        pack_submission(entry, out, "T001", songs=SONGS[:1], listener_ids=LISTENERS)
    with pytest.raises(InputError, match="both or neither"):
        pack_submission(entry, out, "T001", songs=SONGS)
    scale_path(stem_path(entry, "L1", "One - A", "left", "bass")).unlink()
    with pytest.raises(InputError, match=r"L1_One - A_left_bass.txt: missing"):
        pack_submission(entry, out, "T001")
    with pytest.raises(InputError, match="no enhanced signals to pack"):
        pack_submission(tmp_path / "enhanced_signals" / "L1" / "One - A", out, "T001")
    with pytest.raises(InputError, match="not a folder"):
        pack_submission(tmp_path / "none", out, "T001")
    assert not out.exists()


def test_a_team_cannot_leave_the_folder_and_failures_leave_nothing(entry: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="team name would leave its folder"):
        pack_submission(entry, tmp_path / "out", "../T001")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        pack_submission(entry, tmp_path / "file", "T001")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["enhanced_signals", "file"]


def break_everything(root: Path) -> dict[str, str]:
    """Damage one file in each way; return what must be said of it."""
    rng = np.random.default_rng(3)
    said = {}

    def stem(song: str, ear: str, name: str, problem: str) -> Path:
        path = stem_path(root, "L1", song, ear, name)
        said[path.relative_to(root).as_posix()] = problem
        return path

    one, two = SONGS
    soundfile.write(
        stem(one, "left", "bass", "wrong sample rate: expected 24000 Hz, found 44100 Hz"), rng.random(8820) / 2, 44100
    )
    soundfile.write(
        stem(one, "right", "bass", "wrong number of channels: expected 1, found 2"), rng.random((4800, 2)) / 2, 24000
    )
    deep = stem(one, "left", "drums", "wrong format: expected FLAC PCM_16, found FLAC PCM_24")
    soundfile.write(deep, rng.random(4800) / 2, 24000, subtype="PCM_24")
    wave = stem(one, "right", "drums", "wrong format: expected FLAC PCM_16, found WAV PCM_16")
    soundfile.write(wave, rng.random(4800) / 2, 24000, format="WAV", subtype="PCM_16")
    soundfile.write(
        stem(one, "left", "other", "wrong duration: expected 0.200 s, found 0.300 s"), rng.random(7200) / 2, 24000
    )
    short = stem(one, "right", "other", "cannot be decoded")
    short.write_bytes(short.read_bytes()[: short.stat().st_size // 2])
    stem(two, "left", "bass", "cannot be decoded").write_text("no audio at all")
    stem(two, "right", "bass", "missing").unlink()
    for name, text in (("drums", "loud"), ("other", "nan"), ("vocals", "-1.0")):
        path = scale_path(stem_path(root, "L1", two, "left", name))
        path.write_text(text)
        said[path.relative_to(root).as_posix()] = f"not a scale: expected one finite number, 0 or more, found '{text}'"
    path = scale_path(stem_path(root, "L1", two, "right", "vocals"))
    path.write_bytes(b"\xff\xfe1")
    said[path.relative_to(root).as_posix()] = (
        "not a scale: expected one finite number, 0 or more, found bytes that are no text"
    )
    path = scale_path(stem_path(root, "L1", two, "right", "drums"))
    path.unlink()
    said[path.relative_to(root).as_posix()] = "missing"
    remix = remix_path(root, "L2", one)
    soundfile.write(remix, rng.random((4410, 2)) / 2, 44100)
    said[remix.relative_to(root).as_posix()] = "wrong sample rate: expected 32000 Hz, found 44100 Hz"
    extra = scale_path(remix_path(root, "L2", two))
    extra.write_text("1.0")
    said[extra.relative_to(root).as_posix()] = "does not belong to the submission"
    return said


@pytest.mark.parametrize("as_zip", [False, True])
def test_every_fault_is_listed_at_once(entry: Path, tmp_path: Path, as_zip: bool) -> None:
    said = break_everything(entry)
    path = entry
    if as_zip:
        path = tmp_path / "submission_T001.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(entry.rglob("*.*")):
                if file.is_file():
                    archive.write(file, f"evaluation/{file.relative_to(entry).as_posix()}")
    found = problems(path)
    assert found.keys() == said.keys()
    for name, problem in said.items():
        assert found[name].startswith(problem), name


def test_files_at_the_wrong_place_in_a_zip_are_faults(entry: Path, tmp_path: Path) -> None:
    path = pack_submission(entry, tmp_path, "T001")
    twice = next(pair_paths("", "L1", SONGS[0])).as_posix()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "hello")
        archive.writestr("evaluation/../../escape.txt", "hello")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(f"evaluation/{twice}", "again")
    faults = {fault.path: fault.problem for fault in validate_submission(path, SONGS, LISTENERS)}
    assert faults["notes.txt"] == "lies outside the folder"
    assert faults["../../escape.txt"] == "does not belong to the submission"
    assert faults[twice] in ("stands twice in the zip file", "cannot be decoded")
    assert len(faults) == 3


def test_a_bit_that_flipped_in_a_zip_is_found(entry: Path, tmp_path: Path) -> None:
    path = pack_submission(entry, tmp_path, "T001")
    victim = f"evaluation/{stem_path('', 'L1', SONGS[0], 'left', 'bass').as_posix()}"
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo(victim).header_offset + len(victim) + 3000
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    (fault,) = validate_submission(path, SONGS, LISTENERS)
    assert f"evaluation/{fault.path}" == victim
    assert "CRC" in fault.found


def test_what_is_no_submission_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        validate_submission(tmp_path / "none.zip", SONGS, LISTENERS)
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(InputError, match="not a readable zip file"):
        validate_submission(tmp_path / "text.zip", SONGS, LISTENERS)


def test_an_empty_folder_misses_everything(tmp_path: Path) -> None:
    faults = validate_submission(tmp_path, SONGS, LISTENERS)
    assert len(faults) == N_FILES
    assert {fault.problem for fault in faults} == {"missing"}


def test_progress_and_expected_durations(entry: Path) -> None:
    seen = []
    assert validate_submission(entry, SONGS, LISTENERS, segments=SEGMENTS, on_pair=seen.append) == []
    assert len(seen) == 4
    with pytest.raises(InputError, match=r"no expected duration.*Two feat. B"):
        validate_submission(entry, SONGS, LISTENERS, segments={SONGS[0]: SEGMENTS[SONGS[0]]})
