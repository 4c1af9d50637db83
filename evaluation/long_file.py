"""An hour of music through `cadenza-remix separate` within 2 GB of memory; and the same after a kill in the middle.

    python evaluation/long_file.py [--four-stems FOLDER] [--out evaluation/results/long_file.md]

Four stems come from ``spleeter:2stems+hpss``, or from ``spleeter:4stems`` where a folder with its checkpoint is given
(`make parity` leaves one of random weights, which take as long as the trained ones, in
``build/parity/spleeter/random/4stems``).

Each process runs under ``RLIMIT_DATA``: the kernel refuses it private writable memory beyond the limit, touched or not.
That is more than the resident memory of its own that it can ever have, so the limit is a hard one. (``ulimit -v`` would
count address space as well, of which TensorFlow and its libraries reserve several times what they use.) The peak of
the resident set is measured besides, with the pages of programs and libraries in it.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from benchmarks.bench_report import Report

from cadenza_remix.audio.io import load_audio, load_stems
from cadenza_remix.demo import demo_song

RATE = 44_100
#: The peak for the long file may be larger than for the short one by this: what the allocators happen to keep.
SAME_PEAK = 1.1


@dataclass(frozen=True)
class Run:
    """One process: exit status (negative: killed by that signal), seconds, and its largest resident set in bytes."""

    status: int
    seconds: float
    peak_bytes: int
    said: str


def write_song(path: Path, minutes: float) -> None:
    """Write a song block by block: the demo's, in a mix that changes every six seconds."""
    song = demo_song()
    stems = [audio.samples for audio in load_stems(song.path).values()] + [load_audio(song.path).samples]
    n_stem = min(map(len, stems))
    rng = np.random.default_rng(1)
    left = round(60 * minutes * RATE)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        while left:
            gains = rng.uniform(0.1, 0.5, len(stems))
            block = sum(gain * stem[:n_stem] for gain, stem in zip(gains, stems, strict=True))
            file.write(block[:left])
            left -= min(left, n_stem)


def separate(
    songs: list[Path], out: Path, *, separator: str, limit_bytes: int, home: Path | None, kill_at: int | None = None
) -> Run:
    """Run the command under the limit, and kill it when its output has reached a size, if one is given."""
    names = [str(song) for song in songs]
    command = [sys.executable, "-m", "cadenza_remix", "separate", *names, "--out", str(out), "--separator", separator]
    environment = os.environ | ({} if home is None else {"CADENZA_REMIX_HOME": str(home)})
    log = out.with_suffix(".log")
    start = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdout=stream,
            stderr=stream,
            env=environment,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes)),
        )
    killer = threading.Thread(target=_kill_at, args=(process.pid, out, kill_at), daemon=True)
    if kill_at is not None:
        killer.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if kill_at is not None:
        killer.join()
    return Run(process.returncode, seconds, usage.ru_maxrss * 1024, log.read_text(encoding="utf-8", errors="replace"))


def _kill_at(process_id: int, out: Path, size: int) -> None:
    """Kill a process as soon as a folder has grown to a size; nothing to do when it ends before."""
    while Path(f"/proc/{process_id}").exists():
        if folder_size(out) >= size:
            os.kill(process_id, signal.SIGKILL)
            return
        time.sleep(0.2)


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measured(report: Report, songs: list[Path], work: Path, options: argparse.Namespace, home: Path | None) -> bool:
    """Separate each song by itself under the limit, print the table, and tell whether the limits held."""
    rows, peaks = [], []
    for song in songs:
        out = work / f"out_{song.stem}"
        shutil.rmtree(out, ignore_errors=True)
        run = separate([song], out, separator=options.separator, limit_bytes=options.limit, home=home)
        if run.status:
            sys.exit(f"separate {song.name} failed with status {run.status}:\n{run.said[-2000:]}")
        length_s = soundfile.info(song).duration
        files = sorted(out.rglob("*.wav"))
        whole = all(soundfile.info(file).frames == soundfile.info(song).frames for file in files)
        peaks.append(run.peak_bytes)
        rows.append([
            song.name, f"{length_s / 60:g} min", f"{run.seconds:.0f} s", f"{length_s / run.seconds:.1f}",
            f"{run.peak_bytes / 1e6:.0f} MB", f"{len(files)}", f"{folder_size(out) / 1e6:.0f} MB",
            "yes" if whole and len(files) == 4 else "NO",
        ])  # fmt: skip
    columns = ["file", "length", "time", "x real time", "peak of the resident set", "stems", "written", "all whole"]
    limit = f"`RLIMIT_DATA` {options.limit / 1e9:g} GB"
    report.table(f"`cadenza-remix separate --separator {options.separator}`, under {limit}", columns, rows)
    held = max(peaks) <= options.limit and peaks[-1] <= SAME_PEAK * peaks[0] and all(row[-1] == "yes" for row in rows)
    ratio = peaks[-1] / peaks[0]
    report.add(
        f"Limits {'held' if held else 'MISSED'}; the longest file takes {ratio:.2f} times the memory of the first.\n"
    )
    return held


