"""Does HAAQI say what listeners say? Correlations of mean ratings with scores, with bootstrap intervals.

A point is a song for a listener (an audiogram) in a system: the mean rating of all assessors with this audiogram, and
the mean of the eight HAAQI values. In A/B tests it is the share by which a system was preferred, and its HAAQI minus
that of the other one. Levels of the table:

- ``all``: over all points. Systems that differ much in both make it high, whatever HAAQI knows about a song;
- ``within song and listener``: with the mean over the systems taken off both: does HAAQI tell which system of this song
  suits this listener? (Not in A/B tests, where the difference has been taken already.)
- ``system``: over the points of one system: does HAAQI tell for which songs and listeners it is good?

Songs and listeners are resampled together (the pigeonhole bootstrap of `cadenza_remix.report.bootstrap`); Spearman's
coefficient takes the ranks anew in each resample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import InputError
from cadenza_remix.report.bootstrap import CONFIDENCE, SEED, draw_weights, expanded_tail

if TYPE_CHECKING:
    import pandas as pd

    from cadenza_remix.runs.finished import FinishedRun

CORRELATION_COLUMNS = (
    *("scale", "level", "n_points", "n_songs", "n_listeners"),
    *("pearson", "pearson_low", "pearson_high", "spearman", "spearman_low", "spearman_high"),
)
WITHIN = "within song and listener"
FEWEST_POINTS = 8
"""Of fewer points no coefficient is given: by chance alone it would often be beyond 0.7."""

N_RESAMPLES = 1000
_CHUNK = 32


def haaqi_of(runs: Iterable[FinishedRun]) -> dict[tuple[str, str, str], float]:
    """Return the mean of the eight HAAQI values by system, song and listener.

    A system is found by its run's name, and by ``<folder>/<name>``, which a test uses where two have one name.

    Raises
    ------
    InputError
        Two runs have one name.
    """
    scores: dict[tuple[str, str, str], float] = {}
    folders: dict[str, Path] = {}
    for run in runs:
        for name in {run.name, f"{run.folder.parent.name}/{run.folder.name}"}:
            if folders.setdefault(name, run.folder) != run.folder:
                raise InputError("two systems have one name", where=name, expected="a name for each")
            for pair, record in run.scored.items():
                scores[name, pair.song, pair.listener] = float(record.results["score"])
    return scores


def correlate(
    ratings: pd.DataFrame, haaqi: Mapping[tuple[str, str, str], float], *, against: str | None = None
) -> pd.DataFrame:
    """Return the correlations of ratings with HAAQI, columns `CORRELATION_COLUMNS`; NaN where there are too few points.

    Parameters
    ----------
    ratings : pandas.DataFrame
        Columns of `cadenza_remix.listen.panel.answer_table.RATING_COLUMNS`.
    haaqi : mapping of (system, song, listener) to float
    against : str, optional
        In A/B tests: the system against which the others were preferred.
    """
    import pandas as pd

    points = _points(ratings, haaqi, against)
    rows = []
    for scale in dict.fromkeys(ratings["scale"]):
        for level, part in _levels(points[points["scale"] == scale], is_ab=against is not None):
            rows.append({"scale": scale, "level": level, **_coefficients(part)})
    return pd.DataFrame(rows, columns=list(CORRELATION_COLUMNS))


def _points(ratings: pd.DataFrame, haaqi: Mapping[tuple[str, str, str], float], against: str | None) -> pd.DataFrame:
    """Return song, listener, system, scale, value (rating) and score (HAAQI) of what was both rated and scored."""
    if against is not None:
        opposite = ratings.loc[ratings["system"] == against, ["participant", "trial"]]
        ratings = ratings[ratings["system"] != against].merge(opposite, on=["participant", "trial"])
    key = ["song", "listener", "system", "scale"]
    points = ratings.groupby(key, sort=True)["value"].mean().reset_index()
    scores = []
    for song, listener, system in points[["song", "listener", "system"]].itertuples(index=False):
        score = haaqi.get((system, song, listener), np.nan)
        scores.append(score - haaqi.get((against, song, listener), np.nan) if against is not None else score)
    return points.assign(score=np.asarray(scores, dtype=np.float64)).dropna(subset=["score"])


def _levels(points: pd.DataFrame, *, is_ab: bool) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "all", points
    if not is_ab:
        groups = points.groupby(["song", "listener"])
        several = points[groups["system"].transform("size") > 1]
        means = several.groupby(["song", "listener"])[["value", "score"]].transform("mean")
        yield WITHIN, several.assign(value=several["value"] - means["value"], score=several["score"] - means["score"])
    for system, part in points.groupby("system", sort=True):
        yield str(system), part


def _coefficients(points: pd.DataFrame) -> dict[str, Any]:
    import pandas as pd

    songs, listeners = (pd.factorize(points[name], sort=True)[0] for name in ("song", "listener"))
    sizes = [len(np.unique(codes)) for codes in (songs, listeners)]
    found: dict[str, Any] = {"n_points": len(points), "n_songs": sizes[0], "n_listeners": sizes[1]}
    if len(points) < FEWEST_POINTS:
        return found
    values, scores = (points[[name]].to_numpy(dtype=np.float64) for name in ("value", "score"))
    once = np.ones((len(points), 1))
    for name, coefficient in (("pearson", weighted_pearson), ("spearman", weighted_spearman)):
        found[name] = float(coefficient(values, scores, once)[0])
        if max(sizes) > 1:
            drawn = np.concatenate(
                [coefficient(values, scores, weights) for weights in _resampled(songs, listeners, sizes)]
            )
            drawn = drawn[np.isfinite(drawn)]
            tail = expanded_tail(CONFIDENCE, min(size for size in sizes if size > 1))
            if len(drawn):
                found[f"{name}_low"], found[f"{name}_high"] = np.quantile(drawn, [tail, 1 - tail])
    return found


def _resampled(songs: NDArray[Any], listeners: NDArray[Any], sizes: list[int]) -> Iterator[NDArray[np.float64]]:
    """Yield how often each point is drawn, (n_points, some resamples): part by part, that bounds the memory."""
    of_songs, of_listeners = draw_weights(*sizes, n_resamples=N_RESAMPLES, seed=SEED)
    for begin in range(0, N_RESAMPLES, _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        yield of_songs[rows].T[songs] * of_listeners[rows].T[listeners]


def weighted_pearson(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the correlation in each resample, shape (n_resamples,), where point i counts ``weights[i]`` times.

    ``weights`` have the shape (n_points, n_resamples), ``x`` and ``y`` the same or (n_points, 1). NaN where one of the
    two does not vary.
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)  # near the weighted means: little is lost in the sums of squares
    total = np.maximum(weights.sum(axis=0), 1e-300)
    sum_x, sum_y = ((weights * values).sum(axis=0) for values in (x, y))
    power_x, power_y, product = (
        (weights * one * two).sum(axis=0) - sum_one * sum_two / total
        for one, two, sum_one, sum_two in ((x, x, sum_x, sum_x), (y, y, sum_y, sum_y), (x, y, sum_x, sum_y))
    )
    least = [1e-12 * total * np.max(values**2, axis=0, initial=1e-300) for values in (x, y)]
    varies = (power_x > least[0]) & (power_y > least[1])
    return np.where(varies, product / np.sqrt(np.where(varies, power_x * power_y, 1.0)), np.nan)


def weighted_spearman(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the correlation of the ranks in each resample; ``x`` and ``y`` have the shape (n_points, 1)."""
    return weighted_pearson(weighted_ranks(x[:, 0], weights), weighted_ranks(y[:, 0], weights), weights)


def weighted_ranks(x: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean rank of each point in each resample, as if it stood there as often as it weighs.

    Examples
    --------
    >>> weighted_ranks(np.array([3.0, 1.0, 1.0]), np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 0.0]]))
    array([[3. , 3. ],
           [1.5, 1.5],
           [1.5, 1.5]])
    """
    distinct, place = np.unique(x, return_inverse=True)
    order = np.argsort(place, kind="stable")
    begins = np.searchsorted(place[order], np.arange(len(distinct)))
    sums = np.add.reduceat(weights[order], begins, axis=0)
    below = np.cumsum(sums, axis=0) - sums
    return np.asarray((below + (sums + 1) / 2)[place])
