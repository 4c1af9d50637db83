"""Instruments of our own: random settings for every role, and the tone of one key."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cadenza_remix.training.synth import tones
from cadenza_remix.training.synth.tones import RATE, Samples


@dataclass(frozen=True)
class Patch:
    """Settings of one instrument; which of them matter depends on ``kind``.

    Parameters
    ----------
    kind : str
        wavetable, fm, string or partials.
    shape : str
        Wave of a wavetable (`tones.harmonic_amplitudes`).
    cutoffs_hz : pair of float
        Where the low-pass filter ends and begins to move (for a string: its brightness from 0 to 1, twice).
    attack_s, decay_s, release_s : float
        Of the envelope; for strings and partials, ``decay_s`` is the ringing.
    sustain : float
        Level after the decay, from 0 to 1.
    n_voices, detune_cents : int, float
        Oscillators in unison and their spread.
    ratio, index : float
        Of frequency modulation; for partials ``ratio`` is the inharmonicity and ``index`` the hardness.
    is_wide : bool
        Left and right differ.
    vibrato_cents, drive, octave : float
        Vibrato depth; how much the whole part is overdriven; transposition in octaves.
    """

    kind: str
    shape: str = "saw"
    cutoffs_hz: tuple[float, float] = (800.0, 4000.0)
    resonance: float = 0.3
    filter_decay_s: float = 0.4
    attack_s: float = 0.004
    decay_s: float = 0.4
    sustain: float = 0.6
    fade_s: float = 0.0
    release_s: float = 0.12
    n_voices: int = 1
    detune_cents: float = 8.0
    sub_level: float = 0.0
    width: float = 0.5
    ratio: float = 1.0
    index: float = 2.0
    is_wide: bool = False
    vibrato_cents: float = 0.0
    drive: float = 0.0
    octave: int = 0
    muted_share: float = 0.0


def random_patch(role: str, rng: np.random.Generator) -> Patch:
    """Return an instrument that suits a part's role (of `accompaniment`), or a bass of a kind (of `genres`)."""
    between = rng.uniform
    if role in _BASS_KINDS:
        return _random_bass(role, rng)
    if role in ("strum", "fingered", "skank", "clav", "power", "chug") or (role == "riff" and rng.random() < 0.6):
        return _random_guitar(role, rng)
    if role in ("piano", "epiano", "bubble") or (role == "stabs" and rng.random() < 0.4):
        return _random_keys(
            "epiano" if role == "epiano" else str(rng.choice(["piano", "piano", "epiano", "organ"])), rng
        )
    if role == "organ":
        return _random_keys("organ", rng)
    if role in ("pad", "strings"):
        return Patch(
            "wavetable",
            shape=str(rng.choice(["saw", "saw", "pulse", "square", "reed"])),
            width=between(0.15, 0.5),
            cutoffs_hz=(between(400, 1200), between(1200, 5500)),
            resonance=between(0, 0.5),
            filter_decay_s=between(0.3, 3),
            attack_s=between(0.04, 0.5),
            decay_s=1.0,
            sustain=between(0.7, 1),
            release_s=between(0.2, 0.8),
            n_voices=int(rng.choice([2, 3, 4])),
            detune_cents=between(5, 18),
            is_wide=True,
            vibrato_cents=between(0, 9),
        )
    if role == "brass":
        return Patch(
            "wavetable",
            shape=str(rng.choice(["saw", "pulse"])),
            width=between(0.2, 0.5),
            cutoffs_hz=(between(500, 1200), between(2500, 6500)),
            filter_decay_s=between(0.1, 0.5),
            attack_s=between(0.02, 0.06),
            decay_s=between(0.2, 0.6),
            sustain=between(0.6, 0.9),
            release_s=0.08,
            n_voices=int(rng.choice([1, 2, 3])),
            detune_cents=between(4, 10),
            vibrato_cents=between(0, 12),
        )
    if role in ("arpeggio", "pluck") and rng.random() < 0.5:
        return Patch(
            "fm",
            ratio=float(rng.choice([1, 2, 3, 3.5, 4, 7, 1.41])),
            index=between(0.8, 5),
            filter_decay_s=between(0.05, 0.5),
            attack_s=0.003,
            decay_s=between(0.15, 0.8),
            sustain=between(0, 0.2),
            release_s=between(0.05, 0.4),
            fade_s=between(0.6, 2),
            octave=int(rng.choice([0, 0, 1])),
            is_wide=rng.random() < 0.3,
        )
    held = role in ("lead", "riff")
    return Patch(
        "wavetable",
        shape=str(rng.choice(["saw", "square", "pulse", "triangle", "reed"])),
        width=between(0.1, 0.5),
        cutoffs_hz=(between(300, 1500), between(1800, 9000)),
        resonance=between(0, 1.6),
        filter_decay_s=between(0.06, 0.6),
        attack_s=between(0.002, 0.03),
        decay_s=between(0.1, 0.6),
        sustain=between(0.5, 0.9) if held else between(0, 0.4),
        release_s=between(0.05, 0.3),
        n_voices=int(rng.choice([1, 2, 3, 5])),
        detune_cents=between(4, 22),
        is_wide=rng.random() < 0.4,
        vibrato_cents=between(0, 22) if held else 0.0,
        drive=between(0, 0.6) if held and rng.random() < 0.3 else 0.0,
    )


