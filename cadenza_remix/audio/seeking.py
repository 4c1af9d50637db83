"""Excerpts of audio files by seek, exact to the sample: what an excerpt costs does not grow with the song.

libsndfile seeks in what it reads. In what PyAV reads (``.stem.mp4`` of MUSDB18, M4A) decoding begins some packets
before the excerpt: a coded frame overlaps with the one before it, so that the first frame after a seek is not whole.
Equal to the same part of the whole file to the last bit, but where an AAC coder left the noise to the decoder
(perceptual noise substitution, ISO/IEC 14496-3; MUSDB18's rate has none): another draw of noise at the same level.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from cadenza_remix.audio.ogg import ends_whole
from cadenza_remix.audio.reading import (
    announced_samples,
    as_float,
    av_stream,
    check_file,
    is_av,
    open_av,
    unreadable,
)
from cadenza_remix.errors import InputError

_AV_LEAD_S = 0.25
"""Decoded before an excerpt and thrown away: ten AAC frames; one would do, codecs with longer memory need more."""
_COARSE_LEAD = 16 * 1152
"""Likewise, in samples, for MP3 (the bits of a frame may lie in the nine before it), Opus (80 ms, RFC 7845) and Vorbis,
whose last page is cut: samples sought in it would come from the wrong end."""
_COARSE = {"MP3", "OPUS", "VORBIS"}
_INEXACT = {"MP3"}  # how long one is may be an estimate
_AV_TOLERANCE_S = 0.1
"""By so much the samples of a stream may be fewer than its container says (padding of coders)."""


def read_excerpt(path: Path, start: int, n_samples: int, *, stream_index: int = 0) -> NDArray[np.float32]:
    """Decode a part of a file at its own rate.

    Parameters
    ----------
    path : Path
    start, n_samples : int
        In samples of the file, from its beginning.
    stream_index : int
        Which of the audio streams of an MP4.

    Returns
    -------
    float32 array, shape (n, n_channels)
        Fewer than ``n_samples`` where the file ends before.

    Raises
    ------
    InputError
        It cannot be read as audio.
    """
    check_file(path)
    return _with_av(path, start, n_samples, stream_index) if is_av(path) else _with_libsndfile(path, start, n_samples)


def check_ending(path: Path) -> None:
    """Refuse a file of which the end is missing, as far as that shows without decoding it.

    Raises
    ------
    InputError
        It is cut off, or cannot be read as audio.
    """
    if is_av(path):
        return
    try:
        with soundfile.SoundFile(path) as file:
            n_announced, tolerance = announced_samples(file, path)
            if file.frames < n_announced - tolerance:
                raise InputError("file is cut off", where=path, expected=f"{n_announced} samples", found=file.frames)
            if file.format == "OGG" and not ends_whole(path):
                raise InputError("file is cut off", where=path, expected="a last page that ends the stream")
    except InputError:
        raise
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise unreadable(path, error) from error


def _with_libsndfile(path: Path, start: int, n_samples: int) -> NDArray[np.float32]:
    try:
        with soundfile.SoundFile(path) as file:
            if start >= file.frames:
                return np.zeros((0, file.channels), dtype=np.float32)
            is_coarse = file.format in _COARSE or file.subtype in _COARSE
            lead = min(start, _COARSE_LEAD) if is_coarse else 0
            file.seek(start - lead)
            samples = file.read(lead + n_samples, dtype="float32", always_2d=True)[lead:]
            n_expected = min(n_samples, file.frames - start)
            if len(samples) < n_expected and file.format not in _INEXACT:
                expected, found = f"{n_expected} samples from sample {start}", len(samples)
                raise InputError("file is cut off", where=path, expected=expected, found=found)
            return samples
    except InputError:
        raise
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise unreadable(path, error) from error


def _with_av(path: Path, start: int, n_samples: int, stream_index: int) -> NDArray[np.float32]:
    import av

    pieces: list[NDArray[np.float32]] = []
    position = start  # of the next sample that is wanted
    try:
        with open_av(path) as container:
            stream = av_stream(container, path, stream_index)
            rate, n_channels = stream.codec_context.sample_rate, stream.codec_context.channels
            first_tick = max(stream.start_time or 0, 0)
            lead = int(_AV_LEAD_S * rate)
            if start > lead:
                container.seek(first_tick + int((start - lead) / rate / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                if frame.pts is None:
                    raise InputError("frames have no times", where=path, expected="a file that can be sought in")
                begin = round((frame.pts - first_tick) * stream.time_base * rate)
                if begin + frame.samples > position and begin < start + n_samples:
                    if begin > position:
                        expected, found = f"sample {position}", f"sample {begin}"
                        raise InputError("a gap after seeking", where=path, expected=expected, found=found)
                    samples = as_float(frame, n_channels)
                    pieces.append(samples[position - begin : start + n_samples - begin])
                    position = begin + len(samples)
                if position >= start + n_samples:
                    break
            n_announced = int((stream.duration or 0) * stream.time_base * rate) - int(_AV_TOLERANCE_S * rate)
            if position < min(start + n_samples, n_announced):
                raise InputError("file is cut off", where=path, expected=f"sample {position}", found="its end")
    except InputError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return np.concatenate(pieces) if pieces else np.zeros((0, n_channels), dtype=np.float32)
