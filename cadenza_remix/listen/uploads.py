"""Songs that visitors bring: taken in, decoded and demixed one at a time in worker processes, kept for a while.

Nothing that comes from a visitor names a file: folders are named by tokens that the server makes, and the song's name
is only shown. Decoding is done in a process with little memory, as that is where a hostile file would do its harm;
demixing in another one that never sees the original. What happens to either leaves the server up, and the next song
gets new ones.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from cadenza_remix.atomic import is_running, machine_token, make_folder
from cadenza_remix.audio.io import AUDIO_SUFFIXES
from cadenza_remix.errors import CadenzaError, InputError, OutputError
from cadenza_remix.listen.library import RoomSong, UnknownIdError
from cadenza_remix.listen.sandbox import LimitedProcess, ProcessLimits
from cadenza_remix.listen.upload_body import RefusedUploadError, receive_body, shown_name, suffix_of
from cadenza_remix.listen.upload_limits import BYTES_PER_S, UploadLimits
from cadenza_remix.runs.finished import SongSources
from cadenza_remix.runs.processes import WorkerLostError, one_thread_each

_LOG = logging.getLogger(__name__)
_WORKER = "cadenza_remix.listen.upload_worker"
_FOLDER_PREFIX = "uploads-"
_COPIES = 5  # of a song on the disk: mixture and four stems
_SPARE_BYTES = 100_000_000
"""Left free on the disk beyond what a song needs."""
_LOG_NAME = "log.txt"

State = Literal["waiting", "decoding", "demixing", "ready", "failed"]


class SongShelf(Protocol):
    """Where songs that are ready go: the room's library."""

    def add_song(self, name: str, sources: SongSources, duration_s: float) -> RoomSong: ...
    def remove_song(self, song_id: str) -> None: ...


@dataclass
class _Job:
    """One upload on its way; changed only under the lock of `Uploads`."""

    token: str
    name: str
    folder: Path
    original: Path
    state: State = "waiting"
    share: float = 0.0
    first_share: tuple[float, float] | None = None  # and when it was told: what comes before is no measure
    ended: float = 0.0
    error: str | None = None
    song: RoomSong | None = None
    process: LimitedProcess | None = None
    is_removed: bool = False

    @property
    def is_open(self) -> bool:
        return self.state in ("waiting", "decoding", "demixing")


