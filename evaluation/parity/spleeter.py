"""Our separators against Deezer's package: real weights of 2stems, random ones of the others, on real music.

Both its masks and its multichannel Wiener filter (``MWF=True``).

    python evaluation/parity/spleeter.py --oracle-python PYTHON [--weights FOLDER] [--work DIR]

PYTHON belongs to an environment with spleeter 2.4.2, which also writes the random checkpoints. Deezer's 4stems and
5stems weights cannot be had everywhere, and the comparison needs no sensible weights, only ones that let every layer
show: a wrong activation on the same checkpoint must miss the limit by far, which is checked as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from checks import Check, report

from cadenza_remix.audio.io import load_audio, load_stems
from cadenza_remix.audio.signal import Audio
from cadenza_remix.demo import demo_song
from cadenza_remix.separation.models.registry import ModelCard, model_card
from cadenza_remix.separation.models.store import ModelStore
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.spleeter import SpleeterSeparator

LIMIT = 5e-5  # of full scale
# The package computes its Wiener filter in 32 bits and loses digits where the song is nearly mono, as in the bass. The
# same filter in 64 bits is 4e-4 from that, and 1e-7 from ours.
WIENER_LIMIT = 1e-3
RATE = 44_100
LONG_S = 60
MEDIUM_S = 14  # a little more than one segment of 512 frames: its border is inside
RANDOM = {"4stems": ("4stems", 1), "5stems": ("5stems", 2), "4stems-16kHz": ("4stems", 1)}


def music(work: Path) -> dict[str, Path]:
    """Write the demo song, 14 s and 60 s of it in changing mixes, and return the files."""
    song = demo_song()
    mixture, stems = load_audio(song.path).samples, load_stems(song.path)
    vocals, drums, bass, other = (stems[name].samples for name in ("vocals", "drums", "bass", "other"))
    n = min(len(mixture), len(vocals))
    mixes = [mixture, vocals + bass, 0.5 * mixture[::-1], drums, 0.1 * mixture, other + vocals, bass + drums]
    mixes += [mixture[:, ::-1], vocals, other + drums, bass]
    long = np.ascontiguousarray(np.concatenate([mix[:n] for mix in mixes])[: LONG_S * RATE], dtype=np.float32)
    pieces = {"demo": np.ascontiguousarray(mixture), "medium": long[: MEDIUM_S * RATE], "long": long}
    files = {name: work / f"{name}.npy" for name in pieces}
    for name, samples in pieces.items():
        np.save(files[name], samples)
    return files


def plan(work: Path, pieces: dict[str, Path], weights: Path) -> list[dict[str, object]]:
    """Return the jobs of the package: random checkpoints first, then every separation."""
    jobs: list[dict[str, object]] = []
    for model, seed in sorted(set(RANDOM.values())):
        folder = str(work / "random" / model)
        jobs.append(
            {"task": "random_checkpoint", "model": model, "weights": folder, "music": str(pieces["demo"]), "seed": seed}
        )
    runs = [("2stems", weights, "demo", 1), ("2stems", weights, "long", 2), ("2stems-16kHz", weights, "medium", 1)]
    runs += [(model, work / "random" / source, "medium", 1) for model, (source, _) in RANDOM.items()]
    filtered = [("2stems", weights, "demo", 2), ("2stems", weights, "medium", 2)]
    filtered += [("4stems", work / "random" / "4stems", "medium", 2)]
    for wiener, (model, folder, piece, repeats) in [(False, run) for run in runs] + [(True, run) for run in filtered]:
        out = work / f"{model}_{piece}{'_wiener' if wiener else ''}.npz"
        paths = {"weights": str(folder), "music": str(pieces[piece]), "out": str(out)}
        jobs.append({"task": "separate", "model": model, "repeats": repeats, "wiener": wiener, **paths})
    return jobs


def run_oracle(python: Path, jobs_file: Path) -> None:
    """Let the package do its jobs; what it says goes to a log, which is shown when it fails."""
    oracle = Path(__file__).with_name("oracle_spleeter.py")
    log = jobs_file.with_name("oracle.log")
    # -P: otherwise this script would be found under the package's name.
    command = [str(python.absolute()), "-P", str(oracle), str(jobs_file)]
    with log.open("w", encoding="utf-8") as stream:
        status = subprocess.run(command, stdout=stream, stderr=stream, check=False).returncode
    if status:
        sys.exit(f"{oracle.name} failed with status {status}; the end of {log}:\n{log.read_text()[-2000:]}")


def compare(job: dict[str, object]) -> list[Check]:
    """Separate the same music with the same weights and compare all stems with the package's."""
    card = model_card(f"spleeter:{job['model']}")
    wiener = bool(job["wiener"])
    separator = SpleeterSeparator(card, Path(str(job["weights"])), options=SeparationOptions(wiener=wiener))
    piece = Path(str(job["music"]))
    song = Audio(np.load(piece), RATE, piece.stem)
    for _ in range(int(str(job["repeats"]))):  # as often as the package: the first run builds the graph
        start = time.perf_counter()
        ours = separator.separate(song)
        seconds = time.perf_counter() - start
    with np.load(str(job["out"])) as archive:
        theirs = {stem: archive[stem] for stem in card.stems}
        their_seconds = float(archive["seconds"])
    difference = max(float(np.abs(ours[stem].samples - theirs[stem]).max()) for stem in card.stems)
    levels = ", ".join(f"{np.sqrt(np.mean(theirs[stem] ** 2)):.3f}" for stem in card.stems)
    note = f"{song.duration_s:.0f} s of audio: ours {seconds:.1f} s, Deezer's {their_seconds:.1f} s; rms {levels}"
    what = f"{card.name}{', Wiener filter' if wiener else ''}, {piece.stem}"
    checks = [Check(what, difference, WIENER_LIMIT if wiener else LIMIT, note)]
    if wiener:
        checks.append(Check(f"{what}: our time over theirs", seconds / their_seconds, 1.0))
        checks.append(_missing_filter_shows(card, Path(str(job["weights"])), song, theirs))
    elif job["repeats"] == 1:
        checks.append(_wrong_activation_shows(card, Path(str(job["weights"])), song, theirs))
    return checks


