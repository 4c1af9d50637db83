"""How every figure looks and is saved: sizes, colours, marks, axes; PNG or SVG.

Drawn on figures of their own (never through pyplot), so that neither the caller's matplotlib settings nor its back end
matter or change. Matplotlib is imported only when a figure is drawn. Colours are those of Okabe & Ito (2008), which
differ for the colour-blind; every series has a marker, line or hatch of its own besides, for print in black and white.
The same data give the same bytes: files hold no date, and the identifiers inside an SVG come from a fixed salt.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from cadenza_remix.atomic import atomic_path
from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.report.tables import UNPROCESSED_CHAIN

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMS = ("png", "svg")
DPI = 200
PAGE_WIDTH_IN = 7.2
"""Width of figures that fill a page (A4 or letter with margins)."""

BLUE, VERMILION = "#0072B2", "#D55E00"
UNPROCESSED_GREY = "#DDDDDD"
_GREY = "#595959"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
HATCHES = ("", "////", "++++", "\\\\\\\\", "xxxx", "----", "||||")
"""Of lines only: each dot of a dotted one takes a kilobyte in an SVG."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1.2)), (0, (8, 2, 1, 2, 1, 2)), (0, (3, 1)))
FIGURE_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.markeredgewidth": 1.4,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
}
EAR_STYLES: dict[str, dict[str, Any]] = {
    # Audiologists draw the right ear as red circles and the left as blue crosses.
    "right": {"color": VERMILION, "marker": "o", "linestyle": "-", "markerfacecolor": "none", "markersize": 7},
    "left": {"color": BLUE, "marker": "x", "linestyle": "--", "markersize": 6.5},
}
_SVG_STYLE = {
    # Text stays text: a third of the size of drawn letters, found by a search and read aloud. DejaVu Sans is wide, so
    # that another font, where it is missing, takes less room.
    "svg.fonttype": "none",
    "svg.hashsalt": "cadenza-remix",
}
_SVG_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))

FigureFile = str | Path | BinaryIO
"""Where a figure goes: a path that ends in ``.png`` or ``.svg``, or a binary file with ``form`` beside it."""


@contextmanager
def saved_figure(
    file: FigureFile, *, width_in: float, height_in: float, form: str | None = None, dpi: int = DPI
) -> Iterator[Figure]:
    """Yield an empty figure; save it, whole or not at all, when the block ends well.

    Parameters
    ----------
    file : path or binary file
        The suffix of a path says the form.
    width_in, height_in : float
    form : str, optional
        ``png`` or ``svg``; needed for a binary file.
    dpi : int
        Dots per inch of a PNG, and of the pictures inside an SVG.

    Raises
    ------
    InputError
        Another suffix or form, or none; dots per inch outside 30 to 1200.
    OutputError
        The file cannot be written.
    """
    form = _form_of(file, form)
    if not 30 <= dpi <= 1200:
        raise InputError("wrong resolution", where="dpi", expected="30 to 1200 dots per inch", found=dpi)
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    settings.update(FIGURE_STYLE)
    settings.update(_SVG_STYLE)
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width_in, height_in), dpi=dpi, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
        metadata = {"Software": None} if form == "png" else _SVG_METADATA
        with warnings.catch_warnings():
            # Names of songs and systems may hold letters that no font has: they are drawn as boxes.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            if isinstance(file, (str, Path)):
                with atomic_path(file) as temporary:
                    figure.savefig(temporary, format=form, metadata=metadata)
            else:
                figure.savefig(file, format=form, metadata=metadata)


def figure_bytes(plot: Callable[..., None], *args: Any, form: str = "svg", **options: Any) -> bytes:
    """Return a figure as the bytes of a file.

    Parameters
    ----------
    plot : callable
        One of the ``plot_...`` functions; ``args`` are its arguments but for the path, which is the last of them.
    form : str
        ``svg`` or ``png``.
    options
        Its keyword arguments.

    Examples
    --------
    >>> from cadenza_remix.report.figures import plot_stage_times
    >>> figure_bytes(plot_stage_times, {"e016": {"separate": 12.0, "enhance": 3.5}})[:5]
    b'<?xml'
    """
    file = io.BytesIO()
    plot(*args, file, form=form, **options)
    return file.getvalue()


