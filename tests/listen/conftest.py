"""A small run, the room that it makes, and the command."""

import pytest
from anyio.from_thread import start_blocking_portal
from room_client import Client
from tiny_run import make_tiny_run

from cadenza_remix.cli import main
from cadenza_remix.listen.app import create_app
from cadenza_remix.listen.clips import ClipStore
from cadenza_remix.listen.library import Library
from cadenza_remix.runs.finished import find_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("runs")
    make_tiny_run(folder, song, duration_s=2.0, scored=False)
    return folder


@pytest.fixture(scope="module")
def library(folder):
    return Library.from_runs(find_runs(folder))


@pytest.fixture(scope="module")
def room(library, tmp_path_factory):
    clips = ClipStore(tmp_path_factory.mktemp("clips"), max_bytes=10**8)
    with start_blocking_portal() as portal:
        yield Client(create_app(library=library, clips=clips, uploads=None, panel=None), portal)


@pytest.fixture
def call(capsys):
    """Return what runs ``listen`` in this process: status, standard output, standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["listen", *map(str, arguments)])
        return left.value.code or 0, *capsys.readouterr()

    return run
