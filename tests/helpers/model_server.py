"""A real HTTP server that misbehaves as told, and small model archives to serve from it."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bundle_writer import checkpoint_files
from random_weights import random_variables

from cadenza_remix.separation.models.manifest import CHECKPOINT_FILES, MANIFEST_NAME
from cadenza_remix.separation.models.registry import ModelCard, model_card
from cadenza_remix.separation.models.store import ModelStore

#: Of the networks of the small model that these tests know: 0.5 MB of weights.
TINY_FILTERS = (4, 8, 16, 16, 16, 16)
#: What a store with that model holds, but for lock files.
INSTALLED = {f"models/tiny/{name}" for name in (*CHECKPOINT_FILES, MANIFEST_NAME)}


@dataclass
class ServedFile:
    """What a server gives out, how it behaves at each request in turn, and what it was asked."""

    content: bytes
    etag: str | None = '"first"'
    script: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    let_go: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    served: ServedFile

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        served = self.served
        ask = {"path": self.path, "range": self.headers.get("Range"), "if_range": self.headers.get("If-Range")}
        ask["proxy_login"] = self.headers.get("Proxy-Authorization")
        served.requests.append(ask)
        how = served.script.pop(0) if served.script else "ok"
        if how.isdigit():
            self.send_error(int(how))
        elif how.startswith("redirect"):
            self.send_response(302)
            self.send_header("Location", how.partition(" ")[2] or "/elsewhere")
            self.end_headers()
        elif how == "silent":
            served.let_go.wait(20)
        else:
            self._send(how)

    def _send(self, how: str) -> None:
        served = self.served
        content = b"<html>Please log in</html>" if how == "garbage" else served.content
        start = 0
        asked = self.headers.get("Range")
        unchanged = self.headers.get("If-Range") in (None, served.etag)
        if asked and unchanged and how != "no ranges":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if served.etag:
            self.send_header("ETag", served.etag)
        if how != "no length":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if how in ("break", "stall"):
            body = body[: len(body) // 2]
        self.wfile.write(body)
        self.wfile.flush()
        if how == "stall":
            served.let_go.wait(20)


@contextmanager
def serving(content: bytes, *script: str, etag: str | None = '"first"') -> Iterator[ServedFile]:
    """Serve bytes on a free port of this machine; each word of the script is how one request is answered."""
    served = ServedFile(content, etag, list(script))
    handler = type("Handler", (_Handler,), {"served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}/tiny.tar.gz"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


def what_lies_in(store: ModelStore) -> set[str]:
    """Return all that a store holds but for its lock files."""
    paths = (path for path in store.home.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(store.home)) for path in paths}


def content_of(folder: Path) -> dict[str, bytes]:
    """Return a model folder's files but for its manifest."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST_NAME}


def tar_of(files: Mapping[str, bytes], *, mode: str = "w:gz") -> bytes:
    """Pack files into a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """Pack files into a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return buffer.getvalue()


def wheel_of(files: Mapping[str, bytes], *, name: str = "tiny_model", version: str = "1.0") -> bytes:
    """Pack files into a wheel that pip accepts."""
    info = f"{name}-{version}.dist-info"
    everything = dict(files) | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        path: base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        for path, content in everything.items()
    }
    record = "".join(f"{path},sha256={digests[path]},{len(everything[path])}\n" for path in everything)
    return zip_of(everything | {f"{info}/RECORD": (record + f"{info}/RECORD,,\n").encode()})


def tiny_card(archive: bytes = b"", url: str = "http://127.0.0.1:9/tiny.tar.gz", **changes: Any) -> ModelCard:
    """Return the card of a small model that only these tests know."""
    facts: dict[str, Any] = {
        "name": "spleeter:tiny",
        "weights": "tiny",
        "archive_url": url,
        "archive_sha256": hashlib.sha256(archive).hexdigest(),
        "pip_requirement": None,
        "pip_folder": None,
        "neutral_sha256": None,
        "filters": TINY_FILTERS,
    }
    return replace(model_card("spleeter:2stems"), **({"files": {}} | facts | changes))


#: Noise, so that an archive is about as large as its content and a broken-off one ends within it.
CHECKPOINT: Mapping[str, bytes] = checkpoint_files(random_variables(tiny_card()))


def in_folder(folder: str, files: Mapping[str, bytes] = CHECKPOINT) -> dict[str, bytes]:
    """Return the same files under a folder."""
    return {f"{folder}/{name}": content for name, content in files.items()}


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def fetch_in_process(home: str, archive: bytes, url: str, barrier: Any, answers: Any) -> None:
    """Fetch a model at the same moment as others do (the target of a process); tell each notice and the result."""
    barrier.wait(30)
    card = tiny_card(archive, url)
    path = ModelStore(Path(home)).fetch(
        card, via="release", timeout_s=30, notify=lambda line: answers.put(("notice", line))
    )
    answers.put(("path", str(path)))
