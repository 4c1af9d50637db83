"""The organisers' figures: as published, and never shown without what they are not comparable with."""

import io

import pytest
from rich.console import Console

from cadenza_remix.report.published import print_published, published_results


def printed(width=80):
    console = Console(width=width, file=io.StringIO(), record=True, color_system=None)
    print_published(console)
    return console.export_text(styles=False)


def test_figures_are_those_of_the_official_table():
    results = published_results()
    assert (results.split, results.n_songs, results.n_listeners) == ("test", 49, 53)
    figures = {system.name: (system.haaqi, system.panel_quality) for system in results.systems}
    assert len(figures) == len(results.systems) == 10
    assert figures["baseline HDemucs"] == (0.706, 41.676)
    assert figures["E016"] == (0.27, 38.66)
    assert figures["E021"] == (0.44, 42.747)
    assert figures["baseline Open-Unmix"] == (0.638, None)  # the panel did not hear it


def test_the_mean_of_a_system_is_that_of_its_ears():
    """Three decimals each: half a unit of the mean and half a unit of the ears' mean make one unit at most."""
    for system in published_results().systems:
        assert (system.haaqi_left + system.haaqi_right) / 2 == pytest.approx(system.haaqi, abs=0.001), system.name


def test_systems_stand_in_the_order_of_their_scores():
    scores = [system.haaqi for system in published_results().systems]
    assert scores == sorted(scores, reverse=True)


def test_validation_figures_stand_apart():
    assert {score.name: score.haaqi for score in published_results().validation} == {
        "baseline HDemucs": 0.2592,
        "baseline Open-Unmix": 0.2273,
    }


def test_the_printed_table_warns_and_fits_eighty_columns():
    text = printed()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    flat = " ".join(text.split())
    assert "test split, 49 songs x 53 listeners" in flat
    assert "Not comparable with scores on another split, other songs, listeners or references" in flat
    for system in published_results().systems:
        assert f"{system.haaqi:.3f}" in next(line for line in text.splitlines() if line.strip().startswith(system.name))
