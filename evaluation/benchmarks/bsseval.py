"""How fast BSS Eval v4 is beside museval, for 6 s and 30 s of four stereo stems, and what it takes in memory.

Run in an environment that has museval 0.4.1, this package on the path:

    PYTHONPATH=. python evaluation/benchmarks/bsseval.py --music build/parity/music.npz

``--music`` holds ``mixture, vocals, drums, bass, other``: float32, (n_samples, 2), 44.1 kHz; it is repeated where it is
shorter. Both take turns on the same signals. Processor time is that of all threads together; linear algebra uses as
many as there are processors in both. Memory is the peak of a process of its own above what it held before the call.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.metrics import bss_eval

RATE = 44_100
STEMS = ("vocals", "drums", "bass", "other")
TURNS = {6: 3, 30: 2}
LONG_S = 600

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


def memory(scorer: str, music: Path, seconds: int) -> str:
    command = [sys.executable, __file__, "--music", str(music), "--memory", scorer, str(seconds)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    above, held, clock_s = (float(value) for value in printed.split())
    what = f"{scorer}, {seconds} s"
    return f"  {what:<16} {above:7.0f} MB above the signals' own {held:5.0f} MB; {clock_s:.0f} s by the clock"


def timed(
    call: Callable[[Signals, Signals], NDArray[np.float64]], sides: tuple[Signals, Signals]
) -> NDArray[np.float64]:
    """Return processor time and time by the clock."""
    clock, processor = time.perf_counter(), time.process_time()
    call(*sides)
    return np.array([time.process_time() - processor, time.perf_counter() - clock])


def speed(music: Path, seconds: int, turns: int) -> Iterator[str]:
    sides = signals(music, seconds)
    ratios, ours_s = [], []
    for _ in range(turns):
        ours = timed(score_here, sides)
        ratios.append(timed(score_museval, sides) / ours)
        ours_s.append(ours)
    for column, what in enumerate(("processor time", "by the clock")):
        row = [ratio[column] for ratio in ratios]
        own = float(np.median([value[column] for value in ours_s]))
        label = f"{seconds} s, {what}"
        yield f"  {label:<24} {min(row):6.1f} {np.median(row):6.1f} {max(row):6.1f}   {own:6.2f} s  {turns} turns"


def processor_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} processors" if names else platform.processor() or platform.machine()


def benchmark(music: Path) -> Iterator[str]:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("museval", "numpy", "scipy"))
    yield f"{processor_name()}, Python {platform.python_version()}, {versions}"
    score_here(*signals(music, 1))
    museval_metrics()
    yield "\nBSS Eval v4 of four stereo stems, times as fast as museval:"
    yield f"  {'':<24} {'min':>6} {'median':>6} {'max':>6}       ours"
    for seconds, turns in TURNS.items():
        yield from speed(music, seconds, turns)
    yield "\nPeak memory of a call:"
    yield memory("museval", music, 30)
    yield memory("ours", music, 30)
    yield memory("ours", music, LONG_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="write the table there too, as Markdown with its command")
    parser.add_argument("--memory", nargs=2, metavar=("SCORER", "SECONDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        measure_memory(options.memory[0], options.music, int(options.memory[1]))
        return
    lines = []
    for line in benchmark(options.music):
        print(line, flush=True)
        lines.append(line)
    if options.out:
        command = f"PYTHONPATH=. python evaluation/benchmarks/bsseval.py --music {os.path.relpath(options.music)}"
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(["# BSS Eval beside museval", "", "```", f"$ {command}", *lines, "```", ""]))


if __name__ == "__main__":
    main()
