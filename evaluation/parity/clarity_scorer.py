"""Does ``--scorer clarity`` give what the built-in scorer gives? Both score a pair of the folder that the comparison
with the official evaluator left.

Run in an environment that has pyclarity, this package on the path:

    PYTHONPATH=. python evaluation/parity/clarity_scorer.py --work build/parity/official
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from pathlib import Path

from checks import Check, report

from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.runs.scoring import ScoreReport, score_pairs

LIMIT = 1e-7
"""Same files, same noise: the two differ by single-precision storage only."""


def scores(work: Path, scorer: str, n_workers: int) -> ScoreReport:
    listeners = load_listeners(work / "data" / "metadata" / "listeners.valid.json")
    entry = work / "ours" / "enhanced_signals"
    song = sorted(folder.name for folder in next(entry.iterdir()).iterdir())[0]
    records = work / "scorers" / scorer
    shutil.rmtree(records, ignore_errors=True)
    found = score_pairs(
        entry,
        references=work / "data" / "audio" / "musdb18hq",
        listeners=listeners,
        records=records,
        pairs=[Pair(song, listener) for listener in listeners],
        scorer=scorer,
        n_workers=n_workers,
    )
    if found.failures:
        sys.exit(str(found.failures[0].error))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder that official_evaluator.py worked in")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    builtin, clarity = scores(options.work, "builtin", 1), scores(options.work, "clarity", 2)
    checks = []
    for ours, theirs in zip(builtin.rows, clarity.rows, strict=True):
        difference = max(abs(ours.haaqi[channel] - theirs.haaqi[channel]) for channel in ours.haaqi)
        checks.append(Check(f"{ours.song} for {ours.listener}", difference, LIMIT, f"HAAQI {theirs.score:.6f}"))
    return report("score --scorer clarity against the built-in scorer", checks)


if __name__ == "__main__":
    sys.exit(main())
