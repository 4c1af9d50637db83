"""What a run takes on a cluster of any size, by simulation with the costs measured in ``costs.json``.

    PYTHONPATH=. python evaluation/scaling/plans.py --nodes 10 --cores 40 --gpus 1 --songs 49 --listeners 53 \
        --song-s 250 --scored-s 30

tells it for one cluster, with the numbers of jobs that were best among those tried; without options it makes the tables
of ``evaluation/results/scaling.md``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from cluster_model import Costs, Disk, JobShape, NodeGroup, Outcome, SlurmModel
from simulator import simulate

from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.runs.shards.folder import DEMIX, PAIRS
from cadenza_remix.runs.shards.plan import Plan, PlannedSong, Speeds, make_plan
from evaluation.benchmarks.bench_report import Report

COSTS = Path(__file__).with_name("costs.json")

# Not measured here: no GPU was at hand. Deezer's own claim for one RTX 2080 is 100 times real time; a GPU's library
# takes its time to start as well.
GPU_DEMIX_PER_S = 0.01
GPU_EXTRA_START_S = 10.0

STEM_BYTES_PER_S = 4 * 2 * 4 * 44100.0  # four stereo stems in 32 bits
CLEAN_BYTES_PER_S = 4 * 2 * 2 * 44100.0  # the same in 16 bits; the mixture has a quarter of it
WORKER_GB, WORKER_GB_PER_SCORED_S = 0.4, 0.016  # as cadenza_remix.runs.scoring has them
MAX_SUBMIT = 1000
SCALES_TO = 0.8
LARGE = 100_000


@dataclass(frozen=True)
class Work:
    """How much there is to do; ``scored_s`` None: whole songs are handed in and scored."""

    n_songs: int = 49
    n_listeners: int = 53
    song_s: float = 250.0
    scored_s: float | None = 30.0

    @property
    def n_pairs(self) -> int:
        return self.n_songs * self.n_listeners


@dataclass(frozen=True)
class Cluster:
    """Nodes of one kind, and perhaps others for demixing alone (8 cores and 1 GPU each)."""

    n_nodes: int
    cores: int
    gpus: int = 0
    memory_gb: float = 192.0
    n_gpus_elsewhere: int = 0

    @property
    def groups(self) -> tuple[NodeGroup, ...]:
        groups = [NodeGroup("nodes", self.n_nodes, self.cores, self.gpus, self.memory_gb)]
        if self.n_gpus_elsewhere:
            groups.append(NodeGroup("elsewhere", self.n_gpus_elsewhere, 8, 1))
        return tuple(groups)

    @property
    def n_gpus(self) -> int:
        return self.n_gpus_elsewhere or self.n_nodes * self.gpus


@dataclass(frozen=True)
class Choice:
    """A plan, what its jobs ask for, and what came of it."""

    plan: Plan
    shapes: dict[str, JobShape]
    outcome: Outcome


def load_costs(path: Path = COSTS) -> dict[str, Costs]:
    """Return what `measure_costs` kept: ``cpu``, and ``gpu`` where the assumed cost of demixing takes its place."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    demix, enhance, score, pairs = (raw[name] for name in ("demix", "enhance", "score", "pairs"))
    of_pairs_s = enhance["spread"], score["spread"]
    cpu = Costs(
        demix_per_s=demix["per_s"], demix_fixed_s=demix["fixed_s"], demix_start_s=demix["start_s"],
        enhance_per_s=enhance["per_s"], enhance_kept_per_s=enhance["kept_per_s"], enhance_fixed_s=enhance["fixed_s"],
        score_per_s=score["per_s"], score_fixed_s=score["fixed_s"], pairs_start_s=pairs["start_s"],
        job_start_s=raw["supervisor"]["job_start_s"], load_per_s=pairs["load_per_s"],
        overhead_s=raw["supervisor"]["overhead_s"], spread=max(of_pairs_s),
        collect_start_s=pairs["start_s"], collect_per_pair_s=raw["collect"]["per_pair_s"], files=pairs["files"],
        calls=pairs["file_calls"]["of_pair"], start_calls=pairs["file_calls"]["of_start"],
        kept_bytes_per_s=pairs["kept_bytes_per_s"], stem_bytes_per_s=STEM_BYTES_PER_S,
        clean_bytes_per_s=CLEAN_BYTES_PER_S,
    )  # fmt: skip
    start_s = cpu.demix_start_s + GPU_EXTRA_START_S
    return {"cpu": cpu, "gpu": replace(cpu, demix_per_s=GPU_DEMIX_PER_S, demix_fixed_s=0.0, demix_start_s=start_s)}


