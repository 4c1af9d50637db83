"""Operations of each kind of layer, against counting by hand."""

import pytest
from small_networks import small_network, small_spec

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.network_cost import network_cost, operations_by_layer


def test_unet():
    # 8 x 16 bins; two operations for each product, two channels.
    assert operations_by_layer(small_network("unet")) == {
        f"{stem}_{layer}": 2 * 2 * products
        for stem in ("vocals", "accompaniment")
        for layer, products in {
            "down1_conv": 4 * 8 * 25 * 1 * 3,
            "down2_conv": 2 * 4 * 25 * 3 * 4,
            "up1_conv": 2 * 4 * 25 * 4 * 3,  # each place of what comes in is spread over 5 x 5
            "up2_conv": 4 * 8 * 25 * 6 * 1,
        }.items()
    }


def test_spleeter_joins_the_channels():
    operations = operations_by_layer(small_network("spleeter-unet-shared"))
    assert operations["shared_down1_conv"] == 2 * 4 * 8 * 25 * 2 * 3
    assert operations["shared_mask_conv"] == 2 * 8 * 16 * 16 * 5 * 8


def test_ibm_cnn():
    operations = operations_by_layer(small_network("ibm-cnn"))
    assert operations["conv4"] == 2 * 2 * 8 * 6 * 9 * 4 * 3
    assert operations["dense1"] == 2 * 2 * (8 * 2 * 3) * 7
    assert operations["mask_dense"] == 2 * 2 * 6 * 8 * 16


def test_deep_clustering():
    assert operations_by_layer(small_network("deep-clustering")) == {
        "lstm1": 2 * 8 * 2 * 4 * 5 * (16 + 5),
        "lstm2": 2 * 8 * 2 * 4 * 5 * (10 + 5),
        "embedding_dense": 2 * 8 * 10 * 16 * 4,
    }


def test_uh_net_counts_the_network_within():
    operations = operations_by_layer(small_network("uh-net"))
    assert operations["embedding_network/lstm2"] == 2 * 8 * 2 * 4 * 5 * (10 + 5)
    assert operations["vocals_down1_conv"] == 2 * 2 * 4 * 8 * 25 * 5 * 3


def test_cost_is_per_second_of_the_frames_that_are_used():
    spec = small_spec("deep-clustering")
    network = small_network("deep-clustering")
    cost = network_cost(network, spec)
    assert cost.gflop_per_patch * 1e9 == pytest.approx(2 * (8 * 2 * 4 * 5 * 36 + 8 * 640))
    # 8 frames of 16 samples at 8 kHz.
    assert cost.gflop_per_second == pytest.approx(cost.gflop_per_patch / 0.016)
    from_the_middle = type(spec).from_dict(spec.as_dict() | {"n_context": 3})
    assert network_cost(network, from_the_middle).gflop_per_second == pytest.approx(cost.gflop_per_patch / 0.004)
    # Moving means and variances of the 16 bins are not trained.
    assert cost.n_weights == network.count_params() == cost.n_trainable + 32
    assert str(cost) == f"{cost.n_weights / 1e6:.3g} M weights, {cost.gflop_per_second:.3g} GFLOP per second of audio"


def test_layers_that_cannot_be_counted_are_refused():
    import keras

    inputs = keras.Input((4, 3))
    network = keras.Model(inputs, keras.layers.GRU(2, name="unknown")(inputs))
    with pytest.raises(InputError, match="unknown: operations of this kind of layer are not known"):
        operations_by_layer(network)
