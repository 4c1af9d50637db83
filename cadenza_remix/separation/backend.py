"""The one place that imports Keras and TensorFlow: late and quietly."""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from cadenza_remix.errors import InputError, MissingDependencyError

# 3 leaves out everything below fatal; what TensorFlow calls an error at start-up is mostly a GPU that is not there.
QUIET_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}

# "I0000 00:00:1763.4 1 port.cc:153] ...", "2026-11-21 03:50:00.1: I tensorflow/core/...", a warning about the former.
_NATIVE_LOG = re.compile(
    rb"[IWE]\d{4} [\d:.]+ "
    rb"|\d{4}-\d\d-\d\d [\d:.]+: [IWE] "
    rb"|WARNING: All log messages before absl"
    rb"|To enable the following instructions"
)


def load_keras() -> ModuleType:
    """Import Keras with the back end that ``KERAS_BACKEND`` names, TensorFlow if it names none.

    Raises
    ------
    MissingDependencyError
        Keras or the chosen back end is not installed.
    """
    return _load("keras", f"the Keras back end {os.environ.get('KERAS_BACKEND', 'tensorflow')!r}")


def load_tensorflow() -> ModuleType:
    """Import TensorFlow, which reads checkpoints whatever back end the network runs on.

    Raises
    ------
    MissingDependencyError
        TensorFlow is not installed.
    """
    return _load("tensorflow", "reading TensorFlow checkpoints")


def device_name() -> str:
    """Return what the network runs on, ``tensorflow on CPU``, for the screen and the records."""
    backend = load_keras().backend.backend()
    if backend == "tensorflow":
        found = any(device.device_type == "GPU" for device in load_tensorflow().config.list_physical_devices())
    elif backend == "torch":
        found = importlib.import_module("torch").cuda.is_available()
    elif backend == "jax":
        found = importlib.import_module("jax").default_backend() == "gpu"
    else:
        raise InputError("unknown back end", where="KERAS_BACKEND", expected="tensorflow, torch or jax", found=backend)
    return f"{backend} on {'GPU' if found else 'CPU'}"


def _load(module: str, purpose: str) -> ModuleType:
    if module in sys.modules:
        return sys.modules[module]
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        with _native_stderr_held_back():
            loaded = importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(f"{purpose} needs a package that cannot be imported: {error}") from error
    # It warns of every network after the fifth that its graph was built anew.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return loaded


@contextmanager
def _native_stderr_held_back() -> Iterator[None]:
    """Leave out what TensorFlow logs while it is imported, before any of its settings can silence it.

    What others write to the standard error stream meanwhile is passed on afterwards, and everything if the block fails.
    """
    try:
        original = os.dup(2)
    except OSError:  # there is no such stream, so nothing to keep clean
        yield
        return
    everything = True
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
            everything = False
        finally:
            os.dup2(original, 2)
            held_back.seek(0)
            lines = [line for line in held_back.readlines() if everything or not _NATIVE_LOG.match(line)]
            os.write(original, b"".join(lines))
            os.close(original)
