"""Checkpoints: all variables and the state of the loop in one file, written whole or not at all, checked when read.

::

    checkpoints/last.npz      the newest
    checkpoints/previous.npz  the one before it
    checkpoints/best.npz      the one that validated best
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.atomic import atomic_path
from cadenza_remix.errors import InputError

_STATE = "state"
_FORMAT_VERSION = 1
#: What reading a damaged archive raises (each member has a checksum).
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Parameters
    ----------
    model, optimiser : tuple of array
        The variables in the order in which Keras lists them: weights, moving statistics, states of random numbers.
    state : mapping
        Plain values: step, best score, ...
    """

    model: tuple[NDArray[Any], ...]
    optimiser: tuple[NDArray[Any], ...]
    state: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of a training in their folder."""

    def __init__(self, folder: Path) -> None:
        self.last, self.previous, self.best = (folder / f"{name}.npz" for name in ("last", "previous", "best"))

    def write_last(self, checkpoint: Checkpoint) -> None:
        """Write the newest; the one that was it becomes the previous one.

        Raises
        ------
        OutputError
            It cannot be written, or the disk is full; the newest that could be written is still there.
        """
        write_checkpoint(self.last, checkpoint, previous=self.previous)

    def read_newest(self, tell: Callable[[str], object]) -> Checkpoint | None:
        """Return the newest checkpoint that is whole; None where there is none at all.

        Parameters
        ----------
        tell : callable
            Gets a line for each that is damaged.

        Raises
        ------
        InputError
            There are some, and all are damaged.
        """
        damaged = None
        for path in (self.last, self.previous):
            if path.exists():
                try:
                    return read_checkpoint(path)
                except InputError as error:
                    damaged = error
                    tell(f"{error}; going back to the one before")
        if damaged is not None:
            raise damaged
        return None


def write_checkpoint(path: Path, checkpoint: Checkpoint, *, previous: Path | None = None) -> None:
    """Write a checkpoint atomically; what was there before it becomes ``previous``."""
    note = json.dumps({"format_version": _FORMAT_VERSION, **checkpoint.state})
    arrays = {_STATE: np.frombuffer(note.encode(), dtype=np.uint8)}
    arrays |= {f"model{index:05d}": array for index, array in enumerate(checkpoint.model)}
    arrays |= {f"optimiser{index:05d}": array for index, array in enumerate(checkpoint.optimiser)}
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        if previous is not None and path.exists():
            path.replace(previous)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    InputError
        It is missing or damaged, or of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        state = json.loads(arrays.pop(_STATE).tobytes().decode())
        version = state.pop("format_version")
    except FileNotFoundError as error:
        raise InputError("no such checkpoint", where=path, expected="a file that training wrote") from error
    except _DAMAGED as error:
        raise InputError("checkpoint is damaged", where=path, found=str(error) or type(error).__name__) from error
    if version != _FORMAT_VERSION:
        raise InputError("checkpoint of another version", where=path, expected=_FORMAT_VERSION, found=version)
    kinds = {
        kind: tuple(arrays[name] for name in sorted(arrays) if name.startswith(kind)) for kind in ("model", "optimiser")
    }
    return Checkpoint(kinds["model"], kinds["optimiser"], state)


def values_of(variables: Sequence[Any]) -> tuple[NDArray[Any], ...]:
    """Return copies of the values of Keras variables.

    Raises
    ------
    InputError
        One is not finite: such a state would be worth nothing.
    """
    from cadenza_remix.separation.networks.backend import load_keras

    convert = load_keras().ops.convert_to_numpy
    values = tuple(np.array(convert(variable)) for variable in variables)
    for variable, value in zip(variables, values, strict=True):
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise InputError(
                "weights are not finite",
                where=variable.path,
                expected="a smaller learning_rate",
                found="NaN or infinity",
            )
    return values


def set_values(variables: Sequence[Any], values: Sequence[NDArray[Any]], *, where: str | Path) -> None:
    """Give Keras variables their values back.

    Raises
    ------
    InputError
        They are other variables: another number, or other shapes.
    """
    shapes = [tuple(variable.shape) for variable in variables]
    found = [value.shape for value in values]
    if shapes != found:
        raise InputError(
            "checkpoint of another network or optimiser",
            where=where,
            expected=f"{len(shapes)} variables",
            found=f"{len(found)}, or other shapes",
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
