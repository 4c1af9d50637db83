"""Options that several commands share, and how they tell what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadenza_remix.console import print_error, tell

if TYPE_CHECKING:
    from cadenza_remix.challenge.checks.files import Fault
    from cadenza_remix.runs.pool import Failure
    from cadenza_remix.separation.options import SeparationOptions
    from cadenza_remix.separation.separator import Separator

MOST_FAULTS_OF_A_KIND = 8
FAULT_HINTS = {
    "duration": "whole songs are checked and scored without --segments, passages with it",
    "listener_missing": "only some listeners: --listener",
    "listener_unknown": "is it the right file of --listeners?",
    "song_unknown": "is it the right list of --songs?",
}

SeparatorOption = Annotated[
    str,
    typer.Option(
        "--separator", help="auto, cadenza:mini, spleeter:4stems, ... (models list), or the folder of a trained model."
    ),
]
WienerOption = Annotated[
    bool, typer.Option("--wiener", help="Multichannel Wiener filter instead of the masks; reads the song twice.")
]
RefineOption = Annotated[
    str | None,
    typer.Option("--refine", help="haaqi: stems that HAAQI rates higher; the vocals get some of the song back."),
]
HighBandOption = Annotated[
    str | None,
    typer.Option(
        "--high-band",
        help="Above the network's band: zeros, average, or residual (the stems then sum to the song, if not refined).",
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or gpu.")]
PrecisionOption = Annotated[
    str, typer.Option("--precision", help="float32, or bfloat16 or float16: faster on some devices, and less exact.")
]
RulesOption = Annotated[
    str | None, typer.Option("--rules", help="Refuse what a challenge bars: cad1, icassp2024 or cad2.")
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


def open_separator(name: str, *, options: SeparationOptions | None = None, rules: str | None = None) -> Separator:
    """Load a separator by its name; say which one is taken where the name leaves that open, and why."""
    from cadenza_remix.separation.loading import AUTO, choose_separator, load_separator
    from cadenza_remix.separation.models.store import ModelStore

    store = ModelStore()
    if name == AUTO:
        choice = choose_separator(store, rules=rules)
        tell(f"Separator: {choice.name} ({choice.reason})")
        if choice.advice and rules is None:  # which may bar what it advises
            tell(f"  {choice.advice}")
        name = choice.name
    return load_separator(name, store=store, options=options, rules=rules)


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
