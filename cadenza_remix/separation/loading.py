"""One door to all separators, by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Protocol

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.separation.models.registry import (
    ModelCard,
    check_rules,
    model_card,
    model_names,
    rules_allowing,
    separator_card_names,
    training_facts,
)
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.plugins import declared_training, load_plugin, plugin_names
from cadenza_remix.separation.separator import Separator
from cadenza_remix.separation.trained import CARD_NAME

AUTO = "auto"
HPSS_SUFFIX = "+hpss"
TWO_STEMS = "spleeter:2stems"
FOUR_STEMS = "spleeter:4stems"
_STORE_METHODS = ("is_installed", "problem", "path")
MINI = "cadenza:mini"
#: Vocals by the pretrained network, the rest of the song taken apart by our own.
PAIR = f"{TWO_STEMS}+{MINI}"
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


def is_model_path(name: str | Path) -> bool:
    """Tell whether a name is the path of a trained model's folder: by its looks, or because there is such a folder.

    Names with a slash (or what else separates folders on this system), names that begin with ``.`` or ``~``, and
    folders that hold a ``model.json`` or a ``model/model.json`` (of a training: loading tells where the model is) are
    paths, unless a separator has this very name.
    """
    if not isinstance(name, str):
        return isinstance(name, Path)
    looks_so = name.startswith((".", "~")) or any(mark in name for mark in ("/", os.sep, os.altsep or os.sep))
    return (looks_so or _is_model_folder(name)) and name not in separator_names()


def load_separator(
    name: str | Path = AUTO,
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
    name : str or Path
        One of `separator_names`; ``auto`` takes what `choose_separator` says. Our own names come before a plug-in's.
        Or the folder of a model that was trained here: see `is_model_path`.
    store : ModelStore, optional
        Where to look for our own models; the user's by default.
    options : SeparationOptions, optional
        How it shall work. A separator refuses every option that it does not know.
    rules : str, optional
        A challenge (`separation.models.registry.rules_names`): separators that it bars are refused. One of a
        plug-in says what it was trained on, or counts as unknown (see `cadenza_remix.separation.plugins`); so does
        a trained model (the fact ``private_data`` in its ``model.json``).

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
    if is_model_path(name):
        return _load_path(name, options, rules)
    name = str(name)
    if name == AUTO:
        store = store or _default_store()
        name = choose_separator(store, rules=rules).name
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


def choose_separator(store: Store | None = None, *, rules: str | None = None) -> SeparatorChoice:
    """Say which separator ``auto`` takes on this machine: the best that is there, by what was measured of each stem.

    ``evaluation/results/mini_model.md`` has the figures. `MINI` is in the package, so there is always one.

    Parameters
    ----------
    store : ModelStore, optional
        Where to look for our own models; the user's by default.
    rules : str, optional
        A challenge whose rules the separator shall keep; see `separation.models.registry.rules_names`.
    """
    if rules is not None and rules not in rules_allowing(training_facts(TWO_STEMS)):
        check_rules(training_facts(MINI), rules)
        return SeparatorChoice(MINI, f"the rules of {rules} bar Spleeter's networks; this one's training data are free")
    store = store or _default_store()
    if store.is_installed(model_card(FOUR_STEMS)):
        return SeparatorChoice(FOUR_STEMS, "it is installed and separates all four stems with networks")
    damage = {name: store.problem(model_card(name)) for name in (FOUR_STEMS, TWO_STEMS)}
    damaged = [name for name, problem in damage.items() if problem is not None]
    told = "; ".join(f"{name} is damaged ({damage[name]})" for name in damaged)
    if store.is_installed(model_card(TWO_STEMS)):
        return SeparatorChoice(
            PAIR,
            (told or f"{FOUR_STEMS} is not installed")
            + f"; vocals come from {TWO_STEMS}, the rest is taken apart by {MINI}",
            "for better drums, bass and other: " + FETCH_COMMAND.format(name=FOUR_STEMS),
        )
    commands = " or ".join(FETCH_COMMAND.format(name=name) for name in damaged or (FOUR_STEMS, TWO_STEMS))
    return SeparatorChoice(
        MINI,
        (told or f"neither {FOUR_STEMS} nor {TWO_STEMS} is installed") + "; this small one comes with the package",
        ("get it anew with: " if damaged else "for better stems: ") + commands,
    )


def packaged_folder(name: str = MINI) -> Path:
    """Return the folder of a trained model that is part of this package."""
    return Path(str(resources.files("cadenza_remix.resources").joinpath(name.partition(":")[2])))


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
    return (AUTO, *model_names(), TWO_STEMS + HPSS_SUFFIX, PAIR, *separator_card_names())


def _is_model_folder(name: str) -> bool:
    try:
        return any(Path(name, *parts, CARD_NAME).is_file() for parts in ((), ("model",)))
    except OSError:  # too long for a file's name
        return False


def _load_path(path: str | Path, options: SeparationOptions, rules: str | None) -> Separator:
    from cadenza_remix.separation.trained.separator import load_trained

    separator = load_trained(path, options=options)
    if rules is not None:
        check_rules(declared_training(separator), rules)
    return separator


def _load_spleeter(name: str, store: Store | None, options: SeparationOptions) -> Separator:
    from cadenza_remix.separation.spleeter import SpleeterSeparator

    base, _, rest = name.partition("+")
    card = model_card(base)
    if rest and options.high_band is None:
        # What is split should hold the cymbals, too, and the four stems sum to the song.
        options = replace(options, high_band="residual")
    network = SpleeterSeparator(card, (store or _default_store()).path(card), options=options)
    if not rest:
        return network
    if rest == MINI:
        from cadenza_remix.separation.pairing import PairedSeparator

        return PairedSeparator(network, _load_cadenza(MINI, store, SeparationOptions(device=options.device)))
    from cadenza_remix.separation.hpss import REFINED, HpssSeparator

    return HpssSeparator(network, REFINED if options.refine else None)


def _load_cadenza(name: str, store: Store | None, options: SeparationOptions) -> Separator:
    from cadenza_remix.separation.trained.separator import load_trained

    return load_trained(packaged_folder(name), name=name, options=options)


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
    "cadenza": _load_cadenza,
    "spleeter": _load_spleeter,
    "demucs": _load_demucs,
    "torchaudio": _load_torchaudio,
    "openunmix": _load_openunmix,
    "deezer": _load_deezer,
}


def _default_store() -> Store:
    from cadenza_remix.separation.models.store import ModelStore

    return ModelStore()
