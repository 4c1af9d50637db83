"""The gammatone filters and the compression, as compiled loops.

Eight channels make a group: they are the eight lanes of the inner loops, so that one recursion step of all of them is
one vector operation. Arrays of a group are therefore stored time first, ``(n_samples, LANES)``. What a loop carries
from sample to sample lives in one flat work array at constant offsets: the compiler can then prove that the lanes are
independent. Storage is float32, state and arithmetic float64.

Two habits of the loops are there for the compiler: arrays are cut to slices, because it cannot rule out that an index
counted from the start is negative; and short loops run over ``len(slice)``, because it unrolls those of known length
before it would vectorise them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.compiled import compiled
from cadenza_remix.metrics.auditory.arithmetic import exp2, log2
from cadenza_remix.metrics.auditory.scratch import aligned_empty

MODEL_RATE = 24000
"""Hz; every signal is brought to this rate first."""

LANES = 8
BLOCK = 4
"""Samples that the filter loops take at a time."""

_TILE_SAMPLES = BLOCK * LANES


@dataclass(frozen=True, eq=False)
class Lanes:
    """A group of channels: flat values (``n_samples * LANES`` and padding), each lane's mean and energy about it."""

    values: NDArray[np.float32]
    n_samples: int
    mean: NDArray[np.float64]
    energy: NDArray[np.float64]


# Offsets in the work array of the filter loops: one value per lane, then one value per sample and lane of a block.
(_COS, _SIN, _R1, _R2, _R3, _R4, _I1, _I2, _I3, _I4) = range(0, 10 * LANES, LANES)
(_DECAY, _COS_STEP, _SIN_STEP, _POWER_SUM, _GAIN_IN, _GAIN_OUT, _SUM, _ENERGY) = range(10 * LANES, 18 * LANES, LANES)
(_SCALE, _HIGHEST, _SLOPE, _OFFSET, _SWING) = range(18 * LANES, 23 * LANES, LANES)
(_POWER, _MOTION, _GAIN, _WORK_SIZE) = range(23 * LANES, 23 * LANES + 4 * _TILE_SAMPLES, _TILE_SAMPLES)
_KNEE = np.float32(1.0)


