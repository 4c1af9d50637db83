"""Short-time Fourier transform in blocks of frames, so that memory does not grow with the song.

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
import scipy.signal
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
        return scipy.signal.get_window("hann", self.frame_length, fftbins=True).astype(np.float32)

    @cached_property
    def synthesis_window(self) -> NDArray[np.float32]:
        """The window over the sum of the squared windows that overlap at any sample (1.5 for four of them)."""
        overlap = np.sum(np.square(self.window, dtype=np.float64)) / self.hop_length
        return (self.window / overlap).astype(np.float32)

    def n_frames(self, n_samples: int) -> int:
        """Return how many frames a signal of this length has, the zeros in front included."""
        return -(-(self.frame_length + n_samples) // self.hop_length)

    def padded(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the signal as `analyse` wants it: (n_channels, n) with zeros in front and behind.

        Parameters
        ----------
        samples : array of shape (n_samples, n_channels)
        """
        n_samples, n_channels = samples.shape
        length = (self.n_frames(n_samples) - 1) * self.hop_length + self.frame_length
        signal = np.zeros((n_channels, length), dtype=np.float32)
        signal[:, self.frame_length : self.frame_length + n_samples] = samples.T
        return signal

    def analyse(self, padded: NDArray[np.float32], first: int, last: int) -> NDArray[np.complex64]:
        """Return the spectra of frames ``first`` to ``last`` (exclusive): (n_channels, n_frames, n_bins)."""
        part = padded[:, first * self.hop_length : (last - 1) * self.hop_length + self.frame_length]
        frames = np.lib.stride_tricks.sliding_window_view(part, self.frame_length, axis=1)[:, :: self.hop_length]
        return scipy.fft.rfft(frames * self.window, axis=-1, workers=_WORKERS)

    def synthesise_into(self, padded: NDArray[np.float32], first: int, spectra: NDArray[np.complex64]) -> None:
        """Add the frames of some spectra, the first of which is frame ``first``, to a signal in the padded layout.

        Parameters
        ----------
        padded : array of shape (n_channels, n)
            Changed in place; of the shape that `padded` returns.
        spectra : array of shape (n_channels, n_frames, at most n_bins)
            Bins that are left out at the top count as zeros.
        """
        frames = scipy.fft.irfft(spectra, n=self.frame_length, axis=-1, workers=_WORKERS)
        frames *= self.synthesis_window
        n_channels, n_frames, _ = frames.shape
        hops = frames.reshape(n_channels, n_frames, -1, self.hop_length)
        rows = padded.reshape(n_channels, -1, self.hop_length)
        for offset in range(hops.shape[2]):
            rows[:, first + offset : first + offset + n_frames] += hops[:, :, offset]

    def cropped(self, padded: NDArray[np.float32], n_samples: int) -> NDArray[np.float32]:
        """Return the signal without the zeros around it: (n_samples, n_channels)."""
        return np.ascontiguousarray(padded[:, self.frame_length : self.frame_length + n_samples].T)
