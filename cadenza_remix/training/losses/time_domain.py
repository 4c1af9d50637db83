"""The distance of the samples that are heard in the end: ``time-l1``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import InputError
from cadenza_remix.separation.networks.backend import load_keras
from cadenza_remix.training.losses.spectra import check_switch, given

if TYPE_CHECKING:
    from cadenza_remix.separation.networks.architectures import NetworkSpec


class TimeL1:
    """``time-l1``: the mean absolute difference between the samples of the separated and of the true stems.

    Both within the network's band, both by the inverse transform; that is linear, so only their difference is
    synthesised. The samples at the patch's ends that further frames would add to are left out.

    Parameters
    ----------
    spec : NetworkSpec
        Of the network that is trained.
    relative : bool
        Divide by the root mean square of each excerpt's mixture: quiet excerpts then count like loud ones; see
        `cadenza_remix.training.losses.magnitude.L1`.

    Raises
    ------
    InputError
        Patches are too short for a sample that has all its frames.
    """

    needs = frozenset({"masks"})

    def __init__(self, spec: NetworkSpec, *, relative: bool = True) -> None:
        self._relative = check_switch("relative", relative, loss="time-l1")
        self._frame, self._hop, self._fft = spec.frame_length, spec.hop_length, spec.fft_length
        self._first, self._last = spec.frame_length - spec.hop_length, spec.n_frames * spec.hop_length
        if self._last <= self._first:
            raise InputError(
                "patch is too short for the loss 'time-l1'",
                where="n_frames",
                expected=f"more than {self._first // self._hop}",
                found=spec.n_frames,
            )
        self._window = synthesis_window(self._frame, self._hop)

    def __call__(self, mixture: Any, targets: Any, outputs: Mapping[str, Any]) -> Any:
        ops = load_keras().ops
        masks = given(outputs, "masks", "time-l1")
        mixture = ops.cast(mixture, "float32")
        wrong = masks[..., None] * mixture[..., None, :] - ops.cast(targets, "float32")
        # (batch, channels, stems, frames, bins, 2)
        wrong = ops.abs(self._samples(ops.transpose(wrong, (0, 3, 4, 1, 2, 5))))
        if self._relative:
            heard = self._samples(ops.transpose(mixture, (0, 3, 1, 2, 4)))
            level = ops.sqrt(ops.mean(ops.square(heard), axis=(1, 2)))
            wrong = wrong / ops.maximum(level, 1e-5)[:, None, None, None]
        return ops.mean(wrong)

    def _samples(self, spectra: Any) -> Any:
        """Return the samples (..., n) of spectra (..., n_frames, n_bins, 2), without the ends that are not complete."""
        ops = load_keras().ops
        n_missing = self._fft // 2 + 1 - spectra.shape[-2]
        outer = [(0, 0)] * (len(spectra.shape) - 2)
        parts = [ops.pad(spectra[..., part], [*outer, (0, n_missing)]) for part in (0, 1)]
        frames = ops.irfft((parts[0], parts[1]), fft_length=self._fft)[..., : self._frame]
        frames = frames * ops.convert_to_tensor(self._window)
        return overlap_add(frames, self._hop)[..., self._first : self._last]


def overlap_add(frames: Any, hop: int) -> Any:
    """Return frames (..., n_frames, frame_length) laid one hop apart and added, (..., n); any hop up to a frame."""
    ops = load_keras().ops
    *outer, n_frames, length = frames.shape
    outer = [-1, *outer[1:]]  # the batch need not be known
    n_hops = -(-length // hop)
    no_pad = [(0, 0)] * len(outer)
    pieces = ops.reshape(
        ops.pad(frames, [*no_pad, (0, 0), (0, n_hops * hop - length)]), (*outer, n_frames, n_hops, hop)
    )
    rows = sum(
        ops.pad(pieces[..., offset, :], [*no_pad, (offset, n_hops - 1 - offset), (0, 0)]) for offset in range(n_hops)
    )
    samples = ops.reshape(rows, (*outer, (n_frames + n_hops - 1) * hop))
    return samples[..., : (n_frames - 1) * hop + length]


def synthesis_window(frame_length: int, hop_length: int) -> NDArray[np.float32]:
    """Return the periodic Hann window over the sum of the squared windows that overlap at each sample.

    As `cadenza_remix.separation.stft.Stft` has it; where hops do not go a whole number of times into a frame the sum
    changes from sample to sample and repeats after each hop.
    """
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(frame_length) / frame_length)
    n_hops = -(-frame_length // hop_length)
    squares = np.zeros(n_hops * hop_length)
    squares[:frame_length] = window**2
    sums = squares.reshape(n_hops, hop_length).sum(axis=0)
    return (window / np.maximum(np.tile(sums, n_hops)[:frame_length], 1e-8)).astype(np.float32)
