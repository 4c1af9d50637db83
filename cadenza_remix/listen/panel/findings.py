"""What was found and what cannot be said, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cadenza_remix.listen.panel.haaqi_correlation import FEWEST_POINTS, WITHIN
from cadenza_remix.listen.panel.paired_tests import binomial_p, fewest_assessors, sign_flip_p
from cadenza_remix.listen.panel.screening import post_screen
from cadenza_remix.report.statistics import FEW_CLUSTERS

if TYPE_CHECKING:
    from cadenza_remix.listen.panel.analysis import Analysis

ALPHA = 0.05
"""What Holm's p-value must be below for a difference to be told as found."""

_MOST_IN_WORDS = 18
"""Of more tests than this (three systems on six scales) only their number is told in words."""


def findings(analysis: Analysis) -> list[str]:
    """Return short sentences: who answered, what differs, what does not, and what these answers cannot tell."""
    return [
        *_answered(analysis),
        *_screened(analysis),
        *_differences(analysis),
        *_preferences(analysis),
        *_sides(analysis),
        *_consistency(analysis),
        *_agreement(analysis),
        *_limits(analysis),
    ]


def shown_p(p: float) -> str:
    """Return a p-value for a sentence.

    Examples
    --------
    >>> shown_p(0.0312), shown_p(0.00005)
    ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _answered(analysis: Analysis) -> Iterator[str]:
    answers = analysis.answers
    n_songs = answers.ratings["song"].nunique()
    is_are = "is" if answers.n_open == 1 else "are"
    unfinished = f"; {_many(answers.n_open, 'trial')} {is_are} not answered yet" if answers.n_open else ""
    yield (
        f"{_many(analysis.screening.n_assessors, 'assessor')} of {answers.n_participants} answered "
        f"{_many(answers.n_trials, 'trial')} on {_many(n_songs, 'song')}{unfinished}."
    )


def _screened(analysis: Analysis) -> Iterator[str]:
    screening = analysis.screening
    if analysis.answers.type != "mushra":
        return
    if not screening.is_done:
        yield "Nobody was excluded: post-screening was switched off."
        for entry in post_screen(analysis.answers).excluded:
            yield f"It would have excluded (ITU-R BS.1534-3): {entry.sentence}."
        return
    if not screening.excluded:
        yield "Post-screening (ITU-R BS.1534-3) excluded nobody."
    for entry in screening.excluded:
        yield f"Excluded (ITU-R BS.1534-3): {entry.sentence}."
    if screening.inaudible_anchor:
        yield (
            f"More than 25 % rated the 7 kHz anchor above 90 for {_many(len(screening.inaudible_anchor), 'song')}: "
            "it hardly differs there, and nobody is excluded for it."
        )


def _differences(analysis: Analysis) -> Iterator[str]:
    rows = sorted(analysis.tests.to_dict("records"), key=lambda row: analysis.answers.scales.index(row["scale"]))
    found = [row for row in rows if row["p_holm"] < ALPHA]
    if len(rows) > _MOST_IN_WORDS:
        yield (
            f"{len(found)} of {len(rows)} differences between systems were found (p below {ALPHA:g} with Holm's "
            "correction); of the others nothing can be said. They stand in tests.csv."
        )
        return
    for row in found:
        higher, lower = (row["system"], row["other"]) if row["difference"] > 0 else (row["other"], row["system"])
        said = f"{_scale(analysis, row)}: {higher} was rated {abs(row['difference']):.1f} points higher than {lower}"
        if row["low"] <= 0 <= row["high"]:
            but = "; with other songs it may be otherwise: the interval holds 0"
            yield f"{said}, {shown_p(row['p_holm'])}{but}."
        else:
            low, high = sorted((abs(row["low"]), abs(row["high"])))
            interval = f"95 % interval {_ends({'low': low, 'high': high}, '.1f')}"
            yield f"{said} ({interval}), {shown_p(row['p_holm'])}."
    alike: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["p_holm"] >= ALPHA:
            difference = f"{row['difference']:+.1f} points, 95 % interval {_ends(row, '+.1f')}"
            alike.setdefault((row["system"], row["other"]), []).append(f"{_scale(analysis, row)} ({difference})")
    for (system, other), scales in alike.items():
        yield f"{system} and {other} cannot be told apart: {'; '.join(scales)}. That does not show that they are alike."


def _preferences(analysis: Analysis) -> Iterator[str]:
    table = analysis.preference
    is_ab = analysis.answers.type == "ab"
    for row in table[table["factor"] == "all"].to_dict("records"):
        ties = f", {_many(row['n_ties'], 'tie')} as half" if row["n_ties"] else ""
        said = "was preferred to" if is_ab else "was rated above"
        scale = "" if is_ab else f"{_scale(analysis, row)}: "
        if row["p_holm"] >= ALPHA:
            found = "; that may be chance"
        else:
            found = "; with other songs it may be otherwise" if row["low"] <= 0.5 <= row["high"] else ""
        yield (
            f"{scale}{row['system']} {said} {row['against']} in {100 * row['share']:.0f} % "
            f"(95 % interval {_ends(row, '.0f', percent=True)}{ties}), {shown_p(row['p_holm'])}{found}."
        )


def _sides(analysis: Analysis) -> Iterator[str]:
    """Whether people choose a side whatever is behind it. Both systems stand on both sides: neither gains by it."""
    if analysis.answers.type != "ab":
        return
    ratings = analysis.ratings
    first = ratings[(ratings["label"] == ratings["label"].min()) & (ratings["value"] != 0.5)]
    if first.empty:
        return
    p = sign_flip_p(first["value"] - 0.5, first["participant"])
    tested = f"{shown_p(p)} over assessors"
    said = f"A was chosen in {100 * first['value'].mean():.0f} % of {_many(len(first), 'choice')}, {tested}"
    found = "people lean to one side, which blurs what they prefer" if p < ALPHA else "that may be chance"
    yield f"Whatever was behind it, {said}: {found}."
    for number, chosen in first.groupby("participant")["value"]:
        n_first, n = int(chosen.sum()), len(chosen)
        if binomial_p(n_first, n - n_first) < ALPHA:
            yield f"Participant {number} chose A in {n_first} of {n}: look at what else this person answered."


def _consistency(analysis: Analysis) -> Iterator[str]:
    for scale, rows in analysis.repeats.groupby("scale", sort=False):
        weights = rows["n_repeated"] / rows["n_repeated"].sum()
        who = _many(len(rows), "assessor")
        if analysis.answers.type == "ab":
            share = 100 * (rows["share_same"] * weights).sum()
            yield f"Asked more than once, {who} gave one and the same answer each time in {share:.0f} % of the cases."
        else:
            spread = float(((rows["sd_within"] ** 2 * weights).sum()) ** 0.5)
            name = analysis.answers.label(str(scale))
            yield f"Repeated ratings ({name}) of one assessor spread by {spread:.1f} points (SD, {who})."


def _agreement(analysis: Analysis) -> Iterator[str]:
    table = analysis.correlation
    if table is None:
        return
    for scale in dict.fromkeys(table["scale"]):
        rows = table[table["scale"] == scale].set_index("level")
        known = rows[rows["spearman"].notna()]
        if "all" not in known.index:
            n_points = int(rows["n_points"].get("all", 0))
            found = f"{n_points} of at least {FEWEST_POINTS} songs and listeners that were both rated and scored"
            if not n_points:
                found = (
                    "no system has a score for a song and listener that were rated: are these the test's results, with "
                    "the participants' listeners among them?"
                )
            yield f"{analysis.answers.label(str(scale))} and HAAQI: too few points to say anything ({found})."
            continue
        for level, words in (("all", "over all points"), (WITHIN, "between systems for one song and listener")):
            if level in known.index:
                row = known.loc[level]
                yield (
                    f"{analysis.answers.label(str(scale))} and HAAQI {words}: Spearman "
                    f"{row['spearman']:+.2f} (95 % interval {row['spearman_low']:+.2f} to "
                    f"{row['spearman_high']:+.2f}, {row['n_points']} points)."
                )


def _limits(analysis: Analysis) -> Iterator[str]:
    n_assessors, n_songs = (analysis.ratings[name].nunique() for name in ("participant", "song"))
    sizes = {"assessor": n_assessors, "song": n_songs}
    for name in (name for name, n in sizes.items() if n == 1):
        yield f"Only one {name}: nothing can be said of other {name}s."
    few = [_many(n, name) for name, n in sizes.items() if 1 < n < FEW_CLUSTERS]
    if few:
        yield f"Only {' and '.join(few)}: the intervals are narrower than they should be."
    tables = [n for n in (len(analysis.tests), int((analysis.preference["factor"] == "all").sum())) if n]
    needed = fewest_assessors(min(tables), ALPHA) if tables else 0
    if n_assessors < needed:
        yield f"With {_many(n_assessors, 'assessor')} no test can find anything: at least {needed} are needed."
    elif tables:
        yield "Tests ask whether other assessors would agree about these songs; intervals are for other songs too."


def _ends(row: dict[Any, Any], form: str, *, percent: bool = False) -> str:
    if row["low"] != row["low"]:
        return "not known"
    low, high = (100 * row[name] if percent else row[name] for name in ("low", "high"))
    return f"{low:{form}} to {high:{form}}{' %' if percent else ''}"


def _scale(analysis: Analysis, row: dict[Any, Any]) -> str:
    return analysis.answers.label(row["scale"])


def _many(n: int, name: str) -> str:
    return f"{n} {name}{'' if n == 1 else 's'}"
