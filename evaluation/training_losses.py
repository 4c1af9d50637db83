"""One small model under each loss: SDR and HAAQI of songs that it was not trained on.

    python evaluation/training_losses.py --data FOLDER --work FOLDER [--minutes 10] [--songs 6]
        [--out evaluation/results/training_losses.md]

The same U-Net (16 kHz, 1.2 million weights, vocals and accompaniment) is trained equally long on the same songs
under each loss that takes masks; a deep-clustering network with a mask head (Chimera) under L1 with and without the
affinity loss, and one without that head under the affinity loss alone. Of each song of the split "test" 10 s are
separated, those with the loudest vocals; HAAQI is that of the challenge behind the chain `baseline`, for three standard
audiograms, left ear.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from benchmarks.bench_report import Report

from cadenza_remix.atomic import write_json
from cadenza_remix.audio.resample import resample_samples
from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE, STEM_SAMPLE_RATE, Audio
from cadenza_remix.console import duration
from cadenza_remix.hearing.aid import aid_ear
from cadenza_remix.hearing.audiogram import Audiogram, load_listeners
from cadenza_remix.metrics import HaaqiReference, snr_db
from cadenza_remix.remix import load_chain
from cadenza_remix.separation.separator import Separator
from cadenza_remix.separation.trained.separator import load_trained
from cadenza_remix.training.data.datasets import open_dataset
from cadenza_remix.training.data.songs import TrainingSong
from cadenza_remix.training.fit.config import TrainConfig
from cadenza_remix.training.fit.loop import train
from cadenza_remix.training.fit.result import TrainProgress
from cadenza_remix.units import db_spl_of_full_scale, rms

STEMS = {"vocals": ["vocals"], "accompaniment": ["drums", "bass", "other"]}
LISTENERS = ("N2", "N4", "S2")
PASSAGE_S = 10
TRANSFORM = {"sample_rate": 16000, "frame_length": 1024, "hop_length": 256, "fft_length": 1024, "n_bins": 512}
UNET = {"architecture": "unet", "n_frames": 128, "settings": {"filters": [8, 16, 32, 64, 128]}}
CLUSTERING = {"architecture": "deep-clustering", "n_frames": 128, "settings": {"units": 200, "n_bands": 64}}
CHIMERA = {**CLUSTERING, "settings": {**CLUSTERING["settings"], "mask_head": True}}
# Row of the table -> network and losses.
TRIALS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "l1": (UNET, [{"name": "l1"}]),
    "cross-entropy": (UNET, [{"name": "cross-entropy"}]),
    "phase-sensitive": (UNET, [{"name": "phase-sensitive"}]),
    "time-l1": (UNET, [{"name": "time-l1"}]),
    "haaqi-aware": (UNET, [{"name": "haaqi-aware"}]),
    "haaqi-aware, phase-sensitive target": (
        UNET,
        [{"name": "haaqi-aware", "settings": {"target": "phase-sensitive"}}],
    ),
    "affinity (clusters)": (CLUSTERING, [{"name": "affinity"}]),
    "l1 (Chimera)": (CHIMERA, [{"name": "l1"}]),
    "affinity + l1 (Chimera)": (CHIMERA, [{"name": "affinity", "weight": 0.5}, {"name": "l1", "weight": 0.5}]),
}

Samples = np.ndarray


@dataclass(frozen=True)
class Passage:
    """Some seconds of a song: the true stems at 44.1 kHz, (n_samples, 2) each."""

    name: str
    stems: Mapping[str, Samples]

    @property
    def mixture(self) -> Samples:
        return sum(self.stems.values())


def passage_of(song: TrainingSong) -> Passage:
    """Return the passage with the loudest vocals."""
    stems = {
        target: sum(song.read(stem, 0, song.n_samples) for stem in sources if stem in song.stems)
        for target, sources in STEMS.items()
    }
    length = min(song.n_samples, PASSAGE_S * song.sample_rate)
    energy = np.concatenate([[0.0], np.cumsum(np.square(stems["vocals"], dtype=np.float64).sum(axis=1))])
    starts = np.arange(0, song.n_samples - length + 1, song.sample_rate)
    start = int(starts[np.argmax(energy[starts + length] - energy[starts])])
    cut = {name: np.ascontiguousarray(samples[start : start + length]) for name, samples in stems.items()}
    rates = (song.sample_rate, MUSIC_SAMPLE_RATE)
    return Passage(song.name, {name: resample_samples(samples, *rates).astype("f4") for name, samples in cut.items()})


def train_config(options: argparse.Namespace, trial: str) -> TrainConfig:
    """Return what the trainer is told."""
    network, losses = TRIALS[trial]
    length = {"max_steps": options.steps} if options.steps else {"max_minutes": options.minutes, "max_steps": 10**7}
    schedule = {"schedule": "cosine" if options.steps else "cosine-time"}
    source = {"path": str(options.data)}
    return TrainConfig.from_dict(
        {
            "name": "".join(c if c.isalnum() else "-" for c in trial).strip("-"),
            "model": {"stems": list(STEMS), **TRANSFORM, **network},
            "data": {"train": [source], "valid": [source], "targets": STEMS},
            "loss": losses,
            "optimiser": schedule,
            "training": {
                "batch_size": options.batch_size,
                "seed": options.seed,
                "n_valid_songs": 2,
                "n_valid_s": 10.0,
                "validate_every_steps": options.validate_every,
                **length,
            },
        }
    )


class Lines:
    """Tells how a training stands, twice a minute and after each validation."""

    def __init__(self, trial: str) -> None:
        self._trial, self._told_at = trial, monotonic()

    def __call__(self, now: TrainProgress) -> None:
        if now.validation is None and monotonic() - self._told_at < 30:
            return
        self._told_at = monotonic()
        scores = now.validation.sdr_db.items() if now.validation is not None else ()
        found = "".join(f", {stem} {sdr:.2f} dB" for stem, sdr in scores)
        line = f"  {self._trial}: step {now.step}, loss {now.loss:.4f}, {duration(now.seconds_left)} left{found}"
        print(line, file=sys.stderr, flush=True)


def trained(options: argparse.Namespace, trial: str) -> tuple[Separator, dict[str, Any]]:
    """Train, or take what was trained with the same settings."""
    config = train_config(options, trial)
    folder = options.work / config.name
    record = folder / "finished.json"
    kept = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    if kept.get("config") != config.as_dict():
        result = train(config, folder, progress=Lines(trial))
        kept = {"config": config.as_dict(), "n_steps": result.n_steps, "minutes": result.seconds / 60}
        write_json(record, kept)
    return load_trained(folder / "model"), kept


def haaqi_of(clean: Samples, estimate: Samples, audiogram: Audiogram) -> float:
    """Return HAAQI of one ear as the challenge has it, behind the chain `baseline`."""
    chain = load_chain("baseline")
    aided = aid_ear(estimate, audiogram, sample_rate=MUSIC_SAMPLE_RATE, nalr=chain.nalr, compressor=chain.compressor)
    reference = HaaqiReference(
        resample_samples(clean, MUSIC_SAMPLE_RATE, STEM_SAMPLE_RATE),
        STEM_SAMPLE_RATE,
        audiogram=audiogram,
        level1_db_spl=db_spl_of_full_scale(rms(clean)),
        noise="fixed",
    )
    return reference.score(resample_samples(aided, MUSIC_SAMPLE_RATE, STEM_SAMPLE_RATE), STEM_SAMPLE_RATE).score


def scores_of(passages: Iterable[Passage], separator: Separator | None) -> dict[str, dict[str, float]]:
    """Return mean SDR and HAAQI of each stem; of the mixture in its place where there is no separator."""
    people = load_listeners("bisgaard", only=LISTENERS)
    sdr: dict[str, list[float]] = {stem: [] for stem in STEMS}
    haaqi: dict[str, list[float]] = {stem: [] for stem in STEMS}
    for passage in passages:
        song = Audio(passage.mixture, MUSIC_SAMPLE_RATE, passage.name)
        separated = separator.separate(song) if separator is not None else dict.fromkeys(STEMS, song)
        for stem, clean in passage.stems.items():
            estimate = separated[stem].samples
            sdr[stem].append(snr_db(clean, estimate))
            left, heard = (np.ascontiguousarray(samples[:, 0]) for samples in (clean, estimate))
            haaqi[stem] += [haaqi_of(left, heard, person.left) for person in people.values()]
    return {stem: {"sdr": float(np.nanmean(sdr[stem])), "haaqi": float(np.mean(haaqi[stem]))} for stem in STEMS}


def row(name: str, scores: Mapping[str, Mapping[str, float]], steps: str) -> list[str]:
    cells = [f"{scores[stem]['sdr']:.2f}" for stem in STEMS] + [f"{scores[stem]['haaqi']:.3f}" for stem in STEMS]
    return [name, *cells, f"{np.mean([scores[stem]['haaqi'] for stem in STEMS]):.3f}", steps]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data set with songs to train, validate and test on")
    parser.add_argument("--work", type=Path, required=True, help="folder for the trainings; a finished one is kept")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training (%(default)s)")
    parser.add_argument("--steps", type=int, help="instead of minutes")
    parser.add_argument("--songs", type=int, default=6, help="how many are scored (%(default)s)")
    parser.add_argument("--losses", nargs="+", choices=list(TRIALS), default=list(TRIALS), metavar="LOSS")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--validate-every", type=int, default=500, metavar="STEPS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    passages = [passage_of(song) for song in open_dataset(options.data, split="test").songs[: options.songs]]
    rows = [row("mixture", scores_of(passages, None), "-")]
    for trial in options.losses:
        separator, kept = trained(options, trial)
        rows.append(row(trial, scores_of(passages, separator), str(kept["n_steps"])))
        print("  " + ", ".join(rows[-1]), file=sys.stderr, flush=True)
    report = Report("One small model under each loss", packages=["numpy", "keras"])
    length = f"{options.steps} steps" if options.steps else f"{options.minutes:g} minutes"
    report.add(" ".join(line.strip() for line in __doc__.split("\n\n")[2].splitlines()))
    report.add(f"\nTraining: {length} each, seed {options.seed}. Passages: {len(passages)}.\n")
    columns = ["loss", *(f"SDR {stem}, dB" for stem in STEMS), *(f"HAAQI {stem}" for stem in STEMS), "HAAQI", "steps"]
    report.table("Means over passages (and audiograms)", columns, rows)
    report.finish(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
