"""Separation beside Deezer's package: the same weights and music on the same machine, in turn, in one run.

    make bench
calls it with the Python of an environment that has spleeter 2.4.2. Ratios are of neighbours in time: these machines are
shared. Times after warm-up leave out the first song of each process; start-up is the whole process with one song.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from bench_report import Report

from cadenza_remix.separation.models.registry import model_card
from cadenza_remix.separation.models.store import ModelStore

RATE = 44_100
HERE = Path(__file__).resolve().parent
LONG_S = 3600


@dataclass(frozen=True)
class Run:
    """One process: seconds of each repeat after the first (of the first, if it is the only one), MB, seconds in all."""

    seconds: list[float]
    peak_mb: float
    whole_s: float


def music(archive: Path, seconds: float) -> np.ndarray:
    """Return so many seconds of the demo song in changing mixes, so that no two segments are alike."""
    with np.load(archive) as arrays:
        stems = [arrays[name].astype(np.float32) for name in ("vocals", "drums", "bass", "other")]
    rng = np.random.default_rng(1)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * RATE:
        parts.append(sum(gain * stem for gain, stem in zip(rng.uniform(0.2, 1.0, 4), stems, strict=True)))
    return np.ascontiguousarray(np.concatenate(parts)[: int(seconds * RATE)], dtype=np.float32)


def run(engine: str, python: Path, job: dict[str, object], work: Path) -> Run:
    """Let one engine do a job in a process of its own."""
    file = work / f"{engine}.json"
    file.write_text(json.dumps(job), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": "" if engine == "deezer" else str(HERE.parents[1])}
    command = [str(python), "-P", str(HERE / "separation_worker.py"), engine, str(file)]
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    whole_s = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{engine} failed with status {done.returncode}:\n{done.stderr[-2000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    return Run(told["seconds"][1:] or told["seconds"], told["peak_mb"], whole_s)


def compare(report: Report, pythons: dict[str, Path], options: argparse.Namespace, weights: Path) -> None:
    """Print the table of both engines for every length."""
    rows, startup = [], []
    for seconds, rounds, repeats, wiener in (
        (30, 3, 4, False), (60, 3, 4, False), (600, options.long_rounds, 2, False), (30, 1, 2, True),
    ):  # fmt: skip
        samples = options.work / f"music_{seconds}.npy"
        np.save(samples, music(options.music, seconds))
        ratios: list[float] = []
        runs: dict[str, list[Run]] = {engine: [] for engine in pythons}
        for number in range(rounds):
            for engine, python in pythons.items():
                out = str(options.work / f"{engine}.npz") if number == 0 else None
                job = {"model": "2stems", "weights": str(weights), "music": str(samples), "out": out,
                       "repeats": repeats, "wiener": wiener}  # fmt: skip
                runs[engine].append(run(engine, python, job, options.work))
            last = {engine: statistics.median(done[-1].seconds) for engine, done in runs.items()}
            ratios.append(last["deezer"] / last["ours"])
        for engine, done in runs.items():
            time_s = statistics.median(value for each in done for value in each.seconds)
            rows.append([
                f"{seconds} s" + (", Wiener filter" if wiener else ""), engine, f"{time_s:.2f} s",
                f"{seconds / time_s:.0f}", f"{max(each.peak_mb for each in done):.0f} MB",
                three(ratios) if engine == "ours" else "", difference(options.work) if engine == "ours" else "",
            ])  # fmt: skip
        if seconds == 30 and not wiener:
            startup = startups(pythons, samples, options.work, weights)
    columns = ["song", "engine", "time", "x real time", "peak memory", "times as fast", "difference"]
    report.table("2stems, real weights, after warm-up (min / median / max of the ratios)", columns, rows)
    report.add(f"Start-up and one song of 30 s, whole processes: {startup}\n")


def startups(pythons: dict[str, Path], samples: Path, work: Path, weights: Path) -> str:
    """Return how long a process takes that separates one song, and the ratio.

    Ours is the command, from a file to files; Deezer's package gets and leaves arrays, since its command needs ffmpeg.
    """
    song = work / "startup.wav"
    soundfile.write(song, np.load(samples), RATE, subtype="FLOAT")
    job = {"model": "2stems", "weights": str(weights), "music": str(samples), "out": None, "repeats": 1,
           "wiener": False}  # fmt: skip
    pairs = [
        {
            "deezer": run("deezer", pythons["deezer"], job, work).whole_s,
            "ours": command_s(song, work / f"startup_{number}"),
        }
        for number in range(5)
    ]
    times = {engine: statistics.median(pair[engine] for pair in pairs) for engine in pythons}
    ratios = [pair["deezer"] / pair["ours"] for pair in pairs]
    return f"Deezer's {times['deezer']:.1f} s, ours {times['ours']:.1f} s: {three(ratios)} times as fast"


def command_s(song: Path, out: Path) -> float:
    """Return how long `cadenza-remix separate` takes for one song, in seconds."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "cadenza_remix", "separate", str(song), "--out", str(out)]
    start = time.perf_counter()
    subprocess.run([*command, "--separator", "spleeter:2stems"], check=True, capture_output=True)
    return time.perf_counter() - start


def three(values: list[float]) -> str:
    return f"{min(values):.2f} / {statistics.median(values):.2f} / {max(values):.2f}"


