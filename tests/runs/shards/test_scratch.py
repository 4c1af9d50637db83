"""The disk of a machine's own: copied once, cleaned up however a process ends, never needed."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from cadenza_remix.runs.shards.scratch import local_copy, scratch_folder


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "shared" / "song"
    folder.mkdir(parents=True)
    for name in "abc":
        (folder / name).write_bytes(os.urandom(100_000))
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_folder_goes_with_the_block(tmp_path, source):
    with scratch_folder(tmp_path) as own:
        assert own.parent == tmp_path
        assert contents(local_copy(source, own, name="song")) == contents(source)
    assert not own.exists()
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path) as own:
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]


def copies(source, own, found):
    found.put(local_copy(source, own, name="song").stat().st_ino)


def test_of_many_that_ask_at_once_one_copies(tmp_path, source):
    with scratch_folder(tmp_path) as own:
        found = multiprocessing.Queue()
        asking = [multiprocessing.Process(target=copies, args=(source, own, found)) for _ in range(4)]
        for process in asking:
            process.start()
        assert len({found.get(timeout=30) for _ in asking}) == 1
        for process in asking:
            process.join(30)
        assert contents(own / "song") == contents(source)


def test_leftovers_of_a_killed_process_go_and_those_of_a_living_one_stay(tmp_path):
    code = (
        "import sys; from pathlib import Path; from cadenza_remix.runs.shards.scratch import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1])) as own: print(own, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    killed, living = (subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in "ab")
    folders = [process.stdout.readline().strip() for process in (killed, living)]
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    with scratch_folder(tmp_path):
        assert [os.path.isdir(folder) for folder in folders] == [False, True]  # noqa: PTH112
    living.stdin.close()
    assert living.wait(30) == 0
    assert list(tmp_path.iterdir()) == []
    for process in (killed, living):
        process.stdout.close()
    killed.stdin.close()


def test_no_scratch_is_no_error(tmp_path, source):
    (tmp_path / "file").write_text("")
    for base in (None, "", tmp_path / "file", tmp_path / "none"):
        with scratch_folder(base) as own:
            assert own is None
    assert local_copy(source, tmp_path / "none", name="song") == source
