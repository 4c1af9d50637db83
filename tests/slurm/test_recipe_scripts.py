"""The recipe's batch scripts: run as they are on a real Slurm, with one file of the site's values."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cad1_layout import write_cad1
from slurm_cluster import SlurmCluster

SCRIPTS = Path(__file__).parents[2] / "recipes" / "cad1_task1" / "slurm"
BIN = Path(sys.executable).parent

Site = Callable[..., Path]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cad1") / "it's 50% data"
    write_cad1(folder)
    return folder


def settings_of(data_folder: str) -> str:
    text = (SCRIPTS / "run.yaml").read_text(encoding="utf-8")
    on_cores = text.replace("model: auto ", "device: cpu\n  model: spleeter:2stems+hpss ")
    return on_cores.replace("DATA_FOLDER", data_folder)


@pytest.fixture(scope="module")
def here(root: Path) -> Path:
    """The run that the scripts make, on this machine without Slurm."""
    config = root.parent / "run.yaml"
    config.write_text(settings_of(str(root).replace("'", "''")), encoding="utf-8")
    run = root.parent / "here"
    command = [str(BIN / "cadenza-remix"), "run", str(config), "--out", str(run), "--workers", "1"]
    subprocess.run(command, check=True, capture_output=True)
    return run


@pytest.fixture
def site(root: Path, tmp_path: Path) -> Site:
    """Write the values of a site: those of the recipe, but for what must differ here."""

    def write(run: Path, *more: str) -> Path:
        settings = tmp_path / "2stems.yaml"
        settings.write_text(settings_of("DATA_FOLDER"), encoding="utf-8")
        values = [
            f'data_folder="{root}"',
            f'run_folder="{run}"',
            f'run_settings="{settings}"',
            f'environment() {{ PATH="{BIN}:$PATH"; }}',
            "demix_jobs=2 pairs_jobs=3",
            *more,
        ]
        path = tmp_path / "a site.conf"
        path.write_text("\n".join([(SCRIPTS / "site.conf").read_text(), *values, ""]), encoding="utf-8")
        return path

    return write


def result_files(run: Path) -> dict[str, bytes]:
    folders = [run / name for name in ("enhanced_signals", "records", "stems")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in [*files, run / "scores.csv"]}


def logs(folder: Path) -> str:
    return "\n".join(f"{path.name}: {path.read_text()}" for path in sorted(folder.rglob("*.log")))


def finish(cluster: SlurmCluster, job: str, run: Path, state: str = "COMPLETED") -> None:
    cluster.wait(lambda: cluster.states()[job] in ("COMPLETED", "FAILED"), 180, f"job {job} is over")
    assert cluster.states()[job] == state, logs(run)


@pytest.mark.slurm
def test_a_submitted_run_makes_what_a_local_one_makes_and_nothing_is_left_for_a_second(
    clean_cluster: SlurmCluster, site: Site, here: Path, tmp_path: Path
) -> None:
    run = tmp_path / "100% of it"
    path = site(run, "gpus=1", "sbatch_options=(--comment='of the site')", "cpus=2")
    said = clean_cluster.run(str(SCRIPTS / "submit.sh"), str(path)).stdout
    demix, *pairs, collect = re.findall(r"job (\d+)", said)
    assert len(pairs) == 2  # one array for each job that demixes
    assert [f"after {demix}_{number}\n" in said for number in range(2)] == [True, True]
    finish(clean_cluster, collect, run)
    assert result_files(run) == result_files(here)
    assert clean_cluster.details(demix + "_0")["Comment"] == "of"
    names = {path.name for path in (run / "slurm" / "logs").iterdir()}
    assert {f"demix-{demix}_0.log", f"demix-{demix}_1.log", f"collect-{collect}.log"} < names
    assert len(names) == 6

    times = {path: path.stat().st_mtime_ns for path in (run / "enhanced_signals").rglob("*.*")}
    again = clean_cluster.run(str(SCRIPTS / "submit.sh"), str(path)).stdout
    assert f"round 2 in {run}" in again
    finish(clean_cluster, re.findall(r"job (\d+)", again)[-1], run)
    assert {path: path.stat().st_mtime_ns for path in (run / "enhanced_signals").rglob("*.*")} == times


@pytest.mark.slurm
def test_scripts_work_by_hand_with_any_number_of_jobs(
    clean_cluster: SlurmCluster, site: Site, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "by hand"
    path = site(run)
    clean_cluster.run(
        str(BIN / "cadenza-remix"), "shard", "plan", str(here.parent / "run.yaml"), "--out", str(run),
        "--demix-shards", "2", "--pairs-shards", "3",
    )  # fmt: skip
    monkeypatch.chdir(SCRIPTS)  # as a user does; logs would come here
    log = f"--output={tmp_path}/%x-%A_%a.log"
    demix = clean_cluster.run("sbatch", "--parsable", log, "--array=0", "demix.sbatch", str(path)).stdout.strip()
    after = f"--dependency=afterok:{demix}"
    pairs = clean_cluster.run(
        "sbatch", "--parsable", log, "--array=0-1", after, "pairs.sbatch", str(path)
    ).stdout.strip()
    after = f"--dependency=afterok:{pairs}"
    collect = clean_cluster.run("sbatch", "--parsable", log, after, "collect.sbatch", str(path)).stdout.strip()
    finish(clean_cluster, collect, tmp_path)
    assert result_files(run) == result_files(here)
    assert "pairs-0" in logs(tmp_path).partition(f"cad1-pairs-{pairs}_1.log")[0]
    assert len(re.findall(r"pairs-[012], round 1", logs(tmp_path))) == 3


@pytest.mark.slurm
def test_a_shard_near_its_time_limit_starts_again_and_loses_nothing(
    clean_cluster: SlurmCluster, site: Site, here: Path, tmp_path: Path
) -> None:
    run = tmp_path / "again"
    path = site(run, "demix_jobs=1 pairs_jobs=1 cpus=1")
    _, pairs, collect = re.findall(r"job (\d+)", clean_cluster.run(str(SCRIPTS / "submit.sh"), str(path)).stdout)
    job = f"{pairs}_0"
    clean_cluster.wait(lambda: (run / "records" / "score").exists(), 90, "a pair is scored")
    clean_cluster.run("scancel", "--batch", "--signal=USR1", job)  # as Slurm does 120 s before the end
    clean_cluster.wait_for(job, "PENDING")
    assert clean_cluster.states()[collect] == "PENDING"  # it waits for what will start again
    clean_cluster.skip_requeue_delay(job)
    finish(clean_cluster, collect, run)
    assert clean_cluster.details(job)["Restarts"] == "1"
    assert result_files(run) == result_files(here)


@pytest.mark.slurm
def test_a_job_without_the_gpus_of_the_site_file_says_so(
    clean_cluster: SlurmCluster, site: Site, tmp_path: Path
) -> None:
    script, path = str(SCRIPTS / "demix.sbatch"), str(site(tmp_path / "run", "gpus=2"))
    log = f"--output={tmp_path}/%x.log"
    job = clean_cluster.run("sbatch", "--parsable", log, "--array=0", script, path, str(SCRIPTS)).stdout.strip()
    finish(clean_cluster, f"{job}_0", tmp_path, "FAILED")
    assert "Slurm gave this job none: does it have --gres=gpu:2?" in logs(tmp_path)


@pytest.mark.parametrize("path", [*sorted(SCRIPTS.glob("*.s[hb]*")), SCRIPTS / "site.conf"], ids=lambda path: path.name)
def test_scripts_are_bash(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_every_value_that_scripts_take_is_in_the_site_file() -> None:
    given = set(re.findall(r"^(\w+)=", (SCRIPTS / "site.conf").read_text(), re.MULTILINE))
    text = "\n".join(path.read_text() for path in SCRIPTS.glob("*.s[hb]*"))
    used = {name for name in given if re.search(rf"\$\{{?{name}\b|\(\({name}\b", text)}
    assert used == given
    assert not re.search(r"^#SBATCH.*(partition|account)", text, re.MULTILINE)  # those are the site's


def bash(script: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", "-c", f'source "{SCRIPTS}/jobs.sh"\n{script}'],
        env={**os.environ, **variables}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("passed", "sent", "answer"),
    [
        ("USR1", signal.SIGUSR1, "got USR1, status 75, time is up: yes"),
        ("TERM", signal.SIGUSR1, "got TERM, status 9, time is up: yes"),
        ("USR1", signal.SIGTERM, "got TERM, status 9, time is up:"),
    ],
)
def test_signals_reach_the_command(passed: str, sent: signal.Signals, answer: str) -> None:
    traps = 'trap "echo -n got USR1,; exit 75" USR1; trap "echo -n got TERM,; exit 9" TERM'
    command = f"{traps}; echo ready; for i in {{1..100}}; do sleep 0.1; done"
    running = bash(f"passing_signals {passed} bash -c '{command}'; echo \" status $?, time is up: $time_is_up\"")
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    time.sleep(0.1)  # until the shell waits for it
    running.send_signal(sent)
    assert running.communicate(timeout=20)[0].strip() == answer


def test_the_status_of_a_command_comes_through() -> None:
    said = bash('passing_signals USR1 bash -c "exit 5"; echo $?; passing_signals USR1 true; echo $?').communicate()[0]
    assert said == "5\n0\n"


def test_restarts_are_bounded() -> None:
    running = bash("start_again", SLURM_RESTART_COUNT="10", SLURM_JOB_ID="1")
    assert "after 10 restarts: submit again to go on" in running.communicate()[0]
    assert running.returncode == 75
