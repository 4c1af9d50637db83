"""Units of work for tests of shards: small files instead of music, and faults on demand."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from cadenza_remix.atomic import write_text
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.errors import InputError, OutputError
from cadenza_remix.runs.shards.folder import RunFolder, ShardId
from cadenza_remix.runs.shards.journal import read_events
from cadenza_remix.runs.shards.plan import PlannedSong, make_plan, read_plan
from cadenza_remix.runs.shards.stopping import Stopping, exit_status
from cadenza_remix.runs.shards.working import work_shard


@dataclass(frozen=True)
class FileWork:
    """Each unit writes a file of its own.

    ``faults``: by the unit's name, what goes wrong: "input", "bug", "kill", "exit", "full", "twice" (fails two times,
    then not). ``seconds``: how long each unit takes; ``slow``: how long some take, by name. ``prepare_fault``: "input"
    or "kill". ``n_awaited``: units begin once so many workers are there.
    """

    root: Path
    faults: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    slow: dict[str, float] = field(default_factory=dict)
    needs_stems: bool = False
    prepare_fault: str = ""
    n_awaited: int = 1

    def is_done(self, unit):
        return self.result(unit).is_file()

    def missing(self, unit):
        if self.needs_stems and unit.kind != "demix" and not (self.root / "stems" / unit.song).exists():
            return f"the stems of {unit.song!r} are not there"
        return None

    def prepare(self, stage):
        self.note("prepared", stage)
        if self.prepare_fault == "input":
            raise InputError("no GPU", where=stage, expected="one")
        if self.prepare_fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)

    def perform(self, unit):
        self.note("begun", unit.name)
        until(lambda: len(self.noted("prepared")) >= self.n_awaited)
        time.sleep(self.slow.get(unit.name, self.seconds))
        fault = self.faults.get(unit.name)
        if fault == "input":
            raise InputError("damaged", where=unit.song)
        if fault == "bug":
            raise ZeroDivisionError("oops")
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "exit":
            os._exit(3)
        if fault == "full":
            raise OutputError(f"{unit.name}: cannot be written: No space left on device")
        if fault == "twice" and len([name for _, name in self.noted("begun") if name == unit.name]) < 3:
            raise InputError("not yet", where=unit.name)
        print("to nobody")
        write_text(self.result(unit), f"result of {unit.name}\n")
        self.note("ended", unit.name)

    def result(self, unit):
        return self.root / "results" / unit.name

    def note(self, what, name):
        """Append a line of process id, time, name and some of the environment."""
        self.root.mkdir(parents=True, exist_ok=True)
        seen = os.environ.get("SEAT", ""), os.environ.get("OMP_NUM_THREADS", "")
        with (self.root / what).open("a") as file:
            file.write("\t".join((str(os.getpid()), name, *seen)) + "\n")

    def noted(self, what):
        """Return pairs of process id and name, in the order in which they were noted."""
        return [(pid, name) for pid, name, *_ in self.lines(what)]

    def lines(self, what):
        path = self.root / what
        return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []


@dataclass(frozen=True)
class NothingWork:
    """Units that take no time and leave nothing: what remains is the cost of handing them out."""

    def is_done(self, unit):
        return False

    def missing(self, unit):
        return None

    def prepare(self, stage):
        pass

    def perform(self, unit):
        pass


def small_run(root, *, songs=("a", "b"), listeners=("L1", "L2"), n_pairs_shards=1):
    """Return the folder and the plan of a run whose demix shard holds all songs."""
    plan = make_plan(
        {song: PlannedSong(10.0, 5.0) for song in songs},
        [Pair(song, listener) for song in songs for listener in listeners],
        n_demix_shards=1,
        n_pairs_shards=n_pairs_shards,
    )
    folder = RunFolder(Path(root))
    plan.write(folder.plan)
    return folder, plan


def work_on(folder, plan, work, *, stage="pairs", n_workers=1, stop=None, **options):
    """Work on shard 0 of a stage, quickly; return its outcome."""
    options = {"round_number": 1, "settle_s": 0.3, "beat_s": 0.1, "stale_s": 0.5, **options}
    return work_shard(folder, plan, ShardId(stage, 0), work, n_workers=n_workers, stop=stop or Stopping(), **options)


def events_of(folder, stage="pairs"):
    """Return the events of each journal of shard 0, the oldest first: (name, unit) and the facts."""
    found = [read_events(path) for path in folder.journals(ShardId(stage, 0)).glob("*.jsonl")]
    return sorted(found, key=lambda events: events[0].t)


def start_supervisor(folder, *, work, deadline_s=90.0, **options):
    """Start a process that works on shard 0 of the pairs, as a job would; it ends with the shard's exit status."""
    told = json.dumps({"root": str(folder.root), "work": work, "deadline_s": deadline_s, "options": options})
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    code = "from shard_units import supervise; supervise()"
    return subprocess.Popen(
        [sys.executable, "-c", code, told], env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True
    )


def supervise():
    """What `start_supervisor` runs."""
    told = json.loads(sys.argv[1])
    folder = RunFolder(Path(told["root"]))
    work = FileWork(folder.root, **told["work"])
    with Stopping(deadline_s=told["deadline_s"]) as stop:
        outcome = work_on(folder, read_plan(folder.plan), work, stop=stop, **told["options"])
    print(json.dumps(outcome.__dict__))
    sys.exit(exit_status(outcome.reason))


def until(condition, seconds=20.0):
    """Wait for a condition, and return what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"did not happen within {seconds} s")


def is_alive(pid):
    """Tell whether a process runs (and is no zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
