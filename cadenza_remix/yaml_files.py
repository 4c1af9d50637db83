"""Settings in YAML files: a mapping in which no key stands twice, or one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cadenza_remix.errors import InputError


class _OnceLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if isinstance(name, str) and name in seen:
                found = f"again in line {key.start_mark.line + 1}"
                raise InputError(f"key {name} stands twice", expected="each key once", found=found)
            seen.add(name if isinstance(name, str) else id(key))
        return super().construct_mapping(node, deep)


def read_mapping(path: Path, *, expected: str) -> Mapping[str, Any]:
    """Return what a YAML file says, which must be a mapping in which no key stands twice.

    Raises
    ------
    InputError
        It cannot be read, or is something else; ``expected`` says what was wanted.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_OnceLoader)
    except InputError as error:
        raise InputError(str(error), where=path) from error
    except FileNotFoundError:
        raise InputError("file is missing", where=path, expected=expected) from None
    except OSError as error:
        raise InputError("cannot be read", where=path, expected=expected, found=error.strerror) from error
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        found = " ".join(str(getattr(error, "problem", None) or error).split())[:200]
        mark = getattr(error, "problem_mark", None)
        at = f" at line {mark.line + 1}" if mark is not None else ""
        raise InputError("is not YAML", where=path, expected=expected, found=found + at) from error
    if not isinstance(raw, Mapping):
        found = "nothing" if raw is None else type(raw).__name__
        raise InputError("wrong form", where=path, expected="keys with values", found=found)
    return raw
