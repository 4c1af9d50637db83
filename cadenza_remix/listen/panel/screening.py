"""Post-screening of assessors as Recommendation ITU-R BS.1534-3 (10/2015) has it, section 4.1.2.

An assessor's answers are left out where

- the hidden reference was rated below 90 in more than 15 % of the items, or
- the mid-range anchor (low-pass at 7 kHz) was rated above 90 in more than 15 % of the items. An item of which more than
  25 % of the assessors say so does not count here: the anchor may hardly differ from it.

An item is a confirmed trial that was not for training; the 25 % are counted by song. Both rules assume that the hidden
reference can be told from the rest: the second one asks the impossible of people who do not hear above 7 kHz, unless
there are enough of them for the 25 %. So who was excluded is always told, and nobody has to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cadenza_remix.listen.panel.answer_table import MID_ANCHOR, Answers
from cadenza_remix.listen.panel.config import HIDDEN_REFERENCE

if TYPE_CHECKING:
    import pandas as pd

LIMIT = 90.0
MOST_ITEMS_PERCENT = 15
MOST_ASSESSORS = 0.25


@dataclass(frozen=True)
class Exclusion:
    """Why a participant's answers are left out: one reason for each rule, in words."""

    participant: int
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Who, and why."""
        return f"participant {self.participant}, {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Screening:
    """What post-screening found.

    ``is_done``: whether the rules were applied (only in MUSHRA tests, and where nobody said not to); ``excluded``: by
    number; ``n_assessors``: of how many with confirmed answers; ``inaudible_anchor``: songs that do not count for the
    second rule.
    """

    is_done: bool
    excluded: tuple[Exclusion, ...]
    n_assessors: int
    inaudible_anchor: tuple[str, ...] = ()

    @property
    def n_kept(self) -> int:
        return self.n_assessors - len(self.excluded)


def post_screen(answers: Answers, *, wanted: bool = True) -> Screening:
    """Find the assessors whose answers BS.1534-3 leaves out.

    Parameters
    ----------
    answers : Answers
        Of any type of test; the rules are for MUSHRA alone, and in other tests everybody is kept.
    wanted : bool
        False keeps everybody.
    """
    people = sorted(int(number) for number in answers.ratings["participant"].unique())
    if answers.type != "mushra" or not wanted:
        return Screening(False, (), len(people))
    reference = _rated(answers.ratings, HIDDEN_REFERENCE)
    anchor = _rated(answers.ratings, MID_ANCHOR)
    said_high = anchor.assign(high=anchor["value"] > LIMIT).groupby(["song", "participant"])["high"].any()
    share_high = said_high.groupby(level="song").mean()
    inaudible = tuple(str(song) for song in share_high[share_high > MOST_ASSESSORS].index)
    anchor = anchor[~anchor["song"].isin(inaudible)]
    excluded = []
    for number in people:
        reasons = [
            *_reason(reference, number, below=True, what="hidden reference"),
            *_reason(anchor, number, below=False, what="7 kHz anchor"),
        ]
        if reasons:
            excluded.append(Exclusion(number, tuple(reasons)))
    return Screening(True, tuple(excluded), len(people), inaudible)


def kept_ratings(answers: Answers, screening: Screening) -> pd.DataFrame:
    """Return the ratings of those who were not excluded."""
    left_out = [entry.participant for entry in screening.excluded]
    return answers.ratings[~answers.ratings["participant"].isin(left_out)].reset_index(drop=True)


def _rated(ratings: pd.DataFrame, system: str) -> pd.DataFrame:
    return ratings.loc[ratings["system"] == system, ["participant", "song", "trial", "value"]]


def _reason(rated: pd.DataFrame, number: int, *, below: bool, what: str) -> list[str]:
    values = rated.loc[rated["participant"] == number, "value"]
    if values.empty:
        return []
    n_wrong = int((values < LIMIT).sum() if below else (values > LIMIT).sum())
    if 100 * n_wrong <= MOST_ITEMS_PERCENT * len(values):
        return []
    side = "below" if below else "above"
    return [f"{what} rated {side} {LIMIT:g} in {n_wrong} of {len(values)} items ({100 * n_wrong / len(values):.0f} %)"]
