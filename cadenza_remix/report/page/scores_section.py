"""The scores: by system, stem, ear, severity, genre, listener and song, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.challenge.naming import channel_name
from cadenza_remix.hearing.severity import GRADES, better_ear_average, listener_grade
from cadenza_remix.report.figures import plot_factor, plot_listeners
from cadenza_remix.report.page.contents import Contents
from cadenza_remix.report.page.data_table import Cell, Column, Interval, data_table
from cadenza_remix.report.page.markup import Html, counted, element, join, missing, packed_json
from cadenza_remix.report.page.packed_values import packed_values
from cadenza_remix.report.page.pictures import picture
from cadenza_remix.report.statistics import FEW_CLUSTERS, is_from_few

INTERVALS = "Small numbers: 95 % interval of the mean (* from too few songs or listeners, hence too narrow)."
HOW_INTERVALS = (
    "Small numbers are the ends of the 95 % interval of the mean, from resampling songs and listeners (pigeonhole "
    f"bootstrap); * marks intervals from fewer than {FEW_CLUSTERS} songs or listeners, which are too narrow; without "
    "ends there was only one of each."
)
_CHANNELS = [("both", stem, "stem", stem) for stem in STEMS] + [
    (ear, stem, "stem_ear", channel_name(ear, stem)) for ear in EARS for stem in STEMS
]


def scores_section(contents: Contents) -> Html:
    """Return charts and tables of all scored runs."""
    unscored = [run.name for run in contents.runs if run.name not in contents.scores]
    note = missing(f"Not scored: {', '.join(unscored)}.") if unscored else None
    if not contents.scores:
        return join(missing("No run has score records: score them with the command score."))
    return join(note, _overall(contents), _by_channel(contents), _by_severity(contents), _by_genre(contents),
                _by_listener(contents), _by_song(contents), _every_value(contents))  # fmt: skip


def interval_cell(row: Mapping[Any, Any] | None, column: str = "mean") -> Interval | None:
    """Return a mean or difference of a summary with its interval, None where there is none."""
    return None if row is None else Interval(row[column], row["low"], row["high"], is_from_few(row))


def _overall(contents: Contents) -> Html:
    columns = [Column("system"), Column("HAAQI"), Column("left ear"), Column("right ear"), Column("SNR", 1, unit="dB"),
               Column("SDR", 1, unit="dB"), Column("songs", 0), Column("listeners", 0), Column("pairs", 0)]  # fmt: skip
    rows: list[list[Cell]] = []
    for name, scores in contents.scores.items():
        whole = scores.mean("haaqi", "all", "all")
        ears = [interval_cell(scores.mean("haaqi", "ear", ear)) for ear in EARS]
        others = [interval_cell(scores.mean(metric, "all", "all")) for metric in ("snr_db", "sdr_db")]
        counts = [len({pair.song for pair in scores.means}), len({pair.listener for pair in scores.means})]
        rows.append([name, interval_cell(whole), *ears, *others, *counts, len(scores.means)])
    explanation = (
        "HAAQI runs from 0 to 1; higher is better. It compares each enhanced stem of each ear with the clean stem "
        "amplified by that ear’s NAL-R. SNR and SDR are means over the stems against the same reference, in dB. "
    )
    return join(
        data_table("scores", "Scores of each system", columns, rows, explanation=explanation + HOW_INTERVALS),
        _factor_picture(contents, "stem", "Mean HAAQI of each stem"),
    )


def _factor_picture(contents: Contents, factor: str, caption: str) -> Html:
    summaries = {name: scores.summary for name, scores in contents.scores.items()}
    return picture(
        caption, f"{caption} by system, with intervals. The numbers stand in the tables.",
        plot_factor, summaries, factor,
        explanation="A mark is a mean, its whisker the 95 % interval; further right is better.",
    )  # fmt: skip


def _by_channel(contents: Contents) -> Html:
    metrics = (("haaqi", "HAAQI", 3, ""), ("snr_db", "SNR", 1, "dB"), ("sdr_db", "SDR", 1, "dB"))
    tables = []
    for metric, title, decimals, unit in metrics:
        having = {name: of for name, of in contents.scores.items() if of.mean(metric, "all", "all")}
        rows: list[list[Cell]] = [
            [stem, ear, *(interval_cell(scores.mean(metric, factor, level)) for scores in having.values())]
            for ear, stem, factor, level in _CHANNELS
        ]
        if having:
            columns = [Column("stem"), Column("ear"), *(Column(name, decimals, unit=unit) for name in having)]
            name, words = f"{metric.partition('_')[0]}-by-stem-and-ear", f"{title} by stem and ear"
            explanation = f"One column for each system. {INTERVALS}" if metric == "haaqi" else _SNR_WORDS
            table = data_table(name, words, columns, rows, explanation=explanation)
            tables.append(table if metric == "haaqi" else element("details", element("summary", words), table))
    return join(element("h3", "By stem and ear"), *tables)


_SNR_WORDS = "In dB, against the clean stem with the listener’s NAL-R; a stem that is silent there has no value."


def _of_each(contents: Contents) -> list[Column]:
    return [Column(name) for name in contents.scores]


def _by_severity(contents: Contents) -> Html | None:
    rows: list[list[Cell]] = []
    for factor, title in (("severity", "ear"), ("severity_better_ear", "person (better ear)")):
        for grade in GRADES:
            found = [scores.mean("haaqi", factor, grade) for scores in contents.scores.values()]
            if any(found):
                rows.append([title, grade, *(interval_cell(row) for row in found)])
    columns = [Column("whose"), Column("hearing loss"), *_of_each(contents)]
    explanation = (
        "Grades of the World Health Organization by the mean of 0.5, 1, 2 and 4 kHz: of the ear that a value belongs "
        "to, and of the person’s better ear. " + INTERVALS
    )
    table = data_table("haaqi-by-severity", "HAAQI by hearing loss", columns, rows, explanation=explanation)
    return join(element("h3", "By hearing loss"), table) if rows else None


def _by_genre(contents: Contents) -> Html | None:
    levels = _levels(contents, "genre")
    if not levels:
        return None
    rows: list[list[Cell]] = [
        [level, *(interval_cell(scores.mean("haaqi", "genre", level)) for scores in contents.scores.values())]
        for level in levels
    ]
    table = data_table(
        "haaqi-by-genre", "HAAQI by genre", [Column("genre"), *_of_each(contents)], rows, explanation=INTERVALS
    )
    return join(element("h3", "By genre"), table)


def _by_listener(contents: Contents) -> Html:
    """Return a row for each listener, as entries of the challenge show them."""
    differences = _differences(contents, "listener")
    columns = [Column("listener"), Column("hearing loss"), Column("better ear", 1, unit="dB HL"), *_of_each(contents)]
    columns += [Column(f"{other} minus {contents.against}", 3, signed=True) for other in differences]
    rows: list[list[Cell]] = []
    known = set(_levels(contents, "listener"))
    for name in (name for name in contents.listeners if name in known):
        listener = contents.listeners[name]
        means = [interval_cell(scores.mean("haaqi", "listener", name)) for scores in contents.scores.values()]
        gained = [interval_cell(rows_of.get(name), "difference") for rows_of in differences.values()]
        rows.append([name, listener_grade(listener), better_ear_average(listener), *means, *gained])
    explanation = (
        "From the least hearing loss to the greatest; means over songs, stems and ears. Better ear: its mean hearing "
        "level at 0.5, 1, 2 and 4 kHz. Differences are of the songs that both systems have. " + INTERVALS
    )
    figure = picture(
        "HAAQI of each listener",
        "Mean HAAQI of each listener by system, a row for each listener. The numbers stand in the table below.",
        plot_listeners, {name: scores.tidy for name, scores in contents.scores.items()}, listeners=contents.listeners,
        explanation="A row is a listener, from the least hearing loss to the greatest; a mark is the mean of a system.",
    )  # fmt: skip
    return join(
        element("h3", "By listener"),
        figure,
        data_table("haaqi-by-listener", "HAAQI of each listener", columns, rows, explanation=explanation),
    )


def _by_song(contents: Contents) -> Html:
    differences = _differences(contents, "song")
    columns = [Column("song"), *_of_each(contents)]
    columns += [Column(f"{other} minus {contents.against}", 3, signed=True) for other in differences]
    rows: list[list[Cell]] = []
    for name in _levels(contents, "song"):
        means = [interval_cell(scores.mean("haaqi", "song", name)) for scores in contents.scores.values()]
        rows.append([name, *means, *(interval_cell(of.get(name), "difference") for of in differences.values())])
    explanation = "Means over listeners, stems and ears. " + INTERVALS
    return join(
        element("h3", "By song"),
        data_table("haaqi-by-song", "HAAQI of each song", columns, rows, explanation=explanation),
    )


def _every_value(contents: Contents) -> Html:
    label = "Save every value as CSV"
    button = element("button", label, type="button", class_="save wide", data_values="every-value")
    n_values = sum(len(scores.tidy) for scores in contents.scores.values())
    text = f"{counted(n_values, 'value')} of HAAQI, SNR and SDR: by system, song, listener, ear and stem."
    return element(
        "div", element("h3", "Every value"), element("p", text, " ", button),
        packed_json("every-value", packed_values(contents.scores)), class_="everything",
    )  # fmt: skip


def _levels(contents: Contents, factor: str) -> list[str]:
    found: dict[str, None] = {}
    for scores in contents.scores.values():
        chosen = scores.summary[(scores.summary["metric"] == "haaqi") & (scores.summary["factor"] == factor)]
        found.update(dict.fromkeys(chosen["level"]))
    return sorted(found)


def _differences(contents: Contents, factor: str) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return rows of differences by system and level; the unprocessed mixture and the upper bound only in their own."""
    systems = {run.name for run in contents.systems}
    found = {}
    for name, comparison in contents.comparisons.items():
        if systems and name not in systems:
            continue
        table = comparison.table
        rows = table[(table["metric"] == "haaqi") & (table["factor"] == factor)].to_dict("records")
        found[name] = {str(row["level"]): row for row in rows}
    return found  # type: ignore[return-value]
