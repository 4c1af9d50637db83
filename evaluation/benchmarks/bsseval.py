"""How fast BSS Eval v4 is beside museval, for 6 s and 30 s of four stereo stems, and what it takes in memory.

Run in an environment that has museval 0.4.1, this package on the path:

    PYTHONPATH=. python evaluation/benchmarks/bsseval.py --music build/parity/music.npz

``--music`` holds ``mixture, vocals, drums, bass, other``: float32, (n_samples, 2), 44.1 kHz; it is repeated where it is
shorter. Both take turns on the same signals. Memory is the peak of a process of its own above what it held before.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import os
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_report import Report
from numpy.typing import NDArray

from cadenza_remix.metrics import bss_eval

RATE = 44_100
STEMS = ("vocals", "drums", "bass", "other")
TURNS = {6: 3, 30: 2}
MEMORY = (("museval", 30), ("ours", 30), ("ours", 600))

Signals = NDArray[np.float32]


@functools.cache
def museval_metrics() -> types.ModuleType:
    """Load museval's module of metrics as it is installed: its package's own import asks for the ffmpeg program."""
    found = importlib.util.find_spec("museval")
    if found is None or found.origin is None:
        sys.exit("museval is not installed in this environment: pip install museval==0.4.1")
    spec = importlib.util.spec_from_file_location("museval_metrics", Path(found.origin).with_name("metrics.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def signals(path: Path, seconds: int) -> tuple[Signals, Signals]:
    """Return true stems and leaky ones, (4, n_samples, 2)."""

    def so_long(samples: Signals) -> Signals:
        return np.resize(samples, (seconds * RATE, 2))

    with np.load(path) as archive:
        references = np.stack([so_long(archive[name]) for name in STEMS])
        mixture = so_long(archive["mixture"])
    estimates = np.float32(0.8) * references
    mixture *= np.float32(0.1)
    estimates += mixture
    return references, estimates


def score_here(references: Signals, estimates: Signals) -> NDArray[np.float64]:
    sides = (dict(zip(STEMS, side, strict=True)) for side in (references, estimates))
    result = bss_eval(*sides, sample_rate=RATE)
    return np.stack([result.sdr_db, result.isr_db, result.sir_db, result.sar_db])


def score_museval(references: Signals, estimates: Signals) -> NDArray[np.float64]:
    return np.stack(museval_metrics().bss_eval(references, estimates, window=RATE, hop=RATE)[:4])


SCORERS = {"ours": score_here, "museval": score_museval}


def held_mb(what: str) -> float:
    """Return a line of the kernel's account of this process: VmRSS is what it holds, VmHWM the most that it held."""
    # getrusage would include the peak of the process that started this one.
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(what)) / 1024


def measure_memory(scorer: str, music: Path, seconds: int) -> None:
    """Print how far one call rises above what was held before, what the signals take, and the time."""
    museval_metrics()
    references, estimates = signals(music, seconds)
    # Forget the peak of making the signals; where that is not allowed it counts, and the figure is too high.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before, start = held_mb("VmRSS"), time.perf_counter()
    SCORERS[scorer](references, estimates)
    print(held_mb("VmHWM") - before, (references.nbytes + estimates.nbytes) / 2**20, time.perf_counter() - start)


def memory(scorer: str, music: Path, seconds: int) -> list[str]:
    command = [sys.executable, __file__, "--music", str(music), "--memory", scorer, str(seconds)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    above, held, clock_s = (float(value) for value in printed.split())
    return [f"{scorer}, {seconds} s", f"{above:.0f} MB", f"{held:.0f} MB", f"{clock_s:.0f} s"]


def timed(
    call: Callable[[Signals, Signals], NDArray[np.float64]], sides: tuple[Signals, Signals]
) -> tuple[float, float]:
    """Return processor time and time by the clock."""
    clock, processor = time.perf_counter(), time.process_time()
    call(*sides)
    return time.process_time() - processor, time.perf_counter() - clock


def take_turns(music: Path) -> None:
    """Print what each turn took: seconds of music, then processor and clock time of ours and of museval."""
    score_here(*signals(music, 1))
    museval_metrics()
    for seconds, turns in TURNS.items():
        sides = signals(music, seconds)
        for _ in range(turns):
            print(seconds, *timed(score_here, sides), *timed(score_museval, sides))


def speed(report: Report, music: Path) -> None:
    """Compare processor time on one thread, where no threads wait for each other, and time by the clock on all."""
    rows = []
    for n_threads, column, what in ((1, 0, "processor time, one thread"), (0, 1, "by the clock, all threads")):
        limits = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} if n_threads else {}
        command = [sys.executable, __file__, "--music", str(music), "--turns"]
        environment = {**os.environ, **limits}
        printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        turns = np.array([line.split() for line in printed.splitlines()], dtype=float)
        for seconds in TURNS:
            ours, theirs = turns[turns[:, 0] == seconds][:, [1 + column, 3 + column]].T
            ratios = theirs / ours
            figures = [f"{value:.1f}" for value in (ratios.min(), np.median(ratios), ratios.max())]
            times = [f"{np.median(side):.2f} s" for side in (ours, theirs)]
            rows.append([f"{seconds} s, {what}", *figures, *times, str(len(ratios))])
    columns = ["four stereo stems", "min", "median", "max", "ours", "museval", "turns"]
    report.table("Times as fast as museval, both in one process in turn", columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="write the tables there too, as Markdown with their command")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--turns", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        measure_memory(options.memory[0], options.music, int(options.memory[1]))
    elif options.turns:
        take_turns(options.music)
    else:
        report = Report("BSS Eval v4 beside museval", packages=["museval", "numpy", "scipy"])
        speed(report, options.music)
        rows = [memory(scorer, options.music, seconds) for scorer, seconds in MEMORY]
        columns = ["four stereo stems", "peak above the signals", "the signals", "by the clock"]
        report.table("Peak memory of a call, in a process of its own", columns, rows)
        report.finish(options.out)


if __name__ == "__main__":
    main()
