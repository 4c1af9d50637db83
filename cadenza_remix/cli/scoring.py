"""The command that scores: a folder or a submission's zip file, checked first, scored by all cores, summarised."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadenza_remix.cli.options import (
    AllFaultsOption,
    ListenerOption,
    ListenersOption,
    ReferencesOption,
    SegmentsOption,
    SongsOption,
    WorkersOption,
    leave_on_failures,
    print_faults,
)
from cadenza_remix.console import out, shown_progress, tell
from cadenza_remix.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from cadenza_remix.challenge.metadata import SongEntry
    from cadenza_remix.challenge.pairs import Pair
    from cadenza_remix.hearing.audiogram import Listener
    from cadenza_remix.runs.scoring import ScorePlan, ScoreReport
    from cadenza_remix.runs.validating import ValidationReport

MOST_PAIRS_NAMED = 20


def score(
    entry: Annotated[Path, typer.Argument(metavar="ENTRY", help="Folder with enhanced_signals/, or submission_X.zip.")],
    references: ReferencesOption,
    listeners: ListenersOption,
    out_file: Annotated[Path, typer.Option("--out", help="The table to write; others go beside it.")] = Path(
        "scores.csv"
    ),
    listener: ListenerOption = None,
    songs: SongsOption = None,
    segments: SegmentsOption = None,
    partial: Annotated[bool, typer.Option("--partial", help="Score what is there and in order.")] = False,
    any_sound: Annotated[
        bool, typer.Option("--any-sound", help="Tell silence, a mixture as stem, exchanged ears, ..., but score them.")
    ] = False,
    compare: Annotated[
        Path | None, typer.Option("--compare", help="Another system's scores.csv: show paired differences to it.")
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="Show CAD1's published results too.")] = False,
    noise: Annotated[
        str, typer.Option("--noise", help="legacy: the challenge's; fixed: faster, within its spread.")
    ] = "legacy",
    scorer: Annotated[str, typer.Option("--scorer", help="builtin, or clarity: pyclarity's own HAAQI.")] = "builtin",
    workers: WorkersOption = None,
    all_faults: AllFaultsOption = False,
) -> None:
    """Score enhanced signals: HAAQI as the challenge computes it, SNR and SDR.

    Checks everything first and lists all faults at once. Writes the challenge's table (--out), a tidy table
    (..._tidy.csv), means with confidence intervals (..._summary.csv), and a record of each pair (..._records/), with
    which the same command goes on where it was stopped.
    """
    from cadenza_remix.atomic import check_writable
    from cadenza_remix.challenge.checks.plausibility import SOUND_KINDS
    from cadenza_remix.challenge.metadata import load_segments, load_songs
    from cadenza_remix.hearing.audiogram import load_listeners
    from cadenza_remix.report.comparison import read_other
    from cadenza_remix.report.scores import beside
    from cadenza_remix.runs.scoring import expected_pairs, plan_scores, run_scores
    from cadenza_remix.runs.sources import EntryFiles
    from cadenza_remix.runs.stage_times import TABLE_ENDING, recorded_times
    from cadenza_remix.runs.validating import validate_entry

    people = load_listeners(listeners, only=listener or None)
    song_list = load_songs(songs) if songs else None
    cuts = load_segments(segments) if segments else None
    other = read_other(compare) if compare else None
    if not references.is_dir():
        raise InputError("folder of references is missing", where=references, expected="a folder with the clean stems")
    source = EntryFiles(entry, tuple(people) if listener else None)
    pairs = expected_pairs(source, people, songs=song_list)
    _check_out(out_file, Path(source.tree.where))
    if other is not None:
        _check_other(compare, other, out_file, pairs)
    check_writable(out_file.parent)
    plan = plan_scores(
        source, pairs, references=references, listeners=people, segments=cuts, records=beside(out_file, "_records"),
        scorer=scorer, noise=noise,
    )  # fmt: skip
    if songs is None:
        n_songs, n_listeners = (len({pair[part] for pair in pairs}) for part in (0, 1))
        tell(
            f"expected, as there is no list of --songs: what there is, {n_songs} songs x {n_listeners} of "
            f"{len(people)} listeners"
        )
    if plan.found:
        tell(f"{len(plan.found)} of {len(plan.pairs)} pairs were scored before")
    with shown_progress() as progress:
        checked = validate_entry(
            source.tree,
            pairs=plan.pairs,
            known_good=plan.found.keys(),
            references=references,
            listeners=people,
            segments=cuts,
            partial=partial,
            remix=False,
            tolerated=SOUND_KINDS if any_sound else (),
            n_workers=workers,
            progress=progress,
        )
        plan = _in_order(plan, checked, entry, partial=partial, any_sound=any_sound, show_all=all_faults)
        with recorded_times(beside(out_file, TABLE_ENDING), progress) as timed:
            report = run_scores(plan, n_workers=workers, progress=timed)
            if len(report.records) == report.n_found:
                timed.forget()
    if report.failures:
        tell(f"{len(report.records)} of {len(plan.pairs)} pairs scored; {out_file} is not written: it would lack some")
        leave_on_failures(report.failures)
    _write_tables(report, out_file, people, song_list, other, compare, n_pairs=len(pairs), published=published)


def _in_order(
    plan: ScorePlan, checked: ValidationReport, entry: Path, *, partial: bool, any_sound: bool, show_all: bool
) -> ScorePlan:
    """Tell the faults of an entry, and return what of the plan can be scored all the same, if that is wanted."""
    from cadenza_remix.challenge.checks.plausibility import SOUND_KINDS

    if checked.faults:
        counts = print_faults(checked.faults, show_all=show_all)
        of_sound = all(fault.kind in SOUND_KINDS for fault in checked.faults)
        if not (partial or (any_sound and of_sound)):
            ways = "what is in order: --partial" + ("; as it sounds: --any-sound" if of_sound else "")
            raise InputError(f"{counts}; nothing was scored ({ways})", where=entry)
        tell(f"{counts}; {'what is in order' if partial else 'everything'} is scored")
    left = plan.only(checked.pairs_ok)
    if not left.pairs:
        raise InputError("nothing in it is in order", where=entry)
    kept = set(left.pairs)
    missing = [f"{pair.song} for {pair.listener}" for pair in plan.pairs if pair not in kept]
    if missing:
        rest = "" if show_all or len(missing) <= MOST_PAIRS_NAMED else f" and {len(missing) - MOST_PAIRS_NAMED} more"
        tell(f"left out: {'; '.join(missing if show_all else missing[:MOST_PAIRS_NAMED])}{rest}")
    return left


def _check_out(out_file: Path, root: Path) -> None:
    """Refuse names that would fail after hours of work."""
    from cadenza_remix.report.scores import beside

    if out_file.is_dir():
        raise InputError("is a folder", where=out_file, expected="the name of the table to write")
    for ending in ("_tidy.csv", "_summary.csv", "_compared.csv"):
        if beside(out_file, ending).is_dir():
            raise InputError("is a folder", where=beside(out_file, ending), expected="a place for a table")
    if root.is_dir() and root.resolve() in out_file.resolve().parents:
        raise InputError(
            "would lie among the files of the entry", where=out_file, expected="a place outside", found=root
        )


def _check_other(other_file: Path | None, other: pd.DataFrame, out_file: Path, pairs: Sequence[Pair]) -> None:
    """Refuse a comparison that would fail after hours of work, or say nothing."""
    if other_file is not None and out_file.exists() and other_file.samefile(out_file):
        raise InputError("would be compared with itself", where=other_file, expected="another file than --out")
    if "haaqi" not in set(other["metric"]):
        raise InputError("holds no HAAQI to compare with", where=other_file)
    known = set(zip(other["song"], other["listener"], strict=True))
    if not any((pair.song, pair.listener) in known for pair in pairs):
        song, listener = min(known)
        raise InputError(
            "has no song and listener in common with the entry",
            where=other_file,
            expected=f"such as {pairs[0].song!r} for {pairs[0].listener}",
            found=f"such as {song!r} for {listener}",
        )


def _write_tables(
    report: ScoreReport,
    out_file: Path,
    listeners: dict[str, Listener],
    songs: list[SongEntry] | None,
    other: pd.DataFrame | None,
    other_file: Path | None,
    *,
    n_pairs: int,
    published: bool,
) -> None:
    from cadenza_remix.report.comparison import compare, print_comparison, write_comparison_csv
    from cadenza_remix.report.published import published_results
    from cadenza_remix.report.scores import beside, write_score_tables
    from cadenza_remix.report.statistics import print_statistics
    from cadenza_remix.runs.score_job import differing_settings

    tables = write_score_tables(report.records, out_file, listeners=listeners, songs=songs)
    tidy, written = tables.tidy, [*tables.written]
    print_statistics(tables.statistics, out, published_results() if published else None)
    if other is not None and other_file is not None:
        comparison = compare(tidy, other, listeners=listeners, songs=songs)
        written.append(beside(out_file, "_compared.csv"))
        write_comparison_csv(comparison, written[-1])
        print_comparison(comparison, out, this=str(out_file), other=str(other_file))
        if differing := differing_settings(report.records, scores_file=other_file):
            tell(f"Careful, the two were scored with different {' and '.join(differing)}")
    mean = sum(row.score for row in report.rows) / len(report.rows)
    of_all = f" of {n_pairs}: NOT ALL" if len(report.rows) < n_pairs else ""
    names = ", ".join(map(str, written))
    tell(f"mean HAAQI {mean:.4f}, pairs: {len(report.rows)}{of_all} ({report.n_found} found done): {names}")
