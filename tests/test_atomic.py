import os
import subprocess
import sys

import pytest

from cadenza_remix.atomic import (
    all_at_once,
    atomic_path,
    check_writable,
    create_text,
    is_running,
    machine_token,
    remove_leftovers,
    write_json,
    write_text,
)
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


@pytest.fixture
def gone():
    """Return the number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_a_killed_process_left_is_removed(tmp_path, gone):
    dead = tmp_path / f".[a].txt.{machine_token()}-{gone}-0123abcd.part.txt"
    of_old = tmp_path / f".[a].txt.{gone}-0123abcd.part.txt"  # as versions before this wrote it
    alive = tmp_path / f".[a].txt.{machine_token()}-{os.getppid()}-0123abcd.part.txt"
    elsewhere = tmp_path / f".[a].txt.00000000-{gone}-0123abcd.part.txt"
    other = tmp_path / f".b.txt.{machine_token()}-{gone}-0123abcd.part.txt"
    longer = tmp_path / f".[a].txt.b.txt.{machine_token()}-{gone}-0123abcd.part.txt"
    unknown = tmp_path / ".[a].txt.somebody-0123abcd.part.txt"
    stays = (alive, elsewhere, other, longer, unknown)
    for path in (dead, of_old, *stays):
        path.write_text("half")
    write_text(tmp_path / "[a].txt", "whole")
    assert sorted(os.listdir(tmp_path)) == sorted([*(path.name for path in stays), "[a].txt"])


def test_what_a_process_is_killed_while_writing_is_its_machines_leftover(tmp_path):
    code = (
        "import os, sys\nfrom cadenza_remix.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n    temporary.write_text('half'); os.kill(os.getpid(), 9)"
    )
    target = tmp_path / "a.txt"
    subprocess.run([sys.executable, "-c", code, target], check=False)
    (name,) = os.listdir(tmp_path)
    assert name.startswith(f".a.txt.{machine_token()}-")
    write_text(target, "whole")
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("name", ["x" * 214 + ".wav", "x" * 251 + ".wav", "é" * 127, "x" + "é" * 125 + ".fl"])
def test_a_name_as_long_as_can_be(tmp_path, name, gone):
    with atomic_path(tmp_path / name) as temporary:
        assert temporary.suffix == ((tmp_path / name).suffix or ".part")
        temporary.write_text("half")
        dead = temporary.with_name(temporary.name.replace(f"-{os.getpid()}-", f"-{gone}-"))
        dead.write_text("half")
        copy = temporary.with_name(temporary.name.replace(machine_token(), "00000000"))
        copy.write_text("half")
    write_text(tmp_path / name, "whole")
    assert sorted(os.listdir(tmp_path)) == sorted([copy.name, name])
    assert create_text(tmp_path / f"y{name[1:]}", "whole")
    assert remove_leftovers(tmp_path) == 1


def test_a_machine_has_one_token_and_others_have_others():
    code = "from cadenza_remix.atomic import machine_token; print(machine_token())"
    same = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert same == machine_token()
    assert len(same) == 8
    other = f"import socket; socket.gethostname = lambda: 'elsewhere'; {code}"
    answer = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() != same


def test_which_processes_run(gone):
    assert is_running(os.getpid())
    assert is_running(1)
    assert not is_running(gone)
    assert not is_running(10**30)


def test_all_leftovers_of_a_folder_are_removed_and_nothing_else(tmp_path, gone):
    names = [f".a b.wav.{token}{gone}-0123abcd.part.wav" for token in ("", "00000000-", f"{machine_token()}-")]
    names += [f".line\nbreak.{machine_token()}-1-0123abcd.part", ".0123abcd.part"]
    mine = ["model.part", ".hidden", ".a.txt.part.txt", ".a.x-0123abcd.part.txt", "a.00000000-1-0123abcd.part"]
    deep = tmp_path / "stems" / "a song"
    deep.mkdir(parents=True)
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.mkdir()
    (tmp_path / "link").symlink_to(elsewhere)
    for folder in (tmp_path, deep, elsewhere):
        for name in names + mine:
            (folder / name).write_text("half")
    assert remove_leftovers(tmp_path) == 2 * len(names)
    assert sorted(os.listdir(deep)) == sorted(mine)
    assert len(os.listdir(elsewhere)) == len(names + mine)
    assert remove_leftovers(tmp_path) == 0
    assert remove_leftovers(tmp_path / "nothing") == 0


def test_a_temporary_that_another_removed_is_a_failure_whatever_is_there(tmp_path):
    target = tmp_path / "a.txt"
    with pytest.raises(OutputError, match="cannot be written"), atomic_path(target) as temporary:
        temporary.write_text("mine")
        target.write_text("another's")
        remove_leftovers(tmp_path)
    assert target.read_text() == "another's"


def test_of_many_that_create_one_file_one_does(tmp_path):
    code = (
        "import sys; from cadenza_remix.atomic import create_text\nsys.stdin.read()\n"
        "print(sum(create_text(f'{sys.argv[1]}/{i}', sys.argv[2] * 1000) for i in range(100)))"
    )
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path, letter], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for letter in "xyz"
    ]
    for maker in makers:
        maker.stdin.close()
    counts = {letter: int(maker.stdout.read()) for letter, maker in zip("xyz", makers, strict=True)}
    for maker in makers:
        maker.stdout.close()
        maker.wait()
    texts = [(tmp_path / name).read_text() for name in os.listdir(tmp_path)]
    assert len(texts) == 100
    assert counts == {letter: texts.count(letter * 1000) for letter in "xyz"}


def test_creating_a_file_that_is_there_changes_nothing(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    assert create_text(target, "first")
    assert not create_text(target, "second")
    assert target.read_text() == "first"
    assert os.listdir(tmp_path / "deep") == ["a.txt"]
    with pytest.raises(OutputError, match="cannot be written"):
        create_text(target / "b", "x")


def test_two_processes_that_write_one_file_do_not_hinder_each_other(tmp_path):
    code = (
        "import sys; from pathlib import Path; from cadenza_remix.atomic import write_text\n"
        "for i in range(300): write_text(Path(sys.argv[1]), sys.argv[2] * 1000)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "a.txt", letter]) for letter in "xy"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert (tmp_path / "a.txt").read_text() in ("x" * 1000, "y" * 1000)
    assert os.listdir(tmp_path) == ["a.txt"]


def test_files_come_together_or_stay_as_they_were(tmp_path):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    paths[0].write_text("old")
    with pytest.raises(KeyboardInterrupt), all_at_once(paths) as temporaries:
        for temporary in temporaries:
            temporary.write_text("new")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["a.wav"]
    assert paths[0].read_text() == "old"
    with all_at_once(paths) as temporaries:
        for temporary in temporaries:
            temporary.write_text("new")
        assert not paths[1].exists()
    assert [path.read_text() for path in paths] == ["new", "new"]
    assert sorted(os.listdir(tmp_path)) == ["a.wav", "b.wav"]


def test_when_one_cannot_be_renamed_none_is_left(tmp_path):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    with pytest.raises(OutputError, match=r"a\.wav: cannot be written"), all_at_once(paths) as temporaries:
        for temporary in temporaries:
            temporary.write_text("new")
        (paths[0] / "in the way").mkdir(parents=True)
    assert not paths[1].exists()


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
