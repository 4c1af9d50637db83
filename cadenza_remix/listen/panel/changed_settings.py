"""Other settings for a test that nobody has answered: everybody keeps number, link and hearing, and gets a new plan.

Where a participant has looked at pages of the old plan, a browser may still hold ratings of one that were not sent. So
the pages of the new plan go on with numbers that none of the old ones had: what was meant for an old page fits no new
one. Such a participant begins again at the welcome page, as the level that was set may be another one now.

Entries that differ from the old ones in their labels alone are the same participants, who get these labels, where it is
certain which participant an entry is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from cadenza_remix.errors import InputError
from cadenza_remix.listen.library import listener_name
from cadenza_remix.listen.panel.database import changed_keys
from cadenza_remix.listen.panel.new_rows import ConflictError, add_rows, add_trials, give_labels
from cadenza_remix.listen.panel.records import NewParticipant


class Planner(Protocol):
    """Plans for participants under the settings of the present start."""

    most_participants: int

    def plan_again(self, number: int, listener: str, audiogram: Mapping[str, Any]) -> NewParticipant:
        """Return the plan of somebody who takes part already; `InputError` where they cannot under these settings."""

    def plan_entry(self, number: int, entry: Mapping[str, Any]) -> NewParticipant:
        """Return the plan of an entry of the settings' participants, as plain values."""


@dataclass(frozen=True)
class SettingsChange:
    """What was done to the file of a test whose settings were changed.

    ``keys`` differ; so many participants kept their links, of whom so many had begun without an answer and begin again;
    so many are new; so many entries are no longer in the settings, whose participants stay; so many of these who stay
    have another label now, or none any more.
    """

    keys: tuple[str, ...]
    n_kept: int
    n_restarted: int
    n_new: int
    n_taken_out: int
    n_labelled: int = 0

    @property
    def sentence(self) -> str:
        """One line for whoever started the test."""
        kept = "1 link stays" if self.n_kept == 1 else f"{self.n_kept} links stay"
        parts = [f"settings changed ({', '.join(self.keys)}); no answers yet, so nothing was lost: {kept}"]
        if self.n_restarted:
            parts.append(f"{self.n_restarted} who had begun {'begins' if self.n_restarted == 1 else 'begin'} again")
        if self.n_labelled:
            parts.append(f"{self.n_labelled} labelled anew")
        if self.n_new:
            parts.append(f"{self.n_new} new")
        if self.n_taken_out:
            parts.append(f"{self.n_taken_out} taken out of the settings can be deleted on the administrators' page")
        return ", ".join(parts)


def has_answers(db: sqlite3.Connection) -> bool:
    """Tell whether anybody has answered anything, a page of the training included."""
    queries = ["SELECT 1 FROM trials WHERE confirmed IS NOT NULL", "SELECT 1 FROM ratings"]
    if db.execute("SELECT 1 FROM sqlite_master WHERE name='question_answers'").fetchone():
        queries.append("SELECT 1 FROM question_answers")
    return any(db.execute(f"{query} LIMIT 1").fetchone() for query in queries)


def replace_settings(
    db: sqlite3.Connection, settings: Mapping[str, Any], planner: Planner, path: Path
) -> SettingsChange | None:
    """Put other settings, and the plans that follow from them, into a file without answers.

    A transaction is the caller's to hold. Who is there stays. Entries of ``participants`` that the old settings did not
    have, with whatever label, get new numbers. Returns None where nothing differs.

    Raises
    ------
    InputError
        A participant cannot take part under these settings, there would be too many, or somebody has a new label.
    """
    test = db.execute("SELECT * FROM test").fetchone()
    stored = json.loads(test["settings"])
    keys = changed_keys(stored, settings)
    if not keys:
        return None
    is_set_up = test["admin_token_hash"] is not None
    made = stored.get("participants", [])[: None if is_set_up else test["last_number"]]
    people = db.execute("SELECT * FROM participants ORDER BY number").fetchall()
    for person in people:
        _plan_again(db, person, planner, path)
    match = _match(made, settings.get("participants", []), _who_is_there(db))
    entries, first = match.new, test["last_number"] + 1
    if len(people) + len(entries) > planner.most_participants:
        found = len(people) + len(entries)
        raise InputError(
            "too many participants", where=path, expected=f"at most {planner.most_participants}", found=found
        )
    try:
        give_labels(db, match.labels)
        add_rows(db, [planner.plan_entry(number, entry) for number, entry in enumerate(entries, start=first)])
    except ConflictError as error:
        advice = "take another label, or delete them on the administrators' page under the old settings"
        raise InputError(f"settings changed, and {error} ({advice})", where=path) from error
    db.execute("UPDATE test SET settings=?", (json.dumps(settings, ensure_ascii=False),))
    return SettingsChange(
        keys=tuple(keys),
        n_kept=len(people),
        n_restarted=sum(person["state"] != "welcome" for person in people),
        n_new=len(entries),
        n_taken_out=match.n_taken_out,
        n_labelled=len(match.labels),
    )


