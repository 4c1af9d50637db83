"""What all journals of a shard say together: the state of each unit, and who worked on it.

The clocks of a cluster's nodes differ: times of different files are never compared. An incarnation notes in its first
line how many journals the shard had before, which puts incarnations in order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import NamedTuple

from cadenza_remix.runs.shards.events import (
    NAME,
    TIME_LIMIT,
    Line,
    journal_folders,
    journals_in,
    read_lines,
    round_of,
    whole_number,
)
from cadenza_remix.runs.shards.folder import RunFolder, ShardId
from cadenza_remix.runs.shards.plan import KINDS, Plan, Speeds

STATES = ("done", "running", "failed", "aside", "blocked", "left")


class UnitState(NamedTuple):
    """What is known of a unit.

    ``state``, one of STATES:

    - ``done``: some journal of the latest round that names the unit says done (or found), and no failure after it in
      the same journal. What earlier rounds say does not count: a later one may have found its files damaged;
    - the others are of one round alone: ``aside``: given up there;
    - ``running``: begun and not ended in the round's last incarnation, which has not closed. Whether that is alive,
      nobody can know from here: judge by ``t``, by its claim, or by the scheduler;
    - ``failed``, ``blocked``: the last word on it;
    - ``left``: nothing, or dropped, or begun by an incarnation that is gone.

    ``attempts``: of that round that went wrong; one that is running does not count yet. ``error``: of the last failure
    (or what it is blocked by). ``seconds``: what it took, NaN where that is unknown. ``node``, ``job``: where the state
    comes from. ``t``: when, by that node's clock; 0 when nothing is known.
    """

    state: str
    attempts: int = 0
    error: str = ""
    seconds: float = float("nan")
    node: str = ""
    job: str = ""
    t: float = 0.0


LEFT = UnitState("left")


class _States(dict[str, UnitState]):
    """States by unit; a unit that no journal names is left."""

    def __missing__(self, unit: str) -> UnitState:
        return LEFT


@dataclass(frozen=True)
class Incarnation:
    """One process that worked, or works, on a shard.

    ``host``, ``node``, ``pid``, ``job``, ``restart``, ``workers``, ``n_units`` as it said at its start. ``reason``: why
    it closed, None while it has not (it runs, or was killed). ``opened_t``, ``last_t``: its first and last event, by
    its own clock; ``changed_t``: when its file last grew, by the clock of the disk. ``n_done`` and ``done_s``: units
    that it did and the seconds these took together, by kind.
    """

    path: Path
    round: int
    host: str = ""
    node: str = ""
    pid: int = 0
    job: str = ""
    restart: int = 0
    workers: int = 1
    n_units: int = 0
    n_before: int = 0
    reason: str | None = None
    opened_t: float = 0.0
    last_t: float = 0.0
    changed_t: float = 0.0
    n_done: Mapping[str, int] = field(default_factory=dict)
    done_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ShardHistory:
    """What all journals of a shard say together.

    ``round_number``: whose failures and so on the states tell. ``states``: by name of unit; a unit that no journal
    names is `LEFT`. ``incarnations``: of all rounds, in their order.
    """

    shard: ShardId
    round_number: int
    states: Mapping[str, UnitState]
    incarnations: tuple[Incarnation, ...]
    _lost: Mapping[str, int] = field(default_factory=dict, repr=False)

    @classmethod
    def read(
        cls, folder: RunFolder, shard: ShardId, round_number: int | None = None, *, units: Iterable[str] = ()
    ) -> ShardHistory:
        """Read the journals of a shard; there may be none.

        Parameters
        ----------
        folder : RunFolder
        shard : ShardId
        round_number : int, optional
            The round whose failures count; a unit that it does not name is done when the latest round before it that
            does says so. Later rounds do not count. By default the last that there is.
        units : iterable of str
            Names of units to tell of in any case, in this order.
        """
        digests = [_digest(path) for path in journals_in(folder.journals(shard))]
        digests.sort(key=lambda digest: digest.order)
        if round_number is None:
            round_number = max((digest.incarnation.round for digest in digests), default=0)
        states = _States(dict.fromkeys(units, LEFT))
        of_round: list[_Digest] = []
        for number, group in groupby(digests, key=lambda digest: digest.incarnation.round):
            if number < round_number:
                _tell_earlier(list(group), states)
            elif number == round_number:
                of_round = list(group)
                before = {unit: state for unit, state in states.items() if state.state == "done"}
                _tell_round(of_round, states)
                _tell_done(of_round, states, before)
        is_open = bool(of_round) and of_round[-1].incarnation.reason is None
        lost = Counter(of_round[-1].open_units if is_open else ())
        return cls(shard, round_number, states, tuple(digest.incarnation for digest in digests), lost)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many units that are told of are in each state."""
        found = Counter(state.state for state in self.states.values())
        return {state: found[state] for state in STATES}

    def attempts(self) -> dict[str, int]:
        """Return the attempts of the round that went wrong, by unit, where there are any.

        For a new incarnation that holds the shard's claim and has opened no journal yet: it knows that all others are
        gone, so that whatever they had begun went wrong.
        """
        found = {unit: state.attempts for unit, state in self.states.items() if state.attempts}
        for unit, n_lost in self._lost.items():
            found[unit] = found.get(unit, 0) + n_lost
        return found


