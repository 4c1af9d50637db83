"""What a listening test says: means, paired differences, preferences, consistency, agreement with HAAQI.

A repeated rating of an assessor for a song is first averaged with the other ones, so that each assessor and song counts
once. Intervals resample assessors and songs together (`cadenza_remix.report.bootstrap`); p-values flip whole assessors
(`cadenza_remix.listen.panel.paired_tests`) and are corrected by Holm over all tests of a table.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.severity import GRADES
from cadenza_remix.listen.panel.answer_table import Answers, is_control
from cadenza_remix.listen.panel.paired_tests import binomial_p, certain_share, holm, sign_flip_p
from cadenza_remix.listen.panel.screening import Screening, kept_ratings, post_screen
from cadenza_remix.report.bootstrap import cluster_interval

if TYPE_CHECKING:
    import pandas as pd

FACTORS = ("all", "song", "severity")
_COUNTS = ("n_assessors", "n_songs")
MEANS_COLUMNS = (
    *("scale", "system", "factor", "level", *_COUNTS, "n_ratings"),
    *("mean", "low", "high", "median", "quartile_1", "quartile_3"),
)
TESTS_COLUMNS = (
    *("scale", "system", "other", *_COUNTS, "n_pairs"),
    *("mean_system", "mean_other", "difference", "low", "high", "p", "p_holm"),
)
PREFERENCE_COLUMNS = (
    *("scale", "system", "against", "factor", "level", *_COUNTS),
    *("n_for", "n_ties", "n_against", "share", "low", "high", "p", "p_holm", "p_binomial"),
)
REPEATS_COLUMNS = ("participant", "scale", "n_repeated", "mean_difference", "sd_within", "share_same")

_CELL = ["participant", "severity", "song", "scale"]


@dataclass(frozen=True, eq=False)
class Analysis:
    """All that was found; columns of the tables are told at the top of this module and in docs.

    ``ratings``: those of the assessors who were kept; ``correlation``: None where no HAAQI was given.
    """

    answers: Answers
    screening: Screening
    against: str | None
    ratings: pd.DataFrame
    means: pd.DataFrame
    tests: pd.DataFrame
    preference: pd.DataFrame
    repeats: pd.DataFrame
    correlation: pd.DataFrame | None = None


def analyse(
    answers: Answers,
    *,
    screening: bool = True,
    against: str | None = None,
    haaqi: Mapping[tuple[str, str, str], float] | None = None,
) -> Analysis:
    """Analyse the answers of a test.

    Parameters
    ----------
    answers : Answers
        As `cadenza_remix.listen.panel.answer_table.read_answers` gives them.
    screening : bool
        Leave out assessors as BS.1534-3 says (MUSHRA only).
    against : str, optional
        The system that preference shares are against; what the settings of the test name by default.
    haaqi : mapping of (system, song, listener) to float, optional
        As `cadenza_remix.listen.panel.haaqi_correlation.haaqi_of` gives it.

    Raises
    ------
    InputError
        Unknown ``against``, or screening leaves nobody.
    """
    from cadenza_remix.listen.panel.haaqi_correlation import correlate

    against = _checked_against(answers, against)
    screened = post_screen(answers, wanted=screening)
    if not screened.n_kept:
        raise InputError(
            "post-screening leaves no assessor",
            expected="--no-screening, to keep all",
            found=f"{len(screened.excluded)} excluded, the first: {screened.excluded[0].sentence}",
        )
    ratings = kept_ratings(answers, screened)
    is_ab = answers.type == "ab"
    return Analysis(
        answers=answers,
        screening=screened,
        against=against,
        ratings=ratings,
        means=_frame([] if is_ab else _mean_rows(answers, ratings), MEANS_COLUMNS),
        tests=_with_holm(_frame([] if is_ab else _test_rows(answers, ratings), TESTS_COLUMNS)),
        preference=_with_holm(_frame(_preference_rows(answers, ratings, against), PREFERENCE_COLUMNS)),
        repeats=_frame(_repeat_rows(ratings, is_ab=is_ab), REPEATS_COLUMNS),
        correlation=correlate(ratings, haaqi, against=against if is_ab else None) if haaqi is not None else None,
    )


def paired_values(ratings: pd.DataFrame, this: str, other: str, *, by_trial: bool) -> pd.DataFrame:
    """Return what was said of two systems by the same assessor of the same song.

    Columns ``participant``, ``severity``, ``song``, ``scale``, ``this``, ``other``, ``difference``; a row for each
    trial (A/B), or for each assessor, song and scale with repeats averaged.
    """
    key = [*_CELL, "trial"] if by_trial else _CELL
    sides = [ratings[ratings["system"] == name].groupby(key, sort=True)["value"].mean() for name in (this, other)]
    joined = sides[0].rename("this").to_frame().join(sides[1].rename("other"), how="inner").reset_index()
    return joined.assign(difference=joined["this"] - joined["other"])


def cells_of(ratings: pd.DataFrame) -> pd.DataFrame:
    """Return mean ``value`` and number ``n`` of the ratings of each assessor, song, scale and system."""
    grouped = ratings.groupby([*_CELL, "system"], sort=True)["value"]
    return grouped.agg(value="mean", n="size").reset_index()


def grouped_by_factor(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield factor, level and rows of each group: all, each song, each severity from the least to the greatest."""
    yield "all", "all", table
    for factor in FACTORS[1:]:
        groups = dict(tuple(table.groupby(factor, sort=True)))
        for level in sorted(groups, key=lambda name: (_grade_rank(str(name)), str(name))):
            yield factor, str(level), groups[level]


