"""A challenge of a few seconds: passages of the real song in MUSDB18-HQ's layout, listeners, and a run's settings."""

import json
from pathlib import Path

import yaml

from cadenza_remix.audio.io import load_audio, load_stems, write_stems, write_wav
from cadenza_remix.hearing.audiogram import load_listeners

LISTENERS = ("N1", "N2", "N3", "N4", "S1", "S2")


def make_challenge(folder: Path, song, *, n_songs: int, duration_s: float, listeners=LISTENERS) -> list[str]:
    """Write music, ``songs.json``, ``listeners.json`` and ``run.yaml``; return the names of the songs."""
    stems, mixture = load_stems(song.path), load_audio(song.path)
    names = [f"Falcon - part {number}" for number in range(n_songs)]
    step_s = (mixture.duration_s - duration_s) / max(1, n_songs - 1)
    for number, name in enumerate(names):
        start_s, end_s = number * step_s, number * step_s + duration_s
        place = folder / "music" / "train" / name
        write_stems(place, {stem: audio.excerpt(start_s, end_s) for stem, audio in stems.items()}, subtype="PCM_16")
        write_wav(place / "mixture.wav", mixture.excerpt(start_s, end_s))
    songs = [{"Track Name": name, "Split": "valid", "Genre": "Rock"} for name in names]
    (folder / "songs.json").write_text(json.dumps(songs))
    people = load_listeners("bisgaard", only=listeners)
    (folder / "listeners.json").write_text(json.dumps({name: one.to_dict() for name, one in people.items()}))
    write_settings(folder)
    return names


def write_settings(folder: Path, **changes) -> Path:
    """Write ``run.yaml``: the settings of a run, with what is given changed or added."""
    settings = {
        "songs": "songs.json",
        "music": "music",
        "listeners": "listeners.json",
        "separator": "spleeter:2stems+hpss",
        **changes,
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path


def results(run: Path) -> dict[str, bytes]:
    """Return everything that a run has made, by name: what must not depend on how it was made."""
    parts = ("stems", "enhanced_signals", "records")
    files = [path for part in parts for path in (run / part).rglob("*") if path.is_file()]
    files += sorted(run.glob("scores*.csv"))
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}
