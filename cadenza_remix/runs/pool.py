"""Units of work on several threads.

Threads, not processes: the compiled loops, FFTs and file writes release the interpreter's lock, all threads share the
loaded music, and no start-up is paid per worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from cadenza_remix.errors import CadenzaError, OutputError

Unit = TypeVar("Unit")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """A unit that could not be done, and why."""

    unit: str
    error: CadenzaError


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_units(
    units: Sequence[Unit],
    work: Callable[[Unit], Result],
    *,
    n_workers: int | None = None,
    name: Callable[[Unit], str] = str,
) -> tuple[list[Result], list[Failure]]:
    """Do all units; return their results in the order of the units, and the failures.

    A unit that fails for its own reasons (bad input) does not hold up the others. A failed write stops everything,
    since the next ones would fail too; so does an interruption or any error that is not ours.
    """
    results: dict[int, Result] = {}
    failures: dict[int, Failure] = {}
    with ThreadPoolExecutor(max_workers=max(1, n_workers or default_workers())) as executor:
        waiting: dict[Future[Result], int] = {executor.submit(work, unit): index for index, unit in enumerate(units)}
        try:
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    index = waiting.pop(future)
                    try:
                        results[index] = future.result()
                    except OutputError:
                        raise
                    except CadenzaError as error:
                        failures[index] = Failure(name(units[index]), error)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    return [results[index] for index in sorted(results)], [failures[index] for index in sorted(failures)]
