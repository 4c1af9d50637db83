"""What HAAQI takes, checked once."""

from __future__ import annotations

import logging
import numbers
from functools import lru_cache
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.hearing.audiogram import Audiogram
from cadenza_remix.metrics.auditory.cochlea import AUDIOGRAM_FREQUENCIES_HZ
from cadenza_remix.metrics.auditory.covariance import TILE
from cadenza_remix.metrics.auditory.filters import MODEL_RATE
from cadenza_remix.metrics.auditory.fixed_noise import FixedNoise
from cadenza_remix.metrics.auditory.noise import NormalStream, ThresholdNoise

Noise = Literal["legacy", "fixed"]
"""``legacy``: drawn from a legacy generator as pyclarity draws it; ``fixed``: always the same."""

EQUALISATIONS = {
    0: "the reference is heard by a normal ear, without NAL-R",
    1: "NAL-R for the audiogram is added to the reference",
    2: "the reference has its gain already",
}

logger = logging.getLogger(__name__)


class ClarityAudiogram(Protocol):
    """What is needed of an audiogram of pyclarity."""

    frequencies: NDArray[np.floating]
    levels: NDArray[np.floating]


def checked_number(value: object, where: str, unit: str) -> float:
    """Return a real number as a float, or refuse what is none, text that reads like one as well."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise InputError("wrong type", where=where, expected=f"a number in {unit}", found=type(value).__name__)
    return float(value)


def check_equalisation(equalisation: int) -> None:
    """Refuse what is not among ``EQUALISATIONS``."""
    if not isinstance(equalisation, numbers.Integral) or equalisation not in EQUALISATIONS:
        known = ", ".join(f"{key} ({meaning})" for key, meaning in EQUALISATIONS.items())
        raise InputError("unknown equalisation", expected=known, found=equalisation)


def check_noise(noise: str) -> None:
    """Refuse what is not the name of a kind of noise."""
    if noise not in get_args(Noise):
        raise unknown_name("noise", noise, get_args(Noise))


def threshold_noise(noise: Noise, rng: np.random.RandomState | None) -> ThresholdNoise:
    """Return where noise of a kind comes from; ``rng`` as in ``haaqi``."""
    check_noise(noise)
    if noise == "legacy":
        return NormalStream(rng)
    if rng is not None:
        raise InputError(
            "fixed noise is drawn from no generator", where="rng", expected="None", found=type(rng).__name__
        )
    return FixedNoise()


def checked_signal(signal: ArrayLike, sample_rate: float, where: str) -> NDArray[np.floating]:
    """Return a signal as an array of real numbers, or say what keeps it from being scored."""
    try:
        samples = np.asarray(signal)
    except ValueError as error:
        raise InputError("wrong shape", where=where, expected="one channel, (n_samples,)", found=str(error)) from error
    sample_rate = checked_number(sample_rate, f"sample rate of the {where}", "Hz")
    if samples.ndim != 1:
        raise InputError("wrong shape", where=where, expected="one channel, (n_samples,)", found=samples.shape)
    if samples.size == 0:
        raise InputError("holds no samples", where=where, expected="a signal", found="length zero")
    if samples.dtype.kind not in "fiu":
        raise InputError("wrong kind of samples", where=where, expected="real numbers", found=samples.dtype)
    if samples.dtype not in (np.float32, np.float64):
        samples = samples.astype(np.float64)
    if not np.isfinite(samples).all():
        first = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise InputError("NaN or infinity", where=where, expected="finite samples", found=f"sample {first}")
    if not np.isfinite(sample_rate) or np.round(sample_rate / 1000) < 1:
        raise InputError("wrong sample rate", where=where, expected="at least 1000 Hz", found=sample_rate)
    if samples.size * MODEL_RATE / sample_rate < TILE:
        raise InputError(
            "too short for HAAQI",
            where=where,
            expected=f"at least {TILE} samples at {MODEL_RATE} Hz",
            found=f"{samples.size} samples at {sample_rate:g} Hz",
        )
    return samples


def loss_at_model_frequencies(audiogram: Audiogram | ClarityAudiogram) -> NDArray[np.float64]:
    """Return the loss in dB HL at the six frequencies of the model, interpolated on logarithmic frequency."""
    if isinstance(audiogram, Audiogram):
        ours = audiogram
    elif hasattr(audiogram, "frequencies") and hasattr(audiogram, "levels"):
        ours = Audiogram(audiogram.frequencies, audiogram.levels)
    else:
        raise InputError("wrong audiogram", expected="an Audiogram", found=type(audiogram).__name__)
    _say_what_is_missing(tuple(ours.frequencies_hz.tolist()), tuple(ours.levels_db_hl.tolist()))
    return ours.levels_at(AUDIOGRAM_FREQUENCIES_HZ)


@lru_cache(maxsize=4096)
def _say_what_is_missing(frequencies_hz: tuple[float, ...], levels_db_hl: tuple[float, ...]) -> None:
    """Warn of an audiogram that lacks one of the model's frequencies; the cache makes it once for each audiogram."""
    missing = [f"{hz:g}" for hz in AUDIOGRAM_FREQUENCIES_HZ if hz not in frequencies_hz]
    if missing:
        logger.warning("audiogram lacks %s Hz: HAAQI interpolates", ", ".join(missing))
