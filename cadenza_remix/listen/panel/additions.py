"""What an organiser asks for when participants are added: whose hearing, how many, and which labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cadenza_remix.errors import InputError
from cadenza_remix.listen.panel.config import LONGEST_LABEL, ParticipantChoice, label_from, participant_from
from cadenza_remix.listen.panel.values import checked_keys

MOST_AT_ONCE = 100

_COUNTED = re.compile(r"(.*?)([0-9]+)")


@dataclass(frozen=True)
class Addition:
    """So many participants of one hearing; each with a label of their own, or None."""

    choice: ParticipantChoice
    labels: tuple[str | None, ...] = (None,)


def addition_from(body: Mapping[str, Any]) -> Addition:
    """Read ``{listener: id}`` or ``{audiogram: ...}``, with ``count`` and ``label`` where they are given.

    Raises
    ------
    InputError
        No such participant can be, or `labels_from` refuses the rest.
    """
    given = checked_keys(body, ("listener", "audiogram", "count", "label"), "participant")
    choice = participant_from({key: value for key, value in given.items() if key not in ("count", "label")})
    return Addition(choice, labels_from(given.get("count", 1), given.get("label")))


def labels_from(count: object, label: object) -> tuple[str | None, ...]:
    """Return the labels of so many participants; a label for several is counted up.

    Parameters
    ----------
    count : int
        1 to `MOST_AT_ONCE`.
    label : str or None
        At most `LONGEST_LABEL` printable characters; for several it ends in digits. Empty is none.

    Raises
    ------
    InputError
        A number or label that cannot be.

    Examples
    --------
    >>> labels_from(3, "P09")
    ('P09', 'P10', 'P11')
    >>> labels_from(2, None)
    (None, None)
    """
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_AT_ONCE:
        expected = f"a whole number from 1 to {MOST_AT_ONCE}"
        raise InputError("wrong value", where="count", expected=expected, found=repr(count)[:40])
    text = label_from(label)
    if text is None or count == 1:
        return (text,) * count
    labels = _counted(text, count)
    longest = max(map(len, labels))
    if longest > LONGEST_LABEL:
        raise InputError("too long", where="label", expected=f"at most {LONGEST_LABEL} characters", found=longest)
    return labels


def _counted(label: str, count: int) -> tuple[str, ...]:
    parts = _COUNTED.fullmatch(label)
    if parts is None:
        raise InputError("cannot be counted up", where="label", expected="digits at its end, as P01", found=repr(label))
    stem, digits = parts.groups()
    return tuple(f"{stem}{int(digits) + step:0{len(digits)}d}" for step in range(count))
