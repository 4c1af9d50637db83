"""How often the analysis of a listening test is right, and how much it finds: simulated tests of known answers.

    python evaluation/listening_test_power.py [--n 150] > evaluation/results/listening_test_power.md

Scales: three systems ``a``, ``b``, ``c`` with true ratings 55, 50, 50. A/B: ``a`` is preferred to ``b`` with a
probability of 0.65. In a second simulation of each size all are alike. Seeded: equal ``--n``, equal tables.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from cadenza_remix.listen.panel.analysis import Analysis, analyse
from cadenza_remix.listen.panel.findings import ALPHA
from cadenza_remix.listen.panel.simulated import Simulation, simulated_answers

SIZES = ((6, 4), (8, 8), (12, 6), (20, 10))
"""Assessors and songs."""
SEED = 20_261_121
DIFFERENCE = 5.0
RATED = Simulation({"a": 50.0 + DIFFERENCE, "b": 50.0, "c": 50.0}, type="scales", severities=("mild",))
SHARE = 0.65
CHOSEN = Simulation({"a": SHARE}, type="ab", against="b", severities=("mild",))


def analyses(simulation: Simulation, *, size: tuple[int, int], n: int) -> list[Analysis]:
    """Return the analyses of ``n`` simulated tests of so many assessors and songs."""
    n_assessors, n_songs = size
    of_size = dataclasses.replace(simulation, n_participants=n_assessors, n_songs=n_songs)
    return [analyse(simulated_answers(of_size, np.random.default_rng([SEED, *size, test]))) for test in range(n)]


def held(analysis: Analysis, table: str, truth: float, **where: str) -> bool:
    """Tell whether the interval in the one row of a table that is so held the truth."""
    rows = getattr(analysis, table)
    for column, value in where.items():
        rows = rows[rows[column] == value]
    (row,) = rows.to_dict("records")
    return bool(row["low"] <= truth <= row["high"])


def any_found(analysis: Analysis) -> bool:
    """Tell whether any system was found to differ from another one."""
    p_values = [*analysis.tests["p_holm"], *analysis.preference["p_holm"]]
    return bool(np.nanmin(p_values) < ALPHA)


def found(analysis: Analysis) -> bool:
    """Tell whether ``a`` was found to differ from ``b``."""
    table = analysis.preference if len(analysis.preference) else analysis.tests
    return bool(table.iloc[0]["p_holm"] < ALPHA)


def percent(answers: list[bool]) -> str:
    """Return how many of the answers are yes."""
    return f"{100 * np.mean(answers):.0f}"


def rated_row(size: tuple[int, int], n: int) -> list[str]:
    """Return what holds of tests with ratings."""
    differ = analyses(RATED, size=size, n=n)
    alike = dataclasses.replace(RATED, quality=dict.fromkeys("abc", 50.0))
    return [
        percent([held(one, "means", 50.0 + DIFFERENCE, system="a", factor="all") for one in differ]),
        percent([held(one, "tests", DIFFERENCE, system="a", other="b") for one in differ]),
        percent([any_found(one) for one in analyses(dataclasses.replace(alike, song_sd=0.0), size=size, n=n)]),
        percent([any_found(one) for one in analyses(alike, size=size, n=n)]),
        percent([found(one) for one in differ]),
    ]


def chosen_row(size: tuple[int, int], n: int) -> list[str]:
    """Return what holds of A/B tests."""
    differ = analyses(CHOSEN, size=size, n=n)
    alike = dataclasses.replace(CHOSEN, quality={"a": 0.5})
    return [
        percent([held(one, "preference", SHARE, factor="all") for one in differ]),
        percent([any_found(one) for one in analyses(alike, size=size, n=n)]),
        percent([found(one) for one in differ]),
    ]


RATED_COLUMNS = (
    "interval holds the mean",
    "interval holds the difference",
    "false finding, alike on these songs",
    "false finding, alike over all songs",
    "the difference is found",
)
CHOSEN_COLUMNS = ("interval holds the share", "false finding", "the preference is found")


def print_table(columns: Sequence[str], row_of: Callable[[tuple[int, int], int], list[str]], *, n: int) -> None:
    """Print a row for each size."""
    print("\n| assessors x songs |", " | ".join(columns), "|")
    print("|---|" + "---:|" * len(columns))
    for size in SIZES:
        print(f"| {size[0]} x {size[1]} |", " | ".join(row_of(size, n)), "|", flush=True)


HEAD = """\
# What a listening test of some size finds

Of {n} simulated tests each, in %, made by `evaluation/listening_test_power.py --n {n}`. By chance a number may be
{middle} off near 50 %, {end} off near 5 or 95 %. An interval should hold the truth in 95 %; a false finding (any
p-value below {alpha:g} after Holm's correction where no systems differ) should come in at most 5 %.

## Ratings

Three systems, one of them {difference:g} points better than the others. Standard deviations: of one rating
{noise:g} points, of people's tastes 4, of systems over songs {songs:g}. Tests take the songs as given: systems that are
alike over all songs may well differ on a few.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=150, help="simulated tests for each number")
    n = parser.parse_args().n
    middle, end = (f"{196 * np.sqrt(share * (1 - share) / n):.0f}" for share in (0.5, 0.05))
    values = {"alpha": ALPHA, "difference": DIFFERENCE, "noise": RATED.noise_sd, "songs": RATED.song_sd}
    print(HEAD.format(n=n, middle=middle, end=end, **values), end="")
    print_table(RATED_COLUMNS, rated_row, n=n)
    print(
        f"\n## Preference\n\nOne system is preferred in {100 * SHARE:g} %; standard deviation of people's tastes 10 %."
    )
    print_table(CHOSEN_COLUMNS, chosen_row, n=n)


if __name__ == "__main__":
    main()
