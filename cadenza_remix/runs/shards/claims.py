"""Who works on a shard: a small file that its owner touches every few seconds.

Claims only save double work: units that two do at once come out the same. Nothing here needs locks of the file system
(many network disks have none) or clocks that agree: who wants a claim watches it with a clock of its own, and takes it
over when it has not changed for long enough.

- A claim is made by linking a whole file to its name, which one of several succeeds in.
- The owner writes its beat into the very file that holds its token. That needs no space on a full disk, and cannot undo
  that another has put its own file there meanwhile.
- A claim is taken over by renaming an own file over it and reading it back after a moment: the last one to rename owns
  it. Whoever believed to own it finds another's token at its next beat, and has lost it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cadenza_remix.atomic import atomic_path, create_text, is_running, machine_token
from cadenza_remix.errors import OutputError
from cadenza_remix.runs.shards.journal import this_place

BEAT_S = 5.0
"""How often an owner touches its claim."""

STALE_S = 30.0
"""For how long a claim must not change before another takes it over."""

_LOOK_S = 0.1  # how often to ask whether to stop; the disk is not touched
_HANG_S = 1.0  # for how long a release waits for a beat that hangs in a slow disk

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owner:
    """What a claim says. ``machine``: `machine_token` of where ``pid`` means something; ``beat`` counts from 0."""

    token: str
    host: str = ""
    machine: str = ""
    pid: int = 0
    job: str = ""
    beat: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" + (f" (job {self.job})" if self.job else "")

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended: a process of this machine that is no more."""
        return self.machine == machine_token() and self.pid > 0 and not is_running(self.pid)

    def text(self) -> str:
        """Return the claim's content, as long for each beat as for any other, so that it can be written in place."""
        return json.dumps(asdict(self))[:-1].ljust(400) + "}\n"


def read_claim(path: Path) -> Owner | None:
    """Return who has a claim; None when nobody has, or it cannot be understood."""
    with suppress(OSError):
        return _owner(path.read_bytes())
    return None


