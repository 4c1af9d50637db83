"""What ``--refine haaqi`` gains over the same separator without it, in HAAQI behind the chain ``baseline`` (NAL-R).

    python evaluation/refine_gain.py [--songs FOLDER] [--out evaluation/results/refine_gain.md]

FOLDER holds a folder for each song, with ``vocals``, ``drums``, ``bass`` and ``other`` in any format; the demo's song
is scored as well. Songs are separated whole. Windows of 15 s, one every 45 s, are scored where the vocals sound: every
stem that sounds there, for two listeners of CAD1 and three standard audiograms, one ear each, left and right in turn.
Windows that overlap a passage on which the settings were chosen (`TRIED`) count, and the last column leaves them out.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.bench_report import Report

from cadenza_remix.audio.io import load_audio, load_stems
from cadenza_remix.audio.resample import resample_samples
from cadenza_remix.audio.signal import EARS, MUSIC_SAMPLE_RATE, STEM_SAMPLE_RATE, STEMS, Audio
from cadenza_remix.demo import demo_song
from cadenza_remix.hearing.aid import aid_ear
from cadenza_remix.hearing.audiogram import Audiogram, load_listeners
from cadenza_remix.metrics import HaaqiReference
from cadenza_remix.remix import load_chain
from cadenza_remix.separation.loading import load_separator
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.units import db_spl_of_full_scale, lin_to_db, rms

SEPARATORS = ("spleeter:2stems", "spleeter:2stems+hpss")
BISGAARD = ("N2", "N4", "S2")
RATE = MUSIC_SAMPLE_RATE
WINDOW_S, EVERY_S = 15, 45
# Vocals sound where they are at most so much below their loudest window; a stem, where it is above that level.
VOCALS_RANGE_DB, SILENCE_DB = 20.0, -60.0
# Starts in s of the passages of 15 s on which the settings were chosen, of songs of "Everything is free".
TRIED = {
    "demo": (0,),
    "lithium": (240, 250, 280),
    "sodium": (190, 215, 245),
    "potassium": (145, 175, 210),
    "francium": (55, 170, 275),
}

Samples = np.ndarray


@dataclass(frozen=True)
class Score:
    """One ear of one stem in one window, without and with ``--refine haaqi``."""

    song: str
    start_s: float
    separator: str
    stem: str
    listener: str
    plain: float
    refined: float

    @property
    def gain(self) -> float:
        return self.refined - self.plain

    @property
    def tried(self) -> bool:
        return any(abs(self.start_s - start) < WINDOW_S for start in TRIED.get(self.song, ()))


def songs(folder: Path | None) -> Iterable[tuple[str, dict[str, Samples], Samples]]:
    """Yield name, clean stems and mixture of each song."""
    demo = demo_song()
    yield "demo", {name: audio.samples for name, audio in load_stems(demo.path).items()}, load_audio(demo.path).samples
    for song in sorted(folder.iterdir()) if folder is not None else []:
        files = {stem: sorted(song.glob(f"{stem}.*")) for stem in STEMS}
        if all(files.values()):
            stems = {stem: load_audio(found[0]).samples for stem, found in files.items()}
            length = min(map(len, stems.values()))
            stems = {stem: samples[:length] for stem, samples in stems.items()}
            yield song.name, stems, sum(stems.values())


def windows(vocals: Samples) -> list[int]:
    """Return where the windows begin, in samples."""
    length = min(WINDOW_S * RATE, len(vocals))
    starts = range(0, len(vocals) - length + 1, EVERY_S * RATE)
    levels = {start: level_db(vocals[start : start + length]) for start in starts}
    return [start for start, level in levels.items() if level > max(levels.values()) - VOCALS_RANGE_DB]


def level_db(samples: Samples) -> float:
    level = float(rms(samples))
    return float(lin_to_db(level)) if level else -np.inf


def haaqi_of(clean: Samples, audiogram: Audiogram) -> Callable[[Samples], float]:
    """Return what scores estimates of a clean stem at one ear as the challenge does, behind the chain ``baseline``."""
    chain = load_chain("baseline")
    reference = HaaqiReference.prepare(
        resample_samples(clean, RATE, STEM_SAMPLE_RATE),
        STEM_SAMPLE_RATE,
        audiogram=audiogram,
        equalisation=1,
        level1_db_spl=db_spl_of_full_scale(rms(clean)),
        noise="fixed",
    )

    def score(estimate: Samples) -> float:
        aided = aid_ear(estimate, audiogram, sample_rate=RATE, nalr=chain.nalr, compressor=chain.compressor)
        return reference.score(resample_samples(aided, RATE, STEM_SAMPLE_RATE), STEM_SAMPLE_RATE).score

    return score


def score_song(name: str, clean: Mapping[str, Samples], mixture: Samples, separator: str) -> list[Score]:
    """Separate a song both ways and score its windows."""
    song = Audio(mixture, RATE, name)
    plain = load_separator(separator).separate(song)
    refined = load_separator(separator, options=SeparationOptions(refine="haaqi")).separate(song)
    clean = {**clean, "accompaniment": sum(clean[stem] for stem in STEMS if stem != "vocals")}
    people = {**load_listeners("cad1-sample"), **load_listeners("bisgaard", only=BISGAARD)}
    scores = []
    for turn, start in enumerate(windows(clean["vocals"])):
        part = slice(start, start + WINDOW_S * RATE)
        for stem, (index, listener) in itertools.product(plain, enumerate(people)):
            column = (turn + index) % len(EARS)
            reference = np.ascontiguousarray(clean[stem][part, column])
            if level_db(reference) <= SILENCE_DB:
                continue
            score = haaqi_of(reference, people[listener].ear(EARS[column]))
            pair = (score(stems[stem].samples[part, column]) for stems in (plain, refined))
            scores.append(Score(name, start / RATE, separator, stem, listener, *pair))
        done = [score.gain for score in scores if score.start_s == start / RATE]
        print(f"  {name} {start / RATE:.0f} s, {separator}: {np.mean(done):+.3f}", file=sys.stderr, flush=True)
    return scores


def mean_of_stems(scores: Iterable[Score], field: str) -> float:
    """Return the mean over the stems of each stem's mean; NaN for no scores."""
    by_stem: dict[str, list[float]] = {}
    for score in scores:
        by_stem.setdefault(score.stem, []).append(getattr(score, field))
    return float(np.mean([np.mean(values) for values in by_stem.values()])) if by_stem else float("nan")


