"""What a data set holds, and what is wrong with it: the look that comes before any training.

One pass over the files, block by block, songs in parallel threads. Faults are told, never fatal: broken and missing
files, stems that do not add up to the mixture, that differ in rate or length, that are silent throughout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.io import STEM_LENGTH_TOLERANCE_S
from cadenza_remix.audio.reading import FileBlocks, file_properties
from cadenza_remix.audio.signal import STEMS
from cadenza_remix.errors import InputError
from cadenza_remix.runs.pool import run_units
from cadenza_remix.runs.progress import NoProgress, Progress
from cadenza_remix.training.data.datasets import find_songs
from cadenza_remix.training.data.layouts import SPLITS, FoundSong
from cadenza_remix.training.data.measuring import Measurements, Meter, block_length
from cadenza_remix.training.data.songs import MIXTURE, StemFile
from cadenza_remix.units import energy_ratio_db, lin_to_db

RESIDUAL_LIMIT_DB = -20.0
"""Mixture minus stems, relative to the mixture: above this they do not add up. Rounding to 16 bits leaves less than
-60 dB, the separate coding of MUSDB18's streams -21 to -25 dB; a missing instrument leaves more."""
_GAIN_HELPS_DB = 6.0
"""A fault names the gain at which the stems add up when so much less is left at it."""
FAULT_KINDS = ("missing", "broken", "rate", "length", "sum", "silent")
STAGE = "describe"


@dataclass(frozen=True)
class Fault:
    """Something wrong with a song; ``kind`` is one of `FAULT_KINDS`, ``stem`` may be ``mixture`` or empty."""

    song: str
    stem: str
    kind: str
    text: str


@dataclass(frozen=True)
class StemFacts:
    """One stem of a song.

    Parameters
    ----------
    files : tuple of str
        Empty for a mixture that is the sum of the stems.
    sample_rate, n_channels : int
        Of the (first) file; the measurements see mono as two equal channels.
    measured : Measurements
    relative_db : float
        Energy relative to the mixture; NaN where that is not known.
    """

    files: tuple[str, ...]
    sample_rate: int
    n_channels: int
    measured: Measurements
    relative_db: float

    @property
    def duration_s(self) -> float:
        return self.measured.n_samples / self.sample_rate


@dataclass(frozen=True)
class SongFacts:
    """One song; broken and missing stems are no part of ``stems``, the mixture is ``mixture``.

    ``residual_db`` is the energy of mixture minus stems relative to the mixture: minus infinity where they add up
    exactly, NaN where it cannot be told.
    """

    name: str
    split: str
    stems: Mapping[str, StemFacts]
    mixture: StemFacts | None
    residual_db: float
    faults: tuple[Fault, ...]

    @property
    def duration_s(self) -> float:
        return max((stem.duration_s for stem in self.stems.values()), default=0.0)


