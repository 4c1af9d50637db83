"""Tables that can be sorted, scrolled, printed and saved as CSV.

A cell shows a rounded number and carries the exact one, which the page's script sorts by and writes to CSV. An interval
is one cell on the page and three columns in the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cadenza_remix.report.page.markup import Html, element, how_to_read, join

_MANY_ROWS = 14
_DIGITS = 6
_LONG_TEXT = 16


@dataclass(frozen=True)
class Column:
    """One column: its heading, and for numbers the digits after the point and whether a plus sign is shown."""

    title: str
    decimals: int = 3
    signed: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Interval:
    """A number with the ends of its confidence interval; NaN where they are not known. ``few``: from too few songs."""

    value: float
    low: float
    high: float
    few: bool = False


Cell = str | float | int | None | Interval | Html


def data_table(
    name: str, caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, explanation: object = None
) -> Html:
    """Return a table with its heading, buttons and explanation.

    Parameters
    ----------
    name : str
        What the CSV file is called, without its ending; unique on the page.
    caption : str
    columns : sequence of Column
    rows : sequence of rows
        Each with a cell for each column; None and NaN are shown as a dash and left empty in the file.
    explanation : object, optional
        How to read it.
    """
    shapes = [any(isinstance(row[place], Interval) for row in rows) for place in range(len(columns))]
    numeric = [all(_is_number(row[place]) for row in rows) for place in range(len(columns))]
    head = element(
        "tr",
        *(
            _heading(column, is_interval, is_number)
            for column, is_interval, is_number in zip(columns, shapes, numeric, strict=True)
        ),
    )
    body = join(*(element("tr", *_cells(columns, numeric, row)) for row in rows))
    heading = element("caption", element("span", caption, class_="title"))
    table = element("table", heading, element("thead", head), element("tbody", body), id=_id(name), data_name=name)
    classes = "scroll tall" if len(rows) > _MANY_ROWS else "scroll"
    region = element("div", table, class_=classes, role="region", aria_label=caption, tabindex="0")
    label = f"Save “{caption}” as CSV"
    button = element("button", "CSV", type="button", class_="save", data_table=_id(name), title=label, aria_label=label)
    how = how_to_read(explanation) if explanation is not None else None
    return element("div", element("div", button, class_="bar"), region, how, class_="table")


def shown_number(value: float, column: Column) -> str:
    """Return a number for people: a true minus sign, a dash for what is not there.

    Examples
    --------
    >>> shown_number(-0.12345, Column("x")), shown_number(float("nan"), Column("x")), shown_number(2, Column("x", 0))
    ('−0.123', '–', '2')
    """
    if value != value:
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:{'+' if column.signed else ''},.{column.decimals}f}".replace(",", " ")
    if not text.strip("+-0. "):  # no "-0.000"
        text = text.lstrip("+-")
    return text.replace("-", "−")


def shown_interval(interval: Interval, column: Column) -> tuple[str, str | None]:
    """Return a number and the ends of its interval for people; None for ends that are not known.

    Examples
    --------
    >>> shown_interval(Interval(0.5, 0.4, 0.6, few=True), Column("x", 2))
    ('0.50', '0.40 to 0.60*')
    """
    known = interval.low == interval.low and interval.high == interval.high
    low, high = shown_number(interval.low, column), shown_number(interval.high, column)
    return shown_number(interval.value, column), f"{low} to {high}{'*' if interval.few else ''}" if known else None


def _heading(column: Column, is_interval: bool, is_number: bool) -> Html:
    unit = element("span", f" {column.unit}", class_="unit") if column.unit else None
    title = element("span", column.title, unit)
    button = element("button", title, element("span", class_="arrow", aria_hidden="true"), type="button", class_="sort")
    heading = f"{column.title} {column.unit}".strip()
    return element(
        "th",
        button,
        scope="col",
        class_="number" if is_number else None,
        data_csv=heading,
        data_interval=is_interval,
    )


def _cells(columns: Sequence[Column], numeric: Sequence[bool], row: Sequence[Cell]) -> list[Html]:
    """Return the cells of a row; the first one is the row's heading."""
    return [
        _cell("td" if place else "th", column, is_number, cell)
        for place, (column, is_number, cell) in enumerate(zip(columns, numeric, row, strict=True))
    ]


def _cell(tag: str, column: Column, is_number: bool, cell: Cell) -> Html:
    kind, scope = "number" if is_number else None, "row" if tag == "th" else None
    if isinstance(cell, Interval):
        shown, words = shown_interval(cell, column)
        ends = element("span", words, class_="ends") if words else None
        exact = " ".join(_exact(value) or "-" for value in (cell.value, cell.low, cell.high))
        return element(tag, shown, ends, class_=kind, scope=scope, data_v=exact)
    if cell is None:
        return element(tag, "–", class_=kind, scope=scope, data_v="")
    if isinstance(cell, str):
        return element(tag, cell, class_="long" if len(cell) > _LONG_TEXT else None, scope=scope)
    number = float(cell)
    return element(tag, shown_number(number, column), class_=kind, scope=scope, data_v=_exact(number))


def _exact(value: float) -> str:
    return f"{value:.{_DIGITS}g}" if math.isfinite(value) else ""


def _is_number(cell: Cell) -> bool:
    return cell is None or isinstance(cell, (int, float, Interval))


def _id(name: str) -> str:
    return "table-" + re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
