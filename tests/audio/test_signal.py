import numpy as np
import pytest

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError


def test_mono_becomes_two_dimensional_and_cannot_be_changed():
    given = np.linspace(-1, 1, 10)
    audio = Audio(given, 44100)
    assert audio.samples.shape == (10, 1)
    assert audio.samples.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        audio.samples[0] = 0
    given[0] = 5
    assert audio.samples[0, 0] == -1


@pytest.mark.parametrize(
    ("samples", "rate", "words"),
    [
        (np.zeros(0), 44100, "no samples"),
        (np.zeros((10, 3)), 44100, "expected 1 or 2, found 3"),
        (np.zeros((2, 2, 2)), 44100, "wrong shape"),
        (np.array([0.0, np.nan]), 44100, "NaN or infinity at sample 1"),
        (np.array([np.inf, 0.0]), 44100, "NaN or infinity at sample 0"),
        (np.zeros(10, dtype=np.int16), 44100, "integers"),
        (np.zeros(10, dtype=complex), 44100, "real numbers"),
        (np.zeros(10), 0, "sample rate"),
        (np.zeros(10), 44100.5, "sample rate"),
    ],
)
def test_refuses_what_is_no_audio(samples, rate, words):
    with pytest.raises(InputError, match=words) as caught:
        Audio(samples, rate, "song.wav")
    assert str(caught.value).startswith("song.wav: ")


def test_excerpt_takes_whole_samples_and_stays_inside():
    audio = Audio(np.arange(100, dtype=float), 10)
    np.testing.assert_array_equal(audio.excerpt(1.0, 2.05).samples[:, 0], np.arange(10, 20))
    with pytest.raises(InputError, match="segment outside"):
        audio.excerpt(5, 10.2)


def test_stereo_gives_both_ears_the_same():
    stereo = Audio(np.array([0.1, 0.2]), 8000).stereo()
    np.testing.assert_array_equal(stereo.samples[:, 0], stereo.samples[:, 1])
    assert stereo.stereo() is stereo


def test_an_excerpt_may_end_with_a_rounded_time():
    audio = Audio(np.arange(1000, dtype=np.float32), 1000)
    assert audio.excerpt(0.5, 1.04).n_samples == 500
    with pytest.raises(InputError, match="outside the audio"):
        audio.excerpt(0.5, 1.06)
