"""The settings of a listening test: one YAML file, checked as a whole before anybody listens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.listen.panel.questions import Question, questions_from
from cadenza_remix.listen.panel.values import Reader, checked_keys, number_from
from cadenza_remix.yaml_files import read_mapping

TYPES = ("mushra", "scales", "ab")
MIXTURE = "mixture"
"""The name by which the unprocessed song takes part as a system."""
HIDDEN_REFERENCE = "hidden_reference"
LOUDNESS_RANGE_LUFS = (-60.0, -16.0)
"""What a test may ask for. The upper end is the ceiling of all tests: nothing is played louder."""
PEAK_RANGE_DBFS = (-40.0, -1.0)
CLIP_RANGE_S = (1.0, 60.0)
MOST_STIMULI = 12
"""BS.1534-3, 5.1: not more than 12 signals on one page, the hidden reference and the anchors included."""
MOST_TRAINING, MOST_REPEATS = 20, 20
MOST_PARTICIPANTS = 2000
LONGEST_LABEL = 40

_ONLY_IN = {
    "reference": "mushra",
    "anchors_hz": "mushra",
    "scales": "scales",
    "one_by_one": "scales",
    "against": "ab",
    "allow_no_preference": "ab",
}
_NEEDED = ("title", "type", "run", "systems", "seed")


@dataclass(frozen=True)
class Scale:
    """What a stimulus is rated on, from 0 to 100: its id in the results, its name, and what its two ends mean."""

    id: str
    label: str
    low: str
    high: str

    def to_dict(self) -> dict[str, str]:
        """Return the scale as plain values."""
        return {"id": self.id, "label": self.label, "low": self.low, "high": self.high}


SCALES = {
    scale.id: scale
    for scale in (
        Scale("quality", "Quality", "bad", "excellent"),
        Scale("basic_audio_quality", "Basic audio quality", "bad", "excellent"),
        Scale("clarity", "Clarity", "not at all clear", "extremely clear"),
        Scale("harshness", "Harshness", "not at all harsh", "extremely harsh"),
        Scale("distortion", "Distortion", "not at all distorted", "extremely distorted"),
        Scale("frequency_balance", "Frequency balance", "poorly balanced", "very well balanced"),
        Scale("liking", "Liking", "not at all", "very much"),
    )
}
"""Cadenza's panel scales by name (the words at the ends are ours), and ``quality``, the scale of BS.1534."""
PREFERENCE = Scale("preference", "Preference", "the other one", "this one")
CADENZA_SCALES = tuple(name for name in SCALES if name != "quality")


@dataclass(frozen=True)
class SongChoice:
    """A passage of a song; None: the middle of the song, and the length that the test has for all."""

    name: str
    start_s: float | None = None
    duration_s: float | None = None


@dataclass(frozen=True)
class ParticipantChoice:
    """Whose hearing a participant has: a listener of the run or a standard audiogram by name, or two audiograms.

    ``label`` is the organiser's own code for whoever takes part.
    """

    listener: str | None = None
    left: Audiogram | None = None
    right: Audiogram | None = None
    label: str | None = None


@dataclass(frozen=True)
class TestSettings:
    """A listening test; see ``docs/listening_tests.md`` for what each key does.

    ``songs``: None for all songs of the run; ``reference``: the system whose chain the clean stems go through, for the
    reference of MUSHRA; ``folder``: where the file lies, to which ``run`` is relative.
    """

    __test__ = False  # not a test of pytest's

    title: str
    type: str
    run: tuple[str, ...]
    systems: tuple[str, ...]
    seed: int
    folder: Path = field(default=Path(), compare=False)
    instructions: str = ""
    songs: tuple[SongChoice, ...] | None = None
    duration_s: float = 15.0
    reference: str = ""
    anchors_hz: tuple[int, ...] = (3500, 7000)
    scales: tuple[Scale, ...] = ()
    one_by_one: bool = False
    against: str = ""
    allow_no_preference: bool = True
    loudness_lufs: float | None = -23.0
    max_peak_dbfs: float = -3.0
    repeats: int = 1
    training_trials: int = 1
    break_every: int = 10
    participants: tuple[ParticipantChoice, ...] = ()
    questions: tuple[Question, ...] = ()

    @property
    def runs(self) -> tuple[Path, ...]:
        """Return the folders of the runs."""
        return tuple(self.folder / Path(run).expanduser() for run in self.run)

    def pages(self) -> tuple[tuple[str, ...], ...]:
        """Return the stimuli of each page that a song has: one page, or one for each comparison or system."""
        if self.type == "mushra":
            return ((*self.systems, HIDDEN_REFERENCE, *map(anchor_name, self.anchors_hz)),)
        if self.type == "ab":
            return tuple((self.against, system) for system in self.systems if system != self.against)
        return tuple((system,) for system in self.systems) if self.one_by_one else (self.systems,)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the results' file: what was heard and asked, and where the settings lay."""
        plain: dict[str, Any] = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        for key, kind in _ONLY_IN.items():
            if self.type != kind and key != "scales":
                del plain[key]
        plain["folder"] = str(self.folder)
        plain["scales"] = [scale.to_dict() for scale in self.scales]
        plain["songs"] = "all" if self.songs is None else [_without_none(song.__dict__) for song in self.songs]
        plain["participants"] = [_plain_participant(choice) for choice in self.participants]
        plain["questions"] = [question.to_dict() for question in self.questions]
        if not self.questions:
            del plain["questions"]  # as in files of tests that were begun before there were questions
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


