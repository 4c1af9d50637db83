"""Bring a file of known checksum over HTTP without ever hanging, and go on where a broken-off download stopped.

The standard library's ``urllib.request`` does the transfer: it follows redirects and respects the proxy variables.
``pooch`` was considered and is not used, since it starts a broken-off download of two hundred megabytes from nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from cadenza_remix.atomic import make_folder, write_json, writing_failed
from cadenza_remix.errors import CadenzaError, ModelError

#: Called with the bytes had so far and the bytes expected (None while that is unknown).
Progress = Callable[[int, int | None], None]
#: Called with a line that a user should see (a retry, a wait, another way taken).
Notify = Callable[[str], None]

#: Seconds without an answer or without a single byte after which an attempt is given up.
TIMEOUT_S = 10.0
#: Attempts in a row that bring less than `WORTHWHILE_BYTES`, after which a download is given up.
ATTEMPTS = 3
WORTHWHILE_BYTES = 1 << 20
#: Wait before the second attempt; doubled before each further one.
BACKOFF_S = 1.0

_CHUNK = 1 << 16
_WORTH_RETRYING = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class _TryAgain(Exception):
    """This attempt failed in a way that the next may not."""


@dataclass(frozen=True)
class _Job:
    """What one download is about."""

    url: str
    sha256: str
    partial: Path
    timeout_s: float
    progress: Progress | None

    @property
    def notes(self) -> Path:
        """Where the partial file's origin is noted, so that it is continued only with bytes of the same file."""
        return self.partial.with_name(self.partial.name + ".json")


def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    progress: Progress | None = None,
    notify: Notify | None = None,
    timeout_s: float = TIMEOUT_S,
    attempts: int = ATTEMPTS,
    backoff_s: float = BACKOFF_S,
) -> Path:
    """Download a file and prove its checksum; a broken-off download is continued, now or in a later run.

    Bytes are gathered in ``<target>.part`` and become ``target`` when their SHA-256 is right. Two processes must not
    download to one target at once: the caller holds a lock.

    Parameters
    ----------
    url : str
        Where the file is. A redirect from HTTPS to plain HTTP is refused.
    target : Path
        What the file shall be called here.
    sha256 : str
        Expected checksum, in hexadecimal.
    progress, notify : callable, optional
        See `Progress` and `Notify`.
    timeout_s : float
        Seconds to wait for an answer (name resolution and redirects included), and for each further byte.
    attempts : int
        Attempts in a row that may bring less than `WORTHWHILE_BYTES`.
    backoff_s : float
        Seconds before the second attempt, doubled before each further one.

    Raises
    ------
    ModelError
        The file cannot be had, or is not the one expected; nothing is then left at ``target``.
    OutputError
        The file cannot be written.
    """
    make_folder(target.parent)
    job = _Job(url, sha256.lower(), target.with_name(target.name + ".part"), timeout_s, progress)
    if not (job.partial.exists() and sha256_of(job.partial) == job.sha256):
        _gather(job, notify or (lambda line: None), attempts, backoff_s)
    try:
        job.partial.replace(target)
        job.notes.unlink(missing_ok=True)
    except OSError as error:
        raise writing_failed(target, error) from error
    return target


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error


def _gather(job: _Job, notify: Notify, attempts: int, backoff_s: float) -> None:
    """Attempt until the partial file is whole and right."""
    fruitless = 0
    restarted = False
    while True:
        before = _size(job.partial)
        try:
            _attempt(job)
            found = sha256_of(job.partial)
            if found == job.sha256:
                return
            size = _size(job.partial)
            _forget(job)
            if restarted or not before:
                raise ModelError(
                    f"{job.url}: wrong checksum of the {size} bytes received (a proxy or a login page may have "
                    f"answered): expected sha256 {job.sha256[:12]}..., found {found[:12]}..."
                )
            # What an earlier attempt left may have been the bad part: once more, from the beginning.
            restarted = True
            notify(f"{job.url}: the continued download has a wrong checksum; starting from the beginning")
        except _TryAgain as trouble:
            fruitless = 0 if _size(job.partial) - before >= WORTHWHILE_BYTES else fruitless + 1
            if fruitless >= attempts:
                raise ModelError(f"{job.url}: cannot be downloaded ({attempts} attempts): {trouble}") from trouble
            pause_s = backoff_s * 2 ** max(fruitless - 1, 0)
            notify(f"{job.url}: {trouble}; trying again in {pause_s:g} s")
            time.sleep(pause_s)


