"""What the report begins with, and what it tells a reader to bear in mind."""

import base64
import json
import re
import shutil

import pytest
from tiny_run import make_tiny_run

from cadenza_remix.report.measures import measure_pairs
from cadenza_remix.report.page.caveats import caveats
from cadenza_remix.report.page.comparison_section import comparison_section
from cadenza_remix.report.page.contents import gather
from cadenza_remix.report.page.listeners_section import listeners_section
from cadenza_remix.report.page.pairs_section import pairs_section
from cadenza_remix.report.page.scores_section import scores_section
from cadenza_remix.report.page.sound_section import sound_section
from cadenza_remix.report.page.summary import summary
from cadenza_remix.runs.finished import find_runs
from cadenza_remix.runs.progress import NoProgress


@pytest.fixture(scope="module")
def made(song, tmp_path_factory):
    place = tmp_path_factory.mktemp("summary")
    make_tiny_run(place, song, duration_s=1.0)
    return place


@pytest.fixture
def folder(made, tmp_path):
    """Two runs of one song and two listeners, to be spoiled."""
    return shutil.copytree(made, tmp_path / "runs")


def edit(place, change):
    for path in place.rglob("*.json"):
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))


def told(folder):
    return " ".join(caveats(gather(find_runs(folder))))


def test_it_leads_with_means_differences_and_what_to_bear_in_mind(folder):
    contents = gather(find_runs(folder))
    text = re.sub(r"<[^>]*>", "", summary(contents))
    mean = contents.scores["e016"].mean("haaqi", "all", "all")["mean"]
    difference = contents.comparisons["e016"].table.iloc[0]["difference"]
    assert f"e016: HAAQI {mean:.3f}" in text
    assert f"{difference:+.3f}".replace("-", "\u2212") in text
    assert "1 song for 2 listeners, enhanced by 2 systems (baseline, e016)" in text
    assert "Only 1 song and 2 listeners" in text
    assert "HAAQI is a model" in text


def test_undefined_values_and_pairs_that_were_not_scored_are_told(folder):
    edit(folder / "e016" / "records" / "score" / "L5040", lambda r: r["results"]["haaqi"].update(left_vocals=None))
    next((folder / "baseline" / "records" / "score" / "L5076").glob("*.json")).unlink()
    words = told(folder)
    assert "e016: 1 of 16 values of HAAQI not defined" in words
    assert "baseline: 1 of 2 enhanced pairs not scored" in words
    assert "not scored for the same pairs (1 in common)" in words


def test_runs_that_are_not_alike_are_told(folder):
    edit(folder / "e016" / "records" / "score", lambda r: r["settings"].update(noise="fixed"))
    segments = {"objective": [0, 1], "subjective": [0, 1]}
    edit(folder / "e016" / "records" / "enhance", lambda r: r["settings"].update(segments_s=segments))
    change = {"left": [[250, 500, 1000, 2000, 4000, 8000], [0] * 6], "right": [[250, 8000], [5, 5]]}
    edit(folder / "e016" / "records" / "score" / "L5076", lambda r: r["settings"].update(audiograms=change))
    words = told(folder)
    assert re.search("Scored differently: baseline by .* noise legacy.*; e016 by .* noise fixed", words)
    assert "Segments of the songs in e016, whole songs elsewhere" in words
    assert "e016: records of L5076 hold different audiograms" in words


def test_over_full_scale_is_told_only_where_it_is_worth_it(folder):
    edit(folder / "e016" / "records" / "enhance", lambda r: r["results"].update(n_over_full_scale=0))
    edit(folder / "baseline" / "records" / "enhance",
         lambda r: r["results"].update(n_over_full_scale=500, n_remix_samples=10_000))  # fmt: skip
    assert "(share of samples: baseline 5.0 %)" in told(folder)


def test_listeners_stand_in_the_order_of_their_hearing_loss_everywhere(folder):
    contents = gather(find_runs(folder))
    assert list(contents.listeners) == ["L5076", "L5040"]  # mild, moderate
    for text in (scores_section(contents), listeners_section(contents, {}), comparison_section(contents)):
        for table in re.findall("<table.*?</table>", text, re.DOTALL):
            rows = re.findall(r">(L5\d\d\d)</t[hd]>", table)
            assert rows == sorted(rows, reverse=True)
    ordered = comparison_section(contents)
    drawn = base64.b64decode(re.search('data:image/svg.xml;base64,([^"]+)', ordered)[1]).decode()
    assert drawn.index("L5076") < drawn.index("L5040")


def test_audiograms_of_any_frequencies_are_tabled(folder):
    ear = [[125, 250, 500, 750, 1000, 2000, 4000, 10000], [0, 5, 10, 15, 20, 25, 30, 35]]
    for place in (folder / "baseline", folder / "e016"):
        for records in place.rglob("L5040"):
            edit(records, lambda r: r["settings"].update(audiograms={"left": ear, "right": ear}))
    text = listeners_section(gather(find_runs(folder)), {})
    for heading in ("125 Hz", "750 Hz", "3000 Hz", "10000 Hz"):
        assert f'data-csv="{heading}"' in text


def test_what_is_damaged_is_told_without_the_folders_of_this_machine(folder):
    for path in folder.rglob("*_left_*.flac"):
        path.write_bytes(b"no flac")
    for path in folder.glob("references/*/mixture.wav"):
        path.write_bytes(path.read_bytes()[:100])
    contents = gather(find_runs(folder))
    measures = {run.name: measure_pairs(run, contents.measured[run.name]) for run in contents.systems}
    text = sound_section(contents, measures) + pairs_section(contents, audio=False, progress=NoProgress())
    assert "left_vocals.flac" in text
    assert "mixture.wav" in text
    assert str(folder) not in text
    assert str(folder.parent) not in text
