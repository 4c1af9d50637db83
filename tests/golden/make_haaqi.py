"""Make ``haaqi.npz``: scores, features and generator states of pyclarity 0.9.0 for signals that are made from seeds.

    python tests/golden/make_haaqi.py        in an environment with pyclarity==0.9.0

The signals are not stored: ``CASES`` and ``make_signals`` are what the tests use, too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FREQUENCIES_HZ = (250, 500, 1000, 2000, 3000, 4000, 6000, 8000)
TONES_HZ = (131, 262, 660, 1975)
NORMAL = (0,) * 8
MODERATE = (20, 20, 25, 35, 40, 45, 50, 60)
SEVERE = (55, 60, 70, 80, 85, 90, 95, 100)
STEEP = (0, 0, 5, 40, 65, 80, 90, 95)


@dataclass(frozen=True)
class Case:
    change: str
    levels_db_hl: tuple[float, ...]
    equalisation: int = 1
    level1_db_spl: float = 80.0
    reference_rate: int = 24_000
    processed_rate: int = 24_000
    seed: int = 1


CASES = {
    "noisy": Case("noisy", MODERATE),
    "delayed": Case("delayed", NORMAL, seed=2),
    "gated": Case("gated", STEEP, equalisation=2, level1_db_spl=65.0, seed=3),
    "quiet": Case("quiet", SEVERE, level1_db_spl=100.0, seed=4),
    "cubed": Case("cubed", MODERATE, equalisation=0, seed=5),
    "resampled": Case("noisy", MODERATE, reference_rate=44_100, processed_rate=32_000, seed=6),
    "low_rate": Case("cubed", STEEP, equalisation=2, reference_rate=22_050, processed_rate=22_050, seed=7),
}


def make_signals(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return 1.5 s of a swelling chord with noise, and the same changed."""
    reference, processed = (_chord(rate, case.seed) for rate in (case.reference_rate, case.processed_rate))
    noise = np.random.RandomState(case.seed + 100).standard_normal(len(processed))
    changed = {
        "noisy": processed + 0.02 * noise,
        "delayed": np.concatenate((np.zeros(333), processed)) * 0.7,
        "gated": processed * (np.abs(processed) > 0.03),
        "quiet": processed * 0.1 + 0.001 * noise,
        "cubed": processed**3 * 20,
    }
    return reference, changed[case.change]


def _chord(rate: int, seed: int) -> np.ndarray:
    time_s = np.arange(int(1.5 * rate)) / rate
    rng = np.random.RandomState(seed)
    tones = sum(np.sin(2 * np.pi * hz * time_s + phase) for hz, phase in zip(TONES_HZ, 2 * rng.rand(4), strict=True))
    return 0.04 * tones * (1.1 + np.sin(2 * np.pi * 2.5 * time_s)) + 0.002 * rng.standard_normal(len(time_s))


def digest_of_state(state: dict) -> str:
    """Return a short name for a state of the legacy generator, as ``get_state(legacy=False)`` gives it."""
    inner = state["state"]
    text = np.asarray(inner["key"], dtype="<u4").tobytes() + repr((int(inner["pos"]), int(state["has_gauss"]))).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def main() -> None:
    from clarity.evaluator.haaqi.haaqi import haaqi_v1
    from clarity.utils.audiogram import Audiogram

    results = {}
    for name, case in CASES.items():
        reference, processed = make_signals(case)
        audiogram = Audiogram(np.array(case.levels_db_hl, dtype=float), np.array(FREQUENCIES_HZ))
        np.random.seed(case.seed)  # noqa: NPY002 - what pyclarity draws from
        score, nonlinear, linear, raw = haaqi_v1(
            reference,
            case.reference_rate,
            processed,
            case.processed_rate,
            audiogram,
            case.equalisation,
            case.level1_db_spl,
        )
        results[f"{name}_values"] = np.array([score, nonlinear, linear, *raw], dtype=np.float64)
        state = np.random.get_state(legacy=False)  # noqa: NPY002
        results[f"{name}_state"] = np.array(digest_of_state(state))
        print(name, results[f"{name}_values"], results[f"{name}_state"])
    np.savez_compressed(Path(__file__).with_name("haaqi.npz"), oracle=np.array("pyclarity 0.9.0"), **results)


if __name__ == "__main__":
    main()
