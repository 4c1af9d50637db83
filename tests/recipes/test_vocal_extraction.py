"""The comparison as its user runs it, at its smallest: trained, scored, written, and not done again."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cadenza_remix.audio.io import write_wav
from cadenza_remix.audio.signal import Audio
from cadenza_remix.separation.trained.folder import load_network, read_model_folder

SCRIPT = Path(__file__).parents[2] / "recipes" / "vocal_extraction" / "compare.py"
SYSTEMS = ("deep-clustering", "uh-net", "ibm-cnn")
ROWS = ("deep-clustering", "uh-net", "ibm-cnn, hard mask", "ibm-cnn, soft mask")


def compare(data: Path, out: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder that it has to leave alone."""
    command = [
        sys.executable,
        str(SCRIPT),
        f"data.path='{data}'",
        f"out='{out}'",
        "tiny=true",
        "device=cpu",
        *overrides,
    ]
    elsewhere = out.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert list(elsewhere.iterdir()) == []
    return done


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four songs of three seconds in MUSDB18-HQ's layout: one to validate on, one held out."""
    root, rng = tmp_path_factory.mktemp("vocal extraction") / "songs", np.random.default_rng(0)
    seconds = np.arange(3 * 44_100) / 44_100
    for number, song in enumerate(("train/a", "train/b", "train/c", "test/d")):
        vocals = 0.1 * np.sin(2 * np.pi * (300 + 50 * number) * seconds + 3 * np.sin(2 * np.pi * 5 * seconds))
        stems = {"vocals": vocals[:, np.newaxis] * [1.0, 0.9]}
        for stem, level in (("drums", 0.04), ("bass", 0.02), ("other", 0.02)):
            stems[stem] = level * rng.standard_normal((len(seconds), 2))
        for name, samples in {**stems, "mixture": sum(stems.values())}.items():
            write_wav(root / song / f"{name}.wav", Audio(samples, 44_100))
    (root / "metadata").mkdir()
    valid = json.dumps([{"Track Name": "c", "Split": "valid"}])
    (root / "metadata" / "musdb18.valid.json").write_text(valid, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def out(data: Path) -> Path:
    """The results of one comparison."""
    folder = data.parent / "results"
    done = compare(data, folder, f"compare=[{','.join(SYSTEMS)}]", "seeds=[3]")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_table(out: Path) -> None:
    page = (out / "comparison.md").read_text(encoding="utf-8")
    assert "compare.py" in page
    for stem in ("vocals", "accompaniment"):
        table = page.split(f"{stem}, in dB:")[1].split("\n\n")[1]
        assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["mixture", *ROWS]
    for name in SYSTEMS:
        assert read_model_folder(out / "trainings" / f"{name}-3" / "model").spec.stems == ("vocals", "accompaniment")


def test_csv_holds_every_score(out: Path) -> None:
    rows = list(csv.DictReader((out / "comparison.csv").open(encoding="utf-8")))
    found = [(row["system"], row["seed"], row["song"], row["stem"]) for row in rows]
    expected = [("mixture", ""), *((name, "3") for name in ROWS)]
    assert found == [(*pair, "d", stem) for pair in expected for stem in ("vocals", "accompaniment")]
    for row in rows:
        assert np.isfinite(float(row["snr_db"]))
        assert row["system"] == "mixture" or float(row["gflop_per_s"]) > 0
    minutes = {row["system"]: float(row["minutes"]) for row in rows if row["seed"]}
    assert minutes["uh-net"] > minutes["deep-clustering"] > 0


def test_uh_net_has_the_embeddings_of_the_same_seed(out: Path) -> None:
    base, hybrid = (load_network(read_model_folder(out / "trainings" / f"{name}-3" / "model")) for name in SYSTEMS[:2])
    inner = {weight.path: weight.numpy() for weight in hybrid.get_layer("embedding_network").weights}
    assert len(inner) == len(base.weights)
    for weight in base.weights:
        np.testing.assert_array_equal(inner[weight.path], weight.numpy())


def test_audio_examples_are_short_and_small(out: Path) -> None:
    files = sorted((out / "audio").iterdir())
    assert len(files) == 1 + 2 * (1 + len(ROWS))
    for file in files:
        assert file.stat().st_size < 60_000
        assert soundfile.info(file).duration == pytest.approx(1.0, abs=0.01)


def test_figure(out: Path) -> None:
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_done_twice(data: Path, out: Path) -> None:
    kept = [*out.glob("trainings/*/model/*"), *out.glob("trainings/*/checkpoints/*"), *out.glob("scores/*")]
    before = {file: file.stat().st_mtime_ns for file in kept}
    page = (out / "comparison.md").read_bytes()
    done = compare(data, out, f"compare=[{','.join(SYSTEMS)}]", "seeds=[3]")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "training" not in done.stdout
    assert {file: file.stat().st_mtime_ns for file in kept} == before
    assert (out / "comparison.md").read_bytes() == page


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("compare=[u-net]", "compare: unknown system 'u-net'"),
        ("seeds=[]", "seeds: wrong list"),
        ("data.test_split=held-out", "held-out"),
    ],
)
def test_wrong_settings_are_one_line(data: Path, tmp_path: Path, override: str, line: str) -> None:
    done = compare(data, tmp_path / "results", override)
    assert done.returncode == 2
    assert line in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "results").exists()
