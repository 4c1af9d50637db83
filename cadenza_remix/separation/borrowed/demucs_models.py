"""Demucs 4 (package ``demucs``): Hybrid Transformer Demucs and Hybrid Demucs, with the package's own weights.

Rouard, Massa & Défossez, "Hybrid Transformers for Music Source Separation", ICASSP 2023. Normalisation over the whole
song, length of the windows and their places are the package's, and so is what a window gives. Different are: the fades
(see `cadenza_remix.separation.windows`); the end of a song, where the package begins one window more in the middle of
the last one, and fills it up with what lies before it; and the package's random shifts, which make every run another
one and are left out. A song of up to three quarters of a window gives what the package gives without shifts.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cadenza_remix.errors import ModelError
from cadenza_remix.separation.borrowed.normalised import NormalisedSeparator
from cadenza_remix.separation.borrowed.torch_window import (
    check_options,
    device_name,
    fetching,
    import_module,
    torch_device,
    weights_file,
    weights_fingerprint,
    window_function,
)
from cadenza_remix.separation.models.registry import separator_card
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.windows import WindowedSeparator, Windows

SERVER = "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/"
#: Share of a window that overlaps the next one, the package's own.
OVERLAP = 0.25


@dataclass(frozen=True)
class _Release:
    """One published network: its name and signature in the package, and the first digits of its file's SHA-256."""

    name: str
    signature: str
    checksum: str

    @property
    def file(self) -> str:
        return f"{self.signature}-{self.checksum}.th"


_RELEASES = {
    "demucs:htdemucs": _Release("htdemucs", "955717e8", "8726e21a"),
    "demucs:hdemucs_mmi": _Release("hdemucs_mmi", "75fc33f5", "1941ce65"),
}
# The package's own, where the network was published with none (hdemucs_mmi).
_SEGMENT_S = {"demucs:hdemucs_mmi": 44}


def load_demucs(name: str, *, options: SeparationOptions | None = None, network: Any = None) -> NormalisedSeparator:
    """Build one of Demucs's separators.

    Parameters
    ----------
    name : str
        ``demucs:htdemucs`` or ``demucs:hdemucs_mmi``.
    options : SeparationOptions, optional
        Only the device.
    network : torch.nn.Module, optional
        To be used in place of the published one; for tests.

    Raises
    ------
    InputError
        An option that is not known, or no GPU.
    MissingDependencyError
        The package is not installed.
    ModelError
        Its weights cannot be had.
    """
    card = separator_card(name)
    options = options or SeparationOptions()
    check_options(options, card)
    import_module("demucs.apply", card)
    pad = import_module("torch.nn.functional", card).pad
    device = torch_device(options.device, card)
    if network is None:
        network = _published(name)
    network = network.to(device).eval()
    if set(network.sources) != set(card.stems) or network.samplerate != card.sample_rate:
        raise ModelError(
            f"{name}: wrong network: expected {', '.join(card.stems)} at {card.sample_rate} Hz, "
            f"found {', '.join(network.sources)} at {network.samplerate} Hz"
        )
    length = int(network.samplerate * _SEGMENT_S.get(name, network.segment))
    # The package's hop, rounded down as there.
    windows = Windows(length=length, overlap=length - int((1 - OVERLAP) * length), least=1)
    windowed = WindowedSeparator(
        name,
        window_function(_Run(network, pad), tuple(network.sources), device),
        stems=card.stems,
        sample_rate=card.sample_rate,
        windows=windows,
        fingerprint=weights_fingerprint(network),
        device=device_name(device),
    )
    return NormalisedSeparator(windowed)


@dataclass(frozen=True)
class _Run:
    """One window through a network: in the middle of silence where it is shorter than the network wants."""

    network: Any
    pad: Callable[..., Any]

    def __call__(self, music: Any) -> Any:
        n_samples = music.shape[-1]
        valid_length = getattr(self.network, "valid_length", None)
        missing = 0 if valid_length is None else valid_length(n_samples) - n_samples
        before = missing // 2
        padded = self.pad(music, (before, missing - before))
        return self.network(padded)[..., before : before + n_samples]


def _published(name: str) -> Any:
    """Return a published network: from the file that the package's users have, or fetched into PyTorch's folder.

    The package itself asks Hugging Face first, with half a minute of noisy attempts where there is no network, and
    Meta's server then; so what it has fetched from there is looked for here, and Meta's server is asked alone.
    """
    card, release = separator_card(name), _RELEASES[name]
    states = import_module("demucs.states", card)
    hub = import_module("torch.hub", card)
    file = weights_file("checkpoints", release.file)
    command = f"python -c \"from demucs.pretrained import get_model; get_model('{release.name}')\""
    otherwise = f"; or let the package fetch them from Hugging Face: {command}"
    with fetching(card, {file: SERVER + release.file}, otherwise=otherwise):
        if not file.is_file() and (kept := _kept_by_package(release)) is not None:
            return import_module("demucs.hf", card).load_safetensors_model(kept)
        # Looks at the checksum in the file's name after a download only.
        if file.is_file():
            import_module("demucs.repo", card).check_checksum(file, release.checksum)
        package = hub.load_state_dict_from_url(
            SERVER + release.file, map_location="cpu", check_hash=True, weights_only=False
        )
        return states.load_model(package)


def _kept_by_package(release: _Release) -> str | None:
    """Return the file that the package keeps in Hugging Face's cache, if it is there; asks no host."""
    hub = importlib.import_module("huggingface_hub")
    repository = f"adefossez/{importlib.import_module('demucs.hf').hf_repo_name(release.name)}"
    found = hub.try_to_load_from_cache(repository, f"{release.signature}.safetensors")
    return found if isinstance(found, str) else None
