"""What holds for every network that can be trained: shapes, ranges, stereo, levels, names, saving, settings."""

import io
import re

import numpy as np
import pytest
from small_networks import N_BINS, N_FRAMES, SMALL, magnitudes, small_network, small_spec

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.architectures import architecture_names, build_network, default_spec

# Each channel goes through these for itself.
MONO = ("unet", "unet-softmax", "ibm-cnn", "uh-net", "uh-net-frozen")
SHARED_OUT = ("unet-softmax", "spleeter-unet-shared", "ibm-cnn", "deep-clustering-chimera")


@pytest.fixture(scope="module", params=list(SMALL))
def built(request):
    return request.param, small_network(request.param)


def run(network, inputs):
    return {name: np.asarray(values) for name, values in network(inputs, training=False).items()}


def test_outputs_have_their_shapes_and_ranges(built):
    case, network = built
    outputs = run(network, magnitudes(3))
    stems = small_spec(case).stems
    assert set(outputs) == {
        "deep-clustering": {"embeddings"},
        "deep-clustering-chimera": {"embeddings", "masks"},
    }.get(case, {"masks"})
    if "masks" in outputs:
        masks = outputs["masks"]
        assert masks.shape == (3, N_FRAMES, N_BINS, 2, len(stems))
        assert masks.min() >= 0
        assert masks.max() <= 1
        # All that follows is worth something only if the masks say something.
        assert masks.std() > 0.05
    if "embeddings" in outputs:
        assert outputs["embeddings"].shape == (3, N_FRAMES, N_BINS, 4)


