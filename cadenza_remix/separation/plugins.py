"""Separators that other packages bring along, found by the entry-point group ``cadenza_remix.separators``.

In the other package's ``pyproject.toml``::

    [project.entry-points."cadenza_remix.separators"]
    "acme:midside" = "acme_separation:build"

The entry's name is the separator's name; its value is a callable that returns a
`cadenza_remix.separation.separator.Separator`. It takes no arguments, or one by the name of ``options`` (a
`cadenza_remix.separation.options.SeparationOptions`), of which it has to refuse what it does not know. Looking for
names loads none of them; a broken one fails when it is asked for, and no other one with it. What its separator gives is
checked block by block, and what it raises becomes one line. The tutorial is ``docs/own_separator.md``.

For challenges that bar models trained on private data, the separator may have two attributes more: ``private_data``
(bool: unpublished songs were among the training data) and ``training_data`` (a line that says what was). Without
``private_data = False`` it is refused under such rules, since nobody knows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from cadenza_remix.audio.blocks import Block, BlockSource, StemBlock, checked_blocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import CadenzaError, ModelError
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.separator import (
    Progress,
    Separator,
    as_separator_input,
    check_source_rate,
    checked_stems,
    device_of,
    told,
)
from cadenza_remix.separation.stems import Stems

GROUP = "cadenza_remix.separators"
_END = object()


@dataclass(frozen=True)
class DeclaredTraining:
    """What a plug-in's separator says of its training, for `cadenza_remix.separation.models.registry.check_rules`."""

    name: str
    training_data: str
    private_data: bool | None


def declared_training(separator: Separator) -> DeclaredTraining:
    """Return what a separator says of its training; ``private_data`` is None where it says nothing."""
    private = getattr(separator, "private_data", None)
    data = str(getattr(separator, "training_data", None) or "private data")
    return DeclaredTraining(separator.name, data, private if isinstance(private, bool) else None)


def plugin_names() -> tuple[str, ...]:
    """Return the names of all separators that installed packages offer, sorted; nothing of them is loaded."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def load_plugin(name: str, *, options: SeparationOptions) -> Separator:
    """Build a separator that an installed package offers; whatever it does wrong later is a `ModelError`, too.

    Parameters
    ----------
    name : str
        One of `plugin_names`.
    options : SeparationOptions
        Handed on where the plug-in takes options; any that is not at its default is refused where it takes none.

    Raises
    ------
    ModelError
        The plug-in cannot be loaded, raises something, gives no separator, or two packages offer this name. What it
        raises on purpose (`CadenzaError`) is passed on.
    InputError
        The separator does not know one of the options.
    """
    entry = _only_entry(name)
    origin = _origin(entry)
    try:
        build = entry.load()
    except CadenzaError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{name}: {origin} cannot be loaded: {told(error)}") from error
    if not callable(build):
        raise ModelError(f"{name}: {origin} is no callable: found {type(build).__name__}")
    takes_options = _takes_options(build)
    if not takes_options:
        options.refuse_all_but((), separator=name)
    try:
        separator = build(options=options) if takes_options else build()
    except CadenzaError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{name}: {origin} failed: {told(error)}") from error
    _check(separator, name, origin)
    return _CheckedSeparator(cast(Separator, separator), origin)


class _CheckedSeparator:
    """A plug-in's separator, of which nothing is believed."""

    def __init__(self, inner: Separator, origin: str) -> None:
        self._inner = inner
        self._where = f"{inner.name}: {origin}"
        self.name = inner.name
        self.stems = inner.stems
        self.sample_rate = inner.sample_rate
        self.fingerprint = inner.fingerprint
        with self._failures([]):
            self.private_data = getattr(inner, "private_data", None)
            self.training_data = getattr(inner, "training_data", None)

    def __repr__(self) -> str:
        return repr(self._inner)

    @property
    def device(self) -> str:
        with self._failures([]):
            return device_of(self._inner)

    def separate(self, audio: Audio, *, progress: Progress | None = None) -> Stems:
        """Separate one song; see `cadenza_remix.separation.separator.Separator.separate`."""
        song = as_separator_input(audio, self.sample_rate)
        outside: list[BaseException] = []
        with self._failures(outside):
            stems = self._inner.separate(audio, progress=_noted(progress, outside))
        if not isinstance(stems, Stems):
            raise ModelError(f"{self._where} gave no stems: expected Stems, found {type(stems).__name__}")
        if set(stems) != set(self.stems):
            raise ModelError(f"{self._where}: wrong stems: expected {', '.join(self.stems)}, found {', '.join(stems)}")
        for what, expected, found in (
            ("sample rate", song.sample_rate, stems.sample_rate),
            ("length in samples", song.n_samples, stems.n_samples),
        ):
            if found != expected:
                raise ModelError(f"{self._where}: wrong {what} of its stems: expected {expected}, found {found}")
        return stems

    def separate_blocks(self, source: BlockSource, *, progress: Progress | None = None) -> Iterator[StemBlock]:
        """Separate block by block; see `cadenza_remix.separation.separator.Separator.separate_blocks`."""
        check_source_rate(source, self.sample_rate)
        outside: list[BaseException] = []
        counted = _CountedSource(source, outside)
        n_given = 0
        with self._failures(outside):
            blocks = iter(self._inner.separate_blocks(counted, progress=_noted(progress, outside)))
        while True:
            with self._failures(outside):
                block = next(blocks, _END)
                if block is _END:
                    break
                stems = checked_stems(block, self.stems, where=self._where, piece="a block")
            n_samples = len(stems[self.stems[0]])
            n_given += n_samples
            if n_given > counted.n_read:
                raise self._wrong_length(f"at most the {counted.n_read} samples that it read of the song", n_given)
            if n_samples:
                yield stems
        if not counted.ended:
            raise ModelError(f"{self._where} did not read the song to its end: it read {counted.n_read} samples")
        if n_given != counted.n_read:
            raise self._wrong_length(f"{counted.n_read} samples as the song", n_given)

    def _wrong_length(self, expected: str, found: int) -> ModelError:
        return ModelError(f"{self._where}: wrong length of its stems: expected {expected}, found {found}")

    @contextmanager
    def _failures(self, outside: list[BaseException]) -> Iterator[None]:
        """Tell in one line what the plug-in raises; what others raised within it is passed on."""
        try:
            yield
        except (Exception, SystemExit) as error:
            if isinstance(error, CadenzaError) or any(error is other for other in outside):
                raise
            raise ModelError(f"{self._where} failed: {told(error)}") from error


