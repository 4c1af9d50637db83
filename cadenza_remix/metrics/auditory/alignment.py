"""Finding, channel by channel, by how much the processed signal lags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cadenza_remix.compiled import compiled
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


@dataclass(frozen=True, eq=False)
class AlignmentTarget:
    """One group of channels of the reference, ready to have other signals aligned to it.

    ``spectra``: one ``(n_bins, LANES)`` array per block, of the samples about their mean; ``head`` and ``tail``: sums
    of the first and of the last k samples about the mean; ``samples``: the lanes themselves, where they were kept.
    """

    grid: Grid
    spectra: list[NDArray[np.complex64]]
    mean: NDArray[np.float64]
    energy: NDArray[np.float64]
    head: NDArray[np.float64]
    tail: NDArray[np.float64]
    samples: NDArray[np.float32] | None

    @classmethod
    def of(cls, lanes: Lanes, grid: Grid) -> AlignmentTarget:
        head, tail = _edge_sums(lanes, grid)
        return cls(grid, list(_spectra(lanes, grid, 0, 0)), lanes.mean, lanes.energy, head, tail, lanes.values)

    def without_samples(self) -> AlignmentTarget:
        """Return the target in less memory; where lags are in doubt, lanes are then made again from the spectra."""
        return replace(self, samples=None)

    def delays(self, processed: Lanes) -> NDArray[np.int64]:
        """Return for each lane the delay d, |d| <= 100 ms, that makes sum(reference[t] * processed[t + d]) largest.

        Of equal sums the one at the largest delay counts. Transforms are in float32, of values about their mean; where
        they leave a doubt between lags, the sums are computed directly.
        """
        grid = self.grid
        total = np.zeros_like(self.spectra[0])
        for spectrum, other in zip(
            self.spectra, _spectra(processed, grid, grid.max_delay, grid.max_delay), strict=True
        ):
            _add_cross_spectrum(_flat(spectrum), _flat(other), _flat(total))
        sums = scipy.fft.irfft(total, grid.fft_size, axis=0)[: 2 * grid.max_delay].astype(np.float64)
        if self.mean.any() or processed.mean.any():
            sums += self._mean_terms(processed)
        doubt = _DOUBT * np.sqrt(self.energy * processed.energy)
        return np.array([self._best_delay(sums[:, lane], doubt[lane], lane, processed) for lane in range(LANES)])

    def _mean_terms(self, processed: Lanes) -> NDArray[np.float64]:
        """Return what the means add to the sums at each delay from -max_delay to max_delay - 1."""
        n, most = self.grid.n_samples, self.grid.max_delay
        head, tail = _edge_sums(processed, self.grid)
        # For delay d the sum runs over the reference without its last d samples and the processed without its first d;
        # for a negative one the other way round. All samples about their mean add up to zero.
        sum_x = -np.concatenate((self.head[:0:-1], self.tail[:-1]))
        sum_y = -np.concatenate((tail[:0:-1], head[:-1]))
        overlap = n - np.abs(np.arange(-most, most))
        return self.mean * sum_y + processed.mean * sum_x + np.multiply.outer(overlap, self.mean * processed.mean)

    def _best_delay(self, sums: NDArray[np.float64], doubt: float, lane: int, processed: Lanes) -> int:
        candidates = np.flatnonzero(sums >= sums.max() - doubt)[::-1] - self.grid.max_delay
        if len(candidates) == 1 or not sums.any():  # all zero: one of the two is silent
            return int(candidates[0])
        n = self.grid.n_samples
        lane_x = self._lane(lane).astype(np.float64)
        lane_y = processed.values[lane : n * LANES : LANES].astype(np.float64)
        exact = [lane_x[max(0, -d) : n - max(0, d)] @ lane_y[max(0, d) : n - max(0, -d)] for d in candidates]
        return int(candidates[int(np.argmax(exact))])

    def _lane(self, lane: int) -> NDArray[np.float32]:
        n = self.grid.n_samples
        if self.samples is not None:
            return self.samples[lane : n * LANES : LANES]
        blocks = [scipy.fft.irfft(spectrum[:, lane], self.grid.fft_size)[: self.grid.hop] for spectrum in self.spectra]
        return np.concatenate(blocks)[:n] + self.mean[lane].astype(np.float32)


def _flat(spectrum: NDArray[np.complex64]) -> NDArray[np.float32]:
    return spectrum.reshape(-1).view(np.float32)


def _spectra(lanes: Lanes, grid: Grid, before: int, after: int) -> Iterator[NDArray[np.complex64]]:
    """Transform block after block, with so many samples before and after it; samples about their mean, zero outside."""
    block = np.empty((grid.fft_size, LANES), dtype=np.float32)
    flat = block.reshape(-1)
    mean = np.tile(lanes.mean.astype(np.float32), LANES) if lanes.mean.any() else None
    for start in grid.starts:
        first, last = max(start - before, 0), min(start + grid.hop + after, grid.n_samples)
        at, end = (first - start + before) * LANES, (last - start + before) * LANES
        taken = lanes.values[first * LANES : last * LANES]
        flat[:at] = 0.0
        if mean is None:
            flat[at:end] = taken
        else:
            _centre(taken, mean, flat[at:end])
        flat[end:] = 0.0
        yield scipy.fft.rfft(block, axis=0)


def _edge_sums(lanes: Lanes, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of the first and of the last k samples about the mean, for k = 0 ... max_delay."""
    most = grid.max_delay
    values = lanes.values[: grid.n_samples * LANES].reshape(-1, LANES)
    head, tail = np.zeros((most + 1, LANES)), np.zeros((most + 1, LANES))
    np.cumsum(values[:most] - lanes.mean, axis=0, out=head[1:])
    np.cumsum(values[: -most - 1 : -1] - lanes.mean, axis=0, out=tail[1:])
    return head, tail


@compiled()
def _add_cross_spectrum(first, second, total):  # type: ignore[no-untyped-def]
    """Add conj(first) * second to ``total``; complex64 seen as flat float32, real parts at even places."""
    for j in range(0, len(total), 2):
        a, b, c, d = first[j], first[j + 1], second[j], second[j + 1]
        total[j] += a * c + b * d
        total[j + 1] += a * d - b * c


@compiled()
def _centre(values, mean, out):  # type: ignore[no-untyped-def]
    """Write ``values - mean``; ``mean`` is that of the lanes, repeated to make the inner loop worth while."""
    for start in range(0, len(values), len(mean)):
        taken, written = values[start : start + len(mean)], out[start : start + len(mean)]
        for j in range(len(written)):
            written[j] = taken[j] - mean[j]
