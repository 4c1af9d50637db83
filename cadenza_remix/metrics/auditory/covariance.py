"""Covariance of basilar membrane motion in short tiles of time and frequency."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.compiled import compiled
from cadenza_remix.metrics.auditory.cochlea import CENTRE_FREQUENCIES_HZ

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
    level_db = np.sqrt(2.0 * energies / _norms(n_tiles))
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
    norms = _norms(len(audible))
    _tile_covariances(
        reference, processed, _WINDOW32, _WHOLE_LAG_WEIGHTS, _HALF_LAG_WEIGHTS, norms, audible, covariances
    )
    return covariances


def _norms(n_tiles: int) -> NDArray[np.float64]:
    """Return the energy of the window of every tile."""
    norms = np.full(n_tiles, np.sum(_WINDOW**2))
    norms[[0, -1]] *= 0.5
    return norms


def mean_covariance(covariance_sums: NDArray[np.float64], audible: NDArray[np.bool_]) -> float:
    """Average over audible tiles, channels weighted by how well hair cells follow the fine structure (to 3.5 kHz).

    ``covariance_sums`` (n_channels,): sum over the audible tiles. Returns 0 when nothing is audible.
    """
    counts = audible.sum(axis=1)
    if not counts.any():
        return 0.0
    return float(np.sum(_SYNCHRONY * covariance_sums) / np.sum(_SYNCHRONY * counts))


@compiled(inline=True)
def _cut_tile(samples, window, tile):  # type: ignore[no-untyped-def]
    """Window a stretch of samples, take its mean away, write it to ``tile`` and return its energy."""
    total = np.float32(0.0)
    for i in range(len(tile)):
        value = samples[i] * window[i]
        tile[i] = value
        total += value
    mean = total / np.float32(len(tile))
    energy = np.float32(0.0)
    for i in range(len(tile)):
        value = tile[i] - mean
        tile[i] = value
        energy += value * value
    return np.float64(energy)


@compiled()
def _place(n, n_tiles):  # type: ignore[no-untyped-def]
    """Return where tile ``n`` starts, where its window starts, and its length: the first and the last are halves."""
    start = n * (TILE // 2)
    if n == 0:
        return start, TILE // 2, TILE // 2
    return start, 0, TILE if n < n_tiles - 1 else TILE // 2


@compiled(reorder_sums=True)
def _tile_energies(rows, window, energies):  # type: ignore[no-untyped-def]
    """Write the windowed energy of every tile (not yet divided by the window's) to ``energies`` (channels, tiles)."""
    tile = np.empty(TILE, np.float32)
    n_tiles = energies.shape[1]
    for k in range(rows.shape[0]):
        row = rows[k]
        for n in range(n_tiles):
            start, window_start, length = _place(n, n_tiles)
            energies[k, n] = _cut_tile(row[start : start + length], window[window_start:], tile[:length])


@compiled(inline=True)
def _peak_product(first, second, weights):  # type: ignore[no-untyped-def]
    """Return the largest weighted |cross-correlation| of two tiles; ``second`` has a margin on both sides."""
    peak = np.float32(0.0)
    for lag in range(0, 2 * MAX_TILE_LAG + 1, 7):
        y0, y1, y2, y3 = second[lag:], second[lag + 1 :], second[lag + 2 :], second[lag + 3 :]
        y4, y5, y6 = second[lag + 4 :], second[lag + 5 :], second[lag + 6 :]
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = np.float32(0.0)
        for i in range(len(first)):
            x = first[i]
            s0 += x * y0[i]
            s1 += x * y1[i]
            s2 += x * y2[i]
            s3 += x * y3[i]
            s4 += x * y4[i]
            s5 += x * y5[i]
            s6 += x * y6[i]
        w = weights[lag : lag + 7]
        peak = max(peak, abs(s0 * w[0]), abs(s1 * w[1]), abs(s2 * w[2]), abs(s3 * w[3]))
        peak = max(peak, abs(s4 * w[4]), abs(s5 * w[5]), abs(s6 * w[6]))
    return peak


@compiled(reorder_sums=True)
def _tile_covariances(  # type: ignore[no-untyped-def]
    reference, processed, window, lag_weights, half_lag_weights, norms, audible, covariances
):
    """Write the largest normalised covariance within 1 ms of each audible tile of one channel; leave the others."""
    n_tiles = len(audible)
    first = np.empty(TILE, np.float32)
    second = np.zeros(TILE + 2 * MAX_TILE_LAG, np.float32)
    for n in range(n_tiles):
        if not audible[n]:
            continue
        start, window_start, length = _place(n, n_tiles)
        x, y = first[:length], second[MAX_TILE_LAG : MAX_TILE_LAG + length]
        second[MAX_TILE_LAG + length :] = np.float32(0.0)
        shape = window[window_start:]
        norm = norms[n]
        energy = _cut_tile(reference[start : start + length], shape, x) / norm
        other = _cut_tile(processed[start : start + length], shape, y) / norm
        if energy > _SMALL and other > _SMALL:
            peak = _peak_product(x, second, lag_weights if length == TILE else half_lag_weights)
            covariances[n] = min(np.float64(peak) / math.sqrt(energy * other), 1.0)
