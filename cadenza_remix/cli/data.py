"""Commands for data to train on: a look at what is there, and a synthetic band to make more of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cadenza_remix.atomic import check_writable
from cadenza_remix.console import duration, shown_progress, tell
from cadenza_remix.errors import InputError

data = typer.Typer(
    help="Data to train separators on: describe what is there, make songs with a synthetic band.", no_args_is_help=True
)


@data.command()
def describe(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder of songs with stems, or Spleeter's CSV.")],
    layout: Annotated[
        str, typer.Option("--layout", help="auto, musdb18hq, musdb18, dsd100, spleeter-csv or folder.")
    ] = "auto",
    csv: Annotated[Path | None, typer.Option("--csv", help="Write a table, a row for each song and stem.")] = None,
    page: Annotated[Path | None, typer.Option("--page", help="Write one HTML page with figures.")] = None,
) -> None:
    """Look at all songs once: durations, levels, silence, stems that do not add up to the mixture, broken files."""
    from cadenza_remix.training.data.describing import describe as describe_data
    from cadenza_remix.training.data.description_tables import description_lines, write_description_csv

    for written in (csv, page):  # before the long look
        if written is not None:
            check_target(written)
    with shown_progress() as progress:
        description = describe_data(path, layout=layout, progress=progress)
    if csv is not None:
        write_description_csv(description, csv)
    if page is not None:
        from cadenza_remix.training.data.description_page import write_description_page

        write_description_page(description, page)
    for line in description_lines(description):
        tell(line)
    for written in (csv, page):
        if written is not None:
            tell(f"written: {written}")


def check_target(path: Path) -> None:
    """Refuse a file that cannot be written."""
    if path.is_dir():
        raise InputError("is a folder", where=path, expected="the name of a file")
    check_writable(path.parent)


@data.command()
def synth(
    out: Annotated[Path, typer.Option("--out", help="Folder for the songs, in MUSDB18-HQ's layout.")],
    hours: Annotated[float, typer.Option("--hours", help="How much music to have there; an hour takes 3.2 GB.")],
    seed: Annotated[int, typer.Option("--seed", help="The same seed and settings make the same songs.")] = 0,
    soundfont: Annotated[
        Path | None, typer.Option("--soundfont", help="Instruments from an SF2 file (needs the program fluidsynth).")
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option("--samples", help="Folder of one-shot samples for drums and bass: bd_*, sn_*, hat_* ..."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="How many processes.")] = 2,
) -> None:
    """Let a synthetic band play songs whose stems add up to the mixture; goes on where it was stopped."""
    from cadenza_remix.training.synth.band import synthesise_songs

    began = time.monotonic()
    with shown_progress() as progress:
        report = synthesise_songs(
            out, hours=hours, seed=seed, soundfont=soundfont, samples=samples, n_workers=workers, progress=progress
        )
    seconds = time.monotonic() - began
    songs = "1 song" if report.n_made == 1 else f"{report.n_made} songs"
    tell(f"{songs} made in {duration(seconds)}, {report.n_songs - report.n_made} were there already")
    tell(
        f"{out}: {duration(report.duration_s)} of music;"
        f" {report.n_train} train, {report.n_valid} valid, {report.n_test} test"
    )
