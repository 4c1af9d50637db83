"""Damaged, wrong and hostile models: each refused for what it is, and nothing half-installed is left."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_writer import DATA, INDEX, checkpoint_files, files_of_shapes
from model_server import (
    CHECKPOINT,
    INSTALLED,
    content_of,
    in_folder,
    serving,
    tar_of,
    tiny_card,
    what_lies_in,
    write_files,
    zip_of,
)
from random_weights import random_variables

from cadenza_remix.errors import CadenzaError, ModelError
from cadenza_remix.separation.models.checkpoint import convert_weights, read_weights, weight_table
from cadenza_remix.separation.models.fetching import download
from cadenza_remix.separation.models.manifest import MANIFEST_NAME, write_manifest
from cadenza_remix.separation.models.neutral import DESCRIPTION_NAME, WEIGHTS_NAME
from cadenza_remix.separation.models.registry import model_card
from cadenza_remix.separation.models.store import ModelStore

CARD = tiny_card()
VARIABLES = random_variables(CARD)
Harm = Callable[[Path], object]


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_files(tmp_path / "source", CHECKPOINT)


@pytest.fixture
def neutral(tmp_path: Path, checkpoint: Path) -> Path:
    convert_weights(CARD, checkpoint, tmp_path / "neutral")
    return tmp_path / "neutral"


def line_of(caught: pytest.ExceptionInfo[CadenzaError]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


def flip(name: str, share: float = 0.5) -> Harm:
    """Return what changes one bit of a file."""

    def harm(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[int(share * (len(content) - 1))] ^= 1
        (folder / name).write_bytes(bytes(content))

    return harm


def cut(name: str, share: float) -> Harm:
    def harm(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return harm


def without(name: str) -> Harm:
    return lambda folder: (folder / name).unlink()


def saved(**changes: Any) -> Harm:
    """Return what writes a checkpoint, well-formed, of changed variables (None: left out)."""

    def harm(folder: Path) -> None:
        changed = {name.replace("__", "/"): values for name, values in changes.items()}
        kept = {name: values for name, values in (VARIABLES | changed).items() if values is not None}
        write_files(folder, checkpoint_files(kept))

    return harm


def with_manifest(weights: str, harm: Harm = lambda folder: None) -> Harm:
    def harm_after(folder: Path) -> None:
        write_manifest(folder, weights=weights, source="x", archive_sha256=None, verified=True)
        harm(folder)

    return harm_after


# --- Import of a checkpoint ---

BAD_CHECKPOINTS: dict[str, tuple[Harm, str]] = {
    "data truncated": (cut(DATA, 0.5), f"/{DATA}: damaged or truncated .* is cut off: expected .* found"),
    "data empty": (cut(DATA, 0), f"no model in it: .*missing or empty in '.': {DATA}"),
    "bit of the data changed": (flip(DATA), f"/{DATA}: damaged .* has changed: expected CRC-32C .* found"),
    "last bit of the data changed": (flip(DATA, 1.0), "has changed: expected CRC-32C"),
    "bit of the index changed": (flip(INDEX, 0.3), f"/{INDEX}: damaged .* the block at byte .* has changed"),
    "index truncated": (cut(INDEX, 0.5), "no index of a checkpoint: its last bytes are missing"),
    "index missing": (without(INDEX), f"no model in it: .*missing or empty in '.': {INDEX}"),
    "data of another checkpoint": (
        lambda folder: write_files(folder, {DATA: checkpoint_files(random_variables(CARD, seed=1))[DATA]}),
        "has changed: expected CRC-32C",
    ),
    "wrong shape": (
        saved(conv2d__kernel=np.zeros((5, 5, 4, 2), np.float32)),
        r"misshapen variable 'conv2d/kernel': expected \(5, 5, 2, 4\), found \(5, 5, 4, 2\)",
    ),
    "variable missing": (saved(conv2d_3__bias=None), "missing variable 'conv2d_3/bias': expected shape"),
    "variable unknown": (saved(dense__bias=np.zeros(3, np.float32)), r"unknown variable 'dense/bias': .*found shape"),
    "NaN": (saved(conv2d__bias=np.full(4, np.nan, np.float32)), "variable 'conv2d/bias': expected finite numbers"),
    "infinity": (saved(conv2d__bias=np.full(4, np.inf, np.float32)), "expected finite numbers, found NaN or infinity"),
    "manifest of another model": (with_manifest("4stems"), "holds another model: expected tiny, found 4stems"),
    "manifest of other bytes": (with_manifest("tiny", flip(DATA)), f"{DATA}: wrong sha256: expected .* found"),
    "manifest of other sizes": (with_manifest("tiny", cut(DATA, 0.9)), "wrong size: expected .* bytes, found"),
    "manifest unreadable": (with_manifest("tiny", cut(MANIFEST_NAME, 0.5)), "not a manifest of a model"),
}


@pytest.mark.parametrize("case", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_not_imported(case: str, store: ModelStore, checkpoint: Path) -> None:
    harm, words = BAD_CHECKPOINTS[case]
    harm(checkpoint)
    with pytest.raises(ModelError, match=words) as caught:
        store.import_from(CARD, checkpoint)
    assert line_of(caught).startswith(str(checkpoint))  # and not the name of a passing folder in the store
    assert what_lies_in(store) == set()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("asked", "there"), [("5stems", "4stems"), ("4stems", "5stems"), ("4stems", "2stems")])
def test_another_models_checkpoint_is_told_by_its_variables(
    asked: str, there: str, packed: bool, store: ModelStore, tmp_path: Path
) -> None:
    # Under a name that tells nothing, and for the two models whose files carry no published digests.
    shapes = {slot.variable: slot.shape for slot in weight_table(model_card(f"spleeter:{there}"))}
    source = write_files(tmp_path / "mine", files_of_shapes(shapes))
    if packed:
        source = tmp_path / "mine.tar.gz"
        source.write_bytes(tar_of(files_of_shapes(shapes)))
    with pytest.raises(ModelError) as caught:
        store.import_from(model_card(f"spleeter:{asked}"), source)
    expected = f"{source}: holds another model: expected spleeter:{asked}, found spleeter:{there}: "
    assert line_of(caught).startswith(expected)
    assert what_lies_in(store) == set()


def test_a_bad_import_spares_the_model_that_is_there(store: ModelStore, checkpoint: Path) -> None:
    store.import_from(CARD, checkpoint)
    flip(DATA)(checkpoint)
    with pytest.raises(ModelError, match="has changed"):
        store.import_from(CARD, checkpoint)
    assert content_of(store.path(CARD)) == dict(CHECKPOINT)
    store.verify(CARD)
    assert what_lies_in(store) == INSTALLED


# --- Import of an archive ---


def claiming(size: int) -> bytes:
    """Return a small archive whose only member says that it is large."""
    info = tarfile.TarInfo(DATA)
    info.size = size
    return gzip.compress(info.tobuf() + bytes(1024))


def linking() -> bytes:
    info = tarfile.TarInfo(INDEX)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return gzip.compress(info.tobuf() + bytes(1024))


WHOLE = tar_of(CHECKPOINT)
BAD_ARCHIVES = {
    "path that leaves the folder": (tar_of({"../model.index": b"evil"} | CHECKPOINT), "refused: the path '../model"),
    "absolute path": (zip_of({"/tmp/model.index": b"evil"}), "refused: the path '/tmp/model.index' leaves the folder"),
    "link": (linking(), "refused: 'model.index' is a link"),
    "bomb": (claiming(3 * 1024**3), "refused: larger than any model"),
    "web page": (b"<!DOCTYPE html>\n<html>Sign in</html>", "not an archive: expected .tar.gz, .* found a web page"),
    "empty": (b"", "not an archive: .* found an empty file"),
    "truncated": (WHOLE[: len(WHOLE) // 2], "damaged or truncated archive"),
    "byte changed": (WHOLE[:-5] + bytes([WHOLE[-5] ^ 1]) + WHOLE[-4:], "damaged or truncated archive"),
    "two models": (tar_of(in_folder("a") | in_folder("b")), "several models in it"),
    "only a graph": (tar_of({"model.meta": b"x"}), "no model in it: expected the files checkpoint, model.index"),
    "damaged inside": (tar_of(CHECKPOINT | {DATA: CHECKPOINT[DATA][:-1]}), "mine.tar.gz/model.data.* is cut off"),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_a_bad_archive_is_not_imported(case: str, store: ModelStore, tmp_path: Path) -> None:
    content, words = BAD_ARCHIVES[case]
    source = tmp_path / "mine.tar.gz"
    source.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        store.import_from(CARD, source)
    assert line_of(caught).startswith(str(source))
    assert what_lies_in(store) == set()
    assert sorted(path.name for path in tmp_path.iterdir() if path != store.home) == ["mine.tar.gz"]


def test_an_archive_of_the_published_name_and_another_checksum_is_refused(store: ModelStore, tmp_path: Path) -> None:
    source = tmp_path / "tiny.tar.gz"
    source.write_bytes(WHOLE)
    with pytest.raises(ModelError, match="damaged, or not the published archive of spleeter:tiny: expected sha256"):
        store.import_from(tiny_card(b"published"), source)
    assert what_lies_in(store) == set()


# --- The neutral form: import, and use of what was installed ---


def described(**changes: Any) -> Harm:
    """Return what rewrites fields of the description."""

    def harm(folder: Path) -> None:
        path = folder / DESCRIPTION_NAME
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return harm


def tensors(change: Callable[[dict[str, Any]], object]) -> Harm:
    """Return what changes the description's table of tensors."""

    def harm(folder: Path) -> None:
        table = json.loads((folder / DESCRIPTION_NAME).read_text())["tensors"]
        change(table)
        described(tensors=table)(folder)

    return harm


