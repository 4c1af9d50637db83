"""The time-domain loss against samples that were really synthesised."""

from __future__ import annotations

import numpy as np
import pytest
from loss_arrays import random_masks, random_targets, small_spec, value_of
from numpy.typing import NDArray

from cadenza_remix.errors import InputError
from cadenza_remix.separation.stft import Stft
from cadenza_remix.training.losses import build_loss
from cadenza_remix.training.losses.time_domain import overlap_add, synthesis_window


def synthesised(spectra: NDArray[np.complex128], frame: int, hop: int, fft: int) -> NDArray[np.float64]:
    """Return samples (..., n) of spectra (..., n_frames, n_bins), frame by frame, in double precision."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)
    n_frames = spectra.shape[-2]
    samples = np.zeros((*spectra.shape[:-2], (n_frames - 1) * hop + frame))
    squares = np.zeros((n_frames + 40) * hop + frame)
    for number in range(n_frames + 40):
        squares[number * hop : number * hop + frame] += window**2
    for number in range(n_frames):
        full = np.zeros((*spectra.shape[:-2], fft // 2 + 1), dtype=complex)
        full[..., : spectra.shape[-1]] = spectra[..., number, :]
        samples[..., number * hop : number * hop + frame] += np.fft.irfft(full, fft)[..., :frame] * window
    # What overlaps at a sample repeats after each hop; far inside all frames are there.
    steady = squares[20 * hop : 21 * hop]
    return samples / np.tile(steady, samples.shape[-1] // hop + 1)[: samples.shape[-1]]


@pytest.mark.parametrize(
    ("frame", "hop", "fft"), [(32, 8, 32), (32, 24, 32), (32, 16, 64), (30, 7, 32)], ids=lambda value: str(value)
)
def test_mean_distance_of_samples(frame: int, hop: int, fft: int) -> None:
    spec = small_spec(frame_length=frame, hop_length=hop, fft_length=fft)
    targets, masks = random_targets(spec), random_masks(spec)
    wrong = masks * targets.sum(axis=-1)[..., None] - targets
    samples = synthesised(np.moveaxis(wrong, (1, 2), (-2, -1)), frame, hop, fft)
    whole = samples[..., frame - hop : spec.n_frames * hop]
    loss = build_loss("time-l1", spec, relative=False)
    assert value_of(loss, targets, masks=masks) == pytest.approx(np.abs(whole).mean(), rel=1e-4)


def test_equals_what_the_transform_of_the_separators_gives() -> None:
    """Two songs, separated by masks: the loss is the mean distance of the audio inside."""
    stft = Stft(32, 8)
    spec = small_spec(n_bins=17)
    rng = np.random.default_rng(4)
    stems = rng.standard_normal((2, 2, spec.patch_samples)).astype(np.float32) * 0.1  # (stems, channels, samples)
    spectra = np.stack([stft.analyse(stem) for stem in stems])  # (stems, channels, frames, bins)
    masks = random_masks(spec, n_excerpts=1)
    estimates = stft.synthesise(masks[0].transpose(3, 2, 0, 1) * spectra.sum(axis=0))
    inside = slice(24, 80)
    expected = np.abs(estimates[..., inside] - stems[..., inside]).mean()
    targets = spectra.transpose(2, 3, 1, 0)[None].astype(complex)
    assert value_of(build_loss("time-l1", spec, relative=False), targets, masks=masks) == pytest.approx(
        expected, rel=1e-4
    )


def test_window_is_that_of_the_transform() -> None:
    np.testing.assert_allclose(synthesis_window(32, 8), Stft(32, 8).synthesis_window, rtol=1e-6, atol=1e-9)


def test_relative_to_the_level_it_does_not_depend_on_level() -> None:
    spec = small_spec()
    targets, masks = random_targets(spec), random_masks(spec)
    loss = build_loss("time-l1", spec)
    assert value_of(loss, 0.1 * targets, masks=masks) == pytest.approx(value_of(loss, targets, masks=masks), rel=1e-4)


def test_overlap_add() -> None:
    frames = np.array([[[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]], dtype=np.float32)
    np.testing.assert_array_equal(np.asarray(overlap_add(frames, 2)), [[1, 2, 13, 20, 30]])
    np.testing.assert_array_equal(np.asarray(overlap_add(frames, 3)), [[1, 2, 3, 10, 20, 30]])


def test_patch_without_a_whole_sample_is_refused() -> None:
    with pytest.raises(InputError, match=r"n_frames: patch is too short .*: expected more than 3, found 3"):
        build_loss("time-l1", small_spec(n_frames=3))
