"""The tables of an analysis: on the screen within 80 columns, and as CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadenza_remix.listen.panel.analysis import Analysis
from cadenza_remix.listen.panel.answer_table import is_control, stimulus_name
from cadenza_remix.listen.panel.findings import ALPHA, findings, shown_p
from cadenza_remix.report.statistics import FEW_CLUSTERS, extremes

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

CSV_FILES = ("ratings.csv", "means.csv", "tests.csv", "preference.csv", "repeats.csv", "correlation.csv")
FINDINGS_FILE = "findings.txt"
_MOST_SCALES_IN_FULL = 2
"""Of more scales than this the groups by song and hearing loss stand in the CSV files alone."""

_FACTOR_TITLES = {"song": "by song", "severity": "by hearing loss"}


def csv_tables(analysis: Analysis) -> dict[str, pd.DataFrame]:
    """Return the tables by the name of their file; empty ones (a type of test that has none) are left out."""
    correlation = analysis.correlation
    kept = set(analysis.ratings["participant"])
    ratings = analysis.answers.ratings
    tables = dict(
        zip(
            CSV_FILES,
            (
                ratings.assign(is_kept=[int(number in kept) for number in ratings["participant"]]),
                analysis.means,
                analysis.tests,
                analysis.preference,
                analysis.repeats,
                correlation if correlation is not None else ratings.iloc[:0],
            ),
            strict=True,
        )
    )
    return {name: table for name, table in tables.items() if len(table)}


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table with six decimals, in UTF-8; ``path`` is taken as it is (see `cadenza_remix.atomic`)."""
    table.to_csv(path, index=False, float_format="%.6f", lineterminator="\n", encoding="utf-8")


def print_analysis(analysis: Analysis, console: Console) -> None:
    """Print all tables, and then in words what was found; fits 80 columns."""
    for scale in analysis.answers.scales:
        for table in (_means_table(analysis, scale), _preference_table(analysis, scale)):
            if table is not None:
                console.print(table)
    for table in (_tests_table(analysis), _correlation_table(analysis)):
        if table is not None:
            console.print(table)
    for line in findings(analysis):
        console.print(line, markup=False)


def _means_table(analysis: Analysis, scale: str) -> Table | None:
    rows = analysis.means[analysis.means["scale"] == scale]
    if rows.empty:
        return None
    table = _new_table(
        f"{analysis.answers.label(scale)} (0 to 100)",
        ("mean\n[95 % interval]", "median\n(quartiles)", "assessors\nx songs", "ratings"),
        note=_few_note(rows),
    )
    _add_means(table, rows[rows["factor"] == "all"], "all")
    systems = rows[~rows["system"].map(is_control)]
    for factor in ("severity", "song") if len(analysis.answers.scales) <= _MOST_SCALES_IN_FULL else ():
        part = systems[systems["factor"] == factor]
        if part["level"].nunique() > 1:
            _add_means(table, part, factor)
    return table


def _add_means(table: Table, part: pd.DataFrame, factor: str) -> None:
    if factor == "all":
        for row in part.to_dict("records"):
            table.add_row(_escaped(stimulus_name(row["system"])), *_mean_cells(row))
        return
    # Of many songs only those with the lowest and the highest mean over the systems are printed.
    means = part.groupby("level", sort=False)["mean"].mean().reset_index()
    heading, groups = extremes(means, "mean", title=_FACTOR_TITLES[factor])
    table.add_section()
    table.add_row(heading, style="italic")
    for place, group in enumerate(groups):
        if place:
            table.add_row("  ...")
        for level in group["level"]:
            table.add_row(f"  {_escaped(level)}")
            for row in part[part["level"] == level].to_dict("records"):
                table.add_row(f"    {_escaped(stimulus_name(row['system']))}", *_mean_cells(row))


def _mean_cells(row: dict[Any, Any]) -> tuple[str, ...]:
    return (
        _escaped(_with_interval(row, "mean", ".1f")),
        f"{row['median']:.0f} ({row['quartile_1']:.0f}-{row['quartile_3']:.0f})",
        f"{row['n_assessors']} x {row['n_songs']}",
        str(row["n_ratings"]),
    )


