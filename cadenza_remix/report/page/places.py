"""Where the records of a run lie, which dates and times are read from; and files told without their folders."""

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


def without_folders(text: str, run: FinishedRun) -> str:
    """Return what is told of a run's files without the folders in which they lie: a report travels, and these do not.

    What lies elsewhere than the run is told by its last folder and its name.
    """
    places = {run.folder, run.folder.parent}
    for sources in run.sources.values():
        places.update(path.parent.parent for path in (sources.mixture, sources.references) if path is not None)
    for place in sorted(places, key=lambda place: -len(place.parts)):
        text = text.replace(f"{place}/", "") if len(place.parts) > 1 else text
    return text