class Uploads:
    """Takes visitors' songs, works on them one after the other, and puts them into the library.

    Nothing is started and nothing written before the first song comes.

    Parameters
    ----------
    folder : path
        Holds a folder of this server's, which goes when it is closed (or when the next server starts).
    library : SongShelf
        Gets each song that is ready; see `Library.add_song`.
    separator : str
        What demixes; see `load_separator`.
    limits : UploadLimits

    Attributes
    ----------
    suffixes : tuple of str
        Of files that are taken.
    """

    suffixes = AUDIO_SUFFIXES

    def __init__(
        self,
        folder: str | Path,
        *,
        library: SongShelf,
        separator: str = "cadenza:mini",
        limits: UploadLimits | None = None,
    ) -> None:
        self.limits = limits or UploadLimits()
        self.separator = separator
        self._parent = Path(folder)
        self._own: Path | None = None
        self._library = library
        self._jobs: dict[str, _Job] = {}
        self._queue: deque[_Job] = deque()
        self._n_receiving = 0
        self._is_closed = False
        # Reentrant: what is done under it may take it again.
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None

    async def receive(self, stream: AsyncIterable[bytes], name: str) -> str:
        """Take a file as it comes, and put it into the queue.

        Parameters
        ----------
        stream : async iterable of bytes
            The file.
        name : str
            What the visitor calls it; tells its kind by the suffix.

        Returns
        -------
        str
            A token that cannot be guessed, for `status` and `remove`.

        Raises
        ------
        RefusedUploadError
            Too large (413), no audio (415), too slow (408), too many at once (429), no space (503).
        """
        suffix = suffix_of(name)
        with self._slot():
            token = secrets.token_urlsafe(24)
            folder = self._own_folder() / token
            folder.mkdir(mode=0o700)
            original = folder / f"original{suffix}"
            try:
                await receive_body(
                    stream,
                    original,
                    suffix=suffix,
                    max_bytes=int(self.limits.max_bytes),
                    max_s=self.limits.receive_s,
                    idle_s=self.limits.idle_s,
                )
                self._enqueue(_Job(token, shown_name(name), folder, original))
            except BaseException:  # also when the client goes away
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return token

    def status(self, token: str) -> dict[str, Any]:
        """Return how an upload stands.

        Returns
        -------
        dict
            ``state``: waiting, decoding, demixing, ready or failed; ``share`` of this state's work that is done;
            ``seconds_left`` of demixing, or None; ``error``: one line when it has failed; ``song``: the `RoomSong`
            when it is ready.

        Raises
        ------
        UnknownIdError
            There is no such upload, or no longer.
        """
        with self._changed:
            self._expire()
            job = self._job(token)
            return {
                "state": job.state,
                "share": job.share,
                "seconds_left": _seconds_left(job),
                "error": job.error,
                "song": job.song,
            }

    def remove(self, token: str) -> None:
        """Stop an upload, or take it out of the library, and delete its files.

        Raises
        ------
        UnknownIdError
            There is no such upload, or no longer.
        """
        with self._changed:
            self._drop(self._job(token))

    def close(self) -> None:
        """End the worker and delete all files; songs of visitors leave the library. May be called again."""
        with self._changed:
            self._is_closed = True
            for job in list(self._jobs.values()):
                self._drop(job)
            thread, own = self._thread, self._own
            self._changed.notify_all()
        if thread is not None:
            thread.join()
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)

    def worker_pids(self) -> tuple[int, ...]:
        """Return the process ids of the workers that run now."""
        with self._changed:
            return tuple(job.process.pid for job in self._jobs.values() if job.process is not None)

    def _job(self, token: str) -> _Job:
        job = self._jobs.get(token)
        if job is None:
            raise UnknownIdError("unknown upload", expected="a token that the server gave, not yet removed")
        return job

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Count one as being received while it is."""
        with self._changed:
            if self._is_closed:
                raise RefusedUploadError(503, "server is closing")
            self._expire()
            n_open = self._n_receiving + sum(job.is_open for job in self._jobs.values())
            if n_open >= self.limits.max_waiting:
                line = f"too many songs at once: expected at most {self.limits.max_waiting}, try again later"
                raise RefusedUploadError(429, line)
            self._n_receiving += 1
            # All that are being received might be as large as allowed.
            self._check_space(self.limits.max_bytes * self._n_receiving)
        try:
            yield
        finally:
            with self._changed:
                self._n_receiving -= 1

    def _enqueue(self, job: _Job) -> None:
        with self._changed:
            if self._is_closed:
                raise RefusedUploadError(503, "server is closing")
            self._jobs[job.token] = job
            self._queue.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="uploads", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _work(self) -> None:
        """Take one song after the other until the server ends."""
        while True:
            with self._changed:
                while not self._queue and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                job = self._queue.popleft()
            if job.is_removed:
                shutil.rmtree(job.folder, ignore_errors=True)
                continue
            try:
                self._make(job)
            except CadenzaError as error:
                self._fail(job, str(error))
            except OSError as error:  # its text would tell where the server keeps things
                _LOG.warning("uploads: %s", error)
                self._fail(job, f"{job.name}: the server cannot keep it: {error.strerror}")
            except Exception:
                _LOG.exception("uploads: a bug with %s", job.token[:6])
                self._fail(job, "something went wrong in the server; its log tells more")

    def _make(self, job: _Job) -> None:
        with self._changed:
            self._check_space(self.limits.max_song_s * BYTES_PER_S)
        mixture = job.folder / "mixture.wav"
        arguments: dict[str, Any] = {"source": str(job.original), "shown_name": job.name, "target": str(mixture)}
        arguments["max_song_s"] = self.limits.max_song_s
        duration_s = self._run(job, "decoding", "decode", arguments, self.limits.decoding())["duration_s"]
        job.original.unlink()
        with self._changed:
            self._check_space((_COPIES - 1) * duration_s * BYTES_PER_S)
        arguments = {"source": str(mixture), "shown_name": job.name, "folder": str(job.folder)}
        arguments["separator"] = self.separator
        made = self._run(job, "demixing", "demix", arguments, self.limits.demixing(duration_s))
        sources = SongSources(mixture=mixture, kept_stems=job.folder, separator=made["separator"])
        with self._changed:
            if job.is_removed:
                raise WorkerLostError("removed")
            job.song = self._library.add_song(job.name, sources, duration_s)
            job.state, job.share, job.ended = "ready", 1.0, time.monotonic()
            self._expire()

    def _run(
        self, job: _Job, state: State, task: str, arguments: dict[str, Any], limits: ProcessLimits
    ) -> dict[str, Any]:
        """Do one task of a job in a process of its own; its files go when the job was removed meanwhile."""
        log = job.folder / _LOG_NAME
        with self._changed:
            if job.is_removed:
                raise WorkerLostError("removed")
            job.state, job.share, job.first_share = state, 0.0, None
            # The decoder needs one thread; what it may map would not hold a pool of them.
            environment = one_thread_each() if task == "decode" else {"TF_CPP_MIN_LOG_LEVEL": "2"}
            job.process = LimitedProcess(_WORKER, task, arguments, limits=limits, log=log, environment=environment)

        def on_share(share: float) -> None:
            with self._changed:
                job.share = max(job.share, share)
                job.first_share = job.first_share or (share, time.monotonic())

        try:
            return job.process.result(on_share)
        except WorkerLostError as error:
            if not job.is_removed:  # then it was ended on purpose
                _LOG.warning("uploads: %s: %s; %s", task, error, _last_line(log))
            raise WorkerLostError(f"{job.name}: {state} failed: {error}") from error
        except InputError as error:
            _LOG.info("uploads: %s: %s; %s", task, error, _last_line(log))
            raise
        finally:
            with self._changed:
                job.process = None

    def _fail(self, job: _Job, line: str) -> None:
        with self._changed:
            job.state, job.error, job.ended = "failed", " ".join(line.split()), time.monotonic()
            shutil.rmtree(job.folder, ignore_errors=True)

    def _drop(self, job: _Job) -> None:
        """Forget a job. One that is being worked on is stopped, and its thread deletes the files."""
        del self._jobs[job.token]
        job.is_removed = True
        if job.song is not None:
            self._library.remove_song(job.song.id)
        if job.process is not None:
            job.process.kill()
        if not job.is_open or job.state == "waiting":
            shutil.rmtree(job.folder, ignore_errors=True)

    def _expire(self) -> None:
        """Drop finished jobs that are too old or too many."""
        finished = sorted((job for job in self._jobs.values() if not job.is_open), key=lambda job: job.ended)
        oldest = time.monotonic() - self.limits.keep_s
        n_too_many = len(finished) - self.limits.max_kept
        for index, job in enumerate(finished):
            if index < n_too_many or job.ended < oldest:
                self._drop(job)

    def _check_space(self, n_bytes: float) -> None:
        """Make room on the disk by dropping the oldest songs; refuse what does not fit even so."""
        own = self._own_folder()
        while True:
            used = sum(path.stat().st_size for path in own.rglob("*") if path.is_file())
            free = shutil.disk_usage(own).free - _SPARE_BYTES
            if used + n_bytes <= self.limits.max_disk_bytes and n_bytes <= free:
                return
            ready = [job for job in self._jobs.values() if job.state == "ready"]
            if not ready:
                raise RefusedUploadError(503, "no space for another song on the server: try again later")
            self._drop(min(ready, key=lambda job: job.ended))

    def _own_folder(self) -> Path:
        """Return this server's folder; at first, make it, and remove those of servers that are gone."""
        with self._changed:
            if self._own is None:
                make_folder(self._parent)
                _remove_dead(self._parent)
                own = self._parent / f"{_FOLDER_PREFIX}{machine_token()}-{os.getpid()}-{secrets.token_hex(4)}"
                try:
                    own.mkdir(mode=0o700)
                except OSError as error:
                    raise OutputError(f"{own}: cannot be made: {error.strerror}") from error
                self._own = own
            return self._own


def _remove_dead(parent: Path) -> None:
    """Remove the folders of servers of this machine that were killed."""
    for folder in parent.glob(f"{_FOLDER_PREFIX}{machine_token()}-*-*"):
        process_id = folder.name.removeprefix(f"{_FOLDER_PREFIX}{machine_token()}-").split("-")[0]
        if process_id.isdecimal() and not is_running(int(process_id)):
            shutil.rmtree(folder, ignore_errors=True)


def _seconds_left(job: _Job) -> float | None:
    if job.state != "demixing" or job.first_share is None:
        return None
    share, told = job.first_share
    if job.share <= share:
        return None
    return round((time.monotonic() - told) * (1 - job.share) / (job.share - share), 1)


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = log.read_bytes()[-2000:].decode("utf-8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "nothing said")
    return "nothing said"
