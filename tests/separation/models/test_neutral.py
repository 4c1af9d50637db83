"""The neutral form: the same numbers as the checkpoint, in a file that any program can read without running code."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bundle_writer import DATA, INDEX, checkpoint_files
from model_server import CHECKPOINT, INSTALLED, content_of, tar_of, tiny_card, what_lies_in, write_files
from random_weights import random_variables

from cadenza_remix.errors import ModelError
from cadenza_remix.separation.models.checkpoint import (
    checkpoint_fingerprint,
    convert_weights,
    load_weights,
    read_checkpoint,
    read_weights,
    weight_table,
)
from cadenza_remix.separation.models.neutral import DESCRIPTION_NAME, NEUTRAL_FILES, WEIGHTS_NAME
from cadenza_remix.separation.models.registry import model_card
from cadenza_remix.separation.models.store import ModelStore

CARD = tiny_card()
REAL = model_card("spleeter:2stems")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_files(tmp_path / "checkpoint", CHECKPOINT)


@pytest.fixture
def neutral(checkpoint: Path, tmp_path: Path) -> Path:
    convert_weights(CARD, checkpoint, tmp_path / "neutral")
    return tmp_path / "neutral"


@pytest.fixture
def store(checkpoint: Path, tmp_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "home")
    store.import_from(CARD, checkpoint)
    return store


def assert_same_weights(found, expected) -> None:
    assert list(found) == list(expected)
    for key, values in expected.items():
        assert (found[key].dtype, found[key].shape) == (np.float32, values.shape)
        assert found[key].tobytes() == values.tobytes()


# --- The files ---


def test_the_values_are_those_of_the_checkpoint_bit_for_bit(checkpoint: Path, neutral: Path) -> None:
    assert sorted(path.name for path in neutral.iterdir()) == sorted(NEUTRAL_FILES)
    assert_same_weights(read_weights(CARD, neutral), read_weights(CARD, checkpoint))


def test_the_file_is_what_the_safetensors_format_says(checkpoint: Path, neutral: Path) -> None:
    # By the format's description alone: 8 bytes of length, JSON, raw values without gaps.
    content = (neutral / WEIGHTS_NAME).read_bytes()
    n_header = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n_header])
    assert all(isinstance(value, str) for value in header.pop("__metadata__").values())
    assert n_header % 8 == 0
    variables = read_checkpoint(checkpoint)
    used = {f"{slot.layer}/{slot.weight}": slot.variable for slot in weight_table(CARD) if slot.layer is not None}
    assert set(header) == set(used)
    ends = [0]
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        assert (entry["dtype"], begin) == ("F32", ends[-1])
        values = np.frombuffer(content[8 + n_header + begin : 8 + n_header + end], "<f4").reshape(entry["shape"])
        assert np.array_equal(values, variables[used[name]])
        ends.append(end)
    assert 8 + n_header + ends[-1] == len(content)


def test_the_description_says_what_the_weights_are(neutral: Path) -> None:
    described = json.loads((neutral / DESCRIPTION_NAME).read_text())
    assert described["weights"] == "tiny"
    assert described["stems"] == ["vocals", "accompaniment"]
    assert described["stft"] == {
        "sample_rate": 44100,
        "frame_length": 4096,
        "hop_length": 1024,
        "window": "periodic Hann",
    }
    assert described["network"] == {
        "encoder_activation": "leaky_relu",
        "decoder_activation": "relu",
        "output": "sigmoid",
    }
    assert described["licence"] == "MIT"
    assert described["sources"] == {name: hashlib.sha256(CHECKPOINT[name]).hexdigest() for name in (INDEX, DATA)}
    assert described["file"]["sha256"] == hashlib.sha256((neutral / WEIGHTS_NAME).read_bytes()).hexdigest()
    assert described["tensors"]["accompaniment_mask_conv/bias"] == {"shape": [2], "variable": "conv2d_13/bias"}


def test_converting_again_gives_the_same_bytes(checkpoint: Path, neutral: Path, tmp_path: Path) -> None:
    for source in (checkpoint, neutral):
        convert_weights(CARD, source, tmp_path / "again")
        assert content_of(tmp_path / "again") == content_of(neutral)


def test_the_fingerprint_is_that_of_the_checkpoint(checkpoint: Path, neutral: Path, tmp_path: Path) -> None:
    wide = tiny_card(name="spleeter:tiny-16kHz", n_bins=1536)
    expected = checkpoint_fingerprint(CARD, checkpoint)
    assert checkpoint_fingerprint(CARD, neutral) == expected
    assert checkpoint_fingerprint(wide, neutral) == checkpoint_fingerprint(wide, checkpoint) != expected
    other = write_files(tmp_path / "other", checkpoint_files(random_variables(CARD, seed=1)))
    convert_weights(CARD, other, tmp_path / "other neutral")
    assert checkpoint_fingerprint(CARD, tmp_path / "other neutral") != expected


def test_the_fingerprint_of_the_released_model_never_changes() -> None:
    # Kept stems are named by it: another value would separate every song anew.
    assert checkpoint_fingerprint(REAL, ModelStore().path(REAL)) == "ba2e7526c19c0eff"


def test_of_both_forms_the_neutral_one_is_read(checkpoint: Path, neutral: Path) -> None:
    both = shutil.copytree(checkpoint, neutral, dirs_exist_ok=True)
    expected = read_weights(CARD, checkpoint)
    (both / DATA).write_bytes(b"")
    assert_same_weights(read_weights(CARD, both), expected)


def test_reading_needs_no_tensorflow_in_either_form(checkpoint: Path, neutral: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from model_server import tiny_card\n"
        "from cadenza_remix.separation.models.checkpoint import checkpoint_fingerprint, convert_weights, read_weights\n"
        "for folder in map(Path, sys.argv[1:]):\n"
        "    read_weights(tiny_card(), folder); checkpoint_fingerprint(tiny_card(), folder)\n"
        "    convert_weights(tiny_card(), folder, folder / 'out')\n"
        "print([name for name in ('tensorflow', 'keras', 'torch', 'jax') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "helpers")}
    command = [sys.executable, "-c", code, str(checkpoint), str(neutral)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_released_weights_have_the_known_digest_and_fill_the_network(tmp_path: Path) -> None:
    from cadenza_remix.separation.networks.unet import build_estimate_network

    folder = ModelStore().path(REAL)
    convert_weights(REAL, folder, tmp_path)
    assert hashlib.sha256((tmp_path / WEIGHTS_NAME).read_bytes()).hexdigest() == REAL.neutral_sha256
    by_checkpoint, by_neutral = build_estimate_network(REAL), build_estimate_network(REAL)
    load_weights(by_checkpoint, REAL, folder)
    load_weights(by_neutral, REAL, tmp_path)
    for first, second in zip(by_checkpoint.weights, by_neutral.weights, strict=True):
        assert np.array_equal(np.asarray(first), np.asarray(second))


# --- In the store ---


def test_convert_puts_both_forms_side_by_side(store: ModelStore) -> None:
    before = store.verify(CARD)
    fingerprint = checkpoint_fingerprint(CARD, store.path(CARD))
    weights = read_weights(CARD, store.path(CARD))
    folder = store.convert(CARD)
    assert folder == store.path(CARD) == store.path(CARD, form="neutral") == store.path(CARD, form="checkpoint")
    assert what_lies_in(store) == INSTALLED | {f"models/tiny/{name}" for name in NEUTRAL_FILES}
    manifest = store.verify(CARD)
    assert manifest.forms == ("checkpoint", "neutral")
    assert (manifest.source, manifest.date, manifest.files[:3]) == (before.source, before.date, before.files)
    assert checkpoint_fingerprint(CARD, folder) == fingerprint
    assert_same_weights(read_weights(CARD, folder), weights)
    first = content_of(folder)
    store.convert(CARD)
    assert content_of(folder) == first
    assert store.verify(CARD) == manifest


def test_convert_mends_damaged_neutral_weights(store: ModelStore) -> None:
    path = store.convert(CARD) / WEIGHTS_NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"?")
    with pytest.raises(ModelError, match="wrong sha256"):
        store.verify(CARD)
    store.convert(CARD)
    assert path.read_bytes() == whole
    store.verify(CARD)


@pytest.mark.parametrize("packed", [False, True])
def test_what_convert_wrote_is_imported_elsewhere(packed: bool, store: ModelStore, tmp_path: Path) -> None:
    source = store.convert(CARD, tmp_path / "carried")
    assert what_lies_in(store) == INSTALLED  # nothing was added to the model itself
    if packed:
        archive = tmp_path / "carried.tar.gz"
        archive.write_bytes(tar_of(content_of(source)))
        source = archive
    other = ModelStore(tmp_path / "other")
    folder = other.import_from(CARD, source)
    assert sorted(content_of(folder)) == sorted(NEUTRAL_FILES)
    assert other.verify(CARD).forms == ("neutral",)
    assert other.is_installed(CARD)
    assert checkpoint_fingerprint(CARD, folder) == checkpoint_fingerprint(CARD, store.path(CARD))
    with pytest.raises(ModelError, match="there as neutral only: expected the checkpoint: get it with"):
        other.path(CARD, form="checkpoint")
    # And from there to a third machine, which needs the description's word on the checkpoint.
    third = ModelStore(tmp_path / "third")
    third.import_from(CARD, other.convert(CARD, tmp_path / "carried on"))
    assert content_of(third.path(CARD)) == content_of(folder)


def test_a_store_folder_with_both_forms_is_imported_with_both(store: ModelStore, tmp_path: Path) -> None:
    folder = store.convert(CARD)
    other = ModelStore(tmp_path / "other")
    assert content_of(other.import_from(CARD, folder)) == content_of(folder)


def test_a_new_checkpoint_takes_the_old_neutral_weights_with_it(store: ModelStore, tmp_path: Path) -> None:
    store.convert(CARD)
    files = checkpoint_files(random_variables(CARD, seed=1))
    store.import_from(CARD, write_files(tmp_path / "newer", files))
    assert content_of(store.path(CARD)) == files


def test_published_digests_hold_for_neutral_weights(neutral: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256((neutral / WEIGHTS_NAME).read_bytes()).hexdigest()
    store = ModelStore(tmp_path / "home")
    store.import_from(tiny_card(neutral_sha256=digest), neutral)
    assert store.verify(CARD).verified
    with pytest.raises(ModelError, match=rf"weights.safetensors is not the published one: expected {'0' * 64}, found"):
        store.import_from(tiny_card(neutral_sha256="0" * 64), neutral)
    with pytest.raises(ModelError, match=rf"model.index is not the published one: expected {'0' * 64}, found"):
        store.import_from(tiny_card(files={INDEX: "0" * 64}), neutral)
