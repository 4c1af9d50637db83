"""Plans: every unit once, shards of about equal cost, the same from the same input, and back from the file."""

import dataclasses
import json

import pytest

from cadenza_remix.challenge.pairs import Pair, make_pairs
from cadenza_remix.errors import InputError
from cadenza_remix.runs.shards.folder import DEMIX, PAIRS, ShardId
from cadenza_remix.runs.shards.plan import PlannedSong, Speeds, make_plan, read_plan

SONGS = {f"song {number}": PlannedSong(60.0 + 37 * number % 211, 30.0) for number in range(49)}
LISTENERS = [f"L{number}" for number in range(53)]
ALL_PAIRS = make_pairs(SONGS, LISTENERS)


def plan(n_demix=10, n_pairs=149, *, songs=SONGS, pairs=ALL_PAIRS, **settings):
    return make_plan(songs, pairs, n_demix_shards=n_demix, n_pairs_shards=n_pairs, **settings)


@pytest.mark.parametrize(("n_demix", "n_pairs"), [(1, 1), (10, 149), (49, 2597), (1000, 100000), (7, 3)])
def test_every_unit_is_in_one_shard(n_demix, n_pairs):
    made = plan(n_demix, n_pairs)
    units = [unit for shard in made.all_shards for unit in shard.units]
    assert len(units) == len(set(units)) == 49 + 2 * 2597
    assert made.all_pairs == ALL_PAIRS
    assert all(shard.bundles for shard in made.all_shards)
    assert len(made.demix) == min(n_demix, 49)
    assert len(made.pairs) == min(max(n_pairs, len(made.demix)), 2597)


def test_shards_of_pairs_need_just_the_shard_that_demixes_their_songs():
    made = plan()
    for shard in made.pairs:
        assert set(shard.songs) <= set(made.demix[shard.needs].songs)
    needs = [shard.needs for shard in made.pairs]
    assert needs == sorted(needs)  # those of one array job are consecutive


def test_shards_cost_about_the_same():
    made = plan()
    for shards in (made.demix, made.pairs):
        costs = [shard.cost_s for shard in shards]
        assert max(costs) < 1.25 * sum(costs) / len(costs)


def test_longest_songs_do_not_meet_in_one_shard():
    songs = {"a": PlannedSong(600, 30), "b": PlannedSong(590, 30), "c": PlannedSong(10, 10), "d": PlannedSong(10, 10)}
    made = plan(2, 2, songs=songs, pairs=make_pairs(songs, ["L1"]))
    assert [shard.songs for shard in made.demix] == [("a", "d"), ("b", "c")]


def test_same_input_same_plan_and_the_file_gives_it_back(tmp_path):
    made = plan(speeds=Speeds(score=0.3), separator={"name": "spleeter:2stems", "fingerprint": "ab"})
    made.write(tmp_path / "plan.json")
    again = plan(speeds=Speeds(score=0.3), separator={"name": "spleeter:2stems", "fingerprint": "ab"})
    again.write(tmp_path / "again.json")
    assert (tmp_path / "plan.json").read_bytes() == (tmp_path / "again.json").read_bytes()
    assert read_plan(tmp_path / "plan.json") == made


def test_songs_that_no_pair_needs_are_left_out():
    made = plan(3, 3, pairs=[Pair("song 3", "L1"), Pair("song 5", "L1")])
    assert list(made.songs) == ["song 3", "song 5"]


def test_without_references_nothing_is_scored():
    made = plan(2, 4, is_scored=False)
    assert {unit.kind for shard in made.all_shards for unit in shard.units} == {"demix", "enhance"}


def test_wrong_numbers_are_refused():
    with pytest.raises(InputError, match="wrong number of shards"):
        plan(0, 1)
    with pytest.raises(InputError, match="no pairs"):
        plan(1, 1, pairs=[])
    with pytest.raises(InputError, match=r"speeds\.score"):
        Speeds(score=-1)
    made = plan()
    with pytest.raises(InputError, match=r"no such shard.*0 to 9, found 10"):
        made.shard(ShardId(DEMIX, 10))
    with pytest.raises(InputError, match="no such stage"):
        made.shard(ShardId("score", 0))
    assert made.shard(ShardId(PAIRS, 148)) == made.pairs[-1]


@pytest.mark.parametrize(
    "damage", [lambda raw: raw.pop("songs"), lambda raw: raw.update(format=9), lambda raw: raw[PAIRS].append(3)]
)
def test_damaged_plan_is_one_line(tmp_path, damage):
    plan().write(tmp_path / "plan.json")
    raw = json.loads((tmp_path / "plan.json").read_text())
    damage(raw)
    (tmp_path / "plan.json").write_text(json.dumps(raw))
    with pytest.raises(InputError, match=r"plan\.json: .*expected"):
        read_plan(tmp_path / "plan.json")


def test_no_plan_no_run(tmp_path):
    with pytest.raises(InputError, match="no run lies here"):
        read_plan(tmp_path / "plan.json")


def test_plan_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan().is_scored = False
