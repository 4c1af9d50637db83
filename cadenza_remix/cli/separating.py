"""The command that takes songs apart: files in, the files of their stems out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadenza_remix.cli.options import (
    DeviceOption,
    HighBandOption,
    PrecisionOption,
    RefineOption,
    RulesOption,
    SeparatorOption,
    WienerOption,
    leave_on_failures,
    open_separator,
)
from cadenza_remix.console import duration, real_time, shown_progress, tell

if TYPE_CHECKING:
    from cadenza_remix.runs.separating import SeparateReport


def separate(
    songs: Annotated[
        list[str],
        typer.Argument(
            metavar="SONG...", help="Audio files, folders (all audio in them; mixture.wav alone) or quoted patterns."
        ),
    ],
    # Text, for as a Path an empty name would be the current folder.
    out_name: Annotated[str, typer.Option("--out", metavar="<path>", help="Folder for the results.")],
    separator: SeparatorOption = "auto",
    stems: Annotated[str | None, typer.Option("--stems", help="Only these: vocals,other")] = None,
    instrumental: Annotated[
        bool, typer.Option("--instrumental", help="Everything but the vocals as one file (beside --stems, if given).")
    ] = False,
    format_name: Annotated[
        str | None, typer.Option("--format", help="wav, flac, mp3 or ogg; by default what --name ends in, or wav.")
    ] = None,
    bits: Annotated[
        str | None, typer.Option("--bits", help="16 (the default), 24, or 32f; WAV: all, FLAC: 16 and 24.")
    ] = None,
    name: Annotated[
        str,
        typer.Option("--name", help="Names of the files, of {out} {song} {stem} {folder} {index} {format}."),
    ] = "{out}/{song}/{stem}.{format}",
    keep_rate: Annotated[
        bool, typer.Option("--keep-rate", help="Write at the song's own sample rate and length, not the separator's.")
    ] = False,
    on_clip: Annotated[
        str | None,
        typer.Option(
            "--on-clip",
            help="Samples beyond full scale: clip (the default), scale (all files of the song by one factor),"
            " float (keep; the default with --bits 32f).",
        ),
    ] = None,
    wiener: WienerOption = False,
    refine: RefineOption = None,
    high_band: HighBandOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "float32",
    rules: RulesOption = None,
) -> None:
    """Take songs apart into stems, block by block, at any length; what is done already is left as it is."""
    from cadenza_remix.runs.inputs import collect_songs
    from cadenza_remix.runs.outputs import OutputSettings, results_folder
    from cadenza_remix.runs.separating import separate_songs
    from cadenza_remix.separation.networks.backend import leave_conveniences_out
    from cadenza_remix.separation.options import SeparationOptions

    options = SeparationOptions(  # both check their values
        device=device,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        wiener=wiener,
        refine=refine,  # type: ignore[arg-type]
        high_band=high_band,  # type: ignore[arg-type]
    )
    settings = OutputSettings(
        template=name,
        format_name=format_name,
        bits=bits,
        stems=None if stems is None else tuple(stem.strip() for stem in stems.split(",")),
        instrumental=instrumental,
        keep_rate=keep_rate,
        on_clip=on_clip,  # type: ignore[arg-type]
    )
    out_folder = results_folder(out_name)
    found = collect_songs(songs, out=out_folder)
    model = open_separator(separator, options=options, rules=rules)
    leave_conveniences_out()
    began = time.monotonic()
    with shown_progress() as progress:
        report = separate_songs(found, model, out=out_folder, settings=settings, progress=progress)
    tell(_summary(report, time.monotonic() - began, out_folder))
    leave_on_failures(report.failures)


def _summary(report: SeparateReport, seconds: float, out: Path) -> str:
    line = f"{report.n_made} made, {report.n_found} found done, {len(report.failures)} failed: {out}"
    if report.n_made:
        speed = real_time(report.duration_s, seconds)
        line += f" ({duration(report.duration_s)} of music in {duration(seconds)}, {speed})"
    return line
