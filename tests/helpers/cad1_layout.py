"""A small data set in CAD1's layout, of real music: two songs of 2 s and three listeners."""

from __future__ import annotations

import json
from pathlib import Path

from cadenza_remix.audio.io import load_audio, load_stems, write_wav
from cadenza_remix.challenge.metadata import SongEntry, song_folder
from cadenza_remix.demo import demo_song
from cadenza_remix.hearing.audiogram import load_listeners

SONGS = {SongEntry("Falcon - Part No.1", "valid"): (0.0, 2.0), SongEntry("Sokół - Part, two", "valid"): (3.0, 5.0)}
"""With the part of the excerpt that each is."""


def write_cad1(root: Path) -> None:
    """Write audio and metadata of the validation set; ``metadata/one.json`` lists the first song only."""
    excerpt = demo_song().path
    parts = {"mixture": load_audio(excerpt), **load_stems(excerpt)}
    for song, (start_s, end_s) in SONGS.items():
        for name, audio in parts.items():
            file = song_folder(root / "audio" / "musdb18hq", song) / f"{name}.wav"
            write_wav(file, audio.excerpt(start_s, end_s), subtype="PCM_16")
    listeners = {name: listener.to_dict() for name, listener in load_listeners("cad1-sample").items()}
    listeners["L9001"] = {**listeners["L5076"], "name": "L9001"}
    songs = [{"Track Name": song.name, "Split": song.split} for song in SONGS]
    (root / "metadata").mkdir()
    for name, value in (("listeners.valid", listeners), ("musdb18.valid", songs), ("one", songs[:1])):
        (root / "metadata" / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
