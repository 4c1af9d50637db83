"""A separator without a model: a quarter of the song is the vocals, the rest is the accompaniment."""

import sys
import time

import numpy as np

from cadenza_remix.separation.separator import check_source_rate, separate_whole


class QuarterSeparator:
    """Gives blocks of the lengths asked for, over and over; counts the songs, and can be made to hang or to fail.

    ``gains``: of the stems, by name. ``hang_at``: the number of the song (from 1) in which it says "hanging" and waits
    for ever after its third block.
    """

    def __init__(self, *, lengths=(5000, 1, 777), gains=None, rate=44100, fingerprint="1", hang_at=None):
        self.gains = gains or {"vocals": 0.25, "accompaniment": 0.75}
        self.stems = tuple(self.gains)
        self.name, self.sample_rate, self.fingerprint = "test:quarter", rate, fingerprint
        self.lengths, self.hang_at, self.n_songs = lengths, hang_at, 0

    def separate(self, audio, *, progress=None):
        return separate_whole(self, audio, progress=progress)

    def separate_blocks(self, source, *, progress=None):
        check_source_rate(source, self.sample_rate)
        self.n_songs += 1
        waiting = np.zeros((0, 2), dtype=np.float32)
        n_given = 0
        for block in source.blocks():
            waiting = np.concatenate([waiting, block])
            while len(waiting) >= (length := self.lengths[n_given % len(self.lengths)]):
                yield self._split(waiting[:length])
                waiting = waiting[length:]
                n_given += 1
                if n_given == 3 and self.n_songs == self.hang_at:
                    print("hanging", flush=True)
                    time.sleep(1000)
            if progress is not None:
                progress(0.5)
        if len(waiting):
            yield self._split(waiting)
        if progress is not None:
            progress(1.0)

    def _split(self, block):
        return {stem: block * np.float32(gain) for stem, gain in self.gains.items()}


def main(out, hang_at, songs):
    """Separate songs in a process of its own."""
    from pathlib import Path

    from cadenza_remix.runs.inputs import collect_songs
    from cadenza_remix.runs.separating import separate_songs

    separator = QuarterSeparator(hang_at=int(hang_at))
    report = separate_songs(collect_songs(songs, out=Path(out)), separator, out=Path(out))
    print(report.n_made, report.n_found, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
