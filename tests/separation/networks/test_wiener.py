"""The multichannel Wiener filter: against norbert, against its closed form, and piece by piece."""

from pathlib import Path

import numpy as np
import pytest

from cadenza_remix.audio.io import load_audio, load_stems
from cadenza_remix.audio.signal import STEMS
from cadenza_remix.demo import demo_song
from cadenza_remix.errors import InputError
from cadenza_remix.separation.models.registry import model_card
from cadenza_remix.separation.models.store import ModelStore
from cadenza_remix.separation.networks.wiener import SpatialStatistics
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.spleeter import SpleeterSeparator
from cadenza_remix.units import energy_ratio_db

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "wiener.npz")
EPSILON = np.finfo(np.float32).eps
CARD = model_card("spleeter:2stems")


def ratio_masks(estimates, exponent=2.0):
    powers = estimates.astype(np.float64) ** exponent
    return (powers / powers.sum(axis=0)).astype(np.float32)


def filtered(spectra, masks, *, exponent=2.0):
    statistics = SpatialStatistics(len(masks), masks.shape[2], exponent=exponent)
    statistics.add(spectra, masks)
    return statistics.fit().apply(spectra, masks)


def music(n_frames=50, n_bins=30, n_stems=4, seed=0):
    """Spectra of stereo noise with two bins above the network's band, and masks."""
    rng = np.random.default_rng(seed)
    shape = (2, n_frames, n_bins + 2)
    spectra = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * 20
    spectra[1] += 0.9 * spectra[0]
    return spectra.astype(np.complex64), ratio_masks(rng.uniform(0.01, 1.0, (n_stems, n_frames, n_bins, 2)))


@pytest.mark.parametrize("case", ["loud", "quiet"])
def test_stems_are_those_of_norbert(case):
    spectra, estimates, expected = (GOLDEN[f"{case}_{name}"] for name in ("spectra", "estimates", "filtered"))
    n_bins = estimates.shape[2]
    stems = filtered(spectra, ratio_masks(estimates))
    # The masks are rounded to 32 bits, and so are their roots.
    np.testing.assert_allclose(stems, expected[..., :n_bins], rtol=0, atol=1e-6 * np.abs(spectra).max())
    assert not expected[..., n_bins:].any()


def test_the_mask_alone_is_far_from_norbert():
    spectra, estimates, expected = (GOLDEN[f"loud_{name}"] for name in ("spectra", "estimates", "filtered"))
    n_bins = estimates.shape[2]
    masked = spectra[..., :n_bins] * ratio_masks(estimates).transpose(0, 3, 1, 2)
    assert np.abs(masked - expected[..., :n_bins]).max() > 0.05 * np.abs(spectra).max()


