"""What a browser sends as an answer, checked whole before anything of it is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.listen.panel.config import TestSettings
from cadenza_remix.listen.panel.records import PlannedTrial

_KEYS = ("ratings", "seconds", "n_plays")
_MOST_SECONDS = 7 * 86_400.0
_MOST_PLAYS = 1_000_000
_PREFERENCES = ((0.0, 1.0), (1.0, 0.0))
_NO_PREFERENCE = (0.5, 0.5)


@dataclass(frozen=True)
class Answer:
    """Values by label and scale, how long the page was open, and how often each label was heard."""

    ratings: Mapping[str, Mapping[str, float]]
    seconds: float
    n_plays: Mapping[str, int]


def answer_from(body: Mapping[str, Any], settings: TestSettings, trial: PlannedTrial) -> Answer:
    """Check an answer against the trial that it is for.

    Raises
    ------
    InputError
        A label or scale is missing or unknown, a value is no number from 0 to 100 (A/B: no choice), or something else
        of the body is wrong.
    """
    _known(body, _KEYS, "answer")
    given = _whole(body.get("ratings"), tuple(trial.labels), "ratings")
    scales = tuple(scale.id for scale in settings.scales)
    highest = 1.0 if settings.type == "ab" else 100.0
    ratings = {}
    for label in trial.labels:
        values = _whole(given[label], scales, f"ratings: {label}")
        ratings[label] = {scale: _number(values[scale], highest, f"ratings: {label}: {scale}") for scale in scales}
    if settings.type == "ab":
        _check_preference(tuple(values[scales[0]] for values in ratings.values()), settings.allow_no_preference)
    seconds = _number(body.get("seconds", 0.0), _MOST_SECONDS, "seconds")
    return Answer(ratings, seconds, _plays(body.get("n_plays", {}), tuple(trial.labels)))


def volume_from(body: Mapping[str, Any]) -> float:
    """Return the volume of the level check, above 0 and at most 1.

    Raises
    ------
    InputError
        It is none.
    """
    _known(body, ("volume",), "level")
    volume = _number(body.get("volume"), 1.0, "volume")
    if volume == 0:
        raise InputError("nothing can be heard", where="volume", expected="more than 0", found=0)
    return volume


def _check_preference(values: tuple[float, ...], allow_none: bool) -> None:
    allowed = (*_PREFERENCES, _NO_PREFERENCE) if allow_none else _PREFERENCES
    if values not in allowed:
        expected = "1 and 0" + (", or 0.5 and 0.5" if allow_none else "")
        raise InputError("no choice", where="ratings", expected=expected, found=" and ".join(f"{v:g}" for v in values))


def _plays(value: object, labels: tuple[str, ...]) -> dict[str, int]:
    _known(value, labels, "n_plays")
    assert isinstance(value, Mapping)
    for label, n_plays in value.items():
        if not isinstance(n_plays, int) or isinstance(n_plays, bool) or not 0 <= n_plays <= _MOST_PLAYS:
            raise InputError(
                "wrong value", where=f"n_plays: {label}", expected="a whole number", found=repr(n_plays)[:40]
            )
    return dict(value)


def _known(value: object, known: tuple[str, ...], where: str) -> None:
    if not isinstance(value, Mapping):
        raise InputError("wrong form", where=where, expected=f"keys {', '.join(known)}", found=type(value).__name__)
    for key in value:
        if key not in known:
            raise unknown_name("key", str(key)[:40], known, where=where)


def _whole(value: object, names: tuple[str, ...], where: str) -> Mapping[str, Any]:
    """Return a mapping that has each of the names and no other."""
    _known(value, names, where)
    assert isinstance(value, Mapping)
    missing = [name for name in names if name not in value]
    if missing:
        raise InputError(f"{missing[0]} is missing", where=where, expected=", ".join(names))
    return value


def _number(value: object, highest: float, where: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= highest:
        raise InputError("wrong value", where=where, expected=f"a number from 0 to {highest:g}", found=repr(value)[:40])
    number = float(value)
    assert math.isfinite(number)
    return number
