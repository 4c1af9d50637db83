"""An analysis finds what simulated raters had in mind, and nothing that they had not."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

from cadenza_remix.errors import InputError
from cadenza_remix.listen.panel.analysis import analyse, paired_values
from cadenza_remix.listen.panel.answer_table import read_answers
from cadenza_remix.listen.panel.findings import findings
from cadenza_remix.listen.panel.haaqi_correlation import WITHIN, weighted_pearson, weighted_spearman
from cadenza_remix.listen.panel.paired_tests import binomial_p, certain_share, holm, sign_flip_p, smallest_p
from cadenza_remix.listen.panel.simulated import Simulation, simulate, simulated_answers

MUSHRA = {
    "hidden_reference": 100.0,
    "baseline": 66.0,
    "e016": 54.0,
    "mixture": 44.0,
    "anchor_7000": 50.0,
    "anchor_3500": 25.0,
}


def analysis_of(simulation, seed, **options):
    return analyse(simulated_answers(simulation, np.random.default_rng(seed)), **options)


def over_all(table):
    return table[table["factor"] == "all"].set_index("system")


# the tests themselves


def test_holm_by_hand():
    # Sorted: 0.005 x 4 = 0.02, 0.01 x 3 = 0.03, 0.03 x 2 = 0.06, 0.04 x 1 = 0.04 -> not below the one before: 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    corrected = holm([0.02, float("nan"), 0.04])
    assert (corrected[0], corrected[2]) == (0.04, 0.04)
    assert np.isnan(corrected[1])
    assert holm([]) == []


def test_sign_flips_try_all_of_few_assessors():
    """Compared with all signs by hand; assessors count by their sums, those who say nothing change nothing."""
    differences, assessors = [3.0, 1.0, -2.0, 4.0, 0.0], [1, 1, 2, 3, 4]
    sums = [4.0, -2.0, 4.0]
    flipped = [abs(np.dot(signs, sums)) for signs in itertools.product((1, -1), repeat=3)]
    assert sign_flip_p(differences, assessors) == np.mean([total >= 6.0 for total in flipped]) == 0.5
    assert sign_flip_p([0.0, 0.0], [1, 2]) == 1.0
    assert sign_flip_p([5.0, 7.0], [1, 1]) == 1.0  # one assessor alone shows nothing
    assert sign_flip_p([1.0] * 6, range(6)) == smallest_p(6) == 2 / 2**6


def test_sign_flips_of_many_assessors_are_random_and_repeatable():
    rng = np.random.default_rng(1)
    values = rng.normal(0.5, 1.0, 20)
    p = sign_flip_p(values, range(20))
    assert p == sign_flip_p(values, range(20)) != sign_flip_p(values, range(20), seed=1)
    # The exact value, over all 2**20 flips.
    signs = 1.0 - 2.0 * ((np.arange(2**20)[:, None] >> np.arange(20)) & 1)
    exact = np.mean(np.abs(signs @ values) >= abs(values.sum()) - 1e-9)
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact / 20_000))
    assert sign_flip_p([1.0] * 40, range(40)) == 1 / 20_001


def test_binomial_and_the_share_of_the_unanimous():
    assert binomial_p(8, 2) == pytest.approx(2 * (45 + 10 + 1) / 1024)
    assert binomial_p(0, 0) == 1.0
    assert (1 - certain_share(10)) ** 10 == pytest.approx(0.025)


def test_weighted_correlations_are_those_of_repeated_points():
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 9, (2, 30)).astype(float)  # with ties
    weights = rng.integers(0, 4, (30, 6))
    for column, (pearson, spearman) in enumerate(
        zip(
            *(f(x[:, None], y[:, None], weights.astype(float)) for f in (weighted_pearson, weighted_spearman)),
            strict=True,
        )
    ):
        repeated = [np.repeat(values, weights[:, column]) for values in (x, y)]
        assert pearson == pytest.approx(pearsonr(*repeated)[0], abs=1e-12)
        assert spearman == pytest.approx(spearmanr(*repeated)[0], abs=1e-12)
    assert np.isnan(weighted_pearson(np.full((30, 1), 0.1), y[:, None], np.ones((30, 1)))).all()


# what was put in is found


def test_order_and_differences_of_systems_are_found():
    simulation = Simulation(MUSHRA, n_participants=20, n_songs=10, careless_share=0.2)
    analysis = analysis_of(simulation, 3, against="baseline")
    means = over_all(analysis.means)
    assert list(means["mean"].sort_values(ascending=False).index) == [
        *("hidden_reference", "baseline", "e016", "anchor_7000", "mixture", "anchor_3500")
    ]
    assert list(means["n_assessors"]) == [16] * 6
    assert list(means["n_ratings"]) == [160] * 6
    for system in ("baseline", "e016", "mixture", "anchor_3500"):
        assert means.loc[system, "low"] < MUSHRA[system] < means.loc[system, "high"]
        assert means.loc[system, "quartile_1"] < means.loc[system, "median"] < means.loc[system, "quartile_3"]
    assert len(analysis.tests) == 3  # pairs of systems; reference and anchors are not tested
    for row in analysis.tests.to_dict("records"):
        assert row["low"] < MUSHRA[row["system"]] - MUSHRA[row["other"]] < row["high"]
        assert row["p"] <= row["p_holm"] < 0.01
        assert row["difference"] == pytest.approx(row["mean_system"] - row["mean_other"])
    shares = over_all(analysis.preference)
    assert shares.loc["mixture", "share"] < shares.loc["e016", "share"] < 0.25
    text = " ".join(findings(analysis))
    assert "baseline was rated" in text
    assert "Excluded (ITU-R BS.1534-3): participant 17" in text


def test_careless_raters_spoil_what_screening_saves():
    simulation = Simulation(MUSHRA, n_participants=20, n_songs=8, careless_share=0.4)
    screened, everybody = (analysis_of(simulation, 4, screening=wanted) for wanted in (True, False))
    wrong = [
        abs(over_all(analysis.means)["mean"] - pd.Series(MUSHRA)).drop("hidden_reference").max()
        for analysis in (screened, everybody)
    ]
    assert wrong[0] < 6 < wrong[1]
    assert over_all(everybody.means)["n_assessors"].eq(20).all()


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    simulation = Simulation({"a": 55.0, "b": 45.0}, type="scales", n_participants=8, n_songs=8, severities=("mild",))
    held = []
    for seed in range(60):
        analysis = analysis_of(simulation, seed)
        row = analysis.tests.iloc[0]
        held.append(row["low"] < 10.0 < row["high"])
        held.append(*[mean["low"] < 55.0 < mean["high"] for _, mean in over_all(analysis.means).loc[["a"]].iterrows()])
    assert 0.88 <= np.mean(held) <= 1.0


def test_no_difference_is_seldom_found():
    """Three alike systems on two scales are six tests; any of them below 0.05 is a false finding."""
    simulation = Simulation(
        {"a": 50.0, "b": 50.0, "c": 50.0}, type="scales", scales=("quality", "clarity"), n_participants=10, n_songs=3,
        song_sd=0.0, severities=("mild",),
    )  # fmt: skip
    analyses = [analysis_of(simulation, seed) for seed in range(40)]
    assert all(len(analysis.tests) == 6 for analysis in analyses)
    n_false = sum((analysis.tests["p_holm"] < 0.05).any() for analysis in analyses)
    assert n_false <= 6  # of 40, at 5 % expected 2; 7 or more would come by chance in 0.3 % of such tests
    assert "cannot be told apart" in " ".join(findings(analyses[0]))


def test_a_preference_of_70_percent_is_found():
    simulation = Simulation(
        {"e016": 0.7, "mixture": 0.5}, type="ab", against="baseline", n_participants=24, n_songs=12, taste_sd=0.1
    )
    analysis = analysis_of(simulation, 5)
    shares = over_all(analysis.preference)
    assert shares.loc["e016", "low"] < 0.7 < shares.loc["e016", "high"]
    assert shares.loc["e016", "low"] > 0.5
    assert shares.loc["e016", "p_holm"] < 0.001 > shares.loc["e016", "p_binomial"]
    assert shares.loc["mixture", "low"] < 0.5 < shares.loc["mixture", "high"]
    assert shares.loc["mixture", "p_holm"] > 0.05
    assert len(analysis.means) == len(analysis.tests) == 0
    by_severity = analysis.preference[analysis.preference["factor"] == "severity"]
    assert list(by_severity["level"].unique()) == ["mild", "moderate", "moderately severe"]


def test_binomial_alone_finds_what_is_only_taste():
    """People who differ much, but not in the mean: choices taken as independent mislead, whole assessors do not."""
    simulation = Simulation(
        {"e016": 0.5}, type="ab", against="baseline", n_participants=10, n_songs=16, taste_sd=0.45, severities=("mild",)
    )
    rows = [over_all(analysis_of(simulation, seed).preference).loc["e016"] for seed in range(30)]
    assert np.mean([row["p_binomial"] < 0.05 for row in rows]) > 0.25
    assert np.mean([row["p"] < 0.05 for row in rows]) < 0.15


def test_ties_count_as_half():
    simulation = Simulation({"e016": 1.0}, type="ab", against="baseline", taste_sd=0.0, tie_share=0.4, repeats=2)
    row = over_all(analysis_of(simulation, 6).preference).loc["e016"]
    assert row["n_against"] == 0 < row["n_ties"]
    assert row["n_for"] + row["n_ties"] == 12 * 6 * 2
    assert row["share"] == pytest.approx((row["n_for"] + row["n_ties"] / 2) / 144)


def test_unanimous_choices_have_an_interval_of_some_width():
    simulation = Simulation({"e016": 1.0}, type="ab", against="baseline", taste_sd=0.0, n_participants=10)
    row = over_all(analysis_of(simulation, 6).preference).loc["e016"]
    assert (row["share"], row["high"]) == (1.0, 1.0)
    assert row["low"] == pytest.approx(0.025**0.1)


def test_preferences_can_be_seen_from_the_other_side():
    simulation = Simulation({"e016": 0.7}, type="ab", against="baseline")
    usual, turned = (analysis_of(simulation, 7, against=name) for name in (None, "e016"))
    assert over_all(usual.preference).loc["e016", "share"] == pytest.approx(
        1 - over_all(turned.preference).loc["baseline", "share"]
    )


def test_consistency_of_repeated_ratings_is_the_noise_that_was_put_in():
    simulation = Simulation(
        {"a": 50.0, "b": 45.0}, type="scales", n_participants=20, n_songs=8, repeats=3, noise_sd=5.0
    )
    analysis = analysis_of(simulation, 8)
    assert list(analysis.repeats["n_repeated"]) == [16] * 20
    assert np.sqrt(np.mean(analysis.repeats["sd_within"] ** 2)) == pytest.approx(5.0, rel=0.08)
    assert over_all(analysis.means)["n_ratings"].eq(20 * 8 * 3).all()
    sure = Simulation({"e016": 1.0}, type="ab", against="baseline", taste_sd=0.0, repeats=2)
    assert analysis_of(sure, 8).repeats["share_same"].eq(1.0).all()
    assert analysis_of(Simulation({"e016": 1.0}, type="ab", against="baseline"), 8).repeats.empty


def test_leaning_to_one_side_is_told_and_nothing_else_is_taken_for_it():
    answers = simulated_answers(Simulation({"e016": 0.7}, type="ab", against="baseline"), np.random.default_rng(4))
    said = next(line for line in findings(analyse(answers)) if line.startswith("Whatever was behind it, A was chosen"))
    assert said.endswith("that may be chance.")
    leaning = answers.ratings.assign(value=[float(label == "A") for label in answers.ratings["label"]])
    lean = dataclasses.replace(answers, ratings=leaning)
    n_trials = len(leaning) // 2
    told = f"A was chosen in 100 % of {n_trials} choices, p < 0.001 over assessors: people lean to one side"
    assert told in " ".join(findings(analyse(lean)))
    one = answers.ratings["participant"] == 3
    of_one = dataclasses.replace(answers, ratings=answers.ratings.assign(value=leaning["value"].where(one, 0.5)))
    n_pages = int(one.sum()) // 2
    told = f"Participant 3 chose A in {n_pages} of {n_pages}: look at what else this person answered."
    assert [line for line in findings(analyse(of_one)) if line.startswith("Participant")] == [told]
    undecided = dataclasses.replace(answers, ratings=leaning.assign(value=0.5))
    assert "A was chosen" not in " ".join(findings(analyse(undecided)))


# agreement with HAAQI


def test_haaqi_that_drives_quality_is_found_and_noise_is_not():
    rng = np.random.default_rng(9)
    systems = {"a": 50.0, "b": 50.0, "c": 50.0}
    plain = Simulation(systems, type="scales", n_participants=12, n_songs=8, person_sd=4.0, noise_sd=4.0)
    keys = [(s, song, plain.listener(n)) for s in systems for song in plain.songs for n in range(1, 13)]
    haaqi = {key: float(rng.uniform(0.2, 0.8)) for key in keys}
    driven = Simulation(
        systems, type="scales", n_participants=12, n_songs=8, person_sd=4.0, noise_sd=4.0,
        song_quality=lambda *key: 40.0 * (haaqi[key] - 0.5),
    )  # fmt: skip
    found, none = (analysis_of(s, 10, haaqi=haaqi).correlation.set_index("level") for s in (driven, plain))
    for level in ("all", WITHIN, "a", "b", "c"):
        for name in ("pearson", "spearman"):
            assert found.loc[level, name] > 0.5
            assert found.loc[level, f"{name}_low"] > 0
            assert none.loc[level, f"{name}_low"] < 0 < none.loc[level, f"{name}_high"]
    assert found.loc["all", "n_points"] == 3 * 8 * 12
    # Against the plain correlation of the same points.
    answers = simulated_answers(driven, np.random.default_rng(10)).ratings
    scores = [haaqi[key] for key in answers[["system", "song", "listener"]].itertuples(index=False, name=None)]
    assert found.loc["all", "spearman"] == pytest.approx(spearmanr(answers["value"], scores)[0])


def test_haaqi_differences_go_with_preferences():
    rng = np.random.default_rng(11)
    simulation = Simulation({"e016": 0.5, "mixture": 0.5}, type="ab", against="baseline", n_songs=4)
    haaqi = {
        (system, song, simulation.listener(n)): float(rng.uniform())
        for system in ("baseline", "e016", "mixture")
        for song in simulation.songs
        for n in range(1, 13)
    }
    answers = simulated_answers(simulation, rng)
    ratings = answers.ratings.copy()  # everybody prefers what HAAQI prefers
    for _, rows in ratings.groupby(["participant", "trial"]):
        scores = [haaqi[key] for key in rows[["system", "song", "listener"]].itertuples(index=False, name=None)]
        ratings.loc[rows.index, "value"] = [float(score == max(scores)) for score in scores]
    table = analyse(type(answers)(**{**vars(answers), "ratings": ratings}), haaqi=haaqi).correlation.set_index("level")
    assert list(table.index) == ["all", "e016", "mixture"]
    assert table.loc["all", "n_points"] == 2 * 4 * 12
    assert table.loc["all", "spearman_low"] > 0.5


def test_too_few_points_are_said_to_be_too_few():
    simulation = Simulation({"a": 60.0, "b": 40.0}, type="scales", n_participants=2, n_songs=1)
    analysis = analysis_of(simulation, 12, haaqi={("a", "Song 01", "L5001"): 0.5, ("b", "Song 01", "L5001"): 0.4})
    assert analysis.correlation["spearman"].isna().all()
    text = " ".join(findings(analysis))
    assert "too few points to say anything (2 of at least 8" in text
    assert "Only one song: nothing can be said of other songs." in text
    assert "no test can find anything: at least 6 are needed" in text


# files


@pytest.mark.parametrize("test_type", ["mushra", "ab"])
def test_a_written_test_reads_as_what_was_simulated(tmp_path, test_type):
    quality = MUSHRA if test_type == "mushra" else {"e016": 0.7}
    simulation = Simulation(quality, type=test_type, against="baseline", n_participants=4, n_songs=3, repeats=2)
    path = tmp_path / "test.sqlite"
    simulate(path, simulation, np.random.default_rng(13))
    read, made = read_answers(path), simulated_answers(simulation, np.random.default_rng(13))
    pd.testing.assert_frame_equal(read.ratings.drop(columns="n_plays"), made.ratings.drop(columns="n_plays"))
    assert (read.type, read.n_trials, read.n_open, read.systems) == (made.type, made.n_trials, 0, made.systems)
    with pytest.raises(InputError, match="is there already"):
        simulate(path, simulation, np.random.default_rng(13))


def test_few_assessors_are_told_how_many_it_takes():
    """Three tests of six assessors: even if all agree, none falls below 0.05 after Holm's correction."""
    certain = Simulation(
        {"a": 80.0, "b": 50.0, "c": 20.0},
        type="scales",
        n_songs=2,
        person_sd=0.0,
        taste_sd=0.0,
        song_sd=0.0,
        noise_sd=0.1,
    )
    for n_participants, is_found in ((6, False), (7, True)):
        analysis = analysis_of(dataclasses.replace(certain, n_participants=n_participants), 15)
        assert (analysis.tests["p_holm"] < 0.05).all() == is_found
        words = " ".join(findings(analysis))
        assert ("With 6 assessors no test can find anything: at least 7 are needed." in words) != is_found


def test_pairs_are_of_the_same_assessor_and_song():
    answers = simulated_answers(Simulation({"a": 60.0, "b": 40.0}, type="scales", repeats=2), np.random.default_rng(14))
    some = answers.ratings[(answers.ratings["participant"] != 3) | (answers.ratings["system"] != "b")]
    pairs = paired_values(some, "a", "b", by_trial=False)
    assert len(pairs) == 11 * 6
    first = pairs.iloc[0]
    mine = some[(some["participant"] == first["participant"]) & (some["song"] == first["song"])]
    assert first["this"] == pytest.approx(mine.loc[mine["system"] == "a", "value"].mean())