def _wrong_activation_shows(card: ModelCard, weights: Path, song: Audio, theirs: dict[str, np.ndarray]) -> Check:
    """Check that the comparison is able to fail: with the other models' activations it must miss by far."""
    wrong = ("elu", "elu") if card.encoder_activation == "leaky_relu" else ("leaky_relu", "relu")
    card = dataclasses.replace(card, encoder_activation=wrong[0], decoder_activation=wrong[1])
    stems = SpleeterSeparator(card, weights).separate(song)
    difference = min(float(np.abs(stems[stem].samples - theirs[stem]).max()) for stem in card.stems)
    note = f"every stem differs by {difference:.1e} or more; limit / difference is shown"
    return Check(f"{card.name}: a wrong activation shows", LIMIT / difference, 0.01, note)


def _missing_filter_shows(card: ModelCard, weights: Path, song: Audio, theirs: dict[str, np.ndarray]) -> Check:
    """Check that the masks alone miss the limit."""
    stems = SpleeterSeparator(card, weights).separate(song)
    difference = min(float(np.abs(stems[stem].samples - theirs[stem]).max()) for stem in card.stems)
    note = f"every stem differs by {difference:.1e} or more; limit / difference is shown"
    return Check(f"{card.name}: a missing filter shows", WIENER_LIMIT / difference, 0.1, note)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle-python", required=True, type=Path)
    parser.add_argument("--weights", type=Path, help="folder of the 2stems checkpoint; by default the installed one")
    parser.add_argument("--work", type=Path, default=Path("build/parity/spleeter"))
    options = parser.parse_args()
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    weights = options.weights or ModelStore().path(model_card("spleeter:2stems"), form="checkpoint")
    jobs = plan(work, music(work), weights.absolute())
    jobs_file = work / "jobs.json"
    jobs_file.write_text(json.dumps(jobs), encoding="utf-8")
    run_oracle(options.oracle_python, jobs_file)
    checks = [check for job in jobs if job["task"] == "separate" for check in compare(job)]
    return report("Separation against Deezer's spleeter 2.4.2 (largest difference, full scale is 1)", checks)


if __name__ == "__main__":
    sys.exit(main())
