"""Loudness and true peak as ITU-R BS.1770-5 measures them, and the gain that brings music to a loudness.

Conventions: loudness in LUFS (K-weighted, gated; the filters' coefficients follow the recommendation at every sample
rate), true peak in dBTP (dB of full scale, four times oversampled). A single channel counts as one channel: the same
samples in two channels are 3.01 LU louder. Silence is minus infinity, never an error or a warning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from cadenza_remix.audio.resample import resample_blocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.units import lin_to_db

GATING_BLOCK_S = 0.4
"""Length of the blocks whose loudness is gated; each begins a quarter of this after the one before."""
_STEPS_PER_BLOCK = 4
# Below this rate the shelf of the K-weighting (1.7 kHz) would come too near half the rate.
_LOWEST_RATE, _RATE_INSTEAD = 16_000, 48_000
_ABSOLUTE_GATE_LUFS, _RELATIVE_GATE_LU = -70.0, 10.0
_LUFS_OF_POWER_1 = -0.691
_OVERSAMPLING = 4
_BLOCK_LENGTH = 1 << 16


def integrated_lufs(audio: Audio) -> float:
    """Return the integrated loudness of the whole audio in LUFS (ITU-R BS.1770-5).

    The same as pyloudnorm's ``Meter.integrated_loudness`` to 1e-6 LU, but block by block: a few MB beyond the audio,
    whatever its length, where pyloudnorm copies all of it several times in double precision.

    What remains after the last whole step of 0.1 s is not measured. Audio shorter than a gating block of 0.4 s, for
    which the recommendation defines nothing, is taken as one block: then only the absolute gate is at work.

    Parameters
    ----------
    audio : Audio
        Mono or stereo, any rate; below 16 kHz it is first resampled to 48 kHz.

    Returns
    -------
    float
        Minus infinity for silence, and where nothing is louder than the absolute gate of -70 LUFS.

    Examples
    --------
    >>> integrated_lufs(Audio(np.zeros((44100, 2)), 44100))
    -inf
    """
    if not audio.samples.any():
        return -math.inf
    rate, n_samples = audio.sample_rate, audio.n_samples
    if rate >= _LOWEST_RATE:
        blocks = _blocks(audio, _BLOCK_LENGTH)
    else:
        blocks = resample_blocks(_blocks(audio, max(1, _BLOCK_LENGTH * rate // _RATE_INSTEAD)), rate, _RATE_INSTEAD)
        rate, n_samples = _RATE_INSTEAD, math.floor(n_samples * _RATE_INSTEAD / rate + 0.5)  # as soxr rounds
    firsts, ends = _gating_blocks(n_samples, rate)
    edges = np.unique(np.concatenate([firsts, ends]))
    energies = _energies_between(edges, blocks, rate)
    # Sums over few sections, no differences of running totals: these would lose a quiet block after loud ones.
    of_block = zip(np.searchsorted(edges, firsts), np.searchsorted(edges, ends), strict=True)
    sums = np.array([energies[first:end].sum() for first, end in of_block])
    return _gated_lufs(sums / min(GATING_BLOCK_S * rate, n_samples))


def _blocks(audio: Audio, length: int) -> Iterator[NDArray[np.float32]]:
    return (audio.samples[first : first + length] for first in range(0, audio.n_samples, length))


def _gating_blocks(n_samples: int, rate: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first samples of all gating blocks, and those after their last ones.

    The edges are pyloudnorm's to the sample: times are products of seconds, rounded down only at the end. Where a step
    is no whole number of samples, or a product falls below one, blocks need not end where later ones begin.
    """
    step_s = GATING_BLOCK_S / _STEPS_PER_BLOCK
    n_steps = int(n_samples / (step_s * rate) + 1e-9)
    if n_steps < _STEPS_PER_BLOCK:
        return np.array([0]), np.array([n_samples])
    steps = np.arange(n_steps - _STEPS_PER_BLOCK + 1) / _STEPS_PER_BLOCK
    firsts, ends = (GATING_BLOCK_S * places * rate for places in (steps, steps + 1))
    return firsts.astype(np.int64), ends.astype(np.int64)