def _tests_table(analysis: Analysis) -> Table | None:
    if analysis.tests.empty:
        return None
    table = _new_table(
        "Differences of systems (points)",
        ("difference\n[95 % interval]", "p", "p (Holm)"),
        note=f"p: sign flips of whole assessors. ** below {ALPHA:g}, Holm-corrected over {len(analysis.tests)}.",
    )
    for scale in analysis.answers.scales:
        rows = analysis.tests[analysis.tests["scale"] == scale]
        if len(analysis.answers.scales) > 1:
            table.add_section()
            table.add_row(_escaped(analysis.answers.label(scale)), style="italic")
        for row in rows.to_dict("records"):
            table.add_row(
                _escaped(f"{row['system']} - {row['other']}"),
                _escaped(_with_interval(row, "difference", "+.1f")),
                _short_p(row["p"]),
                _short_p(row["p_holm"], mark=True),
            )
    return table


def _preference_table(analysis: Analysis, scale: str) -> Table | None:
    rows = analysis.preference[analysis.preference["scale"] == scale]
    if rows.empty:
        return None
    title = f"Preferred to {analysis.against} (%)"
    if analysis.answers.type != "ab":
        title = f"{analysis.answers.label(scale)}: rated above {analysis.against} (%)"
    table = _new_table(
        _escaped(title),
        ("share\n[95 % interval]", "for/tie/\nagainst", "assessors\nx songs", "p (Holm)"),
        note=f"Ties count as half. {_few_note(rows)}",
    )
    for system in dict.fromkeys(rows["system"]):
        part = rows[rows["system"] == system]
        for factor in ("all", "severity", "song"):
            chosen = part[part["factor"] == factor]
            if factor != "all" and (len(chosen) < 2 or len(analysis.answers.scales) > _MOST_SCALES_IN_FULL):
                continue
            _add_shares(table, chosen, "" if factor == "all" else _FACTOR_TITLES[factor])
    return table


def _add_shares(table: Table, rows: pd.DataFrame, title: str) -> None:
    heading, groups = extremes(rows, "share", title=title)
    if title:
        table.add_row(f"  {heading}", style="italic")
    else:
        table.add_section()
    for place, group in enumerate(groups):
        if place:
            table.add_row("    ...")
        for row in group.to_dict("records"):
            in_percent: dict[Any, Any] = {**row, **{name: 100 * row[name] for name in ("share", "low", "high")}}
            table.add_row(
                f"    {_escaped(row['level'])}" if title else _escaped(row["system"]),
                _escaped(_with_interval(in_percent, "share", ".0f")),
                f"{row['n_for']}/{row['n_ties']}/{row['n_against']}",
                f"{row['n_assessors']} x {row['n_songs']}",
                _short_p(row["p_holm"], mark=True),
            )


def _correlation_table(analysis: Analysis) -> Table | None:
    found = analysis.correlation
    if found is None or found["spearman"].isna().all():
        return None
    table = _new_table(
        "Ratings and HAAQI",
        ("Spearman\n[95 % interval]", "Pearson\n[95 % interval]", "points"),
        note="Points: songs x listeners x systems. -: too few of them.",
    )
    for scale in dict.fromkeys(found["scale"]):
        if found["scale"].nunique() > 1:
            table.add_section()
            table.add_row(_escaped(analysis.answers.label(str(scale))), style="italic")
        for row in found[found["scale"] == scale].to_dict("records"):
            cells = []
            for name in ("spearman", "pearson"):
                low, high = row[f"{name}_low"], row[f"{name}_high"]
                ends = f" [{low:+.2f}, {high:+.2f}]" if low == low else " [-]"
                cells.append(_escaped(f"{row[name]:+.2f}{ends}") if row[name] == row[name] else "-")
            table.add_row(_escaped(stimulus_name(row["level"])), *cells, str(row["n_points"]))
    return table


def _new_table(title: str, headings: Sequence[str], *, note: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, caption=note or None, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold", min_width=16)
    for heading in headings:
        table.add_column(_escaped(heading), justify="right", no_wrap=True)
    return table


def _with_interval(row: dict[Any, Any], name: str, form: str) -> str:
    if row["low"] != row["low"]:
        return f"{row[name]:{form}} [-]"
    few = "*" if any(1 < row[count] < FEW_CLUSTERS for count in ("n_assessors", "n_songs")) else ""
    return f"{row[name]:{form}} [{row['low']:{form}}, {row['high']:{form}}]{few}"


def _few_note(rows: pd.DataFrame) -> str:
    few = any(1 < n < FEW_CLUSTERS for name in ("n_assessors", "n_songs") for n in rows[name])
    return f"* from fewer than {FEW_CLUSTERS} assessors or songs: too narrow." if few else ""


def _short_p(p: float, *, mark: bool = False) -> str:
    if p != p:
        return ""
    return shown_p(p).removeprefix("p = ").removeprefix("p ") + ("**" if mark and p < ALPHA else "")


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
