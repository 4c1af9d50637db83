"""New rows of the file of answers: participants with their links, and their pages."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from cadenza_remix.errors import CadenzaError
from cadenza_remix.listen.panel.records import NewParticipant, PlannedTrial

_TOKEN_BYTES = 24


class ConflictError(CadenzaError):
    """The test does not stand where this request thinks it does."""


class NumberTakenError(ConflictError):
    """Somebody has, or had, this number."""


def add_rows(db: sqlite3.Connection, people: Sequence[NewParticipant], *, most: int | None = None) -> None:
    """Write new participants, their labels and their pages; a transaction is the caller's to hold.

    Parameters
    ----------
    db : sqlite3.Connection
    people : sequence of NewParticipant
        With numbers that follow one another.
    most : int, optional
        How many the test may have then.

    Raises
    ------
    ConflictError
        There would be too many, or somebody has one of the labels.
    NumberTakenError
        One of the numbers was given already.
    """
    if not people:
        return
    n_there = db.execute("SELECT COUNT(*) AS n FROM participants").fetchone()["n"]
    if most is not None and n_there + len(people) > most:
        raise ConflictError(f"too many participants: at most {most}")
    first, last = people[0].number, people[-1].number
    if db.execute("UPDATE test SET last_number=? WHERE last_number<?", (last, first)).rowcount != 1:
        raise NumberTakenError(f"number {first} was given already")
    for person in people:
        token, audiogram = secrets.token_urlsafe(_TOKEN_BYTES), _json(person.audiogram)
        row = (person.number, token, person.listener, audiogram, person.severity, "welcome", None)
        db.execute("INSERT INTO participants VALUES(?, ?, ?, ?, ?, ?, ?)", row)
        add_trials(db, person.number, person.trials)
    give_labels(db, {person.number: person.label for person in people})


def give_labels(db: sqlite3.Connection, labels: Mapping[int, str | None]) -> None:
    """Give participants of these numbers other labels, or none; a transaction is the caller's to hold.

    Raises
    ------
    ConflictError
        Somebody else has one of the labels.
    """
    db.executemany("DELETE FROM participant_labels WHERE participant=?", [(number,) for number in labels])
    taken = {
        row["label"]: row["participant"] for row in db.execute("SELECT participant, label FROM participant_labels")
    }
    for number, label in labels.items():
        if label is None:
            continue
        if taken.setdefault(label, number) != number:
            raise ConflictError(f"label {label!r} is taken by participant {taken[label]}")
        db.execute("INSERT INTO participant_labels VALUES(?, ?)", (number, label))


def add_trials(db: sqlite3.Connection, number: int, trials: Iterable[PlannedTrial]) -> None:
    """Write the pages of a participant, none of which has an answer."""
    rows = [
        (number, one.trial, int(one.is_training), one.song, one.start_s, one.duration_s, _json(one.labels))
        for one in trials
    ]
    db.executemany("INSERT INTO trials VALUES(?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL)", rows)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
