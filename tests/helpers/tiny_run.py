"""Results of a few seconds, as the demo leaves them: passages of the real song, two chains, two listeners, scores."""

from pathlib import Path

from quarter_separator import QuarterSeparator

from cadenza_remix.audio.io import load_audio, load_stems, write_stems
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.remix import load_chain
from cadenza_remix.runs.enhancing import enhance_songs
from cadenza_remix.runs.scoring import score_pairs
from cadenza_remix.runs.songs import SongFile

GAINS = {"vocals": 0.3, "drums": 0.4, "bass": 0.2, "other": 0.1}
"""The stems of the stand-in separator: shares of the mixture."""


def make_tiny_run(
    folder: Path,
    song,
    *,
    n_songs: int = 1,
    duration_s: float = 2.0,
    chains=("baseline", "e016"),
    listeners=("L5040", "L5076"),
    scored: bool = True,
) -> list[str]:
    """Write ``references/``, ``stems/`` and a folder for each chain with enhanced signals and records; return songs."""
    stems, mixture = load_stems(song.path), load_audio(song.path)
    step_s = (mixture.duration_s - duration_s) / max(1, n_songs - 1)
    songs = []
    for number in range(n_songs):
        start_s = number * step_s
        name = f"Falcon - part {number}"
        parts = {**stems, "mixture": mixture}
        place = folder / "references" / name
        write_stems(place, {part: audio.excerpt(start_s, start_s + duration_s) for part, audio in parts.items()})
        songs.append(SongFile(name, place / "mixture.wav"))
    people = load_listeners("cad1-sample", only=listeners)
    for chain in chains:
        report = enhance_songs(
            songs, people, separator=QuarterSeparator(gains=GAINS), chain=load_chain(chain), out=folder / chain,
            stems_folder=folder / "stems", wav=True,
        )  # fmt: skip
        assert not report.failures
        if scored:
            records = folder / chain / "records" / "score"
            assert not score_pairs(
                folder / chain, references=folder / "references", listeners=people, records=records
            ).failures
    return [song.name for song in songs]
