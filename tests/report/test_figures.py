"""The figures as a reader gets them: the pixels of the PNG files."""

from __future__ import annotations

import subprocess
import sys

import matplotlib
import matplotlib.image
import numpy as np
import pytest

from cadenza_remix.errors import InputError, OutputError
from cadenza_remix.hearing.audiogram import Audiogram, Listener
from cadenza_remix.hearing.nalr import nalr_gains_db
from cadenza_remix.report.figures import plot_audiograms, plot_scores
from cadenza_remix.report.tables import STEM_COLUMNS, summary_frame

FREQUENCIES_HZ = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000]
BLUE, VERMILION, GREY = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0xDD, 0xDD, 0xDD)


def flat_listener(name, left_db_hl, right_db_hl):
    ears = (Audiogram(FREQUENCIES_HZ, [level] * len(FREQUENCIES_HZ)) for level in (left_db_hl, right_db_hl))
    return Listener(name, *ears)


def scores(haaqi_of_chain, listeners=("L1",), songs=("song",)):
    records = [
        {
            "chain": chain,
            "song": song,
            "listener": listener,
            "metrics": {"haaqi": dict.fromkeys(STEM_COLUMNS, haaqi)},
            "score": haaqi,
        }
        for listener in listeners
        for song in songs
        for chain, haaqi in haaqi_of_chain.items()
    ]
    return summary_frame(records)


def pixels(path):
    return np.round(255 * matplotlib.image.imread(path)[:, :, :3]).astype(int)


def rows_of(image, colour):
    """The rows of all pixels of exactly this colour."""
    return np.nonzero((image == colour).all(axis=2))[0]


