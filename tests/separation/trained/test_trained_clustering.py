"""K-means from known places: planted clusters come out again, each with its stem."""

import numpy as np
import pytest

from cadenza_remix.separation.trained.clustering import (
    cluster_masks,
    k_means,
    loudness_weights,
    mean_embeddings,
    squared_distances,
)

CENTRES = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def planted(rng, n_each=(50, 80, 30), spread=0.05):
    """Points around the centres, symmetric about them so that the mean of each cluster is known in closed form."""
    points, labels = [], []
    for label, (centre, n_points) in enumerate(zip(CENTRES, n_each, strict=True)):
        offsets = rng.uniform(-spread, spread, (n_points, 3))
        points += [centre + offsets, centre - offsets]
        labels += [label] * (2 * n_points)
    order = rng.permutation(len(labels))
    return np.concatenate(points)[order], np.array(labels)[order]


def test_planted_clusters_are_found():
    points, labels = planted(np.random.default_rng(0))
    start = CENTRES + 0.2
    centroids = k_means(points, np.ones(len(points)), start)
    np.testing.assert_allclose(centroids, CENTRES, rtol=0, atol=1e-12)  # rounding of a sum of 160 numbers
    masks = cluster_masks(points, centroids, hard=True)
    np.testing.assert_array_equal(masks.argmax(axis=1), labels)
    assert set(np.unique(masks)) == {0.0, 1.0}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_the_places_to_begin_with_fix_the_order(order):
    points, _ = planted(np.random.default_rng(1))
    centroids = k_means(points, np.ones(len(points)), 0.6 * CENTRES[list(order)])
    np.testing.assert_allclose(centroids, CENTRES[list(order)], rtol=0, atol=1e-12)


def test_clusters_that_changed_places_on_the_way_get_their_stems_back():
    # Found by search: Lloyd's steps carry the first centroid to (14.4, 6.2), past where the second one began.
    points = np.array([[8, 3], [0, 16], [0, 10], [2, 5], [17, 6], [18, 6], [17, 14], [12, 2]])
    start = np.array([[11, 4], [15, 14]])
    centroids = k_means(points, np.ones(8), start)
    np.testing.assert_allclose(centroids, [[2 / 3, 31 / 3], [14.4, 6.2]])
    in_place, swapped = (squared_distances(start, found).trace() for found in (centroids, centroids[::-1]))
    assert in_place < swapped


def test_weights_count():
    points = np.array([[0.0], [1.0], [10.0], [14.0], [100.0]])
    centroids = k_means(points, np.array([1, 3, 1, 1, 0]), np.array([[0.0], [10.0]]))
    # (0 + 3) / 4, (10 + 14) / 2; the point of weight zero moves nothing, however far it lies.
    np.testing.assert_allclose(centroids[:, 0], [0.75, 12.0])


def test_silence_and_empty_clusters_leave_the_places_as_they_are():
    points = np.array([[0.0, 0.0], [0.2, 0.0]])
    start = np.array([[0.0, 1.0], [50.0, 50.0]])
    np.testing.assert_array_equal(k_means(points, np.zeros(2), start), start)
    np.testing.assert_array_equal(k_means(points, np.ones(2), start), [[0.1, 0.0], [50.0, 50.0]])
    np.testing.assert_array_equal(k_means(points, np.ones(2), start, n_iterations=0), start)


def test_soft_masks_follow_the_distance():
    centroids = np.array([[0.0], [1.0]])
    masks = cluster_masks(np.array([[0.0], [0.5], [1.0], [1000.0]]), centroids, hard=False, alpha=2.0)
    near = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(masks, [[near, 1 - near], [0.5, 0.5], [1 - near, near], [0, 1]], rtol=0, atol=1e-7)


def test_loudness_leaves_out_what_is_below_40_db():
    magnitudes = np.zeros((2, 2, 2), dtype=np.float32)
    magnitudes[0, 0] = 3.0, 4.0  # 5 over both channels
    magnitudes[0, 1] = 0.0, 0.5  # -20 dB
    magnitudes[1, 0] = 0.06, 0.0  # -38.4 dB
    magnitudes[1, 1] = 0.04, 0.0  # -41.9 dB
    np.testing.assert_allclose(loudness_weights(magnitudes), [[1.0, 0.1], [0.012, 0.0]], rtol=1e-6)
    assert not loudness_weights(np.zeros((3, 4, 2), dtype=np.float32)).any()


def test_mean_embeddings_are_weighted_means():
    embeddings = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [5.0, 5.0]]])
    shares = np.zeros((2, 2, 3))
    shares[0, 0, 0], shares[1, 0, 0], shares[0, 1, 1] = 1.0, 3.0, 0.5
    np.testing.assert_allclose(mean_embeddings(embeddings, shares), [[1.0, 0.75], [0.0, 1.0], [0.0, 0.0]])


def test_distances():
    found = squared_distances(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 0.0]]))
    np.testing.assert_array_equal(found, [[0.0, 9.0], [25.0, 16.0]])
