"""One family of errors, each of which reads as a single line.

The command line prints the line and exits with status 2. A line names what is wrong and where, and, where they are
known, what was expected and what was found.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class CadenzaError(Exception):
    """Base of everything that this package raises on purpose."""


class InputError(CadenzaError, ValueError):
    """Data given by the user cannot be used.

    Parameters
    ----------
    problem : str
        What is wrong, in a few words.
    where : str or Path, optional
        The file, field or argument concerned.
    expected, found : object, optional
        What would have been accepted and what was received instead.

    Examples
    --------
    >>> print(InputError("wrong number of channels", where="song.wav", expected="1 or 2", found=6))
    song.wav: wrong number of channels: expected 1 or 2, found 6
    """

    def __init__(
        self, problem: str, *, where: str | Path | None = None, expected: object = None, found: object = None
    ) -> None:
        line = problem if where is None else f"{where}: {problem}"
        details = []
        if expected is not None:
            details.append(f"expected {expected}")
        if found is not None:
            details.append(f"found {found}")
        if details:
            line += ": " + ", ".join(details)
        super().__init__(" ".join(line.split()))


class ModelError(CadenzaError):
    """A separation model cannot be had, or its files are not what they should be."""


class OutputError(CadenzaError, OSError):
    """Something could not be written: no permission, no space, not a folder."""


class MissingDependencyError(CadenzaError, ImportError):
    """An optional package is needed and is not installed."""


def unknown_name(kind: str, name: object, known: Iterable[object], *, where: str | Path | None = None) -> InputError:
    """Return the error for a name that is not among the known ones, with the nearest one suggested.

    Examples
    --------
    >>> print(unknown_name("chain", "e15", ["baseline", "e016"]))
    unknown chain 'e15': expected one of baseline, e016 (did you mean 'e016'?)
    """
    names = [str(entry) for entry in known]
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return InputError(f"unknown {kind} {str(name)!r}", where=where, expected="one of " + ", ".join(names) + hint)
