"""The answers of a listening test, read from its database as one tidy table.

The database is opened for reading alone, in one transaction: a server may go on writing to it meanwhile. What counts is
what participants confirmed in trials that were not for training.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadenza_remix.errors import InputError
from cadenza_remix.listen.panel.config import HIDDEN_REFERENCE, TYPES, anchor_name
from cadenza_remix.listen.panel.database import VERSION

if TYPE_CHECKING:
    import pandas as pd

MID_ANCHOR = anchor_name(7000)
"""The mid-range anchor of ITU-R BS.1534-3: low-pass at 7 kHz."""

RATING_COLUMNS = (
    "participant",
    "listener",
    "severity",
    "trial",
    "song",
    "start_s",
    "duration_s",
    "label",
    "system",
    "scale",
    "value",
    "seconds",
    "n_plays",
)
"""``label``: the letter under which a participant heard a system; ``seconds``: how long the page was open. Values are 0
to 100; in A/B tests 1 for the one that was preferred, 0 for the other, 0.5 for both where there was no preference."""

_ANCHOR = re.compile(r"anchor_(\d+)")
_EXPECTED = "the database of a listening test, as listen --test writes it"


@dataclass(frozen=True, eq=False)
class Answers:
    """What the participants of a test answered.

    Parameters
    ----------
    title, type : str
        Of the test; ``type`` is one of `cadenza_remix.listen.panel.config.TYPES`.
    against : str or None
        The system that the settings name for comparison.
    scale_labels : mapping of str to str
        What the scales were called, by id, in the order of the settings.
    ratings : pandas.DataFrame
        Columns `RATING_COLUMNS`; confirmed and not for training; by participant, trial, label and scale.
    n_participants, n_trials, n_open : int
        Participants invited; trials (not for training) confirmed and not yet confirmed.
    """

    title: str
    type: str
    against: str | None
    scale_labels: Mapping[str, str]
    ratings: pd.DataFrame
    n_participants: int
    n_trials: int
    n_open: int

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems that were rated: neither the hidden reference nor anchors; by name."""
        return tuple(name for name in self.stimuli if not is_control(name))

    @property
    def stimuli(self) -> tuple[str, ...]:
        """All that was rated: hidden reference, systems by name, anchors from the highest cut-off to the lowest."""
        return tuple(sorted(self.ratings["system"].unique(), key=_rank))

    @property
    def scales(self) -> tuple[str, ...]:
        """Ids of the scales in the order of the settings."""
        rated = set(self.ratings["scale"].unique())
        return tuple(name for name in self.scale_labels if name in rated)

    def label(self, scale: str) -> str:
        """Return what a scale is called."""
        return self.scale_labels[scale]


def is_control(stimulus: str) -> bool:
    """Tell whether a stimulus is there to check the assessors: the hidden reference or an anchor."""
    return stimulus == HIDDEN_REFERENCE or _ANCHOR.fullmatch(stimulus) is not None


def stimulus_name(stimulus: str) -> str:
    """Return a stimulus in words.

    Examples
    --------
    >>> stimulus_name("hidden_reference"), stimulus_name("anchor_3500"), stimulus_name("e016")
    ('hidden reference', 'anchor 3.5 kHz', 'e016')
    """
    anchor = _ANCHOR.fullmatch(stimulus)
    if anchor:
        return f"anchor {int(anchor[1]) / 1000:g} kHz"
    return "hidden reference" if stimulus == HIDDEN_REFERENCE else stimulus


