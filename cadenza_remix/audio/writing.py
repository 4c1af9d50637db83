"""Audio files written block by block: WAV, FLAC, MP3 and OGG; the same samples give the same bytes, run after run.

WAV is written here: libsndfile would put the time of writing into float files, and a file beyond 4 GB needs another
header (RF64, EBU Tech 3306) for which the room is kept from the beginning. FLAC, MP3 and OGG are libsndfile's; from OGG
the random number by which a stream is told from others in one file is taken out again.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Protocol, TypeVar

import numpy as np
import soundfile
from numpy.typing import NDArray

from cadenza_remix.audio.ogg import with_fixed_serial
from cadenza_remix.audio.reading import reason
from cadenza_remix.errors import InputError, OutputError, unknown_name

Item = TypeVar("Item")

FORMATS: dict[str, tuple[str, ...]] = {"wav": ("16", "24", "32f"), "flac": ("16", "24"), "mp3": (), "ogg": ()}
"""What can be written, and in which bits; the coded ones have none."""
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_MAX_RATES = {"flac": 655_350, "ogg": 192_000}
_SUBTYPES = {"mp3": "MPEG_LAYER_III", "ogg": "VORBIS"}
_RIFF_LIMIT = 0xFFFF_FFFF
_BEHIND = 4


@dataclass(frozen=True)
class OutputFormat:
    """How samples are stored.

    Parameters
    ----------
    name : str
        ``wav``, ``flac``, ``mp3`` or ``ogg`` (Vorbis); the coded ones at the quality that libsndfile chooses.
    bits : str, optional
        ``16`` or ``24`` (whole numbers, full scale 32768 or 8388608), or ``32f`` (float, WAV only); 16 by default.

    Raises
    ------
    InputError
        An unknown format, or bits that it does not have.
    """

    name: str = "wav"
    bits: str | None = None

    def __post_init__(self) -> None:
        if self.name not in FORMATS:
            raise unknown_name("format", self.name, FORMATS)
        known = FORMATS[self.name]
        if self.bits is None and known:
            object.__setattr__(self, "bits", known[0])
        elif self.bits is not None and self.bits not in known:
            expected = ", ".join(known) if known else "no bits (it is a coded format)"
            raise InputError("impossible number of bits", where=self.name, expected=expected, found=self.bits)

    @property
    def keeps_overs(self) -> bool:
        """Whether samples beyond full scale can be stored."""
        return self.bits == "32f"

    def check_rate(self, sample_rate: int, *, where: str | Path | None = None) -> None:
        """Refuse a sample rate that the format does not have."""
        if self.name == "mp3" and sample_rate not in _MP3_RATES:
            expected = ", ".join(map(str, _MP3_RATES)) + " Hz"
        elif sample_rate > _MAX_RATES.get(self.name, sample_rate):
            expected = f"at most {_MAX_RATES[self.name]} Hz"
        else:
            return
        raise InputError(
            f"{self.name} does not have this sample rate", where=where, expected=expected, found=sample_rate
        )


class BlockWriter(Protocol):
    """Takes float32 blocks of shape (n_samples, n_channels), full scale 1.0; the file is whole after the with-block.

    What lies beyond full scale is clipped, except by ``32f``.
    """

    def write(self, samples: NDArray[np.float32]) -> None: ...
    def __enter__(self) -> BlockWriter: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_writer(path: Path, output: OutputFormat, *, sample_rate: int, n_channels: int) -> BlockWriter:
    """Begin a file; write it under a temporary name (`cadenza_remix.atomic`), for it is broken until it is closed.

    Raises
    ------
    OSError
        The system's reason why it cannot be written, here and by every ``write``.
    """
    if output.name == "wav":
        assert output.bits is not None
        return WavWriter(path, bits=output.bits, sample_rate=sample_rate, n_channels=n_channels)
    return _CodedWriter(path, output, sample_rate, n_channels)


class WavWriter:
    """A WAV of 16, 24 or 32f bits; one that outgrows 4 GB becomes an RF64 file."""

    def __init__(self, path: Path, *, bits: str, sample_rate: int, n_channels: int) -> None:
        self._bits, self._sample_rate, self._n_channels = bits, sample_rate, n_channels
        self._n_bytes = 0
        self._file = path.open("wb")
        self._file.write(self._header())

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                if self._n_bytes % 2:
                    self._file.write(b"\0")
                self._file.seek(0)
                self._file.write(self._header())

    def write(self, samples: NDArray[np.float32]) -> None:
        if self._bits == "32f":
            data = np.ascontiguousarray(samples, dtype="<f4").tobytes()
        elif self._bits == "16":
            data = to_integers(samples, 16).astype("<i2").tobytes()
        else:  # the lower three of four bytes
            whole = np.ascontiguousarray(to_integers(samples, 24).astype("<i4"))
            data = whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        self._file.write(data)
        self._n_bytes += len(data)

    def _header(self) -> bytes:
        is_float = self._bits == "32f"
        n_bits = int(self._bits.removesuffix("f"))
        frame = self._n_channels * n_bits // 8
        fmt = struct.pack(
            "<HHIIHH",
            3 if is_float else 1,
            self._n_channels,
            self._sample_rate,
            self._sample_rate * frame,
            frame,
            n_bits,
        )
        n_samples = self._n_bytes // frame
        # Formats other than whole numbers must say that they have no extension, and how many samples there are.
        extra = _chunk(b"fact", struct.pack("<I", min(n_samples, _RIFF_LIMIT))) if is_float else b""
        body = _chunk(b"fmt ", fmt + b"\0\0" if is_float else fmt) + extra
        riff_size = 4 + 36 + len(body) + 8 + self._n_bytes + self._n_bytes % 2
        if riff_size <= _RIFF_LIMIT:
            name, sizes, data_size = b"RIFF", _chunk(b"JUNK", bytes(28)), self._n_bytes
        else:
            name, sizes = b"RF64", _chunk(b"ds64", struct.pack("<QQQI", riff_size, self._n_bytes, n_samples, 0))
            riff_size = data_size = 0xFFFF_FFFF
        return name + struct.pack("<I", riff_size) + b"WAVE" + sizes + body + b"data" + struct.pack("<I", data_size)


def to_integers(samples: NDArray[np.float32], bits: int) -> NDArray[np.int32]:
    """Round to whole numbers of full scale ``2 ** (bits - 1)``, clipping: a file that is read comes back unchanged."""
    full_scale = float(1 << (bits - 1))
    # A float32 has 24 bits: times a power of two it stays exact.
    return np.clip(np.rint(samples * np.float32(full_scale)), -full_scale, full_scale - 1).astype(np.int32)


class _CodedWriter:
    """FLAC, MP3 or OGG by libsndfile, which writes through a file of ours: it hides why the system refused a write."""

    def __init__(self, path: Path, output: OutputFormat, sample_rate: int, n_channels: int) -> None:
        self._bits = int(output.bits) if output.bits else None
        subtype = _SUBTYPES.get(output.name) or f"PCM_{self._bits}"
        self._file = _ToldFile(path.open("wb"), is_ogg=output.name == "ogg")
        try:
            self._sound = soundfile.SoundFile(
                self._file, "w", sample_rate, n_channels, subtype, format=output.name.upper()
            )
        except BaseException as error:
            self._file.file.close()
            if isinstance(error, soundfile.LibsndfileError):
                raise self._failed(error) from error
            raise

    def __enter__(self) -> _CodedWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file.file:
            if kind is not None:
                with suppress(soundfile.LibsndfileError, RuntimeError, AssertionError):
                    self._sound.close()
                return
            try:
                self._sound.close()
            except (soundfile.LibsndfileError, RuntimeError) as failure:
                raise self._failed(failure) from failure
            self._file.raise_error()

    def write(self, samples: NDArray[np.float32]) -> None:
        if self._bits is None:
            data: NDArray[np.float32] | NDArray[np.int32] = np.clip(samples, -1.0, 1.0)
        else:  # libsndfile takes the upper bits of its 32
            data = to_integers(samples, self._bits) << (32 - self._bits)
        try:
            self._sound.write(data)
        except (soundfile.LibsndfileError, RuntimeError, AssertionError) as failure:
            raise self._failed(failure) from failure
        self._file.raise_error()

    def _failed(self, failure: BaseException) -> OSError:
        return self._file.error or OutputError(f"{self._file.file.name}: cannot be written: {reason(failure)}")


class _ToldFile:
    """A file that libsndfile writes, which keeps the error that would be lost on the way through it."""

    def __init__(self, file: IO[bytes], *, is_ogg: bool) -> None:
        self.file = file
        self.error: OSError | None = None
        self._is_ogg = is_ogg

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(with_fixed_serial(data) if self._is_ogg else data)
        except OSError as error:
            self.error = self.error or error
            return 0

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self.file.seek(offset, whence)
        except OSError as error:  # what waits in the buffer is written now
            self.error = self.error or error
            return -1

    def tell(self) -> int:
        return self.file.tell()

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error


@contextmanager
def written_behind(
    write_all: Callable[[Iterator[Item]], None], *, n_blocks: int = _BEHIND
) -> Iterator[Callable[[Item], None]]:
    """Give a function that hands blocks to a thread of its own, in which ``write_all`` takes them one after another.

    At most ``n_blocks`` wait; more make the giver wait. What goes wrong in the thread is raised to the giver. The end
    of the with-block waits for the thread; an error that leaves the block makes the thread stop where it is.
    """
    free = threading.Semaphore(n_blocks)
    given: SimpleQueue[tuple[Item] | None] = SimpleQueue()
    stop = threading.Event()
    errors: list[BaseException] = []

    def blocks() -> Iterator[Item]:
        while (block := given.get()) is not None and not stop.is_set():
            free.release()
            yield block[0]
        if stop.is_set():
            raise _Abandoned

    def work() -> None:
        try:
            write_all(blocks())
        except BaseException as error:  # raised again by the one who gives the blocks
            errors.append(error)
        finally:
            free.release()

    def give(block: Item) -> None:
        free.acquire()
        if errors:
            free.release()
            raise errors[0]
        given.put((block,))

    thread = threading.Thread(target=work, name="writing", daemon=True)
    thread.start()
    try:
        yield give
        given.put(None)
        thread.join()
    except BaseException:
        stop.set()
        given.put(None)
        thread.join()
        raise
    if errors:
        raise errors[0]


class _Abandoned(BaseException):
    """Ends the writing thread; nobody sees it."""


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data
