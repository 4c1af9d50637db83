"""Separators that other packages bring along, found by the entry-point group ``cadenza_remix.separators``.

In the other package's ``pyproject.toml``::

    [project.entry-points."cadenza_remix.separators"]
    "acme:midside" = "acme_separation:build"

The entry's name is the separator's name; its value is a callable that returns a
`cadenza_remix.separation.separator.Separator`. It takes no arguments, or one by the name of ``options`` (a
`cadenza_remix.separation.options.SeparationOptions`), of which it has to refuse what it does not know. Looking for
names loads none of them; a broken one fails when it is asked for, and no other one with it. The tutorial is
``docs/own_separator.md``.

For challenges that bar models trained on private data, the separator may have two attributes more: ``private_data``
(bool: unpublished songs were among the training data) and ``training_data`` (a line that says what was). Without
``private_data = False`` it is refused under such rules, since nobody knows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from cadenza_remix.errors import CadenzaError, ModelError
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.separator import Separator

GROUP = "cadenza_remix.separators"


@dataclass(frozen=True)
class DeclaredTraining:
    """What a plug-in's separator says of its training, for `cadenza_remix.separation.models.registry.check_rules`."""

    name: str
    training_data: str
    private_data: bool | None


def declared_training(separator: Separator) -> DeclaredTraining:
    """Return what a separator says of its training; ``private_data`` is None where it says nothing."""
    private = getattr(separator, "private_data", None)
    data = str(getattr(separator, "training_data", None) or "private data")
    return DeclaredTraining(separator.name, data, private if isinstance(private, bool) else None)


def plugin_names() -> tuple[str, ...]:
    """Return the names of all separators that installed packages offer, sorted; nothing of them is loaded."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def load_plugin(name: str, *, options: SeparationOptions) -> Separator:
    """Build a separator that an installed package offers.

    Parameters
    ----------
    name : str
        One of `plugin_names`.
    options : SeparationOptions
        Handed on where the plug-in takes options; any that is not at its default is refused where it takes none.

    Raises
    ------
    ModelError
        The plug-in cannot be loaded, raises something, gives no separator, or two packages offer this name. What it
        raises on purpose (`CadenzaError`) is passed on.
    InputError
        The separator does not know one of the options.
    """
    entry = _only_entry(name)
    origin = _origin(entry)
    try:
        build = entry.load()
    except CadenzaError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{name}: {origin} cannot be loaded: {_told(error)}") from error
    if not callable(build):
        raise ModelError(f"{name}: {origin} is no callable: found {type(build).__name__}")
    takes_options = _takes_options(build)
    if not takes_options:
        options.refuse_all_but((), separator=name)
    try:
        separator = build(options=options) if takes_options else build()
    except CadenzaError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{name}: {origin} failed: {_told(error)}") from error
    _check(separator, name, origin)
    return cast(Separator, separator)


def _only_entry(name: str) -> EntryPoint:
    entries = sorted(entry_points(group=GROUP, name=name), key=lambda entry: entry.value)
    if not entries:
        raise ModelError(f"{name}: no installed package offers this separator")
    if len(entries) > 1:
        packages = ", ".join(_origin(entry) for entry in entries)
        raise ModelError(
            f"{name}: offered by more than one package: expected one of them uninstalled, found {packages}"
        )
    return entries[0]


def _origin(entry: EntryPoint) -> str:
    """Name the plug-in for messages: ``plug-in acme_separation:build of acme-separation 1.0``."""
    package = f" of {entry.dist.name} {entry.dist.version}" if entry.dist is not None else ""
    return f"plug-in {entry.value}{package}"


def _takes_options(build: Callable[..., object]) -> bool:
    try:
        return "options" in inspect.signature(build).parameters
    except (TypeError, ValueError):  # a callable of a C extension may have no signature
        return False


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: " + " ".join(str(error).split())


def _check(separator: object, name: str, origin: str) -> None:
    """Refuse what is no separator by what every caller relies on."""
    expectations: dict[str, tuple[str, Callable[[object], bool]]] = {
        "name": (repr(name), lambda value: value == name),
        "stems": ("a tuple of names", lambda value: bool(value) and _are_names(value)),
        "sample_rate": ("a number of Hz", lambda value: isinstance(value, int) and value > 0),
        "fingerprint": ("some text", lambda value: isinstance(value, str) and value != ""),
        "separate": ("a method", callable),
        "separate_blocks": ("a method", callable),
    }
    for attribute, (expected, fits) in expectations.items():
        try:
            value = getattr(separator, attribute)
        except AttributeError:
            raise ModelError(f"{name}: {origin} gave no separator: expected {attribute}, found none") from None
        if not fits(value):
            raise ModelError(
                f"{name}: {origin} gave a separator with a wrong {attribute}: expected {expected}, found {value!r}"
            )


def _are_names(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(stem, str) and stem for stem in value)
