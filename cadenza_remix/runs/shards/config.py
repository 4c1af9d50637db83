"""The settings of a run: one YAML file for any machine or cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.audiogram import BUILT_IN_LISTENERS
from cadenza_remix.runs.shards.folder import RunFolder
from cadenza_remix.runs.shards.journal import measured_speeds
from cadenza_remix.runs.shards.plan import Speeds, read_plan
from cadenza_remix.separation.loading import is_model_path, separator_names
from cadenza_remix.separation.trained import CARD_NAME
from cadenza_remix.yaml_files import read_mapping

SEPARATOR_KEYS = ("model", "device", "precision", "wiener", "refine", "high_band")
_TEXTS = {"music": True, "listeners": False, "segments": True, "references": True, "chain": False, "scorer": False,
          "noise": False}  # fmt: skip
_MOST_BYTES = 255  # of a file's name, on every usual disk
_FLAGS = ("small_test", "wav")
_PATHS = ("music", "segments", "references")


@dataclass(frozen=True)
class RunConfig:
    """What a run works on and how.

    Parameters
    ----------
    songs : tuple of str
        A song list of the challenge (one name that ends in ``.json``), or audio files, folders and patterns.
    music : Path, optional
        With a song list: the folder with ``train`` and ``test`` of MUSDB18-HQ.
    listeners : str
        A listener file of the challenge, or a built-in set (``cad1-sample``, ``bisgaard``).
    listener : tuple of str
        Only these; all by default.
    segments : Path, optional
        Test mode: what of each song is handed in.
    references : Path, optional
        Clean stems; ``music`` by default. Without either nothing is scored.
    small_test : bool
        Every fifteenth pair only.
    separator : mapping
        ``model`` and the options of `cadenza_remix.separation.options.SeparationOptions`.
    chain, scorer, noise : str
        As the commands ``enhance`` and ``score`` take them.
    wav : bool
        Also write WAVs to listen to.
    speeds : Speeds, optional
        What units are expected to cost, for the plan and the time that is told. In the file a mapping, or the folder of
        a former run whose units were timed; by default what was measured on one core.
    slurm : mapping
        What a site's cluster needs; see `cadenza_remix.slurm.settings`. Not looked at here.
    """

    songs: tuple[str, ...]
    listeners: str
    music: Path | None = None
    listener: tuple[str, ...] = ()
    segments: Path | None = None
    references: Path | None = None
    small_test: bool = False
    separator: Mapping[str, Any] = field(default_factory=lambda: {"model": "auto"})
    chain: str = "baseline"
    scorer: str = "builtin"
    noise: str = "legacy"
    wav: bool = False
    speeds: Speeds | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)

    @property
    def song_list(self) -> Path | None:
        """Return the challenge's song list, None where songs are named by files."""
        is_list = len(self.songs) == 1 and self.songs[0].lower().endswith(".json")
        return Path(self.songs[0]) if is_list else None


def load_run_config(path: str | Path) -> RunConfig:
    """Read the settings of a run.

    Names of files in it are relative to its own folder.

    Raises
    ------
    InputError
        It cannot be read, is no YAML mapping, or a key is unknown, missing, given twice or of the wrong kind.
    """
    path = Path(path)
    raw = _mapping(read_mapping(path, expected="a YAML file with the settings of a run"), str(path))
    known = [entry.name for entry in fields(RunConfig)]
    for key in raw:
        if key not in known:
            raise unknown_name("key", key, known, where=path)
    values: dict[str, Any] = {}
    for key, optional in _TEXTS.items():
        if raw.get(key) is not None:
            values[key] = _text(raw[key], f"{path}: {key}")
        elif key in raw and not optional:
            raise InputError("has no value", where=f"{path}: {key}", expected="text")
    for key in _FLAGS:
        if raw.get(key) is not None:
            if not isinstance(raw[key], bool):
                raise InputError("wrong value", where=f"{path}: {key}", expected="true or false", found=repr(raw[key]))
            values[key] = raw[key]
    for key in ("songs", "listener"):
        if raw.get(key) is not None:
            values[key] = _texts(raw[key], f"{path}: {key}")
    for key in ("songs", "listeners"):
        if not values.get(key):
            raise InputError(f"key {key} is missing", where=path, expected=", ".join(("songs", "listeners")))
    if raw.get("separator") is not None:
        values["separator"] = _separator(raw["separator"], f"{path}: separator")
    if raw.get("speeds") is not None:
        values["speeds"] = _speeds(raw["speeds"], f"{path}: speeds", path.resolve().parent)
    if raw.get("slurm") is not None:
        values["slurm"] = _mapping(raw["slurm"], f"{path}: slurm")
    return RunConfig(**_from_folder(values, path.resolve().parent))


