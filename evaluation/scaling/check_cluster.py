"""The simulator beside real runs: a real Slurm of two nodes on this machine, real jobs, supervisors and workers.

    PYTHONPATH=.:tests/helpers python evaluation/scaling/check_cluster.py --work build/scaling_check \
        --out evaluation/results/scaling.md --costs evaluation/scaling/costs.json

Nodes of the test cluster claim more cores than this machine has. So the units of most runs wait instead of computing,
for as long as the plan expects them to take; only start-up, and what supervisors do, is work: for that all jobs share
this machine's processors, which the simulator is told. Start-up is measured in runs of one shard, and used for all
others. Needs Debian's slurmctld, slurmd and slurm-client.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cluster_model import Costs, JobShape, NodeGroup, SlurmModel
from plans import add_plans, load_costs
from simulator import simulate
from slurm_cluster import SlurmCluster

from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.runs.shards.folder import DEMIX, PAIRS, RunFolder, ShardId
from cadenza_remix.runs.shards.journal import read_events
from cadenza_remix.runs.shards.plan import Plan, PlannedSong, Speeds, make_plan
from evaluation.benchmarks.bench_report import Report

HERE = Path(__file__).resolve().parent
N_SONGS, N_LISTENERS = 12, 12
JOB_CPUS, NODE_CPUS, N_NODES = 8, 16, 2
WORKERS = (1, 2, 4)
N_EMPTY_PAIRS = 1000
SPEEDS = Speeds(demix=0.006, enhance=0.002, score=0.03, per_unit_s=0.0, start_s=0.0)
CHECKS = "## Checked against a real Slurm"
HOW_CHECKED = (
    "Start-up and overhead come from jobs that do nothing and from one shard of 2,000 empty units; no number was "
    "fitted to the runs below. One thing was learned from a run: the first version of this check (12 songs x 8 "
    "listeners, on a busy machine) was 4, 6 and -22 % off with 1, 2 and 4 workers. Since then the simulator knows "
    "that all that starts here shares this machine's processors, and there are more units beside it."
)
REAL_SONG_S, REAL_LISTENERS = 12, 8


@dataclass(frozen=True)
class Start:
    """What was measured of jobs, in seconds.

    From submission (or the end of what a job waits for) to the first line of its script, from there to the journal's
    first line, from there to the first unit of a worker, from the last unit to the script's end; of each unit; and of a
    processor, for the start of a supervisor and of a worker.
    """

    launch_s: float
    after_s: float
    job_s: float
    worker_s: float
    close_s: float
    overhead_s: float
    job_processor_s: float
    worker_processor_s: float


class Cluster:
    """Submits scripts that note when they begin and end."""

    def __init__(self, cluster: SlurmCluster, work: Path) -> None:
        self._cluster, self._work = cluster, work

    def submit(self, name: str, command: str, *options: str) -> str:
        """Submit a job; files ``name[-index].begin`` and ``.end`` in the work folder hold its times."""
        log = self._work / f'{name}-"${{SLURM_ARRAY_TASK_ID:-0}}"'
        path = ":".join([str(HERE), str(HERE.parents[1])])
        lines = [
            f"date +%s.%N > {log}.begin",
            f"export PYTHONPATH={shlex.quote(path)} TIMEFORMAT='%U %S'",
            f"{{ time {{ {command} > {log}.log 2>&1; }}; }} 2> {log}.time",
            "status=$?",
            f"date +%s.%N > {log}.end",
            "exit $status",
        ]
        return self._cluster.sbatch("\n".join(lines), f"--job-name={name}", "--mem=100", *options)

    def wait(self, timeout_s: float) -> None:
        """Wait until no job is left; all must have ended well."""
        end = time.monotonic() + timeout_s
        while left := [
            state for state in self._cluster.states().values() if state in ("PENDING", "RUNNING", "COMPLETING")
        ]:
            if time.monotonic() > end:
                raise SystemExit(f"{len(left)} jobs are still there after {timeout_s:.0f} s")
            time.sleep(0.3)
        bad = {job: state for job, state in self._cluster.states().items() if state != "COMPLETED"}
        if bad:
            logs = "\n".join(path.read_text()[-500:] for path in sorted(self._work.glob("*.log")))
            raise SystemExit(f"jobs ended badly: {bad}\n{logs}")

    def time_of(self, name: str, what: str, index: int = 0) -> float:
        return float((self._work / f"{name}-{index}.{what}").read_text())


def shard_command(run: Path, stage: str, n_workers: int, index: str = "$SLURM_ARRAY_TASK_ID") -> str:
    return f"{shlex.quote(sys.executable)} {HERE / 'waiting.py'} {run} {stage} {index} {n_workers}"


def events_of(run: Path, shard: ShardId) -> list[tuple[float, str, str | None]]:
    """Return time, name and unit of each line of a shard's journal."""
    paths = sorted(RunFolder(run).journals(shard).glob("*.jsonl"))
    return [(event.t, event.name, event.unit) for path in paths for event in read_events(path)]