@pytest.mark.parametrize("built", SHARED_OUT, indirect=True)
def test_shared_masks_sum_to_one(built):
    _, network = built
    # Sums of two to four float32 shares.
    np.testing.assert_allclose(run(network, magnitudes())["masks"].sum(axis=-1), 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("built", MONO, indirect=True)
def test_swapped_channels_swap_the_masks(built):
    _, network = built
    inputs = magnitudes()
    masks = run(network, inputs)["masks"]
    swapped = run(network, inputs[..., ::-1])["masks"]
    # The channels' places in the batch may change the order of summation.
    np.testing.assert_allclose(swapped, masks[..., ::-1, :], rtol=0, atol=1e-5)
    assert np.abs(swapped - masks).max() > 0.01


def test_patches_do_not_see_each_other(built):
    _, network = built
    inputs = magnitudes(2)
    together = run(network, inputs)
    for name, values in run(network, inputs[1:]).items():
        # Only the order of summation may differ between batch sizes.
        np.testing.assert_allclose(values[0], together[name][1], rtol=0, atol=1e-5)


def test_level_plays_no_part(built):
    _, network = built
    soft, loud = run(network, magnitudes()), run(network, 64 * magnitudes())
    for name in soft:
        # A power of two is exact, but for the rounding of a square root.
        np.testing.assert_allclose(loud[name], soft[name], rtol=0, atol=1e-5)


def test_raw_magnitudes_are_seen_with_their_level():
    network = small_network("spleeter-unet", input="magnitude")
    assert np.abs(run(network, magnitudes())["masks"] - run(network, 8 * magnitudes())["masks"]).max() > 0.01


def test_silence_gives_numbers(built):
    _, network = built
    for values in run(network, np.zeros_like(magnitudes())).values():
        assert np.isfinite(values).all()


def test_every_layer_has_a_name_of_its_own_and_a_line_in_the_summary(built):
    _, network = built
    names = [layer.name for layer in network.layers]
    assert len(set(names)) == len(names)
    # Names that Keras makes up are those of the class, often with a number.
    assert not [layer.name for layer in network.layers if re.fullmatch(_class_name(layer) + r"(_\d+)?", layer.name)]
    lines = io.StringIO()
    network.summary(print_fn=lambda text, **_: lines.write(text), line_length=200)
    assert all(name in lines.getvalue() for name in names)


def _class_name(layer):
    return re.sub(r"(?<=[a-z])(?=[A-Z0-9])", "_", type(layer).__name__).lower()


def test_saved_and_loaded_it_gives_the_same(built, tmp_path):
    import keras

    _, network = built
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    before, behind = run(network, magnitudes()), run(loaded, magnitudes())
    assert set(before) == set(behind)
    for name, values in before.items():
        np.testing.assert_array_equal(behind[name], values)
    for weight, was in zip(loaded.trainable_weights, network.trainable_weights, strict=True):
        assert (weight.name, weight.shape) == (was.name, was.shape)


@pytest.mark.parametrize("case", ["unet", "spleeter-unet-shared", "ibm-cnn", "deep-clustering-chimera"])
def test_in_mixed_precision_masks_and_weights_stay_whole(case):
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = small_network(case)
    finally:
        keras.config.set_dtype_policy("float32")
    assert {weight.dtype for weight in network.weights if "seed" not in weight.name} == {"float32"}
    outputs = network(magnitudes(), training=False)
    for name, values in run(small_network(case), magnitudes()).items():
        assert outputs[name].dtype == "float32"
        # Eight bits of mantissa through a few layers whose random weights are large.
        assert np.abs(np.asarray(outputs[name]) - values).mean() < 0.05


@pytest.mark.parametrize("architecture", architecture_names())
def test_unknown_settings_are_refused(architecture):
    with pytest.raises(
        InputError,
        match=f"unknown setting 'filtres'.*model.settings of {architecture}|"
        f"model.settings of {architecture}: unknown setting 'filtres'",
    ):
        default_spec(architecture, ("vocals", "rest"), settings={"filtres": [8]})
    # And where the specification did not come that way.
    spec = default_spec(architecture, ("vocals", "rest"))
    with pytest.raises(InputError, match="unknown setting 'filtres'"):
        build_network(type(spec).from_dict(spec.as_dict() | {"settings": {"filtres": [8]}}))


@pytest.mark.parametrize(
    ("case", "settings", "line"),
    [
        ("unet", {"filters": [3, 0]}, "unet, filters: setting out of range: expected a list of whole numbers from 1"),
        ("unet", {"filters": []}, "filters: setting out of range"),
        ("unet", {"filters": "16"}, "filters: setting out of range"),
        ("unet", {"dropout": 1.0}, "dropout: setting out of range: expected a number from 0 to below 1, found 1.0"),
        ("unet", {"n_dropouts": -1}, "n_dropouts: setting out of range: expected a whole number from 0, found -1"),
        ("unet", {"input": "loud"}, "unknown input 'loud': expected one of magnitude, scaled, log"),
        ("unet", {"filters": [2] * 4}, "n_frames: wrong patch size: expected a multiple of 16 .4 halvings., found 8"),
        ("spleeter-unet", {"encoder": "both"}, "unknown encoder 'both': expected one of per-stem, shared"),
        ("spleeter-unet", {"activation": "tanh"}, "unknown activation 'tanh'"),
        ("spleeter-unet", {"output": "linear"}, "unknown output 'linear'"),
        ("ibm-cnn", {"filters": [3, 2]}, "ibm-cnn, filters: setting out of range: expected 4 numbers, found 2"),
        ("ibm-cnn", {"kernel": [3]}, "kernel: setting out of range: expected 2 numbers, found 1"),
        ("deep-clustering", {"units": 0}, "units: setting out of range: expected a whole number from 1, found 0"),
        ("deep-clustering", {"mask_head": 1}, "mask_head: setting out of range: expected true or false, found 1"),
        ("deep-clustering", {"n_bands": 17}, "n_bands: setting out of range: expected at most 16 .bins., found 17"),
        ("uh-net", {"frozen": "yes"}, "frozen: setting out of range: expected true or false, found yes"),
        ("uh-net", {"embedding_network": 3}, "embedding_network: setting out of range: expected a mapping, found 3"),
    ],
)
def test_values_out_of_range_are_refused(case, settings, line):
    with pytest.raises(InputError, match=line):
        build_network(small_spec(case, **settings))


def test_no_dropout_is_a_setting():
    names = [layer.name for layer in small_network("unet", n_dropouts=0).layers]
    assert not [name for name in names if "dropout" in name]
