"""The networks that can be trained here, by name; what each needs to be built is a `NetworkSpec`.

Every architecture is one module with a function ``build(spec)`` that returns a Keras model with

* one input ``magnitudes`` of shape (batch, n_frames, n_bins, 2): both channels of the mixture as they are (a network
  scales them itself, as it wants);
* outputs in a dictionary: ``masks`` of shape (batch, n_frames, n_bins, 2, n_stems) with values from 0 to 1, or
  ``embeddings`` of shape (batch, n_frames, n_bins, n_dimensions), or both.

a mapping ``DEFAULTS`` with its settings and their default values, ``SPEC_DEFAULTS`` as published, and a function
``least_weights(spec)``: at least so many numbers the network would hold, found without building it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, ModuleType
from typing import Any

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.separation.models.untrusted import quoted

#: Name of an architecture -> the module that builds it.
_MODULES = {
    "unet": "jansson_unet",
    "spleeter-unet": "spleeter_unet",
    "ibm-cnn": "ibm_cnn",
    "deep-clustering": "deep_clustering",
    "uh-net": "uh_net",
}
# Far beyond what is of use, and far below what a stranger's specification could exhaust a machine with.
_MOST = {"sample_rate": 768_000, "frame_length": 2**18, "hop_length": 2**18, "fft_length": 2**18, "n_frames": 2**16}
_MOST_PATCH_BINS = 2**23
_MOST_STEMS = 16
_STEM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class NetworkSpec:
    """What a network needs to be built, and what the transforms around it have to be.

    Parameters
    ----------
    architecture : str
        One of `architecture_names`.
    stems : tuple of str
        What it separates into, in the order of its masks: up to 16 names of which files and layers can be named.
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
        _check_stems(self.stems)
        for name in ("sample_rate", "frame_length", "hop_length", "fft_length", "n_frames", "n_bins", "n_context"):
            value, most = getattr(self, name), _MOST.get(name)
            least = 0 if name == "n_context" else 1
            if type(value) is not int or value < least or (most is not None and value > most):
                expected = f"a whole number from {least}" + (f" to {most}" if most is not None else "")
                raise InputError("setting out of range", where=name, expected=expected, found=quoted(value))
        if self.fft_length < self.frame_length:
            raise InputError(
                "setting out of range",
                where="fft_length",
                expected=f"{self.frame_length} or more",
                found=self.fft_length,
            )
        if self.hop_length >= self.frame_length:
            expected = f"less than the {self.frame_length} samples of a frame"
            raise InputError("setting out of range", where="hop_length", expected=expected, found=self.hop_length)
        if self.n_bins > self.fft_length // 2 + 1:
            found = self.n_bins
            raise InputError(
                "setting out of range", where="n_bins", expected=f"at most {self.fft_length // 2 + 1}", found=found
            )
        if self.n_frames * self.n_bins > _MOST_PATCH_BINS:
            raise InputError(
                "patch too large",
                where="n_frames, n_bins",
                expected=f"at most {_MOST_PATCH_BINS} bins in all",
                found=f"{self.n_frames} x {self.n_bins}",
            )
        if not 2 * self.n_context < self.n_frames:
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


def least_weights(spec: NetworkSpec) -> int:
    """Return a number of weights that the network of a specification has at least, without building anything.

    Raises
    ------
    InputError
        A setting is unknown or out of range.
    """
    count: int = _module(spec.architecture).least_weights(spec)
    return count


def _check_stems(stems: tuple[str, ...]) -> None:
    if not 2 <= len(stems) <= _MOST_STEMS or len(set(stems)) != len(stems):
        names = quoted(", ".join(map(str, stems)))
        raise InputError("wrong stems", expected=f"2 to {_MOST_STEMS} different names", found=names)
    for stem in stems:
        if not isinstance(stem, str) or not _STEM_NAME.fullmatch(stem):
            raise InputError("wrong name of a stem", expected="letters, digits, - and _", found=quoted(stem))


def _module(architecture: str) -> ModuleType:
    return importlib.import_module(f"cadenza_remix.separation.networks.{_MODULES[architecture]}")
