"""The least-squares projections behind BSS Eval.

An estimate e is split into what a short filter can make of the references r_i and what it cannot::

    projection[n, c] = sum over i and a of filters[i, a, c] * r_i[n - a],    0 <= a < filter_length

with the filters that bring it nearest to e in energy (Vincent, Gribonval & Févotte 2006, "Performance measurement in
blind audio source separation", section III-B). Signals are taken as zero before their first and after their last
sample, so that a projection is ``filter_length - 1`` samples longer than the signals.

Signals have the shape (n_samples, n_signals) and any float type; everything is computed in float64. Correlations and
convolutions go through the signal block by block, so that memory does not grow with its length.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import scipy.fft
import scipy.linalg
from numpy.typing import NDArray

_SHORTEST_FFT = 2**15
# Directions of the references' correlation matrix that hold less than this part of the strongest one are rounding.
_MET = 1e-8  # of the largest product: LU meets the equations where they can be met
_RANK_TOLERANCE = 1e-13


def projection_filters(
    references: NDArray[np.floating], estimates: NDArray[np.floating], *, filter_length: int
) -> NDArray[np.float64]:
    """Return the filters that project the estimates on the delayed references.

    Parameters
    ----------
    references : array of shape (n_samples, n_references)
    estimates : array of shape (n_samples, n_estimates)
    filter_length : int
        Number of taps, delays from 0 on.

    Returns
    -------
    array of shape (n_references, filter_length, n_estimates)
        Of least norm where the references do not tell the filters apart (a sine, two equal channels).
    """
    n_references, n_estimates = references.shape[1], estimates.shape[1]
    gram = _block_toeplitz(correlations(references, references, n_lags=filter_length))
    products = np.moveaxis(correlations(references, estimates, n_lags=filter_length), 1, 2)
    filters = _solve(gram, products.reshape(-1, n_estimates))
    return filters.reshape(n_references, filter_length, n_estimates)


def correlations(first: NDArray[np.floating], second: NDArray[np.floating], *, n_lags: int) -> NDArray[np.float64]:
    """Return ``c[i, j, k] = sum over n of first[n, i] * second[n + k, j]`` for the lags ``0 <= k < n_lags``.

    Parameters
    ----------
    first : array of shape (n_samples, p)
    second : array of shape (n_samples, q)

    Returns
    -------
    array of shape (p, q, n_lags)
    """
    n_fft, block = _block_sizes(n_lags)
    spectrum = np.zeros((first.shape[1], second.shape[1], n_fft // 2 + 1), dtype=np.complex128)
    for start in range(0, len(first), block):
        here = _spectra(first[start : start + block], n_fft)
        # As far ahead as the largest lag reaches; the FFT is long enough that nothing wraps round into these lags.
        ahead = _spectra(second[start : start + block + n_lags - 1], n_fft)
        spectrum += here.conj()[:, np.newaxis] * ahead[np.newaxis]
    return scipy.fft.irfft(spectrum, n_fft, axis=2)[:, :, :n_lags]


def projections(
    references: NDArray[np.floating], filters: NDArray[np.float64]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield the filtered references block by block.

    Parameters
    ----------
    references : array of shape (n_samples, n_references)
    filters : array of shape (n_references, filter_length, n_estimates)

    Yields
    ------
    start : int
        The first sample of the block.
    block : array of shape (n, n_estimates)
        The blocks together are ``n_samples + filter_length - 1`` samples long.
    """
    filter_length = filters.shape[1]
    n_fft, block = _block_sizes(filter_length)
    response = scipy.fft.rfft(filters, n_fft, axis=1)
    length = len(references) + filter_length - 1
    for start in range(0, length, block):
        first = start - (filter_length - 1)
        piece = references[max(first, 0) : start + block]
        padded = np.zeros((n_fft, references.shape[1]))
        padded[max(-first, 0) : max(-first, 0) + len(piece)] = piece
        spectrum = np.einsum("if,ifc->cf", scipy.fft.rfft(padded.T, axis=1), response)
        filtered = scipy.fft.irfft(spectrum, n_fft, axis=1)
        yield start, filtered[:, filter_length - 1 : filter_length - 1 + min(block, length - start)].T


def _block_sizes(filter_length: int) -> tuple[int, int]:
    """Return the length of the FFT and how many new samples each block brings."""
    n_fft = max(_SHORTEST_FFT, 2 ** int(np.ceil(np.log2(8 * filter_length))))
    return n_fft, n_fft - filter_length + 1


def _spectra(samples: NDArray[np.floating], n_fft: int) -> NDArray[np.complex128]:
    return scipy.fft.rfft(samples.T.astype(np.float64), n_fft, axis=1)


def _block_toeplitz(lags: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inner products of all delayed references, from their correlations (n, n, filter_length)."""
    n_references, _, filter_length = lags.shape
    gram = np.empty((n_references, filter_length, n_references, filter_length))
    for i in range(n_references):
        for j in range(n_references):
            gram[i, :, j, :] = scipy.linalg.toeplitz(lags[i, j], lags[j, i])
    return gram.reshape(n_references * filter_length, -1)


def _solve(gram: NDArray[np.float64], products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve the normal equations; where they do not determine the filters, take those of least norm.

    Music with an empty band makes the matrix singular to rounding: then LU often still meets the equations (the
    projection is what counts, not the filter), a hundred times as fast as the eigenvectors that are the last resort.
    """
    try:
        return scipy.linalg.cho_solve(scipy.linalg.cho_factor(gram, lower=True), products)
    except scipy.linalg.LinAlgError:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            factors = scipy.linalg.lu_factor(gram)
            filters = scipy.linalg.lu_solve(factors, products)
        if np.isfinite(filters).all() and np.abs(gram @ filters - products).max() <= _MET * np.abs(products).max():
            return filters
        values, vectors = scipy.linalg.eigh(gram)
        kept = values > _RANK_TOLERANCE * values[-1]
        return vectors[:, kept] @ ((vectors[:, kept].T @ products) / values[kept, np.newaxis])
