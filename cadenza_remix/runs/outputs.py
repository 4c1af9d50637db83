"""What a separation writes: which stems, in which files, and whether they are there already."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.atomic import atomic_path
from cadenza_remix.audio.blocks import StemBlock
from cadenza_remix.audio.writing import FORMATS, OutputFormat
from cadenza_remix.challenge.naming import check_name
from cadenza_remix.errors import InputError, OutputError, unknown_name
from cadenza_remix.runs.records import Record, finished
from cadenza_remix.runs.songs import SongFile

OnClip = Literal["scale", "clip", "float"]
ON_CLIP = ("scale", "clip", "float")
DEFAULT_TEMPLATE = "{out}/{song}/{stem}.{format}"
PLACEHOLDERS = ("out", "song", "stem", "folder", "index", "format")
INSTRUMENTAL = "instrumental"
VOCALS = "vocals"
RECORDS_FOLDER = ".cadenza-remix"


@dataclass(frozen=True)
class OutputSettings:
    """How the stems of a song are written.

    Parameters
    ----------
    template : str
        Name of a file, from the placeholders ``{out}`` (folder of the results, at the beginning), ``{song}``,
        ``{stem}``, ``{folder}`` (in which the song lies), ``{index}`` (of the song, from 001) and ``{format}``.
    format_name, bits : str, optional
        As `OutputFormat` has them; by default what the template ends in, WAV if that is ``{format}``, with 16 bits.
    stems : sequence of str, optional
        Only these; all of the separator's by default, none with ``instrumental``.
    instrumental : bool
        Also everything but the vocals, summed into one file.
    keep_rate : bool
        Write at the song's own sample rate and in exactly its length, otherwise at the separator's rate.
    on_clip : str, optional
        What becomes of samples beyond full scale: ``clip`` cuts them, ``scale`` makes all files of the song quieter by
        one factor so that none is beyond, ``float`` keeps them (32f only). By default ``float`` for 32f and ``clip``
        otherwise: the stems stay at the song's level, as everybody expects who adds them up again.

    Raises
    ------
    InputError
        Settings that are unknown or exclude each other.
    """

    template: str = DEFAULT_TEMPLATE
    format_name: str | None = None
    bits: str | None = None
    stems: tuple[str, ...] | None = None
    instrumental: bool = False
    keep_rate: bool = False
    on_clip: OnClip | None = None

    def __post_init__(self) -> None:
        suffix = _check_template(self.template)
        object.__setattr__(self, "format_name", self.format_name or suffix or "wav")
        if suffix is not None and suffix != self.format.name:
            raise InputError(
                "template and format differ", where=self.template, expected=f".{self.format.name}", found=f".{suffix}"
            )
        if self.on_clip is None:
            object.__setattr__(self, "on_clip", "float" if self.format.keeps_overs else "clip")
        elif self.on_clip not in ON_CLIP:
            raise unknown_name("way with clipping", self.on_clip, ON_CLIP)
        elif self.on_clip == "float" and not self.format.keeps_overs:
            found = " ".join([self.format.name, self.format.bits or ""]).strip()
            raise InputError("samples beyond full scale cannot be kept", expected="--bits 32f (WAV)", found=found)

    @property
    def format(self) -> OutputFormat:
        return OutputFormat(self.format_name or "wav", self.bits)

    def plain(self) -> dict[str, object]:
        """Return what decides the contents of the files, for a key and for reading."""
        return {
            "format": self.format.name,
            "bits": self.format.bits,
            "keep_rate": self.keep_rate,
            "on_clip": self.on_clip,
        }


@dataclass(frozen=True)
class Selection:
    """Which files are made of a separator's stems: each the sum of some of them, by its name."""

    parts: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, stems: Sequence[str], settings: OutputSettings, *, separator: str) -> Selection:
        """Choose among a separator's stems.

        Raises
        ------
        InputError
            A stem that it does not give, or an instrumental without vocals to leave out or beside a stem of that name.
        """
        wanted = settings.stems if settings.stems is not None else () if settings.instrumental else tuple(stems)
        for stem in wanted:
            if stem not in stems:
                raise unknown_name("stem", stem, stems, where=separator)
        parts: dict[str, tuple[str, ...]] = {stem: (stem,) for stem in stems if stem in wanted}
        if settings.instrumental:
            if VOCALS not in stems:
                raise InputError(
                    "no instrumental can be had",
                    where=separator,
                    expected="a stem named vocals",
                    found=", ".join(stems),
                )
            if INSTRUMENTAL in stems:
                raise InputError(
                    f"gives a stem named {INSTRUMENTAL} itself",
                    where=separator,
                    expected="the stem (--stems) or everything but the vocals (--instrumental), not both names in one",
                )
            parts[INSTRUMENTAL] = tuple(stem for stem in stems if stem != VOCALS)
        if not parts:
            raise InputError("no stems are asked for", expected="some of " + ", ".join(stems))
        return cls(parts)

    def stack(self, block: StemBlock, n_channels: int) -> NDArray[np.float32]:
        """Return the files' samples side by side: shape (n_samples, n_files * n_channels).

        A mono song was separated as two equal channels; its stems are the mean of the two.
        """
        columns = []
        for stems in self.parts.values():
            samples = block[stems[0]] if len(stems) == 1 else np.sum([block[stem] for stem in stems], axis=0)
            if n_channels == 1:
                samples = (samples[:, :1] + samples[:, 1:]) * np.float32(0.5)
            columns.append(samples)
        return np.concatenate(columns, axis=1)


