"""What a run comes to: units of work with their expected cost, cut into shards of about equal cost.

A plan is made once and kept in the run's folder, so that a shard means the same units wherever and whenever it is
worked on. It depends on names, durations and settings alone: the same input gives the same plan.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cadenza_remix.atomic import write_json
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError
from cadenza_remix.runs.records import digest
from cadenza_remix.runs.shards.folder import DEMIX, PAIRS, STAGES, ShardId

PLAN_FORMAT = 2
_WORKER_BYTES = 0.5e9
_BYTES_PER_SCORED_S = 16e6  # HAAQI's arrays, clean and processed stems
_BYTES_PER_SONG_S = 5e6  # stems and their aided copies: 250 s were found to take 1.4 GB, worker included
KINDS = ("demix", "enhance", "score")


class Unit(NamedTuple):
    """The smallest piece of work: it is done or not. ``listener`` is empty for ``demix``."""

    kind: str
    song: str
    listener: str = ""

    @property
    def name(self) -> str:
        """Return what journals and messages call it: ``demix/<song>``, ``score/<listener>/<song>``."""
        return "/".join(part for part in (self.kind, self.listener, self.song) if part)


@dataclass(frozen=True)
class Speeds:
    """How long units take, in seconds of one worker per second of audio, and what each costs beside that.

    Demixing and enhancing go by the song's duration, scoring by what of it is scored. ``start_s`` is what a worker
    takes before its first unit. Measured on one core with ``spleeter:2stems+hpss``.
    """

    demix: float = 0.065
    enhance: float = 0.015
    score: float = 0.22
    per_unit_s: float = 0.15
    start_s: float = 6.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e6:
                raise InputError(
                    "wrong speed", where=f"speeds.{name}", expected="seconds, 0 or more", found=repr(value)
                )


@dataclass(frozen=True)
class PlannedSong:
    """How long a song is, and how much of it is scored, in seconds."""

    duration_s: float
    scored_s: float


@dataclass(frozen=True)
class Shard:
    """Units that one job works on.

    ``bundles``: units that one worker does in order (a pair is enhanced, then scored); ``needs``: for a shard
    of pairs the number of the shard that demixes its songs; ``cost_s``: expected seconds of one worker.
    """

    id: ShardId
    bundles: tuple[tuple[Unit, ...], ...]
    cost_s: float
    needs: int | None = None

    @property
    def units(self) -> tuple[Unit, ...]:
        return tuple(unit for bundle in self.bundles for unit in bundle)

    @property
    def songs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(bundle[0].song for bundle in self.bundles))


@dataclass(frozen=True)
class Plan:
    """All shards of a run; ``separator`` names what makes the stems and how (its name and fingerprint)."""

    songs: Mapping[str, PlannedSong]
    demix: tuple[Shard, ...]
    pairs: tuple[Shard, ...]
    speeds: Speeds = field(default_factory=Speeds)
    separator: Mapping[str, str] = field(default_factory=dict)
    is_scored: bool = True

    def shards(self, stage: str) -> tuple[Shard, ...]:
        return {DEMIX: self.demix, PAIRS: self.pairs}[stage]

    def shard(self, shard: ShardId) -> Shard:
        """Return one shard; an InputError when there is none of this number."""
        if shard.stage not in STAGES:
            raise InputError("no such stage", where=str(shard), expected=" or ".join(STAGES), found=shard.stage)
        shards = self.shards(shard.stage)
        if not 0 <= shard.index < len(shards):
            raise InputError("no such shard", where=str(shard), expected=f"0 to {len(shards) - 1}", found=shard.index)
        return shards[shard.index]

    @property
    def all_shards(self) -> tuple[Shard, ...]:
        return (*self.demix, *self.pairs)

    @property
    def all_pairs(self) -> list[Pair]:
        """Return the pairs in the challenge's order: by song as listed, then by listener as they come."""
        found = [Pair(bundle[0].song, bundle[0].listener) for shard in self.pairs for bundle in shard.bundles]
        place = {song: number for number, song in enumerate(self.songs)}
        return sorted(found, key=lambda pair: place[pair.song])

    def worker_bytes(self, songs: Iterable[str] | None = None) -> float:
        """Return how much memory a worker of ``pairs`` takes with the longest of these songs, of all by default."""
        planned = [self.songs[name] for name in (self.songs if songs is None else songs)]
        scored_s = max(song.scored_s for song in planned) if self.is_scored else 0.0
        longest_s = max(song.duration_s for song in planned)
        return _WORKER_BYTES + _BYTES_PER_SCORED_S * scored_s + _BYTES_PER_SONG_S * longest_s

    def cost_s(self, unit: Unit) -> float:
        """Return the expected seconds of one worker for a unit."""
        return unit_cost_s(unit, self.songs[unit.song], self.speeds)

    def write(self, path: Path) -> None:
        """Write the plan as JSON: shards as songs and pairs, costs left to be computed again."""
        value = {
            "format": PLAN_FORMAT,
            "separator": dict(self.separator),
            "is_scored": self.is_scored,
            "speeds": asdict(self.speeds),
            "songs": {name: [song.duration_s, song.scored_s] for name, song in self.songs.items()},
            DEMIX: [list(shard.songs) for shard in self.demix],
            PAIRS: [
                {"needs": shard.needs, "pairs": [[bundle[0].song, bundle[0].listener] for bundle in shard.bundles]}
                for shard in self.pairs
            ],
        }
        write_json(path, {**value, "digest": digest(value)})


