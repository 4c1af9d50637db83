"""Changes of excerpts from epoch to epoch, so that a network hears more music than there is.

Everything is drawn from the generator that is passed in. What concerns one stem is drawn and applied to each stem by
itself; the mixture is summed afterwards, so the stems of an excerpt always add up to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.errors import InputError, unknown_name
from cadenza_remix.units import db_to_lin

#: float32 of shape (n_samples, 2).
Samples = NDArray[np.float32]

NORMALISATIONS = ("peak", "rms", "none")
#: Of equalisers: the lowest and highest centre of a peak, in Hz, and the widest share of the rate that is safe.
_EQ_HZ = (80.0, 10_000.0)
_EQ_TOP = 0.45
_SILENT = 1e-9


@dataclass(frozen=True)
class Augmentation:
    """What may be changed, and how far; the default of each is a moderate value, `none` changes nothing.

    Parameters
    ----------
    gain_db : pair of float
        Each stem's level is changed by an amount between these, in dB.
    swap_share, polarity_share : float
        How often (0 to 1) a stem's channels change places, or its sign is turned.
    width_share : float
        How often a stem's width and place between the loudspeakers change: the difference of the channels is scaled by
        0 to 1.5, and the channels get gains of constant power up to 6 dB apart.
    eq_share, eq_db : float
        How often a stem is equalised (a tilt of the spectrum and one peak or dip), and by how many dB at most.
    speed_share, speed : float
        How often an excerpt is played faster or slower, and by which factor at most (0.06: 6 %, a semitone): pitch and
        tempo change together, as a tape's do, because that costs one resampling and leaves no artefacts. Stems that
        play together change together.
    normalise : str
        ``peak`` or ``rms``: the mixture of an excerpt is brought to a level drawn from ``level_db`` (dB of full
        scale); ``none``: it stays, and ``level_db`` is not used.
    level_db : pair of float
        See ``normalise``. Networks for hearing aids hear quiet and loud music.

    Raises
    ------
    InputError
        A value is out of range.
    """

    gain_db: tuple[float, float] = (-6.0, 6.0)
    swap_share: float = 0.5
    polarity_share: float = 0.5
    width_share: float = 0.25
    eq_share: float = 0.25
    eq_db: float = 6.0
    speed_share: float = 0.25
    speed: float = 0.06
    normalise: Literal["peak", "rms", "none"] = "peak"
    level_db: tuple[float, float] = (-12.0, 0.0)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share") and not 0 <= value <= 1:
                raise InputError("setting out of range", where=field.name, expected="0 to 1", found=value)
            if field.name in ("gain_db", "level_db"):
                object.__setattr__(self, field.name, _pair(field.name, value))
        if self.normalise not in NORMALISATIONS:
            raise unknown_name("normalisation", self.normalise, NORMALISATIONS)
        if not 0 <= self.speed <= 0.25:
            raise InputError("setting out of range", where="speed", expected="0 to 0.25", found=self.speed)
        if not 0 <= self.eq_db <= 24:
            raise InputError("setting out of range", where="eq_db", expected="0 to 24", found=self.eq_db)

    @classmethod
    def none(cls) -> Augmentation:
        """Return what changes nothing."""
        return cls(
            gain_db=(0.0, 0.0),
            swap_share=0.0,
            polarity_share=0.0,
            width_share=0.0,
            eq_share=0.0,
            speed_share=0.0,
            normalise="none",
        )


def draw_speed(augmentation: Augmentation, rng: np.random.Generator) -> float:
    """Return the factor by which an excerpt is played faster (above 1) or slower."""
    is_changed, amount = rng.random() < augmentation.speed_share, rng.uniform(-1.0, 1.0)
    return 1.0 + augmentation.speed * amount if is_changed else 1.0


def change_stem(
    samples: Samples, sample_rate: int, augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return a stem changed in everything but its speed.

    Parameters
    ----------
    samples : array of shape (n_samples, 2)
        Is left as it is.
    sample_rate : int
        In Hz.
    augmentation : Augmentation
    rng : numpy.random.Generator
        As many numbers are drawn whatever is switched on, so that switching one change off leaves the others the same.
    """
    gain = float(db_to_lin(rng.uniform(*augmentation.gain_db)))
    is_swapped, is_turned, is_moved, is_equalised = rng.random(4) < (
        augmentation.swap_share,
        augmentation.polarity_share,
        augmentation.width_share,
        augmentation.eq_share,
    )
    width, place_db = rng.uniform(0.0, 1.5), rng.uniform(-6.0, 6.0)
    tilt, peak, where = rng.uniform(-1.0, 1.0, 3)
    changed = samples[:, ::-1] if is_swapped else samples
    if is_moved:
        changed = _moved(changed, width, place_db)
    if is_equalised and changed.any():
        changed = _equalised(changed, sample_rate, augmentation.eq_db * np.array([tilt, peak]), where)
    return np.asarray(changed * np.float32(-gain if is_turned else gain), dtype=np.float32)


