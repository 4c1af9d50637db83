"""Audiograms and listeners, read from the files of the Cadenza and Clarity challenges."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadenza_remix.errors import InputError, unknown_name

LOWEST_TOP_HZ = 100.0
"""No audiogram ends below it: such numbers are kHz."""
LEVEL_RANGE_DB_HL = (-30.0, 140.0)
"""Hearing levels outside this range are taken for mistakes: audiometers end well inside it."""

BUILT_IN_LISTENERS = {"cad1-sample": "cad1_listeners_sample.json", "bisgaard": "bisgaard_listeners.json"}


@dataclass(frozen=True, eq=False)
class Audiogram:
    """Hearing thresholds of one ear.

    Parameters
    ----------
    frequencies_hz : array of shape (n,), n >= 2
        Ascending, each once.
    levels_db_hl : array of shape (n,)
        Hearing loss at each frequency; 0 is normal hearing.
    name : str
        For messages.

    Raises
    ------
    InputError
        Lengths that differ, unsorted or duplicate frequencies, NaN, levels that no audiometer gives.
    """

    frequencies_hz: NDArray[np.float64]
    levels_db_hl: NDArray[np.float64]

    def __init__(self, frequencies_hz: ArrayLike, levels_db_hl: ArrayLike, *, name: str = "audiogram") -> None:
        frequencies = _numbers(frequencies_hz, f"{name}: frequencies")
        levels = _numbers(levels_db_hl, f"{name}: levels")
        if len(frequencies) != len(levels):
            raise InputError(
                "frequencies and levels differ in length", where=name, expected=len(frequencies), found=len(levels)
            )
        if len(frequencies) < 2:
            raise InputError("too few frequencies", where=name, expected="at least 2", found=len(frequencies))
        if frequencies[0] <= 0:
            raise InputError(
                "frequency is not positive", where=name, expected="more than 0 Hz", found=f"{frequencies[0]:g}"
            )
        if frequencies[-1] < LOWEST_TOP_HZ:
            raise InputError(
                "frequencies too low",
                where=name,
                expected="Hz, such as 250 to 8000",
                found=f"up to {frequencies[-1]:g}",
            )
        for before, after in itertools.pairwise(frequencies):
            if after <= before:
                problem = "duplicate frequency" if after == before else "frequencies are not sorted"
                raise InputError(problem, where=name, expected="ascending Hz", found=f"{after:g} after {before:g}")
        low, high = LEVEL_RANGE_DB_HL
        for frequency, level in zip(frequencies, levels, strict=True):
            if not low <= level <= high:
                raise InputError(
                    f"level at {frequency:g} Hz cannot be",
                    where=name,
                    expected=f"{low:g} to {high:g} dB HL",
                    found=f"{level:g}",
                )
        for array in (frequencies, levels):
            array.flags.writeable = False
        object.__setattr__(self, "frequencies_hz", frequencies)
        object.__setattr__(self, "levels_db_hl", levels)

    def levels_at(self, frequencies_hz: ArrayLike) -> NDArray[np.float64]:
        """Return levels in dB HL at other frequencies: linear over log frequency, the end values held outside."""
        wanted = np.log(np.asarray(frequencies_hz, dtype=np.float64))
        return np.interp(wanted, np.log(self.frequencies_hz), self.levels_db_hl)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Audiogram)
            and np.array_equal(self.frequencies_hz, other.frequencies_hz)
            and np.array_equal(self.levels_db_hl, other.levels_db_hl)
        )

    def __hash__(self) -> int:
        return hash((self.frequencies_hz.tobytes(), self.levels_db_hl.tobytes()))


@dataclass(frozen=True)
class Listener:
    """One person: an id and an audiogram for each ear."""

    id: str
    left: Audiogram
    right: Audiogram

    def ear(self, ear: str) -> Audiogram:
        """Return the audiogram of the ``left`` or ``right`` ear."""
        if ear == "left":
            return self.left
        if ear == "right":
            return self.right
        raise unknown_name("ear", ear, ("left", "right"))

    def to_dict(self) -> dict[str, Any]:
        """Return the listener as the challenges' metadata files hold it; needs the same frequencies for both ears."""
        if not np.array_equal(self.left.frequencies_hz, self.right.frequencies_hz):
            raise InputError("ears have different frequencies", where=self.id, expected="one list for both ears")
        return {
            "name": self.id,
            "audiogram_cfs": self.left.frequencies_hz.tolist(),
            "audiogram_levels_l": self.left.levels_db_hl.tolist(),
            "audiogram_levels_r": self.right.levels_db_hl.tolist(),
        }


