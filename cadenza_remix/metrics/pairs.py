"""What every comparison of a separated signal with the true one shares: checking the two, and summing over them.

Samples come out as (n_samples, n_channels) in the type they came in. They are turned into float64 a few seconds at a
time, so that a song of any length is compared without a second copy of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError
from cadenza_remix.units import energy_ratio_db

_PERFECT = 1e-20
_BLOCK = 2**18


def checked_pair(
    reference: Audio | ArrayLike, estimate: Audio | ArrayLike
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return both signals as arrays of one shape, (n_samples, n_channels), or refuse them.

    Raises
    ------
    InputError
        Shapes, lengths or sample rates that differ, a rate on one side only, more than two channels, NaN or infinity,
        no samples, integers.
    """
    if isinstance(reference, Audio) != isinstance(estimate, Audio):
        known, bare = ("reference", "estimate") if isinstance(reference, Audio) else ("estimate", "reference")
        raise InputError(f"{known} has a sample rate, {bare} has none", expected="both as Audio or both as arrays")
    if isinstance(reference, Audio) and isinstance(estimate, Audio) and reference.sample_rate != estimate.sample_rate:
        raise InputError(
            "reference and estimate differ in sample rate",
            expected=f"{reference.sample_rate} Hz",
            found=f"{estimate.sample_rate} Hz",
        )
    true, guess = _samples(reference, "reference"), _samples(estimate, "estimate")
    for what, axis in (("length", 0), ("number of channels", 1)):
        if true.shape[axis] != guess.shape[axis]:
            raise InputError(
                f"reference and estimate differ in {what}",
                expected=f"{true.shape[axis]} as the reference",
                found=guess.shape[axis],
            )
    return true, guess


def one_rate(signals: list[Audio | ArrayLike], sample_rate: int | None) -> int:
    """Return the one sample rate of the signals and of ``sample_rate``; refuse none and several."""
    rates = {signal.sample_rate for signal in signals if isinstance(signal, Audio)}
    if sample_rate is not None:
        rates.add(sample_rate)
    if len(rates) != 1:
        raise InputError(
            "the sample rate is not clear",
            expected="one, from Audio or as sample_rate",
            found=" and ".join(f"{rate} Hz" for rate in sorted(rates)) or "none",
        )
    rate = rates.pop()
    if not rate > 0:
        raise InputError("wrong sample rate", expected="a positive number of Hz", found=rate)
    return rate


def frames(n_samples: int, *, rate: int, window_s: float, hop_s: float) -> list[slice]:
    """Return the windows that lie wholly inside the signal; all of it where it is not longer than one window."""
    # A window may be infinite, which means the whole signal.
    length, hop = (round(min(seconds * rate, n_samples)) if seconds > 0 else 0 for seconds in (window_s, hop_s))
    if length < 1 or hop < 1:
        raise InputError("window too short", expected="at least one sample", found=f"{window_s:g} s every {hop_s:g} s")
    return [slice(start, start + length) for start in range(0, n_samples - length + 1, hop)]


def blocks(
    true: NDArray[np.floating], guess: NDArray[np.floating]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield both in float64, a few seconds at a time."""
    for start in range(0, len(true), _BLOCK):
        yield true[start : start + _BLOCK].astype(np.float64), guess[start : start + _BLOCK].astype(np.float64)


def energy(samples: NDArray[np.float64]) -> float:
    """Return the sum of the squares of a two-dimensional array."""
    # Neither a copy of the squares, as np.square makes, nor the threads of np.dot, which wait longer than they work.
    return float(np.einsum("ij,ij->", samples, samples))


def projected_ratio_db(target: float, distortion: float) -> float:
    """Return the ratio of two energies in dB; a distortion that only rounding can have left counts as none."""
    return energy_ratio_db(target, 0.0 if distortion < _PERFECT * target else distortion)


def _samples(signal: Audio | ArrayLike, name: str) -> NDArray[np.floating]:
    if isinstance(signal, Audio):
        return signal.samples
    try:
        array = np.asarray(signal)
    except ValueError as error:
        raise InputError("wrong shape", where=name, expected="samples in rows", found=str(error)) from error
    if array.dtype.kind != "f":
        raise InputError("wrong kind of samples", where=name, expected="floats", found=array.dtype)
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or array.shape[1] not in (1, 2):
        raise InputError(
            "wrong shape", where=name, expected="(n_samples,) or (n_samples, 1 or 2)", found=str(np.shape(signal))
        )
    if len(array) == 0:
        raise InputError("holds no samples", where=name, expected="at least one sample", found="length zero")
    for start in range(0, len(array), _BLOCK):
        finite = np.isfinite(array[start : start + _BLOCK]).all(axis=1)
        if not finite.all():
            first = start + int(np.argmin(finite))
            raise InputError(
                "samples are not finite",
                where=name,
                expected="finite numbers",
                found=f"NaN or infinity at sample {first}",
            )
    return array
