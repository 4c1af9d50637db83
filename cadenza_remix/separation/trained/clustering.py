"""From embeddings of time-frequency bins to masks: k-means from known places (Hershey et al., ICASSP 2016).

Deep clustering numbers its clusters as it likes. The mean embedding of each stem in the training data is kept with the
model: k-means begins there, so that nothing is drawn by chance, and the clusters that it finds are matched with those
places, so that each cluster has its stem in every patch.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

#: Bins that are quieter than a patch's loudest by more than this do not move the centroids: their embeddings were
#: not trained, either.
FLOOR_DB = -40.0


def loudness_weights(magnitudes: NDArray[np.float32], *, floor_db: float = FLOOR_DB) -> NDArray[np.float64]:
    """Return how much each bin of a patch counts: its magnitude over both channels, zero where it is too quiet.

    Parameters
    ----------
    magnitudes : array of shape (n_frames, n_bins, 2)
    floor_db : float
        Relative to the loudest bin.

    Returns
    -------
    array of shape (n_frames, n_bins)
        Relative to the loudest bin; zeros for silence.
    """
    both = np.sqrt(np.square(magnitudes, dtype=np.float64).sum(axis=-1))
    loudest = both.max(initial=0.0)
    if not loudest > 0.0:
        return np.zeros_like(both)
    both /= loudest
    return np.where(both >= 10.0 ** (floor_db / 20.0), both, 0.0)


def squared_distances(points: NDArray[np.float64], centroids: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared distance of each of n points (n, D) to each of k centroids (k, D): (n, k)."""
    return np.maximum(
        np.einsum("nd,nd->n", points, points)[:, np.newaxis] + _relative_distances(points, centroids), 0.0
    )


def _relative_distances(points: NDArray[np.float64], centroids: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared distances less each point's own square, which changes nothing about what is nearest.

    By `numpy.einsum`, which adds up in one order; a product of matrices would by the number of threads.
    """
    distances: NDArray[np.float64] = -2.0 * np.einsum("nd,kd->nk", points, centroids)
    distances += np.einsum("kd,kd->k", centroids, centroids)
    return distances


def k_means(
    points: NDArray[np.floating], weights: NDArray[np.floating], start: NDArray[np.floating], *, n_iterations: int = 10
) -> NDArray[np.float64]:
    """Return the centroids of clusters, in the order of the places where they began.

    Lloyd's algorithm with weights. It stops when nothing moves any more; a cluster without points stays where it is.

    Parameters
    ----------
    points : array of shape (n, n_dimensions)
    weights : array of shape (n,)
        How much each point counts; points of weight zero move nothing.
    start : array of shape (n_clusters, n_dimensions)
        Where the centroids begin.
    n_iterations : int
        At most so many.

    Returns
    -------
    array of shape (n_clusters, n_dimensions)
        Matched with ``start`` so that the sum of the squared distances is least.
    """
    counted = np.asarray(weights) > 0
    heard = np.asarray(points, dtype=np.float64)[counted]
    heard_weights = np.asarray(weights, dtype=np.float64)[counted]
    centroids = np.array(start, dtype=np.float64)
    if not len(heard):
        return centroids
    for _ in range(n_iterations):
        nearest = _relative_distances(heard, centroids).argmin(axis=1)
        shares = np.where(nearest[:, np.newaxis] == np.arange(len(centroids)), heard_weights[:, np.newaxis], 0.0)
        totals = shares.sum(axis=0)[:, np.newaxis]
        sums = np.einsum("nk,nd->kd", shares, heard)
        moved = np.where(totals > 0.0, sums / np.where(totals > 0.0, totals, 1.0), centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids[_matched(centroids, np.asarray(start, dtype=np.float64))]


def cluster_masks(
    points: NDArray[np.floating], centroids: NDArray[np.float64], *, hard: bool, alpha: float = 5.0
) -> NDArray[np.float32]:
    """Return which share of each point belongs to which cluster.

    Parameters
    ----------
    points : array of shape (n, n_dimensions)
    centroids : array of shape (n_clusters, n_dimensions)
    hard : bool
        All of a point to the nearest cluster; otherwise ``exp(-alpha * squared distance)``, over the sum of that for
        all clusters (the soft assignment of Isik et al., Interspeech 2016).
    alpha : float
        How sharply.

    Returns
    -------
    array of shape (n, n_clusters)
        Sums to one over the clusters.
    """
    distances = _relative_distances(np.asarray(points, dtype=np.float64), centroids)
    if hard:
        return np.eye(len(centroids), dtype=np.float32)[distances.argmin(axis=1)]
    shares = np.exp(-alpha * (distances - distances.min(axis=1, keepdims=True)))
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def mean_embeddings(embeddings: NDArray[np.floating], shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean embedding of each stem: what a model keeps as the places where `k_means` begins.

    Parameters
    ----------
    embeddings : array of shape (..., n_dimensions)
    shares : array of shape (..., n_stems)
        How much each embedding counts for each stem: its loudness where the stem is the loudest, zero elsewhere.

    Returns
    -------
    array of shape (n_stems, n_dimensions)
        Zeros for a stem that was never heard.
    """
    points = np.asarray(embeddings, dtype=np.float64).reshape(-1, embeddings.shape[-1])
    weights = np.asarray(shares, dtype=np.float64).reshape(-1, shares.shape[-1])
    totals = weights.sum(axis=0)
    return (weights.T @ points) / np.where(totals > 0, totals, 1.0)[:, np.newaxis]


def _matched(centroids: NDArray[np.float64], places: NDArray[np.float64]) -> list[int]:
    """Return which centroid belongs to which place; stems are so few that all ways can be tried."""
    distances = squared_distances(places, centroids).tolist()

    ways = list(permutations(range(len(places))))
    totals = [sum(distances[place][cluster] for place, cluster in enumerate(way)) for way in ways]
    return list(ways[totals.index(min(totals))])  # the first of equally good ones is the order as it is
