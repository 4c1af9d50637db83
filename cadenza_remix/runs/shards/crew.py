"""The worker processes of a shard, and who does what next.

One thread, the supervisor's, hands out units, reads answers and hears what stops it. Workers are programs of their own
(`runs.processes`): one that dies costs the unit that it had, and another takes its place.
"""

from __future__ import annotations

import errno
import pickle
import selectors
import time
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, cast

from cadenza_remix.errors import CadenzaError, OutputError
from cadenza_remix.runs.processes import LOST_IN_A_ROW, GroupQueue, Worker, WorkerLostError, one_thread_each
from cadenza_remix.runs.shards.folder import PAIRS
from cadenza_remix.runs.shards.journal import TERMINATED, TIME_LIMIT
from cadenza_remix.runs.shards.ledger import Bundle, Ledger
from cadenza_remix.runs.shards.plan import Unit
from cadenza_remix.runs.shards.stopping import CLAIM_LOST, Stopping

_LOOK_S = 1.0  # how often to look whether the claim is still ours
_END_S = 1.5  # idle workers have this long to put their things away
_DEATH_S = 1.0  # how long to wait for killed ones: a process that waits for a dead disk does not die
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class ShardWork(Protocol):
    """The work itself; it can be pickled, and each worker gets a copy of its own."""

    def is_done(self, unit: Unit) -> bool:
        """Tell whether a unit's results are there, made of the inputs that it has now."""

    def missing(self, unit: Unit) -> str | None:
        """Say why a unit cannot be begun; None if it can."""

    def perform(self, unit: Unit) -> None:
        """Do a unit, in a worker; an OutputError for a disk that takes no more, a CadenzaError for its own faults."""

    def prepare(self, stage: str) -> None:
        """Load what is heavy, once in each worker, before its first unit; a CadenzaError where that cannot be."""


