"""Inner hair cells: compressed envelopes become dB above threshold, with adaptation, and are smoothed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cadenza_remix.compiled import compiled
from cadenza_remix.metrics.auditory.arithmetic import log2
from cadenza_remix.metrics.auditory.cochlea import Vibration
from cadenza_remix.metrics.auditory.filters import LANES, MODEL_RATE
from cadenza_remix.metrics.auditory.scratch import aligned_empty

HALF_WINDOW = 96
"""Hop of the envelope smoothing, 4 ms at 24 kHz; its window is twice as long."""

_SMALL = np.float32(1e-30)
_DB_PER_OCTAVE = 20.0 * math.log10(2.0)

_RAPID_S, _SHORT_TERM_S = 0.002, 0.060
_OVERSHOOT = 2.0


def _adaptation_modes() -> tuple[tuple[float, float], tuple[float, float], float]:
    """Return decays and weights of the adaptation, and the weight of the input itself.

    Two RC stages with time constants of 2 and 60 ms and a total overshoot of 2, by backward differences, as two
    independent one-pole filters: output = direct * input + sum of weight * state, state' = decay * state + input.
    """
    r1 = 1.0 / _OVERSHOOT
    r2 = r3 = 0.5 * (1.0 - r1)
    c1 = _RAPID_S * (r1 + r2) / (r1 * r2)
    c2 = _SHORT_TERM_S / ((r1 + r2) * r3)
    first, second = r1 * r2 * c1 * MODEL_RATE, r2 * r3 * c2 * MODEL_RATE
    circuit = np.array([[r1 + r2 + first, -r1], [-r3, r2 + r3 + second]])
    step = np.linalg.solve(circuit, np.diag([first, second]))
    drive = np.linalg.solve(circuit, np.array([r2, 0.0]))
    decays, modes = np.linalg.eig(step)
    # The first voltage is the sum over modes; the output is (input - first voltage) / r1.
    weights = -modes[0] * np.linalg.solve(modes, drive) / r1
    return tuple(decays.tolist()), tuple(weights.tolist()), 1.0 / r1


_DECAYS, _WEIGHTS, _DIRECT = _adaptation_modes()
_WINDOW = np.hanning(2 * HALF_WINDOW)
_ROWS = HALF_WINDOW * LANES
_STEP = 4
_STEP_ROWS = _STEP * LANES
# Offsets in the work array: values per lane, then values per sample and lane of a step.
_FAST, _SLOW, _RISING, _FALLING = range(0, 4 * LANES, LANES)
_LEVEL, _LINEAR, _LEVEL_OFFSET = range(4 * LANES, 4 * LANES + 3 * _STEP_ROWS, _STEP_ROWS)
_WORK_SIZE = 4 * LANES + 3 * _STEP_ROWS


def adapt(
    vibration: Vibration,
    delays: Sequence[NDArray[np.int64]],
    shift: NDArray[np.int64],
    attenuation_ihc_db: NDArray[np.float64],
    level1_db_spl: float,
    rows: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Take one group of channels through the inner hair cells.

    Parameters
    ----------
    vibration : Vibration
    delays : two arrays of shape (LANES,)
        By how many samples envelope and motion are taken early.
    shift : array of shape (LANES,)
        By how many samples the result is then delayed: the group delay of the other channels.
    attenuation_ihc_db : array of shape (LANES,)
    rows : array of shape (LANES, n_samples)
        Takes the motion, in dB above threshold.

    Returns
    -------
    array of shape (n_half_windows, 2, LANES)
        Sums of the adapted envelope under the rising and the falling half of the smoothing window.
    """
    n_samples = rows.shape[1]
    places = np.stack(delays) - shift
    sums = np.zeros((-(-n_samples // HALF_WINDOW), 2, LANES))
    _hair_cells(
        vibration.envelope.values,
        vibration.motion.values,
        n_samples,
        places,
        np.maximum(shift, -places),
        np.minimum(n_samples, n_samples - places),
        level1_db_spl - attenuation_ihc_db,
        _WINDOW,
        (*_DECAYS, *_WEIGHTS, _DIRECT),
        aligned_empty(_WORK_SIZE, np.float64),
        *aligned_empty(2 * _ROWS, np.float32).reshape(2, _ROWS),
        rows,
        sums,
    )
    return sums


def smooth(sums: NDArray[np.float64], n_samples: int) -> NDArray[np.float64]:
    """Join half-window sums to the mean envelope in Hann windows of 8 ms every 4 ms.

    The first and the last window are halves. The second starts where the first one ends, as in the definition.

    Parameters
    ----------
    sums : array of shape (n_half_windows, 2, n_channels)

    Returns
    -------
    array of shape (n_channels, n_segments)
    """
    n_segments = 1 + n_samples // (2 * HALF_WINDOW) + (n_samples - HALF_WINDOW) // (2 * HALF_WINDOW)
    rising, falling = sums[:n_segments, 0].T, sums[:n_segments, 1].T
    whole, half = _WINDOW.sum(), _WINDOW[HALF_WINDOW:].sum()
    return np.concatenate(
        (falling[:, :1] / half, (rising[:, 1:-1] + falling[:, 2:]) / whole, rising[:, -1:] / half), axis=1
    )


@compiled()
def _span(begin, end, start):  # type: ignore[no-untyped-def]
    """Return which samples of the half window at ``start`` lie in [begin, end), counted from its start."""
    first = min(max(begin - start, 0), HALF_WINDOW)
    return first, min(max(end - start, first), HALF_WINDOW)


@compiled()
def _take(source, places, begins, ends, start, block):  # type: ignore[no-untyped-def]
    """Copy a half window of each lane from ``places`` samples away; zero outside [begins, ends)."""
    whole = True
    for c in range(LANES):
        whole = whole and begins[c] <= start and start + HALF_WINDOW <= ends[c]
    if whole:
        at = np.empty(LANES, np.uint64)
        for c in range(LANES):
            at[c] = (start + places[c]) * LANES + c
        for j in range(HALF_WINDOW):
            row = block[j * LANES : (j + 1) * LANES]
            for c in range(LANES):
                row[c] = source[at[c] + np.uint64(j * LANES)]
        return
    block[:] = np.float32(0.0)
    for c in range(LANES):
        first, last = _span(begins[c], ends[c], start)
        taken = source[(start + first + places[c]) * LANES + c : (start + last + places[c]) * LANES]
        kept = block[first * LANES + c : last * LANES]
        for j in range(last - first):
            kept[j * LANES] = taken[j * LANES]


@compiled()
def _write_lane(source, gains, lane, place, begin, end, start, row):  # type: ignore[no-untyped-def]
    """Write a half window of one lane from ``place`` samples away, times its gains, to a row; zero outside."""
    first, last = _span(begin, end, start)
    row[:first] = np.float32(0.0)
    row[last:] = np.float32(0.0)
    taken = source[(start + first + place) * LANES + lane : (start + last + place) * LANES]
    gain = gains[first * LANES + lane : last * LANES]
    written = row[first:last]
    for j in range(last - first):
        written[j] = taken[j * LANES] * gain[j * LANES]


@compiled()
def _write_four(source, gains, places, start, rows):  # type: ignore[no-untyped-def]
    """Write a half window of four lanes, the first of ``source`` and ``gains``, that is there in full.

    Four at once and written out: the compiler would use slow gathers on one lane alone.
    """
    s0, s1 = source[(start + places[0]) * LANES :], source[(start + places[1]) * LANES + 1 :]
    s2, s3 = source[(start + places[2]) * LANES + 2 :], source[(start + places[3]) * LANES + 3 :]
    stop = start + HALF_WINDOW
    r0, r1, r2, r3 = rows[0, start:stop], rows[1, start:stop], rows[2, start:stop], rows[3, start:stop]
    for j in range(HALF_WINDOW):
        at = j * LANES
        r0[j] = s0[at] * gains[at]
        r1[j] = s1[at] * gains[at + 1]
        r2[j] = s2[at] * gains[at + 2]
        r3[j] = s3[at] * gains[at + 3]


@compiled()
def _adapt(linear, window, modes, work, gains):  # type: ignore[no-untyped-def]
    """Take one half window (linear envelopes) to gains for the motion, and add up its smoothed envelope in ``work``."""
    fast_decay, slow_decay, fast_weight, slow_weight, direct = modes
    for j in range(0, HALF_WINDOW, _STEP):
        here, out = linear[j * LANES : j * LANES + _STEP_ROWS], gains[j * LANES : j * LANES + _STEP_ROWS]
        a, b = window[j : j + _STEP], window[HALF_WINDOW + j : HALF_WINDOW + j + _STEP]
        a0, a1, a2, a3 = a[0], a[1], a[2], a[3]
        b0, b1, b2, b3 = b[0], b[1], b[2], b[3]
        for i in range(_STEP_ROWS):
            value = here[i] + _SMALL
            level = _DB_PER_OCTAVE * log2(value) + work[_LEVEL_OFFSET + i]
            work[_LINEAR + i] = value
            work[_LEVEL + i] = level if level > 0.0 else 0.0
        for c in range(LANES):
            fast, slow = work[_FAST + c], work[_SLOW + c]
            rising, falling = work[_RISING + c], work[_FALLING + c]
            for k in range(_STEP):
                level = work[_LEVEL + k * LANES + c]
                fast = fast_decay * fast + level
                slow = slow_decay * slow + level
                above = direct * level + fast_weight * fast + slow_weight * slow
                above = above if above > 0.0 else 0.0
                rising += (a0 if k == 0 else a1 if k == 1 else a2 if k == 2 else a3) * above
                falling += (b0 if k == 0 else b1 if k == 1 else b2 if k == 2 else b3) * above
                work[_LEVEL + k * LANES + c] = above
            work[_FAST + c], work[_SLOW + c] = fast, slow
            work[_RISING + c], work[_FALLING + c] = rising, falling
        for i in range(len(out)):
            out[i] = (work[_LEVEL + i] + _SMALL) / work[_LINEAR + i]


@compiled()
def _hair_cells(  # type: ignore[no-untyped-def]
    envelope, motion, n_samples, places, begins, ends, level_offset_db, window, modes, work, linear, gains, rows, sums
):
    """Turn compressed envelopes and motion into dB above threshold, with adaptation.

    ``places``, ``begins``, ``ends`` of shape (2, LANES): where each lane's envelope (0) and motion (1) is read and the
    span of output samples for which it is there. ``rows`` (LANES, n_samples) takes the motion, ``sums``
    (n_half_windows, 2, LANES) the envelope under the rising and the falling half of the smoothing window. ``work``,
    ``linear`` and ``gains`` are room to work in.
    """
    work[:] = 0.0
    for i in range(_STEP_ROWS):
        work[_LEVEL_OFFSET + i] = level_offset_db[i % LANES]
    last_begin, first_end = begins[1].max(), ends[1].min()
    for start in range(0, n_samples, HALF_WINDOW):
        _take(envelope, places[0], begins[0], ends[0], start, linear)
        work[_RISING : _FALLING + LANES] = 0.0
        _adapt(linear, window, modes, work, gains)
        block = start // HALF_WINDOW
        for c in range(LANES):
            sums[block, 0, c] = work[_RISING + c]
            sums[block, 1, c] = work[_FALLING + c]
        if last_begin <= start and start + HALF_WINDOW <= first_end:
            for c in range(0, LANES, 4):
                _write_four(motion[c:], gains[c:], places[1, c:], start, rows[c:])
            continue
        for c in range(LANES):
            row = rows[c, start : start + HALF_WINDOW]
            _write_lane(motion, gains, c, places[1, c], begins[1, c], ends[1, c], start, row)
