"""Compare everything that has a reference implementation with it, live, and fail on a miss.

    make parity
makes two extra environments (pyclarity 0.9.0, museval 0.4.1, demucs, torchaudio and openunmix with JAX and PyTorch;
spleeter 2.4.2) and calls this script.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references-python", required=True, type=Path)
    parser.add_argument("--spleeter-python", required=True, type=Path)
    parser.add_argument("--music", required=True, type=Path, help="what evaluation/music.py writes")
    parser.add_argument("--work", type=Path, default=Path("build/parity"))
    options = parser.parse_args()
    # absolute(), not resolve(): the interpreter of an environment is a link whose place decides what it imports.
    references, spleeter = str(options.references_python.absolute()), str(options.spleeter_python.absolute())
    ours, music = sys.executable, ["--music", str(options.music.absolute())]
    official = f"{options.work}/official"
    scripts = {
        "hearing": [references, "hearing.py"],
        "haaqi": [references, "haaqi.py", *music],
        "separation metrics": [references, "separation_metrics.py", *music],
        "official": [ours, "official_evaluator.py", "--clarity-python", references, "--work", official],
        "scorer": [references, "clarity_scorer.py", "--work", official],
        "spleeter": [ours, "spleeter.py", "--oracle-python", spleeter, "--work", f"{options.work}/spleeter"],
        "deezer engine": [ours, "deezer_engine.py", "--oracle-python", spleeter, "--work", f"{options.work}/deezer"],
        "back ends": [ours, "backends.py", "--python", references, *music, "--work", f"{options.work}/backends"],
        "borrowed separators": [references, "borrowed_separators.py", *music],
    }
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "PYTHONUNBUFFERED": "1"}

    def compare(names: tuple[str, ...]) -> list[str]:
        """Run some comparisons one after another; return which of them missed."""
        missed = []
        for name in names:
            python, script, *arguments = scripts[name]
            start = time.monotonic()
            command = [python, str(HERE / script), *arguments]
            done = subprocess.run(
                command, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            # In one piece, so that what two of them say does not mix.
            print(f"{done.stdout.decode(errors='replace')}  [{name}: {time.monotonic() - start:.0f} s]", flush=True)
            if done.returncode:
                missed.append(name)
        return missed

    # Two at a time; each lane's comparisons follow one another (the scorer reads what the official evaluator left).
    lanes = (
        ("haaqi", "separation metrics", "official", "scorer", "back ends"),
        ("spleeter", "deezer engine", "hearing", "borrowed separators"),
    )
    assert sorted(name for lane in lanes for name in lane) == sorted(scripts)
    with ThreadPoolExecutor(len(lanes)) as pool:
        missed = [name for found in pool.map(compare, lanes) for name in found]
    print(f"\nparity: {len(scripts) - len(missed)} of {len(scripts)} comparisons passed", end="")
    print(f"; missed: {', '.join(missed)}" if missed else "")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
