"""Where the First Cadenza Challenge, task 1, expects each file of an entry.

Below the folder ``enhanced_signals`` lies one folder per listener, below it one per song; each holds eight mono stems
(four stems for each ear), the scale file of each, and one stereo remix.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE as MUSIC_SAMPLE_RATE
from cadenza_remix.audio.signal import REMIX_SAMPLE_RATE as REMIX_SAMPLE_RATE
from cadenza_remix.audio.signal import STEM_SAMPLE_RATE as STEM_SAMPLE_RATE
from cadenza_remix.errors import InputError, unknown_name

ENHANCED_FOLDER = "enhanced_signals"
SUBMISSION_FOLDER = "evaluation"

_MAX_NAME_BYTES = 200  # a file name joins listener, song and stem, and file systems stop at 255 bytes


def check_name(name: str, kind: str, *, where: str | Path | None = None) -> str:
    """Return ``name`` when it can stand as one part of a path, such as a song, a listener or a team.

    Raises
    ------
    InputError
        Not text, empty, too long, ``.`` or ``..``, or holding a slash, a backslash or a control character.

    Examples
    --------
    >>> check_name("Al James - Schoolboy Facination", "song")
    'Al James - Schoolboy Facination'
    """
    expected = "a plain name without slashes"
    if not isinstance(name, str):
        raise InputError(f"{kind} name is not text", where=where, expected=expected, found=repr(name))
    if not name.strip() or name in (".", ".."):
        raise InputError(f"{kind} name cannot name a folder", where=where, expected=expected, found=repr(name))
    if any(letter in "/\\" or ord(letter) < 32 or ord(letter) == 127 for letter in name):
        raise InputError(f"{kind} name would leave its folder", where=where, expected=expected, found=repr(name))
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise InputError(f"{kind} name is not UTF-8", where=where, expected=expected, found=ascii(name))
    if len(name.encode("utf-8")) > _MAX_NAME_BYTES:
        raise InputError(
            f"{kind} name is too long", where=where, expected=f"at most {_MAX_NAME_BYTES} bytes", found=name
        )
    return name


def channel_name(ear: str, stem: str) -> str:
    """Return the name of one stem at one ear, such as ``left_vocals``, as it stands in file names and score columns."""
    if ear not in EARS:
        raise unknown_name("ear", ear, EARS)
    if stem not in STEMS:
        raise unknown_name("stem", stem, STEMS)
    return f"{ear}_{stem}"


def pair_folder(root: str | Path, listener_id: str, song: str) -> Path:
    """Return the folder of one song made for one listener, below the folder ``enhanced_signals``."""
    return Path(root) / check_name(listener_id, "listener") / check_name(song, "song")


def stem_path(root: str | Path, listener_id: str, song: str, ear: str, stem: str) -> Path:
    """Return the FLAC file of one stem at one ear: mono, 16 bit, 24 kHz, scaled to its peak.

    Parameters
    ----------
    root : str or Path
        The folder ``enhanced_signals``, or ``evaluation`` in a submission.
    listener_id, song : str
        Refused when they would leave the folder.
    ear : {'left', 'right'}
    stem : {'vocals', 'drums', 'bass', 'other'}

    Examples
    --------
    >>> stem_path("out", "L5040", "Actions - One Minute Smile", "left", "bass").as_posix()
    'out/L5040/Actions - One Minute Smile/L5040_Actions - One Minute Smile_left_bass.flac'
    """
    return pair_folder(root, listener_id, song) / f"{listener_id}_{song}_{channel_name(ear, stem)}.flac"


def scale_path(flac_path: str | Path) -> Path:
    """Return the text file beside a stem that holds the factor which restores its level."""
    return Path(flac_path).with_suffix(".txt")


def remix_path(root: str | Path, listener_id: str, song: str) -> Path:
    """Return the FLAC file of the remix: stereo, 16 bit, 32 kHz, with no scale file."""
    return pair_folder(root, listener_id, song) / f"{listener_id}_{song}_remix.flac"


def stem_paths(root: str | Path, listener_id: str, song: str) -> Iterator[Path]:
    """Yield the eight stem files of one song and listener."""
    for stem in STEMS:
        for ear in EARS:
            yield stem_path(root, listener_id, song, ear, stem)


def pair_paths(root: str | Path, listener_id: str, song: str) -> Iterator[Path]:
    """Yield all seventeen files of one song and listener: stems, their scale files, the remix."""
    for path in stem_paths(root, listener_id, song):
        yield path
        yield scale_path(path)
    yield remix_path(root, listener_id, song)
