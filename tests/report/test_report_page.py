"""The report's page: what stands in it, what it does without, and that no name can become markup."""

import base64
import gzip
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from tiny_run import make_tiny_run

from cadenza_remix.audio.signal import Audio
from cadenza_remix.challenge.metadata import SongEntry
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.remix import Chain, load_chain
from cadenza_remix.report.comparison import compare
from cadenza_remix.report.page.clips import CLIP_LUFS, clips
from cadenza_remix.report.page.contents import gather
from cadenza_remix.report.page.data_table import Column, Interval, data_table, shown_number
from cadenza_remix.report.page.markup import Html, element, escaped
from cadenza_remix.report.page.overview import chain_in_words, records_digest
from cadenza_remix.report.page.writing import write_report
from cadenza_remix.report.tidy import tidy_frame
from cadenza_remix.runs.finished import find_runs

EVIL = '<script>alert(1)</script> & "quoted"'
SECTIONS = ["summary", "runs", "scores", "comparison", "listeners", "pairs", "sound", "time"]


class Outline(HTMLParser):
    """Collects the elements of a page, with the text in each that is not inside another element of that name."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))
        if tag not in {"img", "meta", "br"}:
            self._open.append(self.elements[-1])

    def handle_endtag(self, tag):
        assert self._open[-1][0] == tag, f"{tag} ends inside {self._open[-1][0]}"
        self._open.pop()

    def handle_data(self, data):
        for entry in self._open:
            entry[2].append(data)

    def all(self, tag):
        return [(attributes, "".join(text)) for name, attributes, text in self.elements if name == tag]


@pytest.fixture(scope="module")
def folder(song, tmp_path_factory):
    """Two passages of the real song, two chains, two listeners."""
    place = tmp_path_factory.mktemp("report")
    make_tiny_run(place, song, n_songs=2, duration_s=1.0)
    return place


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "new" / "report.html"
    size = write_report(find_runs(folder), path)
    assert size == path.stat().st_size
    return path.read_text(encoding="utf-8")


def test_page_is_well_formed_and_has_all_sections(page):
    outline = Outline(page)
    assert [attributes["id"] for attributes, _ in outline.all("section")] == SECTIONS
    links = [attributes["href"] for attributes, _ in outline.all("a") if attributes.get("class") != "skip"]
    assert links == [f"#{name}" for name in SECTIONS]
    ids = [attributes["id"] for _, attributes, _ in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(attributes["alt"] for attributes, _ in outline.all("img"))
    assert outline.all("div")[0][0]["class"] == "layout"


def test_page_loads_nothing_and_runs_only_its_own_script(page):
    outline = Outline(page)
    addresses = [value for _, attributes, _ in outline.elements for name, value in attributes.items()
                 if name in {"src", "href", "srcset", "action", "data"}]  # fmt: skip
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not any(
        name.startswith("on") or name == "style" for _, attributes, _ in outline.elements for name in attributes
    )
    policy = next(a["content"] for a, _ in outline.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in re.sub(r"base64,[\w+/=]+", "", page).replace("http-equiv", "")


def test_numbers_of_the_page_are_those_of_the_scores(folder, page):
    runs = {run.name: run for run in find_runs(folder)}
    rows = cells_of(page, "table-scores")
    for name, run in runs.items():
        mean = np.mean([record.results["score"] for record in run.scored.values()])
        assert float(rows[name][0].split()[0]) == pytest.approx(mean, rel=1e-5)
    tidy = {name: tidy_frame([record.results for record in run.scored.values()]) for name, run in runs.items()}
    table = compare(tidy["e016"], tidy["baseline"]).table
    wanted = table[(table["metric"] == "haaqi") & (table["factor"] == "listener")].set_index("level")
    for listener, cells in cells_of(page, "table-haaqi-by-listener").items():
        shown = [float(part) for part in cells[-1].split()]
        assert shown == pytest.approx(list(wanted.loc[listener, ["difference", "low", "high"]]), rel=1e-5)


def cells_of(page, table_id):
    """Return the exact numbers of a table's rows by their first cell."""
    table = re.search(rf'<table id="{table_id}".*?</table>', page, re.DOTALL)[0]
    rows = re.findall(r'<tr><th scope="row"[^>]*>(.*?)</th>(.*?)</tr>', table, re.DOTALL)
    return {name: re.findall(r'data-v="([^"]*)"', rest) for name, rest in rows}


