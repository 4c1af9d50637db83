"""Deep clustering with bands and mask head, and the U-Net that is fed with its embeddings."""

import itertools

import numpy as np
import pytest
from small_networks import BAND, N_BINS, magnitudes, small_network, small_spec

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.architectures import build_network, default_spec


def values(tensor):
    return np.asarray(tensor)


def test_embeddings_have_length_one_and_belong_to_both_channels():
    network = small_network("deep-clustering")
    embeddings = values(network(magnitudes())["embeddings"])
    # Rounding of four squares.
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=-1), 1, rtol=0, atol=1e-6)
    swapped = values(network(magnitudes()[..., ::-1])["embeddings"])
    np.testing.assert_allclose(swapped, embeddings, rtol=0, atol=1e-6)


def test_weights_are_those_of_the_layers():
    spec = default_spec("deep-clustering", ("vocals", "accompaniment"), settings={"layers": 2, "units": 30})
    first = 2 * 4 * 30 * (512 + 30 + 1)
    second = 2 * 4 * 30 * (60 + 30 + 1)
    embeddings = (60 + 1) * 512 * 20
    assert build_network(spec).count_params() == first + second + embeddings + 4 * 512


def test_bands_widen_with_frequency_and_cover_every_bin_once():
    from cadenza_remix.separation.networks.deep_clustering import band_edges

    spec = default_spec("deep-clustering", BAND)
    edges = band_edges(spec, 100)
    widths = np.diff(edges)
    assert (edges[0], edges[-1], len(widths)) == (0, 512, 100)
    assert widths.min() == 1
    # Half of the mel scale up to 8 kHz lies below 1767 Hz, which is bin 113.
    assert abs(edges[50] - 113) <= 1
    assert band_edges(spec, 512) == list(range(513))


def test_bins_of_a_band_share_what_the_network_says():
    from cadenza_remix.separation.networks.deep_clustering import BandMeans, band_edges

    edges = band_edges(small_spec("deep-clustering-chimera"), 6)
    network = small_network("deep-clustering-chimera")
    outputs = network(magnitudes())
    for name in ("embeddings", "masks"):
        for first, behind in itertools.pairwise(edges):
            band = values(outputs[name]).take(range(first, behind), axis=2)
            np.testing.assert_array_equal(band, band[:, :, :1].repeat(behind - first, axis=2))
    np.testing.assert_array_equal(values(outputs["masks"])[..., 0, :], values(outputs["masks"])[..., 1, :])
    inputs = magnitudes()[..., :1]
    means = values(BandMeans(edges)(inputs))[..., 0]
    expected = [inputs[:, :, first:behind, 0].mean(axis=2) for first, behind in itertools.pairwise(edges)]
    np.testing.assert_allclose(means, np.stack(expected, axis=2), rtol=1e-5)


def test_both_directions_of_time_are_seen():
    network = small_network("deep-clustering", units=3)
    inputs = magnitudes(1)
    changed = inputs.copy()
    changed[:, 4] *= 3
    moved = np.abs(values(network(inputs)["embeddings"]) - values(network(changed)["embeddings"])).max(axis=(0, 2, 3))
    assert (moved > 1e-4).all()


def test_frozen_embeddings_stay_frozen(tmp_path):
    import keras

    from cadenza_remix.separation.networks.uh_net import EMBEDDING_LAYER

    frozen, tuned = small_network("uh-net-frozen"), small_network("uh-net")
    frozen.save(tmp_path / "frozen.keras")
    for network in (frozen, keras.saving.load_model(tmp_path / "frozen.keras")):
        inner = network.get_layer(EMBEDDING_LAYER)
        assert not inner.trainable_weights
        measured = [np.array(weight) for weight in inner.weights]
        network(magnitudes(), training=True)
        # Not even the measured means of its input move.
        for weight, was in zip(inner.weights, measured, strict=True):
            np.testing.assert_array_equal(np.array(weight), was)
    assert tuned.get_layer(EMBEDDING_LAYER).trainable_weights


def test_embedding_network_may_be_a_whole_specification():
    from cadenza_remix.separation.networks.uh_net import embedding_spec

    inner = small_spec("deep-clustering-chimera")
    spec = small_spec("uh-net-frozen", embedding_network=inner.as_dict())
    assert embedding_spec(spec) == inner
    assert build_network(spec).get_layer("embedding_network").output.shape[1:] == (8, N_BINS, 4)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"hop_length": 8}, "embedding_network, hop_length: not the transform of the U-Net: expected 16, found 8"),
        ({"n_bins": 8}, "n_bins: not the transform of the U-Net: expected 16, found 8"),
        ({"architecture": "unet"}, "wrong architecture: expected deep-clustering, found unet"),
        ({"units": 5}, "unknown setting 'units'"),
        ({"settings": {"unit": 5}}, "model.settings of deep-clustering: unknown setting 'unit'"),
    ],
)
def test_unfit_embedding_networks_are_refused(given, line):
    with pytest.raises(InputError, match=line):
        build_network(small_spec("uh-net", embedding_network=given))
