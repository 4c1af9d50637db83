"""The multichannel Wiener filter: stems that also agree on where each of them stands between left and right.

Masks treat each channel by itself. This filter takes what they give for a first guess, measures from it for every stem
and frequency how its power is shared out between the channels and in what phase (a 2x2 covariance, one for the whole
song), and takes the stems from the song once more, each as the most probable part of it under that model: one step of
expectation-maximisation, as in Nugraha, Liutkus and Vincent, "Multichannel music separation with deep neural networks"
(EUSIPCO 2016). It is what Deezer's package does with ``MWF=True`` by way of the package norbert 0.2.1:

* the first guess is the song times the ratio of the estimates themselves, not of their squares as in the masks;
* powers are regularised relative to the song's largest magnitude;
* above the network's band there is nothing.

The covariances are those of the whole song, so that music longer than memory takes two passes: `SpatialStatistics`
sees every frame, then `WienerFilter` filters them. Frames are added one after the other, in 64 bits: how many come at
once changes no digit. Both work on arrays, are compiled with Numba, and know nothing of networks. Where norbert loses
digits in 32 bits (a stem that is nearly mono makes a nearly singular matrix), the filter computes in 64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.compiled import compiled
from cadenza_remix.errors import InputError

# norbert works in 32 bits and takes their resolution for its smallest power.
_EPSILON = float(np.finfo(np.float32).eps)
# The power of silence, for a song whose largest magnitude is 10: the root of that resolution.
_FLOOR_POWER = float(np.sqrt(_EPSILON))
_LARGEST_MAGNITUDE = 10.0
# What is kept for each stem and bin: the powers of both channels, and their product (real and imaginary part).
_N_MOMENTS = 4


class SpatialStatistics:
    """What the first pass over a song collects: the stems' powers and cross power in every bin, and the largest value.

    Parameters
    ----------
    n_stems, n_bins : int
        Stems, and bins of the network's band.
    exponent : float, optional
        The masks are ratios of estimates to this power (`ModelCard.separation_exponent`).
    """

    def __init__(self, n_stems: int, n_bins: int, *, exponent: float = 2.0) -> None:
        self._moments = np.zeros((n_stems, _N_MOMENTS, n_bins))
        self._largest_power = 0.0
        self._exponent = exponent

    def add(self, spectra: NDArray[np.complex64], masks: NDArray[np.float32]) -> None:
        """Take in the next frames.

        Parameters
        ----------
        spectra : complex64 array of shape (2, n_frames, n bins of the network or more)
            Of the song, left and right. All bins count for the largest magnitude.
        masks : float32 array of shape (n_stems, n_frames or more, n_bins, 2)
            The network's ratio masks for these frames; those behind the last frame are passed over.

        Raises
        ------
        InputError
            The shapes do not fit.
        """
        n_stems, _, n_bins = self._moments.shape
        masks = _squared_ratios(masks, self._exponent)
        _check(spectra, masks, n_stems, n_bins)
        self._largest_power = max(self._largest_power, _largest_power(spectra))
        _add_moments(spectra, masks, self._moments)

    def fit(self) -> WienerFilter:
        """Return the filter for the frames that were added."""
        scale = max(1.0, np.sqrt(self._largest_power) / _LARGEST_MAGNITUDE)
        weights = _EPSILON * scale**2 + 0.5 * (self._moments[:, 0] + self._moments[:, 1])
        covariances = self._moments / weights[:, None]
        covariances.flags.writeable = False
        return WienerFilter(covariances, _FLOOR_POWER * scale**2, self._exponent)


@dataclass(frozen=True)
class WienerFilter:
    """The second pass: filters the frames of the song that it was fitted to.

    Parameters
    ----------
    covariances : float64 array of shape (n_stems, 4, n_bins)
        Of stems whose mean power is 1: left, right, and real and imaginary part of left times conjugate right.
    floor_power : float
        Added to the song's power in each channel.
    exponent : float
        As in `SpatialStatistics`.
    """

    covariances: NDArray[np.float64]
    floor_power: float
    exponent: float = 2.0

    def apply(self, spectra: NDArray[np.complex64], masks: NDArray[np.float32]) -> NDArray[np.complex64]:
        """Return the stems' spectra in the network's band.

        Parameters
        ----------
        spectra, masks : arrays
            As in `SpatialStatistics.add`; frames in any order, as many at once as you like.

        Returns
        -------
        complex64 array of shape (n_stems, 2, n_frames, n_bins)

        Raises
        ------
        InputError
            The shapes do not fit.
        """
        n_stems, _, n_bins = self.covariances.shape
        masks = _squared_ratios(masks, self.exponent)
        _check(spectra, masks, n_stems, n_bins)
        filtered = np.empty((n_stems, 2, spectra.shape[1], n_bins), dtype=np.complex64)
        _filter(spectra, masks, self.covariances, self.floor_power, filtered)
        return filtered


def _squared_ratios(masks: NDArray[np.float32], exponent: float) -> NDArray[np.float32]:
    """Return masks that are ratios of squares, up to a common factor: what the loops expect."""
    if exponent == 2.0:
        return masks
    return np.asarray(masks ** (2.0 / exponent), dtype=np.float32)


def _check(spectra: NDArray[np.complex64], masks: NDArray[np.float32], n_stems: int, n_bins: int) -> None:
    n_frames = spectra.shape[1] if spectra.ndim == 3 else 0
    if spectra.ndim != 3 or len(spectra) != 2 or spectra.shape[2] < n_bins:
        raise InputError(
            "spectra of the wrong shape",
            where="multichannel Wiener filter",
            expected=f"(2, n_frames, at least {n_bins})",
            found=spectra.shape,
        )
    if masks.ndim != 4 or masks.shape[::2] != (n_stems, n_bins) or masks.shape[3] != 2 or masks.shape[1] < n_frames:
        raise InputError(
            "masks of the wrong shape",
            where="multichannel Wiener filter",
            expected=f"({n_stems}, at least {n_frames}, {n_bins}, 2)",
            found=masks.shape,
        )


@compiled()
def _largest_power(spectra: NDArray[np.complex64]) -> float:
    largest = 0.0
    for channel in range(spectra.shape[0]):
        for frame in range(spectra.shape[1]):
            for value in spectra[channel, frame]:
                power = np.float64(value.real) * value.real + np.float64(value.imag) * value.imag
                largest = max(largest, power)
    return largest


# In the loops below a row is one frame, all bins: the innermost loops run over it and have no sums, so that they can
# be vectorised without changing a digit.


@compiled()
def _share_scale(masks: NDArray[np.float32], frame: int, left: NDArray[np.float32], right: NDArray[np.float32]) -> None:
    """Write what the masks' roots are to be multiplied by so that they add up to one."""
    n_stems, _, n_bins, _ = masks.shape
    left[:] = 0.0
    right[:] = 0.0
    for stem in range(n_stems):
        row = masks[stem, frame]
        for index in range(n_bins):
            left[index] += np.sqrt(row[index, 0])
            right[index] += np.sqrt(row[index, 1])
    for index in range(n_bins):
        left[index] = np.float32(1.0) / left[index]
        right[index] = np.float32(1.0) / right[index]


