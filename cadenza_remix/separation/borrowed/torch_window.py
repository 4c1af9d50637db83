"""What all networks in PyTorch have in common here: device, weights, the way from NumPy and back."""

from __future__ import annotations

import hashlib
import importlib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cadenza_remix.audio.blocks import Block
from cadenza_remix.errors import CadenzaError, InputError, MissingDependencyError, ModelError
from cadenza_remix.separation.models.registry import SeparatorCard
from cadenza_remix.separation.options import Device, SeparationOptions
from cadenza_remix.separation.windows import WindowFunction

#: Seconds that a host may be silent while a package fetches its weights.
TIMEOUT_S = 30.0


def import_module(module: str, card: SeparatorCard) -> ModuleType:
    """Import a module of a package that need not be there.

    Raises
    ------
    MissingDependencyError
        It cannot be imported; the line says what installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(f"{card.name} cannot be loaded: {error}; install it with: {card.needs}") from error
    except (OSError, RuntimeError) as error:
        # torchaudio's libraries say so where they were built for another PyTorch, or for CUDA and it was not.
        told = " ".join(str(error).split())
        raise MissingDependencyError(
            f"{card.name} cannot be loaded: {module} does not go with the installed torch ({told}): "
            f"expected builds of one release, both with CUDA or both without; install them with: {card.needs}"
        ) from error


def torch_device(device: Device, card: SeparatorCard) -> Any:
    """Return the ``torch.device`` that is asked for; ``auto`` takes a GPU where PyTorch sees one.

    Raises
    ------
    InputError
        A GPU is asked for and there is none.
    """
    torch = import_module("torch", card)
    has_gpu = torch.cuda.is_available()
    if device == "gpu" and not has_gpu:
        raise InputError("no GPU", where=f"{card.name}, device", expected="one that PyTorch can use", found="none")
    return torch.device("cuda" if has_gpu and device != "cpu" else "cpu")


def device_name(device: Any) -> str:
    """Return what a ``torch.device`` is called in messages, ``torch on CPU``."""
    return f"torch on {'CPU' if device.type == 'cpu' else 'GPU'}"


def check_options(options: SeparationOptions, card: SeparatorCard) -> None:
    """Refuse every option but the device."""
    options.refuse_all_but(("device",), separator=card.name)


def weights_file(*parts: str) -> Path:
    """Return where PyTorch keeps, or would keep, a downloaded file (``TORCH_HOME`` moves it)."""
    return Path(importlib.import_module("torch").hub.get_dir(), *parts)


@contextmanager
def fetching(card: SeparatorCard, files: dict[Path, str], *, otherwise: str = "") -> Iterator[None]:
    """Turn whatever a package raises while it gets and reads its weights into one line that says what to do.

    Parameters
    ----------
    card : SeparatorCard
        Whose weights.
    files : mapping of Path to str
        Each file that is needed, and its address.
    otherwise : str
        Another way to get them, for the message.

    Raises
    ------
    ModelError
        The weights cannot be had or read.
    """
    there = [path for path in files if path.is_file()]
    before = socket.getdefaulttimeout()
    # The packages set no timeout of their own: without one, a host that falls silent would hold us for ever.
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    except CadenzaError:
        raise
    except (Exception, SystemExit) as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if len(there) == len(files):
            names = ", ".join(map(str, there))
            raise ModelError(f"{card.name}: damaged weights: remove them to get them anew: {names} ({told})") from error
        missing = "; ".join(f"{url} as {path}" for path, url in files.items() if path not in there)
        raise ModelError(
            f"{card.name}: its weights are not on this machine and cannot be fetched ({told}); "
            f"without internet, download on another machine and put in place: {missing}{otherwise}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def weights_fingerprint(network: Any) -> str:
    """Return the SHA-256 over names, shapes and values of all weights."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        hashed.update(f"{name} {array.dtype} {array.shape}\n".encode())
        hashed.update(np.atleast_1d(array).view(np.uint8).data)
    return hashed.hexdigest()


def window_function(run: Callable[[Any], Any], stems: tuple[str, ...], device: Any) -> WindowFunction:
    """Return a function on arrays made of one on tensors.

    Parameters
    ----------
    run : callable
        From music (1, 2, n_samples) to stems (1, n_stems, 2, n_samples), on the device.
    stems : tuple of str
        In the order of the network.
    device : torch.device
    """
    torch = importlib.import_module("torch")

    def separate_window(samples: Block) -> dict[str, Block]:
        # A copy: windows are read-only, which PyTorch does not know.
        music = torch.from_numpy(np.array(samples.T, order="C"))[None].to(device)
        with torch.inference_mode():
            found = run(music)[0].cpu().numpy()
        return {stem: np.ascontiguousarray(part.T) for stem, part in zip(stems, found, strict=True)}

    return separate_window
