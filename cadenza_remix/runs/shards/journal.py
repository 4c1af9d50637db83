"""What happened to each unit of a shard, as it happened: one file of JSON lines for each incarnation of the shard.

An incarnation is one process that works on a shard: the first job, the same job after a requeue, the next round's. Each
writes a file of its own and nobody else writes there, so that nothing needs a lock and a killed process costs at most
the line it was writing. Journals tell people and later incarnations what went on; whether a unit is done is for its
record to say, since journals may lie on a disk that was full.

This module writes, and has the names of what reads (`events`, `history`).
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cadenza_remix.atomic import make_folder, writing_failed
from cadenza_remix.runs.shards.events import COMPLETE, TERMINATED, TIME_LIMIT, Event, journals_in, read_events, round_of
from cadenza_remix.runs.shards.folder import RunFolder, ShardId
from cadenza_remix.runs.shards.history import (
    LEFT,
    STATES,
    Incarnation,
    ShardHistory,
    UnitState,
    last_round,
    measured_speeds,
    run_history,
)

__all__ = [
    "COMPLETE", "LEFT", "MAX_ATTEMPTS", "STATES", "TERMINATED", "TIME_LIMIT", "Event", "Incarnation", "Journal",
    "Place", "ShardHistory", "UnitState", "last_round", "measured_speeds", "open_journal", "read_events",
    "round_of", "run_history", "this_place",
]  # fmt: skip

MAX_ATTEMPTS = 3
"""A unit that failed so often in one round is set aside."""

_ERROR_CHARS = 8000


@dataclass(frozen=True)
class Place:
    """Where a process runs: ``job`` is Slurm's number of the job (``123_4``) or empty, ``restart`` counts requeues."""

    host: str
    node: str
    job: str = ""
    restart: int = 0


def this_place(environment: Mapping[str, str] | None = None) -> Place:
    """Return where this process runs, as its environment (``os.environ`` if not given) tells."""
    told = os.environ if environment is None else environment
    host = socket.gethostname()
    job = told.get("SLURM_JOB_ID", "")
    if "SLURM_ARRAY_JOB_ID" in told and "SLURM_ARRAY_TASK_ID" in told:
        job = f"{told['SLURM_ARRAY_JOB_ID']}_{told['SLURM_ARRAY_TASK_ID']}"
    restart = told.get("SLURM_RESTART_COUNT", "")
    return Place(host, told.get("SLURMD_NODENAME") or host, job, int(restart) if restart.isdecimal() else 0)


class Journal:
    """Writes one incarnation's journal; `open_journal` makes it. May be called from several threads.

    Every event is one line, written at once. What counts towards setting a unit aside is on the disk itself when the
    call returns. After `close` nothing is written any more: threads that were let go may still call.

    Each method raises an OutputError when the line cannot be written, such as on a full disk.
    """

    def __init__(self, path: Path, *, n_units: int = 0) -> None:
        self.path = path
        self._lock = threading.RLock()  # a signal's handler may come in the middle of a call
        self._n_units, self._done = n_units, set[str]()
        self._is_torn = False
        try:
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        except OSError as error:
            raise writing_failed(path, error) from error

    def begin(self, unit: str) -> None:
        self._write("begin", unit=unit)

    def done(self, unit: str, seconds: float) -> None:
        self._done.add(unit)
        self._write("done", unit=unit, seconds=round(seconds, 4))

    def found(self, unit: str) -> None:
        """Note a unit that was done before."""
        self._done.add(unit)
        self._write("found", unit=unit)

    def failed(self, unit: str, error: str, kind: str, attempt: int) -> None:
        """Note a failure; ``kind`` is "input", "bug" or "lost" (a worker that died)."""
        self._done.discard(unit)
        self._write("failed", unit=unit, error=_shortened(error), kind=kind, attempt=attempt, sync=True)

    def aside(self, unit: str, error: str) -> None:
        """Note that a unit is left out of this round."""
        self._write("aside", unit=unit, error=_shortened(error), sync=True)

    def blocked(self, unit: str, error: str) -> None:
        """Note that what a unit needs is missing."""
        self._write("blocked", unit=unit, error=_shortened(error))

    def dropped(self, unit: str, why: str) -> None:
        """Note that a unit was begun and given up; ``why`` is TIME_LIMIT or TERMINATED."""
        self._write("dropped", unit=unit, why=why)

    def close(self, reason: str, n_left: int) -> None:
        """Write the last line; the second call does nothing."""
        try:
            self._write("close", reason=_shortened(reason), n_left=n_left, sync=True)
        finally:
            self._release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Close with what went wrong, where nothing was said; a journal that just ends is left as that."""
        if error is not None:
            with suppress(OSError):
                line = " ".join(str(error).split()) or type(error).__name__
                self.close(f"error: {line}", max(self._n_units - len(self._done), 0))
        self._release()

    def _release(self) -> None:
        with self._lock, suppress(OSError):
            if self._file is not None:
                file, self._file = self._file, None
                os.close(file)

    def _write(self, event: str, *, sync: bool = False, **facts: Any) -> None:
        with self._lock:
            if self._file is None:
                return
            line = json.dumps({"t": round(time.time(), 3), "event": event, **facts}, separators=(",", ":"))
            left = (b"\n" if self._is_torn else b"") + line.encode("ascii") + b"\n"
            try:
                while left:  # once, unless the disk has room for a part only
                    written = os.write(self._file, left)
                    left = left[written:]
                    self._is_torn = bool(left)
                if sync:
                    os.fdatasync(self._file)
            except OSError as error:
                raise writing_failed(self.path, error) from error


def open_journal(
    folder: RunFolder, shard: ShardId, round_number: int, *, workers: int, n_units: int, place: Place | None = None
) -> Journal:
    """Begin a journal of this process for a shard.

    Parameters
    ----------
    folder : RunFolder
    shard : ShardId
    round_number : int
        From 1; `last_round` plus 1 for a new submission.
    workers : int
        How many units are worked on at once.
    n_units : int
        Units of the shard.
    place : Place, optional
        `this_place` if not given.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    place = place or this_place()
    lies_in = make_folder(folder.journals(shard))
    n_before = len(journals_in(lies_in))
    host = re.sub(r"[^A-Za-z0-9._]", "_", place.host)[:100]
    journal = Journal(
        lies_in / f"{round_number:04d}-{host}-{os.getpid()}-{secrets.token_hex(4)}.jsonl", n_units=n_units
    )
    facts = {"shard": str(shard), "round": round_number, **asdict(place), "pid": os.getpid()}
    try:
        journal._write("open", **facts, workers=workers, n_units=n_units, n_before=n_before, sync=True)
    except BaseException:
        journal._release()
        raise
    return journal


def _shortened(text: str) -> str:
    """Leave out the middle of a text that would blow up the journal."""
    head = _ERROR_CHARS // 4
    return text if len(text) <= _ERROR_CHARS else text[:head] + "\n...\n" + text[head - _ERROR_CHARS :]