@compiled()
def _add_moments(spectra: NDArray[np.complex64], masks: NDArray[np.float32], moments: NDArray[np.float64]) -> None:
    n_stems, _, n_bins, _ = masks.shape
    left, right = np.empty(n_bins, dtype=np.float32), np.empty(n_bins, dtype=np.float32)
    for frame in range(spectra.shape[1]):
        _share_scale(masks, frame, left, right)
        for stem in range(n_stems):
            row = masks[stem, frame]
            for index in range(n_bins):
                left_value, right_value = spectra[0, frame, index], spectra[1, frame, index]
                left_gain = np.float64(np.sqrt(row[index, 0]) * left[index])
                right_gain = np.float64(np.sqrt(row[index, 1]) * right[index])
                left_real, left_imag = left_gain * left_value.real, left_gain * left_value.imag
                right_real, right_imag = right_gain * right_value.real, right_gain * right_value.imag
                moments[stem, 0, index] += left_real * left_real + left_imag * left_imag
                moments[stem, 1, index] += right_real * right_real + right_imag * right_imag
                moments[stem, 2, index] += left_real * right_real + left_imag * right_imag
                moments[stem, 3, index] += left_imag * right_real - left_real * right_imag


@compiled()
def _filter(
    spectra: NDArray[np.complex64],
    masks: NDArray[np.float32],
    covariances: NDArray[np.float64],
    floor_power: float,
    filtered: NDArray[np.complex64],
) -> None:
    """Each stem is its power times its covariance times the inverse covariance of the song times the song."""
    n_stems, _, n_bins, _ = masks.shape
    left, right = np.empty(n_bins, dtype=np.float32), np.empty(n_bins, dtype=np.float32)
    powers = np.empty((n_stems, n_bins))
    song = np.empty((_N_MOMENTS, n_bins))
    # The song times the inverse of its covariance: real and imaginary part of both channels.
    white = np.empty((4, n_bins))
    for frame in range(spectra.shape[1]):
        _share_scale(masks, frame, left, right)
        song[:2] = floor_power
        song[2:] = 0.0
        for stem in range(n_stems):
            row = masks[stem, frame]
            for index in range(n_bins):
                left_value, right_value = spectra[0, frame, index], spectra[1, frame, index]
                left_power = np.float64(left_value.real) ** 2 + np.float64(left_value.imag) ** 2
                right_power = np.float64(right_value.real) ** 2 + np.float64(right_value.imag) ** 2
                left_gain = np.float64(row[index, 0]) * left[index] * left[index]
                right_gain = np.float64(row[index, 1]) * right[index] * right[index]
                power = 0.5 * (left_gain * left_power + right_gain * right_power)
                powers[stem, index] = power
                song[0, index] += power * covariances[stem, 0, index]
                song[1, index] += power * covariances[stem, 1, index]
                song[2, index] += power * covariances[stem, 2, index]
                song[3, index] += power * covariances[stem, 3, index]
        for index in range(n_bins):
            left_value, right_value = spectra[0, frame, index], spectra[1, frame, index]
            l_real, l_imag = np.float64(left_value.real), np.float64(left_value.imag)
            r_real, r_imag = np.float64(right_value.real), np.float64(right_value.imag)
            ll, rr, real, imag = song[0, index], song[1, index], song[2, index], song[3, index]
            scale = 1.0 / (ll * rr - real * real - imag * imag)
            white[0, index] = scale * (rr * l_real - real * r_real + imag * r_imag)
            white[1, index] = scale * (rr * l_imag - real * r_imag - imag * r_real)
            white[2, index] = scale * (ll * r_real - real * l_real - imag * l_imag)
            white[3, index] = scale * (ll * r_imag - real * l_imag + imag * l_real)
        for stem in range(n_stems):
            for index in range(n_bins):
                ll, rr = covariances[stem, 0, index], covariances[stem, 1, index]
                real, imag = covariances[stem, 2, index], covariances[stem, 3, index]
                l_real, l_imag, r_real, r_imag = white[0, index], white[1, index], white[2, index], white[3, index]
                power = powers[stem, index]
                out_real = power * (ll * l_real + real * r_real - imag * r_imag)
                out_imag = power * (ll * l_imag + real * r_imag + imag * r_real)
                filtered[stem, 0, frame, index] = np.complex64(complex(out_real, out_imag))
                out_real = power * (rr * r_real + real * l_real + imag * l_imag)
                out_imag = power * (rr * r_imag + real * l_imag - imag * l_real)
                filtered[stem, 1, frame, index] = np.complex64(complex(out_real, out_imag))