def anchor_name(cutoff_hz: int) -> str:
    """Return the name of a low-passed reference in the results.

    Examples
    --------
    >>> anchor_name(3500)
    'anchor_3500'
    """
    return f"anchor_{cutoff_hz}"


def load_test(path: str | Path) -> TestSettings:
    """Read the settings of a listening test.

    Raises
    ------
    InputError
        It cannot be read, is no YAML mapping, or a key is unknown, missing, given twice, of the wrong kind, or has no
        meaning in a test of this type. Whether runs, systems and songs exist is looked at when the test is opened.
    """
    path = Path(path)
    raw = _read(path)
    reader = Reader(raw, str(path))
    kind = reader.choice("type", TYPES)
    for key in raw:
        if _ONLY_IN.get(key, kind) != kind:
            raise InputError(f"key {key} has no meaning", where=path, expected=f"type {_ONLY_IN[key]}", found=kind)
    systems = reader.texts("systems", ())
    values: dict[str, Any] = {
        "title": reader.text("title", ""),
        "type": kind,
        "run": reader.texts("run", ()),
        "systems": systems,
        "seed": reader.whole("seed", 0, low=0, high=2**53),
        "folder": path.resolve().parent,
        "instructions": reader.text("instructions", "", lines=True),
        "songs": _songs(raw.get("songs", "all"), f"{path}: songs"),
        "duration_s": reader.number("duration_s", 15.0, *CLIP_RANGE_S),
        "loudness_lufs": reader.number("loudness_lufs", -23.0, *LOUDNESS_RANGE_LUFS, null=True),
        "max_peak_dbfs": reader.number("max_peak_dbfs", -3.0, *PEAK_RANGE_DBFS),
        "repeats": reader.whole("repeats", 1, low=1, high=MOST_REPEATS),
        "training_trials": reader.whole("training_trials", 1, low=0, high=MOST_TRAINING),
        "break_every": reader.whole("break_every", 10, low=0, high=1000),
        "participants": _participants(raw.get("participants"), f"{path}: participants"),
        "questions": questions_from(raw.get("questions"), f"{path}: questions"),
    }
    values.update(_of_type(kind, reader, systems))
    settings = TestSettings(**values)
    _check(settings, str(path))
    _check_text(settings, path)
    return settings


def _read(path: Path) -> Mapping[str, Any]:
    raw = read_mapping(path, expected="a YAML file with the settings of a listening test")
    known = [entry.name for entry in fields(TestSettings) if entry.name != "folder"]
    for key in raw:
        if key not in known:
            raise unknown_name("key", key, known, where=path)
    missing = [key for key in _NEEDED if raw.get(key) is None]
    if missing:
        raise InputError(f"key {missing[0]} is missing", where=path, expected=", ".join(_NEEDED))
    return raw


