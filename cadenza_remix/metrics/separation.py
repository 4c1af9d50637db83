"""How near a separated signal comes to the true one, in dB: SNR, SI-SDR and SDR of a whole signal.

Conventions
-----------
- ``reference`` is the true signal, ``estimate`` the separated one. Both have the shape (n_samples,) or (n_samples, 1 or
  2), the same length and, where they are `Audio`, the same sample rate; a difference is refused, never cut or
  resampled away. Nothing is aligned, normalised or freed from its mean. A score per ear is that of one channel.
- A perfect estimate scores plus infinity. Of what is compared through a projection (SDR, SI-SDR), perfect is what
  leaves less than -200 dB behind, which is below the rounding of float32 files and above that of the arithmetic.
- A silent reference has no score: NaN. A silent estimate of a sounding reference has an SNR of 0 dB, and NaN for SDR
  and SI-SDR, which ask for the shape of the estimate and find none.

Which one to read: SNR counts every deviation, of level too. SI-SDR forgives a wrong level, SDR whatever a short filter
does (level, equalisation, a delay of up to 511 samples), as listeners largely do. What is wrong with an estimate, by
kind and second by second, is the matter of `bss_v4`; what it leaves behind when it is taken away, of `cancellation`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.metrics.bss import Projector, projection_filters
from cadenza_remix.metrics.pairs import blocks, checked_pair, energy, projected_ratio_db
from cadenza_remix.units import energy_ratio_db


def snr_db(reference: Audio | ArrayLike, estimate: Audio | ArrayLike) -> float:
    """Return the signal-to-noise ratio: the energy of the reference over that of the difference, in dB.

    ``10 log10(sum r^2 / sum (r - e)^2)``, both sums over all samples and channels. This is the SDR of the Music
    Demixing Challenges (Mitsufuji et al. 2022, doi 10.3389/frsip.2021.808395) without their small constants.

    Parameters
    ----------
    reference, estimate : Audio or array of shape (n_samples,) or (n_samples, n_channels)

    Raises
    ------
    InputError
        Shapes, lengths or sample rates that differ, NaN or infinity, no samples, integers.

    Examples
    --------
    >>> round(snr_db([1.0, -1.0], [0.5, -0.5]), 2)
    6.02
    """
    true, guess = checked_pair(reference, estimate)
    signal = noise = 0.0
    for r, e in blocks(true, guess):
        signal += energy(r)
        noise += energy(r - e)
    return float("nan") if signal == 0 else energy_ratio_db(signal, noise)


def si_sdr_db(reference: Audio | ArrayLike, estimate: Audio | ArrayLike) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB.

    ``10 log10(|a r|^2 / |a r - e|^2)`` with ``a = <e, r> / <r, r>`` (Le Roux, Wisdom, Erdogan & Hershey 2019, "SDR -
    half-baked or well done?", equations 3 and 5). Stereo signals have one common scale. The mean is not removed.

    Parameters
    ----------
    reference, estimate : Audio or array of shape (n_samples,) or (n_samples, n_channels)

    Raises
    ------
    InputError
        As for `snr_db`.

    Examples
    --------
    >>> si_sdr_db([1.0, -1.0, 0.0], [0.5, -0.5, 0.0])
    inf
    """
    true, guess = checked_pair(reference, estimate)
    power = product = 0.0
    for r, e in blocks(true, guess):
        power += energy(r)
        product += float(np.vdot(r, e))
    if power == 0:
        return float("nan")
    scale = product / power
    distortion = sum(energy(scale * r - e) for r, e in blocks(true, guess))
    return projected_ratio_db(scale * product, distortion)


def sdr_db(reference: Audio | ArrayLike, estimate: Audio | ArrayLike, *, filter_length: int = 512) -> float:
    """Return BSS Eval's source-to-distortion ratio, which allows a short time-invariant filter, in dB.

    ``10 log10(|p|^2 / |p - e|^2)``, where p is what a filter of ``filter_length`` taps makes of the reference to come
    nearest to the estimate. For one channel this is the SDR of ``bss_eval_sources`` (Vincent, Gribonval & Févotte 2006,
    equations 14 to 17; BSS Eval 3.0), which depends on the source's own reference only: the other sources matter for
    SIR and SAR. Two channels are taken together: each channel of the estimate is projected on both channels of the
    reference, and the energies of both are summed (the sources version of BSS Eval 4). For a score per ear give one
    channel at a time. The SDR of ``bss_eval_images`` is another one: that is `snr_db`.

    Parameters
    ----------
    reference, estimate : Audio or array of shape (n_samples,) or (n_samples, n_channels)
    filter_length : int
        Taps of the filter that is forgiven, delays from 0 on. With 1, one channel scores its SI-SDR.

    Raises
    ------
    InputError
        As for `snr_db`; a filter length that is not a positive whole number.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(4000)
    >>> delayed = np.concatenate([np.zeros(7), noise[:-7]])
    >>> round(snr_db(noise, delayed)), round(sdr_db(noise, delayed))
    (-3, 34)
    """
    check_filter_length(filter_length)
    true, guess = checked_pair(reference, estimate)
    if not true.any():
        return float("nan")
    filters = projection_filters([true], [guess], filter_length=filter_length)
    target = distortion = 0.0
    for start, projected in Projector(filters, n_samples=len(true)).project([true]):
        target += energy(projected)
        heard = guess[start : start + projected.shape[1]].T
        projected[:, : heard.shape[1]] -= heard
        distortion += energy(projected)
    return projected_ratio_db(target, distortion)


def check_filter_length(filter_length: int) -> None:
    """Refuse a number of taps that is not a positive whole number."""
    if isinstance(filter_length, bool) or not isinstance(filter_length, int | np.integer) or filter_length < 1:
        raise InputError("wrong filter_length", expected="a positive whole number of taps", found=repr(filter_length))
