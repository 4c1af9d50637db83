"""Who computes HAAQI, and with which noise: one scorer for the eight channels of one pair.

``builtin`` is ours, ``clarity`` is pyclarity's own function (extra ``clarity``). The noise ``legacy`` is the
challenge's: NumPy's legacy generator, seeded once from the song's name. The noise ``fixed`` comes from a pool that is
the same for every score: faster, and the score of a channel does not depend on those before it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.signal import STEM_SAMPLE_RATE
from cadenza_remix.challenge.seeding import song_rng, song_seed
from cadenza_remix.errors import InputError, MissingDependencyError, unknown_name
from cadenza_remix.hearing.audiogram import Audiogram

SCORERS = ("builtin", "clarity")
NOISES = ("legacy", "fixed")

EarScorer = Callable[[NDArray[np.floating], NDArray[np.floating], Audiogram, float], float]
"""(processed, reference, audiogram, dB SPL of an RMS of 1) -> HAAQI; both signals (n_samples,) at 24 kHz."""


def check_scorer(scorer: str, noise: str) -> None:
    """Refuse unknown names, what does not go together, and a package that is not installed, before long work begins."""
    if scorer not in SCORERS:
        raise unknown_name("scorer", scorer, SCORERS)
    if noise not in NOISES:
        raise unknown_name("noise", noise, NOISES)
    if scorer == "clarity":
        if noise != "legacy":
            raise InputError("this noise is not pyclarity's", where="scorer clarity", expected="legacy", found=noise)
        _clarity_haaqi()


def ear_scorer(song: str, *, scorer: str = "builtin", noise: str = "legacy") -> EarScorer:
    """Return a scorer for one pair of this song, in the state in which the challenge begins a pair.

    With the noise ``legacy`` each call moves the generator on: use it for the eight channels in the order of
    :data:`cadenza_remix.challenge.pairs.SCORING_CHANNELS`. The scorer ``clarity`` seeds NumPy's global generator, as
    the challenge's own evaluator does: one pair at a time in a process.

    Raises
    ------
    InputError
        Unknown names; the noise ``fixed`` with the scorer ``clarity``.
    MissingDependencyError
        pyclarity is not installed.
    """
    check_scorer(scorer, noise)
    if scorer == "clarity":
        return _clarity_scorer(song)
    from cadenza_remix.metrics import compute_haaqi

    if noise == "fixed":
        return lambda processed, reference, audiogram, level1_db_spl: compute_haaqi(
            processed, reference, STEM_SAMPLE_RATE, STEM_SAMPLE_RATE, audiogram, 1, level1_db_spl, noise="fixed"
        )
    rng = song_rng(song)
    return lambda processed, reference, audiogram, level1_db_spl: compute_haaqi(
        processed, reference, STEM_SAMPLE_RATE, STEM_SAMPLE_RATE, audiogram, 1, level1_db_spl, rng=rng
    )


def _clarity_scorer(song: str) -> EarScorer:
    compute_haaqi = _clarity_haaqi()
    from clarity.utils.audiogram import Audiogram as ClarityAudiogram

    np.random.seed(song_seed(song))  # noqa: NPY002  what pyclarity draws from

    def score(
        processed: NDArray[np.floating],
        reference: NDArray[np.floating],
        audiogram: Audiogram,
        level1_db_spl: float,
    ) -> float:
        theirs = ClarityAudiogram(levels=audiogram.levels_db_hl, frequencies=audiogram.frequencies_hz)
        return float(compute_haaqi(processed, reference, STEM_SAMPLE_RATE, STEM_SAMPLE_RATE, theirs, 1, level1_db_spl))

    return score


def _clarity_haaqi() -> Callable[..., float]:
    try:
        from clarity.evaluator.haaqi import compute_haaqi
    except ImportError as error:
        raise MissingDependencyError(
            "scorer clarity: expected the package pyclarity, found none (pip install 'cadenza-remix[clarity]')"
        ) from error
    return compute_haaqi
