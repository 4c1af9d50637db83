"""Make ``haaqi_behaviour.npz``: what pyclarity 0.9.0 answers to the situations that its documentation speaks of.

    python tests/golden/make_haaqi_behaviour.py        in an environment with pyclarity==0.9.0

Signals are not stored: ``CASES``, ``make_signals`` and the ``*_inputs`` functions are what the tests use, too.
``make_haaqi.py`` beside this file has longer signals.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.signal
from make_haaqi import digest_of_state

RATE = 24_000
SIX_HZ = (250, 500, 1000, 2000, 4000, 6000)
NORMAL = (0,) * 6
MODERATE = (20, 20, 25, 35, 45, 50)
ASCENDING = (10, 20, 30, 40, 50, 60)
UNEVEN = (45, 45, 35, 45, 60, 65)
LOSSES = (NORMAL, MODERATE, UNEVEN, (-10, -5, 0, 5, 20, 80), (0, 5, 60, 90, 110, 120), (100,) * 6)


@dataclass(frozen=True)
class Case:
    """What is done to a tune, for which ear, and how it is scored."""

    change: str = "noisy"
    levels_db_hl: tuple[float, ...] = MODERATE
    frequencies_hz: tuple[float, ...] = SIX_HZ
    equalisation: int = 1
    level1_db_spl: float = 80.0
    reference_rate: int = RATE
    processed_rate: int = RATE
    seed: int = 1


def _same_rate(rate: int, **settings: object) -> Case:
    return Case(reference_rate=rate, processed_rate=rate, **settings)  # type: ignore[arg-type]


CASES = {
    # The situations of pyclarity's own tests of HAAQI: white noise, other white noise, the model's noise from the same
    # generator. In the second the processed signal is drawn first; the third lacks a frequency that lies on the line.
    "unrelated": _same_rate(16_000, change="unrelated", levels_db_hl=UNEVEN, level1_db_spl=65.0, seed=0),
    "swapped": _same_rate(16_000, change="swapped", levels_db_hl=ASCENDING, level1_db_spl=65.0, seed=42),
    "gaps": _same_rate(
        16_000,
        change="swapped",
        levels_db_hl=(10, 20, 40, 50, 60),
        frequencies_hz=(250, 500, 2000, 4000, 6000),
        level1_db_spl=65.0,
        seed=42,
    ),
    # What happens to signals.
    "same": Case("same", equalisation=2),
    "inverted": Case("inverted", equalisation=2),
    "advanced": Case("advanced"),
    "clipped": Case("clipped"),
    "lowpassed": Case("lowpassed"),
    "offset": Case("offset"),
    "longer": Case("longer"),
    "shorter": Case("shorter"),
    "pauses": Case("pauses"),
    "rest": Case("rest"),
    "silent": Case("silent"),
    "faint": Case("faint"),
    "shortest": Case("shortest"),
    # Equalisation, level and ears.
    "normal": Case(levels_db_hl=NORMAL, seed=2),
    "as_a_normal_ear": Case(equalisation=0, seed=3),
    "aided": Case("lowpassed", equalisation=2, seed=4),
    "soft": Case(level1_db_spl=60.0, seed=5),
    "loud": Case(level1_db_spl=120.0, seed=6),
    "better_than_normal": Case(levels_db_hl=(-10, -10, -5, 0, -10, -10), seed=7),
    "profound": Case(levels_db_hl=(90, 100, 110, 120, 120, 120), level1_db_spl=110.0, seed=8),
    "two_frequencies": Case(levels_db_hl=(15, 60), frequencies_hz=(500, 4000), seed=9),
    "wide": Case(
        levels_db_hl=(5, 10, 15, 30, 20, 40, 60, 70, 75),
        frequencies_hz=(125, 250, 500, 750, 1000, 2000, 4000, 8000, 12000),
        seed=10,
    ),
    # Rates.
    "8_kHz": _same_rate(8_000),
    "11_kHz": _same_rate(11_025),
    "24.3_kHz": _same_rate(24_300),
    "96_kHz": _same_rate(96_000),
    "32_and_48_kHz": Case("clipped", reference_rate=32_000, processed_rate=48_000),
    "44_and_16_kHz": Case("clipped", reference_rate=44_100, processed_rate=16_000),
}


def tune(rate: int, seed: int, *, seconds: float = 0.5) -> np.ndarray:
    """Return three struck notes above faint noise, about 20 dB below full scale."""
    time_s = np.arange(round(seconds * rate)) / rate
    sound = np.zeros(len(time_s))
    for start_s, hz in ((0.0, 262.0), (0.14, 392.0), (0.3, 880.0)):
        since = np.maximum(time_s - start_s, 0.0)
        harmonics = sum(np.sin(2 * np.pi * hz * k * since) / k for k in (1, 2, 3))
        sound += 0.1 * harmonics * np.exp(-since / 0.12) * (time_s >= start_s)
    return sound + 0.001 * np.random.RandomState(seed).standard_normal(len(time_s))


def make_signals(case: Case) -> tuple[np.ndarray, np.ndarray, np.random.RandomState]:
    """Return reference, processed signal and the generator that the model's noise comes from."""
    rng = np.random.RandomState(case.seed)
    if case.change in ("unrelated", "swapped"):
        first, second = (rng.uniform(-1, 1, case.reference_rate // 2) for _ in range(2))
        return (first, second, rng) if case.change == "unrelated" else (second, first, rng)
    reference = tune(case.reference_rate, case.seed + 100)
    processed = change(tune(case.processed_rate, case.seed + 100), case.change, case.processed_rate, case.seed)
    if case.change == "pauses":
        reference = np.where(processed == 0, 0.0, reference)
    if case.change == "shortest":  # one segment of 16 ms
        return reference[:384], processed[:384], rng
    if case.change == "faint":
        reference = 1e-6 * reference
    return reference, processed, rng


def change(sound: np.ndarray, how: str, rate: int, seed: int) -> np.ndarray:
    """Return the processed signal."""
    noise = np.random.RandomState(seed + 200).standard_normal(len(sound))
    ms = rate // 1000
    if how == "pauses":  # 20 ms at both ends and 100 ms in the middle, where the reference is made silent, too
        sound = sound + 0.01 * noise
        for stretch in (slice(20 * ms), slice(200 * ms, 300 * ms), slice(len(sound) - 20 * ms, None)):
            sound[stretch] = 0.0
        return sound
    answers = {
        "same": lambda: sound.copy(),
        "noisy": lambda: sound + 0.01 * noise,
        "inverted": lambda: -sound,
        "advanced": lambda: np.concatenate((sound[15 * ms :], np.zeros(15 * ms))),
        "clipped": lambda: np.clip(sound, -0.05, 0.05),
        "lowpassed": lambda: scipy.signal.sosfilt(scipy.signal.butter(4, 1500, fs=rate, output="sos"), sound),
        "offset": lambda: sound + 0.02,
        "longer": lambda: np.concatenate((sound, 0.05 * noise[: 50 * ms])),
        "shorter": lambda: sound[: 350 * ms] + 0.01 * noise[: 350 * ms],
        "rest": lambda: np.where(np.arange(len(sound)) < 250 * ms, sound, 0.0),
        "silent": lambda: np.zeros(len(sound)),
        "faint": lambda: 1e-6 * sound,
        "shortest": lambda: sound + 0.01 * noise,
    }
    return answers[how]()


# ---- inputs of single parts -----------------------------------------------------------------------------------------

RESAMPLED_RATES = (8_000, 11_025, 16_000, 22_050, 24_300, 32_000, 44_100, 48_000, 96_000)


def resampling_input(rate: int) -> np.ndarray:
    """Return 10 ms of noise and a tone."""
    time_s = np.arange(rate // 100) / rate
    return np.sin(2 * np.pi * 900 * time_s) + 0.3 * np.random.RandomState(rate).standard_normal(len(time_s))


def middle_ear_input() -> np.ndarray:
    return np.random.RandomState(5).standard_normal(200)


def bandwidth_inputs() -> np.ndarray:
    """Return widths of the 32 filters relative to a normal ear's: normal, twice as wide, at random; shape (3, 32)."""
    return np.stack((np.ones(32), np.full(32, 2.0), np.random.RandomState(6).uniform(1, 4, 32)))


def spectrum_inputs() -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of long-term spectra in dB above threshold, (5, 32) each: alike, softer, tilted, silent, random."""
    smooth = np.linspace(10, 60, 32)
    rng = np.random.RandomState(7)
    reference = np.stack((smooth, smooth, smooth, smooth, rng.uniform(0, 80, 32)))
    processed = np.stack((smooth, smooth - 6, smooth[::-1], np.zeros(32), rng.uniform(0, 80, 32)))
    return reference, processed


def level_inputs() -> tuple[np.ndarray, np.ndarray]:
    """Return RMS values of signal and control filters, (6, 32): 20 to 120 dB SPL where an RMS of 1 is 80 dB SPL."""
    control = 10 ** (np.linspace(-60, 40, 6)[:, np.newaxis] / 20) * np.linspace(1.5, 0.7, 32)
    return 0.6 * control, control


def envelope_inputs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pairs of envelopes in dB above threshold at 250 Hz.

    (32, 90) each: alike but for noise, unrelated, half below threshold, audible in one segment only, beside silence.
    """
    rng = np.random.RandomState(8)
    lively = rng.uniform(0, 50, (32, 90))
    half = np.where(np.arange(90) < 45, lively, 0.0)
    once = np.where(np.arange(90) == 3, lively, 0.0)
    return [
        (lively, lively + rng.uniform(-20, 20, lively.shape)),
        (lively, rng.uniform(0, 50, lively.shape)),
        (half, 0.5 * lively[::-1] + half),
        (once, lively),
        (lively, np.zeros(lively.shape)),
    ]


def motion_inputs() -> tuple[np.ndarray, np.ndarray]:
    """Return two motions in 32 channels, 100 ms: some channels and the first 30 ms below threshold, one lagging."""
    rng = np.random.RandomState(9)
    first = np.cumsum(rng.standard_normal((32, 2400)), axis=1)
    first -= scipy.signal.lfilter(np.full(48, 1 / 48), 1, first)
    first *= 8 / first.std(axis=1, keepdims=True)
    first[20:24] *= 0.05
    first[:, :720] *= 0.01
    second = np.roll(first, 10, axis=1) + rng.uniform(0, 6, (32, 1)) * rng.standard_normal(first.shape)
    second[7] = np.roll(first[7], 60)  # beyond the lags that are looked at
    second[8] = 0.0
    return first.astype(np.float32), second.astype(np.float32)


EAR_LEVEL1_DB_SPL = 80.0


def ear_inputs() -> tuple[np.ndarray, np.ndarray]:
    """Return 0.15 s for the whole model of the ear."""
    reference = tune(RATE, 11, seconds=0.15)
    return reference, change(reference, "noisy", RATE, 11)


# ---- the oracle's answers -------------------------------------------------------------------------------------------


def _scores() -> dict[str, np.ndarray]:
    from clarity.evaluator.haaqi import haaqi_v1
    from clarity.utils.audiogram import Audiogram

    results = {}
    for name, case in CASES.items():
        reference, processed, rng = make_signals(case)
        audiogram = Audiogram(np.array(case.levels_db_hl, dtype=float), np.array(case.frequencies_hz))
        np.random.set_state(rng.get_state())  # noqa: NPY002 - what pyclarity draws from
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
    return results


def _parts() -> dict[str, np.ndarray]:
    from clarity.evaluator.haspi import eb

    centre_hz = eb.center_frequency(32)
    losses = [eb.loss_parameters(np.array(loss, dtype=float), centre_hz) for loss in LOSSES]
    delays = []
    for widths in bandwidth_inputs():
        impulses = np.zeros((32, 2000))
        impulses[:, 0] = 1.0
        delays.append(np.argmax(eb.group_delay_compensate(impulses, widths, centre_hz, RATE), axis=1))
    spectra = [eb.spectrum_diff(a, b) for a, b in zip(*spectrum_inputs(), strict=True)]
    moderate = losses[1]
    levels = [
        eb.convert_rms_to_sl(signal, control, moderate[0], moderate[2], moderate[3], moderate[4], 80.0)
        for signal, control in zip(*level_inputs(), strict=True)
    ]
    motions = [rows.astype(np.float64) for rows in motion_inputs()]
    covariance, mean_square, _ = eb.bm_covary(*motions, 16, RATE)
    return {
        "centre_hz": centre_hz,
        "losses": np.array(losses),
        "delays": np.array(delays),
        "spread": np.array([[loud[1], norm[1]] for loud, norm, _ in spectra]),
        "levels": np.array(levels),
        "middle_ear": eb.middle_ear(middle_ear_input(), RATE),
        "cepstral": np.array([eb.melcor9(a.copy(), b.copy(), 2.5, 0.0, 8)[2] for a, b in envelope_inputs()]),
        "covariance": covariance,
        "mean_square": mean_square,
        "mean_covariance": np.array(eb.ave_covary2(covariance, mean_square, 2.5)[1][4]),
        **{f"resampled_{rate}": eb.resample_24khz(resampling_input(rate), rate)[0] for rate in RESAMPLED_RATES},
    }


def _ear() -> dict[str, np.ndarray]:
    from clarity.evaluator.haspi import eb

    reference, processed = ear_inputs()
    np.random.seed(1)  # noqa: NPY002
    loss = np.array(MODERATE, dtype=float)
    db, motion, other_db, other_motion, sl, other_sl, rate = eb.ear_model(
        reference, RATE, processed, RATE, loss, 2, EAR_LEVEL1_DB_SPL
    )
    return {
        "ear_smooth": np.stack([eb.env_smooth(envelope, 8, rate) for envelope in (db, other_db)]).astype(np.float32),
        "ear_spectrum": np.stack((sl, other_sl)),
        "ear_motion": np.abs(motion).mean(axis=1),
        "ear_vibration": np.array(eb.ave_covary2(*eb.bm_covary(motion, other_motion, 16, rate)[:2], 2.5)[1][4]),
    }


def main() -> None:
    from clarity.evaluator.haaqi import compute_haaqi

    arguments = inspect.signature(compute_haaqi).parameters.values()
    signature = ["" if a.default is a.empty else repr(a.default) for a in arguments]
    np.savez_compressed(
        Path(__file__).with_name("haaqi_behaviour.npz"),
        oracle=np.array("pyclarity 0.9.0"),
        argument_names=np.array([argument.name for argument in arguments]),
        argument_defaults=np.array(signature),
        **_scores(),
        **_parts(),
        **_ear(),
    )


if __name__ == "__main__":
    main()
