"""Audio files read block by block: what libsndfile and PyAV can decode, in memory that does not grow with the length.

libsndfile reads WAV, FLAC, OGG, MP3, AIFF and more; PyAV reads what it cannot: M4A and the five-stream ``.stem.mp4`` of
MUSDB18. No external program is needed. `cadenza_remix.audio.io` reads whole files by the same functions.
"""

from __future__ import annotations

import re
import stat
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from cadenza_remix.audio.blocks import Block, BlockSource
from cadenza_remix.audio.ogg import ends_whole
from cadenza_remix.errors import InputError

READABLE = "WAV, FLAC, MP3, OGG, M4A or MUSDB18 stem.mp4"
BLOCK_LENGTH = 1 << 18
"""How many samples are read at once: 6 s at 44.1 kHz, 2 MB in stereo."""
_AV_SUFFIXES = {".m4a", ".mp4", ".aac", ".m4b", ".mka", ".webm", ".wma"}
# A file's content, not its name, tells FFmpeg what it is: a playlist or a session description by another name would
# have it open other files and addresses.
_AV_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,aac,matroska,webm,asf"
_MIN_RATE, _MAX_RATE = 1000, 768_000
"""Sample rates in Hz of which music can be; a header with another one would be work without end."""
_EXACT_LENGTH = {"WAV", "WAVEX", "RF64", "FLAC", "AIFF"}
# What libsndfile notes of a chunk of samples that announces more bytes than the file has left.
_CUT_OFF = re.compile(r"^\s*(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)
# Programs that write to a pipe announce about 2 or 4 GB, as they cannot know the length; such a file is whole.
_LENGTH_OF_PIPES = 0x7FFF_0000
_BYTES_OF_SAMPLES = {
    **dict.fromkeys(("PCM_S8", "PCM_U8", "ULAW", "ALAW"), 1),
    "PCM_16": 2,
    "PCM_24": 3,
    **dict.fromkeys(("PCM_32", "FLOAT"), 4),
    "DOUBLE": 8,
}
# An AIFF's chunk begins with two numbers that are no samples.
_BYTES_BEFORE_SAMPLES = {"AIFF": 8}
# Some coders count the counting frame itself (1152 samples).
_MP3_TOLERANCE = 1152
_AHEAD = 4


@dataclass(frozen=True)
class FileProperties:
    """What a file says of itself: rate in Hz, channels, and about how long it is (None where it does not say)."""

    sample_rate: int
    n_channels: int
    duration_s: float | None


@dataclass(frozen=True)
class FileBlocks:
    """An audio file as a source of blocks at its own rate; mono is given as two equal channels.

    Parameters
    ----------
    path : Path
    properties : FileProperties
    stream_index : int
        Which of the audio streams of an MP4; the first one of a MUSDB18 ``.stem.mp4`` is the mixture.
    block_length : int
        In samples.
    """

    path: Path
    properties: FileProperties
    stream_index: int = 0
    block_length: int = BLOCK_LENGTH

    @classmethod
    def of(cls, path: str | Path, *, stream_index: int = 0, block_length: int = BLOCK_LENGTH) -> FileBlocks:
        """Look at a file without decoding it.

        Raises
        ------
        InputError
            Missing, unreadable or empty file, or more than two channels.
        """
        path = Path(path)
        properties = file_properties(path, stream_index=stream_index)
        if properties.n_channels not in (1, 2):
            raise InputError("wrong number of channels", where=path, expected="1 or 2", found=properties.n_channels)
        return cls(path, properties, stream_index, block_length)

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def sample_rate(self) -> int:
        return self.properties.sample_rate

    @property
    def n_channels(self) -> int:
        """Of the file; the blocks are stereo."""
        return self.properties.n_channels

    @property
    def duration_s(self) -> float | None:
        return self.properties.duration_s

    def blocks(self) -> Iterator[Block]:
        position = 0
        for block in read_blocks(self.path, stream_index=self.stream_index, block_length=self.block_length):
            if not np.isfinite(block).all():
                first = position + int(np.argwhere(~np.isfinite(block))[0][0])
                found = f"NaN or infinity at sample {first}"
                raise InputError("samples are not finite", where=self.path, expected="finite numbers", found=found)
            position += len(block)
            yield block if block.shape[1] == 2 else np.repeat(block, 2, axis=1)
        if position == 0:
            raise InputError("holds no samples", where=self.path, expected="at least one sample", found="length zero")


@dataclass
class CountedBlocks:
    """A source of blocks that knows its exact length once it was read to the end."""

    source: BlockSource
    n_samples: int | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def sample_rate(self) -> int:
        return self.source.sample_rate

    @property
    def duration_s(self) -> float | None:
        return self.source.duration_s

    def blocks(self) -> Iterator[Block]:
        n_samples = 0
        for block in self.source.blocks():
            n_samples += len(block)
            yield block
        self.n_samples = n_samples


@dataclass(frozen=True)
class AheadBlocks:
    """A source of blocks that a thread of its own reads a few blocks ahead, while others compute."""

    source: BlockSource
    n_blocks: int = _AHEAD

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def sample_rate(self) -> int:
        return self.source.sample_rate

    @property
    def duration_s(self) -> float | None:
        return self.source.duration_s

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks of the source; what goes wrong in the thread is raised here, after the blocks before it."""
        free = threading.Semaphore(self.n_blocks)
        ready: SimpleQueue[Block | BaseException | None] = SimpleQueue()
        abandoned = threading.Event()

        def read() -> None:
            try:
                for block in self.source.blocks():
                    free.acquire()
                    if abandoned.is_set():
                        return
                    ready.put(block)
                ready.put(None)
            except BaseException as error:  # raised again by the one who waits for the block
                ready.put(error)

        thread = threading.Thread(target=read, name=f"reading {self.name}", daemon=True)
        thread.start()
        try:
            while (block := ready.get()) is not None:
                if isinstance(block, BaseException):
                    raise block
                free.release()
                yield block
        finally:
            abandoned.set()
            free.release()
            thread.join()


def in_blocks_of(blocks: Iterable[NDArray[np.float32]], block_length: int) -> Iterator[NDArray[np.float32]]:
    """Yield the same samples in blocks of one length, the last one perhaps shorter."""
    waiting: list[NDArray[np.float32]] = []
    n_waiting = 0
    for block in blocks:
        while n_waiting + len(block) >= block_length:
            n_taken = block_length - n_waiting
            yield np.concatenate([*waiting, block[:n_taken]]) if waiting else block[:n_taken]
            waiting, n_waiting, block = [], 0, block[n_taken:]
        if len(block):
            waiting.append(block)
            n_waiting += len(block)
    if waiting:
        yield np.concatenate(waiting)


def check_file(path: Path) -> None:
    """Refuse what cannot be an audio file before a decoder sees it: missing, no plain file, empty, no permission."""
    if any("\ud800" <= letter <= "\udfff" for letter in str(path)):
        raise InputError("name is not UTF-8", where=ascii(str(path)), expected="a name that can be written in Unicode")
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError("is a folder", where=path, expected="an audio file")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise InputError("is no plain file", where=path, expected="an audio file", found="a pipe or a device")
        with path.open("rb"):
            pass
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError("file is missing", where=path, expected=f"an audio file ({READABLE})") from error
    except OSError as error:
        raise InputError("cannot be read", where=path, expected="an audio file", found=error.strerror) from error
    if status.st_size == 0:
        raise InputError("file is empty", where=path, expected=f"an audio file ({READABLE})", found="0 bytes")


def file_properties(path: Path, *, stream_index: int = 0) -> FileProperties:
    """Return what a file says of itself, without decoding it.

    Raises
    ------
    InputError
        It cannot be read as audio, or its sample rate is none.
    """
    check_file(path)
    properties = _properties(path, stream_index)
    if not _MIN_RATE <= properties.sample_rate <= _MAX_RATE:
        expected = f"{_MIN_RATE} to {_MAX_RATE} Hz"
        raise InputError("senseless sample rate", where=path, expected=expected, found=properties.sample_rate)
    return properties


def _properties(path: Path, stream_index: int) -> FileProperties:
    if not is_av(path):
        try:
            info = soundfile.info(path)
        except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
            raise unreadable(path, error) from error
        return FileProperties(info.samplerate, info.channels, float(info.duration))
    import av

    try:
        with open_av(path) as container:
            codec = av_stream(container, path, stream_index).codec_context
            duration_s = container.duration / av.time_base if container.duration else None
            return FileProperties(codec.sample_rate, codec.channels, duration_s)
    except InputError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        raise unreadable(path, error) from error


def read_blocks(path: Path, *, stream_index: int = 0, block_length: int | None = None) -> Iterator[NDArray[np.float32]]:
    """Decode a file at its own rate: blocks of shape (n_samples, n_channels), full scale 1.

    Parameters
    ----------
    path : Path
    stream_index : int
        Which of the audio streams of an MP4.
    block_length : int, optional
        In samples; without it the blocks are as large as the decoder likes, which is the whole file with libsndfile.

    Raises
    ------
    InputError
        It cannot be read as audio, or is cut off.
    """
    check_file(path)
    if not is_av(path):
        return _soundfile_blocks(path, -1 if block_length is None else block_length)
    blocks = _av_blocks(path, stream_index)
    return blocks if block_length is None else in_blocks_of(blocks, block_length)


def _soundfile_blocks(path: Path, block_length: int) -> Iterator[NDArray[np.float32]]:
    position = 0
    try:
        with soundfile.SoundFile(path) as file:
            announced, tolerance = announced_samples(file, path)
            if file.format == "OGG" and not ends_whole(path):
                raise InputError("file is cut off", where=path, expected="a last page that ends the stream")
            while True:
                block = file.read(block_length, dtype="float32", always_2d=True)
                position += len(block)
                if len(block):
                    yield block
                if block_length < 0 or len(block) < block_length:
                    break
    except InputError:
        raise
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise unreadable(path, error) from error
    if position < announced - tolerance:
        raise InputError("file is cut off", where=path, expected=f"{announced} samples", found=position)


def announced_samples(file: soundfile.SoundFile, path: Path) -> tuple[int, int]:
    """Return how many samples a file must hold to be whole, and how many may lack.

    0 where its format does not say so for certain.
    """
    if file.format == "MP3" and _mp3_says_its_length(path):
        return int(file.frames), _MP3_TOLERANCE
    if file.format not in _EXACT_LENGTH:
        return 0, 0
    cut_off = _CUT_OFF.search(file.extra_info)
    if cut_off is None:
        return int(file.frames), 0
    announced_bytes, found_bytes = int(cut_off[1]), int(cut_off[2])
    if announced_bytes >= _LENGTH_OF_PIPES or found_bytes <= 0:
        return int(file.frames), 0
    if file.subtype not in _BYTES_OF_SAMPLES:
        return int(file.frames * announced_bytes / found_bytes), 0
    n_bytes = announced_bytes - _BYTES_BEFORE_SAMPLES.get(file.format, 0)
    return n_bytes // (file.channels * _BYTES_OF_SAMPLES[file.subtype]), 0


def _mp3_says_its_length(path: Path) -> bool:
    """Tell whether the first frame is the one (Xing's) that counts all; otherwise the length is an estimate."""
    with path.open("rb") as file:
        begin = 0
        while (head := file.read(10))[:3] == b"ID3" and len(head) == 10:
            n_bytes = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
            begin += 10 + n_bytes + (10 if head[5] & 0x10 else 0)  # some end as they begin
            file.seek(begin)
        frame = head + file.read(64)
    if len(frame) < 64 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return False
    is_mpeg1, is_mono = frame[1] & 0x18 == 0x18, frame[3] & 0xC0 == 0xC0
    tag = 4 + (17 if is_mpeg1 == is_mono else 32 if is_mpeg1 else 9)  # after the header and the side information
    return frame[tag : tag + 4] in (b"Xing", b"Info") and bool(frame[tag + 7] & 1)


def _av_blocks(path: Path, stream_index: int) -> Iterator[NDArray[np.float32]]:
    import av

    empty = True
    try:
        with open_av(path) as container:
            stream = av_stream(container, path, stream_index)
            n_channels, rate = stream.codec_context.channels, stream.codec_context.sample_rate
            for frame in container.decode(stream):
                if (frame.layout.nb_channels, frame.sample_rate) != (n_channels, rate):
                    found = f"{frame.layout.nb_channels} at {frame.sample_rate} Hz"
                    expected = f"{n_channels} channels at {rate} Hz as it begins"
                    raise InputError("changes on its way", where=path, expected=expected, found=found)
                empty = False
                yield as_float(frame, n_channels)
    except InputError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if empty:
        raise InputError("holds no audio", where=path, expected="at least one sample")


def open_av(path: Path) -> Any:
    """Open a file with PyAV: as one of the formats of `is_av`, and nothing but this file."""
    import av

    return av.open(f"file:{path}", options={"format_whitelist": _AV_FORMATS, "protocol_whitelist": "file"})


def av_stream(container: Any, path: Path, stream_index: int) -> Any:
    streams = container.streams.audio
    if len(streams) <= stream_index:
        raise InputError(
            "too few audio streams", where=path, expected=f"at least {stream_index + 1}", found=len(streams)
        )
    return streams[stream_index]


def is_av(path: Path) -> bool:
    return path.suffix.lower() in _AV_SUFFIXES


def as_float(frame: Any, n_channels: int) -> NDArray[np.float32]:
    """Turn a decoded frame, planar or packed, integer or float, into (n_samples, n_channels) of full scale 1."""
    array = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, n_channels)
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128.0) / 128.0
    return array.astype(np.float32) / np.float32(-float(np.iinfo(array.dtype).min))


def unreadable(path: Path, error: BaseException) -> InputError:
    found = reason(error).removeprefix("Error : ")
    if "does not exist" in found:  # what libsndfile says of an MP3 without a frame; `check_file` has seen the file
        found = "nothing that can be decoded"
    return InputError("cannot be read as audio", where=path, expected=READABLE, found=found)


def reason(error: BaseException) -> str:
    """Return what a library or the system says of an error, as part of a line."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).strip().rstrip(".")