def read_answers(path: str | Path) -> Answers:
    """Read the confirmed answers of a test.

    Parameters
    ----------
    path : path
        The SQLite file of the test, which may be in use, or a copy of it (with its ``-wal`` file, if there is one).

    Raises
    ------
    InputError
        There is no such file, it is no such database, it is damaged, or nobody has confirmed a trial.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("not a file" if path.exists() else "not found", where=path, expected=_EXPECTED)
    try:
        with _opened(path) as database:
            _check_version(database, path)
            settings = _settings(database, path)
            people = {
                row["number"]: row for row in database.execute("SELECT number, listener, severity FROM participants")
            }
            trials = database.execute("SELECT * FROM trials WHERE NOT is_training").fetchall()
            rated = database.execute("SELECT * FROM ratings ORDER BY participant, trial, label, scale").fetchall()
    except sqlite3.Error as error:
        raise InputError(f"cannot be read: {error}", where=path, expected=_EXPECTED) from error
    confirmed = {(row["participant"], row["trial"]): row for row in trials if row["confirmed"]}
    if not confirmed:
        found = f"{len(people)} participants, {len(trials)} trials, none of them confirmed"
        raise InputError("no confirmed answers", where=path, expected="at least one trial", found=found)
    return Answers(
        title=str(settings.get("title") or path.stem),
        type=settings["type"],
        against=settings.get("against") or None,
        scale_labels=_scale_labels(settings, rated),
        ratings=_tidy(rated, confirmed, people, settings["type"], path),
        n_participants=len(people),
        n_trials=len(confirmed),
        n_open=len(trials) - len(confirmed),
    )


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that can only read and sees one state of the database."""
    mode = "mode=ro"
    if not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        mode = "immutable=1"  # a reader, too, wants to put its locks beside the file; here nobody can write
    database = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, isolation_level=None, timeout=10.0)
    try:
        database.row_factory = sqlite3.Row
        database.execute("BEGIN")
        yield database
    finally:
        database.close()


def _check_version(database: sqlite3.Connection, path: Path) -> None:
    found = {row["name"] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    missing = [name for name in ("test", "participants", "trials", "ratings") if name not in found]
    if missing:
        names = ", ".join(sorted(found)[:4]) or f"no tables (of a copy, take {path.name}-wal along)"
        raise InputError(
            "not the database of a listening test", where=path, expected=f"a table {missing[0]!r}", found=names
        )
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        raise InputError("a listening test of another version", where=path, expected=VERSION, found=version)


def _settings(database: sqlite3.Connection, path: Path) -> Mapping[str, Any]:
    row = database.execute("SELECT settings FROM test").fetchone()
    settings = _from_json(row["settings"] if row else None, path, "test.settings")
    if settings.get("type") not in TYPES:
        raise InputError(
            "unknown type of test", where=path, expected="one of " + ", ".join(TYPES), found=settings.get("type")
        )
    return settings


def _scale_labels(settings: Mapping[str, Any], rated: list[sqlite3.Row]) -> dict[str, str]:
    """Return names of the scales by id; one that the settings do not name is called by its id."""
    named = [scale for scale in settings.get("scales") or [] if isinstance(scale, dict)]
    labels = {str(scale.get("id")): str(scale.get("label") or scale.get("id")) for scale in named}
    return {**labels, **{row["scale"]: row["scale"] for row in rated if row["scale"] not in labels}}


def _from_json(text: object, path: Path, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(str(text))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{where} is damaged", where=path, expected="an object in JSON", found=repr(text)[:60])
    return value


def _tidy(
    rated: list[sqlite3.Row],
    confirmed: Mapping[tuple[int, int], sqlite3.Row],
    people: Mapping[int, sqlite3.Row],
    test_type: str,
    path: Path,
) -> pd.DataFrame:
    import pandas as pd

    labels = {key: _from_json(row["labels"], path, "trials.labels") for key, row in confirmed.items()}
    plays = {key: _from_json(row["n_plays"] or "{}", path, "trials.n_plays") for key, row in confirmed.items()}
    rows = []
    for row in rated:
        key = (row["participant"], row["trial"])
        if key not in confirmed:
            continue
        trial, person, label = confirmed[key], people.get(key[0]), row["label"]
        if person is None or label not in labels[key] or not _is_rating(row["value"], test_type):
            found = f"{label} = {row['value']!r}"
            raise InputError(f"rating of participant {key[0]} in trial {key[1]} is damaged", where=path, found=found)
        who = (key[0], person["listener"], person["severity"] or "not given", key[1])
        what = (trial["song"], trial["start_s"], trial["duration_s"], label, labels[key][label], row["scale"])
        rows.append((*who, *what, float(row["value"]), trial["seconds"], plays[key].get(label)))
    if not rows:
        raise InputError("no confirmed answers", where=path, expected="ratings of the confirmed trials", found="none")
    return pd.DataFrame(rows, columns=list(RATING_COLUMNS))


def _is_rating(value: object, test_type: str) -> bool:
    return isinstance(value, int | float) and 0 <= value <= (1 if test_type == "ab" else 100)


def _rank(stimulus: str) -> tuple[int, int, str]:
    anchor = _ANCHOR.fullmatch(stimulus)
    if anchor:
        return (2, -int(anchor[1]), stimulus)
    return (0 if stimulus == HIDDEN_REFERENCE else 1, 0, stimulus)
