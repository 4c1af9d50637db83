"""Options that several commands share, and how they tell what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadenza_remix.console import print_error, tell
from cadenza_remix.errors import unknown_name

if TYPE_CHECKING:
    from cadenza_remix.challenge.checks.files import Fault
    from cadenza_remix.runs.pool import Failure

MOST_FAULTS_OF_A_KIND = 8
FAULT_HINTS = {
    "duration": "whole songs are checked and scored without --segments, passages with it",
    "listener_missing": "only some listeners: --listener",
    "listener_unknown": "is it the right file of --listeners?",
    "song_unknown": "is it the right list of --songs?",
}

SeparatorOption = Annotated[
    str, typer.Option("--separator", help="auto, spleeter:4stems, spleeter:5stems, spleeter:2stems+hpss, ...")
]
ListenersOption = Annotated[
    str, typer.Option("--listeners", help="Listener JSON of the challenge, or the built-in cad1-sample or bisgaard.")
]
ListenerOption = Annotated[list[str] | None, typer.Option("--listener", help="Only this listener; may be given again.")]
SegmentsOption = Annotated[
    Path | None, typer.Option("--segments", help="Segments JSON of the challenge (test mode); whole songs otherwise.")
]
SongsOption = Annotated[
    Path | None, typer.Option("--songs", help="Song list of the challenge, such as musdb18.valid.json.")
]
ReferencesOption = Annotated[Path, typer.Option("--references", help="Folder of clean stems: <song>/vocals.wav ...")]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="How many at once; all cores by default.")]
AllFaultsOption = Annotated[bool, typer.Option("--all", help="List every fault, however many.")]


def announce_separator(name: str) -> str:
    """Say which separator is taken and why; return its full name."""
    from cadenza_remix.separation.loading import choose_separator, separator_names
    from cadenza_remix.separation.store import ModelStore

    if name != "auto":
        if name not in separator_names():
            raise unknown_name("separator", name, separator_names())
        return name
    choice = choose_separator(ModelStore())
    tell(f"Separator: {choice.name} ({choice.reason})")
    if choice.advice:
        tell(f"  {choice.advice}")
    return choice.name


def tell_clipping(share: float, prefix: str = "") -> None:
    if share:
        tell(
            f"{prefix}{100 * share:.2g} % of the remixes' samples lay over full scale and were soft-clipped (tanh);"
            " a chain with lower gains_db avoids it",
        )


def leave_on_failures(failures: Sequence[Failure]) -> None:
    for failure in failures:
        print_error(f"{failure.unit}: {failure.error}")
    if failures:
        raise typer.Exit(2)


def print_faults(faults: Sequence[Fault], *, show_all: bool) -> str:
    """Print faults, the first ones of each kind unless all are asked for; return how many there are of which kind."""
    shown: Counter[str] = Counter()
    for fault in faults:
        shown[fault.kind] += 1
        if show_all or shown[fault.kind] <= MOST_FAULTS_OF_A_KIND:
            print_error(str(fault))
    hidden = sum(max(0, count - MOST_FAULTS_OF_A_KIND) for count in shown.values())
    counts = ", ".join(f"{count} {kind}" for kind, count in shown.most_common())
    rest = f"; {hidden} like these not shown (all: --all)" if hidden and not show_all else ""
    hints = "".join(f"; {FAULT_HINTS[kind]}" for kind in shown if kind in FAULT_HINTS)
    return f"{len(faults)} fault{'s' if len(faults) > 1 else ''} ({counts}){rest}{hints}"