def test_levels_go_downwards_right_is_red_left_is_blue(tmp_path):
    path = tmp_path / "audiograms.png"
    plot_audiograms([flat_listener("L1", left_db_hl=100.0, right_db_hl=0.0)], nalr_gains_db, path)
    image = pixels(path)
    # Below the legend and above the panel of gains.
    audiogram = image[image.shape[0] // 8 : image.shape[0] * 5 // 9]
    red, blue = rows_of(audiogram, VERMILION), rows_of(audiogram, BLUE)
    assert len(red) > 200
    assert len(blue) > 200
    assert red.max() < blue.min()


def test_gains_go_upwards(tmp_path):
    path = tmp_path / "audiograms.png"
    plot_audiograms([flat_listener("L1", left_db_hl=100.0, right_db_hl=0.0)], nalr_gains_db, path)
    image = pixels(path)
    gains = image[image.shape[0] * 13 // 20 :]
    red, blue = rows_of(gains, VERMILION), rows_of(gains, BLUE)
    assert len(red) > 200
    assert blue.mean() < red.mean()


def test_every_listener_gets_a_panel_and_rows_wrap_after_four(tmp_path):
    shapes = []
    for n_listeners in (1, 4, 5):
        listeners = [flat_listener(f"L{number}", 40.0, 50.0) for number in range(n_listeners)]
        plot_audiograms(listeners, nalr_gains_db, tmp_path / "audiograms.png")
        image = pixels(tmp_path / "audiograms.png")
        shapes.append((*image.shape[:2], len(rows_of(image, BLUE))))
    (one_high, one_wide, one_blue), (four_high, four_wide, four_blue), (five_high, five_wide, five_blue) = shapes
    assert one_high == four_high < five_high
    assert one_wide < four_wide == five_wide
    # The same curves in each panel, drawn a little larger or smaller by the layout, beside a legend that is there once.
    assert four_blue == pytest.approx(4 * one_blue, rel=0.2)
    assert five_blue == pytest.approx(5 * one_blue, rel=0.2)


def test_bars_are_as_high_as_the_scores(tmp_path):
    areas = []
    for haaqi in (0.2, 0.4):
        plot_scores(scores({"baseline": haaqi, "e016": 0.5}), tmp_path / "scores.png")
        areas.append(len(rows_of(pixels(tmp_path / "scores.png"), BLUE)))
    # The patch in the legend and the pixels at the edges stay the same: less than a tenth of the bars.
    assert areas[1] / areas[0] == pytest.approx(2.0, rel=0.1)


def test_unprocessed_mixture_is_grey_and_only_it(tmp_path):
    plot_scores(scores({"mixture": 0.2, "e016": 0.5}), tmp_path / "with.png")
    plot_scores(scores({"baseline": 0.2, "e016": 0.5}), tmp_path / "without.png")
    assert len(rows_of(pixels(tmp_path / "with.png"), GREY)) > 1000
    assert len(rows_of(pixels(tmp_path / "without.png"), GREY)) < 100


def test_a_panel_for_each_listener_and_one_for_all(tmp_path):
    heights = []
    for n_listeners in (1, 2, 8, 9):
        names = [f"L{number}" for number in range(n_listeners)]
        plot_scores(scores({"e016": 0.3}, listeners=names), tmp_path / "scores.png")
        heights.append(pixels(tmp_path / "scores.png").shape[0])
    one, two, eight, nine = heights
    # One listener needs no mean; nine are shown by their mean alone. Heights are whole pixels.
    assert two - one == pytest.approx((eight - two) / 3, abs=2)
    assert nine == one


def test_several_songs_are_drawn_with_their_spread(tmp_path):
    frame = scores({"e016": 0.3}, songs=("a", "b"))
    plot_scores(frame, tmp_path / "equal.png")
    frame.loc[frame["song"] == "a", [*STEM_COLUMNS, "score"]] = 0.35
    frame.loc[frame["song"] == "b", [*STEM_COLUMNS, "score"]] = 0.25
    plot_scores(frame, tmp_path / "spread.png")
    dark = [int((pixels(tmp_path / name) < 100).all(axis=2).sum()) for name in ("equal.png", "spread.png")]
    # Nine lines, each of a quarter of the scale: some 50 pixels high.
    assert dark[1] > dark[0] + 9 * 25


def test_a_chain_that_a_listener_lacks_leaves_a_gap(tmp_path):
    frame = scores({"baseline": 0.3, "e016": 0.3}, listeners=("L1", "L2"))
    plot_scores(frame, tmp_path / "all.png")
    plot_scores(frame[(frame["listener"] == "L1") | (frame["chain"] == "e016")], tmp_path / "gap.png")
    every, gap = (len(rows_of(pixels(tmp_path / name), BLUE)) for name in ("all.png", "gap.png"))
    # Two of the three panels keep the bars, and the legend keeps its patch.
    assert gap / every == pytest.approx(2 / 3, rel=0.05)


def test_undefined_scores_are_drawn_as_nothing(tmp_path):
    frame = scores({"e016": 0.3})
    frame["left_vocals"] = np.nan
    plot_scores(frame, tmp_path / "scores.png")
    assert len(rows_of(pixels(tmp_path / "scores.png"), BLUE)) > 1000


def test_the_same_data_give_the_same_file(tmp_path):
    for name in ("a.png", "b.png"):
        plot_scores(scores({"e016": 0.3}), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_settings_of_the_caller_neither_matter_nor_change(tmp_path):
    plot_scores(scores({"e016": 0.3}), tmp_path / "plain.png")
    with matplotlib.rc_context({"figure.facecolor": "black", "font.size": 30, "savefig.dpi": 20}):
        before = dict(matplotlib.rcParams)
        plot_scores(scores({"e016": 0.3}), tmp_path / "odd.png")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "odd.png").read_bytes()


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(InputError, match="no listeners"):
        plot_audiograms([], nalr_gains_db, tmp_path / "audiograms.png")
    with pytest.raises(InputError, match="no scores"):
        plot_scores(scores({"e016": 0.3}).iloc[:0], tmp_path / "scores.png")
    with pytest.raises(InputError, match="left_bass"):
        plot_scores(scores({"e016": 0.3}).drop(columns="left_bass"), tmp_path / "scores.png")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "scores.png").mkdir()
    with pytest.raises(OutputError, match=r"scores\.png: cannot be written"):
        plot_scores(scores({"e016": 0.3}), tmp_path / "scores.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.png"]


def test_a_figure_that_fails_leaves_nothing_behind(tmp_path):
    def broken(audiogram):
        raise RuntimeError("no gains")

    with pytest.raises(RuntimeError, match="no gains"):
        plot_audiograms([flat_listener("L1", 40.0, 50.0)], broken, tmp_path / "audiograms.png")
    assert not list(tmp_path.iterdir())


def test_importing_the_report_loads_neither_matplotlib_nor_pandas():
    code = (
        "import sys, cadenza_remix.report.figures, cadenza_remix.report.tables;"
        "print([name for name in ('matplotlib', 'pandas', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
