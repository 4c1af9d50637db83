"""How long scoring a submission takes with one worker and with two, and what that comes to for a whole one.

    python evaluation/benchmarks/scoring.py --work build/benchmarks/scoring

Makes two songs of 30 s from the demo's excerpt, demixes and enhances them for four listeners, and runs ``cadenza-remix
score`` on them, with one worker and with two in turns, start-up included. Every run must give the same bytes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from bench_report import Report

from cadenza_remix.audio.io import load_audio, load_stems, write_stems, write_wav
from cadenza_remix.audio.signal import Audio
from cadenza_remix.demo import demo_song
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.remix import load_chain
from cadenza_remix.runs.enhancing import enhance_songs
from cadenza_remix.runs.songs import find_songs
from cadenza_remix.separation.loading import load_separator

SECONDS = 30
SONGS = {"first": 0.0, "second": 2.0}
"""Where in the excerpt each song begins."""
LISTENERS = ("N2", "N3", "N4", "S2")
WORKERS = (1, 2)
SUBMISSION_PAIRS = 49 * 53


def repeated(audio: Audio, start_s: float) -> Audio:
    """Return 30 s of an excerpt that begins there and starts over."""
    start = round(start_s * audio.sample_rate)
    samples = np.roll(audio.samples, -start, axis=0)
    n_samples = SECONDS * audio.sample_rate
    return Audio(np.tile(samples, (-(-n_samples // len(samples)), 1))[:n_samples], audio.sample_rate)


def make_entry(work: Path) -> None:
    excerpt = demo_song().path
    stems, mixture = load_stems(excerpt), load_audio(excerpt)
    for name, start_s in SONGS.items():
        write_stems(work / "music" / name, {stem: repeated(audio, start_s) for stem, audio in stems.items()})
        write_wav(work / "music" / name / "mixture.wav", repeated(mixture, start_s))
    report = enhance_songs(
        find_songs([work / "music" / name for name in SONGS]),
        load_listeners("bisgaard", only=list(LISTENERS)),
        separator=load_separator("spleeter:2stems+hpss"),
        chain=load_chain("baseline"),
        out=work / "entry",
    )
    if report.failures:
        sys.exit(str(report.failures[0].error))


def score(work: Path, n_workers: int) -> tuple[float, bytes]:
    """Return the wall time of a whole run in seconds, and the table that it wrote."""
    out = work / "scored"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "cadenza_remix", "score", work / "entry", "--references", work / "music",
               "--listeners", "bisgaard", "--workers", n_workers, "--out", out / "scores.csv"]  # fmt: skip
    began = time.perf_counter()
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr)
    return seconds, (out / "scores.csv").read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder to work in; emptied first")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write what is printed to this file")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    make_entry(options.work)
    score(options.work, 1)  # compiles
    times: dict[int, list[float]] = {n_workers: [] for n_workers in WORKERS}
    tables = set()
    for _ in range(options.turns):
        for n_workers in WORKERS:
            seconds, table = score(options.work, n_workers)
            times[n_workers].append(seconds)
            tables.add(table)
    if len(tables) > 1:
        sys.exit("scores depend on the number of workers")
    n_pairs = len(SONGS) * len(LISTENERS)
    report = Report("Scoring a submission", packages=("numpy", "scipy", "numba"))
    rows = []
    for n_workers in WORKERS:
        each = np.array(times[n_workers]) / n_pairs
        ratios = np.array(times[1]) / np.array(times[n_workers])
        hours = np.median(each) * SUBMISSION_PAIRS / 3600
        rows.append([str(n_workers), *(f"{value:.2f}" for value in (each.min(), np.median(each), each.max())),
                     f"{np.median(ratios):.2f} ({ratios.min():.2f}-{ratios.max():.2f})", f"{hours:.1f}"])  # fmt: skip
    report.table(
        f"{n_pairs} pairs of {SECONDS} s (eight HAAQI, SNR and SDR each), whole command with start-up, "
        f"{options.turns} turns; the same bytes each time",
        ["workers", "s per pair: min", "median", "max", "times as fast as one", "h for 49 songs x 53 listeners"],
        rows,
    )
    report.finish(options.out)


if __name__ == "__main__":
    main()
