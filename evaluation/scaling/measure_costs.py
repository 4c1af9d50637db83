"""What the units of a run cost on this machine: real music, one worker on one core, as the jobs of a cluster have it.

    python evaluation/scaling/measure_costs.py --work build/scaling --out evaluation/scaling/costs.json

Songs of 30 and 60 s are made from the demo's excerpt; each kind of unit runs in a process of its own that may use one
core only. Costs are processor time, which leaves out the disk (the simulator has one of its own) and whoever else uses
the machine; the least of several units counts, and how far the others lie above is kept as their spread. Demixing on a
GPU is not measured here: see ``plans.py``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
SEPARATOR = "spleeter:2stems+hpss"
LISTENERS = ("N2", "N3", "N4", "S2")
SHORT_S, LONG_S = 30, 60
SCORED_SHORT_S, SCORED_LONG_S, HEARD_S = 10, 30, 15
TURNS = 2
CHALLENGE = 49, 53


class Stamps:
    """A `Progress` that keeps the time of each step."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def start(self, stage: str, total: float) -> None:
        self.times[stage] = []

    def advance(self, stage: str, amount: float = 1.0) -> None:
        self.times[stage].append(time.process_time())

    def say(self, message: str) -> None:
        return


def steps(times: list[float]) -> list[float]:
    """Return how long each unit took after the first, which also loads what the song's others find loaded."""
    return [after - before for before, after in pairwise(times)]


