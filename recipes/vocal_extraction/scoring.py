"""How well separated vocals and accompaniment are those of held-out songs: SDR, SIR and SAR of BSS Eval v4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.resample import resample_samples
from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE, Audio
from cadenza_remix.errors import InputError
from cadenza_remix.metrics import bss_eval, snr_db
from cadenza_remix.separation.separator import Separator
from cadenza_remix.training.data.songs import TrainingSong

STEMS = ("vocals", "accompaniment")
MIXTURE = "mixture"
MEASURES = ("sdr_db", "sir_db", "sar_db", "snr_db")

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class HeldOutSong:
    """A passage of a song that nobody trains on, at 44.1 kHz: the true stems, (n_samples, 2) each."""

    name: str
    references: Mapping[str, Samples]

    @property
    def mixture(self) -> Samples:
        return np.sum(list(self.references.values()), axis=0, dtype=np.float32)


@dataclass(frozen=True)
class SongScore:
    """Scores of one stem of one song in dB; NaN where there is none.

    Parameters
    ----------
    song, stem : str
    sdr_db, sir_db, sar_db : float
        Medians over windows of one second, version ``images`` of BSS Eval 4 (as museval reports a song).
    snr_db : float
        Energy of the true stem over that of the difference, over the whole passage.
    """

    song: str
    stem: str
    sdr_db: float
    sir_db: float
    sar_db: float
    snr_db: float


def held_out(songs: Iterable[TrainingSong], targets: Mapping[str, Iterable[str]], seconds: float) -> list[HeldOutSong]:
    """Read from each song the passage of so many seconds whose vocals have the most energy."""
    passages = [_passage(song, targets, seconds) for song in songs]
    if not passages:
        raise InputError("no songs to score", where="data.test_split", expected="a split with songs", found="none")
    return passages


def _passage(song: TrainingSong, targets: Mapping[str, Iterable[str]], seconds: float) -> HeldOutSong:
    stems = {}
    for target in STEMS:
        parts = [song.read(stem, 0, song.n_samples) for stem in targets[target] if stem in song.stems]
        if not parts:
            raise InputError("song has no such stem", where=song.name, expected=" or ".join(targets[target]))
        stems[target] = np.sum(parts, axis=0, dtype=np.float32)
    part = loudest(stems["vocals"], round(seconds * song.sample_rate), every=song.sample_rate)
    references = {
        name: resample_samples(np.ascontiguousarray(samples[part]), song.sample_rate, MUSIC_SAMPLE_RATE)
        for name, samples in stems.items()
    }
    return HeldOutSong(song.name, {name: samples.astype(np.float32) for name, samples in references.items()})


def loudest(samples: Samples, length: int, *, every: int) -> slice:
    """Return where so many samples have the most energy; a beginning is tried after each ``every`` samples."""
    length = min(length, len(samples))
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64).sum(axis=1))])
    starts = np.arange(0, len(samples) - length + 1, every)
    start = int(starts[np.argmax(energy[starts + length] - energy[starts])])
    return slice(start, start + length)


def separate(separator: Separator, song: HeldOutSong) -> dict[str, Samples]:
    """Return the stems that a separator finds in a song."""
    stems = separator.separate(Audio(song.mixture, MUSIC_SAMPLE_RATE, song.name))
    return {name: audio.samples for name, audio in stems.items()}


def score_song(song: HeldOutSong, estimates: Mapping[str, Samples], *, filter_length: int = 512) -> list[SongScore]:
    """Return the scores of both stems; ``filter_length`` as for `bss_eval`."""
    windows = bss_eval(song.references, estimates, sample_rate=MUSIC_SAMPLE_RATE, filter_length=filter_length)
    medians = windows.medians()
    return [
        SongScore(
            song=song.name,
            stem=stem,
            sdr_db=medians[stem]["sdr_db"],
            sir_db=medians[stem]["sir_db"],
            sar_db=medians[stem]["sar_db"],
            snr_db=snr_db(song.references[stem], estimates[stem]),
        )
        for stem in STEMS
    ]


def score_mixture(song: HeldOutSong, *, filter_length: int = 512) -> list[SongScore]:
    """Return the scores of the mixture in the place of each stem: it has no artefacts, so its SAR is infinite."""
    return score_song(song, dict.fromkeys(STEMS, song.mixture), filter_length=filter_length)


def as_plain(scores: Iterable[SongScore]) -> list[dict[str, float | str | None]]:
    """Return scores for JSON, which knows neither NaN nor infinity."""
    return [
        {key: value if isinstance(value, str) or np.isfinite(value) else None for key, value in asdict(score).items()}
        for score in scores
    ]


def from_plain(rows: Iterable[Mapping[str, float | str | None]]) -> list[SongScore]:
    """Return scores from JSON; what was not finite is NaN."""
    return [SongScore(**{key: float("nan") if value is None else value for key, value in row.items()}) for row in rows]
