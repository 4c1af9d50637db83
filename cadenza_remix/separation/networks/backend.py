"""The one place that imports Keras and its back ends: late and quietly; and the choice of what they run on."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, ParamSpec, TypeVar

from cadenza_remix.errors import InputError, MissingDependencyError, unknown_name

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: What our networks run on; the first is taken where nobody chooses.
BACKENDS = ("tensorflow", "jax", "torch")
DEVICES = ("auto", "cpu", "gpu")
#: More would not help a segment, and see `load_tensorflow`.
MOST_THREADS = 32

# 3 leaves out everything below fatal; what TensorFlow calls an error at start-up is mostly a GPU that is not there.
QUIET_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}

# What Keras shall not import; see `leave_conveniences_out`.
_left_out_packages: tuple[str, ...] = ()

_GPU_NEEDS = {
    "tensorflow": "pip install 'tensorflow[and-cuda]'",
    "jax": "pip install 'jax[cuda12]'",
    "torch": "a build of torch for CUDA or ROCm",
}

# "I0000 00:00:1763.4 1 port.cc:153] ...", "2026-11-21 03:50:00.1: I tensorflow/core/...", a warning about the former.
_NATIVE_LOG = re.compile(
    rb"[IWE]\d{4} [\d:.]+ "
    rb"|\d{4}-\d\d-\d\d [\d:.]+: [IWE] "
    rb"|WARNING: All log messages before absl"
    rb"|To enable the following instructions"
)


@dataclass(frozen=True)
class ComputeDevice:
    """What networks run on.

    Parameters
    ----------
    backend : str
        ``tensorflow``, ``jax`` or ``torch``.
    kind : str
        ``cpu`` or ``gpu``.
    model : str
        What the GPU calls itself; empty where that is not known, and for processors.

    Examples
    --------
    >>> print(ComputeDevice("torch", "gpu", "NVIDIA H200"))
    torch on GPU (NVIDIA H200)
    """

    backend: str
    kind: Literal["cpu", "gpu"]
    model: str = ""

    def __str__(self) -> str:
        return f"{self.backend} on {self.kind.upper()}" + (f" ({self.model})" if self.model else "")

    def bound(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Return the function so that all of it runs on this device, whatever thread calls it."""

        @functools.wraps(function)
        def on_this_device(*args: _P.args, **options: _P.kwargs) -> _R:
            with self.scope():
                return function(*args, **options)

        return on_this_device

    def scope(self) -> AbstractContextManager[Any]:
        """Return the block within which networks are built on this device and run on it; it binds one thread only."""
        if self.backend == "jax":
            jax = importlib.import_module("jax")
            scope: AbstractContextManager[Any] = jax.default_device(jax.devices(self.kind)[0])
        else:
            # Not "cpu:0": Keras takes that for another place than torch's own "cpu" and copies to and fro.
            scope = load_keras().device("cpu" if self.kind == "cpu" else "gpu:0")
        return scope


def choose_device(device: Literal["auto", "cpu", "gpu"] = "auto") -> ComputeDevice:
    """Choose what networks run on, and set the back end up for it: nothing else has to be done.

    Single precision is single precision on a GPU too: the shortened formats that the back ends take by default on some
    (TF32, which differs by more than 1e-4 of full scale) are switched off. TensorFlow takes a GPU's memory as it needs
    it, not all of it at once. Where the choice comes before the process's first computation, whatever this
    thread computes outside of `ComputeDevice.scope` goes to the device, too.

    Parameters
    ----------
    device : str
        ``auto`` takes a GPU where the back end sees one.

    Raises
    ------
    InputError
        ``gpu`` was asked for and the back end sees none; or ``KERAS_BACKEND`` or ``device`` is unknown.
    MissingDependencyError
        The back end is not installed.
    """
    chosen = find_device(device)
    _SET_UP[chosen.backend](chosen)
    return chosen


def find_device(device: Literal["auto", "cpu", "gpu"] = "auto") -> ComputeDevice:
    """Return what `choose_device` chooses, and change nothing."""
    if device not in DEVICES:
        raise unknown_name("device", device, DEVICES)
    backend: str = load_keras().backend.backend()
    if device == "cpu":
        return ComputeDevice(backend, "cpu")
    gpu = _SEEN_GPU[backend]()
    if gpu is not None:
        return ComputeDevice(backend, "gpu", gpu)
    if device == "gpu":
        raise InputError(
            "no GPU can be used",
            where="--device gpu",
            expected=f"a GPU that {backend} sees ({_GPU_NEEDS[backend]})",
            found="processors only",
        )
    return ComputeDevice(backend, "cpu")


def leave_conveniences_out() -> None:
    """Let Keras do without what it imports to take tables and draw pictures, which is half a second.

    For a program that separates and does nothing else with Keras; call it before Keras is loaded.
    """
    global _left_out_packages
    _left_out_packages = ("pandas", "matplotlib")


