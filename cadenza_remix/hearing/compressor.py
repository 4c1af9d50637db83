"""RMS compressor with the law and the parameters of pyclarity's ``Compressor``; the CAD1 baseline has it, switched off.

The level is the RMS over the last ``rms_window_s`` seconds. Above the threshold the gain moves towards
``attenuation * level + (1 - attenuation) * threshold_lin`` at the attack rate; below, towards 1 at the release rate.
Note what this law is: the target itself is used as a gain, not divided by the level, so the threshold acts on the level
and on the gain at once. It is kept as it is because the challenge's systems are compared with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import InputError

_POWER_FLOOR = 1e-8


@dataclass(frozen=True)
class CompressorSettings:
    """Parameters of the compressor; the defaults are those of the CAD1 baseline.

    ``threshold_lin``: RMS of full scale 1; ``attenuation``: 0 (hard limit towards the threshold) to 1; ``attack_ms``,
    ``release_ms``: time constants; ``rms_window_s``: length of the level window; ``makeup_gain_lin``: applied after.
    """

    threshold_lin: float = 0.35
    attenuation: float = 0.1
    attack_ms: float = 50.0
    release_ms: float = 1000.0
    rms_window_s: float = 0.064
    makeup_gain_lin: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not np.isfinite(value) or value < 0:
                raise InputError(
                    f"wrong {field.name}", where="compressor", expected="a number of at least 0", found=repr(value)
                )
        for name in ("attack_ms", "release_ms", "rms_window_s"):
            if getattr(self, name) == 0:
                raise InputError(f"wrong {name}", where="compressor", expected="more than 0", found=0)
        if self.attenuation > 1:
            raise InputError("wrong attenuation", where="compressor", expected="0 to 1", found=self.attenuation)


def compress(samples: NDArray[np.float64], *, sample_rate: int, settings: CompressorSettings) -> NDArray[np.float64]:
    """Compress one channel.

    Parameters
    ----------
    samples : array of shape (n_samples,)
    sample_rate : int
        In Hz.

    Returns
    -------
    array of shape (n_samples,), float64
    """
    window = int(settings.rms_window_s * sample_rate)
    if window < 1:
        raise InputError(
            "RMS window is shorter than a sample", where="compressor", expected=f"at least {1 / sample_rate:.2e} s",
            found=f"{settings.rms_window_s:g} s",
        )  # fmt: skip
    gains = _compiled_gains()(
        np.ascontiguousarray(samples, dtype=np.float64),
        window,
        float(settings.threshold_lin),
        float(settings.attenuation),
        1000.0 / (settings.attack_ms * sample_rate),
        1000.0 / (settings.release_ms * sample_rate),
    )
    return samples * gains * settings.makeup_gain_lin


@cache
def _compiled_gains() -> Callable[..., NDArray[np.float64]]:
    from cadenza_remix.compiled import compiled  # only now: Numba takes a third of a second, and few chains compress

    return compiled()(_gains)


def _gains(
    samples: NDArray[np.float64], window: int, threshold: float, attenuation: float, attack: float, release: float
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """Return the gain of each sample.

    The moving sum of squares over ``window`` samples is the sum of the current block so far and of what is left of the
    block before: exact at every sample, where a running sum would carry the rounding of loud passages into quiet ones.
    """
    n = samples.size
    gains = np.empty(n)
    rest_of_previous = np.zeros(window + 1)
    gain = 1.0
    for start in range(0, n, window):
        stop = min(start + window, n)
        so_far = 0.0
        for i in range(start, stop):
            so_far += samples[i] * samples[i]
            level = np.sqrt((so_far + rest_of_previous[i - start + 1]) / window + _POWER_FLOOR)
            if level > threshold:
                target = level * attenuation + (1.0 - attenuation) * threshold
                gain = gain * (1.0 - attack) + target * attack
            else:
                gain = release + gain * (1.0 - release)
            gains[i] = gain
        if stop - start == window:
            rest_of_previous[window] = 0.0
            for k in range(window - 1, -1, -1):
                square = samples[start + k] * samples[start + k]
                rest_of_previous[k] = rest_of_previous[k + 1] + square
    return gains
