"""Systems side by side: paired differences to one of them, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cadenza_remix.report.comparison import Comparison
from cadenza_remix.report.figures import plot_differences
from cadenza_remix.report.page.contents import Contents
from cadenza_remix.report.page.data_table import Cell, Column, data_table
from cadenza_remix.report.page.markup import Html, element, join, missing
from cadenza_remix.report.page.pictures import picture
from cadenza_remix.report.page.scores_section import INTERVALS, interval_cell

_FACTORS = {
    "all": "all",
    "ear": "ear",
    "stem": "stem",
    "stem_ear": "stem and ear",
    "severity": "hearing loss of the ear",
    "severity_better_ear": "hearing loss of the better ear",
    "genre": "genre",
}
_METRICS = (("haaqi", "HAAQI", 3), ("snr_db", "SNR in dB", 1), ("sdr_db", "SDR in dB", 1))


def comparison_section(contents: Contents) -> Html:
    """Return, for each system, its paired differences to the one that all are compared with."""
    notes = [missing(note) for note in contents.notes]
    if not contents.comparisons:
        return join(*notes, missing("Only one scored system: there is nothing to compare it with."))
    tables = [_summary(contents)]
    for name, comparison in contents.comparisons.items():
        tables.append(_details(name, str(contents.against), comparison))
    return join(*notes, *tables)


def _summary(contents: Contents) -> Html:
    columns = [Column("system"), Column("its HAAQI"), Column(f"HAAQI of {contents.against}"),
               Column("difference", 3, signed=True), Column("higher in", 0, unit="% of values"),
               Column("SNR difference", 1, signed=True, unit="dB"), Column("SDR difference", 1, signed=True, unit="dB"),
               Column("common pairs", 0), Column("only here", 0), Column("only there", 0)]  # fmt: skip
    rows: list[list[Cell]] = []
    for name, comparison in contents.comparisons.items():
        whole = {metric: _row(comparison, metric, "all", "all") for metric, _, _ in _METRICS}
        haaqi = whole["haaqi"] or {}
        others = [interval_cell(whole[metric], "difference") for metric in ("snr_db", "sdr_db")]
        counts = [comparison.n_common, comparison.n_only_this, comparison.n_only_other]
        share = haaqi.get("share_higher")
        rows.append([name, haaqi.get("mean_this"), haaqi.get("mean_other"),
                     interval_cell(whole["haaqi"], "difference"), None if share is None else 100 * share, *others,
                     *counts])  # fmt: skip
    explanation = (
        f"Only values that both systems have (same song, listener, ear and stem) are compared; a difference is the "
        f"system minus {contents.against}. An interval that does not hold 0 tells a difference that another choice of "
        "songs and listeners would hardly turn round. " + INTERVALS
    )
    return data_table("differences", f"Each system against {contents.against}", columns, rows, explanation=explanation)


def _row(comparison: Comparison, metric: str, factor: str, level: str) -> Mapping[Any, Any] | None:
    table = comparison.table
    rows = table[(table["metric"] == metric) & (table["factor"] == factor) & (table["level"] == level)]
    return rows.iloc[0].to_dict() if len(rows) and rows.iloc[0]["n_values"] else None


def _details(name: str, against: str, comparison: Comparison) -> Html:
    table = comparison.table[comparison.table["metric"] == "haaqi"]
    rows: list[list[Cell]] = []
    for row in table.to_dict("records"):
        if row["factor"] in _FACTORS and row["n_values"]:
            level = str(row["level"]).replace("_", " ") if row["factor"] == "stem_ear" else str(row["level"])
            rows.append([_FACTORS[row["factor"]], level, row["mean_other"], row["mean_this"],
                         interval_cell(row, "difference"), 100 * row["share_higher"], row["n_values"]])  # fmt: skip
    columns = [Column("by"), Column("group"), Column(against), Column(name), Column("difference", 3, signed=True),
               Column("higher in", 0, unit="%"), Column("values", 0)]  # fmt: skip
    body = data_table(
        f"difference-{name}", f"HAAQI: {name} against {against}", columns, rows,
        explanation="Differences by listener and by song stand in the tables of the scores.",
    )  # fmt: skip
    figure = picture(
        f"HAAQI: {name} minus {against}",
        f"Mean paired difference of HAAQI of {name} against {against} by group, with intervals.",
        plot_differences, comparison, this=name, other=against,
        explanation=f"To the right of zero {name} is higher. Full marks: the interval leaves out zero.",
    )  # fmt: skip
    return element("details", element("summary", f"{name} against {against}, by group"), figure, body, open=True)
