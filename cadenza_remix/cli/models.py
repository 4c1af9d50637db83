"""Commands about pretrained separation models: which there are, getting them, converting them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cadenza_remix.console import out, tell
from cadenza_remix.errors import InputError

if TYPE_CHECKING:
    from cadenza_remix.separation.models.registry import ModelCard, SeparatorCard
    from cadenza_remix.separation.models.store import ModelStatus, ModelStore, Way

models = typer.Typer(help="Pretrained separation models: which there are, and getting them.", no_args_is_help=True)

_LEGEND = (
    "stems: Vocals, Drums, Bass, Other, Piano, Accompaniment",
    "band: as far up as the network sees; size: on the disk, or (to download)",
    "verified: has the published digests; neutral: has the form that loads fastest",
    "rules: which challenges allow it (by what it was trained on)",
    "auto: spleeter:4stems, else spleeter:2stems+cadenza:mini, else cadenza:mini",
    "get one:       cadenza-remix models fetch NAME   (no network: models import)",
    "all about one: cadenza-remix models show NAME",
)

Name = Annotated[str, typer.Argument(help="Such as spleeter:4stems.")]


@models.command("list")
def models_list(
    verify: Annotated[bool, typer.Option("--verify", help="Check every installed file's digest now.")] = False,
) -> None:
    """Show the known models: which are installed, whether they are whole, and which challenges allow them."""
    from rich.table import Table

    from cadenza_remix.separation.loading import MINI
    from cadenza_remix.separation.models.registry import model_card, separator_card, separator_card_names
    from cadenza_remix.separation.models.store import ModelStore
    from cadenza_remix.separation.plugins import plugin_names

    store = ModelStore()
    statuses = store.status(verify=verify)
    table = Table(box=None, pad_edge=False)
    for column in ("model", "stems", "band", "size", "state", "rules"):
        table.add_column(column, overflow="fold", justify="right" if column in ("band", "size") else "left")
    for status in statuses:
        card = model_card(status.name)
        size = f"{status.size_bytes / 1e6:.0f} MB" if status.installed else f"({card.archive_size_mb} MB)"
        table.add_row(*_row(card, size, _state(status, verify=verify)))
    installed = {status.name: status.installed for status in statuses}
    for name in separator_card_names():
        other = separator_card(name)
        size, state = _packaged() if name == MINI else ("", _package_state(other, store, installed))
        table.add_row(*_row(other, size, state))
    out.print(table)
    if plugged_in := plugin_names():
        tell(f"of other packages: {', '.join(plugged_in)}")
    for problem in dict.fromkeys(status.problem for status in statuses if status.problem):
        tell(f"damaged: {problem}")
    for line in _LEGEND:
        tell(line)


def _row(card: ModelCard | SeparatorCard, size: str, state: str) -> tuple[str, ...]:
    from cadenza_remix.separation.models.registry import rules_allowing, rules_names

    rules = rules_allowing(card)
    allowed = "all" if rules == rules_names() else " ".join(rules) or "none"
    letters = "".join(stem[0].upper() for stem in card.stems)
    return card.name, letters, f"{int(card.band_hz / 100) / 10:g} kHz", size, state, allowed


def _state(status: ModelStatus, *, verify: bool) -> str:
    """Say in a word or two how things stand with a model."""
    if not status.installed:
        return "DAMAGED" if status.problem else "no"
    word = "verified" if status.verified else "unchanged" if verify else "installed"
    return f"{word}, neutral" if "neutral" in status.forms else word


def _packaged() -> tuple[str, str]:
    """Return size and state of the model that is part of this package."""
    from cadenza_remix.errors import CadenzaError
    from cadenza_remix.separation.loading import packaged_folder
    from cadenza_remix.separation.trained.folder import read_model_folder

    try:
        model = read_model_folder(packaged_folder())
    except CadenzaError:
        return "", "DAMAGED"
    size_bytes = sum(path.stat().st_size for path in model.path.iterdir())
    return f"{size_bytes / 1e6:.0f} MB", "in this package"


def _package_state(card: SeparatorCard, store: ModelStore, installed: dict[str, bool]) -> str:
    """Say whether what runs a separator is there; whether its weights are, only the package knows."""
    from importlib.util import find_spec

    from cadenza_remix.errors import ModelError

    if card.module is not None:
        return "package there" if find_spec(card.module) is not None else "no package"
    from cadenza_remix.separation.borrowed.deezer_engine import find_engine

    try:
        find_engine(store.home)
    except ModelError:
        return "no engine"
    return "engine there" if installed[card.name.replace("deezer:", "spleeter:")] else "engine, no model"


@models.command("show")
def models_show(name: Name) -> None:
    """Tell all that is known of a model: licence, training data, rules, digests, how to get it."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in _facts(name):
        table.add_row(key, value)
    out.print(table, markup=False)