def _plan_again(db: sqlite3.Connection, person: sqlite3.Row, planner: Planner, path: Path) -> None:
    number = person["number"]
    try:
        planned = planner.plan_again(number, person["listener"], json.loads(person["audiogram"]))
    except InputError as error:
        raise InputError(
            f"settings changed, and participant {number} ({person['listener']}) stands against it: {error}"
            " (delete them on the administrators' page under the old settings, or take another --results)",
            where=path,
        ) from error
    old = db.execute("SELECT MIN(trial) AS first, MAX(trial) AS last FROM trials WHERE participant=?", (number,))
    first, last = old.fetchone()
    is_untouched = person["state"] == "welcome" and first in (None, 1)
    shift = 0 if is_untouched else last
    db.execute("DELETE FROM trials WHERE participant=?", (number,))
    add_trials(db, number, [replace(one, trial=one.trial + shift) for one in planned.trials])
    db.execute(
        "UPDATE participants SET audiogram=?, severity=?, state='welcome', volume=NULL WHERE number=?",
        (json.dumps(planned.audiogram, ensure_ascii=False), planned.severity, number),
    )


@dataclass(frozen=True)
class _Match:
    """Labels by number of participants who get another one or lose theirs, new entries, and how many old ones ended."""

    labels: Mapping[int, str | None]
    new: Sequence[Mapping[str, Any]]
    n_taken_out: int


def _match(
    made: Sequence[Mapping[str, Any]], entries: Sequence[Mapping[str, Any]], people: Sequence[Mapping[str, Any]]
) -> _Match:
    """Tell which entries are those for whom participants were made, hearing by hearing.

    Entries of one label are one. What is left is matched in the order of entries and numbers, where every old entry has
    a participant beyond doubt, and as many new ones are left, or more where no label would be replaced by another.
    Otherwise only entries without a label can be the old ones, and the others are new.

    Parameters
    ----------
    made, entries : sequence of mapping
        The old entries and those of the present settings.
    people : sequence of mapping
        Who is there: number, label, and their ``hearing`` as the entries write it.
    """
    old, now = _by_hearing(made), _by_hearing(entries)
    labels: dict[int, str | None] = {}
    new: list[int] = []
    n_taken_out = 0
    for hearing in dict.fromkeys((*old, *now)):
        before, after = old.get(hearing, []), now.get(hearing, [])
        both = {label for _, label in before} & {label for _, label in after} - {None}
        wanted = [label for _, label in before if label not in both]
        left = [(index, label) for index, label in after if label not in both]
        numbers = _numbers_of(wanted, [person for person in people if person["hearing"] == hearing])
        if numbers is not None and (len(wanted) == len(left) or (len(wanted) < len(left) and not any(wanted))):
            pairs = zip(numbers, wanted, left, strict=False)
            labels.update((number, label) for number, was, (_, label) in pairs if label != was)
            new += [index for index, _ in left[len(numbers) :]]
            continue
        unlabelled = [index for index, label in left if label is None]
        same = set(unlabelled[: wanted.count(None)])
        new += [index for index, _ in left if index not in same]
        n_taken_out += len(wanted) - len(same)
    return _Match(labels, [entries[index] for index in sorted(new)], n_taken_out)


def _numbers_of(labels: Sequence[str | None], people: Sequence[Mapping[str, Any]]) -> list[int] | None:
    """Return whom old entries of one hearing mean by their labels; None where it is not certain for all."""
    having: dict[str | None, list[int]] = {}
    for person in people:
        having.setdefault(person["label"], []).append(person["number"])
    if any(len(having.get(label, ())) != labels.count(label) for label in labels):
        return None
    return [having[label].pop(0) for label in labels]


def _by_hearing(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, str | None]]]:
    """Return index and label of the entries of each hearing."""
    found: dict[str, list[tuple[int, str | None]]] = {}
    for index, entry in enumerate(entries):
        found.setdefault(_hearing(entry), []).append((index, entry.get("label")))
    return found


def _hearing(entry: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in entry.items() if key != "label"}, sort_keys=True)


def _who_is_there(db: sqlite3.Connection) -> list[dict[str, Any]]:
    query = (
        "SELECT number, listener, audiogram, label FROM participants"
        " LEFT JOIN participant_labels ON participant=number ORDER BY number"
    )
    people = []
    for row in db.execute(query):
        is_own = listener_name(row["listener"]) != row["listener"]
        entry = {"audiogram": json.loads(row["audiogram"])} if is_own else {"listener": row["listener"]}
        people.append({"number": row["number"], "label": row["label"], "hearing": _hearing(entry)})
    return people