def run_history(folder: RunFolder, plan: Plan, round_number: int | None = None) -> dict[ShardId, ShardHistory]:
    """Read the journals of all shards of a plan; the states tell of every unit of the plan."""
    return {
        shard.id: ShardHistory.read(folder, shard.id, round_number, units=[unit.name for unit in shard.units])
        for shard in plan.all_shards
    }


def last_round(folder: RunFolder) -> int:
    """Return the highest round that any shard has a journal of; 0 when there is none."""
    return max((round_of(path.name) for shard in journal_folders(folder) for path in journals_in(shard)), default=0)


def measured_speeds(folder: RunFolder, plan: Plan) -> Speeds | None:
    """Return how fast units were: the median by kind of seconds per second of audio; None when none was measured.

    What each unit costs beside that, what a worker takes to start, and kinds that no unit was done of, are the plan's.
    """
    rates: dict[str, list[float]] = defaultdict(list)
    for shard in plan.all_shards:
        durations_s = {
            unit.name: (unit.kind, song.scored_s if unit.kind == "score" else song.duration_s)
            for unit in shard.units
            for song in (plan.songs[unit.song],)
        }
        for path in journals_in(folder.journals(shard.id)):
            for line in read_lines(path):
                if line.name == "done" and line.unit in durations_s:
                    kind, duration_s = durations_s[line.unit]
                    if duration_s > 0 and 0 <= line.seconds < 1e9:
                        rates[kind].append(max(line.seconds - plan.speeds.per_unit_s, 0.0) / duration_s)
    if not rates:
        return None
    return Speeds(**{**asdict(plan.speeds), **{kind: median(found) for kind, found in rates.items()}})


@dataclass
class _Digest:
    """What one journal says of each unit, so that its lines can be forgotten."""

    incarnation: Incarnation
    last: dict[str, Line] = field(default_factory=dict)
    done: dict[str, Line] = field(default_factory=dict)
    aside: dict[str, Line] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)

    @property
    def order(self) -> tuple[object, ...]:
        seat = self.incarnation
        return (seat.round, seat.n_before, seat.restart, seat.changed_t, seat.path.name)

    @property
    def open_units(self) -> list[str]:
        return [unit for unit, line in self.last.items() if line.name == "begin"]


def _digest(path: Path) -> _Digest:
    """Read one journal."""
    lines = read_lines(path)
    digest = _Digest(_incarnation(path, lines))
    n_first, first = digest.incarnation.workers, set[str]()
    last, done = digest.last, digest.done
    for line in lines:
        name, unit = line.name, line.unit
        if not unit:
            continue
        if name == "begin":
            if len(first) < n_first:
                first.add(unit)
        elif name == "done" or name == "found":
            done[unit] = line
        elif name == "failed":
            done.pop(unit, None)
            digest.attempts[unit] += 1
            digest.errors[unit] = _error(line)
        elif name == "aside":
            digest.aside[unit] = line
        elif name == "dropped":
            # The first units of an incarnation had all of its time: they do not fit into it.
            if unit in first and line.facts.get("why") == TIME_LIMIT:
                digest.attempts[unit] += 1
        elif name != "blocked":
            continue
        last[unit] = line
    return digest


