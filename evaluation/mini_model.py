"""What `cadenza:mini` is worth on the demo's real song, beside the mixture as estimate and other separators.

    PYTHONPATH=. python evaluation/mini_model.py --out evaluation/results/mini_model.md

The demo song is in no training data and nothing was chosen by it. SDR is the plain ratio of energies
(`cadenza_remix.metrics.separation.snr_db` of both channels together), of the whole excerpt of 6 s.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from cadenza_remix.atomic import write_text
from cadenza_remix.audio.io import load_audio, load_stems
from cadenza_remix.audio.signal import STEMS, Audio
from cadenza_remix.demo import demo_song
from cadenza_remix.metrics.separation import snr_db
from cadenza_remix.separation.loading import load_separator

SEPARATORS = ("cadenza:mini", "spleeter:2stems+cadenza:mini", "spleeter:2stems+hpss")


def scores_db(references: dict[str, Audio], estimates: dict[str, Audio]) -> dict[str, float]:
    return {stem: snr_db(references[stem].samples.ravel(), estimates[stem].samples.ravel()) for stem in STEMS}


def row(name: str, scores: dict[str, float], seconds: float | None) -> str:
    cells = [f"{scores[stem]:.2f}" for stem in STEMS] + [f"{np.mean(list(scores.values())):.2f}"]
    return f"| {name} | " + " | ".join(cells) + f" | {'-' if seconds is None else f'{seconds:.2f}'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--separator", action="append", help="instead of the usual ones; may be given again")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    song = demo_song()
    mixture, references = load_audio(song.path), load_stems(song.path)
    lines = [
        "# cadenza:mini on the demo song",
        "",
        "Plain SDR in dB, the whole excerpt of 6 s (`PYTHONPATH=. python evaluation/mini_model.py`). Seconds: one"
        " separation with the network built.",
        "",
        "| separator | " + " | ".join(STEMS) + " | mean | s |",
        "|---|" + "---|" * (len(STEMS) + 2),
        row("mixture as estimate", scores_db(references, dict.fromkeys(STEMS, mixture)), None),
    ]
    for name in options.separator or SEPARATORS:
        separator = load_separator(name)
        separator.separate(mixture)
        began = time.perf_counter()
        stems = separator.separate(mixture)
        lines.append(row(name, scores_db(references, dict(stems.items())), time.perf_counter() - began))
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        write_text(options.out, text)


if __name__ == "__main__":
    main()