def plan_of(
    n_songs: int, n_listeners: int, *, shards: tuple[int, int], speeds: Speeds = SPEEDS, separator: str = "waiting"
) -> Plan:
    """Return a plan for songs of 200 to 300 s of which 30 are scored."""
    songs = {f"song {n}": PlannedSong(200.0 + 100 * (7 * n % n_songs) / n_songs, 30.0) for n in range(n_songs)}
    pairs = [Pair(song, f"L{number}") for song in songs for number in range(n_listeners)]
    return make_plan(
        songs, pairs, n_demix_shards=shards[0], n_pairs_shards=shards[1], speeds=speeds, separator={"name": separator}
    )


def write(plan: Plan, run: Path) -> Path:
    run.mkdir(parents=True)
    plan.write(RunFolder(run).plan)
    return run


def one_shard(cluster: Cluster, work: Path, name: str, plan: Plan, n_workers: int) -> tuple[float, float]:
    """Run a plan's only shard of pairs; return when its first unit began and its last one ended."""
    run = write(plan, work / name)
    cluster.submit(name, shard_command(run, PAIRS, n_workers, "0"), "--cpus-per-task=8")
    cluster.wait(300)
    events = events_of(run, ShardId(PAIRS, 0))
    return min(t for t, what, _ in events if what == "begin"), max(t for t, what, _ in events if what == "done")


