"""The test cluster itself: its faults are those of a real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slurm_cluster
from slurm_cluster import SlurmCluster

pytestmark = pytest.mark.slurm


def test_a_job_runs_where_it_can_see_its_node_and_gpus(clean_cluster: SlurmCluster, tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = clean_cluster.sbatch(
        f'echo "$SLURMD_NODENAME $CUDA_VISIBLE_DEVICES $SLURM_CPUS_PER_TASK" > {out}',
        "-p", "gpu", "--gres=gpu:2", "-c", "3", "-w", "node2",
    )  # fmt: skip
    clean_cluster.wait_for(job, "COMPLETED")
    assert out.read_text() == "node2 0,1 3\n"
    assert clean_cluster.nodes_of_jobs()[job] == "node2"


def test_a_killed_node_takes_its_jobs_with_it_and_they_run_again_elsewhere(clean_cluster: SlurmCluster) -> None:
    job = clean_cluster.sbatch("env -i /bin/sleep 300 & sleep 300", "--requeue", "-w", "node1")
    other = clean_cluster.sbatch("sleep 300", "-w", "node2")
    clean_cluster.wait(lambda: _sleepers(clean_cluster, "node1") == 2, 20, "both sleep")
    clean_cluster.wait(lambda: _sleepers(clean_cluster, "node2") == 1, 20, "the other sleeps")
    clean_cluster.kill_node("node1")
    assert clean_cluster.processes("node1") == []
    assert _sleepers(clean_cluster, "node2") == 1
    assert clean_cluster.states()[job] == "RUNNING"  # nobody told the controller
    clean_cluster.mark_down("node1")
    clean_cluster.wait_for(job, "PENDING")
    clean_cluster.run("scontrol", "update", f"jobid={job}", "ReqNodeList=node2")
    clean_cluster.skip_requeue_delay(job)
    clean_cluster.wait_for(job, "RUNNING")
    assert clean_cluster.nodes_of_jobs()[job] == "node2"
    assert clean_cluster.details(job)["Restarts"] == "1"
    assert clean_cluster.states()[other] == "RUNNING"
    clean_cluster.clean()
    assert clean_cluster.node_states() == {"node1": "idle", "node2": "idle"}
    assert _sleepers(clean_cluster) == 0
    again = clean_cluster.sbatch("true", "-w", "node1")
    clean_cluster.wait_for(again, "COMPLETED")


def test_a_job_of_the_urgent_partition_preempts(clean_cluster: SlurmCluster) -> None:
    job = clean_cluster.sbatch("sleep 300", "--requeue", "-N", "2", "-n", "2", "--exclusive")
    clean_cluster.wait_for(job, "RUNNING")
    urgent = clean_cluster.sbatch("sleep 300", "-p", "urgent", "-N", "2", "-n", "2", "--exclusive")
    clean_cluster.wait_for(urgent, "RUNNING")
    clean_cluster.wait_for(job, "PENDING")
    clean_cluster.run("scancel", urgent)
    clean_cluster.skip_requeue_delay(job)
    clean_cluster.wait_for(job, "RUNNING")
    assert clean_cluster.details(job)["Restarts"] == "1"


def test_what_waits_for_an_element_goes_on_waiting_when_that_is_requeued(clean_cluster: SlurmCluster) -> None:
    array = clean_cluster.sbatch("sleep 300", "--array=0-1", "--requeue", "-w", "node1")
    clean_cluster.wait_for(f"{array}_1", "RUNNING")
    waiting = clean_cluster.sbatch("true", f"--dependency=afterany:{array}_1")
    clean_cluster.run("scontrol", "requeue", f"{array}_1")
    clean_cluster.skip_requeue_delay(f"{array}_1")
    clean_cluster.wait_for(f"{array}_1", "RUNNING")
    clean_cluster.mark_down("node1")
    clean_cluster.wait_for(f"{array}_1", "PENDING")
    assert clean_cluster.details(f"{array}_1")["Restarts"] == "2"
    assert clean_cluster.states()[waiting] == "PENDING"
    clean_cluster.run("scancel", f"{array}_1")
    clean_cluster.wait_for(waiting, "COMPLETED")


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "when it is back already"])
def test_a_killed_node_takes_jobs_again(clean_cluster: SlurmCluster, waits: bool) -> None:
    clean_cluster.kill_node("node1")
    clean_cluster.mark_down("node1")
    clean_cluster.start_node("node1")
    if waits:
        clean_cluster.wait(lambda: clean_cluster.node_states()["node1"] == "idle", 60, "node1 comes back by itself")
    clean_cluster.resume("node1")
    job = clean_cluster.sbatch("true", "-w", "node1")
    clean_cluster.wait_for(job, "COMPLETED")


def test_clean_brings_a_killed_node_back_that_the_controller_still_believes_in(clean_cluster: SlurmCluster) -> None:
    clean_cluster.sbatch("sleep 300", "-w", "node2")
    clean_cluster.sbatch("sleep 300", "--begin=now+1hour")
    clean_cluster.wait(lambda: _sleepers(clean_cluster) == 1, 20, "it sleeps")
    clean_cluster.kill_node("node2")
    clean_cluster.clean()
    assert _sleepers(clean_cluster) == 0
    assert not set(clean_cluster.states().values()) & slurm_cluster.ACTIVE
    job = clean_cluster.sbatch("true", "-w", "node2")
    clean_cluster.wait_for(job, "COMPLETED")


def test_a_second_cluster_runs_beside_the_first_and_leaves_nothing(clean_cluster: SlurmCluster) -> None:
    with SlurmCluster(n_nodes=1, gpus=0, settings={"MaxArraySize": "11"}) as second:
        job = second.sbatch("sleep 300 & disown; setsid sleep 300")
        second.wait(lambda: _sleepers(second) == 2, 20, "both sleep")
        mine = clean_cluster.sbatch("sleep 300")
        clean_cluster.wait(lambda: _sleepers(clean_cluster) == 1, 20, "it sleeps")
        assert "MaxArraySize            = 11" in second.run("scontrol", "show", "config").stdout
        assert second.states()[job] == "RUNNING"
        base = second.base
        second._daemons["controller"].kill()
    assert not base.exists()
    assert second.processes() == []
    assert clean_cluster.states()[mine] == "RUNNING"


def test_a_cluster_ends_with_the_process_that_started_it_however_that_ends(tmp_path: Path) -> None:
    program = (
        "import sys, time; from slurm_cluster import SlurmCluster\n"
        "cluster = SlurmCluster(n_nodes=1, gpus=0); cluster.start(); cluster.sbatch('sleep 300')\n"
        "print(cluster.base, *cluster.processes(), flush=True); time.sleep(300)"
    )
    helpers = Path(slurm_cluster.__file__).parent
    with subprocess.Popen([sys.executable, "-c", program], cwd=helpers, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        base, *pids = starter.stdout.readline().split()
        assert len(pids) >= 2
        assert Path(base).is_dir()
        starter.kill()
    end = time.monotonic() + 20
    while Path(base).exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not Path(base).exists()
    assert not [pid for pid in pids if "slurm" in _command(pid)]


def test_what_does_not_happen_in_time_is_told_with_the_queue(clean_cluster: SlurmCluster) -> None:
    job = clean_cluster.sbatch("sleep 300", "--job-name=lazy")
    with pytest.raises(AssertionError, match=rf"(?s)not within 0.2 s: job {job} is FAILED.*lazy"):
        clean_cluster.wait_for(job, "FAILED", timeout_s=0.2)
    with pytest.raises(AssertionError, match="no job is SUSPENDED"):
        clean_cluster.job_of("SUSPENDED")
    clean_cluster.wait_for(job, "RUNNING")
    assert clean_cluster.job_of("RUNNING") == job


def test_a_command_that_fails_says_why(clean_cluster: SlurmCluster) -> None:
    with pytest.raises(AssertionError, match="Invalid job id specified"):
        clean_cluster.run("scontrol", "show", "job", "999999")


def test_without_slurm_one_line_names_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    srun = shutil.which("srun", path=slurm_cluster.PATH)
    assert srun is not None
    (tmp_path / "srun").symlink_to(srun)
    monkeypatch.setattr(slurm_cluster, "PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"no Slurm here \(slurmctld, .*apt-get install .*slurmd slurm-client$"):
        SlurmCluster()


def test_this_process_speaks_to_the_cluster(cluster: SlurmCluster) -> None:
    assert os.environ["SLURM_CONF"] == str(cluster.conf)
    said = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, check=True, timeout=30).stdout
    assert "UP" in said


def _sleepers(cluster: SlurmCluster, node: str | None = None) -> int:
    return sum(Path(_command(pid)).name == "sleep" for pid in cluster.processes(node))


def _command(pid: int | str) -> str:
    """Return a process's program; nothing when it is gone."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""
