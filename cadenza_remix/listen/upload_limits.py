"""What visitors who bring a song may ask of the server."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE
from cadenza_remix.listen.sandbox import ProcessLimits

BYTES_PER_S = 2 * 4 * MUSIC_SAMPLE_RATE
"""Of a stereo file of floats."""


@dataclass(frozen=True)
class UploadLimits:
    """What visitors may ask of the server.

    Parameters
    ----------
    max_bytes : float
        Of a file that is sent.
    max_song_s : float
        Of the song in it.
    max_waiting : int
        Songs that are being received, wait, or are worked on.
    max_kept : int
        Finished songs; the oldest goes first.
    keep_s : float
        How long a finished song is kept.
    max_disk_bytes : float
        All songs together.
    receive_s, idle_s : float
        How long sending a file may take, and from one piece to the next.
    decode_bytes, demix_bytes : int
        Memory of the workers: all that the decoder maps, and what the demixer can write to.
    demix_s_per_s : float
        A song of a second may take so long to demix, and two minutes more.
    """

    max_bytes: float = 100e6
    max_song_s: float = 600.0
    max_waiting: int = 4
    max_kept: int = 20
    keep_s: float = 6 * 3600.0
    max_disk_bytes: float = 10e9
    receive_s: float = 600.0
    idle_s: float = 30.0
    decode_bytes: int = 1_500_000_000
    demix_bytes: int = 6_000_000_000
    demix_s_per_s: float = 10.0

    def decoding(self) -> ProcessLimits:
        """Return the limits of a process that decodes."""
        file_bytes = int((self.max_song_s + 10) * BYTES_PER_S)
        return ProcessLimits(file_bytes, cpu_s=120, wall_s=180.0, address_space_bytes=self.decode_bytes)

    def demixing(self, duration_s: float) -> ProcessLimits:
        """Return the limits of a process that demixes a song of this length."""
        wall_s = 120 + self.demix_s_per_s * duration_s
        cpu_s = int(wall_s * (os.cpu_count() or 1))
        file_bytes = int((duration_s + 10) * BYTES_PER_S)
        return ProcessLimits(file_bytes, cpu_s=cpu_s, wall_s=wall_s, data_bytes=self.demix_bytes, n_files=1024)