def _attempt(job: _Job) -> None:
    """Ask the server once for what is missing, and append what it sends to the partial file."""
    start, validator = _resumable(job)
    headers = {"User-Agent": f"cadenza-remix/{_our_version()}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    if start and validator:
        # If the file has changed there since, the server then sends the new one whole.
        headers["If-Range"] = validator
    request = urllib.request.Request(job.url, headers=headers)
    with _network_trouble(job), _answer(request, job.timeout_s) as response:
        total = _expected_total(response)
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            if _range_start(response) != start:
                _forget(job)
                raise _TryAgain(f"the server sent another part of the file than bytes {start} and on")
        else:
            # The whole file: the first attempt, a changed file, or a server that knows no ranges.
            start = 0
            _forget(job)
            write_json(job.notes, {"url": job.url, "sha256": job.sha256, "validator": _validator(response)})
        size = _append(job, response, start, total)
    if total is not None and size < total:
        raise _TryAgain(f"the connection broke off after {size} of {total} bytes")


def _append(job: _Job, response: http.client.HTTPResponse, start: int, total: int | None) -> int:
    """Append the response's bytes to the partial file; return its size."""
    size = start
    try:
        file: IO[bytes] = job.partial.open("r+b" if start else "wb")
    except OSError as error:
        raise writing_failed(job.partial, error) from error
    with file:
        file.seek(start)
        while block := response.read1(_CHUNK):
            try:
                file.write(block)
            except OSError as error:
                raise writing_failed(job.partial, error) from error
            size += len(block)
            if job.progress is not None:
                job.progress(size, total)
    return size


@contextmanager
def _answer(request: urllib.request.Request, timeout_s: float) -> Iterator[http.client.HTTPResponse]:
    """Open a request and yield the response, or raise TimeoutError when there is none in time.

    The socket's own time-out leaves out name resolution, and counts anew for each address and each redirect: on a
    compute node whose name server is silent that adds up to minutes. So the request is made in a thread, which is
    left to its own end when it takes too long.
    """
    answers: queue.Queue[Any] = queue.Queue()
    too_late = threading.Event()

    def ask() -> None:
        try:
            answer: Any = urllib.request.build_opener(_SafeRedirects()).open(request, timeout=timeout_s)
        except BaseException as error:
            answer = error
        answers.put(answer)
        if too_late.is_set() and hasattr(answer, "close"):
            answer.close()

    threading.Thread(target=ask, daemon=True, name="cadenza-remix-download").start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        too_late.set()
        raise TimeoutError from None
    if isinstance(answer, BaseException):
        raise answer
    with contextlib.closing(answer):
        yield answer


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never from HTTPS to a connection that anybody may listen to."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise ModelError(f"{req.full_url}: refused: the server redirects to the insecure {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _network_trouble(job: _Job) -> Iterator[None]:
    """Sort what can go wrong on a network into what is worth another attempt and what is not."""
    try:
        yield
    except (CadenzaError, _TryAgain):
        raise
    except urllib.error.HTTPError as error:
        # Of a redirect in a circle, the reason has several lines.
        line = " ".join(f"the server answered {error.code} {error.reason}".split())
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and _size(job.partial):
            # There is more here than there: what lies here belongs to another version of the file.
            _forget(job)
            raise _TryAgain(line) from error
        if error.code in _WORTH_RETRYING:
            raise _TryAgain(line) from error
        raise ModelError(f"{error.url}: cannot be downloaded: {line}") from error
    except TimeoutError as error:
        raise _TryAgain(f"no answer within {job.timeout_s:g} s") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise _TryAgain(f"no answer within {job.timeout_s:g} s") from error
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise _TryAgain(" ".join(str(text).split())) from error


def _expected_total(response: http.client.HTTPResponse) -> int | None:
    """Return the size of the whole file as far as the server tells it."""
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        total = (response.headers.get("Content-Range") or "").rpartition("/")[2]
    else:
        total = response.headers.get("Content-Length") or ""
    return int(total) if total.isdigit() else None


def _range_start(response: http.client.HTTPResponse) -> int | None:
    """Return the first byte that a partial answer holds, None where it does not say."""
    first = (response.headers.get("Content-Range") or "").removeprefix("bytes").strip().partition("-")[0]
    return int(first) if first.isdigit() else None


def _validator(response: http.client.HTTPResponse) -> str | None:
    """Return what tells this version of the file from another: a strong ETag, or the date of its last change."""
    etag = response.headers.get("ETag") or ""
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")


def _resumable(job: _Job) -> tuple[int, str | None]:
    """Return how many bytes of this very download are there already, and the validator noted with them."""
    try:
        notes = json.loads(job.notes.read_text(encoding="utf-8"))
        if (notes["url"], notes["sha256"]) == (job.url, job.sha256):
            return _size(job.partial), notes["validator"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return 0, None


def _forget(job: _Job) -> None:
    try:
        job.partial.unlink(missing_ok=True)
        job.notes.unlink(missing_ok=True)
    except OSError as error:
        raise writing_failed(job.partial, error) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _our_version() -> str:
    try:
        return version("cadenza-remix")
    except PackageNotFoundError:
        return "unknown"
