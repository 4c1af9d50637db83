"""The simple hearing-loss simulation beside pyclarity's MSBG: what each leaves of a song's octaves, in dB.

.venv/bin/python evaluation/loss_simulation.py SONG > evaluation/results/loss_simulation.md

Needs the extra ``clarity``. SONG is brought to 65 dB SPL in the left ear.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.audio.io import load_audio
from cadenza_remix.audio.signal import Audio
from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.hearing.loss_simulation import FULL_SCALE_DB_SPL, hear_as
from cadenza_remix.units import db_to_lin, rms

LISTENERS = ("N1", "N2", "N3", "S1")
OCTAVES_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)
SIMULATORS = ("simple", "msbg")
PRESENTATION_DB_SPL = 65.0


def octave_levels(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Return the level of each octave in dB SPL."""
    power = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    frequencies_hz = np.fft.rfftfreq(samples.size, 1 / sample_rate)
    sums = [
        power[(frequencies_hz >= octave / 2**0.5) & (frequencies_hz < octave * 2**0.5)].sum() for octave in OCTAVES_HZ
    ]
    return FULL_SCALE_DB_SPL + 10 * np.log10(2 * np.array(sums) / samples.size**2)


def main(path: str) -> None:
    song = load_audio(path).stereo()
    gain = db_to_lin(PRESENTATION_DB_SPL - FULL_SCALE_DB_SPL) / rms(song.samples[:, 0])
    song = Audio((song.samples * gain).astype(np.float32), song.sample_rate)
    before = octave_levels(song.samples[:, 0], song.sample_rate)
    listeners = load_listeners("bisgaard", only=LISTENERS)
    hear_as(song, listeners["N1"])  # the first use loads and plans
    print("| listener | simulator |", " | ".join(f"{octave} Hz" for octave in OCTAVES_HZ), "| s |")
    print("|---|---|" + "---:|" * (len(OCTAVES_HZ) + 1))
    print("| | before, dB SPL |", " | ".join(f"{level:.1f}" for level in before), "| |")
    for name, listener in listeners.items():
        for simulator in SIMULATORS:
            began = time.perf_counter()
            heard = hear_as(song, listener, simulator=simulator)
            took_s = time.perf_counter() - began
            change = octave_levels(heard.samples[:, 0], song.sample_rate) - before
            print(f"| {name} | {simulator} |", " | ".join(f"{value:.1f}" for value in change), f"| {took_s:.1f} |")


if __name__ == "__main__":
    main(sys.argv[1])
