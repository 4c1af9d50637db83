"""The transform: closed forms of a sinusoid and of the round trip."""

import numpy as np
import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.separation.frames import FrameReader, stitched
from cadenza_remix.separation.stft import Stft

SPLEETER = Stft(4096, 1024)
JANSSON = Stft(1024, 768)
# Float32 samples, about thirty roundings in a transform of 4096 points: 1e-6 leaves room, an off-by-one does not.
ROUNDING = 1e-6


def noise(n_samples, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n_samples, 2)).astype(np.float32)


def padded(stft, samples):
    """The layout that frames are counted in, written down a second time: a frame of zeros, the signal, whole hops."""
    length = (stft.n_frames(len(samples)) - 1) * stft.hop_length + stft.frame_length
    before = stft.frame_length
    return np.pad(samples.T, ((0, 0), (before, length - before - len(samples))))


@pytest.mark.parametrize("n_samples", [1, 1023, 1024, 4096, 30_001])
@pytest.mark.parametrize("stft", [SPLEETER, Stft(512, 64)])
def test_round_trip_gives_the_signal_back(stft, n_samples):
    signal = noise(n_samples)
    spectra = stft.analyse(padded(stft, signal))
    assert spectra.shape == (2, stft.n_frames(n_samples), stft.n_bins)
    result = stft.synthesise(spectra)
    inside = result[:, stft.frame_length : stft.frame_length + n_samples]
    np.testing.assert_allclose(inside.T, signal, rtol=0, atol=ROUNDING)


def test_frames_are_counted_as_spleeter_counts_them():
    # One frame of zeros in front and the end filled up: ceil((4096 + n) / 1024).
    assert [SPLEETER.n_frames(n) for n in (1, 1024, 1025, 44_100)] == [5, 5, 6, 48]


def test_first_frame_is_silence_and_second_sees_the_first_hop():
    spectra = SPLEETER.analyse(padded(SPLEETER, np.ones((5000, 2), dtype=np.float32)))
    assert not spectra[:, 0].any()
    assert np.isclose(spectra[0, 1, 0].real, SPLEETER.window[-1024:].sum(), rtol=1e-5)


def test_sinusoid_on_a_bin_has_the_spectrum_of_the_periodic_hann_window():
    amplitude, at = 0.5, 100
    tone = amplitude * np.cos(2 * np.pi * at * np.arange(4096) / 4096)
    magnitude = np.abs(SPLEETER.analyse(tone[np.newaxis].astype(np.float32)))[0, 0]
    # N A / 4 on the bin, half of it on its neighbours, nothing anywhere else; relative to the peak, in float32.
    peak = 4096 * amplitude / 4
    expected = np.zeros(2049)
    expected[at - 1 : at + 2] = peak / 2, peak, peak / 2
    np.testing.assert_allclose(magnitude, expected, rtol=0, atol=1e-6 * peak)


def test_missing_high_bins_count_as_zeros():
    spectra = SPLEETER.analyse(padded(SPLEETER, noise(20_000)))
    cut = SPLEETER.synthesise(spectra[:, :, :1024])
    spectra[:, :, 1024:] = 0
    np.testing.assert_array_equal(cut, SPLEETER.synthesise(spectra))


# Hops that go into the frame not a whole number of times, or too few times for a constant sum, and longer transforms.
UNEVEN = [
    JANSSON,
    Stft(1024, 512),
    Stft(1000, 333),
    Stft(400, 360),
    Stft(512, 128, 1024),
    Stft(1024, 768, 1535),
    Stft(9, 8),
]


@pytest.mark.parametrize("n_samples", [1, 767, 1024, 10_001])
@pytest.mark.parametrize("stft", UNEVEN)
def test_round_trip_with_any_hop(stft, n_samples):
    signal = noise(n_samples)
    spectra = stft.analyse(padded(stft, signal))
    assert spectra.shape == (2, stft.n_frames(n_samples), stft.n_bins)
    inside = stft.synthesise(spectra)[:, stft.frame_length : stft.frame_length + n_samples]
    # Where the windows are small, the roundings are divided by their squares: with nine tenths of a frame by 0.0012.
    np.testing.assert_allclose(inside.T, signal, rtol=0, atol=30 * ROUNDING)


@pytest.mark.parametrize("stft", [SPLEETER, *UNEVEN])
def test_windows_make_up_for_each_other_at_each_place_of_the_hop(stft):
    both = stft.window.astype(np.float64) * stft.synthesis_window
    sums = [both[place :: stft.hop_length].sum() for place in range(stft.hop_length)]
    np.testing.assert_allclose(sums, 1.0, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("stft", [Stft(1024, 256), Stft(1000, 200), Stft(512, 64)])
def test_even_overlap_has_one_factor_for_the_whole_window(stft):
    factor = np.sum(np.square(stft.window, dtype=np.float64)) / stft.hop_length
    np.testing.assert_array_equal(stft.synthesis_window, (stft.window / factor).astype(np.float32))


def test_frames_are_filled_up_with_zeros_behind():
    longer, samples = Stft(600, 150, 1024), noise(5000).T
    frames = np.stack([samples[:, at : at + 600] * longer.window for at in range(0, 5000 - 599, 150)], axis=1)
    expected = np.fft.rfft(np.pad(frames, ((0, 0), (0, 0), (0, 424))), axis=-1)
    assert longer.n_bins == 513
    # The sum of 600 samples rounded in float32.
    np.testing.assert_allclose(longer.analyse(samples), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("n_samples", [1, 700, 5000, 20_011])
@pytest.mark.parametrize("stft", [JANSSON, Stft(1000, 333), Stft(300, 256, 512)])
def test_a_stream_of_pieces_is_the_song_again(stft, n_samples):
    signal = noise(n_samples)

    def streamed(block_length, n_context):
        blocks = (signal[at : at + block_length] for at in range(0, n_samples, block_length))
        reader = FrameReader(blocks, stft, n_frames=5, n_context=n_context)

        def pieces():
            for piece in reader:
                spectra = stft.analyse(piece.samples)
                assert spectra.shape[1] == piece.n_before + piece.last - piece.first + piece.n_after
                yield stft.synthesise(spectra[:, piece.n_before : piece.n_before + piece.last - piece.first])

        return np.concatenate(list(stitched(pieces(), reader, stft)), axis=1).T

    whole = streamed(n_samples, 0)
    np.testing.assert_allclose(whole, signal, rtol=0, atol=30 * ROUNDING)
    for block_length, n_context in ((n_samples, 3), (997, 3), (64, 0)):
        np.testing.assert_array_equal(streamed(block_length, n_context), whole)


@pytest.mark.parametrize("settings", [(4096, 4096), (4096, 3687), (1024, 0), (1024, 1025), (1024, -1)])
def test_frames_that_hardly_overlap_are_refused(settings):
    with pytest.raises(
        InputError, match=r"frames do not overlap: expected a hop of 1 sample to 0\.9 frames, found frame"
    ):
        Stft(*settings)


def test_a_transform_that_is_shorter_than_the_frame_is_refused():
    with pytest.raises(InputError, match="frames do not fit into the transform: expected 1024 or more, found 1000"):
        Stft(1024, 256, 1000)