def test_every_value_is_in_the_page(folder, page):
    packed = re.search(r'<script type="application/octet-stream" id="every-value">([^<]*)</script>', page)[1]
    data = json.loads(gzip.decompress(base64.b64decode(packed)))
    assert len(data["rows"]) == 2 * 2 * 2 * 3  # systems, songs, listeners, metrics
    system, song, listener, metric, *values = data["rows"][0]
    run = next(run for run in find_runs(folder) if run.name == data["systems"][system])
    results = run.scored[Pair(data["songs"][song], data["listeners"][listener])].results
    wanted = [results[data["metrics"][metric]][f"{ear}_{stem}"] for ear, stem in data["channels"]]
    assert values == pytest.approx(wanted, abs=0.006)


def test_every_system_shows_its_best_and_worst_pair(folder, page):
    text = Outline(page).all("section")[SECTIONS.index("pairs")][1]
    for run in find_runs(folder):
        ranked = sorted(run.scored.values(), key=lambda record: record.results["score"])
        assert f"Worst: {ranked[0].results['song']} for {ranked[0].results['listener']}" in text
        assert f"Best: {ranked[-1].results['song']} for {ranked[-1].results['listener']}" in text
    assert page.count("image/png") == 8


def test_names_never_become_markup(song, tmp_path):
    """A song of an ill-meant name, and a run of one: both are told, as text."""
    make_tiny_run(tmp_path / "run", song, duration_s=1.0, chains=("baseline",), listeners=("L5040",))
    evil = EVIL.replace("/", "\u2215")  # a file's name cannot hold the slash
    for place in sorted((tmp_path / "run").rglob("*Falcon - part 0*"), key=lambda p: -len(p.parts)):
        place.rename(place.with_name(place.name.replace("Falcon - part 0", evil)))
    for record in (tmp_path / "run").rglob("*.json"):
        record.write_text(record.read_text().replace("Falcon - part 0", json.dumps(evil)[1:-1]))
    runs = find_runs(tmp_path / "run" / "baseline", name=f"run {EVIL}", references=tmp_path / "run" / "references")
    write_report(runs, tmp_path / "report.html", songs=[SongEntry(evil, "test", EVIL)], audio=True)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    outline = Outline(text)
    assert "<script>alert" not in text
    assert len(outline.all("script")) == 2  # the page's own, and the packed values
    assert any(f"run {EVIL}" in content for _, content in outline.all("h3"))
    assert any(evil in content for _, content in outline.all("h4"))
    assert len(outline.all("audio")) == 2  # one pair: mixture and remix


def test_what_is_missing_is_told(song, tmp_path):
    """Scores without signals, signals without scores, references gone, a damaged file: never an error."""
    make_tiny_run(tmp_path, song, duration_s=1.0, listeners=("L5040",))
    enhanced = tmp_path / "baseline" / "enhanced_signals"
    for path in enhanced.rglob("*_left_*.flac"):
        path.write_bytes(b"no flac")
    for path in enhanced.rglob("*_remix.flac"):
        path.write_bytes(path.read_bytes()[:2000])
    for path in (tmp_path / "e016" / "records" / "score").rglob("*.json"):
        path.unlink()
    for path in (tmp_path / "references").rglob("*.wav"):
        path.unlink()
    write_report(find_runs(tmp_path), tmp_path / "report.html", audio=True)
    text = {a["id"]: t for a, t in Outline((tmp_path / "report.html").read_text()).all("section")}
    assert "Not scored: e016." in text["scores"]
    assert "Fewer than two scored systems" in text["comparison"]
    assert "no clean stems found" in text["pairs"]
    assert "e016 was not scored" in text["pairs"]
    assert "Not everything could be measured" in text["sound"]
    assert "Not recorded: baseline, e016." in text["time"]