def measure_start(cluster: Cluster, work: Path) -> Start:
    """Measure empty jobs, and one shard of 2,000 empty units with one worker."""
    submitted = time.time()
    first = cluster.submit("first", "true")
    cluster.submit("second", "true", f"--dependency=afterany:{first}")
    cluster.wait(60)
    nothing = Speeds(0, 0, 0, 0, 0)
    single = plan_of(1, 1, shards=(1, 1), speeds=nothing, separator="none")
    one_shard(cluster, work, "single", single, 1)
    text = (work / "single-0.log").read_text()
    own_s, worker_s = map(float, text.split("processor time")[1].split())
    plan = plan_of(20, N_EMPTY_PAIRS // 20, shards=(1, 1), speeds=nothing, separator="none")
    began, done = one_shard(cluster, work, "empty", plan, 1)
    opened = min(t for t, what, _ in events_of(work / "empty", ShardId(PAIRS, 0)) if what == "open")
    return Start(
        launch_s=cluster.time_of("first", "begin") - submitted,
        after_s=cluster.time_of("second", "begin") - cluster.time_of("first", "end"),
        job_s=opened - cluster.time_of("empty", "begin"),
        worker_s=began - opened,
        close_s=cluster.time_of("empty", "end") - done,
        overhead_s=(done - began) / (2 * N_EMPTY_PAIRS),
        job_processor_s=own_s,
        worker_processor_s=worker_s,
    )


def real_run(cluster: Cluster, work: Path, plan: Plan, n_workers: int) -> float:
    """Run all shards with their dependencies and a last job after them; return the time from submission to that one."""
    name = f"run{n_workers}"
    run = write(plan, work / name)
    cpus = f"--cpus-per-task={JOB_CPUS}"
    submitted = time.time()
    last = len(plan.demix) - 1
    demix = cluster.submit(f"{name}demix", shard_command(run, DEMIX, 1), cpus, f"--array=0-{last}")
    of_pairs = []
    for shard in plan.demix:
        indices = ",".join(str(other.id.index) for other in plan.pairs if other.needs == shard.id.index)
        after = f"--dependency=afterany:{demix}_{shard.id.index}"
        command = shard_command(run, PAIRS, n_workers)
        of_pairs.append(cluster.submit(f"{name}pairs", command, cpus, f"--array={indices}", after))
    cluster.submit(f"{name}collect", "true", f"--dependency=afterany:{':'.join(of_pairs)}")
    cluster.wait(400)
    return cluster.time_of(f"{name}collect", "begin") - submitted


def simulated_run(plan: Plan, n_workers: int, start: Start) -> float:
    """Return what the simulator says of the same."""
    speeds = plan.speeds
    end_s = max(0.0, start.after_s - start.launch_s)
    costs = Costs(
        demix_per_s=speeds.demix, enhance_per_s=speeds.enhance, score_per_s=speeds.score, job_start_s=start.job_s,
        demix_start_s=start.worker_s, pairs_start_s=start.worker_s, overhead_s=start.overhead_s,
        job_start_processor_s=start.job_processor_s, start_processor_s=start.worker_processor_s,
    )  # fmt: skip
    groups = (NodeGroup("node", N_NODES, NODE_CPUS),)
    shapes = {DEMIX: JobShape(JOB_CPUS, 1, ("node",)), PAIRS: JobShape(JOB_CPUS, n_workers, ("node",))}
    slurm = SlurmModel(interval_s=0.0, launch_s=start.launch_s, end_s=start.close_s + end_s)
    return simulate(
        plan, groups=groups, shapes=shapes, costs=costs, slurm=slurm, shared_processors=os.cpu_count()
    ).makespan_s


def check_makespans(report: Report, cluster: Cluster, work: Path, start: Start) -> bool:
    plan = plan_of(N_SONGS, N_LISTENERS, shards=(3, 6))
    rows, worst = [], 0.0
    for n_workers in WORKERS:
        real, simulated = real_run(cluster, work, plan, n_workers), simulated_run(plan, n_workers, start)
        worst = max(worst, abs(simulated / real - 1))
        rows.append([str(n_workers), f"{real:.1f} s", f"{simulated:.1f} s", f"{100 * (simulated / real - 1):+.1f} %"])
    caption = (
        f"From submission to the last job, {N_SONGS} songs x {N_LISTENERS} listeners of waiting units, "
        f"{len(plan.demix)} shards of demix and {len(plan.pairs)} of pairs, four jobs at once"
    )
    report.table(caption, ["workers per shard", "real", "simulated", "difference"], rows)
    return within(report, "largest difference", 100 * worst, 15, "%")


def check_throughput(report: Report, cluster: Cluster, work: Path) -> bool:
    plan = plan_of(3, 8, shards=(1, 1), speeds=replace(SPEEDS, enhance=0.001, score=0.01), separator="none")
    n_pairs = sum(len(shard.bundles) for shard in plan.pairs)
    waiting = {}
    for n_workers in WORKERS:
        began, done = one_shard(cluster, work, f"waiting{n_workers}", plan, n_workers)
        waiting[n_workers] = done - began
    load = os.getloadavg()[0]
    real, processor_s = real_scoring(cluster, work)
    rows, worst = [], {}
    for name, n_units, spans in (("waiting", n_pairs, waiting), ("real", REAL_LISTENERS, real)):
        ratios = {n_workers: spans[1] / span / n_workers for n_workers, span in spans.items()}
        worst[name] = 100 * (1 - min(ratios.values()))
        rows += [[name, str(n), f"{n_units / spans[n] / n:.3f}", f"{100 * ratio:.1f} %"] for n, ratio in ratios.items()]
    caption = (
        f"Pairs per second and worker, from the first unit's begin to the last one's end: {n_pairs} pairs of waiting "
        f"units, {REAL_LISTENERS} pairs of {REAL_SONG_S} s of music. This machine has {os.cpu_count()} processors: "
        f"more than {os.cpu_count()} real workers show nothing, and others used it (load before the real ones: "
        f"{load:.1f})"
    )
    report.table(caption, ["units", "workers", "pairs per second and worker", "of a single one's"], rows)
    report.add(
        "Processor time of the real job, start included: "
        + ", ".join(f"{seconds:.1f} s with {n} worker{'s' * (n > 1)}" for n, seconds in processor_s.items())
        + ".\n"
    )
    good = [
        within(report, f"{name} units, least below a single one's", found, 10, "%") for name, found in worst.items()
    ]
    return all(good)


def real_scoring(cluster: Cluster, work: Path) -> tuple[dict[int, float], dict[int, float]]:
    """Enhance and score real music with `cadenza-remix shard work`; return, by the number of workers, the time from the
    first unit's begin to the last one's end, and the processor time of the whole job.
    """
    from measure_costs import SEPARATOR, make_song

    from cadenza_remix.runs.shards.config import RunConfig
    from cadenza_remix.runs.shards.preparing import prepare_run

    make_song(work / "music" / "test" / "song", REAL_SONG_S)
    people = ("N1", "N2", "N3", "N4", "N5", "S1", "S2", "S3")[:REAL_LISTENERS]
    config = RunConfig(
        songs=(str(work / "music" / "test" / "song"),), listeners="bisgaard", references=work / "music" / "test",
        listener=people, separator={"model": SEPARATOR},
    )  # fmt: skip
    spans, processor_s = {}, {}
    for n_workers in (1, 2):
        folder, _ = prepare_run(config, out=work / f"real{n_workers}", count=lambda _: (1, 1))
        command = f"{shlex.quote(sys.executable)} -m cadenza_remix shard work {folder.root}"
        demix = cluster.submit(f"demix{n_workers}", f"{command} {DEMIX} 0 --workers 1", "-c1")
        name = f"pairs{n_workers}"
        cluster.submit(
            name, f"{command} {PAIRS} 0 --workers {n_workers}", f"-c{n_workers}", f"--dependency=afterok:{demix}"
        )
        cluster.wait(200)
        events = events_of(folder.root, ShardId(PAIRS, 0))
        begun = min(t for t, what, _ in events if what == "begin")
        spans[n_workers] = max(t for t, what, _ in events if what == "done") - begun
        processor_s[n_workers] = sum(map(float, (work / f"{name}-0.time").read_text().split()[-2:]))
    return spans, processor_s


def within(report: Report, what: str, found: float, limit: float, unit: str) -> bool:
    verdict = "ok" if found <= limit else "NOT within it"
    report.add(f"{what[0].upper()}{what[1:]}: {found:.1f} {unit}, asked: {limit:g} {unit}: {verdict}.\n")
    return found <= limit


def check(report: Report, work: Path) -> tuple[Start, bool]:
    """Run everything on a cluster of its own."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    report.add(CHECKS + "\n")
    report.add(
        f"{N_NODES} nodes of {NODE_CPUS} processors on one machine, real jobs, supervisors and worker processes. "
        f"{HOW_CHECKED}\n"
    )
    with SlurmCluster(n_nodes=N_NODES, cpus=NODE_CPUS) as slurm:
        cluster = Cluster(slurm, work)
        start = measure_start(cluster, work)
        rows = [["from submission to the script", f"{1000 * start.launch_s:.0f} ms"],
                ["from the end of one job to the script of the next", f"{1000 * start.after_s:.0f} ms"],
                ["from the script to the journal's first line", f"{1000 * start.job_s:.0f} ms"],
                ["from there to a worker's first unit", f"{1000 * start.worker_s:.0f} ms"],
                ["processor time of the start of a supervisor, of a worker",
                 f"{1000 * start.job_processor_s:.0f}, {1000 * start.worker_processor_s:.0f} ms"],
                ["from the last unit to the script's end", f"{1000 * start.close_s:.0f} ms"],
                ["each of 2,000 empty units", f"{1000 * start.overhead_s:.1f} ms"]]  # fmt: skip
        report.table("Times of the supervisor and of Slurm", ["what", "time"], rows)
        good = [within(report, "overhead of a unit", 1000 * start.overhead_s, 50, "ms")]
        good.append(check_makespans(report, cluster, work, start))
        good.append(check_throughput(report, cluster, work))
    return start, all(good)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder to work in; emptied first")
    parser.add_argument("--out", type=Path, help="also write plans and checks to this file")
    parser.add_argument("--costs", type=Path, default=HERE / "costs.json", help="gets what was measured of supervisors")
    parser.add_argument("--keep-checks", action="store_true", help="only plan anew; checks stay as they are in --out")
    options = parser.parse_args(arguments)
    report = Report("From one node to a thousand", packages=("numpy", "scipy", "numba"))
    if options.keep_checks:
        kept = options.out.read_text(encoding="utf-8")
        add_plans(report, load_costs(options.costs))
        report.add(kept[kept.index(CHECKS) :])
        report.finish(options.out)
        return 0
    lines: list[str] = []
    start, good = check(_Later(lines), options.work.absolute())  # type: ignore[arg-type]
    costs = json.loads(options.costs.read_text(encoding="utf-8"))
    costs["supervisor"] = {"overhead_s": round(start.overhead_s, 5), "job_start_s": round(start.job_s, 3)}
    options.costs.write_text(json.dumps(costs, indent=2) + "\n", encoding="utf-8")
    add_plans(report, load_costs(options.costs))
    for line in lines:
        report.add(line)
    report.finish(options.out)
    return 0 if good else 1


class _Later(Report):
    """Keeps what is said, since the plans come first on the page."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines


if __name__ == "__main__":
    sys.exit(main())
