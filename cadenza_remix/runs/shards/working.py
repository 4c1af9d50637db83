"""Work on one shard of a run, from claim to last line: what a job of a cluster does, or this machine.

What was done before is found by its records, whoever did it. The rest goes to worker processes; each thing that
happens is a line in the journal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cadenza_remix.errors import CadenzaError, OutputError
from cadenza_remix.runs.shards.claims import BEAT_S, STALE_S, Claim
from cadenza_remix.runs.shards.crew import Crew, ShardWork
from cadenza_remix.runs.shards.folder import DEMIX, RunFolder, ShardId
from cadenza_remix.runs.shards.journal import (
    COMPLETE,
    MAX_ATTEMPTS,
    TERMINATED,
    Journal,
    Place,
    ShardHistory,
    open_journal,
    this_place,
)
from cadenza_remix.runs.shards.ledger import Bundle, Ledger
from cadenza_remix.runs.shards.plan import Plan, Shard, Unit
from cadenza_remix.runs.shards.stopping import ERROR, Stopping

__all__ = ["ShardOutcome", "ShardWork", "work_shard"]

_FIRST_PAUSE_S = 0.5  # each next one is twice as long


@dataclass(frozen=True)
class ShardOutcome:
    """What became of a shard's units, and why work on it ended.

    ``n_done``: done now; ``n_found``: done before; ``n_aside``: failed too often in this round; ``n_blocked``: what
    they need is not there; ``n_left``: none of these. ``reason``: one of those that `stopping.exit_status` knows, or
    "error: " and what it was.
    """

    n_done: int
    n_found: int
    n_aside: int
    n_blocked: int
    n_left: int
    reason: str


def work_shard(
    folder: RunFolder,
    plan: Plan,
    shard: ShardId,
    work: ShardWork,
    *,
    round_number: int,
    n_workers: int,
    stop: Stopping,
    environments: Sequence[Mapping[str, str]] = (),
    settle_s: float = 30.0,
    beat_s: float = BEAT_S,
    stale_s: float = STALE_S,
    place: Place | None = None,
    notify: Callable[[str], None] = lambda line: None,
    on_unit: Callable[[Unit], object] = lambda unit: None,
) -> ShardOutcome:
    """Do what is left of a shard.

    Parameters
    ----------
    folder : RunFolder
    plan : Plan
    shard : ShardId
    work : ShardWork
    round_number : int
        Which submission this is, from 1: a unit that failed three times in a round is set aside in it.
    n_workers : int
        Processes at once.
    stop : Stopping
        What asks to stop.
    environments : sequence of mapping, optional
        What is different in the environment of each worker; when there are fewer, they go round.
    settle_s : float
        How long after the start to wait for what another node has written: shared disks show files late.
    beat_s, stale_s : float
        Of the shard's claim: how often it is touched, and when it is another's no more.
    place : Place, optional
        What the journal says of where this runs; `this_place` if not given.
    notify : callable
        Gets a line for each thing that somebody should know.
    on_unit : callable
        Called with each unit that came to an end: done, found, set aside or blocked.

    Returns
    -------
    ShardOutcome
        Also after an error that stopped the shard.

    Raises
    ------
    InputError
        There is no such shard.
    OutputError
        Claim or journal cannot be written.
    """
    planned, place = plan.shard(shard), place or this_place()
    claim = Claim.take(
        folder.claim(shard), beat_s=beat_s, stale_s=stale_s, on_wait=notify, should_stop=lambda: stop.soon
    )
    if claim is None:
        return ShardOutcome(0, 0, 0, 0, len(planned.units), stop.reason or TERMINATED)
    with claim:
        history = ShardHistory.read(folder, shard, round_number)
        journal = open_journal(folder, shard, round_number, workers=n_workers, n_units=len(planned.units), place=place)
        with journal:
            ledger = Ledger(journal, planned.units, history.attempts(), notify=notify, on_unit=on_unit)
            crew = Crew(
                work,
                shard.stage,
                ledger,
                n_workers=n_workers,
                environments=environments,
                stop=stop,
                is_lost=lambda: claim.lost,
            )
            with crew:
                shift = _Shift(folder, planned, work, ledger, crew, stop, settle_s)
                reason = shift.run(history)
                _close(journal, reason, ledger.n_left)
    n_done, n_found, n_aside, n_blocked = map(ledger.count, ("done", "found", "aside", "blocked"))
    return ShardOutcome(n_done, n_found, n_aside, n_blocked, ledger.n_left, reason)


def _close(journal: Journal, reason: str, n_left: int) -> None:
    try:
        journal.close(reason, n_left)
    except OutputError:
        if not reason.startswith(ERROR):  # that of a full disk is told already
            raise


@dataclass(frozen=True)
class _Shift:
    """What one incarnation does with its shard."""

    folder: RunFolder
    planned: Shard
    work: ShardWork
    ledger: Ledger
    crew: Crew
    stop: Stopping
    settle_s: float
    told: set[str] = field(default_factory=set)

    def run(self, history: ShardHistory) -> str:
        """Work until nothing is left or something stops it; return the reason."""
        try:
            return self._do_all(history)
        except CadenzaError as error:
            reason = ERROR + " ".join(str(error).split())
            with suppress(OutputError):  # of a disk that takes no more, which is the error then
                self.crew.drop(reason)
            return reason

    def _do_all(self, history: ShardHistory) -> str:
        end = time.monotonic() + self.settle_s
        waiting: list[Bundle] = []
        for bundle in self.planned.bundles:
            if self.stop.reason:
                return self.stop.reason
            if left := self._left_of(bundle, history):
                waiting.append(left)
        if n_found := self.ledger.count("found"):
            self.ledger.notify(f"{self.planned.id}: {n_found} of {len(self.planned.units)} units were done before")
        pause_s = _FIRST_PAUSE_S
        while waiting:
            ready, waiting = self._sort_out(waiting, is_last_look=time.monotonic() >= end)
            if ready:
                if reason := self.crew.run(ready):
                    return reason
            elif waiting:
                self.stop.wait(max(0.0, min(pause_s, end - time.monotonic())))
                pause_s *= 2
            if self.stop.reason:
                return self.stop.reason
        return COMPLETE

    def _left_of(self, bundle: Bundle, history: ShardHistory) -> Bundle:
        """Return the units of a bundle that are to be done; note the others."""
        left: list[Unit] = []
        for unit in bundle:
            if self._is_done(unit):
                self.ledger.found(unit)
            else:
                left.append(unit)
        for number, unit in enumerate(left):
            if self.ledger.attempts(unit) >= MAX_ATTEMPTS:
                error = history.states[unit.name].error or "it ended with the job that worked on it, each time"
                self.ledger.aside(tuple(left[number:]), error)
                return tuple(left[:number])
        return tuple(left)

    def _is_done(self, unit: Unit) -> bool:
        try:
            return self.work.is_done(unit)
        except CadenzaError:  # who works on it will say so
            return False

    def _sort_out(self, bundles: Sequence[Bundle], *, is_last_look: bool) -> tuple[list[Bundle], list[Bundle]]:
        """Return the bundles that can be begun, and those that cannot be yet; note those that never will be."""
        ready, waiting = list[Bundle](), list[Bundle]()
        missing: dict[tuple[str, str], str | None] = {}
        given_up: Mapping[str, str] | None = None
        for bundle in bundles:
            key = bundle[0].kind, bundle[0].song
            if key not in missing:
                _list_again(self.folder.stems, self.folder.stems / bundle[0].song)
                missing[key] = self._missing(bundle[0])
            error = missing[key]
            if error is None:
                ready.append(bundle)
                continue
            given_up = self._given_up() if given_up is None else given_up
            if is_last_look or key[1] in given_up:
                self.ledger.blocked(bundle, given_up.get(key[1], error))
            else:
                waiting.append(bundle)
        for error in missing.values():
            if error and error not in self.told:
                self.told.add(error)
                looks = f"; looking again for up to {self.settle_s:.3g} s" if waiting and not is_last_look else ""
                self.ledger.notify(f"{self.planned.id}: {error}{looks}")
        return ready, waiting

    def _missing(self, unit: Unit) -> str | None:
        try:
            return self.work.missing(unit)
        except CadenzaError:  # as above
            return None

    def _given_up(self) -> Mapping[str, str]:
        """Return the songs whose stems will not come, and why."""
        if self.planned.needs is None:
            return {}
        history = ShardHistory.read(self.folder, ShardId(DEMIX, self.planned.needs))
        if not history.incarnations or history.incarnations[-1].reason is None:
            return {}
        units = {song: Unit(DEMIX, song).name for song in self.planned.songs}
        return {
            song: f"{name} was set aside: {history.states[name].error}"
            for song, name in units.items()
            if history.states[name].state == "aside"
        }


def _list_again(*folders: Path) -> None:
    """List folders: clients of shared disks remember for a while that a file was not there."""
    for folder in folders:
        with suppress(OSError):
            os.listdir(folder)  # noqa: PTH208