def plain_config(config: RunConfig) -> dict[str, Any]:
    """Return the settings as plain values that `load_run_config` reads again from any folder."""
    plain: dict[str, Any] = {"songs": list(config.songs)}
    for entry in fields(RunConfig):
        value = getattr(config, entry.name)
        if entry.name == "songs" or value in (None, (), {}):
            continue
        if isinstance(value, Path):
            value = str(value)
        elif isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, Speeds):
            value = dict(value.__dict__)
        elif isinstance(value, Mapping):
            value = dict(value)
        plain[entry.name] = value
    return plain


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        found = "nothing" if value is None else type(value).__name__
        raise InputError("wrong form", where=where, expected="keys with values", found=found)
    for key in value:
        if not isinstance(key, str):
            raise InputError("wrong key", where=where, expected="a name", found=repr(key))
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError("wrong value", where=where, expected="text", found=repr(value)[:80])
    if "\0" in value or any(len(os.fsencode(part)) > _MOST_BYTES for part in value.split("/")):
        found = repr(value[:40] + "..." if len(value) > 40 else value)
        raise InputError("cannot be a name", where=where, expected=f"parts of at most {_MOST_BYTES} bytes", found=found)
    return value


def _file(folder: Path, name: str) -> Path:
    """Return the absolute name of a file that is named relative to a folder; ``~`` is the user's own."""
    try:
        return folder / Path(name).expanduser()
    except RuntimeError as error:  # of a user that there is not
        raise InputError("names no folder", where=name, expected="a path", found=str(error)) from error


def _texts(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise InputError("wrong value", where=where, expected="text or a list of texts", found=repr(value))
    return tuple(_text(entry, f"{where}[{number}]") for number, entry in enumerate(value))


def _separator(value: object, where: str) -> Mapping[str, Any]:
    if isinstance(value, str):
        value = {"model": value}
    given = _mapping(value, where)
    for key in given:
        if key not in SEPARATOR_KEYS:
            raise unknown_name("key", key, SEPARATOR_KEYS, where=where)
    settings = {"model": "auto", **{key: entry for key, entry in given.items() if entry is not None}}
    _text(settings["model"], f"{where}: model")
    return settings


def _speeds(value: object, where: str, folder: Path) -> Speeds:
    """Read speeds, or take those that a former run measured, whose folder is named."""
    if isinstance(value, str):
        run = RunFolder(_file(folder, value))
        measured = measured_speeds(run, read_plan(run.plan))
        if measured is None:
            raise InputError("has measured nothing yet", where=f"{where}: {run.root}", expected="a run that did units")
        return measured
    known = [entry.name for entry in fields(Speeds)]
    given = _mapping(value, where)
    for key in given:
        if key not in known:
            raise unknown_name("key", key, known, where=where)
    try:
        return Speeds(**given)
    except InputError as error:
        raise InputError(str(error), where=where.removesuffix(": speeds")) from error


def _from_folder(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make names of files absolute; those of built-in things stay names."""
    for key in _PATHS:
        if key in values:
            values[key] = _file(folder, values[key])
    values["songs"] = tuple(str(_file(folder, song)) for song in values["songs"])
    if values["listeners"] not in BUILT_IN_LISTENERS:
        values["listeners"] = str(_file(folder, values["listeners"]))
    if values.get("chain", "").lower().endswith((".yaml", ".yml")):
        values["chain"] = str(_file(folder, values["chain"]))
    model = values.get("separator", {}).get("model")
    if model and (is_model_path(model) or _is_model_beside(folder, model)):
        values["separator"] = {**values["separator"], "model": str(_file(folder, model))}
    return values


def _is_model_beside(folder: Path, name: str) -> bool:
    return (_file(folder, name) / CARD_NAME).is_file() and name not in separator_names()
