"""The clips that the room asks for: several versions of one passage at once, of which some may fail.

The key of a clip is what decides its samples: the passage, the listener where it is heard, and how the files that it is
made from lie on the disk. A file that is replaced is another clip; the former one goes as the oldest do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE
from cadenza_remix.errors import CadenzaError
from cadenza_remix.hearing.audiogram import Listener
from cadenza_remix.listen.clips import BusyError, Clip, ClipStore
from cadenza_remix.listen.library import Library, RoomSong
from cadenza_remix.listen.security import without_folders
from cadenza_remix.listen.versions import origin_of, render


@dataclass(frozen=True)
class ClipPassage:
    """Of which song, for whom, where (in seconds), and through which simulator."""

    song: RoomSong
    listener: Listener
    start_s: float
    duration_s: float
    simulator: str | None = None


def clip_or_error(library: Library, clips: ClipStore, passage: ClipPassage, version: str) -> Clip | CadenzaError:
    """Return the clip of one version, or why there is none: the other versions of a request do not depend on it.

    Raises
    ------
    BusyError
        As `ClipStore` and `RenderPool`: of the server, not of this version.
    """
    try:
        return room_clip(library, clips, passage, version)
    except BusyError:
        raise
    except CadenzaError as error:
        return error


def room_clip(library: Library, clips: ClipStore, passage: ClipPassage, version: str) -> Clip:
    """Return the clip of one version, made where no equal one is kept.

    Raises
    ------
    UnknownIdError
        The listener cannot hear such a version of this song.
    InputError
        A file is not there, or cannot be read.
    OutputError
        The clip cannot be written.
    """
    song, listener, simulator = passage.song, passage.listener, passage.simulator
    first, n_samples = round(passage.start_s * MUSIC_SAMPLE_RATE), round(passage.duration_s * MUSIC_SAMPLE_RATE)
    # Before anything is read: what is replaced while it is being read is made anew for the next one who asks.
    origin = origin_of(library, song, version, listener, simulator=simulator)
    return clips.clip(
        key_prefix(song.id) + repr((first, n_samples, origin)),
        lambda: render(
            library,
            song,
            version,
            listener,
            start_s=passage.start_s,
            duration_s=passage.duration_s,
            simulator=simulator,
        ),
    )


def key_prefix(song_id: str) -> str:
    """Return how the keys of all clips of a song begin."""
    return f"room:{song_id}:"


def clips_answer(versions: Sequence[str], outcomes: Sequence[Clip | CadenzaError]) -> dict[str, Any]:
    """Return what the API answers: the clips that were made, and of the other versions one line each.

    Raises
    ------
    CadenzaError
        The first of the errors, where nothing was made.
    """
    made: list[tuple[str, Clip]] = []
    failed: list[tuple[str, CadenzaError]] = []
    for version, outcome in zip(versions, outcomes, strict=True):
        if isinstance(outcome, Clip):
            made.append((version, outcome))
        else:
            failed.append((version, outcome))
    if not made:
        raise failed[0][1]
    return {
        "sample_rate": MUSIC_SAMPLE_RATE,
        "n_samples": made[0][1].n_samples,
        "clips": [clip_entry(version, clip) for version, clip in made],
        "failed": [{"version": version, "error": _line(error)} for version, error in failed],
    }


def clip_entry(version: str, clip: Clip) -> dict[str, Any]:
    """Return a clip as the API tells of one; the loudness of silence is null."""
    return {
        "version": version,
        "url": f"/clips/{clip.id}.flac",
        "scale_lin": clip.scale_lin,
        "loudness_lufs": clip.loudness_lufs if math.isfinite(clip.loudness_lufs) else None,
        "peak_lin": clip.peak_lin,
    }


def _line(error: CadenzaError) -> str:
    return without_folders(" ".join(str(error).split()))
