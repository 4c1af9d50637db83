"""What fixed noise does to HAAQI, beside how far legacy noise moves it from seed to seed.

    python evaluation/noise_modes.py --music build/parity/music.npz

``--music`` holds ``mixture, vocals, drums, bass, other``: float32, (n_samples, 2), 44.1 kHz. Each case is scored with
legacy noise from many seeds and once with fixed noise. Fixed noise is one more draw: its score should lie among those
of the seeds, whose spread is given as standard deviation (sd) and range. One noise serves all cases, so that their
differences go together; whether a pool as such is biased is seen from other pools, made from other seeds: the mean of
their scores less that of legacy noise, in standard errors (se) of that difference.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from cadenza_remix.hearing.audiogram import Audiogram, load_listeners
from cadenza_remix.hearing.nalr import apply_fir, nalr_fir
from cadenza_remix.metrics import haaqi
from cadenza_remix.metrics.auditory import fixed_noise

RATE = 24_000
N_SAMPLES = 2 * RATE

Signal = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One pair of signals at one ear."""

    what: str
    ear: str
    reference: Signal
    processed: Signal
    equalisation: int = 1
    level1_db_spl: float = 85.0


@dataclass(frozen=True)
class Outcome:
    """Scores with legacy noise, one for each seed, the score with fixed noise, and those with other pools."""

    legacy: Signal
    fixed: float
    other_pools: Signal

    @property
    def difference(self) -> float:
        return self.fixed - float(self.legacy.mean())

    @property
    def spread(self) -> float:
        return float(self.legacy.std(ddof=1))

    @property
    def bias_in_errors(self) -> float:
        """How far other pools lie from legacy noise in the mean, in standard errors."""
        error = np.hypot(*(scores.std(ddof=1) / np.sqrt(scores.size) for scores in (self.legacy, self.other_pools)))
        return float((self.other_pools.mean() - self.legacy.mean()) / error)


