"""Covariance of basilar membrane motion in short tiles of time and frequency."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.metrics.auditory.cochlea import CENTRE_FREQUENCIES_HZ
from cadenza_remix.metrics.auditory.compiled import compiled

TILE = 384
"""Length of a tile, 16 ms at 24 kHz."""

MAX_TILE_LAG = 24
"""Largest lag inside a tile, 1 ms at 24 kHz."""

_SMALL = 1e-30
_AUDIBLE_DB = 2.5
_SYNC_ORDER, _SYNC_CUTOFF_HZ = 5, 3500.0


def _lag_weights(window: NDArray[np.float64]) -> NDArray[np.float32]:
    lags = np.correlate(window, window, "full")
    middle = len(window) - 1
    return (1.0 / lags[middle - MAX_TILE_LAG : middle + MAX_TILE_LAG + 1]).astype(np.float32)


_WINDOW = np.hanning(TILE)
_WINDOW32 = _WINDOW.astype(np.float32)
_WHOLE_LAG_WEIGHTS = _lag_weights(_WINDOW)
_HALF_LAG_WEIGHTS = _lag_weights(_WINDOW[TILE // 2 :])
_SYNCHRONY = 1.0 / np.sqrt(1.0 + (CENTRE_FREQUENCIES_HZ / _SYNC_CUTOFF_HZ) ** (2 * _SYNC_ORDER))


def audible_tiles(rows: Sequence[NDArray[np.float32]]) -> NDArray[np.bool_]:
    """Say which tiles of the reference count.

    A tile counts where its RMS (doubled power: that of the envelope) is more than 2.5 dB above threshold, in time
    segments whose loudness over all channels is more than 2.5 dB too. Of a single such segment nothing counts.

    Parameters
    ----------
    rows : sequence of arrays of shape (n_channels, n_samples)
        Noisy basilar membrane motion of the reference, in groups of channels.

    Returns
    -------
    array of shape (n_channels, n_tiles)
    """
    n_samples = rows[0].shape[1]
    half = TILE // 2
    n_tiles = 1 + n_samples // TILE + (n_samples - half) // TILE
    energies = np.concatenate([np.empty((len(group), n_tiles)) for group in rows])
    at = 0
    for group in rows:
        _tile_energies(group, _WINDOW32, energies[at : at + len(group)])
        at += len(group)
    norm = np.full(energies.shape[1], np.sum(_WINDOW**2))
    norm[[0, -1]] = np.sum(_WINDOW[half:] ** 2)
    level_db = np.sqrt(2.0 * energies / norm)
    segment_db = 20.0 * np.log10(np.mean(10.0 ** (level_db / 20.0), axis=0))
    loud = segment_db > _AUDIBLE_DB
    if np.count_nonzero(loud) <= 1:
        loud[:] = False
    return (level_db > _AUDIBLE_DB) & loud


def channel_covariances(
    reference: NDArray[np.float32], processed: NDArray[np.float32], audible: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the largest normalised covariance at lags up to 1 ms of each tile of one channel; 0 where inaudible."""
    covariances = np.zeros(len(audible))
    _tile_covariances(reference, processed, _WINDOW32, _WHOLE_LAG_WEIGHTS, _HALF_LAG_WEIGHTS, audible, covariances)
    return covariances


def mean_covariance(covariance_sums: NDArray[np.float64], audible: NDArray[np.bool_]) -> float:
    """Average over audible tiles, channels weighted by how well hair cells follow the fine structure (to 3.5 kHz).

    ``covariance_sums`` (n_channels,): sum over the audible tiles. Returns 0 when nothing is audible.
    """
    counts = audible.sum(axis=1)
    if not counts.any():
        return 0.0
    return float(np.sum(_SYNCHRONY * covariance_sums) / np.sum(_SYNCHRONY * counts))


@compiled(reorder_sums=True)
def _cut_tile(row, start, window, first, length, tile, margin):  # type: ignore[no-untyped-def]
    """Window a tile, take its mean away, write it to ``tile[margin:]`` and return its energy."""
    total = 0.0
    for i in range(length):
        value = row[start + i] * window[first + i]
        tile[margin + i] = value
        total += value
    mean = np.float32(total / length)
    energy = 0.0
    for i in range(length):
        value = tile[margin + i] - mean
        tile[margin + i] = value
        energy += np.float64(value) * np.float64(value)
    return energy


@compiled()
def _tile_energies(rows, window, energies):  # type: ignore[no-untyped-def]
    """Write the windowed energy of every tile (not yet divided by the window's) to ``energies`` (channels, tiles)."""
    tile = np.empty(TILE, np.float32)
    half = TILE // 2
    n_tiles = energies.shape[1]
    for k in range(rows.shape[0]):
        energies[k, 0] = _cut_tile(rows[k], 0, window, half, half, tile, 0)
        for n in range(1, n_tiles - 1):
            energies[k, n] = _cut_tile(rows[k], n * half, window, 0, TILE, tile, 0)
        energies[k, n_tiles - 1] = _cut_tile(rows[k], (n_tiles - 1) * half, window, 0, half, tile, 0)


@compiled(reorder_sums=True)
def _peak_product(first, second, length, weights):  # type: ignore[no-untyped-def]
    """Return the largest weighted |cross-correlation| of two tiles; ``second`` has a margin on both sides."""
    peak = np.float32(0.0)
    for lag in range(0, 2 * MAX_TILE_LAG + 1, 7):
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = np.float32(0.0)
        for i in range(length):
            x = first[i]
            s0 += x * second[i + lag]
            s1 += x * second[i + lag + 1]
            s2 += x * second[i + lag + 2]
            s3 += x * second[i + lag + 3]
            s4 += x * second[i + lag + 4]
            s5 += x * second[i + lag + 5]
            s6 += x * second[i + lag + 6]
        peak = max(peak, abs(s0 * weights[lag]), abs(s1 * weights[lag + 1]), abs(s2 * weights[lag + 2]))
        peak = max(peak, abs(s3 * weights[lag + 3]), abs(s4 * weights[lag + 4]), abs(s5 * weights[lag + 5]))
        peak = max(peak, abs(s6 * weights[lag + 6]))
    return peak


@compiled()
def _tile_covariances(  # type: ignore[no-untyped-def]
    reference, processed, window, lag_weights, half_lag_weights, audible, covariances
):
    """Write the largest normalised covariance within 1 ms of each audible tile of one channel; 0 for the others."""
    half = TILE // 2
    n_tiles = len(audible)
    full_norm = half_norm = 0.0
    for i in range(TILE):
        full_norm += np.float64(window[i]) ** 2
    half_norm = 0.5 * full_norm
    first = np.zeros(TILE, np.float32)
    second = np.zeros(TILE + 2 * MAX_TILE_LAG, np.float32)
    for n in range(n_tiles):
        covariances[n] = 0.0
        if not audible[n]:
            continue
        whole = 0 < n < n_tiles - 1
        length = TILE if whole else half
        window_start = half if n == 0 else 0
        norm = full_norm if whole else half_norm
        second[MAX_TILE_LAG + length :] = 0.0
        energy = _cut_tile(reference, n * half, window, window_start, length, first, 0) / norm
        other = _cut_tile(processed, n * half, window, window_start, length, second, MAX_TILE_LAG) / norm
        if energy > _SMALL and other > _SMALL:
            peak = _peak_product(first, second, length, lag_weights if whole else half_lag_weights)
            covariances[n] = min(peak / math.sqrt(energy * other), 1.0)