def load_listeners(source: str | Path, *, only: Iterable[str] | None = None) -> dict[str, Listener]:
    """Read a ``listeners.*.json`` file of a Cadenza or Clarity challenge.

    Parameters
    ----------
    source : path or name
        The file, or the name of a set that travels with the package: ``cad1-sample`` (two validation listeners of
        CAD1) or ``bisgaard`` (the standard audiograms N1-N7 and S1-S3 of Bisgaard et al. 2010, the same in both ears).
    only : iterable of str, optional
        Keep these listeners, in this order.

    Returns
    -------
    dict of str to Listener
        By id, in the order of the file.

    Raises
    ------
    InputError
        The file is missing, is no JSON, or a field is missing or wrong: the message names listener and field.
    """
    path, text = _read_source(source)
    try:
        raw = json.loads(text, object_pairs_hook=_refuse_duplicates)
    except json.JSONDecodeError as error:
        raise InputError(
            "is not JSON", where=path, expected="an object of listeners", found=f"{error.msg} at line {error.lineno}"
        ) from error
    except InputError as error:
        raise InputError(str(error), where=path) from error
    except (ValueError, RecursionError) as error:
        raise InputError("is not JSON that can be read", where=path, expected="an object of listeners") from error
    if not isinstance(raw, dict) or not raw:
        raise InputError("holds no listeners", where=path, expected="an object, key = listener id", found=_kind(raw))
    listeners = {key: _listener_from(key, entry, path) for key, entry in raw.items()}
    if only is None:
        return listeners
    chosen = list(dict.fromkeys(only))
    for key in chosen:
        if key not in listeners:
            raise unknown_name("listener", key, listeners, where=path)
    return {key: listeners[key] for key in chosen}


def _read_source(source: str | Path) -> tuple[Path, str]:
    path = Path(source)
    if not path.exists() and str(source) in BUILT_IN_LISTENERS:
        resource = resources.files("cadenza_remix.resources").joinpath(BUILT_IN_LISTENERS[str(source)])
        return Path(str(source)), resource.read_text(encoding="utf-8")
    try:
        return path, path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        expected = "a JSON file, or one of " + ", ".join(BUILT_IN_LISTENERS)
        raise InputError("listener file is missing", where=path, expected=expected) from None
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=path, expected="a JSON file of listeners") from error
    except OSError as error:
        raise InputError(
            "cannot be read", where=path, expected="a JSON file of listeners", found=error.strerror
        ) from error


def _listener_from(key: str, entry: object, path: Path) -> Listener:
    where = f"{path}: listener {key}"
    if not isinstance(entry, Mapping):
        raise InputError("wrong entry", where=where, expected="an object", found=_kind(entry))
    fields = ("name", "audiogram_cfs", "audiogram_levels_l", "audiogram_levels_r")
    for field in fields:
        if field not in entry:
            raise InputError(
                f"field {field} is missing", where=where, expected=", ".join(fields), found=", ".join(entry)
            )
    if entry["name"] != key:
        raise InputError("field name differs from the key", where=where, expected=repr(key), found=repr(entry["name"]))
    if not key.strip() or "/" in key or "\\" in key or key.startswith("."):
        raise InputError("id cannot name a folder", where=where, expected="letters, digits, - and _", found=repr(key))
    frequencies = _numbers(entry["audiogram_cfs"], f"{where}: audiogram_cfs")
    ears = {}
    for ear, field in (("left", "audiogram_levels_l"), ("right", "audiogram_levels_r")):
        levels = _numbers(entry[field], f"{where}: {field}")
        ears[ear] = Audiogram(frequencies, levels, name=f"{where}: {field}")
    return Listener(id=key, left=ears["left"], right=ears["right"])


def _numbers(values: object, where: str) -> NDArray[np.float64]:
    """Turn a list into finite floats, or say which entry is none."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes, Mapping)):
        raise InputError("wrong kind", where=where, expected="a list of numbers", found=_kind(values))
    numbers = []
    for index, value in enumerate(values):
        if isinstance(value, int) and abs(value) > 1e9:
            value = math.inf  # also what no float can hold
        real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not real or not math.isfinite(float(value)):
            raise InputError(
                f"entry {index + 1} is not a number", where=where, expected="finite numbers", found=repr(value)
            )
        numbers.append(float(value))
    return np.array(numbers, dtype=np.float64)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise InputError("key stands twice", expected="each key once", found=repr(key))
        result[key] = value
    return result


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: f"text {value!r}", type(None): "null"}
    return names.get(type(value), type(value).__name__) if value not in ({}, []) else "nothing"