@dataclass(frozen=True)
class Target:
    """One song and the file for each of its parts."""

    song: SongFile
    files: Mapping[str, Path]
    out: Path

    def has_records(self) -> bool:
        return all(record_path(self.out, path).is_file() for path in self.files.values())

    def finished(self, key: str) -> Record | None:
        """Return the record when all files are there as this key made them."""
        found = [finished(record_path(self.out, path), key, self.out) for path in self.files.values()]
        return found[0] if all(record is not None for record in found) else None

    def clear(self) -> None:
        """Remove what a killed run left half of these files."""
        for path in self.files.values():
            # To begin a file removes it; to leave it by an error writes nothing.
            with suppress(OSError, _NothingToWrite), atomic_path(path):
                raise _NothingToWrite

    def forget(self) -> None:
        """Remove the records: what comes from here on is another result."""
        for path in self.files.values():
            record_path(self.out, path).unlink(missing_ok=True)

    def remember(self, record: Record) -> None:
        """Write the record for each of the files, for another run may want only some of them."""
        for path in self.files.values():
            record.write(record_path(self.out, path))


class _NothingToWrite(Exception):
    pass


def results_folder(out: str | Path) -> Path:
    """Return the folder of the results; refuse a name that is empty or that the system does not take."""
    if not str(out):
        raise InputError("folder of results has no name", where="--out", expected="a folder")
    folder = Path(out)
    try:
        folder.is_dir()
    except OSError as error:
        raise InputError("cannot be used", where=folder, expected="a folder", found=error.strerror) from error
    return folder


def plan_targets(songs: Sequence[SongFile], selection: Selection, settings: OutputSettings, out: Path) -> list[Target]:
    """Name all files that will be written.

    Raises
    ------
    InputError
        Two would have one name, one is a song that is to be read, or one would leave the folder.
    OutputError
        There is a file in the place of a folder, or a folder in that of a record.
    """
    inputs = {song.path.resolve() for song in songs}
    taken: dict[Path, str] = {}
    targets = []
    for index, song in enumerate(songs, start=1):
        files = {}
        for stem in selection.parts:
            path = _fill(settings, song, stem, index, out)
            what = f"{stem} of {song.path}"
            if path in taken:
                hint = "a --name that tells them apart, by {stem}, {song}, {folder} or {index}"
                raise InputError(f"{taken[path]} and {what} would be one file", where=path, expected=hint)
            if path.resolve() in inputs:
                raise InputError("would be written over a song", where=path, expected="another --out or --name")
            _check_places(path, out, what)
            taken[path] = what
            files[stem] = path
        targets.append(Target(song, files, out))
    return targets


def _check_places(path: Path, out: Path, what: str) -> None:
    """Refuse a place for a file, or for its record, that is taken by something else or that cannot be named."""
    record = record_path(out, path)
    try:
        if path.is_dir():
            raise InputError("is a folder", where=path, expected=f"a name for {what}")
        if record.is_dir():
            raise OutputError(
                f"{record}: cannot be written: expected a file (a record of what was done), found a folder"
            )
        for folder in (*path.parents, *record.parents):
            if folder.is_relative_to(out) and folder != out and folder.exists() and not folder.is_dir():
                raise OutputError(f"{folder}: cannot be written to: expected a folder, found a file")
    except (InputError, OutputError):
        raise
    except OSError as error:
        raise InputError("cannot be used", where=path, expected=f"a name for {what}", found=error.strerror) from error


def record_path(out: Path, path: Path) -> Path:
    """Return where the record of an output lies: hidden beside the songs' folders, under the file's own name."""
    relative = path.relative_to(out)
    return out / RECORDS_FOLDER / relative.parent / f"{relative.name}.json"


def _check_template(template: str) -> str | None:
    """Check the placeholders; return the format that the template ends in, None if it leaves it to the settings."""
    try:
        fields = [field for _, *field in string.Formatter().parse(template) if field[0] is not None]
    except ValueError as error:
        raise InputError("naming template cannot be read", where=template, found=error) from error
    for name, specification, conversion in fields:
        if name not in PLACEHOLDERS:
            raise unknown_name("placeholder", name, PLACEHOLDERS, where=template)
        if specification or conversion:
            raise InputError("placeholder with an addition", where=template, expected=f"{{{name}}} alone")
    if not template.startswith("{out}/") or template.count("{out}") > 1:
        raise InputError("naming template leaves the folder of results", where=template, expected="{out}/...")
    if template.endswith(".{format}"):
        return None
    suffix = Path(template).suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        expected = "an end in .{format}, " + ", ".join(f".{name}" for name in FORMATS)
        raise InputError("naming template does not end as a file of audio", where=template, expected=expected)
    return suffix


def _fill(settings: OutputSettings, song: SongFile, stem: str, index: int, out: Path) -> Path:
    folder = song.path.resolve().parent
    if song.path.stem == "mixture":  # the song itself is a folder
        folder = folder.parent
    name = settings.template.removeprefix("{out}/").format(
        song=song.name, stem=stem, folder=folder.name, index=f"{index:03d}", format=settings.format.name
    )
    parts = [check_name(part, "output", where=name) for part in name.split("/")]
    return out.joinpath(*parts)
