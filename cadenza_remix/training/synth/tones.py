"""Single tones: wavetables with a moving filter, frequency modulation, plucked strings, decaying partials.

All functions return float32 samples at 44.1 kHz, of shape (n_samples,), with peaks of about 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE

Samples = NDArray[np.float32]
RATE = MUSIC_SAMPLE_RATE
_TABLE_LENGTH = 2048
_HIGHEST_HZ = 18000.0


def hertz(pitch: float) -> float:
    """Return the frequency of a MIDI pitch."""
    return float(440.0 * 2.0 ** ((pitch - 69.0) / 12.0))


def seconds(n_samples: int) -> Samples:
    """Return the times of ``n_samples`` samples."""
    return np.arange(n_samples, dtype=np.float32) / np.float32(RATE)


def adsr(n_samples: int, *, attack_s: float, decay_s: float, sustain: float, fade_s: float = 0.0) -> Samples:
    """Return an envelope: a straight attack, an exponential decay to ``sustain``, which itself fades (0: it holds)."""
    times = seconds(n_samples)
    envelope = sustain + (1 - sustain) * np.exp(-np.maximum(times - attack_s, 0) / max(decay_s, 1e-3))
    if fade_s > 0:
        envelope *= np.exp(-times / fade_s)
    return (envelope * np.minimum(times / max(attack_s, 5e-4), 1.0)).astype(np.float32)


def harmonic_amplitudes(shape: str, n_harmonics: int, *, width: float = 0.5) -> NDArray[np.float64]:
    """Return the amplitudes of a wave's harmonics: saw, square, triangle, pulse (of a width), sine, organ or reed."""
    numbers = np.arange(1, n_harmonics + 1)
    odd = numbers % 2 == 1
    if shape == "saw":
        return 1.0 / numbers
    if shape == "square":
        return odd / numbers
    if shape == "triangle":
        return odd / numbers**2.0
    if shape == "pulse":
        return np.abs(np.sin(np.pi * numbers * width)) / numbers
    if shape == "organ":
        drawbars = np.isin(numbers, [1, 2, 3, 4, 6, 8, 10, 12, 16])
        return drawbars * np.abs(np.cos(numbers * (3 + 9 * width))) / numbers**0.4
    if shape == "reed":
        return np.exp(-(((numbers - 4) / 5.0) ** 2)) + 0.6 / numbers
    return (numbers == 1).astype(float)


