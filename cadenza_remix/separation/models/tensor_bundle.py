"""Read TensorFlow's checkpoints ("tensor bundles") without TensorFlow.

A checkpoint is an index and one or more files of raw values. The index ``<prefix>.index`` is a sorted table in the
format of LevelDB: blocks of entries whose keys leave out what they share with the key before, each block followed by
its compression and its checksum, the last 48 bytes telling where the index of the blocks lies. The entry of the empty
key is the header of the bundle (protobuf ``BundleHeaderProto``), every other one a tensor's (``BundleEntryProto``):
type, shape, file, offset, size and CRC-32C. The values lie in ``<prefix>.data-00000-of-00001`` and on, little-endian.

Every number of a file is checked before it is used, and every checksum is, so damage is told for what it is.

Sources: LevelDB's ``doc/table_format.md``; TensorFlow's ``tensor_bundle.proto``, ``tensor_shape.proto`` and
``types.proto``. Left out, since Spleeter's checkpoints have none of them: compressed blocks, partitioned variables,
big-endian machines, and types other than the numbers of `_TYPES`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import ModelError
from cadenza_remix.separation.models.crc32c import crc32c, unmasked
from cadenza_remix.separation.models.untrusted import quoted, shown

#: The last 8 bytes of a table in LevelDB's format.
_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER_BYTES = 48
#: After each block: one byte for its compression, four for its checksum.
_TRAILER_BYTES = 5
#: An index of 5stems has 20 kB.
_MAX_INDEX_BYTES = 4 * 1024**2
#: A key shares its beginning with the one before, so a short entry could make a long key. Real ones have 50 bytes.
_MAX_KEY_BYTES = 256
#: TensorFlow's numbers for the types of values that are read here.
_TYPES: dict[int, np.dtype[np.generic]] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    9: np.dtype("<i8"),
}

_Fields = dict[int, list[int | bytes]]


@dataclass(frozen=True)
class TensorEntry:
    """What the index says of one tensor.

    Parameters
    ----------
    dtype : numpy.dtype or None
        None for a type that is not read here.
    shape : tuple of int
    shard, offset, size : int
        The file of values, and where in it they lie, in bytes.
    crc32c : int
        The checksum of those bytes.
    """

    dtype: np.dtype[np.generic] | None
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int


class _Damaged(Exception):
    """The bytes are not what the format says."""


class TensorBundle:
    """The variables of a checkpoint: which there are at once, their values when asked.

    Parameters
    ----------
    prefix : Path
        The path of the files up to ``.index``.

    Attributes
    ----------
    entries : dict of str to TensorEntry

    Raises
    ------
    ModelError
        The index is missing, damaged or truncated.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        path = prefix.with_name(f"{prefix.name}.index")
        content = _content(path, 0, min(_size(path), _MAX_INDEX_BYTES + 1))
        if len(content) > _MAX_INDEX_BYTES:
            raise _damaged(path, "larger than any index")
        try:
            table = dict(_table(content))
            self._n_shards = _n_shards(table.pop(b"", b""))
            self.entries: Mapping[str, TensorEntry] = {key.decode(): _entry(value) for key, value in table.items()}
        except (_Damaged, UnicodeDecodeError) as error:
            raise _damaged(path, str(error)) from error

    def read(self, names: Collection[str], *, vouched_for: bool = False) -> dict[str, NDArray[np.generic]]:
        """Return the values of some variables, after checking their checksums.

        Parameters
        ----------
        names : collection of str
            Keys of `entries`.
        vouched_for : bool
            The bytes of the files are known to be right (by another checksum): do not check them again, which takes
            six times as long as reading.

        Raises
        ------
        ModelError
            The file of values is missing, truncated or damaged; the line names the first variable that is.
        """
        return {name: self._values(name, self.entries[name], vouched_for) for name in names}

    def _values(self, name: str, entry: TensorEntry, vouched_for: bool) -> NDArray[np.generic]:
        where = f"variable {quoted(name)}"
        path = self.prefix.with_name(f"{self.prefix.name}.data-{entry.shard:05d}-of-{self._n_shards:05d}")
        if entry.dtype is None:
            raise _damaged(path, f"{where} has a type that is not read here: expected numbers")
        if entry.size != entry.dtype.itemsize * np.prod(entry.shape, dtype=object):
            raise _damaged(path, f"{where}: {entry.size} bytes do not make the shape {shown(entry.shape)}")
        if entry.offset + entry.size > (found := _size(path)):
            raise _damaged(
                path, f"{where} is cut off: expected {entry.offset + entry.size} bytes or more, found {found}"
            )
        raw = _content(path, entry.offset, entry.size)
        if len(raw) != entry.size or not (vouched_for or crc32c(raw) == entry.crc32c):
            raise _damaged(path, f"{where} has changed: expected CRC-32C {entry.crc32c:08x}, found {crc32c(raw):08x}")
        return np.frombuffer(raw, dtype=entry.dtype).reshape(entry.shape)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error


