"""What may be asked of a separator beside its name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from cadenza_remix.errors import InputError, unknown_name

Device = Literal["auto", "cpu", "gpu"]
Precision = Literal["float32", "bfloat16", "float16"]
HighBand = Literal["zeros", "average", "residual"]
Refinement = Literal["haaqi"]

_CHOICES = {
    "device": ("auto", "cpu", "gpu"),
    "precision": ("float32", "bfloat16", "float16"),
    "high_band": ("zeros", "average", "residual", None),
    "refine": ("haaqi", None),
}


@dataclass(frozen=True)
class SeparationOptions:
    """How a separator shall work; what it does not know is refused, never passed over.

    Parameters
    ----------
    device : str
        ``auto`` takes a GPU where the back end sees one; ``gpu`` without one is an error.
    precision : str
        What the network computes in.
    wiener : bool
        Filter by a multichannel Wiener filter instead of the masks (two passes over the song).
    refine : str, optional
        ``haaqi``: Wiener filter, and the song mixed back into the vocals as far as the network is unsure of them.
    high_band : str, optional
        Above the network's band: ``zeros`` in every stem, ``average`` (each stem's mean share), ``residual`` (all of it
        goes to the stem of the rest, so that the stems sum to the song, unless
        refined). The model's own way by default.

    Raises
    ------
    InputError
        A value is none of these.
    """

    device: Device = "auto"
    precision: Precision = "float32"
    wiener: bool = False
    refine: Refinement | None = None
    high_band: HighBand | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise unknown_name(name.replace("_", " "), value, [choice for choice in choices if choice is not None])

        if not isinstance(self.wiener, bool):
            raise InputError("wrong wiener", expected="True or False", found=repr(self.wiener))

    def changed(self) -> tuple[str, ...]:
        """Return the names of the options that are not at their defaults."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) != field.default)

    def refuse_all_but(self, known: tuple[str, ...], *, separator: str) -> None:
        """Refuse options that a separator does not know; all know the device ``cpu``.

        Raises
        ------
        InputError
            One of the others was asked for.
        """
        for name in self.changed():
            if name not in known and (name, getattr(self, name)) != ("device", "cpu"):
                flag = "--" + name.replace("_", "-")
                expected = ", ".join("--" + option.replace("_", "-") for option in known) or "no options"
                raise InputError(
                    "option is not known to this separator", where=separator, expected=expected, found=flag
                )
