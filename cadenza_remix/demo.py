"""The demo: the whole main job on the real MUSDB18 excerpt that travels with ``stempeg``, for two CAD1 listeners."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cadenza_remix.audio.io import load_audio, load_stems, write_stems, write_wav
from cadenza_remix.challenge.pairs import make_pairs
from cadenza_remix.challenge.scores import write_scores
from cadenza_remix.errors import MissingDependencyError
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.hearing.nalr import nalr_gains_db
from cadenza_remix.remix import PRESETS, at_listening_level, load_chain
from cadenza_remix.report.figures import plot_audiograms, plot_scores
from cadenza_remix.report.tables import (
    UNPROCESSED_CHAIN,
    UPPER_BOUND_CHAIN,
    record_of,
    summary_frame,
    write_summary_csv,
)
from cadenza_remix.runs.enhancing import EnhanceReport, enhance_songs
from cadenza_remix.runs.pool import Failure
from cadenza_remix.runs.progress import Progress
from cadenza_remix.runs.scoring import ScoreReport, score_clean_stems, score_mixtures, score_pairs
from cadenza_remix.runs.songs import SongFile, find_songs
from cadenza_remix.runs.stage_times import FOLDER as STAGE_TIMES_FOLDER
from cadenza_remix.runs.stage_times import recorded_times
from cadenza_remix.separation.separator import Separator

if TYPE_CHECKING:
    import pandas as pd

DEMO_LISTENERS = "cad1-sample"


@dataclass(frozen=True)
class DemoResult:
    """``frame``: one row per listener and chain; ``clipped``: share of the remixes over full scale, by chain."""

    frame: pd.DataFrame
    clipped: dict[str, float]
    failures: tuple[Failure, ...]


def demo_song() -> SongFile:
    """Return the demo's song: 6 s of "The Easton Ellises - Falcon 69" (MUSDB18, test set) with its stems."""
    spec = importlib.util.find_spec("stempeg")  # found, not imported: importing it asks for an ffmpeg program
    folders = spec.submodule_search_locations if spec is not None else None
    songs = sorted(Path(folders[0], "data").glob("*.stem.mp4")) if folders else []
    if not songs:
        raise MissingDependencyError(
            "the demo's song is missing: expected the package stempeg, found none (pip install stempeg)"
        )
    return find_songs(songs[:1])[0]


def run_demo(out: Path, *, separator: Separator, progress: Progress | None = None) -> DemoResult:
    """Run the main job below ``out``: demix once, enhance by each chain, score, summarise, draw.

    Parameters
    ----------
    out : Path
        Gets ``stems/``, ``references/``, ``<chain>/enhanced_signals/``, ``<chain>/scores.csv``, ``summary.csv``, two
        PNGs and WAVs to listen to. What is there already is not made again.
    separator : Separator
        Gives the four stems of a remix; see `load_separator`.
    """
    song = demo_song()
    listeners = load_listeners(DEMO_LISTENERS)
    pairs = make_pairs([song.name], listeners)
    records: list[dict[str, object]] = []
    failures: list[Failure] = []
    clipped: dict[str, float] = {}
    references = out / "references"
    write_stems(references / song.name, {**load_stems(song.path), "mixture": load_audio(song.path)})

    def keep(chain: str, report: ScoreReport) -> None:
        failures.extend(report.failures)
        if not report.failures:
            write_scores(out / chain / "scores.csv", report.rows, pairs=pairs)
        records.extend(record_of(record.results, chain) for record in report.records)

    made: dict[str, EnhanceReport] = {}
    for name in PRESETS:
        with recorded_times(out / name / STAGE_TIMES_FOLDER, progress) as timed:
            made[name] = enhance_songs(
                [song],
                listeners,
                separator=separator,
                chain=load_chain(name),
                out=out / name,
                stems_folder=out / "stems",
                wav=True,
                progress=timed,
            )
        failures.extend(made[name].failures)
        clipped[name] = made[name].n_over_full_scale / made[name].n_remix_samples if made[name].n_remix_samples else 0.0
    for name, score in ((UNPROCESSED_CHAIN, score_mixtures), (UPPER_BOUND_CHAIN, score_clean_stems)):
        folder = out / name / "records" / "score"
        with recorded_times(out / name / STAGE_TIMES_FOLDER, progress) as timed:
            keep(name, score([song], references=references, listeners=listeners, records=folder, progress=timed))
    for name in PRESETS:
        folder = out / name / "records" / "score"
        with recorded_times(out / name / STAGE_TIMES_FOLDER, progress) as timed:
            keep(
                name,
                score_pairs(out / name, references=references, listeners=listeners, records=folder, progress=timed),
            )
    frame = summary_frame(records)
    write_summary_csv(frame, out / "summary.csv")
    plot_audiograms(list(listeners.values()), nalr_gains_db, out / "audiograms.png")
    plot_scores(frame[frame["chain"] != UPPER_BOUND_CHAIN], out / "scores.png")
    write_wav(out / "mixture.wav", at_listening_level(load_audio(song.path)))
    return DemoResult(frame, clipped, tuple(failures))