def gain_row(name: str, scores: list[Score]) -> list[str]:
    """Return a row of a table: without, with, gain, and the gain in windows that were not tried."""
    plain, refined, gain = (mean_of_stems(scores, field) for field in ("plain", "refined", "gain"))
    fresh = mean_of_stems([score for score in scores if not score.tried], "gain")
    return [name, f"{plain:.3f}", f"{refined:.3f}", f"{gain:+.3f}", "-" if np.isnan(fresh) else f"{fresh:+.3f}"]


def tables(report: Report, scores: list[Score], separator: str) -> None:
    """Write the tables of one separator."""
    scores = [score for score in scores if score.separator == separator]
    names = list(dict.fromkeys(score.song for score in scores))
    columns = ["without", "with", "gain", "gain, windows not tried"]
    by_song = {name: [score for score in scores if score.song == name] for name in names}
    rows = [gain_row(name, by_song[name]) for name in names]
    gains = [mean_of_stems(by_song[name], "gain") for name in names]
    rows.append(["mean of songs", "", "", f"{np.mean(gains):+.3f}", ""])
    report.table(f"`{separator}`, mean of stems", ["song", *columns], rows)
    report.add(
        f"Aim: a gain of 0.02 in the mean of songs, here {np.mean(gains):+.3f}; no song below -0.01, here the least is "
        f"{min(gains):+.3f}.\n"
    )
    rows = []
    for name in names:
        for stem in dict.fromkeys(score.stem for score in by_song[name]):
            rows.append([name, *gain_row(stem, [score for score in by_song[name] if score.stem == stem])])
    report.table(f"`{separator}`, by stem", ["song", "stem", *columns], rows)
    people = dict.fromkeys(score.listener for score in scores)
    rows = [gain_row(person, [score for score in scores if score.listener == person]) for person in people]
    report.table(f"`{separator}`, by listener, mean of stems", ["listener", *columns], rows)
    spots = {(score.song, score.start_s): [] for score in scores}
    for score in scores:
        spots[score.song, score.start_s].append(score)
    window_gains = {spot: mean_of_stems(found, "gain") for spot, found in spots.items()}
    worst = sorted(window_gains, key=window_gains.__getitem__)[:3]
    told = ", ".join(f"{name} at {start:.0f} s {window_gains[name, start]:+.3f}" for name, start in worst)
    below = sum(gain < 0 for gain in window_gains.values())
    report.add(f"Windows: {len(window_gains)}, of which {below} lose; the worst: {told}.\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=Path, help="folder with a folder of stems for each song")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    scores: list[Score] = []
    for name, clean, mixture in songs(options.songs):
        for separator in SEPARATORS:
            scores += score_song(name, clean, mixture, separator)
    report = Report("What `--refine haaqi` gains", packages=["numpy", "keras"])
    report.add(" ".join(line.strip() for line in __doc__.split("\n\n")[2].splitlines()) + "\n")
    for separator in SEPARATORS:
        tables(report, scores, separator)
    report.finish(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
