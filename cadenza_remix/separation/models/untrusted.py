"""Read what a stranger wrote: JSON of bounded size, values that fit on a line, names that stay in their folder."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cadenza_remix.errors import ModelError

#: The largest JSON of a model, the description of 5stems, has 40 kB.
MAX_JSON_BYTES = 4 * 1024**2
_MAX_NAME_BYTES = 255
_LINE_LENGTH = 60
_ERROR_LENGTH = 120
#: What code raises that walks through a value of another make than it expects. Deep nesting gives RecursionError,
#: a number such as Infinity OverflowError.
_MISFITS = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError)


@contextmanager
def refusing(where: Path, what: str) -> Iterator[None]:
    """Turn what a value of the wrong make raises in the block into one line: ``<where>: <what>: ...``.

    Raises
    ------
    ModelError
        The value is not what the block takes it for.
    """
    try:
        yield
    except ModelError:
        raise
    except _MISFITS as error:
        text = " ".join(str(error).split())
        reason = "nested too deep" if isinstance(error, RecursionError) else _cut(text, _ERROR_LENGTH)
        raise ModelError(f"{where}: {what}: {type(error).__name__}: {reason}") from error


def read_json(path: Path, what: str, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Return the value in a JSON file.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is none.
    ModelError
        It cannot be read, is no regular file (a pipe would be waited for), is larger than ``max_bytes``, or no JSON.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelError(f"{path}: {what}: no regular file")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > max_bytes:
        raise ModelError(f"{path}: {what}: larger than {max_bytes / 1e6:.0f} MB")
    with refusing(path, f"{what}: no JSON"):
        return json.loads(content.decode("utf-8"))


def shown(value: object, length: int = _LINE_LENGTH) -> str:
    """Return a value as it may stand in a message: on one line, without control characters, not longer than a glance.

    Examples
    --------
    >>> shown("4stems"), shown("a\\nb"), shown([1, 2])
    ('4stems', "'a\\\\nb'", '[1, 2]')
    """
    return _cut(value, length) if isinstance(value, str) and value.isprintable() else quoted(value, length)


def quoted(value: object, length: int = _LINE_LENGTH) -> str:
    """Return the ``repr`` of a value, cut as `shown` cuts it."""
    if isinstance(value, str):
        value = value[: length + 1]  # no need to look at all of it
    try:
        return _cut(repr(value), length)
    except (RecursionError, ValueError):  # nested too deep, or a number of thousands of digits
        return f"a {type(value).__name__}"


def plain_name(value: object) -> str:
    """Return the name of a file, after checking that it is one and leads nowhere else.

    Raises
    ------
    ValueError
        It does.
    """
    plain = isinstance(value, str) and value.isprintable() and value not in ("", ".", "..")
    if not plain or set("/\\") & set(str(value)) or len(str(value).encode()) > _MAX_NAME_BYTES:
        raise ValueError(f"{quoted(value)} is not the plain name of a file")
    return str(value)


def count(value: object) -> int:
    """Return a number of bytes or elements, after checking that it can be one.

    Raises
    ------
    ValueError
        It cannot.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"expected a whole number, found {quoted(value)}")
    return value


def sha256_digits(value: object) -> str:
    """Return a SHA-256, after checking that it is 64 hexadecimal digits.

    Raises
    ------
    ValueError
        It is not.
    """
    if not isinstance(value, str) or len(value) != 64 or set(value.lower()) - set("0123456789abcdef"):
        raise ValueError(f"expected a sha256, found {quoted(value)}")
    return value.lower()


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
