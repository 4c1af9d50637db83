"""Write the demo's song and its stems as arrays, for environments that cannot decode its AAC.

python evaluation/music.py build/music.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from cadenza_remix.audio.io import load_audio, load_stems
from cadenza_remix.demo import demo_song


def write_music(path: Path) -> None:
    """Write ``mixture, vocals, drums, bass, other``: float32, (n_samples, 2), 44.1 kHz."""
    song = demo_song()
    stems = {name: audio.samples for name, audio in load_stems(song.path).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, mixture=load_audio(song.path).samples, **stems)


if __name__ == "__main__":
    write_music(Path(sys.argv[1]))
