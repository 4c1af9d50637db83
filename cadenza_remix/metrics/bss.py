"""The least-squares projections behind BSS Eval.

An estimate e is split into what a short filter can make of the references r_i and what it cannot::

    projection[n, c] = sum over i and a of filters[i, a, c] * r_i[n - a],    0 <= a < filter_length

with the filters that bring it nearest to e in energy (Vincent, Gribonval & Févotte 2006, "Performance measurement in
blind audio source separation", section III-B). Signals are taken as zero before their first and after their last
sample, so that a projection is ``filter_length - 1`` samples longer than the signals.

Signals come as a list of sources, each of the shape (n_samples, n_channels) and any float type: their channels in that
order are the references, or the estimates. Everything is computed in float64. Correlations and convolutions go through
the signals block by block, so that memory does not grow with their length, and the sources are never copied together.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.fft
import scipy.linalg
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_FFT = 2**13  # its products stay in the cache
_LONGEST_FFT = 2**16  # a shorter signal is filtered in one piece
_MET = 1e-8  # of the largest product: LU meets the equations where they can be met
# Directions of the references' correlation matrix that hold less than this part of the strongest one are rounding.
_RANK_TOLERANCE = 1e-13

Sources = Sequence[NDArray[np.floating]]


def projection_filters(references: Sources, estimates: Sources, *, filter_length: int) -> NDArray[np.float64]:
    """Return the filters that project the estimates on the delayed references.

    Parameters
    ----------
    references, estimates : list of arrays of shape (n_samples, n_channels)
        With n_references and n_estimates channels in all.
    filter_length : int
        Number of taps, delays from 0 on.

    Returns
    -------
    array of shape (n_references, filter_length, n_estimates)
        Of least norm where the references do not tell the filters apart (a sine).
    """
    lags = correlations(references, [*references, *estimates], n_lags=filter_length)
    n_references = len(lags)
    return solve_filters(lags[:, :n_references], lags[:, n_references:])


def solve_filters(gram_lags: NDArray[np.float64], product_lags: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the filters of `projection_filters` from correlations that are known.

    Parameters
    ----------
    gram_lags : array of shape (n_references, n_references, filter_length)
        `correlations` of the references with themselves.
    product_lags : array of shape (n_references, n_estimates, filter_length)
        `correlations` of the references with the estimates.

    Returns
    -------
    array of shape (n_references, filter_length, n_estimates)
    """
    n_references, n_estimates, filter_length = product_lags.shape
    products = np.moveaxis(product_lags, 1, 2).reshape(-1, n_estimates)
    return _solve(gram_lags, products).reshape(n_references, filter_length, n_estimates)


