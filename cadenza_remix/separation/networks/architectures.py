"""The networks that can be trained here, by name; what each needs to be built is a `NetworkSpec`.

Every architecture is one module with a function ``build(spec)`` that returns a Keras model with

* one input ``magnitudes`` of shape (batch, n_frames, n_bins, 2): both channels of the mixture as they are (a network
  scales them itself, as it wants);
* outputs in a dictionary: ``masks`` of shape (batch, n_frames, n_bins, 2, n_stems) with values from 0 to 1, or
  ``embeddings`` of shape (batch, n_frames, n_bins, n_dimensions), or both.

and a mapping ``DEFAULTS`` with its settings and their default values, and `spec` defaults as published.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, ModuleType
from typing import Any

from cadenza_remix.errors import InputError, unknown_name

#: Name of an architecture -> the module that builds it.
_MODULES = {
    "unet": "jansson_unet",
    "spleeter-unet": "spleeter_unet",
    "ibm-cnn": "ibm_cnn",
    "deep-clustering": "deep_clustering",
    "uh-net": "uh_net",
}


@dataclass(frozen=True)
class NetworkSpec:
    """What a network needs to be built, and what the transforms around it have to be.

    Parameters
    ----------
    architecture : str
        One of `architecture_names`.
    stems : tuple of str
        What it separates into, in the order of its masks.
    sample_rate : int
        Of the audio that it sees, in Hz; songs at other rates are resampled to it and back.
    frame_length, hop_length, fft_length : int
        Of the short-time Fourier transform, in samples; frames are filled up with zeros to ``fft_length``.
    n_frames, n_bins : int
        The network's input: frames of a patch, and the lowest frequency bins of each.
    n_context : int
        Frames at each end of a patch whose masks are not used when a song is separated, because the network
        sees too little around them.
    settings : mapping
        The architecture's own; see its module's ``DEFAULTS``.

    Raises
    ------
    InputError
        A value is out of range, or a setting is unknown.
    """

    architecture: str
    stems: tuple[str, ...]
    sample_rate: int
    frame_length: int
    hop_length: int
    fft_length: int
    n_frames: int
    n_bins: int
    n_context: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.architecture not in _MODULES:
            raise unknown_name("architecture", self.architecture, architecture_names())
        object.__setattr__(self, "stems", tuple(self.stems))
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))
        if len(self.stems) < 2 or len(set(self.stems)) != len(self.stems):
            raise InputError("wrong stems", expected="two or more different names", found=", ".join(self.stems))
        for name in ("sample_rate", "frame_length", "hop_length", "fft_length", "n_frames", "n_bins"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError("setting out of range", where=name, expected="a whole number above 0", found=value)
        if self.fft_length < self.frame_length:
            raise InputError(
                "setting out of range",
                where="fft_length",
                expected=f"{self.frame_length} or more",
                found=self.fft_length,
            )
        if self.n_bins > self.fft_length // 2 + 1:
            found = self.n_bins
            raise InputError(
                "setting out of range", where="n_bins", expected=f"at most {self.fft_length // 2 + 1}", found=found
            )
        if not 0 <= 2 * self.n_context < self.n_frames:
            raise InputError(
                "setting out of range",
                where="n_context",
                expected=f"0 to {(self.n_frames - 1) // 2}",
                found=self.n_context,
            )

    @property
    def band_hz(self) -> float:
        """Upper edge of what the network sees."""
        return self.n_bins * self.sample_rate / self.fft_length

    @property
    def patch_samples(self) -> int:
        """How many samples the frames of one patch cover."""
        return (self.n_frames - 1) * self.hop_length + self.frame_length

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `NetworkSpec.from_dict` takes them."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return plain | {"stems": list(self.stems), "settings": dict(self.settings)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkSpec:
        """Build one from plain values; unknown names are refused."""
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise unknown_name("setting", sorted(unknown)[0], cls.__dataclass_fields__)
        missing = [name for name in list(cls.__dataclass_fields__)[:8] if name not in values]
        if missing:
            raise InputError("setting is missing", expected=", ".join(missing))
        return cls(**{**values, "stems": tuple(values["stems"])})


def architecture_names() -> tuple[str, ...]:
    """Return the names of all architectures."""
    return tuple(_MODULES)


def default_spec(architecture: str, stems: tuple[str, ...], **changes: Any) -> NetworkSpec:
    """Return the specification of an architecture as published, with some values changed.

    Changes of ``settings`` are added to the architecture's defaults; a setting that it does not know is refused.
    """
    if architecture not in _MODULES:
        raise unknown_name("architecture", architecture, architecture_names())
    module = _module(architecture)
    settings = dict(changes.pop("settings", None) or {})
    for name in settings:
        if name not in module.DEFAULTS:
            raise unknown_name("setting", name, module.DEFAULTS, where=f"model.settings of {architecture}")
    values = {**module.SPEC_DEFAULTS, **changes}
    return NetworkSpec.from_dict(
        {**values, "architecture": architecture, "stems": stems, "settings": {**module.DEFAULTS, **settings}}
    )


def build_network(spec: NetworkSpec) -> Any:
    """Return the Keras model of a specification, with fresh weights (``keras.utils.set_random_seed`` sets the seed).

    Importing Keras and its back end happens here.
    """
    return _module(spec.architecture).build(spec)


def _module(architecture: str) -> ModuleType:
    return importlib.import_module(f"cadenza_remix.separation.networks.{_MODULES[architecture]}")
