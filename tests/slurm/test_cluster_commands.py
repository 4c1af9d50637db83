"""Submitting, cancelling and asking, on the real Slurm; failing controllers are the real one, stopped."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from slurm_cluster import SlurmCluster

from cadenza_remix.errors import InputError, MissingDependencyError
from cadenza_remix.slurm import cluster as commands

pytestmark = pytest.mark.slurm


def test_submitted_jobs_get_their_arguments_and_options(clean_cluster: SlurmCluster, tmp_path: Path) -> None:
    script = _script(tmp_path, 'echo "$1|$2|$SLURM_JOB_NAME|$SLURM_RESTART_COUNT" > out')
    job = commands.submit(script, arguments=["a b", "--c"], options=["--job-name=named", f"--chdir={tmp_path}"])
    clean_cluster.wait_for(job, "COMPLETED")
    assert (tmp_path / "out").read_text() == "a b|--c|named|\n"


def test_a_job_is_not_told_of_the_job_that_submits_it(
    clean_cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_RESTART_COUNT", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "8")
    monkeypatch.setenv("SBATCH_PARTITION", "gpu")  # the user's own setting
    monkeypatch.setenv("SQUEUE_STATES", "FAILED")
    out = tmp_path / "out"
    job = commands.submit(
        _script(tmp_path, f'echo "[$SLURM_RESTART_COUNT|$SLURM_ARRAY_TASK_ID|$SLURM_JOB_PARTITION]" > {out}')
    )
    clean_cluster.wait_for(job, "COMPLETED")
    assert out.read_text() == "[||gpu]\n"
    assert [found.state for found in commands.queue([job])] == ["COMPLETED"]


def test_sbatch_refuses_in_its_own_words_on_one_line(cluster: SlurmCluster, tmp_path: Path) -> None:
    script = _script(tmp_path, "true")
    with pytest.raises(InputError) as caught:
        commands.submit(script, options=["--partition=nowhere"])
    assert str(caught.value) == (
        f"{script}: sbatch refuses this job: invalid partition specified: nowhere; "
        "Batch job submission failed: Invalid partition name specified"
    )
    with pytest.raises(InputError, match=r"job.sh: sbatch refuses this job: .*Invalid job array specification$"):
        commands.submit(script, options=["--array=0-5000"])


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--partition=nowhere", "invalid partition specified: nowhere; allocation failure: Invalid partition name"),
        ("--cpus-per-task=999", "allocation failure: Requested node configuration is not available"),
        ("--gres=gpu:a100:1", "allocation failure: Requested node configuration is not available"),
        ("--constraint=fast", "allocation failure: Invalid feature specification"),
    ],
)
def test_slurm_is_asked_whether_it_would_take_a_job(clean_cluster: SlurmCluster, option: str, words: str) -> None:
    commands.check_job("#!/bin/bash\nsleep 300\n", ["--gres=gpu:1"])
    for text, options in (("#!/bin/bash\nsleep 300\n", [option]), (f"#!/bin/bash\n#SBATCH {option}\nsleep 300\n", [])):
        with pytest.raises(InputError, match=f"^sbatch refuses this job: {words}"):
            commands.check_job(text, options)
    assert commands.n_queued() == 0


def test_nodes_that_are_busy_or_down_refuse_no_job(clean_cluster: SlurmCluster, tmp_path: Path) -> None:
    text = "#!/bin/bash\nsleep 300\n"
    for node in clean_cluster.nodes:
        commands.submit(_script(tmp_path, "sleep 300"), options=["--exclusive", f"--nodelist={node}"])
    commands.check_job(text, ["--cpus-per-task=16"])
    for node in clean_cluster.nodes:
        clean_cluster.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    for option in ("--gres=gpu:1", "--gres=gpu:4", "--cpus-per-task=16", "--mem=50000M", "--partition=gpu"):
        commands.check_job(text, [option])
    for option in ("--gres=gpu:5", "--gres=gpu:a100:1", "--cpus-per-task=17", "--mem=200000M", "--partition=nowhere"):
        with pytest.raises(InputError, match=r"^sbatch refuses this job: "):
            commands.check_job(f"#!/bin/bash\n#SBATCH {option}\ntrue\n")


def test_a_full_queue_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = _script(tmp_path, "sleep 300")
    with SlurmCluster(n_nodes=1, gpus=0, settings={"MaxJobCount": "4"}) as small:
        monkeypatch.setenv("SLURM_CONF", str(small.conf))
        begun = time.monotonic()
        with pytest.raises(InputError, match=r"job\.sh: Slurm's queue is full: it takes 4 jobs of all users"):
            commands.submit(script, options=["--array=0-8"])
        assert time.monotonic() - begun < 10  # sbatch by itself would try for two minutes
        assert commands.n_queued() == 0


def test_states_of_elements_that_run_wait_and_are_over(clean_cluster: SlurmCluster, tmp_path: Path) -> None:
    script = _script(tmp_path, 'test "$SLURM_ARRAY_TASK_ID" = 0 && exit 3; sleep 300')
    job = commands.submit(script, options=["--array=0-3%1", "--time=2:00:00", "--requeue"])
    late = commands.submit(script, options=["--begin=now+1hour", "--time=UNLIMITED"])
    clean_cluster.wait_for(f"{job}_1", "RUNNING")
    before = time.time()
    found = clean_cluster.wait(lambda: _when_told(commands.queue([job, late])), 20, "Slurm says why each waits")
    assert [state.job_id for state in found] == [*(f"{job}_{task}" for task in range(4)), late]
    assert [state.state for state in found] == ["FAILED", "RUNNING", "PENDING", "PENDING", "PENDING"]
    ended, runs, waits, _, begins = found
    assert (ended.array_job_id, ended.task_id, ended.reason, ended.is_over) == (job, 0, "NonZeroExitCode", True)
    assert (runs.task_id, runs.reason, runs.time_limit_s, runs.n_restarts) == (1, "", 7200.0, 0)
    assert runs.nodes in clean_cluster.nodes
    assert runs.is_running
    assert runs.start is not None
    assert before - 30 < runs.start <= before + 1
    assert (waits.nodes, waits.reason, waits.is_waiting) == ("", "JobArrayTaskLimit", True)
    assert (begins.task_id, begins.array_job_id, begins.time_limit_s) == (None, late, None)
    assert begins.start == pytest.approx(before + 3600, abs=30)


def test_a_requeued_element_counts_its_restarts(clean_cluster: SlurmCluster, tmp_path: Path) -> None:
    job = commands.submit(_script(tmp_path, "sleep 300"), options=["--array=0-1", "--requeue"])
    clean_cluster.wait_for(f"{job}_1", "RUNNING")
    commands.requeue(["999999", f"{job}_1"])
    clean_cluster.wait_for(f"{job}_1", "PENDING")
    waits = clean_cluster.wait(lambda: _when_told(commands.queue([f"{job}_1"])), 20, "Slurm says why it waits")[0]
    assert (waits.state, waits.n_restarts, waits.reason) == ("PENDING", 1, "BeginTime")
    assert commands.queue([job])[0].state == "RUNNING"


def test_only_the_elements_asked_for_are_told(clean_cluster: SlurmCluster, tmp_path: Path) -> None:
    script = _script(tmp_path, "true")
    job, other = (commands.submit(script, options=["--array=0-2"]) for _ in range(2))
    assert [state.job_id for state in commands.queue([f"{job}_2", f"{job}_0", f"{other}_1"])] == [
        f"{job}_0", f"{job}_2", f"{other}_1"
    ]  # fmt: skip


def test_a_refresh_is_one_call_of_squeue(
    clean_cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    real = clean_cluster.run("sh", "-c", "command -v squeue").stdout.strip()
    _program(tmp_path / "bin" / "squeue", f'echo call >> {calls}\nexec {real} "$@"')
    job = commands.submit(_script(tmp_path, "true"), options=["--array=0-20"])
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{clean_cluster.env['PATH']}")
    assert len(commands.queue([f"{job}_{task}" for task in range(21)])) == 21
    assert calls.read_text() == "call\n"


@pytest.mark.parametrize("gone", [["999999"], ["999998", "999999_3"]])
def test_jobs_that_nobody_knows_are_left_out(clean_cluster: SlurmCluster, gone: list[str]) -> None:
    assert commands.queue(gone) == []
    assert commands.queue([]) == []


def test_accounting_knows_what_squeue_has_forgotten(
    clean_cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = commands.submit(_script(tmp_path, "sleep 300"))
    # sacct itself has nothing to read here: what stands in for it prints two lines of its documented form
    _program(
        tmp_path / "bin" / "sacct",
        f"echo \"$*\" > {tmp_path}/asked; echo '777000_1|FAILED|node7|None|1700000000|01:00:00'; "
        "echo '777000_2|COMPLETED|node7|None|1700000000|01:00:00'",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{clean_cluster.env['PATH']}")
    found = commands.queue([job, "777000_1"], accounting=True)
    assert [(state.job_id, state.state) for state in found[1:]] == [("777000_1", "FAILED")]
    assert found[0].job_id == job
    assert (tmp_path / "asked").read_text() == (
        "-X -n -P -j 777000 --format=JobID,State,NodeList,Reason,Start,Timelimit\n"
    )
    assert [state.job_id for state in commands.queue([job, "777000_1"])] == [job]  # the cluster keeps no accounts


def test_cancelling_takes_jobs_and_elements_and_minds_no_gone_ones(clean_cluster: SlurmCluster, tmp_path: Path) -> None:
    done = commands.submit(_script(tmp_path, "true"))
    array = commands.submit(_script(tmp_path, "sleep 300"), options=["--array=0-2"])
    clean_cluster.wait_for(done, "COMPLETED")
    commands.cancel([done, f"{array}_1", "999999"])
    clean_cluster.wait_for(f"{array}_1", "CANCELLED")
    assert not commands.queue([f"{array}_0"])[0].is_over
    commands.cancel([array])
    clean_cluster.wait_for(f"{array}_0", "CANCELLED")
    commands.cancel([])
    commands.requeue([done, "999999"])


def test_limits_are_those_of_the_cluster(cluster: SlurmCluster) -> None:
    assert commands.limits() == commands.Limits(max_array_size=1001, max_jobs=10000, max_submit=None)
    assert commands.has_accounting() is False


def test_own_jobs_in_the_queue_are_counted_by_element(clean_cluster: SlurmCluster, tmp_path: Path) -> None:
    assert commands.n_queued() == 0
    commands.submit(_script(tmp_path, "sleep 300"), options=["--array=0-4%2"])
    commands.submit(_script(tmp_path, "sleep 300"), options=["--begin=now+1hour"])
    assert commands.n_queued() == 6


def test_a_cluster_that_is_there_is_fine(cluster: SlurmCluster) -> None:
    commands.check_slurm()


def test_without_slurm_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"^sbatch: no such program: .*login node"):
        commands.check_slurm()


def test_a_controller_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "RETRY_PAUSE_S", 0.1)
    script = _script(tmp_path, "true")
    with SlurmCluster(n_nodes=1, gpus=0) as lonely:
        monkeypatch.setenv("SLURM_CONF", str(lonely.conf))
        # Slurm's programs try for MessageTimeout - 1 seconds
        lonely.conf.write_text(lonely.conf.read_text() + "MessageTimeout=2\n")
        with _stopped(lonely, signal.SIGKILL):
            with pytest.raises(commands.NoAnswerError, match=r"^scontrol ping: Slurm's controller does not .* is DOWN"):
                commands.check_slurm()
            with pytest.raises(commands.NoAnswerError, match=r"^squeue: Slurm's controller does not answer: .*contact"):
                commands.queue(["1"])
            with pytest.raises(commands.NoAnswerError) as caught:
                commands.submit(script)
            assert "Unable to contact slurm controller" in str(caught.value)
            assert "may be in the queue" not in str(caught.value)
            assert "\n" not in str(caught.value)


def test_a_slow_controller_is_asked_twice_but_no_job_submitted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "TIMEOUT_S", 1.0)
    script = _script(tmp_path, "sleep 300")
    with SlurmCluster(n_nodes=1, gpus=0) as slow:
        monkeypatch.setenv("SLURM_CONF", str(slow.conf))
        job = commands.submit(script)
        controller = slow._daemons["controller"]
        with _stopped(slow, signal.SIGSTOP):
            monkeypatch.setattr(commands, "RETRY_PAUSE_S", 0.1)
            begun = time.monotonic()
            with pytest.raises(commands.NoAnswerError, match=r"^squeue: .*does not answer: nothing for 1 s$"):
                commands.queue([job])
            assert 2.0 <= time.monotonic() - begun < 10
            with pytest.raises(commands.NoAnswerError, match=r"nothing for 2 s \(the job may be in the queue"):
                commands.submit(script)

            monkeypatch.setattr(commands, "RETRY_PAUSE_S", 2.0)
            awake = threading.Timer(1.5, controller.send_signal, [signal.SIGCONT])
            awake.start()
            assert [state.job_id for state in commands.queue([job])] == [job]
            awake.join()
        assert len(slow.states()) <= 3  # the readiness check, the job, and at most one of unknown fate


@contextmanager
def _stopped(cluster: SlurmCluster, number: signal.Signals) -> Iterator[None]:
    controller = cluster._daemons["controller"]
    controller.send_signal(number)
    if number == signal.SIGKILL:
        controller.wait()
    try:
        yield
    finally:
        controller.send_signal(signal.SIGCONT)


def _when_told(jobs: list[commands.JobState]) -> list[commands.JobState]:
    """Return the jobs, or nothing as long as the scheduler has not looked at all that wait."""
    return jobs if all(job.reason not in ("", "Priority") for job in jobs if job.is_waiting) else []


def _script(folder: Path, commands_of_bash: str) -> Path:
    path = folder / "job.sh"
    path.write_text(f"#!/bin/bash\n#SBATCH --output=/dev/null\n{commands_of_bash}\n")
    return path


def _program(path: Path, commands_of_sh: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{commands_of_sh}\n")
    path.chmod(0o755)
