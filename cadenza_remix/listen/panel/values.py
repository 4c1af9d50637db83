"""Plain values of a settings file, each checked where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cadenza_remix.errors import InputError, unknown_name


@dataclass(frozen=True)
class Reader:
    """Values of a mapping, each checked; ``where`` names the file.

    All methods raise `InputError` for a value of another kind or beyond the limits.
    """

    raw: Mapping[str, Any]
    where: str

    def text(self, key: str, default: str, *, lines: bool = False) -> str:
        """Return text that is not empty; ``lines``: of more than one line."""
        value = self.raw.get(key, default)
        if value is default:
            return default
        if not isinstance(value, str) or not value.strip() or len(value) > 20_000 or (not lines and "\n" in value):
            raise self._wrong(key, "text" if lines else "text of one line", value)
        return value.strip()

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return a list of different names; one name alone is a list of one."""
        value = self.raw.get(key, default)
        value = [value] if isinstance(value, str) else value
        if value is default:
            return default
        if not isinstance(value, list) or not value or not all(isinstance(v, str) and v.strip() for v in value):
            raise self._wrong(key, "a list of names", value)
        if len(set(value)) < len(value):
            raise self._wrong(key, "each name once", value)
        return tuple(value)

    def choice(self, key: str, known: tuple[str, ...]) -> str:
        """Return one of the known names."""
        if self.raw[key] not in known:
            raise unknown_name(key, self.raw[key], known, where=self.where)
        return str(self.raw[key])

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.raw.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def number(self, key: str, default: float, low: float, high: float, *, null: bool = False) -> float | None:
        """Return a number from ``low`` to ``high``, or None where ``null`` is allowed."""
        value = self.raw.get(key, default)
        if null and value is None:
            return None
        return number_from(value, low, high, f"{self.where}: {key}", " or null" if null else "")

    def whole(self, key: str, default: int, *, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``."""
        value = self.raw.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(key, f"a whole number from {low} to {high}", value)
        return value

    def _wrong(self, key: str, expected: str, found: object) -> InputError:
        return InputError("wrong value", where=f"{self.where}: {key}", expected=expected, found=repr(found)[:80])


def number_from(value: object, low: float, high: float, where: str, more: str = "") -> float:
    """Return a number within its limits, which NaN never is; whole numbers may be too large for a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        expected = f"a number from {low:g} to {high:g}{more}"
        raise InputError("wrong value", where=where, expected=expected, found=repr(value)[:80])
    return float(value)


def checked_keys(value: object, known: tuple[str, ...], where: str) -> Mapping[str, Any]:
    """Return a mapping that has no keys but the known ones."""
    if not isinstance(value, Mapping):
        raise InputError("wrong form", where=where, expected=f"keys {', '.join(known)}", found=repr(value)[:80])
    for key in value:
        if key not in known:
            raise unknown_name("key", key, known, where=where)
    return value