class Claim:
    """A claim that was taken: `take` makes it. It is kept by a thread until it is released.

    Examples
    --------
    ::

        claim = Claim.take(path, should_stop=stopped)
        if claim is not None:
            with claim:
                ...  # until the work is done, or claim.lost
    """

    def __init__(self, path: Path, owner: Owner, beat_s: float) -> None:
        self.path = path
        self._owner, self._beat_s = owner, beat_s
        self._lost, self._ended = threading.Event(), threading.Event()
        self._has_warned = False
        self._thread = threading.Thread(target=self._keep, name=f"claim {path.stem}", daemon=True)
        self._thread.start()

    @classmethod
    def take(
        cls,
        path: Path,
        *,
        beat_s: float = BEAT_S,
        stale_s: float = STALE_S,
        on_wait: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool],
    ) -> Claim | None:
        """Wait until a claim is free or stale, and take it.

        Parameters
        ----------
        path : Path
        beat_s : float
            How often an owner writes and a waiting one looks, in seconds.
        stale_s : float
            For how long another's claim must not change before it is taken over, in seconds. One of a process of this
            machine that is no more is taken over at once.
        on_wait : callable, optional
            Called with a line for each owner that is waited for.
        should_stop : callable
            Asked about ten times a second while waiting.

        Returns
        -------
        Claim or None
            None when ``should_stop`` came true first.

        Raises
        ------
        OutputError
            The claim cannot be written or read: no permission, no space.
        """
        place = this_place()
        owner = Owner(secrets.token_hex(8), place.host, machine_token(), os.getpid(), place.job)
        watch = _Watch()
        while not should_stop():
            content = _content(path)
            if content is None:
                if create_text(path, owner.text()):
                    return cls(path, owner, beat_s)
                _sleep(min(beat_s, _LOOK_S), should_stop)
                continue
            other = _owner(content)
            if other is not None and other.token == owner.token:  # made by a call whose answer the network lost
                return cls(path, owner, beat_s)
            watch.see(content, most_s=2 * beat_s)
            if watch.unchanged_s >= stale_s or (other is not None and other.is_gone):
                if _take_over(path, content, owner, moment_s=beat_s / 5):
                    return cls(path, owner, beat_s)
                continue
            if on_wait is not None and watch.is_new(other):
                on_wait(f"{path.stem}: {other or 'somebody'} works on it; waiting until it is done or has stopped")
            _sleep(beat_s, should_stop)
        return None

    @property
    def lost(self) -> bool:
        """Whether another has taken the claim over, as is found out at most one beat later."""
        return self._lost.is_set()

    def release(self) -> None:
        """Give the claim up: remove it, unless it is another's by now. The second call does nothing."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join(_HANG_S + self._beat_s / 5)
        with suppress(OSError):
            found = _owner(self.path.read_bytes())
            if found is not None and found.token == self._owner.token:
                self.path.unlink()

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _keep(self) -> None:
        beat = 0
        while not self._ended.wait(self._beat_s):
            beat += 1
            try:
                if not self._beat(replace(self._owner, beat=beat)):
                    self._lost.set()
                    return
            except OSError as error:  # the work is worth more than its claim
                if not self._has_warned:
                    self._has_warned = True
                    logger.warning("%s: cannot be kept up, so that others may do the same work: %s", self.path, error)

    def _beat(self, owner: Owner) -> bool:
        """Write the beat into the claim, make it anew where it is gone, and tell whether it is ours."""
        try:
            file = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return create_text(self.path, owner.text()) or self._is_ours()
        try:
            found = _owner(os.read(file, 4096))
            if found is not None and found.token != owner.token:
                return False
            text = owner.text().encode()
            os.pwrite(file, text, 0)
            os.ftruncate(file, len(text))  # what damaged it may have made it longer
        finally:
            os.close(file)
        return True

    def _is_ours(self) -> bool:
        found = read_claim(self.path)
        return found is not None and found.token == self._owner.token


class _Watch:
    """For how long a claim has been seen not to change, by this process's own clock."""

    def __init__(self) -> None:
        self._content: bytes | None = None
        self._seen_s = 0.0
        self._told: str | None = None
        self.unchanged_s = 0.0

    def see(self, content: bytes, *, most_s: float) -> None:
        """Count the time since the last look, but no more than ``most_s``: this process may have been stopped, too."""
        now_s = time.monotonic()
        changed = content != self._content
        self.unchanged_s = 0.0 if changed else self.unchanged_s + min(now_s - self._seen_s, most_s)
        self._content, self._seen_s = content, now_s

    def is_new(self, owner: Owner | None) -> bool:
        """Tell whether this owner was not yet spoken of."""
        token = owner.token if owner else ""
        is_new, self._told = token != self._told, token
        return is_new


class _NotStaleError(Exception):
    """The claim is another one than a moment ago."""


def _take_over(path: Path, content: bytes, owner: Owner, *, moment_s: float) -> bool:
    """Put an own claim over a stale one; tell whether it stays there."""
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(owner.text(), encoding="utf-8")
            # Making a file in the folder also renews what a network disk remembers of it: this look is a fresh one.
            if _content(path) != content:
                raise _NotStaleError
    except _NotStaleError:
        return False
    time.sleep(moment_s)
    found = read_claim(path)
    return found is not None and found.token == owner.token


def _content(path: Path) -> bytes | None:
    """Return what is in a claim, None when there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ESTALE:  # replaced on a network disk while it was opened
            return b""
        raise OutputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _owner(content: bytes) -> Owner | None:
    """Return whom a claim names; None when it is damaged."""
    try:
        raw = json.loads(content)
        owner = Owner(**raw)
    except (ValueError, TypeError, RecursionError):
        return None
    texts, numbers = (owner.token, owner.host, owner.machine, owner.job), (owner.pid, owner.beat)
    is_sound = all(type(text) is str for text in texts) and all(type(number) is int for number in numbers)
    return owner if is_sound and owner.token else None


def _sleep(seconds: float, should_stop: Callable[[], bool]) -> None:
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0 and not should_stop():
        time.sleep(min(left_s, _LOOK_S))
