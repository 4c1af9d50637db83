"""The one place that imports Keras and TensorFlow: late and quietly."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from cadenza_remix.errors import MissingDependencyError

# 3 leaves out everything below fatal; what TensorFlow calls an error at start-up is mostly a GPU that is not there.
QUIET_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}


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
    keras = load_keras()
    devices = keras.distribution.list_devices()
    kinds = sorted({device.partition(":")[0].upper() for device in devices})
    kind = next((kind for kind in kinds if kind != "CPU"), "CPU")
    return f"{keras.backend.backend()} on {kind}"


def _load(module: str, purpose: str) -> ModuleType:
    if module in sys.modules:
        return sys.modules[module]
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        with _native_stderr_held_back():
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(f"{purpose} needs a package that cannot be imported: {error}") from error


@contextmanager
def _native_stderr_held_back() -> Iterator[None]:
    """Keep what native code writes to the standard error stream, and show it only if the block fails.

    TensorFlow logs a few lines on import before any of its settings can silence them.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(original, held_back.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
