"""The figures of the report: what is drawn is what was given, as PNG and as SVG, always the same."""

from __future__ import annotations

import functools
import io
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawn_svg import DrawnSvg
from figure_data import drawn, ears_of, listener, tidy, tone

from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.nalr import NALR_FREQUENCIES_HZ, nalr_gains_db
from cadenza_remix.report.bands import BAND_CENTRES_HZ, BandLevels
from cadenza_remix.report.comparison import compare
from cadenza_remix.report.figures import (
    COLOURS,
    HATCHES,
    MARKERS,
    MOST_LISTENERS,
    figure_bytes,
    plot_audiograms,
    plot_differences,
    plot_factor,
    plot_gains,
    plot_listeners,
    plot_loudness,
    plot_scores,
    plot_spectrograms,
    plot_spectrum,
    plot_stage_times,
)
from cadenza_remix.report.figures.style import series_numbers
from cadenza_remix.report.measures import PairMeasures
from cadenza_remix.report.statistics import summarise
from cadenza_remix.report.tables import STEM_COLUMNS, summary_frame

BLUE, ORANGE, GREEN, MIXTURE_GREY = "#0072B2", "#E69F00", "#009E73", "#595959"
PRESCRIBED_GREY = "#b8b8b8"


BASELINE = tidy(lambda stem, ear, name, song: 0.2 + 0.1 * STEMS.index(stem) + 0.02 * int(name[1]))
E016 = tidy(lambda stem, ear, name, song: 0.3 + 0.1 * STEMS.index(stem) + 0.02 * int(name[1]) + 0.05 * (song == "a"))
PEOPLE = {"L1": listener("L1", 10, 60), "L2": listener("L2", 30, 30), "L3": listener("L3", 70, 90)}
STATISTICS = {"baseline": summarise(BASELINE, listeners=PEOPLE), "e016": summarise(E016, listeners=PEOPLE)}
MEASURES = [
    PairMeasures("a", "L1", -20.0, -12.0, -1.0, 8.0, 0.1),
    PairMeasures("a", "L2", -20.0, -14.0, -1.0, 6.0, 0.05),
    PairMeasures("b", "L1", -16.0, None, -3.0, None, None, missing={"remix_lufs": "no remix was found"}),
]
SUMMARY = summary_frame(
    [{"chain": "e016", "song": "a", "listener": "L1", "score": 0.5,
      "metrics": {"haaqi": dict.fromkeys(STEM_COLUMNS, 0.5)}}]
)  # fmt: skip
EVERY_FIGURE = {
    "audiograms": (plot_audiograms, [listener("L1")], nalr_gains_db),
    "scores": (plot_scores, SUMMARY),
    "gains": (plot_gains, [listener("L1")], nalr_gains_db, {"e016": {"L1": ears_of(5.0)}}),
    "factor": (plot_factor, STATISTICS, "stem_ear"),
    "listeners": (plot_listeners, {"baseline": BASELINE, "e016": E016}),
    "differences": (plot_differences, compare(E016, BASELINE, listeners=PEOPLE)),
    "spectrograms": (plot_spectrograms, {"reference": tone(440), "estimate": tone(880), "remix": tone(300)}),
    "spectrum": (plot_spectrum, ears_of(-30.0), {"e016": ears_of(-20.0)}),
    "loudness": (plot_loudness, {"e016": MEASURES}),
    "stages": (plot_stage_times, {"e016": {"separate": 12.0, "enhance": 3.0}}),
}


@pytest.fixture(params=EVERY_FIGURE)
def name(request):
    return request.param


@pytest.fixture
def figure(name):
    return EVERY_FIGURE[name]


@functools.cache
def plain_svg(name):
    """Each figure as it is drawn where nobody sets anything, drawn once."""
    plot, *args = EVERY_FIGURE[name]
    return figure_bytes(plot, *args)


def test_files_are_what_their_suffix_says_and_not_large(figure, tmp_path):
    plot, *args = figure
    for suffix, most in ((".png", 300_000), (".SVG", 200_000)):
        path = tmp_path / f"figure{suffix}"
        plot(*args, path)
        content = path.read_bytes()
        assert 3_000 < len(content) < most
        if suffix == ".SVG":
            assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
        else:
            height, width = matplotlib.image.imread(io.BytesIO(content)).shape[:2]
            assert 400 < width <= 1440
            assert 100 < height <= 1440


