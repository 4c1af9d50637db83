"""A real Slurm on this machine: a controller and some nodes as plain processes, with nodes that can be killed.

It needs Debian's packages slurmctld, slurmd and slurm-client, and nothing of theirs running: no munge, systemd, cgroups
or containers. Several clusters can run side by side, each in its own folder and with its own ports.
"""

from __future__ import annotations

import getpass
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])  # where Debian puts the daemons

_CONF = """\
ClusterName=ci
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
AuthInfo=cred_expire={cred_expire_s}
CredType=cred/none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool/%n
SlurmctldPidFile={base}/run/slurmctld.pid
SlurmdPidFile={base}/run/slurmd.%n.pid
SlurmctldLogFile={base}/log/slurmctld.log
SlurmdLogFile={base}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={base}/log/jobcomp.txt
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=10
KillWait=5
MinJobAge=3600
InactiveLimit=0
DefMemPerCPU=100
"""
_PARTITIONS = {
    "main": "Default=YES PriorityTier=1 PreemptMode=REQUEUE",
    "gpu": "PriorityTier=1 PreemptMode=REQUEUE",
    "urgent": "PriorityTier=10 PreemptMode=OFF",
}
ACTIVE = frozenset(
    ["PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"]
)
"""States of jobs that are not over."""

Found = TypeVar("Found")


