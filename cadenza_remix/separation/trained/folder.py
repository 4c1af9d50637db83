"""The folder of a model that was trained here: the network, and a note that says all that is needed to use it.

::

    <model>/network.keras   the network with its weights, for `keras.saving.load_model` and for us
    <model>/model.json      format, name, specification, inference, facts, checksums

Somebody else's model is read without trusting it: the network is built from the specification by our own code, and
only its weights are read from the file, so no code in a ``.keras`` file is ever run. `keras.saving.load_model`
opens the file, too, after ``import cadenza_remix.separation.networks.network_layers``, by Keras's own rules.
"""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from cadenza_remix.atomic import all_at_once
from cadenza_remix.errors import InputError, ModelError
from cadenza_remix.separation.models.fetching import sha256_of
from cadenza_remix.separation.models.untrusted import plain_name, quoted, read_json, refusing, sha256_digits
from cadenza_remix.separation.networks.architectures import NetworkSpec, build_network, least_weights
from cadenza_remix.separation.trained import CARD_NAME
from cadenza_remix.separation.trained.masks import Inference

NETWORK_NAME = "network.keras"
_FORMAT_VERSION = 1
_WHAT = "not the note of a trained model"
#: Below the folder of a training, the model is here.
_OF_A_TRAINING = "model"
_BYTES_OF_A_WEIGHT = 4
#: What reading a damaged archive or one of another network raises.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError, zipfile.BadZipFile)


@dataclass(frozen=True)
class TrainedModel:
    """What a model's folder says of it; the weights are still in their file.

    Parameters
    ----------
    spec : NetworkSpec
        How to build the network.
    inference : Inference
        What to do with its outputs.
    facts : mapping
        How it was trained: data, licence, ``private_data``, loss, scores, versions ... Nothing here depends on it but
        what challenges' rules ask (``private_data``, ``data``).
    path : Path
        The folder.
    name : str
        What whoever trained it calls it.
    weights_sha256 : str
        Checksum of the weights, whatever file they lie in; see `weights_digest`.
    """

    spec: NetworkSpec
    inference: Inference
    facts: Mapping[str, Any]
    path: Path
    name: str
    weights_sha256: str


