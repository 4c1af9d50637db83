"""NAL-R and compressor against pyclarity's classes, both in this process.

Run with the Python of an environment that has pyclarity 0.9.0, this package on its path:
    python evaluation/parity/hearing.py
"""

from __future__ import annotations

import sys
import time

import numpy as np
from checks import Check, report
from clarity.enhancer.compressor import Compressor
from clarity.enhancer.nalr import NALR
from clarity.utils.audiogram import Audiogram as ClarityAudiogram

from cadenza_remix.hearing.audiogram import load_listeners
from cadenza_remix.hearing.compressor import CompressorSettings, compress
from cadenza_remix.hearing.nalr import apply_fir, nalr_fir

LIMIT = 1e-9
RATE = 44_100


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference relative to the largest value of the reference."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def nalr_checks(music: np.ndarray) -> list[Check]:
    """Taps for every built-in audiogram, rate and order in use; the filtered signal for one."""
    checks = []
    people = {**load_listeners("bisgaard"), **load_listeners("cad1-sample")}
    for sample_rate, order in ((44_100, 220), (24_000, 140), (32_000, 160), (48_000, 512)):
        worst = 0.0
        for person in people.values():
            for ear in (person.left, person.right):
                theirs, _ = NALR(order, sample_rate).build(ClarityAudiogram(ear.levels_db_hl, ear.frequencies_hz))
                worst = max(worst, relative(nalr_fir(ear, sample_rate=sample_rate, order=order), theirs))
        what = f"NAL-R taps, order {order} at {sample_rate} Hz, {2 * len(people)} ears"
        checks.append(Check(what, worst, LIMIT))
    ear = people["L5040"].left
    aid = NALR(220, RATE)
    theirs = aid.apply(aid.build(ClarityAudiogram(ear.levels_db_hl, ear.frequencies_hz))[0], music)
    ours = apply_fir(music, nalr_fir(ear, sample_rate=RATE))
    note = "theirs cut by 110 samples: our delay is compensated"
    checks.append(Check("NAL-R applied, L5040 left", relative(ours, theirs[110 : 110 + music.size]), LIMIT, note))
    return checks


def compressor_checks(music: np.ndarray) -> list[Check]:
    """The challenge's settings and others; speed of both in turn."""
    checks, ratios = [], []
    for settings in (
        CompressorSettings(),
        CompressorSettings(threshold_lin=0.05, attenuation=0.0001, attack_ms=5, release_ms=20, rms_window_s=0.2),
        CompressorSettings(threshold_lin=0.1, attenuation=1.0, makeup_gain_lin=2.0, rms_window_s=0.01),
    ):
        theirs_object = Compressor(
            fs=RATE,
            attack=settings.attack_ms,
            release=settings.release_ms,
            threshold=settings.threshold_lin,
            attenuation=settings.attenuation,
            rms_buffer_size=settings.rms_window_s,
            makeup_gain=settings.makeup_gain_lin,
        )
        compress(music, sample_rate=RATE, settings=settings)
        for _ in range(3):
            before = time.perf_counter()
            ours = compress(music, sample_rate=RATE, settings=settings)
            between = time.perf_counter()
            theirs, _, _ = theirs_object.process(music)
            ratios.append((time.perf_counter() - between) / (between - before))
        what = f"compressor, threshold {settings.threshold_lin:g}, window {settings.rms_window_s:g} s"
        checks.append(Check(what, relative(ours, theirs), LIMIT))
    note = f"{min(ratios):.0f} / {np.median(ratios):.0f} / {max(ratios):.0f} times as fast (min / median / max)"
    checks.append(Check("compressor: 20 over median speed ratio", 20 / float(np.median(ratios)), 1.0, note))
    return checks


def main() -> int:
    rng = np.random.default_rng(0)
    music = rng.standard_normal(10 * RATE) * np.repeat(rng.random(100), RATE // 10)
    return report("Hearing aid against pyclarity 0.9.0", nalr_checks(music) + compressor_checks(music))


if __name__ == "__main__":
    sys.exit(main())
