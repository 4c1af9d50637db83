"""Answers of a listening test in one SQLite file: what was confirmed is on the disk, what was deleted is gone.

Write-ahead log, ``synchronous=FULL`` and one transaction for each answer: a server that is killed at any moment loses
nothing that it has acknowledged. Deleted rows are overwritten, and the log is emptied after a deletion, so that the
bytes go as well. One connection behind a lock serves all threads.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cadenza_remix.errors import CadenzaError, OutputError
from cadenza_remix.listen.panel.changed_settings import Planner, SettingsChange, has_answers, replace_settings
from cadenza_remix.listen.panel.database import (
    changed_keys,
    connect,
    keep_last_number,
    keep_later_tables,
    make_tables,
    other_settings,
)
from cadenza_remix.listen.panel.new_rows import ConflictError, add_rows
from cadenza_remix.listen.panel.records import NewParticipant, Participant, PlannedTrial, participant_from, trial_from

Ratings = Mapping[str, Mapping[str, float]]


class StoreError(OutputError):
    """The file cannot be used at the moment: the disk is full, another program holds it. Nothing was changed."""


class NotThereError(CadenzaError):
    """There is no such participant or trial, or no longer."""


class PanelStore:
    """The results of one listening test.

    Parameters
    ----------
    path : path
        Made where it is missing, readable by its owner alone (it holds the participants' links and audiograms).
    settings : mapping
        Plain values (`TestSettings.to_dict`): kept in a new file, compared with those of an old one.
    planner : Planner, optional
        Plans anew for everybody in a file that was made under other settings and holds no answer. Who gives one holds
        the file (`ResultsLock`). Without one, other settings are always refused.
    is_named : bool
        Whether somebody named the file: one with another title or type may then be another test's, and stays as it is.

    Attributes
    ----------
    change : SettingsChange or None
        What was done where the settings were changed.

    Raises
    ------
    InputError
        Not such a file, one of another version, the answers in it were given under other settings, or a participant
        cannot take part under the changed ones.
    OutputError
        It cannot be made or written.
    """

    def __init__(
        self, path: str | Path, settings: Mapping[str, Any], *, planner: Planner | None = None, is_named: bool = False
    ) -> None:
        self.path = Path(path)
        self.change: SettingsChange | None = None
        self._lock = threading.RLock()
        self._has_questions = bool(settings.get("questions"))
        self._is_named = is_named
        self._settings: dict[str, Any] = json.loads(json.dumps(dict(settings), allow_nan=False))
        self._connection = connect(self.path)
        try:
            self._prepare(planner)
        except BaseException as error:
            self._connection.close()
            with suppress(OSError):
                if planner is not None and not self.path.stat().st_size:  # nobody else has made it
                    self.path.unlink()
            if isinstance(error, sqlite3.Error):
                raise OutputError(f"{self.path}: cannot be written: {error}") from error
            raise

    def _prepare(self, planner: Planner | None) -> None:
        settings = self._settings
        for pragma in ("foreign_keys=ON", "synchronous=FULL", "secure_delete=ON", "journal_mode=WAL"):
            self._connection.execute(f"PRAGMA {pragma}")
        with self._transaction() as db:
            if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                make_tables(db)
                row = (json.dumps(settings, ensure_ascii=False), _now())
                db.execute("INSERT INTO test(id, settings, created) VALUES(1, ?, ?)", row)
            if planner is None or has_answers(db) or self._is_foreign(db):
                self._check_settings(db)  # before anything is changed in the file of another test
            keep_last_number(db)
            keep_later_tables(db)
            if planner is not None:
                self.change = replace_settings(db, settings, planner, self.path)

    def _check_settings(self, db: sqlite3.Connection) -> None:
        stored = _settings_of(db)
        if changed_keys(stored, self._settings):
            raise other_settings(
                stored, self._settings, self.path, has_answers=has_answers(db), is_foreign=self._is_foreign(db)
            )

    def _is_foreign(self, db: sqlite3.Connection) -> bool:
        return self._is_named and bool({"title", "type"} & {*changed_keys(_settings_of(db), self._settings)})

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything in the block, on the disk when it ends, or nothing."""
        with self._lock, self._one_line():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be used: {error}") from error

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock, self._one_line():
            return self._connection.execute(query, values).fetchall()

    @property
    def created(self) -> str:
        """When the file was made (UTC, ISO 8601)."""
        return str(self._rows("SELECT created FROM test")[0]["created"])

    @property
    def admin_token_hash(self) -> str | None:
        """SHA-256 of the administrator's token; None before there is one."""
        value = self._rows("SELECT admin_token_hash FROM test")[0]["admin_token_hash"]
        return None if value is None else str(value)

    def set_admin_token_hash(self, digest: str) -> None:
        """Keep the hash of a new token; the old one opens nothing any more."""
        with self._transaction() as db:
            db.execute("UPDATE test SET admin_token_hash=?", (digest,))

    # participants

    def next_number(self) -> int:
        """Return the number that the next participant gets: one more than the highest that anybody ever had.

        Whoever was deleted may still be spoken of by number, in an export or in somebody's notes.
        """
        return int(self._rows("SELECT last_number + 1 AS next FROM test")[0]["next"])

    def add_participant(
        self, number: int, *, listener: str, audiogram: Mapping[str, Any], severity: str, trials: Sequence[PlannedTrial]
    ) -> Participant:
        """Keep one new participant; see `add_participants`."""
        return self.add_participants([NewParticipant(number, listener, audiogram, severity, trials)])[0]

    def add_participants(self, people: Sequence[NewParticipant], *, most: int | None = None) -> list[Participant]:
        """Keep new participants with all their trials: all of them, or none.

        Parameters
        ----------
        people : sequence of NewParticipant
            With numbers that follow one another.
        most : int, optional
            How many the test may have then.

        Raises
        ------
        NumberTakenError
            Somebody has got one of these numbers already, and may be deleted since.
        ConflictError
            There would be too many, or somebody has one of the labels.
        InputError
            The file was opened beside a server, and has got other settings since.
        """
        with self._transaction() as db:
            self._check_settings(db)
            add_rows(db, people, most=most)
        return [self.participant(person.number) for person in people]

    def participants(self) -> list[Participant]:
        """Return all participants by number."""
        return [participant_from(row) for row in self._rows(f"{_PEOPLE} GROUP BY number ORDER BY number")]

    def participant(self, number: int) -> Participant:
        """Return one participant; `NotThereError` when there is none of this number."""
        return self._one("number", number)

    def participant_of(self, token: str) -> Participant:
        """Return the participant that a link belongs to; `NotThereError` when it belongs to nobody."""
        return self._one("token", token)

    def _one(self, column: str, value: object) -> Participant:
        rows = self._rows(f"{_PEOPLE} WHERE {column}=? GROUP BY number", value)
        if not rows:
            raise NotThereError("there is no such participant")
        return participant_from(rows[0])

    def move(self, number: int, *, before: str, after: str, volume: float | None = None) -> None:
        """Take a participant from one state to another, and keep the volume if one is given.

        Raises
        ------
        ConflictError
            The participant is in another state.
        """
        with self._transaction() as db:
            done = db.execute(
                "UPDATE participants SET state=?, volume=COALESCE(?, volume) WHERE number=? AND state=?",
                (after, volume, number, before),
            )
            if done.rowcount != 1:
                raise ConflictError(f"this is not the time for it: expected state {before}")

    # trials and answers

    def trials(self, number: int) -> list[PlannedTrial]:
        """Return all trials of a participant in their order."""
        rows = self._rows("SELECT * FROM trials WHERE participant=? ORDER BY trial", number)
        return [trial_from(row) for row in rows]

    def open_trial(self, number: int) -> PlannedTrial | None:
        """Return the first trial that has no answer, None when all have one."""
        query = "SELECT * FROM trials WHERE participant=? AND confirmed IS NULL ORDER BY trial LIMIT 1"
        rows = self._rows(query, number)
        return trial_from(rows[0]) if rows else None

    def confirm(
        self, number: int, trial: int, ratings: Ratings, *, seconds: float, n_plays: Mapping[str, int], break_every: int
    ) -> Participant:
        """Keep the answer to a trial and say where the participant stands now, in one transaction.

        Parameters
        ----------
        number, trial : int
        ratings : mapping of label to mapping of scale to value
            Checked before, whole.
        seconds : float
            How long the page was open.
        n_plays : mapping of str to int
            How often each label was heard.
        break_every : int
            A break after so many rated trials; 0: none.

        Raises
        ------
        ConflictError
            Another answer was confirmed for this trial, or it is not the one at hand. The same answer again is fine.
        """
        with self._transaction() as db:
            person = participant_from(_row(db, f"{_PEOPLE} WHERE number=? GROUP BY number", number))
            row = _row(db, "SELECT * FROM trials WHERE participant=? AND trial=?", number, trial)
            if row["confirmed"] is not None:
                if _ratings_of(db, number, trial) != {label: dict(scales) for label, scales in ratings.items()}:
                    raise ConflictError(f"trial {trial} has another answer already")
                return person
            _check_at_hand(db, person, trial)
            values = [(number, trial, label, *one) for label, scales in ratings.items() for one in scales.items()]
            db.executemany("INSERT INTO ratings VALUES(?, ?, ?, ?, ?)", values)
            db.execute(
                "UPDATE trials SET confirmed=?, seconds=?, n_plays=? WHERE participant=? AND trial=?",
                (_now(), seconds, _json(n_plays), number, trial),
            )
            state = _state_after(person, is_training=bool(row["is_training"]), break_every=break_every)
            if state == "done" and self._has_questions:
                state = "questions"
            db.execute("UPDATE participants SET state=? WHERE number=?", (state, number))
        return self.participant(number)

    def confirm_questions(self, number: int, answers: Mapping[str, str | float]) -> Participant:
        """Keep the answers to the questions, checked before, and finish the test, in one transaction.

        Raises
        ------
        ConflictError
            Other answers were confirmed, or it is not the time for questions. The same answers again are fine.
        """
        with self._transaction() as db:
            person = participant_from(_row(db, f"{_PEOPLE} WHERE number=? GROUP BY number", number))
            if person.state == "done" and self._has_questions:
                if _question_answers_of(db, number) != dict(answers):
                    raise ConflictError("the questions have other answers already")
                return person
            if person.state != "questions":
                raise ConflictError("this is not the time for it: expected state questions")
            rows = [(number, *one) for one in answers.items()]
            db.executemany("INSERT INTO question_answers VALUES(?, ?, ?)", rows)
            db.execute("UPDATE participants SET state='done' WHERE number=?", (number,))
        return self.participant(number)

    # what is known of people

    def export(self, number: int) -> dict[str, Any]:
        """Return all that the file holds of one participant, as plain values."""
        person = self.participant(number)
        row = self._rows("SELECT * FROM participants WHERE number=?", number)[0]
        trials = []
        for trial in self._rows("SELECT * FROM trials WHERE participant=? ORDER BY trial", number):
            entry = {key: trial[key] for key in trial.keys() if key != "participant"}  # noqa: SIM118 (rows are tuples)
            entry.update(is_training=bool(trial["is_training"]), labels=json.loads(trial["labels"]))
            entry["n_plays"] = json.loads(trial["n_plays"]) if trial["n_plays"] else None
            with self._lock:
                entry["ratings"] = _ratings_of(self._connection, number, trial["trial"])
            trials.append(entry)
        known = {**{key: row[key] for key in row.keys()}, "audiogram": dict(person.audiogram), "label": person.label}  # noqa: SIM118
        known["trials"] = trials
        if self._has_questions:
            with self._lock:
                known["questions"] = _question_answers_of(self._connection, number)
        return known

    def answers(self) -> list[dict[str, Any]]:
        """Return one row for each value that was given, with what stood behind the stimulus' label."""
        query = (
            "SELECT p.number, p.listener, p.severity, t.trial, t.is_training, t.song, t.start_s, t.duration_s, r.label,"
            " t.labels, r.scale, r.value, t.seconds, t.confirmed, l.label AS participant_label"
            " FROM ratings r JOIN trials t USING(participant, trial) JOIN participants p ON p.number=r.participant"
            " LEFT JOIN participant_labels l ON l.participant=p.number ORDER BY p.number, t.trial, r.label, r.rowid"
        )
        rows = []
        for row in self._rows(query):
            entry = {("participant" if key == "number" else key): row[key] for key in row.keys()}  # noqa: SIM118
            entry["labels"] = json.loads(row["labels"])[row["label"]]
            rows.append({("stimulus" if key == "labels" else key): value for key, value in entry.items()})
        return rows

    def question_answers(self) -> list[dict[str, Any]]:
        """Return one row for each question that was answered: participant, listener, question, value and label."""
        query = (
            "SELECT q.participant, listener, question, value, l.label AS participant_label FROM question_answers q"
            " JOIN participants ON number=q.participant LEFT JOIN participant_labels l ON l.participant=q.participant"
            " ORDER BY q.participant, q.rowid"
        )
        return [dict(row) for row in self._rows(query)]

    def delete(self, number: int) -> None:
        """Remove all rows of a participant, and their bytes. That somebody had this number stays known.

        Raises
        ------
        NotThereError
            There is none of this number.
        OutputError
            The rows are gone, but another program reads the file, and the log still holds the bytes.
        """
        with self._lock:
            with self._transaction() as db:
                if db.execute("DELETE FROM participants WHERE number=?", (number,)).rowcount != 1:
                    raise NotThereError("there is no such participant")
            try:
                is_busy = bool(self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
            except sqlite3.Error:
                is_busy = True
        if is_busy:
            raise OutputError(f"{self.path}: rows deleted, but the log cannot be emptied while another program reads")


def _settings_of(db: sqlite3.Connection) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(db.execute("SELECT settings FROM test").fetchone()["settings"])
    return settings


_PEOPLE = (
    "SELECT p.*, COUNT(t.trial) AS n_trials, COUNT(t.confirmed) AS n_done, COALESCE(SUM(t.is_training), 0) AS"
    " n_training, (SELECT label FROM participant_labels WHERE participant=p.number) AS label"
    " FROM participants p LEFT JOIN trials t ON t.participant=p.number"
)


def _check_at_hand(db: sqlite3.Connection, person: Participant, trial: int) -> None:
    first = _row(
        db,
        "SELECT MIN(trial) AS first, is_training FROM trials WHERE participant=? AND confirmed IS NULL",
        person.number,
    )
    if first["first"] != trial:
        raise ConflictError(f"trial {trial} is not at hand: expected trial {first['first']}")
    expected = "training" if first["is_training"] else "trial"
    if person.state != expected:
        raise ConflictError(f"this is not the time for it: expected state {expected}")


def _state_after(person: Participant, *, is_training: bool, break_every: int) -> str:
    """Return the state after one more answer."""
    if is_training:
        return "ready" if person.n_done + 1 == person.n_training else "training"
    if person.n_done + 1 == person.n_trials:
        return "done"
    n_rated = person.n_done + 1 - person.n_training
    return "break" if break_every and n_rated % break_every == 0 else "trial"


def _row(db: sqlite3.Connection, query: str, *values: object) -> sqlite3.Row:
    row = db.execute(query, values).fetchone()
    if row is None:
        raise NotThereError("there is no such participant or trial")
    return row


def _ratings_of(db: sqlite3.Connection, number: int, trial: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    query = "SELECT label, scale, value FROM ratings WHERE participant=? AND trial=? ORDER BY rowid"
    for row in db.execute(query, (number, trial)):
        found.setdefault(row["label"], {})[row["scale"]] = row["value"]
    return found


def _question_answers_of(db: sqlite3.Connection, number: int) -> dict[str, str | float]:
    query = "SELECT question, value FROM question_answers WHERE participant=? ORDER BY rowid"
    return {row["question"]: row["value"] for row in db.execute(query, (number,))}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
