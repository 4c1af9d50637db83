"""Songs on the disk in MUSDB18-HQ's layout; a song's folder is there whole or not at all."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from cadenza_remix.atomic import is_running, machine_token, make_folder, writing_failed
from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE, STEMS

SONG_FILES = ("mixture.wav", *(f"{stem}.wav" for stem in STEMS), "song.json")
_FULL_SCALE = 32767
_PART = re.compile(r"\.(?P<song>.+)\.(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}\.part")


def is_whole(folder: Path) -> bool:
    """Tell whether a song is there with all its files."""
    return all((folder / name).is_file() for name in SONG_FILES)


def write_song(folder: Path, stems: Mapping[str, NDArray[np.float32]], facts: Mapping[str, Any]) -> None:
    """Write the stems as 16-bit WAV files, the mixture as the exact sum of their whole numbers, and ``song.json``.

    Raises
    ------
    OutputError
        It cannot be written.
    ValueError
        The stems' sum leaves the range of 16 bits.
    """
    whole = {stem: np.rint(np.asarray(stems[stem], dtype=np.float64) * _FULL_SCALE).astype(np.int32) for stem in STEMS}
    mixture = np.sum(list(whole.values()), axis=0)
    largest = max(int(np.abs(track).max(initial=0)) for track in (mixture, *whole.values()))
    if largest > _FULL_SCALE:
        raise ValueError(f"{folder}: the samples do not fit into 16 bits: {largest}")
    part = folder.with_name(f".{folder.name}.{machine_token()}-{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        make_folder(part)
        for name, track in {"mixture": mixture, **whole}.items():
            soundfile.write(part / f"{name}.wav", track.astype(np.int16), MUSIC_SAMPLE_RATE, subtype="PCM_16")
        (part / "song.json").write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        if folder.exists():  # of a former version or not whole
            shutil.rmtree(folder)
        part.rename(folder)
    except (OSError, soundfile.LibsndfileError) as error:
        failure = error if isinstance(error, OSError) else OSError(0, f"{error} (is the disk full?)")
        raise writing_failed(folder, failure) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def remove_dead_parts(out: Path) -> None:
    """Remove the unfinished songs that processes of this machine left when they were killed."""
    for split in ("train", "test"):
        for path in (out / split).glob(".*.part"):
            found = _PART.fullmatch(path.name)
            if found and found["machine"] == machine_token() and not is_running(int(found["pid"])):
                shutil.rmtree(path, ignore_errors=True)
