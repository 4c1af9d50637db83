"""One door to all separators, by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cadenza_remix.errors import ModelError, unknown_name
from cadenza_remix.separation.registry import ModelCard, model_card, model_names
from cadenza_remix.separation.separator import Separator

AUTO = "auto"
HPSS_SUFFIX = "+hpss"
TWO_STEMS = "spleeter:2stems"
FOUR_STEMS = "spleeter:4stems"
FETCH_COMMAND = "cadenza-remix models fetch {name}"


class Store(Protocol):
    """Where the models lie; `cadenza_remix.separation.store.ModelStore` is one."""

    def is_installed(self, card: ModelCard) -> bool: ...
    def path(self, card: ModelCard) -> Path: ...


@dataclass(frozen=True)
class SeparatorChoice:
    """What ``auto`` takes: the name, why, and what would get a better one (empty if there is none)."""

    name: str
    reason: str
    advice: str = ""


def separator_names() -> tuple[str, ...]:
    """Return all names that `load_separator` knows."""
    return (AUTO, *model_names(), TWO_STEMS + HPSS_SUFFIX)


def load_separator(name: str = AUTO, *, store: Store | None = None) -> Separator:
    """Build a separator from models that are on this machine. Nothing is ever downloaded here.

    Parameters
    ----------
    name : str
        ``spleeter:2stems``, ``4stems``, ``5stems`` or one of their ``-16kHz`` forms; ``spleeter:2stems+hpss``; or
        ``auto``, which takes what `choose_separator` says.
    store : ModelStore, optional
        Where to look for models; the user's own by default.

    Raises
    ------
    InputError
        No separator has this name.
    ModelError
        The model is not on this machine; the line says how to get it.
    """
    if name not in separator_names():
        raise unknown_name("separator", name, separator_names())
    store = store or _default_store()
    if name == AUTO:
        name = choose_separator(store).name
    card = model_card(name.removesuffix(HPSS_SUFFIX))
    folder = store.path(card)

    from cadenza_remix.separation.spleeter import SpleeterSeparator

    network = SpleeterSeparator(card, folder)
    if not name.endswith(HPSS_SUFFIX):
        return network
    from cadenza_remix.separation.hpss import HpssSeparator

    return HpssSeparator(network)


def choose_separator(store: Store | None = None) -> SeparatorChoice:
    """Say which separator ``auto`` takes on this machine.

    Raises
    ------
    ModelError
        Neither of the two models that it would take is installed; the line has the command that gets one.
    """
    store = store or _default_store()
    if store.is_installed(model_card(FOUR_STEMS)):
        return SeparatorChoice(FOUR_STEMS, "it is installed and separates all four stems with networks")
    command = FETCH_COMMAND.format(name=FOUR_STEMS)
    if store.is_installed(model_card(TWO_STEMS)):
        return SeparatorChoice(
            TWO_STEMS + HPSS_SUFFIX,
            f"{FOUR_STEMS} is not installed; vocals come from {TWO_STEMS}, the rest is split by median filters",
            f"for better drums, bass and other: {command}",
        )
    raise ModelError(
        f"no separation model is installed: expected {FOUR_STEMS} or {TWO_STEMS}, found none; get one with: "
        + FETCH_COMMAND.format(name=TWO_STEMS)
    )


def _default_store() -> Store:
    from cadenza_remix.separation.store import ModelStore

    return ModelStore()
