"""A description of a data set as tables for the screen and the page, and as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cadenza_remix.atomic import write_text
from cadenza_remix.training.data.describing import DataDescription, SongFacts, StemFacts
from cadenza_remix.training.data.songs import MIXTURE

CSV_COLUMNS = (
    "song",
    "split",
    "stem",
    "files",
    "sample_rate",
    "n_channels",
    "duration_s",
    "rms_dbfs",
    "peak_dbfs",
    "relative_db",
    "silence_share",
    "clipped_samples",
    "residual_db",
    "faults",
)


@dataclass(frozen=True)
class TextTable:
    """Cells of text; all columns but the first ``n_text_columns`` hold numbers (set them to the right)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_text_columns: int = 1


def split_table(description: DataDescription) -> TextTable:
    """Return songs, hours and faults of each split, and of all together."""
    rows = []
    for split in (*description.splits, "all"):
        songs = [song for song in description.songs if split in (song.split, "all")]
        hours = sum(song.duration_s for song in songs) / 3600
        durations = [song.duration_s for song in songs]
        rates = sorted({stem.sample_rate for song in songs for stem in song.stems.values()})
        n_broken = sum(1 for song in songs if song.faults)
        rows.append(
            (
                split,
                str(len(songs)),
                f"{hours:.2f}",
                clock(min(durations)),
                clock(float(np.median(durations))),
                clock(max(durations)),
                ", ".join(map(str, rates)) or "-",
                str(n_broken),
            )
        )
    columns = ("split", "songs", "hours", "shortest", "median", "longest", "rates (Hz)", "songs with faults")
    return TextTable("Splits", columns, tuple(rows))


def stem_table(description: DataDescription) -> TextTable:
    """Return the usual level, silence and clipping of each stem: medians over the songs."""
    rows = []
    for stem in (*description.stem_names, MIXTURE):
        facts = list(facts_of(description.songs, stem))
        if not facts:
            continue
        measured = [entry.measured for entry in facts]
        relative = [entry.relative_db for entry in facts if not math.isnan(entry.relative_db)]
        rows.append(
            (
                stem,
                str(len(facts)),
                sum(entry.n_channels == 1 for entry in facts),
                decibels(_median(entry.rms_dbfs for entry in measured)),
                decibels(_median(relative)),
                decibels(max(entry.peak_dbfs for entry in measured)),
                percent(float(np.mean([entry.silence_share for entry in measured]))),
                str(sum(entry.n_clipped for entry in measured)),
            )
        )
    columns = ("stem", "songs", "mono", "RMS (dBFS)", "re mixture (dB)", "highest peak (dBFS)", "silent", "clipped")
    return TextTable(
        "Stems: medians over the songs; mean share of silence", columns, tuple(tuple(map(str, row)) for row in rows)
    )


def song_table(description: DataDescription) -> TextTable:
    """Return a row for each song: duration, RMS of each stem, what is left of the mixture without the stems."""
    stems = (*description.stem_names, MIXTURE)
    rows = []
    for song in description.songs:
        facts = {**song.stems, **({MIXTURE: song.mixture} if song.mixture else {})}
        levels = [decibels(facts[stem].measured.rms_dbfs) if stem in facts else "-" for stem in stems]
        residual = "-" if math.isnan(song.residual_db) else decibels(song.residual_db, silent="exact")
        rows.append((song.name, song.split, clock(song.duration_s), *levels, residual, str(len(song.faults))))
    columns = ("song", "split", "duration", *stems, "left over (dB)", "faults")
    return TextTable("Songs: RMS of the stems in dBFS", columns, tuple(rows), n_text_columns=2)


def fault_table(description: DataDescription) -> TextTable:
    """Return a row for each fault; there may be none."""
    rows = tuple((fault.song, fault.stem or "-", fault.kind, fault.text) for fault in description.faults)
    return TextTable("Faults", ("song", "stem", "kind", "what"), rows, n_text_columns=4)


def description_lines(description: DataDescription, *, max_songs: int = 50) -> list[str]:
    """Return all tables as lines of plain text; of more songs than ``max_songs`` only the faults are listed."""
    n_songs = len(description.songs)
    tables = [split_table(description), stem_table(description)]
    if n_songs <= max_songs:
        tables.append(song_table(description))
    faults = fault_table(description)
    head = (
        f"{description.root}: layout {description.layout}, {n_songs} songs, {description.duration_s / 3600:.2f} hours"
    )
    lines = [head]
    for table in tables:
        lines += ["", *text_lines(table)]
    lines.append("")
    lines += [f"{song} ({stem}): {text}" for song, stem, _, text in faults.rows] or ["No faults were found."]
    return lines


def text_lines(table: TextTable) -> list[str]:
    """Return a table as lines of plain text, its columns set below each other."""
    rows = [table.columns, *table.rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(table.columns))]
    lines = [table.title]
    for row in rows:
        cells = [
            cell.ljust(width) if place < table.n_text_columns else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def write_description_csv(description: DataDescription, path: str | Path) -> None:
    """Write one row for each stem of each song, the mixture last, whole or not at all.

    Columns are `CSV_COLUMNS`. ``residual_db`` stands in the mixture's row; ``-inf`` is silence (or stems that add up
    exactly); what is not known stays empty. A stem that cannot be read has a row with its faults. ``files`` of a
    mixture that is the sum of the stems is empty; faults of a whole song stand in the mixture's row.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for song in description.songs:
        writer.writerows(_csv_rows(song, description.stem_names))
    write_text(path, text.getvalue())


def facts_of(songs: Iterable[SongFacts], stem: str) -> Iterator[StemFacts]:
    """Yield what is known of a stem (or of ``mixture``) in each song that has it."""
    for song in songs:
        facts = song.mixture if stem == MIXTURE else song.stems.get(stem)
        if facts is not None:
            yield facts


def clock(seconds: float) -> str:
    """Return minutes and seconds.

    >>> clock(75.4)
    '1:15'
    """
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def decibels(value: float, *, silent: str = "silent") -> str:
    """Return one decimal; minus infinity and NaN by name."""
    if math.isnan(value):
        return "-"
    return silent if value == -math.inf else f"{value:.1f}"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _median(values: Iterable[float]) -> float:
    known = sorted(values)
    # Not numpy's: the mean of two infinities is a number in none of its conventions.
    if not known:
        return math.nan
    lower, upper = known[(len(known) - 1) // 2], known[len(known) // 2]
    return lower if lower == upper else (lower + upper) / 2


def _csv_rows(song: SongFacts, stem_names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    told = {fault.stem for fault in song.faults}
    for stem in (*stem_names, *sorted(told - {*stem_names, MIXTURE, ""}), MIXTURE):
        facts = song.mixture if stem == MIXTURE else song.stems.get(stem)
        stands_for = (MIXTURE, "") if stem == MIXTURE else (stem,)
        faults = "; ".join(fault.text for fault in song.faults if fault.stem in stands_for)
        if facts is None:
            if faults or stem == MIXTURE:
                yield (song.name, song.split, stem, *[""] * (len(CSV_COLUMNS) - 4), faults)
            continue
        measured = facts.measured
        yield (
            song.name,
            song.split,
            stem,
            " + ".join(facts.files),
            str(facts.sample_rate),
            str(facts.n_channels),
            f"{facts.duration_s:.6f}",
            *map(_number, (measured.rms_dbfs, measured.peak_dbfs, facts.relative_db)),
            f"{measured.silence_share:.4f}",
            str(measured.n_clipped),
            _number(song.residual_db) if stem == MIXTURE else "",
            faults,
        )


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