def _random_guitar(role: str, rng: np.random.Generator) -> Patch:
    between = rng.uniform
    drive = {"power": between(0.6, 1.0), "chug": between(0.8, 1.0), "riff": between(0, 0.9), "skank": between(0, 0.1)}
    steel = role in ("strum", "fingered")
    bright = between(0.35, 0.95) if role != "fingered" else between(0.15, 0.7)
    return Patch(
        "string",
        cutoffs_hz=(bright, bright),
        decay_s=between(1.0, 4.0) if role not in ("clav", "skank") else between(0.3, 1.2),
        width=between(0.08, 0.4),
        release_s=between(0.04, 0.15),
        is_wide=steel and rng.random() < 0.5,
        drive=drive.get(role, between(0, 0.25) if rng.random() < 0.4 else 0.0),
        muted_share=0.6 if role == "chug" else 0.0,
    )


def _random_keys(name: str, rng: np.random.Generator) -> Patch:
    between = rng.uniform
    if name == "piano":
        return Patch(
            "partials",
            ratio=between(0.0001, 0.0008),
            index=between(0.3, 1.0),
            decay_s=between(1.0, 3.0),
            release_s=between(0.1, 0.3),
            is_wide=True,
            detune_cents=between(0.5, 2.5),
        )
    if name == "epiano":
        return Patch(
            "fm",
            ratio=float(rng.choice([1, 1, 2, 14])),
            index=between(0.4, 2.2),
            filter_decay_s=between(0.15, 0.8),
            decay_s=between(0.5, 1.2),
            sustain=between(0.2, 0.5),
            fade_s=between(1.5, 4),
            release_s=between(0.1, 0.3),
            drive=between(0, 0.25),
        )
    return Patch(
        "wavetable",
        shape="organ",
        width=between(0, 1),
        cutoffs_hz=(between(2500, 5000), between(4000, 9000)),
        resonance=0.0,
        attack_s=between(0.004, 0.02),
        sustain=1.0,
        release_s=0.05,
        vibrato_cents=between(0, 14),
        is_wide=rng.random() < 0.5,
        drive=between(0, 0.5) if rng.random() < 0.4 else 0.0,
        n_voices=int(rng.choice([1, 2])),
        detune_cents=3.0,
    )


_BASS_KINDS = (
    "plucked",
    "picked",
    "soft",
    "slap",
    "driven",
    "saw",
    "square",
    "fm",
    "sub",
    "reese",
    "pluck-synth",
    "808",
)


def _random_bass(kind: str, rng: np.random.Generator) -> Patch:
    between = rng.uniform
    if kind in ("plucked", "picked", "soft", "slap", "driven"):
        bright = {"soft": between(0.05, 0.2), "slap": between(0.6, 0.95), "picked": between(0.35, 0.7)}.get(
            kind, between(0.15, 0.5)
        )
        return Patch(
            "string",
            cutoffs_hz=(bright, bright),
            decay_s=between(1.5, 5) if kind != "slap" else between(0.6, 2),
            width=between(0.12, 0.45),
            release_s=between(0.04, 0.1),
            sub_level=between(0.3, 0.9),
            drive=between(0.3, 0.8) if kind == "driven" else between(0, 0.25),
        )
    if kind in ("sub", "808"):
        return Patch(
            "wavetable",
            shape=str(rng.choice(["sine", "triangle"])),
            cutoffs_hz=(300, 600),
            attack_s=between(0.003, 0.02),
            decay_s=between(0.3, 0.8),
            sustain=0.0 if kind == "808" else between(0.7, 1),
            fade_s=between(0.7, 1.6) if kind == "808" else 0.0,
            release_s=between(0.04, 0.15),
            drive=between(0.0, 0.7),
        )
    if kind == "fm":
        return Patch(
            "fm",
            ratio=float(rng.choice([0.5, 1, 2, 3])),
            index=between(1, 5),
            filter_decay_s=between(0.05, 0.4),
            decay_s=between(0.2, 0.6),
            sustain=between(0.3, 0.8),
            release_s=0.06,
            sub_level=between(0, 0.6),
            drive=between(0, 0.3),
        )
    short = kind == "pluck-synth"
    return Patch(
        "wavetable",
        shape="square" if kind == "square" else "saw",
        cutoffs_hz=(between(120, 400), between(500, 2500)),
        resonance=between(0.2, 2.0),
        filter_decay_s=between(0.05, 0.35),
        decay_s=between(0.1, 0.4),
        sustain=between(0, 0.3) if short else between(0.5, 0.9),
        release_s=between(0.03, 0.1),
        n_voices=3 if kind == "reese" else int(rng.choice([1, 2])),
        detune_cents=between(12, 25) if kind == "reese" else between(2, 8),
        sub_level=between(0, 0.8),
        drive=between(0, 0.5),
    )


