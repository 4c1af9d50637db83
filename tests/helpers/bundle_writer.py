"""Write TensorFlow checkpoints without TensorFlow, so that small and damaged ones can be made at will."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from cadenza_remix.separation.models.crc32c import crc32c

DATA = "model.data-00000-of-00001"
INDEX = "model.index"
STATE = b'model_checkpoint_path: "model"\nall_model_checkpoint_paths: "model"\n'
HEADER_KEY = b""
_TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9}


def checkpoint_files(variables: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Return the three files of a checkpoint."""
    entries, data = index_entries(variables)
    return {"checkpoint": STATE, INDEX: table(entries), DATA: data}


def files_of_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, bytes]:
    """Return a checkpoint whose index has variables of these shapes, and whose data end after the first byte."""
    entries = {name.encode(): entry(1, shape, 0, 4 * int(np.prod(shape)), 0) for name, shape in shapes.items()}
    return {"checkpoint": STATE, INDEX: table({HEADER_KEY: header()} | entries), DATA: b"x"}


def index_entries(variables: Mapping[str, np.ndarray]) -> tuple[dict[bytes, bytes], bytes]:
    """Return the entries of a checkpoint's index, by their keys, and its data."""
    data, entries = b"", {HEADER_KEY: header()}
    for name in sorted(variables):
        values = np.asarray(variables[name])
        raw = values.tobytes()
        entries[name.encode()] = entry(_TYPES[values.dtype.name], values.shape, len(data), len(raw), crc32c(raw))
        data += raw
    return entries, data


def header(*, n_shards: int = 1, endianness: int = 0) -> bytes:
    return field(1, n_shards) + field(2, endianness) + field(3, field(1, 1))


def entry(dtype: int, shape: tuple[int, ...], offset: int, size: int, crc: int) -> bytes:
    dimensions = b"".join(field(2, field(1, length)) for length in shape)
    checksum = bytes([6 << 3 | 5]) + struct.pack("<I", masked(crc))
    return field(1, dtype) + field(2, dimensions) + field(4, offset) + field(5, size) + checksum


def table(entries: Mapping[bytes, bytes], *, per_block: int = 40, compression: int = 0) -> bytes:
    """Return a table in LevelDB's format with ``per_block`` entries in each of its blocks."""
    keys = sorted(entries)
    content, index = b"", {}
    for first in range(0, len(keys), per_block):
        block_keys = keys[first : first + per_block]
        index[block_keys[-1]] = varint(len(content))
        content, size = _with_block(content, {key: entries[key] for key in block_keys}, compression)
        index[block_keys[-1]] += varint(size)
    footer = varint(len(content))
    content, size = _with_block(content, {})
    footer += varint(size) + varint(len(content))
    content, size = _with_block(content, index)
    footer += varint(size)
    return content + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def _with_block(content: bytes, entries: Mapping[bytes, bytes], compression: int = 0) -> tuple[bytes, int]:
    """Append a block, each key without what it shares with the one before; return the block's size too."""
    block, before = b"", b""
    for key, value in entries.items():
        n_shared = _n_shared(key, before)
        block += varint(n_shared) + varint(len(key) - n_shared) + varint(len(value)) + key[n_shared:] + value
        before = key
    block += struct.pack("<II", 0, 1)
    size = len(block)
    block += bytes([compression])
    return content + block + struct.pack("<I", masked(crc32c(block))), size


def _n_shared(key: bytes, before: bytes) -> int:
    n_shared = 0
    while n_shared < min(len(key), len(before)) and key[n_shared] == before[n_shared]:
        n_shared += 1
    return n_shared


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
