"""What a run works on, kept in its folder: who reads it later finds what the plan was made for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from cadenza_remix.atomic import create_text, make_folder, write_json, write_text, writing_failed
from cadenza_remix.audio.io import find_audio
from cadenza_remix.challenge.metadata import (
    SongEntry,
    SongSegments,
    load_segments,
    load_songs,
    segments_of,
    song_folder,
)
from cadenza_remix.challenge.pairs import Pair, make_pairs
from cadenza_remix.challenge.scorers import check_scorer
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Listener, load_listeners
from cadenza_remix.remix import Chain, load_chain
from cadenza_remix.runs.inputs import collect_songs
from cadenza_remix.runs.records import file_digest
from cadenza_remix.runs.shards.config import RunConfig, load_run_config, plain_config
from cadenza_remix.runs.shards.folder import RunFolder
from cadenza_remix.runs.songs import SongFile, find_references, find_songs

_FOLDER = "inputs"
_FILES = "files.json"


@dataclass(frozen=True)
class RunInputs:
    """Songs, listeners and settings as objects; ``references`` is None where nothing is to be scored.

    ``pairs``: empty where a plan has them; ``song_list``: what the challenge's list says of the songs, if there is one.
    """

    songs: Mapping[str, SongFile]
    listeners: Mapping[str, Listener]
    pairs: tuple[Pair, ...]
    chain: Chain
    segments: Mapping[str, SongSegments] | None
    references: Path | None
    song_list: tuple[SongEntry, ...] | None = None


def read_inputs(config: RunConfig, *, out: Path) -> RunInputs:
    """Read everything that a run's settings name.

    Parameters
    ----------
    config : RunConfig
    out : Path
        The folder of the run, in which no songs are looked for.

    Raises
    ------
    InputError
        Something is missing or wrong, such as a song without clean stems where those are named: the first fault.
    """
    listeners = load_listeners(config.listeners, only=config.listener or None)
    if config.song_list is not None:
        if config.music is None:
            raise InputError("a song list needs music", where="music", expected="a folder with train/ and test/")
        music = config.music
        songs = {song.name: SongFile(song.name, _mixture(music, song)) for song in load_songs(config.song_list)}
    else:
        songs = {song.name: song for song in find_songs(song.path for song in collect_songs(config.songs, out=out))}
    pairs = make_pairs(list(songs), listeners, small_test=config.small_test)
    inputs = _read(config, songs, pairs, listeners)
    if inputs.references is not None:
        check_scorer(config.scorer, config.noise)
        for song in dict.fromkeys(pair.song for pair in pairs):
            find_references(inputs.references, song)
    return inputs


def _read(
    config: RunConfig,
    songs: Mapping[str, SongFile],
    pairs: Sequence[Pair],
    listeners: Mapping[str, Listener] | None = None,
) -> RunInputs:
    listeners = listeners or load_listeners(config.listeners, only=config.listener or None)
    song_list = tuple(load_songs(config.song_list)) if config.song_list is not None else None
    segments = None
    if config.segments is not None:
        segments = segments_of([SongEntry(name, "test") for name in songs], load_segments(config.segments))
    references = config.references or (config.music if song_list is not None else None)
    return RunInputs(songs, listeners, tuple(pairs), load_chain(config.chain), segments, references, song_list)


def keep_inputs(config: RunConfig, inputs: RunInputs, folder: RunFolder) -> RunConfig:
    """Copy the small files that the settings name into the run's folder, where the songs lie, and the settings.

    Returns
    -------
    RunConfig
        The settings that name the copies: what later becomes of the originals does not touch the run.
    """
    kept = make_folder(folder.root / _FOLDER)
    changes: dict[str, object] = {}
    if Path(config.listeners).is_file():
        changes["listeners"] = str(_copy(Path(config.listeners), kept / "listeners.json"))
    if config.song_list is not None:
        changes["songs"] = (str(_copy(config.song_list, kept / "songs.json")),)
    else:
        changes["songs"] = tuple(str(song.path) for song in inputs.songs.values())
    if config.segments is not None:
        changes["segments"] = _copy(config.segments, kept / "segments.json")
    if Path(config.chain).is_file():
        changes["chain"] = str(_copy(Path(config.chain), kept / Path(config.chain).name))
    frozen = replace(config, **changes)  # type: ignore[arg-type]
    write_json(kept / _FILES, {name: str(song.path.absolute()) for name, song in inputs.songs.items()})
    write_text(folder.config, yaml.safe_dump(plain_config(frozen), sort_keys=False, allow_unicode=True))
    write_json(_settings(folder), {"given": fingerprint_of(config), "kept": fingerprint_of(frozen)})
    return frozen


def inputs_of(folder: RunFolder) -> tuple[RunConfig, RunInputs]:
    """Return the settings and inputs of a run that has been planned; no song is looked for, and pairs are the plan's.

    Raises
    ------
    InputError
        What was kept in the run's folder is not there, was edited, or is damaged.
    """
    config = load_run_config(folder.config)
    if fingerprint_of(config) != _kept(folder)["kept"]:
        raise InputError(
            "was edited", where=folder.config, expected="the settings of the plan; others need a new folder"
        )
    path = folder.root / _FOLDER / _FILES
    try:
        files = json.loads(path.read_text(encoding="utf-8"))
        songs = {name: SongFile(name, Path(file)) for name, file in files.items()}
    except OSError as error:
        raise InputError("cannot be read", where=path, found=error.strerror) from error
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError("damaged", where=path, expected="the files of the songs", found=str(error)) from error
    return config, _read(config, songs, ())


def begin(config: RunConfig, folder: RunFolder) -> bool:
    """Take a folder for a run, so that of two who do so at once one is refused; tell whether this call took it.

    Raises
    ------
    InputError
        It holds a run with other settings, and in which keys; or what it holds is damaged.
    OutputError
        The folder cannot be written.
    """
    mine = fingerprint_of(config)
    if create_text(_settings(folder), json.dumps({"given": mine, "kept": mine})):
        return True
    theirs = _kept(folder)["given"]
    if theirs != mine:
        differing = sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))
        raise InputError(
            "holds a run with other settings", where=folder.root, expected="another --out, or the same settings",
            found=f"other {', '.join(differing)}",
        )  # fmt: skip
    return False


def fingerprint_of(config: RunConfig) -> dict[str, Any]:
    """Return what differs where two settings would not give the same run: paths, names, contents of lists."""
    plain = plain_config(config)
    for key in ("slurm", "speeds"):  # where and how fast, not what
        plain.pop(key, None)
    for key in ("listeners", "segments"):
        if key in plain and Path(plain[key]).is_file():
            plain[key] = _digest_of(Path(plain[key]))
    if config.song_list is not None:
        plain["songs"] = _digest_of(config.song_list)
    if Path(config.chain).is_file():
        plain["chain"] = [Path(config.chain).stem, _digest_of(Path(config.chain))]
    return plain


def _digest_of(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise InputError("cannot be read", where=path, found=error.strerror) from error


def _settings(folder: RunFolder) -> Path:
    return folder.root / _FOLDER / "settings.json"


def _kept(folder: RunFolder) -> dict[str, dict[str, Any]]:
    path = _settings(folder)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {key: dict(kept[key]) for key in ("given", "kept")}
    except OSError as error:
        raise InputError("cannot be read", where=path, expected="the run's settings", found=error.strerror) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError("damaged", where=path, expected="the run's settings as they were kept") from error


def _mixture(music: Path, entry: SongEntry) -> Path:
    return find_audio(song_folder(music, entry), "mixture")


def _copy(source: Path, target: Path) -> Path:
    if source.resolve() != target.resolve():
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise writing_failed(target, error) from error
    return target
