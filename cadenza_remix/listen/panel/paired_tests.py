"""Tests that need no normal distribution: sign flips of whole assessors, exact binomial, Holm's correction.

The test of a difference flips signs (Fisher's permutation test for pairs): if two systems are alike, an assessor might
as well have given the ratings of each to the other. All differences of an assessor are flipped together, as they are
not independent. With up to `MOST_EXACT` assessors all flips are tried; with more, `N_FLIPS` random ones, and the
p-value counts the observed one among them (Phipson & Smyth, Statistical Applications in Genetics and Molecular Biology
9(1), 2010), so that it is never 0. Unlike Wilcoxon's test it is about the mean difference that is told beside it.

The songs are taken as given here: the test says whether other assessors of this kind would agree on these songs. The
intervals resample the songs too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

N_FLIPS = 20_000
MOST_EXACT = 14
SEED = 20_151_001
_CHUNK = 2000


def sign_flip_p(differences: ArrayLike, assessors: ArrayLike, *, n_flips: int = N_FLIPS, seed: int = SEED) -> float:
    """Return the two-sided p-value of a mean difference.

    Parameters
    ----------
    differences : array of shape (n,)
        This system minus the other one, finite.
    assessors : array of shape (n,)
        Who each is from.
    n_flips : int
        How many random flips, where there are too many for all of them.
    seed : int
        Equal seeds and data give equal values.

    Examples
    --------
    >>> sign_flip_p([1, 2, 1, 3, 2, 1], [1, 2, 3, 4, 5, 6])  # all one way: 2 of 2**6 flips
    0.03125
    """
    _, person = np.unique(np.asarray(assessors), return_inverse=True)
    sums = np.bincount(person, weights=np.asarray(differences, dtype=np.float64))
    sums = sums[sums != 0]  # flipping them changes nothing
    if not len(sums):
        return 1.0
    observed = abs(sums.sum()) * (1 - 1e-12)  # sums of floats in another order differ in the last digits
    if len(sums) <= MOST_EXACT:
        return float(np.mean(np.abs(_all_signs(len(sums)) @ sums) >= observed))
    rng = np.random.default_rng(seed)
    n_reached = 0
    for begin in range(0, n_flips, _CHUNK):
        signs = 2.0 * rng.integers(0, 2, size=(min(_CHUNK, n_flips - begin), len(sums))) - 1.0
        n_reached += int(np.sum(np.abs(signs @ sums) >= observed))
    return (n_reached + 1) / (n_flips + 1)


def binomial_p(n_for: int, n_against: int) -> float:
    """Return the two-sided exact p-value of a preference, every choice taken as independent; ties are left out.

    Examples
    --------
    >>> round(binomial_p(8, 2), 4)
    0.1094
    """
    from scipy.stats import binomtest

    if n_for + n_against == 0:
        return 1.0
    return float(binomtest(n_for, n_for + n_against, 0.5).pvalue)


def certain_share(n_assessors: int, *, confidence: float = 0.95) -> float:
    """Return how far from 0 (or 1) a share may be of which all of so many assessors said the same (Clopper & Pearson).

    Resampling answers that are all the same tells nothing about the spread; this counts each assessor once.

    Examples
    --------
    >>> round(certain_share(10), 3)
    0.308
    """
    return float(1.0 - ((1.0 - confidence) / 2.0) ** (1.0 / n_assessors))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected so that the chance of any false finding among them stays what each one says.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979. NaN
    (no test) stays NaN and does not count.

    Examples
    --------
    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    values = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(len(values), np.nan)
    order = [int(place) for place in np.argsort(values, kind="stable") if np.isfinite(values[place])]
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * values[place]))
        corrected[place] = highest
    return [float(value) for value in corrected]


def smallest_p(n_assessors: int) -> float:
    """Return the lowest p-value that so many assessors can give."""
    return max(2.0 ** (1 - n_assessors), 1 / (N_FLIPS + 1)) if n_assessors else 1.0


def fewest_assessors(n_tests: int, alpha: float) -> int:
    """Return how many assessors it takes for any of so many tests to fall below ``alpha``, corrected by `holm`.

    Examples
    --------
    >>> fewest_assessors(1, 0.05), fewest_assessors(3, 0.05), fewest_assessors(18, 0.05)
    (6, 7, 10)
    """
    enough = (n for n in range(2, MOST_EXACT + 2) if n_tests * smallest_p(n) < alpha)
    return next(enough, MOST_EXACT + 1)  # of still more tests random flips can find none, however many take part


def _all_signs(n: int) -> NDArray[np.float64]:
    """Return all 2**n rows of n signs."""
    return np.asarray(1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1), dtype=np.float64)
