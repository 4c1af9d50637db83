"""Demix a song once, keep its stems, and take them from there ever after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cadenza_remix.audio.io import load_audio, load_stems, write_stems
from cadenza_remix.audio.signal import STEMS, Audio
from cadenza_remix.errors import InputError
from cadenza_remix.runs.records import Record, digest, file_digest, file_sizes, finished
from cadenza_remix.runs.songs import SongFile
from cadenza_remix.separation.separator import Separator

DEMIX_VERSION = 1
"""Part of every key: raise it when the same settings give other stems."""


@dataclass
class Demixer:
    """Gives the stems of a song, from the cache folder where they are, by the separator where they are not.

    ``separator``: built only when the first song is not in the cache; ``fingerprint``: identifies model, weights and
    settings; ``folder``: the cache, one folder per song.
    """

    build: Callable[[], Separator]
    separator_name: str
    fingerprint: str
    folder: Path
    _separator: Separator | None = field(default=None, repr=False)

    def key(self, song: SongFile) -> str:
        """Return the digest over the song's bytes and everything that the stems depend on."""
        return digest("demix", DEMIX_VERSION, file_digest(song.path), self.separator_name, self.fingerprint)

    def stems(self, song: SongFile, *, on_progress: Callable[[float], None] | None = None) -> Mapping[str, Audio]:
        """Return vocals, drums, bass and other of a song, stereo at 44.1 kHz; demix it if need be.

        Raises
        ------
        InputError
            The song cannot be read, or the separator does not give these four stems.
        """
        key = self.key(song)
        folder, record_path = self.folder / song.name, self.folder / song.name / "record.json"
        if finished(record_path, key, folder) is None:
            audio = load_audio(song.path).stereo()
            record_path.unlink(missing_ok=True)
            stems = self._vdbo(audio, on_progress)
            write_stems(folder, stems)
            settings = {"separator": self.separator_name, "fingerprint": self.fingerprint, "version": DEMIX_VERSION}
            files = file_sizes([folder / f"{stem}.wav" for stem in STEMS], folder)
            Record(f"demix {song.name}", key, settings, files, {"duration_s": audio.duration_s}).write(record_path)
        return load_stems(folder)

    def _vdbo(self, audio: Audio, on_progress: Callable[[float], None] | None) -> Mapping[str, Audio]:
        from cadenza_remix.separation.stems import to_vdbo

        if self._separator is None:
            self._separator = self.build()
        stems = to_vdbo(self._separator.separate(audio, progress=on_progress))
        missing = [stem for stem in STEMS if stem not in stems]
        if missing:
            raise InputError("separator does not give all stems", where=self.separator_name, expected=", ".join(STEMS))
        return {stem: stems[stem] for stem in STEMS}
