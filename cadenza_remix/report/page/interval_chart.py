"""A chart of means with their intervals, as inline SVG that takes the page's colours, light or dark, and paper's.

Systems differ by colour and by the form of their mark, so that it can be read in black and white.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cadenza_remix.report.page.markup import Html, element, escaped, join

_WIDTH, _LEFT, _RIGHT, _TOP, _HEIGHT = 860, 46, 12, 12, 230
_TEXT_BELOW, _LEGEND_STEP = 22, 22
_N_STYLES = 6


@dataclass(frozen=True)
class Series:
    """One system: a row of a summary (``mean``, ``low``, ``high``) for each group, None where it has none."""

    name: str
    rows: Sequence[Mapping[str, Any] | None]


def interval_chart(title: str, groups: Sequence[str], series: Sequence[Series], *, top: float = 1.0) -> Html:
    """Return the chart of values from 0 to ``top``; groups along, a mark for each series.

    Parameters
    ----------
    title : str
        Read out in place of the picture, followed by the values.
    groups : sequence of str
    series : sequence of Series
    top : float
        Upper end of the axis.
    """
    step = (_WIDTH - _LEFT - _RIGHT) / len(groups)

    def y_of(value: float) -> float:
        return round(_TOP + _HEIGHT * (1 - min(max(value / top, 0.0), 1.0)), 1)

    parts: list[Html] = [_grid(top, y_of)]
    for place, group in enumerate(groups):
        middle = _LEFT + step * (place + 0.5)
        parts.append(_text(group, middle, _TOP + _HEIGHT + 18, "middle"))
        for number, one in enumerate(series):
            x = round(middle + step * 0.72 * ((number + 0.5) / len(series) - 0.5), 1)
            row = one.rows[place]
            if row is not None:
                parts.append(_whisker(number, x, row, y_of, f"{one.name}, {group}"))
    legend, height = _legend(series)
    total = _TOP + _HEIGHT + _TEXT_BELOW + height
    return element(
        "svg",
        element("title", f"{title}. {_in_words(groups, series)}"),
        *parts,
        legend,
        viewBox=f"0 0 {_WIDTH} {total}",
        role="img",
        class_="chart",
    )


def _grid(top: float, y_of: Any) -> Html:
    lines = []
    for tenth in range(0, 11, 2):
        value = top * tenth / 10
        y = y_of(value)
        kind = "axis" if tenth == 0 else "grid"
        lines.append(element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_=kind))
        lines.append(_text(f"{value:g}", _LEFT - 8, y + 4, "end"))
    return element("g", *lines)


def _whisker(number: int, x: float, row: Mapping[str, Any], y_of: Any, label: str) -> Html:
    low, high, y = row["low"], row["high"], y_of(row["mean"])
    parts = [element("title", f"{label}: {row['mean']:.3f}")]
    if low == low and high == high:
        ends = y_of(low), y_of(high)
        parts.append(element("line", x1=x, x2=x, y1=ends[0], y2=ends[1]))
        parts += [element("line", x1=x - 4, x2=x + 4, y1=end, y2=end) for end in ends]
    return element("g", *parts, _mark(number, x, y), class_=f"series-{number % _N_STYLES}")


def _mark(number: int, x: float, y: float) -> Html:
    """Return a circle, square, diamond or triangle, filled or (every second) hollow."""
    kind, size = number % _N_STYLES, 5.5
    hollow = "mark hollow" if kind % 2 else "mark"
    if kind < 2:
        return element("circle", cx=x, cy=y, r=size, class_=hollow)
    if kind < 4:
        return element("rect", x=x - size, y=y - size, width=2 * size, height=2 * size, class_=hollow)
    points = f"{x},{y - size - 1} {x + size + 1},{y + size} {x - size - 1},{y + size}"
    return element("polygon", points=points, class_=hollow)


def _legend(series: Sequence[Series]) -> tuple[Html, int]:
    """Return the names with their marks below the chart, as many to a line as there is room for, and the height."""
    parts, x, line = [], float(_LEFT), 0
    for number, one in enumerate(series):
        width = 34 + 7.4 * len(one.name)
        if x + width > _WIDTH and x > _LEFT:
            x, line = float(_LEFT), line + 1
        y = _TOP + _HEIGHT + _TEXT_BELOW + 18 + _LEGEND_STEP * line
        mark = element("g", _mark(number, x + 6, y - 4), class_=f"series-{number % _N_STYLES}")
        parts.append(join(mark, _text(one.name, x + 18, y, "start")))
        x += width
    return element("g", *parts), 26 + _LEGEND_STEP * line


def _text(content: str, x: float, y: float, anchor: str) -> Html:
    return element("text", content, x=round(x, 1), y=round(y, 1), text_anchor=anchor)


def _in_words(groups: Sequence[str], series: Sequence[Series]) -> Html:
    told = [
        f"{one.name}: " + ", ".join(f"{g} {row['mean']:.3f}" for g, row in zip(groups, one.rows, strict=True) if row)
        for one in series
    ]
    return escaped("; ".join(told))
