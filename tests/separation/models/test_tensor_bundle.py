"""TensorFlow's checkpoints read without TensorFlow: as TensorFlow itself reads them, or an error that says why not."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from bundle_writer import (
    DATA,
    HEADER_KEY,
    INDEX,
    checkpoint_files,
    entry,
    field,
    header,
    index_entries,
    masked,
    table,
    varint,
)
from model_server import write_files

from cadenza_remix.errors import ModelError
from cadenza_remix.separation.models.crc32c import crc32c
from cadenza_remix.separation.models.registry import model_card
from cadenza_remix.separation.models.store import ModelStore
from cadenza_remix.separation.models.tensor_bundle import TensorBundle
from cadenza_remix.separation.networks.backend import load_tensorflow

VARIABLES = {
    "conv2d/kernel": np.random.default_rng(1).standard_normal((5, 5, 2, 3), dtype=np.float32),
    "conv2d/bias": np.array([1.5, -0.0, np.inf], dtype=np.float32),
    "empty": np.zeros((0, 3), dtype=np.float32),
    "global_step": np.int64(-7),
    "double": np.array([1 / 3]),
    "int": np.array([[-1], [2]], dtype=np.int32),
}


def assert_same(found, expected) -> None:
    """The same names, types, shapes and bits."""
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        values = np.asarray(values)
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        assert found[name].tobytes() == values.tobytes()


def read_all(prefix: Path):
    bundle = TensorBundle(prefix)
    return bundle.read(bundle.entries)


# --- The checksum ---


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, appendix B.4, and the usual check value
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_published_checksums(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@pytest.mark.parametrize("n_bytes", [1, 3, 4, 5, 63, 64, 65, 1000, 2**18 - 1, 2**18, 2**18 + 1, 2**19 + 5])
def test_the_checksum_is_that_of_the_definition_at_every_length(n_bytes: int) -> None:
    data = np.random.default_rng(n_bytes).bytes(n_bytes)
    # One byte after the other by a table: the form in which the checksum is defined.
    bytewise = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        bytewise.append(value)
    state = 0xFFFFFFFF
    for byte in data:
        state = state >> 8 ^ bytewise[(state ^ byte) & 0xFF]
    assert crc32c(data) == state ^ 0xFFFFFFFF


# --- Against TensorFlow ---


def save(prefix: Path, variables) -> None:
    tensorflow = load_tensorflow()
    tensorflow.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=[tensorflow.constant(values) for values in variables.values()],
    )


def test_what_tensorflow_writes_is_read(tmp_path: Path) -> None:
    many = VARIABLES | {f"layer_{number}/kernel": np.full(number, number, np.float32) for number in range(400)}
    save(tmp_path / "model", many)
    assert_same(read_all(tmp_path / "model"), many)


def test_a_checkpoint_in_several_files_is_read(tmp_path: Path) -> None:
    names = list(VARIABLES)
    for part, some in (("a", names[:3]), ("b", names[3:])):
        save(tmp_path / part, {name: VARIABLES[name] for name in some})
    load_tensorflow().raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / "a"), str(tmp_path / "b")], destination_prefix=str(tmp_path / "model")
    )
    assert len(list(tmp_path.glob("model.data-*-of-00002"))) == 2
    assert_same(read_all(tmp_path / "model"), VARIABLES)


def test_tensorflow_reads_what_the_tests_write(tmp_path: Path) -> None:
    # So that the damaged ones below are damaged in that one point only.
    write_files(tmp_path, checkpoint_files(VARIABLES))
    reader = load_tensorflow().train.load_checkpoint(str(tmp_path / "model"))
    assert_same({name: np.asarray(reader.get_tensor(name)) for name in VARIABLES}, VARIABLES)
    assert_same(read_all(tmp_path / "model"), VARIABLES)


def test_the_released_checkpoint_reads_as_tensorflow_reads_it() -> None:
    prefix = ModelStore().path(model_card("spleeter:2stems"), form="checkpoint") / "model"
    reader = load_tensorflow().train.load_checkpoint(str(prefix))
    expected = {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
    assert len(expected) == 149
    assert_same(read_all(prefix), expected)


# --- Damage ---

ENTRIES, VALUES = index_entries(VARIABLES)
WHOLE = table(ENTRIES)


def with_entry(value: bytes) -> bytes:
    return table({HEADER_KEY: header(), b"x": value})


def with_blocks(*handles: tuple[int, int]) -> bytes:
    """Return an index whose first block, of bytes that nobody reads, is named at other places than its own as well."""

    def sealed(block: bytes) -> bytes:
        return block + b"\0" + struct.pack("<I", masked(crc32c(block + b"\0")))

    first = sealed(struct.pack("<I", 0))
    rows = b"".join(
        b"\0" + varint(1) + varint(len(row)) + b"k" + row for row in (varint(a) + varint(b) for a, b in handles)
    )
    rows += struct.pack("<II", 0, 1)
    footer = bytes(2) + varint(len(first)) + varint(len(rows))
    return first + sealed(rows) + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


DAMAGE = {
    "larger than any index": bytes(5_000_000),
    "the block at byte 0 overlaps the one before, which ends at byte 9": with_blocks((0, 4), (0, 4)),
    "a name of 300 bytes: expected at most 256": table({HEADER_KEY: header(), b"x" * 300: entry(1, (), 0, 4, 0)}),
    r"variable 'x\\ny' has a type": table({HEADER_KEY: header(), b"x\ny": entry(7, (2,), 0, 8, 0)}),
    "its last bytes are missing or wrong": WHOLE[:-1],
    "last bytes are missing or wrong \\(of 0\\)": b"",
    "a block ends at byte": WHOLE[len(WHOLE) // 2 :],
    "the block at byte 0 has changed": WHOLE[:20] + b"?" + WHOLE[21:],
    "the index is compressed": table(ENTRIES, compression=1),
    "it has no header": table({b"x": entry(1, (), 0, 4, 0)}),
    "big-endian": table({HEADER_KEY: header(endianness=1)}),
    "stored in slices": with_entry(entry(1, (2,), 0, 8, 0) + field(7, b"")),
    "has a type that is not read here": with_entry(entry(7, (2,), 0, 8, 0)),
    "'x': 8 bytes do not make the shape \\(3,\\)": with_entry(entry(1, (3,), 0, 8, 0)),
    "'x' is cut off: expected 400000 bytes or more": with_entry(entry(1, (100_000,), 0, 400_000, 0)),
    "'x' has changed: expected CRC-32C 0000002a, found": with_entry(entry(1, (3,), 0, 12, 42)),
    "a field is of the unknown kind 3": with_entry(b"\x0b"),
    "a field goes beyond its message": with_entry(b"\x12\x7f"),
    "a number is cut off": with_entry(b"\x08\xff"),
    "a number is too long": with_entry(b"\x08" + b"\xff" * 11),
    "field 5 is no number": with_entry(field(5, b"many")),
    "a message is a number": with_entry(field(2, 3)),
    "can't decode byte": table({HEADER_KEY: header(), b"\xff": entry(1, (), 0, 4, 0)}),
}


@pytest.mark.parametrize("words", DAMAGE)
def test_damage_is_told_for_what_it_is(words: str, tmp_path: Path) -> None:
    write_files(tmp_path, {INDEX: DAMAGE[words], DATA: VALUES})
    with pytest.raises(ModelError, match=f"damaged or truncated checkpoint .*{words}") as caught:
        read_all(tmp_path / "model")
    assert str(caught.value).startswith(f"{tmp_path}/model.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", range(0, len(WHOLE), 7))
def test_no_changed_byte_of_an_index_passes(place: int, tmp_path: Path) -> None:
    changed = bytearray(WHOLE)
    changed[place] ^= 0x10
    write_files(tmp_path, {INDEX: bytes(changed), DATA: VALUES})
    try:
        found = read_all(tmp_path / "model")
    except ModelError:
        return
    assert_same(found, VARIABLES)  # a byte that nobody reads: the padding of the footer


def test_missing_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.index: cannot be read: No such file"):
        TensorBundle(tmp_path / "model")
    write_files(tmp_path, {INDEX: WHOLE})
    with pytest.raises(ModelError, match=f"{DATA}: cannot be read: No such file"):
        read_all(tmp_path / "model")
