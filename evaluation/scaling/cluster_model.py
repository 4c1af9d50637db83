"""What the simulator is told of a cluster, of the scheduler, of the shared disk and of costs, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cadenza_remix.runs.shards.plan import PlannedSong


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of one kind."""

    name: str
    n_nodes: int
    cores: int
    gpus: int = 0
    memory_gb: float = 192.0


@dataclass(frozen=True)
class JobShape:
    """What each job of a stage asks for; ``groups``: names of the node groups it may run on."""

    cores: int
    workers: int
    groups: tuple[str, ...]
    gpus: int = 0
    memory_gb: float = 0.0


@dataclass(frozen=True)
class SlurmModel:
    """How the scheduler behaves.

    ``interval_s``: from a change of the queue to the scheduler's next pass; ``starts_per_pass``: jobs started in one;
    ``launch_s``: from there to the script's first line; ``end_s``: from its last line until the resources are free;
    ``throttle``: jobs of a stage that run at once (``%N`` of an array); ``max_submit``: jobs of a user in the queue:
    what is beyond that is submitted as others leave.
    """

    interval_s: float = 3.0
    starts_per_pass: int = 100
    launch_s: float = 1.0
    end_s: float = 1.0
    throttle: int | None = None
    max_array_size: int = 1001
    max_submit: int | None = None


@dataclass(frozen=True)
class Disk:
    """The shared disk: calls and bytes that it serves in a second, the time of one call, and one node's share."""

    calls_per_s: float = 20_000.0
    bytes_per_s: float = 5e9
    call_s: float = 3e-4
    node_bytes_per_s: float = 1e9


@dataclass(frozen=True)
class Costs:
    """What units cost one worker, in seconds: least values; the mean is ``1 + spread`` of them.

    ``*_per_s``: per second of the song, ``kept`` and ``score``: of what is handed in and scored; ``*_fixed_s``: each
    unit; ``load_per_s``: of the song, whenever a worker comes to another one; ``overhead_s``: each unit, between the
    supervisor and its worker. ``files``, ``calls`` (that name a file) and bytes are those of a pair.
    ``*_processor_s``: what the start of a job, and of each worker, takes of a processor where all nodes share some (see
    `simulate`).
    """

    demix_per_s: float = 0.0
    demix_fixed_s: float = 0.0
    demix_start_s: float = 0.0
    enhance_per_s: float = 0.0
    enhance_kept_per_s: float = 0.0
    enhance_fixed_s: float = 0.0
    score_per_s: float = 0.0
    score_fixed_s: float = 0.0
    pairs_start_s: float = 0.0
    job_start_s: float = 0.0
    job_start_processor_s: float = 0.0
    start_processor_s: float = 0.0
    load_per_s: float = 0.0
    overhead_s: float = 0.0
    spread: float = 0.0
    collect_start_s: float = 0.0
    collect_per_pair_s: float = 0.0
    files: float = 19
    calls: float = 0.0
    start_calls: float = 0.0
    kept_bytes_per_s: float = 0.0
    stem_bytes_per_s: float = 0.0
    clean_bytes_per_s: float = 0.0
    demix_files: int = 5

    def demix_s(self, song: PlannedSong) -> float:
        return self.demix_fixed_s + self.demix_per_s * song.duration_s

    def enhance_s(self, song: PlannedSong) -> float:
        return self.enhance_fixed_s + self.enhance_per_s * song.duration_s + self.enhance_kept_per_s * song.scored_s

    def score_s(self, song: PlannedSong) -> float:
        return self.score_fixed_s + self.score_per_s * song.scored_s


@dataclass(frozen=True)
class Outcome:
    """What a run came to; times in seconds from its submission.

    ``efficiency``: the work of units over the core time that jobs held; ``utilisation``: the work of pairs over the
    time that all workers which fit on the cluster have from submission to end; ``stages``: begin and end of each;
    ``n_queued``: most jobs in the queue at once; ``bounds``: how long the run would at least take for each reason
    alone.
    """

    makespan_s: float
    work_s: float
    efficiency: float
    utilisation: float
    stages: Mapping[str, tuple[float, float]]
    n_jobs: int
    n_arrays: int
    n_queued: int
    n_files: int
    bounds: Mapping[str, float]

    @property
    def limit(self) -> str:
        """Return the reason that alone would make it take longest."""
        return max(self.bounds, key=lambda name: self.bounds[name])