def difference(work: Path) -> str:
    """Return the largest difference between what both engines gave."""
    with np.load(work / "deezer.npz") as theirs, np.load(work / "ours.npz") as ours:
        return f"{max(float(np.abs(theirs[stem] - ours[stem]).max()) for stem in ours.files):.1e}"


def long_song(report: Report, options: argparse.Namespace) -> None:
    """Separate files of 5 and 60 minutes by the command, and watch its memory."""
    rows = []
    for minutes in (5, LONG_S // 60):
        song = options.work / f"{minutes}_minutes.wav"
        piece = music(options.music, 300)
        with soundfile.SoundFile(song, "w", RATE, 2, "PCM_16") as file:
            for _ in range(minutes // 5):
                file.write(piece)
        for separator in ("spleeter:2stems", "spleeter:2stems+hpss"):
            out = options.work / f"out_{minutes}_{separator.partition(':')[2]}"
            command = [sys.executable, "-m", "cadenza_remix", "separate", str(song), "--out", str(out)]
            start = time.perf_counter()
            process = subprocess.Popen([*command, "--separator", separator], stderr=subprocess.DEVNULL)
            peak_mb = watched_peak_mb(process)
            seconds = time.perf_counter() - start
            if process.returncode:
                sys.exit(f"{command} failed with status {process.returncode}")
            n_files = len(list(out.rglob("*.wav")))
            rows.append([f"{minutes} min", separator, f"{n_files}", f"{seconds:.0f} s",
                         f"{60 * minutes / seconds:.0f}", f"{peak_mb:.0f} MB"])  # fmt: skip
            for file in out.rglob("*.wav"):
                file.unlink()
        song.unlink()
    columns = ["file", "separator", "stems", "time", "x real time", "peak memory"]
    report.table("`cadenza-remix separate` from file to files, start-up included", columns, rows)


def watched_peak_mb(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process and return the peak of its resident memory, looked up ten times a second."""
    peak_kb = 0
    while process.poll() is None:
        with contextlib.suppress(OSError, IndexError):
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            peak_kb = int(status.partition("VmHWM:")[2].split()[0])
        time.sleep(0.1)
    return peak_kb * 1024 / 1e6


def network_share(report: Report, weights: Path) -> None:
    """Print how much of what this machine can compute the network uses."""
    from cadenza_remix.separation.models.checkpoint import load_weights
    from cadenza_remix.separation.networks.unet import build_mask_network

    card = model_card("spleeter:2stems")
    network = build_mask_network(card)
    load_weights(network, card, weights)
    network.compile(jit_compile=False)
    segment = np.random.default_rng(0).random((1, card.n_frames, card.n_bins, 2), dtype=np.float32)
    gflop = network_gflop(network)
    seconds = best_of(lambda: network.predict_on_batch(segment))
    peak = matmul_gflop_s()
    length_s = card.n_frames * card.hop_length / RATE
    report.add(
        f"The network: {gflop:.1f} GFLOP for {length_s:.1f} s and {len(card.stems)} stems in {seconds:.3f} s, that is "
        f"{gflop / seconds:.0f} GFLOP/s, {100 * gflop / seconds / peak:.0f} % of the {peak:.0f} GFLOP/s at which two "
        "matrices of 4096 x 4096 are multiplied here by the faster of NumPy and TensorFlow.\n"
    )


def matmul_gflop_s() -> float:
    """Return how fast the faster of two libraries multiplies large matrices: what these processors reach at best."""
    from cadenza_remix.separation.networks.backend import load_tensorflow

    tensorflow = load_tensorflow()
    matrix = np.random.default_rng(0).random((4096, 4096), dtype=np.float32)
    tensor = tensorflow.constant(matrix)
    seconds = min(best_of(lambda: matrix @ matrix), best_of(lambda: tensorflow.matmul(tensor, tensor).numpy()))
    return 2 * 4096**3 / 1e9 / seconds


def best_of(job: object, repeats: int = 8) -> float:
    """Return the shortest time of a job."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return min(times)


def network_gflop(network: object) -> float:
    """Return the multiplications and additions of all convolutions for one segment, in 1e9."""
    operations = 0
    for layer in network.layers:
        kind = type(layer).__name__
        if kind in ("Conv2D", "Conv2DTranspose"):
            # A transposed convolution spreads every input over its kernel; a plain one gathers for every output.
            at = layer.output if kind == "Conv2D" else layer.input
            operations += 2 * at.shape[1] * at.shape[2] * int(np.prod(layer.kernel.shape))
    return operations / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spleeter-python", required=True, type=Path)
    parser.add_argument("--music", required=True, type=Path, help="what evaluation/music.py writes")
    parser.add_argument("--work", type=Path, default=Path("build/benchmark_separation"))
    parser.add_argument("--long-rounds", type=int, default=1, help="of 10 minutes, which take Deezer's package 14 GB")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    options.work, options.music = options.work.absolute(), options.music.absolute()
    weights = ModelStore().path(model_card("spleeter:2stems"), form="checkpoint").absolute()
    report = Report("Separation beside Deezer's spleeter 2.4.2", packages=["tensorflow-cpu", "keras", "numpy"])
    network_share(report, weights)
    # absolute(), not resolve(): the interpreter of an environment is a link whose place decides what it imports.
    pythons = {"deezer": options.spleeter_python.absolute(), "ours": Path(sys.executable).absolute()}
    compare(report, pythons, options, weights)
    long_song(report, options)
    report.finish(options.out)


if __name__ == "__main__":
    main()