def test_bytes_are_those_of_the_file(figure, tmp_path):
    plot, *args = figure
    plot(*args, tmp_path / "figure.png", dpi=50)
    assert figure_bytes(plot, *args, form="png", dpi=50) == (tmp_path / "figure.png").read_bytes()


def test_settings_of_the_caller_change_nothing(name, figure):
    plot, *args = figure
    plain = plain_svg(name)
    with matplotlib.rc_context({"svg.hashsalt": "other", "svg.fonttype": "path", "font.size": 30, "image.cmap": "jet"}):
        before = dict(matplotlib.rcParams)
        assert figure_bytes(plot, *args) == plain
        assert dict(matplotlib.rcParams) == before


def test_an_svg_needs_nothing_from_outside_and_tells_no_date(name):
    text = plain_svg(name).decode()
    links = re.findall(r'(?:href|src)="([^"]*)"', text)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert "<script" not in text
    assert not re.search(r"20\d\d-\d\d-\d\d|matplotlib\.org|Matplotlib v", text)
    # Text is text: found by a search, read aloud.
    assert DrawnSvg(text).words


def test_every_axis_tells_what_it_shows(name):
    words = " ".join(DrawnSvg(plain_svg(name)).words)
    assert re.search(r"HAAQI|\(dB|\(LUFS\)|\(seconds\)", words)


@pytest.mark.parametrize("file_name", ["figure.pdf", "figure", "figure.jpg"])
def test_other_kinds_are_refused_before_anything_is_written(figure, tmp_path, file_name):
    plot, *args = figure
    with pytest.raises(InputError, match=r"wrong kind of figure: expected \.png or \.svg") as caught:
        plot(*args, tmp_path / file_name)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_forms_are_told_right():
    plot, *args = EVERY_FIGURE["stages"]
    with pytest.raises(InputError, match="a binary file needs a form: expected png or svg"):
        plot(*args, io.BytesIO())
    with pytest.raises(InputError, match="unknown form of a figure 'pdf'"):
        figure_bytes(plot, *args, form="pdf")
    with pytest.raises(InputError, match=r"figure\.png: wrong kind of figure: expected \.svg"):
        plot(*args, "figure.png", form="svg")
    with pytest.raises(InputError, match="30 to 1200 dots"):
        figure_bytes(plot, *args, dpi=5)


def test_dots_per_inch_are_kept(tmp_path):
    plot, *args = EVERY_FIGURE["stages"]
    shapes = [
        matplotlib.image.imread(io.BytesIO(figure_bytes(plot, *args, form="png", dpi=dpi))).shape for dpi in (100, 300)
    ]
    assert shapes[0][1] == 720
    assert shapes[1][1] == 2160


def test_series_differ_in_more_than_colour():
    assert len(set(COLOURS)) == len(set(HATCHES)) == len(set(MARKERS)) == 7
    assert series_numbers(["demo/mixture", "x", "mixture", "y"]) == {
        "demo/mixture": None,
        "x": 0,
        "mixture": None,
        "y": 1,
    }


def test_a_system_has_one_colour_in_every_figure():
    both = {"mixture": STATISTICS["baseline"], "e016": STATISTICS["e016"]}
    for statistics in (both, {"e016": STATISTICS["e016"]}):
        axes = drawn(plot_factor, statistics, "stem").axes[0]
        assert len(axes.marks(BLUE)) == 4
        assert len(axes.marks(MIXTURE_GREY)) == (4 if "mixture" in statistics else 0)


def test_means_and_intervals_stand_at_their_values():
    axes = drawn(plot_factor, STATISTICS, "stem").axes[0]
    for colour, name in ((BLUE, "baseline"), (ORANGE, "e016")):
        rows = STATISTICS[name]
        rows = rows[(rows["factor"] == "stem") & (rows["metric"] == "haaqi")].set_index("level")
        marks = axes.marks(colour)
        assert [axes.row_of(y) for _, y in marks] == list(STEMS)
        np.testing.assert_allclose(axes.x_values(marks[:, 0]), rows.loc[list(STEMS), "mean"], atol=1e-4)
        lines = [axes.x_values(line[:, 0]) for line in axes.lines(colour)]
        np.testing.assert_allclose(lines, rows.loc[list(STEMS), ["low", "high"]], atol=1e-4)
    # The first system stands above the second one of the same row.
    assert (axes.marks(BLUE)[:, 1] < axes.marks(ORANGE)[:, 1]).all()