def rewritten(change: Callable[[bytes], bytes]) -> Harm:
    """Return what changes the weights' file, and makes size and digest of the description right again."""

    def harm(folder: Path) -> None:
        content = change((folder / WEIGHTS_NAME).read_bytes())
        (folder / WEIGHTS_NAME).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        described(file={"name": WEIGHTS_NAME, "size": len(content), "sha256": digest})(folder)

    return harm


def with_wrong_digest(folder: Path) -> None:
    size = (folder / WEIGHTS_NAME).stat().st_size
    described(file={"name": WEIGHTS_NAME, "size": size, "sha256": "0" * 64})(folder)


def in_half_precision(content: bytes) -> bytes:
    return content.replace(b'"dtype":"F32"', b'"dtype":"F16"', 1)


NAN = struct.pack("<f", np.nan)
BIAS = "vocals_down1_conv/bias"
BAD_NEUTRAL: dict[str, tuple[Harm, str]] = {
    "weights truncated": (cut(WEIGHTS_NAME, 0.7), f"{WEIGHTS_NAME}: truncated or damaged .* expected .* bytes, found"),
    "bit of the weights changed": (flip(WEIGHTS_NAME), f"{WEIGHTS_NAME}: damaged weights .* expected sha256 .* found"),
    "digest wrong": (with_wrong_digest, f"damaged weights .* expected sha256 {'0' * 64}, found"),
    "no JSON": (cut(DESCRIPTION_NAME, 0.5), f"{DESCRIPTION_NAME}: not a description of weights: no JSON"),
    "JSON of something else": (
        lambda folder: (folder / DESCRIPTION_NAME).write_text("[1]"),
        "expected kind 'cadenza-remix weights', found 'list'",
    ),
    "another format version": (described(format=2), "another format version: expected 1, found 2"),
    "another model": (described(weights="5stems"), "of another model: expected tiny, found 5stems"),
    "other activations": (
        described(network={"encoder_activation": "elu", "decoder_activation": "elu", "output": "sigmoid"}),
        "wrong settings: network: expected .*leaky_relu.*, found .*elu",
    ),
    "another transform": (described(stft={"sample_rate": 48000}), "wrong settings: stft: expected .*44100.*48000"),
    "stems in another order": (described(stems=["accompaniment", "vocals"]), "wrong settings: stems"),
    "no sources": (described(sources={}), "not a description of weights: ValueError: sources without"),
    "tensor unknown": (
        tensors(lambda table: table.update({"evil/kernel": {"shape": [1]}})),
        r"unknown tensor 'evil/kernel': expected none of this name, found shape \(1,\)",
    ),
    "tensor missing": (tensors(lambda table: table.pop(BIAS)), rf"missing tensor '{BIAS}': expected shape \(4,\)"),
    "tensor misshapen": (
        tensors(lambda table: table.update({BIAS: {"shape": [2, 2]}})),
        rf"misshapen tensor '{BIAS}': expected \(4,\), found \(2, 2\)",
    ),
    "shape not of numbers": (
        tensors(lambda table: table.update({BIAS: {"shape": ["x"]}})),
        "not a description of weights: ValueError",
    ),
    "NaN": (rewritten(lambda content: content[:-4] + NAN), "damaged tensor '.*': expected finite numbers, found NaN"),
    "no safetensors": (rewritten(lambda content: b"PK" + content[2:]), "not a safetensors file: .*Error"),
    "other types in the header": (
        rewritten(in_half_precision),
        "header and description differ: .* found .*F16",
    ),
    "bytes behind the last tensor": (rewritten(lambda content: content + b"more"), "header and description differ"),
    "beside another checkpoint": (
        lambda folder: write_files(folder, checkpoint_files(random_variables(CARD, seed=1))),
        "made from another checkpoint than the one beside it .*: expected model.index of sha256",
    ),
}