def _plugin_facts(name: str) -> list[tuple[str, str]]:
    from cadenza_remix.separation.options import SeparationOptions
    from cadenza_remix.separation.plugins import declared_training, load_plugin

    separator = load_plugin(name, options=SeparationOptions())
    return [
        ("name", name),
        ("stems", ", ".join(separator.stems)),
        ("sample rate", f"{separator.sample_rate} Hz"),
        ("trained on", declared_training(separator).training_data or "not declared"),
        ("from", "a package of its own (entry point)"),
    ]


def _trained_facts(name: str) -> list[tuple[str, str]]:
    """Tell what the folder of a trained model says of it."""
    from cadenza_remix.separation.loading import load_separator
    from cadenza_remix.separation.models.registry import rules_allowing, rules_names
    from cadenza_remix.separation.models.untrusted import shown
    from cadenza_remix.separation.plugins import declared_training
    from cadenza_remix.separation.trained.separator import TrainedSeparator

    separator = load_separator(name)
    assert isinstance(separator, TrainedSeparator)
    model, declared = separator.model, declared_training(separator)
    allowing, told = rules_allowing(declared), model.facts
    facts = [
        ("name", separator.name),
        ("network", f"{model.spec.architecture}, {model.spec.sample_rate} Hz, band up to {model.spec.band_hz:.0f} Hz"),
        ("stems", ", ".join(separator.stems)),
        ("licence", str(told.get("licence", "not stated"))),
        ("trained on", declared.training_data),
        *(("source", str(source)) for source in told.get("sources", ())),
        ("rules", ", ".join(f"{rules} {'allows' if rules in allowing else 'BARS'} it" for rules in rules_names())),
        *((key, str(told[key])) for key in ("loss", "step", "seconds", "hours", "scores", "versions") if key in told),
        ("weights", f"sha256 {model.weights_sha256}"),
        ("folder", str(model.path)),
    ]
    return [(key, shown(value, 500)) for key, value in facts]


def _facts(name: str) -> list[tuple[str, str]]:
    from cadenza_remix.separation.loading import MINI, is_model_path
    from cadenza_remix.separation.models.registry import ModelCard, rules_allowing, rules_names, training_facts
    from cadenza_remix.separation.models.store import ModelStore
    from cadenza_remix.separation.models.untrusted import shown
    from cadenza_remix.separation.plugins import plugin_names

    if name in plugin_names():
        return _plugin_facts(name)
    if name == MINI or is_model_path(name):
        return _trained_facts(name)
    card = training_facts(name)
    allowing = rules_allowing(card)
    rules = ", ".join(f"{rules} {'allows' if rules in allowing else 'BARS'} it" for rules in rules_names())
    facts = [
        ("name", card.name),
        ("stems", ", ".join(card.stems)),
        ("sample rate", f"{card.sample_rate} Hz"),
        ("band", f"up to {card.band_hz:.0f} Hz"),
        ("licence", card.licence),
        ("trained on", card.training_data),
        ("rules", rules),
    ]
    if not isinstance(card, ModelCard):
        return [*facts, ("needs", card.needs), ("weights", card.weights_from)]
    if card.sdr_db:
        sdr = ", ".join(f"{stem} {value:.2f} dB" for stem, value in card.sdr_db.items())
        facts.append(("SDR", f"{sdr} (published, MUSDB18 test set)"))
    status = next(status for status in ModelStore().status(verify=True) if status.name == card.name)
    state = _state(status, verify=True)
    facts += [("source", card.source), ("archive", card.archive_url), ("sha256", card.archive_sha256)]
    facts += [(file, f"sha256 {sha256}") for file, sha256 in card.files.items()]
    if status.installed:
        facts.append(("state", f"{state}: {status.size_bytes / 1e6:.0f} MB from {shown(status.source, 300)}"))
        return [*facts, ("folder", str(status.path))]
    return [*facts, ("state", status.problem or "not installed"), ("get it", f"cadenza-remix models fetch {card.name}")]


