"""A description of a data set as one HTML page that needs no other file: tables, and figures with texts for all."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape
from pathlib import Path

from cadenza_remix.atomic import write_text
from cadenza_remix.training.data.describing import RESIDUAL_LIMIT_DB, DataDescription
from cadenza_remix.training.data.description_figures import MAX_STEMS, DataFigure, description_figures
from cadenza_remix.training.data.description_tables import (
    TextTable,
    fault_table,
    song_table,
    split_table,
    stem_table,
)
from cadenza_remix.training.data.measuring import FULL_SCALE, SILENCE_DBFS

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.86rem; }
caption { text-align: left; color: #444; padding-bottom: 0.3rem; }
th, td { padding: 0.2rem 0.6rem; border-bottom: 1px solid #ccc; text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid #444; } .text { text-align: left; white-space: normal; overflow-wrap: anywhere; }
figure { margin: 0; } img { max-width: 100%; height: auto; } figcaption, .note { color: #444; font-size: 0.9rem; }
.alert { border-left: 4px solid #111; padding-left: 0.8rem; font-weight: 600; }
@media print { body { max-width: none; margin: 0; } h2 { break-after: avoid; } figure, tr { break-inside: avoid; } }
"""


def write_description_page(description: DataDescription, path: str | Path) -> None:
    """Write the page, whole or not at all; equal data sets give equal bytes.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    write_text(path, description_page(description))


def description_page(description: DataDescription) -> str:
    """Return the page as text."""
    name = description.root.resolve().name or str(description.root)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(name)}: a data set</title><style>{_STYLE}</style></head>",
            "<body><main>",
            f"<h1>{_text(name)}</h1>",
            *_summary(description),
            *_figures(description_figures(description)),
            "<h2>Songs</h2>",
            _table(song_table(description)),
            *_notes(description),
            "</main></body></html>\n",
        ]
    )


def _summary(description: DataDescription) -> Iterator[str]:
    n_songs, faults = len(description.songs), fault_table(description)
    songs = "1 song" if n_songs == 1 else f"{n_songs} songs"
    yield f"<p>{songs}, {description.duration_s / 3600:.2f} hours, layout {_text(description.layout)}.</p>"
    if faults.rows:
        n_faulty = sum(1 for song in description.songs if song.faults)
        yield f'<p class="alert">Faults in {n_faulty} of {songs}: see below.</p>'
    else:
        yield "<p>No faults were found.</p>"
    yield "<h2>Splits and stems</h2>"
    yield _table(split_table(description))
    yield "<p></p>"
    yield _table(stem_table(description))
    if faults.rows:
        yield "<h2>Faults</h2>"
        yield _table(faults)


def _figures(figures: list[DataFigure]) -> Iterator[str]:
    for figure in figures:
        data = base64.b64encode(figure.svg.encode("utf-8")).decode("ascii")
        yield f"<h2>{_text(figure.title)}</h2>"
        yield f'<figure><img alt="{_text(figure.alt)}" src="data:image/svg+xml;base64,{data}">'
        yield f"<figcaption>{_text(figure.caption)}</figcaption></figure>"


def _table(table: TextTable) -> str:
    def cells(values: tuple[str, ...], tag: str) -> str:
        scope = ' scope="col"' if tag == "th" else ""
        marks = [' class="text"' if place < table.n_text_columns else "" for place in range(len(values))]
        return "".join(f"<{tag}{scope}{mark}>{_text(value)}</{tag}>" for value, mark in zip(values, marks, strict=True))

    head = f"<thead><tr>{cells(table.columns, 'th')}</tr></thead>"
    body = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in table.rows)
    caption = f"<caption>{_text(table.title)}</caption>"
    return f'<div class="wide"><table>{caption}{head}<tbody>\n{body}\n</tbody></table></div>'


def _notes(description: DataDescription) -> Iterator[str]:
    yield "<h2>How it was measured</h2>"
    yield (
        '<p class="note">Levels are RMS over the whole song and both channels; 0 dBFS is a constant at full scale. '
        f"Silent: windows of 0.1 s below {SILENCE_DBFS:g} dBFS. Clipped: samples of {FULL_SCALE:.5f} or more. "
        "Left over: energy of the mixture minus all stems, relative to the mixture; above "
        f"{RESIDUAL_LIMIT_DB:g} dB the stems do not add up. "
        "Where a song has no mixture, the sum of its stems stands for it.</p>"
    )
    if len(description.stem_names) > MAX_STEMS:
        yield f'<p class="note">The figures show {MAX_STEMS} of {len(description.stem_names)} stems.</p>'


def _text(text: str) -> str:
    # A file's name may hold bytes that no encoding has.
    return escape(text.encode("utf-8", "replace").decode("utf-8"))
