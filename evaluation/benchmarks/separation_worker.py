"""Separate arrays by one engine and say how long it took; run by separation.py, in the environment of each engine.

    python -P separation_worker.py deezer|ours JOB.json
A job: {"model": "2stems", "weights": FOLDER, "music": NPY, "out": NPZ or null, "repeats": 3, "wiener": false}
The last line of the output is JSON: seconds of each repeat after the first, peak memory in MB.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np


def deezer(job: dict[str, Any]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return the package's own separation, without its pool of processes."""
    from spleeter.separator import Separator

    separator = Separator(f"spleeter:{job['model']}", MWF=job["wiener"], multiprocess=False)
    separator._params["model_dir"] = job["weights"]
    return separator.separate


def ours(job: dict[str, Any]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return this package's separation."""
    from cadenza_remix.audio.signal import Audio
    from cadenza_remix.separation.models.registry import model_card
    from cadenza_remix.separation.options import SeparationOptions
    from cadenza_remix.separation.spleeter import SpleeterSeparator

    options = SeparationOptions(wiener=job["wiener"])
    separator = SpleeterSeparator(model_card(f"spleeter:{job['model']}"), Path(job["weights"]), options=options)
    return lambda music: {stem: audio.samples for stem, audio in separator.separate(Audio(music, 44_100)).items()}


def main() -> None:
    engine, job = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    separate = {"deezer": deezer, "ours": ours}[engine](job)
    music = np.load(job["music"])
    seconds = []
    for _ in range(job["repeats"]):
        start = time.perf_counter()
        stems = separate(music)
        seconds.append(time.perf_counter() - start)
    # Not ru_maxrss, which a process takes over from the one that started it.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak_mb = int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    if job["out"]:
        np.savez(job["out"], **stems)
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb}))


if __name__ == "__main__":
    main()
