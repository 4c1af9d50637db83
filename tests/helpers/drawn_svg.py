"""What an SVG of a figure shows: ticks, marks, lines and words, back in the units of the data."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np

_SVG, _HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"


class DrawnSvg:
    """``axes[k]`` is the k-th panel; ``words`` all texts."""

    def __init__(self, content):
        self.root = ElementTree.fromstring(content)
        self.words = ["".join(element.itertext()).strip() for element in self.root.iter(f"{_SVG}text")]
        groups = [group for group in self.root.iter(f"{_SVG}g") if group.get("id", "").startswith("axes_")]
        self.axes = [DrawnAxes(group) for group in groups]


class DrawnAxes:
    """One panel: ``x_ticks`` and ``y_ticks`` map the words of ticks to places."""

    def __init__(self, group):
        self.group = group
        self.x_ticks, self.y_ticks = self._ticks("matplotlib.axis_", "x"), self._ticks("matplotlib.axis_", "y")
        self.artists = [part for part in group if "axis" not in part.get("id", "")]

    def _ticks(self, prefix, axis):
        ticks = {}
        for group in self.group.iter(f"{_SVG}g"):
            if re.fullmatch(rf"{axis}tick_\d+", group.get("id", "")):
                words = list(group.iter(f"{_SVG}text"))
                # Ticks without a mark are where their words are, but for half a line.
                marks = [*group.iter(f"{_SVG}use"), *words]
                if words:
                    ticks["".join(words[0].itertext()).strip()] = float(marks[0].get(axis))
        return ticks

    def marks(self, colour):
        """Places (x, y) of the marks whose outline has this colour, shape (n, 2)."""
        uses = [use for part in self.artists for use in part.iter(f"{_SVG}use")]
        drawn = [use for use in uses if f"stroke: {colour.lower()}" in use.get("style", "")]
        return np.array([[float(use.get("x")), float(use.get("y"))] for use in drawn]).reshape(-1, 2)

    def lines(self, colour):
        """Corners of each line of this colour: a list of arrays of shape (n, 2)."""
        found = []
        for part in self.artists:
            for path in part.iter(f"{_SVG}path"):
                style, corners = path.get("style", ""), re.findall(r"[ML] (\S+) (\S+)", path.get("d", ""))
                if f"stroke: {colour.lower()}" in style and "fill: none" in style and corners:
                    found.append(np.array(corners, dtype=float))
        return found

    def x_values(self, places):
        """Places along a linear abscissa as values."""
        return _values(self.x_ticks, places)

    def y_values(self, places):
        """Places along a linear ordinate as values."""
        return _values(self.y_ticks, places)

    def row_of(self, place):
        """The words of the tick nearest to a height."""
        return min(self.y_ticks, key=lambda name: abs(self.y_ticks[name] - place))


def _values(ticks, places):
    numbers = sorted((place, float(name.replace("\N{MINUS SIGN}", "-"))) for name, place in ticks.items())
    (first, low), (last, high) = numbers[0], numbers[-1]
    return low + (np.asarray(places) - first) * (high - low) / (last - first)
