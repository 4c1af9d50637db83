"""Audio files from their bytes, as they lie in a folder or in a zip file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cadenza_remix.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_DURATION_S = 3600.0
"""Longer audio is not decoded: a few kilobytes of FLAC can announce days of silence."""

_BLOCK_FRAMES = 1 << 18


@dataclass(frozen=True, eq=False)
class DecodedFile:
    """What an audio file holds: its form, the samples it announces and those that could be decoded.

    ``kind``: such as ``FLAC PCM_16``; ``samples``: float32, (n_samples, n_channels), full scale 1.
    """

    kind: str
    sample_rate: int
    n_announced: int
    samples: NDArray[np.float32]


def decode_audio(contents: bytes, *, where: str) -> DecodedFile:
    """Decode a whole audio file to its end.

    Raises
    ------
    InputError
        The bytes are no audio, or audio of more than :data:`MAX_DURATION_S`.
    """
    import numpy as np
    import soundfile

    blocks, n_decoded = [], 0
    try:
        with soundfile.SoundFile(io.BytesIO(contents)) as file:
            kind, rate, announced = f"{file.format} {file.subtype}", file.samplerate, file.frames
            empty = np.zeros((0, file.channels), dtype=np.float32)
            while n_decoded <= MAX_DURATION_S * rate:
                block = file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
                if not len(block):
                    break
                blocks.append(block)
                n_decoded += len(block)
            else:
                raise InputError("too long", where=where, expected=f"at most {MAX_DURATION_S:.0f} s of audio")
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise InputError("cannot be decoded", where=where, found=_reason(error)) from error
    return DecodedFile(kind, rate, announced, np.concatenate(blocks) if blocks else empty)


def _reason(error: Exception) -> str:
    """Return what libsndfile says, without the object that it was given."""
    return str(getattr(error, "error_string", None) or error).strip().rstrip(".")
