"""The simple hearing-loss simulation beside pyclarity's MSBG: what each leaves of a song's octaves, in dB.

.venv/bin/python evaluation/loss_simulation.py SONG > evaluation/results/loss_simulation.md

Needs the extra ``clarity``. SONG is brought to 65 dB SPL in the left ear.
"""

from __future__ import annotations

import sys
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.io import load_audio
from cadenza_remix.audio.signal import Audio
from cadenza_remix.hearing.audiogram import Listener, load_listeners
from cadenza_remix.hearing.loss_simulation import FULL_SCALE_DB_SPL, hear_as, normal_threshold_db_spl
from cadenza_remix.units import db_to_lin, rms

LISTENERS = ("N1", "N2", "N3", "S1")
OCTAVES_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)
SIMULATORS = ("simple", "msbg")
PRESENTATION_DB_SPL = 65.0
HEAD = """\
# Two hearing-loss simulations beside each other

The change of each octave of a song (left ear, 65 dB SPL), in dB, as `evaluation/loss_simulation.py` measures it on the
demo's mixture ({duration_s:.0f} s) with standard audiograms of Bisgaard et al. (2010). `simple`:
ours. `msbg`: pyclarity {clarity}.

```
.venv/bin/cadenza-remix demo --out out/demo
.venv/bin/python evaluation/loss_simulation.py "out/demo/references/The Easton Ellises - Falcon 69/mixture.wav" \\
    > evaluation/results/loss_simulation.md
```
"""


def octave_levels(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Return the level of each octave in dB SPL."""
    power = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    frequencies_hz = np.fft.rfftfreq(samples.size, 1 / sample_rate)
    sums = [
        power[(frequencies_hz >= octave / 2**0.5) & (frequencies_hz < octave * 2**0.5)].sum() for octave in OCTAVES_HZ
    ]
    return FULL_SCALE_DB_SPL + 10 * np.log10(2 * np.array(sums) / samples.size**2)


def change_db(song: Audio, listener: Listener, simulator: str) -> NDArray[np.float64]:
    """Return by how many dB a simulator changes the level of each octave in the left ear."""
    heard = hear_as(song, listener, simulator=simulator)
    return octave_levels(heard.samples[:, 0], song.sample_rate) - octave_levels(song.samples[:, 0], song.sample_rate)


def main(path: str) -> None:
    song = load_audio(path).stereo()
    gain = db_to_lin(PRESENTATION_DB_SPL - FULL_SCALE_DB_SPL) / rms(song.samples[:, 0])
    song = Audio((song.samples * gain).astype(np.float32), song.sample_rate)
    listeners = load_listeners("bisgaard", only=LISTENERS)
    changes = {(name, sim): change_db(song, listeners[name], sim) for name in LISTENERS for sim in SIMULATORS}
    print(HEAD.format(duration_s=song.duration_s, clarity=version("pyclarity")))
    before = octave_levels(song.samples[:, 0], song.sample_rate)
    print("| listener | simulator |", " | ".join(f"{octave} Hz" for octave in OCTAVES_HZ), "|")
    print("|---|---|" + "---:|" * len(OCTAVES_HZ))
    print("| | before, dB SPL |", " | ".join(f"{level:.1f}" for level in before), "|")
    for (name, simulator), change in changes.items():
        print(f"| {name} | {simulator} |", " | ".join(f"{value:.1f}" for value in change), "|")
    pairs = [(changes[name, SIMULATORS[0]], changes[name, SIMULATORS[1]]) for name in LISTENERS]
    apart = np.max([np.abs(simple - msbg) for simple, msbg in pairs], axis=0)
    left = before[-1] + np.max(pairs, axis=(0, 1))[-1]
    print(f"""
They lie at most {apart[:-1].max():.1f} dB apart from 125 Hz to 4 kHz. At 8 kHz it is up to {apart[-1]:.1f} dB, where
at most {left:.1f} dB SPL are left; the normal threshold there is {normal_threshold_db_spl(8000.0):.1f} dB SPL.""")


if __name__ == "__main__":
    main(sys.argv[1])