def killed_and_resumed(
    report: Report, songs: list[Path], work: Path, options: argparse.Namespace, home: Path | None
) -> bool:
    """Kill the command in the middle of the last song, run it again, and compare with what came without a kill."""
    out = work / "out_killed"
    shutil.rmtree(out, ignore_errors=True)
    references = {song.stem: work / f"out_{song.stem}" / song.stem for song in songs}
    sizes = [folder_size(references[song.stem]) for song in songs]
    at = sum(sizes[:-1]) + sizes[-1] // 2
    arguments = {"separator": options.separator, "limit_bytes": options.limit, "home": home}
    killed = separate(songs, out, kill_at=at, **arguments)
    done = sorted(path.name for path in out.iterdir() if path.is_dir() and any(path.glob("[!.]*.wav")))
    again = separate(songs, out, **arguments)
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.suffix != ".json"}
    expected = {
        f"{name}/{path.name}": path
        for name, folder in references.items()
        for path in folder.iterdir()
        if path.is_file()
    }
    wrong = sorted(found ^ set(expected)) + [
        name for name in sorted(found & set(expected)) if not filecmp.cmp(out / name, expected[name], False)
    ]
    good = killed.status == -signal.SIGKILL and again.status == 0 and not wrong and len(done) == len(songs) - 1
    summary = next((line for line in again.said.splitlines() if " found done" in line), "no summary").partition(":")[0]
    verdict = f"NOT THE SAME: {', '.join(wrong)}" if wrong else "the same bytes as without a kill, nothing else left"
    report.add(
        f"Killed (`SIGKILL`) after {killed.seconds:.0f} s, in the middle of {songs[-1].name}; then whole: "
        f"{', '.join(done) or 'nothing'}. The same command again, {again.seconds:.0f} s: {summary}; "
        f"{len(expected)} files, {verdict}.\n"
    )
    return good


def store_of(four_stems: Path | None, work: Path) -> Path | None:
    """Return a store with the given checkpoint; None for the user's own."""
    if four_stems is None:
        return None
    home = work / "home"
    command = [sys.executable, "-m", "cadenza_remix", "models", "import", "spleeter:4stems", str(four_stems)]
    subprocess.run(command, env=os.environ | {"CADENZA_REMIX_HOME": str(home)}, check=True)
    return home


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--four-stems", type=Path, help="folder of a 4stems checkpoint")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 60])
    parser.add_argument("--limit", type=float, default=2e9, help="bytes of memory")
    parser.add_argument("--work", type=Path, default=Path("build/long_file"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.limit = int(options.limit)
    options.separator = "spleeter:2stems+hpss" if options.four_stems is None else "spleeter:4stems"
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    songs = [work / f"{minutes:g}_minutes.wav" for minutes in options.minutes]
    for song, minutes in zip(songs, options.minutes, strict=True):
        write_song(song, minutes)
    home = store_of(options.four_stems, work)
    report = Report("An hour of music within 2 GB", packages=["tensorflow-cpu", "keras", "numpy"])
    good = measured(report, songs, work, options, home)
    good = killed_and_resumed(report, songs, work, options, home) and good
    report.finish(options.out)
    if good:  # otherwise somebody will want to look at it
        shutil.rmtree(work)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