def load_keras() -> ModuleType:
    """Import Keras with the back end that ``KERAS_BACKEND`` names, TensorFlow if it names none.

    Raises
    ------
    InputError
        ``KERAS_BACKEND`` is none of those that our networks run on.
    MissingDependencyError
        Keras or the chosen back end is not installed; the line names the back ends that are.
    """
    if "keras" in sys.modules:
        return _checked(sys.modules["keras"])
    backend = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if backend not in BACKENDS:
        raise unknown_name("back end", backend, BACKENDS, where="KERAS_BACKEND")
    purpose = f"the Keras back end {backend!r}"
    if importlib.util.find_spec(backend) is None:
        others = [f"KERAS_BACKEND={name}" for name in BACKENDS if importlib.util.find_spec(name)]
        advice = f"; for what is installed here set {' or '.join(others)}" if others else ""
        raise MissingDependencyError(f"{purpose} needs a package that is not installed: {backend}{advice}")
    with _left_out(_left_out_packages):
        if backend == "tensorflow":
            load_tensorflow(purpose)  # first, since it is to be told of its threads before it starts any
        return _checked(_load("keras", purpose))


def load_tensorflow(purpose: str = "reading TensorFlow checkpoints") -> ModuleType:
    """Import TensorFlow, as back end or to read checkpoints with.

    The number of its threads becomes a power of two: on our networks it was found to give the same to the last bit
    with 1, 2, 4, 8, 16 and 32 threads, and something else (by up to 2e-6 in masks) with 3, 5, 6, 12, 24 and 64.
    Operations run one after another: side by side, on a busy machine, one segment in 150 came out with other last bits
    (2e-7), for a reason that was not found; one after another none of 500 did, and they take 1 to 2 % longer.

    Raises
    ------
    MissingDependencyError
        TensorFlow is not installed.
    """
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    tensorflow = _load("tensorflow", purpose)
    tensorflow.config.threading.set_intra_op_parallelism_threads(n_threads())
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    return tensorflow


def n_threads() -> int:
    """Return how many threads an operation of TensorFlow gets: the processors at hand, rounded down to a power of two.

    ``TF_NUM_INTRAOP_THREADS`` counts as the number of processors where it is set.
    """
    asked = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    if asked.isdecimal() and int(asked):
        n_processors = int(asked)
    elif hasattr(os, "sched_getaffinity"):
        n_processors = len(os.sched_getaffinity(0))
    else:
        n_processors = os.cpu_count() or 1
    return 1 << (min(n_processors, MOST_THREADS).bit_length() - 1)


def device_name() -> str:
    """Return what a network runs on by default, ``tensorflow on CPU``, for the screen and the records."""
    return str(find_device())


def _tensorflow_gpu() -> str | None:
    config = load_tensorflow().config
    gpus = config.list_physical_devices("GPU")
    return str(config.experimental.get_device_details(gpus[0]).get("device_name", "")) if gpus else None


def _torch_gpu() -> str | None:
    cuda = importlib.import_module("torch").cuda
    return str(cuda.get_device_name(0)) if cuda.is_available() else None


def _jax_gpu() -> str | None:
    jax = importlib.import_module("jax")
    try:
        return str(jax.devices("gpu")[0].device_kind)
    except RuntimeError:  # "Unknown backend"
        return None


def _set_up_tensorflow(device: ComputeDevice) -> None:
    config = load_tensorflow().config
    config.experimental.enable_tensor_float_32_execution(False)
    gpus = config.list_physical_devices("GPU")
    # TensorFlow refuses both once it has computed something; `ComputeDevice.scope` works at any time.
    with suppress(RuntimeError):
        if device.kind == "cpu":
            config.set_visible_devices([], "GPU")
        else:
            for gpu in gpus:
                config.experimental.set_memory_growth(gpu, True)


def _set_up_torch(device: ComputeDevice) -> None:
    torch = importlib.import_module("torch")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    # Some of cuDNN's kernels add up in an order that changes from run to run.
    torch.backends.cudnn.deterministic = True
    # Keras takes a GPU of its own accord, and a Mac's too, on which nothing here was ever run.
    _TORCH_SCOPE.close()
    _TORCH_SCOPE.enter_context(device.scope())


def _set_up_jax(device: ComputeDevice) -> None:
    jax = importlib.import_module("jax")
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_default_device", jax.devices(device.kind)[0])


_TORCH_SCOPE = ExitStack()
_SEEN_GPU: dict[str, Callable[[], str | None]] = {
    "tensorflow": _tensorflow_gpu,
    "jax": _jax_gpu,
    "torch": _torch_gpu,
}
_SET_UP: dict[str, Callable[[ComputeDevice], None]] = {
    "tensorflow": _set_up_tensorflow,
    "jax": _set_up_jax,
    "torch": _set_up_torch,
}


def _checked(keras: ModuleType) -> ModuleType:
    """Refuse a back end that somebody else loaded Keras with and that our networks were never run on."""
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise unknown_name("back end", backend, BACKENDS, where="KERAS_BACKEND")
    return keras


def _load(module: str, purpose: str) -> ModuleType:
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ[name] = os.environ.get(name) or value  # what is empty counts as unset
    try:
        with _native_stderr_held_back():
            loaded = importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(f"{purpose} needs a package that cannot be imported: {error}") from error
    # It warns of every network after the fifth that its graph was built anew.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return loaded


@contextmanager
def _left_out(packages: tuple[str, ...]) -> Iterator[None]:
    """Let imports of these packages fail, as far as they are not loaded yet: each importer then does without."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is how Python marks such a name
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name, ...) is None:
                del sys.modules[name]


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
