"""Settings of a run: what is read, what is refused and how."""

from pathlib import Path

import pytest

from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.runs.shards.config import load_run_config, plain_config
from cadenza_remix.runs.shards.folder import RunFolder
from cadenza_remix.runs.shards.journal import open_journal
from cadenza_remix.runs.shards.plan import PlannedSong, Speeds, make_plan

GOOD = """
songs: lists/musdb18.valid.json
music: ../musdb18hq
listeners: listeners.json
separator: {model: "spleeter:2stems", wiener: true}
speeds: {score: 0.5}
slurm: {options: [--account=abc]}
"""


def written(folder, text):
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_names_are_relative_to_the_file(tmp_path):
    config = load_run_config(written(tmp_path, GOOD))
    assert config.songs == (str(tmp_path / "lists/musdb18.valid.json"),)
    assert config.song_list == tmp_path / "lists/musdb18.valid.json"
    assert config.music == tmp_path / "../musdb18hq"
    assert config.listeners == str(tmp_path / "listeners.json")
    assert config.separator == {"model": "spleeter:2stems", "wiener": True}
    assert config.speeds == Speeds(score=0.5)
    assert config.slurm == {"options": ["--account=abc"]}


def test_a_trained_model_is_named_relative_to_the_file(tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/model.json").touch()
    for name, expected in (
        ("./mine", tmp_path / "mine"),
        ("../models/mine", tmp_path / "../models/mine"),
        ("plain", tmp_path / "plain"),
        ("~/mine", Path.home() / "mine"),
        ("/models/mine", Path("/models/mine").absolute()),
        ("not-there", "not-there"),
        ("auto", "auto"),
    ):
        config = load_run_config(written(tmp_path, f"songs: a.wav\nlisteners: bisgaard\nseparator: {name}\n"))
        assert config.separator == {"model": str(expected)}


def test_built_in_names_stay_names(tmp_path):
    config = load_run_config(written(tmp_path, "songs: [a.wav, b]\nlisteners: bisgaard\nchain: e016\n"))
    assert (config.listeners, config.chain, config.song_list) == ("bisgaard", "e016", None)


def test_written_and_read_again_from_elsewhere(tmp_path):
    import yaml

    config = load_run_config(written(tmp_path, GOOD + "chain: mine.yaml\nsmall_test: true\nlistener: [L1]\n"))
    (tmp_path / "elsewhere").mkdir()
    assert load_run_config(written(tmp_path / "elsewhere", yaml.safe_dump(plain_config(config)))) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("song: a.wav\nlisteners: bisgaard", r"unknown key 'song': .*did you mean 'songs'"),
        ("listeners: bisgaard", "key songs is missing"),
        ("songs: a.wav", "key listeners is missing"),
        ("songs: []\nlisteners: bisgaard", r"songs: wrong value: .*list of texts, found \[\]"),
        ("songs: a.wav\nlisteners: 3", "listeners: wrong value: expected text, found 3"),
        ("songs: a.wav\nlisteners: bisgaard\nwav: 1", "wav: wrong value: expected true or false, found 1"),
        ("songs: a.wav\nlisteners: bisgaard\nseparator: {modell: x}", "separator: unknown key 'modell'"),
        ("songs: a.wav\nlisteners: bisgaard\nspeeds: {score: fast}", r"speeds\.score: wrong speed"),
        ("songs: a.wav\nlisteners: bisgaard\nsongs: b.wav", "key songs stands twice.*line 3"),
        ("songs: a.wav\nlisteners: bisgaard\nslurm: 3", "slurm: wrong form: expected keys with values, found int"),
        ("- a\n- b", "wrong form: expected keys with values, found list"),
        ("", "wrong form: .*found nothing"),
        ("songs: [a", "is not YAML: .*line"),
        ("songs: a.wav\nlisteners:\n", "listeners: has no value"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        load_run_config(written(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "run.yaml" in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="file is missing"):
        load_run_config(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        load_run_config(tmp_path)


def test_speeds_of_a_former_run(tmp_path):
    run = RunFolder(tmp_path / "former")
    songs = {"a": PlannedSong(100.0, 30.0)}
    plan = make_plan(songs, [Pair("a", "L1")], n_demix_shards=1, n_pairs_shards=1)
    run.root.mkdir()
    plan.write(run.plan)
    written(tmp_path, "songs: a.wav\nlisteners: bisgaard\nspeeds: former")
    with pytest.raises(InputError, match="former: has measured nothing yet"):
        load_run_config(tmp_path / "run.yaml")
    with open_journal(run, plan.demix[0].id, 1, workers=1, n_units=1) as journal:
        journal.begin("demix/a")
        journal.done("demix/a", 50.0)
        journal.close("complete", 0)
    speeds = load_run_config(tmp_path / "run.yaml").speeds
    assert speeds is not None
    assert 0.45 < speeds.demix <= 0.5
