"""Where the records of a run lie: what its sections on dates and times look at."""

from __future__ import annotations

from pathlib import Path

from cadenza_remix.runs.finished import FinishedRun
from cadenza_remix.runs.records import read_record

TABLE_RECORDS = "_records"
"""What the folder of records beside a table of ``score`` is called, after the table's name."""


def enhance_place(run: FinishedRun) -> Path:
    """Return the folder of a run's records of enhancing, whether it is there or not."""
    return run.folder / "records" / "enhance"


def score_places(run: FinishedRun) -> list[Path]:
    """Return the folders that hold the score records of this very run, not those of other tables beside them."""
    if not run.scored:
        return []
    pair, record = next(iter(run.scored.items()))
    found = []
    for place in (run.folder / "records" / "score", *sorted(run.folder.glob(f"*{TABLE_RECORDS}"))):
        other = read_record(place / pair.listener / f"{pair.song}.json")
        if other is not None and other.key == record.key:
            found.append(place)
    return found