def _error(line: Line) -> str:
    return str(line.facts.get("error", ""))


def _incarnation(path: Path, lines: list[Line]) -> Incarnation:
    """Return who wrote a journal: as its first line says, or its name where that line is lost."""
    opened = next((line.facts for line in lines[:1] if line.name == "open"), {})
    closed = next((line.facts for line in reversed(lines) if line.name == "close"), None)
    named = NAME.fullmatch(path.name)
    host = named["host"] if named else ""
    changed_t = 0.0
    with suppress(OSError):
        changed_t = path.stat().st_mtime
    n_done, done_s = Counter[str](), defaultdict[str, float](float)
    for line in lines:
        if line.name == "done":
            kind = line.unit.partition("/")[0]
            n_done[kind] += 1
            done_s[kind] += line.seconds if line.seconds == line.seconds else 0.0
    return Incarnation(
        path,
        round_of(path.name),
        host=str(opened.get("host", host)),
        node=str(opened.get("node", host)),
        pid=whole_number(opened.get("pid")) or (int(named["pid"]) if named else 0),
        job=str(opened.get("job", "")),
        restart=whole_number(opened.get("restart")),
        workers=whole_number(opened.get("workers")) or 1,
        n_units=whole_number(opened.get("n_units")),
        n_before=whole_number(opened.get("n_before")),
        reason=None if closed is None else str(closed.get("reason", "")),
        opened_t=lines[0].t if lines else 0.0,
        last_t=lines[-1].t if lines else 0.0,
        changed_t=changed_t,
        n_done={kind: n_done[kind] for kind in KINDS if kind in n_done},
        done_s={kind: done_s[kind] for kind in KINDS if kind in done_s},
    )


def _tell_earlier(digests: list[_Digest], states: dict[str, UnitState]) -> None:
    """Put in what was done in a round before the one that is told of: its failures are forgotten."""
    before = {unit: state for unit, state in states.items() if state.state == "done"}
    for digest in digests:
        states.update(dict.fromkeys(before.keys() & digest.last.keys(), LEFT))
    _tell_done(digests, states, before)


def _tell_done(digests: list[_Digest], states: dict[str, UnitState], before: Mapping[str, UnitState]) -> None:
    """Put in what was done in a round; ``before`` is what was done before it, whose seconds stay when it was found."""
    for digest in digests:
        seat = digest.incarnation
        for unit, line in digest.done.items():
            state = states.get(unit, LEFT)
            if state.state == "done" and state.seconds == state.seconds:  # seconds that are known (no NaN) stay
                continue
            if line.seconds != line.seconds and unit in before:
                states[unit] = before[unit]._replace(attempts=state.attempts)
            else:
                states[unit] = UnitState("done", state.attempts, "", line.seconds, seat.node, seat.job, line.t)


def _tell_round(digests: list[_Digest], states: dict[str, UnitState]) -> None:
    """Put in the states of one round, from its journals in order, but for what was done."""
    attempts, errors = Counter[str](), dict[str, str]()
    for digest in digests:
        seat, is_last = digest.incarnation, digest is digests[-1]
        attempts.update(digest.attempts)
        errors.update(digest.errors)
        if seat.reason is None and not is_last:
            attempts.update(digest.open_units)
        for unit, line in digest.last.items():
            if line.name == "begin":
                state = "running" if is_last and seat.reason is None else "left"
            else:
                state = line.name if line.name in ("failed", "blocked", "aside") else "left"
            error = _error(line) if state == "blocked" else errors.get(unit, "")
            states[unit] = UnitState(state, 0, error, node=seat.node, job=seat.job, t=line.t)
    for digest in digests:
        seat = digest.incarnation
        for unit, line in digest.aside.items():
            error = _error(line) or errors.get(unit, "")
            states[unit] = UnitState("aside", 0, error, node=seat.node, job=seat.job, t=line.t)
    for unit, n_attempts in attempts.items():
        states[unit] = states[unit]._replace(attempts=n_attempts)
