"""Inner hair cells: compressed envelopes become dB above threshold, with adaptation, and are smoothed."""

from __future__ import annotations

import numpy as np

from cadenza_remix.metrics.auditory.arithmetic import log2
from cadenza_remix.metrics.auditory.compiled import compiled
from cadenza_remix.metrics.auditory.filters import LANES

HALF_WINDOW = 96
"""Hop of the envelope smoothing, 4 ms at 24 kHz; its window is twice as long."""

_SMALL = 1e-30
_ROWS = HALF_WINDOW * LANES
_V1, _V2, _RISING, _FALLING = 0, LANES, 2 * LANES, 3 * LANES
_HAIR_WORK_SIZE = 4 * LANES


@compiled()
def _take_shifted(source, lane, place, begin, end, start, block):  # type: ignore[no-untyped-def]
    """Copy one lane to ``block`` (one half window) from ``place`` samples away; zero outside [begin, end)."""
    first = min(max(begin - start, 0), HALF_WINDOW)
    last = min(max(end - start, first), HALF_WINDOW)
    for j in range(first):
        block[j * LANES + lane] = 0.0
    for j in range(first, last):
        block[j * LANES + lane] = source[(start + j + place) * LANES + lane]
    for j in range(last, HALF_WINDOW):
        block[j * LANES + lane] = 0.0


@compiled()
def _adapt(levels, window, v1_step, v2_step, work, adapted):  # type: ignore[no-untyped-def]
    """Rapid and short-term adaptation of one half window, and its sums under the rising and falling window half."""
    for j in range(0, HALF_WINDOW, 4):
        a0, a1, a2, a3 = window[j], window[j + 1], window[j + 2], window[j + 3]
        b0, b1, b2, b3 = (
            window[HALF_WINDOW + j],
            window[HALF_WINDOW + j + 1],
            window[HALF_WINDOW + j + 2],
            window[HALF_WINDOW + j + 3],
        )
        for c in range(LANES):
            v1, v2 = work[_V1 + c], work[_V2 + c]
            rising, falling = work[_RISING + c], work[_FALLING + c]
            for k in range(4):
                level = levels[(j + k) * LANES + c]
                rapid = v1_step[0] * v1 + v1_step[1] * v2 + v1_step[2] * level
                v2 = v2_step[0] * v1 + v2_step[1] * v2 + v2_step[2] * level
                v1 = rapid
                out = 2.0 * (level - v1)
                out = out if out > 0.0 else 0.0
                a = a0 if k == 0 else a1 if k == 1 else a2 if k == 2 else a3
                b = b0 if k == 0 else b1 if k == 1 else b2 if k == 2 else b3
                rising += a * out
                falling += b * out
                adapted[(j + k) * LANES + c] = out
            work[_V1 + c], work[_V2 + c] = v1, v2
            work[_RISING + c], work[_FALLING + c] = rising, falling


@compiled()
def hair_cells(  # type: ignore[no-untyped-def]
    envelope, motion, n_samples, places, begins, ends, level_offset_db, window, v1_step, v2_step, rows, sums
):
    """Turn compressed envelopes and motion into dB above threshold, with adaptation.

    ``places``, ``begins``, ``ends`` of shape (2, LANES): where each lane's envelope (0) and motion (1) is read and the
    span of output samples for which it is there. ``rows`` (LANES, n_samples) takes the motion, ``sums``
    (n_half_windows, 2, LANES) the envelope under the rising and the falling half of the smoothing window.
    """
    work = np.zeros(_HAIR_WORK_SIZE)
    linear = np.empty(_ROWS)
    levels = np.empty(_ROWS)
    adapted = np.empty(_ROWS)
    offsets = np.empty(_ROWS)
    for j in range(_ROWS):
        offsets[j] = level_offset_db[j % LANES]
    for start in range(0, n_samples, HALF_WINDOW):
        for c in range(LANES):
            _take_shifted(envelope, c, places[0, c], begins[0, c], ends[0, c], start, linear)
        for j in range(_ROWS):
            level = 6.020599913279624 * log2(linear[j] + _SMALL) + offsets[j]
            levels[j] = level if level > 0.0 else 0.0
        work[_RISING:] = 0.0
        _adapt(levels, window, v1_step, v2_step, work, adapted)
        for j in range(_ROWS):
            adapted[j] = (adapted[j] + _SMALL) / (linear[j] + _SMALL)
        block = start // HALF_WINDOW
        for c in range(LANES):
            sums[block, 0, c] = work[_RISING + c]
            sums[block, 1, c] = work[_FALLING + c]
            _take_shifted(motion, c, places[1, c], begins[1, c], ends[1, c], start, linear)
            for j in range(min(HALF_WINDOW, n_samples - start)):
                rows[c, start + j] = linear[j * LANES + c] * adapted[j * LANES + c]
