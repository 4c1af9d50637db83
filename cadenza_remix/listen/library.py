"""What there is to hear: songs, systems and listeners of finished runs, and what visitors add to them."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cadenza_remix.audio.io import audio_duration_s
from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram, Listener, load_listeners
from cadenza_remix.listen.live import LiveChains
from cadenza_remix.remix import Chain
from cadenza_remix.runs.finished import FinishedRun, SongSources
from cadenza_remix.runs.songs import first_file

MOST_CUSTOM_LISTENERS = 512
"""So many audiograms of visitors are kept; the one that was not asked for the longest goes first."""
MOST_FREQUENCIES = 32
"""Of an audiogram that a visitor sends."""
_CUSTOM = "custom-"


class UnknownIdError(InputError):
    """An id that is not in the library, or no longer. The message never lists the others: some are secret."""


@dataclass(frozen=True)
class RoomSong:
    """A song: ``id`` for addresses, its shown ``name``, and where its audio lies.

    ``is_upload``: a visitor's own, found by nobody who does not know its id.
    """

    id: str
    name: str
    duration_s: float
    sources: SongSources
    is_upload: bool = False


@dataclass(frozen=True)
class System:
    """A chain with a separator, by the name of its run; ``run`` is None where there are no files of it."""

    name: str
    chain: Chain | None
    run: FinishedRun | None


class Library:
    """Songs, systems and listeners; safe to use from several threads.

    Parameters
    ----------
    songs, systems, listeners : sequences
        Each with ids (systems: names) of their own.
    name : str
        What it is called.

    Attributes
    ----------
    live : LiveChains
        Makes what no run has made.

    Raises
    ------
    InputError
        Two systems of one name.
    """

    def __init__(
        self,
        songs: Iterable[RoomSong] = (),
        systems: Iterable[System] = (),
        listeners: Iterable[Listener] = (),
        *,
        name: str = "Listening room",
    ) -> None:
        self.name = name
        self.live = LiveChains()
        self._songs = {song.id: song for song in songs}
        self._systems: dict[str, System] = {}
        for system in systems:
            if system.name in self._systems:
                raise InputError("two systems have one name", where=system.name, expected="a name for each")
            self._systems[system.name] = system
        self._listeners = {listener.id: listener for listener in listeners}
        self._standard = load_listeners("bisgaard")
        self._uploads: dict[str, RoomSong] = {}
        self._custom: OrderedDict[str, Listener] = OrderedDict()
        self._when_removed: list[Callable[[str], object]] = []
        self._lock = threading.Lock()

    @classmethod
    def from_runs(cls, runs: Sequence[FinishedRun], *, name: str | None = None) -> Library:
        """Gather what finished runs hold.

        Systems are the runs with enhanced signals. Of a song that several runs know, each file is taken from the first
        run that has it; a listener is the first run's of that id, and runs whose listener of that id has another
        audiogram are heard live for this one.

        Raises
        ------
        InputError
            No runs, or two of one name.
        """
        if not runs:
            raise InputError("no runs", where="listening room", expected="at least one finished run")
        listeners: dict[str, Listener] = {}
        for run in runs:
            for key, listener in run.listeners.items():
                listeners.setdefault(key, listener)
        names = dict.fromkeys(song for run in runs for song in run.songs)
        songs = [_song_of(song, runs) for song in names]
        systems = [System(run.name, run.chain, run) for run in runs if run.enhanced]
        title = name or ", ".join(dict.fromkeys(_root_name(run) for run in runs))
        return cls(songs, systems, listeners.values(), name=title)

    @property
    def songs(self) -> tuple[RoomSong, ...]:
        """Songs of the runs; uploads are not listed."""
        return tuple(self._songs.values())

    @property
    def systems(self) -> tuple[System, ...]:
        return tuple(self._systems.values())

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Listeners of the runs; neither the standard ones nor those that visitors made."""
        return tuple(self._listeners.values())

    @property
    def standard_listeners(self) -> tuple[Listener, ...]:
        """The standard audiograms of Bisgaard et al. (2010), the same in both ears."""
        return tuple(self._standard.values())

    def song(self, song_id: str) -> RoomSong:
        """Return a song or an upload by its id.

        Raises
        ------
        UnknownIdError
            There is none.
        """
        with self._lock:
            song = self._songs.get(song_id) or self._uploads.get(song_id)
        if song is None:
            raise UnknownIdError("unknown song", expected="an id that the server gave")
        return song

    def song_named(self, name: str) -> RoomSong:
        """Return a song of the runs by its name.

        Raises
        ------
        UnknownIdError
            There is none.
        """
        for song in self._songs.values():
            if song.name == name:
                return song
        raise UnknownIdError(f"unknown song {name!r}", expected="one of " + ", ".join(s.name for s in self.songs))

    def system(self, name: str) -> System:
        """Return a system by its name.

        Raises
        ------
        UnknownIdError
            There is none.
        """
        if name not in self._systems:
            raise UnknownIdError(f"unknown system {name!r}", expected="one of " + ", ".join(self._systems))
        return self._systems[name]

    def listener(self, listener_id: str) -> Listener:
        """Return a listener of the runs, a standard one (``N1`` ...) or a visitor's by its id.

        Raises
        ------
        UnknownIdError
            There is none.
        """
        known = self._listeners.get(listener_id) or self._standard.get(listener_id)
        if known is not None:
            return known
        with self._lock:
            if listener_id in self._custom:
                self._custom.move_to_end(listener_id)
                return self._custom[listener_id]
        raise UnknownIdError("unknown listener", expected="an id that the server gave")

    def add_listener(self, left: Audiogram, right: Audiogram) -> Listener:
        """Take up a visitor's audiograms; equal ones get the same id.

        Raises
        ------
        InputError
            More frequencies than any audiogram has.
        """
        key = hashlib.sha256()
        for audiogram in (left, right):
            n_frequencies = len(audiogram.frequencies_hz)
            if n_frequencies > MOST_FREQUENCIES:
                expected = f"at most {MOST_FREQUENCIES}"
                raise InputError("too many frequencies", where="audiogram", expected=expected, found=n_frequencies)
            key.update(n_frequencies.to_bytes(2, "big") + audiogram.frequencies_hz.tobytes())
            key.update(audiogram.levels_db_hl.tobytes())
        listener = Listener(f"{_CUSTOM}{key.hexdigest()[:24]}", left, right)
        with self._lock:
            self._custom[listener.id] = listener
            self._custom.move_to_end(listener.id)
            while len(self._custom) > MOST_CUSTOM_LISTENERS:
                self._custom.popitem(last=False)
        return listener

    def add_song(self, name: str, sources: SongSources, duration_s: float) -> RoomSong:
        """Take up a visitor's song under an id that cannot be guessed."""
        song = RoomSong(f"upload-{secrets.token_urlsafe(18)}", name, duration_s, sources, is_upload=True)
        with self._lock:
            self._uploads[song.id] = song
        return song

    def remove_song(self, song_id: str) -> None:
        """Forget an upload; its files are the caller's. Nothing happens where there is none."""
        with self._lock:
            song = self._uploads.pop(song_id, None)
        for callback in self._when_removed if song is not None else ():
            callback(song_id)

    def when_removed(self, callback: Callable[[str], object]) -> None:
        """Have a function called with the id of each upload that is removed."""
        self._when_removed.append(callback)


