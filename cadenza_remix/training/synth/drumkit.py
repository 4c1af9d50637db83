"""Drum kits of our own: membranes, noise and metal, with settings drawn anew for every kit."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, sosfilt

from cadenza_remix.training.synth.tones import RATE, Samples, seconds

PIECES = (
    "kick", "snare", "sidestick", "clap", "hat_closed", "hat_pedal", "hat_open", "ride", "crash", "crash2",
    "tom_high", "tom_mid", "tom_low",
    "tambourine", "shaker", "cowbell", "conga_high", "conga_low",
)  # fmt: skip
_N_LAYERS = 4
_LONGEST_S = 4.0


def random_kit(rng: np.random.Generator, *, is_synthetic: bool) -> dict[str, list[Samples]]:
    """Return strokes for every piece, from soft to hard, each with a peak of about 1.

    A synthetic kit is that of a drum machine: pure tones that fall, filtered noise.
    """
    kit: dict[str, list[Samples]] = {}
    kit["kick"] = _kick(rng, is_synthetic)
    kit["snare"] = _snare(rng, is_synthetic)
    kit["sidestick"] = _layers(rng, lambda hard: _struck_bar(rng, [rng.uniform(380, 520), 1650, 2500], 0.03, 0.4))
    kit["clap"] = _clap(rng)
    metal = _Metal(rng, is_synthetic)
    lengths = {
        "hat_closed": rng.uniform(0.02, 0.07),
        "hat_pedal": rng.uniform(0.015, 0.04),
        "hat_open": rng.uniform(0.2, 0.6),
    }
    for piece, decay_s in lengths.items():
        kit[piece] = _layers(rng, lambda hard, decay_s=decay_s: metal.stroke(decay_s, metal.hat_hz, hard, rng))
    kit["ride"] = _layers(rng, lambda hard: metal.ride(hard, rng))
    for piece in ("crash", "crash2"):
        decay_s, low_hz = rng.uniform(0.6, 1.6), rng.uniform(1800, 4000)
        kit[piece] = _layers(rng, lambda hard, d=decay_s, f=low_hz: metal.stroke(d, f, hard, rng), n_layers=2)
    base_hz = rng.uniform(75, 110)
    for index, piece in enumerate(("tom_low", "tom_mid", "tom_high")):
        kit[piece] = _tom(rng, base_hz * rng.uniform(1.25, 1.4) ** index, is_synthetic)
    kit["conga_low"] = _tom(rng, rng.uniform(170, 210), False, decay_s=0.12)
    kit["conga_high"] = _tom(rng, rng.uniform(230, 310), False, decay_s=0.09)
    kit["cowbell"] = _layers(rng, lambda hard: _square_bell(rng))
    kit["tambourine"] = _layers(
        rng, lambda hard: _noise_burst(rng, rng.uniform(5500, 7500), 16000, 0.004, rng.uniform(0.05, 0.09))
    )
    kit["shaker"] = _layers(rng, lambda hard: _noise_burst(rng, 4500, 12000, rng.uniform(0.015, 0.03), 0.03))
    return kit


def _layers(rng: np.random.Generator, make: object, *, n_layers: int = _N_LAYERS) -> list[Samples]:
    assert callable(make)
    return [_peak_one(make((index + 1) / n_layers)) for index in range(n_layers)]


def _peak_one(samples: np.ndarray) -> Samples:
    fade = min(len(samples), 200)
    samples = np.array(samples, dtype=np.float32)
    samples[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.asarray(samples / max(float(np.abs(samples).max()), 1e-9), dtype=np.float32)


def _falling_sine(low_hz: float, sweep: float, fall_s: float, decay_s: float, n_samples: int) -> np.ndarray:
    times = np.arange(n_samples) / RATE
    frequency = low_hz * (1 + sweep * np.exp(-times / fall_s))
    return np.sin(2 * np.pi * np.cumsum(frequency) / RATE) * np.exp(-times / decay_s)


def _filtered_noise(
    rng: np.random.Generator, n_samples: int, low_hz: float, high_hz: float, *, order: int = 2
) -> np.ndarray:
    sos = butter(order, [low_hz, min(high_hz, 0.49 * RATE)], "bandpass", fs=RATE, output="sos")
    noise = sosfilt(sos, rng.standard_normal(n_samples))
    return noise / max(float(np.std(noise)), 1e-9)


def _noise_burst(
    rng: np.random.Generator, low_hz: float, high_hz: float, attack_s: float, decay_s: float
) -> np.ndarray:
    n_samples = int((attack_s + 6 * decay_s) * RATE)
    times = seconds(n_samples)
    envelope = np.minimum(times / attack_s, 1) * np.exp(-np.maximum(times - attack_s, 0) / decay_s)
    return _filtered_noise(rng, n_samples, low_hz, high_hz) * envelope


def _kick(rng: np.random.Generator, is_synthetic: bool) -> list[Samples]:
    low_hz, sweep = rng.uniform(42, 66), rng.uniform(1.2, 6.0) if is_synthetic else rng.uniform(0.6, 2.2)
    fall_s, decay_s = rng.uniform(0.012, 0.05), rng.uniform(0.12, 0.5) if is_synthetic else rng.uniform(0.07, 0.18)
    click, click_hz = rng.uniform(0.02, 0.35), rng.uniform(1800, 5000)
    drive = rng.uniform(0.5, 3.0)
    body = 0.0 if is_synthetic else rng.uniform(0.0, 0.15)

    def stroke(hard: float) -> np.ndarray:
        n_samples = int(min(7 * decay_s, 1.6) * RATE)
        times = seconds(n_samples)
        low = np.tanh(drive * _falling_sine(low_hz, sweep * (0.6 + 0.4 * hard), fall_s, decay_s, n_samples))
        beater = _filtered_noise(rng, n_samples, 0.4 * click_hz, click_hz) * np.exp(-times / 0.006)
        room = _filtered_noise(rng, n_samples, 80, 500) * np.exp(-times / 0.06)
        return low + click * hard * beater + body * room

    return _layers(rng, stroke)


def _snare(rng: np.random.Generator, is_synthetic: bool) -> list[Samples]:
    tune_hz, wires = rng.uniform(150, 260), rng.uniform(0.3, 0.9)
    decay_s, wire_s = rng.uniform(0.05, 0.14), rng.uniform(0.06, 0.22)
    low_hz, high_hz = rng.uniform(700, 2200), rng.uniform(7000, 15000)
    modes = [1.0] if is_synthetic and rng.random() < 0.5 else [1.0, 1.59, 2.14, 2.3, 2.65]
    snap = rng.uniform(0.1, 0.6)

    def stroke(hard: float) -> np.ndarray:
        n_samples = int(7 * max(decay_s, wire_s) * RATE)
        times = seconds(n_samples)
        head = sum(
            _falling_sine(tune_hz * mode, 0.25 * hard, 0.015, decay_s / mode**0.7, n_samples) / (1 + index)
            for index, mode in enumerate(modes)
        )
        rattle = _filtered_noise(rng, n_samples, low_hz, high_hz, order=1) * np.exp(
            -times / (wire_s * (0.6 + 0.4 * hard))
        )
        stick = _filtered_noise(rng, n_samples, 2500, 9000) * np.exp(-times / 0.004)
        return (1 - wires) * head + 0.45 * wires * rattle + 0.3 * snap * hard * stick

    return _layers(rng, stroke)


def _tom(
    rng: np.random.Generator, tune_hz: float, is_synthetic: bool, *, decay_s: float | None = None
) -> list[Samples]:
    ringing_s = decay_s or rng.uniform(0.12, 0.35)
    sweep = rng.uniform(0.3, 1.5) if is_synthetic else rng.uniform(0.05, 0.3)

    def stroke(hard: float) -> np.ndarray:
        n_samples = int(6 * ringing_s * RATE)
        skin = sum(
            _falling_sine(tune_hz * mode, sweep * hard, 0.04, ringing_s / mode, n_samples) * level
            for mode, level in ((1.0, 1.0), (1.59, 0.4), (2.14, 0.25))
        )
        stick = _filtered_noise(rng, n_samples, 1000, 6000) * np.exp(-seconds(n_samples) / 0.008)
        return skin + (0.02 if is_synthetic else 0.12) * hard * stick

    return _layers(rng, stroke)


def _clap(rng: np.random.Generator) -> list[Samples]:
    centre_hz, gap_s, tail_s = rng.uniform(1000, 1700), rng.uniform(0.008, 0.013), rng.uniform(0.06, 0.16)

    def stroke(hard: float) -> np.ndarray:
        n_samples = int((0.05 + 6 * tail_s) * RATE)
        times = seconds(n_samples)
        envelope = sum(np.exp(-np.maximum(times - k * gap_s, 0) / 0.006) * (times >= k * gap_s) for k in range(3))
        envelope = envelope + np.exp(-np.maximum(times - 3 * gap_s, 0) / tail_s) * (times >= 3 * gap_s)
        return _filtered_noise(rng, n_samples, 0.6 * centre_hz, 5 * centre_hz) * envelope

    return _layers(rng, stroke)


def _struck_bar(rng: np.random.Generator, modes_hz: list[float], decay_s: float, noise: float) -> np.ndarray:
    n_samples = int(8 * decay_s * RATE)
    times = np.arange(n_samples) / RATE
    bar = sum(np.sin(2 * np.pi * hz * times) * np.exp(-times / decay_s) for hz in modes_hz)
    return bar + noise * _filtered_noise(rng, n_samples, 1500, 8000) * np.exp(-times / 0.003)


def _square_bell(rng: np.random.Generator) -> np.ndarray:
    base_hz, decay_s = rng.uniform(520, 620), rng.uniform(0.06, 0.15)
    n_samples = int(6 * decay_s * RATE)
    times = np.arange(n_samples) / RATE
    waves = sum(
        np.sin(2 * np.pi * base_hz * ratio * number * times) / number
        for ratio in (1.0, 1.48)
        for number in (1, 3, 5, 7)
    )
    return waves * np.exp(-times / decay_s)


class _Metal:
    """Cymbals: many inharmonic partials and noise, of one colour for a whole kit."""

    def __init__(self, rng: np.random.Generator, is_synthetic: bool) -> None:
        n_partials = 6 if is_synthetic else 30
        top_hz = 900 if is_synthetic else 14000
        self.partials_hz = np.sort(rng.uniform(300, top_hz, n_partials)) * rng.uniform(0.9, 1.3)
        waves = np.zeros(int((_LONGEST_S + 1) * RATE))
        places = 2 * np.pi / RATE * np.arange(len(waves))
        for hz in self.partials_hz:
            wave = np.sin(hz * places + rng.uniform(0, 6))
            waves += np.sign(wave) if is_synthetic else wave
        self.ring = waves / np.std(waves)
        self.hat_hz = rng.uniform(4500, 8500)
        self.tone = rng.uniform(0.2, 0.7)
        self.bell_hz = rng.uniform(2500, 4200)
        self.ride_s = rng.uniform(0.4, 1.1)

    def stroke(self, decay_s: float, low_hz: float, hard: float, rng: np.random.Generator) -> np.ndarray:
        """One stroke that dies away in about ``decay_s``, with what lies above ``low_hz``."""
        n_samples = int(min(6.5 * decay_s + 0.02, _LONGEST_S) * RATE)
        times = np.arange(n_samples) / RATE
        begin = int(rng.integers(len(self.ring) - n_samples + 1))
        ring = self.ring[begin : begin + n_samples]
        sos = butter(2, low_hz * (1.15 - 0.3 * hard), "highpass", fs=RATE, output="sos")
        mixed = sosfilt(sos, self.tone * ring + (1.1 - self.tone) * rng.standard_normal(n_samples))
        envelope = 0.75 * np.exp(-times / decay_s) + 0.25 * np.exp(-times / (0.15 * decay_s))
        return mixed * envelope * np.minimum(times / 0.001, 1)

    def ride(self, hard: float, rng: np.random.Generator) -> np.ndarray:
        """One stroke on the ride: a ping above the wash."""
        wash = self.stroke(self.ride_s, 3000, hard, rng)
        times = np.arange(len(wash)) / RATE
        ping = sum(np.sin(2 * np.pi * self.bell_hz * ratio * times) for ratio in (1.0, 1.34, 1.71, 2.3))
        ping = ping * np.exp(-times / 0.12)
        return 0.5 * wash / np.std(wash[:2000]) + 0.35 * ping
