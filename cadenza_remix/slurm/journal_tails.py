"""Journals of a run as they grow: each is read whole at first, and later only as far as it grew.

What they say is folded at once into counts, so that a run of a million units is looked at again within a moment. What
the words mean is told in `cadenza_remix.runs.shards.journal`, which reads one shard with all that is known of it.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from cadenza_remix.runs.shards.claims import STALE_S, Owner, read_claim
from cadenza_remix.runs.shards.folder import DEMIX, RunFolder, ShardId
from cadenza_remix.runs.shards.journal import round_of
from cadenza_remix.runs.shards.plan import KINDS, Plan, Unit

RECENT_S = 600.0
"""Over how long the present speed is taken."""

COMPLETE = "complete"
"""The reason with which a journal closes when nothing is left."""

_SETTLED = frozenset(("done", "aside", "blocked"))


@dataclass(frozen=True)
class Trouble:
    """A unit or shard that needs attention, and why."""

    name: str
    why: str
    node: str = ""
    job: str = ""


class Tail:
    """One journal as far as it was read."""

    def __init__(self, path: Path, journals: Journals) -> None:
        self.path, self._journals = path, journals
        self.round = round_of(path.name)
        self.unreadable = ""
        self.offset, self.first_t, self.last_t, self.n_grown = 0, 0.0, 0.0, 0
        self.facts: dict[str, Any] = {}
        self.reason: str | None = None
        self.last: dict[str, str] = {}  # the last event of each unit
        self.done: set[str] = set()
        self.at_hand: dict[str, float] = {}
        self.errors: dict[str, str] = {}
        self.aside: dict[str, str] = {}
        self.measured = {kind: [0, 0.0, 0.0, 0.0] for kind in KINDS}  # units, their seconds, planned, of audio
        self.recent: deque[tuple[float, str, float]] = deque()

    def fact(self, name: str, default: Any) -> Any:
        """Return what the first line says; the default for anything of another type."""
        value = self.facts.get(name, default)
        return value if type(value) is type(default) else default

    @property
    def order(self) -> tuple[int, int, int, str]:
        return (self.round, self.fact("n_before", 0), self.fact("restart", 0), self.path.name)

    @property
    def job(self) -> str:
        return str(self.fact("job", ""))

    @property
    def node(self) -> str:
        return str(self.fact("node", ""))

    @property
    def is_opened(self) -> bool:
        """Whether its first line can be read: an incarnation begins with it."""
        return bool(self.facts)

    def grow(self) -> None:
        """Read what came since the last time; a line is there once its end is."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read()
        except OSError as error:
            self.unreadable = error.strerror or str(error)
            return
        self.unreadable = ""
        data = data[: data.rfind(b"\n") + 1]
        if data:
            self.offset += len(data)
            self.n_grown += 1
            self._fold(_events(data))

    def _fold(self, events: Sequence[Mapping[str, Any]]) -> None:
        last, done, at_hand, recent = self.last, self.done, self.at_hand, self.recent
        if self.n_grown == 1 and events:
            self.first_t = events[0]["t"]
        for raw in events:
            event, unit, t = raw["event"], raw.get("unit"), raw["t"]
            self.last_t = t
            if unit is None:
                self.facts = dict(raw) if event == "open" else self.facts
                self.reason = str(raw.get("reason", "")) if event == "close" else self.reason
                continue
            if event == "begin":
                last[unit], at_hand[unit] = event, t
                continue
            at_hand.pop(unit, None)
            if event == "done" or event == "found":
                done.add(unit)
                last[unit] = "done"
                if event == "done":
                    self._measure(unit, raw.get("seconds"), t)
                continue
            last[unit] = event
            if event == "failed":
                done.discard(unit)
            if event in ("failed", "blocked", "aside"):
                self.errors[unit] = str(raw.get("error", "")) or self.errors.get(unit, "")
            if event == "aside":
                self.aside[unit] = self.errors[unit]
        while recent and recent[0][0] < self.last_t - RECENT_S:
            recent.popleft()

    def _measure(self, unit: str, seconds: object, t: float) -> None:
        kind, _, rest = unit.partition("/")
        work = self._journals.work(kind, rest)
        if work is None or not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e9:
            return
        sums = self.measured[kind]
        sums[0] += 1
        sums[1] += seconds
        sums[2] += work[0]
        sums[3] += work[1]
        self.recent.append((t, kind, work[1]))