def _of_type(kind: str, reader: Reader, systems: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of keys that only one type has."""
    if kind == "mushra":
        anchors = _anchors(reader.raw.get("anchors_hz", [3500, 7000]), f"{reader.where}: anchors_hz")
        reference = _reference(reader.raw.get("reference", "clean"), systems, f"{reader.where}: reference")
        return {"reference": reference, "anchors_hz": anchors, "scales": (SCALES["quality"],)}
    if kind == "scales":
        given = reader.raw.get("scales", list(CADENZA_SCALES))
        return {"scales": _scales(given, f"{reader.where}: scales"), "one_by_one": reader.flag("one_by_one", False)}
    return {
        "against": reader.text("against", systems[0]),
        "allow_no_preference": reader.flag("allow_no_preference", True),
        "scales": (PREFERENCE,),
    }


def _check(settings: TestSettings, where: str) -> None:
    """Refuse what cannot be one test, though each value is right by itself."""
    taken = {HIDDEN_REFERENCE, *map(anchor_name, settings.anchors_hz)} if settings.type == "mushra" else set()
    for name in settings.systems:
        if name in taken:
            raise InputError("is the name of a stimulus of its own", where=f"{where}: systems", found=repr(name))
    if settings.type == "ab":
        if settings.against not in settings.systems:
            raise unknown_name("system", settings.against, settings.systems, where=f"{where}: against")
        if len(settings.systems) < 2:
            raise InputError("nothing to compare", where=f"{where}: systems", expected="at least two systems", found=1)
    n_most = max(len(page) for page in settings.pages())
    if n_most > MOST_STIMULI:
        raise InputError("too many stimuli on a page", where=where, expected=f"at most {MOST_STIMULI}", found=n_most)


def _check_text(settings: TestSettings, path: Path) -> None:
    """Refuse halves of characters, which YAML can write (``"\\uD800"``) and the file of answers cannot."""
    try:
        json.dumps(settings.to_dict(), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        found = ascii(error.object[max(0, error.start - 20) : error.end])
        raise InputError("half a character in a text", where=path, expected="whole ones", found=found) from error


def _songs(value: object, where: str) -> tuple[SongChoice, ...] | None:
    if value == "all":
        return None
    if not isinstance(value, list) or not value:
        raise InputError("wrong value", where=where, expected="all, or a list of songs", found=repr(value)[:80])
    songs = []
    for number, entry in enumerate(value):
        here = f"{where}[{number}]"
        given = checked_keys(
            {"name": entry} if isinstance(entry, str) else entry, ("name", "start_s", "duration_s"), here
        )
        name = given.get("name")
        if not isinstance(name, str) or not name.strip():
            raise InputError("wrong value", where=f"{here}: name", expected="the name of a song", found=repr(name))
        start, duration = given.get("start_s"), given.get("duration_s")
        songs.append(
            SongChoice(
                name,
                None if start is None else number_from(start, 0.0, 86_400.0, f"{here}: start_s"),
                None if duration is None else number_from(duration, *CLIP_RANGE_S, f"{here}: duration_s"),
            )
        )
    if len(set(songs)) < len(songs):
        raise InputError("passage stands twice", where=where, expected="each once", found=_twice(songs))
    return tuple(songs)


def _twice(songs: list[SongChoice]) -> str:
    return next(song.name for song in songs if songs.count(song) > 1)


def _anchors(value: object, where: str) -> tuple[int, ...]:
    expected = "a list of whole numbers of Hz from 500 to 16000, each once"
    whole = isinstance(value, list) and all(type(entry) is int and 500 <= entry <= 16_000 for entry in value)
    if not isinstance(value, list) or not whole or len(set(value)) < len(value):
        raise InputError("wrong value", where=where, expected=expected, found=repr(value)[:80])
    return tuple(value)


def _reference(value: object, systems: tuple[str, ...], where: str) -> str:
    """Return the system through whose chain the clean stems go."""
    processed = [name for name in systems if name != MIXTURE]
    if value == "clean":
        if not processed:
            raise InputError("no system whose chain it could be", where=where, expected="{chain: name}", found="clean")
        return processed[0]
    name = checked_keys(value, ("chain",), where).get("chain")
    if not isinstance(name, str) or not name.strip() or name == MIXTURE:
        raise InputError("wrong value", where=f"{where}: chain", expected="the name of a system", found=repr(name))
    return name


def _scales(value: object, where: str) -> tuple[Scale, ...]:
    if not isinstance(value, list) or not value:
        raise InputError("wrong value", where=where, expected="a list of scales", found=repr(value)[:80])
    scales = []
    for number, entry in enumerate(value):
        if isinstance(entry, str):
            if entry not in SCALES:
                raise unknown_name("scale", entry, SCALES, where=where)
            scales.append(SCALES[entry])
            continue
        names = tuple(part.name for part in fields(Scale))
        given = checked_keys(entry, names, f"{where}[{number}]")
        for name in names:
            text = given.get(name)
            if not isinstance(text, str) or not text.strip() or len(text) > 100:
                raise InputError("wrong value", where=f"{where}[{number}]: {name}", expected="text", found=repr(text))
        scales.append(Scale(**given))
    if len({scale.id for scale in scales}) < len(scales):
        raise InputError("scale stands twice", where=where, expected="each once")
    return tuple(scales)


def _participants(value: object, where: str) -> tuple[ParticipantChoice, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InputError("wrong value", where=where, expected="a list", found=repr(value)[:80])
    if len(value) > MOST_PARTICIPANTS:
        raise InputError("too many", where=where, expected=f"at most {MOST_PARTICIPANTS}", found=len(value))
    choices = tuple(participant_from(entry, where=f"{where}[{number}]") for number, entry in enumerate(value))
    labels = set()
    for number, choice in enumerate(choices):
        if choice.label in labels:
            here = f"{where}[{number}]: label"
            raise InputError("stands twice", where=here, expected="each label once", found=repr(choice.label))
        if choice.label is not None:
            labels.add(choice.label)
    return choices


def participant_from(value: object, *, where: str = "participant") -> ParticipantChoice:
    """Read ``{listener: id}`` or ``{audiogram: {left: {frequencies_hz, levels_db_hl}, right: {...}}}``.

    Either can have a ``label``, see `label_from`.

    Raises
    ------
    InputError
        Neither, or both, or an audiogram or a label that cannot be one.
    """
    given = checked_keys(value, ("listener", "audiogram", "label"), where)
    hearing = [key for key in given if key != "label"]
    if len(hearing) != 1:
        raise InputError(
            "wrong form", where=where, expected="listener or audiogram", found=", ".join(hearing) or "none"
        )
    label = label_from(given.get("label"), where=f"{where}: label")
    if "listener" in given:
        name = given["listener"]
        if not isinstance(name, str) or not name.strip():
            raise InputError("wrong value", where=f"{where}: listener", expected="a name", found=repr(name)[:80])
        return ParticipantChoice(listener=name, label=label)
    ears = checked_keys(given["audiogram"], ("left", "right"), f"{where}: audiogram")
    return ParticipantChoice(None, _audiogram(ears, "left", where), _audiogram(ears, "right", where), label)


def label_from(value: object, *, where: str = "label") -> str | None:
    """Return an organiser's code for a participant without spaces around it; None where it is empty or None.

    Raises
    ------
    InputError
        It is no text (YAML takes ``007`` for the number 7), has other than printable characters, or more than
        `LONGEST_LABEL`.

    Examples
    --------
    >>> label_from(" P07 ")
    'P07'
    """
    if value is not None and not isinstance(value, str):
        expected = "text (a number or date in quotes)"
        raise InputError("wrong value", where=where, expected=expected, found=repr(value)[:40])
    text = (value or "").strip()
    if not text.isprintable():
        raise InputError("wrong value", where=where, expected="printable characters", found=ascii(text)[:80])
    if len(text) > LONGEST_LABEL:
        raise InputError("too long", where=where, expected=f"at most {LONGEST_LABEL} characters", found=len(text))
    return text or None


def _audiogram(ears: Mapping[str, Any], ear: str, where: str) -> Audiogram:
    here = f"{where}: audiogram: {ear}"
    given = checked_keys(ears.get(ear), ("frequencies_hz", "levels_db_hl"), here)
    levels = [given.get(key) for key in ("frequencies_hz", "levels_db_hl")]
    if any(isinstance(values, list) and len(values) > 64 for values in levels):
        raise InputError("too many frequencies", where=here, expected="at most 64")
    return Audiogram(levels[0] or [], levels[1] or [], name=here)


def plain_audiogram(left: Audiogram, right: Audiogram) -> dict[str, Any]:
    """Return two ears as plain values, in the form of the settings and of the results' file."""
    return {
        ear: {"frequencies_hz": one.frequencies_hz.tolist(), "levels_db_hl": one.levels_db_hl.tolist()}
        for ear, one in (("left", left), ("right", right))
    }


def _plain_participant(choice: ParticipantChoice) -> dict[str, Any]:
    label = {} if choice.label is None else {"label": choice.label}
    if choice.left is None or choice.right is None:
        return {"listener": choice.listener, **label}
    return {"audiogram": plain_audiogram(choice.left, choice.right), **label}


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