def cases(stems: dict[str, Signal], ears: dict[str, Audiogram]) -> list[Case]:
    """Plain ones first, then those in which one signal is at threshold where the other is not."""
    vocals, drums, bass, other, mixture = (stems[name] for name in ("vocals", "drums", "bass", "other", "mixture"))

    def aided(samples: Signal, ear: str) -> Signal:
        return apply_fir(samples, nalr_fir(ears[ear], sample_rate=RATE, order=140))

    silent_middle = other.copy()
    silent_middle[N_SAMPLES // 4 : 3 * N_SAMPLES // 4] = 0.0
    low, lower = (scipy.signal.butter(6, hz, fs=RATE, output="sos") for hz in (2000, 500))
    return [
        Case("mixture aided, clipped", "N1", mixture, np.clip(aided(mixture, "N1"), -0.8, 0.8)),
        Case("vocals with leaks, aided", "N3", vocals, aided(vocals + 0.2 * drums, "N3")),
        Case("bass delayed", "N5", bass, np.roll(aided(bass, "N5"), 110)),
        Case("other unaided", "S2", other, other),
        Case("identical, no NAL-R", "none", mixture, mixture, 2),
        Case("normal reference", "N3", other, aided(other, "N3"), 0),
        Case("mixture gated", "N4", mixture, gated(mixture)),
        Case("drums gated", "N7", drums, gated(drums)),
        Case("drums gated", "none", drums, gated(drums)),
        Case("drums 20 dB down", "S1", drums, 0.1 * drums),
        Case("vocals 50 dB down", "N2", vocals, 10**-2.5 * vocals),
        Case("mixture 70 dB down", "none", mixture, 10**-3.5 * mixture),
        Case("other low-pass 2 kHz", "S3", other, scipy.signal.sosfilt(low, other)),
        Case("mixture low-pass 500 Hz", "none", mixture, scipy.signal.sosfilt(lower, mixture)),
        Case("vocals low-pass 500 Hz", "N6", vocals, scipy.signal.sosfilt(lower, vocals)),
        Case("processed silent for 1 s", "N2", other, silent_middle),
        Case("processed silent for 1 s", "none", other, silent_middle),
        Case("reference silent for 1 s", "S1", silent_middle, other),
        Case("processed all silent", "N3", bass, np.zeros_like(bass)),
        Case("processed all silent", "none", mixture, np.zeros_like(mixture)),
        Case("quiet mixture", "N2", mixture, aided(mixture, "N2"), 1, 45.0),
        Case("quiet drums gated", "none", drums, gated(drums), 2, 45.0),
    ]


def gated(samples: Signal) -> Signal:
    """Silence every 20 ms that lies below the median level."""
    frames = samples[: samples.size // 480 * 480].reshape(-1, 480)
    energy = np.mean(frames**2, axis=1)
    return (frames * (energy > np.median(energy))[:, np.newaxis]).ravel()


def outcome(case: Case, ear: Audiogram, n_seeds: int, pools: list[NDArray[np.float32]]) -> Outcome:
    def score(**noise: object) -> float:
        return haaqi(
            case.reference,
            case.processed,
            audiogram=ear,
            sample_rate=RATE,
            equalisation=case.equalisation,
            level1_db_spl=case.level1_db_spl,
            **noise,  # type: ignore[arg-type]
        ).score

    legacy = [score(rng=np.random.RandomState(seed)) for seed in range(n_seeds)]
    fixed, own_pool, others = score(noise="fixed"), fixed_noise._pool, []
    for pool in pools:
        fixed_noise._pool = lambda pool=pool: pool  # type: ignore[assignment]
        others.append(score(noise="fixed"))
    fixed_noise._pool = own_pool
    return Outcome(np.array(legacy), fixed, np.array(others))


def other_pool(seed: int) -> NDArray[np.float32]:
    return np.random.RandomState(seed).standard_normal(fixed_noise.POOL_SIZE).astype(np.float32)


def report(outcomes: list[tuple[Case, Outcome]], n_seeds: int) -> None:
    print(f"\nFixed noise beside {n_seeds} seeds of legacy noise, pairs of {N_SAMPLES / RATE:g} s\n")
    print("| case | ear | legacy: mean | sd | range | fixed - mean | in sd | other pools, in se |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for case, found in outcomes:
        print(
            f"| {case.what} | {case.ear} | {found.legacy.mean():.6f} | {found.spread:.1e} | {np.ptp(found.legacy):.1e} "
            f"| {found.difference:+.1e} | {found.difference / found.spread:+.2f} | {found.bias_in_errors:+.2f} |"
        )
    in_sd = np.array([found.difference / found.spread for _, found in outcomes])
    worst = max(abs(found.difference) for _, found in outcomes)
    widest = max(float(np.ptp(found.legacy)) for _, found in outcomes)
    outside = sum(not found.legacy.min() <= found.fixed <= found.legacy.max() for _, found in outcomes)
    print(f"\nlargest |fixed - mean of legacy|: {worst:.1e}; widest range of legacy noise: {widest:.1e}")
    print(f"differences in sd: mean {in_sd.mean():+.2f}, standard deviation {in_sd.std(ddof=1):.2f}")
    bias = np.array([found.bias_in_errors for _, found in outcomes])
    print(f"other pools, in se: root mean square {np.sqrt(np.mean(bias**2)):.2f}, largest {np.abs(bias).max():.2f}")
    expected = 2 * len(outcomes) / (n_seeds + 1)
    print(f"outside the range of the seeds: {outside} of {len(outcomes)} (one more seed: {expected:.1f} expected)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=40, help="seeds of legacy noise (default: %(default)s)")
    parser.add_argument("--pools", type=int, default=30, help="other pools (default: %(default)s)")
    options = parser.parse_args()
    ears = {name: listener.left for name, listener in load_listeners("bisgaard").items()}
    ears["none"] = Audiogram([250, 500, 1000, 2000, 4000, 6000], np.zeros(6))
    with np.load(options.music) as archive:
        stems = {
            name: scipy.signal.resample_poly(archive[name][22_050:, 0].astype(np.float64), 80, 147)[:N_SAMPLES]
            for name in archive.files
        }
    pools = [other_pool(1000 + seed) for seed in range(options.pools)]
    found = [(case, outcome(case, ears[case.ear], options.seeds, pools)) for case in cases(stems, ears)]
    report(found, options.seeds)


if __name__ == "__main__":
    main()
