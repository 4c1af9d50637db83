"""What a stranger wrote is one line at worst: nested, huge, endless and many-lined values, pipes, and empty paths."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from model_server import CHECKPOINT, tiny_card, what_lies_in, write_files

from cadenza_remix.errors import ModelError
from cadenza_remix.separation.borrowed.deezer_engine import find_engine, marker_path
from cadenza_remix.separation.models.checkpoint import convert_weights
from cadenza_remix.separation.models.manifest import MANIFEST_NAME
from cadenza_remix.separation.models.neutral import DESCRIPTION_NAME, WEIGHTS_NAME
from cadenza_remix.separation.models.registry import model_card
from cadenza_remix.separation.models.store import ModelStore
from cadenza_remix.separation.models.untrusted import MAX_JSON_BYTES, plain_name, quoted, read_json, shown
from cadenza_remix.separation.models.ways_out import not_fetched, not_installed

CARD = tiny_card()
DEEP = "[" * 200_000
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


@pytest.fixture
def neutral(tmp_path: Path) -> Path:
    convert_weights(CARD, write_files(tmp_path / "source", CHECKPOINT), tmp_path / "neutral")
    return tmp_path / "neutral"


def refusal(job: Callable[[], object], words: str) -> str:
    """Return the one short line with which a job is refused."""
    with pytest.raises(ModelError, match=words) as caught:
        job()
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 600  # the folders of the tests are long, what is refused is longer
    return line


def rewrite(path: Path, change: Change) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


# --- Values and names ---


def test_values_are_shown_on_one_line_and_cut() -> None:
    assert shown("4stems") == "4stems"
    assert shown("a\nb\x1b[31m") == r"'a\nb\x1b[31m'"
    for value in ("x" * 10**6, 10**400, 10**5000, [1] * 10**5, {"a": "\n" * 1000}):
        assert len(shown(value)) <= 60
        assert quoted(value).isprintable()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/b", "/dev/zero", "a\\b", "a\0b", "a\nb", "a" * 256, "\ud800", 1]
)
def test_names_that_are_none_are_refused(name: object) -> None:
    with pytest.raises(ValueError, match="not the plain name of a file"):
        plain_name(name)


BAD_JSON = {
    "RecursionError: nested too deep": DEEP.encode(),
    "UnicodeDecodeError": json.dumps("text").encode("utf-16"),
    "ValueError": b"9" * 5000,
    "larger than 4 MB": b" " * (MAX_JSON_BYTES + 1),
}


@pytest.mark.parametrize("words", BAD_JSON)
def test_bad_json_is_one_line(words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(BAD_JSON[words])
    refusal(lambda: read_json(tmp_path / "file", "bad"), f"file: bad: .*{words}")


# --- The description and the header of neutral weights ---

BAD_DESCRIPTIONS: dict[str, tuple[Change, str]] = {
    "size infinite": (lambda value: value["file"].update(size=float("inf")), "expected a whole number, found inf"),
    "size of 400 digits": (lambda value: value["file"].update(size=10**400), "expected a whole number, found 1000"),
    "shape infinite": (
        lambda value: value["tensors"].update({"x": {"shape": [float("inf")]}}),
        "expected a whole number, found inf",
    ),
    "name endless": (lambda value: value["tensors"].update({"x" * 10**5: {"shape": [1]}}), "unknown tensor 'xxx"),
    "source elsewhere": (lambda value: value.update(sources={"../x.index": "0" * 64}), "'../x.index' is not the plain"),
    "source absolute": (lambda value: value.update(sources={"/dev/zero.index": "0" * 64}), "is not the plain name"),
    "source endless": (lambda value: value.update(sources={"a" * 5000 + ".index": "0" * 64}), "is not the plain name"),
    "two lines": (lambda value: value.update(weights="a\nb"), r"of another model: expected tiny, found 'a\\nb'"),
    "digest of two lines": (lambda value: value["file"].update(sha256="a\nb"), r"expected a sha256, found 'a\\nb'"),
    "version of 400 digits": (lambda value: value.update(format=10**400), "another format version: expected 1"),
}


@pytest.mark.parametrize("case", BAD_DESCRIPTIONS)
def test_a_bad_description_is_one_short_line(case: str, store: ModelStore, neutral: Path) -> None:
    change, words = BAD_DESCRIPTIONS[case]
    rewrite(neutral / DESCRIPTION_NAME, change)
    refusal(lambda: store.import_from(CARD, neutral), words)
    assert what_lies_in(store) == set()


def test_a_description_nested_too_deep_is_one_line(store: ModelStore, neutral: Path) -> None:
    (neutral / DESCRIPTION_NAME).write_text(DEEP)
    refusal(lambda: store.import_from(CARD, neutral), "not a description of weights: no JSON: .*nested too deep")


def test_a_header_nested_too_deep_is_one_line(store: ModelStore, neutral: Path) -> None:
    content = struct.pack("<Q", len(DEEP)) + DEEP.encode()
    (neutral / WEIGHTS_NAME).write_bytes(content)
    file = {"size": len(content), "sha256": sha256(content).hexdigest()}
    rewrite(neutral / DESCRIPTION_NAME, lambda value: value["file"].update(file))
    refusal(lambda: store.import_from(CARD, neutral), "not a safetensors file: .*nested too deep")


# --- What is installed ---


def bad_manifest(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


def in_manifest(change: Change) -> Callable[[Path], object]:
    return lambda path: rewrite(path, change)


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


BAD_MANIFESTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "deep": (bad_manifest(DEEP), "nested too deep"),
    "many digits": (bad_manifest("1" * 5000), "not a manifest of a model: no JSON: ValueError"),
    "infinite size": (in_manifest(lambda value: value["files"][0].update(size=float("inf"))), "found inf"),
    "two lines": (in_manifest(lambda value: value.update(weights="a\nb")), r"found 'a\\nb'"),
    "pipe": (as_pipe, "no regular file"),
}


@pytest.mark.parametrize("case", BAD_MANIFESTS)
def test_a_bad_manifest_damages_its_own_model_only(case: str, store: ModelStore) -> None:
    change, words = BAD_MANIFESTS[case]
    two = model_card("spleeter:2stems")
    shutil.copytree(ModelStore().path(two), store.folder(two))
    change(store.folder(two) / MANIFEST_NAME)
    refusal(lambda: store.path(two), words)
    by_name = {status.name: status for status in store.status()}
    assert by_name["spleeter:2stems"].problem is not None
    assert by_name["spleeter:4stems"].problem is None
    if case == "deep":
        listed = call("list", home=store.home)
        assert "DAMAGED" in listed.stdout
        assert listed.returncode == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (DEEP, "nested too deep"),
        ('{"format": 1, "versions": {"spleeter": "2.4.2"}, "folder": "x", "size_bytes": Infinity}', "found inf"),
        ('{"format": 1, "versions": {"spleeter": "2.4.2"}, "folder": "../x", "size_bytes": 1}', "not the plain name"),
        ("[]", "TypeError"),
    ],
)
def test_a_bad_note_of_deezers_environment_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    write_files(marker_path(tmp_path).parent, {marker_path(tmp_path).name: text.encode()})
    line = refusal(lambda: find_engine(tmp_path), words)
    assert "is broken: " in line


# --- The ways out ---


def test_the_ways_out_fit_on_a_few_lines_of_a_terminal() -> None:
    four = model_card("spleeter:4stems")
    assert len(not_installed(four, Path("/home/someone/.cache/cadenza-remix/models/4stems"), None)) < 300
    line = not_fetched(
        four, "release", [f"{four.archive_url}: cannot be downloaded (3 attempts): no answer within 10 s"]
    )
    assert len(line) < 350
    assert line.count(four.archive_url) == 1


# --- The commands ---


def call(*arguments: object, home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cadenza_remix", "models", *map(str, arguments)]
    environment = os.environ | {"CADENZA_REMIX_HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, cwd=home.parent)


def test_what_is_neither_file_nor_folder_is_not_waited_for(store: ModelStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar.gz")
    for source in (tmp_path / "pipe.tar.gz", Path("/dev/zero")):
        refusal(lambda source=source: store.import_from(CARD, source), "neither a file nor a folder")
    refusal(lambda: store.import_from(CARD, Path("x" * 5000)), r"xxx\.\.\.: no such file or folder")


def test_empty_paths_are_refused(tmp_path: Path) -> None:
    for arguments, where in (
        (("import", "spleeter:2stems", ""), "SOURCE"),
        (("convert", "spleeter:2stems", "--out", ""), "--out"),
    ):
        result = call(*arguments, home=tmp_path / "home")
        assert result.returncode == 2
        assert result.stderr.startswith(f"cadenza-remix: error: {where}: an empty path: expected a")
        assert result.stderr.count("\n") == 1


def test_convert_says_where_and_how_much(tmp_path: Path) -> None:
    store, two = ModelStore(tmp_path / "home"), model_card("spleeter:2stems")
    store.import_from(two, ModelStore().path(two))
    out = tmp_path / "to carry"
    said = call("convert", "spleeter:2stems", "--out", out, home=store.home).stdout.splitlines()
    assert said == [
        f"spleeter:2stems is converted: {out} (79 MB)",
        f"install it elsewhere: cadenza-remix models import spleeter:2stems '{out}'",
    ]
    said = call("convert", "spleeter:2stems", home=store.home).stdout.splitlines()
    assert said == [f"spleeter:2stems is converted: {store.path(two)} (79 MB beside what was there)"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_output_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cadenza_remix", "models", "list"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "cadenza-remix: error: standard output: cannot be written: No space left on device\n"