def _mean_rows(answers: Answers, ratings: pd.DataFrame) -> Iterator[dict[str, Any]]:
    cells = dict(tuple(cells_of(ratings).groupby(["scale", "system"], sort=False)))
    for scale, system in itertools.product(answers.scales, answers.stimuli):
        if (scale, system) not in cells:
            continue
        for factor, level, rows in grouped_by_factor(cells[scale, system]):
            value = rows["value"].to_numpy(dtype=np.float64)
            quartile_1, median, quartile_3 = np.quantile(value, [0.25, 0.5, 0.75])
            yield {
                "scale": scale,
                "system": system,
                "factor": factor,
                "level": level,
                **_counts(rows),
                "n_ratings": int(rows["n"].sum()),
                "mean": value.mean(),
                **_interval(value, rows),
                "median": median,
                "quartile_1": quartile_1,
                "quartile_3": quartile_3,
            }


def _test_rows(answers: Answers, ratings: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for this, other in itertools.combinations(answers.systems, 2):
        pairs = paired_values(ratings, this, other, by_trial=False)
        for scale in answers.scales:
            rows = pairs[pairs["scale"] == scale]
            if rows.empty:
                continue
            difference = rows["difference"].to_numpy()
            yield {
                "scale": scale,
                "system": this,
                "other": other,
                **_counts(rows),
                "n_pairs": len(rows),
                "mean_system": rows["this"].mean(),
                "mean_other": rows["other"].mean(),
                "difference": difference.mean(),
                **_interval(difference, rows),
                "p": sign_flip_p(difference, rows["participant"]),
            }


def _preference_rows(answers: Answers, ratings: pd.DataFrame, against: str | None) -> Iterator[dict[str, Any]]:
    if against is None:
        return
    for system in answers.systems:
        if system == against:
            continue
        pairs = paired_values(ratings, system, against, by_trial=answers.type == "ab")
        for scale in answers.scales:
            part = pairs[pairs["scale"] == scale]
            if part.empty:
                continue
            choice = part.assign(preferred=(np.sign(part["difference"]) + 1) / 2)
            for factor, level, rows in grouped_by_factor(choice):
                names = {"scale": scale, "system": system, "against": against, "factor": factor, "level": level}
                yield {**names, **_share(rows, tested=factor == "all")}


def _share(rows: pd.DataFrame, *, tested: bool) -> dict[str, Any]:
    """Return how often one of two was preferred: a tie is half for each; repeats of an assessor count together."""
    n_for, n_ties = int((rows["preferred"] == 1).sum()), int((rows["preferred"] == 0.5).sum())
    n_against = len(rows) - n_for - n_ties
    cells = rows.groupby(_CELL, sort=True)["preferred"].mean().reset_index()
    value = cells["preferred"].to_numpy()
    return {
        **_counts(rows),
        "n_for": n_for,
        "n_ties": n_ties,
        "n_against": n_against,
        "share": value.mean(),
        **_share_interval(value, cells),
        "p": sign_flip_p(value - 0.5, cells["participant"]) if tested else np.nan,
        "p_binomial": binomial_p(n_for, n_against) if tested else np.nan,
    }


def _share_interval(value: NDArray[np.float64], cells: pd.DataFrame) -> dict[str, float]:
    if value.min() == value.max() and value[0] in (0.0, 1.0):
        reach = certain_share(cells["participant"].nunique())
        return {"low": 0.0, "high": reach} if value[0] == 0 else {"low": 1.0 - reach, "high": 1.0}
    return _interval(value, cells)


def _repeat_rows(ratings: pd.DataFrame, *, is_ab: bool) -> Iterator[dict[str, Any]]:
    """Yield how far each assessor agrees with themselves, over what they were asked more than once."""
    asked = ratings[~ratings["system"].map(is_control)]
    if is_ab:  # one answer a trial: about the first of the two names
        both = asked.groupby(["participant", "trial"])["system"]
        asked = asked.assign(pair=both.transform(lambda names: " ".join(sorted(names))))
        asked = asked[asked["system"] == both.transform("min")]
    key = ["participant", "scale", "song", "start_s", "system", *(["pair"] if is_ab else [])]
    groups = asked.groupby(key, sort=True, dropna=False)["value"].agg(["size", "var", "min", "max"]).reset_index()
    groups = groups[groups["size"] > 1].assign(same=lambda rows: rows["min"] == rows["max"])
    for (participant, scale), rows in groups.groupby(["participant", "scale"], sort=True):
        yield {
            "participant": participant,
            "scale": scale,
            "n_repeated": len(rows),
            "mean_difference": (rows["max"] - rows["min"]).mean(),
            "sd_within": float(np.sqrt(rows["var"].mean())),
            "share_same": rows["same"].mean(),
        }


def _checked_against(answers: Answers, against: str | None) -> str | None:
    if against is None:
        against = answers.against
        if against is None or against not in answers.systems:
            if answers.type == "ab":
                raise InputError("no system to compare with", expected="--against " + " or ".join(answers.systems))
            return None
    elif against not in answers.systems:
        raise unknown_name("system", against, answers.systems, where="--against")
    return against


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {"n_assessors": rows["participant"].nunique(), "n_songs": rows["song"].nunique()}


def _interval(values: NDArray[np.float64], rows: pd.DataFrame) -> dict[str, float]:
    import pandas as pd

    if values.min() == values.max():  # resampling what is all the same would give an interval of no width
        return {"low": np.nan, "high": np.nan}
    songs = pd.factorize(rows["song"], sort=True)[0]
    interval = cluster_interval(values, songs, rows["participant"])
    return {"low": interval.low, "high": interval.high}


def _with_holm(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(p_holm=holm(table["p"].to_list()))


def _frame(rows: Any, columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns))


def _grade_rank(name: str) -> int:
    return GRADES.index(name) if name in GRADES else len(GRADES)
