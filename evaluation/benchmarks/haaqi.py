"""How fast HAAQI is beside pyclarity, for 10 s and 30 s of music, and what a score takes in memory.

Run in an environment that has pyclarity, this package on the path:

    PYTHONPATH=. python evaluation/benchmarks/haaqi.py --music build/parity/music.npz

``--music`` holds ``mixture, vocals, drums, bass, other``: float32, (n_samples, 2), 44.1 kHz. Both implementations take
turns on each pair; times are processor time of all threads together, so that a busy machine distorts ratios little.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import scipy.signal
from clarity.evaluator.haaqi import compute_haaqi as clarity_haaqi
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from numpy.typing import NDArray

from cadenza_remix.hearing.audiogram import Audiogram, load_listeners
from cadenza_remix.hearing.nalr import apply_fir, nalr_fir
from cadenza_remix.metrics import HaaqiReference, compute_haaqi

RATE = 24_000
LEVEL1_DB_SPL = 85.0
CASES = (("mixture", "N1"), ("vocals", "N3"), ("drums", "S2"))
PAIRS_IN_PARALLEL = 8

Signal = NDArray[np.float64]

# In a process of its own: the peak of a process never falls again.
MEMORY = """
import sys
import numpy as np
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.metrics import compute_haaqi
ear = Audiogram([250, 500, 1000, 2000, 4000, 6000], [20, 25, 35, 45, 50, 55])
noise = np.random.RandomState(1).standard_normal(int(sys.argv[1]) * 24000) * 0.05
compute_haaqi(noise[:24000], noise[:24000], 24000, 24000, ear)
def peak_kb():  # getrusage would include the peak of the process that started this one
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak_kb()
compute_haaqi(noise, noise, 24000, 24000, ear)
print((peak_kb() - before) / 1024)
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


def row(what: str, ratios: list[float], ours_s: list[float], seconds: int) -> None:
    low, middle, high = np.min(ratios), np.median(ratios), np.max(ratios)
    cost = 1e3 * float(np.median(ours_s)) / seconds
    print(f"  {what:<34} {low:6.1f} {middle:6.1f} {high:6.1f}   {cost:6.1f} ms per second of audio")


def one_thread(music: dict[str, NDArray[np.float32]], ears: dict[str, Audiogram], seconds: int, repeats: int) -> None:
    single: list[float] = []
    further: list[float] = []
    single_s: list[float] = []
    further_s: list[float] = []
    for stem, name in CASES:
        ear = ears[name]
        theirs_ear = ClarityAudiogram(ear.levels_db_hl, ear.frequencies_hz)
        reference, processed = signals(music[stem], ear, seconds)
        kept = HaaqiReference.prepare(reference, RATE, audiogram=ear, level1_db_spl=LEVEL1_DB_SPL)
        for _ in range(repeats):
            theirs = processor_s(partial(clarity_haaqi, processed, reference, RATE, RATE, theirs_ear, 1, LEVEL1_DB_SPL))
            ours = processor_s(partial(compute_haaqi, processed, reference, RATE, RATE, ear, 1, LEVEL1_DB_SPL))
            again = processor_s(partial(kept.score, processed, RATE))
            single.append(theirs / ours)
            further.append(theirs / again)
            single_s.append(ours)
            further_s.append(again)
    row(f"{seconds} s, a score", single, single_s, seconds)
    row(f"{seconds} s, a further processed signal", further, further_s, seconds)


def two_threads(music: dict[str, NDArray[np.float32]], ears: dict[str, Audiogram]) -> None:
    """Time so many pairs on one thread and on two, by the clock; scores must be the same."""
    pairs = [(*signals(music[stem], ears[name], 10), ears[name]) for stem, name in CASES]
    pairs = (pairs * PAIRS_IN_PARALLEL)[:PAIRS_IN_PARALLEL]

    def score(pair: tuple[Signal, Signal, Audiogram]) -> float:
        reference, processed, ear = pair
        rng = np.random.RandomState(3)
        return compute_haaqi(processed, reference, RATE, RATE, ear, 1, LEVEL1_DB_SPL, rng=rng)

    clock_s, scores = [], []
    for n_threads in (1, 2):
        with ThreadPoolExecutor(n_threads) as pool:
            start = time.perf_counter()
            scores.append(list(pool.map(score, pairs)))
            clock_s.append(time.perf_counter() - start)
    if scores[0] != scores[1]:
        sys.exit("scores depend on the number of threads")
    print(
        f"  {PAIRS_IN_PARALLEL} pairs of 10 s: one thread {clock_s[0]:.2f} s, two {clock_s[1]:.2f} s by the clock, "
        f"{clock_s[0] / clock_s[1]:.2f} times as fast; the scores are the same"
    )


def peak_memory(seconds: int) -> None:
    command = [sys.executable, "-c", MEMORY, str(seconds)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(f"  peak memory of a score of {seconds} s above that of one of 1 s: {float(found):.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=2, help="turns on each pair (default: %(default)s)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # pyclarity says that signals are below threshold
    ears = {name: listener.left for name, listener in load_listeners("bisgaard").items()}
    with np.load(options.music) as archive:
        music = {stem: archive[stem] for stem, _ in CASES}
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("pyclarity", "numpy", "scipy", "numba")
    )
    print(f"{processor_name()}, Python {platform.python_version()}, {versions}")
    short = signals(music["vocals"], ears["N3"], 1)
    clarity_haaqi(*short, RATE, RATE, ClarityAudiogram(ears["N3"].levels_db_hl, ears["N3"].frequencies_hz))
    compute_haaqi(*short, RATE, RATE, ears["N3"])
    print("\nHAAQI, times as fast as pyclarity on one thread:    min median    max")
    for seconds in (10, 30):
        one_thread(music, ears, seconds, options.repeats)
    two_threads(music, ears)
    peak_memory(30)


def processor_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} processors" if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
