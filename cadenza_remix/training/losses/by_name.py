"""Losses by name, alone and added up."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.training.losses.affinity import Affinity
from cadenza_remix.training.losses.cross_entropy import CrossEntropy
from cadenza_remix.training.losses.haaqi_aware import HaaqiAware
from cadenza_remix.training.losses.magnitude import L1, PhaseSensitive
from cadenza_remix.training.losses.spectra import check_range
from cadenza_remix.training.losses.time_domain import TimeL1

if TYPE_CHECKING:
    from cadenza_remix.separation.networks.architectures import NetworkSpec


class Loss(Protocol):
    """What is made small in training.

    Attributes
    ----------
    needs : frozenset of str
        Outputs of the network that it looks at: ``masks``, ``embeddings``.
    """

    @property
    def needs(self) -> frozenset[str]: ...

    def __call__(self, mixture: Any, targets: Any, outputs: Mapping[str, Any]) -> Any:
        """Return the loss of a batch as a scalar tensor.

        Parameters
        ----------
        mixture : tensor of shape (batch, n_frames, n_bins, 2 channels, 2)
            Spectra; the last axis is real and imaginary part.
        targets : tensor of shape (batch, n_frames, n_bins, 2 channels, n_stems, 2)
            Those of the stems, in the model's order.
        outputs : mapping of str to tensor
            Of the network: ``masks`` (batch, n_frames, n_bins, 2 channels, n_stems), ``embeddings`` (batch, n_frames,
            n_bins, n_dimensions).
        """
        ...


_LOSSES: dict[str, type[Any]] = {
    "l1": L1,
    "cross-entropy": CrossEntropy,
    "affinity": Affinity,
    "phase-sensitive": PhaseSensitive,
    "time-l1": TimeL1,
    "haaqi-aware": HaaqiAware,
}


def loss_names() -> tuple[str, ...]:
    """Return the names of all losses."""
    return tuple(_LOSSES)


def loss_settings(name: str) -> dict[str, Any]:
    """Return the settings of a loss with their default values."""
    if name not in _LOSSES:
        raise unknown_name("loss", name, _LOSSES)
    parameters = inspect.signature(_LOSSES[name]).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def build_loss(name: str, spec: NetworkSpec, **settings: Any) -> Loss:
    """Return a loss for networks of a specification.

    Parameters
    ----------
    name : str
        One of `loss_names`.
    spec : NetworkSpec
        Of the network that is trained.
    **settings
        As in `loss_settings`.

    Raises
    ------
    InputError
        Unknown name or setting, or a value out of range.

    Examples
    --------
    >>> from cadenza_remix.separation.networks.architectures import NetworkSpec
    >>> spec = NetworkSpec("unet", ("vocals", "accompaniment"), 8192, 1024, 768, 1024, 128, 512)
    >>> sorted(build_loss("phase-sensitive", spec, distance="squared").needs)
    ['masks']
    """
    known = loss_settings(name)
    for setting in settings:
        if setting not in known:
            raise unknown_name("setting", setting, known, where=f"the loss {name!r}")
    loss: Loss = _LOSSES[name](spec, **settings)
    return loss


class CombinedLoss:
    """A weighted sum of losses.

    Parameters
    ----------
    parts : iterable of (str, float, Loss)
        Name, weight and loss of each; one name may come once.
    """

    def __init__(self, parts: Iterable[tuple[str, float, Loss]]) -> None:
        self._parts = tuple(parts)
        self.names = tuple(name for name, _, _ in self._parts)
        self.needs = frozenset[str]().union(*(loss.needs for _, _, loss in self._parts))

    def __call__(self, mixture: Any, targets: Any, outputs: Mapping[str, Any]) -> Any:
        parts = self.parts(mixture, targets, outputs)
        return sum(weight * parts[name] for name, weight, _ in self._parts)

    def parts(self, mixture: Any, targets: Any, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return each loss by its name, without its weight."""
        return {name: loss(mixture, targets, outputs) for name, _, loss in self._parts}


def build_losses(parts: Iterable[tuple[str, float, Mapping[str, Any]]], spec: NetworkSpec) -> CombinedLoss:
    """Return the weighted sum of some losses.

    Parameters
    ----------
    parts : iterable of (str, float, mapping)
        Name, weight (above 0) and settings of each.
    spec : NetworkSpec
        Of the network that is trained.

    Raises
    ------
    InputError
        No loss, one twice, a weight that is not above 0; as for `build_loss`.

    Examples
    --------
    >>> from cadenza_remix.separation.networks.architectures import NetworkSpec
    >>> spec = NetworkSpec("deep-clustering", ("vocals", "accompaniment"), 8000, 256, 64, 256, 100, 129)
    >>> sorted(build_losses([("affinity", 0.5, {}), ("l1", 0.5, {"relative": True})], spec).needs)
    ['embeddings', 'masks']
    """
    given = list(parts)
    names = [name for name, _, _ in given]
    if not names or len(set(names)) < len(names):
        raise InputError("wrong losses", expected="at least one, none twice", found=", ".join(names) or "none")
    for name, weight, _ in given:
        check_range("weight", weight, 0.0, float("inf"), loss=name)
        if weight == 0 or weight == float("inf"):
            raise InputError("weight out of range", where=f"the loss {name!r}", expected="above 0", found=weight)
    return CombinedLoss((name, float(weight), build_loss(name, spec, **settings)) for name, weight, settings in given)
