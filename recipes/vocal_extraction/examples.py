"""Short audio examples of each row of the table: small OGG files in mono."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scoring import STEMS, HeldOutSong, Samples, loudest, separate

from cadenza_remix.atomic import atomic_path
from cadenza_remix.audio.resample import resample_samples
from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE
from cadenza_remix.audio.writing import OutputFormat, open_writer
from cadenza_remix.separation.trained.separator import TrainedSeparator

#: Half of it is what the networks see and more.
RATE = 24_000
_FADE_S = 0.01


def write_examples(
    folder: Path, song: HeldOutSong, separators: Mapping[str, TrainedSeparator], *, seconds: float
) -> list[Path]:
    """Write the mixture, the true stems and what each separator makes of them, all with one gain.

    Parameters
    ----------
    folder : Path
        Gets ``mixture.ogg``, ``true_<stem>.ogg`` and ``<label>_<stem>.ogg``.
    song : HeldOutSong
        The loudest passage of its vocals is taken.
    separators : mapping of str to TrainedSeparator
    seconds : float
        Of the examples.

    Returns
    -------
    list of Path
    """
    part = loudest(song.references["vocals"], round(seconds * MUSIC_SAMPLE_RATE), every=MUSIC_SAMPLE_RATE // 2)
    sounds = {"mixture": song.mixture, **{f"true_{stem}": song.references[stem] for stem in STEMS}}
    for label, separator in separators.items():
        name = file_name(label)
        sounds |= {f"{name}_{stem}": samples for stem, samples in separate(separator, song).items()}
    mono = {name: np.ascontiguousarray(samples[part].mean(axis=1, keepdims=True)) for name, samples in sounds.items()}
    peak = max(float(np.abs(samples).max()) for samples in mono.values())
    return [_write(folder / f"{name}.ogg", samples * (0.9 / max(peak, 1e-9))) for name, samples in mono.items()]


def file_name(label: str) -> str:
    """Return a row's label as part of a file's name: ``ibm-cnn-hard-mask``."""
    return label.replace(", ", "-").replace(" ", "-")


def _write(path: Path, samples: Samples) -> Path:
    sound = resample_samples(samples, MUSIC_SAMPLE_RATE, RATE).astype(np.float32)
    n_fade = min(round(_FADE_S * RATE), len(sound) // 2)
    ramp = np.linspace(0.0, 1.0, n_fade, dtype=np.float32)[:, np.newaxis]
    sound[:n_fade] *= ramp
    sound[len(sound) - n_fade :] *= ramp[::-1]
    with (
        atomic_path(path) as temporary,
        open_writer(temporary, OutputFormat("ogg"), sample_rate=RATE, n_channels=1) as writer,
    ):
        writer.write(sound)
    return path
