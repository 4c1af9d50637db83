"""Score enhanced signals as CAD1 does.

python evaluate.py path.root=/data/cad1 separator.model=spleeter:4stems
"""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig
from settings import read_folder, read_task

from cadenza_remix.challenge.naming import ENHANCED_FOLDER
from cadenza_remix.challenge.scores import PairScore, merge_scores, scores_file_name, write_scores
from cadenza_remix.challenge.task import Task
from cadenza_remix.console import exit_status, print_error, shown_progress
from cadenza_remix.errors import InputError
from cadenza_remix.runs.scoring import score_pairs
from cadenza_remix.runs.stage_times import FOLDER, recorded_times


def merge(task: Task, folder: Path, n_batches: int) -> Path:
    if n_batches < 2:
        raise InputError(
            "nothing to merge", where="evaluate.batch_size", expected="the number of batches", found=n_batches
        )
    files = [folder / scores_file_name(batch, n_batches) for batch in range(n_batches)]
    write_scores(folder / "scores.csv", merge_scores(files, pairs=task.all_pairs), pairs=task.all_pairs)
    return folder / "scores.csv"


def evaluate(config: DictConfig) -> int:
    task, folder = read_task(config), read_folder(config)
    if config.evaluate.merge:
        print(merge(task, folder, config.evaluate.batch_size))
        return 0
    print(f"{len(task.pairs)} of {len(task.all_pairs)} pairs in {folder}")
    with shown_progress() as progress, recorded_times(folder / FOLDER, progress) as timed:
        report = score_pairs(
            folder / ENHANCED_FOLDER,
            references=config.path.music_dir,
            listeners=task.listeners,
            pairs=task.pairs,
            segments=task.segments,
            records=folder / "records" / "score",
            scorer=config.evaluate.scorer,
            noise=config.evaluate.noise,
            n_workers=config.n_workers,
            progress=timed,
        )
    for failure in report.failures:
        print_error(f"{failure.unit}: {failure.error}")
    if report.failures:
        return 2
    name = scores_file_name(config.evaluate.batch, config.evaluate.batch_size)
    results = folder / (f"small_test_{name}" if config.evaluate.small_test else name)
    write_scores(results, report.rows, pairs=task.pairs)
    print(f"{results}: mean HAAQI {mean(report.rows):.4f} over {len(report.rows)} pairs ({report.n_found} found done)")
    return 0


def mean(rows: list[PairScore]) -> float:
    return sum(row.score for row in rows) / len(rows) if rows else float("nan")


@hydra.main(config_path=".", config_name="config", version_base="1.3")
def main(config: DictConfig) -> None:
    if status := exit_status(lambda: evaluate(config)):
        sys.exit(status)


if __name__ == "__main__":
    main()