def change_level(
    stems: NDArray[np.float32], augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return all stems of an excerpt, shape (n_stems, n_samples, 2), scaled so that their sum has a level drawn."""
    level_db = rng.uniform(*augmentation.level_db)
    if augmentation.normalise == "none":
        return stems
    mixture = stems.sum(axis=0)
    if augmentation.normalise == "peak":
        now = float(np.abs(mixture).max(initial=0.0))
    else:
        now = math.sqrt(float(np.mean(np.square(mixture, dtype=np.float64))))
    return stems if now < _SILENT else stems * np.float32(float(db_to_lin(level_db)) / now)


def _moved(samples: Samples, width: float, place_db: float) -> Samples:
    middle = samples.mean(axis=1, keepdims=True, dtype=np.float32)
    ratio = float(db_to_lin(place_db))
    left = math.sqrt(2.0 * ratio**2 / (1.0 + ratio**2))
    right = math.sqrt(2.0 / (1.0 + ratio**2))
    return np.asarray((middle + np.float32(width) * (samples - middle)) * np.array([left, right], dtype=np.float32))


def _equalised(samples: Samples, sample_rate: int, gains_db: NDArray[np.float64], where: float) -> Samples:
    """Filter by a high shelf around 1 kHz, its gain halved (a tilt), and a peak somewhere on the axis of pitch."""
    from scipy.signal import sosfilt

    low, high = _EQ_HZ[0], min(_EQ_HZ[1], _EQ_TOP * sample_rate)
    centre = math.sqrt(low * high) * (high / low) ** (where / 2.0)
    tilt_db, peak_db = float(gains_db[0]), float(gains_db[1])
    sections = np.array([_shelf(min(1000.0, high), tilt_db, sample_rate), _peak(centre, peak_db, sample_rate)])
    filtered = sosfilt(sections.astype(np.float32), samples, axis=0)
    return np.asarray(filtered * db_to_lin(-tilt_db / 2.0), dtype=np.float32)


def _peak(centre_hz: float, gain_db: float, sample_rate: int) -> list[float]:
    """Return the section of a peaking equaliser of one octave (R. Bristow-Johnson's audio EQ cookbook)."""
    amplitude, omega = 10.0 ** (gain_db / 40.0), 2.0 * math.pi * centre_hz / sample_rate
    alpha = math.sin(omega) / (2.0 * math.sqrt(2.0))
    b = [1.0 + alpha * amplitude, -2.0 * math.cos(omega), 1.0 - alpha * amplitude]
    a = [1.0 + alpha / amplitude, -2.0 * math.cos(omega), 1.0 - alpha / amplitude]
    return [value / a[0] for value in (*b, *a)]


def _shelf(corner_hz: float, gain_db: float, sample_rate: int) -> list[float]:
    """Return the section of a high shelf of slope 1/2 (the same cookbook)."""
    amplitude, omega = 10.0 ** (gain_db / 40.0), 2.0 * math.pi * corner_hz / sample_rate
    cosine, slope = math.cos(omega), 0.5
    alpha = math.sin(omega) / 2.0 * math.sqrt((amplitude + 1.0 / amplitude) * (1.0 / slope - 1.0) + 2.0)
    root, above, below = 2.0 * math.sqrt(amplitude) * alpha, amplitude + 1.0, amplitude - 1.0
    b = [
        amplitude * (above + below * cosine + root),
        -2.0 * amplitude * (below + above * cosine),
        amplitude * (above + below * cosine - root),
    ]
    a = [above - below * cosine + root, 2.0 * (below - above * cosine), above - below * cosine - root]
    return [value / a[0] for value in (*b, *a)]


def _pair(name: str, value: object) -> tuple[float, float]:
    expected = "two numbers, the smaller one first"
    try:
        low, high = (float(entry) for entry in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise InputError("wrong range", where=name, expected=expected, found=value) from error
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InputError("wrong range", where=name, expected=expected, found=value)
    return low, high
