"""Weights in a form that belongs to no framework: one flat file, and a description in JSON beside it.

``weights.safetensors`` holds the tensors one behind the other as raw little-endian float32, behind a header in JSON
that gives each one's name, shape and place. That is the safetensors format, so other programs can read it too; reading
it runs no code, as a pickle would, and costs no more than reading the bytes. ``weights.json`` says what they are: the
model's stems, the settings of its transform and network, the files they were made from, the table of names and shapes,
and the SHA-256 of the other file. It is written last, so a folder without it holds no such weights.

Both are trusted in nothing: names, shapes, types, places and settings must be those that the model's card and table ask
for, the checksum must be right, and every number finite.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.atomic import atomic_path, write_json
from cadenza_remix.errors import ModelError
from cadenza_remix.separation.models.fetching import sha256_of
from cadenza_remix.separation.models.registry import ModelCard, model_card, model_names
from cadenza_remix.separation.models.untrusted import (
    MAX_JSON_BYTES,
    count,
    plain_name,
    quoted,
    read_json,
    refusing,
    sha256_digits,
    shown,
)

WEIGHTS_NAME = "weights.safetensors"
DESCRIPTION_NAME = "weights.json"
NEUTRAL_FILES = (WEIGHTS_NAME, DESCRIPTION_NAME)
_KIND = "cadenza-remix weights"
_FORMAT = 1
#: What weights mean depends on these fields of a card; what else a card says may differ between cards that share them.
_STFT_FIELDS = ("sample_rate", "frame_length", "hop_length")
_NETWORK_FIELDS = ("encoder_activation", "decoder_activation", "output")
_MODEL_FIELDS = ("n_frames", "n_bins", "separation_exponent", "mask_extension")
_DTYPE = np.dtype("<f4")
_LENGTH_BYTES = 8
_WHAT = "not a description of weights"

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Description:
    """What the JSON beside the weights says, after it was checked against a card.

    Parameters
    ----------
    sources : mapping of str to str
        SHA-256 of each file that the weights were made from, the index first.
    sha256 : str
        Of the weights' file.
    size : int
        Of the weights' file, in bytes.
    shapes : mapping of str to tuple of int
        Of each tensor, by its name ``<layer>/<weight>``.
    """

    sources: Mapping[str, str]
    sha256: str
    size: int
    shapes: Mapping[str, Shape]


def has_neutral(folder: Path) -> bool:
    """Tell whether a folder holds weights in the neutral form, or at least their description."""
    return (folder / DESCRIPTION_NAME).is_file()


def write_neutral(
    folder: Path,
    card: ModelCard,
    tensors: Mapping[str, NDArray[np.float32]],
    *,
    variables: Mapping[str, str],
    sources: Mapping[str, str],
) -> None:
    """Write a model's weights in the neutral form; the same weights always give the same bytes.

    Parameters
    ----------
    folder : Path
        Made where it is not there; files of the same names are replaced.
    card : ModelCard
        Of the model, or of another that shares its weights.
    tensors : mapping of str to array
        By ``<layer>/<weight>``.
    variables : mapping of str to str
        What each tensor is called in the files that it comes from.
    sources : mapping of str to str
        SHA-256 of each of those files, the index first.

    Raises
    ------
    OutputError
        The files cannot be written.
    """
    header = _header(tensors, card)
    digest, size = hashlib.sha256(), 0
    with atomic_path(folder / WEIGHTS_NAME) as temporary, temporary.open("wb") as file:
        for part in (header, *(values.astype(_DTYPE).tobytes() for values in tensors.values())):
            file.write(part)
            digest.update(part)
            size += len(part)
        file.flush()
        os.fsync(file.fileno())
    described: dict[str, Any] = {"kind": _KIND, "format": _FORMAT, "weights": card.weights, **_settings(card)}
    described["models"] = {
        other.name: {name: getattr(other, name) for name in _MODEL_FIELDS}
        for other in map(model_card, model_names())
        if other.weights == card.weights
    }
    described |= {"licence": card.licence, "origin": card.source, "training_data": card.training_data}
    described["sources"] = dict(sources)
    described["file"] = {"name": WEIGHTS_NAME, "size": size, "sha256": digest.hexdigest()}
    described["tensors"] = {
        name: {"shape": list(values.shape), "variable": variables[name]} for name, values in tensors.items()
    }
    write_json(folder / DESCRIPTION_NAME, described)


def read_description(folder: Path, card: ModelCard) -> Description:
    """Read the description in a folder and check that it is of this model.

    Raises
    ------
    ModelError
        It is missing, unreadable, of another format, another model or other settings, or the checkpoint beside it is
        another than the one that the weights were made from.
    """
    path = folder / DESCRIPTION_NAME
    try:
        value = read_json(path, _WHAT)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not isinstance(value, dict) or value.get("kind") != _KIND:
        found = value.get("kind") if isinstance(value, dict) else type(value).__name__
        raise ModelError(f"{path}: {_WHAT}: expected kind {_KIND!r}, found {quoted(found)}")
    if value.get("format") != _FORMAT:
        raise ModelError(f"{path}: another format version: expected {_FORMAT}, found {quoted(value.get('format'))}")
    if value.get("weights") != card.weights:
        raise ModelError(f"{path}: of another model: expected {card.weights}, found {shown(value.get('weights'))}")
    for name, expected in _settings(card).items():
        if value.get(name) != expected:
            raise ModelError(f"{path}: wrong settings: {name}: expected {expected}, found {shown(value.get(name))}")
    with refusing(path, _WHAT):
        description = _description(value)
    _check_checkpoint_beside(folder, description)
    return description


def read_neutral(folder: Path, card: ModelCard, shapes: Mapping[str, Shape]) -> dict[str, NDArray[np.float32]]:
    """Read a model's weights from the neutral form.

    Parameters
    ----------
    folder : Path
        Holds the two files.
    card : ModelCard
        The model.
    shapes : mapping of str to tuple of int
        The tensors that must be there, no more and no less.

    Returns
    -------
    dict of str to array
        Of float32, not writable, in the order of ``shapes``.

    Raises
    ------
    ModelError
        Something in either file is not as it must be; the line says what.
    """
    description = read_description(folder, card)
    _check_table(folder / DESCRIPTION_NAME, description.shapes, shapes)
    path = folder / WEIGHTS_NAME
    content = _content(path, description)
    offsets = _offsets(path, content, shapes)
    tensors = {}
    for name, shape in shapes.items():
        values = np.frombuffer(content, _DTYPE, count=int(np.prod(shape)), offset=offsets[name]).reshape(shape)
        if not np.isfinite(values).all():
            raise ModelError(f"{path}: damaged tensor '{name}': expected finite numbers, found NaN or infinity")
        tensors[name] = values
    return tensors


def _settings(card: ModelCard) -> dict[str, Any]:
    """Return what a description says of the settings, as JSON has it."""
    return {
        "stems": list(card.stems),
        "stft": {name: getattr(card, name) for name in _STFT_FIELDS} | {"window": "periodic Hann"},
        "network": {name: getattr(card, name) for name in _NETWORK_FIELDS},
    }


def _description(value: dict[str, Any]) -> Description:
    file = value["file"]
    if file["name"] != WEIGHTS_NAME:
        raise ValueError(f"file {quoted(file['name'])}, expected {WEIGHTS_NAME!r}")
    sources = {plain_name(name): sha256_digits(sha256) for name, sha256 in value["sources"].items()}
    if not sources:
        raise ValueError("sources without their sha256")
    if not next(iter(sources)).endswith(".index"):
        raise ValueError("sources that do not begin with the index")
    shapes = {str(name): tuple(count(length) for length in entry["shape"]) for name, entry in value["tensors"].items()}
    return Description(sources, sha256_digits(file["sha256"]), count(file["size"]), shapes)


def _check_checkpoint_beside(folder: Path, description: Description) -> None:
    """Refuse weights that were made from another checkpoint than the one in the same folder.

    The index is enough: it holds the checksum of every value.
    """
    index, expected = next(iter(description.sources.items()))
    if (folder / index).is_file() and (found := sha256_of(folder / index)) != expected:
        raise ModelError(
            f"{folder / WEIGHTS_NAME}: made from another checkpoint than the one beside it "
            f"(import or fetch it again): expected {index} of sha256 {expected}, found {found}"
        )


def _check_table(path: Path, found: Mapping[str, Shape], expected: Mapping[str, Shape]) -> None:
    for name, shape in found.items():
        if name not in expected:
            raise ModelError(
                f"{path}: unknown tensor {quoted(name)}: expected none of this name, found shape {shown(shape)}"
            )
    for name, shape in expected.items():
        if name not in found:
            raise ModelError(f"{path}: missing tensor '{name}': expected shape {shape}, found none")
        if found[name] != shape:
            raise ModelError(f"{path}: misshapen tensor '{name}': expected {shape}, found {shown(found[name])}")


def _content(path: Path, description: Description) -> bytes:
    """Return the bytes of the weights' file, after checking their number and checksum."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) != description.size:
        raise ModelError(
            f"{path}: truncated or damaged weights (convert, import or fetch them again): "
            f"expected {description.size} bytes, found {len(content)}"
        )
    if (found := hashlib.sha256(content).hexdigest()) != description.sha256:
        raise ModelError(
            f"{path}: damaged weights (convert, import or fetch them again): "
            f"expected sha256 {description.sha256}, found {found}"
        )
    return content


