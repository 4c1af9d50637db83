"""Songs of a second or less in all layouts of data sets: stems of noise and tones that add up to their mixture."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import av
import numpy as np
import soundfile

STEMS = ("vocals", "drums", "bass", "other")


def tiny_stems(seed: int, *, n_samples: int = 8000, n_channels: int = 2) -> dict[str, np.ndarray]:
    """Return four stems of whole 16-bit numbers, so that a WAV of them is exact and they add up exactly."""
    rng = np.random.default_rng(seed)
    times = np.arange(n_samples)[:, None]
    stems = {}
    for number, stem in enumerate(STEMS):
        tone = np.sin(times * (0.02 + 0.11 * number + 0.01 * seed) + np.arange(n_channels))
        samples = 0.06 * tone + 0.02 * rng.standard_normal((n_samples, n_channels))
        stems[stem] = (np.rint(samples * 32768) / 32768).astype(np.float32)
    return stems


def write_sound(path: Path, samples: np.ndarray, sample_rate: int = 8000) -> Path:
    """Write 16 bits or what the suffix stands for, in short pieces (long ones crash some builds of Vorbis)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", sample_rate, samples.shape[1]) as file:
        for begin in range(0, len(samples), 4096):
            file.write(samples[begin : begin + 4096])
    return path


def write_song(folder: Path, stems: Mapping[str, np.ndarray], *, suffix: str = ".wav", sample_rate: int = 8000) -> None:
    """Write the stems and their sum."""
    for stem, samples in {**stems, "mixture": sum(stems.values())}.items():
        write_sound(folder / f"{stem}{suffix}", samples, sample_rate)


def write_musdb18hq(root: Path, songs: Mapping[str, Iterable[str]] | None = None) -> Path:
    """Write songs by their folders, by default two in ``train`` and one in ``test``."""
    seed = 0
    for folder, names in (songs or {"train": ("A - Été", "Leaf - Summerghost"), "test": ("C - Č",)}).items():
        for name in names:
            seed += 1
            write_song(root / folder / name, tiny_stems(seed))
    return root


def write_song_list(path: Path, names: Iterable[str], split: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"Track Name": name, "Split": split} for name in names]), encoding="utf-8")


def write_dsd100(root: Path) -> Path:
    for seed, (folder, name) in enumerate((("Dev", "051 - AM Contra"), ("Test", "001 - ANiMAL")), start=1):
        stems = tiny_stems(seed)
        for stem, samples in stems.items():
            write_sound(root / "Sources" / folder / name / f"{stem}.wav", samples)
        write_sound(root / "Mixtures" / folder / name / "mixture.wav", sum(stems.values()))
    return root


def write_spleeter_csv(path: Path, *, duration_s: float = 1.0) -> Path:
    names = ("Song, one", "Two")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["mix_path", "vocals_path", "accompaniment_path", "duration"])
        for seed, name in enumerate(names, start=1):
            stems = tiny_stems(seed)
            two = {"vocals": stems["vocals"], "accompaniment": stems["drums"] + stems["bass"] + stems["other"]}
            write_song(path.parent / "audio" / name, two)
            parts = [f"audio/{name}/{part}.wav" for part in ("mixture", "vocals", "accompaniment")]
            writer.writerow([*parts, duration_s])
    return path


def write_m4a(path: Path, samples: np.ndarray, sample_rate: int = 44100) -> Path:
    """Write AAC without noise substitution, whose noise is another one each time that it is decoded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=sample_rate, layout="stereo", options={"aac_pns": "0"})
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="stereo")
        frame.sample_rate = sample_rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path
