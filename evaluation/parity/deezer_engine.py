"""`deezer:2stems` against Deezer's package called directly, and against our own network, on real music.

    python evaluation/parity/deezer_engine.py --oracle-python PYTHON [--weights FOLDER] [--work DIR]

PYTHON belongs to an environment with spleeter 2.4.2; it serves as the engine's environment and as the oracle. The
windows are as short as they can be, so that there are many borders, and must show by no more than rounding.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from checks import Check, report
from spleeter import LIMIT, MEDIUM_S, RATE, music, run_oracle

from cadenza_remix.audio.blocks import AudioBlocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import ModelError
from cadenza_remix.separation.borrowed.deezer import DeezerSeparator
from cadenza_remix.separation.borrowed.deezer_engine import DeezerEngine
from cadenza_remix.separation.borrowed.deezer_process import run_check
from cadenza_remix.separation.models.registry import model_card
from cadenza_remix.separation.models.store import ModelStore
from cadenza_remix.separation.spleeter import SpleeterSeparator

SAME = 1e-6  # of full scale: the same package computes the same frames, perhaps in another order
SEGMENT = 512 * 1024


def plan(work: Path, pieces: dict[str, Path], weights: Path) -> list[dict[str, object]]:
    """Return the package's jobs: a random checkpoint of 4stems, and what is compared."""
    random = str(work / "random" / "4stems")
    jobs: list[dict[str, object]] = [
        {"task": "random_checkpoint", "model": "4stems", "weights": random, "music": str(pieces["demo"]), "seed": 1}
    ]
    for model, folder, piece in (
        ("2stems", str(weights), "demo"),
        ("2stems", str(weights), "long"),
        ("4stems", random, "medium"),
    ):
        paths = {"weights": folder, "music": str(pieces[piece]), "out": str(work / f"{model}_{piece}.npz")}
        jobs.append({"task": "separate", "model": model, "repeats": 1, "wiener": False, **paths})
    return jobs


def compare(job: dict[str, object], engine: DeezerEngine) -> list[Check]:
    """Separate a piece by the engine and compare it with the package's own result, and with our network's."""
    card, folder = model_card(f"spleeter:{job['model']}"), Path(str(job["weights"]))
    piece = Path(str(job["music"]))
    song = Audio(np.load(piece), RATE, piece.stem)
    separator = DeezerSeparator(card, folder, engine, segments_kept=1)
    start = time.perf_counter()
    stems = separator.separate(song)
    seconds = time.perf_counter() - start
    with np.load(str(job["out"])) as archive:
        theirs = {stem: archive[stem] for stem in card.stems}
    ours = SpleeterSeparator(card, folder).separate(song)
    n_windows = -(-song.n_samples // SEGMENT)
    what, note = f"{separator.name}, {piece.stem}", f"{song.duration_s:.0f} s of audio in {n_windows} windows"
    to_package = max(float(np.abs(stems[stem].samples - theirs[stem]).max()) for stem in card.stems)
    to_ours = max(float(np.abs(stems[stem].samples - ours[stem].samples).max()) for stem in card.stems)
    checks = [
        Check(f"{what}: the package called directly", to_package, SAME, f"{note}, {seconds:.1f} s with its start"),
        Check(f"{what}: our {card.name}", to_ours, LIMIT),
    ]
    if n_windows > 1 and song.duration_s > MEDIUM_S:
        checks += [_blind_cut_shows(separator, song, theirs), _survives_a_kill(separator, song, theirs)]
    separator.close()
    return checks


def _blind_cut_shows(separator: DeezerSeparator, song: Audio, theirs: dict[str, np.ndarray]) -> Check:
    """Check that the comparison is able to fail: a window that begins and ends anywhere must miss by far."""
    place = slice(SEGMENT // 3, SEGMENT // 3 + 2 * SEGMENT)
    stems = separator.separate(Audio(song.samples[place], RATE, "a cut"))
    difference = min(float(np.abs(stems[stem].samples - theirs[stem][place]).max()) for stem in separator.stems)
    return Check(
        f"{separator.name}: a blind cut shows",
        SAME / difference,
        0.01,
        f"every stem differs by {difference:.1e} or more; limit / difference is shown",
    )


def _survives_a_kill(separator: DeezerSeparator, song: Audio, theirs: dict[str, np.ndarray]) -> Check:
    """Kill the package's process: the song under way must fail with an error, and the next one be as ever."""
    told = ""
    try:
        for _ in separator.separate_blocks(AudioBlocks(song)):
            os.kill(separator.process_id or 0, signal.SIGKILL)
    except ModelError as error:
        told = str(error)
    again = separator.separate(song)
    difference = max(float(np.abs(again[stem].samples - theirs[stem]).max()) for stem in separator.stems)
    return Check(f"{separator.name}: the song after a kill", difference if told else np.inf, SAME, told)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle-python", required=True, type=Path)
    parser.add_argument("--weights", type=Path, help="folder of the 2stems checkpoint; by default the installed one")
    parser.add_argument("--work", type=Path, default=Path("build/parity/deezer_engine"))
    options = parser.parse_args()
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    weights = options.weights or ModelStore().path(model_card("spleeter:2stems"), form="checkpoint")
    jobs = plan(work, music(work), weights.absolute())
    jobs_file = work / "jobs.json"
    jobs_file.write_text(json.dumps(jobs), encoding="utf-8")
    run_oracle(options.oracle_python, jobs_file)
    python = options.oracle_python.absolute()
    engine = DeezerEngine(python, run_check(python))
    checks = [check for job in jobs if job["task"] == "separate" for check in compare(job, engine)]
    return report(
        "deezer:* against Deezer's spleeter 2.4.2 called directly (largest difference, full scale is 1)", checks
    )


if __name__ == "__main__":
    sys.exit(main())