@pytest.mark.parametrize("case", BAD_NEUTRAL)
def test_bad_neutral_weights_are_neither_imported_nor_loaded(case: str, store: ModelStore, neutral: Path) -> None:
    harm, words = BAD_NEUTRAL[case]
    harm(neutral)
    with pytest.raises(ModelError, match=words) as caught:
        store.import_from(CARD, neutral)
    assert line_of(caught).startswith(str(neutral))
    assert what_lies_in(store) == set()
    # Where such files come to lie in a folder later, their use is refused in the same words.
    with pytest.raises(ModelError, match=words) as caught:
        read_weights(CARD, neutral)
    line_of(caught)


def test_a_description_alone_is_no_model(store: ModelStore, neutral: Path) -> None:
    (neutral / WEIGHTS_NAME).unlink()
    with pytest.raises(ModelError, match=rf"no model in it: .*missing or empty in '\.': {WEIGHTS_NAME}"):
        store.import_from(CARD, neutral)
    with pytest.raises(ModelError, match=f"{WEIGHTS_NAME}: cannot be read: No such file"):
        read_weights(CARD, neutral)
    assert what_lies_in(store) == set()


# --- Convert ---


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (flip(DATA), "has changed: expected CRC-32C"),
        (flip(INDEX, 0.3), "the block at byte .* has changed"),
        (saved(conv2d__bias=np.full(4, np.nan, np.float32)), "expected finite numbers"),
    ],
)
def test_a_model_damaged_on_the_disk_is_not_converted(
    harm: Harm, words: str, store: ModelStore, checkpoint: Path, tmp_path: Path
) -> None:
    folder = store.import_from(CARD, checkpoint)
    harm(folder)
    for into in (None, tmp_path / "out"):
        with pytest.raises(ModelError, match=words) as caught:
            store.convert(CARD, into)
        line_of(caught)
    assert what_lies_in(store) == INSTALLED
    assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match="wrong sha256"):
        store.verify(CARD)


