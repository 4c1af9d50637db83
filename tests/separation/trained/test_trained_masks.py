"""From a network's outputs to masks: soft, hard with a threshold, and by clusters; and what is refused."""

import numpy as np
import pytest

from cadenza_remix.errors import InputError, ModelError
from cadenza_remix.separation.networks.architectures import NetworkSpec
from cadenza_remix.separation.trained.masks import Inference, rest_index, stem_masks

TWO = ("vocals", "accompaniment")
FOUR = ("vocals", "drums", "bass", "other")
SHAPE = (2, 3, 4, 2)  # patches, frames, bins, channels


def spec_of(stems):
    return NetworkSpec("unet", stems, 44_100, 8, 2, 8, n_frames=3, n_bins=4)


def masks_of(values, stems, **inference):
    magnitudes = np.ones(SHAPE, dtype=np.float32)
    outputs = {"masks": np.broadcast_to(np.asarray(values, dtype=np.float32), (*SHAPE, len(stems)))}
    spec = spec_of(stems)
    return stem_masks(outputs, magnitudes, spec, Inference.from_dict({"kind": "masks", **inference}, spec))


def test_soft_masks_are_the_networks():
    np.testing.assert_array_equal(masks_of([0.3, 0.9], TWO)[1, 2, 3, 1], np.float32([0.3, 0.9]))


@pytest.mark.parametrize(
    ("values", "stems", "threshold", "expected"),
    [
        ([0.6, 0.9], TWO, None, [1, 0]),
        ([0.5, 0.1], TWO, None, [0, 1]),
        ([0.6, 0.1], TWO, 0.7, [0, 1]),
        ([0.2, 0.9], TWO, 0.1, [1, 0]),
        ([0.9, 0.6], ("accompaniment", "vocals"), 0.5, [0, 1]),
        ([0.9, 0.4], ("other", "vocals"), 0.5, [1, 0]),
        ([0.4, 0.9], ("drums", "vocals"), 0.5, [0, 1]),
    ],
)
def test_hard_masks_of_two_stems_are_by_threshold(values, stems, threshold, expected):
    masks = masks_of(values, stems, hard=True, threshold=threshold)
    np.testing.assert_array_equal(masks, np.broadcast_to(np.float32(expected), masks.shape))


def test_hard_masks_of_four_stems_are_the_largest():
    masks = masks_of([0.1, 0.3, 0.8, 0.2], FOUR, hard=True)
    np.testing.assert_array_equal(masks, np.broadcast_to(np.float32([0, 0, 1, 0]), masks.shape))


@pytest.mark.parametrize("hard", [True, False])
def test_clusters_get_their_stems(hard):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, SHAPE[:-1])
    centroids = np.array([[1.0, 0.0], [0.0, 1.0]])
    # Away from the stored places by as much as in no other patch: k-means has to follow.
    embeddings = (centroids[labels] + [[[[0.1, 0.2]]], [[[-0.2, 0.1]]]]).astype(np.float32)
    spec = spec_of(TWO)
    plain = {"kind": "clusters", "centroids": centroids.tolist(), "hard": hard, "alpha": 50.0}
    masks = stem_masks({"embeddings": embeddings}, np.ones(SHAPE, np.float32), spec, Inference.from_dict(plain, spec))
    assert masks.shape == (*SHAPE, 2)
    # exp(-50 * 2) is nothing.
    np.testing.assert_allclose(masks, np.broadcast_to(np.eye(2)[labels][:, :, :, None], masks.shape), atol=1e-12)


@pytest.mark.parametrize(
    ("plain", "stems", "says"),
    [
        ({"kind": "mask"}, TWO, "unknown kind of inference 'mask': expected one of masks, clusters"),
        ({"hart": True}, TWO, "inference: unknown setting 'hart'.*did you mean 'hard'"),
        ({"hard": 1}, TWO, "inference hard: setting out of range: expected true or false, found 1"),
        ({"hard": True, "threshold": 1.5}, TWO, "inference threshold: setting out of range: expected a number from 0"),
        ({"hard": True, "threshold": float("nan")}, TWO, "inference threshold: setting out of range"),
        ({"threshold": 0.5}, TWO, "threshold: wrong inference: expected with hard masks only"),
        ({"hard": True, "threshold": 0.5}, FOUR, "threshold: wrong inference: expected two stems, found vocals, drums"),
        ({"kind": "clusters"}, TWO, "centroids: wrong inference: expected for clusters"),
        ({"kind": "masks", "centroids": [[1.0], [2.0]]}, TWO, "centroids: wrong inference: expected for clusters"),
        ({"kind": "clusters", "centroids": [[1.0]]}, TWO, "expected one row of numbers for each of vocals"),
        ({"kind": "clusters", "centroids": [[1.0], [1.0, 2.0]]}, TWO, "found 2 rows of 1 or 2"),
        ({"kind": "clusters", "centroids": [[], []]}, TWO, "found 2 rows of 0"),
        ({"kind": "clusters", "centroids": [[1.0], [float("inf")]]}, TWO, "centroids: wrong inference"),
        ({"kind": "clusters", "centroids": [[1.0], [2.0]], "n_iterations": -1}, TWO, "n_iterations: setting out"),
        ({"alpha": 0}, TWO, "alpha: setting out of range: expected a number above 0, found 0"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(plain, stems, says):
    with pytest.raises(InputError, match=says):
        Inference.from_dict(plain, spec_of(stems))


def test_plain_values_give_the_same_again():
    for inference in (
        Inference(),
        Inference(hard=True, threshold=0.35),
        Inference("clusters", centroids=((0.5, 1.0), (2.0, -1.0)), n_iterations=3),
    ):
        assert Inference.from_dict(inference.as_dict(), spec_of(TWO)) == inference
    assert Inference().as_dict() == {"kind": "masks"}


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ({"embeddings": np.ones((*SHAPE[:-1], 5))}, "unet: wrong outputs: expected masks, found embeddings"),
        ({"masks": np.ones((*SHAPE, 3))}, r"unet: wrong shape of masks: expected \(2, 3, 4, 2, 2\), found"),
        ({"masks": np.full((*SHAPE, 2), np.nan)}, "unet: masks are not finite"),
    ],
)
def test_a_network_of_another_make_is_refused(outputs, says):
    with pytest.raises(ModelError, match=says):
        stem_masks(outputs, np.ones(SHAPE, np.float32), spec_of(TWO), Inference())


def test_the_rest_has_a_name():
    assert [rest_index(stems) for stems in (TWO, FOUR, ("vocals", "drums"), ("other", "accompaniment"))] == [
        1,
        3,
        None,
        1,
    ]
