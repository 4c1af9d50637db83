"""The file of a listening test's results: its tables, how it is known again, and how it is opened."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cadenza_remix.atomic import make_folder
from cadenza_remix.errors import InputError, OutputError

VERSION = 1
_APPLICATION_ID = 0x43445A50  # "CDZP", in the file's header
_BUSY_MS = 10_000
_MAGIC = b"SQLite format 3\0"
_NO_DISK = ("SQLITE_IOERR", "SQLITE_FULL")
_NOT_COMPARED = ("folder",)  # a test that was moved with its results is the same test

_SCHEMA = (
    "CREATE TABLE test(id INTEGER PRIMARY KEY CHECK(id=1), settings TEXT NOT NULL, admin_token_hash TEXT,"
    " created TEXT NOT NULL, last_number INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE participants(number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, listener TEXT NOT NULL,"
    " audiogram TEXT NOT NULL, severity TEXT NOT NULL, state TEXT NOT NULL, volume REAL)",
    "CREATE TABLE trials(participant INTEGER NOT NULL REFERENCES participants(number) ON DELETE CASCADE,"
    " trial INTEGER NOT NULL, is_training INTEGER NOT NULL, song TEXT NOT NULL, start_s REAL NOT NULL,"
    " duration_s REAL NOT NULL, labels TEXT NOT NULL, confirmed TEXT, seconds REAL, n_plays TEXT,"
    " PRIMARY KEY(participant, trial))",
    "CREATE TABLE ratings(participant INTEGER NOT NULL, trial INTEGER NOT NULL, label TEXT NOT NULL,"
    " scale TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY(participant, trial, label, scale),"
    " FOREIGN KEY(participant, trial) REFERENCES trials(participant, trial) ON DELETE CASCADE)",
)

# Not among those above: files that earlier programs made have none, and get it when they are opened.
_QUESTIONS = (
    "CREATE TABLE IF NOT EXISTS question_answers(participant INTEGER NOT NULL REFERENCES participants(number)"
    " ON DELETE CASCADE, question TEXT NOT NULL, value NOT NULL, PRIMARY KEY(participant, question))"
)

_LABELS = (
    "CREATE TABLE IF NOT EXISTS participant_labels(participant INTEGER PRIMARY KEY REFERENCES participants(number)"
    " ON DELETE CASCADE, label TEXT NOT NULL UNIQUE)"
)


def make_tables(db: sqlite3.Connection) -> None:
    """Make the tables of an empty file, and mark it as what it is."""
    for statement in _SCHEMA:
        db.execute(statement)
    db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
    db.execute(f"PRAGMA user_version={VERSION}")


def keep_last_number(db: sqlite3.Connection) -> None:
    """See to it that the file knows the highest number that was ever given to a participant.

    Files that earlier programs made have no place for it and get one. Their ``VERSION`` stays: every program of this
    version reads and writes such a file. What they know of numbers is who is there, and that the participants of the
    settings were all made before the first could be deleted: that was once there was an administrator.
    """
    if "last_number" not in {row["name"] for row in db.execute("PRAGMA table_info(test)")}:
        db.execute("ALTER TABLE test ADD COLUMN last_number INTEGER NOT NULL DEFAULT 0")
    test = db.execute("SELECT * FROM test").fetchone()
    highest = db.execute("SELECT COALESCE(MAX(number), 0) AS highest FROM participants").fetchone()["highest"]
    is_set_up = test["admin_token_hash"] is not None
    n_first = len(json.loads(test["settings"]).get("participants", ())) if is_set_up else 0
    if max(highest, n_first) > test["last_number"]:
        db.execute("UPDATE test SET last_number=?", (max(highest, n_first),))


def keep_later_tables(db: sqlite3.Connection) -> None:
    """See to it that the file has a place for answers to questions, and for the organiser's labels.

    Files that earlier programs made get it, and keep their ``VERSION``: those programs open a file with more tables,
    and delete what these hold of a participant with the participant.
    """
    db.execute(_QUESTIONS)
    db.execute(_LABELS)


def connect(path: Path) -> sqlite3.Connection:
    """Open a file of results, or a new one that its owner alone can read; any other file is left as it is.

    Raises
    ------
    InputError
        It is something else, or of another version.
    OutputError
        It cannot be made or written.
    """
    make_folder(path.parent)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with path.open("rb") as file:
            begin = file.read(len(_MAGIC))
            if not begin:
                os.fchmod(file.fileno(), 0o600)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    expected = "a file of answers that cadenza-remix listen --test made"
    if begin not in (b"", _MAGIC):
        raise InputError("is no database of a listening test", where=path, expected=expected)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000)
    connection.row_factory = sqlite3.Row
    try:
        tables = connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        connection.close()
        if error.sqlite_errorname.startswith(_NO_DISK):
            raise OutputError(f"{path}: cannot be written: {error}; is the disk full?") from error
        raise InputError("cannot be read", where=path, expected=expected, found=error) from error
    if tables and application != _APPLICATION_ID:
        connection.close()
        raise InputError("is no database of a listening test", where=path, expected=expected)
    if tables and version != VERSION:
        connection.close()
        raise InputError("is of another version", where=path, expected=VERSION, found=version)
    return connection


def changed_keys(stored: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Return the keys in which settings differ from those under which a file was made."""
    keys = dict.fromkeys((*stored, *settings))
    return [key for key in keys if key not in _NOT_COMPARED and stored.get(key) != settings.get(key)]


def other_settings(
    stored: Mapping[str, Any], settings: Mapping[str, Any], path: Path, *, has_answers: bool, is_foreign: bool
) -> InputError:
    """Return the error for settings that differ from those under which the file was made, naming all that do.

    ``is_foreign``: the file may well be another test's.
    """
    changed = changed_keys(stored, settings)
    if has_answers and changed == ["participants"]:
        advice = "leave them as they were, and add people on the administrators' page"
    elif has_answers:
        advice = "a changed test needs another file: --results"
    elif is_foreign:
        advice = "is it another test's? It has no answers, so it can be deleted, or take another --results"
    else:
        advice = "nobody has answered yet: a server that is started with them takes them over"
    verb = "differs" if len(changed) == 1 else "differ"
    return InputError(
        f"made under other settings: {', '.join(changed)} {verb} ({advice})",
        where=path,
        expected=_short(stored.get(changed[0])),
        found=_short(settings.get(changed[0])),
    )


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
