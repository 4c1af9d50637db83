"""Demix a song once, keep its stems, and take them from there ever after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cadenza_remix.atomic import all_or_none
from cadenza_remix.audio.io import load_audio, load_stems, write_stems
from cadenza_remix.audio.signal import STEMS, Audio
from cadenza_remix.errors import InputError
from cadenza_remix.runs.records import Record, digest, file_digest, file_sizes, finished
from cadenza_remix.runs.songs import SongFile
from cadenza_remix.separation.separator import Separator, device_of
from cadenza_remix.separation.stems import has_vdbo, to_vdbo

DEMIX_VERSION = 1
"""Part of every key: raise it when the same settings give other stems."""


@dataclass(frozen=True)
class Demixer:
    """Gives the stems of a song: from the folder where they are kept, or by the separator where they are not.

    ``folder``: holds one folder per song, with four WAVs (float) and their record.
    """

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

    def key(self, song: SongFile) -> str:
        """Return the digest over the song's bytes and everything else that the stems depend on."""
        try:
            audio = file_digest(song.path)
        except OSError as error:
            raise InputError("cannot be read", where=song.path, found=error.strerror) from error
        return digest("demix", DEMIX_VERSION, audio, self.separator.name, self.separator.fingerprint)

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
        key = self.key(song)
        folder = self.folder / song.name
        record_path = folder / "record.json"
        if finished(record_path, key, folder) is None:
            audio = load_audio(song.path, sample_rate=self.separator.sample_rate)
            if notify is not None:
                notify(f"Demixing {song.name}: {self.separator.name}, {device_of(self.separator)}")
            record_path.unlink(missing_ok=True)
            stems = to_vdbo(self.separator.separate(audio, progress=on_progress))
            made = [folder / f"{stem}.wav" for stem in STEMS]
            with all_or_none(made):
                write_stems(folder, stems)
            settings = {
                "separator": self.separator.name,
                "fingerprint": self.separator.fingerprint,
                "version": DEMIX_VERSION,
            }
            files = file_sizes(made, folder)
            Record(f"demix {song.name}", key, settings, files, {"duration_s": audio.duration_s}).write(record_path)
        return load_stems(folder)
