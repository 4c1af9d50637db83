"""Deep clustering, U-Net, UH-Net and IBM-CNN at about equal cost on the same songs and seeds.

python compare.py data.path=synth out=results minutes=20
"""

from __future__ import annotations

import hashlib
import itertools
import json
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import hydra
from examples import file_name, write_examples
from omegaconf import DictConfig, OmegaConf
from scoring import (
    SongScore,
    as_plain,
    from_plain,
    held_out,
    score_mixture,
    score_song,
    separate,
)
from systems import TARGETS, Row, read_config, rows_of, train_config, with_threshold
from tables import Trial, draw, markdown, song_median, write_csv

from cadenza_remix.atomic import write_json, write_text
from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE
from cadenza_remix.console import duration, exit_status
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.trained.folder import TrainedModel, load_network, read_model_folder
from cadenza_remix.separation.trained.separator import TrainedSeparator
from cadenza_remix.training.data.datasets import open_dataset
from cadenza_remix.training.fit.loop import train
from cadenza_remix.training.fit.result import TrainProgress

TITLE = "Vocal extraction: deep clustering, U-Net, UH-Net and the binary-mask CNN"


class Comparison:
    """One comparison in its folder; what is there and was made with the same settings is not made again."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.out = Path(config.out)
        songs = open_dataset(config.data.path, layout=config.data.layout)
        test = songs.select(split=config.data.test_split).songs[: config.evaluate.n_songs]
        valid = songs.select(split=config.data.valid_split).songs[: config.evaluate.threshold_songs]
        self.test = held_out(test, TARGETS, config.evaluate.seconds)
        self._valid = valid

    def run(self) -> None:
        """Train, score and write the results."""
        taps = self.config.evaluate.filter_length
        mixture = [score for song in self.test for score in score_mixture(song, filter_length=taps)]
        trials, chosen = [], {}
        for seed, system in itertools.product(self.config.seeds, self.config.compare):
            model, cost = self.trained(system, seed)
            for row in rows_of(system, model.spec.architecture):
                trial, used = self.scored(row, model, cost, seed)
                trials.append(trial)
                chosen.setdefault(row.label, used)
                sdr = song_median([score.sdr_db for score in trial.scores if score.stem == "vocals"])
                tell(f"{row.label}, seed {seed}: vocals SDR {sdr:.2f} dB")
        self.write(trials, mixture)
        separators = {label: self.separator(used) for label, used in chosen.items()}
        write_examples(self.out / "audio", self.test[0], separators, seconds=self.config.evaluate.example_seconds)

    def trained(self, system: str, seed: int) -> tuple[TrainedModel, dict[str, Any]]:
        """Return a trained model and what its training cost, with that of the system it builds upon."""
        upon = self.config.systems[system].get("builds_upon")
        base = self.trained(upon, seed) if upon else None
        config = train_config(self.config, system, seed, builds_upon=base[0].path if base else None)
        folder = self.out / "trainings" / f"{system}-{seed}"
        record = folder / "finished.json"
        told = config.as_dict()
        kept = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        if kept.get("config") == told:
            model = read_model_folder(folder / "model")
        else:
            tell(f"training {system}, seed {seed}")
            result = train(config, folder, progress=TrainingLines(), tell=tell)
            model = read_model_folder(result.model_path)
            kept = {"config": told, "minutes": result.seconds / 60, "n_steps": result.n_steps}
            write_json(record, kept)
        minutes = kept["minutes"] + (base[1]["minutes"] if base else 0.0)
        return model, {"minutes": minutes, "n_steps": kept["n_steps"]}

    def scored(self, row: Row, model: TrainedModel, cost: dict[str, Any], seed: int) -> tuple[Trial, TrainedModel]:
        """Return what a row of the table shows for one seed, and the model as it was used."""
        record = self.out / "scores" / f"{file_name(row.label)}-{seed}.json"
        key = self._key(row, model)
        kept = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        found = kept.get("key") == key
        threshold = kept["threshold"] if found else self.best_threshold(model) if row.swept else None
        used = as_used(row, model, threshold)
        if not found:
            scores, seconds_per_s = self.score(used)
            kept = {"key": key, "threshold": threshold, "seconds_per_s": seconds_per_s, **cost_of(model)}
            write_json(record, kept | {"scores": as_plain(scores)})
            kept["scores"] = as_plain(scores)
        figures = {name: kept[name] for name in ("n_parameters", "gflop_per_s", "seconds_per_s")}
        return Trial(system=row.label, seed=seed, **cost, **figures, scores=from_plain(kept["scores"])), used

    def _key(self, row: Row, model: TrainedModel) -> str:
        """Return what the scores depend on, in a few digits."""
        used = [row.label, model.weights_sha256, model.spec.as_dict(), [song.name for song in self.test]]
        settings = OmegaConf.to_container(self.config.evaluate, resolve=True)
        return hashlib.sha256(json.dumps([used, settings], sort_keys=True).encode()).hexdigest()[:16]

    def separator(self, model: TrainedModel) -> TrainedSeparator:
        return TrainedSeparator(model, options=SeparationOptions(device=self.config.device))

    def score(self, model: TrainedModel) -> tuple[list[SongScore], float]:
        """Return the scores of all held-out songs, and the seconds that one second of audio takes."""
        separator = self.separator(model)
        separate(separator, self.test[0])  # the network is built with the first song
        scores, seconds, duration_s = [], 0.0, 0.0
        for song in self.test:
            start = monotonic()
            estimates = separate(separator, song)
            seconds += monotonic() - start
            duration_s += len(song.mixture) / MUSIC_SAMPLE_RATE
            scores += score_song(song, estimates, filter_length=self.config.evaluate.filter_length)
        return scores, seconds / duration_s

    def best_threshold(self, model: TrainedModel) -> float:
        """Return the threshold with the highest signal-to-noise ratio on the validation songs, mean of both stems."""
        from cadenza_remix.metrics import snr_db

        songs = held_out(self._valid, TARGETS, self.config.evaluate.threshold_seconds)
        reached = {}
        for threshold in self.config.evaluate.thresholds:
            separator = self.separator(with_threshold(model, threshold))
            values = [
                snr_db(song.references[stem], estimate)
                for song in songs
                for stem, estimate in separate(separator, song).items()
            ]
            reached[threshold] = sum(values) / len(values)
            tell(f"  threshold {threshold:g}: {reached[threshold]:.2f} dB")
        return float(max(reached, key=reached.__getitem__))

    def write(self, trials: Sequence[Trial], mixture: Sequence[SongScore]) -> None:
        """Write table and figure."""
        notes = self._notes()
        write_text(self.out / "comparison.md", markdown(trials, mixture, title=TITLE, notes=notes))
        write_csv(self.out / "comparison.csv", trials, mixture)
        draw(self.out / "comparison.png", trials, mixture)
        tell(str(self.out / "comparison.md"))

    def _notes(self) -> list[str]:
        """Return what has to be known to read the tables."""
        config = self.config
        length_s = sum(len(song.mixture) for song in self.test) / MUSIC_SAMPLE_RATE
        budget = f"{config.minutes:g} minutes" if config.max_steps is None else f"{config.max_steps} steps"
        transform = config.transform
        band_khz = transform.n_bins * transform.sample_rate / transform.fft_length / 1000
        return [
            f"Command: `{shlex.join(['python', Path(sys.argv[0]).name, *sys.argv[1:]])}`",
            "",
            f"{len(self.test)} held-out songs ({length_s:.0f} s at 44.1 kHz),"
            f" seeds {', '.join(map(str, config.seeds))}. Each network was trained for {budget} on {processor()}.",
            "",
            "Scores: BSS Eval v4 (version images, as museval): median over windows of one second, then over songs;"
            " mean ± standard deviation over the seeds. Change: median over songs of the difference to the mixture in"
            " the place of the stem, whose SAR is infinite (it has no artefacts). Thresholds of hard masks were chosen"
            " on the validation songs.",
            "",
            "The minutes and the weights of a system that builds upon another contain that one's. Networks see up to"
            f" {band_khz:g} kHz; what lies above goes to the accompaniment.",
        ]


class TrainingLines:
    """Tells how a training stands: after each validation, and twice a minute."""

    def __init__(self, *, every_s: float = 30.0) -> None:
        self._every_s, self._told_at = every_s, monotonic()

    def __call__(self, now: TrainProgress) -> None:
        if now.validation is None and monotonic() - self._told_at < self._every_s:
            return
        self._told_at = monotonic()
        line = f"  step {now.step}, loss {now.loss:.4f}, {duration(now.seconds_left)} left, "
        line += f"waited for music {100 * now.waiting_share:.0f} %"
        if now.validation is not None:
            line += "".join(f", {stem} {sdr:.2f} dB" for stem, sdr in now.validation.sdr_db.items())
        tell(line)


def as_used(row: Row, model: TrainedModel, threshold: float | None) -> TrainedModel:
    """Return a model with the inference of a row of the table."""
    if threshold is not None:
        return with_threshold(model, threshold)
    return model if row.inference is None else replace(model, inference=row.inference)


def cost_of(model: TrainedModel) -> dict[str, float]:
    from cadenza_remix.separation.networks.network_cost import network_cost

    cost = network_cost(load_network(model), model.spec)
    return {"n_parameters": cost.n_weights, "gflop_per_s": cost.gflop_per_second}


def processor() -> str:
    """Return what this runs on, for the page."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({len(names)} processors)" if names else platform.processor() or platform.machine()


def tell(line: str) -> None:
    print(line, flush=True)


@hydra.main(config_path=".", config_name="config", version_base="1.3")
def main(config: DictConfig) -> None:
    def compare() -> int:
        Comparison(read_config(config)).run()
        return 0

    if status := exit_status(compare):
        sys.exit(status)


if __name__ == "__main__":
    main()
