"""Demix a song once, keep its stems, and take them from there ever after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cadenza_remix.atomic import all_at_once
from cadenza_remix.audio.io import load_audio, load_stems, write_float_wav
from cadenza_remix.audio.signal import STEMS, Audio
from cadenza_remix.errors import InputError
from cadenza_remix.runs.records import Record, digest, file_digest, file_sizes, finished
from cadenza_remix.runs.songs import SongFile
from cadenza_remix.separation.separator import Separator, device_of
from cadenza_remix.separation.stems import has_vdbo, to_vdbo

DEMIX_VERSION = 1
"""Part of every key: raise it when the same settings give other stems."""


@dataclass(frozen=True)
class KeptStems:
    """Where the stems of songs are kept, and which of them are those of a certain separator.

    ``folder``: holds one folder per song, with four WAVs (float) and their record. Needs no separator, only what tells
    one from another: its name and fingerprint.
    """

    folder: Path
    separator_name: str
    fingerprint: str

    def key(self, song: SongFile) -> str:
        """Return the digest over the song's bytes and everything else that the stems depend on."""
        try:
            audio = file_digest(song.path)
        except OSError as error:
            raise InputError("cannot be read", where=song.path, found=error.strerror) from error
        return digest("demix", DEMIX_VERSION, audio, self.separator_name, self.fingerprint)

    def folder_of(self, song: SongFile) -> Path:
        return self.folder / song.name

    def record_path(self, song: SongFile) -> Path:
        return self.folder_of(song) / "record.json"

    def has(self, song: SongFile, key: str) -> bool:
        """Tell whether the stems that a key stands for are there, whole."""
        return finished(self.record_path(song), key, self.folder_of(song)) is not None

    def load(self, song: SongFile) -> Mapping[str, Audio]:
        """Return vocals, drums, bass and other, stereo at 44.1 kHz."""
        return load_stems(self.folder_of(song))


@dataclass(frozen=True)
class Demixer:
    """Gives the stems of a song: from the folder where they are kept, or by the separator where they are not."""

    separator: Separator
    folder: Path

    def __post_init__(self) -> None:
        if not has_vdbo(self.separator.stems):
            raise InputError(
                "does not separate into the four stems that a remix needs",
                where=self.separator.name,
                expected=", ".join(STEMS),
                found=", ".join(self.separator.stems),
            )

    @property
    def kept(self) -> KeptStems:
        return KeptStems(self.folder, self.separator.name, self.separator.fingerprint)

    def key(self, song: SongFile) -> str:
        """Return the key of a song's stems; see `KeptStems.key`."""
        return self.kept.key(song)

    def stems(
        self,
        song: SongFile,
        *,
        on_progress: Callable[[float], None] | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> Mapping[str, Audio]:
        """Return vocals, drums, bass and other of a song, stereo at 44.1 kHz; demix it if need be.

        ``on_progress`` is told the share of the separation that is done, ``notify`` on which device it runs.

        Raises
        ------
        InputError
            The song cannot be read, or the separator does not give these four stems.
        """
        self.demix(song, on_progress=on_progress, notify=notify)
        return self.kept.load(song)

    def demix(
        self,
        song: SongFile,
        *,
        on_progress: Callable[[float], None] | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        """Demix a song and keep its stems, unless they are there; see `stems`."""
        kept = self.kept
        key, folder, record_path = kept.key(song), kept.folder_of(song), kept.record_path(song)
        if kept.has(song, key):
            return
        audio = load_audio(song.path, sample_rate=self.separator.sample_rate)
        if notify is not None:
            notify(f"Demixing {song.name}: {self.separator.name}, {device_of(self.separator)}")
        stems = to_vdbo(self.separator.separate(audio, progress=on_progress))
        if kept.has(song, key):  # another process was faster: what others may be reading stays
            return
        made = [folder / f"{stem}.wav" for stem in STEMS]
        with all_at_once(made) as temporaries:
            for stem, temporary in zip(STEMS, temporaries, strict=True):
                write_float_wav(temporary, stems[stem].samples, stems[stem].sample_rate)
            if not kept.has(song, key):  # nobody else has made them in the meantime: what lies there is something else
                record_path.unlink(missing_ok=True)
        settings = {
            "separator": self.separator.name,
            "fingerprint": self.separator.fingerprint,
            "version": DEMIX_VERSION,
        }
        files = file_sizes(made, folder)
        Record(f"demix {song.name}", key, settings, files, {"duration_s": audio.duration_s}).write(record_path)