@dataclass(frozen=True)
class DataDescription:
    """A data set: its songs sorted by split and name."""

    root: Path
    layout: str
    songs: tuple[SongFacts, ...]

    @property
    def duration_s(self) -> float:
        return sum(song.duration_s for song in self.songs)

    @property
    def stem_names(self) -> tuple[str, ...]:
        """Vocals, drums, bass, other as far as there are any, then the others by how many songs have them."""
        numbers = Counter(stem for song in self.songs for stem in song.stems)
        others = sorted(set(numbers) - set(STEMS), key=lambda name: (-numbers[name], name))
        return (*(stem for stem in STEMS if stem in numbers), *others)

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that have songs."""
        present = {song.split for song in self.songs}
        return tuple(split for split in SPLITS if split in present)

    @property
    def faults(self) -> tuple[Fault, ...]:
        return tuple(fault for song in self.songs for fault in song.faults)


def describe(
    path: str | Path, *, layout: str = "auto", n_workers: int | None = None, progress: Progress | None = None
) -> DataDescription:
    """Read a whole data set once and measure every stem of every song.

    Parameters
    ----------
    path, layout
        As `cadenza_remix.training.data.datasets.open_dataset` takes them.
    n_workers : int, optional
        Threads, each of which works on a song; the number of cores by default.
    progress : Progress, optional
        Is told of each song that is done, in the stage ``describe``.

    Raises
    ------
    InputError
        There is no data set in this layout; its faults are no errors but part of the description.
    """
    path = Path(path)
    progress = progress or NoProgress()
    kind, found = find_songs(path, layout=layout)
    progress.start(STAGE, len(found))

    def work(song: FoundSong) -> SongFacts:
        facts = _describe_song(song, path if path.is_dir() else path.parent)
        progress.advance(STAGE)
        return facts

    songs, failures = run_units(found, work, n_workers=n_workers, name=lambda song: song.name)
    if failures:  # faults of files end up in the facts; this is something else
        raise failures[0].error
    return DataDescription(path, kind.name, tuple(_with_uncommon_gaps(songs)))


class _Lane:
    """The files of one stem, read side by side."""

    def __init__(self, stem: str, files: Sequence[StemFile]) -> None:
        self.stem, self.files = stem, tuple(files)
        self.fault: tuple[str, str] | None = None
        sources = []
        try:
            for file in files:
                rate = file_properties(file.path, stream_index=file.stream_index).sample_rate
                length = block_length(rate)
                sources.append(FileBlocks.of(file.path, stream_index=file.stream_index, block_length=length))
        except InputError as error:
            self.fault = ("broken", str(error))
            return
        self.sample_rate, self.n_channels = sources[0].sample_rate, sources[0].n_channels
        if len({source.sample_rate for source in sources}) > 1:
            found = ", ".join(f"{source.sample_rate} Hz" for source in sources)
            self.fault = ("rate", f"files of one stem differ in sample rate: {found}")
            return
        self.meter = Meter(self.sample_rate)
        self._blocks = [_checked_blocks(source) for source in sources]

    def next_block(self) -> NDArray[np.float32] | None:
        """Measure the next block and return it; None at the end, or where a file turns out to be broken."""
        if self.fault:
            return None
        try:
            blocks = [block for source in self._blocks if (block := next(source, None)) is not None]
        except InputError as error:
            self.fault = ("broken", str(error))
            return None
        if not blocks:
            return None
        block = blocks[0] if len(blocks) == 1 else _sum(blocks)
        self.meter.add(block)
        return block


def _checked_blocks(source: FileBlocks) -> Iterator[NDArray[np.float32]]:
    """Yield the blocks of a file; an InputError at the end of one that holds less than its container says."""
    n_samples = 0
    for block in source.blocks():
        n_samples += len(block)
        yield block
    is_exact = source.path.suffix.lower() in (".mp4", ".m4a")  # of the others libsndfile knows, or nobody
    lacking_s = (source.duration_s or 0.0) - n_samples / source.sample_rate
    if is_exact and lacking_s > STEM_LENGTH_TOLERANCE_S:
        found = f"{n_samples / source.sample_rate:.2f} s"
        raise InputError("file is cut off", where=source.path, expected=f"{source.duration_s:.2f} s", found=found)


def _describe_song(song: FoundSong, root: Path) -> SongFacts:
    lanes = [_Lane(stem, files) for stem, files in song.stems.items()]
    mixture = _Lane(MIXTURE, (song.mixture,)) if song.mixture else None
    rates = {lane.sample_rate for lane in (*lanes, *([mixture] if mixture else [])) if not lane.fault}
    balance, total = _measure(lanes, mixture, rates)
    faults = [Fault(song.name, stem, "missing", f"no such file: {path}") for stem, path in song.missing.items()]
    faults += [
        Fault(song.name, lane.stem, *lane.fault) for lane in (*lanes, *([mixture] if mixture else [])) if lane.fault
    ]
    whole = [lane for lane in lanes if not lane.fault]
    is_complete = bool(lanes) and len(whole) == len(lanes) and set(song.missing) <= {MIXTURE} and len(rates) == 1
    reference: StemFacts | None = None
    if mixture and not mixture.fault:
        reference = _facts(mixture, mixture.meter.result(), root, None)
    elif total and is_complete:
        measured = total.result()
        reference = StemFacts((), next(iter(rates)), max(lane.n_channels for lane in whole), measured, 0.0)
    stems = {lane.stem: _facts(lane, lane.meter.result(), root, reference) for lane in whole}
    residual_db = np.nan
    if is_complete and reference and reference.files:
        residual_db = energy_ratio_db(balance.residual, reference.measured.energy)
    facts = SongFacts(song.name, song.split, stems, reference, residual_db, ())
    return replace(facts, faults=(*faults, *_faults_of(facts, song, balance)))


@dataclass
class _Balance:
    """Energies summed up over a song: of mixture minus stems, of the sum of the stems, and of both times each other."""

    residual: float = 0.0
    stems: float = 0.0
    both: float = 0.0

    def add(self, stems: NDArray[np.float32], mixture: NDArray[np.float32]) -> None:
        residual = mixture - stems
        self.residual += _dot(residual, residual)
        self.stems += _dot(stems, stems)
        self.both += _dot(stems, mixture)


def _measure(lanes: Sequence[_Lane], mixture: _Lane | None, rates: set[int]) -> tuple[_Balance, Meter | None]:
    """Read all files of a song to their ends, together; the second result measures the sum where no file is it."""
    can_add = len(rates) == 1
    total = Meter(next(iter(rates))) if can_add and mixture is None else None
    balance = _Balance()
    while True:
        parts = [part for lane in lanes if (part := lane.next_block()) is not None]
        mixed = mixture.next_block() if mixture else None
        if not parts and mixed is None:
            return balance, total
        if total is not None:
            total.add(_sum(parts))
        elif can_add:
            n_samples = max(len(part) for part in (*parts, *([] if mixed is None else [mixed])))
            balance.add(_sum(parts, n_samples), _sum([] if mixed is None else [mixed], n_samples))


def _dot(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    return float(np.einsum("nc,nc->", left, right, dtype=np.float64))


def _sum(blocks: Sequence[NDArray[np.float32]], n_samples: int | None = None) -> NDArray[np.float32]:
    """Return the sum of blocks, the shorter ones followed by zeros."""
    total = np.zeros((max(map(len, blocks)) if n_samples is None else n_samples, 2), dtype=np.float32)
    for block in blocks:
        total[: len(block)] += block
    return total


def _facts(lane: _Lane, measured: Measurements, root: Path, mixture: StemFacts | None) -> StemFacts:
    relative_db = 0.0 if lane.stem == MIXTURE else np.nan
    if mixture and mixture.sample_rate == lane.sample_rate:
        relative_db = energy_ratio_db(measured.energy, mixture.measured.energy)
    files = tuple(_below(file, root) for file in lane.files)
    return StemFacts(files, lane.sample_rate, lane.n_channels, measured, relative_db)


def _below(file: StemFile, root: Path) -> str:
    try:
        path = file.path.relative_to(root)
    except ValueError:  # a CSV may name files anywhere
        path = file.path
    return str(StemFile(path, file.stream_index))


def _faults_of(facts: SongFacts, song: FoundSong, balance: _Balance) -> Iterator[Fault]:
    """Yield what is wrong with files that can be read."""
    parts = dict(facts.stems)
    if facts.mixture and facts.mixture.files:
        parts[MIXTURE] = facts.mixture
    if len({part.sample_rate for part in parts.values()}) > 1:
        text = ", ".join(f"{stem} {part.sample_rate} Hz" for stem, part in parts.items())
        yield Fault(song.name, "", "rate", f"files differ in sample rate: {text}")
    lengths = {stem: part.duration_s for stem, part in parts.items()}
    if lengths and max(lengths.values()) - min(lengths.values()) > STEM_LENGTH_TOLERANCE_S:
        text = ", ".join(f"{stem} {seconds:.2f} s" for stem, seconds in lengths.items())
        yield Fault(song.name, "", "length", f"files differ in length: {text}")
    if song.announced_s is not None and lengths:
        longest = max(lengths.values())
        if abs(longest - song.announced_s) > STEM_LENGTH_TOLERANCE_S:
            yield Fault(song.name, "", "length", f"the list says {song.announced_s:.2f} s, the files {longest:.2f} s")
    if facts.residual_db > RESIDUAL_LIMIT_DB:
        yield Fault(song.name, MIXTURE, "sum", _told_residual(facts, balance))
    for stem, part in parts.items():
        if part.measured.silence_share == 1.0:
            yield Fault(song.name, stem, "silent", f"{stem} is silent throughout")


def _told_residual(facts: SongFacts, balance: _Balance) -> str:
    text = f"stems do not add up to the mixture: what is left lies at {facts.residual_db:.1f} dB"
    assert facts.mixture is not None
    energy = facts.mixture.measured.energy
    if balance.both <= 0 or balance.stems <= 0 or energy <= 0:
        return text
    best_db = energy_ratio_db(max(energy - balance.both**2 / balance.stems, 0.0), energy)
    if best_db > facts.residual_db - _GAIN_HELPS_DB:
        return text
    return f"{text} (at {best_db:.1f} dB with a gain of {float(lin_to_db(balance.both / balance.stems)):.2f} dB)"


def _with_uncommon_gaps(songs: Sequence[SongFacts]) -> Iterator[SongFacts]:
    """Add a fault where a song lacks a stem that most others of the set have (only a free layout allows it)."""
    numbers = Counter(stem for song in songs for stem in song.stems)
    common = [stem for stem, number in numbers.items() if number > len(songs) / 2]
    for song in songs:
        told = {fault.stem for fault in song.faults if fault.kind in ("missing", "broken", "rate")}
        gaps = tuple(
            Fault(song.name, stem, "missing", f"no {stem}, which {numbers[stem]} of {len(songs)} songs have")
            for stem in common
            if stem not in song.stems and stem not in told
        )
        yield replace(song, faults=song.faults + gaps) if gaps else song
