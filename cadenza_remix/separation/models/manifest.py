"""The note that lies beside an installed model: which files belong to it, how large they are, and their checksums.

A model's files are those of a TensorFlow checkpoint, those of the neutral form, or both.

It is written after the files, so a folder without a readable manifest is no model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cadenza_remix.atomic import write_json
from cadenza_remix.errors import ModelError
from cadenza_remix.separation.models.fetching import sha256_of
from cadenza_remix.separation.models.neutral import NEUTRAL_FILES
from cadenza_remix.separation.models.untrusted import count, quoted, read_json, refusing, sha256_digits

MANIFEST_NAME = "manifest.json"
#: The files that make a TensorFlow checkpoint; what else an archive holds (the training graph) is not needed.
CHECKPOINT_FILES = ("checkpoint", "model.index", "model.data-00000-of-00001")
#: The forms in which a model may be there, and the files of each.
FORMS: Mapping[str, tuple[str, ...]] = {"checkpoint": CHECKPOINT_FILES, "neutral": NEUTRAL_FILES}
MODEL_FILES = (*CHECKPOINT_FILES, *NEUTRAL_FILES)
_FORMAT = 1
_WHAT = "not a manifest of a model"


@dataclass(frozen=True)
class FileRecord:
    """One file of a model: name, size in bytes, SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What was installed, from where, when.

    Parameters
    ----------
    weights : str
        Name of the set of weights.
    source : str
        Where the files came from: an address, a pip requirement, or the file or folder imported.
    archive_sha256 : str or None
        Checksum of the archive they came in, where it was one.
    verified : bool
        A published checksum (of the archive or of the files) was checked, and right.
    date : str
        When, ISO 8601 in UTC.
    files : tuple of FileRecord
        The files of each form that is there.
    """

    weights: str
    source: str
    archive_sha256: str | None
    verified: bool
    date: str
    files: tuple[FileRecord, ...]

    @property
    def size_bytes(self) -> int:
        """Size of all files together."""
        return sum(record.size for record in self.files)

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms in which the model is there."""
        return forms_among({record.name for record in self.files})


def forms_among(names: Collection[str]) -> tuple[str, ...]:
    """Return the forms of a model that are whole among files of these names."""
    return tuple(form for form, files in FORMS.items() if set(files) <= set(names))


def write_manifest(folder: Path, *, weights: str, source: str, archive_sha256: str | None, verified: bool) -> Manifest:
    """Describe the model's files that lie in a folder, and write that description beside them."""
    files = tuple(_record(folder, name) for name in MODEL_FILES if (folder / name).exists())
    date = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = Manifest(weights, source, archive_sha256, verified, date, files)
    _write(folder, manifest)
    return manifest


def add_neutral_form(folder: Path, manifest: Manifest) -> None:
    """Note in a folder's manifest that the neutral form lies there too; what it says of the other files stays."""
    kept = [record for record in manifest.files if record.name not in NEUTRAL_FILES]
    _write(folder, replace(manifest, files=(*kept, *(_record(folder, name) for name in NEUTRAL_FILES))))


def read_manifest(folder: Path) -> Manifest:
    """Read a folder's manifest and check that every file is there in its full size.

    Raises
    ------
    ModelError
        The manifest is missing or unreadable, or a file is not as it says.
    """
    path = folder / MANIFEST_NAME
    try:
        value = read_json(path, _WHAT)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(f"{path}: no such file") from error
    with refusing(path, _WHAT):
        manifest = _manifest(value)
    for record in manifest.files:
        try:
            size = (folder / record.name).stat().st_size
        except OSError as error:
            raise ModelError(f"{folder / record.name}: {error.strerror or error}") from error
        if size != record.size:
            raise ModelError(f"{folder / record.name}: wrong size: expected {record.size} bytes, found {size}")
    return manifest


def check_contents(folder: Path, manifest: Manifest) -> None:
    """Check every file of a model against its checksum.

    Raises
    ------
    ModelError
        A file has changed.
    """
    for record in manifest.files:
        found = sha256_of(folder / record.name)
        if found != record.sha256:
            raise ModelError(f"{folder / record.name}: wrong sha256: expected {record.sha256}, found {found}")


def _record(folder: Path, name: str) -> FileRecord:
    return FileRecord(name, (folder / name).stat().st_size, sha256_of(folder / name))


def _write(folder: Path, manifest: Manifest) -> None:
    write_json(folder / MANIFEST_NAME, {"format": _FORMAT} | asdict(manifest))


def _manifest(value: dict[str, Any]) -> Manifest:
    if value["format"] != _FORMAT:
        raise ValueError(f"format {quoted(value['format'])}, expected {_FORMAT}")
    files = tuple(_described(entry) for entry in value["files"])
    names = {record.name for record in files}
    if not names <= set(MODEL_FILES) or not forms_among(names):
        expected = " or ".join(str(list(form)) for form in FORMS.values())
        raise ValueError(f"files {quoted([record.name for record in files])}, expected {expected}")
    archive = value["archive_sha256"]
    return Manifest(
        weights=str(value["weights"]),
        source=str(value["source"]),
        archive_sha256=None if archive is None else sha256_digits(archive),
        verified=value["verified"] is True,
        date=str(value["date"]),
        files=files,
    )


def _described(entry: dict[str, Any]) -> FileRecord:
    return FileRecord(str(entry["name"]), count(entry["size"]), sha256_digits(entry["sha256"]))
