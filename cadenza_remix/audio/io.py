"""Audio files: any usual format in; WAV and the challenge's FLAC out.

libsndfile reads WAV, FLAC, OGG, MP3, AIFF and more; PyAV reads what it cannot: M4A and the five-stream ``.stem.mp4`` of
MUSDB18. No external program is needed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import soundfile
from numpy.typing import NDArray

from cadenza_remix.atomic import atomic_path, writing_failed
from cadenza_remix.audio.reading import READABLE, check_file, file_properties, read_blocks, reason
from cadenza_remix.audio.resample import resample
from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE, STEMS, Audio
from cadenza_remix.errors import InputError, OutputError

STEM_MP4_STREAMS = ("mixture", "drums", "bass", "other", "vocals")
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff", ".m4a", ".mp4", ".aac")
STEM_LENGTH_TOLERANCE_S = 0.1
"""By so much the stems of one song may differ in length (padding of coders); all are cut to the shortest."""


def load_audio(path: str | Path, *, sample_rate: int | None = MUSIC_SAMPLE_RATE) -> Audio:
    """Read one audio file; of a MUSDB18 ``.stem.mp4``, the mixture.

    Parameters
    ----------
    path : path
        WAV, FLAC, MP3, OGG (libsndfile); M4A, MP4, AAC (PyAV); one or two channels.
    sample_rate : int or None
        Resample to this rate along time; None keeps the file's own.

    Returns
    -------
    Audio
        float32, shape (n_samples, n_channels).

    Raises
    ------
    InputError
        Missing, unreadable or empty file, more than two channels, NaN.
    """
    path = Path(path)
    samples, rate = _read_whole(path)
    audio = Audio(samples, rate, name=str(path))
    return audio if sample_rate is None else resample(audio, sample_rate)


def audio_duration_s(path: str | Path) -> float:
    """Return how long a file says that it is, in seconds, without decoding it."""
    return file_properties(Path(path)).duration_s or 0.0


def load_stems(path: str | Path, *, sample_rate: int | None = MUSIC_SAMPLE_RATE) -> dict[str, Audio]:
    """Read the four stems of one song.

    Parameters
    ----------
    path : path
        A folder with ``vocals``, ``drums``, ``bass`` and ``other`` in any readable format (MUSDB18-HQ's layout), or a
        MUSDB18 ``.stem.mp4``.

    Returns
    -------
    dict of str to Audio
        Keys vocals, drums, bass, other; all of one length (the shortest) and rate.
    """
    path = Path(path)
    if path.is_dir():
        stems = {stem: load_audio(find_audio(path, stem), sample_rate=sample_rate) for stem in STEMS}
    else:
        check_file(path)
        if not is_stem_mp4(path):
            raise InputError(
                "holds no stems", where=path, expected="a folder of stems or a .stem.mp4", found=path.suffix
            )
        stems = {}
        for stem in STEMS:
            samples, rate = _read_whole(path, STEM_MP4_STREAMS.index(stem))
            audio = Audio(samples, rate, name=f"{path} ({stem})")
            stems[stem] = audio if sample_rate is None else resample(audio, sample_rate)
    rates = {audio.sample_rate for audio in stems.values()}
    if len(rates) > 1:
        raise InputError("stems differ in sample rate", where=path, expected="one rate", found=sorted(rates))
    shortest = min(audio.n_samples for audio in stems.values())
    for audio in stems.values():
        if audio.n_samples - shortest > STEM_LENGTH_TOLERANCE_S * audio.sample_rate:
            found = f"{audio.duration_s:.3f} s beside {shortest / audio.sample_rate:.3f} s"
            raise InputError("stems differ in length", where=audio.name, expected="stems of one song", found=found)
    return {stem: Audio(audio.samples[:shortest], audio.sample_rate, audio.name) for stem, audio in stems.items()}


def find_audio(folder: Path, name: str) -> Path:
    """Return the audio file ``name.<any readable suffix>`` in a folder."""
    for suffix in AUDIO_SUFFIXES:
        candidate = folder / f"{name}{suffix}"
        if candidate.is_file():
            return candidate
    raise InputError(f"{name} is missing", where=folder, expected=f"{name}.wav or another of {READABLE}")


def is_stem_mp4(path: Path) -> bool:
    """Tell whether a file carries MUSDB18's name for five streams in one."""
    return path.name.lower().endswith(".stem.mp4")


def song_name(path: Path) -> str:
    """Return the name of a song: the folder of a ``mixture`` file, otherwise the file's name without its suffixes."""
    if path.is_dir():
        return path.resolve().name
    if path.stem == "mixture":
        return path.resolve().parent.name
    return path.name[: -len(".stem.mp4")] if is_stem_mp4(path) else path.stem


def write_wav(path: str | Path, audio: Audio, *, subtype: str = "PCM_16") -> int:
    """Write a WAV atomically and return how many samples had to be clipped (``FLOAT`` clips none)."""
    samples = audio.samples
    clipped = 0 if subtype == "FLOAT" else int(np.count_nonzero(np.abs(samples) > 1.0))
    _write(Path(path), np.clip(samples, -1.0, 1.0) if clipped else samples, audio.sample_rate, "WAV", subtype)
    return clipped


def write_flac16(path: str | Path, samples: NDArray[np.floating], sample_rate: int) -> int:
    """Write a 16-bit FLAC atomically and return how many samples had to be clipped.

    Full scale is 32768, as the challenge's reader divides by it; a sample of exactly 1.0 is stored as 32767.
    """
    _write(Path(path), _integers16(samples), sample_rate, "FLAC", "PCM_16")
    return int(np.count_nonzero(np.abs(samples) > 1.0))


def flac16_bytes(samples: NDArray[np.floating], sample_rate: int) -> bytes:
    """Return what `write_flac16` writes."""
    file = io.BytesIO()
    soundfile.write(file, _integers16(samples), sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def wav16_bytes(audio: Audio) -> bytes:
    """Return what `write_wav` writes with 16 bits."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio.samples, -1.0, 1.0), audio.sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _integers16(samples: NDArray[np.floating]) -> NDArray[np.int16]:
    return np.clip(np.rint(np.asarray(samples, dtype=np.float64) * 32768.0), -32768, 32767).astype(np.int16)


def read_scaled_flac(path: str | Path) -> Audio:
    """Read a FLAC and multiply it by the factor in the ``.txt`` of the same name, if there is one."""
    path = Path(path)
    audio = load_audio(path, sample_rate=None)
    scale_file = path.with_suffix(".txt")
    if not scale_file.exists():
        return audio
    try:
        scale = float(scale_file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError("scale file holds no number", where=scale_file, expected="the peak as text") from error
    if not (np.isfinite(scale) and scale >= 0):
        raise InputError("senseless scale", where=scale_file, expected="a finite number, 0 or more", found=scale)
    return Audio(audio.samples * np.float32(scale), audio.sample_rate, audio.name)


def write_stems(folder: str | Path, stems: Mapping[str, Audio], *, subtype: str = "FLOAT") -> None:
    """Write each stem as ``<folder>/<stem>.wav``."""
    for name, audio in stems.items():
        write_wav(Path(folder) / f"{name}.wav", audio, subtype=subtype)


def _read_whole(path: Path, stream_index: int = 0) -> tuple[NDArray[np.float32], int]:
    properties = file_properties(path, stream_index=stream_index)
    blocks = list(read_blocks(path, stream_index=stream_index))
    if not blocks:
        return np.zeros((0, properties.n_channels), dtype=np.float32), properties.sample_rate
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), properties.sample_rate


def write_float_wav(path: Path, samples: NDArray[np.floating], sample_rate: int) -> None:
    """Write a WAV of 32-bit floats to exactly this place, not atomically.

    libsndfile puts the time of writing into such a file: the same samples would give other bytes.
    """
    scipy.io.wavfile.write(path, sample_rate, samples)


def _write(path: Path, samples: NDArray[Any], sample_rate: int, container: str, subtype: str) -> None:
    with atomic_path(path) as temporary:
        try:
            if subtype == "FLOAT":
                write_float_wav(temporary, samples, sample_rate)
            else:
                soundfile.write(temporary, samples, sample_rate, format=container, subtype=subtype)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            # libsndfile hides the system's reason; a writable folder leaves a full disk as the likely one.
            likely = OSError(0, f"{reason(error)} (is the disk full?)")
            raise writing_failed(path, likely) from error
        if temporary.stat().st_size == 0:
            raise OutputError(f"{path}: cannot be written: nothing arrived on the disk (is it full?)")
