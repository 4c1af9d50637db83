"""From plain values (YAML, JSON) to nested frozen dataclasses and back; unknown names and wrong types are refused."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from cadenza_remix.errors import InputError, unknown_name

Made = TypeVar("Made")
#: Settings that are paths.
PATH_KEYS = ("path", "initial_weights")


def build(cls: type[Made], values: object, *, where: str) -> Made:
    """Return a dataclass made from a mapping, nested ones included.

    Raises
    ------
    InputError
        An unknown or missing name, a value of the wrong type; ``where`` and the names on the way say which.
    """
    if not isinstance(values, Mapping):
        raise InputError("wrong setting", where=where or "configuration", expected="names and values", found=values)
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise unknown_name("setting", name, known, where=where or None)
    hints = get_type_hints(cls)
    given = {name: _made(hints[name], value, _joined(where, name)) for name, value in values.items()}
    for name, field in known.items():
        if name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise InputError("setting is missing", where=_joined(where, name), expected="a value")
    return cls(**given)


def plain(value: Any) -> Any:
    """Return a value as YAML and JSON have it: mappings, lists, text, numbers."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def from_yaml(path: str | Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Return what a YAML file says, with ``key=value`` overrides laid over it.

    Relative paths (under the keys of `PATH_KEYS`) that the file says count from its folder and become absolute; those
    of overrides stay as they are.

    Raises
    ------
    InputError
        The file is missing, no YAML or no mapping, or an override is none.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        config = OmegaConf.create(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("file is missing", where=path, expected="a YAML file") from error
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise InputError("cannot be read", where=path, expected="a YAML file", found=_line(error)) from error
    if not OmegaConf.is_dict(config):
        raise InputError("wrong configuration", where=path, expected="names and values")
    config = OmegaConf.create(_rooted(OmegaConf.to_container(config), Path(path).absolute().parent))
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals or not key.strip():
            raise InputError("wrong override", where=override, expected="key=value")
        try:
            value = OmegaConf.from_dotlist([f"value={override.partition('=')[2]}"])["value"]
            OmegaConf.update(config, key.strip(), value, merge=False)
        except (YAMLError, ValueError, TypeError, OmegaConfBaseException) as error:
            raise InputError("wrong override", where=override, expected="key=value", found=_line(error)) from error
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError("cannot be resolved", where=path, found=_line(error)) from error
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}


def _rooted(value: Any, folder: Path) -> Any:
    """Return plain values with the paths in them taken from a folder."""
    if isinstance(value, list):
        return [_rooted(entry, folder) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        key: str(folder / Path(entry).expanduser())
        if key in PATH_KEYS and isinstance(entry, str) and entry and "${" not in entry
        else _rooted(entry, folder)
        for key, entry in value.items()
    }


def _made(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return _made(hint, value, where)
    if is_dataclass(hint):
        return build(hint, value, where=where)  # type: ignore[arg-type]
    if origin is Literal:
        if isinstance(value, bool):  # as YAML reads yes, no, on, off
            value = str(value).lower()
        if str(value) not in arguments:
            raise unknown_name("value", value, arguments, where=where)
        return str(value)
    if origin is tuple:
        return _tuple(arguments, value, where)
    if hint is Any:
        return value
    if origin is not None and isinstance(value, Mapping):
        return {str(key): _made(arguments[1], entry, _joined(where, str(key))) for key, entry in value.items()}
    if hint is Path and isinstance(value, str | Path) and str(value):
        return Path(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and is_number and math.isfinite(value):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    kinds: dict[Any, str] = {
        int: "a whole number",
        float: "a finite number",
        str: "text",
        bool: "true or false",
        Path: "a path",
    }
    raise InputError("wrong setting", where=where, expected=kinds.get(hint, "names and values"), found=repr(value))


def _tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        if isinstance(value, Mapping) or arguments[0] is not str:
            raise InputError("wrong setting", where=where, expected="a list", found=repr(value))
        value = [value]  # a single name for a list of them
    if arguments[-1] is Ellipsis:
        return tuple(_made(arguments[0], entry, f"{where}[{index}]") for index, entry in enumerate(value))
    if len(value) != len(arguments):
        raise InputError("wrong setting", where=where, expected=f"{len(arguments)} values", found=repr(value))
    return tuple(_made(hint, entry, where) for hint, entry in zip(arguments, value, strict=True))


def _joined(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _line(error: BaseException) -> str:
    """Return an error of YAML with its place, the first line of any other."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"{getattr(error, 'problem', None) or 'an error'} in line {mark.line + 1}, column {mark.column + 1}"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
