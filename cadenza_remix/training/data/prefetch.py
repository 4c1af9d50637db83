"""Batches made ahead in background processes, so that the trainer does not wait for data."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import InputError
from cadenza_remix.runs.processes import Worker, one_thread_each
from cadenza_remix.training.data.excerpts import ExcerptSettings, make_batch
from cadenza_remix.training.data.songs import TrainingSong

#: float32 of shape (batch_size, n_targets, n_samples, 2).
Batch = NDArray[np.float32]


@dataclass(frozen=True)
class BatchMaker:
    """What a worker does: the batch of a number."""

    songs: tuple[TrainingSong, ...]
    settings: ExcerptSettings

    def __call__(self, step: object) -> Batch:
        return make_batch(self.songs, self.settings, int(step))  # type: ignore[call-overload]


class BatchStream:
    """The batches from one number on, in order; use it in a ``with`` block and iterate over (step, batch).

    The workers are programs of their own with one BLAS thread each. They end with the block, and when the trainer ends
    in any other way (Linux: at once; elsewhere with the batch at hand). Memory holds at most ``n_ahead`` batches that
    nobody has taken, and one in each worker.

    Parameters
    ----------
    songs : sequence of TrainingSong
    settings : ExcerptSettings
    first_step : int
    n_workers : int
        0 makes each batch when it is asked for, in this process.
    n_ahead : int
        How many batches are held ready.

    Attributes
    ----------
    waited_s : float
        How long the caller has waited for batches.
    """

    def __init__(
        self,
        songs: Sequence[TrainingSong],
        settings: ExcerptSettings,
        *,
        first_step: int = 0,
        n_workers: int = 1,
        n_ahead: int = 4,
    ) -> None:
        for name, value, least in (("n_workers", n_workers, 0), ("n_ahead", n_ahead, 1), ("first_step", first_step, 0)):
            if value < least:
                raise InputError("setting out of range", where=name, expected=f"{least} or more", found=value)
        self.waited_s = 0.0
        self._make = BatchMaker(tuple(songs), settings)
        self._n_workers, self._n_ahead = n_workers, n_ahead
        self._next_taken = self._next_begun = first_step
        self._ready: dict[int, Batch | BaseException] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self._workers: list[Worker] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> BatchStream:
        work = pickle.dumps(self._make)
        # Workers are started by the thread that trains, since they are bound to the life of that thread.
        self._workers = [Worker(work, environment=one_thread_each(), is_bound=True) for _ in range(self._n_workers)]
        self._threads = [
            threading.Thread(target=self._drive, args=(worker,), name="batches", daemon=True)
            for worker in self._workers
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_closed = True
            self._ready.clear()
            self._changed.notify_all()
        for worker in self._workers:
            worker.kill()
        for thread in self._threads:
            thread.join()
        for worker in self._workers:
            worker.close()

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        while True:
            step = self._next_taken
            yield step, self._take()

    def _take(self) -> Batch:
        """Return the next batch.

        Raises
        ------
        InputError
            A song's file cannot be read.
        WorkerLostError
            A worker was killed from outside.
        """
        began = time.perf_counter()
        if not self._n_workers:
            batch: Batch | BaseException = self._make(self._next_taken)
            self._next_taken += 1
        else:
            with self._changed:
                self._changed.wait_for(lambda: self._next_taken in self._ready)
                batch = self._ready.pop(self._next_taken)
                self._next_taken += 1
                self._changed.notify_all()
        self.waited_s += time.perf_counter() - began
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def _drive(self, worker: Worker) -> None:
        """Let a worker make batches as long as there is room for them."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._next_begun < self._next_taken + self._n_ahead)
                if self._is_closed:
                    return
                step = self._next_begun
                self._next_begun += 1
            try:
                made: Batch | BaseException = worker.do(step)  # type: ignore[assignment]
            except BaseException as error:
                made = error
            with self._changed:
                if self._is_closed:
                    return
                self._ready[step] = made
                self._changed.notify_all()
            if isinstance(made, BaseException):
                return