def correlations(first: Sources, second: Sources, *, n_lags: int) -> NDArray[np.float64]:
    """Return ``c[i, j, k] = sum over n of first[n, i] * second[n + k, j]`` for the lags ``0 <= k < n_lags``.

    Parameters
    ----------
    first, second : list of arrays of shape (n_samples, n_channels)
        With p and q channels in all.

    Returns
    -------
    array of shape (p, q, n_lags)
    """
    n_fft = _fft_length(n_lags)
    block = n_fft - n_lags + 1
    p, q = (sum(source.shape[1] for source in side) for side in (first, second))
    spectrum = np.zeros((p, q, n_fft // 2 + 1), dtype=np.complex128)
    product = np.empty((q, n_fft // 2 + 1), dtype=np.complex128)
    here, ahead = np.empty((p, n_fft)), np.empty((q, n_fft))
    for start in range(0, len(first[0]), block):
        _fill(here, first, start, start + block)
        # As far ahead as the largest lag reaches; the FFT is long enough that nothing wraps round into these lags.
        _fill(ahead, second, start, start + n_fft)
        ahead_spectra = scipy.fft.rfft(ahead, axis=1)
        for i, row in enumerate(scipy.fft.rfft(here, axis=1).conj()):
            spectrum[i] += np.multiply(row, ahead_spectra, out=product)
    # Where references have an empty band, the filters there are found in the last digits. This transform would round
    # them, evenly over all bands; the ones above round each band in proportion to what it holds.
    lags = [scipy.fft.irfft(row.astype(np.clongdouble), n_fft, axis=1)[:, :n_lags] for row in spectrum]
    return np.array(lags, dtype=np.float64)


class Projector:
    """Filters that are applied to many signals of one length, such as the windows of a song.

    Parameters
    ----------
    filters : array of shape (n_references, filter_length, n_estimates)
        Those that are all zero cost nothing.
    n_samples : int
        Length of the signals.
    """

    def __init__(self, filters: NDArray[np.float64], *, n_samples: int) -> None:
        self._n_references, self._tail, self._n_estimates = filters.shape
        self._tail -= 1
        self._length = n_samples + self._tail
        in_one_piece = scipy.fft.next_fast_len(self._length + self._tail, real=True)
        self._n_fft = in_one_piece if in_one_piece <= _LONGEST_FFT else max(_LONGEST_FFT // 2, _fft_length(self._tail))
        used = np.argwhere(filters.any(axis=1))
        self._responses = [(i, c, scipy.fft.rfft(filters[i, :, c], self._n_fft)) for i, c in used]

    def project(self, references: Sources) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield the filtered references block by block.

        Parameters
        ----------
        references : list of arrays of shape (n_samples, n_channels)

        Yields
        ------
        start : int
            The first sample of the block.
        block : array of shape (n_estimates, n)
            The blocks together are ``n_samples + filter_length - 1`` samples long.
        """
        step = self._n_fft - self._tail
        here = np.empty((self._n_references, self._n_fft))
        spectra = np.empty((self._n_estimates, self._n_fft // 2 + 1), dtype=np.complex128)
        product = np.empty_like(spectra[0])
        for start in range(0, self._length, step):
            _fill(here, references, start - self._tail, start + step)
            here_spectra = scipy.fft.rfft(here, axis=1)
            spectra[:] = 0
            for i, c, response in self._responses:
                spectra[c] += np.multiply(here_spectra[i], response, out=product)
            filtered = scipy.fft.irfft(spectra, self._n_fft, axis=1)
            yield start, filtered[:, self._tail : self._tail + min(step, self._length - start)]


def _fft_length(filter_length: int) -> int:
    return max(_FFT, 2 ** int(np.ceil(np.log2(8 * max(filter_length, 1)))))


def _fill(rows: NDArray[np.float64], sources: Sources, start: int, stop: int) -> None:
    """Write the samples from ``start`` to ``stop`` of all channels into the rows, zeros where there are none."""
    first, last = max(start, 0), min(stop, len(sources[0]))
    rows[:, : first - start] = 0
    rows[:, max(last - start, 0) :] = 0
    row = 0
    for source in sources:
        n_channels = source.shape[1]
        rows[row : row + n_channels, first - start : max(last, first) - start] = source[first : max(last, first)].T
        row += n_channels


def _gram(lags: NDArray[np.float64], *, half: bool = False) -> NDArray[np.float64]:
    """Return the inner products of all delayed references, from their correlations (n, n, filter_length).

    With ``half`` the blocks below the diagonal are left as memory has them: the matrix is symmetric, and half of its
    pages need not be touched.
    """
    n_references, _, filter_length = lags.shape
    gram = np.empty((n_references, filter_length, n_references, filter_length))
    for i in range(n_references):
        for j in range(i if half else 0, n_references):
            # Row a of the block holds the lags a, a - 1, ..., a - (filter_length - 1).
            falling = np.concatenate([lags[i, j, ::-1], lags[j, i, 1:]])
            gram[i, :, j, :] = sliding_window_view(falling, filter_length)[::-1]
    return gram.reshape(n_references * filter_length, -1)


def _solve_by_lu(lags: NDArray[np.float64], products: NDArray[np.float64]) -> NDArray[np.float64]:
    factors = scipy.linalg.lu_factor(_gram(lags).T, overwrite_a=True, check_finite=False)
    return scipy.linalg.lu_solve(factors, products, check_finite=False)


def _solve(lags: NDArray[np.float64], products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve the normal equations; where they do not determine the filters, take those of least norm.

    Music with an empty band makes the matrix singular to rounding: then LU often still meets the equations (the
    projection is what counts, not the filter), a hundred times as fast as the eigenvectors that are the last resort.
    The matrix is the largest thing here by far: each attempt overwrites it, and the next one builds it again.
    """
    try:
        # The transpose of a symmetric matrix is the same matrix, in the order that LAPACK can overwrite.
        factors = scipy.linalg.cho_factor(_gram(lags, half=True).T, lower=True, overwrite_a=True, check_finite=False)
        return scipy.linalg.cho_solve(factors, products, check_finite=False)
    except scipy.linalg.LinAlgError:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            filters = _solve_by_lu(lags, products)
        if (
            np.isfinite(filters).all()
            and np.abs(_gram(lags) @ filters - products).max() <= _MET * np.abs(products).max()
        ):
            return filters
        values, vectors = scipy.linalg.eigh(_gram(lags).T, overwrite_a=True, check_finite=False)
        kept = values > _RANK_TOLERANCE * values[-1]
        return vectors[:, kept] @ ((vectors[:, kept].T @ products) / values[kept, np.newaxis])
