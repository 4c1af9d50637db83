"""The only place where levels change their unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def db_to_lin(level_db: ArrayLike) -> NDArray[np.float64]:
    """Turn a level in dB into an amplitude ratio: ``10 ** (level_db / 20)``."""
    return np.power(10.0, np.asarray(level_db, dtype=np.float64) / 20.0)


def lin_to_db(gain_lin: ArrayLike) -> NDArray[np.float64]:
    """Turn an amplitude ratio into dB: ``20 * log10(gain_lin)``; zero gives minus infinity."""
    with np.errstate(divide="ignore"):
        return 20.0 * np.log10(np.asarray(gain_lin, dtype=np.float64))


def energy_ratio_db(numerator: float, denominator: float) -> float:
    """Return ``10 * log10(numerator / denominator)`` of two energies.

    A zero denominator gives plus infinity, a zero numerator minus infinity, two zeros NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(10.0 * np.log10(np.float64(numerator) / np.float64(denominator)))


def rms(samples: ArrayLike) -> float:
    """Return the root mean square of all samples; 0 for no samples."""
    values = np.asarray(samples)
    if values.size == 0:
        return 0.0
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def db_spl_of_full_scale(rms_lin: float, *, presentation_db_spl: float = 65.0) -> float:
    """Return the dB SPL that an RMS of 1 stands for when a signal of RMS ``rms_lin`` is presented at the given level.

    This is ``level1`` of HAAQI as the First Cadenza Challenge computes it. Silence gives plus infinity.
    """
    return float(presentation_db_spl - lin_to_db(rms_lin))
