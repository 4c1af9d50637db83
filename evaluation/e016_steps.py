"""What each step of the E016 chain does to HAAQI: vocals of the demo's song, left ear, three standard audiograms.

.venv/bin/python evaluation/e016_steps.py > evaluation/results/e016_steps.md
"""

from __future__ import annotations

import sys

import numpy as np

from cadenza_remix import load_audio, load_listeners, load_separator
from cadenza_remix.audio.io import load_stems
from cadenza_remix.audio.resample import resample_samples
from cadenza_remix.audio.signal import MUSIC_SAMPLE_RATE, STEM_SAMPLE_RATE
from cadenza_remix.challenge.seeding import song_rng
from cadenza_remix.demo import demo_song
from cadenza_remix.hearing.aid import aid_ear
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.hearing.band_pass import BandPassSettings, band_pass
from cadenza_remix.hearing.compressor import CompressorSettings
from cadenza_remix.hearing.nalr import NalrSettings
from cadenza_remix.metrics import compute_haaqi
from cadenza_remix.units import db_spl_of_full_scale, rms

LISTENERS = ("N2", "N4", "S2")
NALR, COMPRESSOR = NalrSettings(), CompressorSettings()


def aided(samples: np.ndarray, ear: Audiogram, *, nalr: bool = True, compressor: bool = False) -> np.ndarray:
    return aid_ear(
        samples,
        ear,
        sample_rate=MUSIC_SAMPLE_RATE,
        nalr=NALR if nalr else None,
        compressor=COMPRESSOR if compressor else None,
    )


def filtered(samples: np.ndarray) -> np.ndarray:
    return band_pass(samples, sample_rate=MUSIC_SAMPLE_RATE, settings=BandPassSettings())


def main() -> int:
    song = demo_song()
    mixture = load_audio(song.path)
    clean = load_stems(song.path)["vocals"].samples[:, 0].astype(np.float64)
    estimate = load_separator("spleeter:2stems").separate(mixture)["vocals"].samples[:, 0].astype(np.float64)
    mixed = mixture.samples[:, 0].astype(np.float64)
    people = load_listeners("bisgaard", only=LISTENERS)

    def peak_normalised(ear: Audiogram) -> np.ndarray:
        processed = aided(estimate, ear)
        return processed / np.abs(processed).max()

    steps = {
        "clean stem + NAL-R (upper bound)": lambda ear: aided(clean, ear),
        "estimate + NAL-R (`baseline`)": lambda ear: aided(estimate, ear),
        "estimate + NAL-R + compressor (stems of `e016`)": lambda ear: aided(estimate, ear, compressor=True),
        "estimate + NAL-R + band-pass": lambda ear: filtered(aided(estimate, ear)),
        "estimate + NAL-R + compressor + band-pass": lambda ear: filtered(aided(estimate, ear, compressor=True)),
        "estimate, no NAL-R": lambda ear: estimate,
        "mixture + NAL-R, no separation": lambda ear: aided(mixed, ear),
        "estimate + NAL-R, peak-normalised without the scale file": peak_normalised,
    }
    reference = resample_samples(clean.astype(np.float32), MUSIC_SAMPLE_RATE, STEM_SAMPLE_RATE)
    level1 = db_spl_of_full_scale(rms(clean))
    print(f'HAAQI of the vocals of "{song.name}" ({mixture.duration_s:.1f} s), left ear, separated by spleeter:2stems.')
    print("Made by `.venv/bin/python evaluation/e016_steps.py`.\n")
    print(f"| processing | {' | '.join(LISTENERS)} |\n|---|{'---|' * len(LISTENERS)}")
    for name, process in steps.items():
        scores = []
        for person in people.values():
            processed = resample_samples(process(person.left), MUSIC_SAMPLE_RATE, STEM_SAMPLE_RATE)
            scores.append(
                compute_haaqi(
                    processed,
                    reference,
                    STEM_SAMPLE_RATE,
                    STEM_SAMPLE_RATE,
                    person.left,
                    1,
                    level1,
                    rng=song_rng(song.name),
                )
            )
        print(f"| {name} | {' | '.join(f'{score:.3f}' for score in scores)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
