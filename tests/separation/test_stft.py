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


@pytest.mark.parametrize("settings", [(4096, 1000), (4096, 2048), (1024, 0)])
def test_uneven_overlap_is_refused(settings):
    with pytest.raises(InputError, match="frames do not overlap evenly"):
        Stft(*settings)
