"""The simulator on plans whose answers can be found with pencil and paper."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "evaluation" / "scaling"))

from cluster_model import Costs, Disk, JobShape, NodeGroup, SlurmModel
from simulator import simulate

from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.runs.shards.folder import DEMIX, PAIRS
from cadenza_remix.runs.shards.plan import PlannedSong, make_plan

AT_ONCE = SlurmModel(interval_s=0, launch_s=0, end_s=0)
ENDLESS = Disk(calls_per_s=1e12, bytes_per_s=1e18, call_s=0, node_bytes_per_s=1e18)
COSTS = Costs(demix_fixed_s=10, enhance_fixed_s=1, score_fixed_s=2, files=19)


def plan_of(n_songs, n_listeners, n_demix, n_pairs):
    songs = {f"song {number}": PlannedSong(250, 30) for number in range(n_songs)}
    pairs = [Pair(song, f"L{number}") for song in songs for number in range(n_listeners)]
    return make_plan(songs, pairs, n_demix_shards=n_demix, n_pairs_shards=n_pairs)


def run(plan, *, workers=1, cores=4, n_nodes=1, costs=COSTS, slurm=AT_ONCE, disk=ENDLESS, gpus=0, **options):
    groups = (NodeGroup("node", n_nodes, cores, gpus),)
    shapes = {DEMIX: JobShape(1, 1, ("node",), gpus=min(gpus, 1)), PAIRS: JobShape(workers, workers, ("node",))}
    return simulate(plan, groups=groups, shapes=shapes, costs=costs, slurm=slurm, disk=disk, **options)


def test_one_worker_does_one_thing_after_the_other():
    outcome = run(plan_of(2, 4, 1, 1))
    assert outcome.makespan_s == pytest.approx(2 * 10 + 8 * 3)
    assert outcome.stages[DEMIX] == (0, pytest.approx(20))
    assert outcome.stages[PAIRS] == (pytest.approx(20), pytest.approx(44))
    assert outcome.efficiency == pytest.approx(1.0)
    assert (outcome.n_jobs, outcome.n_queued) == (3, 3)
    assert outcome.n_files == 8 * 19 + 2 * 5 + 2 * 3


def test_idle_workers_cost_efficiency():
    """Five pairs for four workers: two turns, of which the second has one worker busy."""
    outcome = run(plan_of(1, 5, 1, 1), workers=4)
    assert outcome.makespan_s == pytest.approx(10 + 2 * 3)
    assert outcome.efficiency == pytest.approx((10 + 15) / (10 + 4 * 6))
    assert outcome.utilisation == pytest.approx(15 / (16 * 4))


def test_pairs_wait_for_their_own_shard_of_demix_alone():
    """One GPU, two songs: the first one's pairs run while the second is demixed."""
    outcome = run(plan_of(2, 2, 2, 2), gpus=1)
    assert outcome.stages[PAIRS][0] == pytest.approx(10)
    assert outcome.makespan_s == pytest.approx(20 + 6)


def test_jobs_queue_until_a_node_has_room():
    plan = plan_of(1, 4, 1, 4)
    assert run(plan, cores=2).makespan_s == pytest.approx(10 + 2 * 3)
    assert run(plan, cores=2, n_nodes=2).makespan_s == pytest.approx(10 + 3)
    throttled = SlurmModel(interval_s=0, launch_s=0, end_s=0, throttle=1)
    assert run(plan, slurm=throttled).makespan_s == pytest.approx(10 + 4 * 3)


def test_limits_of_the_queue():
    plan = plan_of(1, 6, 1, 6)
    few = SlurmModel(interval_s=0, launch_s=0, end_s=0, max_submit=3, max_array_size=5)
    outcome = run(plan, cores=8, slurm=few)
    assert outcome.n_queued == 3
    assert outcome.n_arrays == 1 + 2 + 1
    assert outcome.makespan_s == pytest.approx(10 + 2 * 3)  # three at once, not six
    slow = SlurmModel(interval_s=5, launch_s=1, end_s=2, starts_per_pass=3)
    assert run(plan, cores=8, slurm=slow).makespan_s == pytest.approx((5 + 1 + 10 + 2) + (10 + 1 + 3 + 2) + (5 + 1))


def test_shared_disk_serves_everybody_in_turn():
    """Eight pairs of 100 calls, at 20 calls a second: 40 s, whatever the number of workers."""
    costs = Costs(enhance_fixed_s=1, calls=100)
    disk = Disk(calls_per_s=20, bytes_per_s=1e18, call_s=0, node_bytes_per_s=1e18)
    outcome = run(plan_of(1, 8, 1, 1), workers=4, costs=costs, disk=disk)
    assert outcome.limit == "shared disk"
    assert 40 <= outcome.makespan_s <= 45


def test_a_worker_loads_a_song_once_and_its_job_reads_it_once():
    costs = Costs(enhance_fixed_s=1, load_per_s=0.01, stem_bytes_per_s=1000)
    disk = Disk(calls_per_s=1e12, bytes_per_s=1e9, call_s=0, node_bytes_per_s=25_000)
    outcome = run(plan_of(1, 4, 1, 1), workers=2, costs=costs, disk=disk)
    demix_s = 250_000 / 25_000
    assert outcome.makespan_s == pytest.approx(demix_s + 10 + 2.5 + 2, abs=0.01)  # read by one, loaded, two units


def test_start_waits_for_processors_that_all_nodes_share():
    costs = Costs(enhance_fixed_s=1, pairs_start_s=2, start_processor_s=2)
    plan = plan_of(1, 4, 1, 1)
    assert run(plan, workers=4, costs=costs).makespan_s == pytest.approx(3)
    assert run(plan, workers=4, costs=costs, shared_processors=2).makespan_s == pytest.approx(1 + 4 + 1)


def test_spread_raises_the_mean_and_repeats():
    plan = plan_of(4, 50, 1, 1)
    costs = Costs(score_fixed_s=1, spread=0.2)
    first, second = run(plan, costs=costs), run(plan, costs=costs)
    assert first == second
    assert first.makespan_s == pytest.approx(200 * 1.2, rel=0.05)


def test_a_job_that_fits_nowhere_is_refused():
    with pytest.raises(ValueError, match="a job of pairs fits on no node"):
        run(plan_of(1, 1, 1, 1), workers=8, cores=4)
