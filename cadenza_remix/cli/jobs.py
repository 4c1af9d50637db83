"""Commands that make something of songs: the demo, and enhancing."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from cadenza_remix.cli.options import (
    DeviceOption,
    HighBandOption,
    ListenerOption,
    ListenersOption,
    RefineOption,
    RulesOption,
    SegmentsOption,
    SeparatorOption,
    WienerOption,
    WorkersOption,
    leave_on_failures,
    open_separator,
    tell_clipping,
)
from cadenza_remix.console import out, shown_progress, tell

_MOST_NAMED = 3


def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path("out/demo"),
    separator: SeparatorOption = "auto",
) -> None:
    """Run the whole job on a real song (6 s of MUSDB18) and two real listeners, and show the scores."""
    from cadenza_remix.demo import run_demo
    from cadenza_remix.report.tables import print_summary

    chosen = open_separator(separator)
    with shown_progress() as progress:
        result = run_demo(out_folder, separator=chosen, progress=progress)
    print_summary(result.frame, out)
    for chain, share in result.clipped.items():
        tell_clipping(share, f"{chain}: ")
    tell(f"Scores: {out_folder}/<chain>/scores.csv, {out_folder}/summary.csv; files of the challenge: "
              f"{out_folder}/<chain>/enhanced_signals/")  # fmt: skip
    tell(f"Look: {out_folder}/audiograms.png, {out_folder}/scores.png")
    tell(f"Listen: cadenza-remix listen {shlex.quote(str(out_folder))}; or {out_folder}/mixture.wav, <chain>/listen/")
    tell(f"Report: cadenza-remix report {shlex.quote(str(out_folder))} --out report.html")
    leave_on_failures(result.failures)


def enhance(
    songs: Annotated[list[Path], typer.Argument(metavar="SONG...", help="Audio files, or folders with mixture.wav.")],
    listeners: ListenersOption,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the results.")],
    listener: ListenerOption = None,
    separator: SeparatorOption = "auto",
    wiener: WienerOption = False,
    refine: RefineOption = None,
    high_band: HighBandOption = None,
    device: DeviceOption = "auto",
    rules: RulesOption = None,
    chain: Annotated[str, typer.Option("--chain", help="baseline, e016 or FILE.yaml.")] = "baseline",
    segments: SegmentsOption = None,
    wav: Annotated[bool, typer.Option("--wav", help="Also write WAVs to listen to.")] = False,
    workers: WorkersOption = None,
) -> None:
    """Demix songs once and enhance them for each listener: eight stems and a remix, in the challenge's files."""
    from cadenza_remix.challenge.metadata import load_segments
    from cadenza_remix.hearing.audiogram import load_listeners
    from cadenza_remix.remix import load_chain
    from cadenza_remix.runs.enhancing import enhance_songs
    from cadenza_remix.runs.songs import find_songs
    from cadenza_remix.runs.stage_times import FOLDER, recorded_times
    from cadenza_remix.separation.networks.backend import leave_conveniences_out
    from cadenza_remix.separation.options import SeparationOptions

    found = find_songs(songs)
    people = load_listeners(listeners, only=listener or None)
    settings = load_chain(chain)
    cuts = load_segments(segments) if segments else None
    # Checked by the dataclass itself.
    options = SeparationOptions(device=device, wiener=wiener, refine=refine, high_band=high_band)  # type: ignore[arg-type]
    chosen = open_separator(separator, options=options, rules=rules)
    leave_conveniences_out()
    with shown_progress() as progress, recorded_times(out_folder / FOLDER, progress) as timed:
        report = enhance_songs(
            found, people, separator=chosen, chain=settings, out=out_folder, segments=cuts, wav=wav, n_workers=workers,
            progress=timed,
        )  # fmt: skip
        if not report.n_made:
            timed.forget()
    tell(f"{report.n_made} made, {report.n_found} found done, {len(report.failures)} failed: {out_folder}")
    if report.n_remix_samples:
        tell_clipping(report.n_over_full_scale / report.n_remix_samples)
    if report.n_made or report.n_found:
        originals = " ".join(f"--music {shlex.quote(str(song.path))}" for song in found[:_MOST_NAMED])
        more = " ..." if len(found) > _MOST_NAMED else ""
        tell(f"Listen: cadenza-remix listen {shlex.quote(str(out_folder))} {originals}{more}")
    leave_on_failures(report.failures)