def _header(tensors: Mapping[str, NDArray[np.float32]], card: ModelCard) -> bytes:
    """Return the header of a safetensors file that holds the tensors in their order, without gaps."""
    entries: dict[str, Any] = {"__metadata__": {"kind": _KIND, "format": str(_FORMAT), "weights": card.weights}}
    offset = 0
    for name, values in tensors.items():
        end = offset + _DTYPE.itemsize * values.size
        entries[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)  # so that the values are aligned
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def _offsets(path: Path, content: bytes, shapes: Mapping[str, Shape]) -> dict[str, int]:
    """Return where in the file each tensor begins, after checking that the header says what it must."""
    n_header = int.from_bytes(content[:_LENGTH_BYTES], "little")
    begin = _LENGTH_BYTES + n_header
    with refusing(path, "not a safetensors file"):
        if n_header > min(MAX_JSON_BYTES, len(content)):
            raise ValueError(f"a header of {n_header} bytes")
        entries = json.loads(content[_LENGTH_BYTES:begin])
        entries.pop("__metadata__", None)
        found = {name: (entry["dtype"], *entry["shape"], *entry["data_offsets"]) for name, entry in entries.items()}
    offsets, offset = {}, 0
    for name in entries:
        if name in shapes:
            end = offset + _DTYPE.itemsize * int(np.prod(shapes[name]))
            if found[name] != ("F32", *shapes[name], offset, end):
                raise ModelError(
                    f"{path}: header and description differ: tensor '{name}': "
                    f"expected F32 {shapes[name]} at {offset}, found {shown(entries[name], 120)}"
                )
            offsets[name], offset = begin + offset, end
    if offsets.keys() != shapes.keys() or len(entries) != len(shapes) or begin + offset != len(content):
        raise ModelError(
            f"{path}: header and description differ: expected {len(shapes)} tensors and {begin + offset} bytes, "
            f"found {len(entries)} and {len(content)}"
        )
    return offsets
