"""Commands about the challenge's submission file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cadenza_remix.cli.options import AllFaultsOption, ListenersOption, SegmentsOption, WorkersOption, print_faults
from cadenza_remix.console import shown_progress, tell
from cadenza_remix.errors import InputError

submission = typer.Typer(help="The challenge's submission file.", no_args_is_help=True)


@submission.command("pack")
def submission_pack(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with enhanced_signals/.")],
    team: Annotated[str, typer.Option("--team", help="The team's identifier, such as E016.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the zip file.")] = Path(),
    workers: WorkersOption = None,
    all_faults: AllFaultsOption = False,
) -> None:
    """Check enhanced signals and pack them into submission_<TEAM>.zip; nothing is packed that has faults."""
    from cadenza_remix.challenge.submission import pack_submission
    from cadenza_remix.challenge.tree import open_tree
    from cadenza_remix.runs.validating import validate_entry

    with shown_progress() as progress:
        report = validate_entry(open_tree(folder), n_workers=workers, progress=progress)
    if report.faults:
        raise InputError(print_faults(report.faults, show_all=all_faults), where=folder)
    tell(str(pack_submission(folder, out_folder, team)))


@submission.command("validate")
def submission_validate(
    path: Annotated[Path, typer.Argument(help="The zip file, or a folder of enhanced signals.")],
    songs: Annotated[Path, typer.Option("--songs", help="Song list of the challenge, such as musdb18.valid.json.")],
    listeners: ListenersOption,
    references: Annotated[
        Path | None, typer.Option("--references", help="Folder of clean stems: also check that the sound makes sense.")
    ] = None,
    segments: SegmentsOption = None,
    workers: WorkersOption = None,
    all_faults: AllFaultsOption = False,
) -> None:
    """Check a submission and list its faults, all at once."""
    from cadenza_remix.challenge.metadata import load_segments, load_songs
    from cadenza_remix.challenge.pairs import make_pairs
    from cadenza_remix.challenge.tree import open_tree
    from cadenza_remix.hearing.audiogram import load_listeners
    from cadenza_remix.runs.validating import validate_entry

    tree, people = open_tree(path), load_listeners(listeners)
    cuts = load_segments(segments) if segments else None
    with shown_progress() as progress:
        report = validate_entry(
            tree,
            pairs=make_pairs(load_songs(songs), people),
            references=references,
            listeners=people,
            segments=cuts,
            n_workers=workers,
            progress=progress,
        )
    if report.faults:
        raise InputError(print_faults(report.faults, show_all=all_faults), where=path)
    tell(f"{path}: complete and well-formed")
