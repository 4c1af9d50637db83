"""Butterworth band-pass in second-order sections, along time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from cadenza_remix.errors import InputError


@dataclass(frozen=True)
class BandPassSettings:
    """Edges (-3 dB) in Hz and the order of each edge; the defaults are E016's band."""

    low_hz: float = 250.0
    high_hz: float = 18_500.0
    order: int = 4

    def __post_init__(self) -> None:
        for name in ("low_hz", "high_hz"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not np.isfinite(value):
                raise InputError(f"wrong {name}", where="band_pass", expected="a number of Hz", found=repr(value))
        if not 0 < self.low_hz < self.high_hz:
            raise InputError(
                "wrong edges",
                where="band_pass",
                expected="0 < low_hz < high_hz",
                found=f"{self.low_hz:g} and {self.high_hz:g} Hz",
            )
        if not isinstance(self.order, int) or isinstance(self.order, bool) or not 1 <= self.order <= 20:
            raise InputError(
                "wrong order", where="band_pass", expected="a whole number from 1 to 20", found=repr(self.order)
            )


def band_pass(samples: NDArray[np.float64], *, sample_rate: int, settings: BandPassSettings) -> NDArray[np.float64]:
    """Filter along time (causal, as a hearing aid must).

    Parameters
    ----------
    samples : array of shape (n_samples,) or (n_samples, n_channels)
    sample_rate : int
        In Hz.

    Raises
    ------
    InputError
        An edge at or above half the sample rate.
    """
    nyquist_hz = sample_rate / 2
    if settings.high_hz >= nyquist_hz:
        raise InputError(
            "upper edge is not below Nyquist",
            where="band_pass",
            expected=f"high_hz below {nyquist_hz:g} Hz (half of {sample_rate} Hz)",
            found=f"{settings.high_hz:g} Hz",
        )
    sections = scipy.signal.butter(
        settings.order, (settings.low_hz, settings.high_hz), btype="bandpass", fs=sample_rate, output="sos"
    )
    return scipy.signal.sosfilt(sections, np.asarray(samples, dtype=np.float64), axis=0)
