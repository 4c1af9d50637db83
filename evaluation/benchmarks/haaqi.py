"""How fast HAAQI is beside pyclarity, for 10 s and 30 s of music, what it takes in memory, and how it starts.

Run in an environment that has pyclarity, this package on the path:

    PYTHONPATH=. python evaluation/benchmarks/haaqi.py --music build/parity/music.npz

``--music`` holds ``mixture, vocals, drums, bass, other``: float32, (n_samples, 2), 44.1 kHz. All take turns on each
pair; times are processor time of all threads together, so that a busy machine distorts ratios little; those of two
workers and of the first call are by the clock. About four minutes, most of them pyclarity's.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import scipy.signal
from bench_report import Report
from clarity.evaluator.haaqi import compute_haaqi as clarity_haaqi
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from numpy.typing import NDArray

from cadenza_remix.hearing.audiogram import Audiogram, load_listeners
from cadenza_remix.hearing.nalr import apply_fir, nalr_fir
from cadenza_remix.metrics import HaaqiReference, compute_haaqi

RATE = 24_000
LEVEL1_DB_SPL = 85.0
CASES = (("mixture", "N1"), ("vocals", "N3"), ("drums", "S2"))
TURNS = {10: 2, 30: 1}
TURNS_OF_WORKERS = 5
PAIRS_OF_WORKERS = 8

Signal = NDArray[np.float64]

# In a process of its own: the peak of a process never falls again. getrusage would include that of its parent.
MEMORY = """
import sys
def memory(key):
    lines = open("/proc/self/status")
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))
import numpy as np
with_numpy = memory("VmRSS")
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.metrics import compute_haaqi
with_module = memory("VmRSS")
ear = Audiogram([250, 500, 1000, 2000, 4000, 6000], [20, 25, 35, 45, 50, 55])
sound = np.sin(np.arange(int(sys.argv[1]) * 24000) ** 1.3) * 0.05
compute_haaqi(sound, sound, 24000, 24000, ear, noise=sys.argv[2])
print(memory("VmHWM") - with_numpy, memory("VmHWM") - with_module)
"""

FIRST_CALL = """
import time
start = time.perf_counter()
import numpy as np
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.metrics import compute_haaqi
imported = time.perf_counter()
ear = Audiogram([250, 500, 1000, 2000, 4000, 6000], [20, 25, 35, 45, 50, 55])
sound = np.sin(np.arange(24000) ** 1.3) * 0.05
compute_haaqi(sound, sound, 24000, 24000, ear)
print(imported - start, time.perf_counter() - imported)
"""


def processor_s(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def signals(stem: NDArray[np.float32], ear: Audiogram, seconds: int) -> tuple[Signal, Signal]:
    """Return so many seconds of a stem, repeated where it is shorter, and the same aided and clipped a little."""
    samples = scipy.signal.resample_poly(stem[:, 0].astype(np.float64), 80, 147)
    reference = np.tile(samples, -(-seconds * RATE // samples.size))[: seconds * RATE]
    aided = apply_fir(reference, nalr_fir(ear, sample_rate=RATE, order=140))
    return reference, np.clip(aided, -0.8, 0.8)


def low_middle_high(values: list[float], form: str = ".1f") -> list[str]:
    return [format(value, form) for value in (np.min(values), np.median(values), np.max(values))]


def one_thread(music: dict[str, NDArray[np.float32]], ears: dict[str, Audiogram], seconds: int) -> list[list[str]]:
    """Return a row for each way to score: ratios, and processor milliseconds per second of audio."""
    ratios: dict[str, list[float]] = defaultdict(list)
    ours_s: dict[str, list[float]] = defaultdict(list)
    for stem, name in CASES:
        ear = ears[name]
        theirs_ear = ClarityAudiogram(ear.levels_db_hl, ear.frequencies_hz)
        reference, processed = signals(music[stem], ear, seconds)
        prepare = partial(HaaqiReference.prepare, reference, RATE, audiogram=ear, level1_db_spl=LEVEL1_DB_SPL)
        score = partial(compute_haaqi, processed, reference, RATE, RATE, ear, 1, LEVEL1_DB_SPL)
        ways: dict[str, Callable[[], object]] = {
            "a score, legacy noise": score,
            "a score, fixed noise": partial(score, noise="fixed"),
            "a further processed signal, legacy noise": partial(prepare().score, processed, RATE),
            "a further processed signal, fixed noise": partial(prepare(noise="fixed").score, processed, RATE),
        }
        for _ in range(TURNS[seconds]):
            theirs = processor_s(partial(clarity_haaqi, processed, reference, RATE, RATE, theirs_ear, 1, LEVEL1_DB_SPL))
            for way, call in ways.items():
                ours_s[way].append(processor_s(call))
                ratios[way].append(theirs / ours_s[way][-1])
    return [
        [f"{seconds} s", way, *low_middle_high(ratios[way]), f"{1e3 * float(np.median(times)) / seconds:.1f}"]
        for way, times in ours_s.items()
    ]


def two_workers(music: dict[str, NDArray[np.float32]], ears: dict[str, Audiogram]) -> list[str]:
    """Score pairs on one thread and on two, in turns, by the clock (on idle processors); scores must be the same."""
    pairs = [(*signals(music[stem], ears[name], 10), ears[name]) for stem, name in CASES]
    pairs = (pairs * PAIRS_OF_WORKERS)[:PAIRS_OF_WORKERS]

    def score(pair: tuple[Signal, Signal, Audiogram]) -> float:
        reference, processed, ear = pair
        rng = np.random.RandomState(3)
        return compute_haaqi(processed, reference, RATE, RATE, ear, 1, LEVEL1_DB_SPL, rng=rng)

    ratios: list[float] = []
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(2) as two:
        list(two.map(score, pairs[:4]))  # both threads have their memory
        for _ in range(TURNS_OF_WORKERS):
            clock_s, scores = [], []
            for pool in (one, two):
                start = time.perf_counter()
                scores.append(list(pool.map(score, pairs)))
                clock_s.append(time.perf_counter() - start)
            if scores[0] != scores[1]:
                sys.exit("scores depend on the number of threads")
            ratios.append(clock_s[0] / clock_s[1])
    return [f"{PAIRS_OF_WORKERS} pairs of 10 s", *low_middle_high(ratios, ".2f")]


def numbers_of(script: str, *arguments: str, cache: str | None = None) -> list[float]:
    """Return what a process of its own prints."""
    environment = os.environ | ({} if cache is None else {"NUMBA_CACHE_DIR": cache})
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return [float(number) for number in done.stdout.split()]


def peak_memory() -> list[list[str]]:
    rows = []
    for seconds in (1, 30):
        for noise in ("legacy", "fixed"):
            megabytes = numbers_of(MEMORY, str(seconds), noise)
            rows.append([f"{seconds} s", noise, *(f"{value:.0f} MB" for value in megabytes)])
    return rows


def first_call() -> list[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        found = [numbers_of(FIRST_CALL, cache=folder) for _ in range(2)]
    whats = ("after installation: everything is compiled", "in a later process: compiled code from disk")
    return [[what, *(f"{value:.1f} s" for value in times)] for what, times in zip(whats, found, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="write the tables there too, as Markdown with their command")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # pyclarity says that signals are below threshold
    ears = {name: listener.left for name, listener in load_listeners("bisgaard").items()}
    with np.load(options.music) as archive:
        music = {stem: archive[stem] for stem, _ in CASES}
    report = Report("HAAQI beside pyclarity", packages=("pyclarity", "numpy", "scipy", "numba"))
    short = signals(music["vocals"], ears["N3"], 1)
    clarity_haaqi(*short, RATE, RATE, ClarityAudiogram(ears["N3"].levels_db_hl, ears["N3"].frequencies_hz))
    compute_haaqi(*short, RATE, RATE, ears["N3"])
    compute_haaqi(*short, RATE, RATE, ears["N3"], noise="fixed")
    rows = [row for seconds in TURNS for row in one_thread(music, ears, seconds)]
    columns = ["pair", "one thread", "min", "median", "max", "ms per second of audio"]
    report.table("Times as fast as pyclarity, paired, processor time", columns, rows)
    busy = f"load of the machine before: {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    caption = f"Two threads over one, by the clock, the scores are the same ({busy})"
    report.table(caption, ["work", "min", "median", "max"], [two_workers(music, ears)])
    columns = ["a score of", "noise", "above an interpreter with NumPy", "above one with HAAQI imported"]
    report.table("Peak memory", columns, peak_memory())
    columns = ["first score of a process", "import", "score of 1 s"]
    report.table("Start, by the clock", columns, first_call())
    report.finish(options.out)


if __name__ == "__main__":
    main()
