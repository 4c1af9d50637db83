"""Separate songs from file to file, block by block: the resumable form of a separator.

While the separator computes, one thread reads ahead and another one writes behind. The files of a song appear together
when the song is done; a record for each says of what it was made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.atomic import all_at_once, check_writable, writing_failed
from cadenza_remix.audio.io import audio_duration_s
from cadenza_remix.audio.reading import AheadBlocks, CountedBlocks, FileBlocks, check_file, in_blocks_of
from cadenza_remix.audio.resample import ResampledBlocks, resample_blocks
from cadenza_remix.audio.writing import open_writer, written_behind
from cadenza_remix.errors import InputError, ModelError
from cadenza_remix.runs.outputs import (
    RECORDS_FOLDER,
    OutputSettings,
    Selection,
    Target,
    plan_targets,
    results_folder,
)
from cadenza_remix.runs.pool import Failure
from cadenza_remix.runs.progress import NoProgress, Progress
from cadenza_remix.runs.records import Record, digest, file_digest, file_sizes
from cadenza_remix.runs.songs import SongFile
from cadenza_remix.separation.separator import Separator, device_of
from cadenza_remix.units import lin_to_db

SEPARATE_VERSION = 1
"""Part of every key: raise it when the same settings give other files."""
STAGE = "separate"
WRITE_LENGTH = 1 << 15
"""Samples are written in pieces of this length whatever the separator gives, for coders look at them."""


@dataclass(frozen=True)
class SeparateReport:
    """What a run did: songs made now, found done and failed; the seconds of music and the samples beyond full scale.

    Seconds and samples are those of the songs made now.
    """

    n_made: int
    n_found: int
    failures: tuple[Failure, ...]
    duration_s: float
    n_over_full_scale: int


def separate_songs(
    songs: Sequence[SongFile],
    separator: Separator,
    *,
    out: str | Path,
    settings: OutputSettings | None = None,
    progress: Progress | None = None,
) -> SeparateReport:
    """Separate songs one after another and write their stems.

    Parameters
    ----------
    songs : sequence of SongFile
    separator : Separator
    out : str or Path
        Folder of the results; the records lie in ``.cadenza-remix`` in it.
    settings : OutputSettings, optional
    progress : Progress, optional
        Told seconds of music, as stage ``separate``.

    Returns
    -------
    SeparateReport
        A song that cannot be read is a failure and does not stop the others; one that is done already (same bytes,
        separator and settings, all files there) is left as it is.

    Raises
    ------
    InputError
        Wrong stems, or files that would have one name: nothing is begun.
    ModelError, OutputError
        The separator is broken, or something cannot be written; the songs before are complete.
    """
    settings, progress = settings or OutputSettings(), progress or NoProgress()
    selection = Selection.of(separator.stems, settings, separator=separator.name)
    out = results_folder(out)
    targets = plan_targets(songs, selection, settings, out)
    check_writable(out)
    if (out / RECORDS_FOLDER).exists():
        check_writable(out / RECORDS_FOLDER)
    failures: list[Failure] = []
    pending: list[tuple[_SongRun, float]] = []
    n_found = 0
    for target in targets:
        run = _SongRun(target, separator, selection, settings)
        try:
            if run.is_done():
                n_found += 1
                target.clear()
            else:
                pending.append((run, audio_duration_s(target.song.path)))
        except InputError as error:
            failures.append(Failure(run.name, error))
    if pending:
        progress.say(f"Separating by {separator.name}, {device_of(separator)}")
    progress.start(STAGE, sum(duration_s for _, duration_s in pending))
    made: list[Record] = []
    for run, duration_s in pending:
        share = _Share(progress, duration_s)
        try:
            record = run.run(share.reach)
        except InputError as error:
            failures.append(Failure(run.name, error))
        else:
            made.append(record)
            _tell_overs(record, settings, progress)
        share.reach(1.0)
    return SeparateReport(
        n_made=len(made),
        n_found=n_found,
        failures=tuple(failures),
        duration_s=sum(record.results["duration_s"] for record in made),
        n_over_full_scale=sum(record.results["n_over_full_scale"] for record in made),
    )


@dataclass(frozen=True)
class _SongRun:
    """One song on its way from its file to those of its stems."""

    target: Target
    separator: Separator
    selection: Selection
    settings: OutputSettings

    @property
    def name(self) -> str:
        return f"separate {self.target.song.name}"

    def key(self) -> str:
        """Return the digest over the song's bytes and all else that the files depend on."""
        path = self.target.song.path
        check_file(path)
        try:
            audio = file_digest(path)
        except OSError as error:
            raise InputError("cannot be read", where=path, found=error.strerror) from error
        return digest("separate", SEPARATE_VERSION, audio, self.readable_settings())

    def readable_settings(self) -> dict[str, object]:
        return {
            "version": SEPARATE_VERSION,
            "separator": self.separator.name,
            "fingerprint": self.separator.fingerprint,
            "files": {name: list(stems) for name, stems in self.selection.parts.items()},
            **self.settings.plain(),
        }

    def is_done(self) -> bool:
        # Only then the song is read through for its key.
        return self.target.has_records() and self.target.finished(self.key()) is not None

    def run(self, on_share: Callable[[float], None]) -> Record:
        key = self.key()
        file = FileBlocks.of(self.target.song.path)
        rate = file.sample_rate if self.settings.keep_rate else self.separator.sample_rate
        self.settings.format.check_rate(rate, where=file.path)
        paths = list(self.target.files.values())
        with all_at_once(paths) as temporaries:
            levels = self._separate(file, rate, temporaries, on_share)
            self.target.forget()
        results = {
            "duration_s": levels.n_samples / rate,
            "n_over_full_scale": levels.n_over,
            "n_samples": levels.n_samples * file.n_channels * len(paths),
            "peak_lin": levels.peak,
            "scale_lin": levels.scale if self.settings.on_clip == "scale" else 1.0,
        }
        sizes = file_sizes(paths, self.target.out)
        record = Record(self.name, key, self.readable_settings(), sizes, results)
        self.target.remember(record)
        return record

    def _separate(
        self, file: FileBlocks, rate: int, temporaries: Sequence[Path], on_share: Callable[[float], None]
    ) -> _Levels:
        counted = CountedBlocks(file)
        resampled_song = CountedBlocks(ResampledBlocks(counted, self.separator.sample_rate))
        source = AheadBlocks(resampled_song)
        levels = _Levels()
        with ExitStack() as stack:
            writers = [
                stack.enter_context(
                    open_writer(path, self.settings.format, sample_rate=rate, n_channels=file.n_channels)
                )
                for path in temporaries
            ]
            raws = [
                stack.enter_context(_Raw(path.parent, file.n_channels))
                for path in (temporaries if self.settings.on_clip == "scale" else ())
            ]
            sinks: Sequence[_Sink] = raws or writers

            def write_all(blocks: Iterator[NDArray[np.float32]]) -> None:
                resampled = resample_blocks(
                    blocks,
                    self.separator.sample_rate,
                    rate,
                    n_samples=(lambda: counted.n_samples or 0) if self.settings.keep_rate else None,
                )
                for block in in_blocks_of(resampled, WRITE_LENGTH):
                    levels.add(block)
                    if not np.isfinite(levels.peak):
                        raise InputError("stems are not finite numbers", where=file.path, found=self.separator.name)
                    self._write(sinks, np.clip(block, -1.0, 1.0) if self.settings.on_clip == "clip" else block)

            stem_blocks = self.separator.separate_blocks(source, progress=on_share)
            stack.callback(getattr(stem_blocks, "close", lambda: None))  # ends the reading when something fails
            with written_behind(write_all) as give:
                n_given = 0
                for stems in stem_blocks:
                    samples = self.selection.stack(stems, file.n_channels)
                    n_given += len(samples)
                    give(samples)
                self._check_length(n_given, resampled_song.n_samples)
            if raws:
                for blocks in zip(*(raw.blocks() for raw in raws), strict=True):
                    self._write(writers, np.concatenate(blocks, axis=1) * np.float32(levels.scale))
        return levels

    def _check_length(self, n_given: int, n_read: int | None) -> None:
        """Refuse stems that are not as long as the song at the separator's rate."""
        if n_given != n_read:
            expected = "the song read to its end" if n_read is None else f"{n_read} samples"
            raise ModelError(
                f"{self.separator.name}: stems are not as long as the song {self.target.song.path}:"
                f" expected {expected}, found {n_given} samples"
            )

    def _write(self, sinks: Sequence[_Sink], block: NDArray[np.float32]) -> None:
        """Write each file its columns."""
        columns = np.split(block, len(sinks), axis=1)
        for sink, samples, path in zip(sinks, columns, self.target.files.values(), strict=True):
            try:
                sink.write(samples)
            except OSError as error:
                raise writing_failed(path, error) from error