def test_scores_alone_make_a_report(folder, tmp_path):
    for name in ("baseline", "e016"):
        for record in (folder / name / "records" / "score").rglob("*.json"):
            place = tmp_path / f"{name}_records" / record.parent.name
            place.mkdir(parents=True, exist_ok=True)
            (place / record.name).write_bytes(record.read_bytes())
        (tmp_path / f"{name}.csv").write_text("")
    runs = [run for name in ("baseline", "e016") for run in find_runs(tmp_path / f"{name}.csv")]
    write_report(runs, tmp_path / "report.html", against="e016")
    text = {a["id"]: t for a, t in Outline((tmp_path / "report.html").read_text()).all("section")}
    assert "No run has enhanced signals" in text["sound"]
    assert "baseline against e016" in text["comparison"]
    assert "Achieved gains were not measured" in text["listeners"]


def test_runs_of_one_name_and_other_audiograms_are_refused(folder, song, tmp_path):
    runs = find_runs(folder / "baseline")
    with pytest.raises(InputError, match="two runs of one name"):
        gather([*runs, *runs])
    with pytest.raises(InputError, match="unknown run 'e15'"):
        gather(runs, against="e15")
    for record in (folder / "e016" / "records").rglob("L5040/*.json"):
        place = tmp_path / "e016" / record.relative_to(folder / "e016")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(record.read_text().replace("70.0", "75.0"))
    with pytest.raises(InputError, match="L5040 has other audiograms than in baseline"):
        gather([*runs, *find_runs(tmp_path / "e016")])


def test_measured_pairs_are_few_and_hold_best_and_worst(folder):
    contents = gather(find_runs(folder), n_measured=2)
    for name, (best, worst) in contents.extremes.items():
        assert len(contents.measured[name]) <= 3
        assert contents.measured[name]
        assert set(best) & set(worst) == set()
    assert contents.against == "baseline"


def test_chain_in_words_tells_every_part():
    words = " ".join(chain_in_words(load_chain("e016")))
    for part in ("221 taps", "threshold 0.35", "attack 50 ms", "release 1000 ms", "64 ms", "250 to 18500 Hz", "tanh"):
        assert part in words
    assert chain_in_words(Chain(gains_db={"vocals": 3.0, "bass": 0.0}))[0] == "Gains: vocals +3 dB"


def test_digest_changes_with_a_key(folder):
    first, second = (run.enhanced for run in find_runs(folder))
    assert records_digest(first) == records_digest(dict(reversed(first.items())))
    assert records_digest(first) != records_digest(second)


@pytest.mark.parametrize(
    ("value", "signed", "shown"),
    [(1.0, True, "+1.00"), (-0.001, True, "0.00"), (-12345.6, False, "−12 345.60"), (float("inf"), False, "∞")],
)
def test_numbers_are_shown_for_people(value, signed, shown):
    assert shown_number(value, Column("x", 2, signed=signed)) == shown


def test_cells_carry_exact_numbers_and_escape_text():
    table = data_table(
        "t", "<T>", [Column("a"), Column("b", 1)], [["<i>", Interval(0.123456789, 0.1, float("nan"))], ["x", None]]
    )
    assert 'data-v="0.123457 0.1 -"' in table
    assert "&lt;i&gt;" in table
    assert "&lt;T&gt;" in table
    assert "<i>" not in table


def test_only_html_is_left_as_it_is():
    assert element("p", "<b>", element("b", "&"), None, class_="x", hidden=True, title=None) == (
        '<p class="x" hidden>&lt;b&gt;<b>&amp;</b></p>'
    )
    assert escaped(Html("<b>")) == "<b>"
    assert element("a", title='"><script>') == '<a title="&quot;&gt;&lt;script&gt;"></a>'


def test_clips_are_equally_loud(tmp_path):
    """What is decoded from the page is as loud as it should be, and the quiet and the loud one are alike."""
    from cadenza_remix.audio.io import load_audio
    from cadenza_remix.audio.loudness import integrated_lufs

    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2 * 32000, 2)).astype(np.float32)
    players = clips({"quiet": Audio(0.001 * noise, 32000), "loud": Audio(0.2 * noise, 32000)}, "x")
    assert "silent" in clips({"nothing": Audio(np.zeros((32000, 2)), 32000)}, "x")
    for number, data in enumerate(re.findall(r"data:audio/ogg;base64,([^\"]+)", players)):
        path = tmp_path / f"{number}.ogg"
        path.write_bytes(base64.b64decode(data))
        assert integrated_lufs(load_audio(path, sample_rate=None)) == pytest.approx(CLIP_LUFS, abs=0.7)
