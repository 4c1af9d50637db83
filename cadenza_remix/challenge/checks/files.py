"""What is wrong with the files of an entry, each looked at alone: their form and their scales.

Which files there are is the matter of :mod:`cadenza_remix.challenge.checks.structure`; what only the clean stems can
tell, of :mod:`cadenza_remix.challenge.checks.plausibility`.

===================  ===============================================================================================
kind                 what it says
===================  ===============================================================================================
unreadable           a file cannot be read or decoded
format, sample_rate  not FLAC of 16 bit; another sample rate
channels, duration   another number of channels; another length
cut_short            fewer samples than the file announces
no_samples           no samples at all
scale                a scale file holds no finite number of 0 or more
scale_zero           a scale of 0 beside a stem that is not silent
scale_absurd         a scale beyond anything a hearing aid does
coarse               a scale that makes a few steps of the 16 bits loud
clipped              much of a stem stands at full scale
silent               the remix is silent (of stems: see the other module)
===================  ===============================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cadenza_remix.challenge.decoding import DecodedFile, decode_audio
from cadenza_remix.challenge.naming import (
    REMIX_SAMPLE_RATE,
    STEM_SAMPLE_RATE,
    channel_name,
    remix_path,
    scale_path,
    stem_path,
)
from cadenza_remix.challenge.pairs import SCORING_CHANNELS, Pair
from cadenza_remix.challenge.tree import EnhancedTree
from cadenza_remix.errors import InputError

if TYPE_CHECKING:
    from cadenza_remix.audio.signal import Audio

DURATION_TOLERANCE_S = 0.02
"""How far a duration may be off: rounding to whole samples, and the 5 ms tail that an untrimmed NAL-R filter leaves."""
MAX_SCALE = 1e4
"""80 dB: NAL-R gives some 50 dB to the severest loss, of signals whose peak is about 1."""
MAX_CLIPPED = 0.05
"""Share of a stem's samples at full scale that is let pass. A remix may be driven as far as it likes into the
challenge's soft clip: the gain that a severe loss asks for does so."""

