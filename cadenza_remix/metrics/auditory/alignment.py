"""Finding, channel by channel, by how much the processed signal lags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
# Halfbands are not ideal: what they take away or fold back may count twice where lags are between samples.
_DOUBT_OF_HALVING = 2.0
_MOST_CANDIDATES = 64
_GUARD = 32
_STRETCH = 1024


def _flattest_halfband(order: int) -> NDArray[np.float32]:
    """Return the taps at +-1, +-3, ... of the maximally flat halfband filter (Lagrange interpolation at the middle)."""
    places = np.arange(1, 2 * order, 2)
    every = np.concatenate((-places, places)).astype(np.float64)
    taps = [np.prod(every[every != place] / (every[every != place] - place)) for place in places]
    return (0.5 * np.array(taps)).astype(np.float32)


# Orders are multiples of 5, because the loop takes five taps at a time. The last stage is the steepest.
_STAGES: dict[int, tuple[NDArray[np.float32], ...]] = {
    1: (),
    2: (_flattest_halfband(10),),
    4: (_flattest_halfband(5), _flattest_halfband(10)),
}


@dataclass(frozen=True, eq=False)
class Grid:
    """How a signal of ``n_samples`` is cut so that its correlation at short lags is a sum over blocks.

    Signals are low-passed and thinned out to every ``factor``-th sample first. ``reach``: by how many of those that
    makes them longer at each end; ``hop``, ``margin`` and ``fft_size`` count those as well.
    """

    n_samples: int
    max_delay: int
    factor: int
    reach: int
    margin: int
    hop: int
    fft_size: int

    @classmethod
    def for_length(cls, n_samples: int, factor: int = 1) -> Grid:
        max_delay = min(MAX_DELAY, n_samples)
        reach = -(-_reach(factor) // factor)
        margin = -(-max_delay // factor) + (_GUARD if factor > 1 else 0)
        n_thinned = -(-n_samples // factor) + 2 * reach
        n_blocks = -(-n_thinned // (_FFT_SIZE // factor - 2 * margin))
        hop = -(-n_thinned // n_blocks)
        fft_size = scipy.fft.next_fast_len(hop + 2 * margin, real=True)
        return cls(n_samples, max_delay, factor, reach, margin, hop, fft_size)

    @property
    def starts(self) -> range:
        """Return where blocks start."""
        return range(-self.reach, -(-self.n_samples // self.factor) + self.reach, self.hop)


class Blocks:
    """Transforms of thinned out lanes, block after block, with a margin (in thinned out samples) on both sides.

    ``spectra``: ``(n_bins, LANES)`` for each block, of samples about their mean, zero outside. They are made as they
    are asked for; then ``missing`` says how much energy of each lane was not in them, margins apart.
    """

    def __init__(self, lanes: Lanes, grid: Grid, margin: int) -> None:
        self.spectra: Iterable[NDArray[np.complex64]] = self._transforms(lanes, grid, margin)
        self.missing = np.zeros(LANES)

    def _transforms(self, lanes: Lanes, grid: Grid, margin: int) -> Iterator[NDArray[np.complex64]]:
        stages = _STAGES[grid.factor]
        reach, length = _reach(grid.factor), grid.hop + 2 * margin
        mean = np.tile(lanes.mean.astype(np.float32), LANES)
        block = np.zeros((grid.fft_size, LANES), dtype=np.float32)
        sizes = [length]
        for taps in stages[::-1]:
            sizes.append(2 * sizes[-1] + 4 * len(taps) - 2)
        pair = np.empty((2, sizes[-1] // 2 * LANES), dtype=np.float32)
        rooms = [np.empty(size * LANES, dtype=np.float32) for size in sizes[:0:-1]]
        rooms.append(block.reshape(-1)[: length * LANES])
        energy = np.zeros(LANES)
        for start in grid.starts:
            begin = grid.factor * (start - margin) - reach
            _fill(lanes.values, lanes.n_samples, begin, mean, rooms[0])
            for taps, taken, written in zip(stages, rooms[:-1], rooms[1:], strict=True):
                _halve(taken, taps, pair, written)
            if stages:
                _add_energy(rooms[-1][margin * LANES : (margin + grid.hop) * LANES], energy)
                self.missing = np.maximum(lanes.energy - grid.factor * energy, 0.0)
            yield scipy.fft.rfft(block, axis=0)


@dataclass(frozen=True, eq=False)
class AlignmentTarget:
    """One group of channels of the reference, ready to have other signals aligned to it.

    ``kept`` and ``kept_edges``: what ``keep`` made.
    """

    grid: Grid
    lanes: Lanes
    kept: Blocks | None = None
    kept_edges: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    @classmethod
    def of(cls, lanes: Lanes, factor: int = 1) -> AlignmentTarget:
        """Prepare lanes; ``factor`` (1, 2 or 4) says how much slower than their samples they vary for the most part."""
        return cls(Grid.for_length(lanes.n_samples, factor), lanes)

    def keep(self) -> AlignmentTarget:
        """Return the target with its transforms made once and for all."""
        blocks = Blocks(self.lanes, self.grid, 0)
        blocks.spectra = list(blocks.spectra)
        edges = _edge_sums(self.lanes, self.grid) if self.lanes.mean.any() else None
        return replace(self, kept=blocks, kept_edges=edges)

    @property
    def n_bytes(self) -> int:
        spectra = 0 if self.kept is None else sum(spectrum.nbytes for spectrum in self.kept.spectra)
        return self.lanes.values.nbytes + spectra + sum(edge.nbytes for edge in self.kept_edges or ())

    def delays(self, processed: Lanes) -> NDArray[np.int64]:
        """Return for each lane the delay d, |d| <= 100 ms, that makes sum(reference[t] * processed[t + d]) largest.

        Of equal sums the one at the largest delay counts. Transforms are in float32, of thinned out values about their
        mean; where they leave a doubt between lags, the sums are computed directly, and where they leave too many,
        all samples are transformed.
        """
        sums, doubt = self._sums(processed)
        candidates = [
            np.flatnonzero(sums[:, lane] >= sums[:, lane].max() - doubt[lane])[::-1] - self.grid.max_delay
            for lane in range(LANES)
        ]
        if self.grid.factor > 1 and max(map(len, candidates)) > _MOST_CANDIDATES:
            return AlignmentTarget.of(self.lanes).delays(processed)
        best = np.array([lags[0] for lags in candidates])
        # Sums that are all zero: one of the two is silent.
        open_lanes = [lane for lane in range(LANES) if len(candidates[lane]) > 1 and sums[:, lane].any()]
        if open_lanes:
            lags = np.concatenate([candidates[lane] for lane in open_lanes])
            of_lane = np.repeat(open_lanes, [len(candidates[lane]) for lane in open_lanes])
            exact = np.zeros(len(lags))
            _products_at(self.lanes.values, processed.values, self.grid.n_samples, of_lane, lags, exact)
            for lane in open_lanes:
                best[lane] = lags[of_lane == lane][np.argmax(exact[of_lane == lane])]
        return best

    def _sums(self, processed: Lanes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sums at each delay from -max_delay to max_delay - 1, and how far each lane's may be off."""
        grid = self.grid
        total = np.zeros((grid.fft_size // 2 + 1, LANES), dtype=np.complex64)
        own, others = self.kept or Blocks(self.lanes, grid, 0), Blocks(processed, grid, grid.margin)
        for spectrum, other in zip(own.spectra, others.spectra, strict=True):
            _add_cross_spectrum(_flat(spectrum), _flat(other), _flat(total))
        if grid.factor > 1:
            total *= np.float32(grid.factor**2)
        first = grid.factor * grid.margin - grid.max_delay
        by_lag = scipy.fft.irfft(total, grid.factor * grid.fft_size, axis=0)
        sums = by_lag[first : first + 2 * grid.max_delay].astype(np.float64)
        if self.lanes.mean.any() or processed.mean.any():
            sums += self._mean_terms(processed)
        doubt = _DOUBT * np.sqrt(self.lanes.energy * processed.energy)
        return sums, doubt + _DOUBT_OF_HALVING * np.sqrt(own.missing * others.missing)

    def _mean_terms(self, processed: Lanes) -> NDArray[np.float64]:
        """Return what the means add to the sums at each delay from -max_delay to max_delay - 1."""
        n, most = self.grid.n_samples, self.grid.max_delay
        mean = self.lanes.mean
        own_head, own_tail = self.kept_edges or _edge_sums(self.lanes, self.grid)
        head, tail = _edge_sums(processed, self.grid)
        # For delay d the sum runs over the reference without its last d samples and the processed without its first d;
        # for a negative one the other way round. All samples about their mean add up to zero.
        sum_x = -np.concatenate((own_head[:0:-1], own_tail[:-1]))
        sum_y = -np.concatenate((tail[:0:-1], head[:-1]))
        overlap = n - np.abs(np.arange(-most, most))
        return mean * sum_y + processed.mean * sum_x + np.multiply.outer(overlap, mean * processed.mean)


def _flat(spectrum: NDArray[np.complex64]) -> NDArray[np.float32]:
    return spectrum.reshape(-1).view(np.float32)


def _reach(factor: int) -> int:
    """Return how many samples before and after its place a thinned out sample depends on."""
    return sum((2 * len(taps) - 1) << stage for stage, taps in enumerate(_STAGES[factor]))


def _edge_sums(lanes: Lanes, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of the first and of the last k samples about the mean, for k = 0 ... max_delay."""
    most = grid.max_delay
    values = lanes.values[: grid.n_samples * LANES].reshape(-1, LANES)
    head, tail = np.zeros((most + 1, LANES)), np.zeros((most + 1, LANES))
    np.cumsum(values[:most] - lanes.mean, axis=0, out=head[1:])
    np.cumsum(values[: -most - 1 : -1] - lanes.mean, axis=0, out=tail[1:])
    return head, tail


def _fill(
    values: NDArray[np.float32], n_samples: int, begin: int, mean: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Write samples from ``begin`` on to ``out``, about their mean; zero before the first and after the last."""
    first = min(max(begin, 0), n_samples)
    last = min(max(begin + len(out) // LANES, first), n_samples)
    at, end = (first - begin) * LANES, (last - begin) * LANES
    out[:at] = 0.0
    _centre(values[first * LANES : last * LANES], mean, out[at:end])
    out[end:] = 0.0


def _halve(
    values: NDArray[np.float32], taps: NDArray[np.float32], pair: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Low-pass and keep every second sample; ``taps`` as ``_flattest_halfband`` returns them, ``pair`` is for work."""
    even, odd = pair[:, : len(values) // 2]
    _split(values.view(np.complex128), even.view(np.complex128), odd.view(np.complex128))
    # The first output lies on the odd sample that the filter reaches back from, hence on an odd one.
    _symmetric_sum(odd[(len(taps) - 1) * LANES :], even, taps, out)


@compiled()
def _split(rows, even, odd):  # type: ignore[no-untyped-def]
    """Deal samples out to two arrays; a sample of all lanes is two complex128 here, which is the quickest to move."""
    for m in range(len(even) // 2):
        even[2 * m] = rows[4 * m]
        even[2 * m + 1] = rows[4 * m + 1]
        odd[2 * m] = rows[4 * m + 2]
        odd[2 * m + 1] = rows[4 * m + 3]


@compiled()
def _symmetric_sum(middle, sides, taps, out):  # type: ignore[no-untyped-def]
    """Write half the middle samples plus the sums of samples beside them, five pairs at a time."""
    n, n_taps = len(out), len(taps)
    half = np.float32(0.5)
    for t in range(0, n_taps, 5):
        w0, w1, w2, w3, w4 = taps[t], taps[t + 1], taps[t + 2], taps[t + 3], taps[t + 4]
        last = (n_taps - 1 - t) * LANES
        after, before = sides[(n_taps + t) * LANES :], sides[last - 4 * LANES :]
        a0, a1, a2 = after[:n], after[LANES : n + LANES], after[2 * LANES : n + 2 * LANES]
        a3, a4 = after[3 * LANES : n + 3 * LANES], after[4 * LANES : n + 4 * LANES]
        b4, b3, b2 = before[:n], before[LANES : n + LANES], before[2 * LANES : n + 2 * LANES]
        b1, b0 = before[3 * LANES : n + 3 * LANES], before[4 * LANES : n + 4 * LANES]
        if t == 0:
            for j in range(n):
                near = half * middle[j] + w0 * (a0[j] + b0[j]) + w1 * (a1[j] + b1[j])
                out[j] = near + w2 * (a2[j] + b2[j]) + w3 * (a3[j] + b3[j]) + w4 * (a4[j] + b4[j])
        else:
            for j in range(n):
                near = w0 * (a0[j] + b0[j]) + w1 * (a1[j] + b1[j])
                out[j] += near + w2 * (a2[j] + b2[j]) + w3 * (a3[j] + b3[j]) + w4 * (a4[j] + b4[j])


@compiled()
def _add_energy(values, energy):  # type: ignore[no-untyped-def]
    """Add each lane's sum of squares to ``energy``."""
    sums = np.zeros(LANES * LANES)
    for start in range(0, len(values), len(sums)):
        x = values[start : start + len(sums)]
        for j in range(len(x)):
            sums[j] += np.float64(x[j]) * np.float64(x[j])
    for j in range(len(sums)):
        energy[j % LANES] += sums[j]


@compiled(inline=True)
def _product(first, second):  # type: ignore[no-untyped-def]
    """Return the sum of products with every ``LANES``-th value of ``second``."""
    total = 0.0
    for i in range(len(first)):
        total += first[i] * np.float64(second[i * LANES])
    return total


@compiled(reorder_sums=True)
def _products_at(reference, processed, n_samples, lanes, lags, sums):  # type: ignore[no-untyped-def]
    """Add sum(reference[t] * processed[t + lag]) of a lane to ``sums``, for each pair of ``lanes`` and ``lags``.

    All pairs go through the samples together, a stretch at a time, so that memory is read once.
    """
    stretch = np.empty(_STRETCH)
    for start in range(0, n_samples, _STRETCH):
        stop = min(start + _STRETCH, n_samples)
        for i in range(len(lags)):
            lane, lag = lanes[i], lags[i]
            if i == 0 or lane != lanes[i - 1]:
                taken = reference[start * LANES + lane : stop * LANES]
                for j in range(stop - start):
                    stretch[j] = taken[j * LANES]
            first, last = max(start, -lag), min(stop, n_samples - lag)
            if last > first:
                other = processed[(first + lag) * LANES + lane : (last + lag) * LANES]
                sums[i] += _product(stretch[first - start : last - start], other)


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
