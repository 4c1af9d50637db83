"""Systems side by side: paired differences to one of them, with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from cadenza_remix.report.comparison import Comparison
from cadenza_remix.report.figures import plot_differences
from cadenza_remix.report.page.contents import Contents, group_row
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
_MOST_OPEN = 4
_METRICS = (("haaqi", "HAAQI", 3), ("snr_db", "SNR in dB", 1), ("sdr_db", "SDR in dB", 1))


def comparison_section(contents: Contents) -> Html:
    """Return, for each system, its paired differences to the one that all are compared with."""
    notes = [missing(note) for note in contents.notes]
    if not contents.comparisons:
        few = missing("Fewer than two scored systems: there is nothing to compare.")
        return join(*notes, few if len(contents.scores) < 2 else None)
    tables = [_summary(contents)]
    systems = {run.name for run in contents.systems} or set(contents.comparisons)
    for name, comparison in contents.comparisons.items():
        is_open = name in systems and len(contents.comparisons) <= _MOST_OPEN
        ordered = _by_hearing_loss(comparison, list(contents.listeners))
        tables.append(_details(name, str(contents.against), ordered, is_open=is_open))
    return join(*notes, *tables)


def _summary(contents: Contents) -> Html:
    columns = [Column("system"), Column("its HAAQI"), Column(f"HAAQI of {contents.against}"),
               Column("difference", 3, signed=True), Column("higher in", 0, unit="% of values"),
               Column("SNR difference", 1, signed=True, unit="dB"), Column("SDR difference", 1, signed=True, unit="dB"),
               Column("common pairs", 0)]  # fmt: skip
    unlike = any(of.n_only_this or of.n_only_other for of in contents.comparisons.values())
    if unlike:
        columns += [Column("pairs only here", 0), Column(f"only in {contents.against}", 0)]
    rows: list[list[Cell]] = []
    for name, comparison in contents.comparisons.items():
        whole = {metric: group_row(comparison.table, metric, "all", "all") for metric, _, _ in _METRICS}
        haaqi = whole["haaqi"] or {}
        others = [interval_cell(whole[metric], "difference") for metric in ("snr_db", "sdr_db")]
        counts = [comparison.n_common]
        if unlike:
            counts += [comparison.n_only_this, comparison.n_only_other]
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


def _by_hearing_loss(comparison: Comparison, listeners: Sequence[str]) -> Comparison:
    """Return a comparison whose listeners stand in this order, as they do everywhere on the page."""
    table, order = comparison.table, list(range(len(comparison.table)))
    rank = {name: place for place, name in enumerate(listeners)}
    is_listener = table["factor"] == "listener"
    for metric in table["metric"].unique():
        places = np.flatnonzero(is_listener & (table["metric"] == metric)).tolist()
        for place, wanted in zip(places, sorted(places, key=lambda row: rank[table["level"].iloc[row]]), strict=True):
            order[place] = wanted
    return dataclasses.replace(comparison, table=table.iloc[order].reset_index(drop=True))


def _details(name: str, against: str, comparison: Comparison, *, is_open: bool) -> Html:
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
    return element("details", element("summary", f"{name} against {against}, by group"), figure, body, open=is_open)
