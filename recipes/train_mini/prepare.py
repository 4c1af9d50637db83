"""Bring the free real material of `cadenza:mini` into folders of songs to train on.

python prepare.py MATERIAL OUT

MATERIAL holds ``everything_is_free/<song>/{vocals,drums,bass,other}.ogg`` and ``samples/`` (see README.md); OUT gets
``train/<song>/<stem>.wav`` and, of the song that is kept out, ``valid/<song>/<stem>.wav`` with its ``mixture.wav``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from cadenza_remix.audio.io import load_audio, write_wav
from cadenza_remix.audio.signal import STEMS, Audio
from cadenza_remix.console import exit_status, tell
from cadenza_remix.errors import InputError
from cadenza_remix.units import db_to_lin

KEPT_OUT = "francium"
# The songs' stems are unmastered, up to 22 dB apart: as they are, hardly anything of the bass would be heard.
STEM_LEVELS_DB = {"vocals": -22.0, "drums": -22.0, "bass": -23.0, "other": -21.0}
SOUNDING_DB = -50.0
BLOCK_S = 0.5
VOICES = ("singing-female", "soprano-E4", "vignesh")
OTHERS = ("cello-double", "cello-phrase", "piano", "sax-phrase")
DRUMS = ("bendir", "mridangam")


def sounding_level_db(audio: Audio) -> float:
    """Return the level of the blocks in which something sounds, in dB of full scale."""
    block = round(BLOCK_S * audio.sample_rate)
    n_blocks = max(1, audio.n_samples // block)
    powers = np.square(audio.samples[: n_blocks * block]).reshape(n_blocks, -1).mean(axis=1)
    sounding = powers[powers > 10 ** (SOUNDING_DB / 10)]
    return 10 * np.log10(sounding.mean()) if len(sounding) else -np.inf


def at_level(audio: Audio, level_db: float) -> Audio:
    found_db = sounding_level_db(audio)
    if not np.isfinite(found_db):
        raise InputError("is silent", where=audio.name)
    peak = float(np.abs(audio.samples).max())
    gain = min(db_to_lin(level_db - found_db), 0.99 / peak)
    return Audio(audio.samples * np.float32(gain), audio.sample_rate, audio.name)


def song_stems(folder: Path) -> dict[str, Audio]:
    stems = {stem: at_level(load_audio(folder / f"{stem}.ogg"), STEM_LEVELS_DB[stem]) for stem in STEMS}
    length = min(audio.n_samples for audio in stems.values())
    return {stem: Audio(audio.samples[:length], audio.sample_rate, audio.name) for stem, audio in stems.items()}


def write_song(folder: Path, stems: dict[str, Audio], *, mixture: bool = False) -> None:
    if mixture:
        total = np.sum([audio.samples for audio in stems.values()], axis=0)
        gain = np.float32(min(1.0, 0.99 / np.abs(total).max()))
        stems = {name: Audio(audio.samples * gain, audio.sample_rate, name) for name, audio in stems.items()}
        write_wav(folder / "mixture.wav", Audio(total * gain, stems["vocals"].sample_rate))
    for stem, audio in stems.items():
        write_wav(folder / f"{stem}.wav", audio)
    tell(f"{folder.name}: {', '.join(stems)}, {next(iter(stems.values())).duration_s:.0f} s")


def prepare(material: Path, out: Path) -> int:
    songs = sorted(path for path in (material / "everything_is_free").glob("*") if path.is_dir())
    if not songs:
        raise InputError("no songs", where=material, expected="everything_is_free/<song>/vocals.ogg ...")
    for song in songs:
        split = "valid" if song.name == KEPT_OUT else "train"
        write_song(out / split / song.name, song_stems(song), mixture=split == "valid")
    samples = material / "samples"
    singles = [(name, "vocals") for name in VOICES]
    singles += [(name, "other") for name in OTHERS] + [(name, "drums") for name in DRUMS]
    paths = [(samples / "sms_tools_ccby" / f"{name}.wav", stem) for name, stem in singles]
    paths += [(path, "vocals") for path in sorted((samples / "vocadito_ccby").glob("*.wav"))]
    for path, stem in paths:
        write_song(out / "train" / path.stem, {stem: at_level(load_audio(path), STEM_LEVELS_DB[stem])})
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python prepare.py MATERIAL OUT")
    sys.exit(exit_status(lambda: prepare(Path(sys.argv[1]), Path(sys.argv[2]))))
