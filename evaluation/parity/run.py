"""Compare everything that has a reference implementation with it, live, and fail on a miss.

    make parity
makes the two extra environments (pyclarity 0.9.0 with museval 0.4.1; spleeter 2.4.2) and calls this script.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from cadenza_remix.audio.io import load_audio, load_stems
from cadenza_remix.demo import demo_song

HERE = Path(__file__).resolve().parent


def write_music(path: Path) -> None:
    """Write the demo's song and stems as arrays, for environments that cannot decode AAC."""
    song = demo_song()
    stems = {name: audio.samples for name, audio in load_stems(song.path).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, mixture=load_audio(song.path).samples, **stems)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clarity-python", required=True, type=Path)
    parser.add_argument("--spleeter-python", required=True, type=Path)
    parser.add_argument("--work", type=Path, default=Path("build/parity"))
    options = parser.parse_args()
    music = options.work / "music.npz"
    write_music(music)
    # absolute(), not resolve(): the interpreter of an environment is a link whose place decides what it imports.
    clarity, spleeter = str(options.clarity_python.absolute()), str(options.spleeter_python.absolute())
    ours = sys.executable
    scripts = {
        "hearing": [clarity, "hearing.py"],
        "haaqi": [clarity, "haaqi.py", "--music", str(music.absolute())],
        "separation metrics": [clarity, "separation_metrics.py", "--music", str(music.absolute())],
        "official": [ours, "official_evaluator.py", "--clarity-python", clarity, "--work", f"{options.work}/official"],
        "spleeter": [ours, "spleeter.py", "--oracle-python", spleeter, "--work", f"{options.work}/spleeter"],
    }
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "PYTHONUNBUFFERED": "1"}
    missed = []
    for name, (python, script, *arguments) in scripts.items():
        start = time.monotonic()
        status = subprocess.run([python, str(HERE / script), *arguments], env=environment, check=False).returncode
        print(f"  [{name}: {time.monotonic() - start:.0f} s]", flush=True)
        if status:
            missed.append(name)
    print(f"\nparity: {len(scripts) - len(missed)} of {len(scripts)} comparisons passed", end="")
    print(f"; missed: {', '.join(missed)}" if missed else "")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