def filter_work(
    decay: NDArray[np.float64], radians_per_sample: NDArray[np.float64], peak_gain: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the work array of one group of gammatone filters at rest.

    The gain of the filter rides on the carrier, which meets the signal on its way in and on its way out.
    """
    work = aligned_empty(_WORK_SIZE, np.float64)
    work[:] = 0.0
    for offset, values in (
        (_DECAY, decay),
        (_COS_STEP, np.cos(radians_per_sample)),
        (_SIN_STEP, np.sin(radians_per_sample)),
        (_COS, np.sqrt(peak_gain)),
        (_SCALE, peak_gain),
    ):
        work[offset : offset + LANES] = values
    return work


def set_compression(
    work: NDArray[np.float64],
    *,
    power_re_knee: NDArray[np.float64],
    highest: NDArray[np.float64],
    slope: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> None:
    """Give the control path its law: gain = 2 ** (slope * log2(clip(power * power_re_knee, 1, highest)) + offset)."""
    for at, values in ((_SCALE, power_re_knee), (_HIGHEST, highest), (_SLOPE, slope), (_OFFSET, offset)):
        work[at : at + LANES] = values


def power_sum(work: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over time of each lane's squared envelope (without the last factor of the peak gain)."""
    return work[_POWER_SUM : _POWER_SUM + LANES].copy()


def vibration_sums(
    work: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return each lane's sum and sum of squares of the compressed envelope, and the sum of squares of the motion."""
    total, energy, swing = (work[at : at + LANES].copy() for at in (_SUM, _ENERGY, _SWING))
    return total, energy, swing


@compiled()
def _step(x, cos, sin, cos_step, sin_step, decay, r1, r2, r3, r4, i1, i2, i3, i4):  # type: ignore[no-untyped-def]
    """Shift one sample to base band, run it through four one-pole low-passes, and turn the carrier by one sample.

    The two zeros of the gammatone filter need no memory of their own: past outputs of a one-pole are differences of
    present ones, so (1 + 4 d z + 4 d^2 z^2) r4 = 9 r4 - 12 r3 + 4 r2. The factor 9 is in the peak gain.
    """
    r1 = x * cos + decay * r1
    r2 = r1 + decay * r2
    r3 = r2 + decay * r3
    r4 = r3 + decay * r4
    i1 = x * sin + decay * i1
    i2 = i1 + decay * i2
    i3 = i2 + decay * i3
    i4 = i3 + decay * i4
    real = r4 - (4.0 / 3.0) * r3 + (4.0 / 9.0) * r2
    imaginary = i4 - (4.0 / 3.0) * i3 + (4.0 / 9.0) * i2
    motion = real * cos + imaginary * sin
    power = real * real + imaginary * imaginary
    turned = cos * cos_step + sin * sin_step
    sin = sin * cos_step - cos * sin_step
    return turned, sin, r1, r2, r3, r4, i1, i2, i3, i4, motion, power


@compiled()
def _filter_block(sound, start, work):  # type: ignore[no-untyped-def]
    """Filter ``BLOCK`` samples in all lanes: power and motion go to the work array."""
    # A constant far below hearing keeps the recursions out of denormal numbers, which some processors compute slowly.
    x0 = sound[start] + 1e-140
    x1 = sound[start + 1] + 1e-140
    x2 = sound[start + 2] + 1e-140
    x3 = sound[start + 3] + 1e-140
    for c in range(LANES):
        cos, sin = work[_COS + c], work[_SIN + c]
        r1, r2, r3, r4 = work[_R1 + c], work[_R2 + c], work[_R3 + c], work[_R4 + c]
        i1, i2, i3, i4 = work[_I1 + c], work[_I2 + c], work[_I3 + c], work[_I4 + c]
        cos_step, sin_step, decay = work[_COS_STEP + c], work[_SIN_STEP + c], work[_DECAY + c]
        for k in range(BLOCK):
            x = x0 if k == 0 else x1 if k == 1 else x2 if k == 2 else x3
            cos, sin, r1, r2, r3, r4, i1, i2, i3, i4, motion, power = _step(
                x, cos, sin, cos_step, sin_step, decay, r1, r2, r3, r4, i1, i2, i3, i4
            )
            work[_POWER + LANES * k + c] = power
            work[_MOTION + LANES * k + c] = motion
        work[_COS + c], work[_SIN + c] = cos, sin
        work[_R1 + c], work[_R2 + c], work[_R3 + c], work[_R4 + c] = r1, r2, r3, r4
        work[_I1 + c], work[_I2 + c], work[_I3 + c], work[_I4 + c] = i1, i2, i3, i4


@compiled()
def _compress_block(n_rows, smooth_in, smooth_out, work):  # type: ignore[no-untyped-def]
    """Turn the power of a block into smoothed gains (where the motion was), and add up the first ``n_rows`` powers."""
    for c in range(LANES):
        total, before, smooth = work[_POWER_SUM + c], work[_GAIN_IN + c], work[_GAIN_OUT + c]
        scale, slope, offset = work[_SCALE + c], np.float32(work[_SLOPE + c]), np.float32(work[_OFFSET + c])
        highest = np.float32(work[_HIGHEST + c])
        for k in range(BLOCK):
            power = work[_POWER + LANES * k + c]
            total += power if k < n_rows else 0.0
            level = np.float32(power * scale)
            level = level if level > _KNEE else _KNEE
            level = level if level < highest else highest
            gain = np.float64(exp2(slope * log2(level) + offset))
            smooth = smooth_in * (gain + before) + smooth_out * smooth
            before = gain
            work[_MOTION + LANES * k + c] = smooth
        work[_POWER_SUM + c], work[_GAIN_IN + c], work[_GAIN_OUT + c] = total, before, smooth


@compiled()
def control_gains(sound, n_samples, smooth_in, smooth_out, work, gains):  # type: ignore[no-untyped-def]
    """Run the wide control filters and write the compression gain of every sample.

    ``sound`` (padded with zeros to whole blocks), ``gains`` flat ``(n_padded * LANES,)`` float32. The gain passes a
    one-pole low-pass ``y = smooth_in (g + g') + smooth_out y'``.
    """
    for start in range(0, len(sound), BLOCK):
        _filter_block(sound, start, work)
        _compress_block(n_samples - start, smooth_in, smooth_out, work)
        out = gains[LANES * start : LANES * start + _TILE_SAMPLES]
        for j in range(len(out)):
            out[j] = work[_MOTION + j]


@compiled()
def _envelope_block(n_rows, gains, work):  # type: ignore[no-untyped-def]
    """Turn the power of a block into the compressed envelope and add up both, ``n_rows`` samples of them."""
    for j in range(len(gains)):
        work[_GAIN + j] = gains[j]
    for c in range(LANES):
        powers, total, energy = work[_POWER_SUM + c], work[_SUM + c], work[_ENERGY + c]
        scale, swing = work[_SCALE + c], work[_SWING + c]
        for k in range(BLOCK):
            at = LANES * k + c
            power = work[_POWER + at]
            envelope = work[_GAIN + at] * math.sqrt(power * scale)
            work[_POWER + at] = envelope
            motion = work[_MOTION + at] * work[_GAIN + at]
            work[_MOTION + at] = motion
            powers += power if k < n_rows else 0.0
            total += envelope if k < n_rows else 0.0
            energy += envelope * envelope if k < n_rows else 0.0
            swing += motion * motion if k < n_rows else 0.0
        work[_POWER_SUM + c], work[_SUM + c], work[_ENERGY + c], work[_SWING + c] = powers, total, energy, swing


@compiled()
def compressed_motion(sound, n_samples, work, gains, envelope, motion):  # type: ignore[no-untyped-def]
    """Run the signal filters and apply the gains: envelope and basilar membrane motion, flat like ``gains``."""
    for start in range(0, len(sound), BLOCK):
        _filter_block(sound, start, work)
        here = slice(LANES * start, LANES * start + _TILE_SAMPLES)
        _envelope_block(n_samples - start, gains[here], work)
        envelope_out, motion_out = envelope[here], motion[here]
        for j in range(len(envelope_out)):
            envelope_out[j] = work[_POWER + j]
            motion_out[j] = work[_MOTION + j]