def make_song(folder: Path, duration_s: int) -> None:
    """Write a song of this duration, as mixture and clean stems, 16 bit as the challenge's music has them."""
    import numpy as np

    from cadenza_remix.audio.io import load_audio, load_stems, write_stems
    from cadenza_remix.audio.signal import Audio
    from cadenza_remix.demo import demo_song

    excerpt = demo_song().path
    longer = {}
    for name, audio in {**load_stems(excerpt), "mixture": load_audio(excerpt)}.items():
        n_samples = duration_s * audio.sample_rate
        samples = np.tile(audio.samples, (-(-n_samples // audio.n_samples), 1))[:n_samples]
        longer[name] = Audio(samples, audio.sample_rate)
    write_stems(folder, longer, subtype="PCM_16")


def demix(work: Path, duration_s: int) -> dict[str, Any]:
    """Demix a song several times; also the start of a worker that can demix."""
    from cadenza_remix.runs.demixing import Demixer
    from cadenza_remix.runs.songs import find_songs
    from cadenza_remix.separation.loading import load_separator

    separator = load_separator(SEPARATOR)
    song = find_songs([work / "music" / f"song_{duration_s}"])[0]
    ready_s = time.process_time()
    times: list[float] = []
    for _ in range(TURNS + 1):  # the first one compiles
        shutil.rmtree(work / "stems" / song.name, ignore_errors=True)
        before = time.process_time()
        Demixer(separator, work / "stems").stems(song)
        times.append(time.process_time() - before)
    return {"units_s": times[1:], "start_s": ready_s + times[0] - min(times[1:])}


def enhance(work: Path, duration_s: int, kept_s: int) -> dict[str, Any]:
    """Enhance a song, of which ``kept_s`` are handed in, for each listener."""
    from cadenza_remix.challenge.metadata import Segment, SongSegments
    from cadenza_remix.hearing.audiogram import load_listeners
    from cadenza_remix.remix import load_chain
    from cadenza_remix.runs.enhancing import enhance_songs
    from cadenza_remix.runs.songs import find_songs
    from cadenza_remix.separation.loading import load_separator

    songs = find_songs([work / "music" / f"song_{duration_s}"])
    cut = SongSegments(Segment(0, kept_s), Segment(0, min(kept_s, HEARD_S)))
    stamps, separator = Stamps(), load_separator(SEPARATOR)
    began = time.process_time()
    report = enhance_songs(
        songs, load_listeners("bisgaard", only=list(LISTENERS)), separator=separator,
        chain=load_chain("baseline"), out=work / f"entry_{duration_s}_{kept_s}", stems_folder=work / "stems",
        segments={songs[0].name: cut} if kept_s < duration_s else None, n_workers=1, progress=stamps,
    )  # fmt: skip
    if report.failures or report.n_found:
        sys.exit(f"nothing was measured: {report}")
    return {"units_s": steps(stamps.times["enhance"]), "load_s": stamps.times["demix"][-1] - began}


def score(work: Path, duration_s: int, kept_s: int) -> dict[str, Any]:
    """Score what `enhance` made."""
    from cadenza_remix.challenge.metadata import Segment, SongSegments
    from cadenza_remix.hearing.audiogram import load_listeners
    from cadenza_remix.runs.scoring import score_pairs

    entry = work / f"entry_{duration_s}_{kept_s}"
    cut = SongSegments(Segment(0, kept_s), Segment(0, min(kept_s, HEARD_S)))
    stamps = Stamps()
    began = time.process_time()
    report = score_pairs(
        entry, references=work / "music", listeners=load_listeners("bisgaard", only=list(LISTENERS)),
        records=entry / "records" / "score", segments={f"song_{duration_s}": cut}, n_workers=1, progress=stamps,
    )  # fmt: skip
    if report.failures or report.n_found:
        sys.exit(f"nothing was measured: {report}")
    units_s = steps(stamps.times["score"])
    return {"units_s": units_s, "load_s": stamps.times["score"][0] - began - min(units_s)}


def start(work: Path) -> dict[str, Any]:
    """Load what a worker of pairs needs, compiled code included."""
    import numpy as np

    import cadenza_remix.runs.enhancing
    import cadenza_remix.runs.scoring  # noqa: F401
    from cadenza_remix.audio.signal import Audio
    from cadenza_remix.hearing.audiogram import load_listeners
    from cadenza_remix.metrics import haaqi
    from cadenza_remix.remix import enhance_stems, load_chain

    noise = np.random.default_rng(0).normal(scale=0.1, size=(22050, 2)).astype(np.float32)
    listener = load_listeners("bisgaard", only=["N2"])["N2"]
    stems = dict.fromkeys(("vocals", "drums", "bass", "other"), Audio(noise, 44100))
    made = enhance_stems(stems, listener, load_chain("baseline")).stems["left_vocals"]
    samples = made.samples[:, 0].astype(float)
    haaqi(samples, samples, audiogram=listener.ear("left"), sample_rate=made.sample_rate)
    return {"start_s": time.process_time()}


def collect(work: Path, n_songs: int, n_listeners: int) -> dict[str, Any]:
    """Read records of so many pairs and write the tables of scores, as the last job of a run does."""
    from cadenza_remix.hearing.audiogram import load_listeners
    from cadenza_remix.report.scores import write_score_tables
    from cadenza_remix.runs.records import read_record

    people = list(load_listeners("bisgaard").values())
    listeners = {f"L{n}": replace(people[n % len(people)], id=f"L{n}") for n in range(n_listeners)}
    record = read_record(next((work / f"entry_{LONG_S}_{SCORED_LONG_S}").glob("records/score/*/*.json")))
    assert record is not None
    paths = []
    for song in (f"song {n}" for n in range(n_songs)):
        for listener in listeners:
            paths.append(work / "collected" / listener / f"{song}.json")
            replace(record, results={**record.results, "song": song, "listener": listener}).write(paths[-1])
    before = time.process_time()
    records = [read for path in paths if (read := read_record(path)) is not None]
    write_score_tables(records, work / "collected.csv", listeners=listeners)
    return {"per_pair_s": (time.process_time() - before) / len(paths)}


def in_worker(work: Path, *task: object) -> dict[str, Any]:
    """Run one of the functions above in a process on one core, and return what it found."""
    command = [sys.executable, __file__, "--work", work, "--task", *task]
    done = subprocess.run(
        [str(part) for part in command], env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"failed: {task}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def file_calls(work: Path) -> dict[str, float]:
    """Return the calls that name a file of the run, for each pair, and those of a worker's start."""
    counts = {}
    for kind, *sizes in (("enhance", SHORT_S, SCORED_SHORT_S), ("score", SHORT_S, SCORED_SHORT_S), ("start",)):
        with tempfile.NamedTemporaryFile() as log:
            command = ["strace", "-f", "-qq", "-e", "trace=%file", "-s", "300", "-o", log.name,
                       sys.executable, __file__, "--work", work, "--task", kind, *sizes]  # fmt: skip
            subprocess.run(list(map(str, command)), env=os.environ | ONE_THREAD, stdout=subprocess.DEVNULL, check=True)
            lines = Path(log.name).read_text(errors="replace").splitlines()
        own = re.compile(r"/(?:enhanced_signals|records|music)/")
        counts[kind] = len(lines) if kind == "start" else sum(1 for line in lines if own.search(line))
    return {"of_pair": (counts["enhance"] + counts["score"]) / len(LISTENERS), "of_start": counts["start"]}


def line(short: float, long: float, short_s: float, long_s: float) -> tuple[float, float]:
    """Return slope and offset (0 or more) of a cost that grows with the duration."""
    slope = max(0.0, (long - short) / (long_s - short_s))
    return slope, max(0.0, short - slope * short_s)


def spread(*measured: Mapping[str, Any]) -> float:
    """Return by how much units lie above the least of their kind: their mean, relative to it."""
    ratios = [sum(one["units_s"]) / len(one["units_s"]) / min(one["units_s"]) - 1 for one in measured]
    return sum(ratios) / len(ratios)


def measure(work: Path) -> dict[str, Any]:
    """Make the music, run everything, and return the costs."""
    shutil.rmtree(work, ignore_errors=True)
    for duration_s in (SHORT_S, LONG_S):
        make_song(work / "music" / f"song_{duration_s}", duration_s)
    demixed = {duration_s: in_worker(work, "demix", duration_s) for duration_s in (SHORT_S, LONG_S)}
    enhanced, scored = {}, {}
    for size in ((SHORT_S, SCORED_SHORT_S), (LONG_S, SCORED_SHORT_S), (LONG_S, SCORED_LONG_S), (LONG_S, LONG_S)):
        enhanced[size] = in_worker(work, "enhance", *size)
        if size[1] < LONG_S and size[0] == LONG_S:
            scored[size[1]] = in_worker(work, "score", *size)
    starts = [in_worker(work, "start")["start_s"] for _ in range(TURNS)]
    entry = work / f"entry_{LONG_S}_{SCORED_LONG_S}"
    files = [path for path in entry.rglob("*") if path.is_file()]
    whole = [path for path in (work / f"entry_{LONG_S}_{LONG_S}").rglob("*") if path.is_file()]
    calls = None
    if shutil.which("strace"):
        shutil.rmtree(work / f"entry_{SHORT_S}_{SCORED_SHORT_S}")
        calls = file_calls(work)
    least = {size: min(one["units_s"]) for size, one in enhanced.items()}
    per_s, _ = line(least[SHORT_S, SCORED_SHORT_S], least[LONG_S, SCORED_SHORT_S], SHORT_S, LONG_S)
    kept_per_s, _ = line(least[LONG_S, SCORED_LONG_S], least[LONG_S, LONG_S], SCORED_LONG_S, LONG_S)
    fixed = least[LONG_S, SCORED_LONG_S] - LONG_S * per_s - SCORED_LONG_S * kept_per_s
    demix_per_s, demix_fixed = line(*(min(demixed[s]["units_s"]) for s in (SHORT_S, LONG_S)), SHORT_S, LONG_S)
    score_per_s, score_fixed = line(
        *(min(scored[s]["units_s"]) for s in (SCORED_SHORT_S, SCORED_LONG_S)), SCORED_SHORT_S, SCORED_LONG_S
    )
    loads = enhanced[LONG_S, SCORED_LONG_S]["load_s"], scored[SCORED_LONG_S]["load_s"]
    return {
        "demix": {"per_s": demix_per_s, "fixed_s": demix_fixed, "spread": spread(*demixed.values()),
                  "start_s": min(one["start_s"] for one in demixed.values())},
        "enhance": {"per_s": per_s, "kept_per_s": kept_per_s, "fixed_s": max(0.0, fixed),
                    "spread": spread(*enhanced.values())},
        "score": {"per_s": score_per_s, "fixed_s": score_fixed, "spread": spread(*scored.values())},
        "pairs": {"start_s": min(starts), "load_per_s": sum(loads) / LONG_S,
                  "files": len(files) / len(LISTENERS),
                  "kept_bytes_per_s": sum(path.stat().st_size for path in whole) / len(LISTENERS) / LONG_S,
                  "file_calls": calls},
        "collect": in_worker(work, "collect", *CHALLENGE),
    }  # fmt: skip


def rounded(value: Any) -> Any:
    """Return the same with numbers of four significant digits."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder to work in; emptied first")
    parser.add_argument("--out", type=Path, help="also write the costs to this file")
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task is not None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        kind, *sizes = options.task
        tasks = {"demix": demix, "enhance": enhance, "score": score, "start": start, "collect": collect}
        print(json.dumps(tasks[kind](options.work, *map(int, sizes))))
        return
    from evaluation.benchmarks.bench_report import processor_name

    costs = {
        "measured": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"one core of {processor_name()}, Python {platform.python_version()}",
        "separator": SEPARATOR,
        **rounded(measure(options.work)),
    }
    text = json.dumps(costs, indent=2) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
