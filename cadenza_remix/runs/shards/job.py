"""One unit of a run: whether it is done, whether it can be begun, and the doing of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cadenza_remix.audio.io import load_stems
from cadenza_remix.audio.signal import Audio
from cadenza_remix.challenge.naming import ENHANCED_FOLDER
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError, ModelError
from cadenza_remix.runs.demixing import Demixer, KeptStems
from cadenza_remix.runs.enhancing import PairWork
from cadenza_remix.runs.score_job import ScoreJob
from cadenza_remix.runs.shards.config import RunConfig
from cadenza_remix.runs.shards.folder import DEMIX, RunFolder
from cadenza_remix.runs.shards.inputs import RunInputs, inputs_of
from cadenza_remix.runs.shards.plan import Plan, Shard, Unit
from cadenza_remix.runs.shards.preparing import open_separator
from cadenza_remix.runs.shards.scratch import local_copy
from cadenza_remix.runs.songs import SongFile, find_references
from cadenza_remix.runs.sources import GrowingEntry
from cadenza_remix.separation.models.registry import ModelCard
from cadenza_remix.separation.models.store import ModelStore
from cadenza_remix.separation.networks.backend import leave_conveniences_out
from cadenza_remix.separation.separator import device_of


@dataclass(frozen=True)
class RunWork:
    """Does the units of one run; can be sent to a worker process, where it keeps what the units of a song share.

    ``separator``: name and fingerprint of the separator in the plan; ``scratch``: a folder on this machine's own disk,
    through which what several workers read comes from the shared disk once.
    """

    folder: RunFolder
    config: RunConfig
    inputs: RunInputs
    separator: Mapping[str, str]
    scratch: Path | None = None
    _kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        folder: RunFolder,
        plan: Plan,
        *,
        shard: Shard | None = None,
        scratch: Path | None = None,
        on_gpu: bool = False,
    ) -> RunWork:
        """Return the work of a planned run, or of one of its shards (whose songs alone it then knows).

        ``on_gpu``: the separator's device is a GPU, unless the settings name one.

        Raises
        ------
        InputError
            What was kept in the run's folder is not there, or damaged.
        """
        config, inputs = inputs_of(folder)
        if on_gpu and config.separator.get("device", "auto") == "auto":
            config = replace(config, separator={**config.separator, "device": "gpu"})
        songs = set(shard.songs if shard is not None else plan.songs)
        for name in songs - set(inputs.songs):
            raise InputError(
                "names no file of this song", where=folder.root / "inputs", expected=f"a file for {name!r}"
            )
        only = {name: song for name, song in inputs.songs.items() if name in songs}
        segments = inputs.segments and {name: inputs.segments[name] for name in only}
        inputs = replace(inputs, songs=only, segments=segments)
        return cls(folder, config, inputs, plan.separator, scratch)

    def __getstate__(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "_kept": {}}

    def prepare(self, stage: str) -> None:
        """Load what is heavy, once in each worker; for ``demix`` that is the separator on its device.

        Raises
        ------
        InputError, ModelError
            There is no such device here, or the model is not that of the plan.
        """
        if stage == DEMIX:
            leave_conveniences_out()
            device_of(self._demixer.separator)
        else:
            from cadenza_remix.metrics import compute_haaqi  # noqa: F401  (loaded before its time counts)

    def is_done(self, unit: Unit) -> bool:
        """Tell whether a unit's files and record are there, made from these very inputs."""
        try:
            song = self.inputs.songs[unit.song]
            if unit.kind == DEMIX:
                return self._stems.has(song, self._demix_key(song))
            if unit.kind == "enhance":
                return self._pair_work(unit).find() is not None
            return self._score_job(unit.song).find(Pair(unit.song, unit.listener)) is not None
        except InputError:  # such as a song that cannot be read: whoever works on it says so
            return False

    def missing(self, unit: Unit) -> str | None:
        """Say why a unit cannot be begun; None if it can."""
        if unit.kind == DEMIX:
            return None
        song = self.inputs.songs[unit.song]
        try:
            there = self._stems.has(song, self._demix_key(song))
        except InputError as error:
            return str(error)
        return None if there else f"the stems of {unit.song!r} are not there"

    def perform(self, unit: Unit) -> None:
        """Do a unit, whatever is there; errors of its own are CadenzaErrors."""
        song = self.inputs.songs[unit.song]
        if unit.kind == DEMIX:
            self._demixer.demix(song)
        elif unit.kind == "enhance":
            self._pair_work(unit).make(self._loaded(song))
        else:
            self._score(unit)

    def _score(self, unit: Unit) -> None:
        """Score a pair; enhanced signals that cannot be read any more are made again, once."""
        from threadpoolctl import threadpool_limits

        pair, job = Pair(unit.song, unit.listener), self._score_job(unit.song)
        with threadpool_limits(1):  # several BLAS threads would change the last digit
            try:
                job(pair)
            except InputError:
                if not self._is_damaged(pair):
                    raise
                work = self._pair_work(unit)
                work.record_path.unlink(missing_ok=True)
                work.make(self._loaded(self.inputs.songs[unit.song]))
                job(pair)

    def _is_damaged(self, pair: Pair) -> bool:
        try:
            GrowingEntry(self.folder.root / ENHANCED_FOLDER).read(pair)
        except InputError:
            return True
        return False

    @property
    def _stems(self) -> KeptStems:
        return KeptStems(self.folder.stems, self.separator["name"], self.separator["fingerprint"])

    def _demix_key(self, song: SongFile) -> str:
        """Return the key of a song's stems; the song is read anew only when its file has changed."""
        try:
            stat = song.path.stat()
        except OSError as error:
            raise InputError("cannot be read", where=song.path, found=error.strerror) from error
        state = (stat.st_size, stat.st_mtime_ns)
        keys: dict[str, tuple[tuple[int, int], str]] = self._kept.setdefault("demix keys", {})
        if song.name not in keys or keys[song.name][0] != state:
            keys[song.name] = (state, self._stems.key(song))
        return keys[song.name][1]

    @cached_property
    def _demixer(self) -> Demixer:
        store = _LocalStore(ModelStore(), self.scratch) if self.scratch is not None else None
        separator = open_separator(self.config, store=store)
        found = {"name": separator.name, "fingerprint": separator.fingerprint}
        if found != dict(self.separator):
            raise ModelError(
                f"{separator.name}: this machine has another model than the run was planned with: expected "
                f"{self.separator['name']} {self.separator['fingerprint']}, found {found['fingerprint']}"
            )
        return Demixer(separator, self.folder.stems)

    def _loaded(self, song: SongFile) -> Mapping[str, Audio]:
        """Return the stems of a song; those of the last one stay loaded."""
        shelf: OrderedDict[tuple[str, str], Mapping[str, Audio]] = self._kept.setdefault("stems", OrderedDict())
        name = (song.name, self._demix_key(song))
        if name not in shelf:
            shelf.clear()
            folder = self._stems.folder_of(song)
            if self.scratch is not None:
                folder = local_copy(folder, self.scratch, name="-".join(("stems", name[1][:24])))
            shelf[name] = load_stems(folder)
        return shelf[name]

    def _pair_work(self, unit: Unit) -> PairWork:
        song = self.inputs.songs[unit.song]
        cut = self.inputs.segments[unit.song] if self.inputs.segments else None
        listener = self.inputs.listeners[unit.listener]
        pair = Pair(unit.song, unit.listener)
        return PairWork(
            pair, listener, self.inputs.chain, self.folder.root, cut, self.config.wav, self._demix_key(song)
        )

    def _score_job(self, song: str) -> ScoreJob:
        """Return the scoring of this run's pairs, which keeps the clean stems of the last songs."""
        if self.inputs.references is None:
            raise InputError("nothing to score against", where=str(self.folder.config), expected="references")
        jobs: dict[str, ScoreJob] = self._kept.setdefault("score jobs", {})
        if song not in jobs:
            jobs.clear()
            jobs[song] = ScoreJob(
                GrowingEntry(self.folder.root / ENHANCED_FOLDER),
                self.inputs.references,
                {song: find_references(self.inputs.references, song)},
                self.inputs.listeners,
                self.inputs.segments,
                self.folder.score_records,
                self.config.scorer,
                self.config.noise,
            )
        return jobs[song]


@dataclass(frozen=True)
class _LocalStore:
    """The user's models, of which those in use are read from a copy on this machine's own disk."""

    store: ModelStore
    scratch: Path

    @property
    def home(self) -> Path:
        return self.store.home

    def is_installed(self, card: ModelCard) -> bool:
        return self.store.is_installed(card)

    def problem(self, card: ModelCard) -> str | None:
        return self.store.problem(card)

    def path(self, card: ModelCard, *, form: str | None = None) -> Path:
        return local_copy(self.store.path(card, form=form), self.scratch, name=f"{card.name.replace(':', '-')}-{form}")
