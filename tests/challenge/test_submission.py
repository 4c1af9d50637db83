from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cadenza_remix.challenge.metadata import Segment, SongSegments
from cadenza_remix.challenge.naming import remix_path, scale_path, stem_path, stem_paths
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
    with pytest.raises(InputError, match=r"L3: listener is missing with all 2 songs"):
        pack_submission(entry, out, "T001", songs=SONGS, listener_ids=[*LISTENERS, "L3"])
    with pytest.raises(InputError, match=r"Two feat. B: song that was not asked for: found for 2 listeners"):
        pack_submission(entry, out, "T001", songs=SONGS[:1], listener_ids=LISTENERS)
    with pytest.raises(InputError, match="both or neither"):
        pack_submission(entry, out, "T001", songs=SONGS)
    scale_path(stem_path(entry, "L1", "One - A", "left", "bass")).unlink()
    with pytest.raises(InputError, match=r"L1_One - A_left_bass.txt: missing"):
        pack_submission(entry, out, "T001")
    with pytest.raises(InputError, match="no enhanced signals to pack"):
        pack_submission(tmp_path / "enhanced_signals" / "L1" / "One - A", out, "T001")
    with pytest.raises(InputError, match="not found"):
        pack_submission(tmp_path / "none", out, "T001")
    assert not out.exists()


def test_a_team_cannot_leave_the_folder_and_failures_leave_nothing(entry: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="team name would leave its folder"):
        pack_submission(entry, tmp_path / "out", "../T001")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        pack_submission(entry, tmp_path / "file", "T001")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["enhanced_signals", "file"]


def test_what_is_no_submission_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        validate_submission(tmp_path / "none.zip", SONGS, LISTENERS)
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(InputError, match="not a readable zip file"):
        validate_submission(tmp_path / "text.zip", SONGS, LISTENERS)


def test_an_empty_folder_is_told_in_one_line(tmp_path: Path) -> None:
    (fault,) = validate_submission(tmp_path, SONGS, LISTENERS)
    assert str(fault) == ".: holds none of the expected pairs: expected 4 pairs, found none"


def test_form_and_names_are_checked_without_references(entry: Path) -> None:
    """Every kind of fault has its test in `test_damaged_submissions`; here: that this door leads there."""
    assert validate_submission(entry, SONGS, LISTENERS, segments=SEGMENTS) == []
    scale_path(stem_path(entry, "L1", SONGS[0], "left", "bass")).write_text("loud")
    remix_path(entry, "L2", SONGS[1]).unlink()
    soundfile.write(stem_path(entry, "L2", SONGS[0], "left", "bass"), np.full(7200, 0.5), 24000, subtype="PCM_16")
    faults = validate_submission(entry, SONGS, LISTENERS, segments=SEGMENTS)
    assert [fault.kind for fault in faults] == ["missing", "scale", "duration"]
    assert [fault.kind for fault in validate_submission(entry, SONGS, LISTENERS)] == ["missing", "scale"]
    with pytest.raises(InputError, match=r"no expected duration.*Two feat. B"):
        validate_submission(entry, SONGS, LISTENERS, segments={SONGS[0]: SEGMENTS[SONGS[0]]})
