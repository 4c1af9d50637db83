"""Finding, channel by channel, by how much the processed signal lags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cadenza_remix.metrics.auditory.compiled import compiled
from cadenza_remix.metrics.auditory.filters import LANES, Lanes

MAX_DELAY = 2400
"""Samples; 100 ms at 24 kHz, both ways."""

_FFT_SIZE = 32768
_DOUBT = 5e-7


@dataclass(frozen=True, eq=False)
class Grid:
    """How a signal of ``n_samples`` is cut so that its correlation at short lags is a sum over blocks."""

    n_samples: int
    max_delay: int
    hop: int
    fft_size: int

    @classmethod
    def for_length(cls, n_samples: int) -> Grid:
        max_delay = min(MAX_DELAY, n_samples)
        n_blocks = -(-n_samples // (_FFT_SIZE - 2 * MAX_DELAY))
        hop = -(-n_samples // n_blocks)
        return cls(n_samples, max_delay, hop, scipy.fft.next_fast_len(hop + 2 * max_delay, real=True))

    @property
    def starts(self) -> range:
        return range(0, self.n_samples, self.hop)


def block_spectra(lanes: Lanes, grid: Grid) -> list[NDArray[np.complex64]]:
    """Return the spectra ``(n_bins, LANES)`` of the reference's blocks."""
    return [_spectrum(lanes, grid, start, start + grid.hop) for start in grid.starts]


def delays(
    reference: Lanes, spectra: list[NDArray[np.complex64]], processed: Lanes, grid: Grid
) -> NDArray[np.int64]:
    """Return for each lane the delay d, |d| <= 100 ms, at which sum(reference[t] * processed[t + d]) is largest.

    Of equal sums the one at the largest delay counts. Transforms are in float32, of values about their mean; where they
    leave a doubt between lags, the sums are computed directly.
    """
    total = np.zeros_like(spectra[0])
    for spectrum, start in zip(spectra, grid.starts, strict=True):
        other = _spectrum(processed, grid, start - grid.max_delay, start + grid.hop + grid.max_delay)
        _add_cross_spectrum(_flat(spectrum), _flat(other), _flat(total))
    sums = scipy.fft.irfft(total, grid.fft_size, axis=0)[: 2 * grid.max_delay].astype(np.float64)
    if reference.mean.any() or processed.mean.any():
        sums += _mean_terms(reference, processed, grid)
    return _largest(sums, reference, processed, grid)


def _flat(spectrum: NDArray[np.complex64]) -> NDArray[np.float32]:
    return spectrum.reshape(-1).view(np.float32)


def _spectrum(lanes: Lanes, grid: Grid, start: int, stop: int) -> NDArray[np.complex64]:
    """Transform samples [start, stop), their mean taken away, zero outside the signal."""
    block = np.zeros(grid.fft_size * LANES, dtype=np.float32)
    first, last = max(start, 0), min(stop, grid.n_samples)
    taken = lanes.values[first * LANES : last * LANES]
    kept = block[(first - start) * LANES : (last - start) * LANES]
    if lanes.mean.any():
        _centre(taken, np.tile(lanes.mean.astype(np.float32), LANES), kept)
    else:
        np.copyto(kept, taken)
    return scipy.fft.rfft(block.reshape(-1, LANES), axis=0, overwrite_x=True)


def _mean_terms(reference: Lanes, processed: Lanes, grid: Grid) -> NDArray[np.float64]:
    """Return what the means add to the sums at each delay from -max_delay to max_delay - 1."""
    n, most = grid.n_samples, grid.max_delay
    mean_x = reference.mean.astype(np.float32).astype(np.float64)
    mean_y = processed.mean.astype(np.float32).astype(np.float64)
    head_x, tail_x = _edge_sums(reference, mean_x, n, most)
    head_y, tail_y = _edge_sums(processed, mean_y, n, most)
    total_x = n * (reference.mean - mean_x)
    total_y = n * (processed.mean - mean_y)
    delay = np.arange(-most, most)
    # For delay d the sum runs over the reference without its last d samples and the processed without its first d;
    # for a negative one the other way round.
    sum_x = total_x - np.concatenate((head_x[:0:-1], tail_x[:-1]))
    sum_y = total_y - np.concatenate((tail_y[:0:-1], head_y[:-1]))
    return mean_x * sum_y + mean_y * sum_x + np.multiply.outer(n - np.abs(delay), mean_x * mean_y)


def _edge_sums(
    lanes: Lanes, mean: NDArray[np.float64], n_samples: int, most: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of the first and of the last k samples about the mean, for k = 0 ... most."""
    values = lanes.values.reshape(-1, LANES)
    head = np.zeros((most + 1, LANES))
    tail = np.zeros((most + 1, LANES))
    np.cumsum(values[:most] - mean, axis=0, out=head[1:])
    np.cumsum(values[n_samples - most : n_samples][::-1] - mean, axis=0, out=tail[1:])
    return head, tail


def _largest(sums: NDArray[np.float64], reference: Lanes, processed: Lanes, grid: Grid) -> NDArray[np.int64]:
    doubt = _DOUBT * np.sqrt(reference.energy * processed.energy)
    found = np.empty(LANES, dtype=np.int64)
    for lane in range(LANES):
        candidates = np.flatnonzero(sums[:, lane] >= sums[:, lane].max() - doubt[lane])[::-1] - grid.max_delay
        best = 0
        if 1 < len(candidates) and doubt[lane] > 0:
            exact = [
                _lagged_product(reference.values, processed.values, lane, int(delay), grid.n_samples)
                for delay in candidates
            ]
            best = int(np.argmax(exact))
        found[lane] = candidates[best]
    return found


@compiled()
def _add_cross_spectrum(first, second, total):  # type: ignore[no-untyped-def]
    """Add conj(first) * second to ``total``; complex64 seen as flat float32, real parts at even places."""
    for j in range(0, len(total), 2):
        a, b, c, d = first[j], first[j + 1], second[j], second[j + 1]
        total[j] += a * c + b * d
        total[j + 1] += a * d - b * c


@compiled(reorder_sums=True)
def _lagged_product(first, second, lane, delay, n_samples):  # type: ignore[no-untyped-def]
    """Return the sum over t of first[t] * second[t + delay] in one lane, in float64."""
    total = 0.0
    for t in range(max(0, -delay), min(n_samples, n_samples - delay)):
        total += np.float64(first[t * LANES + lane]) * np.float64(second[(t + delay) * LANES + lane])
    return total


@compiled()
def _centre(values, mean, out):  # type: ignore[no-untyped-def]
    """Write ``values - mean``; ``mean`` is that of the lanes, repeated to make the inner loop worth while."""
    for start in range(0, len(values), len(mean)):
        taken, written = values[start : start + len(mean)], out[start : start + len(mean)]
        for j in range(len(written)):
            written[j] = taken[j] - mean[j]