class SlurmCluster:
    """One controller and ``n_nodes`` nodes named node1, node2, ..., running between ``start`` and ``stop``.

    Partition ``main`` is the default; ``gpu`` has the same nodes; jobs of ``urgent`` preempt those of both, which are
    requeued. A requeued job waits ``cred_expire_s`` + 1 seconds (121 where nobody changed Slurm's default).

    Parameters
    ----------
    base : Path, optional
        Where everything of the cluster lies; a short path, since names of sockets are limited. Without it a folder of
        its own, removed by ``stop``.
    n_nodes, cpus, gpus : int
        How many nodes, and what each claims to have; none of it needs to be there. A GPU is a link to /dev/null.
    accounting : bool
        Only False: accounting needs slurmdbd, a database and munge.
    cred_expire_s : int
        How long a node believes a permission to start a job.
    settings : mapping
        Further lines of slurm.conf, such as ``{"MaxArraySize": "11"}``; they replace those above.
    """

    def __init__(
        self,
        base: Path | None = None,
        *,
        n_nodes: int = 2,
        cpus: int = 16,
        gpus: int = 4,
        accounting: bool = False,
        cred_expire_s: int = 120,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        if accounting:
            raise ValueError("accounting needs slurmdbd, a database and munge: expected accounting=False")
        missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
        if missing:
            packages = "apt-get install --no-install-recommends slurmctld slurmd slurm-client"
            raise RuntimeError(f"no Slurm here ({', '.join(missing)}): {packages}")
        self.nodes = tuple(f"node{number}" for number in range(1, n_nodes + 1))
        self._cpus, self._gpus, self._cred_expire_s = cpus, gpus, cred_expire_s
        self._settings = dict(settings or {})
        self._given_base = base
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> SlurmCluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until a job has run on all nodes together; three tries at free ports."""
        for n_left in (2, 1, 0):
            self.base = (self._given_base or Path(tempfile.mkdtemp(prefix="slurm-"))).resolve()
            self._write_files()
            self._guard = subprocess.Popen(
                [sys.executable, "-P", __file__, str(self.base), *self.nodes, *([] if self._given_base else ["-"])],
                stdin=subprocess.PIPE, start_new_session=True, env=self.env, cwd="/",
            )  # fmt: skip
            try:
                self._start_daemon("controller", "slurmctld", "-D", "-c")
                for name in self.nodes:
                    self._start_daemon(name, "slurmd", "-D", "-N", name)
                self._wait_until_ready()
                return
            except (OSError, subprocess.SubprocessError, RuntimeError) as error:
                said = self.said()
                self.stop()
                if not n_left:
                    raise RuntimeError(f"the test cluster does not start: {error}\n{said}") from error
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """End all that belongs to the cluster, left-over processes of jobs too; remove its folder if it made it."""
        for daemon in self._daemons.values():
            daemon.kill()
        _end(self.base, self.nodes)
        for daemon in self._daemons.values():
            daemon.wait()
        self._daemons.clear()
        self._guard.communicate()  # it looks once more, and removes the folder

    def _start_daemon(self, name: str, *command: str) -> None:
        program = shutil.which(command[0], path=PATH)
        assert program is not None
        with (self.base / "log" / f"{name}.out").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                [program, *command[1:]],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.base,
            )  # fmt: skip

    def _wait_until_ready(self) -> None:
        n_nodes, end = str(len(self.nodes)), time.monotonic() + 30
        while True:
            for name, daemon in self._daemons.items():
                if daemon.poll() is not None:
                    raise RuntimeError(f"{name} ended at once with status {daemon.returncode}")
            done = self.run("srun", "-Q", "-N", n_nodes, "-n", n_nodes, "--immediate=20", "true", check=False)
            if done.returncode == 0:
                return
            if time.monotonic() > end:
                raise RuntimeError(f"srun failed for 30 s: {done.stderr.strip()}")
            time.sleep(0.1)

    def _write_files(self) -> None:
        base = self.base
        for name in ("etc", "run", "log", "state", "dev", *(f"spool/{node}" for node in self.nodes)):
            (base / name).mkdir(parents=True, exist_ok=True)
        port, *node_ports = _free_ports(1 + len(self.nodes))
        text = _CONF.format(base=base, user=getpass.getuser(), port=port, cred_expire_s=self._cred_expire_s)
        lines = [line for line in text.splitlines() if line.partition("=")[0] not in self._settings]
        lines += [f"{name}={value}" for name, value in self._settings.items()]
        gres = f" Gres=gpu:{self._gpus}" if self._gpus else ""
        if self._gpus:
            lines.append("GresTypes=gpu")
            for number in range(self._gpus):
                (base / "dev" / f"nvidia{number}").unlink(missing_ok=True)
                (base / "dev" / f"nvidia{number}").symlink_to("/dev/null")
            (base / "etc" / "gres.conf").write_text(
                "".join(f"NodeName={node} Name=gpu File={base}/dev/nvidia[0-{self._gpus - 1}]\n" for node in self.nodes)
            )
        lines += [
            f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={node_port} CPUs={self._cpus} "
            f"RealMemory=100000{gres} State=UNKNOWN"
            for node, node_port in zip(self.nodes, node_ports, strict=True)
        ]
        lines += [
            f"PartitionName={name} Nodes={','.join(self.nodes)} MaxTime=INFINITE DefaultTime=00:10:00 State=UP {what}"
            for name, what in _PARTITIONS.items()
        ]
        (base / "etc" / "cgroup.conf").write_text("CgroupAutomount=no\n")
        (base / "etc" / "slurm.conf").write_text("\n".join(lines) + "\n")

    @property
    def conf(self) -> Path:
        return self.base / "etc" / "slurm.conf"

    @property
    def env(self) -> dict[str, str]:
        """The environment in which Slurm's programs speak to this cluster."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SQUEUE"))}
        return {**kept, "PATH": PATH, "SLURM_CONF": str(self.conf)}

    def run(self, *args: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in the cluster's environment; what it said is in the error when it fails."""
        done = subprocess.run(
            args, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(args)}: status {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def sbatch(self, commands: str, *options: str) -> str:
        """Submit lines of bash as a job whose output lies in the cluster's folder; return its job id."""
        script = Path(tempfile.mkstemp(prefix="job-", suffix=".sh", dir=self.base / "run")[1])
        script.write_text("#!/bin/bash\n" + commands + "\n")
        logs = f"--output={self.base}/log/%x-%A_%a.log"
        return self.run("sbatch", "--parsable", logs, *options, str(script)).stdout.strip()

    def states(self) -> dict[str, str]:
        """Return the state of each job (``12``) and array element (``12_0``), ended ones too."""
        return self._pairs("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T")

    def nodes_of_jobs(self) -> dict[str, str]:
        """Return which node each job or element runs on or ran on; empty for one that waits."""
        return self._pairs("squeue", "-h", "-r", "-t", "all", "-o", "%i|%N")

    def job_of(self, state: str) -> str:
        """Return the first job or array element that is in this state; an AssertionError when none is."""
        states = self.states()
        for job, its_state in states.items():
            if its_state == state:
                return job
        raise AssertionError(f"no job is {state}: {states}")

    def details(self, job_id: str) -> dict[str, str]:
        """Return what ``scontrol show job`` says of a job or an array element."""
        words = self.run("scontrol", "-o", "show", "job", job_id).stdout.split()
        return dict(word.partition("=")[::2] for word in words)

    def wait(self, predicate: Callable[[], Found], timeout_s: float, what: str) -> Found:
        """Return the predicate's first answer that is true; an AssertionError with the cluster's state without one."""
        end = time.monotonic() + timeout_s
        while not (found := predicate()):
            if time.monotonic() > end:
                raise AssertionError(f"not within {timeout_s:g} s: {what}\n{self.said()}")
            time.sleep(0.1)
        return found

    def wait_for(self, job_id: str, state: str, timeout_s: float = 30) -> None:
        """Wait until a job or array element is in a state."""
        self.wait(lambda: self.states().get(job_id) == state, timeout_s, f"job {job_id} is {state}")

    def said(self) -> str:
        """Return what helps when a test fails: the queue, the nodes, the last lines of the controller's log."""
        parts = []
        for command in (("squeue", "-r", "-t", "all"), ("sinfo", "-N", "-l")):
            with suppress(subprocess.SubprocessError):
                done = self.run(*command, check=False, timeout=10)
                parts.append(done.stdout + done.stderr)
        for name in ("slurmctld.log", "controller.out"):
            with suppress(OSError):
                parts.append("".join((self.base / "log" / name).open(errors="replace").readlines()[-15:]))
        return "\n".join(parts)

    def kill_node(self, name: str) -> None:
        """End a node as a power cut would: its daemon and all processes of its jobs, with SIGKILL.

        The controller sees it after about half a minute (at once with `mark_down`).
        """
        daemon = self._daemons[name]
        while found := self.processes(name):
            _kill(found)
            time.sleep(0.02)
        daemon.kill()  # one that has only just started is not found above
        daemon.wait()

    def start_node(self, name: str) -> None:
        """Bring the daemon of a killed node back; nothing to do when it runs."""
        if self._daemons[name].poll() is not None:
            self._start_daemon(name, "slurmd", "-D", "-N", name)

    def mark_down(self, name: str) -> None:
        """Let the controller take a node for dead at once: its jobs are requeued, or end with NODE_FAIL."""
        self.run("scontrol", "update", f"nodename={name}", "state=down", "reason=test")

    def resume(self, name: str) -> None:
        """Have a node take jobs again whose daemon runs (one that comes back by itself, Slurm refuses to resume)."""

        def is_back() -> bool:
            if not self.node_states()[name].startswith(("down", "drain")):
                return True
            self.run("scontrol", "update", f"nodename={name}", "state=resume", check=False)
            return False

        self.wait(is_back, 60, f"{name} takes jobs again")

    def skip_requeue_delay(self, job_id: str) -> None:
        """Let a requeued job start now: a second after its last processes ended, lest its node refuse it for good.

        A node remembers to the second when it ended a job, and takes a start of the same second for one before that
        ("Job credential revoked").
        """
        self.wait(lambda: self.details(job_id)["JobState"] == "PENDING", 30, f"job {job_id} waits to start again")
        time.sleep(1.1)
        self.run("scontrol", "update", f"jobid={job_id}", "StartTime=now")

    def end_in(self, job_id: str, seconds: int) -> None:
        """Set the time limit of a running job: Slurm looks twice a minute, so it comes up to 30 s late."""
        self.run("scontrol", "update", f"jobid={job_id}", f"EndTime=now+{seconds}seconds")

    def node_states(self) -> dict[str, str]:
        """Return the nodes' states in sinfo's words (``idle``, ``mixed``, ``allocated``, ``down``, ``down*`` ...)."""
        return self._pairs("sinfo", "-h", "-N", "-p", "main", "-o", "%N|%T")

    def _pairs(self, *command: str) -> dict[str, str]:
        return dict(row.split("|") for row in self.run(*command).stdout.splitlines())

    def clean(self) -> None:
        """Cancel all jobs, end what is left of them, and have all nodes up and idle."""
        self.run("scancel", "--user", getpass.getuser())
        for name in self.nodes:
            self.start_node(name)
        end = time.monotonic() + 60
        while True:
            active = [job for job, state in self.states().items() if state in ACTIVE]
            nodes = self.node_states()
            if not active and set(nodes.values()) == {"idle"}:
                return
            if time.monotonic() > end:
                raise AssertionError(f"the test cluster does not become clean: {active}, {nodes}\n{self.said()}")
            if active:
                self.run("scancel", "--signal=KILL", "--full", *active, check=False)
                self.run("scancel", *active, check=False)
            for name, state in nodes.items():
                if state.startswith(("down", "drain")) and not state.endswith("*"):  # it may be back by now: no check
                    self.run("scontrol", "update", f"nodename={name}", "state=resume", check=False)
            time.sleep(0.1)

    def processes(self, node: str | None = None) -> list[int]:
        """Return the pids of what runs on a node, or in the whole cluster: Slurm's own first, then jobs."""
        return _processes(self.base, [node] if node else self.nodes, with_controller=node is None)


def _end(base: Path, nodes: Sequence[str]) -> None:
    while found := _processes(base, nodes, with_controller=True):
        _kill(found)
        time.sleep(0.02)


def _processes(base: Path, nodes: Sequence[str], *, with_controller: bool) -> list[int]:
    conf = f"SLURM_CONF={base}/etc/slurm.conf".encode()
    marks = {f"SLURMD_NODENAME={name}".encode() for name in nodes}
    logs = {f"{base}/log/slurmd.{name}.log" for name in nodes}
    if with_controller:
        logs.add(f"{base}/log/slurmctld.log")
    parents: dict[int, int] = {}
    found: dict[int, bool] = {}  # and whether it is Slurm's own
    for pid, parent, variables in _all_processes():
        parents[pid] = parent
        is_slurm = _name(pid).startswith("slurm")
        # a slurmstepd writes its title over its environment, and one that has just started has no log yet
        if is_slurm and (logs & _open_files(pid) or (with_controller and conf in variables)):
            found[pid] = True
        elif conf in variables and marks & variables:
            found[pid] = False
    for pid in parents:  # a child may have an environment of its own
        line, above = [], pid
        while above in parents and above not in found:
            line.append(above)
            above = parents[above]
        if above in found:
            found.update(dict.fromkeys(line, False))
    return sorted(found, key=lambda pid: (not found[pid], pid))


def _all_processes() -> Iterator[tuple[int, int, frozenset[bytes]]]:
    """Yield pid, parent and environment of each process that this user may look at; no zombies."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or belongs to somebody else
            state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z":
                yield int(folder.name), int(parent), frozenset((folder / "environ").read_bytes().split(b"\0"))


def _name(pid: int) -> str:
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "comm").read_text(errors="replace")
    return ""


def _open_files(pid: int) -> set[str]:
    with suppress(OSError):
        return {str(entry.readlink()) for entry in (Path("/proc") / str(pid) / "fd").iterdir()}
    return set()


def _kill(pids: Sequence[int]) -> None:
    """End processes all at once: none of them sees that another has ended, and tells somebody."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _free_ports(n_ports: int) -> list[int]:
    """Return ports that nobody has, below those that the system gives to outgoing connections."""
    with ExitStack() as held:
        ports: list[int] = []
        for port in random.sample(range(20000, 32000), 200):
            taken = held.enter_context(socket.socket())
            with suppress(OSError):
                taken.bind(("127.0.0.1", port))
                ports.append(port)
            if len(ports) == n_ports:
                return ports
    raise RuntimeError("no free ports between 20000 and 32000")


def _guard_a_cluster(base: Path, names: Sequence[str]) -> None:
    """Wait for the end of the process that started a cluster, however it ends, and end the cluster then."""
    sys.stdin.buffer.read()
    _end(base, [name for name in names if name != "-"])
    if "-" in names:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    _guard_a_cluster(Path(sys.argv[1]), sys.argv[2:])