def write_model_folder(
    path: str | Path,
    network: Any,
    spec: NetworkSpec,
    *,
    name: str,
    inference: Mapping[str, Any] | Inference | None = None,
    facts: Mapping[str, Any],
) -> TrainedModel:
    """Write a model's two files, in place of those that are there, both or none; other files of the folder stay.

    Parameters
    ----------
    path : str or Path
        The folder; made as needed.
    network : keras.Model
        Built by `build_network` from ``spec``, or of the same layers in the same order. An optimiser's state is
        left out.
    spec : NetworkSpec
    name : str
        What to call it; no path.
    inference : Inference or mapping, optional
        The parameters of `Inference`; the network's masks as they are by default.
    facts : mapping
        Plain values for JSON; without NaN and infinity.

    Raises
    ------
    InputError
        The name, the inference or the facts cannot be used.
    OutputError
        The folder cannot be written, or the disk is full; what was there is still there.
    """
    folder = Path(path)
    plain = inference.as_dict() if isinstance(inference, Inference) else dict(inference or {})
    note = {
        "format_version": _FORMAT_VERSION,
        "name": _checked_name(name),
        "spec": spec.as_dict(),
        "inference": Inference.from_dict(plain, spec).as_dict(),
        "facts": dict(facts),
        "weights_sha256": weights_digest(network),
    }
    try:
        json.dumps(note, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            "cannot be kept as JSON", where=f"facts of {name}", expected="plain values", found=str(error)
        ) from error
    with all_at_once([folder / NETWORK_NAME, folder / CARD_NAME]) as (network_file, note_file):
        _bare(network).save(network_file)
        note["sha256"] = sha256_of(network_file)
        note_file.write_text(json.dumps(note, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return read_model_folder(folder)


def read_model_folder(path: str | Path) -> TrainedModel:
    """Read what a folder says of its model, and check that the network's file is the one that it tells of.

    Neither Keras nor its back end is loaded.

    Raises
    ------
    InputError
        There is no such folder, or none of a trained model.
    ModelError
        The note cannot be read or is of a newer make; the network's file is missing or damaged.
    """
    folder = _expanded(path)
    note_path, network_path = folder / CARD_NAME, folder / NETWORK_NAME
    try:
        note = read_json(note_path, _WHAT)
    except (FileNotFoundError, NotADirectoryError) as error:
        found = f"no {CARD_NAME} in it" if folder.is_dir() else "no such folder"
        expected = f"a folder with {CARD_NAME} and {NETWORK_NAME}, as training writes it"
        if (inner := folder / _OF_A_TRAINING / CARD_NAME).is_file():
            found, expected = "the folder of a training", f"the model in it, {inner.parent}"
        raise InputError("no trained model", where=path, expected=expected, found=found) from error
    with refusing(note_path, _WHAT):
        if note["format_version"] != _FORMAT_VERSION:
            raise ValueError(f"format_version: expected {_FORMAT_VERSION}, found {quoted(note['format_version'])}")
        spec = NetworkSpec.from_dict(note["spec"])
        model = TrainedModel(
            spec=spec,
            inference=Inference.from_dict(note["inference"], spec),
            facts=MappingProxyType(dict(note["facts"])),
            path=folder,
            name=plain_name(note["name"]),
            weights_sha256=sha256_digits(note["weights_sha256"]),
        )
        expected = sha256_digits(note["sha256"])
    if not network_path.is_file():
        raise ModelError(f"{network_path}: no such file: expected the network that {CARD_NAME} tells of")
    found = sha256_of(network_path)
    if found != expected:
        raise ModelError(
            f"{network_path}: damaged, or of another model: expected sha256 {expected[:12]}..., found {found[:12]}..."
        )
    return model


def load_network(model: TrainedModel) -> Any:
    """Return the network of a trained model with its weights.

    It is built from the specification; of the file only the weights are read.

    Raises
    ------
    ModelError
        The specification cannot be built, or the weights are not those of this network.
    """
    network_path = model.path / NETWORK_NAME
    with refusing(model.path / CARD_NAME, "specification of no network of ours"):
        _check_size(model.spec, network_path)
        network = build_network(model.spec)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it leaves out: the checksum below tells
            network.load_weights(str(network_path))
    except _UNREADABLE as error:
        raise ModelError(
            f"{network_path}: weights do not fit {model.spec.architecture}: {_first_line(error)}"
        ) from error
    if weights_digest(network) != model.weights_sha256:
        raise ModelError(f"{network_path}: other weights than those that {CARD_NAME} tells of")
    return network


def weights_digest(network: Any) -> str:
    """Return a SHA-256 of a network's weights: the same for equal weights, whenever and wherever they were saved."""
    digest = hashlib.sha256()
    for weights in network.get_weights():
        array = np.ascontiguousarray(weights, dtype="<f4")
        digest.update(f"{array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _check_size(spec: NetworkSpec, network_path: Path) -> None:
    """Refuse a network whose weights cannot be in the file, before there is memory for them: nothing in it is packed.

    Raises
    ------
    ValueError
        It is larger than its file, or the file is packed.
    ModelError
        The file is no archive.
    """
    try:
        n_bytes = network_path.stat().st_size
        with zipfile.ZipFile(network_path) as archive:
            is_packed = any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist())
    except _UNREADABLE as error:
        raise ModelError(f"{network_path}: weights do not fit {spec.architecture}: {_first_line(error)}") from error
    if is_packed:
        raise ValueError(f"{NETWORK_NAME} is packed: expected parts as they are, as Keras writes them")
    if (n_weights := least_weights(spec)) * _BYTES_OF_A_WEIGHT > n_bytes:
        raise ValueError(f"{n_weights} weights or more, which is more than the {n_bytes} bytes of {NETWORK_NAME} hold")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__


def _bare(network: Any) -> Any:
    """Return a network without the optimiser that it was compiled with: it would be as large as two networks."""
    if getattr(network, "optimizer", None) is None:
        return network
    from cadenza_remix.separation.networks.backend import load_keras

    return load_keras().Model(network.input, network.output, name=network.name)


def _checked_name(name: str) -> str:
    try:
        return plain_name(name)
    except ValueError as error:
        raise InputError("wrong name of a model", expected="a few plain words, no path", found=quoted(name)) from error


def _expanded(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # of a user that there is not
        raise InputError("no trained model", where=path, expected="a folder", found=str(error)) from error