_FULL_SCALE = 32766 / 32768  # the largest positive sample and its neighbour
_UNUSED_RANGE = 0.01  # below it a FLAC has fewer than 328 steps


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an entry.

    Parameters
    ----------
    path : str
        The file or folder concerned, below the folder ``evaluation``.
    problem : str
    expected, found : str
        Empty where the problem says all.
    kind : str
        For programs: one of the tables of this module, of :mod:`cadenza_remix.challenge.checks.structure` and of
        :mod:`cadenza_remix.challenge.checks.plausibility`.
    """

    path: str
    problem: str
    expected: str = ""
    found: str = ""
    kind: str = ""

    def __str__(self) -> str:
        details = [f"{word} {value}" for word, value in (("expected", self.expected), ("found", self.found)) if value]
        line = f"{self.path}: {self.problem}" + (": " + ", ".join(details) if details else "")
        return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


@dataclass(frozen=True, eq=False)
class CheckedPair:
    """The faults of the files of one pair, and what is sound of it.

    ``stems``: by channel (``left_vocals``, ...), mono, 24 kHz, at their true level; ``scales``: their scale files;
    ``peaks``: what the FLAC files reach, of full scale 1. Stems with a fault are left out of all three.
    """

    faults: tuple[Fault, ...]
    stems: Mapping[str, Audio]
    scales: Mapping[str, float]
    peaks: Mapping[str, float]


def check_pair(
    tree: EnhancedTree,
    pair: Pair,
    *,
    stem_s: float | None = None,
    remix_s: float | None = None,
    remix: bool = True,
    tolerance_s: float = DURATION_TOLERANCE_S,
) -> CheckedPair:
    """Decode the files of a pair that are there to their end, and check their form and their scales.

    Parameters
    ----------
    tree : EnhancedTree
    pair : Pair
    stem_s, remix_s : float, optional
        How long the stems and the remix must be, in seconds.
    remix : bool
        Look at the remix too.
    tolerance_s : float
        By how much they may differ from it.
    """
    import numpy as np

    from cadenza_remix.audio.signal import Audio

    faults: list[Fault] = []
    stems, scales, peaks = {}, {}, {}
    for ear, stem in SCORING_CHANNELS:
        name, channel = stem_path("", pair.listener, pair.song, ear, stem).as_posix(), channel_name(ear, stem)
        file_faults, decoded = _check_audio(tree, name, STEM_SAMPLE_RATE, 1, stem_s, tolerance_s)
        scale_faults, scale = _check_scale(tree, scale_path(name).as_posix())
        if decoded is not None and not file_faults:
            peak = float(np.abs(decoded.samples).max())
            file_faults += _clipped_faults(name, decoded, MAX_CLIPPED)
            if scale is not None:
                scale_faults += _scale_sense_faults(scale_path(name).as_posix(), scale, peak)
                if not scale_faults:
                    samples = decoded.samples * np.float32(scale)
                    stems[channel] = Audio(samples, decoded.sample_rate, tree.location(name))
                    scales[channel], peaks[channel] = scale, peak
        faults += file_faults + scale_faults
    if remix:
        faults += _remix_faults(tree, remix_path("", pair.listener, pair.song).as_posix(), remix_s, tolerance_s)
    return CheckedPair(tuple(faults), stems, scales, peaks)


def _remix_faults(tree: EnhancedTree, name: str, remix_s: float | None, tolerance_s: float) -> list[Fault]:
    remix_faults, decoded = _check_audio(tree, name, REMIX_SAMPLE_RATE, 2, remix_s, tolerance_s)
    if decoded is not None and not remix_faults and not decoded.samples.any():
        remix_faults.append(Fault(name, "the remix is silent", kind="silent"))
    return remix_faults


def _check_audio(
    tree: EnhancedTree, name: str, sample_rate: int, n_channels: int, duration_s: float | None, tolerance_s: float
) -> tuple[list[Fault], DecodedFile | None]:
    if name not in tree:
        return [], None
    try:
        decoded = decode_audio(tree.read(name), where=tree.location(name))
    except InputError as error:
        return [Fault(name, str(error).removeprefix(f"{tree.location(name)}: "), kind="unreadable")], None
    n_samples, channels = decoded.samples.shape
    rate, announced = decoded.sample_rate, decoded.n_announced
    faults = []
    if decoded.kind != "FLAC PCM_16":
        faults.append(Fault(name, "wrong format", "FLAC PCM_16", decoded.kind, "format"))
    if rate != sample_rate:
        faults.append(Fault(name, "wrong sample rate", f"{sample_rate} Hz", f"{rate} Hz", "sample_rate"))
    if channels != n_channels:
        faults.append(Fault(name, "wrong number of channels", str(n_channels), str(channels), "channels"))
    if n_samples == 0:
        faults.append(Fault(name, "holds no samples", kind="no_samples"))
    elif announced != n_samples:
        faults.append(Fault(name, "is cut short", f"{announced} samples", str(n_samples), "cut_short"))
    elif duration_s is not None and abs(n_samples / rate - duration_s) > tolerance_s:
        faults.append(Fault(name, "wrong duration", f"{duration_s:.3f} s", f"{n_samples / rate:.3f} s", "duration"))
    return faults, decoded


def _check_scale(tree: EnhancedTree, name: str) -> tuple[list[Fault], float | None]:
    if name not in tree:
        return [], None
    try:
        return [], tree.read_scale(name)
    except InputError as error:
        problem = str(error).removeprefix(f"{tree.location(name)}: ")
        return [Fault(name, problem, kind="scale" if problem.startswith("not a scale") else "unreadable")], None


def _scale_sense_faults(name: str, scale: float, peak: float) -> list[Fault]:
    if scale == 0 and peak > 0:
        return [Fault(name, "scale is 0 beside a stem that is not silent", "its peak", "0", "scale_zero")]
    if scale > MAX_SCALE:
        return [Fault(name, "senseless scale", f"at most {MAX_SCALE:g}", f"{scale:g}", "scale_absurd")]
    if 0 < peak < _UNUSED_RANGE <= peak * scale:
        found = f"a peak of {peak * 32768:.0f} steps of 32768, times {scale:g}"
        return [Fault(name, "scale makes a few steps loud", "a FLAC that reaches full scale", found, "coarse")]
    return []


def _clipped_faults(name: str, decoded: DecodedFile, limit: float) -> list[Fault]:
    import numpy as np

    share = np.count_nonzero(np.abs(decoded.samples) >= _FULL_SCALE) / decoded.samples.size
    if share <= limit:
        return []
    return [Fault(name, "is clipped", f"at most {limit:.0%} at full scale", f"{share:.0%} of it", "clipped")]