def unit_cost_s(unit: Unit, song: PlannedSong, speeds: Speeds) -> float:
    """Return the expected seconds of one worker for a unit of a song."""
    per_second = {"demix": speeds.demix, "enhance": speeds.enhance, "score": speeds.score}[unit.kind]
    return speeds.per_unit_s + per_second * (song.scored_s if unit.kind == "score" else song.duration_s)


def make_plan(
    songs: Mapping[str, PlannedSong],
    pairs: Sequence[Pair],
    *,
    n_demix_shards: int,
    n_pairs_shards: int,
    speeds: Speeds | None = None,
    separator: Mapping[str, str] | None = None,
    is_scored: bool = True,
) -> Plan:
    """Cut the work into shards.

    Parameters
    ----------
    songs : mapping of str to PlannedSong
        In the order of the list; songs without a pair are left out.
    pairs : sequence of Pair
    n_demix_shards, n_pairs_shards : int
        How many to aim at. No shard is empty: there are never more shards of ``demix`` than songs, or of ``pairs`` than
        pairs, and at least one of ``pairs`` for each of ``demix``.
    speeds : Speeds, optional
    separator : mapping, optional
        Name and fingerprint.
    is_scored : bool
        Without clean stems nothing can be scored.

    Raises
    ------
    InputError
        A number of shards below 1, or no pairs.
    """
    speeds = speeds or Speeds()
    for name, number in (("demix shards", n_demix_shards), ("pairs shards", n_pairs_shards)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InputError("wrong number of shards", where=name, expected="1 or more", found=repr(number))
    if not pairs:
        raise InputError("no pairs to work on", expected="at least one song and one listener")
    wanted = {pair.song for pair in pairs}
    songs = {name: song for name, song in songs.items() if name in wanted}
    groups = _even_groups(
        {name: unit_cost_s(Unit(DEMIX, name), song, speeds) for name, song in songs.items()},
        min(n_demix_shards, len(songs)),
    )
    by_song: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_song.setdefault(pair.song, []).append(pair)
    bundled = [[_bundle(pair, is_scored) for song in group for pair in by_song[song]] for group in groups]
    costs = [[sum(unit_cost_s(u, songs[u.song], speeds) for u in bundle) for bundle in bundles] for bundles in bundled]
    counts = _shares([sum(cost) for cost in costs], [len(cost) for cost in costs], n_pairs_shards)
    demix: list[Shard] = []
    of_pairs: list[Shard] = []
    for number, (group, bundles, cost, count) in enumerate(zip(groups, bundled, costs, counts, strict=True)):
        demix.append(_shard(ShardId(DEMIX, number), [(Unit(DEMIX, song),) for song in group], songs, speeds))
        for start, end in _even_slices(cost, count):
            of_pairs.append(_shard(ShardId(PAIRS, len(of_pairs)), bundles[start:end], songs, speeds, needs=number))
    return Plan(songs, tuple(demix), tuple(of_pairs), speeds, dict(separator or {}), is_scored)


def read_plan(path: Path) -> Plan:
    """Read the plan of a run.

    Raises
    ------
    InputError
        There is none, or it cannot be understood.
    """
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != PLAN_FORMAT:
            raise InputError("plan of another version", where=path, expected=PLAN_FORMAT, found=raw["format"])
        if raw.pop("digest") != digest(raw):
            raise InputError("damaged plan", where=path, expected="what this program wrote", found="something else")
        songs = {name: PlannedSong(*times) for name, times in raw["songs"].items()}
        speeds, is_scored = Speeds(**raw["speeds"]), raw["is_scored"]
        demix = [
            _shard(ShardId(DEMIX, number), [(Unit(DEMIX, song),) for song in group], songs, speeds)
            for number, group in enumerate(raw[DEMIX])
        ]
        of_pairs = [
            _shard(
                ShardId(PAIRS, number), [_bundle(Pair(*pair), is_scored) for pair in entry["pairs"]], songs, speeds,
                needs=entry["needs"],
            )
            for number, entry in enumerate(raw[PAIRS])
        ]  # fmt: skip
        return Plan(songs, tuple(demix), tuple(of_pairs), speeds, raw["separator"], is_scored)
    except FileNotFoundError as error:
        raise InputError("no run lies here", where=path.parent, expected="a folder with plan.json") from error
    except OSError as error:
        raise InputError("cannot be read", where=path, found=error.strerror) from error
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError("damaged plan", where=path, expected="what this program wrote", found=str(error)) from error


def _shard(
    shard: ShardId,
    bundles: Sequence[tuple[Unit, ...]],
    songs: Mapping[str, PlannedSong],
    speeds: Speeds,
    needs: int | None = None,
) -> Shard:
    cost_s = sum(unit_cost_s(unit, songs[unit.song], speeds) for bundle in bundles for unit in bundle)
    return Shard(shard, tuple(bundles), cost_s, needs)


def _bundle(pair: Pair, is_scored: bool) -> tuple[Unit, ...]:
    enhance = Unit("enhance", pair.song, pair.listener)
    return (enhance, Unit("score", pair.song, pair.listener)) if is_scored else (enhance,)


def _even_groups(costs: Mapping[str, float], n_groups: int) -> list[list[str]]:
    """Share songs out: the dearest first, each to the group that has least; groups and songs in the list's order."""
    place = {name: number for number, name in enumerate(costs)}
    heap = [(0.0, number) for number in range(n_groups)]
    groups: list[list[str]] = [[] for _ in heap]
    for name in sorted(costs, key=lambda name: (-costs[name], place[name])):
        total, number = heapq.heappop(heap)
        groups[number].append(name)
        heapq.heappush(heap, (total + costs[name], number))
    return sorted((sorted(group, key=place.__getitem__) for group in groups), key=lambda group: place[group[0]])


def _shares(weights: Sequence[float], most: Sequence[int], total: int) -> list[int]:
    """Cut a whole number into parts about proportional to weights, each at least 1 and at most as given."""
    counts = [1] * len(weights)
    heap = [(-weight, number) for number, weight in enumerate(weights) if most[number] > 1]
    heapq.heapify(heap)
    for _ in range(total - len(weights)):
        if not heap:
            break
        _, number = heapq.heappop(heap)  # whose shards are the largest
        counts[number] += 1
        if counts[number] < most[number]:
            heapq.heappush(heap, (-weights[number] / counts[number], number))
    return counts


def _even_slices(costs: Sequence[float], n_slices: int) -> Iterable[tuple[int, int]]:
    """Cut a sequence into consecutive slices of about equal sums, none of them empty."""
    total, start, passed = sum(costs), 0, 0.0
    for number in range(1, n_slices + 1):
        end, most = start + 1, len(costs) - (n_slices - number)
        passed += costs[start]
        while end < most and (number == n_slices or passed + costs[end] / 2 <= total * number / n_slices):
            passed += costs[end]
            end += 1
        yield start, end
        start = end
