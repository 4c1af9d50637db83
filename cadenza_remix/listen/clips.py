"""Clips: rendered passages as files for the player, each made once, and the threads that make them."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from cadenza_remix.atomic import atomic_path, make_folder
from cadenza_remix.audio.io import flac16_bytes
from cadenza_remix.audio.loudness import integrated_lufs
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import CadenzaError, OutputError

Result = TypeVar("Result")

RESERVE_BYTES = 200_000_000
"""So much of the disk clips leave free, or a tenth of it where that is less."""
_RESERVED_SHARE = 0.1
_DISK = "the server's disk for temporary files"


class DiskUsage(Protocol):
    """Bytes of a disk, as `shutil.disk_usage` tells them."""

    @property
    def total(self) -> int: ...

    @property
    def free(self) -> int: ...


class BusyError(CadenzaError):
    """More is asked for at once than the server will do; ``retry_after_s``: when to ask again."""

    def __init__(self, retry_after_s: int = 5) -> None:
        super().__init__("too much is being made at once; try again in a few seconds")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Clip:
    """A rendered passage as a file: FLAC, 16 bit, stereo, scaled to its peak.

    Multiplied by ``scale_lin`` the file has the level of what was rendered, of which ``loudness_lufs`` (minus infinity
    for silence) and ``peak_lin`` tell. ``id`` is random: it tells nothing of what is inside.
    """

    id: str
    path: Path
    n_samples: int
    scale_lin: float
    loudness_lufs: float
    peak_lin: float


class ClipStore:
    """Clips in a folder, the oldest removed when there are too many; safe to use from several threads.

    Parameters
    ----------
    folder : Path
        Made where it is missing; whoever made the store removes it.
    max_bytes : int
        Of all files together. The newest clip is kept whatever its size.
    reserve_bytes : int
        So much of the folder's disk stays free, or a tenth of it where that is less: the oldest clips go before a new
        one would take from it, and where that does not help, the new one is not written.
    disk_usage : callable
        Tells of the disk that holds a folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        reserve_bytes: int = RESERVE_BYTES,
        disk_usage: Callable[[Path], DiskUsage] = shutil.disk_usage,
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._reserve_bytes = reserve_bytes
        self._disk_usage = disk_usage
        self._clips: OrderedDict[str, tuple[str, int]] = OrderedDict()  # id -> key, bytes; the oldest first
        self._by_id: dict[str, Clip] = {}
        self._by_key: dict[str, Clip] = {}
        self._making: dict[str, Future[Clip]] = {}
        self._unwanted: set[str] = set()  # keys that were forgotten while their clips are being made
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # the room that one finds on the disk is not taken by another one
        folder.mkdir(parents=True, exist_ok=True)

    def clip(self, key: str, make: Callable[[], Audio]) -> Clip:
        """Return the clip of a key; whoever asks first makes it, others who ask meanwhile wait for it.

        Raises
        ------
        CadenzaError
            What ``make`` raises, for all who wait; the next one to ask tries again.
        OutputError
            It cannot be written, or there is no room for it on the disk.
        """
        with self._lock:
            known = self._known(key)
            if known is not None:
                return known
            waiting = self._making.get(key)
            if waiting is None:
                mine = self._making[key] = Future()
        if waiting is not None:
            return waiting.result()
        try:
            clip = self._write(key, make())
        except BaseException as error:
            with self._lock:
                del self._making[key]
                self._unwanted.discard(key)
            mine.set_exception(error)
            raise
        with self._lock:
            del self._making[key]
            if key in self._unwanted:
                self._unwanted.remove(key)
                if clip.id in self._by_id:
                    self._remove(clip.id)
        mine.set_result(clip)
        return clip

    def ready(self, key: str) -> Clip | None:
        """Return the clip of a key if it is made."""
        with self._lock:
            return self._known(key)

    def find(self, clip_id: str) -> Clip | None:
        """Return the clip of an id, None when there is none (or no longer)."""
        with self._lock:
            return self._used(self._by_id.get(clip_id))

    def forget(self, key: str) -> None:
        """Remove the clip of a key."""
        with self._lock:
            clip = self._by_key.get(key)
            if clip is not None:
                self._remove(clip.id)

    def forget_all(self, prefix: str) -> None:
        """Remove the clips of all keys that begin so, those too that are being made: whoever waits finds no file."""
        with self._lock:
            self._unwanted.update(key for key in self._making if key.startswith(prefix))
            for key in [key for key in self._by_key if key.startswith(prefix)]:
                self._remove(self._by_key[key].id)

    def _known(self, key: str) -> Clip | None:
        return self._used(self._by_key.get(key))

    def _used(self, clip: Clip | None) -> Clip | None:
        """Return a clip, which is the newest now; None where others removed its file, as cleaners of /tmp do."""
        if clip is None:
            return None
        if not clip.path.exists():
            self._remove(clip.id)
            return None
        self._clips.move_to_end(clip.id)
        return clip

    def _write(self, key: str, audio: Audio) -> Clip:
        stereo = audio.stereo()
        peak = float(np.abs(stereo.samples).max())
        scale = peak or 1.0  # silence is written with a scale of 1
        clip_id = secrets.token_hex(16)
        path = self._folder / f"{clip_id}.flac"
        content = flac16_bytes(stereo.samples / np.float32(scale), stereo.sample_rate)
        clip = Clip(clip_id, path, stereo.n_samples, scale, integrated_lufs(stereo), peak)
        with self._writing:
            self._make_room(len(content))
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
            with self._lock:
                self._clips[clip.id] = (key, len(content))
                self._by_id[clip.id] = self._by_key[key] = clip
        return clip

    def _make_room(self, n_bytes: int) -> None:
        """Remove the oldest clips until so many bytes may be written; an OutputError where that is not enough."""
        make_folder(self._folder)  # cleaners of /tmp take empty ones
        while True:
            disk = self._disk_usage(self._folder)
            reserve = min(self._reserve_bytes, int(_RESERVED_SHARE * disk.total))
            with self._lock:
                fits = disk.free - n_bytes >= reserve
                if fits and sum(size for _, size in self._clips.values()) + n_bytes <= self._max_bytes:
                    return
                if not self._clips:
                    break
                self._remove(next(iter(self._clips)))
        if not fits:
            needed, found = _megabytes(n_bytes + reserve), _megabytes(disk.free)
            raise OutputError(f"{_DISK} is full: expected {needed} free for another clip, found {found}")

    def _remove(self, clip_id: str) -> None:
        key, _ = self._clips.pop(clip_id)
        clip = self._by_id.pop(clip_id)
        self._by_key.pop(key, None)
        with suppress(OSError):  # who is reading it reads on: the file goes when the last one closes it
            clip.path.unlink(missing_ok=True)


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"