def wavetables(
    frequency_hz: float, amplitudes: NDArray[np.float64], cutoffs_hz: Sequence[float], *, resonance: float, slope: float
) -> Samples:
    """Return one period of a wave through low-pass filters: shape (n_cutoffs, table length + 1), peak 1 for the last.

    Harmonics above 18 kHz are left out, so that nothing folds back.
    """
    n_harmonics = int(min(len(amplitudes), _HIGHEST_HZ // frequency_hz, _TABLE_LENGTH // 2 - 1))
    harmonics = frequency_hz * np.arange(1, n_harmonics + 1)
    tables = np.zeros((len(cutoffs_hz), _TABLE_LENGTH + 1))
    for row, cutoff in enumerate(cutoffs_hz):
        ratio = harmonics / cutoff
        gain = 1 / np.sqrt(1 + ratio ** (2 * slope)) * (1 + resonance * np.exp(-((np.log2(ratio) / 0.3) ** 2)))
        spectrum = np.zeros(_TABLE_LENGTH // 2 + 1, dtype=complex)
        spectrum[1 : n_harmonics + 1] = -1j * amplitudes[:n_harmonics] * gain
        tables[row, :-1] = np.fft.irfft(spectrum)
    tables[:, -1] = tables[:, 0]
    return (tables / max(np.abs(tables[-1]).max(), 1e-9)).astype(np.float32)


def oscillate(tables: Samples, phases: NDArray[np.floating], position: Samples | None = None) -> Samples:
    """Read wavetables along phases (in periods); ``position`` from 0 to 1 moves from the first table to the last."""
    places = (phases % 1.0) * _TABLE_LENGTH
    whole = np.minimum(places.astype(np.int32), _TABLE_LENGTH - 1)
    part = (places - whole).astype(np.float32)
    if position is None or len(tables) == 1:
        table = tables[-1]
        return table[whole] + part * (table[whole + 1] - table[whole])
    scaled = np.clip(position, 0, 1) * np.float32(len(tables) - 1)
    total = np.zeros(len(whole), dtype=np.float32)
    for row, table in enumerate(tables):
        weight = np.maximum(0, 1 - np.abs(scaled - row))
        heard = np.flatnonzero(weight)
        if heard.size:  # mostly one stretch
            span = slice(heard[0], heard[-1] + 1)
            at = whole[span]
            total[span] += weight[span] * (table[at] + part[span] * (table[at + 1] - table[at]))
    return total


def fm_tone(
    frequency_hz: float, n_samples: int, *, ratio: float, index: float, index_decay_s: float, feedback: float = 0.0
) -> Samples:
    """Return a tone by frequency modulation (Chowning 1973), whose modulation index decays."""
    times = np.arange(n_samples) / RATE
    index = min(index, 0.35 * RATE / (frequency_hz * max(ratio, 1.0)))  # keeps the side bands below the limit
    modulation = index * (0.15 + 0.85 * np.exp(-times / index_decay_s))
    modulator = np.sin(2 * np.pi * frequency_hz * ratio * times)
    return np.sin(2 * np.pi * frequency_hz * times + modulation * modulator + feedback * modulator**2).astype(
        np.float32
    )


def plucked_string(
    frequency_hz: float, n_samples: int, rng: np.random.Generator, *, brightness: float, decay_s: float, place: float
) -> Samples:
    """Return a plucked string (Karplus and Strong 1983), plucked at a share ``place`` of its length.

    It is computed with a period of whole samples, a period at a time, at the rate that this takes, then read at ours.
    """
    period = max(8, int(np.ceil(RATE / frequency_hz)))
    rate = frequency_hz * (period + 0.5)
    n_rows = int(np.ceil(n_samples * rate / RATE / period)) + 3
    noise = rng.standard_normal(period)
    spectrum = np.fft.rfft(noise)
    numbers = np.arange(len(spectrum))
    harmonics = numbers * frequency_hz
    spectrum *= 1 / np.sqrt(1 + (harmonics / (400 + 9000 * brightness**2)) ** 4)
    spectrum *= np.abs(np.sin(np.pi * numbers * place)) + 0.05
    spectrum[0] = 0
    row = np.fft.irfft(spectrum, n=period)
    loss = 10 ** (-3 / (frequency_hz * decay_s))  # -60 dB after decay_s
    rows = np.empty((n_rows, period))
    before = 0.0
    for index in range(n_rows):
        rows[index] = row
        # y[n] = loss * (y[n - period] + y[n - period - 1]) / 2
        shifted = np.empty(period)
        shifted[0], shifted[1:] = before, row[:-1]
        before = row[-1]
        row = loss * 0.5 * (row + shifted)
    places = np.arange(n_samples) * (rate / RATE)
    string = np.interp(places, np.arange(rows.size), rows.ravel())
    return (string / max(np.abs(string).max(), 1e-9)).astype(np.float32)


def partials_tone(
    frequency_hz: float, n_samples: int, rng: np.random.Generator, *, ratios: Sequence[float],
    levels: Sequence[float],
    decays_s: Sequence[float], inharmonicity: float = 0.0,
) -> Samples:  # fmt: skip
    """Return a sum of partials that decay on their own: strings struck by a hammer, bells, bars."""
    times = seconds(n_samples)
    total = np.zeros(n_samples, dtype=np.float32)
    for ratio, level, decay_s in zip(ratios, levels, decays_s, strict=True):
        partial_hz = frequency_hz * ratio * np.sqrt(1 + inharmonicity * ratio**2)
        if partial_hz > _HIGHEST_HZ:
            continue
        length = min(n_samples, int(9 * decay_s * RATE) + 1)
        phase = np.float32(rng.uniform(0, 2 * np.pi))
        total[:length] += np.float32(level) * (
            np.exp(-times[:length] / np.float32(decay_s))
            * np.sin(np.float32(2 * np.pi * partial_hz / RATE) * np.arange(length, dtype=np.float64) + phase)
        ).astype(np.float32)
    return total / max(float(np.abs(total).max()), 1e-9)
