"""HAAQI, the Hearing-Aid Audio Quality Index, version 1.

Kates & Arehart (2016), "The hearing-aid audio quality index (HAAQI)", IEEE/ACM Trans. Audio, Speech, Lang. Process.
24(2), doi:10.1109/TASLP.2015.2507858. The score is that of pyclarity 0.9.0 (``clarity.evaluator.haaqi``) for the same
noise, to about 1e-8; ``evaluation/parity/haaqi.py`` shows it.

Conventions
-----------
- One ear at a time: signals are one-dimensional; reference and processed may have different sample rates and lengths.
- ``level1_db_spl`` is the dB SPL of a signal whose RMS is 1.
- The model adds noise at the threshold of hearing. ``noise="legacy"``, the default, draws it from NumPy's global legacy
  generator, as pyclarity does, and leaves that generator as pyclarity would; a ``numpy.random.RandomState`` given as
  ``rng`` is used in the same way. The score varies with the noise: from seed to seed with a standard deviation of 1e-10
  to 2e-4 for 2 s (most where the processed signal falls silent and the reference does not). ``noise="fixed"`` takes
  the same noise for every score, from a pool made from a fixed seed: quicker, and equal signals get equal scores
  whatever was scored before. It is one more draw, in which no bias was found: at most 1.1e-4 from the mean of 40 seeds
  in 22 cases, in which the seeds range over up to 7.5e-4 (``evaluation/noise_modes.py``).
- Sample rates count in whole kHz, as the metric defines it (44.1 kHz is resampled as 44 kHz).

Where we differ from pyclarity: a silent reference has an answer (see ``haaqi``); NaN, empty, too short or
two-dimensional signals are one clear error.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import ArrayLike

from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.metrics.haaqi_input import ClarityAudiogram, Noise, checked_number
from cadenza_remix.metrics.haaqi_reference import HaaqiReference
from cadenza_remix.metrics.haaqi_result import HaaqiResult

logger = logging.getLogger(__name__)


def haaqi(
    reference: ArrayLike,
    processed: ArrayLike,
    *,
    audiogram: Audiogram | ClarityAudiogram,
    sample_rate: float | None = None,
    reference_sample_rate: float | None = None,
    processed_sample_rate: float | None = None,
    equalisation: int = 1,
    level1_db_spl: float = 65.0,
    noise: Noise = "legacy",
    rng: np.random.RandomState | None = None,
) -> HaaqiResult:
    """Score how good a processed signal sounds to one ear, compared with a reference.

    Parameters
    ----------
    reference, processed : arrays of shape (n_samples,)
        Compared over the shorter of the two, aligned, from the first to the last sample at which the reference is
        within 60 dB of its peak; that must be at least 384 samples (16 ms) at 24 kHz.
    audiogram : Audiogram
        Ours, or pyclarity's.
    sample_rate : float
        In Hz, of both; or give ``reference_sample_rate`` and ``processed_sample_rate``.
    equalisation : {1, 2, 0}
        1: NAL-R is added to the reference here, the processed signal carries its own. 2: it is in the reference
        already. 0: the reference is heard by a normal ear.
    level1_db_spl : float
        dB SPL of a signal whose RMS is 1. CAD1 takes 65 - 20 log10(rms(reference)).
    noise : {"legacy", "fixed"}
        ``legacy`` draws the threshold's noise as pyclarity does; ``fixed`` takes the same noise every time.
    rng : numpy.random.RandomState, optional
        Where legacy noise comes from; None is NumPy's global legacy generator. Fixed noise takes none.

    Returns
    -------
    HaaqiResult
        A silent reference (all zeros) scores 1.0 when the processed signal is silent too and 0.0 otherwise, without
        drawing noise. A silent processed signal is scored like any other (about 0.06 to 0.08).

    Raises
    ------
    InputError
        Wrong shape, no samples, NaN or infinity, too short; wrong rate, audiogram, equalisation, level, noise or
        generator.

    Examples
    --------
    >>> ear = Audiogram([250, 500, 1000, 2000, 4000, 6000], [10, 15, 20, 30, 45, 50])
    >>> music = np.random.RandomState(1).standard_normal(24000) * 0.05
    >>> result = haaqi(music, music, audiogram=ear, sample_rate=24000, equalisation=2, rng=np.random.RandomState(2))
    >>> round(result.score, 2)
    1.0
    """
    prepared = HaaqiReference(
        reference,
        _one_rate("reference", reference_sample_rate, sample_rate),
        audiogram=audiogram,
        equalisation=equalisation,
        level1_db_spl=level1_db_spl,
        noise=noise,
    )
    return prepared.score(processed, _one_rate("processed", processed_sample_rate, sample_rate), rng=rng)


def compute_haaqi(
    processed_signal: ArrayLike,
    reference_signal: ArrayLike,
    processed_sample_rate: float,
    reference_sample_rate: float,
    audiogram: Audiogram | ClarityAudiogram,
    equalisation: int = 1,
    level1: float = 65.0,
    *,
    noise: Noise = "legacy",
    rng: np.random.RandomState | None = None,
) -> float:
    """Score as ``clarity.evaluator.haaqi.compute_haaqi`` does: its name, its order of arguments, its answer.

    Two empty signals score 1.0; an empty reference with a processed signal scores 0.0 and is logged as an error, as
    there. Everything else as in ``haaqi``.
    """
    if np.size(reference_signal) == 0:
        if np.size(processed_signal) == 0:
            return 1.0
        logger.error("the reference is empty and the processed signal is not: HAAQI set to 0")
        return 0.0
    return haaqi(
        reference_signal,
        processed_signal,
        audiogram=audiogram,
        reference_sample_rate=reference_sample_rate,
        processed_sample_rate=processed_sample_rate,
        equalisation=equalisation,
        level1_db_spl=level1,
        noise=noise,
        rng=rng,
    ).score


def _one_rate(which: str, own: float | None, common: float | None) -> float:
    if (own is None) == (common is None):
        raise InputError(
            f"give sample_rate or {which}_sample_rate", expected="one of them", found="none" if own is None else "both"
        )
    return checked_number(own if own is not None else common, f"sample rate of the {which}", "Hz")