class RenderPool:
    """A few threads that render, and a bounded queue before them.

    Parameters
    ----------
    n_threads : int
    most_waiting : int
        So many jobs may wait or run at once.
    """

    def __init__(self, *, n_threads: int = 2, most_waiting: int = 64) -> None:
        self._threads = ThreadPoolExecutor(max_workers=n_threads, thread_name_prefix="render")
        self._most_waiting = most_waiting
        self._n_waiting = 0
        self._lock = threading.Lock()

    async def run(self, job: Callable[[], Result]) -> Result:
        """Do a job in a thread and wait for it without holding up anybody else.

        Raises
        ------
        BusyError
            Too many jobs wait already.
        """
        return (await self.run_all([job]))[0]

    async def run_all(self, jobs: Sequence[Callable[[], Result]]) -> list[Result]:
        """Do several jobs, all of them or none; return their results in order.

        Raises
        ------
        BusyError
            Too many jobs wait already.
        """
        with self._lock:
            if self._n_waiting and self._n_waiting + len(jobs) > self._most_waiting:
                raise BusyError
            self._n_waiting += len(jobs)
        futures = [self._threads.submit(job) for job in jobs]
        for future in futures:
            future.add_done_callback(self._count_down)
        try:
            return list(await asyncio.gather(*map(asyncio.wrap_future, futures)))
        except BaseException:  # one failed, or the one who asked has gone: what has not begun need not be done
            for future in futures:
                future.cancel()
            raise

    def close(self, *, wait: bool = False) -> None:
        """End the threads, after the jobs at hand; those that have not begun are dropped. ``wait``: until it is so."""
        self._threads.shutdown(wait=wait, cancel_futures=True)

    def _count_down(self, _: object) -> None:
        with self._lock:
            self._n_waiting -= 1
