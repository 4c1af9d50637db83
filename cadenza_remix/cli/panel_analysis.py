"""The command that analyses the answers of a listening test: tables, figures, and what they mean in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadenza_remix.console import out, tell

if TYPE_CHECKING:
    from cadenza_remix.listen.panel.analysis import Analysis


def analyse(
    test: Annotated[Path, typer.Argument(metavar="TEST.sqlite", help="The answers; the test may be running.")],
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for CSV files and figures; TEST_analysis beside the answers by default."),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Show how often the other systems were preferred to this one.")
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option("--run", help="Results with scores: correlate the ratings with HAAQI; may be given again."),
    ] = None,
    no_screening: Annotated[
        bool, typer.Option("--no-screening", help="Keep assessors that ITU-R BS.1534 excludes (MUSHRA).")
    ] = False,
) -> None:
    """Analyse a listening test.

    Excludes assessors as ITU-R BS.1534-3 says, and shows means and preference shares with bootstrap intervals, paired
    tests with Holm's correction, how well assessors agree with themselves and, with --run, with HAAQI. Confirmed trials
    count, those for training do not.
    """
    from cadenza_remix.atomic import check_writable
    from cadenza_remix.listen.panel.analysis import analyse as analyse_answers
    from cadenza_remix.listen.panel.analysis_tables import print_analysis
    from cadenza_remix.listen.panel.answer_table import read_answers
    from cadenza_remix.listen.panel.haaqi_correlation import haaqi_of

    answers = read_answers(test)
    haaqi = None
    if run:
        from cadenza_remix.runs.finished import find_all_runs

        haaqi = haaqi_of(find_all_runs(run))
    found = analyse_answers(answers, screening=not no_screening, against=against, haaqi=haaqi)
    folder = out_folder if out_folder is not None else test.with_name(f"{test.stem}_analysis")
    check_writable(folder)
    print_analysis(found, out)
    tell(f"{len(_write(found, folder))} files: {folder}")


def _write(analysis: Analysis, folder: Path) -> list[str]:
    """Write all files together, remove those of an earlier analysis that this one has not, return the names."""
    from cadenza_remix.atomic import all_at_once
    from cadenza_remix.listen.panel.analysis_figures import plot_means, plot_preferences
    from cadenza_remix.listen.panel.analysis_tables import CSV_FILES, FINDINGS_FILE, csv_tables, write_csv
    from cadenza_remix.listen.panel.findings import findings

    tables = csv_tables(analysis)
    plots = {"means": plot_means} if len(analysis.means) else {}
    plots |= {"preference": plot_preferences} if len(analysis.preference) else {}
    figures = {f"{name}.{form}": plot for name, plot in plots.items() for form in ("png", "svg")}
    names = [*tables, *figures, FINDINGS_FILE]
    with all_at_once([folder / name for name in names]) as temporaries:
        for name, temporary in zip(names, temporaries, strict=True):
            if name in tables:
                write_csv(tables[name], temporary)
            elif name in figures:
                figures[name](analysis, temporary)
            else:
                temporary.write_text("\n".join(findings(analysis)) + "\n", encoding="utf-8")
    figure_names = [f"{name}.{form}" for name in ("means", "preference") for form in ("png", "svg")]
    for name in {*CSV_FILES, *figure_names} - set(names):
        (folder / name).unlink(missing_ok=True)
    return names