def tone(patch: Patch, pitch: float, duration_s: float, hardness: float, rng: np.random.Generator) -> Samples:
    """Return the tone of one key held for a time: shape (n_samples,), peak about 1, without its release.

    Parameters
    ----------
    hardness : float
        From 0 (soft, dark) to 1.
    """
    n_samples = max(64, int(duration_s * RATE))
    frequency_hz = tones.hertz(pitch + 12 * patch.octave)
    if patch.kind == "string":
        bright = float(np.clip(patch.cutoffs_hz[0] * (0.6 + 0.5 * hardness), 0.03, 1))
        decay_s = float(patch.decay_s * min(1.5, (110 / frequency_hz) ** 0.3))
        samples = tones.plucked_string(
            frequency_hz, n_samples, rng, brightness=bright, decay_s=decay_s, place=patch.width * rng.uniform(0.9, 1.1)
        )
    elif patch.kind == "fm":
        samples = tones.fm_tone(
            frequency_hz, n_samples, ratio=patch.ratio, index=patch.index * (0.4 + 0.7 * hardness),
            index_decay_s=patch.filter_decay_s
        ) * _envelope(patch, n_samples)  # fmt: skip
    elif patch.kind == "partials":
        samples = _struck(patch, frequency_hz, n_samples, hardness, rng)
    else:
        samples = _wavetable_tone(patch, frequency_hz, n_samples, hardness, rng)
    if patch.sub_level > 0:
        below = np.sin(2 * np.pi * frequency_hz * tones.seconds(n_samples)) * _envelope(patch, n_samples)
        samples = (samples + np.float32(patch.sub_level) * below) / np.float32(1 + patch.sub_level)
    return samples.astype(np.float32)


def _envelope(patch: Patch, n_samples: int) -> Samples:
    if patch.kind == "string":
        return tones.adsr(n_samples, attack_s=0.004, decay_s=patch.decay_s / 3, sustain=0.0)
    return tones.adsr(
        n_samples, attack_s=patch.attack_s, decay_s=patch.decay_s, sustain=patch.sustain, fade_s=patch.fade_s
    )


def _wavetable_tone(
    patch: Patch, frequency_hz: float, n_samples: int, hardness: float, rng: np.random.Generator
) -> Samples:
    low, high = patch.cutoffs_hz
    high *= 0.5 + 0.7 * hardness
    tracking = (frequency_hz / 220) ** 0.4
    steps = np.geomspace(max(low, 60), max(high, low * 1.1), 3) * tracking
    amplitudes = tones.harmonic_amplitudes(patch.shape, 400, width=patch.width)
    tables = tones.wavetables(frequency_hz, amplitudes, steps, resonance=patch.resonance, slope=2.0)
    times = tones.seconds(n_samples)
    position = np.exp(-times / np.float32(patch.filter_decay_s)) * np.minimum(
        times / np.float32(max(patch.attack_s, 1e-3)), 1
    )
    samples = np.zeros(n_samples, dtype=np.float32)
    exact = np.arange(n_samples) / RATE
    wobble = 0.0
    if patch.vibrato_cents > 0.5:
        rate_hz = rng.uniform(4.5, 6.5)
        depth = frequency_hz * patch.vibrato_cents / 1200 * np.log(2) / (2 * np.pi * rate_hz)
        wobble = depth * np.minimum(exact / 0.4, 1) * np.sin(2 * np.pi * rate_hz * exact + rng.uniform(0, 6))
    for voice in range(patch.n_voices):
        spread = (voice / max(1, patch.n_voices - 1) - 0.5) * 2 if patch.n_voices > 1 else 0.0
        detuned = frequency_hz * 2 ** ((spread * patch.detune_cents + rng.normal(0, 1)) / 1200)
        samples += tones.oscillate(tables, detuned * exact + wobble + rng.random(), position)
    return samples / np.float32(np.sqrt(patch.n_voices)) * _envelope(patch, n_samples)


def _struck(patch: Patch, frequency_hz: float, n_samples: int, hardness: float, rng: np.random.Generator) -> Samples:
    """Return a tone of a struck string: partials that fade faster the higher they are, two strings per note."""
    n_partials = int(np.clip(9000 / frequency_hz, 3, 24))
    numbers = np.arange(1, n_partials + 1)
    hard = patch.index * (0.4 + 0.7 * hardness)
    levels = np.exp(-numbers / (1.5 + 5 * hard)) * (0.3 + np.abs(np.sin(np.pi * numbers / 8.3)))
    ringing_s = patch.decay_s * (220 / frequency_hz) ** 0.5
    decays_s = np.clip(ringing_s / (1 + 0.25 * numbers), 0.03, None)
    total = tones.partials_tone(
        frequency_hz * 2 ** (rng.normal(0, patch.detune_cents) / 1200),
        n_samples,
        rng,
        ratios=list(numbers),
        levels=list(levels),
        decays_s=list(decays_s),
        inharmonicity=patch.ratio,
    )
    n_knock = min(n_samples, 1500)
    knock = rng.standard_normal(n_knock) * np.exp(-np.arange(n_knock) / 250)
    total[:n_knock] += (0.02 + 0.04 * hard) * knock.astype(np.float32)
    return total
