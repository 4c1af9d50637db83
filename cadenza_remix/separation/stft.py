"""Short-time Fourier transform of a piece of a song.

The convention is that of Spleeter's graph: one frame of zeros goes before the signal, the end is filled up with zeros
to whole hops, analysis and synthesis use the same periodic Hann window, and the overlapping windows are made up for by
a factor (2/3 for a hop of a quarter frame). With unchanged spectra the round trip gives the signal back.
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


@dataclass(frozen=True)
class Stft:
    """The settings of a transform; frames are counted from the one that lies wholly in the zeros in front.

    Parameters
    ----------
    frame_length, hop_length : int
        In samples; the hop goes at least four times into the frame, a whole number of times, so that the squared
        windows add up to a constant.
    """

    frame_length: int
    hop_length: int

    def __post_init__(self) -> None:
        if self.hop_length < 1 or self.frame_length % self.hop_length or self.frame_length < 4 * self.hop_length:
            raise InputError(
                "frames do not overlap evenly",
                expected="a frame length of 4, 5, 6 ... hops",
                found=f"frame {self.frame_length}, hop {self.hop_length}",
            )

    @property
    def n_bins(self) -> int:
        return self.frame_length // 2 + 1

    @cached_property
    def window(self) -> NDArray[np.float32]:
        # Not by `scipy.signal`, whose import takes half a second: as long as the network takes for 30 s of music.
        phase = 2.0 * np.pi * np.arange(self.frame_length) / self.frame_length
        return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)

    @cached_property
    def synthesis_window(self) -> NDArray[np.float32]:
        """The window over the sum of the squared windows that overlap at any sample (1.5 for four of them)."""
        overlap = np.sum(np.square(self.window, dtype=np.float64)) / self.hop_length
        return (self.window / overlap).astype(np.float32)

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
        return scipy.fft.rfft(frames * self.window, axis=-1, workers=_WORKERS, overwrite_x=True)

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
            many what those before do: see `cadenza_remix.separation.frames.stitched`.
        """
        frames = scipy.fft.irfft(spectra, n=self.frame_length, axis=-1, workers=_WORKERS)
        frames *= self.synthesis_window
        *outer, n_frames, _ = frames.shape
        n_hops = self.frame_length // self.hop_length
        hops = frames.reshape(*outer, n_frames, n_hops, self.hop_length)
        rows = np.zeros((*outer, n_frames + n_hops - 1, self.hop_length), dtype=np.float32)
        for offset in range(n_hops):
            rows[..., offset : offset + n_frames, :] += hops[..., offset, :]
        return rows.reshape(*outer, -1)
