"""docs/slurm.md: the ten lines run as they stand, its settings are read."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cad1_layout import SONGS, write_cad1

from cadenza_remix.runs.shards.config import load_run_config
from cadenza_remix.slurm.settings import read_settings

TEXT = (Path(__file__).parents[2] / "docs" / "slurm.md").read_text(encoding="utf-8")


def block(language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)
    return found


def test_its_settings_are_read_and_name_every_key_there_is(tmp_path):
    (tmp_path / "run.yaml").write_text(block("yaml"), encoding="utf-8")
    config = load_run_config(tmp_path / "run.yaml")
    settings = read_settings(config.slurm)
    assert settings.pairs.cpus == 40
    told = yaml.safe_load(block("yaml"))["slurm"]
    assert set(told) == set(settings.__dataclass_fields__)


@pytest.mark.slurm
def test_from_the_login_node_to_scores_in_ten_lines(clean_cluster, tmp_path):
    write_cad1(tmp_path / "task1")
    lines = block("bash")
    assert len(lines.strip().splitlines()) <= 10
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", lines],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    header, *rows = done.stdout.strip().splitlines()[-3:]
    assert header.startswith("song,listener,score")
    assert len(rows) == 2
    assert (tmp_path / "run" / "scores.csv").read_text().count("\n") == 1 + 3 * len(SONGS)