@models.command("fetch")
def models_fetch(
    name: Name,
    via: Annotated[str, typer.Option("--via", help="auto, release (Deezer's releases) or pip (2stems only).")] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network.")] = False,
) -> None:
    """Download a model into the cache and verify it; a download that broke off goes on where it stopped."""
    from cadenza_remix.separation.loading import MINI
    from cadenza_remix.separation.models.store import ModelStore

    if name == MINI:
        tell(f"{name} is part of this package: there is nothing to fetch")
        return
    card, store = _card_in_store(name), ModelStore()
    _fetch(store, card, via, offline=offline)
    tell(f"{name} is installed: {store.path(card)}")


def _fetch(store: ModelStore, card: ModelCard, via: str, *, offline: bool) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from cadenza_remix.console import err

    columns = (TextColumn(card.name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        task = bars.add_task(card.name, total=None)
        store.fetch(
            card,
            via=cast("Way", via),
            offline=offline,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
            notify=lambda line: err.print(line, markup=False, soft_wrap=True),
        )


@models.command("import")
def models_import(
    name: Name,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="The release's archive, a wheel, or a folder: a checkpoint, or what convert wrote."
        ),
    ],
) -> None:
    """Install a model from a file: for machines without a network, such as compute nodes."""
    from cadenza_remix.separation.models.store import ModelStore

    card, store = _card_in_store(name), ModelStore()
    store.import_from(card, _path(source, "SOURCE", expected="an archive, a wheel or a folder"))
    tell(f"{name} is installed: {store.path(card)}")


@models.command("convert")
def models_convert(
    name: Name,
    folder: Annotated[
        str | None,
        typer.Option("--out", metavar="PATH", help="Write here, to be carried to another machine and imported there."),
    ] = None,
) -> None:
    """Write a model's weights as safetensors and JSON, which load faster and need no TensorFlow."""
    from cadenza_remix.separation.models.neutral import NEUTRAL_FILES
    from cadenza_remix.separation.models.store import ModelStore

    into = None if folder is None else _path(folder, "--out", expected="a folder")
    written = ModelStore().convert(_card_in_store(name), into)
    size_mb = sum((written / file).stat().st_size for file in NEUTRAL_FILES) / 1e6
    beside = " beside what was there" if into is None else ""
    tell(f"{name} is converted: {written} ({size_mb:.0f} MB{beside})")
    if into is not None:
        tell(f"install it elsewhere: cadenza-remix models import {name} {shlex.quote(str(into))}")


def _card_in_store(name: str) -> ModelCard:
    """Return the card of a model that is kept in the store; tell where a separator that is not comes from."""
    from cadenza_remix.separation.loading import is_model_path
    from cadenza_remix.separation.models.registry import (
        model_card,
        model_names,
        separator_card,
        separator_card_names,
    )

    if name not in model_names():
        known = ", ".join(model_names())
        if name in separator_card_names():
            found = f"its weights come from {separator_card(name).weights_from}"
            raise InputError("not kept in the store of models", where=name, expected=known, found=found)
        if is_model_path(name):
            raise InputError("a trained model's folder is used as it is", where=name, expected=f"--separator {name}")
    return model_card(name)


def _path(text: str, where: str, *, expected: str) -> Path:
    """Return a path as it was given; an empty one would be the current folder, which nobody meant."""
    if not text:
        raise InputError("an empty path", where=where, expected=expected)
    return Path(text)


@models.command("path")
def models_path(name: Annotated[str, typer.Argument(help="Such as spleeter:2stems.")]) -> None:
    """Print the folder of an installed model."""
    from cadenza_remix.separation.loading import MINI, packaged_folder
    from cadenza_remix.separation.models.store import ModelStore

    typer.echo(packaged_folder() if name == MINI else ModelStore().path(_card_in_store(name)))