def _song_of(name: str, runs: Sequence[FinishedRun]) -> RoomSong:
    known = [run.sources[name] for run in runs if name in run.sources]

    def first(part: str) -> Path | None:
        return next((path for source in known if (path := getattr(source, part)) is not None), None)

    separated = next((source for source in known if source.kept_stems is not None), SongSources())
    sources = SongSources(first("mixture"), first("references"), separated.kept_stems, separated.separator)
    digest = hashlib.sha256(name.encode("utf-8")).hexdigest()
    return RoomSong(f"song-{digest[:16]}", name, _duration_s(name, sources, runs), sources)


def _duration_s(name: str, sources: SongSources, runs: Sequence[FinishedRun]) -> float:
    """Return how long a song is by the first file that tells; of passages alone, where the last one ends.

    What cannot be read is passed over: it is told to whoever wants to hear it, and the rest can be heard all the same.
    """
    for part in (sources.mixture, sources.references, sources.kept_stems):
        if part is not None:
            with suppress(InputError):
                return audio_duration_s(first_file(part) if part.is_dir() else part)
    return max((_end_s(run, pair) for run in runs for pair in run.enhanced if pair.song == name), default=0.0)


def _end_s(run: FinishedRun, pair: Pair) -> float:
    segments = run.segments_s(pair)
    if segments:
        return max(end for _, end in segments.values())
    for file in (run.remix_file(pair), run.stem_file(pair, EARS[0], STEMS[0])):
        if file is not None:
            with suppress(InputError):
                return audio_duration_s(file)
    return 0.0


def _root_name(run: FinishedRun) -> str:
    """Return what a person calls the results: the folder above where the runs of a demo lie."""
    holds_runs = (run.folder.parent / "stems").is_dir() or (run.folder.parent / "references").is_dir()
    return run.folder.parent.name if holds_runs else run.folder.name


def listener_name(listener_id: str) -> str:
    """Return what a person calls a listener: one whose audiogram was typed in or drawn has an id that tells nothing.

    Examples
    --------
    >>> listener_name("L5040"), listener_name("custom-2ece48098cd23534d9bca443")
    ('L5040', 'own audiogram')
    """
    return "own audiogram" if listener_id.startswith(_CUSTOM) else listener_id


def missing_of(library: Library) -> Mapping[str, Sequence[str]]:
    """Return the songs that lack something to listen to, by what they lack: ``mixture``, ``clean``, ``separated``."""
    lacks: dict[str, list[str]] = {"mixture": [], "clean": [], "separated": []}
    for song in library.songs:
        found = (song.sources.mixture, song.sources.references, song.sources.kept_stems)
        for part, path in zip(lacks, found, strict=True):
            if path is None:
                lacks[part].append(song.name)
    return {part: songs for part, songs in lacks.items() if songs}
