"""Sources of blocks: lengths that make sense, and what is read from a source before anybody works with it."""

import numpy as np
import pytest

from cadenza_remix.audio.blocks import LOUDEST, AudioBlocks, checked_blocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError


class Source:
    """Blocks as somebody may give them."""

    name, sample_rate, duration_s = "tape", 44_100, None

    def __init__(self, *blocks):
        self.given = blocks

    def blocks(self):
        return iter(self.given)


def stereo(n_samples, value=0.5, dtype=np.float32):
    return np.full((n_samples, 2), value, dtype)


@pytest.mark.parametrize("length", [-1, 0, 1.5, 10.0, "a", True, np.nan])
def test_lengths_that_make_no_sense_are_refused(length):
    with pytest.raises(InputError, match="wrong block length: expected a whole number of samples, 1 or more"):
        AudioBlocks(Audio(np.zeros(10), 44_100), length)


@pytest.mark.parametrize("length", [None, 1, 3, np.int64(4), 10, 100])
def test_blocks_together_are_the_audio(length):
    audio = Audio(np.arange(20, dtype=np.float32).reshape(10, 2), 44_100)
    assert np.array_equal(np.concatenate(list(AudioBlocks(audio, length).blocks())), audio.samples)


def test_what_is_no_audio_is_refused():
    with pytest.raises(InputError, match="no audio: expected an Audio, from load_audio, found ndarray"):
        AudioBlocks(np.zeros((10, 2)))


def test_music_passes_as_it_is():
    block = stereo(3)
    passed = list(checked_blocks(Source(block, stereo(0), stereo(2, dtype=np.float64), stereo(1, -LOUDEST))))
    assert passed[0] is block
    assert [len(found) for found in passed] == [3, 2, 1]
    assert {found.dtype for found in passed} == {np.dtype(np.float32)}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("block", "says"),
    [
        (np.zeros(5, np.float32), r"expected an array of shape \(n_samples, 2\), found shape \(5,\)"),
        (np.zeros((5, 1), np.float32), r"found shape \(5, 1\)"),
        (np.zeros((5, 3), np.float32), r"found shape \(5, 3\)"),
        (np.zeros((1, 5, 2), np.float32), r"found shape \(1, 5, 2\)"),
        (stereo(5, 1000, np.int16), r"expected floats of full scale 1\.0, found int16"),
        (stereo(5, 1j, np.complex64), "found complex64"),
        (stereo(5, "a", object), "found object"),
        ([[0.5, 0.5]], "found list"),
        (None, "found NoneType"),
        (stereo(5, np.nan), "samples are not finite: expected finite numbers, found NaN or infinity"),
        (stereo(5, np.inf), "samples are not finite"),
        (stereo(5, -np.inf), "samples are not finite"),
        (stereo(5, 1e30), r"level is no music's \(full scale is 1\.0\): expected samples up to 1e\+06, found 1e\+30"),
        (stereo(5, -1e300, np.float64), r"found 1e\+300"),
    ],
)
def test_what_is_no_stereo_music_is_refused(block, says):
    blocks = checked_blocks(Source(stereo(2), block))
    next(blocks)
    with pytest.raises(InputError, match=says) as caught:
        next(blocks)
    assert str(caught.value).startswith("tape: ")
    assert "\n" not in str(caught.value)


def test_one_wrong_sample_is_found():
    for value in (np.nan, np.inf, 1e30):
        block = np.random.default_rng(0).uniform(-1, 1, (1000, 2)).astype(np.float32)
        block[777, 1] = value
        with pytest.raises(InputError):
            list(checked_blocks(Source(block)))
