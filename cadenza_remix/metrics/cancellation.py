"""The null test of vocal isolation: flip the estimate's phase, add it to the true signal, and see what is left.

What is left is ``reference - estimate``. Its level is given in dB relative to the reference: 0 dB when nothing was
cancelled, the more negative the better, minus infinity when the two are one. Summed over the whole signal it is the
negative of `snr_db`, and says the same; what the null test adds is where it is left: by channel and second by second.

Nothing is aligned or scaled first: a wrong level or a delay of a sample leaves a residual, as it does at a mixing desk.

The other null test takes the estimated voice from the mixture and compares what is left with the true accompaniment::

    cancellation_residual(accompaniment, mixture - estimated_voice)

Where the mixture is the sum of voice and accompaniment, both tests leave the same signal, relative to the voice in the
first and to the accompaniment in the second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadenza_remix.audio.signal import Audio
from cadenza_remix.metrics.pairs import blocks, checked_pair, frames, one_rate
from cadenza_remix.units import energy_ratio_db


@dataclass(frozen=True, eq=False)
class CancellationResult:
    """What a null test leaves, in dB relative to the reference.

    Parameters
    ----------
    residual_db : float
        Of the whole signal, all channels together.
    channels_db : array of shape (n_channels,)
        Each channel's residual relative to the same channel of the reference.
    windows_db : array of shape (n_windows,)
        Each window's residual relative to the same window of the reference, all channels together.
    starts_s : array of shape (n_windows,)
        Where each window starts, in seconds.
    """

    residual_db: float
    channels_db: NDArray[np.float64]
    windows_db: NDArray[np.float64]
    starts_s: NDArray[np.float64]


def cancellation_residual_db(reference: Audio | ArrayLike, estimate: Audio | ArrayLike) -> float:
    """Return the level of ``reference - estimate`` relative to the reference, in dB.

    ``20 log10(rms(r - e) / rms(r))`` over all samples and channels, which is ``-snr_db(reference, estimate)``.

    Parameters
    ----------
    reference, estimate : Audio or array of shape (n_samples,) or (n_samples, n_channels)

    Returns
    -------
    float
        NaN for a silent reference, 0 for a silent estimate, minus infinity for equal signals, about +6 dB for an
        estimate of the wrong polarity.

    Raises
    ------
    InputError
        As for `snr_db`.

    Examples
    --------
    >>> cancellation_residual_db([1.0, -1.0], [0.9, -0.9])
    -20.0
    """
    return _level_db(*_channel_energies(*checked_pair(reference, estimate)))


def cancellation_residual(
    reference: Audio | ArrayLike,
    estimate: Audio | ArrayLike,
    *,
    sample_rate: int | None = None,
    window_s: float = 1.0,
    hop_s: float = 1.0,
) -> CancellationResult:
    """Return what a null test leaves: as `cancellation_residual_db`, also by channel and by window.

    Parameters
    ----------
    reference, estimate : Audio or array of shape (n_samples,) or (n_samples, n_channels)
    sample_rate : int, optional
        In Hz; needed for arrays, and known from `Audio`.
    window_s, hop_s : float
        Length of a window and from one window to the next, in seconds, as for `bss_eval`.

    Raises
    ------
    InputError
        As for `snr_db`; no sample rate, or another one than that of the signals.

    Examples
    --------
    >>> voice = np.random.default_rng(0).standard_normal((2000, 2))
    >>> result = cancellation_residual(voice, voice * [0.9, 0.99], sample_rate=1000)
    >>> result.channels_db.round(6).tolist()
    [-20.0, -40.0]
    """
    true, guess = checked_pair(reference, estimate)
    rate = one_rate([reference, estimate], sample_rate)
    windows = frames(len(true), rate=rate, window_s=window_s, hop_s=hop_s)
    left, whole = _channel_energies(true, guess)
    return CancellationResult(
        residual_db=_level_db(left, whole),
        channels_db=np.array([_level_db(left[[c]], whole[[c]]) for c in range(true.shape[1])]),
        windows_db=np.array([_level_db(*_channel_energies(true[window], guess[window])) for window in windows]),
        starts_s=np.array([window.start for window in windows]) / rate,
    )


def _channel_energies(
    true: NDArray[np.floating], guess: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the energies (n_channels,) of the residual and of the reference."""
    left, whole = np.zeros(true.shape[1]), np.zeros(true.shape[1])
    for r, e in blocks(true, guess):
        left += np.einsum("nc,nc->c", r - e, r - e)
        whole += np.einsum("nc,nc->c", r, r)
    return left, whole


def _level_db(left: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    return float("nan") if whole.sum() == 0 else energy_ratio_db(left.sum(), whole.sum())
