"""The networks against a plain NumPy account of them, for each kind of activation and output."""

import dataclasses

import numpy as np
import pytest
from random_weights import random_variables

from cadenza_remix.separation.models.checkpoint import fill_network, match_variables, weight_table
from cadenza_remix.separation.models.registry import model_card

# The smallest input that six halvings leave something of.
SIZE = 64


def small(name):
    return dataclasses.replace(model_card(name), n_frames=SIZE, n_bins=SIZE)


def magnitudes(n_segments=1, seed=5):
    rng = np.random.default_rng(seed)
    return np.abs(rng.normal(0, 3, (n_segments, SIZE, SIZE, 2))).astype(np.float32)


@pytest.fixture(scope="module", params=["spleeter:2stems", "spleeter:4stems", "spleeter:5stems"])
def filled(request):
    """A card, its network with random weights, and those weights by the names of Spleeter's checkpoint."""
    from cadenza_remix.separation.networks.unet import build_mask_network

    card = small(request.param)
    variables = random_variables(card)
    network = build_mask_network(card)
    fill_network(network, card, match_variables(weight_table(card), variables, where="random"))
    return card, network, variables


def test_masks_are_those_of_the_plain_account(filled):
    card, network, variables = filled
    mixture = magnitudes()
    masks = network.predict_on_batch(mixture)
    expected = plain_masks(mixture[0].astype(np.float64), variables, card)
    assert len(masks) == len(card.stems)
    for mask, plain in zip(masks, expected, strict=True):
        # Float32 through 14 convolutions against float64; a wrong activation or order is off by 0.1 and more.
        np.testing.assert_allclose(mask[0], plain, rtol=0, atol=2e-4)
    # The comparison is worth something only if the masks say something.
    assert np.std(expected) > 0.05


def test_masks_sum_to_one_even_in_silence(filled):
    card, network, _ = filled
    mixture = magnitudes()
    mixture[:, 10:30] = 0
    masks = np.array(network.predict_on_batch(mixture))
    # Sums of a few float32 shares.
    np.testing.assert_allclose(masks.sum(axis=0), 1, rtol=0, atol=1e-6)
    np.testing.assert_allclose(masks[:, :, 10:30], 1 / len(card.stems), rtol=1e-6)


@pytest.mark.parametrize("filled", ["spleeter:2stems"], indirect=True)
def test_segments_do_not_see_each_other(filled):
    _, network, _ = filled
    together = network.predict_on_batch(magnitudes(3))
    alone = [network.predict_on_batch(segment[np.newaxis]) for segment in magnitudes(3)]
    for stem, mask in enumerate(together):
        for index in range(3):
            # Only the order of summation may differ between batch sizes.
            np.testing.assert_allclose(mask[index], alone[index][stem][0], rtol=0, atol=1e-5)


def test_every_layer_has_a_name_of_its_own(filled):
    card, network, _ = filled
    names = [layer.name for layer in network.layers]
    assert len(set(names)) == len(names)
    own = ("mixture", "stem_masks", "ratio_masks")
    assert all(name.startswith(card.stems) or name in own for name in names)


# The plain account, after Hennequin et al. 2020: layout (frames, bins, channels), float64.


def plain_masks(mixture, variables, card):
    logits = [plain_logits(mixture, variables, card, index) for index in range(len(card.stems))]
    if card.output == "softmax":
        shares = np.exp(np.array(logits) - np.max(logits, axis=0))
        estimates = shares / shares.sum(axis=0) * mixture
    else:
        estimates = np.array([mixture / (1 + np.exp(-logit)) for logit in logits])
    powers = estimates**2
    return (powers + 1e-10 / len(powers)) / (powers.sum(axis=0) + 1e-10)


def plain_logits(mixture, variables, card, index):
    def get(kind, number):
        name = f"{kind}_{number}" if number else kind
        return {key.partition("/")[2]: value for key, value in variables.items() if key.startswith(f"{name}/")}

    encoder, decoder = ACTIVATIONS[card.encoder_activation], ACTIVATIONS[card.decoder_activation]
    raw, signal = [], mixture
    for level in range(6):
        raw.append(plain_conv(signal, get("conv2d", 7 * index + level), stride=2))
        signal = encoder(plain_norm(raw[-1], get("batch_normalization", 12 * index + level)))
    signal = raw[5]
    for level in range(6):
        signal = plain_transposed(signal, get("conv2d_transpose", 6 * index + level))
        signal = plain_norm(decoder(signal), get("batch_normalization", 12 * index + 6 + level))
        if level < 5:
            signal = np.concatenate([raw[4 - level], signal], axis=-1)
    return plain_conv(signal, get("conv2d", 7 * index + 6), dilation=2)


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}


def plain_norm(x, weights):
    scale = weights["gamma"] / np.sqrt(weights["moving_variance"].astype(np.float64) + 1e-3)
    return (x - weights["moving_mean"]) * scale + weights["beta"]


def plain_conv(x, weights, *, stride=1, dilation=1):
    """'Same' padding: outputs are ceil(size / stride), and an odd zero goes behind."""
    kernel = weights["kernel"].astype(np.float64)
    size, width = x.shape[0], (kernel.shape[0] - 1) * dilation + 1
    n_out = -(-size // stride)
    total = max(0, (n_out - 1) * stride + width - size)
    padded = np.pad(x, [(total // 2, total - total // 2)] * 2 + [(0, 0)])
    result = np.zeros((n_out, n_out, kernel.shape[3])) + weights["bias"]
    for row in range(kernel.shape[0]):
        for column in range(kernel.shape[1]):
            rows = slice(row * dilation, row * dilation + (n_out - 1) * stride + 1, stride)
            columns = slice(column * dilation, column * dilation + (n_out - 1) * stride + 1, stride)
            result += padded[rows, columns] @ kernel[row, column]
    return result


def plain_transposed(x, weights):
    """The transpose of a convolution of stride 2, which takes the doubled size back: one zero in front, two behind."""
    kernel = weights["kernel"].astype(np.float64)
    size = len(x)
    whole = np.zeros((2 * size + 3, 2 * size + 3, kernel.shape[2]))
    for row in range(5):
        for column in range(5):
            rows, columns = slice(row, row + 2 * size, 2), slice(column, column + 2 * size, 2)
            whole[rows, columns] += x @ kernel[row, column].T
    return whole[1 : 2 * size + 1, 1 : 2 * size + 1] + weights["bias"]
