"""Post-screening of MUSHRA assessors leaves out those whom ITU-R BS.1534-3 leaves out, and nobody else."""

import numpy as np
import pandas as pd
import pytest

from cadenza_remix.listen.panel.answer_table import RATING_COLUMNS, Answers
from cadenza_remix.listen.panel.screening import kept_ratings, post_screen
from cadenza_remix.listen.panel.simulated import Simulation, simulated_answers

QUALITY = {"hidden_reference": 100, "baseline": 60, "e016": 45, "anchor_7000": 40, "anchor_3500": 25}


def answers_of(reference, anchor=None, *, test_type="mushra"):
    """Return answers of a table: for each participant the ratings of the hidden reference (and of the 7 kHz anchor)."""
    rows = []
    for system, table in (("hidden_reference", reference), ("anchor_7000", anchor or {})):
        for number, values in table.items():
            for song, value in enumerate(values):
                rows.append((number, "L1", "mild", song + 1, f"song {song}", 0.0, 10.0, "A", system, "quality", value))
    ratings = pd.DataFrame([(*row, 20.0, 1) for row in rows], columns=list(RATING_COLUMNS))
    return Answers("test", test_type, None, {"quality": "Quality"}, ratings, len(reference), len(rows), 0)


def test_more_than_15_percent_of_the_items_below_90_excludes():
    few, many = [89.9] * 3 + [100.0] * 17, [89.9] * 4 + [100.0] * 16  # 15 % and 20 % of 20 items
    screening = post_screen(answers_of({1: few, 2: many, 3: [90.0] * 20}))
    assert [entry.participant for entry in screening.excluded] == [2]
    assert screening.excluded[0].reasons == ("hidden reference rated below 90 in 4 of 20 items (20 %)",)
    assert (screening.n_assessors, screening.n_kept, screening.is_done) == (3, 2, True)


def test_an_assessor_who_finds_the_7_khz_anchor_perfect_is_excluded():
    high = {number: [50.0] * 6 for number in range(1, 9)} | {9: [95.0] * 2 + [50.0] * 4}
    screening = post_screen(answers_of({number: [100.0] * 6 for number in high}, high))
    assert [entry.participant for entry in screening.excluded] == [9]
    assert "7 kHz anchor rated above 90 in 2 of 6 items" in screening.excluded[0].reasons[0]


def test_items_whose_anchor_many_find_perfect_exclude_nobody():
    """Two of six say so of the first song: more than 25 %; one of six of the second: that counts."""
    high = {number: [50.0] * 6 for number in range(1, 5)} | {
        5: [95.0, 50, 50, 50, 50, 50],
        6: [95.0, 95, 50, 50, 50, 50],
    }
    screening = post_screen(answers_of({number: [100.0] * 6 for number in high}, high))
    assert screening.inaudible_anchor == ("song 0",)
    assert [entry.participant for entry in screening.excluded] == [6]
    assert "1 of 5 items (20 %)" in screening.excluded[0].reasons[0]


@pytest.mark.parametrize(("test_type", "wanted"), [("scales", True), ("mushra", False)])
def test_other_tests_and_no_screening_keep_everybody(test_type, wanted):
    screening = post_screen(answers_of({1: [10.0] * 5}, test_type=test_type), wanted=wanted)
    assert (screening.is_done, screening.excluded, screening.n_kept) == (False, (), 1)


def test_careless_raters_are_found_and_honest_ones_kept():
    for seed in range(20):
        simulation = Simulation(QUALITY, n_participants=16, n_songs=6, careless_share=0.25)
        answers = simulated_answers(simulation, np.random.default_rng(seed))
        screening = post_screen(answers)
        assert tuple(entry.participant for entry in screening.excluded) == simulation.careless == (13, 14, 15, 16)
        assert set(kept_ratings(answers, screening)["participant"]) == set(range(1, 13))
