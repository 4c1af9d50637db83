"""Units that wait instead of computing, as long as the plan says: many workers of them fit on few cores.

    python evaluation/scaling/waiting.py RUN STAGE INDEX WORKERS

works on one shard of a plan with the supervisor that real shards have. A plan whose speeds are 0 has empty units.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cadenza_remix.runs.shards.folder import DEMIX, RunFolder, ShardId
from cadenza_remix.runs.shards.plan import PlannedSong, Speeds, Unit, read_plan, unit_cost_s


@dataclass(frozen=True)
class Waiting:
    """Waits for each unit; a song that was demixed leaves a file, without which its pairs cannot begin."""

    stems: Path
    songs: dict[str, PlannedSong]
    speeds: Speeds
    has_demix: bool = True

    def is_done(self, unit: Unit) -> bool:
        return False

    def missing(self, unit: Unit) -> str | None:
        if unit.kind == DEMIX or not self.has_demix or (self.stems / unit.song).exists():
            return None
        return f"{unit.song} was not demixed"

    def prepare(self, stage: str) -> None:
        return

    def perform(self, unit: Unit) -> None:
        time.sleep(unit_cost_s(unit, self.songs[unit.song], self.speeds))
        if unit.kind == DEMIX:
            self.stems.mkdir(exist_ok=True)
            (self.stems / unit.song).touch()


def main() -> int:
    from waiting import Waiting as Importable  # a worker finds it there; it would not find __main__

    from cadenza_remix.runs.shards.stopping import Stopping, exit_status
    from cadenza_remix.runs.shards.working import work_shard

    run, stage, index, n_workers = sys.argv[1:]
    folder = RunFolder(Path(run).absolute())
    plan = read_plan(folder.plan)
    work = Importable(folder.stems, dict(plan.songs), plan.speeds, has_demix=plan.separator.get("name") != "none")
    with Stopping() as stop:
        done = work_shard(
            folder, plan, ShardId(stage, int(index)), work, round_number=1, n_workers=int(n_workers), stop=stop,
            notify=print,
        )  # fmt: skip
    print(done)
    own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print("processor time", own.ru_utime + own.ru_stime, workers.ru_utime + workers.ru_stime)
    return exit_status(done.reason) or (1 if done.n_left or done.n_blocked or done.n_aside else 0)


if __name__ == "__main__":
    sys.exit(main())