def test_levels_of_hearing_loss_are_named():
    words = drawn(plot_factor, STATISTICS, "severity").words
    assert [word for word in words if "ear)" in word] == [
        "normal hearing (ear)", "mild loss (ear)", "moderately severe loss (ear)", "severe loss (ear)",
        "profound loss (ear)",
    ]  # fmt: skip
    assert "HAAQI (0 to 1, higher is better)" in words


def test_of_many_levels_the_lowest_and_highest_are_drawn():
    names = [f"L{number}" for number in range(1, 31)]
    scores = tidy(lambda stem, ear, name, song: 0.01 * int(name[1:]), listeners=names)
    axes = drawn(plot_factor, {"e016": summarise(scores, n_resamples=50)}, "listener").axes[0]
    assert list(axes.y_ticks) == [*(f"L{number}" for number in range(30, 24, -1)), *(f"L{n}" for n in range(6, 0, -1))]
    values = 0.01 * np.array([*range(1, 7), *range(25, 31)])
    np.testing.assert_allclose(sorted(axes.x_values(axes.marks(BLUE)[:, 0])), values, atol=1e-4)


def test_a_system_without_a_level_leaves_a_gap():
    fewer = {"baseline": summarise(tidy(lambda *_: 0.4, listeners=("L1",))), "e016": STATISTICS["e016"]}
    axes = drawn(plot_factor, fewer, "listener").axes[0]
    assert len(axes.marks(BLUE)) == 1
    assert len(axes.marks(ORANGE)) == 3


def test_what_statistics_do_not_hold_is_refused():
    with pytest.raises(InputError, match="unknown factor 'stems'"):
        figure_bytes(plot_factor, STATISTICS, "stems")
    with pytest.raises(InputError, match="unknown metric 'pesq'"):
        figure_bytes(plot_factor, STATISTICS, "stem", metric="pesq")
    with pytest.raises(InputError, match="no haaqi by genre to draw"):
        figure_bytes(plot_factor, STATISTICS, "genre")
    with pytest.raises(InputError, match="no snr_db by stem to draw"):
        figure_bytes(plot_factor, STATISTICS, "stem", metric="snr_db")


def test_each_listener_has_a_row_with_every_system():
    svg = drawn(plot_listeners, {"baseline": BASELINE, "e016": E016}, listeners=PEOPLE)
    axes = svg.axes[0]
    # By the better ear: 10, 30 and 70 dB.
    assert list(axes.y_ticks) == ["L1 (normal)", "L2 (mild)", "L3 (severe)"]
    np.testing.assert_allclose(axes.x_values(axes.marks(BLUE)[:, 0]), [0.37, 0.39, 0.41], atol=1e-4)
    np.testing.assert_allclose(axes.x_values(axes.marks(ORANGE)[:, 0]), [0.495, 0.515, 0.535], atol=1e-4)
    np.testing.assert_allclose(axes.marks(BLUE)[:, 1], axes.marks(ORANGE)[:, 1])


def test_rows_without_audiograms_go_from_high_to_low():
    assert list(drawn(plot_listeners, {"baseline": BASELINE}).axes[0].y_ticks) == ["L3", "L2", "L1"]


def test_many_listeners_fit_one_page():
    names = [f"L{number:03}" for number in range(200)]
    scores = tidy(lambda stem, ear, name, song: 0.3, songs=("a",), listeners=names)
    content = figure_bytes(plot_listeners, {"e016": scores}, form="png", dpi=50)
    assert matplotlib.image.imread(io.BytesIO(content)).shape[0] <= 50 * 10
    svg = drawn(plot_listeners, {"e016": scores})
    assert len(svg.axes[0].marks(BLUE)) == 200
    assert "200 listeners, highest to lowest" in svg.words