class _Sink(Protocol):
    def write(self, samples: NDArray[np.float32]) -> None: ...


class _Raw:
    """Samples that wait on the disk, in a file without a name, until it is known how loud the whole song is."""

    def __init__(self, folder: Path, n_channels: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._n_channels = n_channels

    def __enter__(self) -> _Raw:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def write(self, samples: NDArray[np.float32]) -> None:
        self._file.write(np.ascontiguousarray(samples).tobytes())

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        self._file.seek(0)
        while data := self._file.read(WRITE_LENGTH * self._n_channels * 4):
            yield np.frombuffer(data, dtype=np.float32).reshape(-1, self._n_channels)


class _Levels:
    """How long and how loud the files of a song became, all together."""

    def __init__(self) -> None:
        self.n_samples = self.n_over = 0
        self.peak = 0.0

    @property
    def scale(self) -> float:
        """The factor that brings the highest sample to full scale, if it is beyond."""
        return 1.0 / self.peak if self.peak > 1.0 else 1.0

    def add(self, block: NDArray[np.float32]) -> None:
        magnitudes = np.abs(block)
        self.n_samples += len(block)
        self.n_over += int(np.count_nonzero(magnitudes > 1.0))
        self.peak = float(np.maximum(self.peak, magnitudes.max()))  # NaN stays NaN


class _Share:
    """Turns the separator's share of the work done (0 to 1) into seconds of music; the song counts whole in the end."""

    def __init__(self, progress: Progress, duration_s: float) -> None:
        self._progress, self._duration_s = progress, duration_s
        self._last = 0.0

    def reach(self, share: float) -> None:
        share = min(share, 1.0)
        if share > self._last:
            self._progress.advance(STAGE, (share - self._last) * self._duration_s)
            self._last = share


def _tell_overs(record: Record, settings: OutputSettings, progress: Progress) -> None:
    """Say how many samples lay beyond full scale, and what became of them."""
    n_over, peak = record.results["n_over_full_scale"], record.results["peak_lin"]
    if not n_over:
        return
    over_db = float(lin_to_db(peak))
    done = {
        "clip": "clipped (--on-clip scale or --bits 32f keeps their shape)",
        "scale": f"all its files made quieter by {over_db:.2f} dB",
        "float": "kept",
    }[settings.on_clip or "clip"]
    what = "sample" if n_over == 1 else "samples"
    progress.say(f"{record.unit}: {n_over} {what} beyond full scale (highest {over_db:+.2f} dB): {done}")
