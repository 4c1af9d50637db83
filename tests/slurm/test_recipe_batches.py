"""The Hydra recipe as an array job on a real Slurm: batches side by side on two nodes, and their scores merged."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cad1_layout import write_cad1
from slurm_cluster import SlurmCluster

from cadenza_remix.challenge.pairs import Pair, batch_of

RECIPE = Path(__file__).parents[2] / "recipes" / "cad1_task1"
SEPARATOR = "spleeter:2stems+hpss"

Site = Callable[..., Path]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cad1") / "it's 50% data"
    write_cad1(folder)
    return folder


@pytest.fixture(scope="module")
def whole(root: Path) -> Path:
    """What the recipe makes without batches and without Slurm."""
    exp = root.parent / "whole"
    for script in ("enhance.py", "evaluate.py"):
        quoted = str(root).replace("'", "\\'")
        settings = [f"path.root='{quoted}'", f"path.exp_folder='{exp}'", f"separator.model={SEPARATOR}"]
        subprocess.run(
            [sys.executable, str(RECIPE / script), *settings], check=True, capture_output=True, cwd=exp.parent
        )
    return exp


@pytest.fixture
def site(root: Path, tmp_path: Path) -> Site:
    """Write the values of a site: those of the recipe, but for what must differ here."""

    def write(exp: Path, *more: str) -> Path:
        values = [
            f'data_folder="{root}"',
            f'exp_folder="{exp}"',
            f'environment() {{ PATH="{Path(sys.executable).parent}:$PATH"; }}',
            "cpus=6",  # of 16: two batches fit on a node
            "n_batches=3",
            f"recipe_settings=(separator.model={SEPARATOR})",
            *more,
        ]
        path = tmp_path / "a site.conf"
        path.write_text("\n".join([(RECIPE / "slurm" / "site.conf").read_text(), *values, ""]), encoding="utf-8")
        return path

    return write


def submit(cluster: SlurmCluster, site: Path) -> tuple[str, str]:
    """Submit batches and merging as a user does; return their job ids."""
    said = cluster.run(str(RECIPE / "slurm" / "submit_batches.sh"), str(site)).stdout
    batches, merge = re.findall(r"job (\d+)", said)
    return batches, merge


def finish(cluster: SlurmCluster, merge: str, exp: Path) -> None:
    cluster.wait(lambda: cluster.states()[merge] in ("COMPLETED", "FAILED"), 180, "batches are merged")
    assert cluster.states()[merge] == "COMPLETED", logs(exp)


def logs(exp: Path) -> str:
    return "\n".join(path.read_text() for path in sorted((exp / "slurm").glob("*.log")))


def result_files(exp: Path) -> dict[str, bytes]:
    folders = [exp / name for name in ("enhanced_signals", "records", "stems")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(exp).as_posix(): path.read_bytes() for path in [*files, exp / "scores.csv"]}


@pytest.mark.slurm
def test_batches_on_two_nodes_make_what_one_run_makes(
    clean_cluster: SlurmCluster, site: Site, whole: Path, tmp_path: Path
) -> None:
    exp = tmp_path / "100% of it"
    batches, merge = submit(clean_cluster, site(exp))
    finish(clean_cluster, merge, exp)
    nodes = clean_cluster.nodes_of_jobs()
    assert {nodes[f"{batches}_{batch}"] for batch in range(3)} == {"node1", "node2"}
    assert result_files(exp) == result_files(whole)
    assert {path.name for path in (exp / "slurm").iterdir()} == {
        f"merge-{merge}.log", *(f"batches-{batches}_{batch}.log" for batch in range(3))
    }  # fmt: skip


@pytest.mark.slurm
def test_batches_may_demix_one_song_at_the_same_time(
    clean_cluster: SlurmCluster, site: Site, root: Path, whole: Path, tmp_path: Path
) -> None:
    exp = tmp_path / "one song"
    one = "'" + str(root / "metadata" / "one.json").replace("'", "\\'") + "'"
    _, merge = submit(clean_cluster, site(exp, f'recipe_settings+=("path.music_file={one}")'))
    finish(clean_cluster, merge, exp)
    assert logs(exp).count("Demixing Falcon") > 1  # they were at it together
    made = result_files(exp)
    made.pop("scores.csv")
    expected = result_files(whole)
    assert made == {name: expected[name] for name in expected if "Falcon" in name}
    lines = (whole / "scores.csv").read_text().splitlines()
    assert (exp / "scores.csv").read_text().splitlines() == [lines[0], *(line for line in lines if "Falcon" in line)]


@pytest.mark.slurm
def test_a_batch_near_its_time_limit_starts_again(
    clean_cluster: SlurmCluster, site: Site, whole: Path, tmp_path: Path
) -> None:
    exp = tmp_path / "again"
    shutil.copytree(whole / "stems", exp / "stems")
    batches, merge = submit(clean_cluster, site(exp, "n_batches=1"))
    job = f"{batches}_0"
    clean_cluster.wait(lambda: (exp / "records" / "enhance").exists(), 60, "a pair is enhanced")
    clean_cluster.run("scancel", "--batch", "--signal=USR1", job)  # as Slurm does 120 s before the end
    clean_cluster.wait_for(job, "PENDING")
    assert "stopped early: to be started again (0 restarts so far)" in logs(exp)
    clean_cluster.skip_requeue_delay(job)
    clean_cluster.wait_for(job, "COMPLETED", 90)
    assert clean_cluster.details(job)["Restarts"] == "1"
    # One batch needs no merging: the job that would merge says so.
    clean_cluster.wait_for(merge, "FAILED")
    assert result_files(exp) == result_files(whole)


def test_each_batch_begins_with_another_song(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RECIPE))
    monkeypatch.delitem(sys.modules, "settings", raising=False)
    order = runpy.run_path(str(RECIPE / "enhance.py"))["from_another_song"]
    monkeypatch.delitem(sys.modules, "settings")
    songs, listeners = ["a", "b", "c", "d"], ["L1", "L2", "L3"]
    pairs = [Pair(song, listener) for song in songs for listener in listeners]
    firsts = []
    for batch in range(2):
        own = batch_of(pairs, batch, 2)
        ordered = order(own, batch=batch, n_batches=2)
        assert sorted(ordered) == sorted(own)
        firsts.append(ordered[0].song)
    assert firsts == ["a", "c"]
    assert order(pairs, batch=0, n_batches=1) == pairs
    assert order([], batch=1, n_batches=2) == []
    assert [pair.song for pair in order(batch_of(pairs, 1, 2), batch=1, n_batches=2)] == ["c", "d", "d", "a", "b", "b"]
