"""One-shot samples from a folder, named by what they are: ``bd_*``, ``sn_*``, ``hat_*``, ``drum_*``, ``bass_*``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from cadenza_remix.audio.io import AUDIO_SUFFIXES, load_audio
from cadenza_remix.errors import InputError
from cadenza_remix.training.synth.tones import RATE, Samples

# The longest beginning of a file's name that is here tells the piece.
_PIECES = {
    "bd_": "kick", "drum_heavy_kick": "kick", "drum_bass": "kick", "sn_": "snare", "drum_snare": "snare",
    "hat_": "hat_closed",
    "drum_cymbal_closed": "hat_closed", "drum_cymbal_pedal": "hat_pedal", "drum_cymbal_open": "hat_open",
    "drum_cymbal_hard": "crash",
    "drum_cymbal_soft": "ride", "drum_splash": "crash2", "drum_tom_hi": "tom_high", "drum_tom_mid": "tom_mid",
    "drum_tom_lo": "tom_low",
    "drum_cowbell": "cowbell", "bass_": "bass",
}  # fmt: skip
_LONGEST_S = 3.0
_LOWEST_BASS_HZ, _HIGHEST_BASS_HZ = 30.0, 160.0


@dataclass(frozen=True, eq=False)
class SampleFolder:
    """The samples of a folder: per piece of the kit (and "bass") a few strokes, shape (n,), peak 1."""

    pieces: dict[str, tuple[Samples, ...]]
    names: tuple[str, ...]
    digest: str


@lru_cache(maxsize=2)
def open_samples(folder: Path) -> SampleFolder:
    """Read a folder of one-shot samples; files whose names say nothing are left out.

    Raises
    ------
    InputError
        Not a folder, no usable sample in it, a broken file.
    """
    if not folder.is_dir():
        raise InputError("no such folder of samples", where=folder)
    pieces: dict[str, list[Samples]] = {}
    names = []
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        piece = _piece_of(path.name)
        if piece is None or path.suffix.lower() not in AUDIO_SUFFIXES:
            continue
        samples = load_audio(path, sample_rate=RATE).samples.mean(axis=1)[: int(_LONGEST_S * RATE)].astype(np.float32)
        peak = float(np.abs(samples).max(initial=0.0))
        if peak > 1e-4:
            pieces.setdefault(piece, []).append(samples / peak)
            names.append(path.name)
            digest.update(path.name.encode() + path.read_bytes())
    if not pieces:
        raise InputError(
            "holds no usable samples", where=folder, expected="files named " + ", ".join(f"{n}*" for n in _PIECES)
        )
    return SampleFolder({piece: tuple(found) for piece, found in pieces.items()}, tuple(names), digest.hexdigest())


def sampled_kit(
    folder: SampleFolder, kit: dict[str, list[Samples]], rng: np.random.Generator
) -> dict[str, list[Samples]]:
    """Return a kit in which most pieces are the folder's samples, tuned a little; the others stay."""
    mixed = dict(kit)
    for piece, found in folder.pieces.items():
        if piece == "bass" or rng.random() < 0.2:
            continue
        stroke = found[rng.integers(len(found))]
        speed = float(2 ** (rng.normal(0, 1.2) / 12))
        mixed[piece] = [_at_speed(stroke, speed)]
    return mixed


def random_bass_sample(folder: SampleFolder, rng: np.random.Generator) -> tuple[Samples, float] | None:
    """Return a bass sample and its frequency in Hz; None where the folder has none whose pitch is plain."""
    tuned = [(sample, _pitch_hz(sample)) for sample in folder.pieces.get("bass", ())]
    usable = [(sample, hz) for sample, hz in tuned if hz > 0]
    return usable[rng.integers(len(usable))] if usable else None


def _pitch_hz(sample: Samples) -> float:
    """Return the frequency of the strongest period between 30 and 160 Hz by autocorrelation; 0 where it is weak."""
    excerpt = sample[: RATE // 2].astype(np.float64)
    spectrum = np.fft.rfft(excerpt, n=2 * len(excerpt))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)
    low, high = int(RATE / _HIGHEST_BASS_HZ), min(int(RATE / _LOWEST_BASS_HZ), len(excerpt) - 1)
    if high <= low:
        return 0.0
    best = low + int(np.argmax(correlation[low:high]))
    return RATE / best if correlation[best] > 0.3 * correlation[0] else 0.0


def _at_speed(sample: Samples, speed: float) -> Samples:
    places = np.arange(0, len(sample) - 1, speed)
    return np.interp(places, np.arange(len(sample)), sample).astype(np.float32)


def _piece_of(name: str) -> str | None:
    fitting = [begin for begin in _PIECES if name.startswith(begin)]
    return _PIECES[max(fitting, key=len)] if fitting else None
