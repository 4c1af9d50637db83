"""The binary-mask network against the paper's layers."""

import numpy as np
import pytest
from small_networks import magnitudes, small_network

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.architectures import build_network, default_spec


def test_it_has_the_published_layers_and_weights():
    spec = default_spec("ibm-cnn", ("vocals", "accompaniment"))
    assert (spec.sample_rate, spec.frame_length, spec.hop_length, spec.fft_length) == (22050, 1024, 256, 4096)
    assert spec.n_frames * spec.n_bins == 18_441
    network = build_network(spec)
    convolutions = 36 * (1 * 32 + 32 * 16 + 16 * 64 + 64 * 32) + 32 + 16 + 64 + 32
    # 2049 bins, twice by 12 and rounded up, are 15.
    flat = 9 * 15 * 32
    dense = (flat * 2048 + 2048) + (2048 * 512 + 512) + (512 * 18_441 + 18_441)
    assert network.count_params() == convolutions + dense
    # The paper says 19.5 million.
    assert round(network.count_params() / 1e6, 1) == 19.5
    # Of 9 frames, the one in the middle is used.
    assert spec.n_frames - 2 * spec.n_context == 1


def test_second_mask_is_one_minus_the_first():
    masks = np.asarray(small_network("ibm-cnn")(magnitudes())["masks"])
    np.testing.assert_array_equal(masks[..., 1], np.float32(1) - masks[..., 0])


def test_mask_bins_are_frame_after_frame():
    network = small_network("ibm-cnn")
    head = network.get_layer("mask_dense")
    kernel, bias = head.get_weights()
    bias[:] = 0
    bias[3 * 16 + 5] = 80  # frame 3, bin 5
    head.set_weights([np.zeros_like(kernel), bias])
    masks = np.asarray(network(magnitudes())["masks"])[..., 0]
    np.testing.assert_array_equal(masks[:, 3, 5], 1)
    assert np.count_nonzero(masks != 0.5) == masks[:, 3, 5].size


def test_more_than_two_stems_are_refused():
    spec = default_spec("ibm-cnn", ("vocals", "drums", "bass"))
    with pytest.raises(InputError, match="wrong stems for ibm-cnn: expected two, found vocals, drums, bass"):
        build_network(spec)