def _content(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error


def _damaged(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path}: damaged or truncated checkpoint (import or fetch it again): {reason}")


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of a table."""
    footer = content[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or not footer.endswith(_MAGIC):
        raise _Damaged(f"no index of a checkpoint: its last bytes are missing or wrong (of {len(content)})")
    place = 0
    for _ in range(2):  # of the index of other data, which is not needed
        _, place = _varint(footer, place)
    reached = 0
    for _, entry in _block(content, _handle(footer, place)):
        offset, size = _handle(entry, 0)
        # They are written one behind the other; one block named many times would be read as often.
        if offset < reached:
            raise _Damaged(f"the block at byte {offset} overlaps the one before, which ends at byte {reached}")
        reached = offset + size + _TRAILER_BYTES
        yield from _block(content, (offset, size))


def _handle(data: bytes, place: int) -> tuple[int, int]:
    offset, place = _varint(data, place)
    size, _ = _varint(data, place)
    return offset, size


def _block(content: bytes, handle: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of one block, after checking its checksum."""
    offset, size = handle
    end = offset + size
    if end + _TRAILER_BYTES > len(content):
        raise _Damaged(f"a block ends at byte {end + _TRAILER_BYTES} of {len(content)}")
    stored = int.from_bytes(content[end + 1 : end + _TRAILER_BYTES], "little")
    if crc32c(content[offset : end + 1]) != unmasked(stored):
        raise _Damaged(f"the block at byte {offset} has changed: its checksum is wrong")
    if content[end]:
        raise _Damaged("the index is compressed, which no Spleeter checkpoint is")
    block = content[offset:end]
    n_restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (n_restarts + 1)
    key, place = b"", 0
    while place < end:
        n_shared, place = _varint(block, place)
        n_own, place = _varint(block, place)
        n_value, place = _varint(block, place)
        if n_shared > len(key) or place + n_own + n_value > end:
            raise _Damaged("an entry goes beyond its block")
        if n_shared + n_own > _MAX_KEY_BYTES:
            raise _Damaged(f"a name of {n_shared + n_own} bytes: expected at most {_MAX_KEY_BYTES}")
        key = key[:n_shared] + block[place : place + n_own]
        place += n_own
        yield key, block[place : place + n_value]
        place += n_value


def _n_shards(header: bytes) -> int:
    fields = _fields(header)
    if _number(fields, 2) != 0:
        raise _Damaged("written on a big-endian machine")
    if not (n_shards := _number(fields, 1)):
        raise _Damaged("it has no header")
    return n_shards


def _entry(value: bytes) -> TensorEntry:
    """Return what a `BundleEntryProto` says."""
    fields = _fields(value)
    if 7 in fields:
        raise _Damaged("a variable is stored in slices, which no Spleeter checkpoint has")
    shape: list[int] = []
    for part in fields.get(2, []):
        for dimension in _fields(_bytes(part)).get(2, []):
            shape.append(_number(_fields(_bytes(dimension)), 1))
    return TensorEntry(
        dtype=_TYPES.get(_number(fields, 1)),
        shape=tuple(shape),
        shard=_number(fields, 3),
        offset=_number(fields, 4),
        size=_number(fields, 5),
        crc32c=unmasked(_number(fields, 6)),
    )


def _fields(message: bytes) -> _Fields:
    """Return the fields of a protobuf message by their numbers: integers, or the bytes of strings and messages."""
    fields: _Fields = {}
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, place = _varint(message, place)
        elif kind in (1, 2, 5):
            size = {1: 8, 5: 4}.get(kind, 0)
            if kind == 2:
                size, place = _varint(message, place)
            if place + size > len(message):
                raise _Damaged("a field goes beyond its message")
            value = message[place : place + size]
            if kind != 2:
                value = int.from_bytes(value, "little")
            place += size
        else:
            raise _Damaged(f"a field is of the unknown kind {kind}")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _number(fields: _Fields, number: int) -> int:
    """Return an integer field: its last value, as protobuf has it, and 0 where it is left out."""
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise _Damaged(f"field {number} is no number")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise _Damaged("a message is a number")
    return value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return the variable-length integer at a place, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise _Damaged("a number is cut off")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise _Damaged("a number is too long")
