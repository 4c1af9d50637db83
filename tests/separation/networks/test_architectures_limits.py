"""A stranger's specification exhausts no machine: what is too large is refused before anything is built."""

import pytest
from small_networks import SMALL, small_network, small_spec

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.architectures import NetworkSpec, default_spec, least_weights


@pytest.mark.parametrize("case", sorted(SMALL))
def test_the_least_number_of_weights_is_close_to_the_real_one_from_below(case):
    n_weights = small_network(case).count_params()
    assert 0.15 * n_weights < least_weights(small_spec(case)) <= n_weights


@pytest.mark.parametrize(
    ("architecture", "millions"),
    [("unet", 8.6), ("spleeter-unet", 8.6), ("ibm-cnn", 19.4), ("deep-clustering", 20.3), ("uh-net", 29.0)],
)
def test_the_least_number_of_the_published_networks(architecture, millions):
    spec = default_spec(architecture, ("vocals", "accompaniment"))
    assert least_weights(spec) == pytest.approx(millions * 1e6, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"n_frames": 10**9}, "n_frames: setting out of range: expected a whole number from 1 to 65536, found 10{9}$"),
        ({"n_frames": True}, "n_frames: setting out of range.*found True$"),
        ({"n_frames": "16"}, "n_frames: setting out of range.*found '16'$"),
        ({"sample_rate": 10**9}, "sample_rate: setting out of range: expected a whole number from 1 to 768000"),
        ({"fft_length": 2**30}, "fft_length: setting out of range"),
        ({"n_bins": 10**12}, "n_bins: setting out of range: expected at most 33, found"),
        ({"n_frames": 2**16, "fft_length": 2**18, "n_bins": 2**17}, "patch too large: .*found 65536 x 131072"),
        ({"n_context": 1.5}, "n_context: setting out of range"),
        ({"n_context": -1}, "n_context: setting out of range"),
        ({"n_context": 4}, "n_context: setting out of range: expected 0 to 3, found 4"),
        ({"hop_length": 64}, "hop_length: setting out of range: expected less than the 64 samples of a frame"),
        ({"stems": ["vocals"]}, "wrong stems: expected 2 to 16 different names"),
        ({"stems": [f"s{number}" for number in range(17)]}, "wrong stems: expected 2 to 16 different names"),
        ({"stems": ["vocals", "vocals"]}, "wrong stems"),
        ({"stems": ["vocals", 3]}, "wrong name of a stem: expected letters, digits, - and _, found 3"),
        ({"stems": ["vocals", "../../x"]}, "wrong name of a stem"),
        ({"stems": ["vocals", "lead vocals"]}, "wrong name of a stem"),
        ({"stems": ["vocals", "-x"]}, "wrong name of a stem"),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused_in_one_line(changes, line):
    with pytest.raises(InputError, match=line) as caught:
        NetworkSpec.from_dict(small_spec("unet").as_dict() | changes)
    assert "\n" not in str(caught.value)
