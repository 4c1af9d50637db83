"""``data describe``, ``data synth`` and ``train`` as a user meets them, and the three commands of docs/training.md."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from tiny_songs import write_musdb18hq

ROOT = Path(__file__).parents[1]
DOCS = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
SMALL = ROOT / "recipes" / "train_vdbo" / "small.yaml"
#: Seconds instead of minutes, of the same commands.
SHORTER = {
    "synth": ["--hours", "0.003", "--workers", "1"],
    "train": [
        "model.n_frames=32",
        "model.n_context=4",
        "model.settings.filters=[2,3,4]",
        "training.max_minutes=0.2",
        "training.max_steps=6",
        "training.batch_size=2",
        "training.validate_every_steps=3",
        "training.n_workers=0",
        "data.valid=[]",
    ],
    "separate": ["--bits", "32f"],
}


def run(*arguments, cwd):
    command = [sys.executable, "-m", "cadenza_remix", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_the_three_commands_of_the_docs(tmp_path):
    (block,) = re.findall(r"```bash\n(cadenza-remix data synth.*?)```", DOCS, flags=re.DOTALL)
    commands = [shlex.split(line)[1:] for line in block.strip().splitlines()]
    assert [command[0] for command in commands] == ["data", "train", "separate"]
    settings = tmp_path / "recipes" / "train_vdbo" / "small.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(SMALL.read_text(encoding="utf-8"), encoding="utf-8")
    song = 0.1 * np.random.default_rng(1).standard_normal((44_100, 2))
    soundfile.write(tmp_path / "song.wav", song, 44_100, subtype="FLOAT")
    for command in commands:
        name = command[1] if command[0] == "data" else command[0]
        result = run(*command, *SHORTER[name], cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr
    stems = [
        soundfile.read(tmp_path / "out/stems/song" / f"{stem}.wav")[0] for stem in ("vocals", "drums", "bass", "other")
    ]
    # 32-bit files of stems that sum to the song.
    assert np.allclose(sum(stems), song, atol=1e-5)
    card = json.loads((tmp_path / "out/small/model/model.json").read_text())
    assert card["facts"]["step"] == 6
    assert (tmp_path / "out/small/curves.png").stat().st_size > 5000


def test_describe_tells_and_writes(tmp_path):
    write_musdb18hq(tmp_path / "songs")
    (tmp_path / "songs/train/Leaf - Summerghost/bass.wav").write_bytes(b"no sound")
    result = run("data", "describe", "songs", "--csv", "songs.csv", "--page", "songs.html", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "layout musdb18hq, 3 songs" in result.stdout
    assert "bass.wav" in result.stdout
    assert "A - Été" in (tmp_path / "songs.csv").read_text(encoding="utf-8")
    assert (tmp_path / "songs.html").read_text(encoding="utf-8").count("<svg") + (tmp_path / "songs.html").read_text(
        encoding="utf-8"
    ).count("<img") > 2


def test_a_process_refuses_settings_in_one_line(tmp_path):
    result = run("train", SMALL, "--out", "run", "training.steps=3", cwd=tmp_path)
    errors = [text for text in result.stderr.splitlines() if text.startswith("cadenza-remix: error: ")]
    assert (result.returncode, len(errors)) == (2, 1), result.stderr
    assert "training: unknown setting 'steps'" in errors[0]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["data", "describe", "nowhere"], "nowhere"),
        (["data", "describe", ".", "--page", "."], "is a folder"),
        (["data", "synth", "--out", "band", "--hours", "-1"], "hours"),
        (
            ["data", "synth", "--out", "band", "--hours", "0.01", "--soundfont", "none.sf2"],
            "none.sf2: no such SoundFont",
        ),
        (["train", "none.yaml", "--out", "run"], "none.yaml: file is missing"),
        (["train", str(SMALL), "--out", "run", "loss=l3"], "unknown loss 'l3'"),
        (["train", str(SMALL), "--out", "run", "data.train[0].path=nowhere", "data.valid=[]"], "nowhere"),
        (["separate", "song.wav", "--separator", "./nothing", "--out", "stems"], "nothing"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(arguments, line, tmp_path, monkeypatch, call_here):
    soundfile.write(tmp_path / "song.wav", np.zeros(1000), 44_100)
    monkeypatch.chdir(tmp_path)
    result = call_here(*arguments)
    errors = [text for text in result.stderr.splitlines() if text.startswith("cadenza-remix: error: ")]
    assert (result.returncode, len(errors)) == (2, 1), result.stderr
    assert line in errors[0]
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) in (
        ["song.wav"],
        ["run", "song.wav"],
    )


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("train_*/*.yaml")), ids=lambda path: path.stem)
def test_the_recipes_are_read_and_their_networks_can_be_built(path):
    from cadenza_remix.training.fit.config import load_config

    config = load_config(path)
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["name"] == config.name
    assert config.model.spec().stems == config.model.stems
