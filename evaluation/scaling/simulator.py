"""How long a run's plan takes on a cluster: a simulation, event by event, of Slurm, of workers and of the shared disk.

The plan is a real one (`cadenza_remix.runs.shards.plan.make_plan`). A job is one shard. Jobs wait in the order of their
submission, for each stage by itself, until what they depend on has ended and a node has room; their workers start, and
take one bundle after the other, staying with a song as real ones do. Each waits for the shared disk, which serves
everybody in turn, then computes.

Nothing here is random: the spread of costs is drawn from a generator that is seeded by the shard.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from cluster_model import Costs, Disk, JobShape, NodeGroup, Outcome, SlurmModel

from cadenza_remix.runs.shards.folder import DEMIX, PAIRS, STAGES
from cadenza_remix.runs.shards.plan import Plan, Shard

COLLECT = "collect"


@dataclass
class _Job:
    """One job in the queue or running; of each bundle, by song, the seconds of its work and what comes on top."""

    stage: str
    number: int
    untouched: dict[str, deque[tuple[float, float]]]
    needs: int | None = None
    begun: dict[str, deque[tuple[float, float]]] = field(default_factory=dict)
    node: tuple[str, int] | None = None
    began_s: float = 0.0
    n_busy: int = 0

    @property
    def n_bundles(self) -> int:
        return sum(map(len, (*self.untouched.values(), *self.begun.values())))

    def take(self, song: str) -> tuple[str, tuple[float, float]] | None:
        """Return a bundle of this song, else of one that nobody has begun, else of the one with most left."""
        if song not in self.begun:
            if self.untouched:
                song = next(iter(self.untouched))
                self.begun[song] = self.untouched.pop(song)
            elif self.begun:
                song = max(self.begun, key=lambda name: len(self.begun[name]))
            else:
                return None
        bundles = self.begun[song]
        bundle = bundles.popleft()
        if not bundles:
            del self.begun[song]
        return song, bundle


@dataclass
class _Nodes:
    """Who holds what; for each stage the nodes that may have room, the latest freed first."""

    groups: Mapping[str, NodeGroup]
    shapes: Mapping[str, JobShape]
    free: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    hopeful: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for group in self.groups.values():
            for number in range(group.n_nodes):
                self.free[group.name, number] = [group.cores, group.gpus, group.memory_gb]
        for stage, shape in self.shapes.items():
            self.hopeful[stage] = [node for node in reversed(self.free) if node[0] in shape.groups]

    def take(self, stage: str) -> tuple[str, int] | None:
        """Give a job its share of a node; None when none has room."""
        shape, hopeful = self.shapes[stage], self.hopeful[stage]
        wanted = (shape.cores, shape.gpus, shape.memory_gb)
        while hopeful:
            left = self.free[hopeful[-1]]
            if all(have >= want - 1e-9 for have, want in zip(left, wanted, strict=True)):
                for place, want in enumerate(wanted):
                    left[place] -= want
                return hopeful[-1]
            hopeful.pop()
        return None

    def give_back(self, stage: str, node: tuple[str, int]) -> None:
        shape = self.shapes[stage]
        for place, held in enumerate((shape.cores, shape.gpus, shape.memory_gb)):
            self.free[node][place] += held
        for other, hopeful in self.hopeful.items():
            if node[0] in self.shapes[other].groups:
                hopeful.append(node)


def simulate(
    plan: Plan,
    *,
    groups: tuple[NodeGroup, ...],
    shapes: Mapping[str, JobShape],
    costs: Costs,
    slurm: SlurmModel | None = None,
    disk: Disk | None = None,
    shared_processors: float | None = None,
) -> Outcome:
    """Run a plan.

    Parameters
    ----------
    plan : Plan
    groups : tuple of NodeGroup
        The cluster.
    shapes : mapping of str to JobShape
        What jobs of ``demix`` and ``pairs`` ask for. The job that collects takes one core where pairs may run.
    costs : Costs
    slurm : SlurmModel, optional
    disk : Disk, optional
    shared_processors : float, optional
        All nodes are in truth one machine with so many processors, as in a test; what starts there waits for them.

    Raises
    ------
    ValueError
        No node of a stage's groups has room for one of its jobs.
    """
    by_name = {group.name: group for group in groups}
    for stage, shape in shapes.items():
        if not any(_has_room(by_name[name], shape) for name in shape.groups):
            raise ValueError(f"a job of {stage} fits on no node: {shape}")
    run = _Simulation(plan, by_name, shapes, costs, slurm or SlurmModel(), disk or Disk(), shared_processors)
    return run.run()


def _has_room(group: NodeGroup, shape: JobShape) -> bool:
    return group.cores >= shape.cores and group.gpus >= shape.gpus and group.memory_gb >= shape.memory_gb


class _Simulation:
    def __init__(
        self,
        plan: Plan,
        groups: Mapping[str, NodeGroup],
        shapes: Mapping[str, JobShape],
        costs: Costs,
        slurm: SlurmModel,
        disk: Disk,
        shared_processors: float | None,
    ) -> None:
        self.plan, self.costs, self.slurm, self.disk = plan, costs, slurm, disk
        self.shared_processors = shared_processors
        self.processors_free_s = 0.0
        self.groups = groups
        self.shapes = {**shapes, COLLECT: JobShape(1, 1, shapes[PAIRS].groups)}
        self.nodes = _Nodes(groups, self.shapes)
        self.events: list[tuple[float, int, str, _Job | None, str]] = []
        self.n_events = 0
        self.disk_free_s = self.disk_busy_s = 0.0
        self.work_s = 0.0
        self.work_by_stage = {DEMIX: 0.0, PAIRS: 0.0}
        self.held_s = 0.0
        self.loaded: dict[tuple[int, str], float] = {}
        self.pass_at: float | None = None
        self.to_submit: deque[_Job] = deque()
        self.ready: dict[str, deque[_Job]] = {stage: deque() for stage in self.shapes}
        self.waiting: dict[int, list[_Job]] = {}
        self.ended_demix: set[int] = set()
        self.n_running = dict.fromkeys(self.shapes, 0)
        self.n_in_queue = self.n_queued = 0
        self.n_left = dict.fromkeys(self.shapes, 0)
        self.span: dict[str, list[float]] = {}
        self.path_s = 0.0
        self.demix_path: dict[int, float] = {}

    def run(self) -> Outcome:
        jobs = [self._job(shard) for shard in self.plan.all_shards]
        jobs.append(_Job(COLLECT, 0, {}))
        for job in jobs:
            self.n_left[job.stage] += 1
            self._find_path(job)
        self.to_submit.extend(jobs)
        self._submit(0.0)
        now = 0.0
        while self.events:
            now, _, kind, job, song = heapq.heappop(self.events)
            if kind == "pass":
                self._pass(now)
            elif kind == "free" and job is not None:
                self._work(now, job, song)
            elif job is not None:
                self._end(now, job)
        if any(self.n_left.values()):
            raise RuntimeError(f"the simulated run stands still with {self.n_left} jobs left")
        return self._outcome(now, len(jobs))

    # The queue

    def _submit(self, now: float) -> None:
        while self.to_submit and (self.slurm.max_submit is None or self.n_in_queue < self.slurm.max_submit):
            job = self.to_submit.popleft()
            self.n_in_queue += 1
            if job.stage == COLLECT and (self.n_left[DEMIX] or self.n_left[PAIRS]):
                self.waiting.setdefault(-1, []).append(job)
            elif job.needs is not None and job.needs not in self.ended_demix:
                self.waiting.setdefault(job.needs, []).append(job)
            else:
                self.ready[job.stage].append(job)
        self.n_queued = max(self.n_queued, self.n_in_queue)
        self._call_scheduler(now)

    def _call_scheduler(self, now: float) -> None:
        if self.pass_at is None and any(self.ready.values()):
            self.pass_at = now + self.slurm.interval_s
            self._push(self.pass_at, "pass", None)

    def _pass(self, now: float) -> None:
        self.pass_at = None
        n_started = 0
        for stage, queue in self.ready.items():
            while queue and n_started < self.slurm.starts_per_pass:
                if self.slurm.throttle is not None and self.n_running[stage] >= self.slurm.throttle:
                    break
                node = self.nodes.take(stage)
                if node is None:
                    break
                n_started += 1
                self._start(now, queue.popleft(), node)
        if n_started == self.slurm.starts_per_pass:
            self._call_scheduler(now)

    def _start(self, now: float, job: _Job, node: tuple[str, int]) -> None:
        job.node, job.began_s = node, now
        self.n_running[job.stage] += 1
        self.span.setdefault(job.stage, [now, now])
        costs, ready_s = self.costs, now + self.slurm.launch_s
        if job.stage == COLLECT:
            n_pairs = sum(len(shard.bundles) for shard in self.plan.pairs)
            done_s = self._read(ready_s, n_calls=n_pairs + costs.start_calls, n_bytes=0)
            self._push(done_s + costs.collect_start_s + n_pairs * costs.collect_per_pair_s, "end", job)
            return
        job.n_busy = max(1, min(self.shapes[job.stage].workers, job.n_bundles))
        worker_s = costs.demix_start_s if job.stage == DEMIX else costs.pairs_start_s
        processor_s = costs.job_start_processor_s + job.n_busy * costs.start_processor_s
        read_s = self._read(ready_s + costs.job_start_s, n_calls=costs.start_calls, n_bytes=0)
        ready_s = max(read_s + worker_s, self._compute_shared(ready_s, processor_s))
        for _ in range(job.n_busy):
            self._push(ready_s, "free", job)

    def _end(self, now: float, job: _Job) -> None:
        assert job.node is not None
        self.nodes.give_back(job.stage, job.node)
        self.held_s += (now - job.began_s) * self.shapes[job.stage].cores
        self.span[job.stage][1] = max(self.span[job.stage][1], now)
        self.n_running[job.stage] -= 1
        self.n_left[job.stage] -= 1
        self.n_in_queue -= 1
        if job.stage == DEMIX:
            self.ended_demix.add(job.number)
            self.ready[PAIRS].extend(self.waiting.pop(job.number, ()))
        if not self.n_left[DEMIX] and not self.n_left[PAIRS]:
            self.ready[COLLECT].extend(self.waiting.pop(-1, ()))
        self._submit(now)

    # The work

    def _work(self, now: float, job: _Job, song: str) -> None:
        taken = job.take(song)
        if taken is None:
            job.n_busy -= 1
            if job.n_busy == 0:
                self._push(now + self.slurm.end_s, "end", job)
            return
        name, (seconds, extra) = taken
        costs, planned = self.costs, self.plan.songs[name]
        if job.stage == DEMIX:
            n_bytes = planned.duration_s * (costs.stem_bytes_per_s + costs.clean_bytes_per_s / 4)
            n_calls = 10.0 * costs.demix_files
        else:
            n_calls, n_bytes = costs.calls, costs.kept_bytes_per_s * planned.scored_s
            if song != name:
                extra += costs.load_per_s * planned.duration_s
                if (job.number, name) not in self.loaded:  # the job's other workers find it on the node
                    n_read = planned.duration_s * (costs.stem_bytes_per_s + 1.25 * costs.clean_bytes_per_s)
                    self.loaded[job.number, name] = self._read(now, n_calls=0, n_bytes=n_read)
                now = max(now, self.loaded[job.number, name])
        self.work_s += seconds
        self.work_by_stage[job.stage] += seconds
        self._push(self._read(now, n_calls=n_calls, n_bytes=n_bytes) + seconds + extra, "free", job, name)

    def _read(self, now: float, *, n_calls: float, n_bytes: float) -> float:
        """Return when the shared disk has served somebody who asks now; writing counts as reading does."""
        disk = self.disk
        served_s = n_calls / disk.calls_per_s + n_bytes / disk.bytes_per_s
        self.disk_free_s = max(self.disk_free_s, now) + served_s
        self.disk_busy_s += served_s
        return max(self.disk_free_s, now + n_calls * disk.call_s + n_bytes / disk.node_bytes_per_s)

    def _compute_shared(self, now: float, seconds: float) -> float:
        """Return when the processors that all nodes share have done this; nothing where each node has its own."""
        if self.shared_processors is None:
            return now
        self.processors_free_s = max(self.processors_free_s, now) + seconds / self.shared_processors
        return self.processors_free_s

    def _push(self, when: float, kind: str, job: _Job | None, song: str = "") -> None:
        self.n_events += 1
        heapq.heappush(self.events, (when, self.n_events, kind, job, song))

    # What is known beforehand

    def _job(self, shard: Shard) -> _Job:
        costs, songs = self.costs, self.plan.songs
        units = shard.units
        generator = np.random.default_rng([STAGES.index(shard.id.stage), shard.id.index])
        factors = 1 + costs.spread * generator.exponential(size=len(units))
        bundles: dict[str, deque[tuple[float, float]]] = {}
        of_kind = {"demix": costs.demix_s, "enhance": costs.enhance_s, "score": costs.score_s}
        place = 0
        for bundle in shard.bundles:
            seconds = 0.0
            for unit in bundle:
                seconds += of_kind[unit.kind](songs[unit.song]) * float(factors[place])
                place += 1
            bundles.setdefault(bundle[0].song, deque()).append((seconds, costs.overhead_s * len(bundle)))
        return _Job(shard.id.stage, shard.id.index, bundles, shard.needs)

    def _find_path(self, job: _Job) -> None:
        """Keep the longest way of one pair: its song is demixed, it is enhanced and scored, and jobs start and end."""
        if job.stage == COLLECT:
            return
        slurm, costs = self.slurm, self.costs
        fixed = slurm.interval_s + slurm.launch_s + slurm.end_s + costs.job_start_s
        fixed += costs.demix_start_s if job.stage == DEMIX else costs.pairs_start_s
        seconds = [sum(bundle) for bundles in job.untouched.values() for bundle in bundles]
        shortest = min(self.plan.songs[name].duration_s for name in job.untouched) if job.stage == PAIRS else 0.0
        path = fixed + max(seconds) + costs.load_per_s * shortest
        if job.stage == DEMIX:
            self.demix_path[job.number] = path
        else:
            path += self.demix_path[job.needs] if job.needs is not None else 0.0
        self.path_s = max(self.path_s, path)

    def _outcome(self, makespan_s: float, n_jobs: int) -> Outcome:
        slots = {stage: self._n_slots(stage) * self.shapes[stage].workers for stage in STAGES}
        demix_slots = max(1, min(slots[DEMIX], len(self.plan.demix) * self.shapes[DEMIX].workers))
        n_pairs = sum(len(shard.bundles) for shard in self.plan.pairs)
        collect = self.costs.collect_start_s + self.costs.collect_per_pair_s * n_pairs
        # The job that demixes keeps its cores for one worker: they count as used while that works.
        per_worker = {stage: self.shapes[stage].cores / self.shapes[stage].workers for stage in STAGES}
        used = sum(self.work_by_stage[stage] * per_worker[stage] for stage in STAGES)
        most = self.slurm.max_array_size - 1
        return Outcome(
            makespan_s=makespan_s,
            work_s=self.work_s,
            efficiency=used / self.held_s if self.held_s else 0.0,
            utilisation=self.work_by_stage[PAIRS] / (makespan_s * slots[PAIRS]) if makespan_s else 0.0,
            stages={stage: (span[0], span[1]) for stage, span in self.span.items()},
            n_jobs=n_jobs,
            n_arrays=sum(-(-len(self.plan.shards(stage)) // most) for stage in STAGES) + 1,
            n_queued=self.n_queued,
            n_files=round(n_pairs * self.costs.files + len(self.plan.songs) * self.costs.demix_files) + 2 * n_jobs,
            bounds={
                "cores": self.work_by_stage[PAIRS] / max(1, slots[PAIRS]),
                "longest bundle": self.path_s,
                "demixing": self.work_by_stage[DEMIX] / demix_slots,
                "shared disk": self.disk_busy_s,
                "scheduler": n_jobs / self.slurm.starts_per_pass * self.slurm.interval_s,
                "collect": collect,
            },
        )

    def _n_slots(self, stage: str) -> int:
        """Return how many jobs of a stage run at once on an empty cluster."""
        shape = self.shapes[stage]
        total = 0
        for name in shape.groups:
            group = self.groups[name]
            fits = [group.cores // shape.cores]
            fits += [group.gpus // shape.gpus] if shape.gpus else []
            fits += [int(group.memory_gb / shape.memory_gb + 1e-9)] if shape.memory_gb else []
            total += group.n_nodes * min(fits)
        return min(total, self.slurm.throttle or total)