def _energies_between(
    edges: NDArray[np.int64], blocks: Iterable[NDArray[np.float32]], rate: int
) -> NDArray[np.float64]:
    """Return the K-weighted energy of all channels together between each edge and the next; the first edge is 0."""
    from scipy.signal import sosfilt

    energies = np.zeros(len(edges) - 1)
    sections, state, done = _k_weighting(rate), None, 0
    for block in blocks:
        samples = block[: edges[-1] - done].T.astype(np.float64)
        if not samples.size:
            break
        if state is None:
            state = np.zeros((len(sections), len(samples), 2))
        weighted, state = sosfilt(sections, samples, zi=state)
        end = done + samples.shape[1]
        first, last = np.searchsorted(edges, done, side="right") - 1, np.searchsorted(edges, end)
        starts = np.maximum(edges[first:last] - done, 0)
        energies[first:last] += np.add.reduceat(np.square(weighted), starts, axis=1).sum(axis=0)
        done = end
    return energies


def _k_weighting(rate: int) -> NDArray[np.float64]:
    """Return the two filters of the recommendation, second-order sections of shape (2, 6), at any rate."""
    from pyloudnorm import IIRfilter

    # What pyloudnorm's meters of the class "DeMan" are made of: De Man, "Evaluation of implementations of the EBU R128
    # loudness measurement", AES 2018. At 48 kHz these are the recommendation's own coefficients, which those of
    # pyloudnorm's default class are not.
    shelf = IIRfilter(3.99984385397, 0.7071752369554193, 1681.9744509555319, rate, "high_shelf_DeMan")
    high_pass = IIRfilter(0.0, 0.5003270373253953, 38.13547087613982, rate, "high_pass_DeMan")
    return np.array([[*one.b, *one.a] for one in (shelf, high_pass)])


def _gated_lufs(powers: NDArray[np.float64]) -> float:
    """Return the loudness of those blocks that both gates let through (BS.1770-5, annex 1, equations 4 to 7)."""
    levels = _lufs(powers)
    above = levels >= _ABSOLUTE_GATE_LUFS
    if not above.any():
        return -math.inf
    relative_gate = _lufs(powers[above].mean()) - _RELATIVE_GATE_LU
    kept = (levels > _ABSOLUTE_GATE_LUFS) & (levels > relative_gate)
    return float(_lufs(powers[kept].mean())) if kept.any() else -math.inf


def _lufs(power: ArrayLike) -> NDArray[np.float64]:
    return _LUFS_OF_POWER_1 + lin_to_db(np.sqrt(np.asarray(power, dtype=np.float64)))


def true_peak_dbtp(audio: Audio) -> float:
    """Return the highest true peak of all channels in dBTP (ITU-R BS.1770-5, annex 2).

    Oversampled four times by soxr, block by block; never below the highest sample. Beyond its ends the audio counts as
    silence: a cut through a loud passage overshoots a little, as it does when it is played.

    Parameters
    ----------
    audio : Audio

    Returns
    -------
    float
        Minus infinity for silence.
    """
    rate = audio.sample_rate
    stream = soxr.ResampleStream(rate, _OVERSAMPLING * rate, audio.n_channels, dtype="float32", quality="VHQ")
    peak = 0.0
    for first in range(0, audio.n_samples, _BLOCK_LENGTH):
        block = audio.samples[first : first + _BLOCK_LENGTH]
        over = stream.resample_chunk(block, last=first + _BLOCK_LENGTH >= audio.n_samples)
        peak = max(peak, float(np.abs(block).max()), float(np.abs(over).max(initial=0.0)))
    return float(lin_to_db(peak))


def loudness_gain_db(audio: Audio, *, target_lufs: float | None, max_peak_dbfs: float) -> float:
    """Return the gain in dB that brings audio to a loudness, as far as its true peak allows.

    Parameters
    ----------
    audio : Audio
    target_lufs : float or None
        None leaves the loudness as it is; then only the peak counts.
    max_peak_dbfs : float
        With the gain, no true peak is above this: a louder target is not reached.

    Returns
    -------
    float
        Finite. Audio without a loudness (silence, or all of it below the gate) is never raised.
    """
    loudness, peak = integrated_lufs(audio), true_peak_dbtp(audio)
    wanted = 0.0 if target_lufs is None or not math.isfinite(loudness) else target_lufs - loudness
    return min(wanted, max_peak_dbfs - peak)
