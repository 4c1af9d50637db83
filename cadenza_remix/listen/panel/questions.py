"""Questions to participants after the last page: what the settings may ask, and what counts as an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.listen.panel.values import Reader, checked_keys, number_from

KINDS = ("text", "number", "choice")
MOST_QUESTIONS = 30
FEWEST_CHOICES, MOST_CHOICES = 2, 20
LONGEST_QUESTION, LONGEST_CHOICE = 1000, 200
LONGEST_ANSWER = 2000
FARTHEST_NUMBER = 1e15
"""Every whole number up to here is a float as well, and fits into the file of answers."""

Value = str | int | float

_ID = re.compile(r"[A-Za-z0-9_]{1,40}")
_NEEDED = ("id", "text", "kind")
_ONLY_IN = {"choices": "choice", "min": "number", "max": "number"}
_FORMULA = re.compile(r"(^|[;\t\r\n])(?= *[=+\-@＝＋－＠])")
"""Where a cell can begin as a formula: some languages' spreadsheets take ``;`` for the comma of a CSV file, and then no
quotation marks hold a cell together."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""Control characters but tab and line feed, and halves of characters, which UTF-8 cannot hold."""


@dataclass(frozen=True)
class Question:
    """One question: its id in the results, its words, and what an answer may be.

    ``choices`` are of kind ``choice`` alone, ``min`` and ``max`` of kind ``number``: the lowest and the highest answer,
    None for no limit.
    """

    id: str
    text: str
    kind: str
    choices: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    required: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without the keys that this question does not have."""
        plain: dict[str, Any] = {"id": self.id, "text": self.text, "kind": self.kind, "required": self.required}
        if self.choices:
            plain["choices"] = list(self.choices)
        limits = {"min": self.min, "max": self.max}
        return plain | {key: limit for key, limit in limits.items() if limit is not None}


def questions_from(value: object, where: str) -> tuple[Question, ...]:
    """Read the questions of the settings; None: there are none.

    Raises
    ------
    InputError
        It is no list of questions, one of them cannot be, an id stands twice, or there are too many.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InputError("wrong value", where=where, expected="a list of questions", found=repr(value)[:80])
    if len(value) > MOST_QUESTIONS:
        raise InputError("too many", where=where, expected=f"at most {MOST_QUESTIONS}", found=len(value))
    questions = tuple(_question(entry, f"{where}[{number}]") for number, entry in enumerate(value))
    ids = [question.id for question in questions]
    for number, name in enumerate(ids):
        if name in ids[:number]:
            raise InputError("stands twice", where=f"{where}[{number}]: id", expected="each id once", found=name)
    return questions


def _question(value: object, where: str) -> Question:
    given = checked_keys(value, tuple(entry.name for entry in fields(Question)), where)
    missing = [key for key in _NEEDED if given.get(key) in (None, "")]
    if missing:
        raise InputError(f"key {missing[0]} is missing", where=where, expected=", ".join(_NEEDED))
    reader = Reader(given, where)
    name, kind = given["id"], reader.choice("kind", KINDS)
    if not isinstance(name, str) or not _ID.fullmatch(name):
        expected = "at most 40 letters, digits and underscores"
        raise InputError("wrong value", where=f"{where}: id", expected=expected, found=repr(name)[:80])
    for key in given:
        if _ONLY_IN.get(key, kind) != kind:
            raise InputError(f"key {key} has no meaning", where=where, expected=f"kind {_ONLY_IN[key]}", found=kind)
    text = reader.text("text", "", lines=True)
    if len(text) > LONGEST_QUESTION:
        expected = f"at most {LONGEST_QUESTION} characters"
        raise InputError("too long", where=f"{where}: text", expected=expected, found=len(text))
    low, high = _limit(reader, "min"), _limit(reader, "max")
    if low is not None and high is not None and low > high:
        raise InputError(
            "no number can be an answer", where=where, expected="min up to max", found=f"{low:g} > {high:g}"
        )
    choices = _choices(given.get("choices"), f"{where}: choices") if kind == "choice" else ()
    return Question(name, text, kind, choices, low, high, reader.flag("required", False))


