"""From spectral envelopes and a pitch to samples: pulses and noise through filters that change with time.

The conventions are WORLD's (M. Morise, F. Yokomori, K. Ozawa, "WORLD: a vocoder-based high-quality speech synthesis
system for real-time applications", IEICE Trans. Inf. & Syst. E99-D, 2016): white noise of unit variance, and pulses of
the same power, each through the minimum-phase filter of its envelope. Unlike there, pulses stand between samples, are
uneven in time and strength, and breath noise swells and fades with the pulses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from cadenza_remix.training.synth.voice_phrases import HOP
from cadenza_remix.training.synth.voice_settings import SAMPLE_RATE

FFT_LENGTH = 2048
N_BINS = FFT_LENGTH // 2 + 1
FREQUENCIES_HZ = np.arange(N_BINS) * (SAMPLE_RATE / FFT_LENGTH)
_N_FRACTIONS = 16  # places of a pulse between two samples
_BLOCK = 64  # spectra worked on at once: bounds the memory
_NOISE_LENGTH = 2 * HOP
_NOISE_FFT = 1024
_NOISE_LEAD = (_NOISE_FFT - _NOISE_LENGTH) // 2  # room before a piece: its filter answers in both directions
_FLOOR = 1e-5


PER_DB = np.log(10.0) / 20.0  # natural logarithm of amplitude


def higher_resonances_db(formant_scale: float) -> NDArray[np.float64]:
    """Return the ripple, in dB for each bin, that a vocal tract's resonances above the fifth leave on each sound."""
    depth = 4.0 * np.clip((FREQUENCIES_HZ - 4500.0) / 2000.0, 0.0, 1.0)
    phase = FREQUENCIES_HZ / (2900.0 * formant_scale) + 0.4 * np.sin(FREQUENCIES_HZ / 1700.0 + 40.0 * formant_scale)
    return depth * np.cos(2.0 * np.pi * phase)


@dataclass(frozen=True)
class Envelopes:
    """What colours the pulses and the noise of a phrase.

    Parameters
    ----------
    pulses, noise : array, shape (n_frames, N_BINS), float32
        Amplitude spectra.
    """

    pulses: NDArray[np.float32]
    noise: NDArray[np.float32]


@dataclass(frozen=True)
class Unevenness:
    """How uneven pulses are: `jitter` and `shimmer` as shares of period and strength, `doubling` of every second."""

    jitter: float = 0.0
    shimmer: float = 0.0
    doubling: float = 0.0