class Crew:
    """Worker processes that do bundles of units; a context manager, after which they are gone.

    Parameters
    ----------
    work : ShardWork
    stage : str
        Workers on pairs compute with one thread each; those that demix have the library's own threads.
    ledger : Ledger
    n_workers : int
    environments : sequence of mapping
        What is different in each worker's environment (such as its GPU); when there are fewer, they go round.
    stop : Stopping
    is_lost : callable
        Tells whether somebody else has taken the shard over.
    """

    def __init__(
        self,
        work: ShardWork,
        stage: str,
        ledger: Ledger,
        *,
        n_workers: int,
        environments: Sequence[Mapping[str, str]] = (),
        stop: Stopping,
        is_lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self._work = pickle.dumps(_Program(work))
        self._stage, self._ledger, self._stop, self._is_lost = stage, ledger, stop, is_lost
        common = one_thread_each() if stage == PAIRS else {}
        overlays = environments or [{}]
        self._seats = [{**common, **overlays[seat % len(overlays)]} for seat in range(n_workers)]
        self._members: dict[int, _Member] = {}
        self._queue: GroupQueue[Bundle] = GroupQueue((), _song)
        self._again: deque[Bundle] = deque()
        self._n_lost = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(stop, selectors.EVENT_READ)

    def run(self, bundles: Sequence[Bundle]) -> str | None:
        """Do all bundles that can be done; return None at the end of them, or why it stopped before.

        May be called again, with the same workers. A bundle of which a unit failed is taken up again from there when
        nothing else is left, until that unit is set aside.

        Raises
        ------
        CadenzaError
            A worker could not prepare, a unit could not write, or workers are lost one after the other.
        """
        self._queue, self._again = GroupQueue(bundles, _song), deque()
        while True:
            reason = self._stop.reason or (CLAIM_LOST if self._is_lost() else None)
            if reason is None:
                self._hand_out()
            at_hand = [member for member in self._members.values() if member.unit is not None]
            if reason is not None and (not at_hand or self._stop.left_s <= 0):
                self.drop(reason)
                return reason
            if not at_hand and not self._queue and not self._again:
                return None
            self._listen()

    def drop(self, why: str) -> None:
        """Kill who has a unit at hand or prepares for one; what they were at is noted as dropped."""
        members = [member for member in self._members.values() if member.unit is not None or member.is_new]
        for member in members:
            member.worker.kill()
        end = time.monotonic() + _DEATH_S
        for member in members:
            self._leave(member)
            member.worker.close(max(0.0, end - time.monotonic()))
        for member in members:
            if member.unit is not None:
                self._ledger.dropped(member.unit, TIME_LIMIT if why == TIME_LIMIT else TERMINATED)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Let idle workers end; after an error, or when there is no time, kill them all."""
        try:
            if error is not None:
                with suppress(OutputError):  # of a full disk, which is the error then
                    self.drop(TERMINATED)
        finally:
            members = list(self._members.values())
            is_urgent = error is not None or self._stop.at_once
            for member in members:
                if is_urgent:
                    member.worker.kill()
                else:
                    member.worker.dismiss()
            end = time.monotonic() + (_DEATH_S if is_urgent else _END_S)
            for member in members:
                self._leave(member)
                member.worker.close(max(0.0, end - time.monotonic()))
            self._selector.close()

    def _hand_out(self) -> None:
        """Give everybody who is free something to do; hire as many as there is work for."""
        for member in self._members.values():
            if member.unit is None and not member.is_new and (member.bundle or self._take(member)):
                member.unit, member.since = member.bundle[0], time.monotonic()
                self._ledger.begin(member.unit)
                member.worker.send(member.unit)
        n_new = sum(member.is_new for member in self._members.values())
        free = [seat for seat in range(len(self._seats)) if seat not in self._members]
        for seat in free[: max(0, len(self._queue) + len(self._again) - n_new)]:
            member = _Member(seat, Worker(self._work, environment=self._seats[seat], is_bound=True))
            self._members[seat] = member
            self._selector.register(member.worker, selectors.EVENT_READ, member)
        for member in self._members.values():
            if member.is_new and not member.is_called:
                member.is_called = True
                member.worker.send(self._stage)

    def _take(self, member: _Member) -> bool:
        """Find a bundle: of the same song, of an untouched one, of the largest; then one that failed before."""
        taken = self._queue.take(member.song)
        if taken is not None:
            _, member.bundle, member.song = taken
        elif self._again:
            member.bundle = self._again.popleft()
            member.song = _song(member.bundle)
        return bool(member.bundle)

    def _listen(self) -> None:
        """Wait for answers, a signal, or the time to look around."""
        for key, _ in self._selector.select(max(0.0, min(_LOOK_S, self._stop.left_s))):
            if key.data is None:
                self._stop.drain()
            else:
                self._hear(key.data)

    def _hear(self, member: _Member) -> None:
        try:
            kind, text = cast("tuple[str, str]", member.worker.receive())
        except WorkerLostError as error:
            self._lose(member, error)
            return
        seconds, unit = time.monotonic() - member.since, member.unit
        if kind == "output" or (unit is None and kind != "done"):
            if kind == "bug":
                self._ledger.notify(text)
            raise (OutputError if kind == "output" else CadenzaError)(text.strip().rsplit("\n", 1)[-1])
        if unit is None:
            member.is_new = False
            return
        member.unit = None
        if kind == "done":
            self._n_lost = 0
            self._ledger.done(unit, seconds)
            member.bundle = member.bundle[1:]
        else:
            self._put_back(member, text, kind)

    def _lose(self, member: _Member, error: WorkerLostError) -> None:
        """Note the loss of a worker; the next round of `_hand_out` replaces it."""
        self._leave(member)
        member.worker.close(_DEATH_S)
        unit, member.unit = member.unit, None
        if unit is None or not self._ledger.attempts(unit):  # a unit that kills its worker again tells nothing new
            self._n_lost += 1
        if unit is None:
            self._ledger.notify(f"a worker was lost before it had begun: {error}")
        else:
            self._put_back(member, str(error), "lost")
        if self._n_lost >= LOST_IN_A_ROW:
            raise WorkerLostError(f"{self._n_lost} workers were lost one after the other; the last: {error}")

    def _put_back(self, member: _Member, error: str, kind: str) -> None:
        if self._ledger.failed(member.bundle, error, kind):
            self._again.append(member.bundle)
        member.bundle = ()

    def _leave(self, member: _Member) -> None:
        self._selector.unregister(member.worker)
        del self._members[member.seat]


@dataclass
class _Member:
    """A worker and what it is at: a unit of a bundle, the first of what is left of that."""

    seat: int
    worker: Worker
    is_new: bool = True
    is_called: bool = False
    song: Hashable | None = None
    bundle: Bundle = ()
    unit: Unit | None = None
    since: float = 0.0


@dataclass(frozen=True)
class _Program:
    """What runs in a worker. It answers with plain text: whatever was raised need not survive the way back."""

    work: ShardWork

    def __call__(self, request: Unit | str) -> tuple[str, str]:
        """Do a unit, or prepare for the stage that is named."""
        try:
            if isinstance(request, Unit):
                self.work.perform(request)
            else:
                self.work.prepare(request)
        except OutputError as error:
            return "output", _one_line(error)
        except CadenzaError as error:
            return "input", _one_line(error)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:
                return "output", _one_line(error)
            return "bug", traceback.format_exc()
        return "done", ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _song(bundle: Bundle) -> str:
    return bundle[0].song
