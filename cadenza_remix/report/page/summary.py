"""In short: what was run, the headline numbers with one figure, and what to bear in mind."""

from __future__ import annotations

from cadenza_remix.report.figures import plot_factor
from cadenza_remix.report.page.caveats import caveats
from cadenza_remix.report.page.contents import Contents, group_row
from cadenza_remix.report.page.data_table import Column, Interval, shown_interval
from cadenza_remix.report.page.markup import Html, counted, element, join, missing, paragraph
from cadenza_remix.report.page.pictures import picture
from cadenza_remix.report.page.scores_section import INTERVALS, interval_cell
from cadenza_remix.runs.finished import UNPROCESSED, UPPER_BOUND

_ROLES = {UNPROCESSED: " (unprocessed)", UPPER_BOUND: " (clean stems, upper bound)"}


def summary(contents: Contents) -> Html:
    """Return a few sentences, one figure and the caveats."""
    told = caveats(contents)
    bear = [element("h3", "Bear in mind"), element("ul", *(element("li", words) for words in told), class_="caveats")]
    return join(_what(contents), *_headline(contents), *(bear if told else []))


def _what(contents: Contents) -> Html:
    n_songs = len({song for run in contents.runs for song in run.songs})
    systems = [run.name for run in contents.systems]
    words = f"{counted(n_songs, 'song')} for {counted(len(contents.listeners), 'listener')}"
    if systems:
        words += f", enhanced by {counted(len(systems), 'system')} ({', '.join(systems)})"
    separators = list(dict.fromkeys(name for run in contents.runs for name in run.separators))
    return paragraph(f"{words}, separated by {', '.join(separators)}." if separators else f"{words}.")


def _headline(contents: Contents) -> list[Html]:
    if not contents.scores:
        return [missing("Nothing was scored.")]
    items = [element("li", *_numbers(contents, name)) for name in contents.scores]
    summaries = {name: scores.summary for name, scores in contents.scores.items()}
    if not any(scores.mean("haaqi", "all", "all") for scores in contents.scores.values()):
        return [missing("No value of HAAQI is defined.")]
    figure = picture(
        "Mean HAAQI of each system",
        "Mean HAAQI of each system with its interval. The numbers stand in the list above.",
        plot_factor, summaries, "all",
        explanation=f"HAAQI runs from 0 to 1, higher is better; a whisker is the 95 % interval. {INTERVALS}",
    )  # fmt: skip
    return [element("ul", *items, class_="headline"), figure]


def _numbers(contents: Contents, name: str) -> list[object]:
    """Return the mean of a system, and its difference to the one that all are compared with."""
    mean = interval_cell(contents.scores[name].mean("haaqi", "all", "all"))
    role = _ROLES.get(name.rpartition("/")[2], "") if name not in contents.measured else ""
    parts: list[object] = [element("strong", name), f"{role}: HAAQI ", *_interval(mean, Column("HAAQI"))]
    comparison = contents.comparisons.get(name)
    if comparison is not None:
        whole = group_row(comparison.table, "haaqi", "all", "all")
        if whole is not None:
            difference = interval_cell(whole, "difference")
            parts += ["; ", *_interval(difference, Column("difference", signed=True))]
            parts.append(f" against {contents.against}, higher in {100 * whole['share_higher']:.0f} % of values")
    return parts


def _interval(value: Interval | None, column: Column) -> list[object]:
    if value is None:
        return ["not defined"]
    shown, ends = shown_interval(value, column)
    return [shown] if ends is None else [shown, " ", element("span", f"({ends})", class_="unit")]