def render(
    envelopes: Envelopes, f0: NDArray[np.float64], unevenness: Unevenness, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the samples of a phrase, at 44.1 kHz.

    Parameters
    ----------
    envelopes : Envelopes
    f0 : array, shape (n_frames,)
        In hertz, above 0 in each frame; what is not voiced has no pulses in its envelope.
    unevenness : Unevenness
    rng : numpy.random.Generator

    Returns
    -------
    array, shape (n_frames * HOP + FFT_LENGTH,)
        Frame ``k`` stands at sample ``k * HOP``.
    """
    n_frames = len(f0)
    samples = np.zeros(n_frames * HOP + FFT_LENGTH, dtype=np.float32)
    at_samples = np.interp(np.arange(n_frames * HOP), np.arange(n_frames) * HOP, f0)
    cycles = np.cumsum(at_samples) / SAMPLE_RATE
    _add_pulses(samples, envelopes.pulses, cycles, at_samples, unevenness, rng)
    _add_noise(samples, envelopes, cycles, rng)
    return samples


def _add_pulses(
    samples: NDArray[np.float32],
    envelopes: NDArray[np.float32],
    cycles: NDArray[np.float64],
    f0: NDArray[np.float64],
    unevenness: Unevenness,
    rng: np.random.Generator,
) -> None:
    """Add the pulses, one for each cycle."""
    n_pulses = int(cycles[-1])
    times = np.interp(np.arange(1, n_pulses + 1), cycles, np.arange(len(cycles)))
    f0 = f0[times.astype(int)]
    periods = SAMPLE_RATE / f0
    strengths = np.sqrt(periods) * (1.0 + unevenness.shimmer * rng.standard_normal(n_pulses))
    strengths[::2] *= 1.0 - 0.6 * unevenness.doubling
    times = times + unevenness.jitter * periods * rng.standard_normal(n_pulses)
    times[::2] += 0.04 * unevenness.doubling * periods[::2]
    times = np.clip(times, 0.0, len(cycles) - 1.0)
    is_heard = envelopes.max(axis=1) > _FLOOR
    frames = np.minimum(times / HOP, len(envelopes) - 1.001)
    audible = np.flatnonzero(is_heard[frames.astype(int)] | is_heard[frames.astype(int) + 1])
    shifts = np.exp(-2j * np.pi / FFT_LENGTH * np.outer(np.arange(_N_FRACTIONS) / _N_FRACTIONS, np.arange(N_BINS)))
    shifts = shifts.astype(np.complex64)
    for first in range(0, len(audible), _BLOCK):
        chosen = audible[first : first + _BLOCK]
        lowest = int(frames[chosen].min())
        filters = minimum_phase(envelopes[lowest : int(frames[chosen].max()) + 2])
        index = frames[chosen].astype(int) - lowest
        share = (frames[chosen] - frames[chosen].astype(int)).astype(np.float32)[:, None]
        spectra = filters[index] * (1.0 - share) + filters[index + 1] * share
        ticks = np.round(times[chosen] * _N_FRACTIONS).astype(int)
        spectra *= shifts[ticks % _N_FRACTIONS] * strengths[chosen, None].astype(np.float32)
        waves = fft.irfft(spectra, n=FFT_LENGTH, axis=1)
        for wave, place in zip(waves, ticks // _N_FRACTIONS, strict=True):
            samples[place : place + FFT_LENGTH] += wave


def minimum_phase(envelopes: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Return the minimum-phase spectra of amplitude spectra, shape (n, N_BINS), by their cepstra."""
    cepstra = fft.irfft(np.log(np.maximum(envelopes, _FLOOR * 0.1)), n=FFT_LENGTH, axis=1)
    cepstra[:, 1 : FFT_LENGTH // 2] *= 2.0
    cepstra[:, FFT_LENGTH // 2 + 1 :] = 0.0
    return np.exp(fft.rfft(cepstra, axis=1))


def _add_noise(
    samples: NDArray[np.float32], envelopes: Envelopes, cycles: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Add noise through the envelopes, swelling once in a cycle where there are pulses."""
    n_frames = len(envelopes.noise)
    noise = rng.standard_normal((n_frames + 1) * HOP, dtype=np.float32)
    level = envelopes.pulses.max(axis=1)
    swing = 0.7 * np.repeat(level > _FLOOR, HOP).astype(np.float32)
    noise[: n_frames * HOP] *= 1.0 + swing * np.cos(2.0 * np.pi * cycles).astype(np.float32)
    window = np.hanning(_NOISE_LENGTH + 1)[:-1].astype(np.float32)  # pieces add up to the noise itself
    pieces = np.lib.stride_tricks.sliding_window_view(noise, _NOISE_LENGTH)[::HOP]
    audible = np.flatnonzero(envelopes.noise.max(axis=1) > _FLOOR)
    audible = audible[(audible * HOP >= HOP + _NOISE_LEAD) & (audible < len(pieces))]
    for first in range(0, len(audible), _BLOCK):
        chosen = audible[first : first + _BLOCK]
        padded = np.zeros((len(chosen), _NOISE_FFT), dtype=np.float32)
        padded[:, _NOISE_LEAD : _NOISE_LEAD + _NOISE_LENGTH] = pieces[chosen - 1] * window
        spectra = fft.rfft(padded, axis=1) * envelopes.noise[chosen, :: FFT_LENGTH // _NOISE_FFT]
        for wave, frame in zip(fft.irfft(spectra, n=_NOISE_FFT, axis=1), chosen, strict=True):
            begin = (frame - 1) * HOP - _NOISE_LEAD
            samples[begin : begin + _NOISE_FFT] += wave
