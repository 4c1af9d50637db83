"""Enhance songs for listeners and write the challenge's files: the resumable form of separate, then enhance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cadenza_remix.atomic import all_at_once, check_writable
from cadenza_remix.audio.io import flac16_bytes, wav16_bytes
from cadenza_remix.audio.signal import EARS, MUSIC_SAMPLE_RATE, STEMS, Audio
from cadenza_remix.challenge.metadata import SongSegments
from cadenza_remix.challenge.naming import ENHANCED_FOLDER, channel_name, pair_paths, remix_path, scale_path, stem_path
from cadenza_remix.challenge.pairs import Pair, make_pairs
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.hearing.band_pass import band_pass
from cadenza_remix.remix import Chain, Enhanced, at_listening_level, enhance_stems, soft_clip
from cadenza_remix.runs.demixing import Demixer
from cadenza_remix.runs.pool import Failure, run_units
from cadenza_remix.runs.progress import NoProgress, Progress
from cadenza_remix.runs.records import Record, digest, file_sizes, finished, read_record
from cadenza_remix.runs.songs import SongFile
from cadenza_remix.separation.separator import Separator

ENHANCE_VERSION = 2
"""Part of every key: raise it when the same settings give other files."""

LISTEN_FOLDER = "listen"


@dataclass(frozen=True)
class EnhanceReport:
    """What a run did: pairs made now and found done, failures, and the remixes' samples, all and over full scale.

    Over full scale: before the soft clip.
    """

    n_made: int
    n_found: int
    failures: tuple[Failure, ...]
    n_over_full_scale: int
    n_remix_samples: int


def enhance_songs(
    songs: Sequence[SongFile],
    listeners: Mapping[str, Listener],
    *,
    separator: Separator,
    chain: Chain,
    out: Path,
    pairs: Sequence[Pair] | None = None,
    segments: Mapping[str, SongSegments] | None = None,
    stems_folder: Path | None = None,
    wav: bool = False,
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> EnhanceReport:
    """Demix each song once, enhance it for each listener, and write CAD1's files below ``out/enhanced_signals``.

    Parameters
    ----------
    songs : sequence of SongFile
    listeners : mapping of str to Listener
    separator : Separator
        Gives the four stems of a remix; see `load_separator`.
    chain : Chain
    out : Path
        Gets ``enhanced_signals/``, ``records/`` and, unless ``stems_folder`` says otherwise, ``stems/``.
    pairs : sequence of Pair, optional
        Only these; all songs with all listeners otherwise.
    segments : mapping of str to SongSegments, optional
        Test mode: stems are cut to a song's objective segment, the remix to its subjective one.
    wav : bool
        Also write ``listen/<listener>/<listener>_<song>_remix.wav``: the remix at the level of `at_listening_level`.

    Returns
    -------
    EnhanceReport
        Pairs that are done already (same inputs and settings) are left as they are.

    Raises
    ------
    InputError, ModelError, OutputError
        Wrong settings, a separator of other stems, or a folder that cannot be written: nothing is begun.
    """
    progress = progress or NoProgress()
    by_name = {song.name: song for song in songs}
    pairs = list(pairs) if pairs is not None else make_pairs(by_name, listeners)
    _check_pairs(pairs, by_name, listeners, segments)
    demixer = Demixer(separator, stems_folder or out / "stems")
    if chain.band_pass is not None:  # says what is wrong with it before anything is demixed
        band_pass(np.zeros(1), sample_rate=MUSIC_SAMPLE_RATE, settings=chain.band_pass)
    check_writable(out)
    pending: dict[str, list[PairWork]] = {}
    failures: list[Failure] = []
    n_made = n_found = n_over = n_samples = 0
    for name in dict.fromkeys(pair.song for pair in pairs):
        try:
            demix_key = demixer.key(by_name[name])
        except InputError as error:
            failures.append(Failure(f"demix {name}", error))
            continue
        cut = segments[name] if segments else None
        for pair in (pair for pair in pairs if pair.song == name):
            unit = PairWork(pair, listeners[pair.listener], chain, out, cut, wav, demix_key)
            record = unit.find()
            if record is None:
                pending.setdefault(name, []).append(unit)
            else:
                n_found += 1
                n_over += record.results["n_over_full_scale"]
                n_samples += record.results["n_remix_samples"]

    def make(unit: PairWork, stems: Mapping[str, Audio]) -> tuple[int, int]:
        counts = unit.make(stems)
        progress.advance("enhance")
        return counts

    progress.start("demix", len(pending))
    progress.start("enhance", sum(map(len, pending.values())))
    for name, units in pending.items():
        try:
            with _one_song(progress) as on_share:
                stems = demixer.stems(by_name[name], on_progress=on_share, notify=progress.say)
        except InputError as error:
            failures.append(Failure(f"demix {name}", error))
            progress.advance("enhance", len(units))
            continue
        counts, failed = run_units(
            units,
            lambda unit, stems=stems: make(unit, stems),  # type: ignore[misc]
            n_workers=n_workers,
            name=lambda unit: f"enhance {unit.pair.song} for {unit.pair.listener}",
        )
        n_made += len(counts)
        n_over += sum(over for over, _ in counts)
        n_samples += sum(samples for _, samples in counts)
        failures += failed
    return EnhanceReport(n_made, n_found, tuple(failures), n_over, n_samples)


@dataclass(frozen=True)
class PairWork:
    """One song for one listener: what its files depend on, and the making of them.

    ``out``: the folder of the run; ``segments``: what of the song is handed in, in test mode; ``wav``: also a WAV to
    listen to; ``demix_key``: tells from which stems.
    """

    pair: Pair
    listener: Listener
    chain: Chain
    out: Path
    segments: SongSegments | None
    wav: bool
    demix_key: str

    @property
    def settings(self) -> dict[str, object]:
        """Return what decides the result, in readable form."""
        ears = {ear: self.listener.ear(ear) for ear in EARS}
        audiograms = {ear: [a.frequencies_hz.tolist(), a.levels_db_hl.tolist()] for ear, a in ears.items()}
        segments = None
        if self.segments is not None:
            parts = {"objective": self.segments.objective, "subjective": self.segments.subjective}
            segments = {name: [part.start_s, part.end_s] for name, part in parts.items()}
        return {
            "version": ENHANCE_VERSION,
            "stems": self.demix_key,
            "chain": self.chain.to_dict(),
            "audiograms": audiograms,
            "segments_s": segments,
            "wav": self.wav,
        }

    @property
    def key(self) -> str:
        return digest("enhance", self.pair.song, self.pair.listener, self.settings)

    @property
    def record_path(self) -> Path:
        return self.out / "records" / "enhance" / self.pair.listener / f"{self.pair.song}.json"

    @property
    def wav_path(self) -> Path:
        return self.out / LISTEN_FOLDER / self.pair.listener / f"{self.pair.listener}_{self.pair.song}_remix.wav"

    def find(self) -> Record | None:
        """Return the record of the pair if it is done: same key, all files there."""
        return finished(self.record_path, self.key, self.out)

    def make(self, stems: Mapping[str, Audio]) -> tuple[int, int]:
        """Enhance the song for the listener, write files and record; return the samples over full scale, and all."""
        enhanced = enhance_stems(stems, self.listener, self.chain)
        if self.segments is not None:
            enhanced = _cut(enhanced, self.segments)
        song, listener = self.pair
        remix = enhanced.remix
        contents, scales = self._contents(enhanced)
        n_over = int(np.count_nonzero(np.abs(remix.samples) > 1.0))
        if self.find() is not None:  # another process was faster: what others may be reading stays
            return n_over, remix.samples.size
        with all_at_once(list(contents)) as temporaries:
            for temporary, content in zip(temporaries, contents.values(), strict=True):
                temporary.write_bytes(content)
            self._forget_others()
        results = {
            "n_over_full_scale": n_over,
            "n_remix_samples": remix.samples.size,
            "remix_peak_lin": float(np.abs(remix.samples).max()),
            "stem_peaks_lin": scales,
        }
        files = file_sizes(list(contents), self.out)
        Record(f"enhance {song} for {listener}", self.key, self.settings, files, results).write(self.record_path)
        return n_over, remix.samples.size

    def _contents(self, enhanced: Enhanced) -> tuple[dict[Path, bytes], dict[str, float]]:
        """Return the files of the pair, and the scale of each stem.

        They are made in memory: on a shared disk one write of a whole file beats the many small ones of a coder.
        """
        root = self.out / ENHANCED_FOLDER
        song, listener = self.pair
        contents: dict[Path, bytes] = {}
        scales = {}
        for ear in EARS:
            for stem in STEMS:
                channel, path = channel_name(ear, stem), stem_path(root, listener, song, ear, stem)
                audio = enhanced.stems[channel]
                peak = float(np.abs(audio.samples).max()) or 1.0  # silence is written with a scale of 1
                scales[channel] = peak
                contents[scale_path(path)] = repr(peak).encode()
                contents[path] = flac16_bytes(audio.samples.astype(np.float64) / peak, audio.sample_rate)
        remix = enhanced.remix
        contents[remix_path(root, listener, song)] = flac16_bytes(soft_clip(remix.samples), remix.sample_rate)
        if self.wav:
            contents[self.wav_path] = wav16_bytes(at_listening_level(remix))
        return contents, scales

    def _forget_others(self) -> None:
        """Remove the record and files of other settings: a run that is killed now must not leave a mixture of the two.

        Files of these very settings stay: another process may have made them in the meantime.
        """
        record = read_record(self.record_path)
        if record is None or record.key != self.key:
            self.record_path.unlink(missing_ok=True)
            files = [*pair_paths(self.out / ENHANCED_FOLDER, self.pair.listener, self.pair.song), self.wav_path]
            present = {path.name for path in files[0].parent.iterdir()}
            for path in files:
                if path.name in present or path == self.wav_path:
                    path.unlink(missing_ok=True)


def _cut(enhanced: Enhanced, segments: SongSegments) -> Enhanced:
    """Keep the segments that an entry hands in: one for the stems, another for the remix."""
    objective, subjective = segments.objective, segments.subjective
    stems = {name: audio.excerpt(objective.start_s, objective.end_s) for name, audio in enhanced.stems.items()}
    return Enhanced(stems, enhanced.remix.excerpt(subjective.start_s, subjective.end_s))


@contextmanager
def _one_song(progress: Progress) -> Iterator[Callable[[float], None]]:
    """Turn the separator's share of the work done (0 to 1) into steps of the stage; the song counts 1 in the end."""
    last = 0.0

    def on_share(share: float) -> None:
        nonlocal last
        if share > last:
            progress.advance("demix", share - last)
            last = share

    try:
        yield on_share
    finally:
        on_share(1.0)


def _check_pairs(
    pairs: Sequence[Pair],
    songs: Mapping[str, SongFile],
    listeners: Mapping[str, Listener],
    segments: Mapping[str, SongSegments] | None,
) -> None:
    for pair in pairs:
        if pair.song not in songs:
            raise InputError("pair names an unknown song", where=pair.song, expected=", ".join(songs))
        if pair.listener not in listeners:
            raise InputError("pair names an unknown listener", where=pair.listener, expected=", ".join(listeners))
        if segments is not None and pair.song not in segments:
            raise InputError("song has no segments", where=pair.song, expected="an entry in the segments file")