def test_a_missing_model_is_not_converted(store: ModelStore) -> None:
    with pytest.raises(ModelError, match=r"not installed in .* get it with"):
        store.convert(CARD)
    assert what_lies_in(store) == set()


# --- Fetch ---

BAD_ANSWERS: dict[str, tuple[list[str], str]] = {
    "404": (["404"], "the server answered 404"),
    "500 for good": (["500"] * 9, r"\(3 attempts\): the server answered 500"),
    "proxy wants a login": (["407"], "the server answered 407 Proxy Authentication Required"),
    "web page": (["garbage"], "wrong checksum of the 26 bytes received .*login page.* expected sha256"),
    "breaks off for good": (["break", *["500"] * 9], "the server answered 500"),
    "redirect in a circle": (["redirect"] * 99, "the server answered 302 .* infinite loop"),
    "redirect to a file": (["redirect file:///etc/passwd"], "file:///etc/passwd"),
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_a_bad_answer_installs_nothing_and_names_three_ways_out(
    case: str, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("cadenza_remix.separation.models.store.download", partial(download, backoff_s=0.01))
    script, words = BAD_ANSWERS[case]
    with serving(WHOLE, *script) as served, pytest.raises(ModelError, match=words) as caught:
        store.fetch(tiny_card(WHOLE, served.url), timeout_s=2)
    line = line_of(caught)
    assert line.startswith("spleeter:tiny: not fetched: ")
    for way in (
        "(1) run it again",
        "HTTPS_PROXY",
        "(2) copy the folder",
        "(3) download",
        "models import spleeter:tiny",
    ):
        assert way in line
    assert "`cadenza-remix models fetch" not in line  # that is what has just failed
    # What was received of the archive stays for the next attempt, and only where it broke off.
    assert {Path(name).suffix for name in what_lies_in(store)} == ({".part", ".json"} if "breaks" in case else set())
    assert not store.is_installed(CARD)


def test_an_archive_as_published_with_a_damaged_model_in_it_is_refused(store: ModelStore) -> None:
    archive = tar_of(CHECKPOINT | {DATA: CHECKPOINT[DATA][:-9] + bytes(9)})
    with serving(archive) as served, pytest.raises(ModelError, match="has changed: expected CRC-32C"):
        store.fetch(tiny_card(archive, served.url), timeout_s=2)
    assert what_lies_in(store) == set()
