"""Data sets in several layouts behind one interface: songs with their splits, whose stems are read by seek.

>>> from cadenza_remix.training.data.datasets import layout_names
>>> layout_names()
('musdb18hq', 'musdb18', 'dsd100', 'spleeter-csv', 'folder')
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from cadenza_remix.audio.io import STEM_LENGTH_TOLERANCE_S
from cadenza_remix.audio.reading import file_properties
from cadenza_remix.audio.seeking import check_ending
from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.training.data.layouts import LAYOUTS, SPLITS, FoundSong, Layout
from cadenza_remix.training.data.songs import MIXTURE, StemFile, TrainingSong

_N_THREADS = 8  # they wait for the disk


@dataclass(frozen=True)
class FileFacts:
    """What a file says of itself; how many samples is an estimate for some coded ones."""

    sample_rate: int
    n_channels: int
    n_samples: int


@dataclass(frozen=True)
class Dataset:
    """Songs of one set, sorted by split and name.

    Parameters
    ----------
    root : Path
        The folder or CSV file.
    layout : str
    songs : tuple of TrainingSong
    """

    root: Path
    layout: str
    songs: tuple[TrainingSong, ...]

    def __len__(self) -> int:
        return len(self.songs)

    def __iter__(self) -> Iterator[TrainingSong]:
        return iter(self.songs)

    @property
    def duration_s(self) -> float:
        return sum(song.duration_s for song in self.songs)

    @property
    def stem_names(self) -> tuple[str, ...]:
        """Of all songs, in the order in which they first come up."""
        return tuple(dict.fromkeys(stem for song in self.songs for stem in song.stems))

    def n_songs(self, split: str) -> int:
        """Return how many songs a split has; this may be none."""
        return sum(song.split == _known_split(split) for song in self.songs)

    def select(
        self, *, split: str | None = None, songs: Iterable[str] | None = None, exclude: Iterable[str] = ()
    ) -> Dataset:
        """Return the songs of a split, or those named, without those excluded.

        Parameters
        ----------
        split : str, optional
            ``train``, ``valid`` or ``test``.
        songs, exclude : iterable of str
            Names of songs of this set.

        Raises
        ------
        InputError
            An unknown split or name (a song that is to be held out must not slip in by a typing error), or nothing is
            left.
        """
        named, excluded = None if songs is None else set(songs), set(exclude)
        known = {song.name for song in self.songs}
        for name in sorted((named or set()) | excluded):
            if name not in known:
                raise unknown_name("song", name, sorted(known), where=self.root)
        chosen = tuple(
            song
            for song in self.songs
            if (split is None or song.split == _known_split(split))
            and (named is None or song.name in named)
            and song.name not in excluded
        )
        if not chosen:
            wanted = "songs" if split is None else f"songs of the split {split}"
            raise InputError(f"no {wanted} left", where=self.root, expected="at least one", found=_counted(self.songs))
        return replace(self, songs=chosen)


def layout_names() -> tuple[str, ...]:
    """Return the names of the layouts that `open_dataset` knows."""
    return tuple(LAYOUTS)


def open_dataset(path: str | Path, *, layout: str = "auto", split: str | None = None) -> Dataset:
    """Look at a data set: its songs, their files and lengths; no audio is decoded.

    Parameters
    ----------
    path : path
        Its folder, or Spleeter's CSV file.
    layout : str
        One of `layout_names`; ``auto`` finds it out.

        - ``musdb18hq``: ``{train,test}/<Song>/{mixture,vocals,drums,bass,other}.wav``, also below ``audio/musdb18hq``
        - ``musdb18``: ``{train,test}/<Song>.stem.mp4``; in both, validation songs as `musdb.cad1_split` says
        - ``dsd100``: ``Mixtures`` and ``Sources``; ``Dev`` is train, ``Test`` is test
        - ``spleeter-csv``: paths count from the CSV's folder; the split is what the file's name says (train, valid,
          validation, test), otherwise train
        - ``folder``: any folder with audio files is a song, at any depth, and each file a stem named after it
          (``mixture`` apart); a folder named vocals, drums, bass or other holds files of one stem, and so do those
          beside it. Folders train, valid, validation and test at the top are splits, all else is train. A song is named
          by its folder, with those between: ``artist/song``.
    split : str, optional
        Only the songs of this one.

    Raises
    ------
    InputError
        No such path, layout or split; no songs; a file is missing or cannot be read; files of one song differ in sample
        rate, or (but for ``spleeter-csv`` and ``folder``) by more than 0.1 s in length; two songs of one name.
    """
    path = Path(path)
    if split is not None:
        _known_split(split)
    kind, found = find_songs(path, layout=layout)
    if split is not None:
        found = [song for song in found if song.split == split] or _no_songs_of(split, path, found)
    with ThreadPoolExecutor(_N_THREADS) as executor:
        songs = tuple(executor.map(lambda song: _opened(song, kind), found))
    return Dataset(path, kind.name, songs)


def find_songs(path: Path, *, layout: str = "auto") -> tuple[Layout, list[FoundSong]]:
    """Return the layout of a data set and its songs by their files, sorted by split and name; no file is opened."""
    if layout != "auto" and layout not in LAYOUTS:
        raise unknown_name("layout", layout, ["auto", *LAYOUTS])
    if not path.exists():
        raise InputError("data set is missing", where=path, expected="a folder, or Spleeter's CSV file")
    if layout == "auto":
        kind = next((kind for kind in LAYOUTS.values() if kind.is_at(path)), None)
        if kind is None:
            looked = "; ".join(f"{kind.name}: {kind.looks_like}" for kind in LAYOUTS.values())
            raise InputError("no data set found", where=path, expected=f"one of {looked}", found=_contents(path))
    else:
        kind = LAYOUTS[layout]
    found = sorted(kind.find(path), key=lambda song: (SPLITS.index(song.split), song.name))
    if not found:
        raise InputError(f"no songs in the layout {kind.name}", where=path, expected=kind.looks_like)
    twice = [name for name, number in Counter(song.name for song in found).items() if number > 1]
    if twice:
        raise InputError(f"two songs are named {twice[0]!r}", where=path, expected="different names")
    return kind, found


def file_facts(file: StemFile) -> FileFacts:
    """Return what a file says of itself.

    Raises
    ------
    InputError
        It cannot be read as audio, is cut off, has more than two channels, or does not say how long it is.
    """
    properties = file_properties(file.path, stream_index=file.stream_index)
    check_ending(file.path)
    if properties.n_channels not in (1, 2):
        raise InputError("wrong number of channels", where=str(file), expected="1 or 2", found=properties.n_channels)
    if not properties.duration_s:
        raise InputError("does not say how long it is", where=str(file), expected="a duration of more than 0 s")
    n_samples = round(properties.duration_s * properties.sample_rate)
    return FileFacts(properties.sample_rate, properties.n_channels, n_samples)


def _opened(song: FoundSong, layout: Layout) -> TrainingSong:
    for stem, path in song.missing.items():
        if stem != MIXTURE:  # the sum of the stems takes its place
            raise InputError(f"{stem} of {song.name!r} is missing", where=path, expected=layout.looks_like)
    facts: dict[StemFile, FileFacts] = {}
    for files in song.stems.values():
        for file in files:
            # The streams of one MP4 are equally long, as its coder wrote them together; opening it is slow.
            same = next((known for known in facts if known.path == file.path), None)
            facts[file] = facts[same] if same else file_facts(file)
    rates = {file: entry.sample_rate for file, entry in facts.items()}
    if len(set(rates.values())) > 1:
        each = {rate: file.path.name for file, rate in rates.items()}
        found = ", ".join(f"{rate} ({name})" for rate, name in each.items())
        raise InputError("stems differ in sample rate", where=song.name, expected="one rate in Hz", found=found)
    rate = next(iter(rates.values()))
    longest = max(facts.values(), key=lambda entry: entry.n_samples).n_samples
    shortest = min(facts, key=lambda file: facts[file].n_samples)
    if layout.has_one_length and longest - facts[shortest].n_samples > STEM_LENGTH_TOLERANCE_S * rate:
        found = f"{facts[shortest].n_samples / rate:.3f} s beside {longest / rate:.3f} s"
        raise InputError("stems differ in length", where=str(shortest), expected="stems of one song", found=found)
    return TrainingSong(song.name, song.split, song.stems, song.mixture, rate, longest)


def _known_split(split: str) -> str:
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    return split


def _no_songs_of(split: str, path: Path, found: list[FoundSong]) -> list[FoundSong]:
    counted = _counted(found)
    raise InputError(f"no songs of the split {split}", where=path, expected="at least one", found=counted)


def _counted(songs: Iterable[TrainingSong | FoundSong]) -> str:
    numbers = Counter(song.split for song in songs)
    return ", ".join(f"{numbers[split]} {split}" for split in SPLITS if numbers[split]) or "none at all"


def _contents(path: Path) -> str:
    if path.is_file():
        return f"a file ({path.suffix or 'no suffix'})"
    names = sorted(entry.name for entry in path.iterdir())
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "an empty folder"
