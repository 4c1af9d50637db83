"""Does the challenge's own evaluator accept our folders, and does it give our scores?

Makes a small data set in CAD1's layout from the excerpt of real music that ``stempeg`` ships, runs our recipe on it
(enhance.py, evaluate.py), then pyclarity's ``recipes.cad1.task1.baseline.evaluate``, unchanged, on the same folder, and
compares the two ``scores.csv``.

    python evaluation/parity/official_evaluator.py --clarity-python .venv-clarity/bin/python --work build/parity/cad1
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from checks import Check, report

from cadenza_remix.audio.io import load_audio, load_stems, write_wav
from cadenza_remix.challenge.metadata import SongEntry, song_folder
from cadenza_remix.challenge.naming import ENHANCED_FOLDER
from cadenza_remix.challenge.scores import PairScore, read_scores
from cadenza_remix.challenge.submission import validate_submission
from cadenza_remix.demo import demo_song
from cadenza_remix.errors import CadenzaError
from cadenza_remix.hearing.audiogram import load_listeners

LIMIT = 1e-5
"""The reference is resampled in single precision on both sides, in another order of operations; the noise is equal."""

SONGS = {  # names as they happen: with a comma, a dot, letters outside ASCII
    SongEntry("The Easton Ellises - Falcon 69, No.1", "valid"): (0.0, 3.0),
    SongEntry("The Easton Ellises - Sokół 69", "test"): (3.0, 6.0),
}
RECIPE = Path(__file__).parents[2] / "recipes" / "cad1_task1"
OFFICIAL = "recipes.cad1.task1.baseline.evaluate"


def make_data_set(root: Path) -> None:
    """Write two songs and two listeners in CAD1's layout, in 16-bit WAV: the official evaluator takes nothing else."""
    excerpt = demo_song().path
    parts = {"mixture": load_audio(excerpt), **load_stems(excerpt)}
    for song, (start_s, end_s) in SONGS.items():
        folder = song_folder(root / "audio" / "musdb18hq", song)
        for name, audio in parts.items():
            write_wav(folder / f"{name}.wav", audio.excerpt(start_s, end_s), subtype="PCM_16")
    metadata = root / "metadata"
    metadata.mkdir(parents=True, exist_ok=True)
    songs = [{"Track Name": song.name, "Genre": "", "Source": "", "License": "", "Split": song.split} for song in SONGS]
    (metadata / "musdb18.valid.json").write_text(json.dumps(songs), encoding="utf-8")
    listeners = {name: listener.to_dict() for name, listener in load_listeners("cad1-sample").items()}
    (metadata / "listeners.valid.json").write_text(json.dumps(listeners), encoding="utf-8")


def run(command: Sequence[str | Path], folder: Path) -> float:
    """Run a command, stop the comparison when it fails, and return its wall time in seconds."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    began = time.monotonic()
    done = subprocess.run([str(part) for part in command], cwd=folder, env=clean, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return time.monotonic() - began


def largest_difference(ours: PairScore, theirs: PairScore) -> float:
    differences = [abs(ours.haaqi[name] - theirs.haaqi[name]) for name in ours.haaqi]
    return max(*differences, abs(ours.score - theirs.score))


def compare(clarity_python: Path, work: Path, separator: str) -> int:
    shutil.rmtree(work, ignore_errors=True)
    data, ours, official = work / "data", work / "ours", work / "official"
    make_data_set(data)
    settings = [f"path.root='{data}'", f"separator.model={separator}"]
    run([sys.executable, RECIPE / "enhance.py", *settings, f"path.exp_folder='{ours}'"], work)
    seconds = run([sys.executable, RECIPE / "evaluate.py", *settings, f"path.exp_folder='{ours}'"], work)
    official.mkdir()
    (official / ENHANCED_FOLDER).symlink_to(ours / ENHANCED_FOLDER)
    settings = [f"path.root='{data}'", f"path.exp_folder='{official}'"]
    official_seconds = run([clarity_python, "-m", OFFICIAL, *settings], work)

    our_rows, their_rows = read_scores(ours / "scores.csv"), read_scores(official / "scores.csv")
    listeners = load_listeners(data / "metadata" / "listeners.valid.json")
    faults = validate_submission(ours / ENHANCED_FOLDER, list(SONGS), listeners)
    theirs = {row.pair: row for row in their_rows}
    checks = [Check("faults that our validator finds in it", len(faults), 0)]
    checks.append(Check("rows that only one of them has", len({row.pair for row in our_rows} ^ set(theirs)), 0))
    for row in our_rows:
        if row.pair in theirs:
            note = f"HAAQI {row.score:.6f} (official {theirs[row.pair].score:.6f})"
            checks.append(
                Check(f"{row.song} for {row.listener}", largest_difference(row, theirs[row.pair]), LIMIT, note)
            )
    checks.append(Check("order of the rows", float([r.pair for r in our_rows] != [r.pair for r in their_rows]), 0))
    status = report("Official evaluator (pyclarity, recipes.cad1.task1.baseline.evaluate) on our folder", checks)
    print(
        f"  whole scripts, start-up and compilation included: ours {seconds:.1f} s, official {official_seconds:.1f} s"
    )
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--clarity-python", type=Path, required=True, help="Python of an environment with pyclarity 0.9.0"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder to work in; emptied first")
    parser.add_argument("--separator", default="spleeter:2stems+hpss")
    arguments = parser.parse_args()
    try:
        return compare(arguments.clarity_python.absolute(), arguments.work.resolve(), arguments.separator)
    except CadenzaError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
