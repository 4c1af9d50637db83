"""Short-time Fourier transform of a piece of a song.

The convention is that of Spleeter's graph: one frame of zeros goes before the signal, the end is filled up with zeros
to whole hops, analysis and synthesis use the same periodic Hann window, and the overlapping windows are made up for by
a factor (2/3 for a hop of a quarter frame; where the overlap is uneven, one for each place of the hop). With unchanged
spectra the round trip gives the signal back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cadenza_remix.errors import InputError

_WORKERS = os.cpu_count() or 1
#: With less overlap, what a mask changes at a frame's ends would be amplified more than tenfold.
_LARGEST_HOP = 0.9


@dataclass(frozen=True)
class Stft:
    """The settings of a transform; frames are counted from the one that lies wholly in the zeros in front.

    Parameters
    ----------
    frame_length, hop_length : int
        In samples; the hop is at most nine tenths of the frame.
    fft_length : int, optional
        Frames are filled up with zeros behind to this length; as long as the frame by default.

    Raises
    ------
    InputError
        The frames do not overlap, or do not fit into the transform.
    """

    frame_length: int
    hop_length: int
    fft_length: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.hop_length <= _LARGEST_HOP * self.frame_length:
            raise InputError(
                "frames do not overlap",
                expected=f"a hop of 1 sample to {_LARGEST_HOP:g} frames",
                found=f"frame {self.frame_length}, hop {self.hop_length}",
            )
        if self.fft_length is not None and self.fft_length < self.frame_length:
            raise InputError(
                "frames do not fit into the transform", expected=f"{self.frame_length} or more", found=self.fft_length
            )

    @property
    def n_points(self) -> int:
        """Length of the transform: of the frames with the zeros behind them."""
        return self.frame_length if self.fft_length is None else self.fft_length

    @property
    def n_bins(self) -> int:
        return self.n_points // 2 + 1

    @property
    def overlaps_evenly(self) -> bool:
        """Whether the hop goes at least four times into the frame: the squared windows add up to a constant."""
        return not self.frame_length % self.hop_length and self.frame_length >= 4 * self.hop_length

    @cached_property
    def window(self) -> NDArray[np.float32]:
        # Not by `scipy.signal`, whose import takes half a second: as long as the network takes for 30 s of music.
        phase = 2.0 * np.pi * np.arange(self.frame_length) / self.frame_length
        return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)

    @cached_property
    def synthesis_window(self) -> NDArray[np.float32]:
        """The window over the sum of the squared windows that overlap at a sample (1.5 everywhere for four of them).

        That makes the synthesis the least-squares inverse (Griffin and Lim 1984, equation 6).
        """
        squared = np.square(self.window, dtype=np.float64)
        if self.overlaps_evenly:
            return (self.window / (np.sum(squared) / self.hop_length)).astype(np.float32)
        places = np.arange(self.frame_length) % self.hop_length
        return (self.window / np.bincount(places, weights=squared)[places]).astype(np.float32)

    def n_frames(self, n_samples: int) -> int:
        """Return how many frames a signal of this length has, the zeros in front included."""
        return -(-(self.frame_length + n_samples) // self.hop_length)

    def analyse(self, samples: NDArray[np.float32]) -> NDArray[np.complex64]:
        """Return the spectra of all whole frames in some samples.

        Parameters
        ----------
        samples : array of shape (n_channels, n)
            With the zeros around it that belong to it.

        Returns
        -------
        array of shape (n_channels, n_frames, n_bins)
        """
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.frame_length, axis=1)[:, :: self.hop_length]
        return scipy.fft.rfft(frames * self.window, n=self.n_points, axis=-1, workers=_WORKERS, overwrite_x=True)

    def synthesise(self, spectra: NDArray[np.complex64]) -> NDArray[np.float32]:
        """Return the frames of some spectra, overlapped and added.

        Parameters
        ----------
        spectra : array of shape (..., n_frames, at most n_bins)
            Bins that are left out at the top count as zeros.

        Returns
        -------
        array of shape (..., (n_frames - 1) * hop_length + frame_length)
            The last ``frame_length - hop_length`` samples still lack what the frames behind them add, and the first as
            many what those before do: see `cadenza_remix.separation.frames.stitched`. What a changed spectrum puts
            behind the frame, into its zeros, is cut off.
        """
        frames = scipy.fft.irfft(spectra, n=self.n_points, axis=-1, workers=_WORKERS)[..., : self.frame_length]
        frames *= self.synthesis_window
        return self.overlapped(frames)

    def overlapped(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add windowed frames (..., n_frames, frame_length) where they belong; returns what `synthesise` does."""
        *outer, n_frames, _ = frames.shape
        n_hops = -(-self.frame_length // self.hop_length)
        rest = n_hops * self.hop_length - self.frame_length
        if rest:
            frames = np.pad(frames, [(0, 0)] * (frames.ndim - 1) + [(0, rest)])
        hops = frames.reshape(*outer, n_frames, n_hops, self.hop_length)
        rows = np.zeros((*outer, n_frames + n_hops - 1, self.hop_length), dtype=np.float32)
        for offset in range(n_hops):
            rows[..., offset : offset + n_frames, :] += hops[..., offset, :]
        whole = rows.reshape(*outer, -1)
        return whole[..., : whole.shape[-1] - rest]
