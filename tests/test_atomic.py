import os
import subprocess
import sys

import pytest

from cadenza_remix.atomic import all_or_none, atomic_path, check_writable, write_json, write_text
from cadenza_remix.errors import OutputError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_temporary_name_keeps_the_suffix_and_is_beside(tmp_path):
    with atomic_path(tmp_path / "deep" / "a.flac") as temporary:
        assert temporary.suffix == ".flac"
        assert temporary.parent == tmp_path / "deep"
        temporary.write_bytes(b"x")
    assert os.listdir(tmp_path / "deep") == ["a.flac"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    dead = tmp_path / f".[a].txt.{gone.pid}-0123abcd.part.txt"
    alive = tmp_path / f".[a].txt.{os.getppid()}-0123abcd.part.txt"
    other = tmp_path / f".b.txt.{gone.pid}-0123abcd.part.txt"
    for path in (dead, alive, other):
        path.write_text("half")
    write_text(tmp_path / "[a].txt", "whole")
    assert sorted(os.listdir(tmp_path)) == sorted([alive.name, other.name, "[a].txt"])


def test_two_processes_that_write_one_file_do_not_hinder_each_other(tmp_path):
    code = (
        "import sys; from pathlib import Path; from cadenza_remix.atomic import write_text\n"
        "for i in range(300): write_text(Path(sys.argv[1]), sys.argv[2] * 1000)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "a.txt", letter]) for letter in "xy"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert (tmp_path / "a.txt").read_text() in ("x" * 1000, "y" * 1000)
    assert os.listdir(tmp_path) == ["a.txt"]


def test_files_that_belong_together_go_together(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    with pytest.raises(OutputError), all_or_none(paths):
        for path in paths[:2]:
            write_text(path, "whole")
        raise OutputError("disk full")
    assert os.listdir(tmp_path) == []


def test_json_refuses_what_json_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "out").write_text("")
    for call in (lambda: check_writable(tmp_path / "out"), lambda: write_text(tmp_path / "out" / "a", "x")):
        with pytest.raises(OutputError, match="cannot be written") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    # /dev/full fails every write with "no space left", as a full disk does.
    target = tmp_path / "a.txt"
    with pytest.raises(OutputError, match="No space left"), atomic_path(target) as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("x" * 100_000)
    assert os.listdir(tmp_path) == []
