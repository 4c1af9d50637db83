"""The transform: closed forms of a sinusoid and of the round trip."""

import numpy as np
import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.separation.stft import Stft

SPLEETER = Stft(4096, 1024)
# Float32 samples, about thirty roundings in a transform of 4096 points: 1e-6 leaves room, an off-by-one does not.
ROUNDING = 1e-6


def noise(n_samples, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n_samples, 2)).astype(np.float32)


@pytest.mark.parametrize("n_samples", [1, 1023, 1024, 4096, 30_001])
@pytest.mark.parametrize("stft", [SPLEETER, Stft(512, 64)])
def test_round_trip_gives_the_signal_back(stft, n_samples):
    signal = noise(n_samples)
    padded = stft.padded(signal)
    n_frames = stft.n_frames(n_samples)
    spectra = stft.analyse(padded, 0, n_frames)
    assert spectra.shape == (2, n_frames, stft.n_bins)
    result = np.zeros_like(padded)
    stft.synthesise_into(result, 0, spectra)
    np.testing.assert_allclose(stft.cropped(result, n_samples), signal, rtol=0, atol=ROUNDING)


def test_frames_are_counted_as_spleeter_counts_them():
    # One frame of zeros in front and the end filled up: ceil((4096 + n) / 1024).
    assert [SPLEETER.n_frames(n) for n in (1, 1024, 1025, 44_100)] == [5, 5, 6, 48]


def test_first_frame_is_silence_and_second_sees_the_first_hop():
    padded = SPLEETER.padded(np.ones((5000, 2), dtype=np.float32))
    spectra = SPLEETER.analyse(padded, 0, 2)
    assert not spectra[:, 0].any()
    assert np.isclose(spectra[0, 1, 0].real, SPLEETER.window[-1024:].sum(), rtol=1e-5)


def test_sinusoid_on_a_bin_has_the_spectrum_of_the_periodic_hann_window():
    amplitude, at = 0.5, 100
    time = np.arange(12_288)
    signal = np.repeat((amplitude * np.cos(2 * np.pi * at * time / 4096))[:, np.newaxis], 2, axis=1)
    magnitude = np.abs(SPLEETER.analyse(SPLEETER.padded(signal.astype(np.float32)), 6, 7))[0, 0]
    # N A / 4 on the bin, half of it on its neighbours, nothing anywhere else; relative to the peak, in float32.
    peak = 4096 * amplitude / 4
    expected = np.zeros(2049)
    expected[at - 1 : at + 2] = peak / 2, peak, peak / 2
    np.testing.assert_allclose(magnitude, expected, rtol=0, atol=1e-6 * peak)


def test_blocks_of_frames_equal_the_whole():
    padded = SPLEETER.padded(noise(50_000))
    whole = SPLEETER.analyse(padded, 0, SPLEETER.n_frames(50_000))
    np.testing.assert_array_equal(SPLEETER.analyse(padded, 7, 19), whole[:, 7:19])


def test_missing_high_bins_count_as_zeros():
    padded = SPLEETER.padded(noise(20_000))
    spectra = SPLEETER.analyse(padded, 0, SPLEETER.n_frames(20_000))
    cut, zeroed = np.zeros_like(padded), np.zeros_like(padded)
    SPLEETER.synthesise_into(cut, 0, spectra[:, :, :1024])
    spectra[:, :, 1024:] = 0
    SPLEETER.synthesise_into(zeroed, 0, spectra)
    np.testing.assert_array_equal(cut, zeroed)


@pytest.mark.parametrize("settings", [(4096, 1000), (4096, 2048), (1024, 0)])
def test_uneven_overlap_is_refused(settings):
    with pytest.raises(InputError, match="frames do not overlap evenly"):
        Stft(*settings)
