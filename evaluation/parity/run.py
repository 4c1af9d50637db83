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