def test_stems_on_either_side_follow_the_closed_form():
    spectra, _ = music()
    masks = np.zeros((2, *spectra.shape[1:], 2), dtype=np.float32)
    masks[0, ..., 0] = masks[1, ..., 1] = 1.0
    left, right = filtered(spectra, masks)
    # Each covariance has one entry, so that each channel is a Wiener filter of its own against the floor.
    floor = np.sqrt(EPSILON) * (np.abs(spectra).max() / 10) ** 2
    power = np.abs(spectra.astype(np.complex128)) ** 2
    expected = spectra * power / (power + floor)
    # 1 / 10 000 of the weight's own floor is left out of the formula.
    np.testing.assert_allclose(left[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(right[1], expected[1], rtol=1e-5)
    assert not left[1].any()
    assert not right[0].any()


def test_a_song_below_the_magnitude_that_is_scaled_loses_more_the_quieter_it_is():
    spectra, masks = music()
    spectra *= np.float32(9.9 / np.abs(spectra).max())

    def lost(song):
        band = song[..., : masks.shape[2]]
        return np.abs(filtered(song, masks).sum(axis=0) - band).mean() / np.abs(band).mean()

    # norbert's floor stays where it is: 0.0003 beside powers of 100, and beside powers of 0.01.
    assert lost(spectra) < 1e-3
    assert lost(np.float32(0.01) * spectra) > 0.1


def test_loudness_of_a_loud_song_changes_nothing():
    spectra, masks = music()
    once, louder = filtered(spectra, masks), filtered(8 * spectra, masks)
    # Multiplication by 8 is exact; everything is relative to the largest magnitude.
    np.testing.assert_array_equal(8 * once, louder)


@pytest.mark.parametrize("step", [1, 7, 49])
def test_the_size_of_pieces_changes_no_bit(step):
    spectra, masks = music()
    whole = filtered(spectra, masks)
    statistics = SpatialStatistics(len(masks), masks.shape[2])
    pieces = [slice(first, first + step) for first in range(0, spectra.shape[1], step)]
    for piece in pieces:
        statistics.add(spectra[:, piece], masks[:, piece])
    wiener = statistics.fit()
    stems = np.concatenate([wiener.apply(spectra[:, piece], masks[:, piece]) for piece in pieces], axis=2)
    np.testing.assert_array_equal(stems, whole)


def test_frames_of_zeros_at_the_end_change_no_bit():
    spectra, masks = music()
    whole = filtered(spectra, masks)
    longer = np.concatenate([spectra, np.zeros_like(spectra[:, :10])], axis=1)
    more = np.concatenate([masks, np.full_like(masks[:, :10], 1 / len(masks))], axis=1)
    stems = filtered(longer, more)
    np.testing.assert_array_equal(stems[:, :, :50], whole)
    assert not stems[:, :, 50:].any()


def test_masks_behind_the_last_frame_are_passed_over():
    spectra, masks = music()
    statistics = SpatialStatistics(len(masks), masks.shape[2])
    statistics.add(spectra[:, :20], masks)
    expected = SpatialStatistics(len(masks), masks.shape[2])
    expected.add(spectra[:, :20], masks[:, :20])
    np.testing.assert_array_equal(statistics.fit().covariances, expected.fit().covariances)


def test_masks_of_another_exponent_tell_the_same():
    spectra, _ = music()
    estimates = np.random.default_rng(5).uniform(0.1, 1.0, (2, 50, 30, 2))
    squares = filtered(spectra, ratio_masks(estimates, 2.0), exponent=2.0)
    plain = filtered(spectra, ratio_masks(estimates, 1.0), exponent=1.0)
    np.testing.assert_allclose(plain, squares, rtol=0, atol=1e-6 * np.abs(spectra).max())  # rounded to 32 bits


def test_stems_sum_to_the_song_but_for_the_floor():
    spectra, masks = music()
    band = spectra[..., :30]
    left_over = np.abs(filtered(spectra, masks).sum(axis=0) - band)
    # With x the song, C the stems' covariance and f the floor, what is left is f (C + f)^-1 x.
    assert 0 < left_over.max() < 0.1 * np.abs(band).max()
    assert left_over.mean() < 0.01 * np.abs(band).mean()


def test_mono_keeps_its_digits():
    spectra, masks = music()
    spectra[1] = spectra[0]
    masks[..., 1] = masks[..., 0]
    stems = filtered(spectra, masks)
    # Both channels of one stem are fully correlated: the filter is 2 v / (2 sum v + floor).
    shares = np.sqrt(masks[..., 0].astype(np.float64))
    powers = (shares / shares.sum(axis=0) * np.abs(spectra[0, :, :30])) ** 2
    floor = np.sqrt(EPSILON) * (np.abs(spectra).max() / 10) ** 2
    expected = 2 * powers / (2 * powers.sum(axis=0) + floor) * spectra[0, :, :30]
    for channel in (0, 1):
        np.testing.assert_allclose(stems[:, channel], expected, rtol=0, atol=1e-6 * np.abs(spectra).max())


def test_silence_stays_silent():
    spectra, masks = music()
    assert not filtered(np.zeros_like(spectra), masks).any()


def test_the_fitted_filter_cannot_be_changed():
    spectra, masks = music()
    statistics = SpatialStatistics(len(masks), masks.shape[2])
    statistics.add(spectra, masks)
    wiener = statistics.fit()
    before = wiener.covariances.copy()
    statistics.add(spectra[:, ::-1], masks)
    np.testing.assert_array_equal(wiener.covariances, before)
    with pytest.raises(ValueError, match="read-only"):
        wiener.covariances[0] = 0


@pytest.mark.parametrize(
    ("shape", "mask_shape", "message"),
    [
        ((1, 50, 32), (4, 50, 30, 2), "spectra of the wrong shape: expected (2, n_frames, at least 30)"),
        ((2, 50, 29), (4, 50, 30, 2), "spectra of the wrong shape: expected (2, n_frames, at least 30)"),
        ((2, 50, 32), (3, 50, 30, 2), "masks of the wrong shape: expected (4, at least 50, 30, 2)"),
        ((2, 50, 32), (4, 49, 30, 2), "masks of the wrong shape: expected (4, at least 50, 30, 2)"),
        ((2, 50, 32), (4, 50, 30), "masks of the wrong shape: expected (4, at least 50, 30, 2)"),
    ],
)
def test_wrong_shapes_are_refused(shape, mask_shape, message):
    statistics = SpatialStatistics(4, 30)
    with pytest.raises(InputError) as caught:
        statistics.add(np.ones(shape, dtype=np.complex64), np.ones(mask_shape, dtype=np.float32))
    assert message in str(caught.value)


def test_real_weights_reach_the_sdr_of_deezers_filter():
    song = demo_song()
    references = load_stems(song.path)
    separator = SpleeterSeparator(CARD, ModelStore().path(CARD), options=SeparationOptions(wiener=True))
    stems = separator.separate(load_audio(song.path))
    rest = sum(references[stem].samples for stem in STEMS if stem != "vocals")
    # Deezer's own package gives 5.226 and 11.274 dB with MWF=True on this excerpt (and more without: 5.297 and 11.319).
    assert sdr_db(references["vocals"].samples, stems["vocals"].samples) == pytest.approx(5.226, abs=0.005)
    assert sdr_db(rest, stems["accompaniment"].samples) == pytest.approx(11.274, abs=0.005)


def sdr_db(reference, estimate):
    reference = reference.astype(np.float64)
    return energy_ratio_db(np.sum(reference**2), np.sum((reference - estimate) ** 2))
