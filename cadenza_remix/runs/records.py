"""What was done, one JSON file per unit of work: written last, so that a unit with a valid record is a finished unit.

A record holds a key over everything that the result depends on. A rerun skips the units whose key is unchanged and
whose files are still there in the recorded sizes. Records hold no times and no machine names: equal inputs give equal
bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cadenza_remix.atomic import write_json

RECORD_FORMAT = 1


@dataclass(frozen=True)
class Record:
    """One finished unit.

    ``unit``: what it was; ``key``: digest of its inputs and settings; ``settings``: those in readable form; ``files``:
    size in bytes of each file that it made, by path relative to the folder of the run; ``results``: its numbers.
    """

    unit: str
    key: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the record atomically."""
        write_json(path, {"format": RECORD_FORMAT, **self.__dict__})


def read_record(path: Path) -> Record | None:
    """Return a record, or None when there is none that can be understood."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw.pop("format") != RECORD_FORMAT:
            return None
        record = Record(**raw)
        parts = (record.settings, record.files, record.results)
        return record if all(isinstance(part, dict) for part in parts) else None
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None


def finished(path: Path, key: str, root: Path) -> Record | None:
    """Return the record of a unit that is done: same key, every file there in the recorded size; otherwise None."""
    record = read_record(path)
    if record is None or record.key != key:
        return None
    for name, size in record.files.items():
        file = root / name
        if not file.is_file() or file.stat().st_size != size:
            return None
    return record


def file_sizes(paths: list[Path], root: Path) -> dict[str, int]:
    """Return the size of each file by its path relative to ``root``."""
    return {path.relative_to(root).as_posix(): path.stat().st_size for path in sorted(paths)}


def digest(*parts: Any) -> str:
    """Return a SHA-256 over plain values (numbers, text, lists, mappings); the order of keys does not matter."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot stand in a key")