def test_unknown_listeners_are_refused():
    with pytest.raises(InputError, match="unknown listener 'L3'"):
        figure_bytes(plot_listeners, {"e016": E016}, listeners={name: PEOPLE[name] for name in ("L1", "L2")})
    with pytest.raises(InputError, match="no sdr_db to draw"):
        figure_bytes(plot_listeners, {"e016": E016}, metric="sdr_db")


def test_differences_stand_at_their_values():
    comparison = compare(E016, BASELINE, listeners=PEOPLE)
    axes = drawn(plot_differences, comparison, factors=("all", "song")).axes[0]
    assert list(axes.y_ticks) == ["all values", "a", "b"]
    np.testing.assert_allclose(axes.x_values(axes.marks(BLUE)[:, 0]), [0.125, 0.15, 0.1], atol=1e-4)
    low, high = comparison.table.iloc[0][["low", "high"]]
    np.testing.assert_allclose(axes.x_values(axes.lines(BLUE)[0][:, 0]), [low, high], atol=1e-4)


def test_differences_tell_their_numbers_and_names():
    words = drawn(plot_differences, compare(BASELINE, E016), this="baseline", other="e016", factors=("all",)).words
    assert any(word.startswith("\N{MINUS SIGN}0.125 [\N{MINUS SIGN}0.1") for word in words)
    assert "Difference of HAAQI: baseline minus e016" in words
    # Two songs and three listeners: the interval is marked, and the mark explained.
    assert any("* from fewer than 5" in word for word in words)


def test_differences_that_may_be_none_are_hollow():
    def filled(other):
        text = figure_bytes(plot_differences, compare(other, BASELINE), factors=("all",)).decode()
        return re.findall(r'<use [^>]*style="fill: (#\w+); stroke: #0072b2', text)

    varied = tidy(lambda stem, ear, name, song: 0.27 + 0.1 * STEMS.index(stem) + (0.1 if song == "a" else -0.1))
    assert filled(E016) == ["#0072b2"]
    assert filled(varied) == ["#ffffff"]


def test_differences_that_are_not_there_are_refused():
    comparison = compare(E016, BASELINE)
    with pytest.raises(InputError, match="no differences of haaqi to draw"):
        figure_bytes(plot_differences, comparison, factors=("severity",))
    with pytest.raises(InputError, match="unknown factor 'singer'"):
        figure_bytes(plot_differences, comparison, factors=("singer",))


def test_gains_stand_over_the_prescribed_ones():
    people = [listener("L1"), listener("L2")]
    achieved = {"baseline": {"L1": ears_of(12.0), "L2": ears_of(7.0)}, "e016": {"L1": ears_of(3.0)}}
    svg = drawn(plot_gains, people, nalr_gains_db, achieved)
    titles = [word for word in svg.words if word in ("L1", "L2")]
    assert titles == ["L1", "L2"]
    expected = {"L1": (12.0, 13.0), "L2": (7.0, 8.0)}
    panels = {
        (name, ear): svg.axes[2 * row + column] for column, name in enumerate(expected) for row, ear in enumerate(EARS)
    }
    for (name, ear), axes in panels.items():
        ticks = panels["L1", ear]
        np.testing.assert_allclose(ticks.y_values(axes.marks(BLUE)[:, 1]), expected[name][EARS.index(ear)], atol=1e-3)
        assert len(axes.marks(ORANGE)) == (len(axes.marks(BLUE)) if name == "L1" else 0)
        prescribed = ticks.y_values(axes.lines(PRESCRIBED_GREY)[0][:, 1])
        wanted = nalr_gains_db(people[0].ear(ear))
        np.testing.assert_allclose(prescribed, [wanted[0], *wanted, wanted[-1]], atol=1e-3)
        assert len(prescribed) == len(NALR_FREQUENCIES_HZ) + 2
    assert {"prescribed", "baseline: achieved", "e016: achieved"} <= set(svg.words)


def test_bands_that_could_not_be_told_are_left_out():
    levels = np.full(24, 6.0)
    levels[:8] = np.nan
    holes = dict.fromkeys(EARS, BandLevels(BAND_CENTRES_HZ[:24], levels))
    axes = drawn(plot_gains, [listener("L1")], None, {"e016": {"L1": holes}}).axes[0]
    assert len(axes.marks(BLUE)) == 16