def _limit(reader: Reader, key: str) -> float | None:
    return reader.number(key, 0.0, -FARTHEST_NUMBER, FARTHEST_NUMBER) if key in reader.raw else None


def _choices(value: object, where: str) -> tuple[str, ...]:
    number = f"{FEWEST_CHOICES} to {MOST_CHOICES}"
    if not isinstance(value, list) or not FEWEST_CHOICES <= len(value) <= MOST_CHOICES:
        found = f"{len(value)} of them" if isinstance(value, list) else repr(value)[:80]
        raise InputError("wrong value", where=where, expected=f"a list of {number} texts", found=found)
    for place, entry in enumerate(value):
        # To YAML a bare yes or no is true or false, and 1 is a number.
        if not isinstance(entry, str) or not entry.strip() or len(entry) > LONGEST_CHOICE or "\n" in entry.strip():
            expected = f"text of one line, at most {LONGEST_CHOICE} characters (words such as yes and no in quotes)"
            raise InputError("wrong value", where=f"{where}[{place}]", expected=expected, found=repr(entry)[:80])
    choices = tuple(entry.strip() for entry in value)
    for place, choice in enumerate(choices):
        if choice in choices[:place]:
            raise InputError("stands twice", where=f"{where}[{place}]", expected="each choice once", found=repr(choice))
    return choices


def answers_from(body: Mapping[str, Any], questions: tuple[Question, ...]) -> dict[str, Value]:
    """Check what a browser sent as answers to all questions: ``{"answers": {id: value}}``.

    A question without an answer is left out or null; text without a letter is no answer. Returns the answers that were
    given, in the order of the questions.

    Raises
    ------
    InputError
        A question is unknown, a required one has no answer, or an answer is of the wrong kind, out of range, too long
        or not among the choices.
    """
    given = checked_keys(body, ("answers",), "questions").get("answers")
    if not isinstance(given, Mapping):
        raise InputError("wrong form", where="answers", expected="answers by question", found=type(given).__name__)
    known = [question.id for question in questions]
    for name in given:
        if name not in known:
            raise unknown_name("question", str(name)[:40], known, where="answers")
    answers = {question.id: _answer(given.get(question.id), question) for question in questions}
    for question in questions:
        if question.required and answers[question.id] is None:
            raise InputError("is required", where=f"answers: {question.id}", expected="an answer", found="none")
    return {name: answer for name, answer in answers.items() if answer is not None}


def _answer(value: object, question: Question) -> Value | None:
    where = f"answers: {question.id}"
    if value is None:
        return None
    if question.kind == "number":
        low = -FARTHEST_NUMBER if question.min is None else question.min
        high = FARTHEST_NUMBER if question.max is None else question.max
        number = number_from(value, low, high, where)
        return int(number) if number.is_integer() else number
    if not isinstance(value, str):
        raise InputError("wrong value", where=where, expected="text", found=repr(value)[:80])
    if question.kind == "choice":
        if value not in question.choices:
            raise unknown_name("choice", value[:80], question.choices, where=where)
        return value
    return _text(value, where)


def _text(value: str, where: str) -> str | None:
    text = value.replace("\r\n", "\n").strip()
    if len(text) > LONGEST_ANSWER:
        raise InputError("too long", where=where, expected=f"at most {LONGEST_ANSWER} characters", found=len(text))
    if found := _UNPRINTABLE.search(text):
        raise InputError("wrong value", where=where, expected="text without control characters", found=repr(found[0]))
    return text or None


def harmless_in_a_spreadsheet(value: object) -> object:
    """Return a value for a CSV file: what a spreadsheet would take for a formula has an apostrophe before it.

    Examples
    --------
    >>> harmless_in_a_spreadsheet("=1+1"), harmless_in_a_spreadsheet("one ear"), harmless_in_a_spreadsheet(-3)
    ("'=1+1", 'one ear', -3)
    """
    return _FORMULA.sub(r"\1'", value) if isinstance(value, str) else value
