"""One door to all separators, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from cadenza_remix.errors import InputError, ModelError, unknown_name
from cadenza_remix.separation.models.registry import (
    ModelCard,
    check_rules,
    model_card,
    model_names,
    separator_card_names,
    training_facts,
)
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.plugins import declared_training, load_plugin, plugin_names
from cadenza_remix.separation.separator import Separator

AUTO = "auto"
HPSS_SUFFIX = "+hpss"
TWO_STEMS = "spleeter:2stems"
FOUR_STEMS = "spleeter:4stems"
_STORE_METHODS = ("is_installed", "problem", "path")
FETCH_COMMAND = "cadenza-remix models fetch {name}"


class Store(Protocol):
    """Where the models lie; `cadenza_remix.separation.models.store.ModelStore` is one."""

    @property
    def home(self) -> Path: ...
    def is_installed(self, card: ModelCard) -> bool: ...
    def problem(self, card: ModelCard) -> str | None: ...
    def path(self, card: ModelCard, *, form: str | None = None) -> Path: ...


@dataclass(frozen=True)
class SeparatorChoice:
    """What ``auto`` takes: the name, why, and what would get a better one (empty if there is none)."""

    name: str
    reason: str
    advice: str = ""


def separator_names() -> tuple[str, ...]:
    """Return all names that `load_separator` knows: ours, those of other packages, those of plug-ins."""
    ours = _own_names()
    return (*ours, *(name for name in plugin_names() if name not in ours))


def load_separator(
    name: str = AUTO,
    *,
    store: Store | None = None,
    options: SeparationOptions | None = None,
    rules: str | None = None,
) -> Separator:
    """Build a separator.

    Nothing is downloaded for ``spleeter:*``. The separators that other packages run (``demucs:*``, ``torchaudio:*``,
    ``openunmix:*``) leave it to the package to fetch its weights at first use.

    Parameters
    ----------
    name : str
        One of `separator_names`; ``auto`` takes what `choose_separator` says. Our own names come before a plug-in's.
    store : ModelStore, optional
        Where to look for our own models; the user's by default.
    options : SeparationOptions, optional
        How it shall work. A separator refuses every option that it does not know.
    rules : str, optional
        A challenge (`separation.models.registry.rules_names`): separators that it bars are refused. One of a
        plug-in says what it was trained on, or counts as unknown (see `cadenza_remix.separation.plugins`).

    Raises
    ------
    InputError
        No separator has this name, it does not know an option, or the rules bar it. Or an argument is of another
        kind.
    ModelError
        The model is not on this machine; the line says how to get it. Or a plug-in is broken.
    MissingDependencyError
        The package that runs it is not installed.
    """
    _check_arguments(store, options, rules)
    options = options or SeparationOptions()
    if name == AUTO:
        store = store or _default_store()
        name = choose_separator(store).name
    if name in _own_names():
        if rules is not None:
            check_rules(training_facts(name), rules)
        return _FAMILIES[name.partition(":")[0]](name, store, options)
    if name not in plugin_names():
        raise unknown_name("separator", name, separator_names())
    separator = load_plugin(name, options=options)
    if rules is not None:
        check_rules(declared_training(separator), rules)
    return separator


def choose_separator(store: Store | None = None) -> SeparatorChoice:
    """Say which separator ``auto`` takes on this machine.

    Raises
    ------
    ModelError
        Neither of the two models that it would take is there and whole; the line has the command that gets one.
    """
    store = store or _default_store()
    if store.is_installed(model_card(FOUR_STEMS)):
        return SeparatorChoice(FOUR_STEMS, "it is installed and separates all four stems with networks")
    damage = {name: store.problem(model_card(name)) for name in (FOUR_STEMS, TWO_STEMS)}
    damaged = [name for name, problem in damage.items() if problem is not None]
    told = "; ".join(f"{name} is damaged ({damage[name]})" for name in damaged)
    if store.is_installed(model_card(TWO_STEMS)):
        return SeparatorChoice(
            TWO_STEMS + HPSS_SUFFIX,
            (told or f"{FOUR_STEMS} is not installed")
            + f"; vocals come from {TWO_STEMS}, the rest is split by median filters",
            "for better drums, bass and other: " + FETCH_COMMAND.format(name=FOUR_STEMS),
        )
    if damaged:
        commands = " or ".join(FETCH_COMMAND.format(name=name) for name in damaged)
        raise ModelError(f"{told}; get it anew with: {commands}")
    raise ModelError(
        f"no separation model is installed: expected {FOUR_STEMS} or {TWO_STEMS}, found none; get one with: "
        + FETCH_COMMAND.format(name=TWO_STEMS)
    )


def _check_arguments(store: object, options: object, rules: object) -> None:
    """Refuse what is taken for something else easily: a path for a store, a dictionary for options."""
    where = "load_separator"
    if options is not None and not isinstance(options, SeparationOptions):
        raise InputError("wrong options", where=where, expected="SeparationOptions(...)", found=repr(options))
    if rules is not None and not isinstance(rules, str):
        raise InputError("wrong rules", where=where, expected="the name of a challenge", found=repr(rules))
    if store is not None and not all(callable(getattr(store, name, None)) for name in _STORE_METHODS):
        raise InputError("wrong store", where=where, expected="ModelStore(folder)", found=repr(store))


def _own_names() -> tuple[str, ...]:
    return (AUTO, *model_names(), TWO_STEMS + HPSS_SUFFIX, *separator_card_names())


def _load_spleeter(name: str, store: Store | None, options: SeparationOptions) -> Separator:
    from cadenza_remix.separation.spleeter import SpleeterSeparator

    card = model_card(name.removesuffix(HPSS_SUFFIX))
    if name.endswith(HPSS_SUFFIX) and options.high_band is None:
        # What is split should hold the cymbals, too, and the four stems sum to the song.
        options = replace(options, high_band="residual")
    network = SpleeterSeparator(card, (store or _default_store()).path(card), options=options)
    if not name.endswith(HPSS_SUFFIX):
        return network
    from cadenza_remix.separation.hpss import REFINED, HpssSeparator

    return HpssSeparator(network, REFINED if options.refine else None)


def _load_demucs(name: str, store: Store | None, options: SeparationOptions) -> Separator:
    from cadenza_remix.separation.borrowed.demucs_models import load_demucs

    return load_demucs(name, options=options)


def _load_torchaudio(name: str, store: Store | None, options: SeparationOptions) -> Separator:
    from cadenza_remix.separation.borrowed.torchaudio_models import load_torchaudio

    return load_torchaudio(name, options=options)


def _load_openunmix(name: str, store: Store | None, options: SeparationOptions) -> Separator:
    from cadenza_remix.separation.borrowed.openunmix_models import load_openunmix

    return load_openunmix(name, options=options)


def _load_deezer(name: str, store: Store | None, options: SeparationOptions) -> Separator:
    from cadenza_remix.separation.borrowed.deezer import load_deezer

    return load_deezer(name, store=store or _default_store(), options=options)


#: What stands before the colon of a name, and how such separators are built.
_FAMILIES: dict[str, Callable[[str, Store | None, SeparationOptions], Separator]] = {
    "spleeter": _load_spleeter,
    "demucs": _load_demucs,
    "torchaudio": _load_torchaudio,
    "openunmix": _load_openunmix,
    "deezer": _load_deezer,
}


def _default_store() -> Store:
    from cadenza_remix.separation.models.store import ModelStore

    return ModelStore()
