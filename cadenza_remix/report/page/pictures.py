"""Figures on the page: the bytes of `cadenza_remix.report.figures` as pictures that the page holds itself."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from cadenza_remix.errors import InputError
from cadenza_remix.report.figures import figure_bytes
from cadenza_remix.report.page.markup import Html, data_uri, element, how_to_read, missing

_KINDS = {"svg": "image/svg+xml", "png": "image/png"}
_SVG_MOST_BYTES = 150_000  # what is larger is a picture of many marks, and smaller as PNG
_PNG_DPI = 150
_N_COLOURS = 64


def picture(
    caption: str, alt: str, plot: Callable[..., None], *args: Any, explanation: object = None, form: str = "svg",
    **options: Any,
) -> Html:  # fmt: skip
    """Return a figure with its caption, or the words that there is nothing to draw.

    Parameters
    ----------
    caption : str
    alt : str
        What it shows, for those who do not see it.
    plot : callable
        One of the ``plot_...`` functions; ``args`` and ``options`` are its data.
    explanation : object, optional
        How to read it.
    form : str
        ``svg``, which becomes ``png`` where it grows large, or ``png``.
    """
    try:
        data = figure_bytes(plot, *args, form=form, **options)
        if form == "svg" and len(data) > _SVG_MOST_BYTES:
            other = figure_bytes(plot, *args, form="png", dpi=_PNG_DPI, **options)
            data, form = min((data, form), (other, "png"), key=lambda made: len(made[0]))
    except InputError:
        return missing(f"{caption}: there are no values to draw.")
    if form == "png":
        data = _with_palette(data)
    image = element("img", src=data_uri(data, _KINDS[form]), alt=alt)
    how = how_to_read(explanation) if explanation is not None else None
    panel = element("div", image, class_="panel", role="region", aria_label=caption, tabindex="0")
    return element("figure", element("figcaption", caption), panel, how)


def _with_palette(data: bytes) -> bytes:
    """Return a PNG with a palette instead of true colours, if that is smaller: a third of a spectrogram's bytes."""
    from PIL import Image  # Matplotlib writes its PNGs by it, so it is there

    with Image.open(io.BytesIO(data)) as image:
        reduced = image.convert("RGB").quantize(_N_COLOURS, dither=Image.Dither.NONE)
    file = io.BytesIO()
    reduced.save(file, format="PNG", optimize=True)
    return min(data, file.getvalue(), key=len)