def _form_of(file: FigureFile, form: str | None) -> str:
    if form is not None and form not in FORMS:
        raise unknown_name("form of a figure", form, FORMS)
    if not isinstance(file, (str, Path)):
        if form is None:
            raise InputError("a binary file needs a form", where="form", expected=" or ".join(FORMS))
        return form
    suffix = Path(file).suffix.lower().removeprefix(".")
    if suffix not in FORMS or form not in (None, suffix):
        expected = " or ".join(f".{name}" for name in ([form] if form else FORMS))
        raise InputError("wrong kind of figure", where=file, expected=expected, found=Path(file).suffix or "no suffix")
    return suffix


def series_numbers(names: Iterable[str]) -> dict[str, int | None]:
    """Return the number by which each system gets its colour and mark: None for the mixture, which is grey everywhere.

    So the same systems look the same in every figure, whether the mixture stands among them or not.

    Examples
    --------
    >>> series_numbers(["mixture", "baseline", "e016"])
    {'mixture': None, 'baseline': 0, 'e016': 1}
    """
    numbers: dict[str, int | None] = {}
    for name in names:
        is_unprocessed = name.rsplit("/", maxsplit=1)[-1] == UNPROCESSED_CHAIN
        numbers[name] = None if is_unprocessed else sum(number is not None for number in numbers.values())
    return numbers


def bar_style(number: int | None) -> dict[str, Any]:
    """Return colour and hatch of the bars of a series (None: the mixture)."""
    if number is None:
        return {"edgecolor": "black", "linewidth": 0.5, "facecolor": UNPROCESSED_GREY}
    return {
        "edgecolor": "black",
        "linewidth": 0.5,
        "facecolor": COLOURS[number % len(COLOURS)],
        "hatch": HATCHES[number % len(HATCHES)],
    }


def mark_style(number: int | None, *, size: float = 5.0) -> dict[str, Any]:
    """Return colour and marker of the points of a series (None: the mixture): every second marker is hollow."""
    if number is None:
        return {"color": _GREY, "marker": "x", "markersize": size, "markeredgewidth": 1.4}
    colour = COLOURS[number % len(COLOURS)]
    return {
        "color": colour,
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": size,
        "markerfacecolor": "white" if number % 2 else colour,
        "markeredgecolor": colour,
        "markeredgewidth": 1.2,
    }


def line_style(number: int | None) -> dict[str, Any]:
    """Return colour and dashes of the line of a series (None: the mixture)."""
    if number is None:
        return {"color": _GREY, "linestyle": "-"}
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number % len(LINES)]}


def set_log_frequency_axis(
    axes: Axes, low_hz: float, high_hz: float, ticks_hz: Sequence[float], *, label: str | None = None
) -> None:
    """Make the abscissa one of log frequency, with ticks as ``500``, ``1k``; without a label, no tick labels."""
    axes.set_xscale("log")
    axes.set_xlim(low_hz, high_hz)
    axes.set_xticks(ticks_hz, [shown_hz(tick) for tick in ticks_hz])
    axes.set_xticks([], minor=True)
    axes.grid(which="major", color="0.85", linewidth=0.6)
    if label is None:
        axes.tick_params(labelbottom=False)
    else:
        axes.set_xlabel(label)


def shown_hz(frequency_hz: float) -> str:
    """Return a frequency as a tick shows it.

    Examples
    --------
    >>> shown_hz(500), shown_hz(2000), shown_hz(31.5)
    ('500', '2k', '31.5')
    """
    return f"{frequency_hz / 1000:g}k" if frequency_hz >= 1000 else f"{frequency_hz:g}"


def plain_axes(axes: Axes, *, grid: str) -> None:
    """Leave the left and lower spine, with a light grid along one axis."""
    axes.grid(axis=grid, color="0.88", linewidth=0.6)  # type: ignore[arg-type]
    axes.spines[["top", "right"]].set_visible(False)


def add_legend(figure: Figure, panels: Sequence[Axes], *, n_columns: int = 4) -> None:
    """Put one legend over all panels: each label once, in the order of its first appearance."""
    found: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        columns = min(len(found), n_columns)
        figure.legend(list(found.values()), list(found), loc="outside upper center", ncols=columns, handlelength=2.6)


def shortened(name: str, length: int) -> str:
    """Return a name cut in its middle to this many characters.

    Examples
    --------
    >>> shortened("The Easton Ellises - Falcon 69", 15)
    'The Eas…lcon 69'
    """
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"
