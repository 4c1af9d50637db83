"""Deezer's package at work in its own environment; started by `separation.borrowed.deezer`, never imported.

    python -I deezer_worker.py check
    python -I deezer_worker.py serve MODEL FOLDER

Runs on Python 3.9 to 3.11 with the ``spleeter`` package and what that brings, and knows nothing of cadenza_remix.
``-I`` keeps this file's folder, which has a module of the package's own name, and the user's settings out of the way.

Messages go through standard input and output. Each is the length of a header and the length of a payload (two
big-endian 64-bit numbers), the header (JSON), and the payload (little-endian float32). The first message says which
versions run here, or ``{"error": line}``. Then each request ``{"n_samples": n}`` with a payload (n, 2) is answered by
``{"stems": [names], "n_samples": n}`` with a payload (n_stems, n, 2), or by an error, with which the process ends. It
ends as well when its standard input does.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import select
import struct
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

LENGTHS = struct.Struct(">QQ")
MODELS = ("2stems", "4stems", "5stems")
CHECKPOINT = "checkpoint"
#: Characters of an error: TensorFlow's own tell half the graph.
LONGEST_LINE = 300
#: Seconds after which it is looked whether the parent is still the one that started this process.
ORPHAN_CHECK_S = 5.0


def main() -> int:
    # What the package and its libraries print must not come between the messages.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        task = sys.argv[1:]
        if task == ["check"]:
            send(answers, check())
        elif len(task) == 3 and task[0] == "serve":
            serve(sys.stdin.fileno(), answers, model=task[1], folder=Path(task[2]))
        else:
            raise ValueError(f"expected check, or serve MODEL FOLDER, found {task}")
    except BrokenPipeError:
        return 1
    except BaseException as error:  # whatever it is, the other side shall hear of it
        line = " ".join(f"{type(error).__name__}: {error}".split())
        with contextlib.suppress(BrokenPipeError):
            send(answers, {"error": line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + " ..."})
        return 1
    return 0


def check() -> dict[str, Any]:
    """Import what is needed, and return the versions."""
    keep_off_the_network()
    importlib.import_module("tensorflow")
    importlib.import_module("spleeter.separator").create_estimator  # noqa: B018
    configuration = importlib.import_module("spleeter.utils.configuration")
    for model in MODELS:
        configuration.load_configuration(f"spleeter:{model}")
    versions = {name: metadata.version(name) for name in ("spleeter", "tensorflow", "numpy")}
    return {**versions, "python": ".".join(map(str, sys.version_info[:3]))}


def serve(requests: int, answers: BinaryIO, *, model: str, folder: Path) -> None:
    """Answer requests by the package's model until there are no more."""
    import numpy as np

    # Where its folder does not exist the package would try to download it.
    if not (folder / CHECKPOINT).is_file():
        raise FileNotFoundError(f"{folder / CHECKPOINT}: no such file")
    versions = check()
    inbox: queue.Queue[Any] = queue.Queue()
    predictions = predict(model, folder, inbox)
    send(answers, versions)
    try:
        for request, payload in received(requests):
            samples = np.frombuffer(payload, dtype="<f4").reshape(request["n_samples"], 2)
            inbox.put(samples)
            estimates = next(predictions)
            stems = [name for name in estimates if name != "audio_id"]
            data = [np.ascontiguousarray(estimates[name], dtype="<f4") for name in stems]
            send(answers, {"stems": stems, "n_samples": len(samples)}, data)
    finally:
        inbox.put(None)  # otherwise TensorFlow's thread would keep the process alive


def predict(model: str, folder: Path, inbox: queue.Queue[Any]) -> Iterator[Any]:
    """Yield the package's estimates of what is put into the inbox, until that is None.

    The package's own ``Separator.separate`` builds its graph and reads its weights anew for every song; its estimator,
    fed by a generator instead of one array, does that once. The estimates are the same, bit for bit.
    """
    tf = importlib.import_module("tensorflow")
    package = importlib.import_module("spleeter.separator")
    params = importlib.import_module("spleeter.utils.configuration").load_configuration(f"spleeter:{model}")
    params["model_dir"] = str(folder)
    estimator = package.create_estimator(params, False)

    def songs() -> Iterator[Any]:
        # TensorFlow asks for the next song while it still works on this one: it has to wait for it.
        samples = inbox.get()
        while samples is not None:
            yield {"waveform": samples, "audio_id": ""}
            samples = inbox.get()

    def dataset() -> Any:
        signature = {"waveform": tf.TensorSpec((None, 2), tf.float32), "audio_id": tf.TensorSpec((), tf.string)}
        return tf.data.Dataset.from_generator(songs, output_signature=signature)

    return iter(estimator.predict(dataset, yield_single_examples=False))


def keep_off_the_network() -> None:
    """Make every attempt of Python code to reach another machine an error."""

    def refuse(event: str, arguments: Any) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
            raise PermissionError(f"{event}: the network is not used here")

    sys.addaudithook(refuse)


def received(requests: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield requests until their end, or until the process that sends them is gone.

    A process forked from the parent holds its end of the pipe as well, so the end of the pipe alone does not tell.
    """
    parent = os.getppid()
    while True:
        while not select.select([requests], [], [], ORPHAN_CHECK_S)[0]:
            if os.getppid() != parent:
                return
        lengths = read_exactly(requests, LENGTHS.size)
        if not lengths:
            return
        header_length, payload_length = LENGTHS.unpack(lengths)
        yield json.loads(read_exactly(requests, header_length)), read_exactly(requests, payload_length)


def read_exactly(descriptor: int, length: int) -> bytes:
    """Return so many bytes, or none at the end; an end in the middle is an error."""
    data = bytearray()
    while len(data) < length:
        piece = os.read(descriptor, min(1 << 20, length - len(data)))
        if not piece:
            if data:
                raise EOFError(f"the request ends after {len(data)} of {length} bytes")
            break
        data += piece
    return bytes(data)


def send(answers: BinaryIO, header: dict[str, Any], payload: list[Any] | None = None) -> None:
    """Write one message."""
    text = json.dumps(header).encode()
    arrays = payload or []
    answers.write(LENGTHS.pack(len(text), sum(array.nbytes for array in arrays)))
    answers.write(text)
    for array in arrays:
        answers.write(array.data)
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
