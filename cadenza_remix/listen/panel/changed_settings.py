"""Other settings for a test that nobody has answered: everybody keeps number, link and hearing, and gets a new plan.

Where a participant has looked at pages of the old plan, a browser may still hold ratings of one that were not sent. So
the pages of the new plan go on with numbers that none of the old ones had: what was meant for an old page fits no new
one. Such a participant begins again at the welcome page, as the level that was set may be another one now.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from cadenza_remix.errors import InputError
from cadenza_remix.listen.panel.database import changed_keys
from cadenza_remix.listen.panel.new_rows import add_rows, add_trials
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
    so many are new; so many entries are no longer in the settings, whose participants stay.
    """

    keys: tuple[str, ...]
    n_kept: int
    n_restarted: int
    n_new: int
    n_taken_out: int

    @property
    def sentence(self) -> str:
        """One line for whoever started the test."""
        kept = "1 link stays" if self.n_kept == 1 else f"{self.n_kept} links stay"
        parts = [f"settings changed ({', '.join(self.keys)}); no answers yet, so nothing was lost: {kept}"]
        if self.n_restarted:
            parts.append(f"{self.n_restarted} who had begun {'begins' if self.n_restarted == 1 else 'begin'} again")
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
    have get new numbers. Returns None where nothing differs.

    Raises
    ------
    InputError
        A participant cannot take part under these settings, or there would be too many.
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
    entries, first = _beyond(settings.get("participants", []), made), test["last_number"] + 1
    if len(people) + len(entries) > planner.most_participants:
        found = len(people) + len(entries)
        raise InputError(
            "too many participants", where=path, expected=f"at most {planner.most_participants}", found=found
        )
    add_rows(db, [planner.plan_entry(number, entry) for number, entry in enumerate(entries, start=first)])
    db.execute("UPDATE test SET settings=?", (json.dumps(settings, ensure_ascii=False),))
    return SettingsChange(
        keys=tuple(keys),
        n_kept=len(people),
        n_restarted=sum(person["state"] != "welcome" for person in people),
        n_new=len(entries),
        n_taken_out=len(_beyond(made, settings.get("participants", []))),
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


def _beyond(entries: Iterable[Mapping[str, Any]], known: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the entries that are not known; of several equal ones as many as there are more."""
    left = Counter(json.dumps(entry, sort_keys=True) for entry in known)
    beyond = []
    for entry in entries:
        key = json.dumps(entry, sort_keys=True)
        if left[key] > 0:
            left[key] -= 1
        else:
            beyond.append(entry)
    return beyond