class _CountedSource:
    """A song as a plug-in sees it: checked, and counted while it is read.

    Attributes
    ----------
    n_read : int
        The most samples of it that were read in one go.
    ended : bool
        Whether its end was reached.
    """

    def __init__(self, source: BlockSource, raised: list[BaseException]) -> None:
        self.name = source.name
        self.sample_rate = source.sample_rate
        self.duration_s = source.duration_s
        self.n_read = 0
        self.ended = False
        self._source = source
        self._raised = raised

    def blocks(self) -> Iterator[Block]:
        n_samples = 0
        blocks = checked_blocks(self._source)
        while True:
            try:
                block = next(blocks, None)
            except Exception as error:
                self._raised.append(error)
                raise
            if block is None:
                self.ended = True
                return
            n_samples += len(block)
            self.n_read = max(self.n_read, n_samples)
            yield block


def _noted(progress: Progress | None, raised: list[BaseException]) -> Progress | None:
    """Return the callback so that what it raises is known for not the plug-in's."""
    if progress is None:
        return None

    def noted(share: float) -> None:
        try:
            progress(share)
        except Exception as error:
            raised.append(error)
            raise

    return noted


def _only_entry(name: str) -> EntryPoint:
    entries = sorted(entry_points(group=GROUP, name=name), key=lambda entry: entry.value)
    if not entries:
        raise ModelError(f"{name}: no installed package offers this separator")
    if len(entries) > 1:
        packages = ", ".join(_origin(entry) for entry in entries)
        raise ModelError(
            f"{name}: offered by more than one package: expected one of them uninstalled, found {packages}"
        )
    return entries[0]


def _origin(entry: EntryPoint) -> str:
    """Name the plug-in for messages: ``plug-in acme_separation:build of acme-separation 1.0``."""
    package = f" of {entry.dist.name} {entry.dist.version}" if entry.dist is not None else ""
    return f"plug-in {entry.value}{package}"


def _takes_options(build: Callable[..., object]) -> bool:
    try:
        return "options" in inspect.signature(build).parameters
    except (TypeError, ValueError):  # a callable of a C extension may have no signature
        return False


def _check(separator: object, name: str, origin: str) -> None:
    """Refuse what is no separator by what every caller relies on."""
    expectations: dict[str, tuple[str, Callable[[object], bool]]] = {
        "name": (repr(name), lambda value: value == name),
        "stems": ("a tuple of different names", lambda value: bool(value) and _are_names(value)),
        "sample_rate": ("a number of Hz", lambda value: isinstance(value, int) and value > 0),
        "fingerprint": ("some text", lambda value: isinstance(value, str) and value != ""),
        "separate": ("a method", callable),
        "separate_blocks": ("a method", callable),
    }
    for attribute, (expected, fits) in expectations.items():
        try:
            value = getattr(separator, attribute)
        except AttributeError:
            raise ModelError(f"{name}: {origin} gave no separator: expected {attribute}, found none") from None
        except Exception as error:
            raise ModelError(f"{name}: {origin} failed: {told(error)}") from error
        if not fits(value):
            raise ModelError(
                f"{name}: {origin} gave a separator with a wrong {attribute}: expected {expected}, found {value!r}"
            )


def _are_names(value: object) -> bool:
    names = isinstance(value, tuple) and all(isinstance(stem, str) and stem for stem in value)
    return names and len(set(cast(tuple[str, ...], value))) == len(cast(tuple[str, ...], value))
