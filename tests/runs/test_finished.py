"""What a run left on disk is found again, with the files to look at and listen to."""

import json
import shutil

import pytest
from tiny_run import make_tiny_run

from cadenza_remix.audio.io import load_audio, load_stems, read_scaled_flac, write_wav
from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.remix import load_chain
from cadenza_remix.runs.finished import find_all_runs, find_runs


@pytest.fixture(scope="module")
def made(tmp_path_factory, song):
    folder = tmp_path_factory.mktemp("runs") / "results"
    make_tiny_run(folder, song, n_songs=2, duration_s=1.0, listeners=("L5040",))
    return folder


def test_each_folder_of_a_demo_is_a_run(made):
    baseline, e016 = find_runs(made)
    assert (baseline.name, e016.name) == ("baseline", "e016")
    assert baseline.songs == ("Falcon - part 0", "Falcon - part 1")
    assert baseline.pairs == tuple(Pair(song, "L5040") for song in baseline.songs)
    assert baseline.listeners["L5040"] == load_listeners("cad1-sample")["L5040"]
    assert e016.chain == load_chain("e016")
    assert e016.separators == ("test:quarter",)
    assert set(e016.scored) == set(e016.enhanced) == set(e016.pairs)


def test_files_of_a_pair_are_found(made):
    run = find_runs(made / "e016")[0]
    pair = run.pairs[0]
    assert load_audio(run.remix_file(pair)).duration_s == pytest.approx(1.0)
    for ear in EARS:
        for stem in STEMS:
            assert read_scaled_flac(run.stem_file(pair, ear, stem)).n_samples == 24000
    source = run.sources[pair.song]
    assert load_audio(source.mixture).n_samples == load_stems(source.kept_stems)["bass"].n_samples == 44100
    assert set(load_stems(source.references)) == set(STEMS)
    assert run.remix_file(Pair("no such song", "L5040")) is None
    assert run.segments_s(pair) is None


def test_references_and_music_may_be_named(made, tmp_path):
    lone = tmp_path / "mine"
    shutil.copytree(made / "baseline", lone)
    (run,) = find_runs(lone)
    assert run.name == "mine"
    assert run.sources["Falcon - part 0"].mixture is None
    (run,) = find_runs(lone, references=made / "references", name="first")
    assert run.name == "first"
    assert run.sources["Falcon - part 0"].references == made / "references" / "Falcon - part 0"
    song = tmp_path / "Falcon - part 1.wav"
    write_wav(song, load_audio(made / "references" / "Falcon - part 1" / "mixture.wav"))
    (run,) = find_runs(lone, music=[song])
    assert run.sources["Falcon - part 1"].mixture == song


def test_stems_of_another_separator_are_not_taken(made, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(made, folder)
    record = folder / "stems" / "Falcon - part 0" / "record.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "key": "another"}))
    run = find_runs(folder)[0]
    assert run.sources["Falcon - part 0"].kept_stems is None
    assert run.sources["Falcon - part 1"].kept_stems is not None


def test_a_table_with_its_records_is_a_run_of_scores(made, tmp_path):
    shutil.copytree(made / "e016" / "records" / "score", tmp_path / "scores_records")
    (tmp_path / "scores.csv").write_text("")
    (run,) = find_runs(tmp_path / "scores.csv")
    assert run.name == "scores"
    assert len(run.scored) == 2
    assert not run.enhanced
    assert run.chain is None
    shutil.copytree(made / "e016", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "records" / "score")
    assert not find_runs(tmp_path / "run")[0].scored
    assert len(find_runs(tmp_path / "run", scores=tmp_path / "scores.csv")[0].scored) == 2


def test_records_that_cannot_be_read_are_pairs_not_done(made, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(made / "baseline", folder)
    for stage in ("enhance", "score"):
        (folder / "records" / stage / "L5040" / "Falcon - part 0.json").write_text("{")
    run = find_runs(folder)[0]
    assert run.songs == ("Falcon - part 1",)
    assert sorted(path.parts[-3] for path in run.damaged) == ["enhance", "score"]


def test_stems_whose_record_is_damaged_are_noted(made, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(made, folder)
    record = folder / "stems" / "Falcon - part 0" / "record.json"
    record.write_text("{")
    run = find_runs(folder)[0]
    assert run.damaged == (record,)
    assert run.sources["Falcon - part 0"].kept_stems is None


def test_a_folder_too_high_or_too_low_is_told_where_to_look(made, tmp_path):
    (tmp_path / "out").mkdir()
    shutil.copytree(made, tmp_path / "out" / "demo")
    for given, meant in (("out", "out/demo"), ("out/demo/baseline/enhanced_signals", "out/demo/baseline")):
        with pytest.raises(InputError, match=f"did you mean {tmp_path / meant}\\?"):
            find_runs(tmp_path / given)


def test_runs_of_one_name_are_told_apart(made, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(made, other)
    names = [run.name for run in find_all_runs([made, other])]
    assert names == ["results/baseline", "results/e016", "other/baseline", "other/e016"]
    assert [run.name for run in find_all_runs([made])] == ["baseline", "e016"]
    with pytest.raises(InputError, match="given twice"):
        find_all_runs([made, made])


@pytest.mark.parametrize("kind", ["nothing", "empty", "other", "table", "too long"])
def test_what_holds_no_results_is_told(kind, tmp_path):
    path = tmp_path / ("given" if kind != "too long" else 300 * "x")
    if kind in ("empty", "other"):
        path.mkdir()
    if kind == "other":
        (path / "notes.txt").write_text("")
    if kind == "table":
        path.write_text("song,listener\n")
    with pytest.raises(InputError, match=str(path)):
        find_runs(path)