def songs_of(work: Work) -> dict[str, PlannedSong]:
    """Return songs of different durations, the same each time: from 0.4 to 1.8 of the mean, as those of MUSDB18 are."""
    factors = np.clip(np.random.default_rng(18).normal(1.0, 0.25, size=work.n_songs), 0.4, 1.8)
    durations = work.song_s * factors / factors.mean()
    return {
        f"song {number}": PlannedSong(float(duration), float(duration if work.scored_s is None else work.scored_s))
        for number, duration in enumerate(durations)
    }


def options_of(work: Work, cluster: Cluster, max_submit: int) -> Iterator[tuple[int, int, dict[str, JobShape]]]:
    """Yield numbers of shards and shapes of jobs that are worth a try."""
    longest_s = 1.8 * work.song_s
    scored_s = longest_s if work.scored_s is None else work.scored_s
    stems_gb = 2e-9 * (STEM_BYTES_PER_S + CLEAN_BYTES_PER_S) * longest_s
    worker_gb = WORKER_GB + WORKER_GB_PER_SCORED_S * scored_s + stems_gb
    where = ("elsewhere",) if cluster.n_gpus_elsewhere else ("nodes",)
    demix = JobShape(2, 1, where, gpus=1, memory_gb=4.0) if cluster.n_gpus else JobShape(1, 1, where, memory_gb=4.0)
    at_once = cluster.n_gpus or cluster.n_nodes * min(cluster.cores, int(cluster.memory_gb / demix.memory_gb))
    room = max(1, max_submit - 1)
    is_large = work.n_pairs >= LARGE  # then one way to cut it must do
    turns_tried = (2,) if is_large else (1, 4)  # jobs for each GPU, or core, that can demix
    for cores in sorted({max(1, cluster.cores // part) for part in ((1,) if is_large else (1, 2, 4, 8))}):
        # What memory does not allow stays idle: the job asks for its cores, and starts fewer workers.
        workers = max(1, min(cores, int(cluster.memory_gb * cores / cluster.cores / worker_gb)))
        pairs = JobShape(cores, workers, ("nodes",), memory_gb=cluster.memory_gb * cores / cluster.cores)
        slots = cluster.n_nodes * (cluster.cores // cores)
        if cluster.n_gpus_elsewhere == 0:  # demixing needs some memory beside
            pairs = replace(pairs, memory_gb=min(pairs.memory_gb, worker_gb * workers))
        for waves in (1,) if is_large else (1, 3):
            for n_demix in {max(1, min(work.n_songs, turns * at_once, room // 2)) for turns in turns_tried}:
                n_pairs = max(n_demix, min(waves * slots, work.n_pairs, room - n_demix))
                yield n_demix, n_pairs, {DEMIX: demix, PAIRS: pairs}


def best(
    work: Work,
    cluster: Cluster,
    costs: dict[str, Costs],
    *,
    disk: Disk | None = None,
    max_submit: int = MAX_SUBMIT,
    max_array_size: int = 1001,
) -> Choice:
    """Return the fastest of some ways to cut a run; of those within 2 % the one with the fewest jobs."""
    songs = songs_of(work)
    pairs = [Pair(song, f"L{number}") for song in songs for number in range(work.n_listeners)]
    slurm = SlurmModel(max_submit=max_submit, max_array_size=max_array_size)
    cost = costs["gpu" if cluster.n_gpus else "cpu"]
    speeds = Speeds(demix=cost.demix_per_s, enhance=cost.enhance_per_s, score=cost.score_per_s)
    plans: dict[tuple[int, int], Plan] = {}
    tried = []
    for n_demix, n_pairs, shapes in options_of(work, cluster, max_submit):
        if (n_demix, n_pairs) not in plans:
            plans[n_demix, n_pairs] = make_plan(
                songs, pairs, n_demix_shards=n_demix, n_pairs_shards=n_pairs, speeds=speeds
            )
        plan = plans[n_demix, n_pairs]
        outcome = simulate(
            plan, groups=cluster.groups, shapes=shapes, costs=cost, slurm=slurm, disk=disk,
        )  # fmt: skip
        tried.append(Choice(plan, shapes, outcome))
    least = min(choice.outcome.makespan_s for choice in tried)
    near = [choice for choice in tried if choice.outcome.makespan_s <= 1.02 * least]
    return min(near, key=lambda choice: choice.outcome.n_jobs)


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


COLUMNS = ("what", "shards: demix + pairs", "cores, workers a job", "makespan", "demixed after", "efficiency",
           "workers busy", "most jobs queued", "arrays", "files", "limit")  # fmt: skip


def row_of(name: str, choice: Choice) -> list[str]:
    outcome, pairs = choice.outcome, choice.shapes[PAIRS]
    return [
        name, f"{len(choice.plan.demix)} + {len(choice.plan.pairs)}", f"{pairs.cores}, {pairs.workers}",
        duration(outcome.makespan_s), duration(outcome.stages[DEMIX][1]), f"{100 * outcome.efficiency:.0f} %",
        f"{100 * outcome.utilisation:.0f} %", str(outcome.n_queued), str(outcome.n_arrays), f"{outcome.n_files:,}",
        f"{outcome.limit} ({duration(outcome.bounds[outcome.limit])})",
    ]  # fmt: skip


def add_plans(report: Report, costs: dict[str, Costs]) -> None:
    """Add the tables of plans."""
    cpu, gpu = costs["cpu"], costs["gpu"]
    raw = json.loads(COSTS.read_text(encoding="utf-8"))
    song = PlannedSong(250.0, 30.0)
    report.add(
        f"Costs of a song of 250 s of which 30 s are scored, **measured** by `evaluation/scaling/measure_costs.py` on "
        f"{raw['measured']} ({raw['machine']}): enhancing a pair {cpu.enhance_s(song):.1f} s, scoring it "
        f"{cpu.score_s(song):.1f} s, demixing on one core {cpu.demix_s(song):.0f} s (`{raw['separator']}`), loading a "
        f"song's stems {250 * cpu.load_per_s:.1f} s for each worker that comes to it, start of a worker "
        f"{cpu.pairs_start_s:.1f} s, {1000 * cpu.overhead_s:.1f} ms beside each unit. A pair leaves {cpu.files:.0f} "
        f"files (8 stems, 8 scales, remix, two records) and takes {cpu.calls:.0f} calls that name a file; a job's "
        f"start takes {cpu.start_calls:.0f}, when the Python environment lies on the shared disk.\n"
    )
    disk, slurm = Disk(), SlurmModel()
    report.add(
        f"**Assumed, not measured:** demixing on a GPU {gpu.demix_s(song):.1f} s (100 times real time, what Deezer "
        f"claims for an RTX 2080) and {gpu.demix_start_s:.0f} s to start; a shared disk of {disk.calls_per_s:,.0f} "
        f"calls and {disk.bytes_per_s / 1e9:.0f} GB a second, {1000 * disk.call_s:.1f} ms a call, "
        f"{disk.node_bytes_per_s / 1e9:.0f} GB a second for a node; a scheduler that starts {slurm.starts_per_pass} "
        f"jobs every {slurm.interval_s:.0f} s; nobody else in the queue; {MAX_SUBMIT} jobs a user; nodes of 192 GB "
        "(64 GB with 16 cores); cores as fast when all are busy as one alone is.\n"
    )
    report.add(
        "Efficiency: work of units over the core time that jobs hold. Workers busy: work of pairs over the time that "
        "all workers which fit on the cluster (by cores and memory) have, from submission to end. Limit: what alone "
        "would make the run take longest, and how long. Shards and shapes of jobs are the fastest of those tried.\n"
    )
    cad1, whole, large = Work(), Work(scored_s=None), Work(n_songs=10_000)
    named = {
        "1 node of 16 cores, 1 GPU": Cluster(1, 16, 1, memory_gb=64),
        "10 nodes of 40 cores, 1 GPU each": Cluster(10, 40, 1),
        "149 nodes of 40 cores, no GPU": Cluster(149, 40),
        "149 nodes of 40 cores, 10 GPUs elsewhere": Cluster(149, 40, n_gpus_elsewhere=10),
    }
    for caption, work in (("CAD1's test set, 49 songs x 53 listeners, 30 s scored", cad1),
                          ("The same, whole songs handed in and scored", whole)):  # fmt: skip
        report.table(caption, COLUMNS, [row_of(name, best(work, given, costs)) for name, given in named.items()])
    add_sweep(report, "CAD1's test set on more and more nodes of 40 cores without GPUs", cad1, costs,
              [Cluster(n, 40) for n in (1, 2, 3, 5, 10, 20, 50)])  # fmt: skip
    add_sweep(report, "The same, whole songs scored", whole, costs,
              [Cluster(n, 40) for n in (1, 5, 10, 20, 50)])  # fmt: skip
    add_sweep(report, "10,000 songs x 53 listeners, 30 s scored, GPUs elsewhere (one for 20 nodes)", large, costs,
              [Cluster(n, 40, n_gpus_elsewhere=-(-n // 20)) for n in (10, 100, 1000)])  # fmt: skip


def add_sweep(report: Report, caption: str, work: Work, costs: dict[str, Costs], clusters: Sequence[Cluster]) -> None:
    """Add a table by number of nodes, and where workers are busy for less than 80 % of the time."""
    choices = [best(work, cluster, costs) for cluster in clusters]
    report.table(caption, COLUMNS, [row_of(_count(cluster.n_nodes), choice)
                                    for cluster, choice in zip(clusters, choices, strict=True)])  # fmt: skip
    for cluster, choice in zip(clusters, choices, strict=True):
        outcome = choice.outcome
        if outcome.utilisation < SCALES_TO:
            reasons = ", ".join(f"{name} alone would take {duration(s)}" for name, s in _largest(outcome.bounds))
            report.add(
                f"Workers are busy less than {100 * SCALES_TO:.0f} % of the time from {_count(cluster.n_nodes)} on; "
                f"there, {reasons}, of {duration(outcome.makespan_s)}.\n"
            )
            return
    report.add(f"Workers are busy for {100 * SCALES_TO:.0f} % of the time or more everywhere.\n")


def _count(n_nodes: int) -> str:
    return f"{n_nodes:,} node" + "s" * (n_nodes > 1)


def _largest(bounds: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(bounds.items(), key=lambda entry: -entry[1])[:3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, help="nodes for pairs")
    parser.add_argument("--cores", type=int, default=40, help="of each node")
    parser.add_argument("--gpus", type=int, default=0, help="of each node")
    parser.add_argument("--gpus-elsewhere", type=int, default=0, help="on other nodes, which only demix")
    parser.add_argument("--memory-gb", type=float, default=192.0, help="of each node")
    parser.add_argument("--songs", type=int, default=49)
    parser.add_argument("--listeners", type=int, default=53)
    parser.add_argument("--song-s", type=float, default=250.0, help="mean duration of a song")
    parser.add_argument("--scored-s", type=float, help="what of it is scored; whole songs by default")
    parser.add_argument("--max-submit", type=int, default=MAX_SUBMIT, help="jobs that a user may have in the queue")
    parser.add_argument(
        "--disk-calls", type=float, default=Disk().calls_per_s, help="that the shared disk serves in 1 s"
    )
    parser.add_argument("--disk-gb", type=float, default=Disk().bytes_per_s / 1e9, help="that it moves a second")
    options = parser.parse_args()
    costs = load_costs()
    if options.nodes is None:
        add_plans(Report("From one node to a thousand", packages=("numpy", "scipy", "numba")), costs)
        return
    work = Work(options.songs, options.listeners, options.song_s, options.scored_s)
    cluster = Cluster(options.nodes, options.cores, options.gpus, options.memory_gb, options.gpus_elsewhere)
    disk = Disk(calls_per_s=options.disk_calls, bytes_per_s=1e9 * options.disk_gb)
    choice = best(work, cluster, costs, disk=disk, max_submit=options.max_submit)
    for column, cell in zip(COLUMNS, row_of(f"{cluster.n_nodes} nodes of {cluster.cores} cores", choice), strict=True):
        print(f"{column:24}{cell}")
    print("alone would take         " + ", ".join(f"{name} {duration(s)}" for name, s in choice.outcome.bounds.items()))


if __name__ == "__main__":
    main()
