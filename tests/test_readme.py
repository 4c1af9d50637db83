"""What the README shows works as written."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import yaml

from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.remix import load_chain
from cadenza_remix.runs.shards.config import load_run_config
from cadenza_remix.slurm.settings import read_settings

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_listener_and_chain_files_of_the_readme_are_read(tmp_path):
    (listeners,) = blocks("json")
    (tmp_path / "listeners.json").write_text(listeners)
    assert list(load_listeners(tmp_path / "listeners.json")) == list(json.loads(listeners))
    chain, _ = blocks("yaml")
    (tmp_path / "mine.yaml").write_text(chain)
    read = load_chain(tmp_path / "mine.yaml")
    assert read.gains_db == yaml.safe_load(chain)["gains_db"]
    assert read.compressor is not None
    assert read.band_pass is not None


def test_settings_of_a_run_in_the_readme_are_read(tmp_path):
    _, settings = blocks("yaml")
    (tmp_path / "run.yaml").write_text(settings)
    config = load_run_config(tmp_path / "run.yaml")
    assert config.song_list == tmp_path / "task1/metadata/musdb18.valid.json"
    assert read_settings(config.slurm).pairs.cpus == 40


def test_python_of_the_readme_runs(song, monkeypatch, tmp_path):
    from cadenza_remix.audio.io import load_audio, write_wav

    code, _, _ = blocks("python")
    write_wav(tmp_path / "song.wav", load_audio(song.path).excerpt(1.0, 2.0))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    result = names["result"]
    assert result.remix.samples.shape == (32000, 2)
    assert result.stems["left_vocals"].samples.shape == (24000, 1)


def test_metrics_of_the_readme_run_on_arrays():
    _, code, _ = blocks("python")
    rng = np.random.RandomState(1)
    reference = rng.standard_normal(24000) * 0.05
    names: dict[str, object] = {"reference": reference, "processed": reference + 0.005 * rng.standard_normal(24000)}
    exec(compile(code, "README.md", "exec"), names)
    assert 0 < names["result"].score < 1
    assert len(names["scores"]) == 2


def test_separation_of_the_readme_runs(song, monkeypatch, tmp_path):
    from cadenza_remix.audio.io import load_audio, write_wav

    _, _, code = blocks("python")
    mixture = load_audio(song.path).excerpt(0.0, 2.0)
    for name in ("song.wav", "long.wav"):
        write_wav(tmp_path / name, mixture)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["stems"]["vocals"].n_samples == mixture.n_samples
    # The last piece: the song is shorter than a segment.
    np.testing.assert_array_equal(
        names["block"]["vocals"], names["stems"]["vocals"].samples[-len(names["block"]["vocals"]) :]
    )


def test_commands_of_the_readme_exist():
    from typer.main import get_command

    from cadenza_remix.cli import app

    command = get_command(app)
    for line in "\n".join(blocks("bash")).replace("\\\n", " ").splitlines():
        words = shlex.split(line.split("#")[0])
        if not words or not words[0].endswith("cadenza-remix"):
            continue
        sub = command
        for word in words[1:]:
            if word not in getattr(sub, "commands", {}):
                break
            sub = sub.commands[word]
        if "room" in getattr(sub, "commands", {}):  # of listen: what is given no command is for the room
            sub = sub.commands["room"]
        known = {option for parameter in sub.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_files_that_the_readme_names_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (Path(__file__).parents[1] / target).exists(), target
