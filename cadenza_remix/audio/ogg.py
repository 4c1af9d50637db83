"""OGG files that are the same whenever they are written.

An OGG stream carries a serial number in each of its pages (RFC 3533), which libsndfile draws at random. Here it becomes
zero. The checksum of a page is linear over the bits of the page: what the serial number adds to it follows from the
number and from how many bytes come after it, so that the page's contents need not be there.
"""

from __future__ import annotations

from pathlib import Path

_POLYNOMIAL = 0x04C1_1DB7  # CRC-32, highest bit first, beginning with 0
_HEADER = 27
_FLAGS, _N_SEGMENTS = 5, 26
_END_OF_STREAM = 0x04
_LONGEST_PAGE = _HEADER + 255 + 255 * 255
_SERIAL, _CHECKSUM = slice(14, 18), slice(22, 26)


def with_fixed_serial(data: bytes) -> bytes:
    """Return the header of a page with serial number zero and the checksum that follows; other bytes as they are."""
    if not (data[:4] == b"OggS" and len(data) >= _HEADER and len(data) == _HEADER + data[26]):
        return data
    page_length = len(data) + sum(data[_HEADER:])
    page = bytearray(data)
    serial = int.from_bytes(page[_SERIAL], "big")  # the checksum takes the bytes in the order of the file
    checksum = int.from_bytes(page[_CHECKSUM], "little") ^ _times(serial, _power_of_x(page_length - _SERIAL.stop + 4))
    page[_SERIAL] = bytes(4)
    page[_CHECKSUM] = checksum.to_bytes(4, "little")
    return bytes(page)


def ends_whole(path: Path) -> bool:
    """Tell whether the last page of a file is all there and says that it ends its stream."""
    with path.open("rb") as file:
        n_bytes = file.seek(0, 2)
        file.seek(max(0, n_bytes - _LONGEST_PAGE))
        data = file.read()
    page = data[data.rfind(b"OggS") :] if b"OggS" in data else b""
    if len(page) < _HEADER or not page[_FLAGS] & _END_OF_STREAM:
        return False
    lengths = page[_HEADER : _HEADER + page[_N_SEGMENTS]]
    return len(lengths) == page[_N_SEGMENTS] and len(page) >= _HEADER + len(lengths) + sum(lengths)


def _times(a: int, b: int) -> int:
    """Multiply two polynomials over bits, modulo the checksum's."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        b >>= 1
        a = (a << 1) ^ _POLYNOMIAL if a & 0x8000_0000 else a << 1
        a &= 0xFFFF_FFFF
    return product


def _powers() -> list[int]:
    """Return x to the power 8, 16, 32, ... (one, two, four, ... bytes), enough for the longest page."""
    power = 1 << 8
    powers = [power]
    for _ in range(17):
        power = _times(power, power)
        powers.append(power)
    return powers


_X_TO_BYTES = _powers()


def _power_of_x(n_bytes: int) -> int:
    power = 1
    for index, factor in enumerate(_X_TO_BYTES):
        if n_bytes >> index & 1:
            power = _times(power, factor)
    return power