def _events(data: bytes) -> list[dict[str, Any]]:
    """Return the lines that are events; a killed machine leaves half a line, or a block of zeros."""
    raws: list[Any] = []
    try:  # all at once takes half the time
        raws = json.loads(b"[" + data[:-1].replace(b"\n", b",") + b"]")
        whole = len(raws) == data.count(b"\n")
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raws = []
        for line in data.split(b"\n"):
            try:
                raws.append(json.loads(line))
            except (ValueError, RecursionError):
                continue
    return [
        raw
        for raw in raws
        if type(raw) is dict
        and type(raw.get("t")) in (float, int)
        and type(raw.get("event")) is str
        and type(raw.get("unit", "")) is str
        and -1e15 < raw["t"] < 1e15
    ]


@dataclass(frozen=True)
class ShardCount:
    """Units of a shard by kind and state, the planned cost of those to be done, and what went wrong."""

    counts: Mapping[str, Mapping[str, int]]
    cost_s: Mapping[str, float]
    n_left: int
    aside: tuple[Trouble, ...] = ()
    blocked: tuple[Trouble, ...] = ()


class Journals:
    """The journals of a run: read whole at first, and at each further look only as far as they grew."""

    def __init__(self, folder: RunFolder, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self.tails: dict[ShardId, list[Tail]] = {shard.id: [] for shard in plan.all_shards}
        self._work = {
            "demix": {name: (0.0, song.duration_s) for name, song in plan.songs.items()},
            "enhance": {name: (0.0, song.duration_s) for name, song in plan.songs.items()},
            "score": {name: (0.0, song.scored_s) for name, song in plan.songs.items()},
        }
        self.planned: dict[ShardId, dict[str, tuple[int, float]]] = {}
        self._plan_costs()
        self._counted: dict[ShardId, tuple[object, ShardCount]] = {}
        self._n_looks = 0
        self._no_folders: dict[Path, str] = {}
        self._claims: dict[ShardId, tuple[Owner | None, float]] = {}

    def _plan_costs(self) -> None:
        for kind, works in self._work.items():
            for song, (_, audio_s) in works.items():
                works[song] = (self.plan.cost_s(Unit(kind, song, "" if kind == DEMIX else "-")), audio_s)
        for shard in self.plan.all_shards:
            kinds: dict[str, list[float]] = {}
            for bundle in shard.bundles:
                for unit in bundle:
                    kinds.setdefault(unit.kind, []).append(self._work[unit.kind][unit.song][0])
            self.planned[shard.id] = {kind: (len(costs), sum(costs)) for kind, costs in kinds.items()}

    def work(self, kind: str, rest: str) -> tuple[float, float] | None:
        """Return planned cost and seconds of audio of a unit, given as its kind and the rest of its name."""
        return self._work.get(kind, {}).get(rest if kind == DEMIX else rest.partition("/")[2])

    def look(self) -> None:
        """Read what is new."""
        self._no_folders.clear()
        for shard, tails in self.tails.items():
            ended = bool(tails) and all(tail.reason == COMPLETE for tail in tails)
            if ended and self._n_looks % 10:
                continue  # nobody is expected to come back there soon: spare the disk
            known = {tail.path.name: tail for tail in tails}
            lies_in = self.folder.journals(shard)
            try:
                with os.scandir(lies_in) as entries:
                    files = [(entry.name, entry) for entry in entries if round_of(entry.name)]
            except FileNotFoundError:
                continue
            except OSError as error:
                whose = lies_in if lies_in.parent.is_dir() else lies_in.parent
                self._no_folders[whose] = f"cannot be listed: {error.strerror or error}"
                continue
            for name, entry in files:
                tail = known.get(name) or Tail(lies_in / name, self)
                if name not in known:
                    tails.append(tail)
                if tail.reason is None and _size(entry) > tail.offset:
                    tail.grow()
            tails.sort(key=lambda tail: tail.order)
        self._n_looks += 1

    def damaged(self) -> list[Trouble]:
        """Return journals, and folders of journals, that cannot be read or understood, and why."""
        found = [Trouble(str(path.relative_to(self.folder.root)), why) for path, why in self._no_folders.items()]
        for shard, tails in self.tails.items():
            for tail in tails:
                if tail.is_opened and not tail.unreadable:
                    continue
                if tail is tails[-1] and not tail.offset and not tail.unreadable and self.owner(shard) is not None:
                    continue  # it was made a moment ago
                why = f"cannot be read: {tail.unreadable}" if tail.unreadable else "damaged: its first line is lost"
                found.append(Trouble(str(tail.path.relative_to(self.folder.root)), why))
        return found

    def owner(self, shard: ShardId) -> Owner | None:
        """Return who has a shard's claim and lives, as far as can be known from here.

        An owner of another machine lives until its claim was seen not to change for long, by this process's clock.
        """
        owner, now_s = read_claim(self.folder.claim(shard)), time.monotonic()
        before, since_s = self._claims.get(shard, (None, now_s))
        if owner != before:
            since_s = now_s
        self._claims[shard] = (owner, since_s)
        if owner is None or owner.is_gone or now_s - since_s > 2 * STALE_S:
            return None
        return owner

    def count(self, shard: ShardId, living: Tail | None) -> ShardCount:
        """Count the units of a shard by state; what was begun by a process that is gone is left."""
        tails = self.tails[shard]
        key = [(tail.path.name, tail.n_grown, tail is living) for tail in tails]
        if shard in self._counted and self._counted[shard][0] == key:
            return self._counted[shard][1]
        states, told = _unit_states(tails, living)
        counts = {kind: Counter[str]() for kind in KINDS}
        cost_s = {kind: cost for kind, (_, cost) in self.planned[shard].items()}
        for unit, state in states.items():
            kind, _, rest = unit.partition("/")
            work = self.work(kind, rest)
            if work is not None:
                counts[kind][state] += 1
                if state in _SETTLED and kind in cost_s:
                    cost_s[kind] -= work[0]
        n_left = sum(n for n, _ in self.planned[shard].values())
        n_left -= sum(number for found in counts.values() for state, number in found.items() if state in _SETTLED)
        wrong = {"aside": list[Trouble](), "blocked": list[Trouble]()}
        for unit, tail in told.items():
            if (state := states[unit]) in wrong:
                wrong[state].append(Trouble(unit, tail.errors.get(unit, ""), tail.node, tail.job))
        costs = {kind: max(cost, 0.0) for kind, cost in cost_s.items()}
        found = ShardCount(counts, costs, max(n_left, 0), tuple(wrong["aside"]), tuple(wrong["blocked"]))
        self._counted[shard] = (key, found)
        return found


def _unit_states(tails: Sequence[Tail], living: Tail | None) -> tuple[dict[str, str], dict[str, Tail]]:
    """Return the state of each unit that journals name, and who told of those with an error.

    Done is what some journal of the latest round that names it calls so; the rest is the last word of the last round,
    and there what was set aside stays so.
    """
    rounds = [list(group) for _, group in groupby(tails, key=lambda tail: tail.round)]
    of_round = rounds[-1] if rounds else []
    states: dict[str, str] = {}
    told: dict[str, Tail] = {}
    for earlier in rounds[:-1]:  # failures of earlier rounds are forgotten
        for tail in earlier:
            states.update(dict.fromkeys(tail.last, "left"))
        for tail in earlier:
            states.update(dict.fromkeys(tail.done, "done"))
    for tail in of_round:
        open_state = "running" if tail is living else "left"
        words = {"begin": open_state, "done": "done", "failed": "failed", "blocked": "blocked", "aside": "aside"}
        states.update({unit: words.get(event, "left") for unit, event in tail.last.items()})
        told.update(dict.fromkeys(tail.errors, tail))
    for tail in of_round:
        states.update(dict.fromkeys(tail.aside, "aside"))
    for tail in of_round:
        states.update(dict.fromkeys(tail.done, "done"))
    return states, told


def _size(entry: os.DirEntry[str]) -> int:
    """Return the size of a file in bytes, 0 when it is gone."""
    try:
        return entry.stat().st_size
    except OSError:
        return 0
