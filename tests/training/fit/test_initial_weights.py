"""Weights of a trained model as the first ones of another: all of the embeddings that a UH-Net stands on, or none."""

import shutil

import numpy as np
import pytest
from small_networks import magnitudes, small_network, small_spec

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.uh_net import EMBEDDING_LAYER
from cadenza_remix.separation.trained.folder import write_model_folder
from cadenza_remix.training.fit.initial_weights import begin_weights, take_weights

CENTROIDS = {"kind": "clusters", "centroids": [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]}


def values(tensor):
    return np.array(tensor)


def kept(folder, case, network, **settings):
    inference = CENTROIDS if case == "deep-clustering" else None
    write_model_folder(folder, network, small_spec(case, **settings), name="it", inference=inference, facts={})
    return folder


@pytest.fixture(scope="module")
def trained():
    return small_network("deep-clustering", seed=11, mask_head=True)


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    return kept(tmp_path_factory.mktemp("models") / "dc", "deep-clustering", trained, mask_head=True)


@pytest.mark.parametrize("frozen", [True, False])
def test_uh_net_gets_all_of_the_trained_embeddings(trained, folder, frozen):
    network = small_network("uh-net", seed=12, frozen=frozen)
    expected = values(trained(magnitudes(), training=False)["embeddings"])
    inner = network.get_layer(EMBEDDING_LAYER)
    before = values(network(magnitudes(), training=False)["masks"])
    assert np.abs(values(inner(magnitudes(), training=False)) - expected).max() > 0.1
    taken = begin_weights(network, folder)
    np.testing.assert_array_equal(values(inner(magnitudes(), training=False)), expected)
    # And what the U-Net says depends on it.
    assert np.abs(values(network(magnitudes(), training=False)["masks"]) - before).max() > 0.01
    # The mask head stays behind.
    assert (taken.n_taken, taken.n_weights) == (len(inner.weights), len(network.weights))
    assert len(inner.weights) == len(trained.weights) - 2
    told = f"{taken.n_taken} of the network's {taken.n_weights} arrays of weights taken from {folder}"
    assert str(taken) == told


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("changes", [{"units": 6}, {"layers": 1}, {"n_dimensions": 5}])
def test_other_embeddings_are_refused_and_nothing_is_changed(tmp_path, frozen, changes):
    settings = {"units": 5, "layers": 2, "n_dimensions": 4} | changes
    network = small_network("uh-net", seed=12, frozen=frozen)
    before = network.get_weights()
    rows = [[1.0] + [0.0] * (settings["n_dimensions"] - 1)] * 2
    write_model_folder(
        tmp_path,
        small_network("deep-clustering", **settings),
        small_spec("deep-clustering", **settings),
        name="it",
        inference={"kind": "clusters", "centroids": rows},
        facts={},
    )
    with pytest.raises(InputError, match=r"not the embeddings of this network: expected all \d+ arrays .*that fit$"):
        take_weights(network, tmp_path)
    for was, now in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(now, was)


def test_frozen_embeddings_are_never_random(tmp_path):
    frozen, tuned = (small_network("uh-net", frozen=flag) for flag in (True, False))
    with pytest.raises(
        InputError, match=r"^initial_weights: frozen embeddings without weights: expected the folder of"
    ):
        begin_weights(frozen, None)
    assert begin_weights(tuned, None) is None
    # A U-Net has no embeddings, though all its other layers' names are those of the UH-Net.
    unet = kept(tmp_path, "unet", small_network("unet"))
    with pytest.raises(InputError, match=r"not the embeddings of this network.*found 0 that fit"):
        begin_weights(frozen, unet)
    assert begin_weights(tuned, unet).n_taken > 0


def test_a_whole_model_goes_on_from_its_own_weights(tmp_path):
    network = small_network("uh-net", seed=3)
    folder = kept(tmp_path, "uh-net", network)
    other = small_network("uh-net", seed=4)
    taken = take_weights(other, folder)
    assert taken.n_taken == taken.n_weights == len(network.weights)
    for was, now in zip(network.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(now, was)


def test_a_model_without_common_layers_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="no weights for this network: expected layers as unet has"):
        take_weights(small_network("unet"), folder)
    assert begin_weights(small_network("unet"), None) is None
    shutil.copytree(folder, tmp_path / "run" / "model")
    with pytest.raises(InputError, match=r"run: no trained model: expected the model in it, .*run/model, found"):
        take_weights(small_network("deep-clustering"), tmp_path / "run")
