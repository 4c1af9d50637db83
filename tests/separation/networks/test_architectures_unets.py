"""The two U-Nets against the papers' layers, and Spleeter's against the one that runs the pretrained models."""

import dataclasses

import numpy as np
import pytest
from small_networks import N_BINS, N_FRAMES, magnitudes, small_network

from cadenza_remix.separation.models.registry import model_card
from cadenza_remix.separation.networks.architectures import build_network, default_spec


def test_jansson_has_the_weights_of_the_papers_layers():
    network = build_network(default_spec("unet", ("vocals", "accompaniment")))
    # 25 numbers for each pair of maps; the skip connections double what comes in on the way up.
    down = 25 * (1 * 16 + 16 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    up = 25 * (512 * 256 + 512 * 128 + 256 * 64 + 128 * 32 + 64 * 16 + 32 * 1) + 1
    # Two that are learned and two that are measured for each map that is normalised.
    norms = 4 * (16 + 32 + 64 + 128 + 256 + 512) + 4 * (256 + 128 + 64 + 32 + 16)
    assert (down, up, norms) == (4_365_200, 5_453_601, 6_016)
    assert network.count_params() == 2 * (down + up + norms)
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in network.layers if "output" in dir(layer)}
    assert shapes["vocals_down6_act"] == (2, 8, 512)
    assert shapes["vocals_up1_join"] == (4, 16, 512)
    assert shapes["vocals_up6_conv"] == (128, 512, 1)


def test_jansson_hands_activated_maps_across():
    network = small_network("unet")
    assert network.get_layer("vocals_up1_join").input[0] is network.get_layer("vocals_down1_act").output


def test_jansson_drops_out_on_the_first_three_only():
    network = build_network(default_spec("unet", ("vocals", "rest"), settings={"filters": [1] * 6}))
    rates = {layer.name: layer.rate for layer in network.layers if "dropout" in layer.name}
    assert rates == {f"{stem}_up{level}_dropout": 0.5 for stem in ("vocals", "rest") for level in (1, 2, 3)}


def test_jansson_networks_share_nothing():
    network = small_network("unet")
    before = np.asarray(network(magnitudes())["masks"])
    for layer in network.layers:
        if layer.name.startswith("accompaniment_"):
            layer.set_weights([np.zeros_like(values) for values in layer.get_weights()])
    masks = np.asarray(network(magnitudes())["masks"])
    np.testing.assert_array_equal(masks[..., 0], before[..., 0])
    np.testing.assert_array_equal(masks[..., 1], 0.5)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("spleeter:2stems", {"activation": "leaky_relu"}),
        ("spleeter:4stems", {"activation": "elu"}),
        ("spleeter:5stems", {"activation": "elu", "output": "softmax"}),
    ],
)
def test_spleeter_is_the_network_of_the_pretrained_models(model, settings):
    from cadenza_remix.separation.networks.unet import build_estimate_network

    card = dataclasses.replace(model_card(model), n_frames=N_FRAMES, n_bins=N_BINS, filters=(3, 4, 5))
    pretrained = build_estimate_network(card, kernel_initializer="glorot_uniform")
    spec = default_spec(
        "spleeter-unet",
        card.stems,
        n_frames=N_FRAMES,
        n_bins=N_BINS,
        settings={"filters": list(card.filters), "input": "magnitude", **settings},
    )
    network = build_network(spec)
    rng = np.random.default_rng(7)
    n_filled = 0
    for layer in pretrained.layers:
        if layer.weights:
            values = [
                0.5 + np.abs(rng.normal(0, 0.3, weight.shape)) - 0.5 * (weight.ndim == 4) for weight in layer.weights
            ]
            layer.set_weights(values)
            network.get_layer(layer.name).set_weights(values)
            n_filled += len(values)
    assert n_filled == len(network.weights)
    masks = np.asarray(network(magnitudes(), training=False)["masks"])
    for index, estimate in enumerate(pretrained(magnitudes(), training=False)):
        # The masks times the mixture, rounded once more.
        np.testing.assert_allclose(masks[..., index] * magnitudes(), np.asarray(estimate), rtol=1e-5, atol=1e-6)


def test_spleeter_as_published_has_the_weights_of_its_checkpoints():
    card = model_card("spleeter:4stems")
    spec = default_spec("spleeter-unet", card.stems)
    assert (spec.n_frames, spec.n_bins, spec.frame_length, spec.hop_length) == (512, 1024, 4096, 1024)
    convolutions = 25 * (2 * 16 + 16 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 1008
    transposed = 25 * (512 * 256 + 512 * 128 + 256 * 64 + 128 * 32 + 64 * 16 + 32 * 1) + 497
    # The sixth normalisation of the way down takes no part.
    norms = 4 * (16 + 32 + 64 + 128 + 256) + 4 * (256 + 128 + 64 + 32 + 16 + 1)
    assert build_network(spec).count_params() == 4 * (convolutions + transposed + norms + 4 * 4 * 2 + 2)


def test_shared_network_has_one_way_down_and_one_head_for_all():
    network = small_network("spleeter-unet-shared")
    kernels = {layer.name: tuple(layer.kernel.shape) for layer in network.layers if hasattr(layer, "kernel")}
    assert kernels == {
        "shared_down1_conv": (5, 5, 2, 3),
        "shared_down2_conv": (5, 5, 3, 4),
        "shared_up1_conv": (5, 5, 3, 4),  # Keras: maps out before maps in
        "shared_up2_conv": (5, 5, 5, 6),
        "shared_mask_conv": (4, 4, 5, 8),
    }


def test_maps_belong_to_stems_one_after_another():
    from cadenza_remix.separation.networks.network_layers import StemMasks

    maps = np.zeros((1, 1, 1, 6), np.float32)
    maps[..., 2] = 50  # the second stem's first channel
    masks = np.asarray(StemMasks(3, "sigmoid")(maps))[0, 0, 0]
    np.testing.assert_allclose(masks, [[0.5, 1, 0.5], [0.5, 0.5, 0.5]], rtol=0, atol=1e-7)
    masks = np.asarray(StemMasks(3, "softmax")(maps))[0, 0, 0]
    np.testing.assert_allclose(masks, [[0, 1, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=0, atol=1e-7)


def test_log_input_is_the_logarithm_over_the_patchs_level():
    from cadenza_remix.separation.networks.network_layers import LogCompressed, ScaledToPeak

    inputs = magnitudes(2)
    level = np.sqrt(np.mean(np.square(inputs, dtype=np.float64), axis=(1, 2, 3), keepdims=True))
    # Float32 against float64.
    np.testing.assert_allclose(np.asarray(LogCompressed(7.0)(inputs)), np.log1p(7.0 * inputs / level), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(ScaledToPeak()(inputs)).max(axis=(1, 2, 3)), 1, rtol=1e-6)
    # What is as good as silent is not made loud.
    assert np.asarray(ScaledToPeak()(1e-6 * inputs)).max() < 0.02
    assert np.asarray(LogCompressed()(1e-6 * inputs)).max() < 0.1
