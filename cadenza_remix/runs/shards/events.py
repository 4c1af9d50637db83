"""The lines of journals: what they are called, where they lie, how they are read."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from cadenza_remix.runs.shards.folder import DEMIX, RunFolder, ShardId

TIME_LIMIT = "time limit"
TERMINATED = "terminated"
COMPLETE = "complete"
"""Why a unit was dropped or a journal closed."""

NAME = re.compile(r"(?!0000)(?P<round>[0-9]{4})-(?P<host>.*)-(?P<pid>[0-9]{1,18})-[0-9a-f]{8}\.jsonl")
"""How journals are called; what is called otherwise, such as with a round over 9999, is none of ours."""


@dataclass(frozen=True)
class Event:
    """One line of a journal: when (Unix seconds of that machine's clock), what, of which unit, and the rest."""

    t: float
    name: str
    unit: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_events(path: Path) -> list[Event]:
    """Return the events of one journal in the order in which they were written; nothing when it cannot be read.

    Lines that are no events are passed over: a killed machine leaves half a line, or a block of zeros.
    """
    return [
        Event(t, name, unit, facts if seconds != seconds else {**facts, "seconds": seconds})
        for t, name, unit, seconds, facts in read_lines(path)
    ]


class Line(NamedTuple):
    """What is read of a line: `Event`, in a form that is quickly made; ``seconds`` is NaN where there are none."""

    t: float
    name: str
    unit: str
    seconds: float
    facts: Mapping[str, Any]


def read_lines(path: Path) -> list[Line]:
    """Return the lines of a journal that are events."""
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    found = []
    # Nearly all lines are of the usual form, for which a pattern takes a third of the time that a parser does.
    for t, name, unit, seconds, other in _USUAL.findall(text):
        if not other:
            found.append(Line(float(t), name, unit, float(seconds or "nan"), NOTHING))
        elif (line := _parsed(other)) is not None:
            found.append(line)
    return found


NOTHING: Mapping[str, Any] = MappingProxyType({})
_USUAL = re.compile(
    r'\{"t":(\d{1,15}\.\d{1,9}),"event":"([a-z]+)","unit":"([^"\\\x00-\x1f]+)"(?:,"seconds":(\d{1,15}\.\d{1,9}))?\}\n'
    r"|([^\n]+)\n"  # a line is there once its end is
)


def _parsed(text: str) -> Line | None:
    """Return an event of any form, None for what is none."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if type(raw) is not dict:
        return None
    t, name, unit = raw.pop("t", None), raw.pop("event", None), raw.pop("unit", "")
    if type(t) not in (int, float) or type(name) is not str or type(unit) is not str or not -1e15 < t < 1e15:
        return None
    seconds = raw.pop("seconds", None)
    return Line(t, name, unit, seconds if type(seconds) in (int, float) else math.nan, raw)


def journals_in(folder: Path) -> list[Path]:
    """Return the journals in a shard's folder; none when there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if NAME.fullmatch(entry.name)]
    except OSError:
        return []


def journal_folders(folder: RunFolder) -> list[Path]:
    """Return the folder of each shard that has journals."""
    journal = folder.journals(ShardId(DEMIX, 0)).parent
    try:
        with os.scandir(journal) as entries:
            return [journal / entry.name for entry in entries]
    except OSError:
        return []


def round_of(name: str) -> int:
    """Return the round in a journal's name, 0 when that is no journal."""
    named = NAME.fullmatch(name)
    return int(named["round"]) if named else 0


def whole_number(value: object) -> int:
    """Return a whole number of a journal as it is, or 0."""
    return value if isinstance(value, int) else 0