def test_too_many_listeners_and_nothing_to_draw_are_refused():
    many = [listener(f"L{number}") for number in range(MOST_LISTENERS + 1)]
    with pytest.raises(InputError, match="expected 1 to 16, found 17"):
        figure_bytes(plot_gains, many, nalr_gains_db, {})
    with pytest.raises(InputError, match="expected 1 to 16, found 0"):
        figure_bytes(plot_gains, [], nalr_gains_db, {})
    with pytest.raises(InputError, match="no gains to draw"):
        figure_bytes(plot_gains, many[:1], None, {})
    assert len(drawn(plot_gains, many[:MOST_LISTENERS], nalr_gains_db, {}).axes) == 2 * MOST_LISTENERS


def test_spectra_stand_at_their_levels():
    left, right = drawn(plot_spectrum, ears_of(-30.0), {"mixture": {}, "baseline": ears_of(-20.0), "e016": {}}).axes
    np.testing.assert_allclose(left.y_values(left.marks(BLUE)[:, 1]), -20.0, atol=1e-3)
    np.testing.assert_allclose(left.y_values(right.marks(BLUE)[:, 1]), -19.0, atol=1e-3)
    assert len(left.marks(BLUE)) == 24
    with pytest.raises(InputError, match="no spectra to draw"):
        figure_bytes(plot_spectrum, None, {})
    with pytest.raises(InputError, match="no spectra to draw"):
        figure_bytes(plot_spectrum, ears_of(np.nan), {"e016": ears_of(-np.inf)})


def test_loudness_peak_and_clipping_stand_at_their_values():
    loudness, peak, clipped = drawn(plot_loudness, {"e016": MEASURES}).axes
    np.testing.assert_allclose(loudness.x_values(loudness.marks(BLUE)[:, 0]), [-12, -14], atol=1e-3)
    # One mark for each song, however many listeners heard it.
    np.testing.assert_allclose(loudness.x_values(loudness.marks(MIXTURE_GREY)[:, 0]), [-20, -16], atol=1e-3)
    np.testing.assert_allclose(peak.x_values(peak.marks(BLUE)[:, 0]), [8, 6], atol=1e-3)
    np.testing.assert_allclose(clipped.x_values(clipped.marks(BLUE)[:, 0]), [10, 5], atol=1e-3)
    assert list(loudness.y_ticks) == ["mixture", "e016"]


def test_loudness_of_nothing_is_refused():
    with pytest.raises(InputError, match="no loudness to draw"):
        figure_bytes(plot_loudness, {"e016": [PairMeasures("a", "L1")]})
    # A run that is called like the unprocessed mixture keeps a row of its own.
    svg = drawn(plot_loudness, {"mixture": MEASURES})
    assert list(svg.axes[0].y_ticks) == ["mixture", "mixture (remix)"]


def test_bars_of_stages_are_as_long_as_the_times():
    times = {"baseline": {"separate": 90.0, "score": 600.0}, "e016": {"score": 300.0, "enhance": 60.0}}
    svg = drawn(plot_stage_times, times, memory_mib={"baseline": {"separate": 4096.0}})
    assert len(svg.axes) == 2
    # Minutes, gibibytes.
    assert {"separate", "score", "enhance", "Time (minutes)", "Highest memory (GiB)"} <= set(svg.words)
    assert {"1.5", "10", "5", "1", "4"} <= set(svg.words)
    seconds = drawn(plot_stage_times, {"e016": {"enhance": 12.5}})
    assert {"12.5", "Time (seconds)"} <= set(seconds.words)
    hours = drawn(plot_stage_times, {"e016": {"score": 36_000.0}})
    assert {"10", "Time (hours)"} <= set(hours.words)


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf")])
def test_senseless_times_are_refused(amount):
    with pytest.raises(InputError, match="e016: score: senseless amount"):
        figure_bytes(plot_stage_times, {"e016": {"score": amount}})
    with pytest.raises(InputError, match="no stages to draw"):
        figure_bytes(plot_stage_times, {"e016": {}})


def test_frames_are_left_as_they_are():
    before = {name: frame.copy() for name, frame in STATISTICS.items()}
    figure_bytes(plot_factor, STATISTICS, "stem")
    figure_bytes(plot_differences, compare(E016, BASELINE))
    for name, frame in before.items():
        pd.testing.assert_frame_equal(STATISTICS[name], frame)
