"""The signals of one pair over the same few seconds: what it should be, what it is, and the song around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cadenza_remix.audio.io import load_audio, load_stems, read_scaled_flac
from cadenza_remix.audio.signal import EARS, MUSIC_SAMPLE_RATE, Audio
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.nalr import apply_fir, nalr_fir
from cadenza_remix.report.page.places import without_folders
from cadenza_remix.runs.finished import FinishedRun

EXCERPT_S = 10.0
_STEP_S = 1.0


@dataclass(frozen=True, eq=False)
class PairSignals:
    """Signals of a pair from ``start_s`` of the song on, at most `EXCERPT_S` long.

    ``stems``: signals of one stem and ear, ``songs``: ``mixture`` and ``remix`` (stereo); by what they are called.
    ``missing``: what could not be had, and why.
    """

    start_s: float
    songs: Mapping[str, Audio]
    stems: Mapping[str, Audio]
    missing: tuple[str, ...]


def pair_signals(run: FinishedRun, pair: Pair, ear: str, stem: str) -> PairSignals:
    """Read the signals of a pair around the loudest passage of its remix.

    Parameters
    ----------
    run : FinishedRun
    pair : Pair
    ear, stem : str
        Which of the eight enhanced stems to look at, with the clean and the separated stem that belong to it.
    """
    missing: list[str] = []
    column = EARS.index(ear)
    cut = run.segments_s(pair) or {}
    remix_from_s = cut.get("subjective", (0.0, 0.0))[0]
    stems_from_s = cut.get("objective", (0.0, 0.0))[0]
    sources = run.sources[pair.song]
    remix = _read(missing, "remix", run.remix_file(pair), lambda path: load_audio(path, sample_rate=None))
    enhanced = _read(missing, f"enhanced {ear} {stem}", run.stem_file(pair, ear, stem), read_scaled_flac)
    mixture = _read(missing, "mixture", sources.mixture, load_audio)
    clean = _read(missing, "clean stems", sources.references, lambda path: load_stems(path)[stem])
    kept = None if sources.kept_stems is None else sources.kept_stems / f"{stem}.wav"
    separated = _read(missing, "separated stems", kept, load_audio)
    start_s = remix_from_s + (_loudest_s(remix) if remix is not None else 0.0)
    if not cut.get("objective", (0.0, np.inf))[0] <= start_s < cut.get("objective", (0.0, np.inf))[1]:
        start_s = stems_from_s  # the remix is of other seconds than the stems: these are what is scored

    def at(audio: Audio | None, from_s: float = 0.0) -> Audio | None:
        """Return the passage of what begins at ``from_s`` of the song; None where it has ended by then."""
        if audio is None:
            return None
        begin_s = max(0.0, start_s - from_s)
        end_s = min(begin_s + EXCERPT_S, audio.duration_s)
        return audio.excerpt(begin_s, end_s) if end_s - begin_s > 0.1 else None

    clean_ear = _channel(at(clean), column)
    stems = {
        f"clean {stem}": clean_ear,
        f"clean {stem} + NAL-R": _prescribed(clean_ear, run, pair, ear),
        f"separated {stem}": _channel(at(separated), column),
        f"enhanced {stem}": at(enhanced, stems_from_s),
    }
    songs = {"mixture": at(mixture), "remix": at(remix, remix_from_s)}
    told = tuple(without_folders(reason, run) for reason in missing)
    return PairSignals(start_s, _there(songs), _there(stems), told)


def _read(missing: list[str], what: str, path: Path | None, read: Callable[[Path], Audio]) -> Audio | None:
    if path is None:
        missing.append(f"no {what} found")
        return None
    try:
        return read(path)
    except InputError as error:
        missing.append(f"{what}: {error}")
        return None


def _loudest_s(audio: Audio) -> float:
    """Return where the passage of the highest energy begins, in whole steps."""
    if audio.duration_s <= EXCERPT_S:
        return 0.0
    step = int(_STEP_S * audio.sample_rate)
    n_steps = audio.n_samples // step
    energy = np.square(audio.samples[: n_steps * step], dtype=np.float64).reshape(n_steps, -1).sum(axis=1)
    sums = np.convolve(energy, np.ones(int(EXCERPT_S / _STEP_S)), mode="valid")
    return float(np.argmax(sums)) * _STEP_S


def _channel(audio: Audio | None, column: int) -> Audio | None:
    if audio is None:
        return None
    return Audio(audio.stereo().samples[:, column : column + 1], audio.sample_rate, name=audio.name)


def _prescribed(audio: Audio | None, run: FinishedRun, pair: Pair, ear: str) -> Audio | None:
    """Return what HAAQI compares with: the clean stem with the NAL-R of that ear."""
    if audio is None:
        return None
    fir = nalr_fir(run.listeners[pair.listener].ear(ear), sample_rate=MUSIC_SAMPLE_RATE)
    return Audio(apply_fir(audio.samples.astype(np.float64), fir).astype(np.float32), audio.sample_rate)


def _there(signals: Mapping[str, Audio | None]) -> dict[str, Audio]:
    return {name: audio for name, audio in signals.items() if audio is not None}
