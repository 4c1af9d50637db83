"""What a run has come to: the records of its pairs in order, and what is missing, with the reason."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cadenza_remix.atomic import write_text
from cadenza_remix.errors import InputError
from cadenza_remix.runs.records import Record, read_record
from cadenza_remix.runs.shards.folder import RunFolder
from cadenza_remix.runs.shards.inputs import RunInputs, inputs_of
from cadenza_remix.runs.shards.journal import UnitState, run_history
from cadenza_remix.runs.shards.plan import Plan, Unit
from cadenza_remix.runs.songs import files_of_references, find_references

COLUMNS = ("unit", "state", "attempts", "reason")
_NOT_BEGUN = UnitState("left")


@dataclass(frozen=True)
class Missing:
    """A unit that is not done: its state as the journals tell it, and why."""

    unit: Unit
    state: str
    attempts: int
    reason: str


@dataclass(frozen=True)
class Collection:
    """Records of the scored pairs in the order of the pairs, the number of pairs, and what is missing."""

    records: tuple[Record, ...]
    n_pairs: int
    missing: tuple[Missing, ...]

    @property
    def open(self) -> tuple[Missing, ...]:
        """Return what is missing that nobody has given up, nor anything that it needs: another round may do it."""
        given_up = {entry.unit for entry in self.missing if entry.state == "aside"}
        return tuple(
            entry
            for entry in self.missing
            if not given_up & {entry.unit, Unit("demix", entry.unit.song), entry.unit._replace(kind="enhance")}
        )


def collect(folder: RunFolder, plan: Plan) -> Collection:
    """Look at what a run has made.

    Parameters
    ----------
    folder : RunFolder
    plan : Plan

    Returns
    -------
    Collection
        A pair counts as scored when a journal says so and its record is there. What a pair's files hold is not looked
        at again: whoever worked on it last compared them with its record.
    """
    states: dict[str, UnitState] = {}
    for history in run_history(folder, plan).values():
        states.update(history.states)
    records: list[Record] = []
    missing: list[Missing] = []
    for shard in plan.demix:
        missing += [found for unit in shard.units if (found := _missing(unit, states)) is not None]
    bundles = {bundle[0]: bundle for shard in plan.pairs for bundle in shard.bundles}
    for pair in plan.all_pairs:
        for unit in bundles[Unit("enhance", pair.song, pair.listener)]:
            found = _missing(unit, states)
            if found is None and unit.kind == "score":
                record = read_record(folder.score_records / pair.listener / f"{pair.song}.json")
                if record is not None:
                    records.append(record)
                else:
                    found = Missing(unit, "left", 0, "its record is gone, or damaged")
            if found is not None:
                missing.append(found)
    return Collection(tuple(records), len(plan.all_pairs), tuple(missing))


def changed(folder: RunFolder, plan: Plan) -> tuple[Missing, ...]:
    """Return units whose song or clean stems are newer on disk than what was made of them.

    Whether their contents are other ones, those who work on them find out. Nothing is read, so a file that was replaced
    by an older one goes unnoticed.

    Raises
    ------
    InputError
        What was kept in the run's folder is not there, or damaged.
    """
    _, inputs = inputs_of(folder)
    found: list[Missing] = []
    for shard in plan.demix:
        for unit in shard.units:
            record = folder.stems / unit.song / "record.json"
            if _is_newer([inputs.songs[unit.song].path], record):
                found.append(Missing(unit, "left", 0, "its song has changed"))
    stale = {entry.unit.song for entry in found}
    references: dict[str, list[Path]] = {}
    for bundle in (bundle for shard in plan.pairs for bundle in shard.bundles):
        song, listener = bundle[0].song, bundle[0].listener
        if song not in references:
            references[song] = _clean_stems(inputs, song)
        record = folder.score_records / listener / f"{song}.json"
        if song in stale:
            found += [Missing(unit, "left", 0, "its song has changed") for unit in bundle]
        elif _is_newer(references[song], record):
            found.append(Missing(bundle[-1], "left", 0, "its clean stems have changed"))
    return tuple(found)


def _clean_stems(inputs: RunInputs, song: str) -> list[Path]:
    if inputs.references is None:
        return []
    try:
        return files_of_references(find_references(inputs.references, song))
    except InputError:
        return []


def _is_newer(files: Iterable[Path], record: Path) -> bool:
    try:
        made = record.stat().st_mtime_ns
        return any(file.stat().st_mtime_ns > made for file in files)
    except OSError:  # not made yet, or not there any more: others tell that
        return False


def write_missing(collection: Collection, folder: RunFolder) -> None:
    """Write the table of what is missing; without anything missing, remove that of a former round."""
    if not collection.missing:
        folder.missing.unlink(missing_ok=True)
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in collection.missing:
        writer.writerow([entry.unit.name, entry.state, entry.attempts, entry.reason])
    write_text(folder.missing, text.getvalue())


def _missing(unit: Unit, states: Mapping[str, UnitState]) -> Missing | None:
    state = states.get(unit.name, _NOT_BEGUN)
    if state.state == "done":
        return None
    lines = (state.error or "").strip().splitlines()
    return Missing(unit, state.state, state.attempts, lines[-1] if lines else "nobody has worked on it")
